# SPDX-License-Identifier: BSD-3-Clause
"""How good predictions are, and how sure that is: errors, and intervals from melts drawn again.

Samples of one melt are not independent, so whole groups are drawn.  Two models are compared on the same samples, pair
by pair: their errors go up and down together, and the difference is known better than either.

Array names: letter ``s`` is a sample, ``b`` a bootstrap replica, ``g`` a group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOOTSTRAPS = 2000
LEVEL = 0.95
FEW_GROUPS = 5
"""Below this many groups an interval over groups decides nothing."""

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


def mae(predicted_s: Floats, true_s: Floats) -> float:
    """Return the mean absolute error, in the units of the values."""
    return float(np.abs(predicted_s - true_s).mean())


def rmse(predicted_s: Floats, true_s: Floats) -> float:
    """Return the root mean square error, in the units of the values."""
    return float(np.sqrt(((predicted_s - true_s) ** 2).mean()))


def r2(predicted_s: Floats, true_s: Floats) -> float:
    """Return 1 minus the error's sum of squares over that about the mean; NaN if all true values are equal."""
    total = float(((true_s - true_s.mean()) ** 2).sum())
    return 1.0 - float(((predicted_s - true_s) ** 2).sum()) / total if total else math.nan


def spearman(first_s: Floats, second_s: Floats) -> float:
    """Return the correlation of ranks; NaN if one side is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415 - half a second, only here

    if min(np.ptp(first_s), np.ptp(second_s)) == 0.0:
        return math.nan
    return float(np.corrcoef(rankdata(first_s), rankdata(second_s))[0, 1])


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, groups drawn again with replacement."""

    value: float
    low: float
    high: float
    groups: int
    """Groups it stands on."""

    @property
    def sign(self) -> int:
        """1 or -1 if the interval leaves zero out and there are groups enough to say so, else 0."""
        if self.groups < FEW_GROUPS:
            return 0
        return 1 if self.low > 0.0 else -1 if self.high < 0.0 else 0


def group_draws(group_s: Names, seed: int) -> NDArray[np.int64]:
    """Return how often each sample stands in each bootstrap replica, shape=(BOOTSTRAPS, n_samples)."""
    names, group_of_s = np.unique(group_s, return_inverse=True)
    return drawn_counts(len(names), seed)[:, group_of_s]


def drawn_counts(n_groups: int, seed: int) -> NDArray[np.int64]:
    """Return how often each group is drawn in each replica, shape=(BOOTSTRAPS, n_groups)."""
    drawn_bg = np.random.default_rng(seed).integers(0, n_groups, (BOOTSTRAPS, n_groups))
    cell_bg = drawn_bg + n_groups * np.arange(BOOTSTRAPS)[:, None]
    return np.bincount(cell_bg.ravel(), minlength=BOOTSTRAPS * n_groups).reshape(BOOTSTRAPS, n_groups)


def mean_interval(values_s: Floats, group_s: Names, seed: int) -> Interval:
    """Return the mean over samples with its interval, whole groups being drawn again.

    Parameters
    ----------
    values_s : ndarray, shape=(n_samples,)
    group_s : ndarray of str, shape=(n_samples,)
    seed : int
    """
    names, group_of_s = np.unique(group_s, return_inverse=True)
    sums_g = np.bincount(group_of_s, values_s)
    counts_g = np.bincount(group_of_s)
    drawn_bg = drawn_counts(len(names), seed)
    low, high = limits((drawn_bg @ sums_g) / (drawn_bg @ counts_g))
    return Interval(float(values_s.mean()), low, high, len(names))


def limits(replicas_b: Floats) -> tuple[float, float]:
    """Return the ends of the 95 % interval of bootstrap replicas."""
    low, high = np.quantile(replicas_b, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def paired_difference(first_s: Floats, second_s: Floats, true_s: Floats, group_s: Names, seed: int) -> Interval:
    """Return the MAE of the first predictions minus that of the second, on the same samples.

    Parameters
    ----------
    first_s, second_s, true_s : ndarray, shape=(n_samples,)
    group_s : ndarray of str, shape=(n_samples,)
    seed : int
    """
    return mean_interval(np.abs(first_s - true_s) - np.abs(second_s - true_s), group_s, seed)
