# SPDX-License-Identifier: BSD-3-Clause
"""How atoms are split for training: by melt, which counts, and at random, which shows what leaks.

Letters of axes: ``i`` atom, ``s`` sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.splits import group_folds, validation_part

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """One fold.

    Attributes
    ----------
    train : ndarray of int
        Atoms trained on.
    check_i : ndarray of bool, shape=(len(train),)
        Those held back within the training set, for early stopping and the choice of penalties.
    test : ndarray of int
        Atoms predicted.
    """

    train: Indices
    check_i: NDArray[np.bool_]
    test: Indices


def split_by_melt(group_s: NDArray[np.str_], sample_i: Indices, n_folds: int, most: int, seed: int) -> list[Part]:
    """Return folds in which no melt stands on both sides; the part held back are whole samples, of other melts if it can.

    Parameters
    ----------
    group_s : ndarray of str, shape=(n_samples,)
        Melt of each sample.
    sample_i : ndarray of int, shape=(n_atoms,)
    n_folds : int
        At most the number of melts.
    most : int
        Atoms to train on at most, drawn at random from all samples of the training part.
    seed : int
    """
    fold_s = group_folds(group_s, n_folds, seed)
    parts = []
    for fold in range(n_folds):
        train_s = np.flatnonzero(fold_s != fold)
        held_s = np.zeros(len(group_s), dtype=bool)
        held_s[train_s] = validation_part(group_s[train_s], seed + fold)
        train = _drawn(np.flatnonzero(fold_s[sample_i] != fold), most, seed + fold)
        parts.append(Part(train, held_s[sample_i[train]], np.flatnonzero(fold_s[sample_i] == fold)))
    return parts


def split_at_random(n_atoms: int, n_folds: int, most: int, seed: int) -> list[Part]:
    """Return folds of single atoms, wherever they stand: what not to do."""
    fold_i = np.random.default_rng(seed).permutation(n_atoms) % n_folds
    parts = []
    for fold in range(n_folds):
        train = _drawn(np.flatnonzero(fold_i != fold), most, seed + fold)
        held_i = np.random.default_rng(seed + fold).permutation(len(train)) % 5 == 0
        parts.append(Part(train, held_i, np.flatnonzero(fold_i == fold)))
    return parts


def _drawn(atoms: Indices, most: int, seed: int) -> Indices:
    if len(atoms) <= most:
        return atoms
    return np.sort(np.random.default_rng(seed).choice(atoms, most, replace=False))
