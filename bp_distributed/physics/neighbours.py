# SPDX-License-Identifier: BSD-3-Clause
"""Neighbour lists in any periodic cell, as directed pairs or as a table with a row for each atom.

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


@dataclass(frozen=True)
class NeighbourTable:
    """The neighbours of each atom, row by row; each pair appears in two rows.

    Attributes
    ----------
    start_i : ndarray of int64, shape=(n_atoms + 1,)
        Row i is ``start_i[i]:start_i[i + 1]``.
    j_m : ndarray of int32, shape=(n_entries,)
        Neighbour.
    shift_mc : ndarray of int8, shape=(n_entries, 3)
        Lattice vectors added to the neighbour.
    """

    start_i: NDArray[np.int64]
    j_m: NDArray[np.int32]
    shift_mc: NDArray[np.int8]


def neighbour_table(positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64], cutoff: float) -> NeighbourTable:
    """Return the table of all neighbours closer than ``cutoff``.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
        Must lie within 60 cells of each other.
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; periodic in all three directions.
    cutoff : float, Å
        Pairs at exactly this distance may be left out.

    Returns
    -------
    NeighbourTable
        In an order that depends on the configuration alone.
    """
    from vesin import NeighborList  # noqa: PLC0415 - a compiled engine, loaded only where it is used

    from bp_distributed.physics.kernels import rows_of  # noqa: PLC0415 - likewise

    # One thread: it takes 0.08 s for 19 652 atoms, and with more the order of pairs would be theirs.
    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    pairs = finder.compute(positions_ic, cell_cc, periodic=True, quantities="ijS")
    return NeighbourTable(*rows_of(*pairs, len(positions_ic)))


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
