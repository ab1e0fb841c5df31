# SPDX-License-Identifier: BSD-3-Clause
"""The driver as a batch job, where a login node suffers no long processes.

It leaves its job in order before the walltime ends, and the job then submits its own successor.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from bp_distributed import durable
from bp_distributed.batch import BatchJob, JobState, batch_system
from bp_distributed.cli import UNFINISHED, WITH_QUARANTINE
from bp_distributed.errors import ConfigError, LockedError
from bp_distributed.job_script import job_script
from bp_distributed.profile import Profile
from bp_distributed.store import Store

_WORKER = "-m distributed.cli.dask_worker"
_TIMED_OUT = 124
"""Exit code of timeout(1)."""


def job_name(store: Store) -> str:
    """Return the name of the driver's job; it does not begin like those of its workers, which a new driver cancels."""
    return f"bpd-driver-{store.identity['uuid'][:8]}"


def driver_script(store: Store, profile: Profile, lane: str, command: Sequence[str]) -> str:
    """Return the job script of a driver: that of a lane, with the driver in the place of the workers.

    Parameters
    ----------
    store : Store
    profile : Profile
    lane : str
        Name of the lane whose job it gets.
    command : sequence of str
        How to start ``bpd``.

    Raises
    ------
    ConfigError
        If the profile has no such lane, or a driver cannot run there.
    """
    if lane not in profile.lanes:
        raise ConfigError(
            f"profile {profile.name}", "lanes", f"got {lane!r}, expected one of {', '.join(profile.lanes)}"
        )
    if profile.lanes[lane].container:
        raise ConfigError(
            f"profile {profile.name}", f"lanes.{lane}.container", "a driver cannot submit jobs from there"
        )
    text = job_script(
        profile.lanes[lane], tag=lane, name=job_name(store), scheduler="tls://localhost:1",
        tls=store.root / "tls", logs=store.root / "jobs",
    )  # fmt: skip
    lines = text.rstrip().splitlines()
    if _WORKER not in lines[-1]:
        raise RuntimeError(f"a job script that does not end with its worker: {lines[-1]}")
    bpd, root = shlex.join(command), shlex.quote(str(store.root))
    return "\n".join([
        *lines[:-1],
        'left=$(( BPD_DEADLINE - $(date +%s) ))',
        f'timeout --foreground --signal=TERM "$left" {bpd} run {root} --quiet',
        "code=$?",
        f"if [ $code -eq {_TIMED_OUT} ]; then {bpd} step {root}; code=$?; fi",
        f"case $code in {UNFINISHED}|{WITH_QUARANTINE}) exit 0;; *) exit $code;; esac",
        "",
    ])  # fmt: skip


def submit_driver(store: Store, profile: Profile, lane: str, command: Sequence[str]) -> str:
    """Submit the driver as a batch job and return the job's id.

    Raises
    ------
    ConfigError
        If the batch system refuses it.
    LockedError
        If there is one in the queue.
    """
    script = driver_script(store, profile, lane, command)
    if job := waiting_job(store, profile):
        raise LockedError(f"{store.root}: its driver is batch job {job.id}, which is {job.state.value}")
    return batch_system(profile.system).submit(script, durable.make_private_dir(store.root / "jobs"), lane)


def waiting_job(store: Store, profile: Profile) -> BatchJob | None:
    """Return the driver's job that is in the queue or has begun, or None; the job that asks does not count."""
    if profile.system == "local":
        return None
    mine = os.environ.get("BPD_JOB_ID", "")
    jobs = batch_system(profile.system).jobs(job_name(store))
    return next((job for job in jobs if job.state is not JobState.ENDED and job.id != mine), None)
