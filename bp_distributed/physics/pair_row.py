# SPDX-License-Identifier: BSD-3-Clause
"""Loops over the pairs of one atom, written for the compiler by hand: the parts of ``pair_product`` and ``pair_forces``.

The three components of a pair stand in one vector register, and its direction is taken anew from the places of its two
atoms, which stay in cache: half as much to read as kept directions.  LLVM's own vectoriser does neither.

Rows of places, vectors and results hold four numbers, of which the last means nothing; it is zero in places and vectors.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

NUMBER, INDEX, SHORT, LANES = ir.DoubleType(), ir.IntType(64), ir.IntType(32), 4
VECTOR = ir.VectorType(NUMBER, LANES)


def whole(value):
    """Return an index."""
    return ir.Constant(INDEX, value)


class Arrays:
    """Arrays by name, and what is done with their numbers."""

    def __init__(self, context, builder, kinds, values, names):
        self.builder = builder
        self.data = {
            name: cgutils.create_struct_proxy(kind)(context, builder, value=value).data
            for name, kind, value in zip(names, kinds, values, strict=False)
        }

    def _at(self, name, place, kind):
        return self.builder.gep(self.data[name], [place], source_etype=kind)

    def load(self, name, place):
        """Load one number."""
        return self.builder.load(self._at(name, place, NUMBER), typ=NUMBER)

    def store(self, name, place, value):
        """Store one number."""
        self.builder.store(value, self._at(name, place, NUMBER))

    def index(self, name, place):
        """Load an index, kept in 32 bits."""
        return self.builder.zext(self.builder.load(self._at(name, place, SHORT), typ=SHORT), INDEX)

    def _lanes_at(self, name, place):
        return self.builder.bitcast(self._at(name, place, NUMBER), ir.PointerType(VECTOR))

    def lanes(self, name, place):
        """Load four numbers from a place on."""
        return self.builder.load(self._lanes_at(name, place), align=8, typ=VECTOR)

    def store_lanes(self, name, place, value):
        """Store four numbers from a place on."""
        self.builder.store(value, self._lanes_at(name, place), align=8)

    def spread(self, value):
        """Return four times the same number."""
        blank = ir.Constant(VECTOR, ir.Undefined)
        one = self.builder.insert_element(blank, value, ir.Constant(SHORT, 0))
        return self.builder.shuffle_vector(one, blank, ir.Constant(ir.VectorType(SHORT, LANES), [0] * LANES))

    def lane(self, vector, number):
        """Return one of the numbers in a vector."""
        return self.builder.extract_element(vector, ir.Constant(SHORT, number))

    def fma(self, a, b, c):
        """Return a b + c."""
        name = "llvm.fma.v4f64" if a.type == VECTOR else "llvm.fma.f64"
        kind = ir.FunctionType(a.type, [a.type] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])


class Row(Arrays):
    """The pairs of one atom: arrays by name, then i, begin and end; the sum for i stays in a register till ``close``."""

    def __init__(self, context, builder, kinds, values, names):
        super().__init__(context, builder, kinds, values, names)
        self.i, self.begin, self.end = values[len(names) : len(names) + 3]
        self.sum = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0.0] * LANES))

    def of_atom(self, name, atom):
        """Return the row of an atom."""
        return self.lanes(name, self.builder.mul(atom, whole(LANES)))

    def set_atom(self, name, atom, value):
        """Set the row of an atom."""
        self.store_lanes(name, self.builder.mul(atom, whole(LANES)), value)

    def pairs(self):
        """Return the loop over the pairs, for ``with``."""
        return _Loop(self)

    def close(self):
        """Add the sum to row i of the results."""
        total = self.builder.load(self.sum, typ=VECTOR)
        self.set_atom("out", self.i, self.builder.fadd(self.of_atom("out", self.i), total))


class _Loop:
    """The loop over a row's pairs; within it, the pair."""

    def __init__(self, row):
        self.row, self.builder = row, row.builder
        self.own_place = row.of_atom("place", row.i)
        self.own_vector = row.of_atom("vector", row.i) if "vector" in row.data else None
        self.loop = cgutils.for_range_slice(row.builder, row.begin, row.end, whole(1))

    def __enter__(self):
        row = self.row
        self.p, _ = self.loop.__enter__()
        site = row.index("site", self.p)
        self.j = row.index("slot", site)
        self.separation = self.builder.fsub(self.own_place, row.of_atom("place", site))
        return self

    def __exit__(self, *error):
        return self.loop.__exit__(*error)

    def numbers(self, name, count, stride=None):
        """Load the first of the ``stride`` numbers that the pair has."""
        first = self.builder.mul(self.p, whole(stride or count))
        return [self.row.load(name, self.builder.add(first, whole(k))) for k in range(count)]

    def stretch(self):
        """Return r (v_i - v_j)."""
        builder = self.builder
        self.apart = builder.fsub(self.own_vector, self.row.of_atom("vector", self.j))
        product, blank = builder.fmul(self.separation, self.apart), ir.Constant(VECTOR, ir.Undefined)
        halves = [
            builder.shuffle_vector(product, blank, ir.Constant(ir.VectorType(SHORT, 2), lanes))
            for lanes in ([0, 1], [2, 3])
        ]
        both = builder.fadd(*halves)
        return builder.fadd(self.row.lane(both, 0), self.row.lane(both, 1))

    def stiff(self, stretch):
        """Return [k r rᵀ + t] (v_i - v_j)."""
        along, across = self.numbers("stiff", 2)
        sideways = self.builder.fmul(self.row.spread(across), self.apart)
        return self.row.fma(self.row.spread(self.builder.fmul(along, stretch)), self.separation, sideways)

    def along(self, pull):
        """Return pull times r."""
        return self.builder.fmul(self.row.spread(pull), self.separation)

    def add(self, value, mobile=True):
        """Add a vector to row i, and take it from row j unless that atom is frozen."""
        row, builder = self.row, self.builder
        builder.store(builder.fadd(builder.load(row.sum, typ=VECTOR), value), row.sum)
        if mobile:
            row.set_atom("out", self.j, builder.fsub(row.of_atom("out", self.j), value))
