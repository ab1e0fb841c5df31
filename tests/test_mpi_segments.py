# SPDX-License-Identifier: BSD-3-Clause
"""Shared memory that killed MPI programs leave behind."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

from bp_distributed.child import child_environment, default_launcher
from bp_distributed.mpi_segments import ATTACHED_S, PREFIX, sweep_mpi_segments

OLD_S = 2 * ATTACHED_S


def test_only_old_segments_of_mpi_go(tmp_path):
    for name in (f"{PREFIX}1f338522_0", f"{PREFIX}1f338522_1", f"{PREFIX}young_0", "sem.mp-005bkt0o"):
        (tmp_path / name).write_bytes(b"x")
        if "young" not in name:
            os.utime(tmp_path / name, (time.time() - OLD_S,) * 2)
    assert sweep_mpi_segments(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{PREFIX}young_0", "sem.mp-005bkt0o"]
    assert sweep_mpi_segments(tmp_path / "nowhere") == 0


DIES = """
from mpi4py import MPI
import os
MPI.COMM_WORLD.barrier()
print({line.split()[-1] for line in open("/proc/self/maps") if "mpich_shm" in line}, flush=True)
MPI.COMM_WORLD.barrier()
os.kill(os.getpid(), 9)
"""


def test_a_killed_program_leaves_a_segment_that_the_next_one_removes(tmp_path):
    mpiexec = [part.format(n=2, threads=1, nodes=1) for part in default_launcher() if part != "{cmd}"]
    said = subprocess.run(
        [*mpiexec, sys.executable, "-c", DIES], env=child_environment(1, "node"), cwd=tmp_path, timeout=60,
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    left = [Path(name) for name in ast.literal_eval(said.stdout.splitlines()[0]) if Path(name).exists()]
    assert left, "MPICH cleans up by itself now: this room can go"
    for path in left:
        os.utime(path, (time.time() - OLD_S,) * 2)
    sweep_mpi_segments()
    assert not any(path.exists() for path in left)
