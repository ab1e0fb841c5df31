# SPDX-License-Identifier: BSD-3-Clause
"""The factored Hessian against LAMMPS finite differences, matscipy, and its own symmetries."""

import numpy as np
import pytest
from small_systems import random_start, wheel_potential

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential

FINITE_DIFFERENCE = 1e-4  # relative; the second derivative jumps at spline knots that the step crosses
ROUNDING = 1e-12  # relative
MATSCIPY = 5e-3  # relative; another interpolant (global C2 spline), whose curvature differs near the knots; seen 1.3e-3
STEP = 1e-5  # Å; crosses 2.6 % of the knots

TILT = ((0, 0, 0), (0.3, 0, 0), (-0.2, 0.1, 0))
CUBE = np.zeros((3, 3))


def largest_difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def test_glass_agrees_with_lammps(tiny_glass, cuzr, cuzr_path, ask_lammps):
    reference = ask_lammps(tiny_glass, cuzr_path, STEP)["hessian"]
    assert largest_difference(factored_hessian(tiny_glass, cuzr).dense(), reference) < FINITE_DIFFERENCE


@pytest.mark.parametrize(
    "system",
    [
        ("AlFe_mm.eam.fs", ("Al", "Fe"), 24, 7.4, CUBE),
        ("NiAlH_jea.eam.fs", ("Al", "Ni"), 24, 7.0, CUBE),
        ("NiAlH_jea.eam.fs", ("Ni", "H", "Al"), 18, 6.8, TILT),
        ("CuZr_mm.eam.fs", ("Cu", "Zr"), 8, 5.6, CUBE),
        ("CuZr_mm.eam.fs", ("Cu", "Zr"), 40, 9.5, TILT),
        ("CuNi.eam.alloy", ("Cu", "Ni"), 24, 7.0, CUBE),
    ],
    ids=["aluminium-iron", "asymmetric", "asymmetric-triclinic", "cell-below-range", "triclinic", "alloy"],
)
def test_small_systems_agree_with_lammps(system, ask_lammps):
    name, elements, n_atoms, edge, tilt = system
    path = wheel_potential(name)
    sample = random_start(n_atoms, elements, edge, seed=5, tilt=tilt)
    ours = factored_hessian(sample, read_potential(path, elements)).dense()
    reference = ask_lammps(sample, path, STEP)["hessian"]
    assert largest_difference(ours, reference) < FINITE_DIFFERENCE


def test_glass_agrees_with_matscipy(tiny_glass, cuzr, cuzr_path):
    ase = pytest.importorskip("ase")
    eam = pytest.importorskip("matscipy.calculators.eam")
    symbols = [tiny_glass.elements[s] for s in tiny_glass.species_i]
    atoms = ase.Atoms(symbols, positions=tiny_glass.positions_ic, cell=tiny_glass.cell_cc, pbc=True)
    reference = eam.EAM(str(cuzr_path), kind="eam/fs").calculate_hessian_matrix(atoms).toarray()
    assert largest_difference(factored_hessian(tiny_glass, cuzr).dense(), reference) < MATSCIPY


@pytest.mark.parametrize(("name", "elements"), [("NiAlH_jea.eam.fs", ("Ni", "Al")), ("CuZr_mm.eam.fs", ("Cu", "Zr"))])
def test_symmetry_row_sums_and_factors(name, elements):
    potential = read_potential(wheel_potential(name), elements)
    hessian = factored_hessian(random_start(20, elements, 7.2, seed=8), potential)
    dense = hessian.dense()
    scale = np.abs(dense).max()
    assert np.abs(dense - dense.T).max() < ROUNDING * scale
    assert np.abs(dense @ np.tile(np.eye(3), (20, 1))).max() < 10 * ROUNDING * scale
    u = np.random.default_rng(0).normal(size=(60, 4))
    assert np.abs(hessian.matmat(u) - dense @ u).max() < ROUNDING * scale * 10
    np.testing.assert_allclose(hessian.matvec(u[:, 0]), hessian.matmat(u)[:, 0], rtol=ROUNDING, atol=ROUNDING * scale)
    np.testing.assert_allclose(hessian.diagonal(), np.diag(dense), atol=ROUNDING * scale)


def test_mass_weighting(tiny_glass, cuzr):
    masses_i = cuzr.masses_e[tiny_glass.species_i]
    plain = factored_hessian(tiny_glass, cuzr)
    root = np.repeat(np.sqrt(masses_i), 3)
    expected = plain.dense() / root / root[:, None]
    np.testing.assert_allclose(plain.mass_weighted(masses_i).dense(), expected, atol=ROUNDING)


def test_own_images_add_no_stiffness(cuzr):
    alone = Configuration(np.zeros((1, 3)), np.eye(3) * 3.0, np.array([0]), ("Cu", "Zr"))
    assert np.abs(factored_hessian(alone, cuzr).dense()).max() == 0.0
