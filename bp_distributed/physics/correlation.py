# SPDX-License-Identifier: BSD-3-Clause
"""How strongly two atomic properties go together, with errors that know that neighbours are alike.

Pearson's r of coarse-grained fields against the coarse-graining length; the straight line between them; what the ends
of one distribution mean for the other.  Intervals come from blocks of space, p-values from toroidal shifts
(:mod:`~bp_distributed.physics.sites`); the usual formulas for independent pairs would be far too narrow.

Letters of axes: ``i`` atom, ``l`` coarse-graining length, ``d`` draw, ``b`` block, ``m`` moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.sites import Sites, blocks, n_blocks

EDGE_IN_LENGTHS = 2.0
"""Edge of a block over the edge of the volume that holds one independent value."""

LEAST_EFFECTIVE = 20
"""A length that leaves fewer independent values cannot be the best one: any two such fields correlate."""

N_DRAWS = 1000
CONFIDENCE = 0.95
_VALUES_AT_ONCE = 1 << 22
"""Of shifted fields; 32 MiB."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and 95 % interval."""

    value: float
    error: float
    low: float
    high: float


UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Curve:
    """Pearson's r against the coarse-graining length.

    Attributes
    ----------
    lengths_l : ndarray, shape=(n_lengths,), Å
        0 is without coarse-graining.
    r_l, low_l, high_l : ndarray, shape=(n_lengths,)
        Correlation and its 95 % interval.
    n_effective_l : ndarray, shape=(n_lengths,)
        Independent pairs that would scatter as much by chance.
    edge_l, n_blocks_l : ndarray, shape=(n_lengths,)
        Edge aimed at (Å) and number of blocks.
    p_l : ndarray, shape=(n_lengths,)
        How often a random shift correlates at least as strongly, either sign.
    best : int
        Place of the largest absolute r among lengths that leave ``LEAST_EFFECTIVE`` independent pairs.
    best_length : Estimate, Å
        Its length; interval from resampled blocks.
    open_ended : bool
        If no longer length could have been chosen: the best one may be longer.
    p_best : float
        How often the best length of a random shift does at least as well.
    """

    lengths_l: NDArray[np.float64]
    r_l: NDArray[np.float64]
    low_l: NDArray[np.float64]
    high_l: NDArray[np.float64]
    n_effective_l: NDArray[np.float64]
    edge_l: NDArray[np.float64]
    n_blocks_l: NDArray[np.intp]
    p_l: NDArray[np.float64]
    best: int
    best_length: Estimate
    open_ended: bool
    p_best: float


@dataclass(frozen=True)
class Line:
    """y = slope x + intercept over all atoms, and means of groups of atoms in order of x.

    Attributes
    ----------
    x_g, y_g, y_error_g : ndarray, shape=(n_groups,)
        Means, and the standard error of y's as if atoms were independent.
    per_group : int
        Atoms averaged.
    slope, intercept, spearman : Estimate
        Errors from blocks of space.
    """

    x_g: NDArray[np.float64]
    y_g: NDArray[np.float64]
    y_error_g: NDArray[np.float64]
    per_group: int
    slope: Estimate
    intercept: Estimate
    spearman: Estimate


@dataclass(frozen=True)
class Contrast:
    """What the atoms with the largest and the smallest x have of y.

    Attributes
    ----------
    top_i, bottom_i : ndarray
        y of the two ends.
    mean_difference, median_difference : Estimate
        Top minus bottom; errors from blocks of space.
    p_shift : float
        How often a random shift makes the means differ as much.
    p_rank : float
        Of the Mann-Whitney test, which takes all atoms as independent and is therefore too small.
    """

    top_i: NDArray[np.float64]
    bottom_i: NDArray[np.float64]
    mean_difference: Estimate
    median_difference: Estimate
    p_shift: float
    p_rank: float


# ---- Pearson's r ------------------------------------------------------------------------------------------------------


def pearson(x_i: NDArray[np.float64], y_i: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; NaN where a side does not vary."""
    return float(_r_of(_moments(x_i, y_i, np.zeros(len(x_i), dtype=np.intp), 1))[0])


def _moments(
    x_i: NDArray[np.float64], y_i: NDArray[np.float64], block_i: NDArray[np.intp], count: int
) -> NDArray[np.float64]:
    """Return n, Σx, Σy, Σxx, Σyy, Σxy of each block, shape=(n_blocks, 6)."""
    x_i, y_i = x_i - x_i.mean(), y_i - y_i.mean()  # else squares of large numbers cancel
    columns = (np.ones_like(x_i), x_i, y_i, x_i * x_i, y_i * y_i, x_i * y_i)
    return np.stack([np.bincount(block_i, column, count) for column in columns], axis=1)


def _central(sums_dm: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return Σ(x−x̄)², Σ(y−ȳ)² and Σ(x−x̄)(y−ȳ)."""
    n, x, y, xx, yy, xy = np.moveaxis(sums_dm, -1, 0)
    return xx - x * x / n, yy - y * y / n, xy - x * y / n


def _r_of(sums_dm: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, yy, xy = _central(sums_dm)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((xx > 0) & (yy > 0), xy / np.sqrt(xx * yy), np.nan)


def curve(
    sites: Sites,
    lengths_l: NDArray[np.float64],
    x_li: NDArray[np.float64],
    y_li: NDArray[np.float64],
    shifts_di: NDArray[np.int32],
    rng: np.random.Generator,
) -> Curve:
    """Return r of two fields that were coarse-grained by several lengths.

    Parameters
    ----------
    sites : Sites
    lengths_l : ndarray, shape=(n_lengths,), Å
    x_li, y_li : ndarray, shape=(n_lengths, n_atoms)
        All known.
    shifts_di : ndarray, shape=(n_draws, n_atoms)
        From :func:`~bp_distributed.physics.sites.shifts`.
    rng : numpy.random.Generator

    Notes
    -----
    Shifted fields scatter with variance 1/(n_effective − 1).  A volume V with n_effective independent values has one per
    cube of edge (V/n_effective)^(1/3); blocks have ``EDGE_IN_LENGTHS`` times this edge.  The interval is Student's, in
    Fisher's z, with the standard error of the block bootstrap and one degree of freedom less than there are blocks.
    """
    r_l = np.array([pearson(x_i, y_i) for x_i, y_i in zip(x_li, y_li, strict=True)])
    chance_dl = np.stack([_shifted(x_i, y_i, shifts_di) for x_i, y_i in zip(x_li, y_li, strict=True)], axis=1)
    n_effective_l = np.clip(1.0 + 1.0 / np.mean(np.square(chance_dl), axis=0), 2.0, len(sites))
    edge_l = EDGE_IN_LENGTHS * np.cbrt(sites.volume / n_effective_l)
    n_blocks_l = np.array([n_blocks(sites, edge) for edge in edge_l])
    low_l, high_l = np.empty_like(r_l), np.empty_like(r_l)
    eligible = np.flatnonzero(n_effective_l >= LEAST_EFFECTIVE)
    eligible = eligible if eligible.size else np.array([0])
    best = int(eligible[np.abs(r_l[eligible]).argmax()])
    best_length = UNKNOWN
    for count in np.unique(n_blocks_l):
        alike = n_blocks_l == count
        drawn_dl = _resampled(sites, float(edge_l[alike].max()), x_li, y_li, rng)
        low_l[alike], high_l[alike] = _interval(r_l[alike], drawn_dl[:, alike], int(count))
        if alike[best]:
            drawn_best_d = eligible[np.abs(drawn_dl[:, eligible]).argmax(axis=1)]
            best_length = _percentiles(lengths_l[best], lengths_l[drawn_best_d])
    p_l = p_value(np.abs(chance_dl), np.abs(r_l))
    p_best = float(p_value(np.abs(chance_dl[:, eligible]).max(axis=1)[:, None], np.abs(r_l[best : best + 1]))[0])
    return Curve(
        lengths_l, r_l, low_l, high_l, n_effective_l, edge_l, n_blocks_l, p_l, best, best_length, best == eligible[-1], p_best
    )  # fmt: skip


def by_chance(x_i: NDArray[np.float64], y_di: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return r of one property with many others, shape=(n_draws,)."""
    x_i = x_i - x_i.mean()
    y_di = y_di - y_di.mean(axis=1, keepdims=True)
    norm_d = np.sqrt(np.square(x_i).sum() * np.square(y_di).sum(axis=1))
    return np.asarray((y_di @ x_i) / np.where(norm_d > 0, norm_d, np.inf))


def _shifted(x_i: NDArray[np.float64], y_i: NDArray[np.float64], shifts_di: NDArray[np.int32]) -> NDArray[np.float64]:
    n_parts = 1 + shifts_di.size // _VALUES_AT_ONCE
    return np.concatenate([by_chance(x_i, y_i[part_di]) for part_di in np.array_split(shifts_di, n_parts)])


def _resampled(
    sites: Sites, edge: float, x_li: NDArray[np.float64], y_li: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return r of each draw of blocks at each length, the same draws at all, shape=(n_draws, n_lengths)."""
    parts = []
    for cut in blocks(sites, edge, N_DRAWS, rng):
        count = cut.counts_db.shape[1]
        sums_ldm = [cut.counts_db @ _moments(x_i, y_i, cut.block_i, count) for x_i, y_i in zip(x_li, y_li, strict=True)]
        parts.append(np.stack([_r_of(sums_dm) for sums_dm in sums_ldm], axis=1))
    drawn_dl = np.concatenate(parts)
    return drawn_dl[np.isfinite(drawn_dl).all(axis=1)]


def _interval(
    r_l: NDArray[np.float64], drawn_dl: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nearly = 1.0 - 1e-12
    z_l = np.arctanh(np.clip(r_l, -nearly, nearly))
    half_l = _student(count) * np.arctanh(np.clip(drawn_dl, -nearly, nearly)).std(axis=0)
    return np.tanh(z_l - half_l), np.tanh(z_l + half_l)


def _student(count: int) -> float:
    from scipy.stats import t  # noqa: PLC0415 - heavy for those who only import

    return float(t.ppf(0.5 + 0.5 * CONFIDENCE, count - 1))


def _percentiles(value: float, drawn_d: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(drawn_d, [50.0 * (1.0 - CONFIDENCE), 50.0 * (1.0 + CONFIDENCE)])
    return Estimate(float(value), float(drawn_d.std()), float(low), float(high))


def estimate(value: float, drawn_d: NDArray[np.float64], count: int, *, positive: bool = False) -> Estimate:
    """Return a value with the spread of its draws as error and Student's interval, as there are ``count`` blocks.

    What is ``positive`` by nature may have a long tail: its error is half the span of the middle 68 % of the draws, its
    interval that of its logarithm.
    """
    drawn_d = drawn_d[np.isfinite(drawn_d)]
    error = float(np.std(drawn_d))
    if positive and value > 0 and (drawn_d > 0).any():
        error = 0.5 * float(np.subtract(*np.percentile(drawn_d, [84.0, 16.0])))
        factor = math.exp(_student(count) * float(np.std(np.log(drawn_d[drawn_d > 0]))))
        return Estimate(float(value), error, float(value) / factor, float(value) * factor)
    half = _student(count) * error
    return Estimate(float(value), error, float(value) - half, float(value) + half)


def p_value(chance_dl: NDArray[np.float64], found_l: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often chance does at least as well; the finding itself counts as one try."""
    return np.asarray((1 + (chance_dl >= found_l).sum(axis=0)) / (1 + len(chance_dl)))


def shuffled(n_atoms: int, n_draws: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return random orders of atoms, shape=(n_draws, n_atoms): chance without any spatial order."""
    return rng.permuted(np.tile(np.arange(n_atoms, dtype=np.int32), (n_draws, 1)), axis=1)


# ---- the line ---------------------------------------------------------------------------------------------------------


def line(
    sites: Sites, x_i: NDArray[np.float64], y_i: NDArray[np.float64], edge: float, per_group: int,
    rng: np.random.Generator,
) -> Line:  # fmt: skip
    """Return the least-squares line of y against x, the rank correlation, and means in order of x.

    Parameters
    ----------
    sites : Sites
    x_i, y_i : ndarray, shape=(n_atoms,)
    edge : float, Å
        Of the blocks, from :func:`curve`.
    per_group : int
        Atoms per mean; the last group may be half as large again.
    rng : numpy.random.Generator
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - heavy for those who only import

    order_i = np.argsort(x_i, kind="stable")
    groups = np.array_split(order_i, max(1, len(x_i) // per_group))
    mean_x, mean_y = float(x_i.mean()), float(y_i.mean())
    rank_x, rank_y = rankdata(x_i), rankdata(y_i)
    slopes, intercepts, ranks = [], [], []
    for cut in blocks(sites, edge, N_DRAWS, rng):
        count = cut.counts_db.shape[1]
        sums_dm = cut.counts_db @ _moments(x_i, y_i, cut.block_i, count)
        slope_d = _slope_of(sums_dm)
        slopes.append(slope_d)
        # the moments are about the means of all atoms
        intercepts.append(mean_y - slope_d * mean_x + (sums_dm[:, 2] - slope_d * sums_dm[:, 1]) / sums_dm[:, 0])
        ranks.append(_r_of(cut.counts_db @ _moments(rank_x, rank_y, cut.block_i, count)))
    slope = float(_slope_of(_moments(x_i, y_i, np.zeros(len(x_i), dtype=np.intp), 1))[0])
    count = n_blocks(sites, edge)
    return Line(
        np.array([x_i[group].mean() for group in groups]),
        np.array([y_i[group].mean() for group in groups]),
        np.array([y_i[group].std() / math.sqrt(len(group)) for group in groups]),
        len(groups[0]),
        estimate(slope, np.concatenate(slopes), count),
        estimate(mean_y - slope * mean_x, np.concatenate(intercepts), count),
        estimate(pearson(rank_x, rank_y), np.concatenate(ranks), count),
    )


def _slope_of(sums_dm: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, _, xy = _central(sums_dm)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(xx > 0, xy / xx, np.nan)


# ---- the ends ---------------------------------------------------------------------------------------------------------


def contrast(
    sites: Sites, x_i: NDArray[np.float64], y_i: NDArray[np.float64], share: float, edge: float,
    shifts_di: NDArray[np.int32], rng: np.random.Generator,
) -> Contrast:  # fmt: skip
    """Return y of the atoms with the largest and the smallest x, and how they differ.

    Parameters
    ----------
    sites : Sites
    x_i, y_i : ndarray, shape=(n_atoms,)
    share : float
        Part of the atoms at each end.
    edge : float, Å
        Of the blocks.
    shifts_di : ndarray, shape=(n_draws, n_atoms)
        Of these atoms.
    rng : numpy.random.Generator
    """
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - heavy for those who only import

    n_end = max(1, round(share * len(x_i)))
    order_i = np.argsort(x_i, kind="stable")
    bottom, top = order_i[:n_end], order_i[-n_end:]
    difference = y_i[top].mean() - y_i[bottom].mean()
    chance_d = y_i[shifts_di[:, top]].mean(axis=1) - y_i[shifts_di[:, bottom]].mean(axis=1)
    drawn = list(_drawn_ends(sites, y_i, top, bottom, edge, rng))
    means, medians = (np.array(values) for values in zip(*drawn, strict=True))
    count = n_blocks(sites, edge)
    return Contrast(
        y_i[top],
        y_i[bottom],
        estimate(difference, means, count),
        estimate(float(np.median(y_i[top]) - np.median(y_i[bottom])), medians, count),
        float(p_value(np.abs(chance_d)[:, None], np.array([abs(difference)]))[0]),
        float(mannwhitneyu(y_i[top], y_i[bottom]).pvalue),
    )


def _drawn_ends(
    sites: Sites, y_i: NDArray[np.float64], top: NDArray[np.intp], bottom: NDArray[np.intp], edge: float,
    rng: np.random.Generator,
) -> Iterator[tuple[float, float]]:  # fmt: skip
    """Yield the differences of means and of medians for draws of blocks that hold atoms of both ends."""
    for cut in blocks(sites, edge, N_DRAWS, rng):
        for counts_b in cut.counts_db.astype(np.intp):
            high = np.repeat(y_i[top], counts_b[cut.block_i[top]])
            low = np.repeat(y_i[bottom], counts_b[cut.block_i[bottom]])
            if high.size and low.size:
                yield float(high.mean() - low.mean()), float(np.median(high) - np.median(low))
