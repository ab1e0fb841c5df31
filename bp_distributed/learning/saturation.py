# SPDX-License-Identifier: BSD-3-Clause
"""From which cutoff on a model gains nothing more, with an interval.

Letters of axes: ``c`` cutoff, ``u`` unit that is drawn again (a sample, or a melt), ``b`` bootstrap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.scores import drawn_counts, limits

GAIN = 0.95
"""Part of the whole gain, from the shortest cutoff to the best, that must be reached."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Saturation:
    """Where the error stops falling.

    Attributes
    ----------
    cutoff, low, high : float, Å
        First cutoff that reaches 95 % of the gain, and its 95 % interval; NaN where no gain is certain.
    gain, gain_low, gain_high : float
        Error at the shortest cutoff minus the smallest error, in the unit of the errors; the interval belongs to the
        cutoff that is best for all units together.
    """

    cutoff: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


def reached(cutoff_c: Floats, error_bc: Floats) -> Floats:
    """Return the first cutoff that reaches 95 % of the gain, shape=(n_bootstraps,), in the unit of ``cutoff_c``."""
    first_b, best_b = error_bc[:, 0], error_bc.min(axis=1)
    enough_bc = error_bc <= (best_b + (1.0 - GAIN) * (first_b - best_b))[:, None]
    return np.asarray(cutoff_c[enough_bc.argmax(axis=1)])


def saturation(cutoff_c: Floats, error_cu: Floats, weight_u: Floats, seed: int) -> Saturation:
    """Return the cutoff at which the error saturates.

    Parameters
    ----------
    cutoff_c : ndarray, shape=(n_cutoffs,), Å
        Rising.
    error_cu : ndarray, shape=(n_cutoffs, n_units)
        Mean error of each unit.
    weight_u : ndarray, shape=(n_units,)
        How many things each mean is of.
    seed : int
        Of the bootstrap over units.

    Returns
    -------
    Saturation
    """
    n_units = len(weight_u)
    weight_bu = drawn_counts(n_units, seed) * weight_u
    error_bc = weight_bu @ error_cu.T / weight_bu.sum(axis=1)[:, None]
    mean_c = error_cu @ weight_u / weight_u.sum()
    best = int(mean_c.argmin())
    gain_low, gain_high = limits(error_bc[:, 0] - error_bc[:, best])
    gain = float(mean_c[0] - mean_c[best])
    if gain_low <= 0.0:
        return Saturation(math.nan, math.nan, math.nan, gain, gain_low, gain_high)
    low, high = limits(reached(cutoff_c, error_bc))
    cutoff = float(reached(cutoff_c, mean_c[None])[0])
    return Saturation(cutoff, low, high, gain, gain_low, gain_high)
