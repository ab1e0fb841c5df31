# SPDX-License-Identifier: BSD-3-Clause
"""Spectra with a known answer: a boson peak, a monotonic one, a soft mode, a phonon multiplet."""

import numpy as np
import pytest

from bp_distributed.errors import Reason
from bp_distributed.physics import spectrum
from bp_distributed.physics.spectrum import Settings

EXACT = 1e-12
N_MODES = 11997
DEBYE = 32.5  # rad/ps
PHONON = 2.9  # rad/ps
SETTINGS = Settings()


def modes_of(reduced, n=N_MODES, top=45.0, lowest=0.05):
    """Frequencies at the quantiles of g = ω² reduced(ω): a spectrum without noise, as level repulsion makes it."""
    omega = np.linspace(lowest, top, 400_001)
    area = np.concatenate([[0.0], np.cumsum(np.diff(omega) * (omega[1:] ** 2) * reduced(omega[1:]))])
    return np.interp((np.arange(n) + 0.5) / n * area[-1], area, omega)


def hump(omega):
    """Debye level plus a peak of three times its height at 4 rad/ps; few modes below the first phonons."""
    debye = np.exp(-((omega / 25.0) ** 2))
    return (1.0 + 3.0 * np.exp(-0.5 * ((omega - 4.0) / 1.0) ** 2)) * debye * np.where(omega < 2.0, 0.2, 1.0)


def monotonic(omega):
    return (1.0 + 6.0 * np.exp(-omega / 1.5)) * np.exp(-((omega / 25.0) ** 2))


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
def test_density_of_states_has_unit_area(width):
    frequency_k = modes_of(hump)
    found = spectrum.histogram(frequency_k, width)
    assert found.vdos_w.sum() * width == pytest.approx(1.0, abs=EXACT)
    assert found.omega_w[0] == width / 2
    np.testing.assert_allclose(found.reduced_w * found.omega_w**2, found.vdos_w, rtol=EXACT)


def test_a_mode_on_the_last_edge_is_counted():
    found = spectrum.histogram(np.array([0.2, 0.5, 1.0]), 0.5)
    assert (found.vdos_w * 3 * 0.5).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_known_peak_is_recovered():
    frequency_k = modes_of(hump)
    paper = spectrum.paper_label(frequency_k, SETTINGS)
    robust = spectrum.robust_label(frequency_k, PHONON, SETTINGS)
    omega = np.linspace(0.05, 45, 100_000)
    scale = np.trapezoid(omega**2 * hump(omega), omega)
    peak = hump(omega).max() / scale
    # A bin of 0.5 flattens the peak by 0.5²/24, the kernel of 0.4 by 0.4²/2; one mode more or less is 3 %.
    assert paper.intensity == pytest.approx(peak, rel=0.05)
    assert paper.frequency == pytest.approx(4.0, abs=0.5)
    assert robust.intensity == pytest.approx(peak, rel=0.10)
    assert robust.frequency == pytest.approx(4.0, abs=0.3)
    assert robust.note == ""
    assert 0.0 < paper.error < 0.5 * paper.intensity
    assert 0.0 < robust.error < paper.error
    verdict = spectrum.judge(frequency_k, PHONON, SETTINGS)
    assert verdict.reason is None
    assert verdict.value > verdict.threshold


def test_bootstrap_error_is_the_spread_of_resampled_spectra():
    """Draw independent spectra from the same density: the robust label scatters by its own error."""
    quantiles = modes_of(hump, n=200_000)
    rng = np.random.default_rng(1)
    labels = [
        spectrum.robust_label(np.sort(rng.choice(quantiles, N_MODES, replace=False)), PHONON, SETTINGS)
        for _ in range(60)
    ]
    spread = np.std([label.intensity for label in labels])
    # 60 spectra give the spread to 9 %; taking a maximum twice makes bootstrap errors a little large.
    assert np.mean([label.error for label in labels]) == pytest.approx(spread, rel=0.4)


def test_labels_are_reproducible():
    frequency_k = modes_of(hump)
    assert spectrum.paper_label(frequency_k, SETTINGS) == spectrum.paper_label(frequency_k, SETTINGS)
    assert spectrum.judge(frequency_k, PHONON, SETTINGS) == spectrum.judge(frequency_k, PHONON, SETTINGS)


def test_monotonic_spectrum_is_rejected():
    verdict = spectrum.judge(modes_of(monotonic), PHONON, SETTINGS)
    assert verdict.reason is Reason.NO_PEAK


def test_monotonic_above_a_gap_is_rejected():
    frequency_k = modes_of(lambda w: monotonic(w) * (w > 1.5))
    verdict = spectrum.judge(frequency_k, PHONON, SETTINGS)
    assert verdict.reason is Reason.NO_PEAK
    assert "monotonic" in verdict.criterion


def test_one_soft_mode_is_flagged():
    frequency_k = modes_of(hump)
    soft = np.sort(np.append(frequency_k, 0.45))
    verdict = spectrum.judge(soft, PHONON, SETTINGS)
    assert verdict.reason is Reason.NO_PEAK
    assert "soft_mode" in verdict.criterion
    assert verdict.threshold == pytest.approx(PHONON / 2)
    assert spectrum.paper_label(soft, SETTINGS).frequency == 0.25
    clean, dirty = (spectrum.robust_label(f, PHONON, SETTINGS) for f in (frequency_k, soft))
    assert dirty.intensity == pytest.approx(clean.intensity, rel=1e-3)


def test_flat_bump_within_the_noise_is_rejected():
    verdict = spectrum.judge(modes_of(lambda w: 1.0 + 0.04 * np.exp(-((w - 4) ** 2)), n=1500), PHONON, SETTINGS)
    assert verdict.reason is Reason.NO_PEAK


def test_peak_above_the_window_is_rejected():
    frequency_k = modes_of(lambda w: 0.2 + np.exp(-((w - 11.0) ** 2)))
    verdict = spectrum.judge(frequency_k, PHONON, SETTINGS)
    assert verdict.reason is Reason.NO_PEAK
    assert "above the window" in verdict.criterion


def test_phonon_multiplet_moves_the_paper_label_but_not_the_robust_one():
    frequency_k = modes_of(lambda w: np.exp(-((w / 25.0) ** 2)) * (1 + 0.6 * np.exp(-0.5 * ((w - 5.0) / 1.0) ** 2)))
    with_phonons = np.sort(np.append(frequency_k, np.full(12, 2.2)))
    plain, struck = (spectrum.paper_label(f, SETTINGS) for f in (frequency_k, with_phonons))
    assert struck.intensity > 1.3 * plain.intensity
    assert struck.frequency == 2.25
    robust = [spectrum.robust_label(f, 2.2, Settings(kernel_width=0.3)).intensity for f in (frequency_k, with_phonons)]
    assert robust[1] == pytest.approx(robust[0], rel=0.05)


def test_robust_window_falls_back_at_small_sizes():
    assert spectrum.robust_window(2.9, SETTINGS) == (pytest.approx(3.77), 10.0, "")
    low, high, note = spectrum.robust_window(7.6, SETTINGS)
    assert (low, high) == (3.8, 10.0)
    assert "too narrow at this size" in note
    assert spectrum.robust_window(30.0, SETTINGS)[0] == 1.0


def test_robust_label_at_the_edge_says_so():
    label = spectrum.robust_label(modes_of(monotonic), PHONON, SETTINGS)
    assert "edge of the window" in label.note


def test_atomic_shares_sum_to_the_whole():
    rng = np.random.default_rng(0)
    n_atoms = 40
    frequency_k = np.sort(rng.uniform(1.0, 30.0, 3 * n_atoms - 3))
    vectors = np.linalg.qr(rng.normal(size=(3 * n_atoms, 3 * n_atoms - 3)))[0].T.reshape(-1, n_atoms, 3)
    settings = Settings(omega_cut=10.0)
    n_low = np.count_nonzero(frequency_k < 10.0)
    found = spectrum.atomic_spectrum(frequency_k, vectors[:n_low], (2.0, 8.0), settings)
    whole = spectrum.histogram(frequency_k, 0.5)
    np.testing.assert_allclose(found.vdos_iw.sum(axis=0), whole.vdos_w[:20], atol=EXACT)
    np.testing.assert_array_equal(found.omega_w, whole.omega_w[:20])
    assert found.intensity_i.sum() >= whole.reduced_w[:20].max()
    inside = frequency_k[(frequency_k >= 2.0) & (frequency_k < 8.0)]
    assert found.window_intensity_i.sum() == pytest.approx((inside**-2.0).sum() / len(frequency_k), rel=EXACT)
    np.testing.assert_allclose(found.intensity_i, (found.vdos_iw / found.omega_w**2).max(axis=1), rtol=EXACT)


def test_whole_bins_below_the_cut():
    assert spectrum.n_low_bins(Settings(bin_width=0.1, omega_cut=10.0)) == 100
    assert spectrum.n_low_bins(Settings(bin_width=0.3, omega_cut=10.0)) == 33
