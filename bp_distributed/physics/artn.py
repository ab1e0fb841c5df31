# SPDX-License-Identifier: BSD-3-Clause
r"""The activation-relaxation technique: from a minimum over its rim to a saddle.

A search pushes a few atoms in a random direction until the lowest eigenvalue λ of the Hessian falls below a threshold:
the basin is left.  From there it climbs along the lowest mode and relaxes across it, until the force vanishes.
As in the paper (Yang et al.), with the controls of its code; what differs is cost, not rule: eigenvectors come from
exact products with the Hessian instead of differences of forces, and so do the relaxations across the mode.

The saddle is judged twice: where the largest force on an atom is below 0.05 eV/Å, as in the paper, and refined.

References
----------
Barkema and Mousseau, Phys. Rev. Lett. 77, 4358 (1996); Malek and Mousseau, Phys. Rev. E 62, 7723 (2000); Cancès et
al., J. Chem. Phys. 130, 114711 (2009), for the step along the mode; Yang, Wang and Zaccone, Phys. Rev. B 105, 014204
(2022), for the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from bp_distributed.physics.descent import (
    MOST_PRODUCTS,
    Place,
    descend,
    largest,
    newton_step,
    without,
)
from bp_distributed.physics.lowest_mode import Mode, lowest_mode
from bp_distributed.physics.surface import Product, Surface, Vectors

CLIMB_RADIUS_A = 0.2
"""Length of a relaxation across the mode, one step of it after each step along: more slides back into the basin."""

SETTLE_STEPS, SETTLE_FLOOR = 30, 0.1
"""Newton steps to the saddle itself, and eV/Å² below which a mode counts as that stiff."""

SETTLE_RADIUS_A, SETTLE_PRODUCTS, SETTLE_LANCZOS = 2.0, 20, 6
"""Length of such a step, in which thousands of atoms may move a little, and products for it and for its mode."""

FIRST_CAP_A, LEAST_CAP_A, NO_STEP_A = 0.2, 0.03, 0.005
"""Å, of one atom: the cap on a step at first and at most; not lowered below the second where the force grew; and where
even a step as short as the third makes λ positive there is no saddle."""


class Code(IntEnum):
    """How a search ended."""

    NOT_TRIED = -1
    SUCCESS = 0
    BASIN = 1
    """λ never fell below the threshold."""
    EIG_LOST = 2
    """λ was positive too often after the basin had been left."""
    MAXITER = 3
    """The force did not vanish in time."""
    ENERGY = 4
    """Higher than any barrier that means anything."""
    DISP = 5
    """An atom went too far."""
    NEG = 6
    """The saddle lies below the minimum."""
    COLLAPSED = 7
    """Back at the minimum."""
    SHOULDER = 8
    """The force fell below the paper's limit, and no saddle is there: a slope that flattens.  The paper counts it."""
    RELAXED_AWAY = 9
    """A saddle while the surroundings are held, and none when they may move."""


@dataclass(frozen=True)
class SearchParameters:
    """Controls of a search; the defaults are the paper's where it gives them, else its code's, or what cost least here.

    Attributes
    ----------
    push_norm : float, Å
        Length of the first displacement.
    cluster_radius : float, Å
        Atoms this close to the centre are pushed; below the first shell that is the centre alone.
    basin_step : float, Å
        Of each further push.
    max_basin_iter : int
        Pushes at most.
    perp_basin_max, perp_basin_force : int, float (eV/Å)
        Evaluations of a relaxation across the push, and the force at which it ends.
    lambda_exit : float, eV/Å²
        The basin is left below this eigenvalue.
    lanczos_first, lanczos_warm, lanczos_rtol : int, int, float
        Vectors for the first mode and for those that start from the one before; relative change of λ that ends it.
    nsmooth : int
        Steps in which the direction turns from the push to the mode.
    max_lost : int
        Where λ is positive again, the basin's step is taken along the last negative mode; so many times at most.
    eig_step_max, eig_floor : float, Å and eV/Å²
        Step along the mode: |F∥| / max(|λ|, floor), at most the first.
    max_saddle_iter : int
        Steps along the mode at most.
    force_converged, force_refined : float, eV/Å
        Largest force on an atom at the saddle: the paper's, and the refined one's.
    max_energy, max_displacement : float, eV and Å
        Beyond these a search is given up.
    push_over : float, Å
        Displacement from the saddle along its mode, to either side, before relaxing.
    connected_energy, connected_displacement : float, eV and Å
        A relaxed end this near to the start is the start.
    active_radius : float, Å
        Atoms this close to the centre move during the search.
    outer_atoms : int
        About so many, those nearest to the centre, move when the saddle is settled at last; all if there are no more.
    """

    push_norm: float = 0.1
    cluster_radius: float = 2.0
    basin_step: float = 0.225
    max_basin_iter: int = 30
    perp_basin_max: int = 20
    perp_basin_force: float = 0.5
    lambda_exit: float = -0.30
    lanczos_first: int = 30
    lanczos_warm: int = 8
    lanczos_rtol: float = 1e-2
    nsmooth: int = 0
    max_lost: int = 20
    eig_step_max: float = 0.18
    eig_floor: float = 0.5
    max_saddle_iter: int = 100
    force_converged: float = 0.05
    force_refined: float = 0.001
    max_energy: float = 20.0
    max_displacement: float = 5.0
    push_over: float = 0.15
    connected_energy: float = 1e-3
    connected_displacement: float = 0.2
    active_radius: float = 10.0
    outer_atoms: int = 4000


@dataclass(frozen=True)
class Waypoint:
    """One stop of a search, for pictures of it."""

    stage: str
    """``basin``, ``saddle`` or ``refined``."""
    displacement: float
    """Length of the displacement from the minimum, Å."""
    energy: float
    """eV."""
    eigenvalue: float
    """Lowest of the Hessian, eV/Å²; NaN where it was not asked for."""
    max_force: float
    """On one atom, eV/Å."""


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes
    ----------
    code : Code
    energy : float, eV
        Activation energy where the forces are below ``force_converged``, as in the paper; NaN without success.
    refined_energy : float, eV
        At the refined saddle; NaN if there is none.
    saddle_mc : ndarray, shape=(n_mobile, 3), Å
        The refined saddle, or where the search ended.
    mode : Mode or None
        Lowest mode there.
    path : list of Waypoint
    evaluations, n_products : int
        What it cost.
    """

    code: Code
    energy: float
    refined_energy: float
    saddle_mc: Vectors
    mode: Mode | None
    path: list[Waypoint]
    evaluations: int
    n_products: int


def search(surface: Surface, push_mc: Vectors, parameters: SearchParameters | None = None) -> Search:
    """Search for a saddle from the minimum of a surface.

    Parameters
    ----------
    surface : Surface
    push_mc : ndarray, shape=(n_mobile, 3)
        Direction of the push, of any length; see ``push_direction``.
    parameters : SearchParameters, optional

    Returns
    -------
    Search
        Failures are codes, not exceptions.
    """
    parameters = parameters or SearchParameters()
    before = surface.evaluations, surface.n_products
    walk = _Walk(surface, push_mc, parameters)
    code, energy, refined = walk.run()
    spent = surface.evaluations - before[0], surface.n_products - before[1]
    return Search(code, energy, refined, walk.place.x_mc, walk.mode, walk.path, *spent)


def settle(surface: Surface, x_mc: Vectors, guess_mc: Vectors, parameters: SearchParameters) -> Search:
    """Return the saddle next to a place that is nearly one.

    Parameters
    ----------
    surface : Surface
    x_mc : ndarray, shape=(n_mobile, 3), Å
    guess_mc : ndarray, shape=(n_mobile, 3)
        Roughly the lowest mode there.
    parameters : SearchParameters

    Returns
    -------
    Search
        ``SHOULDER`` if there is no saddle.
    """
    walk = _Walk(surface, guess_mc, parameters)
    walk.place = Place.on(surface, x_mc)
    found = walk.settled(guess_mc)
    refined = walk.place.energy if found else math.nan
    code = Code.SUCCESS if found else Code.SHOULDER
    spent = surface.evaluations, surface.n_products
    return Search(code, walk.rough_energy, refined, walk.place.x_mc, walk.mode, walk.path, *spent)


def push_direction(distance_m: Vectors, parameters: SearchParameters, generator: np.random.Generator) -> Vectors:
    """Return a random direction of unit length on the atoms near a centre.

    Parameters
    ----------
    distance_m : ndarray, shape=(n_mobile,), Å
        From the centre.
    parameters : SearchParameters
    generator : Generator

    Returns
    -------
    ndarray, shape=(n_mobile, 3)
        Without drift if several atoms are pushed.
    """
    near = np.flatnonzero(distance_m <= parameters.cluster_radius)  # the centre at least
    random_mc = generator.standard_normal((len(near), 3))
    if len(near) > 1:
        random_mc -= random_mc.mean(axis=0)
    push_mc = np.zeros((len(distance_m), 3))
    push_mc[near] = random_mc / np.linalg.norm(random_mc)
    return push_mc


@dataclass
class _Walk:
    """A search under way."""

    surface: Surface
    push_mc: Vectors
    parameters: SearchParameters
    path: list[Waypoint] = field(default_factory=list)
    mode: Mode | None = None
    rough_energy: float = math.nan
    """Where the paper's criterion was first met; in surroundings just set free, once they have answered."""

    def __post_init__(self) -> None:
        push_mc = without(self.push_mc, self.surface.rigid_kx)
        self.push_mc = push_mc / np.linalg.norm(push_mc)
        self.place = Place(self.surface.start_mc, 0.0, np.zeros_like(push_mc))

    def settled(self, guess_mc: Vectors) -> bool:
        """Go from where the walk is to the saddle next to it."""
        product = self._find_mode(guess_mc, SETTLE_LANCZOS)
        found = self._known_mode.eigenvalue < 0 and self._settle(product)
        if found and math.isnan(self.rough_energy):  # it was there from the start
            self.rough_energy = self.place.energy
        return found

    def run(self) -> tuple[Code, float, float]:
        code = self._leave_basin()
        if code is Code.SUCCESS:
            code = self._climb()
        if code is not Code.SUCCESS:
            return code, math.nan, math.nan
        self.rough_energy = self.place.energy
        if not self._settle(self.surface.products(self.place.x_mc)):
            return Code.SHOULDER, self.rough_energy, math.nan
        return self._arrived(), self.rough_energy, self.place.energy

    @property
    def _known_mode(self) -> Mode:
        if self.mode is None:
            raise RuntimeError("no mode is known in the basin yet")
        return self.mode

    def _leave_basin(self) -> Code:
        """Push until the lowest eigenvalue says that the basin is left."""
        p = self.parameters
        step, guess_mc = p.push_norm, self.push_mc
        beside_kx = np.concatenate([self.surface.rigid_kx, self.push_mc.reshape(1, -1)])
        for number in range(p.max_basin_iter):
            self.place = Place.on(self.surface, self.place.x_mc + step * self.push_mc)
            self.place = descend(
                self.surface, self.place, beside_kx, p.perp_basin_force, p.perp_basin_max, CLIMB_RADIUS_A
            )
            most = p.lanczos_warm if number else p.lanczos_first
            self._find_mode(guess_mc, most)
            self._note("basin")
            if self._known_mode.eigenvalue < p.lambda_exit:
                return Code.SUCCESS
            if (code := self._given_up()) is not Code.SUCCESS:
                return code
            step, guess_mc = p.basin_step, self._known_mode.vector_mc
        return Code.BASIN

    def _climb(self) -> Code:
        """Climb along the lowest mode and relax across it, until the paper's criterion is met."""
        p, lost = self.parameters, 0
        along_mc, product = self._known_mode.vector_mc, self.surface.products(self.place.x_mc)
        for number in range(p.max_saddle_iter):
            eigenvalue = self._known_mode.eigenvalue
            if eigenvalue < 0:
                along_mc = self._direction(number)
            elif (lost := lost + 1) > p.max_lost:
                return Code.EIG_LOST
            downhill = float(np.vdot(self.place.forces_mc, along_mc))
            newton = min(p.eig_step_max, abs(downhill) / max(abs(eigenvalue), p.eig_floor))
            # Where it slid back into a basin it goes out again the way it went.
            length = newton if eigenvalue < 0 else p.basin_step
            step_mc = self._across(product, along_mc, CLIMB_RADIUS_A, MOST_PRODUCTS)
            step_mc -= math.copysign(length, downhill) * along_mc
            self.place = Place.on(self.surface, self.place.x_mc + step_mc)
            product = self._find_mode(along_mc, p.lanczos_warm)
            self._note("saddle")
            if (code := self._given_up()) is not Code.SUCCESS:
                return code
            if self._known_mode.eigenvalue < 0 and largest(self.place.forces_mc) < p.force_converged:
                return Code.SUCCESS
        return Code.MAXITER

    def _settle(self, product: Product) -> bool:
        """Go on to the saddle itself by Newton steps, taken back where they lose it; tell whether it is there."""
        p, cap = self.parameters, FIRST_CAP_A
        for _ in range(SETTLE_STEPS):
            force = largest(self.place.forces_mc)
            if force < p.force_refined:
                return True
            place, mode = self.place, self._known_mode
            step_mc = self._saddle_step(product)
            length = min(cap, largest(step_mc))
            self.place = Place.on(self.surface, place.x_mc + length / largest(step_mc) * step_mc)
            product = self._find_mode(mode.vector_mc, SETTLE_LANCZOS)
            if self._known_mode.eigenvalue >= 0:
                self.place, self.mode, cap = place, mode, 0.3 * length
                if cap < NO_STEP_A:
                    return False
                product = self.surface.products(place.x_mc)
                continue
            self._note("refined")
            new_force = largest(self.place.forces_mc)
            if new_force < p.force_converged and math.isnan(self.rough_energy):
                self.rough_energy = self.place.energy
            cap = max(0.5 * length, LEAST_CAP_A) if new_force > 1.5 * force else min(2.0 * cap, FIRST_CAP_A)
        return False

    def _saddle_step(self, product: Product) -> Vectors:
        """Return the step up the mode and down across it that would end at the saddle of a quadratic surface."""
        mode = self._known_mode
        uphill = float(np.vdot(self.place.forces_mc, mode.vector_mc)) / max(abs(mode.eigenvalue), SETTLE_FLOOR)
        return self._across(product, mode.vector_mc, SETTLE_RADIUS_A, SETTLE_PRODUCTS) - uphill * mode.vector_mc

    def _across(self, product: Product, along_mc: Vectors, radius: float, most: int) -> Vectors:
        """Return the step downhill across a direction."""
        beside_kx = np.concatenate([self.surface.rigid_kx, along_mc.reshape(1, -1)])
        return newton_step(product, without(self.place.forces_mc, beside_kx), beside_kx, radius, most)[0]

    def _arrived(self) -> Code:
        if self._displacement(self.place) < self.parameters.push_norm:
            return Code.COLLAPSED
        return Code.SUCCESS if self.place.energy > 0 else Code.NEG

    def _direction(self, number: int) -> Vectors:
        """Return the direction of the next step: the mode, or in the first steps a mixture with the push."""
        mode_mc = self._known_mode.vector_mc
        if number >= self.parameters.nsmooth:
            return mode_mc
        share = (number + 1) / (self.parameters.nsmooth + 1)
        same_way = math.copysign(1.0, float(np.vdot(self.push_mc, mode_mc)))
        mixed_mc = (1 - share) * self.push_mc + share * same_way * mode_mc
        return mixed_mc / np.linalg.norm(mixed_mc)

    def _find_mode(self, guess_mc: Vectors, most: int) -> Product:
        """Find the lowest mode of the place; return its Hessian, for further use."""
        product = self.surface.products(self.place.x_mc)
        self.mode = lowest_mode(product, guess_mc, self.surface.rigid_kx, most, self.parameters.lanczos_rtol)
        return product

    def _given_up(self) -> Code:
        """Return why to go no further, or ``SUCCESS``."""
        if not self.place.energy < self.parameters.max_energy:  # NaN counts
            return Code.ENERGY
        too_far = self._displacement(self.place) > self.parameters.max_displacement
        return Code.DISP if too_far else Code.SUCCESS

    def _displacement(self, place: Place) -> float:
        """Return the largest displacement of an atom from the minimum, drift left out."""
        return largest(without(place.x_mc - self.surface.start_mc, self.surface.rigid_kx))

    def _note(self, stage: str) -> None:
        moved_mc = without(self.place.x_mc - self.surface.start_mc, self.surface.rigid_kx)
        eigenvalue = self.mode.eigenvalue if self.mode else math.nan
        stop = Waypoint(
            stage, float(np.linalg.norm(moved_mc)), self.place.energy, eigenvalue, largest(self.place.forces_mc)
        )
        self.path.append(stop)
