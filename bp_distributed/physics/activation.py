# SPDX-License-Identifier: BSD-3-Clause
"""Activation energies of atoms: many searches from each, every saddle judged and compared with the atom's others.

The result of a search depends on the sample, the atom, the number of the trial and the seed, and on nothing else: not
on the batch it is part of, nor on what was searched before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
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

STILL = 1e-4
"""eV/Å: the largest force in what passes for a minimum."""


@dataclass(frozen=True)
class Event:
    """A search, and what is known of the saddle it found.

    Attributes
    ----------
    search : Search
    ends : Ends or None
        None without a saddle.
    boundary_error : float, eV
        Barrier in the active region minus that in the whole sample; NaN unless it was measured.
    displacement : float, Å
        Largest displacement of an atom from minimum to saddle.
    moved_mc : ndarray, shape=(n_mobile, 3), Å
        Displacements.
    region : Region
        The atoms that moved.
    evaluations, n_products : int
        What search and judgement cost, the boundary's check left out.
    """

    search: Search
    ends: Ends | None
    boundary_error: float
    displacement: float
    moved_mc: NDArray[np.float64]
    region: Region
    evaluations: int
    n_products: int

    def connected(self, parameters: SearchParameters) -> int:
        """Return 1 if an end of the saddle is the starting minimum, 0 if not, -1 if that is unknown."""
        if self.ends is None:
            return -1
        energy, displacement = abs(self.ends.energy_e[0]), self.ends.displacement_e[0]
        return int(energy < parameters.connected_energy and displacement < parameters.connected_displacement)


def find_event(
    landscape: Landscape,
    centre: int,
    trial: int,
    seed: int,
    parameters: SearchParameters | None = None,
    *,
    check_boundary: bool = False,
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
    check_boundary : bool
        Relax the saddle again with all atoms free.

    Returns
    -------
    Event
    """
    parameters = parameters or SearchParameters()
    region = landscape.region(centre, parameters.active_radius)
    distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
    push_mc = push_direction(distance_m, parameters, np.random.default_rng([seed, centre, trial]))
    ends, error = None, math.nan
    try:
        found = search(region, push_mc, parameters)
        if found.code is Code.SUCCESS and found.mode is not None:
            ends = explore(region, found.saddle_mc, found.mode, parameters.push_over)
    except ScienceError:  # an atom left the region's surroundings
        found = Search(Code.DISP, math.nan, math.nan, region.start_mc, None, [], region.evaluations, region.n_products)
    spent = region.evaluations, region.n_products
    if ends is not None and check_boundary:
        error = boundary_error(landscape, region, found, parameters)
    moved_mc = without(found.saddle_mc - region.start_mc, region.rigid_kx)
    return Event(found, ends, error, largest(moved_mc), moved_mc, region, *spent)


def boundary_error(landscape: Landscape, region: Region, found: Search, parameters: SearchParameters) -> float:
    """Return the barrier in a region minus that of the same saddle with all atoms free, eV; NaN if it is lost."""
    if found.mode is None:
        return math.nan
    whole = landscape.region(int(region.atoms_m[region.centre]), None)
    place_m = np.argsort(whole.atoms_m)[region.atoms_m]
    x_mc, guess_mc = whole.start_mc.copy(), np.zeros_like(whole.start_mc)
    x_mc[place_m] += found.saddle_mc - region.start_mc
    guess_mc[place_m] = found.mode.vector_mc
    return found.refined_energy - settle(whole, x_mc, guess_mc, parameters)


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
            check = bool(stride) and (atom * table.max_trials + trial) % stride == 0
            event = find_event(landscape, atom, trial, int(request["seed"]), parameters, check_boundary=check)
            table.enter(done, trial, event, parameters, found)
            if event.ends is not None:
                found.append((trial, event))
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
             "boundary_error")  # fmt: skip
_FLAGS = {"search_code": np.int8, "saddle_index": np.int8, "saddle_connected": np.int8, "saddle_first_trial": np.int16}
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
        found = event.search
        values: dict[str, Any] = {
            "search_code": found.code,
            "activation_energy": found.energy,
            "saddle_connected": event.connected(parameters),
            "force_evaluations": event.evaluations,
            "hessian_products": event.n_products,
        }
        if event.ends is not None and found.mode is not None:
            values |= {
                "refined_activation_energy": found.refined_energy,
                "saddle_eigenvalue": found.mode.eigenvalue,
                "saddle_displacement": event.displacement,
                "saddle_index": event.ends.index,
                "saddle_first_trial": next((t for t, other in earlier if _same(event, other)), trial),
                "end_energy": event.ends.energy_e,
                "end_displacement": event.ends.displacement_e,
                "boundary_error": event.boundary_error,
            }
        for name, value in values.items():
            self.arrays[name][row, trial] = value

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
    near = abs(event.search.refined_energy - other.search.refined_energy) < SAME_ENERGY
    return near and largest(event.moved_mc - other.moved_mc) < SAME_DISPLACEMENT
