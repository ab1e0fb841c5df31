# SPDX-License-Identifier: BSD-3-Clause
"""What a step gives back, at its end or when its time is up, and how it says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason

Arrays = Mapping[str, NDArray[Any]]
Progress = Callable[[float, float, str], None]
"""``progress(done, total, note)``; cheap to call often."""


def silent(done: float, total: float, note: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Outcome:
    """Arrays of a finished step, by the names of ``units.VARIABLES``.

    ``rejected`` is set when the numbers are sound but the sample failed a scientific criterion; the
    arrays are stored all the same, and ``evidence`` holds criterion, value and threshold.
    """

    arrays: Mapping[str, NDArray[Any] | np.generic | float]
    rejected: Reason | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """What a step gives back that stopped at a checkpoint because no further slice ends before the deadline."""

    done: int
    total: int
    """Steps."""
    slices: int
    """Slices run by this attempt; 0 if not even one would have ended in time."""
