# SPDX-License-Identifier: BSD-3-Clause
"""What a Dask worker of a batch job does with a job; and how it leaves when its time is nearly up."""

from __future__ import annotations

import asyncio

from distributed import Worker, get_worker

from bp_distributed.job import Job, Report
from bp_distributed.tasks import run_job

FETCH_S = 30.0
"""How long a worker waits for the driver to fetch its last report."""


def work(job: Job) -> Report:
    """Run a job; after one that was paused or declined for lack of time, leave, so that a fresh worker comes.

    What Dask has already assigned to this worker goes to others then, and nobody is blamed.
    """
    report = run_job(job)
    if report.status in {"paused", "declined"}:
        worker = get_worker()
        worker.loop.add_callback(_leave, worker)
    return report


async def _leave(worker: Worker) -> None:
    """Close once the report has been fetched; a second call finds the worker closing and waits for it."""
    patience = FETCH_S
    while worker.data and patience > 0:
        await asyncio.sleep(0.2)
        patience -= 0.2
    await worker.close_gracefully(restart=False, reason="its walltime is nearly over")
