# SPDX-License-Identifier: BSD-3-Clause
"""The innermost loops of a product with the Hessian of a region, written for the compiler by hand.

The three components of a pair stand in one vector register, and its direction is taken anew from the places of its two
atoms, which stay in cache: half as much to read as kept directions.  LLVM's own vectoriser does neither.

Rows of places, vectors and results hold four numbers, of which the last means nothing; ``vector_il`` has zeros there.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_NUMBER, _INDEX, _LANES = ir.DoubleType(), ir.IntType(64), 4
_VECTOR = ir.VectorType(_NUMBER, _LANES)


@intrinsic
def add_stiff(typing, place_sl, vector_il, out_il, j_p, site_p, stiff_pk, i, begin, end):  # noqa: ARG001 - numba's signature
    """Add to rows i and j what pairs ``begin`` to ``end`` of atom i answer to: [k r rᵀ + t] (v_i - v_j), stiff_pk = (k, t)."""

    def generate(context, builder, signature, values):
        row = _Row(context, builder, signature.args, values, ("place", "vector", "out", "j", "site", "stiff"))
        with row.pairs() as pair:
            pair.add(pair.stiff(pair.stretch()))
        row.close()
        return context.get_dummy_value()

    return types.void(place_sl, vector_il, out_il, j_p, site_p, stiff_pk, i, begin, end), generate


@intrinsic
def add_stiff_and_dense(typing, place_sl, vector_il, out_il, j_p, site_p, stiff_pk, slope_pk, change_s, i, begin, end):  # noqa: ARG001
    """Do as ``add_stiff``, and add the changes of density: slope_pk[p] r (v_i - v_j) at j to ``change_s``, and return that at i."""

    def generate(context, builder, signature, values):
        names = ("place", "vector", "out", "j", "site", "stiff", "slope", "change")
        row = _Row(context, builder, signature.args, values, names)
        change = cgutils.alloca_once_value(builder, ir.Constant(_NUMBER, 0.0))
        with row.pairs() as pair:
            stretch = pair.stretch()
            pair.add(pair.stiff(stretch))
            at_i, at_j = pair.factors("slope")
            builder.store(row.fma(at_i, stretch, builder.load(change, typ=_NUMBER)), change)
            row.store("change", pair.j, row.fma(at_j, stretch, row.load("change", pair.j)))
        row.close()
        return builder.load(change, typ=_NUMBER)

    arguments = (place_sl, vector_il, out_il, j_p, site_p, stiff_pk, slope_pk, change_s, i, begin, end)
    return types.float64(*arguments), generate


@intrinsic
def add_dense(typing, place_sl, out_il, j_p, site_p, slope_pk, change_s, i, begin, end):  # noqa: ARG001
    """Add to rows i and j what the changes of F' do, which ``change_s`` holds now."""

    def generate(context, builder, signature, values):
        row = _Row(context, builder, signature.args, values, ("place", "out", "j", "site", "slope", "change"))
        own = row.load("change", row.i)
        with row.pairs() as pair:
            at_i, at_j = pair.factors("slope")
            pull = row.fma(at_j, row.load("change", pair.j), builder.fmul(at_i, own))
            pair.add(builder.fmul(row.spread(pull), pair.separation))
        row.close()
        return context.get_dummy_value()

    return types.void(place_sl, out_il, j_p, site_p, slope_pk, change_s, i, begin, end), generate


class _Row:
    """The pairs of one atom: arrays by name, then i, begin and end; the sum for i stays in a register till ``close``."""

    def __init__(self, context, builder, kinds, values, names):
        self.builder = builder
        self.data = {
            name: cgutils.create_struct_proxy(kind)(context, builder, value=value).data
            for name, kind, value in zip(names, kinds, values, strict=False)
        }
        self.i, self.begin, self.end = values[len(names) :]
        self.sum = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * _LANES))

    def pairs(self):
        return _Loop(self)

    def close(self):
        total = self.builder.load(self.sum, typ=_VECTOR)
        self.store_lanes("out", self.i, self.builder.fadd(self.lanes("out", self.i), total))

    def at(self, name, place, kind):
        return self.builder.gep(self.data[name], [place], source_etype=kind)

    def load(self, name, place):
        return self.builder.load(self.at(name, place, _NUMBER), typ=_NUMBER)

    def store(self, name, place, value):
        self.builder.store(value, self.at(name, place, _NUMBER))

    def index(self, name, place):
        short = ir.IntType(32)
        return self.builder.zext(self.builder.load(self.at(name, place, short), typ=short), _INDEX)

    def _lanes_at(self, name, row):
        first = self.at(name, self.builder.mul(row, _int(_LANES)), _NUMBER)
        return self.builder.bitcast(first, ir.PointerType(_VECTOR))

    def lanes(self, name, row):
        return self.builder.load(self._lanes_at(name, row), align=8, typ=_VECTOR)

    def store_lanes(self, name, row, value):
        self.builder.store(value, self._lanes_at(name, row), align=8)

    def spread(self, value):
        blank, index = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)
        one = self.builder.insert_element(blank, value, ir.Constant(index, 0))
        return self.builder.shuffle_vector(one, blank, ir.Constant(ir.VectorType(index, _LANES), [0] * _LANES))

    def fma(self, a, b, c):
        name = "llvm.fma.v4f64" if a.type == _VECTOR else "llvm.fma.f64"
        kind = ir.FunctionType(a.type, [a.type] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])


class _Loop:
    """The loop over a row's pairs; within it, the pair."""

    def __init__(self, row):
        self.row, self.builder = row, row.builder
        self.own_place = row.lanes("place", row.i)
        self.own_vector = row.lanes("vector", row.i) if "vector" in row.data else None
        self.loop = cgutils.for_range_slice(row.builder, row.begin, row.end, _int(1))

    def __enter__(self):
        self.p, _ = self.loop.__enter__()
        self.j = self.row.index("j", self.p)
        self.separation = self.builder.fsub(self.own_place, self.row.lanes("place", self.row.index("site", self.p)))
        return self

    def __exit__(self, *error):
        return self.loop.__exit__(*error)

    def factors(self, name):
        """Load the pair's two numbers."""
        first = self.builder.mul(self.p, _int(2))
        return self.row.load(name, first), self.row.load(name, self.builder.add(first, _int(1)))

    def stretch(self):
        """Return r (v_i - v_j)."""
        builder, index = self.builder, ir.IntType(32)
        self.apart = builder.fsub(self.own_vector, self.row.lanes("vector", self.j))
        product, blank = builder.fmul(self.separation, self.apart), ir.Constant(_VECTOR, ir.Undefined)
        halves = [
            builder.shuffle_vector(product, blank, ir.Constant(ir.VectorType(index, 2), lanes))
            for lanes in ([0, 1], [2, 3])
        ]
        both = builder.fadd(*halves)
        return builder.fadd(*(builder.extract_element(both, ir.Constant(index, lane)) for lane in (0, 1)))

    def stiff(self, stretch):
        """Return [k r rᵀ + t] (v_i - v_j)."""
        along, across = self.factors("stiff")
        sideways = self.builder.fmul(self.row.spread(across), self.apart)
        return self.row.fma(self.row.spread(self.builder.fmul(along, stretch)), self.separation, sideways)

    def add(self, value):
        """Add a vector to row i, and take it from row j."""
        row, builder = self.row, self.builder
        builder.store(builder.fadd(builder.load(row.sum, typ=_VECTOR), value), row.sum)
        row.store_lanes("out", self.j, builder.fsub(row.lanes("out", self.j), value))


def _int(value):
    return ir.Constant(_INDEX, value)
