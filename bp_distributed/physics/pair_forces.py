# SPDX-License-Identifier: BSD-3-Clause
"""The innermost loops of the energy of a region and of its derivatives (``pair_row`` says how they are built).

A near pair has three splines, r φ and the densities at i and at j, which are evaluated in the lanes of one register.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.containers import UniTuple
from numba.extending import intrinsic

from bp_distributed.physics.pair_row import LANES, NUMBER, VECTOR, Arrays, Row, whole

_SPLINES = 3
"""Of a near pair; a table's row holds their constant, then their linear, square and cubic coefficients."""


@intrinsic
def near_values(typing, near_tm, pull_pk, row, part, per_r, scale, p):  # noqa: ARG001 - numba's signature
    """Return φ and the densities at i and j, and set pull_pk[p] to φ'/r, f'_ij/r and f'_ji/r.

    The next pair's first number is overwritten: go from pair to pair, and have one more.
    """

    def generate(context, builder, signature, values):
        arrays = Arrays(context, builder, signature.args, values, ("spline", "pull"))
        at, part, per_r, scale, p = values[2:]
        value, slope, _ = _cubics(arrays, at, part)
        per_first = builder.insert_element(ir.Constant(VECTOR, [1.0] * LANES), per_r, ir.Constant(ir.IntType(32), 0))
        value = builder.fmul(value, per_first)
        pull = builder.fsub(builder.fmul(slope, arrays.spread(scale)), _first_lane(builder, value))
        pull = builder.fmul(builder.fmul(pull, per_first), arrays.spread(per_r))
        arrays.store_lanes("pull", builder.mul(p, whole(_SPLINES)), pull)
        return context.make_tuple(builder, signature.return_type, [arrays.lane(value, k) for k in range(_SPLINES)])

    return UniTuple(types.float64, _SPLINES)(near_tm, pull_pk, row, part, per_r, scale, p), generate


@intrinsic
def near_derivatives(typing, near_tm, row, part, scale):  # noqa: ARG001
    """Return r φ, then the slopes of r φ and of the densities at i and j, then their curvatures."""

    def generate(context, builder, signature, values):
        arrays = Arrays(context, builder, signature.args, values, ("spline",))
        at, part, scale = values[1:]
        value, slope, curvature = _cubics(arrays, at, part)
        scales = arrays.spread(scale)
        scaled = builder.fmul(slope, scales), builder.fmul(curvature, builder.fmul(scales, scales))
        derivatives = [arrays.lane(vector, k) for vector in scaled for k in range(_SPLINES)]
        return context.make_tuple(builder, signature.return_type, [arrays.lane(value, 0), *derivatives])

    return UniTuple(types.float64, 1 + 2 * _SPLINES)(near_tm, row, part, scale), generate


def _cubics(arrays, row, part):
    """Return values, slopes and curvatures of a row's splines, per interval of the table."""
    first, t = arrays.builder.mul(row, whole(2 * _SPLINES)), arrays.spread(part)
    ends = (arrays.lanes("spline", arrays.builder.add(first, whole(_SPLINES * k))) for k in range(4))
    c0, c1, c2, c3 = _between(arrays, *ends)
    square = arrays.fma(c3, t, c2)
    line = arrays.fma(square, t, c1)
    bend = arrays.fma(c3, t, square)
    curvature = arrays.fma(c3, t, bend)
    return arrays.fma(line, t, c0), arrays.fma(bend, t, line), arrays.builder.fadd(curvature, curvature)


def _between(arrays, value, slope, next_value, next_slope):
    """Return the coefficients of the cubic between two knots."""
    builder = arrays.builder
    rise, both = builder.fsub(next_value, value), builder.fadd(slope, next_slope)
    three, minus_two = (ir.Constant(NUMBER, number) for number in (3.0, -2.0))
    if rise.type == VECTOR:
        three, minus_two = arrays.spread(three), arrays.spread(minus_two)
    return (
        value,
        slope,
        arrays.fma(three, rise, builder.fneg(builder.fadd(both, slope))),
        arrays.fma(minus_two, rise, both),
    )


def _first_lane(builder, vector):
    return builder.fmul(vector, ir.Constant(VECTOR, [1.0] + [0.0] * (LANES - 1)))


def _far(mobile):
    @intrinsic
    def add(typing, place_sl, out_il, slot_s, site_q, at_q, pair_tm, part_q, per_r_q, i, begin, end, scale):  # noqa: ARG001
        def generate(context, builder, signature, values):
            names = ("place", "out", "slot", "site", "at", "spline", "part", "per_r")
            row = Row(context, builder, signature.args, values, names)
            energy = cgutils.alloca_once_value(builder, ir.Constant(NUMBER, 0.0))
            with row.pairs() as pair:
                part, per_r = row.load("part", pair.p), row.load("per_r", pair.p)
                first = builder.mul(row.index("at", pair.p), whole(2))
                ends = (row.load("spline", builder.add(first, whole(k))) for k in range(4))
                c0, c1, c2, c3 = _between(row, *ends)
                square = row.fma(c3, part, c2)
                line = row.fma(square, part, c1)
                slope = row.fma(row.fma(c3, part, square), part, line)
                phi = builder.fmul(row.fma(line, part, c0), per_r)
                builder.store(builder.fadd(builder.load(energy, typ=NUMBER), phi), energy)
                pull = builder.fsub(builder.fmul(slope, values[-1]), phi)
                pair.add(pair.along(builder.fmul(builder.fmul(pull, per_r), per_r)), mobile)
            row.close()
            return builder.load(energy, typ=NUMBER)

        arguments = (place_sl, out_il, slot_s, site_q, at_q, pair_tm, part_q, per_r_q, i, begin, end, scale)
        return types.float64(*arguments), generate

    return add


def _near(mobile):
    @intrinsic
    def add(typing, place_sl, out_il, slot_s, site_p, pull_pk, slope_s, i, begin, end):  # noqa: ARG001
        def generate(context, builder, signature, values):
            row = Row(context, builder, signature.args, values, ("place", "out", "slot", "site", "pull", "slope"))
            own = row.load("slope", row.i)
            with row.pairs() as pair:
                pull, at_i, at_j = pair.numbers("pull", _SPLINES)
                pull = row.fma(at_j, row.load("slope", pair.j), row.fma(at_i, own, pull))
                pair.add(pair.along(pull), mobile)
            row.close()
            return context.get_dummy_value()

        return types.void(place_sl, out_il, slot_s, site_p, pull_pk, slope_s, i, begin, end), generate

    return add


add_far, add_far_frozen = _far(mobile=True), _far(mobile=False)
"""Add the gradient of the far pairs ``begin`` to ``end`` of atom i to row i, and to rows j; return their energy."""

add_near, add_near_frozen = _near(mobile=True), _near(mobile=False)
"""Add that of near pairs, whose pulls ``near_values`` left and whose slopes are F'."""
