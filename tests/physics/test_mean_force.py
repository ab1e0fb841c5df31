# SPDX-License-Identifier: BSD-3-Clause
"""A Gaussian g(r) has an exactly quadratic potential of mean force; a crystal on springs has not."""

import itertools

import numpy as np
import pytest

from bp_distributed.physics.mean_force import harmonic_crystal, mean_force

R = 0.05 * (np.arange(240) + 0.5)


def test_the_mean_force_of_a_gaussian_is_a_parabola():
    g_b = 3.0 * np.exp(-0.5 * ((R - 2.83) / 0.2) ** 2)
    found = mean_force(R, g_b)
    assert found.bottom == pytest.approx(2.83, abs=1e-9)
    assert found.curvature == pytest.approx(1 / 0.2**2)
    assert found.depth == pytest.approx(-np.log(3.0))
    np.testing.assert_allclose(found.parabola(found.r_b), found.w_b, rtol=1e-5, atol=1e-9)
    assert abs(found.departure(-3)) < 0.02  # linear interpolation between bins of a parabola
    assert abs(found.departure(3)) < 0.02


def test_empty_bins_are_left_out():
    g_b = np.where(np.abs(R - 3.0) < 0.5, np.exp(-0.5 * ((R - 3.0) / 0.2) ** 2), 0.0)
    found = mean_force(R, g_b)
    assert np.isfinite(found.w_b).all()
    assert found.r_b[0] > 2.49
    assert np.isnan(mean_force(R, np.where(R > 2.9, g_b, 0.0)).departure(-3))


def test_where_half_the_maximum_is_too_few_bins_more_of_the_valley_is_fitted():
    coarse = R[::2]
    found = mean_force(coarse, 3.0 * np.exp(-0.5 * ((coarse - 2.83) / 0.1) ** 2))
    assert found.n_fitted == 4
    assert found.curvature == pytest.approx(1 / 0.1**2)


def test_a_spike_has_no_valley_to_fit():
    assert mean_force(R, np.where(np.arange(240) == 50, 5.0, 1e-3)) is None


def test_a_peak_with_a_shoulder_has_no_parabola():
    """The distances of all pairs of a Cu-Zr glass: those of CuCu and CuZr run into those of ZrZr."""
    r_b = 2.55 + 0.1 * np.arange(8)
    assert mean_force(r_b, np.exp(-np.array([0.3, -1.07, -1.18, -0.87, -0.61, -0.64, -0.52, 0.0]))) is None


def test_a_harmonic_crystal_departs_from_its_parabola_too():
    found = mean_force(R[10:], harmonic_crystal(R[10:], 2.8, 0.15))
    assert found.bottom == pytest.approx(2.8, abs=0.03)
    assert found.departure(-3) == pytest.approx(0.0, abs=0.1)
    g_b = harmonic_crystal(R[10:], 2.8, 0.35)  # as wide as the first shell of a glass
    assert mean_force(R[10:], g_b).departure() < -0.5


def test_its_shells_hold_what_fcc_shells_hold():
    g_b = harmonic_crystal(R[10:], 2.8, 0.05)
    per_bin = g_b * 4 * np.pi * R[10:] ** 2 * 0.05 * np.sqrt(2) / 2.8**3
    edges = 2.8 * np.array([0.8, 1.2, 1.57, 1.87])  # shells at 1, √2 and √3
    counts = [per_bin[(R[10:] > low) & (R[10:] < high)].sum() for low, high in itertools.pairwise(edges)]
    np.testing.assert_allclose(counts, [12, 6, 24], rtol=1e-3)
