# SPDX-License-Identifier: BSD-3-Clause
"""One driver at a time.  The lock is a sealed file published by ``link(2)``; every take-over raises the epoch.

A late driver of an older epoch notices and stops; results its workers still commit are harmless,
because the first writer wins.
"""

from __future__ import annotations

import getpass
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bp_distributed import durable
from bp_distributed.errors import LockedError, SupersededError
from bp_distributed.process_identity import is_alive, myself

LEASE_S = 300.0
BEAT_S = 10.0


def owner(root: Path) -> dict[str, Any] | None:
    """Return the record of the newest driver, alive or not; None before the first one."""
    path = _newest(root)
    return durable.read_sealed(path) if path else None


def live_owner(root: Path) -> dict[str, Any] | None:
    """Return the record of a driver that is not known to be dead, or None."""
    record = owner(root)
    if record is None or record.get("uid") != os.getuid() or (root / "lock" / f"released-{record['epoch']}").exists():
        return None
    return None if is_alive(record) is False else record


def _newest(root: Path) -> Path | None:
    return max((root / "lock").glob("driver-*.lock"), key=_epoch, default=None)


def _epoch(path: Path | None) -> int:
    return int(path.stem.split("-")[1]) if path else 0


class DriverLock:
    """Held by the process that conducts the campaign in ``root``.

    Raises
    ------
    LockedError
        On entry, when a live driver holds it (``steal`` overrides).
    """

    def __init__(self, root: Path, *, steal: bool = False) -> None:
        self._root, self._steal = root, steal
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.epoch = 0

    def __enter__(self) -> DriverLock:
        durable.make_private_dir(self._root / "lock")
        while True:
            record = owner(self._root)
            if not self._steal and record and self._holds(record):
                raise LockedError(
                    f"{self._root}: {record['user']} drives this campaign from {record['host']} (pid {record['pid']}); "
                    "look with 'bpd status', stop it with 'bpd cancel', or wait"
                )
            self.epoch = 1 + _epoch(_newest(self._root))
            mine = {
                **myself(),
                "uid": os.getuid(),
                "user": _user(),
                "epoch": self.epoch,
                "uuid": uuid.uuid4().hex,
            }
            if durable.publish(self._root / "lock" / f"driver-{self.epoch}.lock", durable.sealed_json(mine)):
                break
        self._thread = threading.Thread(target=self._beat, name="driver-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread:
            self._thread.join()
        (self._root / "lock" / f"released-{self.epoch}").touch(mode=0o600)
        for path in (self._root / "lock").iterdir():  # history of epochs lies in the journal
            number = path.name.split(".")[0].split("-")[-1]
            if number.isdigit() and int(number) < self.epoch:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise :class:`SupersededError` when a newer driver took over."""
        record = owner(self._root)
        if record and record["epoch"] > self.epoch:
            what = f"{self._root}: a newer driver on {record['host']} (pid {record['pid']}) took this campaign over; stopping"
            raise SupersededError(what)

    def _holds(self, record: dict[str, Any]) -> bool:
        if live_owner(self._root) is None:
            return False
        if is_alive(record):
            return True
        return self._heartbeat_moves(record["epoch"])

    def _heartbeat_moves(self, epoch: int) -> bool:
        """Watch another host's counter; clocks of two hosts are never compared."""
        path = self._root / "lock" / f"driver-{epoch}.hb"
        first, deadline = _content(path), time.monotonic() + LEASE_S
        while time.monotonic() < deadline:
            time.sleep(BEAT_S / 5)
            if _content(path) != first:
                return True
        return False

    def _beat(self) -> None:
        count = 0
        while True:
            with suppress(OSError):  # silence is the message
                durable.replace_json(self._root / "lock" / f"driver-{self.epoch}.hb", {"beat": count})
            count += 1
            if self._over.wait(BEAT_S):
                return


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for this user
        return f"uid {os.getuid()}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
