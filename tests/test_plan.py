# SPDX-License-Identifier: BSD-3-Clause
"""From configuration to samples and tasks: identity, seeds, leakage groups."""

import json
import math
import os
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

from bp_distributed.campaign import recorded_config
from bp_distributed.config import CampaignConfig, VibrationConfig
from bp_distributed.errors import ConfigError
from bp_distributed.plan import (
    HUGE,
    LARGEST,
    Given,
    Plan,
    canonical_json,
    derived_seed,
    digest,
    input_files,
    make_plan,
    modes_bytes,
    potential_reference,
)

HEADER = "first\nsecond\nthird\n2 Cu Zr\n5 0.1 5 0.1 6.5\n29 63.546 3.61 fcc\n"
CUBE = """made for a test

4 atoms
2 atom types
0 8 xlo xhi
0 8 ylo yhi
0 8 zlo zhi

Atoms # atomic

1 1 0 0 0
2 1 4 4 0
3 1 4 0 4
4 2 0 4 4
"""


@pytest.fixture
def base(tmp_path):
    """A folder with a potential's header and a structure of four atoms."""
    (tmp_path / "p.eam.fs").write_text(HEADER)
    (tmp_path / "cube.data").write_text(CUBE)
    return tmp_path


def melted(**keys):
    return {"label": "a", "composition": {"Cu": 50, "Zr": 50}, "n_atoms": 108, "cooling_rates": [1e14, 1e13], **keys}


def planned(base, *blocks, allow_huge=False, **keys):
    config = CampaignConfig.model_validate({"name": "x", "potential": "p.eam.fs", "samples": blocks, **keys})
    return make_plan(config, base, allow_huge=allow_huge)


def ids(plan):
    return {sample.sid for sample in plan.samples}


# ---- identity ----


def test_canonical_json_is_sorted_and_exact():
    assert canonical_json({"b": 0.1, "a": [1, True, None, "ü"]}) == (
        '{"a":[1,true,null,"\\u00fc"],"b":"f:0x1.999999999999ap-4"}'
    )
    assert canonical_json(-0.0) == canonical_json(0.0)
    assert canonical_json(1) != canonical_json(1.0)
    assert canonical_json((1, 2)) == canonical_json([1, 2])
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="has no identity"):
            canonical_json({"a": [bad]})


def test_seeds_fit_lammps_and_depend_on_every_part():
    seeds = [derived_seed("a", index, 1e13) for index in range(2000)]
    assert len(set(seeds)) == len(seeds)
    assert all(1 <= seed < 2**31 - 1 for seed in seeds)
    assert derived_seed("a", 1) != derived_seed("a", "1")


def test_known_ids_never_move(base):
    """Whoever changes these makes every existing campaign compute everything again: say so in the changelog."""
    plan = planned(base, melted(melts=1), {"label": "g", "structures": ["cube.data"]})
    (melt,) = plan.melts
    assert (melt.melt_id, melt.seed) == ("cae36e2ce1001102eb99", 141308881)
    assert [s.sid for s in plan.samples] == ["9b5e5526b51960704661", "fbb0dad5634f39f6c2cb", "8ac17d551508a52178c7"]
    assert [t.folder.rpartition("/")[2] for t in plan.tasks] == [
        "melt-5333d813", "quench-714c5869", "structure-0d3e1281", "vibration-be087ca2", "quench-aa9eb8da",
        "structure-4387423e", "vibration-299d2cc7", "relax-16ad9be2", "structure-c5a4f4e7", "vibration-870c18b9",
    ]  # fmt: skip


def test_ids_do_not_depend_on_paths_names_of_campaigns_or_the_order_of_keys(base, tmp_path_factory):
    plan = planned(base, melted())
    other = tmp_path_factory.mktemp("elsewhere")
    (other / "renamed.eam.fs").write_text(HEADER)
    block = dict(reversed(melted(composition={"Zr": 50, "Cu": 50, "Al": 0}).items()))
    del block["composition"]["Al"]
    config = CampaignConfig.model_validate({"samples": [block], "potential": "renamed.eam.fs", "name": "y"})
    assert ids(make_plan(config, other)) == ids(plan)


def test_an_element_at_zero_percent_changes_nothing(base):
    whole = {"composition": {"Cu": 100}}
    assert ids(planned(base, melted(**whole))) == ids(planned(base, melted(composition={"Cu": 100, "Zr": 0})))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"protocol": {"hold": 1999}},
        {"protocol": {"timestep": 1}},
        {"protocol": {"final_temperature": 0.2}},
        {"protocol": {"checkpoint_steps": 1000}},
        {"protocol": {"barostat": "iso"}},
        {"protocol": {"force_tolerance": 1e-7}},
    ],
)
def test_what_defines_a_sample_changes_its_id(base, change):
    assert not ids(planned(base, melted())) & ids(planned(base, melted(), **change))


@pytest.mark.parametrize("change", [{"composition": {"Cu": 60, "Zr": 40}}, {"n_atoms": 256}, {"label": "b"}])
def test_what_defines_a_block_changes_its_ids(base, change):
    assert not ids(planned(base, melted())) & ids(planned(base, melted(**change)))


def test_the_potential_enters_by_content(base):
    before = ids(planned(base, melted()))
    (base / "p.eam.fs").write_text(HEADER.replace("first", "other comment"))
    assert not before & ids(planned(base, melted()))


def test_what_does_not_define_a_sample_keeps_its_id(base):
    plan = planned(base, melted())
    same = planned(
        base, melted(), training={"epochs": 5}, resources={"melt": {"memory": 8}}, budget={"sample_retries": 3}
    )
    assert same.sha256 == plan.sha256
    coarser = planned(base, melted(), vibration={"bin_width": 1.0})
    assert ids(coarser) == ids(plan)
    moved = {t.key for t in plan.tasks} ^ {t.key for t in coarser.tasks}
    assert not moved
    changed = {t.stage for t, u in zip(plan.tasks, coarser.tasks, strict=True) if t.folder != u.folder}
    assert changed == {"vibration"}


@pytest.mark.parametrize("melts", [None, 2])
def test_samples_survive_more_replicas_and_more_rates(base, melts):
    before = planned(base, melted(replicas=2, melts=melts))
    more_rates = planned(base, melted(replicas=2, melts=melts, cooling_rates=[1e14, 1e13, 1e12]))
    assert ids(before) < ids(more_rates)
    more_replicas = planned(base, melted(replicas=4, melts=melts))
    assert ids(before) < ids(more_replicas)


def test_ids_do_not_depend_on_locale_umask_home_or_hash_seed(base):
    """B20 of reliability.md."""
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        os.umask(int(sys.argv[2], 8))
        from bp_distributed.config import load_config
        from bp_distributed.plan import make_plan
        base = Path(sys.argv[1])
        print(make_plan(load_config(base / "campaign.yaml"), base).sha256)
    """)
    (base / "campaign.yaml").write_text(json.dumps({"name": "x", "potential": "p.eam.fs", "samples": [melted()]}))
    keep = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if key in os.environ}
    found = set()
    for umask, environment in [
        ("000", {"LC_ALL": "C", "PYTHONHASHSEED": "1", "HOME": str(base)}),
        ("077", {"LC_ALL": "de_DE.UTF-8", "PYTHONHASHSEED": "2", "TMPDIR": "/no/such/folder"}),
        ("022", {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}),
    ]:
        command = [sys.executable, "-c", script, str(base), umask]
        run = subprocess.run(command, env=keep | environment, capture_output=True, text=True, check=True, timeout=60)
        found.add(run.stdout)
    assert len(found) == 1


# ---- samples, melts, groups ----


def test_one_melt_per_sample_unless_told_otherwise(base):
    plan = planned(base, melted(replicas=3))
    assert (len(plan.samples), len(plan.melts)) == (6, 6)
    assert {melt.branches for melt in plan.melts} == {1}
    assert len({melt.seed for melt in plan.melts}) == 6
    assert len({sample.group for sample in plan.samples}) == 6


def test_shared_melts_take_one_replica_of_every_rate(base):
    rates = [1e14, 3e13, 1e13, 3e12]
    plan = planned(base, melted(replicas=4, melts=4, cooling_rates=rates))
    assert [melt.branches for melt in plan.melts] == [4, 4, 4, 4]
    for melt in plan.melts:
        mine = [s.origin for s in plan.samples if s.group == melt.melt_id]
        assert sorted(o.cooling_rate_K_per_s for o in mine) == sorted(rates)
        assert [o.branch for o in mine] == [0, 1, 2, 3]


def test_more_melts_than_replicas_are_all_used(base):
    plan = planned(base, melted(replicas=1, melts=3, cooling_rates=[1e14, 3e13, 1e13, 3e12]))
    assert sorted(melt.branches for melt in plan.melts) == [1, 1, 2]


def test_a_rate_listed_twice_gives_more_replicas(base):
    plan = planned(base, melted(replicas=2, cooling_rates=[1e13, 1e13]))
    assert len(ids(plan)) == 4
    assert sorted(s.origin.replica for s in plan.samples) == [0, 1, 2, 3]
    assert len({s.label for s in plan.samples}) == 4


def test_two_blocks_of_one_kind_hold_different_samples(base):
    plan = planned(base, melted(), melted(label="b"))
    assert len(ids(plan)) == 4
    assert len({s.origin.seed for s in plan.samples}) == 4


def test_tasks_follow_each_other_and_carry_their_request(base):
    plan = planned(base, melted(melts=1))
    assert plan.stages == ("melt", "quench", "structure", "vibration")
    (melt,) = plan.melts
    (melting,) = plan.tasks_of(melt.melt_id)
    assert melting.request == {
        "elements": ["Cu", "Zr"], "composition": {"Cu": 0.5, "Zr": 0.5}, "n_atoms": 108, "temperature_K": 2000.0,
        "heating_ps": 20.0, "hold_ps": 2000.0, "branch_spacing_ps": 10.0, "branches": 2, "timestep_fs": 2.0,
        "barostat": "aniso", "thermostat_ps": 0.1, "barostat_ps": 1.0, "checkpoint_steps": 5000, "history_steps": 100,
        "seed": melt.seed, "potential_file": "potential.eam.fs",
    }  # fmt: skip
    sample = plan.samples[1]
    quench, structure, vibration = plan.tasks_of(sample.sid)
    assert quench.needs == (melting.key,)
    assert structure.needs == vibration.needs == (quench.key,)
    assert (quench.request["branch"], quench.request["cooling_rate_K_per_s"]) == (1, 1e13)
    assert quench.folder == f"samples/{sample.sid[:2]}/{sample.sid}/quench-{quench.digest[:8]}"
    assert melting.folder.startswith(f"melts/{melt.melt_id[:2]}/{melt.melt_id}/melt-")
    assert plan.task(quench.key) is quench
    assert plan.label(sample.sid) == "a-1e+13-r1"


def test_more_branches_melt_again_but_keep_every_sample(base):
    two, three = (planned(base, melted(replicas=n, melts=1, cooling_rates=[1e14])) for n in (2, 3))
    assert two.melts[0].melt_id == three.melts[0].melt_id
    assert two.tasks[0].folder != three.tasks[0].folder
    assert ids(two) < ids(three)


def test_stages_can_be_left_out(base):
    plan = planned(base, melted(), stages=["melt", "quench"])
    assert plan.stages == ("melt", "quench")
    assert planned(base, melted(), stages=["melt"]).stages == ("melt",)
    assert planned(base, melted(), stages=[]).tasks == ()


def test_grueneisen_parameters_are_computed_where_the_section_is_given(base):
    plain, asked = planned(base, melted()), planned(base, melted(), gruneisen={})
    assert {task.key for task in plain.tasks} < {task.key for task in asked.tasks}
    assert asked.stages == ("melt", "quench", "structure", "vibration", "gruneisen")
    sid = asked.samples[0].sid
    task = asked.task(f"gruneisen-{sid}")
    assert task.needs == (f"quench-{sid}",)
    assert task.request == {
        "elements": ["Cu", "Zr"], "volume_step": 0.01, "omega_cut": 10.0, "all_vectors_below_atoms": 1100,
        "solver": "auto", "certificate": "auto", "potential_file": "potential.eam.fs",
    }  # fmt: skip
    some = planned(base, melted(), gruneisen={}, stages=["melt", "quench", "structure"])
    assert some.stages == ("melt", "quench", "structure")
    over_mpi = planned(base, melted(), gruneisen={}, vibration={"solver": "slepc"})
    assert over_mpi.task(task.key).request["solver"] == "auto"
    assert over_mpi.task(task.key).folder == task.folder


def test_motion_is_planned_where_its_sections_are_given(base):
    plain = planned(base, melted())
    asked = planned(base, melted(), temperatures={"series": [100.0, 300.0]}, trajectory={"duration": 2.0})
    assert {task.key for task in plain.tasks} < {task.key for task in asked.tasks}
    assert asked.stages == ("melt", "quench", "structure", "vibration", "temperatures", "trajectory")
    sid = asked.samples[0].sid
    warm, move = (asked.task(f"{stage}-{sid}") for stage in ("temperatures", "trajectory"))
    assert warm.needs == move.needs == (f"quench-{sid}",)
    dynamics = {
        "elements": ["Cu", "Zr"], "potential_file": "potential.eam.fs", "timestep_fs": 2.0, "barostat": "none",
        "thermostat_ps": 0.1, "barostat_ps": 1.0, "checkpoint_steps": 5000, "history_steps": 100,
    }  # fmt: skip
    assert warm.request == {
        **dynamics, "seed": warm.request["seed"], "series_K": [100.0, 300.0], "heating_ps": 5.0, "relaxation_ps": 20.0,
        "bin_width": 0.5, "omega_cut": 10.0, "kernel_width": 0.4, "solver": "auto", "certificate": "auto",
    }  # fmt: skip
    assert move.request == {
        **dynamics, "seed": move.request["seed"], "temperature_K": 100.0, "heating_ps": 2.0, "equilibration_ps": 20.0,
        "duration_ps": 2.0, "sampling_ps": 0.01,
    }  # fmt: skip
    seeds = [task.request["seed"] for task in asked.tasks if task.stage in {"temperatures", "trajectory"}]
    assert len(set(seeds)) == len(seeds) == 4
    assert planned(base, melted(), temperatures={}, trajectory={}, stages=["melt", "quench"]).stages == (
        "melt",
        "quench",
    )


def test_at_zero_pressure_a_glass_is_warmed_by_the_protocols_barostat(base):
    plan = planned(base, melted(), temperatures={"ensemble": "npt"}, protocol={"barostat": "iso"})
    assert {t.request["barostat"] for t in plan.tasks if t.stage == "temperatures"} == {"iso"}


def test_a_warm_spectrum_hangs_on_the_settings_of_cold_ones_and_on_its_own(base):
    def folders(**sections):
        plan = planned(base, melted(), **{"temperatures": {}, "trajectory": {}, **sections})
        return {t.key: t.folder for t in plan.tasks}

    def changed(**sections):
        return {key.split("-")[0] for key, folder in folders(**sections).items() if folder != plain[key]}

    plain = folders()
    assert changed(vibration={"bin_width": 1.0}) == {"vibration", "temperatures"}
    assert changed(temperatures={"relaxation": 21.0}) == {"temperatures"}
    assert changed(trajectory={"sampling": 0.02}) == {"trajectory"}


def test_trajectories_that_need_more_memory_than_they_get_are_announced(base):
    small, large = ({"duration": 100.0, "sampling": sampling} for sampling in (1.0, 0.01))
    glass = melted(n_atoms=32000)
    assert not any("trajectory" in warning for warning in planned(base, glass, trajectory=small).warnings)
    assert any(
        "trajectory of 32000 atoms needs about 12 GiB, resources.trajectory.memory gives 2" in warning
        for warning in planned(base, glass, trajectory=large).warnings
    )


@pytest.mark.parametrize("change", [{"solver": "lapack"}, {"certificate": "search"}, {"store_vectors": "float32"}])
def test_how_modes_are_found_is_part_of_their_identity(base, change):
    plain, other = planned(base, melted()), planned(base, melted(), vibration=change)
    changed = {t.stage for t, u in zip(plain.tasks, other.tasks, strict=True) if t.folder != u.folder}
    assert changed == {"vibration"}
    ((name, value),) = change.items()
    assert {t.request[name] for t in other.tasks if t.stage == "vibration"} == {value}


def test_nothing_to_do_is_a_plan(base):
    assert planned(base).samples == ()
    assert planned(base, melted(replicas=0)).tasks == ()
    assert planned(base, melted(cooling_rates=[])).melts == ()


def test_given_structures(base):
    block = {"label": "g", "structures": ["cube.data"], "elements": ["Cu", "Zr"]}
    plan = planned(base, block)
    (sample,) = plan.samples
    assert isinstance(sample.origin, Given)
    assert (sample.n_atoms, sample.composition, sample.group) == (4, {"Cu": 0.75, "Zr": 0.25}, sample.sid)
    assert [task.stage for task in plan.tasks] == ["relax", "structure", "vibration"]
    assert plan.tasks[0].needs == ()
    assert plan.tasks[0].source.startswith("structures/")
    assert plan.tasks[0].request["type_elements"] == ["Cu", "Zr"]
    swapped = planned(base, {**block, "elements": ["Zr", "Cu"]})
    assert ids(swapped) != ids(plan)
    assert swapped.samples[0].composition == {"Zr": 0.75, "Cu": 0.25}
    grouped = planned(base, {**block, "group": "melt1"})
    assert grouped.samples[0].group == "melt1"
    assert ids(grouped) == ids(plan)
    renamed = base / "Kopie mit ü.data"
    renamed.write_text(CUBE)
    assert ids(planned(base, {**block, "structures": [renamed.name]})) == ids(plan)


def test_rates_of_given_structures_are_told_and_enter_no_id(base):
    block = {"label": "g", "structures": ["cube.data"], "elements": ["Cu", "Zr"]}
    plain, told = planned(base, block), planned(base, {**block, "cooling_rates": [1e10]})
    assert told.samples[0].origin.cooling_rate_K_per_s == 1e10
    assert plain.samples[0].origin.cooling_rate_K_per_s is None
    assert told.tasks == plain.tasks
    assert ids(told) == ids(plain)
    for plan in (plain, told):
        assert Plan.from_jsonl(plan.to_jsonl()) == plan
    assert "cooling_rate" not in plain.to_jsonl()  # the text, and with it the checksum, of plans written before


def test_a_record_from_before_a_section_existed_is_that_of_the_same_configuration(base):
    config = CampaignConfig.model_validate({"name": "x", "potential": "p.eam.fs", "samples": [melted()]})
    resolved = config.model_dump(mode="json")
    before = {key: value for key, value in resolved.items() if key not in {"temperatures", "trajectory"}}
    before["stages"] = [stage for stage in resolved["stages"] if stage not in {"temperatures", "trajectory"}]
    before["resources"] = {key: value for key, value in resolved["resources"].items() if key in before["stages"]}
    assert recorded_config(before) == resolved
    assert recorded_config({**before, "seed": 7}) != resolved
    assert recorded_config({**before, "stages": ["melt", "quench"]})["stages"] == ["melt", "quench"]


def test_given_structures_that_are_missing_or_doubled_name_their_line(base):
    with pytest.raises(ConfigError, match=r"samples\.0\.structures\.1: .*none\.data: no such file"):
        planned(base, {"label": "g", "structures": ["cube.data", "none.data"]})
    (base / "copy.data").write_text(CUBE)
    with pytest.raises(ConfigError, match=r"copy\.data is the same structure as g-cube, expected each once"):
        planned(base, {"label": "g", "structures": ["cube.data", "copy.data"]})


def test_the_files_of_a_campaign(base):
    config = CampaignConfig.model_validate(
        {"name": "x", "potential": "p.eam.fs", "samples": [{"label": "g", "structures": ["cube.data"]}]}
    )
    assert input_files(config, base) == [base / "p.eam.fs", base / "cube.data"]


# ---- size ----


def test_more_than_a_million_samples_need_to_be_allowed(base):
    block = melted(replicas=HUGE, cooling_rates=[1e14, 1e13])
    with pytest.raises(ConfigError, match="got 2000000 samples, expected at most 1000000 unless --yes is given"):
        planned(base, block)
    with pytest.raises(ConfigError, match=f"got 2000000000 samples, expected at most {LARGEST}"):
        planned(base, melted(replicas=1_000_000_000), allow_huge=True)


def test_odd_rates_are_warned_about(base):
    (warning,) = planned(base, melted(cooling_rates=[1e17])).warnings
    assert warning == "a: cooling rate 1e+17 K/s is outside 1e+08 to 1e+15 K/s; is the unit meant?"
    assert planned(base, melted()).warnings == ()


def test_too_little_memory_is_warned_about_and_changes_nothing(base):
    exact = {"solver": "lapack"}
    little = planned(base, melted(n_atoms=4000), vibration=exact, resources={"vibration": {"memory": 1}})
    assert little.warnings == ("vibration of 4000 atoms needs about 3 GiB, resources.vibration.memory gives 1",)
    enough = planned(base, melted(n_atoms=4000), vibration=exact, resources={"vibration": {"memory": 3}})
    assert enough.warnings == ()
    assert enough.sha256 == little.sha256


@pytest.mark.parametrize(
    ("n_atoms", "vibration", "expected"),
    [
        (1000, {}, 20 * 3000**2),
        (4000, {"solver": "lapack"}, 20 * 12_000**2),
        (4000, {}, 1e9 + 1.6 * 12_000**2),
        (19_652, {}, 1e9 + 1.6 * 58_956**2),
        (19_652, {"certificate": "cholesky"}, 1e9 + 1.6 * 58_956**2 + 4 * 58_956**2),
        (19_652, {"solver": "lapack"}, 20 * 58_956**2),
    ],
)
def test_memory_of_modes(n_atoms, vibration, expected):
    assert modes_bytes(n_atoms, 1100, VibrationConfig(**vibration)) == expected


# ---- the plan as a file ----


def test_a_plan_survives_its_file(base):
    plan = planned(
        base, melted(melts=1, cooling_rates=[1e17, 3.3e12]), {"label": "g", "structures": ["cube.data"], "group": "m"}
    )
    again = Plan.from_jsonl(plan.to_jsonl())
    assert again == plan
    assert again.sha256 == plan.sha256
    assert again.to_jsonl() == plan.to_jsonl()
    assert plan.warnings
    assert again.warnings == ()  # advice is for before a run


def test_damage_to_a_stored_plan_shows_in_its_checksum(base):
    """B15 of reliability.md."""
    plan = planned(base, melted())
    text = plan.to_jsonl()
    damaged = Plan.from_jsonl(text.replace('"timestep_fs":2.0', '"timestep_fs":3.0', 1))
    assert damaged.sha256 != plan.sha256
    with pytest.raises(ValueError, match=r"."):
        Plan.from_jsonl(text[: len(text) // 2])
    with pytest.raises(ValueError, match="no potential line"):
        Plan.from_jsonl("")


# ---- potentials ----


def reference(base, text):
    (base / "p.eam.fs").write_bytes(text if isinstance(text, bytes) else text.encode())
    return potential_reference(CampaignConfig(name="x", potential="p.eam.fs", samples=()), base)


def test_header_of_a_potential(base):
    ref = reference(base, HEADER)
    assert (ref.elements, ref.suffix, ref.label) == (("Cu", "Zr"), ".eam.fs", "p.eam.fs")
    assert ref.file == f"potentials/{ref.sha256[:16]}.eam.fs"
    assert reference(base, HEADER.replace("first", "UNITS: metal")).elements == ("Cu", "Zr")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.eam\.fs: potential: got 0 bytes, expected a setfl table"),
        ("a\nb\n", r"expected a setfl table: empty or cut short"),
        (b"\x00\xff" * 500, r"expected a setfl table"),
        (b"\x7fELF\n" * 50, r"p\.eam\.fs:4: potential: got .* not a setfl file"),
        (
            HEADER.replace("first", "DATE: 2020 UNITS: real"),
            r"p\.eam\.fs:1: potential: is in real units, expected metal",
        ),
        (HEADER.replace("first", "UNITS:real"), r"is in real units"),
        (HEADER.replace("2 Cu", "3 Cu"), r"p\.eam\.fs:4: potential: got '3 Cu Zr', expected the number of elements"),
        (HEADER.replace("Cu Zr", "Cu $(shell)"), r"p\.eam\.fs:4"),
        (HEADER.replace("5 0.1 5", "five 0.1 5"), r"p\.eam\.fs:5: potential: got 'five .*expected Nrho"),
    ],
)
def test_files_that_are_no_potential(base, text, message):
    """B09 of reliability.md, as far as the header goes."""
    with pytest.raises(ConfigError, match=message):
        reference(base, text)


def test_a_potential_of_another_format_or_for_other_elements(base):
    (base / "p.meam").write_text(HEADER)
    with pytest.raises(ConfigError, match=r"p\.meam is of no known format, expected a file ending in \.eam\.fs or"):
        planned(base, melted(), potential="p.meam")
    with pytest.raises(ConfigError, match=r"samples\.0: got Al, but the potential p\.eam\.fs is for Cu and Zr"):
        planned(base, melted(composition={"Cu": 50, "Al": 50}))
    with pytest.raises(ConfigError, match="got Al, but"):
        planned(base, {"label": "g", "structures": ["cube.data"], "elements": ["Al", "Zr"]})


def test_digest_is_that_of_the_canonical_text():
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # sha256 of {}
    assert all(a != b for a, b in pairwise([digest(1), digest(1.0), digest("1")]))


def test_paths_with_spaces_and_signs_work(base):
    """B12 of reliability.md: only the potential's own ASCII name reaches LAMMPS."""
    folder = base / "-ordner mit 'ü' 😀"
    folder.mkdir()
    Path(folder / "p.eam.fs").write_text(HEADER)
    plan = planned(base, melted(), potential=f"{folder.name}/p.eam.fs")
    assert ids(plan) == ids(planned(base, melted()))
    assert {task.request["potential_file"] for task in plan.tasks} == {"potential.eam.fs"}
    assert plan.potential.file.isascii()
