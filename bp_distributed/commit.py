# SPDX-License-Identifier: BSD-3-Clause
"""The commit protocol: a result exists from the instant its marker is linked, and never changes.

The order of the steps is the whole point (``reliability.md``, section 7): the data are flushed and
named by content before the marker that vouches for them can appear.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.errors import DamagedResultError


class Marker(StrEnum):
    """Names of the terminal markers, in order of precedence."""

    QUARANTINE = "QUARANTINE.json"
    DONE = "DONE.json"
    REJECTED = "REJECTED.json"


RESULT_MARKERS = (Marker.DONE, Marker.REJECTED)
INTENT = "manifest.json"


@dataclass(frozen=True)
class Commit:
    """Outcome of one commit: the manifest in force, whether it is ours, and our own result's checksum."""

    manifest: dict[str, Any]
    won: bool
    sha256: str


def commit(folder: Path, result: Path, marker: Marker, facts: dict[str, Any]) -> Commit:
    """Commit ``result`` as the one result of the task in ``folder``.

    Parameters
    ----------
    folder : Path
        The task's folder; the marker appears in it.
    result : Path
        A closed, already verified file on the same file system; it is moved.
    marker : Marker
        ``DONE`` or ``REJECTED``.
    facts : dict
        JSON facts for the manifest (task, attempt, epoch, versions, cost, evidence).

    Returns
    -------
    Commit
        With ``won`` False if another attempt was first; then its result stands, and ``result`` is left
        where it lies, for comparison.
    """
    size, digest = durable.sync_file(result)
    if existing := committed(folder):
        return Commit(existing, won=False, sha256=digest)
    final = folder / f"result-{digest[:16]}{result.suffix}"
    manifest = {**facts, "file": final.name, "size": size, "sha256": digest, "marker": marker.value}
    # The intent lies beside the attempt, so that a death before the marker loses nothing (`adopt`).
    durable.write_new(result.parent / INTENT, durable.sealed_json(manifest))
    os.rename(result, final)  # noqa: PTH104 - the protocol is a list of system calls, kept visible
    durable.sync_directory(folder)
    if durable.publish(folder / marker, durable.sealed_json(manifest)):
        return Commit(manifest, won=True, sha256=digest)
    winner = committed(folder)
    if winner is None:
        raise DamagedResultError(str(folder / marker), "exists but is torn; run 'bpd fsck'")
    return Commit(winner, won=False, sha256=digest)


def adopt(folder: Path) -> dict[str, Any] | None:
    """Commit a result whose writer died between naming the data and linking the marker.

    Returns
    -------
    dict or None
        The manifest adopted; None when there is a marker already or nothing intact to adopt.
    """
    if committed(folder):
        return None
    for intent in sorted(folder.glob(f"attempts/*/{INTENT}")):
        manifest = durable.read_sealed(intent)
        if manifest is None:
            continue
        try:
            verified(folder, manifest)
        except DamagedResultError:
            continue
        durable.sync_file(folder / manifest["file"])
        durable.sync_directory(folder)
        if durable.publish(folder / manifest["marker"], durable.sealed_json(manifest)):
            return manifest
    return None


def committed(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of the task's committed result, or None; the data are not read."""
    for marker in RESULT_MARKERS:
        if manifest := durable.read_sealed(folder / marker):
            return manifest
    return None


def verified(folder: Path, manifest: dict[str, Any]) -> Path:
    """Return the path of a committed result after checking size and sha256.

    Raises
    ------
    DamagedResultError
        If the file is missing or differs from what was committed.
    """
    path = folder / str(manifest["file"])
    try:
        size, digest = durable.digest_of(path)
    except OSError as error:
        raise DamagedResultError(str(path), f"committed but unreadable ({error.strerror}); run 'bpd fsck'") from error
    if (size, digest) != (manifest["size"], manifest["sha256"]):
        what = f"differs from its marker ({size} bytes, sha256 {digest[:12]}; committed {manifest['size']} bytes, "
        raise DamagedResultError(str(path), what + f"sha256 {manifest['sha256'][:12]}); run 'bpd fsck'")
    return path
