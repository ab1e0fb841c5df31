# SPDX-License-Identifier: BSD-3-Clause
"""The door to LAMMPS: refusals (reliability.md S13), translation of errors, energies against other codes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bp_distributed.errors import Reason
from bp_distributed.physics import lammps_session
from bp_distributed.physics.configuration import Configuration, restricted_cell
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.lammps_session import COMMANDS, read_thermo

HEAD = """
import json, sys
import numpy as np
from pathlib import Path
from bp_distributed.errors import ScienceError
from bp_distributed.physics.configuration import restricted_cell
from bp_distributed.physics.lammps_session import Session
def answer(**found):
    Path("answer.json").write_text(json.dumps(found))
"""


@pytest.fixture
def in_child(tmp_path, cuzr_path):
    """Return a function that runs code with a LAMMPS session in a process of its own, and gives its answer."""
    (tmp_path / "potential.eam.fs").write_bytes(cuzr_path.read_bytes())

    def run(code, **arrays):
        np.savez(tmp_path / "given.npz", **arrays)
        script = HEAD + "given = np.load('given.npz')\n" + textwrap.dedent(code)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        found = subprocess.run(  # noqa: PLW1510 - judged below
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert found.returncode == 0, found.stderr
        assert found.stdout == "", "LAMMPS spoke on the screen"
        return json.loads((tmp_path / "answer.json").read_text())

    return run


@pytest.fixture(autouse=True)
def no_canary(tmp_path):
    yield
    assert not (tmp_path / "CANARY").exists(), "foreign text was run"


INJECTIONS = [
    "metal\nshell touch CANARY", "metal\rshell touch CANARY", "${x}", "$(PYTHON)", "a &", '"""', "'", "# comment", "a;b",
    "a b", "a\tb", "`touch CANARY`", "", " ", "\u2028shell", "../../x", "/etc/passwd", "|touch CANARY", "é",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_s13_no_word_from_outside_passes(text):
    with pytest.raises(ValueError, match="plain word"):
        lammps_session._word(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_numbers_have_to_be_finite(number):
    with pytest.raises(ValueError, match="in LAMMPS input"):
        lammps_session._word(number)


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e-300, -2.5e17, np.float64(np.pi), 2**53 + 1, np.int32(7)])
def test_numbers_keep_every_digit(number):
    assert type(number)(lammps_session._word(number)) == number


def test_s13_the_list_holds_nothing_that_runs_foreign_code():
    dangerous = {
        "shell", "python", "plugin", "include", "jump", "variable", "print", "log", "next", "if", "quit", "label", "dump",
        "read_data", "write_dump", "molecule", "compute", "package", "suffix", "info", "echo", "partition", "clear",
    }  # fmt: skip
    assert not COMMANDS & dangerous


def test_s13_a_session_refuses_what_is_not_listed(in_child):
    code = """
        s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
        refused = []
        for words in (("shell", "touch", "CANARY"), ("run", "0\\nshell touch CANARY"), ("include", "potential.eam.fs"),
                      ("fix", "1", "all", "python/invoke", 1), ("units", "metal shell"), ("print", "x"), ("run", True)):
            try:
                s.command(*words)
            except ValueError:
                refused.append(words[0])
        answer(refused=refused)
    """
    assert in_child(code)["refused"] == ["shell", "run", "include", "fix", "units", "print", "run"]


@pytest.mark.parametrize("text", [*INJECTIONS, "Cu Zr", "cu", "Cuu", "NULL", "C\nshell touch CANARY"])
def test_s13_element_names_and_files_are_plain(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="only plain names"):
        lammps_session.Session(Path(), ("Cu", text), "potential.eam.fs")
    with pytest.raises(ValueError, match="only plain names"):
        lammps_session.Session(Path(), ("Cu", "Zr"), text)


@pytest.mark.parametrize("name", ["../potential.eam.fs", "x/potential.eam.fs", "potential.eam", "potential.eam.fs\n"])
def test_s14_the_potential_lies_in_the_working_directory(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="only plain names"):
        lammps_session.Session(Path(), ("Cu", "Zr"), name)


def test_a_session_works_where_the_process_is(tmp_path):
    with pytest.raises(ValueError, match="current directory"):
        lammps_session.Session(tmp_path, ("Cu", "Zr"), "potential.eam.fs")


# ---- configurations and energies --------------------------------------------------------------------------------------


def liquid(n, seed, tilt=0.0):
    """A disordered start: an fcc cube, shaken; only energies are asked of it."""
    rng = np.random.default_rng(seed)
    edge = round((n / 4) ** (1 / 3))
    corners = np.stack(np.meshgrid(*[np.arange(edge)] * 3), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    cell_cc = 4.2 * edge * (np.eye(3) + tilt * rng.uniform(-1, 1, (3, 3)))
    fractional = (corners + basis).reshape(-1, 3) / edge
    positions_ic = fractional @ cell_cc + rng.normal(0, 0.15, (n, 3))
    return positions_ic, cell_cc, rng.permutation(np.arange(n) % 2)


ENERGY = """
    s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
    s.load(given["position"], given["cell"], given["species"])
    s.command("run", 0)
    answer(energy=s.energy, forces=s.forces_ic.tolist(), style=s.pair_style, pressure=s.pressure,
           species=s.species_i.tolist(), components=s.pressure_components.tolist())
"""


@pytest.mark.parametrize(("n", "tilt"), [(108, 0.0), (108, 0.1), (256, 0.05)])
def test_energy_and_forces_equal_our_own_eam(in_child, cuzr, n, tilt):
    """Same spline tables: E/N to 1e-8 eV and forces to 1e-8 eV/Å (issue 2), also in a cell narrower than 2 rc."""
    positions_ic, cell_cc, species_i = liquid(n, 4, tilt)
    found = in_child(ENERGY, position=positions_ic, cell=cell_cc, species=species_i)
    ours = evaluate(Configuration(positions_ic, cell_cc, species_i, ("Cu", "Zr")), cuzr)
    assert found["species"] == species_i.tolist()
    assert found["energy"] / n == pytest.approx(ours.energy / n, abs=1e-8)
    _, rotation_cc = restricted_cell(cell_cc)
    np.testing.assert_allclose(np.array(found["forces"]), ours.forces_ic @ rotation_cc, atol=1e-8)
    assert found["pressure"] == pytest.approx(ours.pressure, rel=1e-6)  # LAMMPS's eV/Å³ to bar has 8 digits
    assert sum(found["components"][:3]) / 3 == pytest.approx(found["pressure"], abs=1e-9)


def test_energy_equals_ase(in_child, cuzr_path):
    """ASE interpolates the tables with other splines, so only the fifth digit is asked for."""
    ase = pytest.importorskip("ase")
    eam = pytest.importorskip("ase.calculators.eam")
    positions_ic, cell_cc, species_i = liquid(108, 9)
    atoms = ase.Atoms(np.array(["Cu", "Zr"])[species_i], positions_ic, cell=cell_cc, pbc=True)
    atoms.calc = eam.EAM(potential=str(cuzr_path), form="fs")
    found = in_child(ENERGY, position=positions_ic, cell=cell_cc, species=species_i)
    assert found["energy"] / 108 == pytest.approx(atoms.get_potential_energy() / 108, abs=1e-5)


def test_both_pair_styles_agree(in_child):
    """The faster one is chosen by the number of atoms; at 1372 it is opt."""
    positions_ic, cell_cc, species_i = liquid(1372, 2)
    code = """
        import bp_distributed.physics.lammps_session as module
        found = {}
        for limit in (1, 10**9):
            module.OPT_FROM_ATOMS = limit
            s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
            s.load(given["position"], given["cell"], given["species"])
            s.command("run", 0)
            found[s.pair_style] = (s.energy, s.forces_ic)
            s.close()
        (e1, f1), (e2, f2) = found.values()
        answer(styles=list(found), energy=abs(e1 - e2), force=float(abs(f1 - f2).max()))
    """
    found = in_child(code, position=positions_ic, cell=cell_cc, species=species_i)
    assert found["styles"] == ["eam/fs/opt", "eam/fs"]
    assert found["energy"] < 1e-10 * 1372 * 5  # 1e-10 of a total of about 5 eV per atom
    assert found["force"] < 1e-10


def test_velocities_species_and_cell_come_back(in_child):
    positions_ic, cell_cc, species_i = liquid(108, 6, tilt=0.08)
    velocities_ic = np.random.default_rng(1).normal(size=(108, 3))
    code = """
        s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
        s.load(given["position"], given["cell"], given["species"], given["velocity"])
        s.command("run", 0)
        answer(x=s.unwrapped_ic.tolist(), v=s.velocities_ic.tolist(), cell=s.cell_cc.tolist(),
               species=s.species_i.tolist(), masses=s.masses_e().tolist())
    """
    found = in_child(code, position=positions_ic, cell=cell_cc, species=species_i, velocity=velocities_ic)
    cell, rotation_cc = restricted_cell(cell_cc)
    np.testing.assert_allclose(found["cell"], cell, atol=1e-12)
    np.testing.assert_allclose(found["v"], velocities_ic @ rotation_cc, atol=1e-13)
    away = (np.array(found["x"]) - positions_ic @ rotation_cc) @ np.linalg.inv(cell)
    np.testing.assert_allclose(away, np.rint(away), atol=1e-12)
    assert found["species"] == species_i.tolist()
    assert found["masses"] == [63.546, 91.224]


@pytest.mark.parametrize(
    "factor", [[[1.01, 0, 0], [0, 0.99, 0], [0, 0, 1.02]], [[1, 0, 0], [0.02, 1, 0], [-0.01, 0.03, 1]]]
)
def test_deforming_moves_cell_and_atoms_alike(in_child, factor):
    positions_ic, cell_cc, species_i = liquid(108, 6)
    code = """
        s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
        s.load(given["position"], given["cell"], given["species"], triclinic=bool(given["factor"][1, 0]))
        s.command("run", 0)
        before = s.unwrapped_ic @ np.linalg.inv(s.cell_cc)
        s.deform(given["factor"])
        after = s.unwrapped_ic @ np.linalg.inv(s.cell_cc)
        answer(cell=s.cell_cc.tolist(), moved=float(abs(after - before).max()))
    """
    found = in_child(code, position=positions_ic, cell=cell_cc, species=species_i, factor=np.array(factor))
    np.testing.assert_allclose(found["cell"], cell_cc @ np.array(factor), atol=1e-12)
    assert found["moved"] < 1e-12


def test_restricted_cells_keep_lengths_and_angles():
    cell_cc = np.random.default_rng(8).normal(size=(3, 3)) + 3 * np.eye(3)
    lower_cc, rotation_cc = restricted_cell(cell_cc)
    np.testing.assert_allclose(np.triu(lower_cc, 1), 0, atol=1e-14)
    assert (np.diag(lower_cc) > 0).all()
    np.testing.assert_allclose(cell_cc @ rotation_cc, lower_cc, atol=1e-13)
    np.testing.assert_allclose(rotation_cc @ rotation_cc.T, np.eye(3), atol=1e-14)


# ---- errors -----------------------------------------------------------------------------------------------------------


def test_atoms_thrown_out_of_the_box_are_told(in_child):
    """A heap of atoms on one spot explodes."""
    positions_ic, cell_cc, species_i = liquid(108, 6)
    positions_ic = positions_ic[0] + 0.05 * np.random.default_rng(2).normal(size=(108, 3))
    code = """
        s = Session(Path(), ("Cu", "Zr"), "potential.eam.fs")
        s.load(given["position"], given["cell"], given["species"])
        s.command("fix", "1", "all", "npt", "temp", 2000.0, 2000.0, 0.1, "iso", 0.0, 0.0, 1.0)
        s.command("timestep", 0.01)
        try:
            s.command("run", 2000)
            answer(reason="none")
        except ScienceError as error:
            answer(reason=error.reason.value, what=error.what)
    """
    found = in_child(code, position=positions_ic, cell=cell_cc, species=species_i)
    assert found["reason"] in {Reason.ATOMS_LOST.value, Reason.NOT_FINITE.value}, found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ERROR: Lost atoms: original 256 current 255 (src/thermo.cpp:488)", Reason.ATOMS_LOST),
        ("ERROR on proc 0: Non-numeric atom coords - simulation unstable", Reason.NOT_FINITE),
        ("ERROR: Non-numeric pressure - simulation unstable", Reason.NOT_FINITE),
        ("ERROR: No matching element in EAM potential file", Reason.LAMMPS_ERROR),
        ("ERROR: Unknown command: nanometres", Reason.LAMMPS_ERROR),
    ],
)
def test_words_of_lammps_become_reasons(text, reason):
    error = lammps_session._translated(text)
    assert error.reason == reason
    assert error.what == text


def test_an_element_the_potential_lacks_is_told(in_child):
    code = """
        s = Session(Path(), ("Cu", "Al"), "potential.eam.fs")
        try:
            s.load(given["position"], given["cell"], given["species"])
            answer(reason="none")
        except ScienceError as error:
            answer(reason=error.reason.value, what=error.what)
    """
    positions_ic, cell_cc, species_i = liquid(108, 6)
    found = in_child(code, position=positions_ic, cell=cell_cc, species=species_i)
    assert found["reason"] == Reason.LAMMPS_ERROR.value
    assert "element" in found["what"]


# ---- thermodynamic rows -----------------------------------------------------------------------------------------------

LOG = """\
run 100
   Step          Temp          PotEng         Volume         Press
         0   10   -1.5   100   0.5
        50   11   -1.4   101   0.4
WARNING: something
       100   12   -1.3   102   0.3
Loop time of 0.1 on 1 procs for 100 steps with 108 atoms
       999   1   1   1   1
   Step          Temp          PotEng         Volume         Press
       100   12   -1.3   102   0.3
       150   13   -1.2   103   0.2
"""


def test_rows_of_a_log_are_read_once_each():
    rows = read_thermo(LOG)
    assert rows[:, 0].tolist() == [0, 50, 100, 150]
    np.testing.assert_allclose(rows[3], [150, 13, -1.2, 103, 0.2])
    assert read_thermo("").shape == (0, 5)
