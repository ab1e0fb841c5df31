# SPDX-License-Identifier: BSD-3-Clause
"""Melt, quench and relax: from an fcc lattice to an inherent structure, in slices that survive a kill.

Every run is cut at fixed steps.  Each cut rebuilds the neighbour lists, so a trajectory depends on where it
was cut, and a run resumed at a cut equals an uninterrupted one bit for bit (same program, same ranks).  A run with
a deadline stops at the last cut that comes before it, for another attempt to go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics import checkpoint
from bp_distributed.physics.lammps_session import Session, read_thermo
from bp_distributed.physics.minimise import minimise
from bp_distributed.physics.outcome import Arrays, Outcome, Pause, Progress
from bp_distributed.physics.pace import MINIMISATION_STEPS, Pace
from bp_distributed.units import G_CM3_PER_AMU_A3, GPA_PER_BAR

START_TEMPERATURE_K = 10.0
LATTICE_CONSTANT_A = {"Cu": 3.64, "Zr": 4.53, "Al": 4.05, "Ni": 3.52, "Fe": 3.65, "Ag": 4.09, "Au": 4.08}
"""fcc start only; the barostat finds the density within picoseconds."""
FALLBACK_LATTICE_CONSTANT_A = 4.0
MELTED_MSD_A2 = 9.0
"""A liquid has moved a neighbour distance; a hot crystal stays below a tenth of that."""
LARGEST_ASPECT = 1.6
_WATCH_S = 1.0
_RAW = "raw_"
"""Records under this prefix go back into LAMMPS on resuming."""
_PACE = "seconds_per_step"


# ---- slices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """A stretch with a linear temperature program, from step ``first`` to ``last``."""

    first: int
    last: int
    start_K: float
    stop_K: float
    branch: int | None = None
    """A configuration is recorded, or judged, at its end under this number."""

    def cuts(self, every: int) -> list[int]:
        """Return the steps at which slices end."""
        return [*range(self.first + every, self.last, every), self.last]


@dataclass(frozen=True)
class Dynamics:
    """Numbers of the integrator (T: 2 fs, Nosé-Hoover, Parrinello-Rahman at zero pressure; ``none``: fixed cell)."""

    timestep_ps: float
    barostat: str
    thermostat_ps: float
    barostat_ps: float
    checkpoint_steps: int
    history_steps: int

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Dynamics:
        """Read them from a request."""
        if request["barostat"] not in {"aniso", "iso", "tri", "none"}:
            raise ValueError(f"barostat {request['barostat']!r}")
        return cls(
            request["timestep_fs"] * 1e-3, request["barostat"], request["thermostat_ps"], request["barostat_ps"],
            int(request["checkpoint_steps"]), int(request["history_steps"]),
        )  # fmt: skip


class Trajectory:
    """Runs segments slice by slice, checkpointing after each, and keeps what was recorded.

    Parameters
    ----------
    session : Session
    dynamics : Dynamics
    segments : sequence of Segment
    records : dict of str to ndarray
        What a resumed run starts with; ``history`` is kept here.
    pace : Pace
        Tells when to stop.
    """

    def __init__(
        self,
        session: Session,
        dynamics: Dynamics,
        segments: Sequence[Segment],
        records: dict[str, NDArray[Any]],
        pace: Pace,
    ) -> None:
        self.session, self.dynamics, self.segments, self.records = session, dynamics, segments, records
        self.pace = pace
        self.turn = 0
        """Number of the next checkpoint."""

    @classmethod
    def open(
        cls, request: Mapping[str, Any], dynamics: Dynamics, segments: Sequence[Segment], workdir: Path
    ) -> tuple[Self, int]:
        """Return a trajectory at its newest checkpoint, or an empty one, and the step it stands at."""
        session = Session(workdir, tuple(request["elements"]), request["potential_file"])
        folders = [workdir, *(Path(name) for name in request.get("resume_from", ()))]
        found = checkpoint.newest(folders, _facts(session))
        if found is None:
            return cls(session, dynamics, segments, {}, Pace(request)), 0
        session.resume(checkpoint.copy_aside(found, workdir))
        for name in [name for name in found.records if name.startswith(_RAW)]:
            session.overwrite(name.removeprefix(_RAW), found.records.pop(name))
        pace = Pace(request, float(found.records[_PACE]))
        trajectory = cls(session, dynamics, segments, dict(found.records), pace)
        trajectory.turn = checkpoint.NAMES.index(found.name) + 1  # the one resumed from is the last to be overwritten
        return trajectory, found.step

    @property
    def total(self) -> int:
        """Last step."""
        return self.segments[-1].last

    def prepare(self) -> None:
        """Set the time step and what is recorded; neither lies in a restart."""
        self.session.command("timestep", self.dynamics.timestep_ps)
        self.session.record(self.dynamics.history_steps)

    def run(self, start: int, at_cut: Callable[[Segment, int], None], progress: Progress) -> Pause | None:
        """Run from step ``start`` (0 or a cut) to the end, or to the last cut for which there is time.

        ``at_cut`` is called before each checkpoint.
        """
        self.prepare()
        with _watched_log(self.total, progress):
            for number, segment in enumerate(self.segments):
                if segment.last <= start:
                    continue
                # The name of the fix is the segment's: its thermostat state is picked up on resuming inside
                # the segment, and never carried into the next.
                name = f"npt{number}"
                self.thermostat(name, segment)
                for cut in segment.cuts(self.dynamics.checkpoint_steps):
                    if cut > max(start, self.session.step):
                        length = cut - self.session.step
                        if not self.pace.fits(length):
                            return self.pause()
                        with self.pace.slice(length):
                            self.advance(segment, length)
                        at_cut(segment, cut)
                        self._checkpoint()
                self.session.command("unfix", name)
        return None

    def advance(self, segment: Segment, length: int) -> None:
        """Run one slice."""
        self.session.command("run", length, "start", segment.first, "stop", segment.last)

    def pause(self) -> Pause:
        """Return how far it came."""
        return Pause(self.session.step, self.total, self.pace.slices)

    def thermostat(self, name: str, segment: Segment) -> None:
        """Couple a segment to its temperature program, at zero pressure unless its cell is fixed.

        The fixed point of the breathing cell is stated: LAMMPS's default, the centre of the cell of the moment, is
        rounded anew when a run is resumed, and the continuation would no longer be exact.
        """
        d = self.dynamics
        if d.barostat == "none":
            self.session.command("fix", name, "all", "nvt", "temp", segment.start_K, segment.stop_K, d.thermostat_ps)
            return
        # Without "flip" the lattice vectors stay the same ones, and displacements can be told.
        tilt = ("flip", "no") if d.barostat == "tri" else ()
        self.session.command(
            "fix", name, "all", "npt", "temp", segment.start_K, segment.stop_K, d.thermostat_ps,
            d.barostat, 0.0, 0.0, d.barostat_ps, "fixedpoint", 0.0, 0.0, 0.0, *tilt,
        )  # fmt: skip

    def history(self) -> NDArray[np.float64]:
        """Return the rows recorded so far, those before a resumption included; shape=(rows, 5)."""
        earlier = self.records.get("history", np.empty((0, 5)))
        later = self.session.history()
        last = earlier[-1, 0] if len(earlier) else -1.0
        return np.concatenate([earlier, later[later[:, 0] > last]])

    def _checkpoint(self) -> None:
        folder = Path()
        checkpoint.withdraw(folder, self.turn)
        self.session.command("write_restart", f"{checkpoint.restart_name(self.turn)}.restart")
        records = {**self.records, "history": self.history(), _PACE: np.array(self.pace.seconds_per_step)}
        if (
            self.dynamics.barostat == "tri"
        ):  # reading a restart takes a tilted cell's atoms to reduced coordinates and back
            records |= {_RAW + "x": self.session.raw_positions_ic, _RAW + "v": self.session.velocities_ic}
        checkpoint.save(folder, self.turn, self.session.step, records, _facts(self.session))
        self.turn += 1


def _facts(session: Session) -> dict[str, Any]:
    """Return what must agree for an exact continuation."""
    return {"lammps": session.version, "ranks": 1, "elements": list(session.elements)}


@contextmanager
def _watched_log(total: int, progress: Progress) -> Iterator[None]:
    """Report the step the log stands at while LAMMPS runs; slices must not be cut for it."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_WATCH_S):
            rows = read_thermo(_tail(Path("log.lammps")))
            if len(rows):
                progress(float(rows[-1, 0]), float(total), f"{rows[-1, 1]:.0f} K")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tail(path: Path, size: int = 4000) -> str:
    """Return the last lines of the log, under a header of their own so that they read as rows."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return "Step Temp\n" + file.read().decode("utf-8", "replace").partition("\n")[2]
    except OSError:
        return ""


# ---- melt -------------------------------------------------------------------------------------------------------------


def melt_step(
    request: Mapping[str, Any],
    inputs: Arrays,  # noqa: ARG001
    workdir: Path,
    progress: Progress,
) -> Outcome | Pause:
    """Heat an fcc crystal of random species, hold the melt, and record start configurations (T, section II A).

    Raises
    ------
    ScienceError
        ``not_melted`` if the crystal survived, ``cell_distorted`` if the barostat let the box run away.
    """
    dynamics = Dynamics.of(request)
    segments = melt_segments(request, dynamics)
    trajectory, start = Trajectory.open(request, dynamics, segments, workdir)
    session = trajectory.session
    if start == 0:
        positions_ic, cell_cc, species_i = fcc_start(request)
        session.load(positions_ic, cell_cc, species_i, triclinic=dynamics.barostat == "tri")
        session.command("velocity", "all", "create", START_TEMPERATURE_K, int(request["seed"]), "mom", "yes")
        trajectory.records["reduced_start"] = positions_ic @ np.linalg.inv(cell_cc)

    def at_cut(segment: Segment, cut: int) -> None:
        _check_cell(session.cell_cc)
        if segment.branch is not None and cut == segment.last:
            _record_branch(trajectory, segment.branch)

    if pause := trajectory.run(start, at_cut, progress):
        return pause
    records, count = trajectory.records, int(request["branches"])
    msd_b = np.array([records[f"msd{b}"] for b in range(count)])
    if msd_b[0] < MELTED_MSD_A2:
        raise ScienceError(
            Reason.NOT_MELTED, f"mean square displacement {msd_b[0]:.1f} Å² < {MELTED_MSD_A2} Å²: heat longer"
        )
    arrays = {
        "branch_position": np.array([records[f"position{b}"] for b in range(count)]),
        "branch_velocity": np.array([records[f"velocity{b}"] for b in range(count)]),
        "branch_cell": np.array([records[f"cell{b}"] for b in range(count)]),
        "species": session.species_i.astype(np.int8),
        "mean_square_displacement": msd_b,
        **_history_arrays(trajectory),
    }
    return Outcome(arrays, facts={"steps": trajectory.total, "lammps": session.version})


def melt_segments(request: Mapping[str, Any], dynamics: Dynamics) -> list[Segment]:
    """Return heating, holding, and one stretch to each further branch."""
    temperature = float(request["temperature_K"])
    heating, hold, spacing = (
        max(1, round(request[name] / dynamics.timestep_ps)) for name in ("heating_ps", "hold_ps", "branch_spacing_ps")
    )
    segments = [
        Segment(0, heating, START_TEMPERATURE_K, temperature),
        Segment(heating, heating + hold, temperature, temperature, branch=0),
    ]
    for branch in range(1, int(request["branches"])):
        first = segments[-1].last
        segments.append(Segment(first, first + spacing, temperature, temperature, branch=branch))
    return segments


def fcc_start(request: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return an fcc cube with exact composition and species in random places.

    Returns
    -------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_cc : ndarray, shape=(3, 3), Å
    species_i : ndarray, shape=(n_atoms,)
    """
    n_atoms = int(request["n_atoms"])
    edge = round((n_atoms / 4) ** (1 / 3))
    if 4 * edge**3 != n_atoms:
        raise ValueError(f"n_atoms {n_atoms} is not 4 k³")
    composition = request["composition"]
    cubes = [f * LATTICE_CONSTANT_A.get(e, FALLBACK_LATTICE_CONSTANT_A) ** 3 for e, f in composition.items()]
    constant = sum(cubes) ** (1 / 3)
    corners = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions_ic = (corners + basis).reshape(-1, 3) * constant
    species_i = np.repeat(np.arange(len(request["elements"])), species_counts(request))
    np.random.default_rng(int(request["seed"])).shuffle(species_i)
    return positions_ic, np.eye(3) * constant * edge, species_i


def species_counts(request: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return atoms per element that sum to ``n_atoms``: rounded down, the largest remainders rounded up."""
    n_atoms = int(request["n_atoms"])
    exact = np.array([request["composition"].get(e, 0.0) * n_atoms for e in request["elements"]])
    counts = np.floor(exact + 1e-9).astype(np.int64)
    for index in np.argsort(counts - exact, kind="stable")[: n_atoms - counts.sum()]:
        counts[index] += 1
    return counts


def _record_branch(trajectory: Trajectory, branch: int) -> None:
    session, records = trajectory.session, trajectory.records
    # Displacements in reduced coordinates, so that the breathing of the cell does not count.
    moved = session.unwrapped_ic @ np.linalg.inv(session.cell_cc) - records["reduced_start"]
    moved_ic = (moved - moved.mean(axis=0)) @ session.cell_cc
    records[f"position{branch}"] = session.positions_ic
    records[f"velocity{branch}"] = session.velocities_ic
    records[f"cell{branch}"] = session.cell_cc
    records[f"msd{branch}"] = np.array((moved_ic**2).sum(axis=1).mean())


def _check_cell(cell_cc: NDArray[np.float64]) -> None:
    edges = np.linalg.norm(cell_cc, axis=1)
    if edges.max() > LARGEST_ASPECT * edges.min():
        text = " x ".join(f"{edge:.1f}" for edge in edges)
        what = f"the cell became {text} Å; a liquid resists no shear, so use 'barostat: iso' for small or long melts"
        raise ScienceError(Reason.CELL_DISTORTED, what)


# ---- quench -----------------------------------------------------------------------------------------------------------


def quench_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome | Pause:
    """Cool a start configuration at a constant rate and minimise it to an inherent structure at zero pressure."""
    dynamics = Dynamics.of(request)
    segments = [quench_segment(request, dynamics)]
    trajectory, start = Trajectory.open(request, dynamics, segments, workdir)
    session = trajectory.session
    if start == 0:
        session.load(
            inputs["position"], inputs["cell"], inputs["species"], inputs["velocity"],
            triclinic=dynamics.barostat == "tri",
        )  # fmt: skip
    pause = trajectory.run(start, lambda segment, cut: _check_cell(session.cell_cc), progress)  # noqa: ARG005
    if pause or not trajectory.pace.fits(MINIMISATION_STEPS):
        return pause or trajectory.pause()
    history = _history_arrays(trajectory)
    progress(trajectory.total, trajectory.total, "minimising")
    cell_mode = "tri" if dynamics.barostat == "tri" else "aniso"
    rounds = minimise(
        session,
        float(request["force_tolerance"]),
        cell_mode,
        report=lambda note: progress(trajectory.total, trajectory.total, note),
    )
    facts = {"steps": trajectory.total, "minimiser_rounds": rounds, "lammps": session.version, "resumed_at": start}
    return Outcome({**inherent_arrays(session), **history}, facts=facts)


def quench_segment(request: Mapping[str, Any], dynamics: Dynamics) -> Segment:
    """Return the ramp: its length makes the rate exact to one part in the number of steps."""
    start, final = float(request["start_temperature_K"]), float(request["final_temperature_K"])
    rate_K_per_ps = float(request["cooling_rate_K_per_s"]) * 1e-12
    steps = max(1, round((start - final) / (rate_K_per_ps * dynamics.timestep_ps)))
    return Segment(0, steps, start, final)


def _history_arrays(trajectory: Trajectory) -> dict[str, NDArray[Any]]:
    """Return the thermodynamic history per atom, shape=(rows,) each."""
    step, temperature, energy, volume, pressure = trajectory.history().T
    n_atoms = len(trajectory.session.species_i)
    return {
        "history_time": step * trajectory.dynamics.timestep_ps,
        "history_temperature": temperature,
        "history_energy": energy / n_atoms,
        "history_volume": volume / n_atoms,
        "history_pressure": pressure * GPA_PER_BAR,
    }


# ---- inherent structures ----------------------------------------------------------------------------------------------


def relax_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:
    """Minimise a given configuration, at its own cell or (``relax_cell``) to zero pressure."""
    session = Session(workdir, tuple(request["elements"]), request["potential_file"])
    session.load(inputs["position"], inputs["cell"], inputs["species"])
    session.record(100)
    progress(0, 1, "minimising")
    tilted = np.abs(np.tril(session.cell_cc, -1)).max() > 0
    mode = ("tri" if tilted else "aniso") if request["relax_cell"] else ""
    rounds = minimise(session, float(request["force_tolerance"]), mode)
    return Outcome(inherent_arrays(session), facts={"minimiser_rounds": rounds, "lammps": session.version})


def inherent_arrays(session: Session) -> dict[str, Any]:
    """Return the minimised configuration and its scalars, by the names of ``units.VARIABLES``."""
    cell_cc, species_i = session.cell_cc, session.species_i
    mass = float(session.masses_e()[species_i].sum())
    arrays = {
        "position": session.positions_ic,
        "cell": cell_cc,
        "species": species_i.astype(np.int8),
        "energy": session.energy,
        "max_force": float(np.abs(session.forces_ic).max()),
        "pressure": session.pressure,
        "density": mass / abs(np.linalg.det(cell_cc)) * G_CM3_PER_AMU_A3,
    }
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise ScienceError(Reason.NOT_FINITE, "the minimised configuration holds numbers that are not finite")
    return arrays


def dry_run_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:  # noqa: ARG001
    """Check that LAMMPS, the potential and its elements work: two atoms, no step."""
    session = Session(workdir, tuple(request["elements"]), request["potential_file"])
    species_i = np.array([0, len(request["elements"]) - 1])
    session.load(np.array([[1.0, 1.0, 1.0], [3.5, 1.0, 1.0]]), np.eye(3) * 20.0, species_i)
    session.command("run", 0)
    return Outcome({}, facts={"energy_eV": session.energy, "lammps": session.version})
