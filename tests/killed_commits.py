# SPDX-License-Identifier: BSD-3-Clause
"""``python killed_commits.py FOLDER N`` commits N results in children that it kills at random moments."""

import os
import random
import signal
import sys
import time
from pathlib import Path

from bp_distributed import durable
from bp_distributed.commit import Marker, commit, committed

DATA = bytes(range(256)) * 400  # 100 kB, the size the design measured


def prepare(root: Path, number: int = 1, data: bytes = DATA) -> tuple[Path, Path]:
    """Return a task folder and a finished, uncommitted result in one of its attempts."""
    attempt = durable.make_private_dir(root / "attempts" / f"{number}-abc")
    (attempt / "result.nc").write_bytes(data)
    return root, attempt / "result.nc"


def kill_commits(base: Path, kills: int) -> None:
    """Half of the kills fall within the commit, however long fork and disk take today."""
    generator, span = random.Random(1), 1e-3  # seconds; kills come within this of the fork
    for number in range(kills):
        folder, result = prepare(base / str(number))
        if (pid := os.fork()) == 0:
            try:
                commit(folder, result, Marker.DONE, {})
            finally:
                os._exit(0)
        time.sleep(generator.uniform(0, span))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        span *= 0.9 if committed(folder) else 1.1


if __name__ == "__main__":
    kill_commits(Path(sys.argv[1]), int(sys.argv[2]))
