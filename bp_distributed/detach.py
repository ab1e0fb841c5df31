# SPDX-License-Identifier: BSD-3-Clause
"""A driver that outlives the terminal or notebook it was started from, and how to speak to it.

All talk goes through the campaign folder, so it works from any host that sees it: the lock tells who drives, a file
``STOP`` or ``DRAIN`` asks the driver to end, and the display is read from disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from bp_distributed import durable
from bp_distributed.batch import batch_system
from bp_distributed.cli import UNFINISHED, WITH_QUARANTINE
from bp_distributed.errors import CampaignError, ConfigError, LockedError
from bp_distributed.lock import live_owner, owner
from bp_distributed.process_identity import is_alive
from bp_distributed.profile import Profile, read_profile
from bp_distributed.status import Status
from bp_distributed.store import Store
from bp_distributed.tasks import DRAIN_FILE, STOP_FILE

LOG_FILE = "lock/driver.log"
_START_FILE = "lock/start.json"
FINISHED = 0
_BPD = (sys.executable, "-m", "bp_distributed.cli")
_POLL_S, _WATCH_S = 0.1, 0.5
_LOOK_AT_LEAST_S, _LOOK_SHARE = 2.0, 0.05


class DriverFailedError(CampaignError, RuntimeError):
    """A driver that was started apart has failed; its own sentence and exit code."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        """Return the sentence."""
        return str(self.args[0])


class Parting(StrEnum):
    """Why a display that followed a campaign ended."""

    FINISHED = "finished"
    NO_DRIVER = "no driver"
    LEFT = "left"


def start_detached(root: Path, arguments: Sequence[str] = (), *, steal: bool = False) -> int:
    """Start ``bpd run`` in a session of its own, wait until it holds the campaign, and return its pid.

    It survives the closing of terminal and notebook; what it says goes to ``lock/driver.log``.

    Parameters
    ----------
    root : Path
        A campaign that was started: bad input has been refused in the foreground before.
    arguments : sequence of str
        Further arguments of ``bpd run``; remembered for :func:`step`.
    steal : bool
        Take the campaign over from a driver that seems alive.

    Raises
    ------
    LockedError
        If another driver is at work.
    DriverFailedError
        If the driver ended before it held the campaign.
    """
    root = root.resolve()
    log = durable.make_private_dir(root / "lock") / Path(LOG_FILE).name
    command = [*_BPD, "run", str(root), "--quiet", *arguments, *(["--steal-lock", "--yes"] if steal else [])]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        begin = os.fstat(descriptor).st_size
        process = subprocess.Popen(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True
        )
    finally:
        os.close(descriptor)
    # Someone has to take its remains away, or it would seem alive as long as this notebook lives.
    threading.Thread(target=process.wait, name="driver-reaper", daemon=True).start()
    while process.returncode is None and not _drives(root, process.pid):
        time.sleep(_POLL_S)
    if process.returncode == LockedError.exit_code:
        raise LockedError(_last_line(log, begin))
    if process.returncode not in {None, FINISHED, UNFINISHED, WITH_QUARANTINE}:
        raise DriverFailedError(f"{_last_line(log, begin)} (all it said is in {log})", int(process.returncode))
    durable.replace_json(root / _START_FILE, {"arguments": list(arguments)})
    return process.pid


def _drives(root: Path, pid: int) -> bool:
    record = owner(root)
    return record is not None and record["pid"] == pid and live_owner(root) is not None


def _last_line(log: Path, begin: int) -> str:
    """Return the last line a driver wrote, without the name every message of ``bpd`` begins with."""
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begin)
        lines = file.read().strip().splitlines()
    return lines[-1].removeprefix("bpd: ") if lines else "the driver ended without a word"


def start_as_job(root: Path, profile: Profile, lane: str) -> str:
    """Submit the driver itself as a batch job and return the job's id.

    Parameters
    ----------
    root : Path
        A campaign that was started.
    profile : Profile
    lane : str
        Lane whose kind of job the driver gets; remembered for :func:`step`.

    Raises
    ------
    LockedError
        If another driver is at work or waits in the queue.
    ConfigError
        If the profile has no such lane, or the batch system refuses the job.
    """
    from bp_distributed.driver_job import submit_driver  # noqa: PLC0415 - pulls dask-jobqueue in

    if record := live_owner(root):
        raise LockedError(f"{root}: {record['user']} drives this campaign from {record['host']} (pid {record['pid']})")
    submitted = submit_driver(Store(root), profile, lane, _BPD)
    durable.replace_json(root / _START_FILE, {"lane": lane})
    return submitted


def attach(root: Path, look: Callable[[], Status], show: Callable[[Status], object]) -> Parting:
    """Show where a campaign stands until it ends or its driver is gone; Ctrl-C leaves the driver running.

    Parameters
    ----------
    root : Path
    look : callable
        Reads the status from disk, for instance ``Campaign.status``.
    show : callable
        Puts a status on the screen.
    """
    try:
        while True:
            driven = live_owner(root) is not None
            began = time.monotonic()
            status = look()
            took = time.monotonic() - began
            show(status)
            if status.finished:
                return Parting.FINISHED
            if not driven:
                return Parting.NO_DRIVER
            # Reading a large campaign is work for the file system: at most a twentieth of the time goes there.
            _sleep_while_driven(root, max(_LOOK_AT_LEAST_S, took / _LOOK_SHARE))
    except KeyboardInterrupt:
        return Parting.LEFT


def _sleep_while_driven(root: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and live_owner(root) is not None:
        time.sleep(_WATCH_S)


def stop(root: Path, wait_s: float = 0.0) -> bool:
    """Ask the driver to end: running steps end now, their checkpoints stay.

    Parameters
    ----------
    root : Path
    wait_s : float
        Seconds to wait until it has ended.

    Returns
    -------
    bool
        Whether it has ended.

    Raises
    ------
    ConfigError
        If no driver is at work.
    """
    if live_owner(root) is None and _withdraw_job(root):
        return True
    return _ask(root, STOP_FILE, wait_s)


def _withdraw_job(root: Path) -> bool:
    """Cancel a driver that still waits in the queue; return whether there was one."""
    if "lane" not in _remembered(root):
        return False
    from bp_distributed.driver_job import waiting_job  # noqa: PLC0415

    profile = _profile(root)
    if job := waiting_job(Store(root), profile):
        batch_system(profile.system).cancel([job.id])
    return job is not None


def drain(root: Path, wait_s: float = 0.0) -> bool:
    """Ask the driver to start nothing new and to end when what runs has ended or reached its next checkpoint.

    Parameters, returns and raises as :func:`stop`.
    """
    return _ask(root, DRAIN_FILE, wait_s)


def _ask(root: Path, file: str, wait_s: float) -> bool:
    if live_owner(root) is None:
        raise ConfigError(str(root), "", "no driver is at work here; there is nothing to stop")
    until = time.monotonic() + wait_s
    while live_owner(root) is not None:
        (root / file).touch(mode=0o600)  # again and again: a driver that is just starting clears what is left of old
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_S)
    (root / file).unlink(missing_ok=True)
    return True


def step(root: Path, look: Callable[[], Status]) -> tuple[int, str]:
    """See to it that an unfinished campaign is driven: for a line in a crontab, which then heals a reboot.

    Parameters
    ----------
    root : Path
    look : callable
        Reads the status from disk.

    Returns
    -------
    tuple of int and str
        Exit code of ``bpd step`` and a sentence.

    Raises
    ------
    DriverFailedError
        If a driver was started and failed.
    """
    root = root.resolve()
    record = live_owner(root)
    # The life of a driver on another host is not certain: its lock judges it, from its heartbeat.
    if record is not None and is_alive(record):
        return UNFINISHED, f"{record['user']} drives it from {record['host']}, pid {record['pid']}"
    status = look()
    if status.finished:
        aside = f"; {status.quarantined} tasks are set aside" if status.quarantined else ""
        return WITH_QUARANTINE if aside else FINISHED, f"all {status.tasks} tasks have ended{aside}"
    started = _remembered(root)
    try:
        if lane := started.get("lane"):
            who = f"batch job {start_as_job(root, _profile(root), lane)}"
        else:
            who = f"pid {start_detached(root, started.get('arguments', ()))}"
    except LockedError as error:  # it waits in the queue, or works on another host, where its heartbeat was watched
        return UNFINISHED, str(error)
    return UNFINISHED, f"driver started, {who}; {status.ended} of {status.tasks} tasks have ended"


def _remembered(root: Path) -> dict[str, Any]:
    """Return how the last driver was started."""
    try:
        content = json.loads((root / _START_FILE).read_bytes())
    except (OSError, ValueError):
        content = None
    return content if isinstance(content, dict) else {}


def _profile(root: Path) -> Profile:
    from bp_distributed.campaign import PROFILE_NAME  # noqa: PLC0415 - it imports this module

    return read_profile(root / PROFILE_NAME)
