# SPDX-License-Identifier: BSD-3-Clause
"""Machines: configuration in, running Dask cluster out.

Dask is a disposable transport here.  It carries ids and small reports, keeps nothing we need, and is told
never to give up on a task before our own budget does.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from bp_distributed.dashboard import dashboard_settings, free_port
from bp_distributed.errors import FailureClass
from bp_distributed.job import Job, Report
from bp_distributed.tasks import run_job

SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a lost task comes back to the driver, which knows whom to blame
    "distributed.scheduler.worker-ttl": "300s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,  # children are not counted; the batch system is the limit
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


LOST = "lost"
"""Status of a report that the pool writes for a task whose worker vanished."""

_SHORT_JOB_S, _LONG_JOB_S = 0.1, 10.0
_COUNT_S = 1.0


@dataclass(frozen=True)
class Fate:
    """Why a worker vanished under a task, as far as anybody knows."""

    cause: str = "worker_lost"
    message: str = "its worker process died"
    charged: bool = True


class Pool(Protocol):
    """Where jobs run.  ``submit`` never blocks; ``wait`` gives back what ended."""

    dashboard: str

    @property
    def slots(self) -> int:
        """Return the number of jobs that run at once."""

    def place(self, job: Job, causes: Sequence[str], asked: Mapping[str, float]) -> Job:
        """Return the job with its lane and what that lane gives it.

        Parameters
        ----------
        job : Job
        causes : sequence of str
            Causes of all its failed attempts, oldest first.
        asked : mapping
            ``memory`` (GiB) and ``walltime`` (s) that a person asked for.

        Raises
        ------
        TooLargeError
            If no lane is large enough.
        """

    def window(self, lane: str) -> int:
        """Return the number of jobs of a lane to keep in flight."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs off."""

    def wait(self, timeout_s: float) -> list[Report]:
        """Return reports of jobs that ended, waiting at most ``timeout_s`` for the first."""

    def tend(self, demand: Mapping[str, int]) -> None:
        """Look after the machines; ``demand`` counts the jobs ready or in flight by lane."""

    def hopeless(self, demand: Mapping[str, int]) -> str:
        """Return why nothing of what is wanted will ever run, or nothing."""

    def fate(self, claim: Mapping[str, Any]) -> Fate:
        """Return why the worker that made this claim is gone."""

    def blame(self, claim: Mapping[str, Any], task: str, cause: str) -> None:
        """Note on which node an attempt failed."""


class _OneLane:
    """What a pool without lanes answers."""

    def place(self, job: Job, causes: Sequence[str], asked: Mapping[str, float]) -> Job:  # noqa: ARG002
        """Return the job as it is: this machine is all there is."""
        return job

    def tend(self, demand: Mapping[str, int]) -> None:
        """Do nothing."""

    def hopeless(self, demand: Mapping[str, int]) -> str:  # noqa: ARG002
        """There is always this machine."""
        return ""

    def fate(self, claim: Mapping[str, Any]) -> Fate:  # noqa: ARG002
        """Nobody knows more than that it is gone."""
        return Fate()

    def blame(self, claim: Mapping[str, Any], task: str, cause: str) -> None:
        """There is one node."""


class InlinePool(_OneLane):
    """No cluster at all: each job runs in this process when it is waited for."""

    slots = 1
    dashboard = ""

    def __init__(self) -> None:
        self._waiting: list[Job] = []

    def window(self, lane: str) -> int:  # noqa: ARG002
        """One at a time."""
        return 1

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs in line."""
        self._waiting += jobs

    def wait(self, timeout_s: float) -> list[Report]:  # noqa: ARG002 - there is nothing to wait for
        """Run the next job."""
        return [run_job(self._waiting.pop(0))] if self._waiting else []


class DaskPool(_OneLane):
    """Jobs as Dask futures under keys of our own, ``stage-owner-attempt``, released as soon as they end."""

    def __init__(self, client: Client, function: Callable[[Job], Report] = run_job) -> None:
        self.client, self._function = client, function
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._seconds = 2 * _LONG_JOB_S
        self._slots, self._counted = 1, float("-inf")
        self.dashboard = str(client.dashboard_link or "")

    @property
    def slots(self) -> int:
        """Return the number of tasks that can run at once; a worker being replaced does not shrink it to none."""
        if time.monotonic() - self._counted > _COUNT_S:  # it asks the scheduler, and is asked for very often
            threads: dict[str, int] = self.client.nthreads()
            self._slots, self._counted = max(1, sum(threads.values())), time.monotonic()
        return self._slots

    def window(self, lane: str) -> int:  # noqa: ARG002 - there is one
        """Return jobs for one lane; see ``_window``."""
        return self._window(self.slots)

    def _window(self, slots: int) -> int:
        """One job per slot; one to follow at once while jobs are short; many where they outlast not even their way.

        What is sent cannot be taken back: two long jobs on one worker would wait while another is idle.
        """
        if self._seconds > _LONG_JOB_S:
            return slots
        return 2 * slots if self._seconds > _SHORT_JOB_S else 4 * slots + 100

    def _resources(self, lane: str) -> dict[str, int]:
        return {f"lane-{lane}": 1} if lane else {}

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs to the scheduler, those of one priority and lane in one message."""
        for (priority, lane), group in itertools.groupby(jobs, key=lambda job: (job.priority, job.lane)):
            named = {f"{job.key}-{job.attempt}": job for job in group}
            self._jobs |= named
            futures = self.client.map(
                self._function, list(named.values()), key=list(named), pure=False, retries=0, priority=priority,
                resources=self._resources(lane),
            )  # fmt: skip
            for future in futures:
                future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that have come in, fetched in one message."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        sound = [future for future in ended if future.status == "finished"]
        reports: list[Report] = self.client.gather(sound, errors="skip") if sound else []
        missing = {str(future.key) for future in ended} - {f"{r.key}-{r.attempt}" for r in reports}
        reports += [self._lost(future) for future in ended if str(future.key) in missing]
        for future, report in zip(ended, reports, strict=True):
            del self._jobs[str(future.key)]
            future.release()
            self._seconds += 0.1 * (report.seconds - self._seconds)
        return reports

    def _lost(self, future: Any) -> Report:
        """Return the report of a task that gave none; ``fate`` and the open attempt on disk tell what happened."""
        job = self._jobs[str(future.key)]
        error = future.exception() if future.status == "error" else future.status
        what = f"Dask gave the task up: {type(error).__name__}: {error}"
        return Report(job.key, LOST, what, FailureClass.INFRASTRUCTURE.value, "worker_lost", attempt=job.attempt)


@contextmanager
def local_pool(workers: int, function: Callable[[Job], Report] = run_job) -> Iterator[DaskPool]:
    """Start Dask workers on this machine, one task each, behind TLS on the loopback interface.

    Parameters
    ----------
    workers : int
        Number of worker processes.
    function : callable
        What a worker does with a job.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    port = free_port()
    settings = SETTINGS | dashboard_settings(port)
    with tempfile.TemporaryDirectory(prefix="bpd-dask-") as scratch, dask.config.set(settings):
        with (
            _interrupts_ignored()
        ):  # worker processes inherit this: Ctrl-C is for the driver, which stops them in order
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", protocol="tls://",
                security=Security.temporary(), dashboard_address=f"127.0.0.1:{port}", worker_dashboard_address=None,
                memory_limit=0, local_directory=scratch, silence_logs=logging.CRITICAL,
            )  # fmt: skip
        with cluster, Client(cluster) as client:
            yield DaskPool(client, function)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may touch handlers
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def default_workers() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
