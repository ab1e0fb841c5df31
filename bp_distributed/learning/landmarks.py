# SPDX-License-Identifier: BSD-3-Clause
"""Peaks, troughs and shells of a pair distribution function."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FIRST_PEAK_BELOW = 4.0
"""Å; the first peaks of metallic glasses lie between 2.4 and 3.3 Å."""
NEXT_WITHIN = 2.5
"""Å from a peak to the trough behind it, and from there to the next peak."""
SECOND_BLUR = 0.4
"""Å; the second peak of a glass is split, and this makes it one whose position does not jump from half to half."""
SHELL_BLUR = 0.15
"""Å; standard deviation of the Gaussian that rids a function of its noise before minima are looked for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Landmarks:
    """Where the first peak, the trough behind it and the second peak lie, in Å, and how high they are; NaN if absent."""

    first_r: float
    first_height: float
    trough_r: float
    trough_height: float
    second_r: float
    second_height: float


NOWHERE = Landmarks(*[math.nan] * 6)


def extremum(r: Floats, g_r: Floats, at: int) -> tuple[float, float]:
    """Return position and value of the parabola through three bins around ``at``."""
    if not 0 < at < len(r) - 1:
        return float(r[at]), float(g_r[at])
    left, centre, right = g_r[at - 1 : at + 2]
    bend = left - 2.0 * centre + right
    shift = 0.5 * (left - right) / bend if bend else 0.0
    return float(r[at] + shift * (r[1] - r[0])), float(centre - 0.25 * (left - right) * shift)


def landmarks(r: Floats, g_r: Floats) -> Landmarks:
    """Return the landmarks of one function.

    Parameters
    ----------
    r : ndarray, shape=(n_bins,), Å
        Equidistant.
    g_r : ndarray, shape=(n_bins,)
        Any unit; heights are in the same.
    """
    if not np.isfinite(g_r).all() or g_r.max() <= 0.0:
        return NOWHERE
    reach = round(NEXT_WITHIN / (r[1] - r[0]))
    first = int(g_r[r < FIRST_PEAK_BELOW].argmax())
    trough = first + int(g_r[first : first + reach].argmin())
    smooth_r = blurred(r, g_r, SECOND_BLUR)
    second = trough + int(smooth_r[trough : trough + reach].argmax())
    return Landmarks(*extremum(r, g_r, first), *extremum(r, g_r, trough), *extremum(r, smooth_r, second))


def blurred(r: Floats, g_r: Floats, width: float) -> Floats:
    """Return a function smeared by a Gaussian of this standard deviation in Å."""
    from scipy.ndimage import gaussian_filter1d  # noqa: PLC0415 - a third of a second, only here

    return np.asarray(gaussian_filter1d(g_r, width / (r[1] - r[0]), mode="nearest"))


def shells(r: Floats, g_r: Floats, most: int = 6) -> list[slice]:
    """Return the bins of each coordination shell: from one minimum behind a peak to the next.

    The first begins at 0; the last of ``most`` ends where the function does.
    """
    from scipy.signal import argrelmin  # noqa: PLC0415 - a third of a second, only here

    smooth_r = blurred(r, g_r, SHELL_BLUR)
    first = int(smooth_r[r < FIRST_PEAK_BELOW].argmax())
    minima = [int(at) for at in argrelmin(smooth_r)[0] if at > first][: most - 1]
    edges = [0, *minima, len(r)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
