# SPDX-License-Identifier: BSD-3-Clause
# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
"""The compiled loops over the pairs of a region (``region_pairs``): energy, forces, and products with the Hessian.

One thread, half lists, sums scattered to both atoms of a pair: an active region is small, and many run at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.pair_forces import (
    add_far,
    add_far_frozen,
    add_near,
    add_near_frozen,
    near_values,
)
from bp_distributed.physics.pair_product import add_dense, add_stiff, add_stiff_and_dense

# Contraction alone, as in ``kernels``: NaN and the order of sums stay as written.
_fast = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")
_inline = numba.njit(inline="always", fastmath={"contract"}, error_model="numpy")


class Tables(NamedTuple):
    """The splines of a potential, laid out so that what a pair needs lies together and takes little cache.

    Knot k of the table for an atom i of species a and its neighbour j of species b is row
    ``(a n_species + b) n_knots + k``.  Cubics are made from the values and slopes at both ends of an interval, as
    LAMMPS makes them: half as much to read as coefficients.  Zeros follow, for pairs beyond the cutoff.

    Attributes
    ----------
    near_tm : ndarray, shape=(n_types * n_knots + 3, 6)
        r φ(r), the density at i and the density at j; then their slopes per interval.
    pair_tm : ndarray, shape=(n_types * n_knots + 2, 2)
        r φ(r) and its slope alone.
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


class Entries(NamedTuple):
    """Where the pairs of one row stand in their tables.

    Attributes
    ----------
    per_r_q : ndarray, 1/Å
        One over the distance.
    part_q : ndarray
        Place within the interval of the table, 0 to 1.
    at_q : ndarray of uint32
        Row of ``Tables.near_tm`` and ``pair_tm``.
    """

    per_r_q: NDArray[np.float64]
    part_q: NDArray[np.float64]
    at_q: NDArray[np.uint32]


class Factors(NamedTuple):
    """The Hessian of a region at one place; letters as in ``hessian``.

    Attributes
    ----------
    near_start_i, far_start_i, frozen_start_i : ndarray of uint64, shape=(n_mobile + 1,)
        Rows of the following.
    near_site, far_site : ndarray of uint32
        Sites of the neighbours, rows of ``place_sl``.
    frozen_s : ndarray of uint32
        Slots of the neighbours.
    near_stiff_nk, far_stiff_nk : ndarray, shape=(n_near, 2) and (n_far, 2)
        (k - t/r) / r² and t/r of mobile pairs: near ones, whose densities depend on each other, and others.
    near_slope_nk : ndarray, shape=(n_near, 2)
        f'_ij / r and f'_ji / r.
    frozen_nc : ndarray, shape=(n_frozen, 3)
        f'_ji ê of near frozen pairs: the density that i leaves at a frozen atom.
    block_im : ndarray, shape=(n_mobile, 6), eV/Å²
        What frozen neighbours add to the diagonal: xx, yy, zz, xy, xz, yz.
    own_ic : ndarray, shape=(n_mobile, 3), 1/Å
        What frozen neighbours add to the gradient of the density at i.
    curvature_s : ndarray, shape=(n_slots,), eV
        F″.
    place_sl : ndarray, shape=(n_sites, 4), Å
        Places of the sites, and a zero.
    """

    near_start_i: NDArray[np.uint64]
    far_start_i: NDArray[np.uint64]
    frozen_start_i: NDArray[np.uint64]
    near_site: NDArray[np.uint32]
    far_site: NDArray[np.uint32]
    frozen_s: NDArray[np.uint32]
    near_stiff_nk: NDArray[np.float64]
    far_stiff_nk: NDArray[np.float64]
    near_slope_nk: NDArray[np.float64]
    frozen_nc: NDArray[np.float64]
    block_im: NDArray[np.float64]
    own_ic: NDArray[np.float64]
    curvature_s: NDArray[np.float64]
    place_sl: NDArray[np.float64]


@_inline
def _knot(x, scale, n_knots):
    p = x * scale
    knot = min(max(int(p), 0), n_knots - 2)
    return knot, min(p - knot, 1.0)


@_inline
def _separation(site_sl, i, j):
    return site_sl[i, 0] - site_sl[j, 0], site_sl[i, 1] - site_sl[j, 1], site_sl[i, 2] - site_sl[j, 2]


@_inline
def _room_for_entries(bound_ik):
    """Return room for the longest row."""
    longest = np.uint64(0)
    for i in range(len(bound_ik)):
        longest = max(longest, bound_ik[i, 4] - bound_ik[i, 0])
    return Entries(np.empty(longest), np.empty(longest), np.empty(longest, np.uint32))


@_fast
def _look_up(i, site_sl, pairs, tables, entries):
    """Set the entries of row i.

    Loops without branches, which the compiler turns into vectors; pairs beyond the cutoff are sent to rows of zeros.
    """
    per_r_q, part_q, at_q = entries
    square_max, scale, last = tables.cutoff * tables.cutoff, tables.scale, np.int32(tables.n_knots - 2)
    site_q = pairs.site_p[pairs.bound_ik[i, 0] : pairs.bound_ik[i, 4]]
    x, y, z = site_sl[i, 0], site_sl[i, 1], site_sl[i, 2]
    first = pairs.table_s[i] * np.uint32(len(tables.near_range_ab))
    nothing, n = np.uint32(len(tables.pair_tm) - 2), len(site_q)
    for q in range(n):
        dx, dy, dz = x - site_sl[site_q[q], 0], y - site_sl[site_q[q], 1], z - site_sl[site_q[q], 2]
        part_q[q], at_q[q] = dx * dx + dy * dy + dz * dz, first + pairs.table_s[site_q[q]]
    for q in range(n):
        square = part_q[q]
        r = np.sqrt(square)
        per_r_q[q] = 1.0 / r
        knot = min(np.int32(r * scale), last)
        part_q[q] = min(r * scale - knot, 1.0)
        at_q[q] = np.uint32(knot) + at_q[q] if square < square_max else nothing


@_inline
def _room_of_row(bound_k):
    """Return the number of near pairs of a row and how many derivatives its pairs have: six if near, else two."""
    near, every = np.int64(bound_k[2] - bound_k[0]), np.int64(bound_k[4] - bound_k[0])
    return near, 4 * near + 2 * every


@_fast
def room_for_derivatives(bound_ik):
    """Return room for the derivatives of all pairs, row by row: those of near pairs, those of far ones; and a number more."""
    total = 1
    for i in range(len(bound_ik)):
        total += _room_of_row(bound_ik[i])[1]
    return np.empty(total)


@_fast
def _pair_sums(site_sl, pairs, tables, rho_s, energy_i, gradient_ml, derivative_d):
    """First pass: set ``energy_i`` (pair energies by row) and derivatives; add gradients of far pairs, and to ``rho_s``."""
    slot_s, scale, entries, first = pairs.slot_s, tables.scale, _room_for_entries(pairs.bound_ik), 0
    per_r_q, part_q, at_q = entries
    for i in range(len(energy_i)):
        bound_k, (near, room) = pairs.bound_ik[i], _room_of_row(pairs.bound_ik[i])
        _look_up(i, site_sl, pairs, tables, entries)
        site_q, energy, rho = pairs.site_p[bound_k[0] : bound_k[4]], 0.0, 0.0
        for q in range(near):
            row, part, per_r = np.int64(at_q[q]), part_q[q], per_r_q[q]
            phi, at_i, at_j = near_values(tables.near_tm, derivative_d, row, part, per_r, scale, first + 6 * q)
            energy += phi
            rho += at_i
            rho_s[slot_s[site_q[q]]] += at_j
        frozen, end = np.int64(bound_k[3] - bound_k[0]), np.int64(bound_k[4] - bound_k[0])
        far_d = derivative_d[first + 4 * near :]
        far_pairs = site_sl, gradient_ml, slot_s, site_q, at_q, tables.pair_tm, part_q, per_r_q, far_d
        energy += add_far(*far_pairs, i, near, frozen, scale)
        energy += add_far_frozen(*far_pairs, i, frozen, end, scale)
        energy_i[i] = energy
        rho_s[i] += rho
        first += room


@_inline
def _embed(s, species_s, rho_s, tables, energy_s, slope_s, curvature_s):
    knot, p = _knot(rho_s[s], tables.embedding_scale, tables.n_embedding)
    c_m = tables.embedding_tm[species_s[s] * tables.n_embedding + knot]
    energy_s[s] = ((c_m[3] * p + c_m[2]) * p + c_m[1]) * p + c_m[0]
    slope_s[s] = ((3.0 * c_m[3] * p + 2.0 * c_m[2]) * p + c_m[1]) * tables.embedding_scale
    curvature_s[s] = (6.0 * c_m[3] * p + 2.0 * c_m[2]) * tables.embedding_scale * tables.embedding_scale
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
def evaluate(site_sl, species_s, base_s, pairs, tables, derivative_d, rho_s, energy_i, energy_s, slope_s, curvature_s):
    """Return the forces; leave derivatives by pair, pair energies by row, and ρ, F, F' and F″ by slot in what is given."""
    n, first = len(energy_i), 0
    gradient_ml, force_mc = np.zeros((n, 4)), np.empty((n, 3))
    rho_s[:] = base_s
    _pair_sums(site_sl, pairs, tables, rho_s, energy_i, gradient_ml, derivative_d)
    embed(n, pairs.touched_t, species_s, rho_s, tables, energy_s, slope_s, curvature_s)
    for i in range(n):
        bound_k, (near, room) = pairs.bound_ik[i], _room_of_row(pairs.bound_ik[i])
        frozen, site_q = np.int64(bound_k[1] - bound_k[0]), pairs.site_p[bound_k[0] : bound_k[2]]
        near_pairs = site_sl, gradient_ml, pairs.slot_s, site_q, derivative_d[first:], slope_s
        add_near(*near_pairs, i, 0, frozen)
        add_near_frozen(*near_pairs, i, frozen, near)
        first += room
    for i in range(n):
        for c in range(3):
            force_mc[i, c] = -gradient_ml[i, c]
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
def _with_pair(block_m, across, along, x, y, z):
    """Return a block plus that of a pair."""
    xx, yy, zz, xy, xz, yz = block_m
    return (xx + along * x * x + across, yy + along * y * y + across, zz + along * z * z + across,
            xy + along * x * y, xz + along * x * z, yz + along * y * z)  # fmt: skip


@_fast
def room_for_factors(bound_ik, n_slots, n_sites):
    """Return empty arrays for the ``Factors`` of a list of pairs."""
    n, room_k = len(bound_ik), np.zeros(4, np.int64)
    for i in range(n):
        for k in range(4):
            room_k[k] += np.int64(bound_ik[i, k + 1] - bound_ik[i, k])
    # near pairs of the list may count as far ones; the last of each is written to and never read
    n_near, n_frozen, n_far = room_k[0] + 1, room_k[1] + 1, room_k[0] + room_k[2] + 1
    return (np.zeros(n + 1, np.uint64), np.zeros(n + 1, np.uint64), np.zeros(n + 1, np.uint64),
            np.empty(n_near, np.uint32), np.empty(n_far, np.uint32), np.empty(n_frozen, np.uint32),
            np.empty((n_near, 2)), np.empty((n_far, 2)), np.empty((n_near, 2)), np.empty((n_frozen, 3)),
            np.empty((n, 6)), np.empty((n, 3)), np.empty(n_slots), np.zeros((n_sites, 4)))  # fmt: skip


@_inline
def _near_stiffness(d_k, slope, other):
    """Return t/r and (k - t/r) / r² of a near pair from its derivatives and the F' of its atoms."""
    return d_k[0] + slope * d_k[1] + other * d_k[2], d_k[3] + slope * d_k[4] + other * d_k[5]


@_fast
def _mobile_factors(i, pairs, near_qk, far_qk, slope_s, f):
    """Append the pairs of row i with mobile atoms; near ones beyond the range of the densities become far ones.

    Entries are written before it is known whether they count, as no processor foresees which pairs of the skin do.
    """
    n_near, n_far, bound_k, slope = f.near_start_i[i], f.far_start_i[i], pairs.bound_ik[i], slope_s[i]
    site_q = pairs.site_p[bound_k[0] : bound_k[4]]
    for q in range(bound_k[1] - bound_k[0]):
        site, d_k = site_q[q], near_qk[q]
        across, along = _near_stiffness(d_k, slope, slope_s[pairs.slot_s[site]])
        near = (d_k[1] != 0.0) | (d_k[2] != 0.0)
        f.near_site[n_near], f.near_stiff_nk[n_near, 0], f.near_stiff_nk[n_near, 1] = site, along, across
        f.near_slope_nk[n_near, 0], f.near_slope_nk[n_near, 1] = d_k[1], d_k[2]
        f.far_site[n_far], f.far_stiff_nk[n_far, 0], f.far_stiff_nk[n_far, 1] = site, along, across
        n_near += np.uint64(near)
        n_far += np.uint64((not near) & ((across != 0.0) | (along != 0.0)))
    for q in range(bound_k[2] - bound_k[0], bound_k[3] - bound_k[0]):
        across, along = far_qk[q, 0], far_qk[q, 1]
        f.far_site[n_far], f.far_stiff_nk[n_far, 0], f.far_stiff_nk[n_far, 1] = site_q[q], along, across
        n_far += np.uint64((across != 0.0) | (along != 0.0))
    f.near_start_i[i + 1], f.far_start_i[i + 1] = n_near, n_far


@_fast
def _frozen_factors(i, site_sl, pairs, near_qk, far_qk, slope_s, f):
    """Append the near pairs of row i with frozen atoms, and set what these and far ones do to atom i alone."""
    n_frozen, bound_k, slope = f.frozen_start_i[i], pairs.bound_ik[i], slope_s[i]
    site_q = pairs.site_p[bound_k[0] : bound_k[4]]
    block_m, own_x, own_y, own_z = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.0, 0.0
    for q in range(bound_k[1] - bound_k[0], bound_k[2] - bound_k[0]):
        slot, d_k, (x, y, z) = pairs.slot_s[site_q[q]], near_qk[q], _separation(site_sl, i, site_q[q])
        across, along = _near_stiffness(d_k, slope, slope_s[slot])
        block_m = _with_pair(block_m, across, along, x, y, z)
        own_x, own_y, own_z = own_x + d_k[1] * x, own_y + d_k[1] * y, own_z + d_k[1] * z
        frozen_c = f.frozen_nc[n_frozen]
        frozen_c[0], frozen_c[1], frozen_c[2] = d_k[2] * x, d_k[2] * y, d_k[2] * z
        f.frozen_s[n_frozen] = slot
        n_frozen += np.uint64(d_k[2] != 0.0)
    for q in range(bound_k[3] - bound_k[0], bound_k[4] - bound_k[0]):
        x, y, z = _separation(site_sl, i, site_q[q])
        block_m = _with_pair(block_m, far_qk[q, 0], far_qk[q, 1], x, y, z)
    for m in range(6):
        f.block_im[i, m] = block_m[m]
    f.own_ic[i, 0], f.own_ic[i, 1], f.own_ic[i, 2] = own_x, own_y, own_z
    f.frozen_start_i[i + 1] = n_frozen


@_fast
def factors(site_sl, pairs, derivative_d, slope_s, curvature_s, f):
    """Fill the ``Factors`` f of the place last evaluated, whose derivatives, F' and F″ are given."""
    first = 0
    f.curvature_s[:], f.place_sl[:] = curvature_s, site_sl
    for i in range(len(pairs.bound_ik)):
        near, room = _room_of_row(pairs.bound_ik[i])
        near_qk = derivative_d[first : first + 6 * near].reshape((near, 6))
        far_qk = derivative_d[first + 4 * near : first + room].reshape(((room - 4 * near) // 2, 2))
        _mobile_factors(i, pairs, near_qk, far_qk, slope_s, f)
        _frozen_factors(i, site_sl, pairs, near_qk, far_qk, slope_s, f)
        first += room


@_fast
def product(f, pairs, v_mc, change_s):
    """Return H v; ``change_s`` (one number per slot) is for the changes of density, and then of F'."""
    n, touched_t, slot_s = len(v_mc), pairs.touched_t, pairs.slot_s
    v_ml, out_ml, out_mc = np.empty((n, 4)), np.zeros((n, 4)), np.empty((n, 3))
    for i in range(n):
        v_ml[i, 0], v_ml[i, 1], v_ml[i, 2], v_ml[i, 3] = v_mc[i, 0], v_mc[i, 1], v_mc[i, 2], 0.0
    change_s[:n] = 0.0
    for t in touched_t:
        change_s[t] = 0.0
    for i in range(n):
        _add_frozen(f, i, v_mc, out_ml, change_s)
        change = add_stiff_and_dense(
            f.place_sl, v_ml, out_ml, slot_s, f.near_site, f.near_stiff_nk, f.near_slope_nk, change_s,
            i, np.int64(f.near_start_i[i]), np.int64(f.near_start_i[i + 1]),
        )  # fmt: skip
        change_s[i] += change
        add_stiff(
            f.place_sl, v_ml, out_ml, slot_s, f.far_site, f.far_stiff_nk,
            i, np.int64(f.far_start_i[i]), np.int64(f.far_start_i[i + 1]),
        )  # fmt: skip
    for s in range(n):
        change_s[s] *= f.curvature_s[s]
    for t in touched_t:
        change_s[t] *= f.curvature_s[t]
    for i in range(n):
        add_dense(
            f.place_sl, out_ml, slot_s, f.near_site, f.near_slope_nk, change_s,
            i, np.int64(f.near_start_i[i]), np.int64(f.near_start_i[i + 1]),
        )  # fmt: skip
        _add_frozen_dense(f, i, out_ml, change_s)
    for i in range(n):
        out_mc[i, 0], out_mc[i, 1], out_mc[i, 2] = out_ml[i, 0], out_ml[i, 1], out_ml[i, 2]
    return out_mc


@_inline
def _add_frozen(f, i, v_mc, out_ml, change_s):
    """Add what the frozen neighbours of atom i make of its vector."""
    x, y, z, b, o = v_mc[i, 0], v_mc[i, 1], v_mc[i, 2], f.block_im[i], f.own_ic[i]
    out_ml[i, 0] += b[0] * x + b[3] * y + b[4] * z
    out_ml[i, 1] += b[3] * x + b[1] * y + b[5] * z
    out_ml[i, 2] += b[4] * x + b[5] * y + b[2] * z
    change_s[i] += o[0] * x + o[1] * y + o[2] * z
    for p in range(f.frozen_start_i[i], f.frozen_start_i[i + 1]):
        c = f.frozen_nc[p]
        change_s[f.frozen_s[p]] += c[0] * x + c[1] * y + c[2] * z


@_inline
def _add_frozen_dense(f, i, out_ml, change_s):
    """Add what the changes of F' at atom i and at its frozen neighbours do to it through these."""
    o, own = f.own_ic[i], change_s[i]
    x, y, z = o[0] * own, o[1] * own, o[2] * own
    for p in range(f.frozen_start_i[i], f.frozen_start_i[i + 1]):
        c, pull = f.frozen_nc[p], change_s[f.frozen_s[p]]
        x, y, z = x + c[0] * pull, y + c[1] * pull, z + c[2] * pull
    out_ml[i, 0] += x
    out_ml[i, 1] += y
    out_ml[i, 2] += z
