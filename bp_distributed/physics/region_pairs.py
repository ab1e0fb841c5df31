# SPDX-License-Identifier: BSD-3-Clause
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
"""What is near the mobile atoms of a region: images of atoms in a cell, and the pairs among them and with the frozen.

Words
-----
site
    Something that can be a neighbour: first the mobile atoms, then images of them, then the frozen atoms with all
    their images.
slot
    What has a density: first the mobile atoms, then the frozen ones.  Several sites may share a slot.
row
    The pairs of one mobile atom i, each pair of mobile atoms in one row only: first those on which a density depends
    (*near*), then those of the pair energy alone (*far*); within both first the mobile neighbours, then the frozen.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_fast = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")


class Grid(NamedTuple):
    """Atoms sorted into the cells of a regular grid.

    Attributes
    ----------
    start_g : ndarray of int64, shape=(n_cells + 1,)
        Atoms of cell g are ``start_g[g]:start_g[g + 1]``.
    cells_c : ndarray of int64, shape=(3,)
        Cells along each axis; the last runs fastest.
    """

    start_g: NDArray[np.int64]
    cells_c: NDArray[np.int64]


class Pairs(NamedTuple):
    """The rows, good until two atoms have moved by the skin.

    Attributes
    ----------
    bound_ik : ndarray of uint64, shape=(n_mobile, 5)
        Row i: near mobile from bound 0 on, near frozen from 1, far mobile from 2, far frozen from 3 up to 4.
    site_p : ndarray of uint32, shape=(n_pairs,)
        Neighbour.
    slot_s : ndarray of uint32, shape=(n_sites,)
        Slots of the sites.
    table_s : ndarray of uint32, shape=(n_sites,)
        Species of the site times the number of knots: what it adds to the row of a pair's tables.
    touched_t : ndarray of uint32, shape=(n_touched,)
        Frozen slots whose density depends on a mobile atom.
    """

    bound_ik: NDArray[np.uint64]
    site_p: NDArray[np.uint32]
    slot_s: NDArray[np.uint32]
    table_s: NDArray[np.uint32]
    touched_t: NDArray[np.uint32]


@_fast
def sorted_into(cell_i, n_cells):
    """Return (start_g, order_i): atoms by rising cell, in the order given within one cell."""
    start_g = np.zeros(n_cells + 1, np.int64)
    for cell in cell_i:
        start_g[cell + 1] += 1
    for cell in range(n_cells):
        start_g[cell + 1] += start_g[cell]
    at_g, order_i = start_g[:-1].copy(), np.empty(len(cell_i), np.int64)
    for i in range(len(cell_i)):
        order_i[at_g[cell_i[i]]] = i
        at_g[cell_i[i]] += 1
    return start_g, order_i


@_fast
def images(grid, x_ic, cell_cc, first_c, last_c, centre_c, reach):
    """Return (atom_s, x_sc): images of atoms no farther than ``reach`` from ``centre_c`` in a block of grid cells.

    Atoms must be sorted as the grid says.  Cell numbers outside the grid are those of its periodic images.
    """
    n = grid.cells_c
    atom_s, x_sc = np.empty(0, np.int64), np.empty((0, 3))
    for fill in range(2):
        found = 0
        for a in range(first_c[0], last_c[0] + 1):
            for b in range(first_c[1], last_c[1] + 1):
                for c in range(first_c[2], last_c[2] + 1):
                    g = ((a % n[0]) * n[1] + b % n[1]) * n[2] + c % n[2]
                    ox = a // n[0] * cell_cc[0, 0] + b // n[1] * cell_cc[1, 0] + c // n[2] * cell_cc[2, 0]
                    oy = a // n[0] * cell_cc[0, 1] + b // n[1] * cell_cc[1, 1] + c // n[2] * cell_cc[2, 1]
                    oz = a // n[0] * cell_cc[0, 2] + b // n[1] * cell_cc[1, 2] + c // n[2] * cell_cc[2, 2]
                    for i in range(grid.start_g[g], grid.start_g[g + 1]):
                        x, y, z = x_ic[i, 0] + ox, x_ic[i, 1] + oy, x_ic[i, 2] + oz
                        dx, dy, dz = x - centre_c[0], y - centre_c[1], z - centre_c[2]
                        if dx * dx + dy * dy + dz * dz <= reach * reach:
                            if fill:
                                atom_s[found] = i
                                x_sc[found, 0], x_sc[found, 1], x_sc[found, 2] = x, y, z
                            found += 1
        if not fill:
            atom_s, x_sc = np.empty(found, np.int64), np.empty((found, 3))
    return atom_s, x_sc


@_fast
def place(x_mc, mover_g, offset_gc, site_sl):
    """Put the mobile atoms and their images into the first sites."""
    n = len(x_mc)
    site_sl[:n, :3] = x_mc
    for g in range(len(mover_g)):
        for c in range(3):
            site_sl[n + g, c] = x_mc[mover_g[g], c] + offset_gc[g, c]


@_fast
def two_largest_moves(x_mc, from_mc):
    """Return the two largest distances between places of one atom; NaN if a place is not finite."""
    first, second = 0.0, 0.0
    for i in range(len(x_mc)):
        dx, dy, dz = x_mc[i, 0] - from_mc[i, 0], x_mc[i, 1] - from_mc[i, 1], x_mc[i, 2] - from_mc[i, 2]
        square = dx * dx + dy * dy + dz * dz
        if not square <= first:
            if np.isnan(square):
                return np.nan, np.nan
            first, second = square, first
        elif square > second:
            second = square
    return np.sqrt(first), np.sqrt(second)


@_fast
def _cells_of(x_sc, edge):
    """Return (cell_s, n_c): a number for the cell of each site in a grid, and the cells along each axis."""
    low_c, n_c = np.empty(3), np.empty(3, np.int64)
    for c in range(3):
        low_c[c] = x_sc[:, c].min()
        n_c[c] = 1 + int((x_sc[:, c].max() - low_c[c]) / edge)
    cell_s = np.empty(len(x_sc), np.int64)
    for s in range(len(x_sc)):
        a, b, c = (x_sc[s, 0] - low_c[0]) / edge, (x_sc[s, 1] - low_c[1]) / edge, (x_sc[s, 2] - low_c[2]) / edge
        cell_s[s] = (int(a) * n_c[1] + int(b)) * n_c[2] + int(c)
    return cell_s, n_c


@_fast
def _candidates(i, cell, n_c, start_g, x_cs, rank_s, site_sl, square_max, found_q):
    """Put the places in the grid of the sites within reach of atom i and of higher rank into ``found_q``."""
    x, y, z = site_sl[i, 0], site_sl[i, 1], site_sl[i, 2]
    cx, cy, cz = cell // (n_c[1] * n_c[2]), cell // n_c[2] % n_c[1], cell % n_c[2]
    found = 0
    for gx in range(max(cx - 2, 0), min(cx + 3, n_c[0])):
        for gy in range(max(cy - 2, 0), min(cy + 3, n_c[1])):
            g = (gx * n_c[1] + gy) * n_c[2]
            for at in range(start_g[g + max(cz - 2, 0)], start_g[g + min(cz + 3, n_c[2])]):
                dx, dy, dz = x - x_cs[0, at], y - x_cs[1, at], z - x_cs[2, at]
                found_q[found] = at  # no branch: one site in six is near, which no processor foresees
                found += (dx * dx + dy * dy + dz * dz < square_max) & (rank_s[at] > i)
    return found


@_fast
def list_pairs(site_sl, slot_s, species_s, n_mobile, edge, near_square_ab, pair_square_ab):
    """Return bound_ik and site_p of ``Pairs`` for pairs within the squared ranges given.

    ``edge`` is the edge of the cells of a grid, at least half the largest range.
    """
    cell_s, n_c = _cells_of(site_sl, edge)
    start_g, order_s = sorted_into(cell_s, n_c[0] * n_c[1] * n_c[2])
    x_cs, rank_s = np.empty((3, len(order_s))), np.empty(len(order_s), np.int64)
    for at, s in enumerate(order_s):
        x_cs[0, at], x_cs[1, at], x_cs[2, at] = site_sl[s, 0], site_sl[s, 1], site_sl[s, 2]
        rank_s[at] = slot_s[s]  # higher for frozen atoms than for any mobile one
    bound_ik = np.zeros((n_mobile, 5), np.uint64)
    site_p = np.empty(0, np.uint32)
    found_q, kind_q = np.empty(len(order_s) + 1, np.int64), np.empty(len(order_s), np.int64)
    at_k, square_max = np.zeros(6, np.int64), pair_square_ab.max()
    for i in range(n_mobile):
        a, found = species_s[i], _candidates(i, cell_s[i], n_c, start_g, x_cs, rank_s, site_sl, square_max, found_q)
        if at_k[3] + found > len(site_p):
            more = len(site_p) // 2 + 64 * n_mobile + found
            site_p = np.concatenate((site_p, np.empty(more, np.uint32)))
        end = at_k[3]
        at_k[:] = 0
        for q in range(found):
            at = found_q[q]
            b = species_s[rank_s[at]]
            dx, dy, dz = site_sl[i, 0] - x_cs[0, at], site_sl[i, 1] - x_cs[1, at], site_sl[i, 2] - x_cs[2, at]
            square = dx * dx + dy * dy + dz * dz
            far, outside = square >= near_square_ab[a, b], square >= pair_square_ab[a, b]
            kind_q[q] = min(2 * far + 4 * outside, 4) + (rank_s[at] >= n_mobile)
            at_k[kind_q[q]] += 1
        for k in range(4):
            bound_ik[i, k] = end
            end, at_k[k] = end + at_k[k], end
        bound_ik[i, 4] = at_k[4] = at_k[5] = end
        for q in range(found):
            k = kind_q[q]
            site_p[at_k[k]] = order_s[found_q[q]]
            at_k[k] += 1
    return bound_ik, site_p[: at_k[3]].copy()


@_fast
def touched(bound_ik, site_p, slot_s, n_mobile, is_touched_s):
    """Mark the frozen slots of near pairs and return all that are marked."""
    for i in range(n_mobile):
        for p in range(bound_ik[i, 1], bound_ik[i, 2]):
            is_touched_s[slot_s[site_p[p]]] = True
    return np.flatnonzero(is_touched_s).astype(np.uint32)
