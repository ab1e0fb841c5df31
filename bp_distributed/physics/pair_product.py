# SPDX-License-Identifier: BSD-3-Clause
"""The innermost loops of a product with the Hessian of a region (``pair_row`` says how they are built)."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from bp_distributed.physics.pair_row import NUMBER, Row


@intrinsic
def add_stiff(typing, place_sl, vector_il, out_il, slot_s, site_p, stiff_pk, i, begin, end):  # noqa: ARG001 - numba's signature
    """Add to rows i and j what pairs ``begin`` to ``end`` of atom i answer to: [k r rᵀ + t] (v_i - v_j), stiff_pk = (k, t)."""

    def generate(context, builder, signature, values):
        row = Row(context, builder, signature.args, values, ("place", "vector", "out", "slot", "site", "stiff"))
        with row.pairs() as pair:
            pair.add(pair.stiff(pair.stretch()))
        row.close()
        return context.get_dummy_value()

    return types.void(place_sl, vector_il, out_il, slot_s, site_p, stiff_pk, i, begin, end), generate


@intrinsic
def add_stiff_and_dense(  # numba's signature
    typing,  # noqa: ARG001
    place_sl, vector_il, out_il, slot_s, site_p, stiff_pk, slope_pk, change_s, i, begin, end,
):  # fmt: skip
    """Do as ``add_stiff``, and add the changes of density: slope_pk[p] r (v_i - v_j) at j to ``change_s``, and return that at i."""

    def generate(context, builder, signature, values):
        names = ("place", "vector", "out", "slot", "site", "stiff", "slope", "change")
        row = Row(context, builder, signature.args, values, names)
        change = cgutils.alloca_once_value(builder, ir.Constant(NUMBER, 0.0))
        with row.pairs() as pair:
            stretch = pair.stretch()
            pair.add(pair.stiff(stretch))
            at_i, at_j = pair.numbers("slope", 2)
            builder.store(row.fma(at_i, stretch, builder.load(change, typ=NUMBER)), change)
            row.store("change", pair.j, row.fma(at_j, stretch, row.load("change", pair.j)))
        row.close()
        return builder.load(change, typ=NUMBER)

    arguments = (place_sl, vector_il, out_il, slot_s, site_p, stiff_pk, slope_pk, change_s, i, begin, end)
    return types.float64(*arguments), generate


@intrinsic
def add_dense(typing, place_sl, out_il, slot_s, site_p, slope_pk, change_s, i, begin, end):  # noqa: ARG001
    """Add to rows i and j what the changes of F' do, which ``change_s`` holds now."""

    def generate(context, builder, signature, values):
        row = Row(context, builder, signature.args, values, ("place", "out", "slot", "site", "slope", "change"))
        own = row.load("change", row.i)
        with row.pairs() as pair:
            at_i, at_j = pair.numbers("slope", 2)
            pair.add(pair.along(row.fma(at_j, row.load("change", pair.j), builder.fmul(at_i, own))))
        row.close()
        return context.get_dummy_value()

    return types.void(place_sl, out_il, slot_s, site_p, slope_pk, change_s, i, begin, end), generate
