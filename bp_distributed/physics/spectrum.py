# SPDX-License-Identifier: BSD-3-Clause
r"""Density of states, boson-peak intensities with honest errors, and the rule that rejects a spectrum.

g(ω) has unit area over the modes counted, that is, over all but the three translations; g/ω² is in ps³.  Two
labels are made and never mixed: the *paper-style* one is the maximum of the binned g/ω² (bins from 0, width
assumed because the papers give none), the *robust* one the maximum of a kernel estimate

.. math:: K(\omega) = \frac{1}{n} \sum_k \omega_k^{-2} \, \mathcal{N}(\omega - \omega_k; \sigma)

above the first transverse phonon multiplet, which at these sizes lies on top of the peak.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Eq. 4 and Fig. 1; Yang, Wang and Zaccone,
Phys. Rev. B 105, 014204 (2022), Eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def histogram(frequency_k: NDArray[np.float64], bin_width: float) -> Histogram:
    """Return g and g/ω² in bins from 0.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        All modes but the translations, rising.
    bin_width : float, rad/ps
        Width of a bin.

    Returns
    -------
    Histogram
    """
    bin_k = _bin_of(frequency_k, bin_width)
    count_w = np.bincount(bin_k, minlength=n_bins(frequency_k, bin_width))
    omega_w = _centres(len(count_w), bin_width)
    vdos_w = count_w / (len(frequency_k) * bin_width)
    return Histogram(omega_w, vdos_w, vdos_w / omega_w**2)


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


def paper_label(frequency_k: NDArray[np.float64], settings: Settings) -> Label:
    """Return the maximum of the binned g/ω², wherever it lies.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        All modes but the translations, rising.
    settings : Settings
        Bin width, and the range (twice the cut) whose modes are resampled for the error.

    Returns
    -------
    Label
    """
    spectrum = histogram(frequency_k, settings.bin_width)
    peak = int(np.argmax(spectrum.reduced_w))
    # Modes beyond cannot hold the maximum of g/ω²; at least the peak's own bin is kept.
    end = max(2.0 * settings.omega_cut, (peak + 1) * settings.bin_width)
    low_k = frequency_k[frequency_k < end]
    replica_bw = _resampled_bins(low_k, len(frequency_k), settings.bin_width)
    error = float(replica_bw.max(axis=1).std(ddof=1))
    top = float(spectrum.omega_w[-1] + 0.5 * settings.bin_width)
    return Label(float(spectrum.reduced_w[peak]), error, float(spectrum.omega_w[peak]), (0.0, top))


def _kernel(frequency_k: NDArray[np.float64], omega_w: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    distance_kw = (omega_w - frequency_k[:, None]) / width
    norm = width * np.sqrt(2.0 * np.pi)
    return np.asarray(np.exp(-0.5 * distance_kw**2) / (norm * frequency_k[:, None] ** 2))


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


def robust_label(frequency_k: NDArray[np.float64], first_phonon: float, settings: Settings) -> Label:
    """Return the maximum of the kernel estimate of g/ω² above the first phonon multiplet.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        All modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample.
    settings : Settings
        Kernel width and cut.

    Returns
    -------
    Label
        Its note says so when the window had to be changed or the maximum lies at the window's edge.
    """
    low, high, note = robust_window(first_phonon, settings)
    omega_w = np.linspace(low, high, max(2, int(np.ceil((high - low) / KERNEL_GRID)) + 1))
    near_k = frequency_k[np.abs(frequency_k - 0.5 * (low + high)) < 0.5 * (high - low) + 6.0 * settings.kernel_width]
    if not near_k.size:
        return Label(0.0, 0.0, low, (low, high), note or "no mode near the window")
    kernel_kw = _kernel(near_k, omega_w, settings.kernel_width) / len(frequency_k)
    estimate_w = kernel_kw.sum(axis=0)
    error = float((bootstrap_weights(len(near_k)) @ kernel_kw).max(axis=1).std(ddof=1))
    peak = int(np.argmax(estimate_w))
    if peak in {0, len(omega_w) - 1}:
        note = "; ".join(part for part in (note, "maximum lies at the edge of the window") if part)
    return Label(float(estimate_w[peak]), error, float(omega_w[peak]), (low, high), note)


def peak_window(first_phonon: float, bin_width: float) -> tuple[float, float]:
    """Return where a boson peak may lie: [max(1.5 bins, ω_T1 / 2), 8] rad/ps."""
    return max(1.5 * bin_width, 0.5 * first_phonon), PEAK_CEILING


def judge(frequency_k: NDArray[np.float64], first_phonon: float, settings: Settings) -> Verdict:
    """Apply the rejection rule to the paper-style spectrum.

    Accepted if the maximum of the binned g/ω² is an interior maximum of ``peak_window`` that stands out over
    the lowest bin to its left in the window by more than two standard errors.  A maximum below the window is
    a soft mode, not a boson peak: one mode under (n Δω I)^(-1/2) is enough to make it.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        All modes but the translations, rising.
    first_phonon : float, rad/ps
        2π c_t / L of the sample.
    settings : Settings
        Bin width.

    Returns
    -------
    Verdict
        With criterion, value and threshold.
    """
    spectrum = histogram(frequency_k, settings.bin_width)
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
    replica_bw = _resampled_bins(low_k, len(frequency_k), settings.bin_width)
    threshold = 2.0 * float((replica_bw[:, peak] - replica_bw[:, valley]).std(ddof=1))
    prominence = float(spectrum.reduced_w[peak] - spectrum.reduced_w[valley])
    reason = None if prominence > threshold else Reason.NO_PEAK
    return Verdict(reason, "prominence of the peak over the valley to its left, ps3", prominence, threshold)


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
    # A hair of slack: 10 / 0.1 must be 100 bins in spite of rounding.
    return int(np.floor(settings.omega_cut / settings.bin_width + 1e-9))


def atomic_spectrum(
    frequency_k: NDArray[np.float64],
    vectors_kic: NDArray[np.float64],
    window: tuple[float, float],
    settings: Settings,
) -> AtomicSpectrum:
    """Return g_i(ω) = 1/n Σ_k δ(ω - ω_k) |e_k^i|² in bins, and intensities per atom.

    Parameters
    ----------
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        All n modes but the translations, rising.
    vectors_kic : ndarray, shape=(n_vectors, n_atoms, 3)
        Unit vectors of the first modes, at least of those below the cut.
    window : tuple of float, rad/ps
        For the integrated intensity; clipped at the cut.
    settings : Settings
        Bin width and cut.

    Returns
    -------
    AtomicSpectrum
    """
    n_modes, bins = len(frequency_k), n_low_bins(settings)
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
