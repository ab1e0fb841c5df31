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


LOW = 14.0  # rad/ps; where the partial spectra of these tests end


def partial_of(frequency_k, below=LOW):
    return frequency_k[frequency_k < below]


@pytest.mark.parametrize("width", [0.25, 0.5, 0.3])
def test_partial_histogram_is_the_low_end_of_the_whole(width):
    frequency_k = modes_of(hump)
    whole = spectrum.histogram(frequency_k, width)
    part = spectrum.histogram(partial_of(frequency_k), width, n_modes=N_MODES, known_below=LOW)
    assert len(part.omega_w) == int(LOW / width)
    np.testing.assert_array_equal(part.vdos_w, whole.vdos_w[: len(part.omega_w)])
    cautious = spectrum.histogram(partial_of(frequency_k), width, n_modes=N_MODES)
    np.testing.assert_array_equal(cautious.vdos_w, whole.vdos_w[: len(cautious.omega_w)])


def test_labels_of_a_partial_spectrum_are_those_of_the_whole():
    frequency_k = modes_of(hump)
    settings = Settings(omega_cut=10.0)
    part_k = partial_of(frequency_k)
    for label in (
        lambda f, **n: spectrum.paper_label(f, settings, **n),
        lambda f, **n: spectrum.robust_label(f, PHONON, settings, **n),
        lambda f, **n: spectrum.fitted_label(f, PHONON, settings, **n),
        lambda f, **n: spectrum.fitted_label(f, PHONON, settings, shape="lorentzian", **n),
        lambda f, **n: spectrum.excess_label(f, PHONON, DEBYE, settings, **n),
    ):
        whole, part = label(frequency_k), label(part_k, n_modes=N_MODES)
        assert (part.intensity, part.frequency) == pytest.approx((whole.intensity, whole.frequency), rel=1e-6)
        assert part.error == pytest.approx(whole.error, rel=0.2)  # other draws, the same distribution
    whole, part = (spectrum.judge(f, PHONON, settings, n_modes=N_MODES) for f in (frequency_k, part_k))
    assert (part.reason, part.value) == (whole.reason, whole.value)
    whole, part = (spectrum.jitter(f, (1.5, 8.0), settings, n_modes=N_MODES) for f in (frequency_k, part_k))
    np.testing.assert_array_equal(part.intensity_vo, whole.intensity_vo)


def test_giving_the_number_of_all_modes_changes_nothing():
    frequency_k = modes_of(hump)
    assert spectrum.paper_label(frequency_k, SETTINGS, n_modes=N_MODES) == spectrum.paper_label(frequency_k, SETTINGS)
    given, not_given = (spectrum.robust_label(frequency_k, PHONON, SETTINGS, **n) for n in ({"n_modes": N_MODES}, {}))
    assert given == not_given


def test_modes_unknown_beyond_the_cut_do_not_bend_the_robust_label():
    """Known up to the cut only, the kernel estimate would fall towards it and its window must end before."""
    frequency_k = modes_of(lambda w: np.exp(-(((w - 9.0) / 4.0) ** 2)))
    label = spectrum.robust_label(partial_of(frequency_k, 10.0), PHONON, SETTINGS, n_modes=N_MODES)
    assert label.window[1] == pytest.approx(10.0 - 3 * SETTINGS.kernel_width)
    assert "edge of the window" in label.note


def test_atomic_shares_of_a_partial_spectrum():
    rng = np.random.default_rng(0)
    frequency_k, vectors_kic = np.sort(rng.uniform(1.0, 30.0, 117)), rng.normal(size=(117, 40, 3))
    low = np.count_nonzero(frequency_k < 12.0)
    whole = spectrum.atomic_spectrum(frequency_k, vectors_kic, (2.0, 8.0), SETTINGS)
    part = spectrum.atomic_spectrum(frequency_k[:low], vectors_kic[:low], (2.0, 8.0), SETTINGS, n_modes=117)
    np.testing.assert_array_equal(part.vdos_iw, whole.vdos_iw)
    np.testing.assert_array_equal(part.window_intensity_i, whole.window_intensity_i)


@pytest.mark.parametrize(("shape", "within"), [("quadratic", 0.12), ("lorentzian", 0.05)])
def test_fit_recovers_a_lorentzian_peak(shape, within):
    def lorentzian(omega):
        return 1.0 / (1.0 + ((omega - 4.5) / 4.0) ** 2)

    omega = np.linspace(0.05, 45, 100_000)
    peak = 1.0 / np.trapezoid(omega**2 * lorentzian(omega), omega)
    label = spectrum.fitted_label(modes_of(lorentzian, n=100_000), 2.0, SETTINGS, shape=shape)
    assert label.intensity == pytest.approx(peak, rel=within)
    assert label.frequency == pytest.approx(4.5, abs=0.4)
    assert label.note == ""


def test_fit_without_a_maximum_says_so():
    label = spectrum.fitted_label(modes_of(monotonic, n=100_000), PHONON, SETTINGS)
    assert label.intensity == 0.0
    assert "no maximum within its window" in label.note


@pytest.mark.parametrize("name", ["quadratic", "lorentzian", "excess"])
def test_errors_are_the_spread_of_independent_spectra(name):
    quantiles, n_draws = modes_of(hump, n=400_000), 60
    rng = np.random.default_rng(2)
    labels = []
    for _ in range(n_draws):
        frequency_k = np.sort(rng.choice(quantiles, N_MODES, replace=False))
        low_k = frequency_k[frequency_k < LOW]
        if name == "excess":
            labels.append(spectrum.excess_label(low_k, PHONON, DEBYE, SETTINGS, n_modes=N_MODES))
        else:
            labels.append(spectrum.fitted_label(low_k, PHONON, SETTINGS, shape=name, n_modes=N_MODES))
    intensity, error = (np.array([getattr(label, what) for label in labels]) for what in ("intensity", "error"))
    assert error.mean() == pytest.approx(intensity.std(ddof=1), rel=0.4)
    covered = np.mean(np.abs(intensity - intensity.mean()) < 2.0 * error)
    assert covered >= 0.85


def test_debye_spectrum_has_no_excess():
    frequency_k = DEBYE * ((np.arange(N_MODES) + 0.5) / N_MODES) ** (1 / 3)
    omega_w = np.linspace(0.0, DEBYE, 200)
    assert np.abs(spectrum.cumulative_excess(frequency_k, DEBYE, omega_w)).max() < 1.01 / N_MODES
    label = spectrum.excess_label(frequency_k, PHONON, DEBYE, SETTINGS)
    assert abs(label.intensity) < 0.01 * 3 / DEBYE**3


def test_excess_is_what_was_added_to_debye():
    n_debye, n_added = 100_000, 2000
    total = n_debye + n_added
    debye = DEBYE * (total / n_debye) ** (1 / 3)  # the level of Debye's modes alone
    frequency_k = DEBYE * ((np.arange(n_debye) + 0.5) / n_debye) ** (1 / 3)
    added_k = 6.0 + 0.5 * np.linspace(-1, 1, n_added)
    both = np.sort(np.concatenate([frequency_k, added_k]))
    excess_w = spectrum.cumulative_excess(both, debye, np.array([5.0, 6.0, 7.0]))
    np.testing.assert_allclose(excess_w, np.array([0, 0.5, 1.0]) * n_added / total, atol=3 / total)
    label = spectrum.excess_label(both, PHONON, debye, SETTINGS)
    low, high = label.window
    assert label.intensity == pytest.approx(3 * n_added / total / (high**3 - low**3), rel=0.01)
    assert label.frequency == pytest.approx(6.0, abs=0.05)


def test_labels_scale_with_the_unit_of_frequency():
    """All frequencies and widths times 2: intensities, ps³, divided by 8."""
    frequency_k = modes_of(hump)
    double = Settings(bin_width=1.0, omega_cut=20.0, kernel_width=0.8)
    pairs = [
        (spectrum.paper_label(f, s), spectrum.excess_label(f, p, d, s))
        for f, p, d, s in ((frequency_k, PHONON, DEBYE, SETTINGS), (2 * frequency_k, 2 * PHONON, 2 * DEBYE, double))
    ]
    for one, two in zip(*pairs, strict=True):
        assert 8 * two.intensity == pytest.approx(one.intensity, rel=1e-9)
        assert 8 * two.error == pytest.approx(one.error, rel=1e-9)
        assert two.frequency == pytest.approx(2 * one.frequency, rel=0.01)
    noise, doubled = (
        spectrum.jitter(f, w, s)
        for f, w, s in ((frequency_k, (2.0, 8.0), SETTINGS), (2 * frequency_k, (4.0, 16.0), double))
    )
    np.testing.assert_allclose(8 * doubled.intensity_vo, noise.intensity_vo, rtol=1e-9)


def test_jitter_holds_the_paper_label():
    frequency_k = modes_of(hump)
    found = spectrum.jitter(frequency_k, (1.5, 8.0), SETTINGS)
    usual = spectrum.JITTER_WIDTHS.index(1.0)
    assert found.intensity_vo[usual, 0] == pytest.approx(spectrum.paper_label(frequency_k, SETTINGS).intensity)


def test_jitter_of_a_flat_spectrum_is_counting_noise():
    few, many = (spectrum.jitter(modes_of(np.ones_like, n=n), (2.0, 8.0), SETTINGS) for n in (N_MODES, 100 * N_MODES))
    assert few.offset_noise > 20 * many.offset_noise
    assert few.width_noise > many.width_noise


def test_finite_size_of_the_papers():
    """physics.md 11.3 and 11.4: 234 and 137 µTHz⁻³, 0.87 and 0.39 rad/ps."""
    for n_atoms, first_phonon, level, soft_mode in ((4000, 2.92, 234e-6, 0.87), (19652, 1.72, 137e-6, 0.39)):
        found = spectrum.finite_size(np.linspace(1, 40, 3 * n_atoms - 3), first_phonon, 220e-6, SETTINGS)
        assert found.level == pytest.approx(level, rel=0.01)
        assert found.soft_mode == pytest.approx(soft_mode, rel=0.02)
        np.testing.assert_allclose(found.multiplet_m, first_phonon * np.sqrt([1, 2]))
        assert found.expected_m.tolist() == [12, 24]


def test_modes_near_a_multiplet_are_counted():
    frequency_k = np.sort(np.concatenate([np.full(12, 2.9), np.full(24, 2.9 * np.sqrt(2)), [0.5, 3.4, 20.0]]))
    found = spectrum.finite_size(frequency_k, PHONON, 220e-6, SETTINGS, n_modes=N_MODES)
    assert found.found_m.tolist() == [12, 24]


def test_one_mode_below_the_soft_frequency_beats_the_label():
    frequency_k = modes_of(hump)
    label = spectrum.paper_label(frequency_k, SETTINGS).intensity
    soft = spectrum.finite_size(frequency_k, PHONON, label, SETTINGS).soft_mode
    lone = 1.0 / (N_MODES * SETTINGS.bin_width * np.array([0.9, 1.1]) ** 2 / soft**-2)
    assert lone[0] > label > lone[1]
