# SPDX-License-Identifier: BSD-3-Clause
"""Who learns, who decides when to stop, and who is predicted: splits by melt, or by single sample.

A split by melt is the honest one: samples of one melt share their history, and a model that has seen one of them may
know the others by their fingerprint.  Where a split at random is made, it stands beside the other to show what it hides.

Array names: letter ``s`` is a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VALIDATION_SHARE = 0.2
TEST_FOLDS = 5
"""One fold in five is the test set: the papers' 80/20."""

Indices = NDArray[np.intp]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Split:
    """Positions of the samples that a model may see, and of those that it is judged by."""

    train: Indices
    test: Indices


def group_folds(group_s: Names, n_folds: int, seed: int) -> Indices:
    """Return the fold of every sample; samples of one group share theirs, and the folds are about equally large.

    Parameters
    ----------
    group_s : ndarray of str, shape=(n_samples,)
    n_folds : int
        At most the number of groups.
    seed : int
    """
    names, group_of_s, counts = np.unique(group_s, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    fold_of_group = np.zeros(len(names), dtype=np.intp)
    load = np.zeros(n_folds)
    for group in order:
        fold = int(load.argmin())
        fold_of_group[group] = fold
        load[fold] += counts[group]
    return fold_of_group[group_of_s]


def validation_part(group_s: Names, seed: int) -> NDArray[np.bool_]:
    """Mark the part of a training set that decides when to stop: whole melts if there are two, else single samples."""
    rng = np.random.default_rng(seed)
    names = np.unique(group_s)
    units = group_s if len(names) > 1 else single_samples(len(group_s))
    names = rng.permutation(np.unique(units))
    count = max(1, round(VALIDATION_SHARE * len(names)))
    return np.isin(units, names[:count])


def validation_folds(group_s: Names, n_repeats: int, seed: int) -> list[NDArray[np.bool_]]:
    """Return validation parts of a training set for repeated fits, which together are inner cross-validations.

    Five in a row are the folds of one partition, so that each sample of the training set is left out by one of them;
    the next five are those of another.

    Parameters
    ----------
    group_s : ndarray of str, shape=(n_train,)
        Melts, or single samples, of the training set.
    n_repeats, seed : int

    Returns
    -------
    list of ndarray of bool, shape=(n_train,)
    """
    units_s = group_s if len(np.unique(group_s)) > 1 else single_samples(len(group_s))
    n_folds = min(round(1 / VALIDATION_SHARE), len(np.unique(units_s)))
    return [group_folds(units_s, n_folds, seed + turn) == fold for turn, fold in _turns(n_repeats, n_folds)]


def repeated_splits(group_s: Names, n_splits: int, seed: int) -> list[Split]:
    """Return splits of about 80/20; the folds of one partition after those of another.

    The first five (or as many as there are groups) test every sample once.

    Parameters
    ----------
    group_s : ndarray of str, shape=(n_samples,)
        Melts; single samples for a split at random.
    n_splits, seed : int
    """
    n_folds = min(TEST_FOLDS, len(np.unique(group_s)))
    splits = []
    for turn, fold in _turns(n_splits, n_folds):
        test_s = group_folds(group_s, n_folds, seed + turn) == fold
        splits.append(Split(np.flatnonzero(~test_s), np.flatnonzero(test_s)))
    return splits


def _turns(count: int, n_folds: int) -> list[tuple[int, int]]:
    return [divmod(index, n_folds) for index in range(count)]


def single_samples(count: int) -> Names:
    """Return a name for each sample, so that nothing is kept together."""
    return np.array([f"{index:07d}" for index in range(count)])
