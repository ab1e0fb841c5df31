# SPDX-License-Identifier: BSD-3-Clause
"""Jobs of learning on Dask: each in a child process and a folder of its own, and none of them twice.

A job is committed when its folder is renamed into place with a ``result.json`` that holds the digest of request and
inputs.  Whoever asks again, after a kill or with more data, gets committed results of unchanged jobs at once.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed import durable
from bp_distributed.child import run_child
from bp_distributed.errors import FailureClass, LockedError
from bp_distributed.job import Job, Report

REQUEST, INPUTS, ARRAYS, RESULT = "request.json", "inputs.npz", "result.npz", "result.json"
DEADLINE_S = 24 * 3600.0
TAIL = 2000
_POLL_S = 0.5

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class LearningJob:
    """One job: a name unique among all jobs, what is asked, and the arrays it starts from."""

    name: str
    request: Mapping[str, Any]
    """Plain data; ``kind`` is one of ``__main__.KINDS``."""
    inputs: Arrays

    @functools.cached_property
    def inputs_digest(self) -> str:
        """The sha256 of the inputs."""
        return arrays_digest(self.inputs)

    @functools.cached_property
    def digest(self) -> str:
        """What the result depends on: sha256 of request and inputs."""
        text = json.dumps(plain(dict(self.request)), sort_keys=True)
        return hashlib.sha256((text + self.inputs_digest).encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """What a job left, and what it was asked."""

    request: dict[str, Any]
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    folder: Path


@dataclass(frozen=True)
class Ended:
    """How a fan-out ended."""

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Last words by job."""
    computed: int = 0
    """Jobs that had to run; the others were committed before."""


def plain(value: Any) -> Any:
    """Return plain data for JSON: NumPy scalars become numbers, and what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def arrays_digest(inputs: Arrays) -> str:
    """Return the sha256 of arrays with their names, shapes and types."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        values = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


# ---- results on disk --------------------------------------------------------------------------------------------------


def committed(job: LearningJob, folder: Path) -> bool:
    """Tell whether a folder of jobs holds the result of exactly this one."""
    try:
        content = json.loads((folder / job.name / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(content.get("digest") == job.digest)


def load_result(folder: Path) -> Result:
    """Return the result that lies in a job's own folder."""
    request, facts = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (REQUEST, RESULT))
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        return Result(request, facts, {name: stored[name] for name in stored.files}, folder)


def _prepared(job: LearningJob, folder: Path) -> Job:
    """Fill a fresh folder in which the job can start; equal inputs of several jobs are one file with many names."""
    aside = folder / f".{job.name}"
    shutil.rmtree(aside, ignore_errors=True)
    durable.make_private_dir(aside)
    shared = durable.make_private_dir(folder / ".inputs") / f"{job.inputs_digest}.npz"
    if not shared.exists():
        part = shared.with_suffix(f".{os.getpid()}")
        with part.open("wb") as file:
            arrays: Any = dict(job.inputs)
            np.savez(file, **arrays)
        part.replace(shared)
    try:
        (aside / INPUTS).hardlink_to(shared)
    except OSError:  # a file system without hard links
        shutil.copyfile(shared, aside / INPUTS)
    (aside / REQUEST).write_text(json.dumps(plain(dict(job.request)), indent=1), encoding="utf-8")
    return Job(job.name, "learning", str(folder), job.name, {"digest": job.digest}, "", deadline_s=DEADLINE_S)


def run_learning(job: Job) -> Report:
    """Run one prepared job in a child process and commit what it leaves; a worker's part.

    Parameters
    ----------
    job : Job
        ``root`` is the folder of jobs, ``folder`` the job's name, ``request`` holds its digest.
    """
    started = time.monotonic()
    aside, place = Path(job.root) / f".{job.folder}", Path(job.root) / job.folder
    ended = run_child([sys.executable, "-m", "bp_distributed.learning"], aside, job.deadline_s)
    seconds = time.monotonic() - started
    if ended.code != 0 or not (aside / RESULT).exists():
        words = (aside / "stderr").read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
        what = ended.stopped or words or f"exit code {ended.code}"
        return Report(job.key, "failed", what, FailureClass.INFRASTRUCTURE, seconds=seconds, attempt=job.attempt)
    facts = json.loads((aside / RESULT).read_text(encoding="utf-8"))
    durable.replace_json(aside / RESULT, {**facts, "digest": job.request["digest"]})
    for name in (ARRAYS, RESULT):
        durable.sync_file(aside / name)
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
    return Report(job.key, "done", seconds=seconds, attempt=job.attempt)


# ---- the fan-out ------------------------------------------------------------------------------------------------------


def fan_out(
    jobs: Sequence[LearningJob],
    folder: Path,
    workers: int | None = None,
    on_done: Callable[[str], object] = lambda name: None,  # noqa: ARG005 - a place for a display
) -> Ended:
    """Run the jobs that have no committed result, and return the results of all.

    Parameters
    ----------
    jobs : sequence of LearningJob
    folder : Path
        Gets one folder per job.
    workers : int, optional
        Worker processes on this machine, one job each; all cores by default, 0 runs one job after the other without
        a cluster.
    on_done : callable
        Called with the name of each job when it has a result or has failed.

    Raises
    ------
    LockedError
        If another process works in this folder.
    """
    durable.make_private_dir(folder)
    with _alone(folder):
        missing = []
        for job in jobs:
            if committed(job, folder):
                on_done(job.name)
            else:
                missing.append(job)
        failures = _run(missing, folder, workers, on_done) if missing else {}
    results = {job.name: load_result(folder / job.name) for job in jobs if job.name not in failures}
    return Ended(results, failures, len(missing))


def _run(
    jobs: Sequence[LearningJob], folder: Path, workers: int | None, on_done: Callable[[str], object]
) -> dict[str, str]:
    """Run jobs, the first first; return the last words of those that failed."""
    failures: dict[str, str] = {}
    for report in _in_turn(jobs, folder) if workers == 0 else _on_dask(jobs, folder, workers):
        if report.status != "done":
            failures[report.key] = report.message
        on_done(report.key)
    shutil.rmtree(folder / ".inputs", ignore_errors=True)
    return failures


def _in_turn(jobs: Sequence[LearningJob], folder: Path) -> Iterator[Report]:
    for job in jobs:
        yield run_learning(_prepared(job, folder))


def _on_dask(jobs: Sequence[LearningJob], folder: Path, workers: int | None) -> Iterator[Report]:
    from bp_distributed.cluster import default_workers, local_pool  # noqa: PLC0415 - Dask takes a second

    waiting, running = list(jobs), 0
    with local_pool(min(workers or default_workers(), len(jobs)), run_learning) as pool:
        while waiting or running:
            count = max(0, pool.window("") - running)
            turn, waiting = waiting[:count], waiting[count:]
            pool.submit([_prepared(job, folder) for job in turn])
            running += len(turn)
            for report in pool.wait(_POLL_S):
                running -= 1
                yield report


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder; the kernel lets it go when this process ends, however it ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"{folder}: another 'bpd learn' is at work here; wait until it has ended") from None
        yield
