# SPDX-License-Identifier: BSD-3-Clause
"""What tells the surroundings of two groups of atoms apart: mean functions, peaks, troughs and ratios.

Letters of axes: ``i`` atom, ``s`` sample, ``e`` element of the centre, ``n`` element of the neighbour, ``r`` radial bin,
``c`` channel, ``b`` bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

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


def differences(r: Floats, high_cr: Floats, low_cr: Floats, ratios: Sequence[tuple[int, int]]) -> dict[str, Floats]:
    """Return how the group of high values differs from the group of low values, channel by channel.

    Parameters
    ----------
    r : ndarray, shape=(n_bins,), Å
    high_cr, low_cr : ndarray, shape=(n_channels, n_bins)
        Mean functions.
    ratios : sequence of tuple of int
        Channels whose first peaks are divided, the first by the second.

    Returns
    -------
    dict of str to ndarray
        Differences high - low, shape=(n_channels,), of the six landmarks (Å, or in the unit of the functions) and of
        ``trough_width``, the distance of second and first peak (Å); shape=(n_ratios,) of ``ratio``.
    """
    high, low = ([landmarks(r, g_r) for g_r in group_cr] for group_cr in (high_cr, low_cr))
    found = {
        name: np.array([getattr(a, name) - getattr(b, name) for a, b in zip(high, low, strict=True)]) for name in MARKS
    }
    found["trough_width"] = found["second_r"] - found["first_r"]
    found["ratio"] = np.array(
        [high[a].first_height / high[b].first_height - low[a].first_height / low[b].first_height for a, b in ratios]
    )
    return found


def with_intervals(every: dict[str, Floats], replicas: Sequence[dict[str, Floats]]) -> dict[str, list[Any]]:
    """Return each number with the ends of its 95 % interval, shape=(3, ...), as plain lists."""
    bounds = {name: np.nanquantile([one[name] for one in replicas], [0.025, 0.975], axis=0) for name in every}
    return {name: np.concatenate([value[None], bounds[name]]).tolist() for name, value in every.items()}


def bootstrapped(r: Floats, high: Profiles, low: Profiles, seed: int) -> dict[str, list[Any]]:
    """Return :func:`differences` of atoms with 95 % intervals over samples.

    Channels run over the element of the centre, then of the neighbour; there is one ratio for each, the channel over
    that of equal elements around the same centre.
    """
    n_samples, n_elements = high.count_se.shape
    ratios = [(channel, channel // n_elements * (n_elements + 1)) for channel in range(n_elements**2)]

    def of(draw_s: Floats) -> dict[str, Floats]:
        high_cr, low_cr = (group.mean(draw_s).reshape(n_elements**2, -1) for group in (high, low))
        return differences(r, high_cr, low_cr, ratios)

    drawn_bs = drawn_counts(n_samples, seed)[:BOOTSTRAPS].astype(np.float64)
    return with_intervals(of(np.ones(n_samples)), [of(draw_s) for draw_s in drawn_bs])


def agreement(r: Floats, real: tuple[Profiles, Profiles], other: tuple[Profiles, Profiles], seed: int) -> list[Any]:
    """Return Pearson's r of two differences high - low, real and predicted groups, as functions of r.

    Returns
    -------
    list, shape=(3, n_channels)
        Value, low and high end of the 95 % interval over samples.
    """

    def of(draw_s: Floats) -> Floats:
        first_cr, second_cr = (
            (high.mean(draw_s) - low.mean(draw_s)).reshape(-1, len(r)) for high, low in (real, other)
        )
        return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first_cr, second_cr, strict=True)])

    n_samples = len(real[0].count_se)
    replicas = [of(draw_s) for draw_s in drawn_counts(n_samples, seed)[:BOOTSTRAPS].astype(np.float64)]
    return [of(np.ones(n_samples)).tolist(), *np.nanquantile(replicas, [0.025, 0.975], axis=0).tolist()]
