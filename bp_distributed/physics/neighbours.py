# SPDX-License-Identifier: BSD-3-Clause
"""Neighbour lists in any periodic cell, as directed pairs or with each pair once.

Cells may be triclinic and smaller than twice the cutoff: every image counts, those of the atom itself included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Neighbours:
    """Pairs of neighbouring atoms.

    Attributes
    ----------
    i_n, j_n : ndarray, shape=(n_pairs,)
        First and second atom of each pair.
    shift_nc : ndarray, shape=(n_pairs, 3)
        Lattice vectors added to atom j, so that ``dr_nc = x_j + shift_nc @ cell - x_i``.
    dr_nc : ndarray, shape=(n_pairs, 3), Å
        Vector from i to j.
    r_n : ndarray, shape=(n_pairs,), Å
        Its length.
    """

    i_n: NDArray[np.intp]
    j_n: NDArray[np.intp]
    shift_nc: NDArray[np.int32]
    dr_nc: NDArray[np.float64]
    r_n: NDArray[np.float64]

    def once(self) -> Neighbours:
        """Return every pair once: i < j, and one of the two images of an atom that sees itself."""
        first = self.shift_nc[:, 0]
        second = self.shift_nc[:, 1]
        third = self.shift_nc[:, 2]
        upper = (first > 0) | ((first == 0) & ((second > 0) | ((second == 0) & (third > 0))))
        keep = (self.i_n < self.j_n) | ((self.i_n == self.j_n) & upper)
        return Neighbours(self.i_n[keep], self.j_n[keep], self.shift_nc[keep], self.dr_nc[keep], self.r_n[keep])


def neighbours(positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64], cutoff: float) -> Neighbours:
    """Return all directed pairs closer than ``cutoff``.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
        Need not lie inside the cell.
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; periodic in all three directions.
    cutoff : float, Å
        Pairs at exactly this distance are left out.

    Returns
    -------
    Neighbours
        Directed: each pair appears as (i, j) and as (j, i).
    """
    from vesin import NeighborList  # noqa: PLC0415 - a compiled engine, loaded only where it is used

    finder = NeighborList(cutoff=cutoff, full_list=True)
    i_n, j_n, shift_nc = finder.compute(positions_ic, cell_cc, periodic=True, quantities="ijS")
    i_n, j_n = i_n.astype(np.intp), j_n.astype(np.intp)
    dr_nc = positions_ic[j_n] - positions_ic[i_n] + shift_nc @ cell_cc
    r_n = np.sqrt(np.einsum("nc,nc->n", dr_nc, dr_nc))
    return Neighbours(i_n, j_n, shift_nc, dr_nc, r_n)
