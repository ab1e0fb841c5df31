# SPDX-License-Identifier: BSD-3-Clause
"""Which shell a model looks at: how much worse it predicts when a block of its inputs is shuffled among the others.

Shuffling is done within a stratum (atoms of one element, say) and among things the model never saw in training.  Blocks
that carry the same information hide each other: a low importance does not prove that a shell says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

SHUFFLES = 5

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def shuffled_within(stratum_i: NDArray[np.generic], rng: np.random.Generator) -> Indices:
    """Return a permutation that keeps everything in its stratum."""
    order = np.arange(len(stratum_i))
    for stratum in np.unique(stratum_i):
        mine = np.flatnonzero(stratum_i == stratum)
        order[mine] = rng.permutation(mine)
    return order


def losses(
    predict: Callable[[NDArray[np.floating]], Floats],
    features_if: NDArray[np.floating],
    true_i: Floats,
    blocks: Mapping[str, Indices],
    stratum_i: NDArray[np.generic],
    seed: int,
) -> dict[str, Floats]:
    """Return by how much the squared error of each prediction grows when a block is shuffled.

    Parameters
    ----------
    predict : callable
        Features to predictions, shape=(n,).
    features_if : ndarray, shape=(n, n_features)
        Of atoms or samples that were not trained on.
    true_i : ndarray, shape=(n,)
    blocks : mapping of str to ndarray of int
        Columns that are shuffled together.
    stratum_i : ndarray, shape=(n,)
    seed : int

    Returns
    -------
    dict of str to ndarray, shape=(n,), squared unit of the target
        Mean over five shuffles.
    """
    rng = np.random.default_rng(seed)
    error_i = (predict(features_if) - true_i) ** 2
    found = {}
    for name, columns in blocks.items():
        total_i = np.zeros(len(true_i))
        for _ in range(SHUFFLES):
            spoilt_if = features_if.copy()
            spoilt_if[:, columns] = features_if[shuffled_within(stratum_i, rng)][:, columns]
            total_i += (predict(spoilt_if) - true_i) ** 2
        found[name] = total_i / SHUFFLES - error_i
    return found
