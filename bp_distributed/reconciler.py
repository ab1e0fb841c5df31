# SPDX-License-Identifier: BSD-3-Clause
"""How many batch jobs there should be: pure decisions from what is wanted and what the batch system says.

Up at once, within the limits; down by not replacing, by withdrawing what still waits in the queue, and by
retiring what has been idle for long.  A busy worker is never touched.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bp_distributed.job_record import ENDED, PENDING, RUNNING, JobRecord

SURPLUS_PASSES = 3
"""Passes a surplus must last before waiting jobs are withdrawn."""
STILLBORN_LIMIT = 3
"""Jobs of one shape in a row that ended, or hung, without a worker: the lane is sick then."""


@dataclass(frozen=True)
class Limits:
    """What the site allows and how patient we are; times in seconds."""

    max_jobs: int
    """Over all shapes."""
    per_minute: float
    """Submissions."""
    come_up_s: float
    """A running job without a worker after this long counts as stillborn."""


@dataclass(frozen=True)
class Wanted:
    """Demand of one shape: tasks that are ready or in flight, slots per job, jobs at most."""

    tasks: int
    slots_per_job: int
    max_jobs: int

    @property
    def jobs(self) -> int:
        """Return the number of jobs that would be kept busy."""
        return min(self.max_jobs, math.ceil(self.tasks / self.slots_per_job))


@dataclass
class Decision:
    """What to do now."""

    submit: Counter[str] = field(default_factory=Counter)
    """Jobs by shape."""
    cancel: list[JobRecord] = field(default_factory=list)
    """Jobs that only wait, or in which no worker came up."""
    sick: dict[str, str] = field(default_factory=dict)
    """Shapes that get no more jobs, with the reason in one sentence."""


@dataclass
class Reconciler:
    """Remembers what one pass cannot know: how long a surplus lasts, and when jobs were submitted."""

    limits: Limits
    _surplus: Counter[str] = field(default_factory=Counter)
    _submitted: list[float] = field(default_factory=list)

    def decide(self, wanted: Mapping[str, Wanted], jobs: Iterable[JobRecord], now: float) -> Decision:
        """Return what to submit and what to cancel.

        Parameters
        ----------
        wanted : mapping
            Demand by shape.
        jobs : iterable of JobRecord
            All jobs of this driver, ended ones too.
        now : float
            Epoch seconds.
        """
        jobs = sorted(jobs, key=lambda job: job.submitted)
        decision = Decision()
        decision.cancel += [job for job in jobs if self._hangs(job, now)]
        alive = [job for job in jobs if job.state != ENDED and job not in decision.cancel]
        room = min(self.limits.max_jobs - len(alive), self._allowance(now))
        for tag in sorted({*wanted, *(job.lane for job in alive)}):
            mine = [job for job in alive if job.lane == tag]
            missing = (wanted[tag].jobs if tag in wanted else 0) - len(mine)
            if reason := self._sickness(tag, [job for job in jobs if job.lane == tag], now):
                decision.sick[tag] = reason
            elif missing > 0 and room > 0:
                decision.submit[tag] = min(missing, room)
                room -= decision.submit[tag]
            decision.cancel += self._withdrawn(tag, mine, -missing)
        self._submitted += [now] * decision.submit.total()
        return decision

    def _allowance(self, now: float) -> int:
        """Return how many submissions the rate still allows in this minute."""
        self._submitted = [time for time in self._submitted if now - time < 60]  # noqa: PLR2004 - per minute
        return max(0, math.floor(self.limits.per_minute) - len(self._submitted))

    def _hangs(self, job: JobRecord, now: float) -> bool:
        return (
            job.state == RUNNING and not job.came_up and job.started is not None
            and now - job.started > self.limits.come_up_s
        )  # fmt: skip

    def _sickness(self, tag: str, jobs: list[JobRecord], now: float) -> str:
        """Return why a shape gets no more jobs: the last ones all ended or hung without a worker."""
        over = [job for job in jobs if job.state == ENDED or self._hangs(job, now)]
        last = over[-STILLBORN_LIMIT:]
        if len(last) < STILLBORN_LIMIT or any(job.came_up or job.cause == "cancelled" for job in last):
            return ""
        if any(job.came_up for job in jobs if job.state == RUNNING):
            return ""
        nodes = ", ".join(sorted({node for job in last for node in job.nodes})) or "unknown nodes"
        return (
            f"lane {tag}: {STILLBORN_LIMIT} jobs in a row ({', '.join(job.id for job in last)}; {nodes}) ended before a "
            "worker came up; look at their logs in jobs/ and try 'bpd doctor --profile'"
        )

    def _withdrawn(self, tag: str, jobs: list[JobRecord], surplus: int) -> list[JobRecord]:
        """Return waiting jobs to cancel, the newest first, once a surplus has lasted."""
        self._surplus[tag] = self._surplus[tag] + 1 if surplus > 0 else 0
        if self._surplus[tag] < SURPLUS_PASSES:
            return []
        return [job for job in reversed(jobs) if job.state == PENDING][:surplus]
