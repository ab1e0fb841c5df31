# SPDX-License-Identifier: BSD-3-Clause
r"""The potential of mean force of a pair, and how far it is from a parabola.

.. math:: w(r)/k_B T = -\ln g(r)

It is given without :math:`k_B T`: an inherent structure has no temperature.  That w leaves the parabola through the bottom
of its valley says little of anharmonicity: g is not a Gaussian in any solid or liquid, since there are other shells beside
the first.  ``harmonic_crystal`` is the example: atoms on springs, and a w that is as far from its parabola as a glass's.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Fig. 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTHS = (float(np.log(2.0)), 1.0, 1.5, 2.0)
"""k_B T: points of the valley less deep than its bottom by the first are fitted, that is, g above half its maximum; where
these are too few, by the next."""

FEWEST = 4
"""Points of a fit."""

OUTSIDE = 3.0
"""Half-widths of the fit from its bottom at which the departure is judged: beyond the valley."""


@dataclass(frozen=True)
class MeanForce:
    """w(r) and the parabola through its valley, in units of k_B T.

    Attributes
    ----------
    r_b, w_b : ndarray, shape=(n_known,), Å and 1
        Where g > 0.
    bottom : float, Å
        Place of the parabola's minimum.
    curvature : float, 1/Å²
        Second derivative there.
    depth : float
        w at the minimum.
    fitted : tuple of float, Å
        First and last point of the fit.
    n_fitted : int
        Points of the fit.
    """

    r_b: NDArray[np.float64]
    w_b: NDArray[np.float64]
    bottom: float
    curvature: float
    depth: float
    fitted: tuple[float, float]
    n_fitted: int

    def parabola(self, r_b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fit at distances in Å."""
        return np.asarray(self.depth + 0.5 * self.curvature * np.square(r_b - self.bottom))

    @property
    def half_width(self) -> float:
        """Half of the length that was fitted, Å."""
        return 0.5 * (self.fitted[1] - self.fitted[0])

    def departure(self, half_widths: float = OUTSIDE) -> float:
        """Return (w - parabola) / (parabola - depth) so many half-widths right (left, if negative) of the bottom.

        0 for a Gaussian g; -1 where w is flat; NaN where g is not known.
        """
        r = np.array([self.bottom + half_widths * self.half_width])
        if not self.r_b[0] <= r[0] <= self.r_b[-1]:
            return float("nan")
        rise = self.parabola(r) - self.depth
        return float(((np.interp(r, self.r_b, self.w_b) - self.parabola(r)) / rise)[0])


def mean_force(r_b: NDArray[np.float64], g_b: NDArray[np.float64]) -> MeanForce | None:
    """Return the potential of mean force and the parabola through its deepest valley; None if there is no such parabola.

    Parameters
    ----------
    r_b : ndarray, shape=(n_bins,), Å
        Rising.
    g_b : ndarray, shape=(n_bins,)
        Pair distribution function.
    """
    known_b = g_b > 0
    r_b, w_b = r_b[known_b], -np.log(g_b[known_b])
    lowest = int(np.argmin(w_b))
    inside = _valley(w_b, lowest)
    if inside is None:
        return None
    centre = r_b[lowest]
    bend, slope, height = np.polyfit(r_b[inside] - centre, w_b[inside], 2)
    if bend <= 0:  # two peaks that have run into one
        return None
    bottom = centre - 0.5 * slope / bend
    depth = height - 0.25 * slope**2 / bend
    fitted_b = r_b[inside]
    ends = float(fitted_b[0]), float(fitted_b[-1])
    return MeanForce(r_b, w_b, float(bottom), float(2.0 * bend), float(depth), ends, len(fitted_b))


def _valley(w_b: NDArray[np.float64], lowest: int) -> slice | None:
    """Return the points around the lowest that are fitted; None where even the deepest valley holds too few."""
    for depth in DEPTHS:
        high = np.flatnonzero(w_b >= w_b[lowest] + depth)
        first = int(high[high < lowest].max(initial=-1)) + 1
        end = int(high[high > lowest].min(initial=len(w_b)))
        if end - first >= FEWEST:
            return slice(first, end)
    return None


def harmonic_crystal(r_b: NDArray[np.float64], nearest: float, spread: float) -> NDArray[np.float64]:
    """Return g of an fcc crystal whose distances scatter as Gaussians of one width, as those of atoms on springs do.

    Parameters
    ----------
    r_b : ndarray, shape=(n_bins,), Å
        Above 0.
    nearest : float, Å
        Distance of nearest neighbours.
    spread : float, Å
        Standard deviation of a distance.

    Returns
    -------
    ndarray, shape=(n_bins,)
    """
    reach = int(np.ceil(2.0 * (r_b[-1] + 5.0 * spread) / nearest))
    half = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3), -1).reshape(-1, 3)
    half = half[(half.sum(axis=1) % 2 == 0) & (half != 0).any(axis=1)]  # fcc: an even sum, edge 2
    shell_s, count_s = np.unique(np.round(np.linalg.norm(half, axis=1) / np.sqrt(2.0) * nearest, 9), return_counts=True)
    density = np.sqrt(2.0) / nearest**3
    peak_bs = np.exp(-0.5 * ((r_b[:, None] - shell_s) / spread) ** 2) / (spread * np.sqrt(2.0 * np.pi))
    return np.asarray(peak_bs @ count_s / (4.0 * np.pi * r_b**2 * density))
