# SPDX-License-Identifier: BSD-3-Clause
"""A site: its lanes, where each stage runs, how gently to submit.  Site facts only, never physics.

Every text that ends up in a job script is held to a pattern here, because dask-jobqueue pastes texts unquoted.
Neither transport nor its encryption is a choice: there is no key for it.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bp_distributed.config import AtKeyError, GiB, Model, SafeName, Stage, Whole, _first, _walltime
from bp_distributed.errors import ConfigError
from bp_distributed.strict_yaml import Document, is_clean, read_yaml

System = Literal["slurm", "pbs", "sge", "lsf", "local"]
BASH = "/bin/bash"
LONGEST_WALLTIME_S = 999 * 3600 + 59 * 60 + 59
_HERE = Path(__file__).resolve().parent
_FOLDERS = (_HERE / "deploy", _HERE.parent / "deploy")
"""Where profiles lie: in an installed wheel, and in a checkout."""

_VALUE = r"[A-Za-z0-9_.,:+/@%=\[\]-]+"
_DIRECTIVE = {
    "slurm": re.compile(rf"(?P<option>--[a-z][a-z0-9-]*|-[A-Za-z])(?:[= ](?!-)(?P<value>{_VALUE}))?"),
    "pbs": re.compile(rf"(?P<option>-[A-Za-z])(?: (?!-)(?P<value>{_VALUE}))?"),
    "sge": re.compile(rf"(?P<option>-[A-Za-z_]+)(?P<value>(?: (?!-){_VALUE})*)"),
    "lsf": re.compile(rf"(?P<option>-[A-Za-z_]+)(?P<value>(?: (?!-){_VALUE})*)"),
}
_NETWORK = "the network between driver and nodes, such as eth0 or ib0 ('ip -brief address' lists them)"
_KEYS = "set with the key "
_OURS = "fixed by bp_distributed"
_TAKEN = {
    "slurm": {
        "--time": _KEYS + "walltime", "-t": _KEYS + "walltime", "--partition": _KEYS + "queue", "-p": _KEYS + "queue",
        "--account": _KEYS + "account", "-A": _KEYS + "account", "--nodes": _KEYS + "nodes", "-N": _KEYS + "nodes",
        "--ntasks": _KEYS + "cores", "-n": _KEYS + "cores", "--ntasks-per-node": _KEYS + "cores",
        "--cpus-per-task": _KEYS + "cores", "-c": _KEYS + "cores", "--mem": _KEYS + "memory",
        "--mem-per-cpu": _KEYS + "memory",
        **dict.fromkeys(("--job-name", "-J", "--output", "-o", "--error", "-e", "--open-mode", "--export",
                         "--export-file", "--get-user-env", "--requeue", "--no-requeue", "--signal", "--array", "-a",
                         "--wrap", "--wait", "-W", "--exclude", "-x", "--parsable", "--test-only"), _OURS),
    },
    "pbs": {
        "-q": _KEYS + "queue", "-A": _KEYS + "account",
        **dict.fromkeys(("-N", "-o", "-e", "-j", "-V", "-v", "-J", "-r", "-S", "-I", "-X", "-z", "-C", "-k"), _OURS),
    },
    "sge": {
        "-q": _KEYS + "queue", "-P": _KEYS + "account",
        **dict.fromkeys(("-N", "-o", "-e", "-j", "-V", "-v", "-t", "-S", "-r", "-sync", "-cwd", "-terse"), _OURS),
    },
    "lsf": {
        "-q": _KEYS + "queue", "-P": _KEYS + "account", "-W": _KEYS + "walltime", "-M": _KEYS + "memory",
        "-n": _KEYS + "cores",
        **dict.fromkeys(("-J", "-o", "-e", "-oo", "-eo", "-env", "-I", "-Is", "-Ip", "-K", "-r", "-rn", "-L"), _OURS),
    },
}  # fmt: skip
_RESOURCES_TAKEN = {"walltime": "walltime", "h_rt": "walltime", "mem": "memory", "ncpus": "cores", "nodes": "nodes"}
_BATCH_ONLY = ("queue", "account", "walltime", "interface", "python", "prologue", "container", "directives", "scratch",
               "max_walltime")  # fmt: skip


def _pattern(pattern: str, expected: str) -> AfterValidator:
    """Return a check of the whole text; ``$`` would let a line break through at the end."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


def _one_line(text: str) -> str:
    if not is_clean(text) or not text.strip():
        raise ValueError("expected one line of text without control characters")
    return text


def _prologue_line(line: str) -> str:
    _one_line(line)
    if line.lstrip().startswith("#"):
        raise ValueError("expected a command: a comment could be taken for a directive; use the key directives")
    if line.endswith("\\") or "<<" in line:
        raise ValueError("expected a command that ends with its line: no \\ at the end, no here-document")
    return line


def _launcher_word(word: str) -> str:
    _one_line(word)
    rest = re.sub(r"\{(n|nodes|threads)\}", "", word)
    if word != "{cmd}" and ("{" in rest or "}" in rest):
        raise ValueError("expected a word; {n}, {nodes} and {threads} may be part of it, {cmd} stands alone")
    return word


def _walltime_text(text: str) -> str:
    if seconds_of(_walltime(text)) > LONGEST_WALLTIME_S:
        raise ValueError("expected at most 999 hours")
    return text


_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}"
LaneName = Annotated[str, _pattern(r"[a-z][a-z0-9_]{0,19}", "a-z, then up to 19 of a-z 0-9 _")]
Account = Annotated[str, _pattern(_WORD, "1 to 64 of the characters A-Z a-z 0-9 _ . + -, not starting with . + -")]
Queue = Annotated[
    str, _pattern(rf"{_WORD}([,@]{_WORD})?", "the name of a queue: 1 to 64 of A-Z a-z 0-9 _ . + -, or two with , or @")
]
Interface = Annotated[
    str, _pattern(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}", "the name of a network interface, such as ib0")
]
PlainPath = Annotated[
    str, _pattern(r"/[A-Za-z0-9_./+@=~-]*", "an absolute path of the characters A-Z a-z 0-9 _ . / + @ = ~ -")
]
Scratch = Annotated[
    str,
    _pattern(r"(/|\$[A-Za-z_]\w*)([A-Za-z0-9_./+-]|\$[A-Za-z_]\w*)*", "a path such as $TMPDIR or /scratch/$USER"),
]
Walltime = Annotated[str, AfterValidator(_walltime_text)]
Line = Annotated[str, AfterValidator(_one_line), Field(max_length=300)]
PrologueLine = Annotated[str, AfterValidator(_prologue_line), Field(max_length=1000)]
LauncherWord = Annotated[str, AfterValidator(_launcher_word), Field(max_length=300)]
Seconds = Annotated[Whole, Field(ge=0, le=86400)]


def seconds_of(walltime: str) -> int:
    """Return ``[days-]hours:minutes:seconds`` in seconds."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def walltime_of(seconds: float) -> str:
    """Return seconds as ``hours:minutes:seconds``, which every batch system reads (days not)."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


@dataclass(frozen=True)
class Shape:
    """A lane and how far its jobs have climbed the resource ladder."""

    lane: str
    memory_factor: int = 1
    walltime_factor: int = 1

    @property
    def tag(self) -> str:
        """Name of the shape: ``quench``, ``quench-m2``, ``quench-w2``, ``quench-m2-w2``."""
        memory = f"-m{self.memory_factor}" if self.memory_factor > 1 else ""
        walltime = f"-w{self.walltime_factor}" if self.walltime_factor > 1 else ""
        return self.lane + memory + walltime


class Lane(Model):
    """A pool of workers of one shape: what its jobs ask for and how they start."""

    name: LaneName
    """The key it stands under."""
    system: System
    queue: Queue | None = None
    account: Account | None = None
    nodes: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    cores: Annotated[Whole, Field(ge=1, le=4096)]
    """Per node."""
    workers: Annotated[Whole, Field(ge=1, le=4096)]
    """One-thread Dask workers per job, one task each.  Absent: as many as cores; one if ranks are launched."""
    memory: GiB
    """Per node."""
    walltime: Walltime | None = None
    """``[days-]hours:minutes:seconds``; only a local lane may do without."""
    max_memory: GiB | None = None
    """Top of the resource ladder, per node.  Absent: memory."""
    max_walltime: Walltime | None = None
    """Top of the resource ladder.  Absent: walltime."""
    interface: Interface | None = None
    """Network the workers listen on.  Absent: the scheduler's."""
    python: PlainPath | None = None
    """Interpreter of the workers.  Absent: the one that submits."""
    prologue: tuple[PrologueLine, ...] = ()
    """The owner's own shell code, run in the job before the worker starts; ``bpd script`` shows it."""
    container: PlainPath | None = None
    """Apptainer image the worker runs in."""
    launcher: tuple[LauncherWord, ...] = ()
    """Template that starts MPI ranks, as in :func:`bp_distributed.child.mpi_command`."""
    directives: tuple[Line, ...] = ()
    """Further options for the batch system, without ``#SBATCH`` or ``#PBS``."""
    scratch: Scratch = "$TMPDIR"
    """Node-local folder in which each job makes a private one."""
    max_jobs: Annotated[Whole, Field(ge=1, le=10_000)] = 10
    """Jobs of this lane in the queue at once."""
    margin: Seconds = 120
    """Seconds before the end of the walltime by which work must have ended."""
    death_timeout: Annotated[Seconds, Field(ge=10)] = 300
    """Seconds a worker waits for a lost scheduler."""

    @model_validator(mode="before")
    @classmethod
    def _usual_workers(cls, data: Any) -> Any:
        if isinstance(data, dict) and "workers" not in data:
            launches = data.get("launcher") or data.get("nodes", 1) != 1
            return {**data, "workers": 1 if launches else data.get("cores", 1)}
        return data

    @model_validator(mode="after")
    def _sound(self) -> Lane:
        self._check_local()
        if self.workers > self.cores:
            raise AtKeyError("workers", f"got {self.workers}, expected at most one per core ({self.cores})")
        if self.launches_ranks and self.workers != 1:
            raise AtKeyError(
                "workers", f"got {self.workers}, expected 1: that worker launches the MPI ranks of the job"
            )
        if self.nodes > 1 and not self.launcher:
            raise AtKeyError("launcher", "is missing: a job of several nodes needs [srun, ..., '{cmd}'] or the like")
        if self.launcher and self.launcher.count("{cmd}") != 1:
            raise AtKeyError("launcher", "expected the word '{cmd}' once, where the program stands")
        if self.container and not self.python:
            raise AtKeyError("python", "is missing: a container needs the path of its own interpreter")
        if self.container and self.launches_ranks:
            raise AtKeyError("container", "cannot hold a lane that launches MPI ranks: the launcher is outside")
        self._check_ladder()
        self._check_batch()
        return self

    def _check_ladder(self) -> None:
        if self.max_memory is not None and self.max_memory < self.memory:
            raise AtKeyError("max_memory", f"got {self.max_memory:g}, expected at least memory ({self.memory:g} GiB)")
        if self.max_walltime is not None and seconds_of(self.max_walltime) < self.walltime_s:
            raise AtKeyError("max_walltime", f"got {self.max_walltime}, expected at least walltime ({self.walltime})")
        if self.margin >= self.walltime_s:
            raise AtKeyError("margin", f"got {self.margin} s, expected less than walltime ({self.walltime})")

    def _check_local(self) -> None:
        if self.system != "local":
            return
        if set_here := [key for key in _BATCH_ONLY if key in self.model_fields_set]:
            raise AtKeyError(set_here[0], "means nothing on a local lane; remove it")
        if self.nodes > 1:
            raise AtKeyError("nodes", f"got {self.nodes}, expected 1 on a local lane")

    def _check_batch(self) -> None:
        if self.system == "local":
            return
        if self.walltime is None:
            raise AtKeyError("walltime", "is missing")
        if self.interface is None:  # Dask would listen on every network
            raise AtKeyError("interface", f"is missing: {_NETWORK}; or set scheduler.interface for all lanes")
        for directive in self.directives:
            if why := _why_refused(directive, self.system):
                raise AtKeyError("directives", f"got {directive[:60]!r}, {why}")
        if self.system == "sge" and self.cores > 1 and not any(text.startswith("-pe ") for text in self.directives):
            raise AtKeyError("directives", "needs the parallel environment of your site, such as '-pe smp 4'")
        if self.prologue and (why := _shell_complaint("\n".join(self.prologue))):
            raise AtKeyError("prologue", f"is not complete shell code: {why}")

    @property
    def launches_ranks(self) -> bool:
        """Tell whether tasks of this lane are MPI programs that fill its jobs."""
        return self.nodes > 1 or bool(self.launcher)

    @property
    def threads(self) -> int:
        """Cores for each worker."""
        return self.cores // self.workers

    @property
    def walltime_s(self) -> float:
        """Seconds; infinite where there is no limit."""
        return seconds_of(self.walltime) if self.walltime else math.inf

    def shaped(self, shape: Shape) -> Lane:
        """Return the lane as it is on a step of its resource ladder, within its tops."""
        memory = min(self.memory * shape.memory_factor, self.max_memory or self.memory)
        changed: dict[str, Any] = {"memory": memory}
        if self.walltime:
            top_s = seconds_of(self.max_walltime or self.walltime)
            changed["walltime"] = walltime_of(min(self.walltime_s * shape.walltime_factor, top_s))
        return self.model_copy(update=changed)


def _shell_complaint(code: str) -> str:
    """Return what bash says of code it reads without running it; code left open would swallow what follows."""
    checked = subprocess.run([BASH, "-n"], input=code, text=True, capture_output=True, check=False)
    return " ".join(checked.stderr.split())[:120] if checked.returncode or checked.stderr else ""


def _why_refused(directive: str, system: str) -> str:
    """Return what is wrong with a directive, or nothing.

    Slurm takes any beginning of a long option for the whole, and the last of two equal options; so an option
    that we write, or promise things about, is refused in every spelling.
    """
    match = _DIRECTIVE[system].fullmatch(directive)
    if match is None:
        return f"expected one option and its value, such as {'--qos=long' if system == 'slurm' else '-l place=excl'!r}"
    option, value = match["option"], match["value"] or ""
    for taken, why in _TAKEN[system].items():
        if option == taken or (option.startswith("--") and taken.startswith(option)):
            return f"{taken} is {why}"
    if option == "-l":
        for part in value.strip().split(","):
            if key := _RESOURCES_TAKEN.get(part.split("=")[0]):
                return f"{part.split('=')[0]} is {_KEYS}{key}"
    if option == "-W" and "block" in value:
        return "a blocking submission would hold the driver"
    return ""


class SchedulerSite(Model):
    """Where the Dask scheduler listens: on one interface that the nodes reach."""

    interface: Interface | None = None


class Submission(Model):
    """How gently to treat the batch system."""

    max_jobs: Annotated[Whole, Field(ge=1, le=10_000)] = 100
    """Jobs of all lanes in the queue at once."""
    per_minute: Annotated[Whole, Field(ge=1, le=600)] = 20
    """Submissions a minute."""
    poll_s: Annotated[Whole, Field(ge=1, le=3600)] = 30
    """Seconds between two looks at the queue."""


class Profile(Model):
    """A site."""

    name: SafeName
    description: Line = "no description"
    scheduler: SchedulerSite = SchedulerSite()
    lanes: dict[LaneName, Lane]
    stages: dict[Stage, LaneName] = Field(default_factory=dict)
    """Lane of each stage; a stage that is not named runs in the first lane."""
    submission: Submission = Submission()

    @model_validator(mode="before")
    @classmethod
    def _lanes_know_their_site(cls, data: Any) -> Any:
        """Give each lane its name, and in a batch system the scheduler's interface unless it names its own."""
        if not isinstance(data, dict) or not isinstance(data.get("lanes"), dict):
            return data
        scheduler = data.get("scheduler")
        given = {"interface": scheduler.get("interface")} if isinstance(scheduler, dict) else {}
        lanes = {
            key: {**(given if lane.get("system") != "local" else {}), **lane, "name": key}
            for key, lane in data["lanes"].items()
            if isinstance(lane, dict)
        }
        return {**data, "lanes": {**data["lanes"], **lanes}}

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        if not self.lanes:
            raise AtKeyError("lanes", "is empty, expected at least one lane")
        for stage, lane in self.stages.items():
            if lane not in self.lanes:
                raise AtKeyError("stages", f"{stage} got {lane!r}, expected one of the lanes {', '.join(self.lanes)}")
        systems = {lane.system for lane in self.lanes.values()}
        if len(systems) > 1:
            raise AtKeyError("lanes", f"got the systems {', '.join(sorted(systems))}, expected one for all lanes")
        if self.system != "local" and self.scheduler.interface is None:
            raise AtKeyError("scheduler", f"interface is missing: {_NETWORK}")
        return self

    @property
    def system(self) -> System:
        """Batch system of all lanes."""
        return next(iter(self.lanes.values())).system

    def lane_of(self, stage: Stage) -> Lane:
        """Return the lane a stage runs in."""
        return self.lanes[self.stages.get(stage, next(iter(self.lanes)))]


def shipped_profiles() -> dict[str, Path]:
    """Return the path of every profile that comes with the package, by name."""
    return {path.stem: path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))}


def profile_path(name_or_path: str | Path) -> Path:
    """Return the file a profile's name or path means.

    Raises
    ------
    ConfigError
        If it is neither a file nor the name of a shipped profile.
    """
    text = str(name_or_path)
    shipped = shipped_profiles()
    if text in shipped:
        return shipped[text]
    path = Path(text).expanduser()
    if not path.exists():
        what = f"is neither a file nor a shipped profile; expected one of {', '.join(shipped)}, or a path"
        raise ConfigError(f"profile {text!r}", "", what)
    return path


def read_profile(name_or_path: str | Path) -> Profile:
    """Read and check a site profile.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped profile, or a file.

    Raises
    ------
    ConfigError
        ``file:line: key: what, got, expected`` for the first thing that is wrong.
    """
    document = read_yaml(profile_path(name_or_path))
    if not isinstance(document.content, dict):
        raise ConfigError(document.where(()), "", "expected keys and values, such as 'name: my-site'")
    for path, known in _sections(document.content):
        _refuse_unknown_keys(document, path, known)
    try:
        return Profile.model_validate(document.content)
    except ValidationError as error:
        raise _first(error, document) from None


def _sections(content: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the path of every section and the keys it may hold."""
    yield (), list(Profile.model_fields)
    yield ("scheduler",), list(SchedulerSite.model_fields)
    yield ("submission",), list(Submission.model_fields)
    yield ("stages",), list(get_args(Stage))
    lanes = content.get("lanes")
    for name in lanes if isinstance(lanes, dict) else ():
        yield ("lanes", name), [key for key in Lane.model_fields if key != "name"]


def _refuse_unknown_keys(document: Document, path: tuple[str, ...], known: list[str]) -> None:
    section = document.content
    for step in path:
        section = section.get(step)
    for key in section if isinstance(section, dict) else ():
        if key not in known:
            where = (*path, key)
            raise ConfigError(document.where(where), ".".join(where), f"unknown key, expected {', '.join(known)}")
