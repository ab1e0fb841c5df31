# SPDX-License-Identifier: BSD-3-Clause
"""``bpd doctor``: do this machine and a site's nodes have what a campaign needs?  Every failure names its cure."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bp_distributed import durable, probe
from bp_distributed.batch import BatchJob, BatchSystem, JobState, batch_system
from bp_distributed.campaign import CONFIG_NAME, Campaign, run_step, versions
from bp_distributed.cluster import default_workers
from bp_distributed.config import default_potential
from bp_distributed.errors import CampaignError, InfrastructureError
from bp_distributed.job_script import job_script
from bp_distributed.profile import Lane, Profile, read_profile, seconds_of
from bp_distributed.scheduler import host_of
from bp_distributed.slepc_build import slepc_home

SMALL_DISK_BYTES = 2 << 30
PATIENCE_S = 300.0
"""How long probe jobs may take, waiting in the queue included."""

PROBE_WALLTIME = "00:05:00"
WORST_SKEW_S = 3600.0
"""Keys are valid from a day before they were made; walltimes are measured on one node's clock."""

_LAG_S = 10.0
"""A file may appear this much later on another machine."""

_WORKER = " -m distributed.cli.dask_worker "


def examine(folder: Path) -> int:
    """Print one line per check; return 0 when everything a campaign needs is there, else 2."""
    console = Console(highlight=False)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("libraries", _libraries),
        ("machine", _machine),
        ("folder", lambda: _folder(folder)),
        ("potential and LAMMPS", lambda: _lammps(folder)),
        ("Keras", _keras),
        ("SLEPc", _slepc),
        ("configuration", lambda: _configuration(folder)),
    ]
    wrong = 0
    for name, check in checks:
        try:
            console.print(f"[green]ok[/green]    {name}: {check()}")
        except (CampaignError, ImportError, OSError) as error:
            wrong += 1
            console.print(f"[red]wrong[/red] {name}: {error}")
    if os.getuid() == 0:
        console.print("note  you are root: LAMMPS advises against it outside containers (its SECURITY.md)")
    return 2 if wrong else 0


def _libraries() -> str:
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _machine() -> str:
    memory = psutil.virtual_memory()
    return f"{default_workers()} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"


def _folder(folder: Path) -> str:
    where = folder if folder.is_dir() else folder.parent
    findings = durable.self_test(where)
    free = shutil.disk_usage(where).free
    room = "" if free > SMALL_DISK_BYTES else " (little: a campaign of 4000-atom samples takes about 10 MB per sample)"
    return f"{where.absolute()}: {free / 2**30:.1f} GiB free{room}; {'; '.join(findings)}"


def _lammps(folder: Path) -> str:
    campaign = Campaign(folder)
    path = campaign.plan().potential.path if campaign.config_path.is_file() else default_potential()
    elements = list(campaign.plan().potential.elements) if campaign.config_path.is_file() else ["Cu", "Zr"]
    run_step("dry_run", {"elements": elements}, path)
    return f"{path.name} runs"


def _keras() -> str:
    import importlib.util  # noqa: PLC0415

    backends = [name for name in ("jax", "tensorflow", "torch") if importlib.util.find_spec(name)]
    if importlib.util.find_spec("keras") is None or not backends:
        raise ImportError(
            "Keras or a backend is missing: pip install 'bp_distributed[train]' (only 'bpd train' needs it)"
        )
    return f"backends here: {', '.join(backends)}"


def _slepc() -> str:
    try:
        site = slepc_home().site
    except InfrastructureError as missing:  # only solves over several nodes need it
        return missing.what
    return "from this environment" if site is None else f"in {site}"


def _configuration(folder: Path) -> str:
    campaign = Campaign(folder)
    if not campaign.config_path.is_file():
        return f"no {CONFIG_NAME} in {folder.absolute()} yet; 'bpd init' makes one"
    plan = campaign.plan()
    return f"{len(plan.samples)} samples, {len(plan.tasks)} tasks"


# ---- a site ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that a probe job found on a lane; ``cure`` is empty where all is well."""

    lane: str
    check: str
    what: str
    cure: str = ""


_CURES = {
    "connection": "set scheduler.interface in the profile to a network that the nodes reach",
    "LAMMPS": "install bp_distributed[physics] for the lane's python, or load its modules in prologue",
    "scratch": "set the lane's scratch to a folder on the node",
    "MPI": "set the lane's launcher to what your site uses, such as srun --mpi=pmi2, with an MPI of the same kind",
}


def examine_profile(name_or_path: str | Path, folder: Path, patience_s: float = PATIENCE_S) -> int:
    """Submit one short probe job per lane of a site, print what they found; return 0 when all is well, else 2.

    Parameters
    ----------
    name_or_path : str or Path
        Of the profile.
    folder : Path
        Campaign folder, which the nodes must see.
    patience_s : float
        How long the jobs may take; those that have not started by then are cancelled.

    Raises
    ------
    ConfigError
        If the profile is unsound.
    """
    profile = read_profile(name_or_path)
    if profile.system == "local":
        return examine(folder)
    durable.make_private_dir(folder)
    site = folder.resolve() / f"probe-{uuid.uuid4().hex[:8]}"
    durable.make_private_dir(site)
    console = Console(highlight=False)
    try:
        with _listening(host_of(profile.scheduler.interface)) as (address, nonce):
            findings = _Examination(profile, site, address, nonce).run(console, patience_s)
    finally:
        shutil.rmtree(site, ignore_errors=True)
    console.print(_table(profile, findings))
    return 2 if any(finding.cure for finding in findings) else 0


@contextmanager
def _listening(host: str) -> Iterator[tuple[tuple[str, int], str]]:
    """Tell a random word to whoever connects, so that a probe knows whom it reached."""
    nonce = uuid.uuid4().hex
    with socket.create_server((host, 0)) as server:

        def answer() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(nonce.encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[:2], nonce
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Examination:
    """Probe jobs of all lanes, from submission to findings."""

    def __init__(self, profile: Profile, site: Path, address: tuple[str, int], nonce: str) -> None:
        self._profile, self._site, self._address, self._nonce = profile, site, address, nonce
        self._batch: BatchSystem = batch_system(profile.system)
        self._prefix = f"bpd-{site.name}-"
        self._jobs: dict[str, str] = {}
        self._ended: dict[str, float] = {}
        self._findings: dict[str, list[Finding]] = {}

    def run(self, console: Console, patience_s: float) -> list[Finding]:
        """Return the findings of every lane, in the profile's order."""
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bars:
            bar = {lane: bars.add_task(f"{lane}: submitting") for lane in self._profile.lanes}
            try:
                for lane in self._profile.lanes.values():
                    self._submit(lane)
                deadline = time.monotonic() + patience_s
                while waiting := [name for name in self._profile.lanes if name not in self._findings]:
                    known = {job.id: job for job in self._batch.jobs(self._prefix)}
                    late = time.monotonic() > deadline
                    for name in waiting:
                        words = self._look(name, known.get(self._jobs[name]), late=late)
                        bars.update(bar[name], description=f"{name}: {words}")
                    time.sleep(min(1.0, self._profile.submission.poll_s))
            finally:
                self._batch.cancel(list(self._jobs.values()))
        return [finding for lane in self._profile.lanes for finding in self._findings[lane]]

    def _submit(self, lane: Lane) -> None:
        folder = durable.make_private_dir(self._site / lane.name)
        question = {"nonce": self._nonce, "address": list(self._address)}
        durable.write_new(folder / probe.QUESTION, json.dumps(question).encode())
        try:
            self._jobs[lane.name] = self._batch.submit(self._script(lane, folder), folder, lane.name)
        except CampaignError as error:
            self._conclude(lane.name, Finding(lane.name, "submission", str(error), "correct the lane in the profile"))

    def _script(self, lane: Lane, folder: Path) -> str:
        """Return the lane's own job script with a probe in place of the worker, and less walltime."""
        short = lane.model_copy(
            update={"walltime": min(lane.walltime or PROBE_WALLTIME, PROBE_WALLTIME, key=seconds_of)}
        )
        script = job_script(
            short, tag=lane.name, name=f"{self._prefix}{lane.name}", scheduler=f"tls://{self._address[0]}:{self._address[1]}",
            tls=folder, logs=folder,
        )  # fmt: skip
        lines = [
            line.partition(_WORKER)[0] + f" -m bp_distributed.probe {shlex.quote(str(folder))}"
            if _WORKER in line
            else line
            for line in script.splitlines()
        ]
        return "\n".join(lines) + "\n"

    def _look(self, lane: str, job: BatchJob | None, *, late: bool) -> str:
        """Note the findings of a lane if its job has answered or ended; return where it stands."""
        answer = _read(self._site / lane / probe.ANSWER)
        if answer is not None:
            return self._conclude(lane, *_judge(lane, answer, self._site))
        if job is not None and job.state is not JobState.ENDED:
            if not late:
                return job.state.value
            cure = "try again when the queue is shorter, or name a queue that starts sooner"
            return self._conclude(lane, Finding(lane, "queue", f"its job is still {job.state.value}", cure))
        if time.monotonic() - self._ended.setdefault(lane, time.monotonic()) < _LAG_S:
            return "ended"
        cause = job.cause if job is not None and job.cause else "ended without an answer"
        what = f"its job {cause}; {_last_line(self._site / lane)}"
        cure = "see whether the nodes have this folder and the lane's python"
        return self._conclude(lane, Finding(lane, "job", what, cure))

    def _conclude(self, lane: str, *findings: Finding) -> str:
        self._findings[lane] = list(findings)
        wrong = sum(bool(finding.cure) for finding in findings)
        return f"{wrong} problems" if wrong else "ok"


def _judge(lane: str, answer: Mapping[str, Any], site: Path) -> list[Finding]:
    findings = [Finding(lane, "folder", f"node {answer['node']} sees it")]
    mine, theirs = probe.versions(), answer["versions"]
    differ = [f"{name} {theirs[name]} there, {mine[name]} here" for name in mine if theirs[name] != mine[name]]
    cure = f"bring both to the same versions: {answer['python']} is used there" if differ else ""
    findings.append(Finding(lane, "versions", ", ".join(differ) or f"as here, {answer['python']}", cure))
    skew = answer["clock_offset_s"] - probe.clock_offset_s(site)
    cure = "ask the site to synchronise its clocks" if abs(skew) > WORST_SKEW_S else ""
    findings.append(Finding(lane, "clock", f"{skew:+.1f} s from this machine's", cure))
    for name, found in answer["checks"].items():
        findings.append(Finding(lane, name, found["what"], "" if found["ok"] else _CURES[name]))
    return findings


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError):
        os.listdir(path.parent)  # noqa: PTH208 - a network file system looks again
    with suppress(OSError, ValueError):
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else None
    return None


def _last_line(folder: Path) -> str:
    """Return the last thing that the job wrote."""
    for path in folder.glob("*.out"):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return f"its last words: {lines[-1][:200]}"
    return "it wrote nothing"


def _table(profile: Profile, findings: list[Finding]) -> Table:
    table = Table("lane", "check", "found", "cure", title=f"site {profile.name}")
    for finding in findings:
        colour = "red" if finding.cure else "green"
        table.add_row(finding.lane, f"[{colour}]{finding.check}[/{colour}]", escape(finding.what), escape(finding.cure))
    return table
