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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from bp_distributed.errors import FailureClass
from bp_distributed.job import Job, Report
from bp_distributed.tasks import run_job

SETTINGS = {
    "distributed.scheduler.allowed-failures": 1000,  # our budgets decide; Dask's counter blames innocents
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


_SHORT_JOB_S, _LONG_JOB_S = 0.1, 10.0
_COUNT_S = 1.0


class Pool(Protocol):
    """Where jobs run.  ``submit`` never blocks; ``wait`` gives back what ended."""

    dashboard: str

    @property
    def slots(self) -> int:
        """Return the number of jobs that run at once."""

    @property
    def window(self) -> int:
        """Return the number of jobs to keep in flight."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs off."""

    def wait(self, timeout_s: float) -> list[Report]:
        """Return reports of jobs that ended, waiting at most ``timeout_s`` for the first."""


class InlinePool:
    """No cluster at all: each job runs in this process when it is waited for."""

    slots = 1
    window = 1
    dashboard = ""

    def __init__(self) -> None:
        self._waiting: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs in line."""
        self._waiting += jobs

    def wait(self, timeout_s: float) -> list[Report]:  # noqa: ARG002 - there is nothing to wait for
        """Run the next job."""
        return [run_job(self._waiting.pop(0))] if self._waiting else []


class DaskPool:
    """Jobs as Dask futures under keys of our own, ``stage-owner-attempt``, released as soon as they end."""

    def __init__(self, client: Client, function: Callable[[Job], Report] = run_job) -> None:
        self.client, self._function = client, function
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._seconds = _LONG_JOB_S
        self._slots, self._counted = 1, float("-inf")
        self.dashboard = str(client.dashboard_link or "")

    @property
    def slots(self) -> int:
        """Return the number of tasks that can run at once; a worker being replaced does not shrink it to none."""
        if time.monotonic() - self._counted > _COUNT_S:  # it asks the scheduler, and is asked for very often
            threads: dict[str, int] = self.client.nthreads()
            self._slots, self._counted = max(1, sum(threads.values())), time.monotonic()
        return self._slots

    @property
    def window(self) -> int:
        """One job per slot and one look-ahead per slot; more only while jobs last less than the way to the scheduler."""
        return 2 * self.slots if self._seconds > _SHORT_JOB_S else 4 * self.slots + 100

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs to the scheduler, those of one priority in one message."""
        for priority, group in itertools.groupby(jobs, key=lambda job: job.priority):
            named = {f"{job.key}-{job.attempt}": job for job in group}
            self._jobs |= named
            futures = self.client.map(
                self._function, list(named.values()), key=list(named), pure=False, retries=0, priority=priority
            )
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
        """Return what Dask says of a task that gave no report; the plumbing is to blame, not the sample."""
        job = self._jobs[str(future.key)]
        error = future.exception() if future.status == "error" else future.status
        what = f"Dask gave the task up: {type(error).__name__}: {error}"
        return Report(job.key, "failed", what, FailureClass.INFRASTRUCTURE.value, "dask", attempt=job.attempt)


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
    with tempfile.TemporaryDirectory(prefix="bpd-dask-") as scratch, dask.config.set(SETTINGS):
        with (
            _interrupts_ignored()
        ):  # worker processes inherit this: Ctrl-C is for the driver, which stops them in order
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", protocol="tls://",
                security=Security.temporary(), dashboard_address="127.0.0.1:0", worker_dashboard_address=None,
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
