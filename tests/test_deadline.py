# SPDX-License-Identifier: BSD-3-Clause
"""The end of a walltime: what still begins, what stops at a checkpoint, and what stays on disk (reliability.md F16)."""

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bp_distributed import attempt as attempt_module
from bp_distributed import deadline, durable
from bp_distributed.attempt import Attempt, attempts_of, bury_the_dead, claim
from bp_distributed.job import Job
from bp_distributed.store import State
from bp_distributed.tasks import run_job

TOY = Path(__file__).with_name("toy_step.py")


@pytest.fixture
def ends_in(monkeypatch):
    return lambda seconds: monkeypatch.setenv("BPD_DEADLINE", str(time.time() + seconds))


@pytest.fixture
def toy(campaign):
    """The job of the first melt, and a way to say how its attempts go."""
    store = campaign.start()
    task = next(task for task in store.plan.tasks if task.stage == "melt")

    def run(*behaviours):
        (campaign.root / "toy.json").write_text(json.dumps({task.key: behaviours or "ok"}))
        return run_job(replace(store.job(task), attempt=1 + len(attempts_of(store.folder(task))), walltime_s=600.0))

    run.store, run.task, run.folder = store, task, store.folder(task)
    return run


def job(stage="vibration", seconds=0.0, walltime_s=None, threads=1):
    return Job(
        "key", stage, "/root", "folder", {}, "potential", seconds=seconds, walltime_s=walltime_s, threads=threads
    )


@pytest.mark.parametrize(
    ("left", "stage", "seconds", "walltime_s", "begins"),
    [
        (100, "vibration", 80, None, True),
        (100, "vibration", 85, None, False),  # 1.2 times as long as expected is allowed for
        (100, "quench", 1e6, 3600, True),  # it stops at a checkpoint in time
        (4, "quench", 1e6, 3600, False),
        (4, "structure", 0, 3600, False),
        (3239, "vibration", 1e6, 3600, False),
        (3241, "vibration", 1e6, 3600, True),  # no worker of this lane has more time
        (26, "vibration", 1e6, 50, True),
        (3, "structure", 0, 5, True),
        (0, "structure", 0, 0.1, False),
    ],
)
def test_what_still_begins(ends_in, left, stage, seconds, walltime_s, begins):
    ends_in(left)
    why = deadline.too_late(job(stage, seconds, walltime_s))
    assert (why == "") is begins, why


def test_threads_share_the_work(ends_in):
    ends_in(100)
    assert deadline.too_late(job(seconds=300, threads=4)) == ""
    assert "are needed" in deadline.too_late(job(seconds=300, threads=2))


def test_without_a_batch_system_there_is_no_end(monkeypatch):
    monkeypatch.delenv("BPD_DEADLINE", raising=False)
    assert deadline.too_late(job(seconds=1e9)) == ""
    assert deadline.patience_s(replace(job(), deadline_s=50.0)) == 50.0
    assert deadline.is_fresh(job())


def test_a_step_is_ended_within_the_margin(ends_in):
    ends_in(100)
    lane = replace(job(), deadline_s=3600.0, walltime_s=3480.0)  # a margin of 120 s, of which 10 s are for leaving
    assert deadline.patience_s(lane) == pytest.approx(210, abs=1)
    assert deadline.patience_s(replace(lane, walltime_s=3595.0)) == pytest.approx(100, abs=1)
    assert deadline.patience_s(replace(job(), deadline_s=30.0)) == 30.0


def test_a_declined_task_leaves_no_trace(toy, ends_in):
    ends_in(1)
    report = toy()
    assert report.status == "declined"
    assert "1 s are left" in report.message or "0 s are left" in report.message
    assert not attempts_of(toy.folder)
    assert toy.store.state(toy.task).state is State.READY


def test_a_committed_task_is_not_declined(toy, ends_in):
    assert toy().status == "done"
    ends_in(1)
    assert toy().status == "done"


def test_a_paused_attempt_is_no_failure_and_the_next_one_goes_on(toy, ends_in):
    ends_in(600)
    report = toy("pause", "ok")
    assert (report.status, report.charged, report.attempt) == ("paused", True, 1)
    (first,) = attempts_of(toy.folder)
    assert {name: first.paused[name] for name in ("done", "total", "slices")} == {"done": 1, "total": 2, "slices": 1}
    assert not first.is_open
    assert not first.is_running
    state = toy.store.state(toy.task)
    assert (state.state, state.failures, state.causes) == (State.READY, (), ())
    assert toy("pause", "ok").status == "done"
    second = attempts_of(toy.folder)[1]
    asked = json.loads((second.folder / "request.json").read_text())
    assert asked["resume_from"] == [str(first.folder)]
    assert asked["deadline"] == float(os.environ["BPD_DEADLINE"])
    assert asked["fresh"] is True
    assert first.failure is None


def test_the_last_two_checkpoints_stay(toy, ends_in):
    ends_in(600)
    for _ in range(4):
        assert toy("pause").status == "paused"
    kept = [sorted(path.name for path in attempt.folder.glob("[AB].*")) for attempt in attempts_of(toy.folder)]
    assert kept == [[], [], ["A.json", "A.restart"], ["A.json", "A.restart"]]
    for attempt in attempts_of(toy.folder):
        assert not list(attempt.folder.glob("potential.*"))
        assert attempt.claim is not None
        assert attempt.paused is not None


def test_a_claim_says_where_it_ran(toy, ends_in, monkeypatch):
    ends_in(600)
    for name, value in {"BPD_JOB_ID": "17", "BPD_LANE": "quench-m2", "SLURMD_NODENAME": "n3"}.items():
        monkeypatch.setenv(name, value)
    toy()
    record = attempts_of(toy.folder)[0].claim
    assert {name: record[name] for name in ("job", "lane", "node")} == {"job": "17", "lane": "quench-m2", "node": "n3"}
    assert record["deadline"] == float(os.environ["BPD_DEADLINE"])


def test_a_solve_in_an_mpi_lane_is_told_its_nodes(monkeypatch):
    from bp_distributed.tasks import _mpi

    solve = replace(job(threads=2), request={"solver": "slepc"})
    assert _mpi(solve) == {}
    monkeypatch.setenv("BPD_LAUNCHER", '["srun", "-n", "{n}", "{cmd}"]')
    monkeypatch.setenv("BPD_NODES", "3")
    assert _mpi(solve) == {"launcher": ["srun", "-n", "{n}", "{cmd}"], "nodes": 3, "ranks": 6}
    assert _mpi(replace(solve, request={"solver": "lapack"})) == {}


@pytest.fixture
def elsewhere(tmp_path):
    """An open attempt of another host."""
    attempt = claim(tmp_path, epoch=1)
    record = {**attempt.claim, "host": "elsewhere", "boot_id": "another"}
    (attempt.folder / "claim.json").write_bytes(durable.sealed_json(record))
    yield attempt
    attempt_module._SEEN.clear()


def test_an_attempt_elsewhere_lives_as_long_as_its_counter_moves(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(attempt_module, "LEASE_S", 0.2)
    assert elsewhere.is_running, "a claim may be young: its first beat is still to come"
    durable.replace_json(elsewhere.folder / "hb", {"beat": 0})
    time.sleep(0.3)
    assert elsewhere.is_running, "the counter moved"
    assert elsewhere.is_running
    time.sleep(0.3)
    assert not elsewhere.is_running
    bury_the_dead(tmp_path, epoch=1)
    assert elsewhere.failure["cause"] == "worker_lost"


def test_clocks_of_two_hosts_are_not_compared(elsewhere):
    long_ago = time.time() - 1e6
    durable.replace_json(elsewhere.folder / "hb", {"beat": 7})
    for path in elsewhere.folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert elsewhere.is_running
    assert Attempt(elsewhere.folder).is_running


def toy_work(job):
    """Run on a worker that does not know the toy steps yet."""
    import bp_distributed.tasks
    from bp_distributed.worker import work

    bp_distributed.tasks.step_command = lambda step: [sys.executable, str(TOY), step]
    return work(job)


def test_a_worker_without_time_leaves_and_nobody_is_blamed(toy):
    """Two workers, one near its deadline: whatever it was given is declined or moves to the other."""
    from bp_distributed.cluster import local_pool

    with local_pool(2, toy_work) as pool:
        client = pool.client
        late, good = sorted(client.scheduler_info()["workers"])
        client.run(lambda: os.environ.update(BPD_DEADLINE=str(time.time() + 1)), workers=[late])
        job = toy.store.job(toy.task)
        futures = [client.submit(toy_work, replace(job, attempt=n), key=f"try-{n}", workers=[late], allow_other_workers=True)
                   for n in range(4)]  # fmt: skip
        statuses = {future.result(30).status for future in futures}
        assert "declined" in statuses
        del futures
        deadline_s = time.monotonic() + 20
        while set(client.scheduler_info()["workers"]) != {good} and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert set(client.scheduler_info()["workers"]) == {good}
        assert client.submit(toy_work, replace(job, attempt=9), key="last").result(30).status == "done"
        time.sleep(1.0)
        assert set(client.scheduler_info()["workers"]) == {good}, "its nanny must not start another one"


def test_a_worker_that_cannot_be_heard_stops_its_step(toy, monkeypatch):
    """Others will take it for dead; the folder of the attempt is moved away under it."""
    monkeypatch.setattr(attempt_module, "BEAT_S", 0.1)
    monkeypatch.setattr("bp_distributed.tasks.LEASE_S", 1.0)

    def lose_the_folder():
        while not list(toy.folder.glob("attempts/*/stderr")):
            time.sleep(0.01)
        (toy.folder / "attempts").rename(toy.folder / "elsewhere")

    thread = threading.Thread(target=lose_the_folder)
    thread.start()
    started = time.monotonic()
    report = toy("sleep")
    thread.join()
    assert (report.status, report.cause, report.charged) == ("failed", "folder_lost", False)
    assert time.monotonic() - started < 20
