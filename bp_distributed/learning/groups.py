# SPDX-License-Identifier: BSD-3-Clause
"""What tells the surroundings of two groups of atoms apart: mean functions, peaks, troughs and ratios.

Letters of axes: ``i`` atom, ``s`` sample, ``e`` element of the centre, ``n`` element of the neighbour, ``r`` radial bin,
``b`` bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.landmarks import Landmarks, landmarks
from bp_distributed.learning.scores import drawn_counts

BOOTSTRAPS = 500

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

MARKS = tuple(field.name for field in fields(Landmarks))


def extremes(value_i: Floats, stratum_i: Indices, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the atoms of highest and of lowest value within each stratum.

    Parameters
    ----------
    value_i : ndarray, shape=(n_atoms,)
    stratum_i : ndarray of int, shape=(n_atoms,)
        Atoms of one element in one sample, say, so that neither makes the groups.
    share : float
        Part of each stratum, at least one atom.
    """
    high_i, low_i = np.zeros(len(value_i), dtype=bool), np.zeros(len(value_i), dtype=bool)
    order = np.lexsort((value_i, stratum_i))
    _, starts, counts = np.unique(stratum_i[order], return_index=True, return_counts=True)
    for start, count in zip(starts, counts, strict=True):
        n_taken = max(1, round(share * count))
        low_i[order[start : start + n_taken]] = True
        high_i[order[start + count - n_taken : start + count]] = True
    return high_i, low_i


@dataclass(frozen=True)
class Profiles:
    """Sums of atomic functions over a group of atoms.

    Attributes
    ----------
    sum_senr : ndarray, shape=(n_samples, n_elements, n_elements, n_bins), dimensionless
    count_se : ndarray, shape=(n_samples, n_elements)
        Atoms in the group.
    """

    sum_senr: Floats
    count_se: Floats

    @classmethod
    def of(
        cls, pdf_inr: NDArray[np.floating], group_i: NDArray[np.bool_], species_i: Indices, sample_i: Indices
    ) -> Profiles:
        """Return the sums of the atoms that ``group_i`` marks."""
        n_elements, n_bins = pdf_inr.shape[1:]
        n_samples = int(sample_i.max()) + 1
        sum_senr = np.zeros((n_samples, n_elements, n_elements, n_bins))
        np.add.at(sum_senr, (sample_i[group_i], species_i[group_i]), pdf_inr[group_i])
        count_se = np.zeros((n_samples, n_elements))
        np.add.at(count_se, (sample_i[group_i], species_i[group_i]), 1.0)
        return cls(sum_senr, count_se)

    def mean(self, draw_s: Floats) -> Floats:
        """Return the mean functions of samples drawn so often each, shape=(n_elements, n_elements, n_bins)."""
        sum_enr = np.tensordot(draw_s, self.sum_senr, 1)
        return np.asarray(sum_enr / np.maximum(draw_s @ self.count_se, 1.0)[:, None, None])


def differences(r: Floats, high_enr: Floats, low_enr: Floats) -> dict[str, Floats]:
    """Return how the group of high values differs from the group of low values, channel by channel.

    Returns
    -------
    dict of str to ndarray, shape=(n_elements, n_elements)
        Differences high - low of the six landmarks (Å; dimensionless), of ``trough_width``, the distance of second and
        first peak (Å), and of ``ratio``, first peak of a channel over that of equal elements around the same centre.
    """
    n_elements = len(high_enr)
    found = {name: np.full((n_elements, n_elements), np.nan) for name in (*MARKS, "trough_width", "ratio")}
    for centre in range(n_elements):
        marks = [
            [landmarks(r, one_enr[centre, neighbour]) for neighbour in range(n_elements)]
            for one_enr in (high_enr, low_enr)
        ]
        for neighbour in range(n_elements):
            high, low = marks[0][neighbour], marks[1][neighbour]
            for name in MARKS:
                found[name][centre, neighbour] = getattr(high, name) - getattr(low, name)
            found["trough_width"][centre, neighbour] = (high.second_r - high.first_r) - (low.second_r - low.first_r)
            found["ratio"][centre, neighbour] = (
                high.first_height / marks[0][centre].first_height - low.first_height / marks[1][centre].first_height
            )
    return found


def bootstrapped(r: Floats, high: Profiles, low: Profiles, seed: int) -> dict[str, Floats]:
    """Return :func:`differences` with 95 % intervals over samples.

    Returns
    -------
    dict of str to ndarray, shape=(3, n_elements, n_elements)
        Value, low and high end.
    """
    n_samples = len(high.count_se)
    drawn_bs = drawn_counts(n_samples, seed)[:BOOTSTRAPS]
    every = differences(r, *(group.mean(np.ones(n_samples)) for group in (high, low)))
    replicas = [differences(r, high.mean(draw_s), low.mean(draw_s)) for draw_s in drawn_bs.astype(np.float64)]
    return {
        name: np.concatenate(
            [value[None], np.quantile([replica[name] for replica in replicas], [0.025, 0.975], axis=0)]
        )
        for name, value in every.items()
    }
