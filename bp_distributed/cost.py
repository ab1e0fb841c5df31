# SPDX-License-Identifier: BSD-3-Clause
"""What a plan will cost: core-hours and bytes per stage, from how fast this machine was in a short run.

Molecular dynamics is linear in atoms and steps, dense diagonalisation cubic in the degrees of freedom.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.physics.pace import MINIMISATION_STEPS
from bp_distributed.plan import SECONDS_PER_SADDLE, MeltSpec, Plan, TaskSpec

TYPICAL = {"md_seconds_per_atom_step": 2.7e-6, "eigh_seconds_per_n3": 2.3e-10, "pdf_seconds_per_atom": 5e-4}
"""Used where this machine was not measured: one core of a 2-core virtual machine of 2026.

``eigh`` is a whole diagonalisation, vectors included, of a matrix of 900 rows, as the calibration measures it.
"""

START_S = 1.0
"""Starting a child process and writing its result."""

_LOW_VECTORS_ONLY = 0.5
"""Share of a whole diagonalisation when few vectors are wanted and the matrix is large (measured at n = 12,000)."""

_LOW_MODES_S, _LOW_MODES_N, _LOW_MODES_POWER = 37.0, 12_000, 2.3
"""Core-seconds of low modes by products and all that follows, on the machine of ``TYPICAL``.

Measured at n = 12,000 (18 s on two cores) and 58,956 (715 s).
"""

_LOW_SHARE, _LOW_SHARE_CUT = 0.06, 10.0
"""Share of modes below 10 rad/ps (727 of 12,000); it grows as the cube of the cut."""

_OTHER_VIBRATION_S_PER_ATOM = 1.6e-3
"""Assembly, elastic constants and atomic quantities."""

_WHOLE_EVALUATIONS = 60
"""Evaluations of the forces on all atoms that check one saddle of an active region."""

_FRAME_EVALUATIONS = 6
"""Evaluations of the forces, as LAMMPS does them in a run, that judging one frame of a trajectory takes."""

_FRAME_BYTES, _THERMAL_BINS = 14.0, 200.0
"""Per atom and frame, single precision, compressed; and bins of a density of states over all frequencies."""

_SADDLE_BYTES = 75.0
"""Of one successful search, compressed (measured: 104.6 kB for 30 atoms of 20 saddles, 59.2 kB for one)."""

_EMPTY_RESULT_BYTES = {
    "melt": 37_000, "quench": 26_000, "relax": 10_000, "structure": 20_000, "vibration": 42_000, "gruneisen": 20_000,
    "temperatures": 60_000, "trajectory": 25_000, "activation": 58_000,
}  # fmt: skip
"""netCDF's own share, which is larger than the numbers of a small sample."""


@dataclass(frozen=True)
class CostRow:
    """One stage."""

    stage: str
    tasks: int
    core_hours: float
    storage_bytes: float


@dataclass(frozen=True)
class CostTable:
    """All stages, and what they were computed with."""

    rows: tuple[CostRow, ...]
    calibration: dict[str, Any]

    @property
    def core_hours(self) -> float:
        """Return the total."""
        return sum(row.core_hours for row in self.rows)


def estimate(plan: Plan, calibration: Mapping[str, Any]) -> CostTable:
    """Return the expected cost of a plan, stage by stage.

    Parameters
    ----------
    plan : Plan
    calibration : mapping
        ``md_seconds_per_atom_step`` (s), ``eigh_seconds_per_n3`` (s), ``pdf_seconds_per_atom`` (s).
    """
    hours = dict.fromkeys(plan.stages, 0.0)
    storage = dict.fromkeys(plan.stages, 0.0)
    count = dict.fromkeys(plan.stages, 0)
    for task in plan.tasks:
        hours[task.stage] += task_seconds(plan, task, calibration) / 3600
        storage[task.stage] += task_bytes(plan, task)
        count[task.stage] += 1
    rows = tuple(CostRow(stage, count[stage], hours[stage], storage[stage]) for stage in plan.stages)
    return CostTable(rows, dict(calibration))


def task_seconds(plan: Plan, task: TaskSpec, calibration: Mapping[str, Any] | None = None) -> float:
    """Return the expected core-seconds of one task."""
    rates = {**TYPICAL, **(calibration or {})}
    n_atoms = plan.spec(task.owner).n_atoms
    match task.stage:
        case "melt" | "quench":
            steps = md_steps(plan, task) + (MINIMISATION_STEPS if task.stage == "quench" else 0)
            work = steps * n_atoms * rates["md_seconds_per_atom_step"]
        case "relax":
            work = _minimisation_seconds(n_atoms, rates)
        case "structure":
            work = n_atoms * rates["pdf_seconds_per_atom"]
        case "vibration":
            work = _modes_seconds(n_atoms, task.request, rates) + _OTHER_VIBRATION_S_PER_ATOM * n_atoms
        case "temperatures":
            every = _minimisation_seconds(n_atoms, rates) + _OTHER_VIBRATION_S_PER_ATOM * n_atoms
            every += _modes_seconds(n_atoms, {**task.request, "all_vectors_below_atoms": 0}, rates)
            md = md_steps(plan, task) * n_atoms * rates["md_seconds_per_atom_step"]
            work = md + len(task.request["series_K"]) * every
        case "trajectory":
            evaluations = _FRAME_EVALUATIONS * _frames(task) + MINIMISATION_STEPS
            work = (md_steps(plan, task) + evaluations) * n_atoms * rates["md_seconds_per_atom_step"]
        case "activation":
            work = _search_seconds(n_atoms, task, rates)
        case _:  # modes at three volumes
            work = 3 * (_minimisation_seconds(n_atoms, rates) + _modes_seconds(n_atoms, task.request, rates))
    return START_S + float(work)


def _minimisation_seconds(n_atoms: int, rates: Mapping[str, Any]) -> float:
    return float(MINIMISATION_STEPS * n_atoms * rates["md_seconds_per_atom_step"])


def _search_seconds(n_atoms: int, task: TaskSpec, rates: Mapping[str, Any]) -> float:
    """Return core-seconds: saddles of active regions, whatever the sample's size, and checks in the whole sample."""
    saddles = len(task.atoms) * int(task.request["events_per_atom"])
    slower = rates["md_seconds_per_atom_step"] / TYPICAL["md_seconds_per_atom_step"]
    stride = int(task.request["boundary_stride"])
    checked = saddles / stride if stride else 0.0
    whole = _WHOLE_EVALUATIONS * n_atoms * rates["md_seconds_per_atom_step"]
    return float(saddles * SECONDS_PER_SADDLE * slower + checked * whole)


def _modes_seconds(n_atoms: int, request: Mapping[str, Any], rates: Mapping[str, Any]) -> float:
    """Return core-seconds: by LAPACK where all modes are wanted, else by products, fitted to two sizes."""
    whole = rates["eigh_seconds_per_n3"] * (3 * n_atoms) ** 3
    if n_atoms <= request["all_vectors_below_atoms"]:
        return float(whole)
    if request["solver"] == "lapack":
        return float(_LOW_VECTORS_ONLY * whole)
    slower = rates["eigh_seconds_per_n3"] / TYPICAL["eigh_seconds_per_n3"]
    return float(slower * _LOW_MODES_S * (3 * n_atoms / _LOW_MODES_N) ** _LOW_MODES_POWER)


def md_steps(plan: Plan, task: TaskSpec) -> int:
    """Return the number of time steps of a stage of molecular dynamics."""
    request = task.request
    step_ps = request["timestep_fs"] * 1e-3
    if task.stage == "melt":
        spec = plan.spec(task.owner)
        branches = spec.branches if isinstance(spec, MeltSpec) else 1
        duration = request["heating_ps"] + request["hold_ps"] + (branches - 1) * request["branch_spacing_ps"]
    elif task.stage == "temperatures":
        duration = len(request["series_K"]) * (request["heating_ps"] + request["relaxation_ps"])
    elif task.stage == "trajectory":
        duration = request["heating_ps"] + request["equilibration_ps"] + request["duration_ps"]
    else:
        span = request["start_temperature_K"] - request["final_temperature_K"]
        duration = span / request["cooling_rate_K_per_s"] * 1e12
    return math.ceil(float(duration) / float(step_ps))


def task_bytes(plan: Plan, task: TaskSpec) -> float:
    """Return the expected size of one committed result on disk, in bytes."""
    n_atoms, request = plan.spec(task.owner).n_atoms, task.request
    match task.stage:
        case "melt":
            numbers = 48.0 * n_atoms * int(request["branches"]) + _history_bytes(plan, task)
        case "quench":
            numbers = 24.0 * n_atoms + _history_bytes(plan, task)
        case "relax":
            numbers = 24.0 * n_atoms
        case "structure":
            bins = float(request["r_max"]) / float(request["bin_width"])
            # Three of four bytes stay: the atomic functions are zero below the first shell.
            numbers = 3.0 * n_atoms * bins * len(request["elements"]) if request["atomic"] else 0.0
        case "vibration":
            bins = float(request["omega_cut"]) / float(request["bin_width"])
            numbers = n_atoms * (24.0 + 0.72 * (16.0 + 4.0 * bins))
            if request["store_vectors"] == "float32":
                numbers += 12.0 * n_atoms * _low_modes(n_atoms, float(request["omega_cut"]))
        case "temperatures":
            bins = float(request["omega_cut"]) / float(request["bin_width"]) + _THERMAL_BINS
            numbers = 8.0 * bins * len(request["series_K"])
        case "trajectory":
            numbers = n_atoms * (_FRAME_BYTES * _frames(task) + 70.0)
        case "activation":
            numbers = _SADDLE_BYTES * len(task.atoms) * int(request["events_per_atom"])
        case _:
            every = n_atoms <= request["all_vectors_below_atoms"]
            modes = 3.0 * n_atoms if every else _low_modes(n_atoms, float(request["omega_cut"]))
            numbers = 32.0 * modes + (16.0 if every else 8.0) * n_atoms
    return numbers + _EMPTY_RESULT_BYTES[task.stage]


def _frames(task: TaskSpec) -> float:
    return float(task.request["duration_ps"]) / float(task.request["sampling_ps"])


def _low_modes(n_atoms: int, omega_cut: float) -> float:
    return 3.0 * n_atoms * min(1.0, _LOW_SHARE * (omega_cut / _LOW_SHARE_CUT) ** 3)


def _history_bytes(plan: Plan, task: TaskSpec) -> float:
    return 40.0 * md_steps(plan, task) / int(task.request["history_steps"])


def _cache(potential_sha256: str, host: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "bp_distributed" / f"calibration-{host}-{potential_sha256[:12]}.json"


def load_calibration(potential_sha256: str, host: str) -> dict[str, Any] | None:
    """Return how fast this host was with this potential, or None if it was not measured."""
    try:
        content = json.loads(_cache(potential_sha256, host).read_bytes())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home folder
        return None
    return content if isinstance(content, dict) and all(_is_speed(content.get(name)) for name in TYPICAL) else None


def _is_speed(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def save_calibration(potential_sha256: str, host: str, facts: Mapping[str, Any]) -> None:
    """Remember a calibration; a cache that cannot be written costs only time."""
    try:
        path = _cache(potential_sha256, host)
        durable.make_private_dir(path.parent)
        durable.replace_json(path, {**TYPICAL, **facts})
    except (OSError, RuntimeError):
        return
