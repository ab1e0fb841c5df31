# SPDX-License-Identifier: BSD-3-Clause
"""One execution of a task: its own folder, a claim, a heartbeat, and a record of how it ended.

The record is opened before the work and closed after it.  One left open is itself the evidence of a
death, because a killed worker writes no obituary.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.errors import FailureClass
from bp_distributed.process_identity import is_alive, myself

BEAT_S = 30.0
LEASE_S = 300.0
"""A counter of another host that has not moved for this long, by our own clock, belongs to a dead attempt."""

_COPIES = ("inputs.npz", "potential.*", "result.nc", "arrays.npz", "resumed.restart")
"""What another attempt makes anew."""
_CHECKPOINTS = 2
_SEEN: dict[Path, tuple[int, float]] = {}
"""Beat and our own time of its first sighting, of attempts on other hosts."""
_SCRATCH = (*_COPIES, "progress.json", "hb", "manifest.json", "verdict.json", "*.restart*", "[AB].*")


@dataclass(frozen=True)
class Attempt:
    """One attempt, as its folder tells it."""

    folder: Path

    @property
    def number(self) -> int:
        """Attempts are counted from 1."""
        return int(self.folder.name.split("-")[0])

    @property
    def claim(self) -> dict[str, Any] | None:
        """Host, pid, epoch and start of the attempt; None if the claim was torn."""
        return durable.read_sealed(self.folder / "claim.json")

    @property
    def failure(self) -> dict[str, Any] | None:
        """The obituary: class, cause, message, charged; None while open or successful.

        What became known only later, such as the failure of its node, is in it.
        """
        record = durable.read_sealed(self.folder / "FAILED.json")
        return record if record is None else record | (durable.read_sealed(self.folder / "EXPLAINED.json") or {})

    @property
    def progress(self) -> dict[str, Any] | None:
        """Latest ``done``, ``total`` and ``note`` of the running step, if it has spoken."""
        try:
            content = json.loads((self.folder / "progress.json").read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    @property
    def paused(self) -> dict[str, Any] | None:
        """How far it came if it stopped at a checkpoint in time: ``done``, ``total``, ``slices``, ``seconds``."""
        return durable.read_sealed(self.folder / "PAUSED.json")

    @property
    def is_open(self) -> bool:
        """True while nobody has written how it ended; also for the one that was committed."""
        return self.failure is None and self.paused is None

    @property
    def is_running(self) -> bool:
        """True while its process lives here, or its heart beats on a host we cannot see into."""
        claim = self.claim
        if claim is None or not self.is_open:
            return False
        alive = is_alive(claim)
        return self._beats() if alive is None else alive

    def _beats(self) -> bool:
        """Tell whether the counter has moved within the lease since it was first seen; clocks are not compared."""
        try:
            count = int(json.loads((self.folder / "hb").read_bytes())["beat"])
        except (OSError, ValueError, KeyError, TypeError):
            count = -1
        now = time.monotonic()
        seen, since = _SEEN.get(self.folder, (None, now))
        if seen != count:
            _SEEN[self.folder] = (count, now)
            return True
        return now - since <= LEASE_S

    def fail(self, failure_class: FailureClass, cause: str, message: str, **evidence: Any) -> dict[str, Any]:
        """Close the attempt with the reason of its failure; the first reason stands."""
        charged = evidence.pop("charged", True)
        record = {"class": failure_class.value, "cause": cause, "message": message, "charged": charged,
                  "ended": time.time(), **evidence}  # fmt: skip
        durable.publish(self.folder / "FAILED.json", durable.sealed_json(record))
        return record

    def pause(self, **record: Any) -> None:
        """Close the attempt at a checkpoint, for another one to go on; nobody is to blame."""
        durable.publish(self.folder / "PAUSED.json", durable.sealed_json({**record, "ended": time.time()}))

    def explain(self, cause: str, message: str, *, charged: bool) -> None:
        """Amend the obituary of a lost attempt with what the batch system said later."""
        record = {"cause": cause, "message": message, "charged": charged}
        durable.publish(self.folder / "EXPLAINED.json", durable.sealed_json(record))

    def sweep(self, *, keep_checkpoints: bool = False) -> None:
        """Drop scratch files; claim, logs and request stay, and on a full disk the checkpoints too."""
        for pattern in _COPIES if keep_checkpoints else _SCRATCH:
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)


def attempts_of(folder: Path) -> list[Attempt]:
    """Return the attempts of a task's folder, oldest first."""
    found = [Attempt(path) for path in folder.glob("attempts/[1-9]*-*") if path.name.split("-")[0].isdigit()]
    return sorted(found, key=lambda attempt: (attempt.number, attempt.folder.name))


def sweep_older_checkpoints(folder: Path) -> None:
    """Keep the last two checkpoints of a task, of one attempt or of two; the newest may turn out damaged."""
    kept = 0
    for attempt in reversed(attempts_of(folder)):
        if kept >= _CHECKPOINTS and not attempt.is_running:
            attempt.sweep()
        kept += len(list(attempt.folder.glob("[AB].json")))


def claim(folder: Path, epoch: int, **facts: Any) -> Attempt:
    """Open the next attempt of a task: the directory is the claim.

    Racing claims get folders of their own; safety lies in the commit, not here.
    """
    parent = durable.make_private_dir(folder / "attempts")
    number = 1 + max((attempt.number for attempt in attempts_of(folder)), default=0)
    attempt = Attempt(parent / f"{number}-{uuid.uuid4().hex[:8]}")
    attempt.folder.mkdir(mode=0o700)
    record = {**myself(), "epoch": epoch, "opened": time.time(), **facts}
    durable.write_new(attempt.folder / "claim.json", durable.sealed_json(record))
    return attempt


def bury_the_dead(folder: Path, epoch: int) -> None:
    """Close open attempts whose process is gone.

    One that died with an earlier driver is not the sample's fault and is not charged.
    """
    for attempt in attempts_of(folder):
        if not attempt.is_open or attempt.is_running:
            continue
        record = attempt.claim or {}
        died_with_driver = record.get("epoch", -1) < epoch
        attempt.fail(
            FailureClass.INFRASTRUCTURE,
            "driver_lost" if died_with_driver else "worker_lost",
            "its driver ended while it ran" if died_with_driver else "its worker process died",
            charged=not died_with_driver,
            host=record.get("host", "unknown"),
        )


@contextmanager
def heartbeat(attempt: Attempt) -> Iterator[Callable[[], float]]:
    """Rewrite a counter in the attempt's folder until the block ends; the step itself cannot stop it.

    Yields
    ------
    callable
        Seconds since the counter was last written.
    """
    over, last = threading.Event(), time.monotonic()

    def beat() -> None:
        nonlocal last
        count = 0
        while True:
            with suppress(OSError):  # a full or lost disk: the silence is the message
                durable.replace_json(attempt.folder / "hb", {"beat": count})
                last = time.monotonic()
            count += 1
            if over.wait(BEAT_S):
                return

    thread = threading.Thread(target=beat, name=f"heartbeat-{attempt.folder.name}", daemon=True)
    thread.start()
    try:
        yield lambda: time.monotonic() - last
    finally:
        over.set()
        thread.join(BEAT_S)  # one that hangs in a write is left behind
