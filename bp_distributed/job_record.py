# SPDX-License-Identifier: BSD-3-Clause
"""What is known of one batch job, on disk while the driver lives and after: ``jobs/<id>.json``."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bp_distributed import durable

FOLDER = "jobs"
PENDING, RUNNING, ENDED = "pending", "running", "ended"


@dataclass
class JobRecord:
    """One batch job of a lane, as the driver that submitted it last saw it; times in epoch seconds."""

    id: str
    name: str
    lane: str
    """Tag of the shape it was submitted for."""
    epoch: int
    cores: int
    state: str = PENDING
    cause: str = ""
    """Why it ended, in the words of ``batch.BatchJob``."""
    nodes: list[str] = field(default_factory=list)
    submitted: float = 0.0
    started: float | None = None
    ended: float | None = None
    came_up: bool = False
    """A worker of it was seen."""

    def write(self, root: Path) -> None:
        """Put the record on disk."""
        folder = durable.make_private_dir(root / FOLDER)
        durable.replace_json(folder / f"{_file_name(self.id)}.json", asdict(self))


def read_records(root: Path) -> list[JobRecord]:
    """Return all batch jobs on record, oldest first; torn files are passed over."""
    found = [_read(path) for path in (root / FOLDER).glob("*.json")]
    return sorted((record for record in found if record), key=lambda record: record.submitted)


def read_record(root: Path, job: str) -> JobRecord | None:
    """Return one batch job by its id, or None."""
    return _read(root / FOLDER / f"{_file_name(job)}.json")


def _read(path: Path) -> JobRecord | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return JobRecord(**content)
    except (OSError, ValueError, TypeError):
        return None


def _file_name(job: str) -> str:
    """Return an id as a file name; PBS puts brackets and its server's name into ids."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", job)
