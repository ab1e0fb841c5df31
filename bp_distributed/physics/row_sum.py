# SPDX-License-Identifier: BSD-3-Clause
"""The innermost loop of a product with a sparse block matrix, written for the compiler by hand.

Sums over the neighbours of an atom stay in vector registers from the first neighbour to the last.  LLVM's own
vectoriser keeps them in memory, checks at every neighbour whether the arrays overlap, and reaches a quarter of
this speed.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

REGISTER_BYTES = 64
"""Of AVX-512; where registers are smaller LLVM takes several."""


def row_sum(n_out, n_in, width):
    """Return an intrinsic that adds coefficient blocks times rows to rows of ``width`` numbers.

    ``add(sum_v, rows_xv, v, column_p, begin, end, coefficient, shift)`` does, for p from ``begin`` to ``end``,
    sum[o] += Σ_r coefficient[p - shift, o, r] rows[n_in column[p] + r, v:v + width]; without ``column_p`` (None)
    p is its own column.
    """

    @intrinsic
    def add(typing, sum_v, rows_xv, v, column_p, begin, end, coefficient, shift):  # noqa: ARG001 - numba's signature
        def generate(context, builder, signature, values):
            factors = [(signature.args[6], values[6], values[7], n_out)]
            _emit(context, builder, signature.args, values, n_in, width, factors)
            return context.get_dummy_value()

        return types.void(sum_v, rows_xv, v, column_p, begin, end, coefficient, shift), generate

    return add


def double_row_sum(width):
    """Return an intrinsic like that of ``row_sum`` for 3 x 3 blocks and gradients at once.

    ``add(sum_v, rows_xv, v, column_p, begin, end, block, gradient, shift)`` leaves in the first three sums those
    of ``block[p]`` and in the fourth that of ``gradient[p - shift]``; each row is loaded once for both.
    """

    @intrinsic
    def add(typing, sum_v, rows_xv, v, column_p, begin, end, block, gradient, shift):  # noqa: ARG001
        def generate(context, builder, signature, values):
            factors = [(signature.args[6], values[6], _int(0), 3), (signature.args[7], values[7], values[8], 1)]
            _emit(context, builder, signature.args, values, 3, width, factors)
            return context.get_dummy_value()

        return types.void(sum_v, rows_xv, v, column_p, begin, end, block, gradient, shift), generate

    return add


def _emit(context, builder, kinds, values, n_in, width, factors):
    """Emit the loop; ``factors`` holds (type, array, shift, n_out)."""

    def array(kind, value):
        return cgutils.create_struct_proxy(kind)(context, builder, value=value)

    rows, number = array(kinds[1], values[1]), context.get_data_type(kinds[0].dtype)
    stride = cgutils.unpack_tuple(builder, rows.shape)[1]
    blocks = [(array(kind, value).data, shift, n_out) for kind, value, shift, n_out in factors]
    sums = _Sums(builder, number, width, array(kinds[0], values[0]).data, sum(n_out for _, _, n_out in blocks))
    with cgutils.for_range_slice(builder, values[4], values[5], _int(1)) as (p, _):
        column = p
        if isinstance(kinds[3], types.Array):
            column = builder.sext(_load(builder, array(kinds[3], values[3]).data, p, ir.IntType(32)), ir.IntType(64))
        place = builder.add(builder.mul(column, builder.mul(stride, _int(n_in))), values[2])
        for r in range(n_in):
            row = sums.registers_at(rows.data, place)
            coefficients = []
            for pointer, shift, n_out in blocks:
                entry = builder.mul(builder.sub(p, shift), _int(n_out * n_in))
                places = [builder.add(entry, _int(o * n_in + r)) for o in range(n_out)]
                coefficients += [_load(builder, pointer, at, number) for at in places]
            sums.add(coefficients, row)
            place = builder.add(place, stride)
    sums.store()


class _Sums:
    """``n_out`` rows of ``width`` numbers in registers: read when made, written back by ``store``."""

    def __init__(self, builder, number, width, total, n_out):
        self.builder, self.number, self.total = builder, number, total
        self.bytes = 8 if isinstance(number, ir.DoubleType) else 4
        self.lanes = min(width, REGISTER_BYTES // self.bytes)
        self.vector, self.n_parts = ir.VectorType(number, self.lanes), width // self.lanes
        kind, name = ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fma.v{self.lanes}f{8 * self.bytes}"
        self.fma = cgutils.get_or_insert_function(builder.module, kind, name)
        # Slots on the stack become registers in LLVM's first pass.
        parts = [part for o in range(n_out) for part in self.registers_at(total, _int(o * width))]
        self.slots = [cgutils.alloca_once_value(builder, part) for part in parts]

    def registers_at(self, data, offset):
        """Load one row."""
        places = [self._place(data, self.builder.add(offset, _int(k * self.lanes))) for k in range(self.n_parts)]
        return [self.builder.load(place, align=self.bytes, typ=self.vector) for place in places]

    def add(self, coefficients, row):
        """Add to each sum its coefficient times the row."""
        slots = iter(self.slots)
        for coefficient in coefficients:
            factor = self._spread(coefficient)
            for part in row:
                slot = next(slots)
                old = self.builder.load(slot, typ=self.vector)
                self.builder.store(self.builder.call(self.fma, [factor, part, old]), slot)

    def store(self):
        for k, slot in enumerate(self.slots):
            value = self.builder.load(slot, typ=self.vector)
            self.builder.store(value, self._place(self.total, _int(k * self.lanes)), align=self.bytes)

    def _place(self, data, offset):
        return self.builder.bitcast(_at(self.builder, data, offset, self.number), ir.PointerType(self.vector))

    def _spread(self, value):
        blank = ir.Constant(self.vector, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        one = self.builder.insert_element(blank, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, blank, first)


def _int(value):
    return ir.Constant(ir.IntType(64), value)


def _at(builder, pointer, index, number):
    return builder.gep(pointer, [index], source_etype=number)


def _load(builder, pointer, index, number):
    return builder.load(_at(builder, pointer, index, number), typ=number)
