# SPDX-License-Identifier: BSD-3-Clause
"""A campaign of one stage whose tasks do nothing, driven by the real driver; what a sample costs the service."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from bp_distributed import durable
from bp_distributed.campaign import Campaign
from bp_distributed.commit import Marker
from bp_distributed.driver import Driver, Ending
from bp_distributed.job import Job, Report
from bp_distributed.lock import DriverLock
from bp_distributed.store import Store

TEXT = """\
name: service
potential: default
samples:
  - {{label: glass, composition: {{Cu: 50, Zr: 50}}, n_atoms: 4, cooling_rates: [1e13], replicas: {count}, melts: 1}}
protocol: {{hold: 10}}
"""


def campaign_of(folder: Path, count: int) -> Campaign:
    """Return a campaign of ``count`` quenches that need nothing."""
    folder.mkdir(parents=True)
    (folder / "campaign.yaml").write_text(TEXT.format(count=count))
    campaign = Campaign(folder)
    plan = campaign.plan()
    alone = tuple(replace(task, needs=()) for task in plan.tasks if task.stage == "quench")
    Store.create(folder, replace(plan, tasks=alone), campaign.config.model_dump(mode="json"), [], {})
    return campaign


def no_op(job: Job) -> Report:
    """Leave a marker that nobody flushes, and return."""
    folder = Path(job.root) / job.folder
    folder.mkdir(parents=True, mode=0o700)
    (folder / Marker.DONE).write_bytes(durable.sealed_json({"seconds": 0.0}))
    return Report(job.key, "done", attempt=job.attempt)


def drive(campaign: Campaign, pool) -> float:
    """Return the seconds that a whole driving session takes, the look at every state included."""
    store = campaign.store
    started = time.perf_counter()
    with DriverLock(store.root) as lock:
        ending = Driver(store, pool, lock, {}).conduct()
    if ending is not Ending.FINISHED:
        raise RuntimeError(f"the driver ended with {ending}")
    return time.perf_counter() - started


@contextmanager
def memory_peak(pid: int = 0) -> Iterator[list[float]]:
    """Yield a list that holds the largest resident memory of a process, in MB, and grows no longer than the block."""
    process, over = psutil.Process(pid or os.getpid()), threading.Event()
    peak = [process.memory_info().rss / 1e6]

    def watch() -> None:
        while not over.wait(0.2):
            peak[0] = max(peak[0], process.memory_info().rss / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
