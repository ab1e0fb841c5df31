# SPDX-License-Identifier: BSD-3-Clause
"""Whether the next slice of a trajectory should begin.

Not when it would end after the deadline, judged by the slice before it, of this attempt or an earlier one, and not when
the campaign is drained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SAFETY = 1.3
"""A slice may take this much longer than the one before it."""

MINIMISATION_STEPS = 1500
"""Force evaluations that a minimisation takes, as a number of MD steps (28 s for 4000 atoms)."""


class Pace:
    """How fast the slices of a trajectory run, and how long they may go on.

    Parameters
    ----------
    request : mapping
        ``deadline``, in seconds of this machine's clock, may be absent: there is none then.  ``fresh`` tells that no
        other worker would offer more time: the first slice is then run whatever is expected of it.  A file named
        ``drain_file`` asks to stop after a slice.
    seconds_per_step : float
        Of an earlier attempt; 0 if unknown.
    """

    def __init__(self, request: Mapping[str, Any], seconds_per_step: float = 0.0) -> None:
        self._deadline = float(request.get("deadline", math.inf))
        self._fresh = bool(request.get("fresh", False))
        self._drain_file = request.get("drain_file")
        self.seconds_per_step = seconds_per_step
        self.slices = 0
        """Slices of this attempt."""

    def fits(self, steps: int) -> bool:
        """Tell whether to begin so many steps now."""
        if self._fresh and self.slices == 0:
            return True
        if self.slices and self._drain_file and Path(self._drain_file).exists():
            return False
        return time.time() + SAFETY * self.seconds_per_step * steps < self._deadline

    @contextmanager
    def slice(self, steps: int) -> Iterator[None]:
        """Time a slice of so many steps."""
        started = time.monotonic()
        yield
        self.seconds_per_step = (time.monotonic() - started) / steps
        self.slices += 1
