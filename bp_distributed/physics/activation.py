# SPDX-License-Identifier: BSD-3-Clause
"""Activation energies of atoms: many searches from each, every saddle judged and compared with the atom's others.

The result of a search depends on the sample, the atom, the number of the trial and the seed, and on nothing else: not
on the batch it is part of, nor on what was searched before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.artn import Code, Search, SearchParameters, push_direction, search, settle
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.descent import largest, without
from bp_distributed.physics.outcome import Arrays, Outcome, Progress, silent
from bp_distributed.physics.potential import read_potential
from bp_distributed.physics.region import Landscape, Region
from bp_distributed.physics.saddle import Ends, explore

SAME_ENERGY, SAME_DISPLACEMENT = 1e-3, 0.1
"""eV and Å (of one atom): saddles of one atom nearer than this are one."""

STAGE_RADIUS_A, STAGE_FORCE, LARGEST_STAGE = 17.0, 0.02, 0.8
"""Å, eV/Å: a saddle is first settled this roughly with so much free, if that is a part of all that may move: as a share
of its radius, a half of its atoms."""

STILL = 1e-4
"""eV/Å: the largest force in what passes for a minimum."""


@dataclass(frozen=True)
class Event:
    """A search, and what is known of the saddle it found.

    Attributes
    ----------
    code : Code
    search : Search
        In the active region, with all else held.
    saddle : Search or None
        The same saddle with its surroundings free, whose energies count; None without a saddle.
    ends : Ends or None
        Its index and its two sides, in the active region.
    region, surroundings : Region
        The atoms that move in ``search`` and in ``saddle``.
    evaluations, n_products : int
        Spent in the active region.
    """

    code: Code
    search: Search
    saddle: Search | None
    ends: Ends | None
    region: Region
    surroundings: Region | None
    evaluations: int
    n_products: int

    @property
    def energy(self) -> float:
        """Activation energy where the forces meet the paper's criterion, eV; in the active region at a shoulder."""
        return self.saddle.energy if self.saddle else self.search.energy

    @property
    def refined_energy(self) -> float:
        """Activation energy at the saddle, eV; NaN without one."""
        return self.saddle.refined_energy if self.saddle else math.nan

    @property
    def moved_mc(self) -> NDArray[np.float64]:
        """Displacements of the region's atoms from minimum to saddle, shape=(n_mobile, 3), Å."""
        return without(self.search.saddle_mc - self.region.start_mc, self.region.rigid_kx)

    def connected(self, parameters: SearchParameters) -> int:
        """Return 1 if an end of the saddle is the starting minimum, 0 if not, -1 if that is unknown."""
        return -1 if self.ends is None else _is_start(self.ends, parameters)


def _is_start(ends: Ends, parameters: SearchParameters) -> int:
    energy, displacement = abs(ends.energy_e[0]), ends.displacement_e[0]
    return int(energy < parameters.connected_energy and displacement < parameters.connected_displacement)


def find_event(
    landscape: Landscape, centre: int, trial: int, seed: int, parameters: SearchParameters | None = None
) -> Event:
    """Search once from an atom and judge the saddle.

    Parameters
    ----------
    landscape : Landscape
        The sample at a minimum of its energy.
    centre : int
        The atom.
    trial, seed : int
        With the atom they fix the random push.
    parameters : SearchParameters, optional

    Returns
    -------
    Event
    """
    parameters = parameters or SearchParameters()
    region = landscape.region(centre, parameters.active_radius)
    distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
    push_mc = push_direction(distance_m, parameters, np.random.default_rng([seed, centre, trial]))
    code, saddle, ends, surroundings = Code.DISP, None, None, None
    found = Search(code, math.nan, math.nan, region.start_mc, None, [], 0, 0)
    with suppress(ScienceError):  # an atom left the region's surroundings
        found = search(region, push_mc, parameters)
        code = found.code
        if code is Code.SUCCESS and found.mode is not None:
            surroundings, saddle = _set_free(landscape, region, found, parameters)
            if saddle.code is Code.SUCCESS:
                ends = explore(region, found.saddle_mc, found.mode, parameters.push_over)
            else:
                code, saddle = Code.RELAXED_AWAY, None
    return Event(code, found, saddle, ends, region, surroundings, region.evaluations, region.n_products)


def _set_free(
    landscape: Landscape, region: Region, found: Search, parameters: SearchParameters
) -> tuple[Region, Search]:
    """Settle a saddle with its surroundings free: roughly in a part of them first, where most that are none are lost."""
    atoms, evaluations, n_products = min(landscape.n_atoms, parameters.outer_atoms), 0, 0
    volume = abs(np.linalg.det(landscape.cell_cc)) * atoms / landscape.n_atoms
    outer = max(parameters.active_radius, float(np.cbrt(0.75 / np.pi * volume)))
    stages = [(outer if atoms < landscape.n_atoms else None, parameters.force_refined)]
    if parameters.active_radius < STAGE_RADIUS_A < LARGEST_STAGE * outer:
        stages.insert(0, (STAGE_RADIUS_A, STAGE_FORCE))
    for radius, force in stages:
        wider = landscape.region(int(region.atoms_m[region.centre]), radius)
        rough = replace(parameters, force_refined=force)
        region, found = wider, settle(wider, *_carried(region, found, wider), rough)
        evaluations, n_products = evaluations + wider.evaluations, n_products + wider.n_products
        if found.code is not Code.SUCCESS:
            break
    return region, replace(found, evaluations=evaluations, n_products=n_products)


def _carried(region: Region, found: Search, into: Region) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return place and mode of a saddle in a larger region."""
    order_m = np.argsort(into.atoms_m)
    place_m = order_m[np.searchsorted(into.atoms_m, region.atoms_m, sorter=order_m)]
    x_mc, mode_mc = into.start_mc.copy(), np.zeros_like(into.start_mc)
    x_mc[place_m] += found.saddle_mc - region.start_mc
    if found.mode is not None:
        mode_mc[place_m] = found.mode.vector_mc
    return x_mc, mode_mc


def in_whole_sample(landscape: Landscape, event: Event, parameters: SearchParameters) -> tuple[float, int]:
    """Return what is left of an event when every atom of the sample may move.

    Parameters
    ----------
    landscape : Landscape
        That the event was found in.
    event : Event
        With a saddle.
    parameters : SearchParameters

    Returns
    -------
    error : float, eV
        The barrier stated minus the barrier in the whole sample; NaN if the saddle is lost.
    connected : int
        1 if an end is the starting minimum there, 0 if not, -1 if the saddle is lost.
    """
    if event.saddle is None or event.surroundings is None:
        return math.nan, -1
    whole = landscape.region(int(event.region.atoms_m[event.region.centre]), None)
    saddle = settle(whole, *_carried(event.surroundings, event.saddle, whole), parameters)
    if saddle.code is not Code.SUCCESS or saddle.mode is None:
        return math.nan, -1
    ends = explore(whole, saddle.saddle_mc, saddle.mode, parameters.push_over)
    return event.refined_energy - saddle.refined_energy, _is_start(ends, parameters)


def activation_step(
    request: Mapping[str, Any],
    inputs: Arrays,
    workdir: Path,
    progress: Progress = silent,
) -> Outcome:
    """Search from some atoms of an inherent structure until each has its number of saddles.

    Parameters
    ----------
    request : mapping
        ``potential_file`` and ``elements``; ``atoms``: indices; ``events_per_atom`` saddles end an atom, ``max_trials``
        searches too; ``seed``; ``boundary_stride``: about one in so many saddles is relaxed with all atoms free, 0 for
        none; the fields of ``SearchParameters``.
    inputs : mapping
        ``position`` (n_atoms, 3) and ``cell`` (3, 3) in Å, ``species`` (n_atoms,).
    workdir : Path
        Where the potential file lies; the current directory.
    progress : callable
        Told atom by atom.

    Returns
    -------
    Outcome
        The variables listed under "activation" in ``units.VARIABLES``.

    Raises
    ------
    ScienceError
        ``NOT_CONVERGED`` if the structure is not a minimum.
    """
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    positions_ic, cell_cc = (np.asarray(inputs[name], dtype=np.float64) for name in ("position", "cell"))
    given = Configuration(positions_ic, cell_cc, np.asarray(inputs["species"], dtype=np.int64), potential.elements)
    landscape = Landscape(given, potential)
    atoms = [int(atom) for atom in request["atoms"]]
    _check_minimum(landscape, atoms[0])
    parameters = SearchParameters(**{f.name: request[f.name] for f in fields(SearchParameters) if f.name in request})
    table = _Table(atoms, int(request["max_trials"]))
    started, stride = time.process_time(), int(request["boundary_stride"])
    for done, atom in enumerate(atoms):
        found: list[tuple[int, Event]] = []
        for trial in range(table.max_trials):
            progress(done + trial / table.max_trials, len(atoms), f"{table.n_saddles} saddles")
            event = find_event(landscape, atom, trial, int(request["seed"]), parameters)
            table.enter(done, trial, event, parameters, found)
            if event.code is Code.SUCCESS:
                found.append((trial, event))
                if stride and (atom * table.max_trials + trial) % stride == 0:
                    table.check(done, trial, in_whole_sample(landscape, event, parameters))
            if len(found) == int(request["events_per_atom"]):
                break
    progress(len(atoms), len(atoms), f"{table.n_saddles} saddles")
    return Outcome(table.arrays, facts=table.facts | {"search_seconds": time.process_time() - started})


def _check_minimum(landscape: Landscape, atom: int) -> None:
    """Raise if the structure is no minimum: what is found from it would mean nothing."""
    whole = landscape.region(atom, None)
    force = largest(whole.evaluate(whole.start_mc)[1])
    if force > STILL:
        what = f"the structure is no minimum: the largest force is {force:.1e} eV/Å, allowed are {STILL:.0e}"
        raise ScienceError(Reason.NOT_CONVERGED, what)


_ENERGIES = ("activation_energy", "refined_activation_energy", "saddle_eigenvalue", "saddle_displacement",
             "region_error", "boundary_error")  # fmt: skip
_FLAGS = {"search_code": np.int8, "saddle_index": np.int8, "saddle_connected": np.int8, "boundary_connected": np.int8,
          "saddle_first_trial": np.int16}  # fmt: skip
_COUNTS = ("force_evaluations", "hessian_products")


class _Table:
    """The arrays of a batch, filled search by search."""

    def __init__(self, atoms: list[int], max_trials: int) -> None:
        self.max_trials, shape = max_trials, (len(atoms), max_trials)
        self.arrays: dict[str, NDArray[Any]] = {"searched_atom": np.array(atoms, dtype=np.int32)}
        self.arrays |= {name: np.full(shape, np.nan) for name in _ENERGIES}
        self.arrays |= {name: np.full((*shape, 2), np.nan) for name in ("end_energy", "end_displacement")}
        self.arrays |= {name: np.full(shape, -1, dtype=kind) for name, kind in _FLAGS.items()}
        self.arrays |= {name: np.zeros(shape, dtype=np.int32) for name in _COUNTS}

    def enter(
        self, row: int, trial: int, event: Event, parameters: SearchParameters, earlier: list[tuple[int, Event]]
    ) -> None:
        """Enter one search; ``earlier`` are the saddles of the atom so far, by trial."""
        values: dict[str, Any] = {
            "search_code": event.code,
            "activation_energy": event.energy,
            "force_evaluations": event.evaluations,
            "hessian_products": event.n_products,
        }
        if event.saddle is not None and event.saddle.mode is not None and event.ends is not None:
            values |= {
                "refined_activation_energy": event.refined_energy,
                "region_error": event.search.refined_energy - event.refined_energy,
                "saddle_eigenvalue": event.saddle.mode.eigenvalue,
                "saddle_displacement": largest(event.moved_mc),
                "saddle_index": event.ends.index,
                "saddle_connected": event.connected(parameters),
                "saddle_first_trial": next((t for t, other in earlier if _same(event, other)), trial),
                "end_energy": event.ends.energy_e,
                "end_displacement": event.ends.displacement_e,
                "force_evaluations": event.evaluations + event.saddle.evaluations,
                "hessian_products": event.n_products + event.saddle.n_products,
            }
        for name, value in values.items():
            self.arrays[name][row, trial] = value

    def check(self, row: int, trial: int, found: tuple[float, int]) -> None:
        """Enter what the whole sample says of a saddle."""
        self.arrays["boundary_error"][row, trial], self.arrays["boundary_connected"][row, trial] = found

    @property
    def n_saddles(self) -> int:
        """Searches that succeeded."""
        return int((self.arrays["search_code"] == Code.SUCCESS).sum())

    @property
    def facts(self) -> dict[str, Any]:
        """What the status of a campaign adds up."""
        code = self.arrays["search_code"]
        return {
            "searches": int((code != Code.NOT_TRIED).sum()),
            "successes": self.n_saddles,
            "connected": int((self.arrays["saddle_connected"] == 1).sum()),
            "energy_sum_eV": float(np.nansum(self.arrays["activation_energy"][code == Code.SUCCESS])),
        }


def _same(event: Event, other: Event) -> bool:
    near = abs(event.refined_energy - other.refined_energy) < SAME_ENERGY
    return near and largest(event.moved_mc - other.moved_mc) < SAME_DISPLACEMENT
