# SPDX-License-Identifier: BSD-3-Clause
"""Files that appear whole or not at all, and survive a power cut once we say so.

``link(2)`` publishes: it never overwrites, it is atomic on NFS, and when its reply is lost
``st_nlink == 2`` still tells the truth.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import uuid
import zlib
from pathlib import Path
from typing import Any

from bp_distributed.errors import StoreError

_SEAL = "self_crc"
_CHUNK = 1 << 20


def make_private_dir(path: Path) -> Path:
    """Create a directory (and its parents) with mode 0700, whatever the umask; return it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)
        except FileExistsError:  # a racing worker made it
            continue
        sync_directory(directory.parent)
    return missing[0] if missing else path


def sync_directory(path: Path) -> None:
    """Flush a directory, so that names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> tuple[int, str]:
    """Flush a file that another library wrote; return its size in bytes and sha256."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o600)
        size = os.fstat(descriptor).st_size
        while chunk := os.read(descriptor, _CHUNK):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def digest_of(path: Path) -> tuple[int, str]:
    """Return size in bytes and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def sealed_json(content: dict[str, Any]) -> bytes:
    """Return JSON bytes that carry a checksum of themselves."""
    text = json.dumps(content, sort_keys=True)
    return json.dumps({**content, _SEAL: zlib.crc32(text.encode())}, sort_keys=True, indent=1).encode() + b"\n"


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return the content of a sealed JSON file, or None when it is absent, torn or altered."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    seal = content.pop(_SEAL, None)
    return content if zlib.crc32(json.dumps(content, sort_keys=True).encode()) == seal else None


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, mode 0600, and flush it.

    Raises
    ------
    FileExistsError
        If the name is taken.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: Path, data: bytes) -> bool:
    """Make ``path`` appear with ``data``, durably; the first writer wins.

    Returns
    -------
    bool
        False when ``path`` exists already (somebody was first); it is left untouched.
    """
    aside = path.with_name(f".m-{uuid.uuid4().hex}")
    write_new(aside, data)
    try:
        return _link(aside, path)
    finally:
        os.unlink(aside)  # noqa: PTH108 - the protocol is a list of system calls, kept visible
        sync_directory(path.parent)


def _link(aside: Path, path: Path) -> bool:
    try:
        os.link(aside, path)
    except FileExistsError:
        # NFS may have lost the reply of our own successful link.
        return os.stat(aside).st_nlink == 2  # noqa: PTH116, PLR2004
    except OSError as error:
        if os.stat(aside).st_nlink == 2:  # noqa: PTH116, PLR2004
            return True
        if error.errno in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}:
            return _exclusive(path, aside.read_bytes())
        raise
    return True


def _exclusive(path: Path, data: bytes) -> bool:
    """Publish on a file system without hard links; a torn file fails its seal and counts as absent."""
    try:
        write_new(path, data)
    except FileExistsError:
        return False
    return True


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a small file that only informs (progress, heartbeat); atomic, not flushed."""
    replace_text(path, json.dumps(content))


def replace_text(path: Path, text: str) -> None:
    """Replace a small text file, mode 0600; atomic, not flushed."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a small file, mode 0600; atomic, not flushed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(aside, path)  # noqa: PTH105


def self_test(folder: Path) -> list[str]:
    """Try every operation the store relies on; return one line per finding.

    Raises
    ------
    StoreError
        Naming the step that failed: create, fsync, rename, link or private mode.
    """
    name = f".selftest-{uuid.uuid4().hex}"
    first, second, third = (folder / f"{name}-{i}" for i in range(3))
    step = "create"
    findings = []
    try:
        write_new(first, b"x")
        step = "fsync"
        sync_directory(folder)
        step = "rename"
        os.rename(first, second)  # noqa: PTH104
        step = "link"
        try:
            os.link(second, third)
            findings.append("hard links work: markers are published by link(2)")
        except OSError as error:
            findings.append(f"no hard links here ({error.strerror}): markers are published by O_EXCL")
        if stat.S_IMODE(second.stat().st_mode) & 0o077:
            findings.append("file modes are not honoured here: others may read this folder")
    except OSError as error:
        raise StoreError(str(folder), f"cannot {step} a file here: {error.strerror}; choose another folder") from error
    finally:
        for path in (first, second, third):
            path.unlink(missing_ok=True)
    return findings
