# SPDX-License-Identifier: BSD-3-Clause
"""The text of a batch job that holds Dask workers, made by dask-jobqueue's job classes.

Only their script writing is used, never a cluster object.  They paste texts unquoted, so nothing reaches them that
:mod:`bp_distributed.profile` has not held to a pattern, or that is not checked here.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask

from bp_distributed.errors import ConfigError
from bp_distributed.profile import BASH, Lane, seconds_of, walltime_of
from bp_distributed.tls import CA_FILE, CERTIFICATE_FILE, KEY_FILE

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}", re.ASCII)
_PATH = re.compile(r"/[A-Za-z0-9_./+@=~-]*", re.ASCII)
_ADDRESS = re.compile(r"tls://[A-Za-z0-9_.\[\]:-]+", re.ASCII)
_JOB_ID = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "sge": "JOB_ID", "lsf": "LSB_JOBID"}
_SETTINGS = {
    "DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED": "False",
}
"""Dask settings of a worker; in its environment they outrank whatever files the node has."""


def job_script(
    lane: Lane,
    *,
    tag: str,
    name: str,
    scheduler: str,
    tls: Path,
    logs: Path,
    exclude: Sequence[str] = (),
) -> str:
    """Return the script of one batch job.

    Parameters
    ----------
    lane : Lane
        Its shape, already raised to the step of the resource ladder that ``tag`` names.
    tag : str
        :attr:`bp_distributed.profile.Shape.tag`; workers offer one ``lane-<tag>`` each.
    name : str
        Of the job.  Its workers are called by the job's id (``<id>``, or ``<id>-0``, ``<id>-1``, ...).
    scheduler : str
        ``tls://`` address.
    tls, logs : Path
        Absolute folders of the keys and of the job's output.  What they have in common is the campaign folder,
        which is bound into a container.
    exclude : sequence of str
        Nodes to keep away from.  Only Slurm can; elsewhere it has no effect.

    Raises
    ------
    ConfigError
        If the campaign folder has a path that batch systems cannot take, or the lane has none.
    """
    if lane.system == "local":
        raise ConfigError(f"lane {lane.name}", "system", "got local, which has no batch jobs")
    for what, text, pattern in (("tag", tag, _NAME), ("name", name, _NAME), ("scheduler", scheduler, _ADDRESS)):
        if not pattern.fullmatch(text):
            raise ValueError(f"{what}: {text!r}")
    for path in (tls, logs):
        if not _PATH.fullmatch(str(path)):
            what = "job scripts take only the characters A-Z a-z 0-9 _ . / + @ = ~ - in it; move the campaign"
            raise ConfigError(str(path), "", what)
    header, skipped = _directives(lane, logs, exclude)
    job_class, known_options = _job_class(lane.system)
    with dask.config.set({f"jobqueue.{lane.system}": known_options}):  # what ~/.config/dask says is not ours
        job = job_class(
            scheduler=shlex.quote(scheduler), name='"$BPD_JOB_ID"', job_name=name, cores=lane.cores, processes=lane.workers,
            memory=f"{_memory(lane)}iB", queue=lane.queue, walltime=_walltime(lane), shebang=f"#!{BASH}",
            protocol="tls", interface=lane.interface, death_timeout=lane.death_timeout, python=_interpreter(lane, os.path.commonpath((tls, logs))),
            local_directory='"$BPD_SCRATCH"', worker_extra_args=_worker_arguments(tag, tls),
            job_script_prologue=_prologue(lane, tag), job_extra_directives=[*header, *lane.directives],
            job_directives_skip=skipped, **_options(lane),
        )  # fmt: skip
        return str(job.job_script())


def _job_class(system: str) -> tuple[Any, dict[str, Any]]:
    """Return a job class whose workers have one thread and no memory limit, and its options, all unset."""
    with _no_signal_handlers():
        from dask_jobqueue.lsf import LSFJob
        from dask_jobqueue.pbs import PBSJob
        from dask_jobqueue.sge import SGEJob
        from dask_jobqueue.slurm import SLURMJob

    base = {"slurm": SLURMJob, "pbs": PBSJob, "sge": SGEJob, "lsf": LSFJob}[system]
    ours = type(base.__name__, (base,), {"worker_process_threads": 1, "worker_process_memory": "0"})
    options = dict.fromkeys(dask.config.get(f"jobqueue.{system}"))
    return ours, options | {"worker-command": "distributed.cli.dask_worker", "use-stdin": True}


@contextmanager
def _no_signal_handlers() -> Iterator[None]:
    """Let nobody take over a signal: dask-jobqueue 0.9.0 takes Ctrl-C when imported, and fails off the main thread."""
    install = signal.signal
    signal.signal = lambda *_: None
    try:
        yield
    finally:
        signal.signal = install


def _options(lane: Lane) -> dict[str, Any]:
    """Return what each job class takes beside the common options."""
    if lane.system == "slurm":
        return {"account": lane.account, "job_mem": _memory(lane)}
    if lane.system == "pbs":
        ranks = f":mpiprocs={lane.cores}" if lane.launches_ranks else ""
        chunk = f"{lane.nodes}:ncpus={lane.cores}{ranks}:mem={_memory(lane).lower()}b"
        return {"account": lane.account, "resource_spec": f"select={chunk}"}
    if lane.system == "sge":
        return {"project": lane.account}
    return {"project": lane.account, "ncpus": lane.cores * lane.nodes, "lsf_units": "mb"}


def _directives(lane: Lane, logs: Path, exclude: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the lines of ours in the header, and which of dask-jobqueue's they replace.

    A job is never started a second time by the batch system, and takes nothing from the shell that submits it.
    """
    if lane.system == "slurm":
        lines = ["--no-requeue", "--export=NONE", "--open-mode=append", f"-o {logs}/%x-%j.out"]
        if bad := [node for node in exclude if not _NAME.fullmatch(node)]:
            raise ValueError(f"node: {bad[0]!r}")
        lines += [f"--exclude={','.join(exclude)}"] if exclude else []
        if not lane.launches_ranks:
            return ["-N 1", *lines], []
        shape = [f"-N {lane.nodes}", f"--ntasks-per-node={lane.cores}", "--cpus-per-task=1"]
        return [*shape, *lines], ["#SBATCH -n 1", "#SBATCH --cpus-per-task="]
    if lane.system == "pbs":
        own_select = any(directive.startswith("-l select=") for directive in lane.directives)
        return (
            ["-r n", "-S /bin/bash", "-j oe", f"-o {logs}/"] + (["-l place=scatter"] if lane.nodes > 1 else []),
            ["#PBS -l select="] * own_select + ["#PBS -A "] * (lane.account is None),  # or it would be $PBS_ACCOUNT
        )
    if lane.system == "sge":
        return ["-r n", f"-S {BASH}", f"-o {logs}/"], []
    span = [f'-R "span[ptile={lane.cores}]"'] if lane.nodes > 1 else []
    header = [*span, f"-M {_memory(lane)}B", "-env none", "-rn", f"-o {logs}/%J.out"]
    return header, ["#BSUB -M"] + ["span[hosts=1]"] * bool(span)


def _walltime(lane: Lane) -> str:
    """Return it in hours, which all read (days not); LSF counts no seconds."""
    text = walltime_of(math.ceil(lane.walltime_s / 60) * 60)
    return text.removesuffix(":00") if lane.system == "lsf" else walltime_of(lane.walltime_s)


def _memory(lane: Lane) -> str:
    """Return the memory of a job on one node; batch systems take whole numbers, and mean GiB by G."""
    mebibytes = math.ceil(lane.memory * 1024)
    return f"{mebibytes}M" if mebibytes % 1024 else f"{mebibytes // 1024}G"


def _interpreter(lane: Lane, root: str) -> str:
    """Return the shell words that start Python, inside the container if there is one."""
    python = shlex.quote(lane.python or sys.executable)
    if lane.container is None:
        return python
    return f'apptainer exec --cleanenv --bind {root} --bind "$BPD_SCRATCH" {lane.container} {python}'


def _worker_arguments(tag: str, tls: Path) -> list[str]:
    return [
        "--resources", f"lane-{tag}=1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--tls-ca-file", f"{tls / CA_FILE}",
        "--tls-cert", f"{tls / CERTIFICATE_FILE}", "--tls-key", f"{tls / KEY_FILE}",
    ]  # fmt: skip


def _prologue(lane: Lane, tag: str) -> list[str]:
    """Return what runs before the worker: the facts a task needs, the owner's own lines, a private folder.

    The clock is read first, so that the time the prologue takes is not forgotten.
    """
    seconds = seconds_of(lane.walltime or "")
    end = f"$(( $(date +%s) + {seconds} ))"
    if lane.system == "slurm":  # Slurm 23.02 and newer know the end, which an operator may have moved
        end = f"${{SLURM_JOB_END_TIME:-{end}}}"
    facts = {
        "BPD_DEADLINE": f"$(( {end} - {lane.margin} ))",
        "BPD_JOB_ID": f"${_JOB_ID[lane.system]}",
        "BPD_LANE": tag,
        "BPD_NODES": str(lane.nodes),
        "BPD_LAUNCHER": shlex.quote(json.dumps(lane.launcher)),
    }
    facts |= {f"DASK_{name}": value for name, value in _SETTINGS.items()}
    exports = [f"export {name}={value}" for name, value in facts.items()]
    if lane.system == "slurm":
        exports.append("export SLURM_EXPORT_ENV=ALL")  # or srun would keep nothing, as the job itself was told to
    if lane.container is not None:
        exports += [f'export APPTAINERENV_{name}="${name}"' for name in facts]
    scratch = lane.scratch.replace("$TMPDIR", "${TMPDIR:-/tmp}")
    return [
        *exports,
        *lane.prologue,
        f'BPD_SCRATCH=$(mktemp -d "{scratch}/bpd-XXXXXXXXXX") || exit 1',
        "trap 'rm -rf \"$BPD_SCRATCH\"' EXIT",
        'cd "$BPD_SCRATCH"',
    ]
