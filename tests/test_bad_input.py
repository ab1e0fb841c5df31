# SPDX-License-Identifier: BSD-3-Clause
"""Bad input of ``reliability.md``, section 16: refused in one sentence, quickly, and nothing runs.

Single messages are in ``test_config.py``, ``test_plan.py`` and ``test_strict_yaml.py``; here are the cases that need
whole files, limits of time and memory, and the fuzz.
"""

import json
import re
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bp_distributed.config import CampaignConfig, load_config
from bp_distributed.errors import ConfigError
from bp_distributed.plan import make_plan

HEADER = "first\nsecond\nthird\n2 Cu Zr\n5 0.1 5 0.1 6.5\n29 63.546 3.61 fcc\n"
GOOD = {
    "name": "x",
    "potential": "p.eam.fs",
    "samples": [{"label": "a", "composition": {"Cu": 50, "Zr": 50}, "n_atoms": 108, "cooling_rates": [1e14]}],
}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MEMORY_LIMIT_MIB = 200
CPU_LIMIT_S = 10
"""The figure is one second (measured: 0.7 at worst, start of Python included 1.1); a bomb would take minutes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("campaign")
    (base / "p.eam.fs").write_text(HEADER)
    return base


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("aliases", BOMB, r":1:4: a: uses an anchor"),
        ("depth", "x: " + "[" * 1000 + "]" * 1000, "nested deeper than 50"),
        ("mappings", "{a: " * 1000 + "1" + "}" * 1000, "nested deeper than 50"),
        ("many", "- 1\n" * (1 << 20), "holds more than 100000 keys and values"),
        ("size", "#" * (100 << 20), "is 100 MiB, expected at most 5 MiB"),
        ("long", "name: " + "x" * (4 << 20), r":1: "),
    ],
    ids=lambda value: value[:10],  # a name of 100 MiB would be in the environment of every child
)
def test_b17_bombs_are_refused_within_a_second_and_200_mib(tmp_path, name, text, message):
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    script = textwrap.dedent("""
        import re, resource, sys
        from pathlib import Path
        from bp_distributed.config import load_config
        from bp_distributed.errors import ConfigError
        resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
        try:
            load_config(Path(sys.argv[1]))
        except ConfigError as error:
            print(error)
        print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """)
    run = subprocess.run(
        [sys.executable, "-c", script, str(path), str(CPU_LIMIT_S)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    sentence, peak_kib = run.stdout.splitlines()
    assert re.search(message, sentence)
    assert float(peak_kib) / 1024 < MEMORY_LIMIT_MIB


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch CANARY']",
        "!!python/object/new:os.system ['touch CANARY']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch CANARY']",
    ],
)
@pytest.mark.parametrize("place", ["{}", "name: {}", "samples: [{} ]", "{{? {} : 1}}"])
def test_b19_tags_build_nothing(tmp_path, monkeypatch, payload, place):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "campaign.yaml"
    path.write_text(place.format(payload))
    with pytest.raises(ConfigError, match=r"campaign\.yaml:1:\d+: .*uses the tag"):
        load_config(path)
    assert not (tmp_path / "CANARY").exists()


@pytest.mark.parametrize(
    "text",
    ["metal\nshell touch CANARY", "${x}", "$(touch CANARY)", "a &", '"""', "# x", "`touch CANARY`", "-x;y", "#SBATCH"],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"name": text},
        lambda text: {"samples": [{**GOOD["samples"][0], "label": text}]},
        lambda text: {"samples": [{**GOOD["samples"][0], "composition": {text: 100}}]},
        lambda text: {"samples": [{"label": "g", "structures": [], "elements": [text]}]},
        lambda text: {"samples": [{"label": "g", "structures": [], "group": text}]},
        lambda text: {"protocol": {"barostat": text}},
        lambda text: {"potential": {"name": text}},
        lambda text: {"resources": {"melt": {"walltime": text}}},
        lambda text: {"stages": [text]},
    ],
)
def test_s12_s13_text_that_a_shell_or_lammps_would_run_is_refused(tmp_path, text, place):
    path = tmp_path / "campaign.yaml"
    path.write_text(json.dumps({**GOOD, **place(text)}))
    with pytest.raises(ConfigError, match=r"campaign\.yaml") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_b12_control_characters_in_paths_are_refused_and_others_are_not(tmp_path):
    path = tmp_path / "campaign.yaml"
    for bad in ("a\nb", "a\0b", "a\x1b[31mb", "a\u2028b", "", "  "):
        path.write_text(json.dumps({**GOOD, "samples": [{"label": "g", "structures": [bad]}]}))
        with pytest.raises(ConfigError, match=r"samples\.0\.structures\.0: got .*expected a path"):
            load_config(path)
    for good in ("a b", "'", "ü", "😀", "-x", "$(x)", "x" * 255):
        path.write_text(json.dumps({**GOOD, "samples": [{"label": "g", "structures": [good]}]}, ensure_ascii=False))
        assert load_config(path).samples[0].structures == (good,)


def test_b08_no_is_nobelium_here(tmp_path):
    (tmp_path / "p.eam.fs").write_text(HEADER.replace("Cu Zr", "No Zr"))
    path = tmp_path / "campaign.yaml"
    path.write_text(
        "name: x\npotential: p.eam.fs\nsamples:\n"
        "  - {label: a, composition: {No: 50, Zr: 50}, n_atoms: 108, cooling_rates: 1e12}\n"
        "resources: {melt: {walltime: 1:30:00}}\n"
    )
    config = load_config(path)
    assert make_plan(config, tmp_path).samples[0].composition == {"No": 0.5, "Zr": 0.5}
    assert config.resources.melt.walltime == "1:30:00"
    assert config.resources.melt.walltime_s == 5400


# ---- fuzz ----

KEYS = st.sampled_from(sorted({*CampaignConfig.model_fields, "schema", "label", "composition", "n_atoms", "melts", "hold",
                               "cooling_rates", "replicas", "structures", "elements", "exponents", "start", "Cu"}))  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["1e12 K/s", "2 fs", "default", "melt", "Cu", "24:00:00", "aniso", ".nan", "~", "0x1"])
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def outcome(path, base):
    """Return a plan, or None for a ConfigError of one line; anything else fails the test."""
    try:
        return make_plan(load_config(path), base)
    except ConfigError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert sentence.encode()
    return None


@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@FUZZ
def test_any_bytes_are_refused_in_one_line(folder, raw):
    path = folder / "bytes.yaml"
    path.write_bytes(raw)
    assert outcome(path, folder) is None


@given(changes=st.dictionaries(KEYS, ANYTHING, max_size=3), of_block=st.dictionaries(KEYS, ANYTHING, max_size=3))
@FUZZ
def test_a_good_configuration_with_anything_in_it_plans_or_is_refused(folder, changes, of_block):
    path = folder / "changed.yaml"
    block = {**GOOD["samples"][0], **of_block}
    path.write_text(json.dumps({**GOOD, "samples": [block], **changes}))  # JSON is YAML but for NaN and infinity
    plan = outcome(path, folder)
    if plan is not None:
        assert len({sample.sid for sample in plan.samples}) == len(plan.samples)


PROTOCOL = st.fixed_dictionaries(
    {},
    optional={
        "melt_temperature": st.floats(-1, 1e5),
        "final_temperature": st.floats(-1, 3000),
        "hold": st.floats(-1, 1e10),
        "timestep": st.floats(0, 20),
        "checkpoint_steps": st.integers(0, 10**10),
    },
)


@given(
    rates=st.lists(st.floats(1e5, 1e19) | st.just(1e12), max_size=5), replicas=st.integers(0, 6),
    melts=st.none() | st.integers(1, 8), protocol=PROTOCOL,
)  # fmt: skip
@FUZZ
def test_every_accepted_plan_is_sound(folder, rates, replicas, melts, protocol):
    path = folder / "sound.yaml"
    block = {**GOOD["samples"][0], "cooling_rates": rates, "replicas": replicas, "melts": melts}
    path.write_text(json.dumps({**GOOD, "samples": [block], "protocol": protocol}))
    plan = outcome(path, folder)
    if plan is None:
        return
    assert len(plan.samples) == len(rates) * replicas
    assert sum(melt.branches for melt in plan.melts) == len(plan.samples)
    assert len({(s.group, s.origin.branch) for s in plan.samples}) == len(plan.samples)
    assert len({task.folder for task in plan.tasks}) == len(plan.tasks)
    known = {task.key for task in plan.tasks}
    assert all(need in known for task in plan.tasks for need in task.needs)
