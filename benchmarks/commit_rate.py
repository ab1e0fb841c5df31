# SPDX-License-Identifier: BSD-3-Clause
"""Durable commits of 100 kB results per second against the least a durable write can cost: two fsyncs.

The peer writes the same bytes, flushes the file and its directory, and renames: durable, but neither
first-writer-wins nor vouched for by a marker.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from bp_distributed import durable
from bp_distributed.commit import Marker, commit

DATA = os.urandom(100_000)
BATCH, ROUNDS = 40, 5


def ours(root: Path) -> float:
    """Return commits per second of the protocol."""
    started = time.perf_counter()
    for number in range(BATCH):
        attempt = durable.make_private_dir(root / str(number) / "attempts" / "1-x")
        (attempt / "result.nc").write_bytes(DATA)
        commit(root / str(number), attempt / "result.nc", Marker.DONE, {"task": str(number)})
    return BATCH / (time.perf_counter() - started)


def peer(root: Path) -> float:
    """Return plain durable writes per second."""
    started = time.perf_counter()
    for number in range(BATCH):
        folder = durable.make_private_dir(root / str(number))
        aside = folder / "aside"
        aside.write_bytes(DATA)
        durable.sync_file(aside)
        aside.rename(folder / "result.nc")
        durable.sync_directory(folder)
    return BATCH / (time.perf_counter() - started)


def run() -> dict:
    rates = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # on the disk people use, not a tmpfs
        for turn in range(ROUNDS):
            rates["ours"].append(ours(Path(name) / f"ours-{turn}"))
            rates["peer"].append(peer(Path(name) / f"peer-{turn}"))
    a, b = (statistics.median(rates[key]) for key in ("ours", "peer"))
    return {"row": "commit_rate", "ours": a, "peer": b, "ratio": a / b, "unit": "commits/s",
            "detail": {**rates, "bytes": len(DATA), "target": "50/s (reliability.md L2, batch 1)"}}  # fmt: skip
