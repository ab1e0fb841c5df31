# SPDX-License-Identifier: BSD-3-Clause
"""The conductor: keeps a bounded window of jobs in flight until every task has ended.

It holds nothing that matters.  Whatever it knows can be read again from the campaign folder, so it may
be killed at any moment; the next one carries on.
"""

from __future__ import annotations

import heapq
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from bp_distributed.attempt import attempts_of
from bp_distributed.cluster import Pool
from bp_distributed.config import Budget
from bp_distributed.errors import FailureClass
from bp_distributed.job import Report
from bp_distributed.lock import DriverLock
from bp_distributed.plan import TaskSpec
from bp_distributed.store import HAS_RESULT, TERMINAL, Journal, State, Store, TaskState, folder_state, mark_blocked
from bp_distributed.tasks import STOP_FILE

BACKOFF_FIRST_S, BACKOFF_CAP_S, BACKOFF_JITTER = 30.0, 3600.0, 0.2
LOCK_CHECK_S = 10.0
TICK_S = 0.5
CONFIG_ERRORS_THAT_STOP = 20
DISK_FULL_LIMIT, DISK_FULL_WINDOW_S = 3, 60.0


class Ending(StrEnum):
    """Why a driver stopped."""

    FINISHED = "finished"
    STOPPED = "stopped"
    DISK_FULL = "disk_full"
    CONFIGURATION = "configuration"


def next_try(state: TaskState, budget: Budget) -> float | None:
    """Decide what happens to a task that has failed: seconds to wait before the next try, or None to give up.

    Infrastructure failures are tried again with growing delays, a sample's own failures as often as its
    budget says and at once, configuration errors never (``reliability.md``, section 4).
    """
    if state.charged(FailureClass.CONFIGURATION):
        return None
    if state.charged(FailureClass.SAMPLE) > budget.sample_retries:
        return None
    count = state.charged(FailureClass.INFRASTRUCTURE)
    if count > budget.infrastructure_retries:
        return None
    last = state.failures[-1]["class"] if state.failures else ""
    if last != FailureClass.INFRASTRUCTURE:
        return 0.0
    delay = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** (count - 1))
    return delay * random.uniform(1 - BACKOFF_JITTER, 1 + BACKOFF_JITTER)  # noqa: S311 - jitter, not a secret


@dataclass
class Driver:
    """One driving session of a campaign.

    Parameters
    ----------
    store : Store
    pool : Pool
        Where jobs run.
    lock : DriverLock
        Held by us.
    seconds : mapping
        Expected core-seconds by task key: the longest of a stage start first.
    bytes_needed : float
        Free disk space below which nothing is started.
    """

    store: Store
    pool: Pool
    lock: DriverLock
    seconds: Mapping[str, float]
    bytes_needed: float = 0.0
    on_tick: Callable[[Driver], None] = lambda driver: None  # noqa: ARG005 - a place for a display
    stop_requested: bool = False
    states: dict[str, TaskState] = field(default_factory=dict)
    in_flight: dict[str, TaskSpec] = field(default_factory=dict)
    message: str = ""
    _ready: list[tuple[int, float, str]] = field(default_factory=list)
    _later: list[tuple[float, str]] = field(default_factory=list)
    _dependents: dict[str, list[str]] = field(default_factory=dict)
    _recent: deque[Report] = field(default_factory=lambda: deque(maxlen=CONFIG_ERRORS_THAT_STOP))
    _full: deque[float] = field(default_factory=lambda: deque(maxlen=DISK_FULL_LIMIT))
    _ended: int = 0

    def conduct(self) -> Ending:
        """Run until every task is terminal, a stop is requested, or going on makes no sense."""
        (self.store.root / STOP_FILE).unlink(missing_ok=True)
        self._journal = Journal(self.store.root, self.lock.epoch)
        self._journal.write("start", slots=self.pool.slots, dashboard=self.pool.dashboard)
        self._line_up()
        ending = self._loop()
        self._journal.write("end", ending=ending.value, message=self.message)
        return ending

    def _loop(self) -> Ending:
        checked = time.monotonic()
        while self.in_flight or self._ready or self._later:
            self.on_tick(self)
            if time.monotonic() - checked > LOCK_CHECK_S:
                self.lock.check()
                checked = time.monotonic()
            if self.stop_requested or (self.store.root / STOP_FILE).exists():
                return self._drain(Ending.STOPPED)
            if ending := self._hopeless():
                return self._drain(ending)
            self._wake()
            self._fill()
            if not self.in_flight:
                time.sleep(TICK_S)
            for report in self.pool.wait(TICK_S) if self.in_flight else []:
                self._finish(report)
        self.on_tick(self)
        return Ending.FINISHED

    # ---- choosing work ----------------------------------------------------------------------------------------

    def _line_up(self) -> None:
        """Read every state once; afterwards only what ends is read again."""
        self.states = self.store.states()
        for task in self.store.plan.tasks:
            for need in task.needs:
                self._dependents.setdefault(need, []).append(task.key)
        for task in self.store.plan.tasks:
            state = self.states[task.key].state
            # A task left running by a dead driver is taken up again; its attempt is closed when it is.
            if state in {State.READY, State.RUNNING, State.FAILED}:
                self._queue(task, first_look=True)

    def _queue(self, task: TaskSpec, *, first_look: bool = False) -> None:
        state = self.states[task.key]
        delay = next_try(state, self._budget) if state.failures else 0.0
        if delay is None:
            self._give_up(task, state)
        elif delay and not first_look:
            heapq.heappush(self._later, (time.monotonic() + delay, task.key))
        else:
            # Later stages first, so that samples get finished; within a stage the longest first.
            heapq.heappush(self._ready, (-self._depth(task), -self.seconds.get(task.key, 0.0), task.key))

    def _depth(self, task: TaskSpec) -> int:
        return self.store.plan.stages.index(task.stage)

    @cached_property
    def _budget(self) -> Budget:
        return Budget(**self.store.record["config"]["budget"])

    def _give_up(self, task: TaskSpec, state: TaskState) -> None:
        last = state.failures[-1]
        self.store.quarantine(task, f"{last['cause']}: {last['message']}", failures=len(state.failures))
        self.states[task.key] = folder_state(self.store.folder(task))
        mark_blocked(self.store.plan, self.states)
        self._journal.write("quarantine", task=task.key, cause=last["cause"])

    def _wake(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, key = heapq.heappop(self._later)
            self._queue(self.store.plan.task(key), first_look=True)

    def _fill(self) -> None:
        """Keep the pool's window of jobs in flight, never more: Dask must not hold the campaign."""
        window = self.pool.window
        if len(self.in_flight) > 0.75 * window:  # short jobs travel in groups, not one by one
            return
        jobs = []
        while self._ready and len(self.in_flight) < window:
            _, _, key = heapq.heappop(self._ready)
            task = self.store.plan.task(key)
            number = 1 + len(attempts_of(self.store.folder(task)))
            self.in_flight[key] = task
            self._journal.write("submit", task=key, attempt=number)
            job = self.store.job(task, self.lock.epoch)
            jobs.append(replace(job, attempt=number, priority=self._depth(task)))
        if jobs:
            self.pool.submit(jobs)

    # ---- judging what ended -----------------------------------------------------------------------------------

    def _finish(self, report: Report) -> None:
        task = self.in_flight.pop(report.key)
        self._journal.write(
            "end_of_attempt", task=report.key, status=report.status, cause=report.cause, seconds=report.seconds
        )
        self._recent.append(report)
        self._ended += 1
        if report.cause == "disk_full":
            self._full.append(time.monotonic())
        state = self.states[task.key] = folder_state(self.store.folder(task))
        if state.state in HAS_RESULT:
            self._release_dependents(task)
        elif state.state not in TERMINAL and not self.stop_requested:
            self._queue(task)

    def _release_dependents(self, task: TaskSpec) -> None:
        for key in self._dependents.get(task.key, ()):
            dependent = self.store.plan.task(key)
            if self.states[key].state is not State.WAITING:
                continue
            if all(self.states[need].state in HAS_RESULT for need in dependent.needs):
                self.states[key] = folder_state(self.store.folder(dependent))
                if self.states[key].state not in TERMINAL:
                    self._queue(dependent, first_look=True)

    def _hopeless(self) -> Ending | None:
        """Tell whether going on would only burn attempts."""
        errors = {report.message for report in self._recent if report.failure_class == FailureClass.CONFIGURATION}
        full_house = self._ended == len(self._recent) == CONFIG_ERRORS_THAT_STOP
        if len(errors) == 1 and full_house and all(r.failure_class == FailureClass.CONFIGURATION for r in self._recent):
            self.message = f"the first {CONFIG_ERRORS_THAT_STOP} attempts all failed alike: {errors.pop()}"
            return Ending.CONFIGURATION
        free = shutil.disk_usage(self.store.root).free
        often = len(self._full) == DISK_FULL_LIMIT and self._full[-1] - self._full[0] < DISK_FULL_WINDOW_S
        if free < self.bytes_needed or often:
            self.message = (
                f"paused: {free / 2**20:.0f} MiB free on {self.store.root}, {self.bytes_needed / 2**20:.0f} MiB wanted "
                "before more work starts; make room and run 'bpd run' again, nothing is lost"
            )
            return Ending.DISK_FULL
        return None

    def _drain(self, ending: Ending) -> Ending:
        """End what runs (its checkpoints stay) and collect the last reports."""
        self.stop_requested = True
        with suppress(OSError):  # on a full disk the steps end with the pool
            (self.store.root / STOP_FILE).touch(mode=0o600)
        deadline = time.monotonic() + 30.0
        while self.in_flight and time.monotonic() < deadline:
            for report in self.pool.wait(TICK_S):
                self._finish(report)
            self.on_tick(self)
        (self.store.root / STOP_FILE).unlink(missing_ok=True)
        return ending
