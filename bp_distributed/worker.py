# SPDX-License-Identifier: BSD-3-Clause
"""What a Dask worker of a batch job does with a job; and how it leaves when its time is nearly up."""

from __future__ import annotations

import asyncio
import threading

from distributed import Worker, get_worker

from bp_distributed.job import Job, Report
from bp_distributed.tasks import run_job

FETCH_S = 30.0
"""How long a worker waits for the driver to fetch its last reports."""

_POLL_S = 0.1
_LEAVING = threading.Event()


def work(job: Job) -> Report:
    """Run a job; after one that was paused or declined for lack of time, leave, so that a fresh worker comes.

    What Dask has already assigned to this worker goes to others then, and nobody is blamed.
    """
    if _LEAVING.is_set():
        return Report(job.key, "declined", "this worker is about to leave", attempt=job.attempt)
    report = run_job(job)
    if report.status in {"paused", "declined"}:
        _LEAVING.set()
        worker = get_worker()
        worker.loop.add_callback(_leave, worker, worker.get_current_task())
    return report


async def _leave(worker: Worker, key: str) -> None:
    """Close once every report has been fetched; one that left with its worker would mean that its task runs again."""
    patience = FETCH_S
    while (key in worker.state.tasks or worker.data) and patience > 0:
        await asyncio.sleep(_POLL_S)
        patience -= _POLL_S
    await worker.close_gracefully(restart=False, reason="its walltime is nearly over")
