# SPDX-License-Identifier: BSD-3-Clause
"""How fast is this machine?  A short real run of each expensive kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg

from bp_distributed.physics.lammps_session import Session
from bp_distributed.physics.outcome import Arrays, Outcome, Progress
from bp_distributed.physics.pace import Pace
from bp_distributed.physics.quench import Dynamics, Segment, Trajectory, fcc_start
from bp_distributed.physics.structure import structure_step

EDGE = 5
WARM_UP_STEPS, BLOCK_STEPS = 200, 100
EIGEN_SIZE = 900
DYNAMICS = Dynamics(0.002, "iso", 0.1, 1.0, 10**9, 10**6)


def calibrate_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:  # noqa: ARG001
    """Time molecular dynamics, a dense diagonalisation and pair distributions for about ``request["seconds"]``."""
    session = Session(workdir, tuple(request["elements"]), request["potential_file"])
    composition = {element: 1 / len(session.elements) for element in session.elements}
    start = fcc_start({**request, "n_atoms": 4 * EDGE**3, "composition": composition, "seed": 1})
    session.load(*start)
    session.command("velocity", "all", "create", 4000.0, 1)
    facts = {
        "md_seconds_per_atom_step": _md(session, float(request["seconds"])),
        "eigh_seconds_per_n3": _eigh(),
        "pdf_seconds_per_atom": _pdf(session, request, workdir),
    }
    return Outcome({}, facts=facts)


def _md(session: Session, seconds: float) -> float:
    """Return seconds per atom-step of hot NPT dynamics, neighbour lists included."""
    steps = WARM_UP_STEPS
    segment = Segment(0, 10**9, 2000.0, 2000.0)
    trajectory = Trajectory(session, DYNAMICS, [segment], {}, Pace({}))
    trajectory.prepare()
    trajectory.thermostat("npt0", segment)
    session.command("run", WARM_UP_STEPS)
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        session.command("run", BLOCK_STEPS)
        steps += BLOCK_STEPS
    return (time.perf_counter() - started) / ((steps - WARM_UP_STEPS) * len(session.species_i))


def _eigh() -> float:
    matrix = np.random.default_rng(1).normal(size=(EIGEN_SIZE, EIGEN_SIZE))
    started = time.perf_counter()
    scipy.linalg.eigh(matrix + matrix.T, driver="evr", overwrite_a=True)
    return (time.perf_counter() - started) / EIGEN_SIZE**3


def _pdf(session: Session, request: Mapping[str, Any], workdir: Path) -> float:
    inputs = {"position": session.positions_ic, "cell": session.cell_cc, "species": session.species_i}
    asked = {**request, "r_max": 12.0, "bin_width": 0.1, "gaussian_sigma": 0.2, "atomic_cutoff": 12.0, "atomic": True}
    started = time.perf_counter()
    structure_step(asked, inputs, workdir, lambda done, total, note: None)  # noqa: ARG005
    return (time.perf_counter() - started) / len(session.species_i)
