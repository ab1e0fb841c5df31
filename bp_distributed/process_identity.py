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


def myself() -> dict[str, Any]:
    """Return host, boot, pid and start time of this process."""
    return {
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def is_alive(who: dict[str, Any]) -> bool | None:
    """Tell whether a recorded process lives: True, False, or None when it is on another host.

    A record of an earlier boot of the same host is dead.
    """
    if who.get("boot_id") != boot_id():
        return False if who.get("host") == socket.gethostname() else None
    try:
        process = psutil.Process(int(who["pid"]))
        return abs(process.create_time() - float(who["started"])) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, ValueError):
        return False
