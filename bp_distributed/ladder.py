# SPDX-License-Identifier: BSD-3-Clause
"""What the next attempt of a task gets: more memory only after it ran out of memory, more time only after a timeout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bp_distributed.errors import TooLargeError
from bp_distributed.profile import Lane, Shape, seconds_of

OUT_OF_MEMORY, TIMEOUT = "out_of_memory", "timeout"


def next_shape(lane: Lane, causes: Sequence[str], asked: Mapping[str, float]) -> Shape:
    """Return the step of a lane's ladder for the next attempt.

    Parameters
    ----------
    lane : Lane
    causes : sequence of str
        Causes of all failed attempts, forgiven ones too.
    asked : mapping
        ``memory`` (GiB) and ``walltime`` (s) that a person asked for, if any.

    Raises
    ------
    TooLargeError
        If the last attempt already had the top and it was not enough, or more than the top is asked for.
    """
    top_memory = lane.max_memory or lane.memory
    top_walltime_s = seconds_of(lane.max_walltime) if lane.max_walltime else lane.walltime_s
    memory = _factor(
        lane, "memory", lane.memory, top_memory, causes.count(OUT_OF_MEMORY), asked.get("memory", 0.0), "GiB"
    )
    walltime = _factor(
        lane, "walltime", lane.walltime_s, top_walltime_s, causes.count(TIMEOUT), asked.get("walltime", 0.0), "s"
    )
    return Shape(lane.name, memory, walltime)


def _factor(lane: Lane, what: str, has: float, top: float, strikes: int, asked: float, unit: str) -> int:
    if strikes and has * 2.0 ** (strikes - 1) >= top:
        raise TooLargeError(f"needs more {what} than the {top:g} {unit} of lane {lane.name}; raise its max_{what}")
    if asked > top:
        raise TooLargeError(
            f"{asked:g} {unit} of {what} is more than the {top:g} of lane {lane.name}; raise its max_{what}"
        )
    steps = max(strikes, math.ceil(math.log2(asked / has)) if asked > has else 0)
    return int(2**steps)
