# SPDX-License-Identifier: BSD-3-Clause
"""``campaign.yaml``: what it may say, and how it is told off."""

import math

import pytest

from bp_distributed.config import (
    CampaignConfig,
    GivenBlock,
    MeltedBlock,
    NamedPotential,
    Resources,
    find_potential,
    load_config,
)
from bp_distributed.errors import ConfigError

BLOCK = "samples:\n  - {label: a, composition: {Cu: 50, Zr: 50}, n_atoms: 256, cooling_rates: [1e14]}\n"
"""Two lines; what a test adds starts on line 4."""


@pytest.fixture
def load(tmp_path):
    def write_and_load(text):
        path = tmp_path / "campaign.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return write_and_load


def block(**keys):
    whole = {"label": "a", "composition": "{Cu: 50, Zr: 50}", "n_atoms": 256, "cooling_rates": "[1e14]", **keys}
    return "name: x\nsamples:\n  - " + "\n    ".join(f"{key}: {value}" for key, value in whole.items()) + "\n"


def test_a_short_configuration_gets_the_papers_protocol(load):
    config = load("name: x\n" + BLOCK)
    assert (config.protocol.melt_temperature, config.protocol.final_temperature) == (2000.0, 0.1)
    assert (config.protocol.timestep, config.protocol.hold, config.protocol.barostat) == (2.0, 2000.0, "aniso")
    assert (config.structure.r_max, config.structure.bin_width) == (12.0, 0.1)
    assert config.potential == "default"
    assert config.samples[0].rates == [1e14]


def test_one_rate_needs_no_list_and_is_a_float(load):
    (melted,) = load(block(cooling_rates="1e12")).samples
    assert melted.rates == [1.0e12]
    assert type(melted.rates[0]) is float


@pytest.mark.parametrize(
    ("text", "value"), [("1e12 K/s", 1e12), ("'1e12 K/s'", 1e12), ("1e12   K/s", 1e12), ("10000000000", 1e10)]
)
def test_a_number_may_carry_its_unit(load, text, value):
    assert load(block(cooling_rates=f"[{text}]")).samples[0].rates == [value]


def test_every_unit_is_accepted_where_it_is_meant(load):
    config = load(
        "name: x\n" + BLOCK + "protocol: {melt_temperature: 1800 K, hold: 10 ps, timestep: 1 fs, "
        "force_tolerance: 1e-7 eV/angstrom}\nstructure: {r_max: 10 angstrom}\nvibration: {bin_width: 1 rad/ps}\n"
        "resources: {melt: {memory: 4 GiB}}\n"
    )
    assert (config.protocol.melt_temperature, config.protocol.hold, config.protocol.timestep) == (1800.0, 10.0, 1.0)
    assert (config.structure.r_max, config.vibration.bin_width) == (10.0, 1.0)
    assert (config.protocol.force_tolerance, config.resources.melt.memory) == (1e-7, 4.0)


def test_grid_in_the_exponent_counts_like_numpy_arange(load):
    (melted,) = load(block(cooling_rates="{exponents: {start: 10, stop: 14, step: 0.005}}")).samples
    assert len(melted.rates) == 800
    assert melted.count == 800
    assert melted.rates[0] == 1e10
    assert math.isclose(melted.rates[-1], 10**13.995, rel_tol=1e-12)  # float rounding of a power


def test_grids_and_rates_mix_in_one_list(load):
    (melted,) = load(block(cooling_rates="[1e9, {exponents: {start: 13, stop: 14, step: 0.5}}]")).samples
    assert melted.rates == [1e9, 1e13, 10**13.5]


def test_blocks_are_told_apart_by_their_keys(load):
    config = load("name: x\nsamples:\n  - {label: g, structures: [a.data, b.xyz], elements: [Cu, Zr]}\n" + BLOCK[9:])
    assert [type(b) for b in config.samples] == [GivenBlock, MeltedBlock]
    assert config.samples[0].structures == ("a.data", "b.xyz")


def test_the_model_is_frozen(load):
    config = load("name: x\n" + BLOCK)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValueError, match="frozen"):
        config.protocol.hold = 1.0


def test_a_dumped_configuration_loads_again(load):
    config = load("name: x\npotential: {name: Cu-Zr_4.eam.fs}\n" + BLOCK)
    again = CampaignConfig.model_validate(config.model_dump(mode="json", by_alias=True))
    assert again.model_dump() == config.model_dump()


WRONG = [
    ("name: x\nseeed: 1\n" + BLOCK, r":2: seeed: unknown key, did you mean 'seed'\?"),
    (block(coling_rates="[1]"), r":7: samples\.0\.coling_rates: unknown key, did you mean 'cooling_rates'\?"),
    ("name: x\n" + BLOCK + "protocol: {holt: 1}\n", r":4: protocol\.holt: unknown key, did you mean 'hold'\?"),
    ("name: x\n" + BLOCK + "structure:\n  qqqq: 1\n", r":5: structure\.qqqq: unknown key, expected r_max, bin_width"),
    ("name: x\n" + BLOCK + "resources: {melt: {kores: 1}}\n", r":4: resources\.melt\.kores: unknown.*'cores'"),
    ("name: x\n" + BLOCK + "potential: {nam: a}\n", r":4: potential\.nam: unknown key, did you mean 'name'\?"),
    (BLOCK, r":1: name: is missing"),
    ("name: x\n", r":1: samples: is missing"),
    ("name: x\nsamples:\n  - {label: a, n_atoms: 256}\n", r":3: samples\.0\.composition: is missing \(and 1 more\)"),
    ("name: x\nsamples: {a: 1}\n", r":2: samples: got a mapping, expected a list"),
    ("name: x\nsamples: [5]\n", r":2: samples\.0: got 5, expected keys and values"),
    ("name: 2023\n" + BLOCK, r":1: name: got 2023, expected text"),
    ("name: ../../x\n" + BLOCK, r":1: name: got '../../x', expected 1 to 64 of the characters"),
    ("name: a..b\n" + BLOCK, r":1: name: got 'a\.\.b', expected"),
    ("schema: 2\nname: x\n" + BLOCK, r":1: schema: got 2, written for a newer bp_distributed"),
    ("schema: 0\nname: x\n" + BLOCK, r":1: schema: got 0, expected greater than or equal to 1"),
    (block(cooling_rates='["1e12 K"]'), r":6: samples\.0\.cooling_rates\.0: got '1e12 K', expected the unit K/s"),
    (block(cooling_rates="5 K/fs"), r":6: samples\.0\.cooling_rates: got '5 K/fs', expected the unit K/s"),
    (block(cooling_rates="['1e12']"), r"got '1e12', expected a number in K/s, without quotes"),
    (block(cooling_rates="[true]"), r"got True, expected a valid number"),
    (block(cooling_rates="[No]"), r"got 'No', expected a number in K/s"),
    (
        block(cooling_rates="[-1e12]"),
        r"cooling_rates\.0: got -1000000000000\.0, expected greater than or equal to 1000000",
    ),
    (block(cooling_rates="[0]"), r"got 0, expected greater than or equal to"),
    (block(cooling_rates="[1e12, ]").replace("1e12", "~"), r"got nothing, expected a valid number"),
    (block(cooling_rates="['1e400 K/s']"), r"got inf, expected a finite number"),
    (
        block(cooling_rates="{exponents: {start: 14, stop: 10, step: 1}}"),
        r":6: .*exponents\.stop: got 10, expected more",
    ),
    (block(cooling_rates="{exponents: {start: '10', stop: 14, step: 1}}"), r"exponents\.start: got '10', expected"),
    (block(cooling_rates="{exponents: {start: 10, stop: 14, step: 0}}"), r"exponents\.step: got 0, expected greater"),
    (block(n_atoms=100), r":5: samples\.0\.n_atoms: got 100, expected 4 k³ .*nearest are 108 and 32"),
    (block(n_atoms="1.5"), r":5: samples\.0\.n_atoms: got 1\.5, expected"),
    (block(n_atoms=10**9), r":5: samples\.0\.n_atoms: got 1000000000, expected less than"),
    (block(composition="{Cu: 50, Zr: 40}"), r":4: samples\.0\.composition: sums to 90, expected 100"),
    (block(composition="{Cu: 0.5, Zr: 0.5}"), r":4: samples\.0\.composition: sums to 1, expected 100"),
    (block(composition="{cu: 50, Zr: 50}"), r":4: samples\.0\.composition: got 'cu', expected chemical elements"),
    (block(composition="{Cu: 150, Zr: -50}"), r":4: samples\.0\.composition\.Cu: got 150, .*\(and 1 more\)"),
    (block(composition="{}"), r":4: samples\.0\.composition: sums to 0"),
    (block(replicas="1.5"), r"replicas: got 1\.5, expected"),
    (block(replicas=-1), r"replicas: got -1, expected greater than or equal to 0"),
    (block(melts=0), r"melts: got 0, expected greater than or equal to 1"),
    (block(label="'a b'"), r":3: samples\.0\.label: got 'a b', expected 1 to 64"),
    ("name: x\n" + BLOCK + BLOCK[9:], r":2: samples: the label 'a' is used twice"),
    ("name: x\n" + BLOCK + "protocol: {melt_temperature: 300 C}\n", r":4: .*got '300 C', expected the unit K,"),
    ("name: x\n" + BLOCK + "protocol:\n  final_temperature: 2000\n", r":5: .*got 2000 K, expected less than melt_temp"),
    ("name: x\n" + BLOCK + "protocol: {timestep: 0}\n", r":4: protocol\.timestep: got 0, expected greater"),
    ("name: x\n" + BLOCK + "protocol: {timestep: 11 fs}\n", r":4: .*got '11 fs', expected less than or equal to 10"),
    ("name: x\n" + BLOCK + "protocol: {barostat: cubic}\n", r":4: .*got 'cubic', expected 'aniso', 'iso' or 'tri'"),
    ("name: x\n" + BLOCK + "structure: {atomic: yes}\n", r":4: structure\.atomic: got 'yes', expected a valid boolean"),
    (
        "name: x\n" + BLOCK + "structure: {bin_width: 20}\n",
        r":4: structure\.bin_width: got 20, expected at most r_max 12",
    ),
    (
        "name: x\n" + BLOCK + "vibration: {bin_width: 20}\n",
        r":4: vibration\.bin_width: got 20, expected at most omega_cut",
    ),
    (
        "name: x\n" + BLOCK + "vibration: {solver: arpack}\n",
        r":4: vibration\.solver: got 'arpack', expected 'auto', 'lap",
    ),
    (
        "name: x\n" + BLOCK + "vibration: {certificate: none}\n",
        r":4: .*got 'none', expected 'auto', 'cholesky' or 'sea",
    ),
    (
        "name: x\n" + BLOCK + "vibration: {store_vectors: float64}\n",
        r":4: .*got 'float64', expected 'none' or 'float32'",
    ),
    ("name: x\n" + BLOCK + "gruneisen: {volume_step: 0.1}\n", r":4: gruneisen\.volume_step: got 0.1, expected less"),
    ("name: x\n" + BLOCK + "gruneisen: {step: 0.1}\n", r":4: .*unknown key, expected volume_step, omega_cut, all_vec"),
    ("name: x\n" + BLOCK + "gruneisen: {}\nstages: [gruneisen]\n", r":5: stages: gruneisen needs quench before it"),
    (
        "name: x\n" + BLOCK + "temperatures: {series: []}\n",
        r":4: temperatures\.series: expected one temperature or more",
    ),
    ("name: x\n" + BLOCK + "temperatures: {series: [300, 300]}\n", r":4: .*series: expected one .* more, rising"),
    ("name: x\n" + BLOCK + "temperatures: {series: [300 C]}\n", r":4: .*series\.0: got '300 C', expected the unit K"),
    ("name: x\n" + BLOCK + "temperatures: {ensemble: nve}\n", r":4: .*got 'nve', expected 'nvt' or 'npt'"),
    ("name: x\n" + BLOCK + "temperatures: {hold: 1}\n", r":4: .*unknown key, expected series, heating, relaxation"),
    (
        "name: x\n" + BLOCK + "temperatures: {}\nstages: [temperatures]\n",
        r":5: stages: temperatures needs quench before",
    ),
    (
        "name: x\n" + BLOCK + "trajectory: {duration: 1000}\n",
        r":4: trajectory\.sampling: got 0\.01 ps, 100000 frames; ex",
    ),
    ("name: x\n" + BLOCK + "trajectory: {sampling: 0.5}\n", r":4: .*got 0\.5 ps, 2\.0 frames; expected at least 10"),
    (
        "name: x\nsamples:\n  - {label: g, structures: [a.data], cooling_rates: [1e10, 1e12]}\n",
        r":3: samples\.0\.cooling_rates: got 2, expected 1, one for each of structures",
    ),
    ("name: x\n" + BLOCK + "activation: {atoms: some}\n", r":4: activation\.atoms: got 'some', expected 'all', a num"),
    ("name: x\n" + BLOCK + "activation: {atoms: 0}\n", r":4: activation\.atoms: got 0, expected 'all', a number of"),
    ("name: x\n" + BLOCK + "activation: {atoms: [1, 1]}\n", r":4: .*atoms: got a list, expected different indices"),
    ("name: x\n" + BLOCK + "activation: {atoms: [-1]}\n", r":4: .*atoms: got a list, expected different indices"),
    ("name: x\n" + BLOCK + "activation: {atoms: [yes]}\n", r":4: .*atoms: got a list, expected different indices"),
    ("name: x\n" + BLOCK + "activation: {atoms: 1.5}\n", r":4: activation\.atoms: got 1\.5, expected 'all'"),
    ("name: x\n" + BLOCK + "activation: {max_trials: 19}\n", r":4: .*max_trials: got 19, expected at least events_per"),
    ("name: x\n" + BLOCK + "activation: {lambda_exit: 0.3}\n", r":4: .*lambda_exit: got 0\.3, expected less than 0"),
    ("name: x\n" + BLOCK + "activation: {lambda_exit: -1 eV}\n", r":4: .*got '-1 eV', expected the unit eV/angstrom2"),
    ("name: x\n" + BLOCK + "activation: {push_norm: 10}\n", r":4: .*push_norm: got 10, expected less than or equal"),
    ("name: x\n" + BLOCK + "activation: {force_refined: 0.1}\n", r":4: .*force_refined: got 0\.1, expected at most fo"),
    (
        "name: x\n" + BLOCK + "activation: {cluster_radius: 12}\n",
        r":4: .*cluster_radius: got 12, expected less than act",
    ),
    ("name: x\n" + BLOCK + "activation: {batch_minutes: 5 h}\n", r":4: .*got '5 h', expected the unit min"),
    ("name: x\n" + BLOCK + "activation: {push: 0.1}\n", r":4: activation\.push: unknown key, did you mean 'push_"),
    ("name: x\n" + BLOCK + "activation: {}\nstages: [activation]\n", r":5: stages: activation needs quench before it"),
    ("name: x\n" + BLOCK + "stages: [quench]\n", r":4: stages: quench needs melt before it"),
    ("name: x\n" + BLOCK + "stages: [melt, vibration]\n", r":4: stages: vibration needs quench before it"),
    ("name: x\n" + BLOCK + "stages: [melting]\n", r":4: stages\.0: got 'melting', expected 'melt', 'quench'"),
    ("name: x\n" + BLOCK + "resources: {melt: {memory: 4 GB}}\n", r":4: .*got '4 GB', expected the unit GiB"),
    ("name: x\n" + BLOCK + "resources: {melt: {walltime: 1:30}}\n", r":4: .*got '1:30', expected \[days-\]hours"),
    ("name: x\n" + BLOCK + "resources: {melt: {walltime: 3600}}\n", r":4: .*got 3600, expected text"),
    ("name: x\n" + BLOCK + "resources: {melt: {walltime: '00:00:00'}}\n", r":4: .*expected \[days-\]hours"),
    ("name: x\n" + BLOCK + "protocol: 5\n", r":4: protocol: got 5, expected keys and values"),
    ("name: x\n" + BLOCK + 'potential: "a\\nb"\n', r":4: potential: got 'a\\nb', expected a path without line breaks"),
    ("name: x\n" + BLOCK + 'potential: "a\\0b"\n', r":4: potential: got 'a\\x00b', expected a path"),
    (
        "name: x\n" + BLOCK + "potential: {name: ../a.eam.fs}\n",
        r":4: potential\.name: got '../a\.eam\.fs', expected 1 to",
    ),
    ("name: x\n" + BLOCK + "potential: {name: a, sha256: 12}\n", r":4: potential\.sha256: got 12, expected text"),
    ("- a\n", r":1: expected keys and values"),
    ("text\n", r":1: expected keys and values"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said_with_file_line_and_key(load, text, message):
    with pytest.raises(
        ConfigError, match=r"campaign\.yaml" + (message if message[0] == ":" else ".*" + message)
    ) as caught:
        load(text)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_not_printed_whole(load):
    with pytest.raises(ConfigError, match=r"got 'aaa") as caught:
        load("name: " + "a" * 100_000 + "\n" + BLOCK)
    assert len(str(caught.value)) < 500


def test_walltimes_are_text_and_become_seconds():
    assert Resources(walltime="1:30:00").walltime_s == 5400
    assert Resources(walltime="60-00:00:01").walltime_s == 60 * 86400 + 1


# ---- potentials ----


def configured(potential):
    return CampaignConfig(name="x", potential=potential, samples=())


def test_default_potential_is_the_one_of_lammps(tmp_path, monkeypatch):
    mine = tmp_path / "CuZr_mm.eam.fs"
    mine.write_text("a potential")
    monkeypatch.setenv("LAMMPS_POTENTIALS", str(tmp_path))
    assert find_potential(configured("default"), tmp_path) == mine
    monkeypatch.delenv("LAMMPS_POTENTIALS")
    assert find_potential(configured("default"), tmp_path).name == "CuZr_mm.eam.fs"


def test_default_potential_without_lammps_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.files", lambda _: None)
    with pytest.raises(ConfigError, match=r"not found in .*; install lammps, or set LAMMPS_POTENTIALS"):
        find_potential(configured("default"), tmp_path)


def test_a_path_is_relative_to_the_yaml_file(tmp_path):
    folder = tmp_path / "mit ü und space"
    folder.mkdir()
    (folder / "p.eam.fs").write_text("")
    assert find_potential(configured("mit ü und space/p.eam.fs"), tmp_path) == folder / "p.eam.fs"
    with pytest.raises(ConfigError, match=r"campaign.yaml: potential: .*none: no such file; expected 'default'"):
        find_potential(configured("none"), tmp_path)
    with pytest.raises(ConfigError, match="is a folder"):
        find_potential(configured("mit ü und space"), tmp_path)
    with pytest.raises(ConfigError, match="File name too long"):
        find_potential(configured("x" * 5000), tmp_path)
    with pytest.raises(ConfigError, match="no home folder is known"):
        find_potential(configured("~nobody-of-this-name/p.eam.fs"), tmp_path)


def test_a_missing_potential_names_the_line(load, tmp_path):
    config = load("name: x\npotential: none.eam.fs\n" + BLOCK)
    with pytest.raises(ConfigError, match=r"campaign\.yaml:2: potential: .*none\.eam\.fs: no such file"):
        find_potential(config, tmp_path)


def test_a_name_is_looked_up_and_checked_by_content(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (second / "p.eam.fs").write_text("content")
    sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # sha256sum of "content"
    monkeypatch.setenv("BPD_POTENTIALS", f"{first}:{second}")
    assert find_potential(configured(NamedPotential(name="p.eam.fs", sha256=sha256)), tmp_path) == second / "p.eam.fs"
    (first / "p.eam.fs").write_text("other")
    with pytest.raises(ConfigError, match=r"potential.sha256: .*expected ed7002b439e9ac84.*another file of the same"):
        find_potential(configured(NamedPotential(name="p.eam.fs", sha256=sha256)), tmp_path)
    assert find_potential(configured(NamedPotential(name="p.eam.fs")), tmp_path) == first / "p.eam.fs"


def test_a_name_is_looked_up_in_the_users_folder_too(tmp_path, monkeypatch):
    kept = tmp_path / "bp_distributed" / "potentials" / "p.eam.fs"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    monkeypatch.delenv("BPD_POTENTIALS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_potential(configured(NamedPotential(name="p.eam.fs")), tmp_path) == kept
    with pytest.raises(ConfigError, match=r"q.eam.fs not found in .*potentials; set BPD_POTENTIALS"):
        find_potential(configured(NamedPotential(name="q.eam.fs")), tmp_path)
