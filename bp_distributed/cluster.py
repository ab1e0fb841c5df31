# SPDX-License-Identifier: BSD-3-Clause
"""Machines: configuration in, running Dask cluster out.

Dask is a disposable transport here.  It carries ids and small reports, keeps nothing we need, and is told
never to give up on a task before our own budget does.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
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


class Pool(Protocol):
    """Where jobs run.  ``submit`` never blocks; ``wait`` gives back what ended."""

    dashboard: str

    @property
    def slots(self) -> int:
        """Return the number of jobs that run at once."""

    @property
    def window(self) -> int:
        """Return the number of jobs to keep in flight."""

    def submit(self, job: Job, attempt: int, priority: int) -> None:
        """Send a job off."""

    def wait(self, timeout_s: float) -> list[Report]:
        """Return reports of jobs that ended, waiting at most ``timeout_s`` for the first."""


class InlinePool:
    """No cluster at all: each job runs in this process when it is waited for."""

    slots = 1
    window = 1
    dashboard = ""

    def __init__(self) -> None:
        self._waiting: list[Job] = []

    def submit(self, job: Job, attempt: int, priority: int) -> None:  # noqa: ARG002 - one order only
        """Put a job in line."""
        self._waiting.append(job)

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
        self.dashboard = str(client.dashboard_link or "")

    @property
    def slots(self) -> int:
        """Return the number of tasks that can run at once now; a worker being replaced does not shrink it to none."""
        threads: dict[str, int] = self.client.nthreads()
        return max(1, sum(threads.values()))

    @property
    def window(self) -> int:
        """One job per slot and one look-ahead per slot; more only while jobs last less than the way to the scheduler."""
        return 2 * self.slots if self._seconds > _SHORT_JOB_S else 4 * self.slots + 100

    def submit(self, job: Job, attempt: int, priority: int) -> None:
        """Send a job to the scheduler."""
        key = f"{job.key}-{attempt}"
        future = self.client.submit(self._function, job, key=key, pure=False, retries=0, priority=priority)
        self._jobs[key] = job
        future.add_done_callback(self._ended.put)

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that have come in."""
        reports = []
        try:
            reports.append(self._report(self._ended.get(timeout=timeout_s)))
            while True:
                reports.append(self._report(self._ended.get_nowait()))
        except queue.Empty:
            return reports

    def _report(self, future: Any) -> Report:
        job = self._jobs.pop(str(future.key))
        try:
            report: Report = future.result()
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            report = Report(job.key, "failed", what, FailureClass.INFRASTRUCTURE.value, "dask")
        future.release()
        self._seconds += 0.1 * (report.seconds - self._seconds)
        return report


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
