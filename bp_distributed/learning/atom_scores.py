# SPDX-License-Identifier: BSD-3-Clause
"""How well single atoms are predicted, with intervals that draw whole samples again.

Atoms of one sample share neighbours, so they are not independent; samples are what is drawn.  Every score is a function
of a few sums, kept by sample, which makes two thousand bootstraps a product of two small matrices.

Letters of axes: ``i`` atom, ``s`` sample, ``b`` bootstrap, ``k`` sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.scores import drawn_counts, limits

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def sums_by_sample(predicted_i: Floats, true_i: Floats, sample_i: Indices, n_samples: int) -> Floats:
    """Return sums of 1, p, t, p², t², p t, |p - t| and (p - t)², shape=(n_samples, 8)."""
    error_i = predicted_i - true_i
    terms = (
        np.ones_like(true_i), predicted_i, true_i, predicted_i**2, true_i**2, predicted_i * true_i, np.abs(error_i),
        error_i**2,
    )  # fmt: skip
    return np.array([np.bincount(sample_i, term_i, n_samples) for term_i in terms]).T


def draws(n_samples: int, seed: int) -> Floats:
    """Return how often each sample is drawn, shape=(1 + n_bootstraps, n_samples); first the data as they are."""
    return np.concatenate([np.ones((1, n_samples)), drawn_counts(n_samples, seed)])


def pearson(sums_bk: Floats) -> Floats:
    """Return Pearson's r, shape=(n_bootstraps,), dimensionless; NaN where one side does not vary."""
    n, p, t, pp, tt, pt, *_ = sums_bk.T
    spread = (n * pp - p**2) * (n * tt - t**2)
    return np.asarray((n * pt - p * t) / np.sqrt(np.where(spread > 1e-12 * (n * tt) ** 2, spread, np.nan)))


def determination(sums_bk: Floats) -> Floats:
    """Return R² = 1 - Σ(p - t)² / Σ(t - mean)², shape=(n_bootstraps,), dimensionless."""
    n, t, tt, squares = sums_bk[:, 0], sums_bk[:, 2], sums_bk[:, 4], sums_bk[:, 7]
    return np.asarray(1.0 - squares / (tt - t**2 / n))


def slope(sums_bk: Floats) -> Floats:
    """Return the slope of the prediction against the truth, shape=(n_bootstraps,), dimensionless."""
    n, p, t, _, tt, pt, *_ = sums_bk.T
    return np.asarray((n * pt - p * t) / (n * tt - t**2))


def error(sums_bk: Floats) -> Floats:
    """Return the mean absolute error, shape=(n_bootstraps,), in the unit of the target."""
    return np.asarray(sums_bk[:, 6] / sums_bk[:, 0])


def with_interval(value_b: Floats) -> list[float]:
    """Return value, low and high end of the 95 % interval, from a first value and its bootstraps."""
    return [float(value_b[0]), *limits(value_b[1:])]


def scores(predicted_i: Floats, true_i: Floats, sample_i: Indices, seed: int) -> dict[str, list[float]]:
    """Return R², Pearson's and Spearman's r and the mean absolute error.

    Parameters
    ----------
    predicted_i, true_i : ndarray, shape=(n_atoms,)
    sample_i : ndarray of int, shape=(n_atoms,)
    seed : int
        Of the bootstrap over samples.

    Returns
    -------
    dict of str to list of float
        By ``r2``, ``pearson``, ``spearman``, ``mae``: value, low and high end of the 95 % interval.  For Spearman's r the
        ranks of all atoms are taken once and kept.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - half a second, only here

    _, sample_i = np.unique(sample_i, return_inverse=True)
    n_samples = int(sample_i.max()) + 1
    draws_bs = draws(n_samples, seed)
    sums_bk = draws_bs @ sums_by_sample(predicted_i, true_i, sample_i, n_samples)
    ranks_bk = draws_bs @ sums_by_sample(rankdata(predicted_i), rankdata(true_i), sample_i, n_samples)
    return {
        "r2": with_interval(determination(sums_bk)),
        "pearson": with_interval(pearson(sums_bk)),
        "spearman": with_interval(pearson(ranks_bk)),
        "mae": with_interval(error(sums_bk)),
    }


def excess_error(first_i: Floats, second_i: Floats, true_i: Floats, sample_i: Indices, seed: int) -> list[float]:
    """Return by how much the mean absolute error of ``first`` exceeds that of ``second``, with its paired interval."""
    _, sample_i = np.unique(sample_i, return_inverse=True)
    n_samples = int(sample_i.max()) + 1
    excess_s = np.bincount(sample_i, np.abs(first_i - true_i) - np.abs(second_i - true_i), n_samples)
    draws_bs = draws(n_samples, seed)
    return with_interval(draws_bs @ excess_s / (draws_bs @ np.bincount(sample_i, minlength=n_samples)))
