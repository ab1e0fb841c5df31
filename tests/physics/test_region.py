# SPDX-License-Identifier: BSD-3-Clause
"""Regions of a sample against the whole of it: energy, forces, Hessian, whatever moves and however far."""

from dataclasses import replace

import numpy as np
import pytest
from small_systems import random_start, wheel_potential

from bp_distributed.errors import ConfigError, ScienceError
from bp_distributed.physics import region as region_module
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential
from bp_distributed.physics.region import Landscape

ENERGY = 1e-9  # eV, of differences of energies of the whole sample, which themselves keep about 1e-12 of 1e3 eV
FORCE = 1e-10  # eV/Å
PRODUCT = 1e-11  # relative
TILT = ((0, 0, 0), (0.3, 0, 0), (-0.2, 0.1, 0))
CUBE = np.zeros((3, 3))

SYSTEMS = {
    "glass-like": ("CuZr_mm.eam.fs", ("Cu", "Zr"), 300, 17.5, CUBE),
    "triclinic": ("CuZr_mm.eam.fs", ("Cu", "Zr"), 120, 13.0, TILT),
    "asymmetric": ("NiAlH_jea.eam.fs", ("Ni", "H", "Al"), 150, 13.0, CUBE),
    "asymmetric-triclinic": ("NiAlH_jea.eam.fs", ("Al", "Ni"), 60, 9.5, TILT),
    "cell-below-range": ("CuZr_mm.eam.fs", ("Cu", "Zr"), 8, 5.6, CUBE),
    "one-atom": ("CuZr_mm.eam.fs", ("Cu", "Zr"), 1, 4.0, CUBE),
    "alloy": ("CuNi.eam.alloy", ("Cu", "Ni"), 60, 9.5, CUBE),
}
RADII = (None, 2.6, 4.5, 9.0)


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    name, elements, n_atoms, edge, tilt = SYSTEMS[request.param]
    sample = random_start(n_atoms, elements, edge, seed=5, tilt=tilt)
    potential = read_potential(wheel_potential(name), elements)
    return sample, potential, Landscape(sample, potential)


def moved(sample, region, x_mc):
    """Return the whole sample with the mobile atoms at ``x_mc``."""
    step_ic = np.zeros_like(sample.positions_ic)
    step_ic[region.atoms_m] = x_mc - region.start_mc
    return sample.moved(step_ic)


def shaken(region, scale, seed=0):
    return region.start_mc + np.random.default_rng(seed).normal(scale=scale, size=region.start_mc.shape)


def rows_of(hessian, region):
    """Return rows and columns of a Hessian that belong to the mobile atoms."""
    pick = (3 * region.atoms_m[:, None] + np.arange(3)).ravel()
    return hessian.dense()[np.ix_(pick, pick)]


def assert_equals_whole(sample, potential, region, x_mc):
    before, after = evaluate(sample, potential), evaluate(moved(sample, region, x_mc), potential)
    energy, forces_mc = region.evaluate(x_mc)
    size = max(1.0, np.abs(after.forces_ic).max() / 100.0)
    np.testing.assert_allclose(forces_mc, after.forces_ic[region.atoms_m], rtol=0, atol=FORCE * size)
    change = (after.energies_i - before.energies_i).sum()
    assert energy == pytest.approx(change, abs=ENERGY * size)


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("scale", [0.0, 0.02, 0.3])
def test_energy_and_forces_are_those_of_the_whole_sample(system, radius, scale):
    sample, potential, landscape = system
    region = landscape.region(sample.n_atoms // 2, radius)
    assert_equals_whole(sample, potential, region, shaken(region, scale))


@pytest.mark.parametrize("radius", RADII)
def test_products_are_rows_of_the_whole_hessian(system, radius):
    sample, potential, landscape = system
    region = landscape.region(0, radius)
    x_mc = shaken(region, 0.05)
    dense = rows_of(factored_hessian(moved(sample, region, x_mc), potential), region)
    product, rng = region.products(x_mc), np.random.default_rng(3)
    for _ in range(3):
        v_mc = rng.normal(size=x_mc.shape)
        expected = (dense @ v_mc.ravel()).reshape(-1, 3)
        np.testing.assert_allclose(product(v_mc), expected, rtol=0, atol=PRODUCT * max(1.0, np.abs(dense).max()))


def test_forces_are_minus_the_slope_of_the_energy(system):
    _, _, landscape = system
    region, rng = landscape.region(0, 4.5), np.random.default_rng(1)
    x_mc, step = shaken(region, 0.05), 1e-5
    forces_mc, v_mc = region.evaluate(x_mc)[1], rng.normal(size=region.start_mc.shape)
    v_mc /= np.linalg.norm(v_mc)
    ahead, behind = (region.evaluate(x_mc + sign * step * v_mc)[0] for sign in (1, -1))
    slope = (ahead - behind) / (2 * step)
    assert slope == pytest.approx(-(forces_mc * v_mc).sum(), rel=1e-6, abs=1e-6)


def test_mobile_atoms_are_those_within_the_radius(system):
    sample, _, landscape = system
    shifts = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ sample.cell_cc
    centre = sample.n_atoms // 3
    for radius in RADII[1:]:
        region = landscape.region(centre, radius)
        apart_ic = sample.positions_ic - sample.positions_ic[centre]
        nearest_i = np.linalg.norm(apart_ic[:, None] + shifts, axis=2).min(axis=1)
        assert sorted(region.atoms_m) == list(np.flatnonzero(nearest_i <= radius))
        assert region.atoms_m[region.centre] == centre
        if region.n_mobile < sample.n_atoms:
            found_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
            np.testing.assert_allclose(found_m, nearest_i[region.atoms_m], atol=1e-9)


def test_long_walks_change_nothing(small_glass, cuzr):
    region = Landscape(small_glass, cuzr).region(17, 7.0)
    rng = np.random.default_rng(4)
    x_mc, towards_mc = region.start_mc.copy(), rng.normal(size=region.start_mc.shape)
    towards_mc /= np.linalg.norm(towards_mc, axis=1).max()
    for _ in range(12):  # 3 Å in the end: listed and gathered anew several times
        x_mc = x_mc + 0.25 * towards_mc
        assert_equals_whole(small_glass, cuzr, region, x_mc)
    energy, forces_mc = region.evaluate(region.start_mc)
    assert abs(energy) < ENERGY
    assert np.abs(forces_mc).max() < ENERGY


def test_one_atom_far_from_home_is_still_seen(small_glass, cuzr):
    region = Landscape(small_glass, cuzr).region(3, 6.0)
    rim = np.argmax(np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1))
    outward_c = region.start_mc[rim] - region.start_mc[region.centre]
    for distance in (0.7, 1.3, 4.0, 9.0):
        x_mc = region.start_mc.copy()
        x_mc[rim] += distance * outward_c / np.linalg.norm(outward_c)
        assert_equals_whole(small_glass, cuzr, region, x_mc)


def test_skin_and_margin_do_not_matter(small_glass, cuzr, monkeypatch):
    landscape = Landscape(small_glass, cuzr)
    usual = landscape.region(5, 6.0)
    x_mc = shaken(usual, 0.2)
    monkeypatch.setattr(region_module, "SKIN", 0.0)
    monkeypatch.setattr(region_module, "MARGIN", 3.0)
    bare = landscape.region(5, 6.0)
    assert bare.evaluate(x_mc)[0] == pytest.approx(usual.evaluate(x_mc)[0], abs=1e-12)


def test_small_energies_are_not_lost_in_large_ones(small_glass, cuzr):
    region = Landscape(small_glass, cuzr).region(0, None)
    product, v_mc = region.products(region.start_mc), np.zeros_like(region.start_mc)
    v_mc[11] = (1e-5, -2e-5, 1e-5)
    quadratic = 0.5 * (v_mc * product(v_mc)).sum()
    assert quadratic < 1e-8
    assert region.evaluate(region.start_mc + v_mc)[0] == pytest.approx(quadratic, abs=2e-13)


def test_a_whole_cell_may_be_shifted(small_glass, cuzr):
    region = Landscape(small_glass, cuzr).region(0, None)
    assert region.n_mobile == small_glass.n_atoms
    assert region.rigid_kx.shape == (3, 1500)
    assert_rigid(region, (0.3, -0.2, 0.1))


def test_a_cluster_may_be_shifted_and_turned(cuzr):
    rng = np.random.default_rng(2)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) * 2.6 + rng.normal(scale=0.1, size=(27, 3))
    sample = Configuration(sites, 5.0 * np.eye(3), np.arange(27) % 2, ("Cu", "Zr"))
    region = Landscape(sample, cuzr, isolated=True).region(0, None)
    assert region.rigid_kx.shape == (6, 81)
    assert_rigid(region, (0.3, -0.2, 0.1))
    roomy = replace(sample, cell_cc=60.0 * np.eye(3))
    assert_equals_whole(roomy, cuzr, region, shaken(region, 0.1))
    arm_mc = region.start_mc - region.start_mc.mean(axis=0)
    turn_cc = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1.0]])
    assert region.evaluate(region.start_mc.mean(axis=0) + arm_mc @ turn_cc)[0] == pytest.approx(0.0, abs=1e-10)


def assert_rigid(region, shift_c):
    """Rigid motions are orthonormal, hold the shifts, and meet no resistance at a stationary point or along a shift."""
    rigid_kx = region.rigid_kx
    np.testing.assert_allclose(rigid_kx @ rigid_kx.T, np.eye(len(rigid_kx)), atol=1e-12)
    shift_x = np.tile(shift_c, region.n_mobile)
    np.testing.assert_allclose(rigid_kx.T @ (rigid_kx @ shift_x), shift_x, atol=1e-10)
    assert region.evaluate(region.start_mc + shift_c)[0] == pytest.approx(0.0, abs=1e-10)


def test_two_atoms_turn_about_two_axes(cuzr):
    sample = Configuration(np.array([[0.0, 0, 0], [2.6, 0, 0]]), np.eye(3), np.array([0, 1]), ("Cu", "Zr"))
    assert Landscape(sample, cuzr, isolated=True).region(1, None).rigid_kx.shape == (5, 6)


def test_frozen_surroundings_allow_no_rigid_motion(small_glass, cuzr):
    assert Landscape(small_glass, cuzr).region(0, 5.0).rigid_kx.shape[0] == 0


def test_calls_are_counted(small_glass, cuzr):
    region = Landscape(small_glass, cuzr).region(0, 5.0)
    product = region.products(region.start_mc)  # evaluates there first
    region.evaluate(region.start_mc)
    region.products(region.start_mc)
    product(region.start_mc)
    product(region.start_mc)
    assert (region.evaluations, region.n_products) == (2, 2)


@pytest.mark.parametrize("radius", [6.0, None])
def test_new_regions_give_equal_bits_whatever_others_do(small_glass, cuzr, radius):
    landscape, found = Landscape(small_glass, cuzr), []
    for _ in range(2):
        region, other = landscape.region(40, radius), landscape.region(7, radius)
        x_mc = shaken(region, 0.3)
        other.evaluate(shaken(other, 0.5))  # moves its atoms far enough to list its pairs anew
        energy, forces_mc = region.evaluate(x_mc)
        product = region.products(x_mc)
        other.products(other.start_mc)
        found.append((energy, forces_mc, product(forces_mc)))
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


def test_impossible_regions_and_places_are_refused(small_glass, cuzr):
    landscape = Landscape(small_glass, cuzr)
    with pytest.raises(ConfigError, match="region: centre: got 500, expected 0 to 499"):
        landscape.region(500, 5.0)
    with pytest.raises(ConfigError, match=r"region: radius: got -1\.0, expected a length above 0"):
        landscape.region(0, -1.0)
    with pytest.raises(ConfigError, match="potential: is made for Cu, Zr, expected Zr, Cu in this order"):
        Landscape(replace(small_glass, elements=("Zr", "Cu")), cuzr)
    region = landscape.region(0, 5.0)
    far_mc, bad_mc = region.start_mc.copy(), region.start_mc.copy()
    far_mc[0, 0] += 17.0
    bad_mc[1, 2] = np.nan
    with pytest.raises(ScienceError, match="a mobile atom moved by 17 Å, allowed are 16"):
        region.evaluate(far_mc)
    with pytest.raises(ScienceError, match="moved by nan"):
        region.evaluate(bad_mc)
