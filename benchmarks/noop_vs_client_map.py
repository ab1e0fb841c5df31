# SPDX-License-Identifier: BSD-3-Clause
"""2,000 tasks that do nothing, through our window of futures against bare ``client.map`` and ``gather``.

Nothing is written durably on either side: what is measured is the price of our keys, window and reports.
"""

import statistics
import time

from bp_distributed import cluster
from bp_distributed.job import Job, Report

TASKS, ROUNDS, WORKERS = 2000, 5, 2


def no_op(job: Job) -> Report:
    """Return at once."""
    return Report(job.key, "done", attempt=job.attempt)


def ours(pool: cluster.DaskPool) -> float:
    """Return seconds for all tasks through the window the driver keeps."""
    jobs = [Job(f"noop-{number:05d}", "noop", "", "", {}, "") for number in range(TASKS)]
    started, ended, in_flight = time.perf_counter(), 0, 0
    while ended < TASKS:
        if in_flight <= 0.75 * pool.window:  # as the driver does
            free = pool.window - in_flight
            pool.submit(jobs[:free])
            in_flight += len(jobs[:free])
            del jobs[:free]
        count = len(pool.wait(1.0))
        ended, in_flight = ended + count, in_flight - count
    return time.perf_counter() - started


def peer(client) -> float:
    """Return seconds for ``client.map`` of the same function over the same jobs."""
    jobs = [Job(f"noop-{number:05d}", "noop", "", "", {}, "") for number in range(TASKS)]
    started = time.perf_counter()
    client.gather(client.map(no_op, jobs, pure=False))
    return time.perf_counter() - started


def run() -> dict:
    seconds = {"ours": [], "peer": []}
    with cluster.local_pool(WORKERS, function=no_op) as pool:
        peer(pool.client)  # workers have imported everything
        for _ in range(ROUNDS):
            seconds["ours"].append(ours(pool))
            seconds["peer"].append(peer(pool.client))
    a, b = (statistics.median(seconds[key]) for key in ("ours", "peer"))
    return {"row": "noop_vs_client_map", "ours": a, "peer": b, "ratio": b / a, "unit": f"s for {TASKS} tasks",
            "detail": {**seconds, "workers": WORKERS, "tls": True, "target": "wall <= 1.25 x (reliability.md L1)"}}  # fmt: skip
