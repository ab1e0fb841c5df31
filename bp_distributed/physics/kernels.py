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
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

CHUNK = 16
"""Atoms one thread takes at a time; small enough to balance, large enough to pay for a scratch array."""

WIDE, NARROW = 32, 8
"""Vectors that go through a product together; the rest of a block goes in narrow strips."""

REGISTER_BYTES = 64
"""Of AVX-512; where registers are smaller LLVM takes several."""

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


def _adder(n_out, n_in, n_entries, width):
    """Return an intrinsic that adds ``n_entries`` terms, coefficient block times rows, to rows of ``width`` numbers.

    ``add(sum_v, rows_xv, coefficients, entry, at_1, at_2, stride)`` does, for the entries ``entry`` (and
    ``entry + 1``, whose rows begin at ``at_2``), sum[o] += Σ_r coefficient[entry, o, r] rows[at + r * stride].
    LLVM's own vectoriser checks at every neighbour whether the arrays overlap and reaches a third of this speed.
    """

    @intrinsic
    def add(typing, sum_v, rows_xv, coefficients, entry, at_1, at_2, stride):  # noqa: ARG001 - numba's signature
        def generate(context, builder, _, arguments):
            number = context.get_data_type(sum_v.dtype)
            total, rows, factor = (
                cgutils.create_struct_proxy(kind)(context, builder, value=value).data
                for kind, value in zip((sum_v, rows_xv, coefficients), arguments[:3], strict=True)
            )
            begin, stride = builder.mul(arguments[3], _int(n_out * n_in)), arguments[6]
            terms = []
            for k in range(n_entries):
                place = arguments[4 + k]
                for r in range(n_in):
                    column = [builder.add(begin, _int((k * n_out + o) * n_in + r)) for o in range(n_out)]
                    terms.append(
                        (_at(builder, rows, place, number), [_load(builder, factor, c, number) for c in column])
                    )
                    place = builder.add(place, stride)
            _multiply_add(builder, number, width, total, terms)
            return context.get_dummy_value()

        return types.void(sum_v, rows_xv, coefficients, entry, at_1, at_2, stride), generate

    return add


def _int(value):
    return ir.Constant(ir.IntType(64), value)


def _at(builder, pointer, index, number):
    return builder.gep(pointer, [index], source_etype=number)


def _load(builder, pointer, index, number):
    return builder.load(_at(builder, pointer, index, number), typ=number)


def _multiply_add(builder, number, width, total, terms):
    """Emit sum[o] += factor[o] * row for all terms (row, factors), ``lanes`` numbers at a time in registers."""
    size = 8 if isinstance(number, ir.DoubleType) else 4
    lanes = min(width, REGISTER_BYTES // size)
    vector = ir.VectorType(number, lanes)
    blank = ir.Constant(vector, ir.Undefined)
    first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    signature = ir.FunctionType(vector, [vector] * 3)
    fma = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{lanes}f{8 * size}")

    def spread(value):
        return builder.shuffle_vector(
            builder.insert_element(blank, value, ir.Constant(ir.IntType(32), 0)), blank, first
        )

    def place(pointer, offset):
        return builder.bitcast(_at(builder, pointer, _int(offset), number), ir.PointerType(vector))

    terms = [(row, [spread(factor) for factor in factors]) for row, factors in terms]
    for begin in range(0, width, lanes):
        loaded = [builder.load(place(row, begin), align=size) for row, _ in terms]
        for o in range(len(terms[0][1])):
            where = place(total, o * width + begin)
            value = builder.load(where, align=size)
            for row, (_, factors) in zip(loaded, terms, strict=True):
                value = builder.call(fma, [factors[o], row, value])
            builder.store(value, where, align=size)


def _strips(width):
    """Return the loops of one product for strips of ``width`` vectors."""
    add_block, add_blocks = _adder(3, 3, 1, width), _adder(3, 3, 2, width)
    add_scatter, add_scatters = _adder(3, 1, 1, width), _adder(3, 1, 2, width)
    add_gather, add_gathers = _adder(1, 3, 1, width), _adder(1, 3, 2, width)

    @_fast
    def density_change(i, v, row_i, first_i, column_p, gather_qc, own_ic, u_xv, sum_v):
        stride, to = np.int64(u_xv.shape[1]), row_i[i] - first_i[i]
        sum_v[:width] = 0
        add_gather(sum_v, u_xv, own_ic, np.int64(i), 3 * i * stride + v, np.int64(0), stride)
        even = first_i[i] + (first_i[i + 1] - first_i[i]) // 2 * 2
        for q in range(first_i[i], even, 2):
            at_1, at_2 = 3 * stride * column_p[q + to] + v, 3 * stride * column_p[q + to + 1] + v
            add_gathers(sum_v, u_xv, gather_qc, np.int64(q), at_1, at_2, stride)
        if even < first_i[i + 1]:
            add_gather(sum_v, u_xv, gather_qc, even, 3 * stride * column_p[even + to] + v, np.int64(0), stride)

    @_fast
    def restoring_force(i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, scatter_qc, own_ic, u_xv, w_iv, sum_v):
        stride, to = np.int64(u_xv.shape[1]), row_i[i] - first_i[i]
        sum_v[: 3 * width] = 0
        add_block(sum_v, u_xv, diagonal_icc, np.int64(i), 3 * i * stride + v, np.int64(0), stride)
        add_scatter(sum_v, w_iv, own_ic, np.int64(i), i * stride + v, np.int64(0), stride)
        even = row_i[i] + (row_i[i + 1] - row_i[i]) // 2 * 2
        for p in range(row_i[i], even, 2):
            at_1, at_2 = 3 * stride * column_p[p] + v, 3 * stride * column_p[p + 1] + v
            add_blocks(sum_v, u_xv, block_pcc, np.int64(p), at_1, at_2, stride)
        if even < row_i[i + 1]:
            add_block(sum_v, u_xv, block_pcc, even, 3 * stride * column_p[even] + v, np.int64(0), stride)
        even = first_i[i] + (first_i[i + 1] - first_i[i]) // 2 * 2
        for q in range(first_i[i], even, 2):
            at_1, at_2 = stride * column_p[q + to] + v, stride * column_p[q + to + 1] + v
            add_scatters(sum_v, w_iv, scatter_qc, np.int64(q), at_1, at_2, stride)
        if even < first_i[i + 1]:
            add_scatter(sum_v, w_iv, scatter_qc, even, stride * column_p[even + to] + v, np.int64(0), stride)

    return density_change, restoring_force


_density_change_wide, _restoring_force_wide = _strips(WIDE)
_density_change_narrow, _restoring_force_narrow = _strips(NARROW)


@_threaded
def density_changes(row_i, first_i, column_p, gather_qc, own_ic, curvature_i, u_xv, w_iv):
    """Set w = F″ J u for a block of vectors; ``u_xv`` is (3 n_atoms, n_vectors), ``w_iv`` (n_atoms, n_vectors).

    The number of vectors must be a multiple of ``NARROW``.
    """
    n, n_vectors = len(row_i) - 1, u_xv.shape[1]
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        sum_v = np.empty(WIDE, u_xv.dtype)
        v = 0
        while v < n_vectors:
            width = WIDE if v + WIDE <= n_vectors else NARROW
            for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                if width == WIDE:
                    _density_change_wide(i, v, row_i, first_i, column_p, gather_qc, own_ic, u_xv, sum_v)
                else:
                    _density_change_narrow(i, v, row_i, first_i, column_p, gather_qc, own_ic, u_xv, sum_v)
                for step in range(width):
                    w_iv[i, v + step] = curvature_i[i] * sum_v[step]
            v += width


@_threaded
def restoring_forces(
    row_i, first_i, column_p, block_pcc, diagonal_icc, scatter_qc, own_ic, u_xv, w_iv,
    scale, shift, previous_xv, previous_scale, out_xv,
):  # fmt: skip
    """Set out = scale (P u + Jᵀ w) + shift u + previous_scale previous, for vectors as in ``density_changes``."""
    n, n_vectors = len(row_i) - 1, u_xv.shape[1]
    for chunk in numba.prange((n + CHUNK - 1) // CHUNK):
        sum_v = np.empty(3 * WIDE, u_xv.dtype)
        v = 0
        while v < n_vectors:
            width = WIDE if v + WIDE <= n_vectors else NARROW
            for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                if width == WIDE:
                    _restoring_force_wide(
                        i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, scatter_qc, own_ic, u_xv, w_iv, sum_v
                    )
                else:
                    _restoring_force_narrow(
                        i, v, row_i, first_i, column_p, block_pcc, diagonal_icc, scatter_qc, own_ic, u_xv, w_iv, sum_v
                    )
                for c in range(3):
                    for step in range(width):
                        force = scale * sum_v[c * width + step] + shift * u_xv[3 * i + c, v + step]
                        out_xv[3 * i + c, v + step] = force + previous_scale * previous_xv[3 * i + c, v + step]
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
