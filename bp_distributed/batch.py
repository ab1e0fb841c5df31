# SPDX-License-Identifier: BSD-3-Clause
"""Batch systems: submit a script, look at this user's jobs, cancel.  Argument lists only, never a shell.

Their commands are flaky: one that says the server was busy is asked again, with growing delay.  A submission that
timed out may have reached the server all the same; such a job shows up in :meth:`BatchSystem.jobs` under its name.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from bp_distributed.errors import ConfigError, InfrastructureError
from bp_distributed.profile import System, seconds_of

TRIES = 4
ANSWER_S = 60.0
_TRANSIENT = re.compile(
    r"timed? ?out|unable to contact|connection (refused|reset)|cannot connect|temporarily|try again|communication|"
    r"server is busy|zero bytes were transmitted|no route to host",
    re.IGNORECASE,
)
_GONE = re.compile("unknown job|has finished|invalid job id|already", re.IGNORECASE)
_SPEAKER = re.compile(r"^(\w+): (error: )?", re.MULTILINE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(\[\d*\])?[A-Za-z0-9_.-]*", re.ASCII)
_MANY = 200
"""Ids in one command line."""


class JobState(StrEnum):
    """Where a job stands for the batch system."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class BatchJob:
    """One job, as the batch system sees it."""

    id: str
    name: str
    state: JobState
    cause: str = ""
    """Why it ended: ``completed``, ``failed``, ``timeout``, ``out_of_memory``, ``node_failure``, ``preempted``,
    ``cancelled``; empty while it has not ended, or where nobody knows."""
    nodes: tuple[str, ...] = ()


class BatchSystem(ABC):
    """One batch system, asked through its own commands.

    Parameters
    ----------
    delay_s : float
        Seconds before the second try of a command whose server was busy; doubles with each further try.
    """

    submit_command: ClassVar[tuple[str, ...]]
    cancel_command: ClassVar[tuple[str, ...]]
    dropped: ClassVar[tuple[str, ...]] = ()
    """Beginnings of environment variables that would change what the commands do."""

    def __init__(self, delay_s: float = 2.0) -> None:
        self._delay_s = delay_s

    def submit(self, script: str, folder: Path, lane: str = "") -> str:
        """Submit a job script and keep it as ``<id>.sh``.

        Parameters
        ----------
        script : str
            Its text.
        folder : Path
            Private folder for the script; working directory of the command.
        lane : str
            Named in errors.

        Returns
        -------
        str
            The job's id.

        Raises
        ------
        ConfigError
            If the batch system refuses the job.
        InfrastructureError
            If it does not answer.
        """
        descriptor, name = tempfile.mkstemp(prefix="submit-", suffix=".sh", dir=folder)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(script)
            done = self._ask([*self.submit_command, name], folder)
            words = done.stdout.split()
            found = words[-1].partition(";")[0] if words else ""
            if done.returncode or not _ID.fullmatch(found):
                where = f"lane {lane}" if lane else self.submit_command[0]
                raise ConfigError(where, "", f"{self.submit_command[0]} refused the job: {_said(done)}")
            path.rename(folder / f"{found}.sh")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return found

    @abstractmethod
    def jobs(self, prefix: str) -> list[BatchJob]:
        """Return this user's jobs whose names start with ``prefix``, ended ones as long as they are remembered.

        Raises
        ------
        InfrastructureError
            If the batch system does not answer.
        """

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs; those that have ended already are passed over.

        Raises
        ------
        InfrastructureError
            If the batch system does not answer.
        """
        if strange := [found for found in ids if not _ID.fullmatch(found)]:
            raise ValueError(f"{strange[0]!r} is not a job id")
        for some in _batches(ids):
            done = self._ask([*self.cancel_command, *some])
            if _refused(done):
                raise InfrastructureError("batch_system", f"{self.cancel_command[0]} failed: {_said(done)}")

    def _ask(
        self, command: Sequence[str], folder: Path | None = None, tries: int = TRIES
    ) -> subprocess.CompletedProcess[str]:
        """Run a command until it gives an answer that is not about a busy server; the answer may be a refusal."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(self.dropped)}
        environment |= {"LC_ALL": "C", **self._kept(os.environ)}
        said = ""
        for attempt in range(tries):
            if attempt:
                time.sleep(self._delay_s * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            try:
                done = subprocess.run(
                    list(command), cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                    text=True, errors="replace", timeout=ANSWER_S, check=False,
                )  # fmt: skip
            except FileNotFoundError as error:
                what = f"is not on the path of {os.uname().nodename}; run this on a machine that submits jobs"
                raise ConfigError(command[0], "", what) from error
            except subprocess.TimeoutExpired:
                said = f"no answer within {ANSWER_S:.0f} s"
                continue
            if done.returncode == 0 or not _TRANSIENT.search(done.stderr):
                return done
            said = _said(done)
        raise InfrastructureError("batch_system", f"{command[0]} failed {tries} times: {said}")

    def _answer(self, command: Sequence[str]) -> str:
        """Return what a command printed, which must succeed."""
        done = self._ask(command)
        if done.returncode:
            raise InfrastructureError("batch_system", f"{command[0]} failed: {_said(done)}")
        return done.stdout

    @staticmethod
    def _kept(environment: Mapping[str, str]) -> dict[str, str]:
        """Return the few of the dropped variables that say where the server is."""
        return {name: environment[name] for name in ("SLURM_CONF", "SLURM_CLUSTERS") if name in environment}


def batch_system(system: System) -> BatchSystem:
    """Return the batch system of a lane.

    Raises
    ------
    ConfigError
        For one that we can write scripts for, but not ask for its jobs; for ``local``, which has none.
    """
    known: dict[str, type[BatchSystem]] = {"slurm": Slurm, "pbs": Pbs}
    if system not in known:
        what = f"got {system}, expected one of {', '.join(known)}: the others can only be shown with 'bpd script'"
        raise ConfigError("profile", "system", what)
    return known[system]()


# ---- Slurm ------------------------------------------------------------------------------------------------------------


class Slurm(BatchSystem):
    """``sbatch``, ``squeue``, ``scancel``, and ``sacct`` where accounting is kept."""

    submit_command = ("sbatch", "--parsable")
    cancel_command = ("scancel", "--quiet")
    dropped = ("SBATCH_", "SQUEUE_", "SCANCEL_", "SACCT_", "SLURM_")  # they outrank the lines of a script

    _ENDED: ClassVar = {
        "COMPLETED": "completed", "FAILED": "failed", "LAUNCH_FAILED": "failed", "TIMEOUT": "timeout",
        "DEADLINE": "timeout", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "node_failure",
        "BOOT_FAIL": "node_failure", "PREEMPTED": "preempted", "CANCELLED": "cancelled", "REVOKED": "cancelled",
    }  # fmt: skip
    _PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})

    def __init__(self, delay_s: float = 2.0) -> None:
        super().__init__(delay_s)
        self._accounting = True

    def jobs(self, prefix: str) -> list[BatchJob]:
        """Return jobs that the controller remembers, and older ones from the accounts of seven days."""
        user = str(os.getuid())
        queue = self._answer(["squeue", "--noheader", "--all", f"--user={user}", "--states=all", "-o", "%i|%T|%N|%j"])
        found = [self._job(row) for row in queue.splitlines()]
        known = {job.id for job in found}
        found += [
            job for job in map(self._job, self._past(user)) if job.state is JobState.ENDED and job.id not in known
        ]
        return [job for job in found if job.name.startswith(prefix)]

    def _past(self, user: str) -> list[str]:
        """Return the rows of the accounts, if any are kept and their server is up: nice to have, no more."""
        if not self._accounting:
            return []
        command = ["sacct", "--noheader", "--parsable2", "--allocations", f"--user={user}", "--starttime=now-7days",
                   "--format=JobIDRaw,State,NodeList,JobName"]  # fmt: skip
        try:
            past = self._ask(command, tries=1)
        except (InfrastructureError, ConfigError):
            return []
        self._accounting = "disabled" not in past.stderr
        return past.stdout.splitlines()

    def _job(self, row: str) -> BatchJob:
        number, state, nodes, name = row.split("|", 3)  # a name may hold anything, so it comes last
        word = state.split(maxsplit=1)[0].rstrip("+") if state else ""  # sacct says: CANCELLED by 1000
        if word in self._ENDED:
            return BatchJob(number, name, JobState.ENDED, self._ENDED[word], expand_nodes(nodes))
        pending = word in self._PENDING
        return BatchJob(
            number, name, JobState.PENDING if pending else JobState.RUNNING, "", () if pending else expand_nodes(nodes)
        )


def expand_nodes(text: str) -> tuple[str, ...]:
    """Return the names in a Slurm node list such as ``n[01-03,7],login1``."""
    if not text or " " in text:  # "None assigned"
        return ()
    return tuple(
        name for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text) for name in _expand_one(part) if name != "(null)"
    )


def _expand_one(part: str) -> list[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [head]
    inside, _, tail = rest.partition("]")
    numbers: list[str] = []
    for piece in inside.split(","):
        low, _, high = piece.partition("-")
        numbers += [f"{n:0{len(low)}d}" for n in range(int(low), int(high or low) + 1)]
    return [head + number + end for number in numbers for end in _expand_one(tail)]


# ---- PBS --------------------------------------------------------------------------------------------------------------


class Pbs(BatchSystem):
    """``qsub``, ``qselect``, ``qstat``, ``qdel`` of OpenPBS and PBS Professional."""

    submit_command = ("qsub",)
    cancel_command = ("qdel",)
    dropped = ("PBS_DPREFIX", "PBS_ACCOUNT")

    _STATES: ClassVar = {
        **dict.fromkeys("QHWT", JobState.PENDING),
        **dict.fromkeys("BRESU", JobState.RUNNING),
        **dict.fromkeys("FXMC", JobState.ENDED),
    }

    def __init__(self, delay_s: float = 2.0) -> None:
        super().__init__(delay_s)
        self._history, self._json = ["-x"], True

    def jobs(self, prefix: str) -> list[BatchJob]:
        """Return this user's jobs; ended ones where the server keeps a history."""
        user = pwd.getpwuid(os.getuid()).pw_name
        chosen = self._ask(["qselect", *self._history, "-u", user])
        if chosen.returncode and self._history:  # a server may keep none, or be too old for the option
            chosen = self._ask(["qselect", "-u", user])
            self._history = ["-x"] if chosen.returncode else []
        if chosen.returncode:
            raise InfrastructureError("batch_system", f"qselect failed: {_said(chosen)}")
        found = [_pbs_job(number, facts) for number, facts in self._facts(chosen.stdout.split()).items()]
        return [job for job in found if job.name.startswith(prefix)]

    def _facts(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the attributes of jobs by id; one that vanished between two commands is left out."""
        facts: dict[str, dict[str, Any]] = {}
        for some in _batches(ids):
            if self._json:
                done = self._ask(["qstat", *self._history, "-f", "-F", "json", *some])
                try:
                    facts |= json.loads(done.stdout).get("Jobs", {})
                    if not _refused(done):
                        continue
                except ValueError:  # an old qstat has no -F; a new one may print what is not JSON (an odd comment)
                    self._json = "-F" not in done.stderr and "usage" not in done.stderr
            done = self._ask(["qstat", *self._history, "-f", *some])
            if _refused(done):  # silence would be taken for the end of these jobs
                raise InfrastructureError("batch_system", f"qstat failed: {_said(done)}")
            facts |= _full_status(done.stdout)
        return facts


def _full_status(text: str) -> dict[str, dict[str, Any]]:
    """Return the attributes in the output of ``qstat -f``; long values go on in lines that start with a tab."""
    facts: dict[str, dict[str, Any]] = {}
    for line in text.replace("\n\t", "").splitlines():
        if line.startswith("Job Id: "):
            facts[line.removeprefix("Job Id: ").strip()] = {}
        elif facts and " = " in line:
            key, _, value = line.strip().partition(" = ")
            facts[next(reversed(facts))][key] = value
    return facts


def _pbs_job(number: str, facts: Mapping[str, Any]) -> BatchJob:
    state = Pbs._STATES.get(str(facts.get("job_state", "")), JobState.PENDING)
    hosts = (part.partition("/")[0] for part in str(facts.get("exec_host", "")).split("+"))
    nodes = tuple(dict.fromkeys(host for host in hosts if host))
    return BatchJob(
        number, str(facts.get("Job_Name", "")), state, _pbs_cause(facts) if state == JobState.ENDED else "", nodes
    )


_PBS_CODES = {
    -4: "node_failure", -5: "node_failure", -6: "node_failure", -14: "node_failure", -20: "node_failure",
    -26: "out_of_memory", -27: "out_of_memory", -28: "timeout", -29: "timeout", 0: "completed",
}  # fmt: skip
"""``Exit_status`` that PBS sets itself: MoM lost or restarted, a resource overrun (``job.h``, Administrator's Guide)."""
_PBS_TERMINATED = 91
"""Substate of a job that somebody deleted."""
_PBS_SIGNALLED = {256 + 15, 128 + 15, 256 + 9, 128 + 9}


def _pbs_cause(facts: Mapping[str, Any]) -> str:
    """Return why a PBS job ended, from its exit status, substate, comment and seconds used."""
    if facts.get("job_state") == "M":
        return ""
    comment = str(facts.get("comment", "")).lower()
    status = facts.get("Exit_status")
    if status is None:  # deleted before it ran; an old server forgets the status
        return "cancelled" if int(facts.get("substate", _PBS_TERMINATED)) == _PBS_TERMINATED else ""
    if (code := int(status)) in _PBS_CODES:
        return _PBS_CODES[code]
    if code in _PBS_SIGNALLED:
        if "preempt" in comment:
            return "preempted"
        if "mem" in comment and ("exceed" in comment or "limit" in comment):
            return "out_of_memory"
        if "walltime" in comment or _walltime_used_up(facts):
            return "timeout"
        if int(facts.get("substate", 0)) == _PBS_TERMINATED:
            return "cancelled"
    return "failed"


def _walltime_used_up(facts: Mapping[str, Any]) -> bool:
    """Tell it from the figures, which are nested in JSON and dotted in text."""
    given, used = (
        facts.get(name, {}).get("walltime") if isinstance(facts.get(name), dict) else facts.get(f"{name}.walltime")
        for name in ("Resource_List", "resources_used")
    )
    return bool(given and used) and seconds_of(str(used)) >= seconds_of(str(given))


# ---- both -------------------------------------------------------------------------------------------------------------


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _MANY] for start in range(0, len(ids), _MANY)]


def _refused(done: subprocess.CompletedProcess[str]) -> bool:
    """Tell whether a command complained of more than jobs that have ended meanwhile."""
    return done.returncode != 0 and any(line and not _GONE.search(line) for line in done.stderr.splitlines())


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command complained of, in one line without its own name."""
    lines = _SPEAKER.sub("", done.stderr.strip() or done.stdout.strip()).splitlines()
    text = "; ".join(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    return text[:300] or f"exit code {done.returncode}"
