# SPDX-License-Identifier: BSD-3-Clause
"""The end of a batch job's time, and whether a task should still begin before it.

The prologue of the job script writes it down (``reliability.md``, section 10).  Where nobody did there is no end.
"""

from __future__ import annotations

import math
import os
import time

from bp_distributed.job import Job

VARIABLE = "BPD_DEADLINE"
"""By when work must have ended, in seconds of this node's clock."""

PAUSABLE = frozenset({"melt", "quench", "temperatures", "trajectory"})
"""Stages that stop at a checkpoint in time: they may begin wherever there is room for a slice."""

SHORTEST_S = 5.0
"""Below this nothing begins: starting a step and reading its checkpoint takes that long."""

SAFETY = 1.2
"""A task may take this much longer than expected."""

START_UP_S = 120.0
"""A worker counts as fresh for this long after its job began, or for a tenth of the walltime if that is longer.

Hundreds of workers may import Python from one file system at once.
"""

_CLOSING_S = 10.0
"""What a worker needs at the very end: to end a step, report, and leave."""


def end() -> float:
    """Return by when work must have ended, in seconds of this node's clock; infinite without a batch system."""
    return float(os.environ.get(VARIABLE, "inf"))


def left_s() -> float:
    """Return the seconds until then."""
    return end() - time.time()


def patience_s(job: Job) -> float:
    """Return the seconds after which a job's step is ended: its own limit, or late in the margin after the deadline."""
    margin = 0.0 if job.walltime_s is None else job.deadline_s - job.walltime_s
    return min(job.deadline_s, left_s() + max(0.0, margin - _CLOSING_S))


def is_fresh(job: Job) -> bool:
    """Tell whether no other worker of the lane would offer noticeably more time than this one."""
    return left_s() >= _fresh_s(job)


def too_late(job: Job) -> str:
    """Return why a job should not begin here, or nothing.

    A job that is expected to outlast a whole worker begins on a fresh one all the same: the expectation may be wrong.
    """
    left = left_s()
    expected = 0.0 if job.stage in PAUSABLE else SAFETY * job.seconds / job.threads
    needed = min(max(SHORTEST_S, expected), _fresh_s(job))
    if left > 0 and left >= needed:
        return ""
    return f"{max(0.0, left):.0f} s are left to this worker, {needed:.0f} s are needed"


def _fresh_s(job: Job) -> float:
    whole = math.inf if job.walltime_s is None else job.walltime_s
    return whole if math.isinf(whole) else whole - max(0.1 * whole, min(START_UP_S, 0.5 * whole))
