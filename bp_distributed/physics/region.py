# SPDX-License-Identifier: BSD-3-Clause
r"""A part of a sample that moves, in surroundings that are frozen and exactly embedded.

With M the mobile atoms, S every atom, and x0 the sample as given, the energy is

.. math:: E(x) = \sum_{pairs\, with\, M} [\varphi(r) - \varphi(r_0)] + \sum_S [F(\rho_S) - F(\rho_S^0)]

which is the energy of the whole sample, relative to x0, when all other atoms stay where they are: frozen atoms keep
their exact densities and answer to what the mobile ones change.  Nothing here costs more in a larger sample.

Several images of an atom may be near, so cells of any size and shape work, and "all atoms" is only a larger region.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ConfigError, Reason, ScienceError
from bp_distributed.physics import kernels, region_kernels, region_pairs
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.neighbours import neighbour_table
from bp_distributed.physics.potential import EAMPotential, SplineTables

Floats = NDArray[np.float64]
Product = Callable[[Floats], Floats]

SKIN = 0.6
"""Å: pairs are listed this far beyond their range, and listed anew when two atoms may have crossed it."""

MARGIN, FARTHEST = 1.0, 16.0
"""Å: how far an atom may move before more surroundings are gathered, and at all."""

GRID = 4.0
"""Å: least height of a cell of the grid in which surroundings are looked up."""

VACUUM = 50.0
"""Å between a cluster and its images, which are thus never met."""

SAME_PLACE = 1e-6
"""Å."""


def _ends_at(tables: SplineTables, n_species: int) -> Floats:
    """Return where each table becomes zero for good, shape=(n_species, n_species), Å."""
    used_sk = tables.coefficient_sm.any(axis=1).reshape(-1, tables.n_knots)
    last_s = tables.n_knots - np.argmax(used_sk[:, ::-1], axis=1)
    return np.where(used_sk.any(axis=1), last_s * tables.delta, 0.0).reshape(n_species, n_species)


def _tables(potential: EAMPotential) -> region_kernels.Tables:
    n, pair, density = len(potential.elements), potential.pair, potential.density
    a, b = np.divmod(np.arange(n * n), n)
    density_skm = density.coefficient_sm.reshape(n * n, -1, 4)
    at_i, at_j = (density_skm[table].reshape(-1, 4) for table in (b * n + a, a * n + b))
    left = _ends_at(density, n)
    near_range = np.minimum(np.maximum(left, left.T), potential.cutoff)
    near_tkm = np.stack([pair.coefficient_sm, at_i, at_j], axis=2)[:, :2]
    return region_kernels.Tables(
        near_tm=np.pad(near_tkm.reshape(-1, 6), ((0, 3), (0, 0))),
        pair_tm=np.pad(pair.coefficient_sm[:, :2], ((0, 2), (0, 0))),
        embedding_tm=np.ascontiguousarray(potential.embedding.coefficient_sm),
        near_range_ab=near_range,
        pair_range_ab=np.maximum(np.minimum(_ends_at(pair, n), potential.cutoff), near_range),
        cutoff=potential.cutoff,
        scale=1.0 / pair.delta,
        embedding_scale=1.0 / potential.embedding.delta,
        n_knots=pair.n_knots,
        n_embedding=potential.embedding.n_knots,
        rho_max=potential.rho_max,
    )


class Landscape:
    """A sample and its potential, prepared once for all its regions.

    Parameters
    ----------
    configuration : Configuration
        The minimum from which searches start.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    isolated : bool
        The sample is a cluster in vacuum; its cell does not matter.

    Raises
    ------
    ConfigError
        If the potential is made for other elements.
    """

    def __init__(self, configuration: Configuration, potential: EAMPotential, isolated: bool = False) -> None:
        if potential.elements != configuration.elements:
            given, needed = ", ".join(potential.elements), ", ".join(configuration.elements)
            raise ConfigError("landscape", "potential", f"is made for {given}, expected {needed} in this order")
        positions_ic, self.cell_cc = configuration.positions_ic, configuration.cell_cc
        if isolated:
            low_c, high_c = positions_ic.min(axis=0), positions_ic.max(axis=0)
            positions_ic, self.cell_cc = positions_ic - low_c + 0.5 * VACUUM, np.diag(high_c - low_c + VACUUM)
        self.isolated, self.tables = isolated, _tables(potential)
        self.inverse_cc = np.linalg.inv(self.cell_cc)
        self.height_c = 1.0 / np.linalg.norm(self.inverse_cc, axis=0)
        fraction_ic = positions_ic @ self.inverse_cc
        fraction_ic -= np.floor(fraction_ic)
        n_c = np.maximum(self.height_c // GRID, 1).astype(np.int64)
        cell_ic = np.minimum((fraction_ic * n_c).astype(np.int64), n_c - 1)
        start_g, order_i = region_pairs.sorted_into(np.ravel_multi_index(tuple(cell_ic.T), n_c), int(n_c.prod()))
        self.grid = region_pairs.Grid(start_g, n_c)
        self.order_i = order_i
        """Which atom of the sample stands in each place of the following."""
        self.positions_ic = (fraction_ic @ self.cell_cc)[order_i]
        self.species_i = np.ascontiguousarray(configuration.species_i[order_i], dtype=np.int64)
        table = neighbour_table(self.positions_ic, self.cell_cc, potential.cutoff)
        self.rho_i = kernels.densities(
            self.positions_ic, self.cell_cc, table.start_i, table.j_m, table.shift_mc, self.species_i,
            len(potential.elements), potential.cutoff, *potential.density.loops,
        )  # fmt: skip
        self._whole: Region | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.order_i)

    def region(self, centre: int, radius: float | None) -> Region:
        """Return the region around an atom; about as dear as two evaluations of it.

        A search is the same to the last bit on every machine only if it begins with a new region: one that was used
        lists its pairs in another order.

        Parameters
        ----------
        centre : int
            Index in the sample.
        radius : float or None, Å
            Atoms within it move, by nearest image; None: all atoms.

        Raises
        ------
        ConfigError
            If there is no such atom or the radius is not positive.
        """
        if not 0 <= centre < self.n_atoms:
            raise ConfigError("region", "centre", f"got {centre}, expected 0 to {self.n_atoms - 1}")
        if radius is not None and not 0.0 < radius < np.inf:
            raise ConfigError("region", "radius", f"got {radius}, expected a length above 0 Å, or None for all atoms")
        place = int(np.flatnonzero(self.order_i == centre)[0])
        mobile = self._everything() if radius is None else self._within(place, radius)
        if len(mobile.atom_m) < self.n_atoms:
            return Region(self, place, mobile)
        self._whole = self._whole or Region(self, place, mobile)
        return self._whole.anew(place)

    def _within(self, place: int, radius: float) -> _Mobile:
        centre_c = self.positions_ic[place]
        atom_s, x_sc = self.images(centre_c, centre_c, radius, radius)
        order_s = np.lexsort((((x_sc - centre_c) ** 2).sum(axis=1), atom_s))
        atom_m, first_m = np.unique(atom_s[order_s], return_index=True)
        if len(atom_m) == self.n_atoms:
            return self._everything()
        return _Mobile(atom_m, x_sc[order_s[first_m]], centre_c, centre_c, radius)

    def _everything(self) -> _Mobile:
        return _Mobile(np.arange(self.n_atoms), self.positions_ic, np.zeros(3), self.cell_cc.sum(axis=0), np.inf)

    def images(self, low_c: Floats, high_c: Floats, around: float, reach: float) -> tuple[NDArray[np.int64], Floats]:
        """Return (atom_s, x_sc), images of atoms (places in our order) in a block of the cell and ``around`` it, Å.

        ``low_c`` and ``high_c`` are opposite corners of the block; ``reach`` is the farthest from the first of them.
        """
        wide_c, n_c = around / self.height_c, self.grid.cells_c
        first_c = np.floor((low_c @ self.inverse_cc - wide_c) * n_c).astype(np.int64)
        last_c = np.floor((high_c @ self.inverse_cc + wide_c) * n_c).astype(np.int64)
        found: tuple[NDArray[np.int64], Floats] = region_pairs.images(
            self.grid, self.positions_ic, self.cell_cc, first_c, last_c, low_c, reach
        )
        return found


@dataclass(frozen=True)
class _Mobile:
    """The atoms that move: places in the landscape's order, starts, and the block that holds them."""

    atom_m: NDArray[np.int64]
    start_mc: Floats
    low_c: Floats
    high_c: Floats
    radius: float


class Region:
    """The energy of the mobile atoms as a ``Surface``; made by ``Landscape.region``.

    Attributes
    ----------
    atoms_m : ndarray of int64, shape=(n_mobile,)
        Indices of the mobile atoms in the sample; neighbours in space come close.
    centre : int
        Place of the centre in ``atoms_m``.
    start_mc : ndarray, shape=(n_mobile, 3), Å
        Start, unwrapped around the centre; only what it is moved by has a meaning outside.
    rigid_kx : ndarray, shape=(k, 3 n_mobile)
        Orthonormal motions that cost no energy: the translations if every atom moves, and the rotations too if they
        are a cluster; none in frozen surroundings.
    evaluations, n_products : int
        How often energy and forces were calculated, and products made.
    """

    def __init__(self, landscape: Landscape, centre: int, mobile: _Mobile) -> None:
        self._landscape, self._mobile = landscape, mobile
        self.atoms_m = landscape.order_i[mobile.atom_m]
        self.centre = int(np.searchsorted(mobile.atom_m, centre))
        self.start_mc = mobile.start_mc.copy()
        self.rigid_kx = self._rigid_motions()
        self.evaluations = self.n_products = 0
        tables, skin = landscape.tables, SKIN
        self._near_square_ab, self._pair_square_ab = (
            (range_ab + skin) ** 2 * (range_ab > 0.0) for range_ab in (tables.near_range_ab, tables.pair_range_ab)
        )
        self._range = float(tables.pair_range_ab.max()) + skin
        self._surround(MARGIN)

    def anew(self, centre: int) -> Region:
        """Return this region, never used so far, around another atom (place in the landscape's order).

        It equals a new one to the last bit and costs a tenth: lists are shared, and what an evaluation writes to is not.
        """
        twin = copy(self)
        twin.centre = int(np.searchsorted(self._mobile.atom_m, centre))
        twin.start_mc, twin._site_sl = self.start_mc.copy(), self._site_sl.copy()
        twin._touched_s, twin._rho_s, twin._row_i = self._touched_s.copy(), self._rho_s.copy(), self._row_i.copy()
        twin._embedding = tuple(part_s.copy() for part_s in self._embedding)
        twin._make_room()
        return twin

    @property
    def n_mobile(self) -> int:
        """Number of mobile atoms."""
        return len(self.atoms_m)

    def _rigid_motions(self) -> Floats:
        n = self.n_mobile
        if n < self._landscape.n_atoms:
            return np.empty((0, 3 * n))
        motions = [np.tile(axis, (n, 1)) for axis in np.eye(3)]
        if self._landscape.isolated:
            arm_mc = self.start_mc - self.start_mc.mean(axis=0)
            motions += [np.cross(axis, arm_mc) / max(1.0, float(np.abs(arm_mc).max())) for axis in np.eye(3)]
        _, size_k, basis_kx = np.linalg.svd(np.reshape(motions, (-1, 3 * n)), full_matrices=False)
        return np.ascontiguousarray(basis_kx[size_k > SAME_PLACE * size_k[0]])

    def _surround(self, margin: float) -> None:
        """Gather every site that a mobile atom can meet while none moves farther than ``margin``."""
        land, mobile, n = self._landscape, self._mobile, self.n_mobile
        around = self._range + 2.0 * margin
        reach = mobile.radius + around
        atom_s, x_sc = land.images(mobile.low_c, mobile.high_c, reach if reach < np.inf else around, reach)
        slot_i = np.full(land.n_atoms, -1)
        slot_i[mobile.atom_m] = np.arange(n)
        slot_s = slot_i[atom_s]
        moving, frozen = np.flatnonzero(slot_s >= 0), np.flatnonzero(slot_s < 0)
        offset_gc = x_sc[moving] - self.start_mc[slot_s[moving]]
        image = np.abs(offset_gc).max(axis=1) > SAME_PLACE
        self._mover_g, self._offset_gc = slot_s[moving][image], offset_gc[image]
        frozen_atom, slot_f = np.unique(atom_s[frozen], return_inverse=True)
        atom_of_slot = np.concatenate([mobile.atom_m, frozen_atom])
        slot_s = np.concatenate([np.arange(n), self._mover_g, n + slot_f])
        site_sc = np.concatenate([self.start_mc, self.start_mc[self._mover_g] + self._offset_gc, x_sc[frozen]])
        self._site_sl = np.pad(site_sc, ((0, 0), (0, 1)))
        self._species_s, self._margin = land.species_i[atom_of_slot], margin
        self._slot_s = slot_s.astype(np.uint32)
        self._table_s = (land.tables.n_knots * self._species_s[slot_s]).astype(np.uint32)
        self._start_sums(land.rho_i[atom_of_slot])

    def _start_sums(self, rho_s: Floats) -> None:
        """List pairs, and keep what is to be subtracted: energies at the start, densities that others leave there."""
        n_slots = len(rho_s)
        self._touched_s = np.zeros(n_slots, np.bool_)
        self._rho_s, self._base_s = np.empty(n_slots), np.zeros(n_slots)
        self._row_i = np.empty(self.n_mobile)
        self._embedding = tuple(np.empty(n_slots) for _ in range(3))
        self._list_pairs(self.start_mc)
        self._calculate()
        self._base_s = rho_s - self._rho_s
        self._calculate()
        untouched_t = (self.n_mobile + np.flatnonzero(~self._touched_s[self.n_mobile :])).astype(np.uint32)
        region_kernels.embed(0, untouched_t, self._species_s, self._rho_s, self._landscape.tables, *self._embedding)
        self._start_row_i, self._start_energy_s = self._row_i.copy(), self._embedding[0].copy()
        self._at_mc: Floats | None = None

    def _list_pairs(self, x_mc: Floats) -> None:
        n = self.n_mobile
        bound_ik, site_p = region_pairs.list_pairs(
            self._site_sl, self._slot_s, self._species_s, n, 0.5 * self._range,
            self._near_square_ab, self._pair_square_ab,
        )  # fmt: skip
        touched_t = region_pairs.touched(bound_ik, site_p, self._slot_s, n, self._touched_s)
        self._pairs = region_pairs.Pairs(bound_ik, site_p, self._slot_s, self._table_s, touched_t)
        self._listed_mc = x_mc.copy()
        self._make_room()

    def _make_room(self) -> None:
        bound_ik = self._pairs.bound_ik
        self._derivative_d = region_kernels.room_for_derivatives(bound_ik)
        room = region_kernels.room_for_factors(bound_ik, len(self._species_s), len(self._site_sl))
        self._factors = region_kernels.Factors(*room)

    def _calculate(self) -> Floats:
        forces_mc: Floats = region_kernels.evaluate(
            self._site_sl, self._species_s, self._base_s, self._pairs, self._landscape.tables,
            self._derivative_d, self._rho_s, self._row_i, *self._embedding,
        )  # fmt: skip
        return forces_mc

    def _move_to(self, x_mc: Floats) -> None:
        """Put the mobile atoms in their places, with all they can meet around them and every pair listed."""
        farthest, _ = region_pairs.two_largest_moves(x_mc, self.start_mc)
        if not farthest <= FARTHEST:
            raise ScienceError(Reason.ATOMS_LOST, f"a mobile atom moved by {farthest:.3g} Å, allowed are {FARTHEST} Å")
        if farthest > self._margin:
            self._surround(2.0 * farthest)
        region_pairs.place(x_mc, self._mover_g, self._offset_gc, self._site_sl)
        if sum(region_pairs.two_largest_moves(x_mc, self._listed_mc)) > SKIN:
            self._list_pairs(x_mc)

    def evaluate(self, x_mc: Floats) -> tuple[float, Floats]:
        """Return the energy relative to the start (eV) and the forces (eV/Å) on the mobile atoms.

        Parameters
        ----------
        x_mc : ndarray, shape=(n_mobile, 3), Å
            Places, continuous with ``start_mc``.

        Raises
        ------
        ScienceError
            If an atom moved by more than 16 Å or a coordinate is not a number.
        """
        self._move_to(x_mc)
        self.evaluations += 1
        forces_mc = self._calculate()
        self._at_mc = x_mc.copy()
        energy = region_kernels.energy_change(self._row_i, self._start_row_i, self._embedding[0], self._start_energy_s)
        return float(energy), forces_mc

    def products(self, x_mc: Floats) -> Product:
        """Return v -> H v with the exact Hessian at a place, Å -> eV/Å, both of shape (n_mobile, 3); till the next call.

        Costs an evaluation too unless the last one was made at the same place.
        """
        if self._at_mc is None or not np.array_equal(self._at_mc, x_mc):
            self.evaluate(x_mc)
        factors, pairs = self._factors, self._pairs
        region_kernels.factors(self._site_sl, pairs, self._derivative_d, *self._embedding[1:], factors)
        change_s = np.empty_like(self._rho_s)

        def product(v_mc: Floats) -> Floats:
            self.n_products += 1
            change: Floats = region_kernels.product(factors, pairs, v_mc, change_s)
            return change

        return product
