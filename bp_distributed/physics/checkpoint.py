# SPDX-License-Identifier: BSD-3-Clause
"""Two-file checkpoints: while one is being written the other is whole.

A checkpoint is a binary restart written by LAMMPS, an ``.npz`` with what was recorded so far, and, last, a
JSON file that vouches for both by checksum.  Without a matching JSON file a checkpoint does not exist.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = ("A", "B")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    folder: Path
    name: str
    step: int
    records: dict[str, NDArray[Any]]

    @property
    def restart(self) -> Path:
        """Binary restart file."""
        return self.folder / f"{self.name}.restart"


def save(folder: Path, turn: int, step: int, records: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Vouch for the restart just written under the name of this ``turn``.

    Parameters
    ----------
    folder : Path
        Holds ``A.restart`` or ``B.restart``, already written.
    turn : int
        Number of the checkpoint; even turns are A, odd ones B.
    step : int
        Time step it stands at.
    records : mapping of str to ndarray
        What a resumed run must not lose.
    facts : mapping
        What must be the same for an exact continuation (program version, ranks).
    """
    name = restart_name(turn)
    with (folder / f"{name}.npz").open("wb") as file:
        np.savez(file, **dict(records))  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    _flush(folder / f"{name}.restart")
    content = {
        "step": step,
        "restart_sha256": _sha256(folder / f"{name}.restart"),
        "records_sha256": _sha256(folder / f"{name}.npz"),
        "facts": dict(facts),
    }
    aside = folder / f".{name}.json"
    aside.write_text(json.dumps(content), encoding="utf-8")
    _flush(aside)
    aside.replace(folder / f"{name}.json")


def restart_name(turn: int) -> str:
    """Return A or B."""
    return NAMES[turn % 2]


def withdraw(folder: Path, turn: int) -> None:
    """Drop the vouching file of a name before it is written again."""
    (folder / f"{restart_name(turn)}.json").unlink(missing_ok=True)


def newest(folders: Iterable[Path], facts: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint with the highest step that verifies and was made with the same ``facts``.

    Torn, altered or foreign checkpoints are passed over, never repaired.
    """
    found = [_read(folder, name, facts) for folder in folders for name in NAMES]
    return max((one for one in found if one), key=lambda one: one.step, default=None)


def copy_aside(found: Checkpoint, folder: Path) -> Path:
    """Copy the restart into the current attempt's folder, since its own may be overwritten; return the copy."""
    target = folder / "resumed.restart"
    shutil.copyfile(found.restart, target)
    return target


def _read(folder: Path, name: str, facts: Mapping[str, Any]) -> Checkpoint | None:
    try:
        content = json.loads((folder / f"{name}.json").read_bytes())
        restart, records = folder / f"{name}.restart", folder / f"{name}.npz"
        if content["facts"] != dict(facts) or _sha256(restart) != content["restart_sha256"]:
            return None
        if _sha256(records) != content["records_sha256"]:
            return None
        with np.load(records, allow_pickle=False) as stored:
            return Checkpoint(folder, name, int(content["step"]), {key: stored[key] for key in stored.files})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
