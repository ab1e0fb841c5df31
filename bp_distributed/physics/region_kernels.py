# SPDX-License-Identifier: BSD-3-Clause
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
r"""The compiled loops of an active region: which atoms are near, energy, forces, and products with the Hessian.

One thread, half lists, sums scattered to both atoms of a pair: an active region is small, and many run at once.

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

# Contraction alone, as in ``kernels``: NaN and the order of sums stay as written.
_fast = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")
_inline = numba.njit(inline="always", fastmath={"contract"}, error_model="numpy")


class Tables(NamedTuple):
    """The splines of a potential, laid out so that what a pair needs lies together.

    Row ``(a n_species + b) n_knots + knot`` belongs to atom i of species a and its neighbour j of species b; one row
    of zeros follows, for pairs beyond the cutoff.

    Attributes
    ----------
    near_tm : ndarray, shape=(n_types * n_knots + 1, 12)
        Cubics of r φ(r), of the density at i and of the density at j.
    pair_tm : ndarray, shape=(n_types * n_knots + 1, 4)
        Cubics of r φ(r) alone.
    embedding_tm : ndarray, shape=(n_species * n_embedding, 4)
        Cubics of F(ρ).
    near_range_ab, pair_range_ab : ndarray, shape=(n_species, n_species), Å
        Where the densities of a pair, and everything, end.
    cutoff : float, Å
        Pairs at or beyond it do not interact.
    scale, embedding_scale : float
        Knots per Å and per unit of density.
    n_knots, n_embedding : int
        Knots per table.
    rho_max : float
        Beyond it F is linear.
    """

    near_tm: NDArray[np.float64]
    pair_tm: NDArray[np.float64]
    embedding_tm: NDArray[np.float64]
    near_range_ab: NDArray[np.float64]
    pair_range_ab: NDArray[np.float64]
    cutoff: float
    scale: float
    embedding_scale: float
    n_knots: int
    n_embedding: int
    rho_max: float


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
    site_p, slot_p : ndarray of uint32, shape=(n_pairs,)
        Neighbour.
    table_p : ndarray of uint32, shape=(n_pairs,)
        First row of the pair's tables.
    touched_t : ndarray of uint32, shape=(n_touched,)
        Frozen slots whose density depends on a mobile atom.
    """

    bound_ik: NDArray[np.uint64]
    site_p: NDArray[np.uint32]
    slot_p: NDArray[np.uint32]
    table_p: NDArray[np.uint32]
    touched_t: NDArray[np.uint32]


class Factors(NamedTuple):
    """The Hessian of a region at one place; letters as in ``hessian``.

    Attributes
    ----------
    near_start_i, far_start_i, frozen_start_i : ndarray of uint64, shape=(n_mobile + 1,)
        Rows of the following.
    near_j, far_j, frozen_s : ndarray of uint32
        Slots of the neighbours.
    near_nm : ndarray, shape=(n_near, 7)
        ê, k - t/r, t/r, f'_ij and f'_ji of near mobile pairs.
    far_nm : ndarray, shape=(n_far, 5)
        ê, k - t/r and t/r of far mobile pairs.
    frozen_nc : ndarray, shape=(n_frozen, 3)
        f'_ji ê of near frozen pairs: the density that i leaves at a frozen atom.
    block_im : ndarray, shape=(n_mobile, 6), eV/Å²
        What frozen neighbours add to the diagonal: xx, yy, zz, xy, xz, yz.
    own_ic : ndarray, shape=(n_mobile, 3), 1/Å
        What frozen neighbours add to the gradient of the density at i.
    curvature_s : ndarray, shape=(n_slots,), eV
        F″.
    """

    near_start_i: NDArray[np.uint64]
    far_start_i: NDArray[np.uint64]
    frozen_start_i: NDArray[np.uint64]
    near_j: NDArray[np.uint32]
    far_j: NDArray[np.uint32]
    frozen_s: NDArray[np.uint32]
    near_nm: NDArray[np.float64]
    far_nm: NDArray[np.float64]
    frozen_nc: NDArray[np.float64]
    block_im: NDArray[np.float64]
    own_ic: NDArray[np.float64]
    curvature_s: NDArray[np.float64]


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
def place(x_mc, mover_g, offset_gc, site_sc):
    """Put the mobile atoms and their images into the first sites."""
    n = len(x_mc)
    site_sc[:n] = x_mc
    for g in range(len(mover_g)):
        for c in range(3):
            site_sc[n + g, c] = x_mc[mover_g[g], c] + offset_gc[g, c]


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
def _candidates(i, cell, n_c, start_g, x_cs, rank_s, site_sc, square_max, found_q):
    """Put the places in the grid of the sites within reach of atom i and of higher rank into ``found_q``."""
    x, y, z = site_sc[i, 0], site_sc[i, 1], site_sc[i, 2]
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
def list_pairs(site_sc, slot_s, species_s, n_mobile, edge, near_square_ab, pair_square_ab, n_knots):
    """Return bound_ik, site_p, slot_p and table_p of ``Pairs`` for pairs within the squared ranges given.

    ``edge`` is the edge of the cells of a grid, at least half the largest range.
    """
    cell_s, n_c = _cells_of(site_sc, edge)
    start_g, order_s = sorted_into(cell_s, n_c[0] * n_c[1] * n_c[2])
    x_cs, rank_s = np.empty((3, len(order_s))), np.empty(len(order_s), np.int64)
    for at, s in enumerate(order_s):
        x_cs[0, at], x_cs[1, at], x_cs[2, at] = site_sc[s, 0], site_sc[s, 1], site_sc[s, 2]
        rank_s[at] = slot_s[s]  # higher for frozen atoms than for any mobile one
    bound_ik = np.zeros((n_mobile, 5), np.uint64)
    site_p, slot_p, table_p = np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint32)
    found_q, kind_q = np.empty(len(order_s) + 1, np.int64), np.empty(len(order_s), np.int64)
    at_k, square_max = np.zeros(6, np.int64), pair_square_ab.max()
    for i in range(n_mobile):
        a, found = species_s[i], _candidates(i, cell_s[i], n_c, start_g, x_cs, rank_s, site_sc, square_max, found_q)
        if at_k[3] + found > len(site_p):
            more = len(site_p) // 2 + 64 * n_mobile + found
            site_p = np.concatenate((site_p, np.empty(more, np.uint32)))
            slot_p = np.concatenate((slot_p, np.empty(more, np.uint32)))
            table_p = np.concatenate((table_p, np.empty(more, np.uint32)))
        end = at_k[3]
        at_k[:] = 0
        for q in range(found):
            at = found_q[q]
            b = species_s[rank_s[at]]
            dx, dy, dz = site_sc[i, 0] - x_cs[0, at], site_sc[i, 1] - x_cs[1, at], site_sc[i, 2] - x_cs[2, at]
            square = dx * dx + dy * dy + dz * dz
            far, outside = square >= near_square_ab[a, b], square >= pair_square_ab[a, b]
            kind_q[q] = min(2 * far + 4 * outside, 4) + (rank_s[at] >= n_mobile)
            at_k[kind_q[q]] += 1
        for k in range(4):
            bound_ik[i, k] = end
            end, at_k[k] = end + at_k[k], end
        bound_ik[i, 4] = at_k[4] = at_k[5] = end
        for q in range(found):
            at, k = found_q[q], kind_q[q]
            here = at_k[k]
            site_p[here], slot_p[here] = order_s[at], rank_s[at]
            table_p[here] = (a * len(near_square_ab) + species_s[rank_s[at]]) * n_knots
            at_k[k] += 1
    end = at_k[3]
    return bound_ik, site_p[:end].copy(), slot_p[:end].copy(), table_p[:end].copy()


@_fast
def touched(bound_ik, slot_p, n_mobile, is_touched_s):
    """Mark the frozen slots of near pairs and return all that are marked."""
    for i in range(n_mobile):
        for p in range(bound_ik[i, 1], bound_ik[i, 2]):
            is_touched_s[slot_p[p]] = True
    return np.flatnonzero(is_touched_s).astype(np.uint32)


@_inline
def _value(c_m, first, p):
    return ((c_m[first + 3] * p + c_m[first + 2]) * p + c_m[first + 1]) * p + c_m[first]


@_inline
def _slope(c_m, first, p, scale):
    return ((3.0 * c_m[first + 3] * p + 2.0 * c_m[first + 2]) * p + c_m[first + 1]) * scale


@_inline
def _curvature(c_m, first, p, scale):
    return (6.0 * c_m[first + 3] * p + 2.0 * c_m[first + 2]) * scale * scale


@_inline
def _knot(x, scale, n_knots):
    p = x * scale
    knot = min(max(int(p), 0), n_knots - 2)
    return knot, min(p - knot, 1.0)


@_inline
def _separation(site_sc, x, y, z, j):
    return x - site_sc[j, 0], y - site_sc[j, 1], z - site_sc[j, 2]


@_fast
def _row_arrays(bound_ik):
    """Return what ``_look_up`` fills, long enough for every row."""
    n = max(bound_ik[:, 4] - bound_ik[:, 0])
    return np.empty(n), np.empty(n), np.empty(n, np.int64)


@_fast
def _look_up(x, y, z, site_sc, site_q, table_q, tables, per_r_q, part_q, at_q):
    """Set, for the pairs of one row, 1/r, the row of the tables and the place within their interval.

    Loops without branches, which the compiler turns into vectors; pairs beyond the cutoff are sent to a row of zeros.
    """
    square_max, scale, last = tables.cutoff * tables.cutoff, tables.scale, tables.n_knots - 2
    nothing, n = len(tables.pair_tm) - 1, len(site_q)
    for q in range(n):
        j = site_q[q]
        dx, dy, dz = x - site_sc[j, 0], y - site_sc[j, 1], z - site_sc[j, 2]
        part_q[q] = dx * dx + dy * dy + dz * dz
    for q in range(n):
        square = part_q[q]
        r = np.sqrt(square)
        per_r_q[q] = 1.0 / r
        knot = min(np.int64(r * scale), last)
        part_q[q] = r * scale - knot
        at_q[q] = knot if square < square_max else -1
    for q in range(n):
        at_q[q] = at_q[q] + table_q[q] if at_q[q] >= 0 else nothing
        part_q[q] = min(part_q[q], 1.0)


@_fast
def _near_row(begin, end, slot_p, near_tm, scale, per_r_q, part_q, at_q, rho_s, pull_pk):
    """Return the pair energy and the density at the atom of the row; add densities of neighbours to ``rho_s``."""
    energy, rho = 0.0, 0.0
    for p in range(begin, end):
        q = p - begin
        per_r, part, c_m = per_r_q[q], part_q[q], near_tm[np.uint64(at_q[q])]
        phi = _value(c_m, 0, part) * per_r
        energy += phi
        rho += _value(c_m, 4, part)
        rho_s[slot_p[p]] += _value(c_m, 8, part)
        pull_pk[p, 0] = (_slope(c_m, 0, part, scale) - phi) * per_r * per_r
        pull_pk[p, 1], pull_pk[p, 2] = _slope(c_m, 4, part, scale) * per_r, _slope(c_m, 8, part, scale) * per_r
    return energy, rho


@_fast
def pair_sums(site_sc, pairs, tables, rho_s, energy_i, force_mc, pull_pk):
    """First pass: add densities to ``rho_s``; set ``energy_i`` (pair energies by row) and the forces of far pairs.

    Of near pairs φ'/r, f'_ij/r and f'_ji/r are left in ``pull_pk`` (one entry for each pair of the list).
    """
    scale, pair_tm, site_p, slot_p = tables.scale, tables.pair_tm, pairs.site_p, pairs.slot_p
    per_r_q, part_q, at_q = _row_arrays(pairs.bound_ik)
    force_mc[:] = 0.0
    for i in range(len(force_mc)):
        x, y, z, bound_k = site_sc[i, 0], site_sc[i, 1], site_sc[i, 2], pairs.bound_ik[i]
        begin, end = bound_k[0], bound_k[4]
        _look_up(x, y, z, site_sc, site_p[begin:end], pairs.table_p[begin:end], tables, per_r_q, part_q, at_q)
        energy, rho = _near_row(begin, bound_k[2], slot_p, tables.near_tm, scale, per_r_q, part_q, at_q, rho_s, pull_pk)
        fx, fy, fz = 0.0, 0.0, 0.0
        for p in range(bound_k[2], end):
            dx, dy, dz = _separation(site_sc, x, y, z, site_p[p])
            per_r, part, c_m = per_r_q[p - begin], part_q[p - begin], pair_tm[np.uint64(at_q[p - begin])]
            phi = _value(c_m, 0, part) * per_r
            energy += phi
            pull = (_slope(c_m, 0, part, scale) - phi) * per_r * per_r
            fx -= pull * dx
            fy -= pull * dy
            fz -= pull * dz
            if p < bound_k[3]:
                j = slot_p[p]
                force_mc[j, 0] += pull * dx
                force_mc[j, 1] += pull * dy
                force_mc[j, 2] += pull * dz
        energy_i[i] = energy
        rho_s[i] += rho
        force_mc[i, 0] += fx
        force_mc[i, 1] += fy
        force_mc[i, 2] += fz


@_inline
def _embed(s, species_s, rho_s, tables, energy_s, slope_s, curvature_s):
    knot, p = _knot(rho_s[s], tables.embedding_scale, tables.n_embedding)
    c_m = tables.embedding_tm[species_s[s] * tables.n_embedding + knot]
    energy_s[s], slope_s[s] = _value(c_m, 0, p), _slope(c_m, 0, p, tables.embedding_scale)
    curvature_s[s] = _curvature(c_m, 0, p, tables.embedding_scale)
    if rho_s[s] > tables.rho_max:
        energy_s[s] += slope_s[s] * (rho_s[s] - tables.rho_max)
        curvature_s[s] = 0.0


@_fast
def embed(n_mobile, touched_t, species_s, rho_s, tables, energy_s, slope_s, curvature_s):
    """Set F, F' and F″ of every slot that a mobile atom can change."""
    for s in range(n_mobile):
        _embed(s, species_s, rho_s, tables, energy_s, slope_s, curvature_s)
    for t in touched_t:
        _embed(t, species_s, rho_s, tables, energy_s, slope_s, curvature_s)


@_fast
def add_near_forces(site_sc, pairs, slope_s, pull_pk, force_mc):
    """Second pass: add the forces of near pairs."""
    site_p, slot_p = pairs.site_p, pairs.slot_p
    for i in range(len(force_mc)):
        x, y, z, slope = site_sc[i, 0], site_sc[i, 1], site_sc[i, 2], slope_s[i]
        fx, fy, fz = 0.0, 0.0, 0.0
        for p in range(pairs.bound_ik[i, 0], pairs.bound_ik[i, 1]):
            dx, dy, dz = _separation(site_sc, x, y, z, site_p[p])
            j = slot_p[p]
            pull = pull_pk[p, 0] + slope * pull_pk[p, 1] + slope_s[j] * pull_pk[p, 2]
            fx -= pull * dx
            fy -= pull * dy
            fz -= pull * dz
            force_mc[j, 0] += pull * dx
            force_mc[j, 1] += pull * dy
            force_mc[j, 2] += pull * dz
        for p in range(pairs.bound_ik[i, 1], pairs.bound_ik[i, 2]):
            dx, dy, dz = _separation(site_sc, x, y, z, site_p[p])
            pull = pull_pk[p, 0] + slope * pull_pk[p, 1] + slope_s[slot_p[p]] * pull_pk[p, 2]
            fx -= pull * dx
            fy -= pull * dy
            fz -= pull * dz
        force_mc[i, 0] += fx
        force_mc[i, 1] += fy
        force_mc[i, 2] += fz


@_fast
def evaluate(site_sc, species_s, base_s, pairs, tables, pull_pk, rho_s, energy_i, energy_s, slope_s, curvature_s):
    """Return the forces; leave pair energies by row, and ρ, F, F' and F″ by slot, in the arrays given."""
    force_mc = np.empty((len(energy_i), 3))
    rho_s[:] = base_s
    pair_sums(site_sc, pairs, tables, rho_s, energy_i, force_mc, pull_pk)
    embed(len(energy_i), pairs.touched_t, species_s, rho_s, tables, energy_s, slope_s, curvature_s)
    add_near_forces(site_sc, pairs, slope_s, pull_pk, force_mc)
    return force_mc


@_fast
def energy_change(energy_i, start_i, energy_s, start_s):
    """Return the sum of all changes of row and slot energies: small terms, so that nothing cancels."""
    total = 0.0
    for i in range(len(energy_i)):
        total += energy_i[i] - start_i[i]
    for s in range(len(energy_s)):
        total += energy_s[s] - start_s[s]
    return total


@_inline
def _add_block(block_im, i, across, along, ux, uy, uz):
    block_im[i, 0] += along * ux * ux + across
    block_im[i, 1] += along * uy * uy + across
    block_im[i, 2] += along * uz * uz + across
    block_im[i, 3] += along * ux * uy
    block_im[i, 4] += along * ux * uz
    block_im[i, 5] += along * uy * uz


@_fast
def room_for_factors(bound_ik, n_slots):
    """Return empty arrays for the ``Factors`` of a list of pairs."""
    n, room_k = len(bound_ik), np.zeros(4, np.int64)
    for i in range(n):
        for k in range(4):
            room_k[k] += np.int64(bound_ik[i, k + 1] - bound_ik[i, k])
    n_near, n_frozen, n_far = room_k[0] + 1, room_k[1] + 1, room_k[2] + 1  # the last is written to and never read
    return (np.zeros(n + 1, np.uint64), np.zeros(n + 1, np.uint64), np.zeros(n + 1, np.uint64),
            np.empty(n_near, np.uint32), np.empty(n_far, np.uint32), np.empty(n_frozen, np.uint32),
            np.empty((n_near, 7)), np.empty((n_far, 5)), np.empty((n_frozen, 3)),
            np.empty((n, 6)), np.empty((n, 3)), np.empty(n_slots))  # fmt: skip


@_inline
def _pair_derivatives(c_m, part, per_r, scale):
    """Return φ' and φ″ from r φ."""
    tension = (_slope(c_m, 0, part, scale) - _value(c_m, 0, part) * per_r) * per_r
    return tension, (_curvature(c_m, 0, part, scale) - 2.0 * tension) * per_r


@_fast
def _near_factors(i, x, y, z, bound_k, site_sc, pairs, tables, slope_s, per_r_q, part_q, at_q, f):
    """Append the near pairs of row i."""
    scale, begin, slope = tables.scale, bound_k[0], slope_s[i]
    n_near, n_frozen = f.near_start_i[i], f.frozen_start_i[i]
    for p in range(begin, bound_k[2]):
        per_r, part, c_m = per_r_q[p - begin], part_q[p - begin], tables.near_tm[np.uint64(at_q[p - begin])]
        dx, dy, dz = _separation(site_sc, x, y, z, pairs.site_p[p])
        ux, uy, uz, j = dx * per_r, dy * per_r, dz * per_r, pairs.slot_p[p]
        tension, stiffness = _pair_derivatives(c_m, part, per_r, scale)
        at_i, at_j = _slope(c_m, 4, part, scale), _slope(c_m, 8, part, scale)
        across = (tension + slope * at_i + slope_s[j] * at_j) * per_r
        stiffness += slope * _curvature(c_m, 4, part, scale) + slope_s[j] * _curvature(c_m, 8, part, scale)
        if p < bound_k[1]:
            f_m = f.near_nm[n_near]
            f_m[0], f_m[1], f_m[2], f_m[3], f_m[4] = ux, uy, uz, stiffness - across, across
            f_m[5], f_m[6] = at_i, at_j
            f.near_j[n_near] = j
            n_near += np.uint64(1)
        else:
            _add_block(f.block_im, i, across, stiffness - across, ux, uy, uz)
            f.own_ic[i, 0] += at_i * ux
            f.own_ic[i, 1] += at_i * uy
            f.own_ic[i, 2] += at_i * uz
            f_m = f.frozen_nc[n_frozen]
            f_m[0], f_m[1], f_m[2] = at_j * ux, at_j * uy, at_j * uz
            f.frozen_s[n_frozen] = j
            n_frozen += np.uint64(at_j != 0.0)
    f.near_start_i[i + 1], f.frozen_start_i[i + 1] = n_near, n_frozen


@_fast
def _far_factors(i, x, y, z, bound_k, site_sc, pairs, tables, per_r_q, part_q, at_q, f):
    """Append the far pairs of row i."""
    begin, n_far = bound_k[0], f.far_start_i[i]
    for p in range(bound_k[2], bound_k[4]):
        per_r, part, c_m = per_r_q[p - begin], part_q[p - begin], tables.pair_tm[np.uint64(at_q[p - begin])]
        dx, dy, dz = _separation(site_sc, x, y, z, pairs.site_p[p])
        ux, uy, uz = dx * per_r, dy * per_r, dz * per_r
        tension, stiffness = _pair_derivatives(c_m, part, per_r, tables.scale)
        across = tension * per_r
        if p < bound_k[3]:
            f_m = f.far_nm[n_far]
            f_m[0], f_m[1], f_m[2], f_m[3], f_m[4] = ux, uy, uz, stiffness - across, across
            f.far_j[n_far] = pairs.slot_p[p]
            n_far += np.uint64((across != 0.0) | (stiffness != 0.0))
        else:
            _add_block(f.block_im, i, across, stiffness - across, ux, uy, uz)
    f.far_start_i[i + 1] = n_far


@_fast
def factors(site_sc, pairs, tables, slope_s, curvature_s, f):
    """Fill the ``Factors`` f of the place whose F' and F″ are given."""
    per_r_q, part_q, at_q = _row_arrays(pairs.bound_ik)
    f.block_im[:], f.own_ic[:], f.curvature_s[:] = 0.0, 0.0, curvature_s
    for i in range(len(pairs.bound_ik)):
        x, y, z, bound_k = site_sc[i, 0], site_sc[i, 1], site_sc[i, 2], pairs.bound_ik[i]
        begin, end = bound_k[0], bound_k[4]
        _look_up(x, y, z, site_sc, pairs.site_p[begin:end], pairs.table_p[begin:end], tables, per_r_q, part_q, at_q)
        _near_factors(i, x, y, z, bound_k, site_sc, pairs, tables, slope_s, per_r_q, part_q, at_q, f)
        _far_factors(i, x, y, z, bound_k, site_sc, pairs, tables, per_r_q, part_q, at_q, f)


@_fast
def product(f, touched_t, v_mc, change_s):
    """Return H v; ``change_s`` (one number per slot) is for the changes of density, and then of F'."""
    n = len(v_mc)
    out_mc = np.zeros((n, 3))
    change_s[:n] = 0.0
    for t in touched_t:
        change_s[t] = 0.0
    near_j, near_nm, far_j, far_nm, frozen_s, frozen_nc = (
        f.near_j,
        f.near_nm,
        f.far_j,
        f.far_nm,
        f.frozen_s,
        f.frozen_nc,
    )
    for i in range(n):
        vx, vy, vz = v_mc[i, 0], v_mc[i, 1], v_mc[i, 2]
        b, o = f.block_im[i], f.own_ic[i]
        hx, hy, hz = (
            b[0] * vx + b[3] * vy + b[4] * vz,
            b[3] * vx + b[1] * vy + b[5] * vz,
            b[4] * vx + b[5] * vy + b[2] * vz,
        )
        change = o[0] * vx + o[1] * vy + o[2] * vz
        for p in range(f.near_start_i[i], f.near_start_i[i + 1]):
            j, c = near_j[p], near_nm[p]
            dx, dy, dz = vx - v_mc[j, 0], vy - v_mc[j, 1], vz - v_mc[j, 2]
            stretch = c[0] * dx + c[1] * dy + c[2] * dz
            along = c[3] * stretch
            px, py, pz = along * c[0] + c[4] * dx, along * c[1] + c[4] * dy, along * c[2] + c[4] * dz
            change += c[5] * stretch
            change_s[j] += c[6] * stretch
            hx, hy, hz = hx + px, hy + py, hz + pz
            out_mc[j, 0] -= px
            out_mc[j, 1] -= py
            out_mc[j, 2] -= pz
        for p in range(f.far_start_i[i], f.far_start_i[i + 1]):
            j, c = far_j[p], far_nm[p]
            dx, dy, dz = vx - v_mc[j, 0], vy - v_mc[j, 1], vz - v_mc[j, 2]
            along = c[3] * (c[0] * dx + c[1] * dy + c[2] * dz)
            px, py, pz = along * c[0] + c[4] * dx, along * c[1] + c[4] * dy, along * c[2] + c[4] * dz
            hx, hy, hz = hx + px, hy + py, hz + pz
            out_mc[j, 0] -= px
            out_mc[j, 1] -= py
            out_mc[j, 2] -= pz
        for p in range(f.frozen_start_i[i], f.frozen_start_i[i + 1]):
            c = frozen_nc[p]
            change_s[frozen_s[p]] += c[0] * vx + c[1] * vy + c[2] * vz
        change_s[i] += change
        out_mc[i, 0] += hx
        out_mc[i, 1] += hy
        out_mc[i, 2] += hz
    for s in range(n):
        change_s[s] *= f.curvature_s[s]
    for t in touched_t:
        change_s[t] *= f.curvature_s[t]
    for i in range(n):
        o, own = f.own_ic[i], change_s[i]
        hx, hy, hz = o[0] * own, o[1] * own, o[2] * own
        for p in range(f.near_start_i[i], f.near_start_i[i + 1]):
            j, c = near_j[p], near_nm[p]
            pull = c[5] * own + c[6] * change_s[j]
            px, py, pz = pull * c[0], pull * c[1], pull * c[2]
            hx, hy, hz = hx + px, hy + py, hz + pz
            out_mc[j, 0] -= px
            out_mc[j, 1] -= py
            out_mc[j, 2] -= pz
        for p in range(f.frozen_start_i[i], f.frozen_start_i[i + 1]):
            c, pull = frozen_nc[p], change_s[frozen_s[p]]
            hx, hy, hz = hx + c[0] * pull, hy + c[1] * pull, hz + c[2] * pull
        out_mc[i, 0] += hx
        out_mc[i, 1] += hy
        out_mc[i, 2] += hz
    return out_mc
