# SPDX-License-Identifier: BSD-3-Clause
r"""The compiled loops of the embedded-atom model: densities, forces, the factored Hessian and its products.

Every loop runs over atoms and gathers from the neighbours of one atom; nothing is scattered.  So threads never
meet, and results do not depend on their number.

Arguments common to many
------------------------
start_i : ndarray of int64, shape=(n_atoms + 1,)
    Row i of the neighbour table is ``start_i[i]:start_i[i + 1]``.
j_m : ndarray of int32, shape=(n_entries,)
    Neighbour; each pair appears in both rows.
shift_mc : ndarray of int8, shape=(n_entries, 3)
    Lattice vectors added to the neighbour.
pair_sm, density_sm, embedding_sm : ndarray, shape=(n_tables * n_knots, 4)
    Coefficients of ``potential.SplineTables``.
pair_scale, density_scale, embedding_scale : float
    Knots per Å or per unit of density.
"""

from __future__ import annotations

import numba
import numpy as np

from bp_distributed.physics.row_sum import double_row_sum, row_sum

CHUNK = 16
"""Atoms one thread takes at a time; small enough to balance, large enough to pay for a scratch array."""

WIDE, NARROW = 32, 8
"""Vectors that go through a product together; the rest of a block goes in narrow strips."""

# Contraction alone: multiply-add is twice as fast; NaN and the order of sums stay as written.
_fast = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy")
_threaded = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy", parallel=True)


@_fast
def rows_of(i_n, j_n, shift_nc, n_atoms):
    """Return (start_i, j_m, shift_mc): each pair, given once, entered in the rows of both its atoms."""
    start_i = np.zeros(n_atoms + 1, np.int64)
    for n in range(len(i_n)):
        start_i[i_n[n] + 1] += 1
        start_i[j_n[n] + 1] += 1
    start_i = np.cumsum(start_i)
    at_i = start_i[:-1].copy()
    j_m = np.empty(start_i[-1], np.int32)
    shift_mc = np.empty((start_i[-1], 3), np.int8)
    for n in range(len(i_n)):
        i, j = np.int64(i_n[n]), np.int64(j_n[n])
        here = at_i[i]
        at_i[i] += 1
        there = at_i[j]
        at_i[j] += 1
        j_m[here], j_m[there] = j, i
        for c in range(3):
            shift_mc[here, c] = shift_nc[n, c]
            shift_mc[there, c] = -shift_nc[n, c]
    return start_i, j_m, shift_mc


@numba.njit(inline="always", fastmath={"contract"}, error_model="numpy")
def _separation(x_ic, cell_cc, i, j, shift_c):
    """Return the vector from neighbour to atom and its length."""
    a, b, c = shift_c[0], shift_c[1], shift_c[2]
    dx = x_ic[i, 0] - x_ic[j, 0] - (a * cell_cc[0, 0] + b * cell_cc[1, 0] + c * cell_cc[2, 0])
    dy = x_ic[i, 1] - x_ic[j, 1] - (a * cell_cc[0, 1] + b * cell_cc[1, 1] + c * cell_cc[2, 1])
    dz = x_ic[i, 2] - x_ic[j, 2] - (a * cell_cc[0, 2] + b * cell_cc[1, 2] + c * cell_cc[2, 2])
    return dx, dy, dz, np.sqrt(dx * dx + dy * dy + dz * dz)


@numba.njit(inline="always", error_model="numpy")
def _knot(x, scale, n_knots):
    p = x * scale
    knot = min(max(int(p), 0), n_knots - 2)
    return knot, min(p - knot, 1.0)


@numba.njit(inline="always", fastmath={"contract"})
def _value(c_m, p):
    return ((c_m[3] * p + c_m[2]) * p + c_m[1]) * p + c_m[0]


@numba.njit(inline="always", fastmath={"contract"})
def _slope(c_m, p, scale):
    return ((3.0 * c_m[3] * p + 2.0 * c_m[2]) * p + c_m[1]) * scale


@numba.njit(inline="always", fastmath={"contract"})
def _curvature(c_m, p, scale):
    return (6.0 * c_m[3] * p + 2.0 * c_m[2]) * scale * scale


@_threaded
def densities(x_ic, cell_cc, start_i, j_m, shift_mc, species_i, n_species, cutoff, density_sm, scale, n_knots):
    """Return ρ_i = Σ_j f_ij(r_ij), shape=(n_atoms,); f_ij is the density that j leaves at i."""
    n = len(start_i) - 1
    rho_i = np.zeros(n)
    for i in numba.prange(n):
        total = 0.0
        for m in range(start_i[i], start_i[i + 1]):
            j = j_m[m]
            _, _, _, r = _separation(x_ic, cell_cc, i, j, shift_mc[m])
            if r < cutoff:
                knot, p = _knot(r, scale, n_knots)
                table = (species_i[j] * n_species + species_i[i]) * n_knots
                total += _value(density_sm[table + knot], p)
        rho_i[i] = total
    return rho_i


@numba.njit(inline="always", fastmath={"contract"}, error_model="numpy")
def _pair_first(r, a, b, n_species, pair_sm, pair_scale, n_pair):
    """Return φ, φ′ and the place in the table, from r φ."""
    knot, p = _knot(r, pair_scale, n_pair)
    c_m = pair_sm[(a * n_species + b) * n_pair + knot]
    phi = _value(c_m, p) / r
    return phi, (_slope(c_m, p, pair_scale) - phi) / r, c_m, p


@_threaded
def pair_forces(
    x_ic, cell_cc, start_i, j_m, shift_mc, species_i, n_species, cutoff, slope_i,
    pair_sm, pair_scale, n_pair, density_sm, density_scale, n_density,
):  # fmt: skip
    """Return per atom: half the pair energies (eV), the force (eV/Å) and half of Σ t r ê ê (eV)."""
    n = len(start_i) - 1
    energy_i, force_ic, virial_icc = np.zeros(n), np.zeros((n, 3)), np.zeros((n, 3, 3))
    for i in numba.prange(n):
        a = species_i[i]
        energy, fx, fy, fz = 0.0, 0.0, 0.0, 0.0
        xx, yy, zz, xy, xz, yz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for m in range(start_i[i], start_i[i + 1]):
            j = j_m[m]
            dx, dy, dz, r = _separation(x_ic, cell_cc, i, j, shift_mc[m])
            if r < cutoff:
                b = species_i[j]
                phi, tension, _, _ = _pair_first(r, a, b, n_species, pair_sm, pair_scale, n_pair)
                knot, p = _knot(r, density_scale, n_density)
                at_i = density_sm[(b * n_species + a) * n_density + knot]
                at_j = density_sm[(a * n_species + b) * n_density + knot]
                tension += slope_i[i] * _slope(at_i, p, density_scale) + slope_i[j] * _slope(at_j, p, density_scale)
                energy += 0.5 * phi
                pull = tension / r
                fx -= pull * dx
                fy -= pull * dy
                fz -= pull * dz
                half = 0.5 * pull
                xx += half * dx * dx
                yy += half * dy * dy
                zz += half * dz * dz
                xy += half * dx * dy
                xz += half * dx * dz
                yz += half * dy * dz
        energy_i[i] = energy
        force_ic[i, 0], force_ic[i, 1], force_ic[i, 2] = fx, fy, fz
        virial_icc[i, 0, 0], virial_icc[i, 1, 1], virial_icc[i, 2, 2] = xx, yy, zz
        virial_icc[i, 0, 1] = virial_icc[i, 1, 0] = xy
        virial_icc[i, 0, 2] = virial_icc[i, 2, 0] = xz
        virial_icc[i, 1, 2] = virial_icc[i, 2, 1] = yz
    return energy_i, force_ic, virial_icc


@_threaded
def near_first(x_ic, cell_cc, start_i, j_m, shift_mc, species_i, n_species, cutoff, density_sm, scale, n_knots):
    """Sort each row in place and return how many neighbours an atom has of the first kind, shape=(n_atoms,).

    First come the neighbours on which a density depends, then those of the pair energy alone; own images and
    pairs beyond the cutoff, to be left out, come last.  Within a kind the order is kept.
    """
    n = len(start_i) - 1
    near_i, used_i = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i in numba.prange(n):
        begin, end = start_i[i], start_i[i + 1]
        kind_m = np.empty(end - begin, np.int8)
        for m in range(begin, end):
            j = j_m[m]
            _, _, _, r = _separation(x_ic, cell_cc, i, j, shift_mc[m])
            kind = 2
            if j != i and r < cutoff:
                knot, p = _knot(r, scale, n_knots)
                at_i = density_sm[(species_i[j] * n_species + species_i[i]) * n_knots + knot]
                at_j = density_sm[(species_i[i] * n_species + species_i[j]) * n_knots + knot]
                kind = 0 if _slope(at_i, p, scale) != 0.0 or _slope(at_j, p, scale) != 0.0 else 1
            kind_m[m - begin] = kind
        old_j, old_shift = j_m[begin:end].copy(), shift_mc[begin:end].copy()
        at = begin
        for kind in range(3):
            for m in range(end - begin):
                if kind_m[m] == kind:
                    j_m[at], shift_mc[at] = old_j[m], old_shift[m]
                    at += 1
            if kind == 0:
                near_i[i] = at - begin
            if kind == 1:
                used_i[i] = at - begin
    return near_i, used_i


@_threaded
def hessian_factors(
    x_ic, cell_cc, start_i, j_m, shift_mc, species_i, n_species, slope_i, weight_i, first_i, near_i,
    pair_sm, pair_scale, n_pair, density_sm, density_scale, n_density, row_i,
    column_p, block_pcc, diagonal_icc, gather_qc, scatter_qc, own_ic,
):  # fmt: skip
    """Fill the arrays of ``hessian.FactoredHessian``; ``row_i`` and ``first_i`` are its row starts.

    ``weight_i`` is m^(-1/2), or ones.
    """
    for i in numba.prange(len(row_i) - 1):
        a, own_weight = species_i[i], weight_i[i]
        diagonal, own = np.zeros((3, 3)), np.zeros(3)
        for step in range(row_i[i + 1] - row_i[i]):
            m, p_out, q_out = start_i[i] + step, row_i[i] + step, first_i[i] + step
            j = j_m[m]
            b = species_i[j]
            dx, dy, dz, r = _separation(x_ic, cell_cc, i, j, shift_mc[m])
            unit = (dx / r, dy / r, dz / r)
            _, tension, c_m, p = _pair_first(r, a, b, n_species, pair_sm, pair_scale, n_pair)
            stiffness = (_curvature(c_m, p, pair_scale) - 2.0 * tension) / r
            weight = own_weight * weight_i[j]
            if step < near_i[i]:
                knot, p = _knot(r, density_scale, n_density)
                at_i = density_sm[(b * n_species + a) * n_density + knot]
                at_j = density_sm[(a * n_species + b) * n_density + knot]
                slope_ij, slope_ji = _slope(at_i, p, density_scale), _slope(at_j, p, density_scale)
                tension += slope_i[i] * slope_ij + slope_i[j] * slope_ji
                stiffness += slope_i[i] * _curvature(at_i, p, density_scale)
                stiffness += slope_i[j] * _curvature(at_j, p, density_scale)
                for c in range(3):
                    own[c] += slope_ij * unit[c]
                    gather_qc[q_out, c] = -slope_ij * unit[c] * weight_i[j]
                    scatter_qc[q_out, c] = slope_ji * unit[c] * own_weight
            across = tension / r
            column_p[p_out] = j
            for c in range(3):
                for d in range(3):
                    value = (stiffness - across) * unit[c] * unit[d]
                    if c == d:
                        value += across
                    diagonal[c, d] += value
                    block_pcc[p_out, c, d] = -value * weight
        for c in range(3):
            own_ic[i, c] = own[c] * own_weight
            for d in range(3):
                diagonal_icc[i, c, d] = diagonal[c, d] * own_weight * own_weight


def _strips(width):
    """Return the loops of one product for strips of ``width`` vectors."""
    add_block, add_both, add_gradient = row_sum(3, 3, width), double_row_sum(width), row_sum(3, 1, width)

    @_fast
    def pair_force(i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, gather_qc, own_ic, u_xv, sum_v):
        """Leave rows of P u in three sums and the row of J u in the fourth."""
        far, to = row_i[i] + first_i[i + 1] - first_i[i], row_i[i] - first_i[i]
        sum_v[: 4 * width] = 0
        add_both(sum_v, u_xv, np.int64(v), None, np.int64(i), np.int64(i + 1), diagonal_icc, own_ic, np.int64(0))
        add_both(sum_v, u_xv, np.int64(v), column_p, row_i[i], far, block_pcc, gather_qc, to)
        add_block(sum_v, u_xv, np.int64(v), column_p, far, row_i[i + 1], block_pcc, np.int64(0))

    @_fast
    def embedding_force(i, v, row_i, first_i, column_p, scatter_qc, own_ic, w_iv, sum_v):
        to, near = row_i[i] - first_i[i], first_i[i + 1] - first_i[i]
        sum_v[: 3 * width] = 0
        add_gradient(sum_v, w_iv, np.int64(v), None, np.int64(i), np.int64(i + 1), own_ic, np.int64(0))
        add_gradient(sum_v, w_iv, np.int64(v), column_p, row_i[i], row_i[i] + near, scatter_qc, to)

    return pair_force, embedding_force


_pair_force_wide, _embedding_force_wide = _strips(WIDE)
_pair_force_narrow, _embedding_force_narrow = _strips(NARROW)


@_threaded
def pair_forces_and_densities(
    row_i, first_i, column_p, block_pcc, diagonal_icc, gather_qc, own_ic, curvature_i, u_xv,
    scale, shift, previous_xv, previous_scale, w_iv, out_xv,
):  # fmt: skip
    """Set out = scale P u + shift u + previous_scale previous and w = scale F″ J u for a block of vectors.

    ``u_xv`` is (3 n_atoms, n_vectors), ``w_iv`` (n_atoms, n_vectors); the number of vectors must be a multiple
    of ``NARROW``.
    """
    n, n_vectors = len(row_i) - 1, u_xv.shape[1]
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        sum_v = np.empty(4 * WIDE, u_xv.dtype)
        v = 0
        while v < n_vectors:
            width = WIDE if v + WIDE <= n_vectors else NARROW
            for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                if width == WIDE:
                    _pair_force_wide(
                        i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, gather_qc, own_ic, u_xv, sum_v
                    )
                else:
                    _pair_force_narrow(
                        i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, gather_qc, own_ic, u_xv, sum_v
                    )
                for c in range(3):
                    for step in range(width):
                        force = scale * sum_v[c * width + step] + shift * u_xv[3 * i + c, v + step]
                        out_xv[3 * i + c, v + step] = force + previous_scale * previous_xv[3 * i + c, v + step]
                for step in range(width):
                    w_iv[i, v + step] = scale * curvature_i[i] * sum_v[3 * width + step]
            v += width


@_threaded
def add_embedding_forces(row_i, first_i, column_p, scatter_qc, own_ic, w_iv, out_xv):
    """Add Jᵀ w to ``out_xv``, for vectors as in ``pair_forces_and_densities``."""
    n, n_vectors = len(row_i) - 1, w_iv.shape[1]
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        sum_v = np.empty(3 * WIDE, w_iv.dtype)
        v = 0
        while v < n_vectors:
            width = WIDE if v + WIDE <= n_vectors else NARROW
            for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                if width == WIDE:
                    _embedding_force_wide(i, v, row_i, first_i, column_p, scatter_qc, own_ic, w_iv, sum_v)
                else:
                    _embedding_force_narrow(i, v, row_i, first_i, column_p, scatter_qc, own_ic, w_iv, sum_v)
                for c in range(3):
                    for step in range(width):
                        out_xv[3 * i + c, v + step] += sum_v[c * width + step]
            v += width


@_threaded
def dense_rows(
    begin, row_i, first_i, column_p, block_pcc, diagonal_icc, gather_qc, scatter_qc, own_ic, curvature_i, out_xx
):
    """Set ``out_xx`` to the rows of H = P + Jᵀ F″ J that belong to the atoms from ``begin`` on."""
    for local in numba.prange(len(out_xx) // 3):
        i = begin + local
        out = out_xx[3 * local : 3 * local + 3]
        out[:] = 0.0
        for c in range(3):
            for d in range(3):
                out[c, 3 * i + d] = diagonal_icc[i, c, d]
        for p in range(row_i[i], row_i[i + 1]):
            for c in range(3):
                for d in range(3):
                    out[c, 3 * column_p[p] + d] += block_pcc[p, c, d]
        for near in range(first_i[i + 1] - first_i[i] + 1):  # atoms whose density feels i: itself first
            k = i if near == 0 else column_p[row_i[i] + near - 1]
            felt = own_ic[i] if near == 0 else scatter_qc[first_i[i] + near - 1]
            for c in range(3):
                strength = curvature_i[k] * felt[c]
                for d in range(3):
                    out[c, 3 * k + d] += strength * own_ic[k, d]
                for q in range(first_i[k], first_i[k + 1]):
                    j = column_p[row_i[k] + q - first_i[k]]
                    for d in range(3):
                        out[c, 3 * j + d] += strength * gather_qc[q, d]
