# SPDX-License-Identifier: BSD-3-Clause
r"""String-like motion: atoms that follow each other, each into the place that another one left.

Atoms that moved farther than a threshold are mobile.  Two mobile atoms belong to one string if one of them now is within
δ of where the other was,

.. math:: \min(|r_i(t) - r_j(0)|, |r_j(t) - r_i(0)|) < δ

with δ a share of the distance between neighbours (0.6 in the reference).  A mobile atom that follows no other is a string
of length one.

References
----------
Donati, Douglas, Kob, Plimpton, Poole and Glotzer, Phys. Rev. Lett. 80, 2338 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

MOBILE_A = 1.0
"""Displacement from which an atom counts as mobile; Yang et al. (2022) draw those."""

REPLACED = 0.6
"""Share of the neighbour distance within which an atom has taken another one's place."""


@dataclass(frozen=True)
class Strings:
    """Strings among the mobile atoms of one interval of time.

    Attributes
    ----------
    mobile_m : ndarray, shape=(n_mobile,)
        Indices of the mobile atoms.
    string_m : ndarray, shape=(n_mobile,)
        Number of the string each belongs to.
    length_s : ndarray, shape=(n_strings,)
        Atoms in each string.
    """

    mobile_m: NDArray[np.intp]
    string_m: NDArray[np.intp]
    length_s: NDArray[np.intp]

    @property
    def mean_length(self) -> float:
        """Mean number of atoms in a string, those of length one included; NaN without a mobile atom."""
        return float(self.length_s.mean()) if len(self.length_s) else float("nan")


def find_strings(
    before_ic: NDArray[np.float64],
    moved_ic: NDArray[np.float64],
    cell_cc: NDArray[np.float64],
    neighbour_distance: float,
    mobile: float = MOBILE_A,
) -> Strings:
    """Return the strings of an interval.

    Parameters
    ----------
    before_ic : ndarray, shape=(n_atoms, 3), Å
        Positions at its begin.
    moved_ic : ndarray, shape=(n_atoms, 3), Å
        Displacements until its end.
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; the cell is wider than twice the reach δ.
    neighbour_distance : float, Å
        Where the pair distribution has its first maximum.
    mobile : float, Å
        Least displacement of a mobile atom.

    Returns
    -------
    Strings
    """
    mobile_m = np.flatnonzero(np.linalg.norm(moved_ic, axis=1) > mobile)
    before_mc, after_mc = before_ic[mobile_m], before_ic[mobile_m] + moved_ic[mobile_m]
    # The entry (i, j) says that i came to where j was; the graph does not ask who followed whom.
    follows_mm = sparse.lil_array((len(mobile_m), len(mobile_m)), dtype=bool)
    for row, place_c in enumerate(after_mc):
        follows_mm[row, _distances(before_mc - place_c, cell_cc) < REPLACED * neighbour_distance] = True
    if not len(mobile_m):
        return Strings(mobile_m, mobile_m, mobile_m)
    _, string_m = connected_components(follows_mm.tocsr(), directed=False)
    return Strings(mobile_m, string_m.astype(np.intp), np.bincount(string_m))


def _distances(vectors_mc: NDArray[np.float64], cell_cc: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return lengths in the periodic cell, Å; right for all that are shorter than half the cell's width."""
    fraction_mc = vectors_mc @ np.linalg.inv(cell_cc)
    return np.asarray(np.linalg.norm((fraction_mc - np.round(fraction_mc)) @ cell_cc, axis=1))
