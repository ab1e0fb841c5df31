# SPDX-License-Identifier: BSD-3-Clause
"""10,000 samples that do nothing, through the whole driver, against bare ``client.map`` and ``gather``.

Both sides run the same function, which leaves a marker without flushing it; ours also looks at every state before,
reads every marker after, keeps a journal, and holds back all but a window of jobs.  One round is one campaign.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks._service import campaign_of, drive, memory_peak, no_op
from bp_distributed.cluster import local_pool

SAMPLES, ROUNDS, WORKERS = 10_000, 3, 2


def peer(client, campaign) -> float:
    """Return seconds for ``client.map`` of the same function over the same jobs."""
    store = campaign.store
    jobs = [store.job(task) for task in store.plan.tasks]
    started = time.perf_counter()
    client.gather(client.map(no_op, jobs, pure=False))
    return time.perf_counter() - started


def run() -> dict:
    seconds, grown = {"ours": [], "peer": []}, []
    folder = Path(tempfile.mkdtemp(prefix="bpd-bench-"))
    try:
        with local_pool(WORKERS, function=no_op) as pool:
            drive(campaign_of(folder / "first", 100), pool)  # workers have imported everything
            for number in range(ROUNDS):
                campaign = campaign_of(folder / f"ours-{number}", SAMPLES)
                with memory_peak() as peak:
                    before = peak[0]
                    seconds["ours"].append(drive(campaign, pool))
                grown.append(peak[0] - before)
                seconds["peer"].append(peer(pool.client, campaign_of(folder / f"peer-{number}", SAMPLES)))
    finally:
        shutil.rmtree(folder)
    a, b = (statistics.median(seconds[key]) for key in ("ours", "peer"))
    return {"row": "service_10k", "ours": a, "peer": b, "ratio": b / a, "unit": f"s for {SAMPLES} samples",
            "detail": {**seconds, "workers": WORKERS, "tls": True, "ours_over_peer": a / b, "memory_growth_MB": grown[0],
                       "target": "ours <= 1.25 x peer, <= 100 MB (reliability.md L1)"}}  # fmt: skip
