# SPDX-License-Identifier: BSD-3-Clause
r"""Density of states, boson-peak intensities with honest errors, and the rule that rejects a spectrum.

g(ω) has unit area over the modes counted, that is, over all but the three translations; g/ω² is in ps³.  Four
labels are made and never mixed: the *paper-style* one is the maximum of the binned g/ω² (bins from 0, width
assumed because the papers give none), the *robust* one the maximum of a kernel estimate

.. math:: K(\omega) = \frac{1}{n} \sum_k \omega_k^{-2} \, \mathcal{N}(\omega - \omega_k; \sigma)

above the first transverse phonon multiplet, which at these sizes lies on top of the peak; the *fitted* one the
top of a parabola or a Lorentzian through the peak; the *excess* one the number of modes above Debye's,
N(ω)/n - (ω/ω_D)³, which needs no maximum at all.

A spectrum is *partial* when only its lower modes are known.  Then ``n_modes`` gives the number of all, and
``frequency_k`` must hold every mode below ``Settings.omega_cut`` at least.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Eq. 4 and Fig. 1; Yang, Wang and Zaccone,
Phys. Rev. B 105, 014204 (2022), Eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bp_distributed.errors import Reason

N_BOOTSTRAP = 400
"""Standard errors are then good to 4 %."""

BOOTSTRAP_SEED = 20230511
"""Fixed, so that the same modes always give the same error."""

KERNEL_GRID = 0.02
"""rad/ps; a twentieth of the usual kernel width or less."""

PEAK_CEILING = 8.0
"""rad/ps; above it a maximum of g/ω² is no boson peak."""

PHONON_MARGIN = 1.3
"""The robust window begins at this multiple of the first transverse phonon."""

KNOWN_MARGIN = 3.0
"""Kernel widths below the end of a partial spectrum; nearer, modes that are not known would be missed."""

FIT_BINS = 9.0
"""Bins of a fit are the peak frequency over this, as in Y. Wang's public scripts for the boson peak."""

FIT_WINDOWS = {"quadratic": (0.5, 1.5), "lorentzian": (1.0 / 3.0, 1.6)}
"""Multiples of the peak frequency between which each shape is fitted; the second as in the same scripts."""

MULTIPLETS = ((1.0, 12), (np.sqrt(2.0), 24))
"""Frequency over ω_T1 and number of modes of the first transverse phonons of a cubic cell: <100> and <110>."""

MULTIPLET_REACH = 0.1
"""Modes within this fraction of a multiplet's frequency are counted as near it."""

JITTER_WIDTHS = (0.8, 0.9, 1.0, 1.1, 1.25)
"""Bin widths, over the usual one, that are as good a choice."""

JITTER_OFFSETS = 16
"""Positions of the bins tried for each width."""


@dataclass(frozen=True)
class Settings:
    """How spectra are estimated; everything in rad/ps."""

    bin_width: float = 0.5
    omega_cut: float = 10.0
    kernel_width: float = 0.4


@dataclass(frozen=True)
class Histogram:
    """Binned density of states.

    Attributes
    ----------
    omega_w : ndarray, shape=(n_bins,), rad/ps
        Bin centres; the first bin begins at 0.
    vdos_w : ndarray, shape=(n_bins,), ps
        g, unit area.
    reduced_w : ndarray, shape=(n_bins,), ps³
        g divided by the squared bin centre.
    """

    omega_w: NDArray[np.float64]
    vdos_w: NDArray[np.float64]
    reduced_w: NDArray[np.float64]


@dataclass(frozen=True)
class Label:
    """A boson-peak intensity.

    Attributes
    ----------
    intensity, error : float, ps³
        Maximum and its bootstrap standard error.
    frequency : float, rad/ps
        Where the maximum lies.
    window : tuple of float, rad/ps
        Where it was looked for.
    note : str
        Empty, or why the window is not the usual one.
    """

    intensity: float
    error: float
    frequency: float
    window: tuple[float, float]
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """Outcome of the rejection rule: ``reason`` is None when the peak is accepted."""

    reason: Reason | None
    criterion: str
    value: float
    threshold: float


def n_bins(frequency_k: NDArray[np.float64], bin_width: float) -> int:
    """Return how many bins from 0 hold all frequencies."""
    return int(np.floor(frequency_k[-1] / bin_width)) + 1


def histogram(
    frequency_k: NDArray[np.float64],
    bin_width: float,
    *,
    n_modes: int | None = None,
    known_below: float | None = None,
) -> Histogram:
    """Return g and g/ω² in bins from 0.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    bin_width : float, rad/ps
        Width of a bin.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.
    known_below : float, rad/ps, optional
        Where a partial spectrum ends: bins beyond, or cut by it, are left out.  By default the highest mode.

    Returns
    -------
    Histogram
    """
    bins, total = n_bins(frequency_k, bin_width), len(frequency_k)
    if n_modes is not None and n_modes > total:
        bins, total = _whole_bins(frequency_k[-1] if known_below is None else known_below, bin_width), n_modes
    count_w = np.bincount(_bin_of(frequency_k, bin_width), minlength=bins)[:bins]
    omega_w = _centres(bins, bin_width)
    vdos_w = count_w / (total * bin_width)
    return Histogram(omega_w, vdos_w, vdos_w / omega_w**2)


def _known_below(frequency_k: NDArray[np.float64], n_modes: int | None, settings: Settings) -> float:
    """Return the frequency below which no mode is missing."""
    if n_modes is None or n_modes == len(frequency_k):
        return float("inf")
    return max(settings.omega_cut, float(frequency_k[-1]))


def _binned(frequency_k: NDArray[np.float64], n_modes: int | None, settings: Settings) -> Histogram:
    known_below = _known_below(frequency_k, n_modes, settings)
    return histogram(frequency_k, settings.bin_width, n_modes=n_modes, known_below=known_below)


def _whole_bins(end: float, bin_width: float) -> int:
    # A hair of slack: 10 / 0.1 must be 100 bins in spite of rounding.
    return int(np.floor(end / bin_width + 1e-9))


def _centres(count: int, bin_width: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) + 0.5) * bin_width, dtype=np.float64)


def _bin_of(frequency_k: NDArray[np.float64], bin_width: float) -> NDArray[np.intp]:
    return np.floor(frequency_k / bin_width).astype(np.intp)


def bootstrap_weights(n_modes: int) -> NDArray[np.float64]:
    """Return Poisson bootstrap weights, shape=(N_BOOTSTRAP, n_modes), the same at every call.

    Independent modes are assumed.  Levels repel each other, so the errors are rather too large than too small.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return rng.poisson(1.0, size=(N_BOOTSTRAP, n_modes)).astype(np.float64)


def _resampled_bins(low_k: NDArray[np.float64], n_modes: int, bin_width: float) -> NDArray[np.float64]:
    """Return bootstrap replicas of the binned g/ω² of the modes given, shape=(N_BOOTSTRAP, n_bins)."""
    bin_k = _bin_of(low_k, bin_width)
    member_kw = np.zeros((len(low_k), bin_k[-1] + 1))
    member_kw[np.arange(len(low_k)), bin_k] = 1.0
    omega_w = _centres(member_kw.shape[1], bin_width)
    return np.asarray(bootstrap_weights(len(low_k)) @ member_kw / (n_modes * bin_width * omega_w**2))


def paper_label(frequency_k: NDArray[np.float64], settings: Settings, *, n_modes: int | None = None) -> Label:
    """Return the maximum of the binned g/ω², wherever it lies.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    settings : Settings
        Bin width, and the range (twice the cut) whose modes are resampled for the error.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Label
    """
    spectrum = _binned(frequency_k, n_modes, settings)
    peak = int(np.argmax(spectrum.reduced_w))
    # Modes beyond cannot hold the maximum of g/ω²; at least the peak's own bin is kept.
    end = max(2.0 * settings.omega_cut, (peak + 1) * settings.bin_width)
    top = float(spectrum.omega_w[-1] + 0.5 * settings.bin_width)
    low_k = frequency_k[frequency_k < min(end, top)]
    replica_bw = _resampled_bins(low_k, n_modes or len(frequency_k), settings.bin_width)
    error = float(replica_bw.max(axis=1).std(ddof=1))
    return Label(float(spectrum.reduced_w[peak]), error, float(spectrum.omega_w[peak]), (0.0, top))


def _kernel(frequency_k: NDArray[np.float64], omega_w: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    distance_kw = (omega_w - frequency_k[:, None]) / width
    norm = width * np.sqrt(2.0 * np.pi)
    return np.asarray(np.exp(-0.5 * distance_kw**2) / (norm * frequency_k[:, None] ** 2))


def _kernel_estimate(
    frequency_k: NDArray[np.float64], window: tuple[float, float], settings: Settings, n_modes: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid in the window, rad/ps, and on it what each mode near adds to g/ω², shape=(n_near, n_grid), ps³."""
    low, high = window
    omega_w = np.linspace(low, high, max(2, int(np.ceil((high - low) / KERNEL_GRID)) + 1))
    near_k = frequency_k[np.abs(frequency_k - 0.5 * (low + high)) < 0.5 * (high - low) + 6.0 * settings.kernel_width]
    return omega_w, _kernel(near_k, omega_w, settings.kernel_width) / (n_modes or len(frequency_k))


def robust_window(first_phonon: float, settings: Settings) -> tuple[float, float, str]:
    """Return the robust label's window and, where the usual one is empty, why it is another.

    The usual window is [1.3 ω_T1, cut].  In small systems ω_T1 is so high that less than two kernel widths
    remain; then the window begins at ω_T1 / 2, or, in the smallest, at a tenth of the cut.
    """
    low, cut, least = PHONON_MARGIN * first_phonon, settings.omega_cut, 2.0 * settings.kernel_width
    if low + least <= cut:
        return low, cut, ""
    half = 0.5 * first_phonon
    start = half if half + least <= cut else 0.1 * cut
    note = f"window [1.3 first_phonon, cut] = [{low:.3g}, {cut:.3g}] is too narrow at this size, begins at {start:.3g}"
    return start, cut, note


def robust_label(
    frequency_k: NDArray[np.float64], first_phonon: float, settings: Settings, *, n_modes: int | None = None
) -> Label:
    """Return the maximum of the kernel estimate of g/ω² above the first phonon multiplet.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample.
    settings : Settings
        Kernel width and cut.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Label
        Its note says so when the window had to be changed or the maximum lies at the window's edge.
    """
    known_below = _known_below(frequency_k, n_modes, settings) - KNOWN_MARGIN * settings.kernel_width
    low, high, note = robust_window(first_phonon, replace(settings, omega_cut=min(settings.omega_cut, known_below)))
    omega_w, kernel_kw = _kernel_estimate(frequency_k, (low, high), settings, n_modes)
    if not kernel_kw.size:
        return Label(0.0, 0.0, low, (low, high), note or "no mode near the window")
    estimate_w = kernel_kw.sum(axis=0)
    error = float((bootstrap_weights(len(kernel_kw)) @ kernel_kw).max(axis=1).std(ddof=1))
    peak = int(np.argmax(estimate_w))
    if peak in {0, len(omega_w) - 1}:
        note = "; ".join(part for part in (note, "maximum lies at the edge of the window") if part)
    return Label(float(estimate_w[peak]), error, float(omega_w[peak]), (low, high), note)


def peak_window(first_phonon: float, bin_width: float) -> tuple[float, float]:
    """Return where a boson peak may lie: [max(1.5 bins, ω_T1 / 2), 8] rad/ps."""
    return max(1.5 * bin_width, 0.5 * first_phonon), PEAK_CEILING


def judge(
    frequency_k: NDArray[np.float64], first_phonon: float, settings: Settings, *, n_modes: int | None = None
) -> Verdict:
    """Apply the rejection rule to the paper-style spectrum.

    Accepted if the maximum of the binned g/ω² is an interior maximum of ``peak_window`` that stands out over
    the lowest bin to its left in the window by more than two standard errors.  A maximum below the window is
    a soft mode, not a boson peak: one mode under (n Δω I)^(-1/2) is enough to make it.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample.
    settings : Settings
        Bin width.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Verdict
        With criterion, value and threshold.
    """
    spectrum = _binned(frequency_k, n_modes, settings)
    low, high = peak_window(first_phonon, settings.bin_width)
    peak = int(np.argmax(spectrum.reduced_w))
    inside = np.flatnonzero((spectrum.omega_w >= low) & (spectrum.omega_w <= high))
    omega = float(spectrum.omega_w[peak])
    if omega < low:
        return Verdict(Reason.NO_PEAK, "soft_mode: maximum of g/omega2 lies below the window", omega, low)
    if omega > high:
        return Verdict(Reason.NO_PEAK, "maximum of g/omega2 lies above the window", omega, high)
    left = inside[inside < peak]
    if not left.size:
        return Verdict(Reason.NO_PEAK, "monotonic: maximum of g/omega2 is the first bin of the window", omega, low)
    valley = int(left[np.argmin(spectrum.reduced_w[left])])
    low_k = frequency_k[frequency_k < (peak + 1) * settings.bin_width]
    replica_bw = _resampled_bins(low_k, n_modes or len(frequency_k), settings.bin_width)
    threshold = 2.0 * float((replica_bw[:, peak] - replica_bw[:, valley]).std(ddof=1))
    prominence = float(spectrum.reduced_w[peak] - spectrum.reduced_w[valley])
    reason = None if prominence > threshold else Reason.NO_PEAK
    return Verdict(reason, "prominence of the peak over the valley to its left, ps3", prominence, threshold)


def fitted_label(
    frequency_k: NDArray[np.float64],
    first_phonon: float,
    settings: Settings,
    *,
    shape: str = "quadratic",
    n_modes: int | None = None,
) -> Label:
    """Return the top of a parabola or a Lorentzian fitted to g/ω² around its maximum.

    The maximum of the kernel estimate in ``peak_window`` sets bins and window of the fit (``FIT_BINS`` and
    ``FIT_WINDOWS``); replicas of the bootstrap are fitted in that same window, with weights ∝ ω² as for counting noise.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample.
    settings : Settings
        Kernel width and, for the window in which the maximum is sought, bin width.
    shape : str
        ``quadratic`` or ``lorentzian``.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Label
        Its note says so when the fit has no maximum within its window; the intensity is then 0.
    """
    search_w, kernel_kw = _kernel_estimate(
        frequency_k, peak_window(first_phonon, settings.bin_width), settings, n_modes
    )
    peak = float(search_w[np.argmax(kernel_kw.sum(axis=0))])
    low, high = (factor * peak for factor in FIT_WINDOWS[shape])
    high = min(high, _known_below(frequency_k, n_modes, settings))
    bins = round((high - low) / peak * FIT_BINS)
    width = (high - low) / bins
    near_k = frequency_k[(frequency_k >= low) & (frequency_k < high)]
    member_kw = np.zeros((len(near_k), bins))
    member_kw[np.arange(len(near_k)), np.minimum(_bin_of(near_k - low, width), bins - 1)] = near_k**-2.0
    weights_bk = np.vstack([np.ones(len(near_k)), bootstrap_weights(len(near_k))])
    reduced_bw = weights_bk @ member_kw / ((n_modes or len(frequency_k)) * width)
    omega_w = low + _centres(bins, width)
    top_b, place_b = (
        _parabola_top(omega_w, reduced_bw) if shape == "quadratic" else _lorentzian_top(omega_w, reduced_bw)
    )
    inside_b = (place_b > low) & (place_b < high)
    if not inside_b[0]:
        return Label(0.0, 0.0, peak, (low, high), "the fit has no maximum within its window")
    error = float(top_b[1:][inside_b[1:]].std(ddof=1))
    return Label(float(top_b[0]), error, float(place_b[0]), (low, high))


def _parabola_top(
    omega_w: NDArray[np.float64], reduced_bw: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return height and place of the maximum of the parabola through each row; the place is NaN without one."""
    # Counting noise of g/ω² goes as 1/ω where g/ω² is flat.
    centre = omega_w.mean()
    curve_pb = np.polynomial.polynomial.polyfit(omega_w - centre, reduced_bw.T, 2, w=omega_w)
    bend_b = np.where(curve_pb[2] < 0, curve_pb[2], np.nan)
    shift_b = -0.5 * curve_pb[1] / bend_b
    return curve_pb[0] + 0.5 * curve_pb[1] * shift_b, centre + shift_b


def _lorentzian(omega: NDArray[np.float64], top: float, place: float, width: float) -> NDArray[np.float64]:
    return np.asarray(top / (1.0 + ((omega - place) / width) ** 2))


def _lorentzian_top(
    omega_w: NDArray[np.float64], reduced_bw: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return height and place of the maximum of the Lorentzian through each row; the place is NaN without one.

    The first row is fitted, the others by one Gauss-Newton step from there.
    """
    scale = reduced_bw[0].max()
    scaled_bw = reduced_bw / scale * omega_w

    def misfit(curve: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(_lorentzian(omega_w, *curve) * omega_w - scaled_bw[0])

    start = [1.0, omega_w[np.argmax(reduced_bw[0])], np.ptp(omega_w)]
    fit = optimize.least_squares(misfit, start, x_scale=start)
    curve_bp = fit.x + (scaled_bw - scaled_bw[0]) @ np.linalg.pinv(fit.jac).T
    return curve_bp[:, 0] * scale, np.where(fit.success, curve_bp[:, 1], np.nan)


def cumulative_excess(
    frequency_k: NDArray[np.float64],
    debye_frequency: float,
    omega_w: NDArray[np.float64],
    *,
    n_modes: int | None = None,
) -> NDArray[np.float64]:
    """Return N(ω)/n - (ω/ω_D)³, the share of modes below each frequency beyond what an elastic continuum has.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    debye_frequency : float, rad/ps
        ω_D of the sample.
    omega_w : ndarray, shape=(n_omega,), rad/ps
        Where.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    ndarray, shape=(n_omega,)
    """
    share_w = np.searchsorted(frequency_k, omega_w) / (n_modes or len(frequency_k))
    return np.asarray(share_w - (omega_w / debye_frequency) ** 3)


def excess_label(
    frequency_k: NDArray[np.float64],
    first_phonon: float,
    debye_frequency: float,
    settings: Settings,
    *,
    n_modes: int | None = None,
) -> Label:
    """Return the mean of g/ω² above the Debye level over the robust window, from two mode counts.

    The mean is weighted with ω²: E is the cumulative excess and I = 3 [E(b) - E(a)] / (b³ - a³) on [a, b].  The
    error is that of counting; an error δ of ω_D adds 9 δ/ω_D⁴ of its own.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    first_phonon, debye_frequency : float, rad/ps
        2π c_t / L and ω_D of the sample.
    settings : Settings
        Kernel width and cut, which set the window.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Label
        Its frequency is where half the excess of the window is reached.
    """
    low, high, note = robust_window(first_phonon, settings)
    omega_w = np.linspace(low, high, int(np.ceil((high - low) / KERNEL_GRID)) + 1)
    excess_w = cumulative_excess(frequency_k, debye_frequency, omega_w, n_modes=n_modes)
    gain_w = excess_w - excess_w[0]
    per_share = 3.0 / (high**3 - low**3)
    # A sum of Poisson weights has the variance of their number.
    inside = np.count_nonzero((frequency_k >= low) & (frequency_k < high))
    error = float(per_share * np.sqrt(inside) / (n_modes or len(frequency_k)))
    half = int(np.argmax(gain_w >= 0.5 * gain_w[-1]))
    return Label(float(per_share * gain_w[-1]), error, float(omega_w[half]), (low, high), note)


@dataclass(frozen=True)
class Jitter:
    """How a paper-style label changes with choices that are equally good.

    Attributes
    ----------
    intensity_vo : ndarray, shape=(n_widths, n_offsets), ps³
        Maximum of g/ω² for each bin width of ``JITTER_WIDTHS`` and each position of the bins.
    """

    intensity_vo: NDArray[np.float64]

    @property
    def offset_noise(self) -> float:
        """Standard deviation over the position of bins of the usual width, ps³."""
        return float(self.intensity_vo[JITTER_WIDTHS.index(1.0)].std(ddof=1))

    @property
    def width_noise(self) -> float:
        """Standard deviation over the width of the bins, averaged over their position, ps³."""
        return float(self.intensity_vo.mean(axis=1).std(ddof=1))


def jitter(
    frequency_k: NDArray[np.float64], window: tuple[float, float], settings: Settings, *, n_modes: int | None = None
) -> Jitter:
    """Return the maximum of the binned g/ω² in a window, for bins shifted and stretched.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    window : tuple of float, rad/ps
        Centres of bins must lie within; keeps soft modes out.
    settings : Settings
        Usual bin width.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    Jitter
    """
    total = n_modes or len(frequency_k)
    high = min(window[1], _known_below(frequency_k, n_modes, settings))
    intensity_vo = np.empty((len(JITTER_WIDTHS), JITTER_OFFSETS))
    for v, factor in enumerate(JITTER_WIDTHS):
        width = factor * settings.bin_width
        for o in range(JITTER_OFFSETS):
            edge_w = width * (np.arange(np.ceil(high / width) + 1) + o / JITTER_OFFSETS)
            centre_w = 0.5 * (edge_w[1:] + edge_w[:-1])
            inside_w = (centre_w >= window[0]) & (centre_w <= high)
            count_w = np.diff(np.searchsorted(frequency_k, edge_w))
            intensity_vo[v, o] = (count_w / centre_w**2)[inside_w].max() / (total * width)
    return Jitter(intensity_vo)


@dataclass(frozen=True)
class FiniteSize:
    """What a cubic cell of this size does to the spectrum by itself.

    Attributes
    ----------
    multiplet_m : ndarray, shape=(2,), rad/ps
        Frequencies of the first two multiplets of transverse phonons, ω_T1 and √2 ω_T1.
    expected_m : ndarray of int, shape=(2,)
        Modes in each: 12 and 24.
    found_m : ndarray of int, shape=(2,)
        Modes within ``MULTIPLET_REACH`` of each, phonons or not.
    level : float, ps³
        g/ω² if the whole first multiplet fell into one bin.
    soft_mode : float, rad/ps
        ω* = (n Δω I)^(-1/2): one single mode below makes a maximum higher than the label I.
    """

    multiplet_m: NDArray[np.float64]
    expected_m: NDArray[np.int64]
    found_m: NDArray[np.int64]
    level: float
    soft_mode: float


def finite_size(
    frequency_k: NDArray[np.float64],
    first_phonon: float,
    intensity: float,
    settings: Settings,
    *,
    n_modes: int | None = None,
) -> FiniteSize:
    """Return indicators of finite size.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample, a cubic cell.
    intensity : float, ps³
        The label with which a soft mode is compared.
    settings : Settings
        Bin width.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    FiniteSize
    """
    factor_m, expected_m = (np.array(column) for column in zip(*MULTIPLETS, strict=True))
    multiplet_m = first_phonon * factor_m
    ends_m = np.searchsorted(frequency_k, np.outer([1.0 - MULTIPLET_REACH, 1.0 + MULTIPLET_REACH], multiplet_m))
    per_mode = 1.0 / ((n_modes or len(frequency_k)) * settings.bin_width)
    return FiniteSize(
        multiplet_m,
        expected_m,
        np.diff(ends_m, axis=0)[0],
        float(expected_m[0] * per_mode / first_phonon**2),
        float(np.sqrt(per_mode / intensity)),
    )


@dataclass(frozen=True)
class AtomicSpectrum:
    """Shares of single atoms in the spectrum below the cut.

    Attributes
    ----------
    omega_w : ndarray, shape=(n_low_bins,), rad/ps
        Bin centres.
    vdos_iw : ndarray, shape=(n_atoms, n_low_bins), ps
        g_i; sums to g over the atoms.
    intensity_i : ndarray, shape=(n_atoms,), ps³
        Maximum of g_i/ω² over the bins; depends strongly on the bin width.
    window_intensity_i : ndarray, shape=(n_atoms,), ps²
        Integral of g_i/ω² over the boson-peak window, mode by mode, without bins.
    """

    omega_w: NDArray[np.float64]
    vdos_iw: NDArray[np.float64]
    intensity_i: NDArray[np.float64]
    window_intensity_i: NDArray[np.float64]


def n_low_bins(settings: Settings) -> int:
    """Return how many whole bins lie below the cut."""
    return _whole_bins(settings.omega_cut, settings.bin_width)


def atomic_spectrum(
    frequency_k: NDArray[np.float64],
    vectors_kic: NDArray[np.float64],
    window: tuple[float, float],
    settings: Settings,
    *,
    n_modes: int | None = None,
) -> AtomicSpectrum:
    """Return g_i(ω) = 1/n Σ_k δ(ω - ω_k) |e_k^i|² in bins, and intensities per atom.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        The n modes but the translations, rising.
    vectors_kic : ndarray, shape=(n_vectors, n_atoms, 3)
        Unit vectors of the first modes, at least of those below the cut.
    window : tuple of float, rad/ps
        For the integrated intensity; clipped at the cut.
    settings : Settings
        Bin width and cut.
    n_modes : int, optional
        Of the whole spectrum, if it is partial.

    Returns
    -------
    AtomicSpectrum
    """
    n_modes, bins = n_modes or len(frequency_k), n_low_bins(settings)
    low_k = frequency_k[: len(vectors_kic)]
    bin_k = _bin_of(low_k, settings.bin_width)
    share_ki = np.einsum("kic,kic->ki", vectors_kic, vectors_kic)
    omega_w = _centres(bins, settings.bin_width)
    vdos_iw = np.zeros((share_ki.shape[1], bins))
    for index in range(bins):
        vdos_iw[:, index] = share_ki[bin_k == index].sum(axis=0) / (n_modes * settings.bin_width)
    inside_k = (low_k >= window[0]) & (low_k < min(window[1], settings.omega_cut))
    window_intensity_i = (share_ki[inside_k] / low_k[inside_k, None] ** 2).sum(axis=0) / n_modes
    return AtomicSpectrum(omega_w, vdos_iw, (vdos_iw / omega_w**2).max(axis=1), window_intensity_i)
