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


@pytest.mark.parametrize("n_vectors", [1, 7, 8, 31, 32, 40, 64, 75])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_products_of_any_width_and_type(tiny_glass, cuzr, n_vectors, dtype, tolerance):
    hessian = factored_hessian(tiny_glass, cuzr)
    dense, rng = hessian.dense(), np.random.default_rng(n_vectors)
    u, before = rng.normal(size=(2, hessian.size, n_vectors)).astype(dtype)
    expected = 0.3 * dense @ u - 2.0 * u + 1.5 * before
    narrow = hessian.astype(dtype)
    found = narrow.apply(u, scale=0.3, shift=-2.0, previous=before, previous_scale=1.5)
    assert found.dtype == dtype
    assert largest_difference(found, expected) < tolerance
    assert largest_difference(narrow.matmat(u), dense @ u) < tolerance
    narrow.apply(u, before, scale=0.3, shift=-2.0, previous=before, previous_scale=1.5)  # in place
    np.testing.assert_array_equal(before, found)


def test_products_do_not_depend_on_the_number_of_threads(small_glass, cuzr):
    numba = pytest.importorskip("numba")
    u = np.random.default_rng(0).normal(size=(3 * small_glass.n_atoms, 32))
    threads = numba.get_num_threads()
    several = factored_hessian(small_glass, cuzr).matmat(u)
    numba.set_num_threads(1)
    one = factored_hessian(small_glass, cuzr).matmat(u)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(one, several)


@pytest.mark.parametrize("name", ["NiAlH_jea.eam.fs", "CuZr_mm.eam.fs"])
def test_assembled_dense_and_rows_are_one_matrix(name):
    elements = ("Ni", "Al") if name.startswith("Ni") else ("Cu", "Zr")
    sample = random_start(30, elements, 6.9, seed=3, tilt=TILT)  # several images of each pair
    hessian = factored_hessian(sample, read_potential(wheel_potential(name), elements))
    dense = hessian.matmat(np.eye(90))
    assert largest_difference(hessian.dense(), dense) < ROUNDING
    assert largest_difference(hessian.assembled().toarray(), dense) < ROUNDING
    assert largest_difference(hessian.dense_rows(7, 20), dense[21:60]) < ROUNDING


def test_dynamical_matrix_made_at_once(tiny_glass, cuzr):
    masses_i = cuzr.masses_e[tiny_glass.species_i]
    at_once = factored_hessian(tiny_glass, cuzr, masses_i=masses_i)
    weighted = factored_hessian(tiny_glass, cuzr).mass_weighted(masses_i)
    assert largest_difference(at_once.dense(), weighted.dense()) < ROUNDING
    light = factored_hessian(tiny_glass, cuzr, masses_i=masses_i, dtype=np.float32)
    assert largest_difference(light.dense(), weighted.dense()) < 1e-6
    assert light.bytes_per_atom < 0.6 * at_once.bytes_per_atom


def test_mass_weighting(tiny_glass, cuzr):
    masses_i = cuzr.masses_e[tiny_glass.species_i]
    plain = factored_hessian(tiny_glass, cuzr)
    root = np.repeat(np.sqrt(masses_i), 3)
    expected = plain.dense() / root / root[:, None]
    np.testing.assert_allclose(plain.mass_weighted(masses_i).dense(), expected, atol=ROUNDING)


def test_own_images_add_no_stiffness(cuzr):
    alone = Configuration(np.zeros((1, 3)), np.eye(3) * 3.0, np.array([0]), ("Cu", "Zr"))
    assert np.abs(factored_hessian(alone, cuzr).dense()).max() == 0.0
