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
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from bp_distributed.attempt import Attempt, attempts_of
from bp_distributed.cluster import LOST, Fate, Pool
from bp_distributed.commit import committed
from bp_distributed.config import Budget
from bp_distributed.errors import FailureClass, TooLargeError
from bp_distributed.job import Job, Report
from bp_distributed.lock import DriverLock
from bp_distributed.plan import TaskSpec
from bp_distributed.store import HAS_RESULT, TERMINAL, Journal, State, Store, TaskState, folder_state, mark_blocked
from bp_distributed.tasks import DRAIN_FILE, STOP_FILE, SYMLINK

BACKOFF_FIRST_S, BACKOFF_CAP_S, BACKOFF_JITTER = 30.0, 3600.0, 0.2
LOCK_CHECK_S = 10.0
TICK_S = 0.5
CONFIG_ERRORS_THAT_STOP = 20
DISK_FULL_LIMIT, DISK_FULL_WINDOW_S = 3, 60.0


DECLINED_S = 1.0
"""Wait before a declined task goes out again: the worker that declined is retiring."""


class Ending(StrEnum):
    """Why a driver stopped."""

    FINISHED = "finished"
    STOPPED = "stopped"
    DRAINED = "drained"
    DISK_FULL = "disk_full"
    CONFIGURATION = "configuration"
    NO_WORKERS = "no_workers"


_UNDECIDED = frozenset({"paused", "declined", LOST})
"""Reports after which nobody knows yet what comes of the task."""

_AT_ONCE = frozenset({"worker_lost", "timeout", "out_of_memory"})
"""Causes that another worker, or a larger one, may cure at once; the second time it waits."""


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
    last = state.failures[-1] if state.failures else {"class": ""}
    if last["class"] != FailureClass.INFRASTRUCTURE or (count == 1 and last.get("cause") in _AT_ONCE):
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
    _ready: dict[str, list[tuple[int, float, str]]] = field(default_factory=dict)
    """By lane; each a heap."""
    _later: list[tuple[float, str]] = field(default_factory=list)
    _placed: dict[str, Job] = field(default_factory=dict)
    """Jobs that are ready or in flight, with their lane."""
    _attempts: dict[str, int] = field(default_factory=dict)
    """Number under which a task was last submitted."""
    _dependents: dict[str, list[str]] = field(default_factory=dict)
    _recent: deque[Report] = field(default_factory=lambda: deque(maxlen=CONFIG_ERRORS_THAT_STOP))
    _full: deque[float] = field(default_factory=lambda: deque(maxlen=DISK_FULL_LIMIT))
    _unexplained: deque[tuple[TaskSpec, Attempt]] = field(default_factory=lambda: deque(maxlen=1000))
    _refused: str = ""
    _ended: int = 0

    def conduct(self) -> Ending:
        """Run until every task is terminal, a stop is requested, or going on makes no sense.

        Raises
        ------
        SchedulerDiedError, SupersededError
            The campaign folder is sound then; another driver continues.
        """
        self._forget_old_requests()
        self._journal = Journal(self.store.root, self.lock.epoch)
        self._journal.write("start", slots=self.pool.slots, dashboard=self.pool.dashboard)
        try:
            self._line_up()
            ending = self._loop()
            self._journal.write("end", ending=ending.value, message=self.message)
        finally:
            self._journal.close()
        return ending

    def _forget_old_requests(self) -> None:
        """Clear what was asked of an earlier driver; what came since we hold the lock is meant for us."""
        ours = (self.store.root / "lock" / f"driver-{self.lock.epoch}.lock").stat().st_mtime_ns
        for name in (STOP_FILE, DRAIN_FILE):
            with suppress(FileNotFoundError):
                if (self.store.root / name).stat().st_mtime_ns < ours:
                    (self.store.root / name).unlink()

    def _loop(self) -> Ending:
        checked = time.monotonic()
        while self.in_flight or any(self._ready.values()) or self._later:
            self.on_tick(self)
            if time.monotonic() - checked > LOCK_CHECK_S:
                self.lock.check()
                checked = time.monotonic()
            if self.stop_requested or (self.store.root / STOP_FILE).exists():
                return self._drain(Ending.STOPPED)
            if ending := self._hopeless():
                return self._drain(ending)
            if (self.store.root / DRAIN_FILE).exists():
                if not self.in_flight:
                    return Ending.DRAINED
            else:
                self._wake()
                self._fill()
            demand = self._demand()
            self.pool.tend(demand)
            if reason := self.pool.hopeless(demand):
                self.message = f"{reason}; nothing is lost, 'bpd run' continues"
                return self._drain(Ending.NO_WORKERS)
            self._explain_losses()
            if not self.in_flight:
                time.sleep(TICK_S)
            for report in self.pool.wait(TICK_S) if self.in_flight else []:
                self._finish(report)
        self.on_tick(self)
        return Ending.FINISHED

    def _demand(self) -> Counter[str]:
        """Return how many jobs are ready, waiting for another try, or in flight, by lane."""
        demand = Counter({lane: len(heap) for lane, heap in self._ready.items()})
        demand.update(self._placed[key].lane for key in self.in_flight)
        demand.update(self._placed[key].lane for _, key in self._later if key in self._placed)
        return demand

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

    def _queue(self, task: TaskSpec, *, first_look: bool = False, delay: float | None = None) -> None:
        """Put a task in the line of its lane, or on the list of those that wait for another try."""
        state = self.states[task.key]
        if delay is None:
            wait = next_try(state, self._budget) if state.failures else 0.0
            if wait is None:
                self._give_up(task, state)
                return
            delay = 0.0 if first_look else wait
        try:
            job = self.pool.place(self.store.job(task, self.lock.epoch), state.causes, state.asked)
        except TooLargeError as error:
            self._give_up(task, state, str(error))
            return
        self._placed[task.key] = replace(job, priority=self._depth(task), seconds=self.seconds.get(task.key, 0.0))
        if delay:
            heapq.heappush(self._later, (time.monotonic() + delay, task.key))
        else:
            self._line(task)

    def _line(self, task: TaskSpec) -> None:
        # Later stages first, so that samples get finished; within a stage the longest first.
        entry = (-self._depth(task), -self.seconds.get(task.key, 0.0), task.key)
        heapq.heappush(self._ready.setdefault(self._placed[task.key].lane, []), entry)

    def _depth(self, task: TaskSpec) -> int:
        """Return how late a stage runs; batches are many and nothing waits for them, so they only fill what is left."""
        return -1 if task.part else self.store.plan.stages.index(task.stage)

    @cached_property
    def _budget(self) -> Budget:
        return Budget(**self.store.record["config"]["budget"])

    def _give_up(self, task: TaskSpec, state: TaskState, reason: str = "") -> None:
        last = state.failures[-1] if state.failures else {"cause": "too_large", "message": reason}
        reason = reason or f"{last['cause']}: {last['message']}"
        self.store.quarantine(task, reason, failures=len(state.failures))
        self.states[task.key] = folder_state(self.store.folder(task))
        mark_blocked(self.store.plan, self.states)
        self._journal.write("quarantine", task=task.key, cause=last["cause"])

    def _wake(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, key = heapq.heappop(self._later)
            self._line(self.store.plan.task(key))

    def _fill(self) -> None:
        """Keep each lane's window of jobs in flight, never more: Dask must not hold the campaign."""
        flying = Counter(self._placed[key].lane for key in self.in_flight)
        jobs = []
        for lane, heap in self._ready.items():
            window = self.pool.window(lane) if heap else 0
            if flying[lane] > 0.75 * window:  # short jobs travel in groups, not one by one
                continue
            while heap and flying[lane] < window:
                _, _, key = heapq.heappop(heap)
                flying[lane] += 1
                jobs.append(self._take_off(self.store.plan.task(key)))
        if jobs:
            self.pool.submit(jobs)

    def _take_off(self, task: TaskSpec) -> Job:
        known = self.states[task.key].attempts
        number = self._attempts[task.key] = 1 + max(known, self._attempts.get(task.key, 0))
        self.in_flight[task.key] = task
        job = self._placed[task.key]
        self._journal.write("submit", task=task.key, attempt=number, lane=job.lane)
        return replace(job, attempt=number)

    # ---- judging what ended -----------------------------------------------------------------------------------

    def _finish(self, report: Report) -> None:
        task = self.in_flight.pop(report.key)
        self._journal.write(
            "end_of_attempt", task=report.key, status=report.status, cause=report.cause, seconds=report.seconds
        )
        if report.status == LOST:
            self._close_lost(task)
        elif report.status == "failed":
            self._recent.append(report)
        self._ended += report.status not in _UNDECIDED
        if report.cause == "disk_full":
            self._full.append(time.monotonic())
        if report.cause == SYMLINK:
            self._refused = report.message
        state = self.states[task.key] = folder_state(self.store.folder(task))
        if state.state in HAS_RESULT:
            del self._placed[task.key]
            self._release_dependents(task)
        elif state.state not in TERMINAL and not self.stop_requested:
            self._queue(task, delay=self._delay_after(report, state))
        if report.status == "failed" and state.failures:
            self.pool.blame(_newest_claim(self.store.folder(task)), task.key, report.cause)

    def _delay_after(self, report: Report, state: TaskState) -> float | None:
        """Return how long a task waits for its next attempt, or None where its failures on disk decide."""
        if report.status == "failed" and not state.failures and report.cause != "disk_full":
            return BACKOFF_FIRST_S  # nothing could be written down; at once it would fail again
        return {"paused": 0.0, "declined": DECLINED_S}.get(report.status)

    def _close_lost(self, task: TaskSpec) -> None:
        """Close the attempt that a lost worker left open; one that never began costs nothing."""
        folder = self.store.folder(task)
        for attempt in attempts_of(folder) if committed(folder) is None else ():
            if attempt.is_open:
                claim = attempt.claim or {}
                fate = self.pool.fate(claim)
                host = claim.get("node") or claim.get("host", "unknown")
                attempt.fail(
                    FailureClass.INFRASTRUCTURE, fate.cause, fate.message, charged=fate.charged, host=host,
                    job=claim.get("job", ""),
                )  # fmt: skip
                self._unexplained.append((task, attempt))

    def _explain_losses(self) -> None:
        """Amend the records of lost attempts once the batch system says what became of their job."""
        for task, attempt in list(self._unexplained):
            fate = self.pool.fate(attempt.claim or {})
            if fate.cause == Fate.cause:
                continue
            self._unexplained.remove((task, attempt))
            attempt.explain(fate.cause, fate.message, charged=fate.charged)
            self._journal.write("explained", task=task.key, cause=fate.cause)
            if self.states[task.key].state not in TERMINAL and task.key not in self.in_flight:
                self.states[task.key] = folder_state(self.store.folder(task))

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
        if self._refused:
            self.message = self._refused
            return Ending.CONFIGURATION
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
        self.lock.check()  # a request to stop would reach the driver that took over
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


def _newest_claim(folder: Path) -> dict[str, Any]:
    attempts = attempts_of(folder)
    return (attempts[-1].claim if attempts else None) or {}
