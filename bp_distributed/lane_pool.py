# SPDX-License-Identifier: BSD-3-Clause
"""Lanes of a cluster behind one scheduler and one dashboard.

Workers live in batch jobs, each offering one unit of ``lane-<tag>`` per slot; a task asks for one unit of its
lane's tag.  The batch system is looked at in a thread of its own, because its commands may take long.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from bp_distributed import durable
from bp_distributed.batch import BatchSystem, JobState, batch_system
from bp_distributed.cluster import SETTINGS, DaskPool, Fate
from bp_distributed.errors import ConfigError, InfrastructureError
from bp_distributed.job import Job, Report
from bp_distributed.job_record import ENDED, PENDING, RUNNING, JobRecord
from bp_distributed.job_script import job_script
from bp_distributed.ladder import next_shape
from bp_distributed.profile import Profile, Shape
from bp_distributed.reconciler import Limits, Reconciler, Wanted
from bp_distributed.scheduler import SchedulerProcess, host_of, scheduler_process
from bp_distributed.store import Store
from bp_distributed.tls import drop_keys, make_keys, security
from bp_distributed.worker import work

SURVEY_S = 2.0
IDLE_S, BLOCKING_S = 300.0, 10.0
"""Workers of a job that had nothing to do for this long are retired, if the work of their lane fits elsewhere; the
second figure holds while jobs of another lane wait in the queue, perhaps for these very cores."""
HEARTBEATS_S = 10.0
"""After this long the scheduler has heard what a worker is at."""
NEWS_S = 60.0
"""A batch system may not yet show what was submitted a moment ago."""
STRIKES = 2
"""Different samples that must fail on a node before it is left out."""

_FATES = {
    "timeout": Fate("timeout", "its batch job ran into its walltime"),
    "out_of_memory": Fate("out_of_memory", "its batch job ran out of memory"),
    "node_failure": Fate("node_failure", "its node failed", charged=False),
    "preempted": Fate("preempted", "its batch job was preempted", charged=False),
    "cancelled": Fate("job_cancelled", "its batch job was cancelled from outside", charged=False),
}
_STATES = {JobState.PENDING: PENDING, JobState.RUNNING: RUNNING, JobState.ENDED: ENDED}


@dataclass(frozen=True)
class WorkerView:
    """One worker as the scheduler sees it."""

    address: str
    name: str
    lane: str
    slots: int
    tasks: int
    """Sent to it."""
    at_work: int
    """Of these, begun, as its last heartbeat said."""


def _survey(dask_scheduler: Any) -> list[tuple[str, str, str, int, int, int]]:
    """Run on the scheduler: what each worker offers and has to do."""
    return [
        (state.address, str(state.name), next((tag for tag, units in state.resources.items() if units), ""),
         state.nthreads, len(state.processing), len(state.executing))
        for state in dask_scheduler.workers.values()
    ]  # fmt: skip


async def _offer_nothing(dask_worker: Any) -> None:
    """Run on a worker: it ends what it has begun and is sent nothing more."""
    await dask_worker.set_resources(**dict.fromkeys(dask_worker.state.total_resources, 0))


class LanePool(DaskPool):
    """Jobs in the lanes of a profile; see :class:`bp_distributed.cluster.Pool`."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        scheduler: SchedulerProcess,
        root: Path,
        prefix: str,
        epoch: int,
        tls: Path,
        batch: BatchSystem,
        function: Callable[[Job], Report] = work,
    ) -> None:
        super().__init__(client, function)
        self._profile, self._scheduler, self._root, self._batch = profile, scheduler, root, batch
        self._prefix, self._epoch, self._tls = prefix, epoch, tls
        patience = max(lane.death_timeout for lane in profile.lanes.values())
        submission = profile.submission
        self._reconciler = Reconciler(Limits(submission.max_jobs, submission.per_minute, 60.0 + patience))
        self._shapes: dict[str, Shape] = {}
        self._records: dict[str, JobRecord] = {}
        self._workers: list[WorkerView] = []
        self._surveyed = self._passed = float("-inf")
        self._serial = 0
        self._idle_since: dict[str, float] = {}
        self._leaving: dict[str, float] = {}
        self._strikes: dict[str, set[str]] = {}
        self._sick: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, "batch-system")
        self._pass: Future[None] | None = None

    # ---- what the driver asks ---------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Return the number of tasks that can run at once, over all lanes."""
        return max(1, sum(worker.slots for worker in self._workers))

    def place(self, job: Job, causes: Sequence[str], asked: Mapping[str, float]) -> Job:
        """Return the job with its lane, threads, memory and time."""
        base = self._profile.lane_of(job.stage)  # type: ignore[arg-type]
        shape = next_shape(base, causes, asked)
        self._shapes[shape.tag] = shape
        lane = base.shaped(shape)
        return replace(
            job, lane=shape.tag, threads=lane.threads, memory_bytes=lane.memory * lane.nodes * 2**30 / lane.workers,
            deadline_s=lane.walltime_s, walltime_s=lane.walltime_s - lane.margin,
        )  # fmt: skip

    def window(self, lane: str) -> int:
        """Nothing is sent to a lane without workers."""
        slots = sum(worker.slots for worker in self._workers if worker.lane == lane)
        return self._window(slots) if slots else 0

    def tend(self, demand: Mapping[str, int]) -> None:
        """Look at workers and batch jobs, submit what is missing, retire what is idle.

        Raises
        ------
        SchedulerDiedError
        """
        self._scheduler.check()
        now = time.monotonic()
        if now - self._surveyed > SURVEY_S:
            try:
                self._survey()
                self._leave_bad_nodes()
                self._retire_idle(demand)
            except OSError:  # the connection broke; its process may be dead by now
                time.sleep(1.0)
                self._scheduler.check()
            self._surveyed = time.monotonic()
        if self._pass is not None and self._pass.done():
            finished, self._pass = self._pass, None
            finished.result()
        if self._pass is None and now - self._passed > self._profile.submission.poll_s:
            self._passed = now
            self._pass = self._thread.submit(self._reconcile, dict(demand))

    def hopeless(self, demand: Mapping[str, int]) -> str:
        """Return why no lane that is wanted will ever have a worker, or nothing."""
        wanted = {tag for tag, count in demand.items() if count}
        alive = {worker.lane for worker in self._workers}
        alive |= {record.lane for record in list(self._records.values()) if record.state != ENDED}
        reasons = [self._sick[tag] for tag in sorted(wanted) if tag in self._sick and tag not in alive]
        return "; ".join(reasons) if wanted and len(reasons) == len(wanted) else ""

    def fate(self, claim: Mapping[str, Any]) -> Fate:
        """Return what the batch system says of the job in which a worker vanished."""
        record = self._records.get(str(claim.get("job", "")))
        return _FATES.get(record.cause, Fate()) if record and record.state == ENDED else Fate()

    def blame(self, claim: Mapping[str, Any], task: str, cause: str) -> None:
        """Count different samples that failed on a node; two leave it out of further jobs."""
        node = claim.get("node")
        if not node or cause not in {"node_failure", "worker_lost", "io", "mpi_missing", "no_verdict"}:
            return
        self._strikes.setdefault(str(node), set()).add(task)
        evidence = {name: sorted(tasks) for name, tasks in self._strikes.items()}
        durable.replace_json(self._root / "jobs" / "nodes.json", {"strikes": evidence, "excluded": self._excluded})

    def close(self) -> None:
        """Cancel every job of ours."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        alive = [record for record in self._records.values() if record.state != ENDED]
        with suppress(InfrastructureError):
            self._batch.cancel([record.id for record in alive])
        for record in alive:
            record.state, record.cause, record.ended = ENDED, "dismissed", time.time()
            record.write(self._root)

    # ---- workers ----------------------------------------------------------------------------------------------

    def _survey(self) -> None:
        seen = self.client.run_on_scheduler(_survey)  # type: ignore[no-untyped-call]
        self._workers = [
            WorkerView(address, name, tag.removeprefix("lane-"), *counts) for address, name, tag, *counts in seen
        ]
        for worker in self._workers:
            if record := self._records.get(self._job_of(worker)):
                record.came_up = True

    def _job_of(self, worker: WorkerView) -> str:
        """Return a worker's batch job, after which it is called; a job of several workers numbers them."""
        return worker.name if worker.name in self._records else worker.name.rpartition("-")[0]

    def _leave_bad_nodes(self) -> None:
        """Let workers on a node that is left out end what they have begun, send them nothing more, and close them."""
        bad, now = set(self._excluded), time.monotonic()
        there = [w for w in self._workers if bad & set(getattr(self._records.get(self._job_of(w)), "nodes", ()))]
        if new := [worker.address for worker in there if worker.address not in self._leaving]:
            self.client.run(_offer_nothing, workers=new, on_error="ignore")
            self._leaving |= dict.fromkeys(new, now)
        ready = [w.address for w in there if not w.at_work and now - self._leaving[w.address] > HEARTBEATS_S]
        if ready:  # what was sent but not begun goes to others
            self.client.retire_workers(ready, close_workers=True)

    def _retire_idle(self, demand: Mapping[str, int]) -> None:
        """Close the workers of a job that was idle for long, when the others have slots enough."""
        now = time.monotonic()
        tasks, slots, addresses, lane_of = Counter[str](), Counter[str](), dict[str, list[str]](), dict[str, str]()
        for worker in self._workers:
            job = self._job_of(worker)
            tasks[job] += worker.tasks
            slots[worker.lane] += worker.slots
            addresses.setdefault(job, []).append(worker.address)
            lane_of[job] = worker.lane
        self._idle_since = {job: self._idle_since.get(job, now) for job in addresses if not tasks[job]}
        for job, since in self._idle_since.items():
            lane = lane_of[job]
            own = self._profile.lanes[self._shapes[lane].lane].workers if lane in self._shapes else len(addresses[job])
            waiting = any(r.state == PENDING and r.lane != lane for r in list(self._records.values()))
            if now - since > (BLOCKING_S if waiting else IDLE_S) and demand.get(lane, 0) <= slots[lane] - own:
                self.client.retire_workers(addresses[job], close_workers=True)
                slots[lane] -= own

    # ---- batch jobs; in the thread ----------------------------------------------------------------------------

    def _reconcile(self, demand: dict[str, int]) -> None:
        with suppress(InfrastructureError):  # a batch system that does not answer is asked again later
            self._look()
            decision = self._reconciler.decide(self._wanted(demand), self._records.values(), time.time())
            self._sick = decision.sick
            if decision.cancel:
                self._batch.cancel([record.id for record in decision.cancel])
            for tag, count in decision.submit.items():
                for _ in range(count):
                    if not self._submit(tag):
                        break

    def _wanted(self, demand: Mapping[str, int]) -> dict[str, Wanted]:
        lanes = {tag: self._profile.lanes[self._shapes[tag].lane] for tag in demand if tag in self._shapes}
        return {tag: Wanted(demand[tag], lane.workers, lane.max_jobs) for tag, lane in lanes.items()}

    def _look(self) -> None:
        """Take over what the batch system says; a job it no longer knows has ended.

        One that is there although its submission seemed to fail is ours all the same.
        """
        prefix = f"{self._prefix}{self._epoch}-"
        known = {job.id: job for job in self._batch.jobs(prefix)}
        for job in known.values():
            if job.id not in self._records:
                self._enter(job.id, job.name, job.name.removeprefix(prefix).rpartition("-")[0])
        for record in self._records.values():
            if record.state == ENDED:
                continue
            now = known.get(record.id)
            if now is None and time.time() - record.submitted < NEWS_S:
                continue
            state = _STATES[now.state] if now else ENDED
            if now and now.nodes:
                record.nodes = list(now.nodes)
            if state == record.state:
                continue
            record.state = state
            if state != PENDING and record.started is None:
                record.started = time.time()
            if state == ENDED:
                record.cause, record.ended = (now.cause if now else "forgotten"), time.time()
            record.write(self._root)

    def _submit(self, tag: str) -> bool:
        """Submit one job; a refusal makes the lane sick and is told."""
        shape = self._shapes[tag]
        lane = self._profile.lanes[shape.lane].shaped(shape)
        self._serial += 1
        name = f"{self._prefix}{self._epoch}-{tag}-{self._serial}"
        script = job_script(
            lane, tag=tag, name=name, scheduler=self._scheduler.address, tls=self._tls, logs=self._root / "jobs",
            exclude=tuple(self._excluded),
        )  # fmt: skip
        try:
            job = self._batch.submit(script, self._root / "jobs", tag)
        except ConfigError as error:
            self._sick[tag] = str(error)
            return False
        self._enter(job, name, tag)
        return True

    def _enter(self, job: str, name: str, tag: str) -> None:
        lane = self._profile.lanes[self._shapes[tag].lane]
        record = JobRecord(job, name, tag, self._epoch, lane.cores * lane.nodes, submitted=time.time())
        record.write(self._root)
        self._records[job] = record

    @property
    def _excluded(self) -> list[str]:
        """Nodes on which different samples failed; none if that is most nodes, because then it is something else."""
        seen = {node for record in list(self._records.values()) for node in record.nodes}
        bad = sorted(node for node, tasks in list(self._strikes.items()) if len(tasks) >= STRIKES)
        return bad if len(bad) <= max(1, len(seen) // 2) else []


def job_prefix(store: Store) -> str:
    """Return how the names of all batch jobs of a campaign begin."""
    return f"bpd-{store.identity['uuid'][:8]}-"


def _client(address: str, tls: Path) -> Client:
    return Client(address, security=security(tls), set_as_default=False, timeout=30)  # type: ignore[no-untyped-call]


@contextmanager
def lane_pool(
    profile: Profile, store: Store, epoch: int, function: Callable[[Job], Report] = work
) -> Iterator[LanePool]:
    """Start a scheduler for the lanes of a profile; batch jobs come and go with the work.

    Parameters
    ----------
    profile : Profile
        Of a site with a batch system.
    store : Store
    epoch : int
        Of the driver's lock; jobs of earlier epochs are cancelled, since their scheduler is dead.
    function : callable
        What a worker does with a job.
    """
    for name in ("distributed", "distributed.client", "distributed.utils"):  # what it has to say we say in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    batch, prefix = batch_system(profile.system), job_prefix(store)
    for lane in profile.lanes.values():  # what no job script can hold is refused before anything is submitted
        job_script(
            lane, tag=lane.name, name=f"{prefix}{epoch}", scheduler="tls://localhost:1",
            tls=store.root / "tls", logs=store.root / "jobs",
        )  # fmt: skip
    durable.make_private_dir(store.root / "jobs")
    batch.cancel([job.id for job in batch.jobs(prefix) if job.state is not JobState.ENDED])
    tls = make_keys(store.root, epoch)
    try:
        with (
            dask.config.set(SETTINGS),
            scheduler_process(store.root, tls, host_of(profile.scheduler.interface)) as scheduler,
            _client(scheduler.address, tls) as client,
        ):
            pool = LanePool(client, profile, scheduler, store.root, prefix, epoch, tls, batch, function)
            try:
                yield pool
            finally:
                pool.close()
    finally:
        drop_keys(store.root, epoch)
