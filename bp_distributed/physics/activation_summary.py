# SPDX-License-Identifier: BSD-3-Clause
"""What the searches of each atom say in a few numbers, with every choice of "the" activation energy side by side.

The paper averages over searches whose forces fell below its limit, whether or not the saddle belongs to the minimum
the search left, or was found before.  Its mean is kept, and beside it stand means over connected saddles and over
distinct ones, so that nobody has to guess how much a conclusion owes to the choice.  Shoulders, which the paper would
have counted, are left out: their energy is known with held surroundings only.

Letters of axes: ``s`` searched atom, ``t`` trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.artn import Code


def summarise(batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the counts and the means of each searched atom.

    Parameters
    ----------
    batch : mapping of str to ndarray, shape=(n_searched, n_trials)
        Of the arrays of an activation step: ``search_code``; ``activation_energy`` and ``refined_activation_energy``
        in eV, NaN where unknown; ``saddle_index``; ``saddle_connected``, 1, 0 or -1 for unknown;
        ``saddle_first_trial``, the earliest trial of the atom that found the same saddle.

    Returns
    -------
    dict of str to ndarray, shape=(n_searched,)
        ``n_tried``, ``n_succeeded``, ``n_connected``, ``n_unique``, int32: searches begun, ended at a saddle, at a
        first-order saddle connected to the starting minimum, and distinct ones among these.
        ``mean_activation_energy``: the paper's, over all successes, at its limit of forces;
        ``refined_mean_activation_energy``: over all successes, refined; ``connected_mean_activation_energy``,
        ``unique_mean_activation_energy``, ``min_activation_energy``: refined, over connected saddles, over distinct
        connected saddles, and the lowest of them.  All in eV, NaN where there is nothing to average.

    References
    ----------
    Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), section II C.
    """
    code_st = np.asarray(batch["search_code"])
    refined_st = np.asarray(batch["refined_activation_energy"], dtype=np.float64)
    succeeded_st = code_st == Code.SUCCESS
    connected_st = (
        succeeded_st & (np.asarray(batch["saddle_connected"]) == 1) & (np.asarray(batch["saddle_index"]) == 1)
    )
    unique_st = _first_of_each(connected_st, np.asarray(batch["saddle_first_trial"]))
    return {
        "n_tried": _count(code_st != Code.NOT_TRIED),
        "n_succeeded": _count(succeeded_st),
        "n_connected": _count(connected_st),
        "n_unique": _count(unique_st),
        "mean_activation_energy": _mean(np.asarray(batch["activation_energy"], dtype=np.float64), succeeded_st),
        "refined_mean_activation_energy": _mean(refined_st, succeeded_st),
        "connected_mean_activation_energy": _mean(refined_st, connected_st),
        "unique_mean_activation_energy": _mean(refined_st, unique_st),
        "min_activation_energy": _lowest(refined_st, connected_st),
    }


def _first_of_each(connected_st: NDArray[np.bool_], first_trial_st: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the first connected trial at each saddle; the trial that found it first may itself not count."""
    unique_st = connected_st.copy()
    for trial in range(1, connected_st.shape[1]):
        seen = connected_st[:, :trial] & (first_trial_st[:, :trial] == first_trial_st[:, trial, None])
        unique_st[:, trial] &= ~seen.any(axis=1)
    return unique_st


def _count(mask_st: NDArray[np.bool_]) -> NDArray[np.int32]:
    count_s: NDArray[np.int32] = mask_st.sum(axis=1, dtype=np.int32)
    return count_s


def _mean(energy_st: NDArray[np.float64], mask_st: NDArray[np.bool_]) -> NDArray[np.float64]:
    known_st = mask_st & np.isfinite(energy_st)
    count_s = known_st.sum(axis=1)
    total_s = np.where(known_st, energy_st, 0.0).sum(axis=1)
    return np.where(count_s > 0, total_s / np.maximum(count_s, 1), np.nan)


def _lowest(energy_st: NDArray[np.float64], mask_st: NDArray[np.bool_]) -> NDArray[np.float64]:
    known_st = mask_st & np.isfinite(energy_st)
    lowest_s = np.where(known_st, energy_st, np.inf).min(axis=1, initial=np.inf)
    return np.where(np.isfinite(lowest_s), lowest_s, np.nan)
