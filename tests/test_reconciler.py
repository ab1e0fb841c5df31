# SPDX-License-Identifier: BSD-3-Clause
"""Decisions about batch jobs, without any batch system."""

import pytest

from bp_distributed.job_record import ENDED, PENDING, RUNNING, JobRecord, read_record, read_records
from bp_distributed.reconciler import SURPLUS_PASSES, Limits, Reconciler, Wanted

LIMITS = Limits(max_jobs=10, per_minute=600, come_up_s=100.0)


def job(number, lane="single", state=PENDING, **facts):
    return JobRecord(str(number), f"bpd-{number}", lane, 1, 4, state=state, submitted=float(number), **facts)


def wanted(tasks, slots=4, most=8):
    return {"single": Wanted(tasks, slots, most)}


@pytest.mark.parametrize(
    ("tasks", "jobs", "expected"),
    [(0, 0, 0), (1, 0, 1), (4, 0, 1), (5, 0, 2), (1000, 0, 8), (1000, 3, 5), (5, 2, 0)],
)
def test_jobs_are_submitted_for_what_is_wanted_and_no_more(tasks, jobs, expected):
    decision = Reconciler(LIMITS).decide(wanted(tasks), [job(n) for n in range(jobs)], now=1000.0)
    assert decision.submit.total() == expected
    assert not decision.cancel


def test_all_lanes_share_the_limit_of_jobs_and_the_rate_of_submission():
    two = {"single": Wanted(100, 1, 8), "mpi": Wanted(100, 1, 8)}
    assert Reconciler(LIMITS).decide(two, [], now=0.0).submit.total() == LIMITS.max_jobs
    slow = Reconciler(Limits(max_jobs=10, per_minute=3, come_up_s=100.0))
    assert slow.decide(two, [], now=0.0).submit.total() == 3
    assert slow.decide(two, [job(n, "mpi") for n in range(3)], now=30.0).submit.total() == 0
    assert slow.decide(two, [job(n, "mpi") for n in range(3)], now=61.0).submit.total() == 3


def test_ended_jobs_are_replaced():
    jobs = [job(1, state=RUNNING, came_up=True), job(2, state=ENDED, cause="node_failure", came_up=True)]
    assert Reconciler(LIMITS).decide(wanted(8), jobs, now=10.0).submit == {"single": 1}


def test_waiting_jobs_are_withdrawn_only_after_a_lasting_surplus_and_running_ones_never():
    reconciler = Reconciler(LIMITS)
    jobs = [job(1, state=RUNNING, came_up=True, started=1.0), job(2), job(3)]
    for _ in range(SURPLUS_PASSES - 1):
        assert not reconciler.decide(wanted(1), jobs, now=10.0).cancel
    assert [one.id for one in reconciler.decide(wanted(1), jobs, now=10.0).cancel] == ["3", "2"]
    again = Reconciler(LIMITS)
    for tasks in (1, 1, 12, 1, 1):  # a surplus that does not last
        assert not again.decide(wanted(tasks), jobs, now=10.0).cancel
    nothing = Reconciler(LIMITS)
    for _ in range(10):
        cancelled = nothing.decide({}, [jobs[0]], now=10.0).cancel
    assert not cancelled


def test_a_job_in_which_no_worker_comes_up_is_cancelled_and_three_make_the_lane_sick():
    hung = job(1, state=RUNNING, started=0.0)
    assert not Reconciler(LIMITS).decide(wanted(4), [hung], now=99.0).cancel
    decision = Reconciler(LIMITS).decide(wanted(4), [hung], now=101.0)
    assert decision.cancel == [hung]
    assert decision.submit == {"single": 1}
    dead = [job(n, state=ENDED, cause="failed", nodes=["n3"]) for n in range(3)]
    sick = Reconciler(LIMITS).decide(wanted(4), dead, now=10.0)
    assert not sick.submit
    assert "0, 1, 2; n3" in sick.sick["single"]
    for harmless in ({"came_up": True}, {"cause": "cancelled"}):
        facts = {"cause": "failed", **harmless}
        jobs = [*dead[:2], job(2, state=ENDED, **facts)]
        assert Reconciler(LIMITS).decide(wanted(4), jobs, now=10.0).submit == {"single": 1}


def test_records_survive_and_torn_ones_are_passed_over(tmp_path):
    record = JobRecord("12[3].server", "bpd-x", "single", 1, 4, state=RUNNING, nodes=["n1", "n2"], started=5.0)
    record.write(tmp_path)
    job(7).write(tmp_path)
    (tmp_path / "jobs" / "torn.json").write_text('{"id": "9", "na')
    assert {found.id for found in read_records(tmp_path)} == {"7", "12[3].server"}
    assert read_record(tmp_path, "12[3].server") == record
