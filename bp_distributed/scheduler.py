# SPDX-License-Identifier: BSD-3-Clause
"""The Dask scheduler as a child process of the driver.

A process of its own keeps the driver answering while thousands of messages come in, and its death is noticed
and told in one sentence.  It listens with TLS on one address only, and its dashboard on the loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bp_distributed import durable
from bp_distributed.child import PARENT, die_with_parent
from bp_distributed.errors import ConfigError, SchedulerDiedError

STARTING_S = 60.0


@dataclass(frozen=True)
class SchedulerProcess:
    """A running scheduler."""

    process: subprocess.Popen[bytes]
    address: str
    dashboard_port: int | None
    log: Path

    def check(self) -> None:
        """Raise :class:`SchedulerDiedError` when it has ended."""
        code = self.process.poll()
        if code is not None:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise SchedulerDiedError(
                f"the Dask scheduler died ({how}; see {self.log}); nothing is lost, 'bpd run' continues"
            )


def host_of(interface: str | None) -> str:
    """Return the IPv4 address of a network interface, or the loopback address for None.

    Raises
    ------
    ConfigError
        If this machine has no such interface.
    """
    if interface is None:
        return "127.0.0.1"
    known = psutil.net_if_addrs()
    for address in known.get(interface, ()):
        if address.family.name == "AF_INET":
            return str(address.address)
    raise ConfigError(
        "profile", "scheduler.interface", f"got {interface!r}, expected one of {', '.join(sorted(known))}"
    )


@contextmanager
def scheduler_process(root: Path, tls: Path, host: str, *, dashboard: bool = True) -> Iterator[SchedulerProcess]:
    """Start a scheduler and end it with the block.

    Parameters
    ----------
    root : Path
        Campaign folder; its log goes to ``lock/scheduler.log``.
    tls : Path
        Folder of the keys.
    host : str
        Address that workers reach.
    dashboard : bool
        Serve the dashboard on the loopback.

    Raises
    ------
    SchedulerDiedError
        If it does not come up.
    """
    lock = durable.make_private_dir(root / "lock")
    answer, log = lock / f"scheduler-{os.getpid()}.json", lock / "scheduler.log"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bp_distributed.scheduler", str(tls), host, str(answer), str(int(dashboard))]
    with open(log, "ab", opener=_private) as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0,
            env=os.environ | {PARENT: str(os.getpid())},
        )  # fmt: skip
    try:
        started = SchedulerProcess(process, "", None, log)
        deadline = time.monotonic() + STARTING_S
        while not answer.exists():
            started.check()
            if time.monotonic() > deadline:
                raise SchedulerDiedError(f"the Dask scheduler did not start within {STARTING_S:.0f} s; see {log}")
            time.sleep(0.05)
        facts = json.loads(answer.read_bytes())
        yield SchedulerProcess(process, facts["address"], facts["dashboard_port"], log)
    finally:
        process.kill()  # it holds nothing that matters
        process.wait()
        answer.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _serve(tls: Path, host: str, answer: Path, port: int, *, dashboard: bool) -> None:
    from distributed import Scheduler  # noqa: PLC0415 - the driver imports this module too

    from bp_distributed.tls import security  # noqa: PLC0415

    async with Scheduler(
        host=host, port=0, protocol="tls://", security=security(tls),
        dashboard_address=f"127.0.0.1:{port}", dashboard=dashboard,
    ) as scheduler:  # fmt: skip
        served = scheduler.http_server.port  # another than asked for if somebody was faster
        durable.replace_json(answer, {"address": scheduler.address, "dashboard_port": served, "pid": os.getpid()})
        await scheduler.finished()


def main() -> None:
    """Serve until killed."""
    import dask  # noqa: PLC0415

    from bp_distributed.cluster import SETTINGS  # noqa: PLC0415
    from bp_distributed.dashboard import dashboard_settings, free_port  # noqa: PLC0415

    die_with_parent()
    tls, host, answer, dashboard = sys.argv[1:]
    port = free_port()
    with dask.config.set(SETTINGS | dashboard_settings(port)):
        asyncio.run(_serve(Path(tls), host, Path(answer), port, dashboard=dashboard == "1"))


if __name__ == "__main__":
    main()
