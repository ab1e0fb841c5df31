# SPDX-License-Identifier: BSD-3-Clause
"""What travels between the driver and a worker: one job there, one report back, plain data both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """One task as it travels to a worker: plain data only, so that any transport can carry it."""

    key: str
    stage: str
    root: str
    folder: str
    request: dict[str, Any]
    potential: str
    """Campaign-relative path of the potential."""
    source: str = ""
    """Campaign-relative path of what the step starts from: a task folder or a structure file."""
    epoch: int = 0
    attempt: int = 1
    """Number of the attempt, or more where one was submitted and never began; part of its Dask key."""
    priority: int = 0
    """Larger goes first."""
    deadline_s: float = 86400.0
    seconds: float = 0.0
    """Expected core-seconds; 0 if unknown."""
    walltime_s: float | None = None
    """What a fresh worker of its lane has from start to deadline; None without a batch system."""
    lane: str = ""
    """Tag of the lane and shape it runs in; empty where there are no lanes."""
    threads: int = 1
    memory_bytes: float | None = None
    """What the step may use; None if nobody said."""
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What came of a job, small enough to travel back."""

    key: str
    status: str
    """``done``, ``rejected``, ``failed`` or ``duplicate``; ``paused`` at a checkpoint or ``declined`` before it began,
    because the worker's time is nearly up."""
    message: str = ""
    failure_class: str = ""
    cause: str = ""
    charged: bool = True
    seconds: float = 0.0
    attempt: int = 1
    """Of the job it answers."""
