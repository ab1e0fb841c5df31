# SPDX-License-Identifier: BSD-3-Clause
"""The kernel polynomial method against all eigenvalues: of a small glass by LAPACK, of large fcc by Bloch's theorem."""

import numpy as np
import pytest
from scipy import linalg, stats
from small_systems import fcc

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.kpm import N_WIDTHS, Moments, chebyshev_moments, jackson, moments_for
from bp_distributed.physics.modes import translations
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

EXACT = 1e-12
SINGLE = 2e-5  # of float32 sums over 300 recurrences
N_MOMENTS = 120
EDGE = 3.64  # Å, of fcc Cu near its minimum for CuZr_mm


def dynamical_of(configuration, potential, dtype=np.float64):
    masses_i = potential.masses_e[configuration.species_i]
    return factored_hessian(configuration, potential, masses_i=masses_i, dtype=dtype), masses_i


def frequencies(dynamical, masses_i):
    """All but the translations, by LAPACK."""
    dense, t = dynamical.dense(), translations(masses_i)
    value_k = linalg.eigvalsh(dense + 1e3 * t @ t.T)[:-3]
    return OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(value_k)


def exact_moments(frequency_k, n_moments, omega_top, weight_k=None):
    """The moments of the very modes, as if one vector held all of them equally, or as ``weight_k`` says."""
    angle_k = 2 * np.arcsin(frequency_k / omega_top)
    moment_m = [np.average(np.cos(m * angle_k), weights=weight_k) for m in range(n_moments)]
    return Moments(np.tile(moment_m, (2, 1)), omega_top, len(frequency_k))


def broadened(frequency_k, weight_k, omega_w, n_moments, omega_top):
    """Sum of Jackson kernels, one per mode, written down without any series in common with the module."""
    angle_k, angle_w = 2 * np.arcsin(frequency_k / omega_top), 2 * np.arcsin(omega_w / omega_top)
    total_w = np.ones(len(omega_w)) * weight_k.sum()
    for m in range(1, n_moments):
        total_w += 2 * jackson(n_moments)[m] * np.cos(m * angle_w) * (weight_k * np.cos(m * angle_k)).sum()
    return total_w / np.pi * 2 / np.sqrt(omega_top**2 - omega_w**2) / len(frequency_k)


@pytest.fixture(scope="module")
def glass(small_glass, cuzr):
    dynamical, masses_i = dynamical_of(small_glass, cuzr)
    return dynamical, masses_i, frequencies(dynamical, masses_i)


@pytest.fixture(scope="module")
def moments(glass):
    return chebyshev_moments(glass[0], glass[1], N_MOMENTS, n_probes=96)


def test_kernel_is_positive_and_as_wide_as_stated():
    n = 60
    angle = np.linspace(-np.pi, np.pi, 20001)[:-1]
    series = 1 + 2 * np.cos(np.arange(1, n) * angle[:, None]) @ jackson(n)[1:]
    assert series.min() > -EXACT * n
    assert jackson(n)[0] == pytest.approx(1.0)
    assert (series * np.cos(angle)).sum() / series.sum() == pytest.approx(np.cos(np.pi / (n + 1)), abs=EXACT)
    shape = Moments(np.zeros((2, n)), 47.0, 10)
    slope = 2 / np.sqrt(47.0**2 - 20.0**2)
    assert float(shape.width(np.array(20.0))) * slope == pytest.approx(np.pi / (n + 1))


def test_moments_asked_for_a_width_give_it():
    n = moments_for(0.25, 47.0)
    assert 290 < n < 300
    assert Moments(np.zeros((2, n)), 47.0, 10).width(np.array([0.1]))[0] <= 0.25


def test_functions_of_exact_moments_are_sums_of_kernels(glass):
    frequency_k, omega_w = glass[2], np.linspace(1.0, 40.0, 60)
    found = exact_moments(frequency_k, 300, 50.0)
    kernel_w = broadened(frequency_k, np.ones(len(frequency_k)), omega_w, 300, 50.0)
    np.testing.assert_allclose(found.density(omega_w).value_w, kernel_w, rtol=1e-9)
    reduced = found.reduced_density(omega_w)
    given = np.isfinite(reduced.value_w)
    assert given.tolist() == (omega_w >= N_WIDTHS * reduced.width_w).tolist()
    kernel_w = broadened(frequency_k, frequency_k**-2.0, omega_w, 300, 50.0)
    # Only the constant of the second sum differs; this glass has a gap where Debye's spectrum is flat.
    np.testing.assert_allclose(reduced.value_w[given], kernel_w[given], atol=0.01 * kernel_w[given].max())
    high = omega_w > 3.0
    np.testing.assert_allclose(reduced.value_w[high], kernel_w[high], atol=1e-3 * kernel_w.max())


def test_debye_spectrum_is_reduced_without_bias():
    debye, n = 30.0, 20_000
    grid_k = debye * (np.arange(n) + 0.5) / n
    found = exact_moments(grid_k, 300, 40.0, grid_k**2)
    omega_w = np.linspace(0.7, 27.0, 40)
    reduced = found.reduced_density(omega_w)
    np.testing.assert_allclose(reduced.value_w, 3 / debye**3, rtol=2e-3)
    divided_w = found.density(omega_w).value_w / omega_w**2
    assert divided_w[0] / (3 / debye**3) == pytest.approx(1 + (reduced.width_w[0] / omega_w[0]) ** 2, rel=2e-3)
    np.testing.assert_allclose(found.count(omega_w).value_w, n * (omega_w / debye) ** 3, atol=2e-4 * n)


def test_bias_is_the_change_by_broadening():
    """On a smooth peak the corrected value is nearer to the truth than the broadened one, ten times or more."""
    mean, spread, n = 20.0, 3.0, 20_000
    grid_k = 40.0 * (np.arange(n) + 0.5) / n
    found = exact_moments(grid_k, 160, 40.0, stats.norm(mean, spread).pdf(grid_k)).density(np.array([20.0, 23.0, 26.0]))
    truth_w = stats.norm(mean, spread).pdf([20.0, 23.0, 26.0])
    off_w = np.abs(found.value_w - truth_w)
    assert off_w[0] > 0.005 * truth_w[0]
    assert np.abs(found.value_w - found.bias_w - truth_w)[[0, 2]].max() < 0.1 * off_w.max()


def test_errors_cover_the_exact_answer(glass, moments):
    frequency_k, omega_w = glass[2], np.linspace(4.0, 40.0, 37)
    truth = exact_moments(frequency_k, N_MOMENTS, moments.omega_top)
    for name in ("density", "reduced_density", "count"):
        deviation_w = []
        for begin in range(0, 96, 16):  # six independent runs of 16 vectors
            run = Moments(moments.moment_pm[begin : begin + 16], moments.omega_top, moments.n_modes)
            found, exact = getattr(run, name)(omega_w), getattr(truth, name)(omega_w)
            deviation_w.append((found.value_w - exact.value_w) / found.error_w)
        covered = np.mean(np.abs(deviation_w) < stats.t(15).ppf(0.975))
        assert 0.88 <= covered <= 0.995, name  # 95 % expected; 222 values, about 40 of them independent
        assert np.mean(np.square(deviation_w)) == pytest.approx(15 / 13, rel=0.5), name


def test_error_is_as_large_as_the_number_of_modes_within_the_kernel_says(glass, moments):
    omega_w = np.array([15.0, 20.0, 25.0])
    found = moments.density(omega_w)
    modes_w = found.value_w * moments.n_modes * found.width_w * 2 * np.sqrt(np.pi)
    expected_w = np.sqrt(2 / (96 * modes_w))
    np.testing.assert_allclose(found.error_w / found.value_w, expected_w, rtol=0.3)


def test_all_modes_are_counted(glass, moments):
    top = moments.count(np.array([moments.omega_top * (1 - EXACT)]))
    assert top.value_w[0] == pytest.approx(len(glass[2]), rel=1e-6)
    assert moments.n_modes == len(glass[2])


def test_translations_are_left_out(glass):
    found = chebyshev_moments(glass[0], glass[1], 4, n_probes=8)
    np.testing.assert_allclose(found.moment_pm[:, 0], 1.0, atol=EXACT)
    mean = exact_moments(glass[2], 4, found.omega_top).moment_pm[0]
    np.testing.assert_allclose(found.moment_pm.mean(axis=0), mean, atol=5 * np.sqrt(2 / (8 * len(glass[2]))))


def test_vectors_depend_on_the_seed_alone(glass):
    whole = chebyshev_moments(glass[0], glass[1], 20, n_probes=12, seed=3)
    parts = chebyshev_moments(glass[0], glass[1], 20, n_probes=12, seed=3, block=5)
    other = chebyshev_moments(glass[0], glass[1], 20, n_probes=12, seed=4)
    np.testing.assert_allclose(parts.moment_pm, whole.moment_pm, atol=EXACT)
    assert np.abs(other.moment_pm - whole.moment_pm).max() > 1e-3


def test_single_precision_is_enough(glass, small_glass, cuzr):
    single, masses_i = dynamical_of(small_glass, cuzr, np.float32)
    found = chebyshev_moments(single, masses_i, 300, n_probes=8)
    again = chebyshev_moments(glass[0], masses_i, 300, n_probes=8)
    np.testing.assert_allclose(found.moment_pm, again.moment_pm, atol=SINGLE)
    omega_w = np.linspace(1.0, 40.0, 50)
    single_w, double_w = (run.reduced_density(omega_w).value_w for run in (found, again))
    np.testing.assert_allclose(single_w, double_w, atol=0.01 * np.nanmax(double_w))


def test_bound_holds_for_both_precisions(glass, small_glass, cuzr):
    largest = (glass[2][-1] / OMEGA_PER_SQRT_EIGENVALUE) ** 2
    single, _ = dynamical_of(small_glass, cuzr, np.float32)
    for dynamical in (glass[0], single):
        assert largest <= spectral_bound(dynamical) < 1.3 * largest


def test_an_unstable_structure_is_refused(small_glass, cuzr):
    shaken = small_glass.moved(np.random.default_rng(0).normal(scale=0.15, size=(500, 3)))
    dynamical, masses_i = dynamical_of(shaken, cuzr)
    with pytest.raises(ScienceError, match="no minimum, relax it first") as caught:
        chebyshev_moments(dynamical, masses_i, 100, n_probes=8)
    assert caught.value.reason is Reason.UNSTABLE


def test_progress_reaches_its_end_from_below(glass):
    told = []
    chebyshev_moments(glass[0], glass[1], 20, 12, block=8, progress=lambda done, total, _: told.append((done, total)))
    assert told == sorted(told)
    assert 0.8 <= told[-1][0] / told[-1][1] <= 1.0


def bloch_frequencies(potential, edge, cells):
    """All modes of a cubic fcc cell by Bloch's theorem, translations left out, 4 cells³ wave vectors.

    Force constants are columns of the Hessian of a cell so large that they do not meet their images.
    """
    crystal, side = fcc(edge, 7), 7 * edge
    column_xc = factored_hessian(crystal, potential).matmat(np.eye(crystal.n_atoms * 3, 3))
    block_ix = column_xc.reshape(-1, 9) / potential.masses_e[0]
    distance_ic = crystal.positions_ic - side * np.round(crystal.positions_ic / side)
    near_i = np.abs(block_ix).max(axis=1) > 0
    assert np.abs(distance_ic[near_i]).max() < 0.49 * side
    index = np.arange(2 * cells)
    wave_qc = np.stack(np.meshgrid(index, index, index[:cells], indexing="ij"), -1).reshape(-1, 3)[1:]
    value_k = []
    for part_qc in np.array_split(wave_qc, 1 + len(wave_qc) // 20_000):
        phase_qi = 2 * np.pi / (cells * edge) * part_qc @ distance_ic[near_i].T
        value_k.append(np.linalg.eigvalsh((np.cos(phase_qi) @ block_ix[near_i]).reshape(-1, 3, 3)).ravel())
    return OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(np.sort(np.concatenate(value_k)))


def test_bloch_sum_is_the_spectrum_of_a_small_crystal(cuzr):
    dynamical, masses_i = dynamical_of(fcc(EDGE, 5), cuzr)
    np.testing.assert_allclose(frequencies(dynamical, masses_i), bloch_frequencies(cuzr, EDGE, 5), rtol=1e-6)


def test_large_crystal(cuzr):
    """10 976 atoms: what is broadened by the kernel is covered by the error, what is not, by error and bias."""
    dynamical, masses_i = dynamical_of(fcc(EDGE, 14), cuzr, np.float32)
    found = chebyshev_moments(dynamical, masses_i, N_MOMENTS, n_probes=16)
    frequency_k, omega_w = bloch_frequencies(cuzr, EDGE, 14), np.linspace(8.0, 44.0, 25)
    truth = exact_moments(frequency_k, N_MOMENTS, found.omega_top)
    for name in ("density", "reduced_density", "count"):
        estimate, exact = getattr(found, name)(omega_w), getattr(truth, name)(omega_w)
        deviation_w = (estimate.value_w - exact.value_w) / estimate.error_w
        assert np.mean(np.abs(deviation_w) < 2.13) >= 0.8, name
        assert np.abs(deviation_w).max() < 5, name
    count = found.count(omega_w)
    real_w = np.searchsorted(frequency_k, omega_w)
    off_w = np.abs(count.value_w - count.bias_w - real_w)
    assert off_w.max() < 0.005 * len(frequency_k)
