# SPDX-License-Identifier: BSD-3-Clause
"""What the core-hours bought, stage by stage, from the records of all attempts; and what to ask for next time."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bp_distributed import durable
from bp_distributed.attempt import Attempt, attempts_of
from bp_distributed.commit import committed
from bp_distributed.config import Resources
from bp_distributed.store import Store

HOUR_S = 3600.0
GIB = 2.0**30
ENOUGH_TASKS = 3
"""Advice needs this many ended tasks of a stage."""
RESERVE = 1.25
"""Advised memory over the peak seen."""
BUSY = 0.6
"""Below this share of busy cores the advice is to ask for fewer."""
_MEMORY_STEPS_GIB = (0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass
class StageEfficiency:
    """One stage; times in s, core-hours where the name says so, memory in GiB."""

    stage: str
    cores: int
    """Given to the task of the largest peak: what the stage asks for, or what its lane has."""
    memory: float
    """As ``cores``."""
    tasks: int = 0
    """With a result."""
    median_s: float = 0.0
    longest_s: float = 0.0
    cpu_efficiency: float = 0.0
    """CPU time over wall time of all cores asked for, of the attempts that gave the results."""
    memory_peak: float = 0.0
    useful_core_hours: float = 0.0
    lost_core_hours: dict[str, float] = field(default_factory=dict)
    """By cause of the attempt that was lost."""

    @property
    def lost(self) -> float:
        """Return all core-hours lost."""
        return sum(self.lost_core_hours.values())

    @property
    def advice(self) -> str:
        """Return one sentence on what to ask for, or nothing."""
        if self.tasks < ENOUGH_TASKS:
            return ""
        asked = []
        wanted = next((step for step in _MEMORY_STEPS_GIB if step >= RESERVE * self.memory_peak), self.memory)
        if wanted <= self.memory / 2:
            asked.append(f"used {self.memory_peak:.2g} of {self.memory:g} GiB: ask for {wanted:g}")
        if self.cores > 1 and self.cpu_efficiency < BUSY:
            busy = max(1, round(self.cpu_efficiency * self.cores))
            asked.append(f"kept {self.cpu_efficiency * self.cores:.1f} of {self.cores} cores busy: ask for {busy}")
        return f"{self.stage} {', and '.join(asked)}" if asked else ""


@dataclass
class Efficiency:
    """All stages."""

    rows: list[StageEfficiency]

    @property
    def advice(self) -> list[str]:
        """Return the sentences of advice."""
        return [row.advice for row in self.rows if row.advice]

    def to_json(self) -> dict[str, Any]:
        """Return plain data, for ``bpd efficiency --json``."""
        return {"stages": [asdict(row) for row in self.rows], "advice": self.advice}


def efficiency(store: Store) -> Efficiency:
    """Return what every stage used and lost.

    Parameters
    ----------
    store : Store
    """
    return Efficiency([_stage(store, stage) for stage in store.plan.stages])


def _stage(store: Store, stage: str) -> StageEfficiency:
    asked = Resources(**store.record["config"]["resources"][stage])
    row = StageEfficiency(stage, asked.cores, asked.memory)
    walls: list[float] = []
    lost: Counter[str] = Counter()
    cpu = cores = 0.0
    for task in store.plan.tasks:
        if task.stage != stage:
            continue
        folder = store.folder(task)
        manifest = committed(folder) or {}
        for attempt in attempts_of(folder):
            if attempt.folder.name == manifest.get("attempt"):
                walls.append(manifest["seconds"])
                cpu += manifest["cpu_seconds"]
                cores += manifest["seconds"] * manifest["threads"]
                if manifest["max_rss_bytes"] / GIB > row.memory_peak:
                    row.memory_peak = manifest["max_rss_bytes"] / GIB
                    row.cores, row.memory = manifest["threads"], _memory_given(attempt) or asked.memory
            elif not attempt.is_running:
                _count(attempt, row, lost)
    row.tasks = len(walls)
    row.median_s, row.longest_s = statistics.median(walls) if walls else 0.0, max(walls, default=0.0)
    row.cpu_efficiency = cpu / cores if cores else 0.0
    row.useful_core_hours += cores / HOUR_S
    row.lost_core_hours = {cause: seconds / HOUR_S for cause, seconds in lost.most_common() if seconds}
    return row


def _memory_given(attempt: Attempt) -> float:
    """Return the memory (GiB) that an attempt was told it may use, or 0 if nobody told it."""
    try:
        return float(json.loads((attempt.folder / "request.json").read_bytes())["memory_bytes"] or 0.0) / GIB
    except (OSError, ValueError, KeyError):
        return 0.0


def _count(attempt: Attempt, row: StageEfficiency, lost: Counter[str]) -> None:
    """Add an attempt without a result: what it computed before a pause is not lost."""
    threads = int((attempt.claim or {}).get("threads", 1))
    if paused := durable.read_sealed(attempt.folder / "PAUSED.json"):
        row.useful_core_hours += float(paused.get("seconds", 0.0)) * threads / HOUR_S
        return
    failure = attempt.failure or {}
    cause = str(failure.get("cause", "duplicate"))
    lost[cause] += threads * float(failure.get("seconds", _last_sign_of_life(attempt)))  # type: ignore[assignment]


def _last_sign_of_life(attempt: Attempt) -> float:
    """Return how long an attempt without an obituary of its own worked, in s, by its last heartbeat."""
    try:
        last = (attempt.folder / "hb").stat().st_mtime
    except OSError:
        return 0.0
    return max(0.0, min(last, time.time()) - float((attempt.claim or {}).get("opened", last)))
