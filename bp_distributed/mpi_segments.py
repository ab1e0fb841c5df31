# SPDX-License-Identifier: BSD-3-Clause
"""Shared memory that killed MPI programs left behind.

MPICH finds its segment by a name made of a process id, and removes it at its end.  A killed program leaves it: a
megabyte of memory, and an address that makes the next solve whose launcher has the same process id give up
("Other MPI error, failed to unpack address"; met where process ids start anew, in containers).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps it; MPICH chose the place
PREFIX = "mpich_shm_"

ATTACHED_S = 60.0
"""By then all ranks of a living program have opened its segment, and none needs the name."""


def sweep_mpi_segments(folder: Path = SHARED_MEMORY) -> int:
    """Remove this user's old segments; call it before MPI starts.

    Returns
    -------
    int
        How many were removed.
    """
    removed = 0
    with suppress(OSError):  # no such folder: nothing to do
        for entry in os.scandir(folder):
            if not entry.name.startswith(PREFIX):
                continue
            with suppress(OSError):  # somebody else was faster
                about = entry.stat(follow_symlinks=False)
                if about.st_uid == os.geteuid() and about.st_mtime < time.time() - ATTACHED_S:
                    Path(entry.path).unlink()
                    removed += 1
    return removed
