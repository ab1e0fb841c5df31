# SPDX-License-Identifier: BSD-3-Clause
"""The campaign folder: an immutable plan, one folder per sample, and states read from what lies there.

====================================  =====================================================================
path                                  content
====================================  =====================================================================
``campaign.json``                     identity of the campaign; never changes
``plan/0001.json``                    configuration in force, numbered; a change adds a file, none is edited
``plan/plan-<sha>.jsonl``             the samples and tasks of one configuration
``potentials/``, ``structures/``      the inputs, by content
``samples/<aa>/<sid>/<stage>-<8>/``   one task: ``attempts/``, ``result-<sha16>.nc``, one marker
``samples/<aa>/<sid>/activation/``    a folder ``<part>-<8>/`` per batch of atoms, each a task of its own
``melts/<aa>/<id>/melt-<8>/``         the same for melts
``lock/``, ``journal/``               who drives, and what was done when (history, not truth)
``products/``                         gathered dataset, trained model, report; derived, may be deleted
====================================  =====================================================================
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_distributed import durable
from bp_distributed.attempt import Attempt, attempts_of
from bp_distributed.commit import Marker, committed, verified
from bp_distributed.config import Resources
from bp_distributed.errors import FailureClass, StoreError
from bp_distributed.job import Job
from bp_distributed.plan import Plan, TaskSpec

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = 1


class State(StrEnum):
    """Where a task stands; derived from its folder, never stored."""

    DONE = "done"
    REJECTED = "rejected"
    RUNNING = "running"
    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    BLOCKED = "blocked"
    """It waits for something that is quarantined."""


TERMINAL = frozenset({State.DONE, State.REJECTED, State.QUARANTINED, State.BLOCKED})
HAS_RESULT = frozenset({State.DONE, State.REJECTED})


@dataclass(frozen=True)
class TaskState:
    """One task as its folder tells it: state, marker content and charged failures per class."""

    state: State
    manifest: dict[str, Any] | None = None
    failures: tuple[dict[str, Any], ...] = ()
    """Charged failures since the last release, oldest first."""
    causes: tuple[str, ...] = ()
    """Causes of all failed attempts, forgiven ones too, oldest first."""
    asked: Mapping[str, float] = field(default_factory=dict)
    """``memory`` (GiB) and ``walltime`` (s) that the last release asked for."""
    attempts: int = 0
    """Attempts ever opened, as long as there is no result."""
    running: Attempt | None = None

    def charged(self, failure_class: FailureClass) -> int:
        """Return how many charged failures of one class stand against the task."""
        return sum(failure["class"] == failure_class for failure in self.failures)


class Store:
    """One campaign folder.  Opening it reads the plan in force; nothing else is kept in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.identity = _identity(self.root)
        self.record, self.plan = _plan_in_force(self.root)

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Tell whether a campaign was planned in this folder, soundly or not."""
        return (root / "campaign.json").is_file() and _newest_record(root)[0] > 0

    # ---- the plan ---------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, root: Path, plan: Plan, config: dict[str, Any], inputs: Iterable[Path], versions: dict[str, str]
    ) -> Store:
        """Make the folder a campaign, or open it when it is one with this very plan.

        Parameters
        ----------
        root : Path
        plan : Plan
        config : dict
            The resolved configuration, JSON-ready.
        inputs : iterable of Path
            Potential and structure files; copied in under their content's name.
        versions : dict
            Version of every tool that matters.

        Raises
        ------
        StoreError
            If the folder cannot hold a campaign.
        """
        durable.make_private_dir(root)
        durable.self_test(root)
        for name in ("plan", "samples", "melts", "potentials", "structures", "journal", "lock", "products"):
            durable.make_private_dir(root / name)
        for path in inputs:
            _keep_input(root, path)
        identity = {"schema": SCHEMA, "uuid": uuid.uuid4().hex, "created": time.time(), "versions": versions}
        durable.publish(root / "campaign.json", durable.sealed_json(identity))
        _publish_plan(root / "plan" / f"plan-{plan.sha256}.jsonl", plan.to_jsonl().encode())
        record = {"config": config, "plan_sha256": plan.sha256, "created": time.time(), "versions": versions}
        number, newest = _newest_record(root)
        if newest is None or newest["plan_sha256"] != plan.sha256 or newest["config"] != config:
            number += 1
            if not durable.publish(root / "plan" / f"{number:04d}.json", durable.sealed_json(record)):
                raise StoreError(str(root / "plan"), "another process changes the plan at this moment; try again")
        return cls(root)

    def job(self, task: TaskSpec, epoch: int = 0) -> Job:
        """Return a task as it travels to a worker."""
        resources = self.record["config"]["resources"][task.stage]
        spec = self.plan.spec(task.owner)
        attributes = {
            "title": f"{task.name} of {spec.label}",
            "bp_owner": task.owner,
            "bp_task_digest": task.digest,
            "bp_potential_sha256": self.plan.potential.sha256,
            "elements": " ".join(self.plan.potential.elements),
        }
        if task.part:
            attributes["bp_request"] = json.dumps(task.request, sort_keys=True)
        return Job(
            key=task.key, stage=task.stage, root=str(self.root), folder=task.folder, request=task.whole_request,
            potential=self.plan.potential.file, source=task.source or (self.plan.task(task.needs[0]).folder if task.needs else ""),
            epoch=epoch, deadline_s=Resources(**resources).walltime_s, threads=resources["cores"],
            memory_bytes=resources["memory"] * 2**30, attributes=attributes,
        )  # fmt: skip

    def unfinished(self) -> list[TaskSpec]:
        """Return the tasks that are not terminal yet."""
        states = self.states()
        return [task for task in self.plan.tasks if states[task.key].state not in TERMINAL]

    # ---- tasks ------------------------------------------------------------------------------------------------

    def folder(self, task: TaskSpec) -> Path:
        """Return the folder of a task, whether it exists or not."""
        return self.root / task.folder

    def state(self, task: TaskSpec) -> TaskState:
        """Return the state of one task; of its needs only the markers are looked at."""
        state = folder_state(self.folder(task))
        if state.state is State.READY and not all(self.has_result(self.plan.task(need)) for need in task.needs):
            return TaskState(State.WAITING)
        return state

    def has_result(self, task: TaskSpec) -> bool:
        """Tell whether a task has a committed result (done or rejected)."""
        return committed(self.folder(task)) is not None

    def states(self) -> dict[str, TaskState]:
        """Return the state of every task of the plan, by task key."""
        found = {task.key: folder_state(self.folder(task)) for task in self.plan.tasks}
        for task in self.plan.tasks:
            if found[task.key].state is State.READY and any(found[need].state not in HAS_RESULT for need in task.needs):
                found[task.key] = TaskState(State.WAITING)
        mark_blocked(self.plan, found)
        return found

    def load(self, task: TaskSpec, *, verify: bool = True) -> xr.Dataset:
        """Return a committed result; its checksum is verified unless told otherwise.

        Raises
        ------
        DamagedResultError
            If the file does not match its marker.
        StoreError
            If there is no committed result.
        """
        return load_result(self.folder(task), verify=verify)

    # ---- quarantine and release -------------------------------------------------------------------------------

    def quarantine(self, task: TaskSpec, reason: str, **evidence: Any) -> None:
        """Set a task aside until a person releases it."""
        folder = durable.make_private_dir(self.folder(task))
        record = {"task": task.key, "reason": reason, "time": time.time(), **evidence}
        durable.publish(folder / Marker.QUARANTINE, durable.sealed_json(record))

    def release(self, task: TaskSpec, asked: Mapping[str, float] | None = None) -> bool:
        """Forgive a task's failures and lift its quarantine, keeping the evidence; return whether there was any.

        ``asked`` may hold ``memory`` (GiB) and ``walltime`` (s) for the attempts to come.
        """
        folder = self.folder(task)
        count = len(attempts_of(folder))
        number = 1 + len(list(folder.glob("released-*.json")))
        marker = folder / Marker.QUARANTINE
        state = folder_state(folder)
        if state.state not in {State.FAILED, State.QUARANTINED} and not state.failures:
            return False
        if marker.exists():
            marker.rename(folder / f"quarantine-{number}.json")
            manifest = committed(folder)
            if manifest:  # a damaged result: set it and its marker aside, so that the task can run again
                (folder / manifest["marker"]).rename(folder / f"damaged-{number}.json")
        durable.publish(
            folder / f"released-{number}.json",
            durable.sealed_json({"attempts": count, "time": time.time(), "asked": dict(asked or {})}),
        )
        return True


def mark_blocked(plan: Plan, states: dict[str, TaskState]) -> None:
    """Tell tasks that wait for a quarantined one from those whose turn will come; needs stand first in a plan."""
    for task in plan.tasks:
        if states[task.key].state is State.WAITING:
            needs = {states[need].state for need in task.needs}
            if needs & {State.QUARANTINED, State.BLOCKED}:
                states[task.key] = TaskState(State.BLOCKED)


def folder_state(folder: Path) -> TaskState:
    """Return the state of a task's folder by itself, needs not considered."""
    try:
        names = set(os.listdir(folder))  # noqa: PTH208 - one system call per task matters at 10,000 tasks
    except FileNotFoundError:
        return TaskState(State.READY)
    if Marker.QUARANTINE in names:
        record = durable.read_sealed(folder / Marker.QUARANTINE) or {}
        return TaskState(State.QUARANTINED, record, _charged(folder, names), _causes(attempts_of(folder)))
    for marker, state in ((Marker.DONE, State.DONE), (Marker.REJECTED, State.REJECTED)):
        if marker in names and (manifest := durable.read_sealed(folder / marker)):
            return TaskState(state, manifest)
    if "attempts" not in names:
        return TaskState(State.READY)
    attempts = attempts_of(folder)
    running = next((attempt for attempt in reversed(attempts) if attempt.is_running), None)
    failures = _charged(folder, names)
    state = State.RUNNING if running else State.FAILED if failures else State.READY
    return TaskState(state, None, failures, _causes(attempts), _asked(folder, names), len(attempts), running)


def load_result(folder: Path, *, verify: bool = True, leave: Collection[str] = ()) -> xr.Dataset:
    """Return the committed result in a task's folder (see :meth:`Store.load`), without the variables named in ``leave``."""
    from bp_distributed import dataset  # noqa: PLC0415 - xarray costs 0.5 s, and most commands never read a result

    manifest = committed(folder)
    if manifest is None:
        raise StoreError(str(folder), "holds no committed result yet; run 'bpd run'")
    return dataset.read(verified(folder, manifest) if verify else folder / manifest["file"], leave)


def load_stage(folders: Sequence[Path], leave: Collection[str] = ()) -> xr.Dataset:
    """Return the result of one stage of one sample from the folders of its batches, most often one; each is verified."""
    from bp_distributed.dataset import joined  # noqa: PLC0415 - as above

    parts = [load_result(folder, leave=leave) for folder in folders]
    return joined(parts) if len(parts) > 1 else parts[0]


def _causes(attempts: Iterable[Attempt]) -> tuple[str, ...]:
    return tuple(str(failure["cause"]) for attempt in attempts if (failure := attempt.failure))


def _asked(folder: Path, names: set[str]) -> dict[str, float]:
    """Return the resources that the newest release asked for."""
    releases = sorted((name for name in names if name.startswith("released-")), key=lambda name: int(name[9:-5]))
    record = durable.read_sealed(folder / releases[-1]) if releases else None
    return dict((record or {}).get("asked", {}))


def _charged(folder: Path, names: set[str]) -> tuple[dict[str, Any], ...]:
    releases = [durable.read_sealed(folder / name) for name in names if name.startswith("released-")]
    forgiven = max((record["attempts"] for record in releases if record), default=0)
    failures = [attempt.failure for attempt in attempts_of(folder)[forgiven:]]
    return tuple(failure for failure in failures if failure and failure["charged"])


def _identity(root: Path) -> dict[str, Any]:
    path = root / "campaign.json"
    if not path.is_file():
        raise StoreError(str(root), "is not a campaign yet; 'bpd init' makes a campaign.yaml, 'bpd run' starts it")
    identity = durable.read_sealed(path)
    if identity is None:
        raise StoreError(str(path), "is torn or was edited; restore it from a copy")
    if identity["schema"] > SCHEMA:
        what = (
            f"was written by a newer bp_distributed (schema {identity['schema']}, this one knows {SCHEMA}); update it"
        )
        raise StoreError(str(path), what)
    return identity


def _newest_record(root: Path) -> tuple[int, dict[str, Any] | None]:
    """Return number and content of the newest configuration; the content is None if it is absent or damaged."""
    path = max((root / "plan").glob("[0-9]*.json"), default=None)
    return (int(path.stem), durable.read_sealed(path)) if path else (0, None)


def _publish_plan(path: Path, data: bytes) -> None:
    """Write a plan; a damaged file of its name is set aside first."""
    if path.exists() and path.read_bytes() != data:
        path.rename(path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:8]}"))
    durable.publish(path, data)


def _plan_in_force(root: Path) -> tuple[dict[str, Any], Plan]:
    number, record = _newest_record(root)
    if number == 0:
        raise StoreError(str(root), "holds no plan yet; run 'bpd run'")
    if record is None:
        raise StoreError(
            str(root / "plan" / f"{number:04d}.json"), "is torn or was edited; 'bpd amend' writes it again"
        )
    path = root / "plan" / f"plan-{record['plan_sha256']}.jsonl"
    try:
        plan = Plan.from_jsonl(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(str(path), f"is unreadable ({error}); 'bpd amend' writes the plan again") from error
    if plan.sha256 != record["plan_sha256"]:
        raise StoreError(str(path), "does not match its checksum; 'bpd amend' writes the plan again")
    return record, plan


def input_name(path: Path, sha256: str) -> str:
    """Return the name an input file gets in the campaign: its content's, with its own suffixes."""
    suffixes = [suffix for suffix in path.suffixes[-2:] if suffix.isascii() and suffix[1:].isalpha()]
    return sha256[:16] + "".join(suffixes)


def _keep_input(root: Path, path: Path) -> None:
    _, sha256 = durable.digest_of(path)
    kind = "potentials" if ".eam" in path.suffixes else "structures"
    kept = root / kind / input_name(path, sha256)
    if kept.exists():
        return
    aside = kept.with_name(f".{kept.name}-{uuid.uuid4().hex[:8]}")
    shutil.copyfile(path, aside)
    durable.sync_file(aside)
    aside.replace(kept)
    durable.sync_directory(kept.parent)


class Journal:
    """What this driver did and when, one JSON line each; history for people, never a source of truth."""

    def __init__(self, root: Path, epoch: int) -> None:
        path = durable.make_private_dir(root / "journal") / f"{epoch:04d}-{os.getpid()}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, event: str, **facts: Any) -> None:
        """Append one line."""
        line = json.dumps({"time": time.time(), "event": event, **facts}) + "\n"
        with suppress(OSError):  # history may be lost, work may not
            os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @staticmethod
    def read(root: Path) -> Iterator[dict[str, Any]]:
        """Yield every line ever written, driver by driver; torn lines are passed over."""
        for path in sorted((root / "journal").glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    yield json.loads(line)
                except ValueError:
                    continue
