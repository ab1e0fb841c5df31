# SPDX-License-Identifier: BSD-3-Clause
"""Where a campaign stands, from what lies on disk: the table people look at and its JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bp_distributed.attempt import Attempt
from bp_distributed.job_record import PENDING, RUNNING, read_records
from bp_distributed.lock import live_owner
from bp_distributed.plan import TaskSpec
from bp_distributed.store import HAS_RESULT, TERMINAL, State, Store, TaskState

HOUR_S = 3600.0
SET_ASIDE = "set aside"
"""Stands where a cause would: a person did it."""


@dataclass
class StageRow:
    """One line of the table; times in core-hours."""

    stage: str
    tasks: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {state.value: 0 for state in State})
    core_hours_used: float = 0.0
    core_hours_remaining: float = 0.0

    @property
    def ended(self) -> int:
        """Tasks that will not run again by themselves."""
        return sum(self.counts[state.value] for state in TERMINAL)


@dataclass
class Searches:
    """What the committed batches of saddle searches found."""

    planned: int = 0
    """Saddles that the whole campaign asks for."""
    searches: int = 0
    successes: int = 0
    """Searches that ended at a saddle."""
    connected: int = 0
    """Of these, at one that belongs to the minimum the search left."""
    energy_sum_eV: float = 0.0
    """Of the activation energies of all successes."""

    def add(self, facts: Mapping[str, Any]) -> None:
        """Count one batch, from the facts in its marker."""
        for name in ("searches", "successes", "connected", "energy_sum_eV"):
            setattr(self, name, getattr(self, name) + facts.get(name, 0))

    @property
    def success_rate(self) -> float | None:
        """Share of searches that ended at a saddle."""
        return self.successes / self.searches if self.searches else None

    @property
    def connected_share(self) -> float | None:
        """Share of successes that are connected to the minimum they started from."""
        return self.connected / self.successes if self.successes else None

    @property
    def mean_energy_eV(self) -> float | None:  # noqa: N802 - the unit
        """Mean activation energy over all successes."""
        return self.energy_sum_eV / self.successes if self.successes else None

    @property
    def sentence(self) -> str:
        """Return the figures as people read them."""
        if not self.successes:
            return f"{self.searches:,} searches, no saddle yet"
        return (
            f"{self.successes:,} of at most {self.planned:,} saddles; {self.success_rate:.0%} of {self.searches:,} searches "
            f"succeeded, {self.connected_share:.0%} of these connected, mean barrier {self.mean_energy_eV:.3f} eV"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        rates = {name: getattr(self, name) for name in ("success_rate", "connected_share", "mean_energy_eV")}
        return {**asdict(self), **rates}


@dataclass(frozen=True)
class Running:
    """One task at work."""

    task: str
    name: str
    """Stage and label, as people know it."""
    host: str
    seconds: float
    fraction: float | None
    note: str


@dataclass
class LaneRow:
    """Batch jobs of one lane, as their records in ``jobs/`` tell."""

    lane: str
    pending: int = 0
    running: int = 0
    cores: int = 0
    """Of the running jobs."""
    ended: dict[str, int] = field(default_factory=dict)
    """Ended jobs by cause."""


@dataclass
class Status:
    """A whole campaign at one moment."""

    name: str
    root: str
    rows: list[StageRow]
    running: list[Running]
    causes: dict[str, int]
    """Number of quarantined and failed tasks per cause."""
    driver: str
    eta_s: float | None
    lanes: list[LaneRow] = field(default_factory=list)
    searches: Searches | None = None
    """None where the campaign has no saddle searches."""

    @property
    def finished(self) -> bool:
        """True when every task is terminal."""
        return all(row.ended == row.tasks for row in self.rows)

    @property
    def quarantined(self) -> int:
        """Return the number of tasks set aside."""
        return sum(row.counts[State.QUARANTINED] for row in self.rows)

    @property
    def tasks(self) -> int:
        """Return the number of tasks planned."""
        return sum(row.tasks for row in self.rows)

    @property
    def ended(self) -> int:
        """Return the number of tasks that are terminal."""
        return sum(row.ended for row in self.rows)

    @property
    def core_hours_used(self) -> float:
        """Return core-hours spent, failed attempts included."""
        return sum(row.core_hours_used for row in self.rows)

    @property
    def core_hours_remaining(self) -> float:
        """Return core-hours still to spend."""
        return sum(row.core_hours_remaining for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, for ``bpd status --json``."""
        searches = self.searches.to_json() if self.searches else None
        return {**asdict(self), "searches": searches, "finished": self.finished, "quarantined": self.quarantined}


def campaign_status(
    store: Store,
    seconds: Mapping[str, float],
    states: Mapping[str, TaskState] | None = None,
    slots: int = 1,
) -> Status:
    """Return the status of a campaign.

    Parameters
    ----------
    store : Store
    seconds : mapping
        Expected core-seconds by task key; corrected per stage by what finished tasks really took.
    states : mapping, optional
        States by task key; read from disk when absent.
    slots : int
        Tasks that run at once, for the ETA; 0 if nobody knows.
    """
    states = states or store.states()
    rows = {stage: StageRow(stage) for stage in store.plan.stages}
    expected_done: Counter[str] = Counter()
    spent_done: Counter[str] = Counter()
    remaining: Counter[str] = Counter()
    for task in store.plan.tasks:
        state = states[task.key]
        row = rows[task.stage]
        row.tasks += 1
        row.counts[state.state.value] += 1
        spent = _spent(state)
        row.core_hours_used += spent / HOUR_S
        if state.state in HAS_RESULT:
            expected_done[task.stage] += seconds.get(task.key, 0.0)  # type: ignore[assignment]
            spent_done[task.stage] += spent  # type: ignore[assignment]
        elif state.state not in TERMINAL:
            remaining[task.stage] += seconds.get(task.key, 0.0) * (1 - _fraction(state.running))  # type: ignore[assignment]
    for stage, row in rows.items():
        scale = spent_done[stage] / expected_done[stage] if expected_done[stage] and spent_done[stage] else 1.0
        row.core_hours_remaining = remaining[stage] * scale / HOUR_S
    left = sum(row.core_hours_remaining for row in rows.values())
    driver = live_owner(store.root)
    return Status(
        name=store.record["config"]["name"],
        root=str(store.root),
        rows=list(rows.values()),
        running=_running(store, states),
        causes=dict(_causes(states)),
        driver=f"{driver['user']} on {driver['host']}, pid {driver['pid']}" if driver else "",
        eta_s=left * HOUR_S / slots if left and slots else None,
        lanes=lane_rows(store.root),
        searches=_searches(store, states),
    )


def _searches(store: Store, states: Mapping[str, TaskState]) -> Searches | None:
    batches = [task for task in store.plan.tasks if task.part]
    found = Searches(sum(len(task.atoms) * int(task.request["events_per_atom"]) for task in batches))
    for task in batches:
        found.add((states[task.key].manifest or {}).get("facts", {}))
    return found if batches else None


def states_now(
    store: Store, states: Mapping[str, TaskState], in_flight: Mapping[str, TaskSpec]
) -> dict[str, TaskState]:
    """Return a driver's states with those of what is in flight read anew: it looks only when a task ends."""
    return {**states, **{key: store.state(task) for key, task in in_flight.items()}}


def lane_rows(root: Path) -> list[LaneRow]:
    """Return the lanes of a campaign with their batch jobs; none for a campaign that only ran on one machine."""
    rows: dict[str, LaneRow] = {}
    for job in read_records(root):
        row = rows.setdefault(job.lane, LaneRow(job.lane))
        if job.state == PENDING:
            row.pending += 1
        elif job.state == RUNNING:
            row.running += 1
            row.cores += job.cores
        else:
            row.ended[job.cause or "unknown"] = row.ended.get(job.cause or "unknown", 0) + 1
    return [rows[lane] for lane in sorted(rows)]


def _spent(state: TaskState) -> float:
    """Core-seconds of the attempts that count: the committed one and the charged failures."""
    manifest = state.manifest or {}
    return float(manifest.get("seconds", 0.0)) * int(manifest.get("threads", 1)) + sum(
        float(failure.get("seconds", 0.0)) for failure in state.failures
    )


def _fraction(attempt: Attempt | None) -> float:
    progress = attempt.progress if attempt else None
    if not progress or not progress.get("total"):
        return 0.0
    return min(1.0, max(0.0, float(progress["done"]) / float(progress["total"])))


def _running(store: Store, states: Mapping[str, TaskState]) -> list[Running]:
    found = []
    for key, state in states.items():
        if state.running is None:
            continue
        claim, progress = state.running.claim or {}, state.running.progress or {}
        fraction = _fraction(state.running) if progress else None
        elapsed = time.time() - float(claim.get("opened", time.time()))
        task = store.plan.task(key)
        name = f"{task.name} {store.plan.label(task.owner)}"
        found.append(Running(key, name, str(claim.get("host", "")), elapsed, fraction, str(progress.get("note", ""))))
    return found


def _causes(states: Mapping[str, TaskState]) -> Counter[str]:
    causes: Counter[str] = Counter()
    for state in states.values():
        if state.state in {State.FAILED, State.QUARANTINED}:
            causes[str(state.failures[-1]["cause"]) if state.failures else SET_ASIDE] += 1
    return causes


@dataclass(frozen=True)
class FailureRow:
    """One failed, rejected or quarantined task, for ``bpd status`` and the report."""

    task: str
    sample: str
    stage: str
    state: str
    failure_class: str
    reason: str
    message: str
    folder: str


def failure_rows(store: Store, states: Mapping[str, TaskState] | None = None) -> list[FailureRow]:
    """Return every task that did not end in ``done``, with its reason and where the evidence lies."""
    states = states or store.states()
    rows = []
    for task in store.plan.tasks:
        state = states[task.key]
        if state.state is State.REJECTED and state.manifest:
            rows.append(
                _row(store, task, state, "rejected", str(state.manifest.get("reason")), _verdict(state.manifest))
            )
        elif state.state in {State.FAILED, State.QUARANTINED}:
            last = state.failures[-1] if state.failures else {}
            message = str(last.get("message") or (state.manifest or {}).get("reason", ""))
            rows.append(
                _row(store, task, state, str(last.get("class", "")), str(last.get("cause", SET_ASIDE)), message)
            )
    return rows


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one cause."""

    cause: str
    count: int
    stages: tuple[str, ...]
    message: str
    """Of the first of them."""
    samples: tuple[str, ...]
    resubmit: bool
    """False for rejected samples: they are results, and would come out the same again."""


def failure_groups(rows: Sequence[FailureRow]) -> list[FailureGroup]:
    """Return failures by cause, the most frequent first."""
    by_cause: dict[tuple[bool, str], list[FailureRow]] = {}
    for row in rows:
        by_cause.setdefault((row.state != State.REJECTED, row.reason), []).append(row)
    groups = [_group(cause, alike, resubmit) for (resubmit, cause), alike in by_cause.items()]
    return sorted(groups, key=lambda group: (not group.resubmit, -group.count, group.cause))


def _group(cause: str, rows: Sequence[FailureRow], resubmit: bool) -> FailureGroup:
    stages, samples = (
        tuple(dict.fromkeys(names)) for names in zip(*((row.stage, row.sample) for row in rows), strict=True)
    )
    return FailureGroup(cause, len(rows), stages, rows[0].message, samples, resubmit)


def _row(store: Store, task: Any, state: TaskState, kind: str, reason: str, message: str) -> FailureRow:
    return FailureRow(
        task.key,
        store.plan.label(task.owner),
        task.stage,
        state.state.value,
        kind,
        reason,
        message,
        str(store.folder(task)),
    )


def _verdict(manifest: dict[str, Any]) -> str:
    """Return criterion, value and threshold of a rejection in one line; the rest of the evidence stays in its marker."""
    evidence = manifest.get("evidence", {})
    criterion = str(evidence.get("criterion", "")).replace("_", " ")
    return f"{criterion}: {_short(evidence.get('value'))}, limit {_short(evidence.get('threshold'))}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
