# SPDX-License-Identifier: BSD-3-Clause
"""Prove that the campaign folder keeps its promise: every task in one state, every result intact."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.attempt import attempts_of
from bp_distributed.commit import RESULT_MARKERS, Marker, adopt, committed, verified
from bp_distributed.errors import DamagedResultError
from bp_distributed.reader import Reader
from bp_distributed.store import State, Store


@dataclass
class Findings:
    """What ``bpd fsck`` found.  ``damage`` non-empty means exit code 2."""

    states: dict[str, int] = field(default_factory=dict)
    verified: int = 0
    damage: list[str] = field(default_factory=list)
    adoptable: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True when no committed result is damaged and no marker is torn."""
        return not self.damage


def fsck(store: Store, *, adopt_orphans: bool = False, deep: bool = True, progress: Any = iter) -> Findings:
    """Check every task of the plan in force.

    Parameters
    ----------
    store : Store
    adopt_orphans : bool
        Commit intact results whose writer died just before the marker.
    deep : bool
        Also open every result (in a guarded process), not only its checksum.
    progress : callable
        Wraps the list of tasks, to show a bar.

    Returns
    -------
    Findings
        Damaged results are quarantined, with the evidence, and never replaced silently.
    """
    findings = Findings()
    with Reader() as reader:
        for task in progress(store.plan.tasks):
            folder = store.folder(task)
            if not folder.exists():
                continue
            _adopt(folder, task.key, findings, do=adopt_orphans)
            _torn_markers(folder, task.key, findings)
            complaint = _complaint(folder, reader if deep else None, findings)
            if complaint:
                findings.damage.append(f"{task.key}: {complaint}")
                if not (folder / Marker.QUARANTINE).exists():
                    store.quarantine(task, f"damaged result: {complaint}")
            findings.notes += [f"{task.key}: {note}" for note in _odd(folder)]
    counts = Counter(state.state.value for state in store.states().values())
    findings.states = {state.value: counts.get(state.value, 0) for state in State}
    _balance(store, findings)
    _open_to_others(store.root, findings)
    return findings


def _adopt(folder: Path, key: str, findings: Findings, *, do: bool) -> None:
    if committed(folder) or not any(folder.glob("result-*")):
        return
    if not do:
        findings.adoptable.append(key)
    elif adopt(folder):
        findings.adopted.append(key)


def _torn_markers(folder: Path, key: str, findings: Findings) -> None:
    """Set torn markers aside: they come from damage, or a file system without hard links, and count as absent."""
    for marker in RESULT_MARKERS:
        path = folder / marker
        if path.exists() and durable.read_sealed(path) is None:
            number = len(list(folder.glob(f"{marker}.torn-*"))) + 1
            path.rename(folder / f"{marker}.torn-{number}")
            findings.damage.append(
                f"{key}: {marker} is torn or was edited; set aside, the task counts as not committed"
            )


def _complaint(folder: Path, reader: Reader | None, findings: Findings) -> str:
    manifest = committed(folder)
    if manifest is None:
        return ""
    try:
        path = verified(folder, manifest)
    except DamagedResultError as error:
        return error.what
    findings.verified += 1
    return reader.complaint(path) if reader else ""


def _odd(folder: Path) -> list[str]:
    """Return what is harmless but worth a line."""
    manifest = committed(folder)
    kept = {manifest["file"]} if manifest else set()
    notes = [f"unused {path.name}" for path in folder.glob("result-*") if manifest and path.name not in kept]
    notes += [f"left-over {path.name}" for path in folder.glob(".m-*")]
    for attempt in attempts_of(folder):
        duplicate = durable.read_sealed(attempt.folder / "DUPLICATE.json")
        if duplicate and not duplicate["equal"]:
            notes.append(f"attempt {attempt.folder.name} gave another result: the step is not deterministic")
    return notes


def _balance(store: Store, findings: Findings) -> None:
    """Every planned task is in exactly one state."""
    if (total := sum(findings.states.values())) != len(store.plan.tasks):
        findings.damage.append(f"{total} states for {len(store.plan.tasks)} planned tasks")


def _open_to_others(root: Path, findings: Findings) -> None:
    for name in ("samples", "melts", "plan", "lock"):
        path = root / name
        if path.exists() and path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            findings.notes.append(f"{name}/ can be read by others (mode {path.stat().st_mode & 0o777:o})")
