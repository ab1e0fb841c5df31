# SPDX-License-Identifier: BSD-3-Clause
"""400,000 searches that do nothing, as 4,000 batches of 100, each batch one durable commit of a netCDF file.

Half-way the driver is killed with signal 9, and another goes on.  The peer is the allowed time.
"""

import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._service import campaign_of, drive, memory_peak
from bp_distributed import dataset
from bp_distributed.attempt import claim
from bp_distributed.cluster import local_pool
from bp_distributed.commit import Marker, commit
from bp_distributed.job import Job, Report
from bp_distributed.store import Journal

BATCHES, SEARCHES, WORKERS = 4000, 100, 2
ALLOWED_S, ALLOWED_MB = 300.0, 400.0


def batch(job: Job) -> Report:
    """Claim, write 100 barriers, commit, and sweep: everything but the searches."""
    folder = Path(job.root) / job.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    attempt = claim(folder, job.epoch, task=job.key)
    path = attempt.folder / "result.nc"
    dataset.write(dataset.label({"energy": np.float64(job.attempt)}, job.attributes), path)
    commit(folder, path, Marker.DONE, {"attempt": attempt.folder.name, "seconds": 0.0, "searches": SEARCHES})
    shutil.rmtree(folder / "attempts")
    return Report(job.key, "done", attempt=job.attempt)


def _session(folder: str, answer) -> None:
    from bp_distributed.campaign import Campaign

    with local_pool(WORKERS, function=batch) as pool, memory_peak() as peak:
        drive(Campaign(folder), pool)
    answer.send(peak[0])


def _events(root: Path, event: str) -> int:
    return sum(line["event"] == event for line in Journal.read(root))


def run() -> dict:
    folder = Path(tempfile.mkdtemp(prefix="bpd-bench-"))
    context = multiprocessing.get_context("spawn")
    try:
        campaign = campaign_of(folder / "campaign", BATCHES)
        mine, theirs = context.Pipe()
        started = time.perf_counter()
        first = context.Process(target=_session, args=(str(campaign.root), theirs))
        first.start()
        while _events(campaign.root, "end_of_attempt") < BATCHES // 2:
            time.sleep(0.5)
        first.kill()
        first.join()
        second = context.Process(target=_session, args=(str(campaign.root), theirs))
        second.start()
        peak = mine.recv()
        second.join()
        seconds = time.perf_counter() - started
        again = _events(campaign.root, "submit") - BATCHES
        started = time.perf_counter()
        states = campaign.store.states()
        scan = time.perf_counter() - started
        started = time.perf_counter()
        clean = campaign.fsck(deep=False).clean
        fsck = time.perf_counter() - started
        files = sum(1 for path in (campaign.root / "samples").rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    if not clean or len(states) != BATCHES:
        raise RuntimeError("the folder is not sound")
    return {"row": "artn_400k_noop", "ours": seconds, "peer": ALLOWED_S, "ratio": ALLOWED_S / seconds, "unit": "s",
            "detail": {"batches": BATCHES, "searches": BATCHES * SEARCHES, "driver_memory_MB": peak,
                       "allowed_MB": ALLOWED_MB, "files": files, "submitted_again_after_kill": again,
                       "scan_s": scan, "fsck_s": fsck, "workers": WORKERS,
                       "target": "<= 300 s, <= 400 MB (reliability.md L3, L4)"}}  # fmt: skip
