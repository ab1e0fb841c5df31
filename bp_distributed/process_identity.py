# SPDX-License-Identifier: BSD-3-Clause
"""Who wrote this, and is it still alive?  A pid alone lies: it is reused, and it means nothing elsewhere."""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path
from typing import Any

import psutil


@functools.cache
def boot_id() -> str:
    """Return the identity of this boot of this host."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return (
        path.read_text(encoding="ascii").strip()
        if path.exists()
        else f"{socket.gethostname()}-{psutil.boot_time():.0f}"
    )


def start_of(pid: int) -> float:
    """Return when a process started, on a scale that every observer on this boot reads alike.

    Clock ticks since boot where there is ``/proc``; psutil's wall-clock time differs by a second between observers
    when the boot time is estimated anew, and a living process would pass for a reused pid.

    Raises
    ------
    psutil.NoSuchProcess
        If there is no such process, or only its remains.
    """
    if not Path("/proc/self/stat").exists():
        return float(round(psutil.Process(pid).create_time()))
    try:
        # The name in parentheses may itself hold spaces and parentheses; fields 3 and 22 follow it.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    if fields[0] in {"Z", "X"}:
        raise psutil.NoSuchProcess(pid)
    return float(fields[19])


def myself() -> dict[str, Any]:
    """Return host, boot, pid and start of this process."""
    return {"host": socket.gethostname(), "boot_id": boot_id(), "pid": os.getpid(), "start": start_of(os.getpid())}


def is_alive(who: dict[str, Any]) -> bool | None:
    """Tell whether a recorded process lives: True, False, or None when it is on another host.

    A record of an earlier boot of the same host is dead.
    """
    if who.get("boot_id") != boot_id():
        return False if who.get("host") == socket.gethostname() else None
    try:
        return start_of(int(who["pid"])) == float(who["start"])
    except (psutil.Error, KeyError, ValueError, OverflowError):
        return False
