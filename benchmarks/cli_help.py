# SPDX-License-Identifier: BSD-3-Clause
"""User time of ``bpd --help`` against the half second that a person notices."""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

LIMIT_S = 0.5
REPEATS = 9


def user_seconds(command: list[str]) -> float:
    """Return the user CPU time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def run() -> dict:
    bpd = str(Path(sys.executable).with_name("bpd"))
    user_seconds([bpd, "--help"])  # byte code and page cache
    samples = [user_seconds([bpd, "--help"]) for _ in range(REPEATS)]
    bare = [user_seconds([sys.executable, "-c", "pass"]) for _ in range(REPEATS)]
    ours = statistics.median(samples)
    return {"row": "cli_help", "ours": ours, "peer": LIMIT_S, "ratio": LIMIT_S / ours, "unit": "s of user time",
            "detail": {"samples": samples, "bare_interpreter": statistics.median(bare), "peer": "the limit of issue 2"}}  # fmt: skip
