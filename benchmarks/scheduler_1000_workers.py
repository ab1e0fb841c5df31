# SPDX-License-Identifier: BSD-3-Clause
"""What 1,000 workers cost the scheduler, in percent of one core, at the rate at which the papers' tasks end.

The scheduler is the one every campaign starts, in its own process, with TLS.  The workers are real Dask workers,
250 to a process, whose tasks only wait: batches of ARTn searches of 100 s, so that ten tasks begin and ten end each
second, which is more than quenches ever cause.  ``scaling`` holds the same figure for fewer workers.
"""

import asyncio
import logging
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bp_distributed.cluster import SETTINGS
from bp_distributed.scheduler import scheduler_process
from bp_distributed.tls import make_keys, security

WORKERS, PER_PROCESS, TASK_S, SETTLE_S, MEASURED_S = (250, 500, 1000), 250, 100.0, 20.0, 60.0
LIMIT_PERCENT = 50.0


async def _wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _serve(address: str, tls: str, first: int) -> None:
    """Run many workers in one process."""
    import dask
    from distributed import Worker

    logging.disable(logging.CRITICAL)

    async def main() -> None:
        keys = security(Path(tls))
        with tempfile.TemporaryDirectory() as folder:
            workers = [
                Worker(address, nthreads=1, name=f"w{first + k}", security=keys, protocol="tls://", host="127.0.0.1",
                       resources={"lane-artn": 1}, dashboard=False, memory_limit=0, local_directory=folder)
                for k in range(PER_PROCESS)
            ]  # fmt: skip
            for begin in range(0, PER_PROCESS, 10):  # all at once they would only wait for each other
                await asyncio.gather(*workers[begin : begin + 10])
            await asyncio.Event().wait()

    with dask.config.set(SETTINGS):
        asyncio.run(main())


def _percent(client, process: psutil.Process, count: int) -> float:
    """Return the processor time of the scheduler while tasks come and go."""
    serial, rate = 0, count / TASK_S
    began, ended, spent = time.monotonic(), None, 0.0
    pending = set()
    while True:
        now = time.monotonic() - began
        due = int(now * rate) + count - serial
        if due > 0:
            seconds = [TASK_S * (k + 1) / count if serial == 0 else TASK_S for k in range(due)]
            keys = [f"artn-{serial + k:08x}-1" for k in range(due)]
            pending |= set(client.map(_wait, seconds, key=keys, resources={"lane-artn": 1}, pure=False))
            serial += due
        pending = {future for future in pending if not future.done()}
        if ended is None and now > SETTLE_S:
            ended, spent = time.monotonic(), sum(process.cpu_times()[:2])
        if ended is not None and time.monotonic() - ended > MEASURED_S:
            used = sum(process.cpu_times()[:2]) - spent
            client.cancel(list(pending))
            return 100 * used / (time.monotonic() - ended)
        time.sleep(0.5)


def run() -> dict:
    import dask
    from distributed import Client

    context = multiprocessing.get_context("spawn")
    scaling = {}
    with tempfile.TemporaryDirectory(prefix="bpd-bench-") as folder, dask.config.set(SETTINGS):
        root = Path(folder)
        tls = make_keys(root, 1)
        with scheduler_process(root, tls, "127.0.0.1") as scheduler:
            process = psutil.Process(scheduler.process.pid)
            hosts = []
            with Client(scheduler.address, security=security(tls), set_as_default=False) as client:
                for count in WORKERS:
                    while len(hosts) * PER_PROCESS < count:
                        host = context.Process(
                            target=_serve, args=(scheduler.address, str(tls), PER_PROCESS * len(hosts))
                        )
                        host.start()
                        hosts.append(host)
                    while len(client.nthreads()) < count:
                        time.sleep(1.0)
                    scaling[count] = _percent(client, process, count)
                    print(f"      {count} workers: {scaling[count]:.1f} % of a core", file=sys.stderr, flush=True)
                memory = process.memory_info().rss / 1e6
            for host in hosts:
                host.kill()
                host.join()
    percent = scaling[WORKERS[-1]]
    return {"row": "scheduler_1000_workers", "ours": percent, "peer": LIMIT_PERCENT, "ratio": LIMIT_PERCENT / percent,
            "unit": "% of one core", "detail": {"scaling": scaling, "tasks_per_s": WORKERS[-1] / TASK_S,
            "scheduler_memory_MB": memory, "measured_s": MEASURED_S, "target": "< 50 %"}}  # fmt: skip
