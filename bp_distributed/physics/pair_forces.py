# SPDX-License-Identifier: BSD-3-Clause
"""The innermost loops of the energy of a region and of its derivatives (``pair_row`` says how they are built).

A near pair has three splines, r φ and the densities at i and at j, which are evaluated in the lanes of one register.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.containers import UniTuple
from numba.extending import intrinsic

from bp_distributed.physics.pair_row import LANES, NUMBER, SHORT, VECTOR, Arrays, Row, whole

_SPLINES = 3
"""Of a near pair; a row of its table holds their values, then their slopes."""


@intrinsic
def near_values(typing, near_tm, derivative_d, row, part, per_r, scale, first):  # noqa: ARG001 - numba's signature
    """Return φ and the densities at i and j, and set six derivatives from ``first`` on.

    They are t/r and then (k - t/r) / r² for φ, f_ij and f_ji, with first derivatives t and second ones k.  The number
    after them is overwritten: go from pair to pair, and have one more.
    """

    def generate(context, builder, signature, values):
        arrays = Arrays(context, builder, signature.args, values, ("spline", "derivative"))
        at, part, per_r, scale, first = values[2:]
        value, slope, curvature = _cubics(arrays, at, part)
        scales, per = arrays.spread(scale), arrays.spread(per_r)
        per_first = builder.insert_element(ir.Constant(VECTOR, [1.0] * LANES), per_r, ir.Constant(SHORT, 0))
        value = builder.fmul(value, per_first)
        slope = builder.fmul(builder.fsub(builder.fmul(slope, scales), _first_lane(builder, value)), per_first)
        twice = _first_lane(builder, builder.fadd(slope, slope))
        curvature = builder.fsub(builder.fmul(curvature, builder.fmul(scales, scales)), twice)
        across = builder.fmul(slope, per)
        along = builder.fmul(builder.fmul(builder.fsub(builder.fmul(curvature, per_first), across), per), per)
        arrays.store_lanes("derivative", first, across)
        arrays.store_lanes("derivative", builder.add(first, whole(_SPLINES)), along)
        return context.make_tuple(builder, signature.return_type, [arrays.lane(value, k) for k in range(_SPLINES)])

    return UniTuple(types.float64, _SPLINES)(near_tm, derivative_d, row, part, per_r, scale, first), generate


def _cubics(arrays, row, part):
    """Return values, slopes and curvatures of a row's splines, per interval of the table."""
    first = arrays.builder.mul(row, whole(2 * _SPLINES))
    ends = (arrays.lanes("spline", arrays.builder.add(first, whole(_SPLINES * k))) for k in range(4))
    return _cubic(arrays, arrays.spread(part), *ends)


def _cubic(arrays, t, value, slope, next_value, next_slope):
    """Return value, slope and curvature of the cubic between two knots; numbers or vectors."""
    builder = arrays.builder
    rise, both = builder.fsub(next_value, value), builder.fadd(slope, next_slope)
    three, minus_two = (ir.Constant(NUMBER, number) for number in (3.0, -2.0))
    if rise.type == VECTOR:
        three, minus_two = arrays.spread(three), arrays.spread(minus_two)
    c2 = arrays.fma(three, rise, builder.fneg(builder.fadd(both, slope)))
    c3 = arrays.fma(minus_two, rise, both)
    square = arrays.fma(c3, t, c2)
    line = arrays.fma(square, t, slope)
    bend = arrays.fma(c3, t, square)
    curvature = arrays.fma(c3, t, bend)
    return arrays.fma(line, t, value), arrays.fma(bend, t, line), builder.fadd(curvature, curvature)


def _first_lane(builder, vector):
    return builder.fmul(vector, ir.Constant(VECTOR, [1.0] + [0.0] * (LANES - 1)))


def _far(mobile):
    @intrinsic
    def add(
        typing,  # noqa: ARG001
        place_sl, out_il, slot_s, site_q, at_q, pair_tm, part_q, per_r_q, derivative_d, i, begin, end, scale,
    ):  # fmt: skip
        def generate(context, builder, signature, values):
            names = ("place", "out", "slot", "site", "at", "spline", "part", "per_r", "derivative")
            row, scale = Row(context, builder, signature.args, values, names), values[-1]
            energy = cgutils.alloca_once_value(builder, ir.Constant(NUMBER, 0.0))
            with row.pairs() as pair:
                part, per_r = row.load("part", pair.p), row.load("per_r", pair.p)
                first = builder.mul(row.index("at", pair.p), whole(2))
                ends = (row.load("spline", builder.add(first, whole(k))) for k in range(4))
                value, slope, curvature = _cubic(row, part, *ends)
                phi = builder.fmul(value, per_r)
                builder.store(builder.fadd(builder.load(energy, typ=NUMBER), phi), energy)
                slope = builder.fmul(builder.fsub(builder.fmul(slope, scale), phi), per_r)
                curvature = builder.fmul(curvature, builder.fmul(scale, scale))
                curvature = builder.fmul(builder.fsub(curvature, builder.fadd(slope, slope)), per_r)
                across = builder.fmul(slope, per_r)
                along = builder.fmul(builder.fmul(builder.fsub(curvature, across), per_r), per_r)
                place = builder.mul(pair.p, whole(2))
                row.store("derivative", place, across)
                row.store("derivative", builder.add(place, whole(1)), along)
                pair.add(pair.along(across), mobile)
            row.close()
            return builder.load(energy, typ=NUMBER)

        return types.float64(
            place_sl, out_il, slot_s, site_q, at_q, pair_tm, part_q, per_r_q, derivative_d, i, begin, end, scale
        ), generate

    return add


def _near(mobile):
    @intrinsic
    def add(typing, place_sl, out_il, slot_s, site_q, derivative_d, slope_s, i, begin, end):  # noqa: ARG001
        def generate(context, builder, signature, values):
            row = Row(context, builder, signature.args, values, ("place", "out", "slot", "site", "derivative", "slope"))
            own = row.load("slope", row.i)
            with row.pairs() as pair:
                pull, at_i, at_j = pair.numbers("derivative", _SPLINES, 2 * _SPLINES)
                pull = row.fma(at_j, row.load("slope", pair.j), row.fma(at_i, own, pull))
                pair.add(pair.along(pull), mobile)
            row.close()
            return context.get_dummy_value()

        return types.void(place_sl, out_il, slot_s, site_q, derivative_d, slope_s, i, begin, end), generate

    return add


add_far, add_far_frozen = _far(mobile=True), _far(mobile=False)
"""Add the gradient of the far pairs ``begin`` to ``end`` of atom i to row i, and to rows j; return their energy.

Sets two derivatives of each pair p, from number 2 p on: t/r and (k - t/r) / r².
"""

add_near, add_near_frozen = _near(mobile=True), _near(mobile=False)
"""Add that of near pairs, whose derivatives ``near_values`` left and whose slopes are F'."""
