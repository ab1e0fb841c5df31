# SPDX-License-Identifier: BSD-3-Clause
"""What leaves the house: read back by ASE, LAMMPS, csv and sha256sum, and compared with what went in."""

import csv
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_campaign import write_campaign
from synthetic import labelled, structure_stage, vibration_stage
from synthetic_activation import activation_stage

from bp_distributed.config import default_potential
from bp_distributed.errors import CampaignError, ConfigError, StoreError
from bp_distributed.export import tables
from bp_distributed.export.data_package import Origin, write_package
from bp_distributed.export.extended_xyz import extended_xyz
from bp_distributed.export.frame import frames
from bp_distributed.export.lammps_dump import lammps_dump
from bp_distributed.export.metadata import read_metadata
from bp_distributed.export.outlet import checked_formats, export
from bp_distributed.gather import GatherItem, gather, open_dataset
from bp_distributed.physics.configuration import Configuration, read_configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.potential import read_potential
from bp_distributed.units import GPA_PER_BAR, GPA_PER_EV_PER_A3

ROUNDING = 1e-9
"""Relative: sums of a few hundred numbers, in another order."""
SKEW = np.array([[0.2, 1.0, 0.1], [-1.0, 0.3, 0.2], [0.15, -0.1, 1.1]])
"""A right-handed cell in no form that LAMMPS knows; it must be rotated."""
SEARCHED = np.array([3, 17, 40])


@pytest.fixture(scope="module")
def potential():
    return read_potential(default_potential(), ("Cu", "Zr"))


def alloy(rng, cell_cc, cells=3):
    """Return positions, cell and species of a distorted fcc crystal."""
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    fraction_ic = (corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3) / cells
    position_ic = (fraction_ic - 0.3) @ cell_cc + rng.normal(scale=0.1, size=fraction_ic.shape)
    return position_ic, cell_cc, rng.integers(0, 2, len(position_ic))


def item(index, cell_cc, potential, searched=None):
    rng = np.random.default_rng(index)
    position_ic, cell_cc, species_i = alloy(rng, cell_cc)
    found = evaluate(Configuration(position_ic, cell_cc, species_i, ("Cu", "Zr")), potential)
    relaxed = labelled(position=position_ic, cell=cell_cc, species=species_i, energy=found.energy, max_force=found.max_force,
                       pressure=found.pressure, density=7.0)  # fmt: skip
    n_atoms = len(species_i)
    stages = {"relax": relaxed, "structure": structure_stage(rng, 0.0), "vibration": vibration_stage(rng, n_atoms, 1.3)}
    if searched is not None:
        stages["activation"] = activation_stage(rng, np.full(n_atoms, 1.5), searched)
    return GatherItem(
        sample_id=f"{index:020d}"[::-1], label=f'a "b" {index}', group="melt", cooling_rate=1e13 if index else np.nan,
        composition={"Cu": 0.5, "Zr": 0.5}, n_atoms=n_atoms, stages=stages,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(potential):
    """A cube with searches of three atoms, a skew cell, and a sample without a structure."""
    empty = GatherItem("e" * 20, "empty", "melt", 1e13, {"Cu": 0.5, "Zr": 0.5}, 108)
    cube, skew = 11.4 * np.eye(3), 11.0 * SKEW
    return gather([item(0, cube, potential, SEARCHED), item(1, skew, potential), empty], {"elements": "Cu Zr"})


@pytest.fixture(scope="module")
def both(dataset, potential):
    return list(frames(dataset, potential, range(3)))


def column(frame, name):
    return next(found.values_i for found in frame.columns if found.name == name)


# ---- frames -----------------------------------------------------------------------------------------------------------


def test_energy_and_stress_of_the_atoms_sum_to_those_of_the_sample(both):
    assert [frame.configuration.n_atoms for frame in both] == [108, 108]
    for frame in both:
        assert column(frame, "atomic_energy").sum() == pytest.approx(frame.facts["energy"], rel=ROUNDING)
        trace_i = sum(column(frame, f"stress_volume_{axis}") for axis in ("xx", "yy", "zz"))
        expected = -3.0 * frame.facts["pressure"] / GPA_PER_EV_PER_A3 * frame.configuration.volume
        assert trace_i.sum() == pytest.approx(expected, rel=ROUNDING)
        assert column(frame, "atomic_pressure").mean() == pytest.approx(frame.facts["pressure"], rel=ROUNDING)


def test_an_atom_that_was_not_searched_has_no_energy_and_no_search(both):
    searched = column(both[0], "n_tried") > 0
    assert np.array_equal(np.flatnonzero(searched), SEARCHED)
    assert np.isnan(column(both[0], "mean_activation_energy")[~searched]).all()
    assert not column(both[1], "n_tried").any()
    assert np.isnan(column(both[1], "mean_activation_energy")).all()


def test_file_names_have_no_blanks_and_differ(both):
    assert [frame.file_stem for frame in both] == ["a_b_0_00000000", "a_b_1_10000000"]


# ---- extended XYZ -----------------------------------------------------------------------------------------------------


def test_ase_reads_every_number_back(both, tmp_path):
    ase_io = pytest.importorskip("ase.io")
    for frame in both:
        path = tmp_path / "glass.xyz"
        path.write_text(extended_xyz(frame), encoding="utf-8")
        atoms = ase_io.read(path)
        assert atoms.pbc.all()
        assert np.array_equal(atoms.positions, frame.configuration.positions_ic)
        assert np.array_equal(atoms.cell[:], frame.configuration.cell_cc)
        assert atoms.get_chemical_symbols() == frame.symbols
        assert np.array_equal(atoms.arrays["id"], np.arange(1, 109))
        for known in frame.columns:
            read = atoms.arrays[known.name].astype(known.values_i.dtype)
            assert np.array_equal(read, known.values_i, equal_nan=known.values_i.dtype.kind == "f"), known.name
        assert atoms.get_potential_energy() == frame.facts["energy"]
        assert atoms.info["sample"] == f"{frame.label} ({frame.sample_id})"
        assert atoms.info["robust_intensity"] == frame.facts["robust_intensity"]


def test_our_own_reader_takes_an_exported_structure(both, tmp_path, potential):
    (tmp_path / "glass.xyz").write_text(extended_xyz(both[1]), encoding="utf-8")
    read = read_configuration(tmp_path / "glass.xyz", ("Cu", "Zr"))
    assert evaluate(read, potential).energy == pytest.approx(both[1].facts["energy"], rel=ROUNDING)


# ---- LAMMPS dumps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1], ids=["cube", "skew"])
def test_lammps_reads_a_dump_and_agrees_atom_by_atom(both, index, tmp_path):
    frame = both[index]
    text = lammps_dump(frame)
    (tmp_path / "glass.dump").write_text(text, encoding="utf-8")
    ask = {"dump": str(tmp_path / "glass.dump"), "potential": str(default_potential()), "elements": ["Cu", "Zr"],
           "tilted": bool(index)}  # fmt: skip
    (tmp_path / "ask.json").write_text(json.dumps(ask))
    script = Path(__file__).with_name("lammps_reads_dump.py")
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    answer = np.load(tmp_path / "answer.npz")
    assert answer["energy"] == pytest.approx(frame.facts["energy"], rel=ROUNDING)
    assert answer["pressure_bar"] * GPA_PER_BAR == pytest.approx(frame.facts["pressure"], rel=1e-6)
    assert answer["energies_i"] == pytest.approx(column(frame, "atomic_energy"), rel=1e-8)
    names, *rows = (line.split() for line in text.splitlines()[10:])
    written = {name: np.array([row[at] for row in rows]) for at, name in enumerate(names[2:])}
    stress = [written[f"stress_volume_{axis}"].astype(float) for axis in ("xx", "yy", "zz", "xy", "xz", "yz")]
    theirs = answer["stress_bar_i"].T * GPA_PER_BAR / GPA_PER_EV_PER_A3
    assert np.abs(stress - theirs).max() < 1e-6 * np.abs(theirs).max()
    assert (written["element"] == frame.symbols).all()


# ---- tables -----------------------------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_every_sample_and_every_atom_of_the_chosen(dataset, potential, tmp_path):
    folder = export(dataset, potential, [2, 1], ("csv",), tmp_path / "out")
    samples, atoms = rows_of(folder / "tables" / "samples.csv"), rows_of(folder / "tables" / "atoms.csv")
    assert [row["label"] for row in samples] == ["empty", 'a "b" 1']
    assert samples[0]["energy"] == samples[0]["robust_intensity"] == ""
    assert float(samples[1]["robust_intensity"]) == dataset["robust_intensity"].to_numpy()[1]
    assert float(samples[1]["composition_Zr"]) == 0.5
    assert len(atoms) == 108
    assert {row["sample_id"] for row in atoms} == {samples[1]["sample_id"]}
    assert [float(row["y"]) for row in atoms] == dataset["position"].to_numpy()[108:, 1].tolist()
    assert {row["mean_activation_energy"] for row in atoms} == {""}
    meanings = json.loads((folder / "columns.json").read_text())
    assert list(meanings["atoms"]) == list(atoms[0])
    assert list(meanings["samples"]) == list(samples[0])
    assert meanings["atoms"]["atomic_intensity"]["units"] == "ps3"


def test_parquet_without_pyarrow_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"--format parquet: needs pyarrow.*install it, or ask for csv"):
        checked_formats(["xyz,parquet"])


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed")
def test_parquet_holds_what_csv_holds(dataset, potential, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = export(dataset, potential, [0, 1], checked_formats(["parquet,csv"]), tmp_path / "out")
    for name in ("samples", "atoms"):
        table = parquet.read_table(folder / "tables" / f"{name}.parquet")
        texts = [
            {key: "" if value in {None, ""} else str(value) for key, value in row.items()} for row in table.to_pylist()
        ]
        numbers = [key for key in texts[0] if key not in {"sample_id", "label", "group", "rejected", "element"}]
        for ours, theirs in zip(rows_of(folder / "tables" / f"{name}.csv"), texts, strict=True):
            assert all(ours[key] == theirs[key] or np.float32(ours[key]) == np.float32(theirs[key]) for key in numbers)
        assert table.schema.field(numbers[-1]).metadata[b"units"]


# ---- whole or not at all ----------------------------------------------------------------------------------------------


def test_an_export_replaces_an_export_and_nothing_else(dataset, potential, tmp_path):
    target = export(dataset, potential, [0], ("xyz",), tmp_path / "out")
    export(dataset, potential, [1], ("dump",), target)
    assert sorted(path.name for path in target.iterdir()) == ["columns.json", "dumps"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="is there already and no export"):
        export(dataset, potential, [0], ("xyz",), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_an_interrupted_export_leaves_the_old_one(dataset, potential, tmp_path):
    target = export(dataset, potential, [0], ("xyz",), tmp_path / "out")
    before = sorted(target.rglob("*"))

    def power_cut():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(dataset, potential, [1], ("xyz", "csv"), target, power_cut)
    assert sorted(target.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_a_package_is_packed(dataset, potential, tmp_path):
    with pytest.raises(ConfigError, match=r"got a\.zip, but only a package is packed; name a folder"):
        export(dataset, potential, [0], ("xyz",), tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


def test_nothing_to_export_is_one_sentence(dataset, potential, tmp_path):
    with pytest.raises(CampaignError, match="no sample has a structure yet"):
        export(dataset, potential, [2], ("xyz",), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "match"),
    [(["xyz", "pdb"], "got 'pdb', expected one or more of xyz"), (["package,xyz"], "ask for it alone")],
)
def test_formats_that_make_no_sense(words, match):
    with pytest.raises(ConfigError, match=match):
        checked_formats(words)


# ---- data package -----------------------------------------------------------------------------------------------------

METADATA = """\
title: Two glasses, "made up"
creators:
  - {name: "Carberry, Josiah", affiliation: Brown University, orcid: 0000-0002-1825-0097}
  - {name: The founders}
licence: CC-BY-4.0
date: 2026-11-21
"""
PRIVATE = "/home/josiah/private"
ORIGIN = Origin(
    config={"potential": f"{PRIVATE}/mine.eam.fs", "samples": [{"label": "a", "structures": [f"{PRIVATE}/a.data"]}]},
    campaign_uuid="u", plan_sha256="p", potential_name="mine.eam.fs", potential_sha256="0" * 64,
    structures={"a": "1" * 64}, versions={"lammps": "1", "bp_distributed": "2"},
)  # fmt: skip


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    path = tmp_path_factory.mktemp("metadata") / "package.yaml"
    path.write_text(METADATA, encoding="utf-8")
    return read_metadata(path)


@pytest.fixture(scope="module")
def package(dataset, potential, metadata, tmp_path_factory):
    return write_package(dataset, potential, ORIGIN, metadata, tmp_path_factory.mktemp("out") / "package")


def test_sha256sum_passes_and_sees_one_changed_byte(package, tmp_path):
    check = ["sha256sum", "--check", "--quiet", "checksums.sha256"]
    subprocess.run(check, cwd=package, check=True)
    listed = {line.split("  ", 1)[1] for line in (package / "checksums.sha256").read_text().splitlines()}
    there = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert listed == there - {"checksums.sha256"}
    path = package / "CITATION.cff"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole.replace(b"Josiah", b"Joshua"))
        assert subprocess.run(check, cwd=package, check=False, capture_output=True).returncode == 1
    finally:
        path.write_bytes(whole)


def test_the_description_names_files_columns_and_people(package, dataset):
    described = json.loads((package / "datapackage.json").read_text())
    assert described["name"] == "two-glasses-made-up"
    assert described["licenses"][0]["name"] == "CC-BY-4.0"
    assert described["contributors"][0]["path"] == "https://orcid.org/0000-0002-1825-0097"
    assert "description" not in described
    resources = {resource["path"]: resource for resource in described["resources"]}
    assert len({resource["name"] for resource in resources.values()}) == len(resources) == 5
    for path, resource in resources.items():
        assert resource["bytes"] == (package / path).stat().st_size
    for name in ("samples", "atoms"):
        fields = resources[f"tables/{name}.csv"]["schema"]["fields"]
        rows = rows_of(package / "tables" / f"{name}.csv")
        assert [field["name"] for field in fields] == list(rows[0])
        cast = {"integer": int, "number": float, "string": str}
        for field in fields:
            for text in {row[field["name"]] for row in rows} - {""}:
                cast[field["type"]](text)
    stored = open_dataset(package / "dataset.nc")
    assert np.array_equal(stored["position"].to_numpy(), dataset["position"].to_numpy())
    assert "Creative Commons Attribution 4.0" in stored.attrs["license"]
    assert stored.attrs["creator_name"] == "Carberry, Josiah; The founders"
    assert yaml.safe_load((package / "CITATION.cff").read_text())["authors"][0]["family-names"] == "Carberry"


def test_no_path_of_this_machine_and_no_potential_is_in_it(package, metadata):
    for path in package.rglob("*"):
        if path.is_file():
            assert PRIVATE.encode() not in path.read_bytes(), path
    assert not list(package.rglob("*.eam*"))
    config = yaml.safe_load((package / "campaign.yaml").read_text())
    assert config == {"potential": {"name": "mine.eam.fs", "sha256": "0" * 64},
                      "samples": [{"label": "a", "structures": ["a.data"]}]}  # fmt: skip


def test_equal_data_give_equal_bytes_as_a_folder_and_as_a_zip(package, dataset, potential, metadata, tmp_path):
    again = write_package(dataset, potential, ORIGIN, metadata, tmp_path / "again.zip")
    with zipfile.ZipFile(again) as archive:
        names = archive.namelist()
        root = "two-glasses-made-up/"
        assert sorted(names) == sorted(
            root + path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()
        )
        for name in names:
            assert archive.read(name) == (package / name.removeprefix(root)).read_bytes(), name
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 11, 21, 0, 0, 0)}
    with pytest.raises(StoreError, match="is there already; remove it"):
        write_package(dataset, potential, ORIGIN, metadata, again)
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (METADATA.replace("licence: CC-BY-4.0\n", ""), r"package\.yaml:\d+: licence: is missing"),
        (METADATA.replace("CC-BY-4.0", "mine"), r"package\.yaml:5: licence: got 'mine', expected 'CC-BY-4\.0'"),
        (METADATA.replace("licence", "license"), r"package\.yaml:5: license: unknown key, expected title, creators, licence"),
        (METADATA.replace("orcid", "orcit"), r"package\.yaml:3: creators\.0\.orcit: unknown key, expected name"),
        (METADATA.replace("0097", "0098"), r"package\.yaml:3: creators\.0\.orcid: got '0000-0002-1825-0098', .*last digit"),
        (METADATA.replace("2026-11-21", "yesterday"), r"package\.yaml:6: date: got 'yesterday', expected a date"),
        ("title: x\ncreators: []\nlicence: MIT\ndate: 2026-01-01\n", r"package\.yaml:2: creators: got"),
        ("- x\n", "expected keys and values"),
    ],
)  # fmt: skip
def test_metadata_that_lack_something_are_refused_in_one_line(tmp_path, text, match):
    (tmp_path / "package.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=match) as refusal:
        read_metadata(tmp_path / "package.yaml")
    assert "\n" not in str(refusal.value)


def test_missing_metadata_say_what_to_write(tmp_path):
    with pytest.raises(ConfigError, match="no such file; write one with title, creators, licence and date"):
        read_metadata(tmp_path / "package.yaml")


# ---- the campaign and the command -------------------------------------------------------------------------------------


def test_the_command_exports_a_campaign_and_refuses_in_one_line(both, tmp_path):
    campaign = write_campaign(
        tmp_path / "c",
        "name: two\nstages: [relax]\nsamples: [{label: own, structures: [cube.xyz, skew.xyz]}]\n",
    )
    for frame, name in zip(both, ("cube", "skew"), strict=True):
        (campaign.root / f"{name}.xyz").write_text(extended_xyz(frame), encoding="utf-8")
    assert campaign.run(workers=0) == "finished"
    first, *_ = campaign.store.plan.samples
    bpd = [Path(sys.executable).with_name("bpd"), "export", campaign.root]
    subprocess.run([*bpd, "--samples", first.label, "--format", "xyz,csv"], check=True, timeout=120)
    folder = campaign.root / "products" / "export"
    assert [row["sample_id"] for row in rows_of(folder / "tables" / "samples.csv")] == [first.sid]
    assert len(list((folder / "structures").iterdir())) == 1
    refused = subprocess.run([*bpd, "--format", "package"], capture_output=True, text=True, timeout=120, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "package.yaml: no such file; write one with title" in refused.stderr
    (campaign.root / "package.yaml").write_text(METADATA, encoding="utf-8")
    assert zipfile.is_zipfile(campaign.export(["package"], out=tmp_path / "p.zip"))


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"samples": ["nobody"]}, "nobody: fits no sample"),
        ({"samples": ["glass-melt1"]}, "is a melt; name samples"),
        ({"formats": ["package"], "samples": ["glass-5e+14-r1"]}, "a package holds the whole campaign"),
    ],
)
def test_samples_that_make_no_sense(campaign, asked, match):
    campaign.start()
    with pytest.raises(ConfigError, match=match):
        campaign.export(**asked)
