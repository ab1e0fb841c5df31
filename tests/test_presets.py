# SPDX-License-Identifier: BSD-3-Clause
"""The demo, and the sample lists of both papers, against what the papers say."""

import math
import os
from collections import Counter
from pathlib import Path

import pytest

from bp_distributed.config import load_config
from bp_distributed.errors import ConfigError
from bp_distributed.plan import make_plan
from bp_distributed.presets import PRESETS, preset_text

POTENTIALS = os.environ.get("BPD_POTENTIALS", str(Path(__file__).parents[2] / "shared" / "potentials"))


def config_of(name, folder):
    path = folder / f"{name}.yaml"
    path.write_text(preset_text(name), encoding="utf-8")
    return load_config(path)


@pytest.fixture
def plan_of(tmp_path, monkeypatch):
    def planned(name):
        monkeypatch.setenv("BPD_POTENTIALS", POTENTIALS)
        config = config_of(name, tmp_path)
        looked_up = config.potential != "default"
        if looked_up and not any((Path(f) / config.potential.name).is_file() for f in POTENTIALS.split(os.pathsep)):
            pytest.skip(f"{config.potential.name} is not in $BPD_POTENTIALS ({POTENTIALS})")
        return make_plan(config, tmp_path)

    return planned


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads_and_explains_itself(name, tmp_path):
    assert config_of(name, tmp_path).name == name
    comments = [line for line in preset_text(name).splitlines() if "#" in line]
    assert len(comments) >= 5
    assert max(map(len, preset_text(name).splitlines())) <= 120


def test_unknown_presets_are_refused():
    with pytest.raises(ConfigError, match="is not a preset; expected one of demo, tao2023, yang2022"):
        preset_text("../../etc/passwd")


def test_demo_is_small_and_real(plan_of):
    """Issue 2: at least 8 samples at 3 rates of 256 atoms each, all stages."""
    plan = plan_of("demo")
    rates = {s.origin.cooling_rate_K_per_s for s in plan.samples}
    assert len(plan.samples) >= 8
    assert len(rates) >= 3
    assert min(s.n_atoms for s in plan.samples) >= 256
    assert plan.stages == ("melt", "quench", "structure", "vibration")
    assert len(plan.melts) >= 3  # groups for the training split
    for melt in plan.melts:  # groups and rates are not confounded
        assert {s.origin.cooling_rate_K_per_s for s in plan.samples if s.group == melt.melt_id} == rates


def test_tao2023_has_the_papers_samples(plan_of):
    """T: 1800 samples of 4000 atoms (exponent 10 to 14 by 0.005, 13 to 14 by 0.001), 10 of 19,652 at 1e10 K/s."""
    plan = plan_of("tao2023")
    by_size = Counter(s.n_atoms for s in plan.samples)
    assert by_size == {4000: 1800, 19652: 10}
    rates = [s.origin.cooling_rate_K_per_s for s in plan.samples if s.n_atoms == 4000]
    assert sum(1 for s in plan.samples if s.block == "coarse") == 800
    assert len(set(rates)) == 1600
    twice = [rate for rate, count in Counter(rates).items() if count == 2]
    assert len(twice) == 200  # physics.md T1
    assert min(rates) == 1e10
    assert math.isclose(max(rates), 10**13.999, rel_tol=1e-12)  # float rounding of a power
    assert {s.origin.cooling_rate_K_per_s for s in plan.samples if s.n_atoms == 19652} == {1e10}
    assert len({s.sid for s in plan.samples}) == len({s.group for s in plan.samples}) == 1810
    assert len({s.origin.seed for s in plan.samples}) == 1810
    assert all(s.composition == {"Cu": 0.5, "Zr": 0.5} for s in plan.samples)


def test_yang2022_has_the_papers_compositions_and_rates(plan_of):
    """Y: Cu(x)Zr(100-x), x = 30 ... 70, 1e9 to 1e14 K/s, 19,652 atoms."""
    plan = plan_of("yang2022")
    assert {s.n_atoms for s in plan.samples} == {19652}
    assert sorted({round(100 * s.composition["Cu"]) for s in plan.samples}) == [30, 40, 50, 60, 70]
    assert {s.origin.cooling_rate_K_per_s for s in plan.samples} == {1e9, 1e10, 1e11, 1e12, 1e13, 1e14}
    assert len({s.sid for s in plan.samples}) == 10
    assert plan.stages == (
        "melt", "quench", "structure", "vibration", "gruneisen", "temperatures", "trajectory", "activation"
    )  # fmt: skip
    searched = [atom for task in plan.tasks_of(plan.samples[0].sid) for atom in task.atoms]
    assert searched == list(range(19652))


def test_papers_protocol(plan_of):
    """T and Y: 2 fs, 2000 K for 2 ns, zero pressure in each direction."""
    for name in ("tao2023", "yang2022"):
        (melt, *_) = [task.request for task in plan_of(name).tasks if task.stage == "melt"]
        assert plan_of(name).warnings == ()
        assert (melt["timestep_fs"], melt["temperature_K"], melt["hold_ps"], melt["barostat"]) == (
            2,
            2000,
            2000,
            "aniso",
        )
