# SPDX-License-Identifier: BSD-3-Clause
"""How far a number would move with other melts, and what that decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.panel import Verdict
from bp_distributed.captions import number
from bp_distributed.physics.correlation import UNKNOWN, Estimate, estimate

N_DRAWS = 1000
SEED = 20230522
FEWEST_MELTS = 2
UNCERTAINTY = (
    "95 % intervals: melts drawn anew with all their samples, 1000 draws, Student's factor for the number of melts"
)
SAME = 1e-12
"""Relative; a spread below this is rounding, which tells nothing of other melts."""


class Draws:
    """Samples of melts drawn anew with replacement, the same at every iteration; none where there is one melt."""

    def __init__(self, melt_s: NDArray[np.intp]) -> None:
        self._count = int(melt_s.max(initial=-1)) + 1
        self._members = [np.flatnonzero(melt_s == melt) for melt in range(self._count)]

    def __iter__(self) -> Iterator[NDArray[np.intp]]:
        """Yield the places of the samples of each draw."""
        rng = np.random.default_rng(SEED)
        for _ in range(N_DRAWS if self._count >= FEWEST_MELTS else 0):
            yield np.concatenate([self._members[melt] for melt in rng.integers(0, self._count, self._count)])


def over_melts(statistic: Callable[[NDArray[np.intp]], float], melt_s: NDArray[np.intp]) -> Estimate:
    """Return a statistic of samples with the error that comes from the choice of melts.

    Parameters
    ----------
    statistic : callable
        Of the places of samples; NaN where these samples do not determine it.
    melt_s : ndarray of int, shape=(n_samples,)
        Number of the melt of each sample, from 0.

    Returns
    -------
    Estimate
        Without error and interval where there are fewer than two melts, or all draws agree.
    """
    if not len(melt_s):
        return UNKNOWN
    value = float(statistic(np.arange(len(melt_s))))
    count = int(melt_s.max()) + 1
    alone = Estimate(value, math.nan, math.nan, math.nan)
    if count < FEWEST_MELTS or not math.isfinite(value):
        return alone
    drawn_d = np.array([statistic(drawn) for drawn in Draws(melt_s)])
    drawn_d = drawn_d[np.isfinite(drawn_d)]
    if len(drawn_d) < N_DRAWS // 2 or drawn_d.std() <= SAME * abs(value):
        return alone
    # the mean of count draws scatters by (count - 1)/count less than the mean of others would
    wider_d = value + (drawn_d - value) * math.sqrt(count / (count - 1))
    return estimate(value, wider_d, count)


def slope(x_s: NDArray[np.float64], y_s: NDArray[np.float64]) -> Callable[[NDArray[np.intp]], float]:
    """Return the least-squares slope of y against x as a statistic of samples; NaN where x does not vary."""

    def of(samples: NDArray[np.intp]) -> float:
        x, y = x_s[samples], y_s[samples]
        x = x - x.mean()
        norm = float(x @ x)
        return float(x @ (y - y.mean())) / norm if norm > 0 else math.nan

    return of


def mean(y_s: NDArray[np.float64]) -> Callable[[NDArray[np.intp]], float]:
    """Return the mean as a statistic of samples."""
    return lambda samples: float(y_s[samples].mean())


def verdict(found: Estimate, low: float = -math.inf, high: float = math.inf) -> Verdict:
    """Return what the interval of a value says of the claim that the value lies between two limits."""
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return Verdict.UNDECIDED
    if found.low > low and found.high < high:
        return Verdict.SUPPORTED
    if found.high < low or found.low > high:
        return Verdict.CONTRADICTED
    return Verdict.UNDECIDED


def with_interval(found: Estimate, unit: str = "", digits: int = 3) -> str:
    """Return a value with its interval, or without where there is none."""
    value = number(found.value, digits)
    if not math.isfinite(found.low):
        return f"{value} {unit} (no interval)".replace("  ", " ") if math.isfinite(found.value) else "not measured"
    return f"{value} [{number(found.low, digits)}, {number(found.high, digits)}] {unit}".strip()


def as_values(found: Estimate) -> dict[str, float]:
    """Return an estimate for ``atlas.json``."""
    return {"value": found.value, "error": found.error, "low": found.low, "high": found.high}


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson's formula, which takes all samples as independent."""
    if not count:
        return 0.0, 1.0
    z = 1.959964
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # rounding at shares of 0 and 1


def difference_of_shares(hits_a: int, count_a: int, hits_b: int, count_b: int) -> Estimate:
    """Return the share of a minus that of b with Newcombe's interval, made of Wilson's.

    References
    ----------
    Newcombe, Stat. Med. 17, 873 (1998), method 10.
    """
    if not (count_a and count_b):
        return UNKNOWN
    a, b = hits_a / count_a, hits_b / count_b
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, count_a), wilson(hits_b, count_b)
    below, above = math.hypot(a - low_a, high_b - b), math.hypot(high_a - a, b - low_b)
    return Estimate(a - b, 0.5 * (below + above) / 1.959964, a - b - below, a - b + above)
