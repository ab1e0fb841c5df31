# SPDX-License-Identifier: BSD-3-Clause
"""The one door to heavy native code: a child process in a process group of its own.

A segfault, a hang or ``MPI_Abort`` costs one attempt, never the worker.  The child ends when its
parent ends, and talks through files only.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bp_distributed.errors import InfrastructureError

PARENT = "BPD_PARENT_PID"
_PR_SET_PDEATHSIG = 1
# NPROC is what XLA goes by: its second thread doubled the processor time of small networks, and gained nothing.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
            "NPROC")  # fmt: skip
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH",
         "LAMMPS_POTENTIALS", "KERAS_BACKEND", "PYTHONWARNINGS", "NUMBA_CACHE_DIR")  # fmt: skip
_ALLOCATION = ("SLURM_", "PMI", "PBS_", "LSB_", "HYDRA_", "UCX_", "FI_")

Reach = Literal["alone", "node", "nodes"]
"""Whom a child's MPI may talk to: nobody, ranks on this machine, ranks on every node of the job."""

_MPI: dict[Reach, dict[str, str]] = {
    "alone": {"UCX_TLS": "self", "FI_PROVIDER": "shm"},
    "node": {"UCX_TLS": "posix,self", "FI_PROVIDER": "shm"},
    "nodes": {"SLURM_KILL_BAD_EXIT": "1"},
}
"""Even a serial LAMMPS initialises MPI, and MPICH then listens on every network; told so, it opens no port.

Over several nodes srun is told to end all ranks when one has died; by itself it waits for them, for ever.
"""

POLL_S = 0.1
GRACE_S = 5.0


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux); called by the child itself.

    The request is made in the child because a ``preexec_fn`` is unsafe in a threaded worker.  The
    signal follows the *thread* that started the child, so that thread has to wait for it, as
    :func:`run_child` does.
    """
    expected = os.environ.get(PARENT)
    if expected is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(expected):  # the parent died before the request was made
        os._exit(1)


def die_with_launcher() -> None:
    """Ask the kernel to kill this MPI rank when the process that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:  # the launcher died before the request was made
        os._exit(1)


def child_environment(threads: int, reach: Reach = "alone") -> dict[str, str]:
    """Return the whole environment of a child: a short list of ours plus explicit thread counts.

    Batch-system and MPI variables are left out, or a serial LAMMPS inside a job would try to join it; only a
    program that spans several nodes needs them.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if reach == "nodes":
        environment |= {name: value for name, value in os.environ.items() if name.startswith(_ALLOCATION)}
    environment |= dict.fromkeys(_THREADS, str(threads))
    environment |= _MPI[reach]
    environment |= {PARENT: str(os.getpid()), "LC_ALL": "C.UTF-8", "HDF5_USE_FILE_LOCKING": "FALSE"}
    return environment


@dataclass(frozen=True)
class ChildExit:
    """How a child ended: return code (negative: signal), seconds, peak memory, and why it was stopped."""

    code: int
    seconds: float
    max_rss_bytes: int
    stopped: str = ""


def step_command(step: str) -> list[str]:
    """Return the command of one physics step."""
    return [sys.executable, "-m", "bp_distributed.physics", step]


def default_launcher() -> tuple[str, ...]:
    """Return the template that starts MPI ranks on this machine.

    MPICH's ``mpiexec.gforker`` is preferred, which forks the ranks and opens no port; ``mpiexec`` (Hydra) listens
    on every network while it runs.

    Raises
    ------
    InfrastructureError
        If neither is beside the interpreter or on the path.
    """
    beside = str(Path(sys.executable).parent)
    for name in ("mpiexec.gforker", "mpiexec"):
        found = shutil.which(name, path=beside) or shutil.which(name)
        if found:
            return found, "-n", "{n}", "{cmd}"
    raise InfrastructureError("mpi_missing", "no mpiexec found; install MPI, for instance with: pip install mpich")


def mpi_command(
    command: Sequence[str], ranks: int, threads: int = 1, nodes: int = 1, launcher: Sequence[str] = ()
) -> list[str]:
    """Return the command that starts ``ranks`` copies of ``command`` and ends them when its parent ends.

    Parameters
    ----------
    command : sequence of str
        Program and arguments of one rank.
    ranks, threads, nodes : int
        Fill ``{n}``, ``{threads}`` and ``{nodes}`` of the template.
    launcher : sequence of str
        Template of arguments, such as ``("srun", "-N", "{nodes}", "-n", "{n}", "--mpi=pmi2", "{cmd}")``;
        :func:`default_launcher` if empty.
    """
    filled: list[str] = []
    for part in launcher or default_launcher():
        filled += command if part == "{cmd}" else [part.format(n=ranks, threads=threads, nodes=nodes)]
    return [sys.executable, "-m", "bp_distributed.child", *filled]


def run_child(
    command: Sequence[str],
    folder: Path,
    deadline_s: float,
    threads: int = 1,
    stop: Callable[[], str] = lambda: "",
    environment: Mapping[str, str] | None = None,
    reach: Reach = "alone",
) -> ChildExit:
    """Run ``command`` in ``folder`` until it ends, the deadline passes or ``stop()`` gives a reason.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; never a shell string.
    folder : Path
        Working directory; ``stdout`` and ``stderr`` files appear there.
    deadline_s : float
        Seconds after which the child's group is ended with reason ``"timeout"``.
    threads : int
        Threads its numerical libraries may use.
    stop : callable
        Polled; a non-empty answer ends the group and becomes ``ChildExit.stopped``.
    environment : mapping, optional
        Additions to :func:`child_environment`.
    reach : {"alone", "node", "nodes"}
        Whom its MPI may talk to.

    Returns
    -------
    ChildExit
    """
    started = time.monotonic()
    with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
        process = subprocess.Popen(
            list(command), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env=child_environment(threads, reach) | dict(environment or {}), process_group=0,
        )  # fmt: skip
    stopped = ""
    try:
        while (status := _reap(process)) is None:
            stopped = stop() or ("timeout" if time.monotonic() - started > deadline_s else "")
            if stopped:
                _end_group(process)
                status = _reap(process, block=True)
                break
            time.sleep(POLL_S if time.monotonic() - started > 1 else 0.01)
    except BaseException:
        _end_group(process)
        if process.returncode is None:
            _reap(process, block=True)
        raise
    code, usage = status or (-1, 0)
    _signal_group(process.pid, signal.SIGKILL)  # grandchildren that outlived their parent
    return ChildExit(code, time.monotonic() - started, usage, stopped)


def _reap(process: subprocess.Popen[bytes], *, block: bool = False) -> tuple[int, int] | None:
    """Return (code, peak RSS in bytes) once the child has ended; ``wait4`` gives its own peak memory."""
    pid, status, usage = os.wait4(process.pid, 0 if block else os.WNOHANG)
    if pid == 0:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, a grace period, SIGKILL, always to the whole group."""
    _signal_group(process.pid, signal.SIGTERM)
    patience = time.monotonic() + GRACE_S
    while time.monotonic() < patience:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # already gone
        return


def main(command: Sequence[str]) -> None:
    """Become ``command``, which is then killed when this process's parent ends: a launcher cannot ask for that."""
    die_with_parent()
    os.environ.pop(PARENT, None)
    os.execvp(command[0], list(command))  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main(sys.argv[1:])
