# SPDX-License-Identifier: BSD-3-Clause
r"""The glass transition as the temperature where two lines through V(T) meet, or the admission that there is none.

.. math:: V(T) = V_g + \alpha_g (T - T_g) + (\alpha_l - \alpha_g) \max(T - T_g, 0)

is fitted to volumes on cooling, each weighted with 1/T, since :math:`\langle\delta V^2\rangle = k_B T V \kappa_T`.  Two
lines fit any bent curve better than one does, so they are held against a *parabola*, which bends everywhere alike: there is
a kink only if data made from the parabola, with residuals of the same size and memory, hardly ever prefer two lines as
much.  Volumes of neighbouring times resemble each other; residuals are therefore redrawn in blocks of time.

Letters of axes: ``s`` sample, ``r`` row of the history, ``d`` draw, ``g`` trial temperature.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), which reads 650 K off "the discontinuity in the slope of
volume-temperature curve"; Künsch, Ann. Statist. 17, 1217 (1989), for the bootstrap of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_DRAWS = 400
STEP_K = 5.0
"""Between trial temperatures; far below what volumes of thousands of atoms can tell."""

MARGIN = 0.12
"""Share of the window at either end in which no kink is sought: a line needs points."""

LEVEL = 0.05
"""Chance to see a kink where there is a parabola."""

FEWEST_BLOCKS = 8
"""Independent stretches of time without which nothing is claimed."""

_NORMAL_95 = 3.92
"""Width of a 95 % interval in standard errors."""


@dataclass(frozen=True)
class Kink:
    """Two lines through a curve.

    Attributes
    ----------
    temperature, low, high : float, K
        Where they meet, and a 95 % interval: statistical, for this window and these samples.
    volume : float
        There, in the unit of the volumes.
    glass_slope, liquid_slope : float
        Below and above, per K.
    p_value : float
        Chance that a parabola with the same noise looks as much like two lines.
    window : tuple of float, K
        What was fitted.
    why_not : str
        Empty, or why this is not a glass transition.
    """

    temperature: float
    low: float
    high: float
    volume: float
    glass_slope: float
    liquid_slope: float
    p_value: float
    window: tuple[float, float]
    why_not: str

    def __call__(self, temperature_r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the two lines at temperatures."""
        above_r = temperature_r - self.temperature
        return np.asarray(self.volume + np.where(above_r < 0, self.glass_slope, self.liquid_slope) * above_r)


def find_kink(
    temperature_r: NDArray[np.float64],
    volume_sr: NDArray[np.float64],
    block: int,
    window: tuple[float, float],
    seed: int = 0,
) -> Kink:
    """Return where two lines through a volume-temperature curve meet.

    Parameters
    ----------
    temperature_r : ndarray, shape=(n_rows,), K
        Of the thermostat, evenly falling or rising, above 0 in the window.
    volume_sr : ndarray, shape=(n_samples, n_rows), Å³ per atom
        Samples cooled alike; their mean is fitted.
    block : int
        Rows after which volumes have forgotten each other.
    window : tuple of float, K
        Temperatures that are fitted.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Kink
        With ``why_not`` where there are too few data, no kink, or one that cannot be placed.
    """
    inside_r = (temperature_r >= window[0]) & (temperature_r <= window[1])
    temperature_r, volume_sr = temperature_r[inside_r], volume_sr[:, inside_r]
    if len(temperature_r) < FEWEST_BLOCKS * block:
        found = f"{len(temperature_r) / block:.1f}"
        why = f"the window holds {found} independent stretches of time, {FEWEST_BLOCKS} are needed"
        return Kink(*(float("nan"),) * 7, window, why)
    scale_r = np.sqrt(temperature_r)
    lines, parabola = _Lines(temperature_r, window), _Parabola(temperature_r)
    mean_r = volume_sr.mean(axis=0)[:, None]
    best = lines.fit(mean_r)
    gain = parabola.misfit(mean_r) - best.misfit_d
    draws = np.random.default_rng(seed)
    noise_sr = (volume_sr - parabola.value(mean_r)[:, 0]) / scale_r
    null_rd = parabola.value(mean_r) + scale_r[:, None] * _redrawn(noise_sr, block, draws)
    p_value = float((1 + np.sum(parabola.misfit(null_rd) - lines.fit(null_rd).misfit_d >= gain)) / (1 + N_DRAWS))
    noise_sr = (volume_sr - best.value_rd[:, 0]) / scale_r
    again = lines.fit(best.value_rd + scale_r[:, None] * _redrawn(noise_sr, block, draws))
    low, high = (float(value) for value in np.quantile(again.temperature_d, [0.025, 0.975]))
    volume, glass_slope, jump = (float(value) for value in best.curve_pd[:, 0])
    return Kink(
        float(best.temperature_d[0]), low, high, volume, glass_slope, glass_slope + jump, p_value, window,
        _why_not(p_value, jump, (low, high), lines.trial_g),
    )  # fmt: skip


def _why_not(p_value: float, jump: float, interval: tuple[float, float], trial_g: NDArray[np.float64]) -> str:
    if jump <= 0:
        return "the curve bends the other way: the slope falls as the temperature rises"
    if p_value > LEVEL:
        return f"a parabola does as well as two lines (p = {p_value:.2f}): the curve bends, but has no kink"
    if interval[0] <= trial_g[0] or interval[1] >= trial_g[-1]:
        return f"the interval of 95 % reaches the end of the window, {trial_g[0]:.0f} to {trial_g[-1]:.0f} K"
    return ""


@dataclass(frozen=True)
class _Fits:
    """Two lines through each of several curves."""

    temperature_d: NDArray[np.float64]
    curve_pd: NDArray[np.float64]
    """Volume at the kink, slope below, and what the slope gains."""
    misfit_d: NDArray[np.float64]
    value_rd: NDArray[np.float64]


class _Lines:
    """Fits two lines that meet at one of many trial temperatures."""

    def __init__(self, temperature_r: NDArray[np.float64], window: tuple[float, float]) -> None:
        reach = MARGIN * (window[1] - window[0])
        self.trial_g = np.arange(window[0] + reach, window[1] - reach, STEP_K)
        self._weight_r = 1.0 / np.sqrt(temperature_r)
        self._design_grp = np.array([
            np.stack([np.ones_like(temperature_r), temperature_r - trial, np.maximum(temperature_r - trial, 0.0)], 1)
            for trial in self.trial_g
        ])  # fmt: skip
        self._basis_grp = np.linalg.qr(self._design_grp * self._weight_r[:, None])[0]

    def fit(self, volume_rd: NDArray[np.float64]) -> _Fits:
        scaled_rd = volume_rd * self._weight_r[:, None]
        explained_gd = np.array([np.square(basis_rp.T @ scaled_rd).sum(axis=0) for basis_rp in self._basis_grp])
        best_d = explained_gd.argmax(axis=0)
        misfit_d = np.square(scaled_rd).sum(axis=0) - explained_gd.max(axis=0)
        curve_pd, value_rd = np.empty((3, len(best_d))), np.empty_like(volume_rd)
        for draw, trial in enumerate(best_d):
            design_rp = self._design_grp[trial]
            weighted_rp = design_rp * self._weight_r[:, None]
            curve_pd[:, draw] = np.linalg.lstsq(weighted_rp, scaled_rd[:, draw], rcond=None)[0]
            value_rd[:, draw] = design_rp @ curve_pd[:, draw]
        return _Fits(self.trial_g[best_d], curve_pd, misfit_d, value_rd)


class _Parabola:
    """Fits one parabola."""

    def __init__(self, temperature_r: NDArray[np.float64]) -> None:
        self._weight_r = 1.0 / np.sqrt(temperature_r)
        centred_r = temperature_r - temperature_r.mean()
        design_rp = np.stack([np.ones_like(centred_r), centred_r, centred_r**2], 1) * self._weight_r[:, None]
        self._basis_rp = np.linalg.qr(design_rp)[0]

    def value(self, volume_rd: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled_rd = volume_rd * self._weight_r[:, None]
        return np.asarray(self._basis_rp @ (self._basis_rp.T @ scaled_rd) / self._weight_r[:, None])

    def misfit(self, volume_rd: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.square((volume_rd - self.value(volume_rd)) * self._weight_r[:, None]).sum(axis=0))


def _redrawn(noise_sr: NDArray[np.float64], block: int, draws: np.random.Generator) -> NDArray[np.float64]:
    """Return the mean over samples of residuals put together from blocks, shape=(n_rows, N_DRAWS).

    In each draw as many samples as there are, each made of blocks from any of them; what the samples of one melt differ
    by throughout is a block as well, if it is that long.
    """
    n_samples, n_rows = noise_sr.shape
    n_blocks = -(-n_rows // block)
    shape = (N_DRAWS, n_samples, n_blocks)
    sample_dsb = draws.integers(n_samples, size=shape)
    start_dsb = draws.integers(n_rows - block + 1, size=shape)
    row_dsbr = start_dsb[..., None] + np.arange(block)
    noise_dsr = noise_sr[sample_dsb[..., None], row_dsbr].reshape(N_DRAWS, n_samples, -1)[:, :, :n_rows]
    return np.asarray(noise_dsr.mean(axis=1).T)


@dataclass(frozen=True)
class RateDependence:
    """Change of the glass transition per tenfold cooling rate, K, and a 95 % interval."""

    per_decade: float
    low: float
    high: float


def rate_dependence(rates: Sequence[float], kinks: Sequence[Kink]) -> RateDependence | None:
    """Return how the transition moves with the rate; None where it was found at fewer than two rates.

    Parameters
    ----------
    rates : sequence of float, K/s
    kinks : sequence of Kink
        One for each rate; those that are none are passed over.
    """
    known = [(rate, kink) for rate, kink in zip(rates, kinks, strict=True) if not kink.why_not]
    if len({rate for rate, _ in known}) < 2:  # noqa: PLR2004 - two points make a line
        return None
    decade_q = np.log10([rate for rate, _ in known])
    error_q = np.array([max(kink.high - kink.low, STEP_K) for _, kink in known]) / _NORMAL_95
    weight_q = 1.0 / error_q**2
    centre = float(np.average(decade_q, weights=weight_q))
    spread = float(weight_q @ (decade_q - centre) ** 2)
    slope = float(weight_q @ ((decade_q - centre) * [kink.temperature for _, kink in known]) / spread)
    half = 0.5 * _NORMAL_95 / np.sqrt(spread)
    return RateDependence(slope, slope - half, slope + half)
