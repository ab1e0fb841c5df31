# SPDX-License-Identifier: BSD-3-Clause
"""The driver as a batch job: its script, and its life on a real Slurm."""

import subprocess
import time

import pytest
import yaml
from slurm_campaign import slurm_campaign, sound, wait_for
from slurm_site import SlurmSite
from test_cli import bpd

from bp_distributed.detach import start_as_job, step, stop
from bp_distributed.driver_job import driver_script, job_name
from bp_distributed.errors import ConfigError, LockedError
from bp_distributed.lane_pool import job_prefix
from bp_distributed.lock import live_owner

pytestmark = pytest.mark.xdist_group("slurm")

DRIVER = {"system": "slurm", "cores": 1, "memory": 1, "walltime": "0:10:00", "interface": "lo", "margin": 10}
ALIVE = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}


def with_driver_lane(campaign, **lane):
    """Add a lane for the driver to the profile in force."""
    path = campaign.root / "profile.yaml"
    content = yaml.safe_load(path.read_text())
    content["lanes"]["driver"] = DRIVER | lane
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return campaign


def driver_jobs(site: SlurmSite, campaign, *states):
    name = job_name(campaign.store)
    return {number: job for number, job in site.jobs().items()
            if job["JobName"] == name and (not states or job["JobState"] in states)}  # fmt: skip


@pytest.fixture
def planned(tmp_path):
    return with_driver_lane(slurm_campaign(tmp_path / "campaign", replicas=4, toys={"quench": "slow 0.5"}))


def test_the_script_is_sound_shell_and_starts_no_worker(planned):
    script = driver_script(planned.store, planned.profile, "driver", ["/usr/bin/python3", "-m", "bp_distributed.cli"])
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "dask_worker" not in script
    assert f"#SBATCH -J {job_name(planned.store)}" in script
    assert not job_name(planned.store).startswith(job_prefix(planned.store))
    lines = script.splitlines()
    assert lines[-4:] == [
        f'timeout --foreground --signal=TERM "$left" /usr/bin/python3 -m bp_distributed.cli run {planned.root} --quiet',
        "code=$?",
        f"if [ $code -eq 124 ]; then /usr/bin/python3 -m bp_distributed.cli step {planned.root}; code=$?; fi",
        "case $code in 10|11) exit 0;; *) exit $code;; esac",
    ]


def test_what_cannot_be_is_refused(planned, tmp_path):
    with pytest.raises(ConfigError, match="lanes: got 'nowhere', expected one of single, mpi, driver"):
        planned.detach(as_job="nowhere")
    with_driver_lane(planned, container="/images/bp.sif", python="/opt/bin/python")
    with pytest.raises(ConfigError, match=r"lanes\.driver\.container: a driver cannot submit"):
        planned.detach(as_job="driver")
    (planned.root / "profile.yaml").unlink()
    with pytest.raises(ConfigError, match="needs a site profile"):
        planned.detach(as_job="driver")


def test_a_campaign_driven_from_a_job(slurm_site, planned):
    answer = bpd("run", planned.root, "--detach", "--as-job", "driver")
    assert answer.returncode == 0, answer
    assert "batch job" in answer.stdout
    with pytest.raises(LockedError, match=r"is batch job|drives this campaign"):
        start_as_job(planned.root, planned.profile, "driver")
    wait_for(lambda: planned.status().finished, "the end of the campaign")
    wait_for(lambda: not driver_jobs(slurm_site, planned, *ALIVE), "the driver's job to end")
    assert [job["JobState"] for job in driver_jobs(slurm_site, planned).values()] == ["COMPLETED"]
    sound(slurm_site, planned)
    assert step(planned.root, planned.status) == (0, f"all {len(planned.store.plan.tasks)} tasks have ended")


@pytest.mark.slow
def test_it_submits_its_successor_before_its_walltime_ends(slurm_site, planned):
    (planned.root / "toy.json").write_text('{"quench": "sleep"}')
    with_driver_lane(planned, walltime="0:01:00", margin=45)
    first = start_as_job(planned.root, planned.profile, "driver")
    with_driver_lane(planned)  # for those that follow
    wait_for(lambda: planned.status().running, "a step")
    wait_for(lambda: len(driver_jobs(slurm_site, planned)) == 2, "a successor")
    (planned.root / "toy.json").write_text("{}")
    wait_for(lambda: planned.status().finished, "the end of the campaign")
    wait_for(lambda: not driver_jobs(slurm_site, planned, *ALIVE), "the last driver to end")
    jobs = driver_jobs(slurm_site, planned)
    assert len(jobs) == 2
    assert {job["JobState"] for job in jobs.values()} == {"COMPLETED"}
    assert "stopped" in next((planned.root / "jobs").glob(f"*-{first}.out")).read_text()
    sound(slurm_site, planned)


def test_stop_is_obeyed_and_no_successor_comes(slurm_site, planned):
    (planned.root / "toy.json").write_text('{"quench": "sleep"}')
    start_as_job(planned.root, planned.profile, "driver")
    wait_for(lambda: planned.status().running, "a step")
    assert stop(planned.root, 60)
    wait_for(lambda: not driver_jobs(slurm_site, planned, *ALIVE), "the driver's job to end")
    time.sleep(1.0)
    assert len(driver_jobs(slurm_site, planned)) == 1


def test_a_driver_that_waits_in_the_queue(slurm_site, planned):
    """Neither cron nor a person starts a second one, and stop withdraws it."""
    slurm_site.submit("#!/bin/sh\nsleep 600\n", "-N", "4", "--exclusive", "-o", "/dev/null")
    waiting = start_as_job(planned.root, planned.profile, "driver")
    wait_for(lambda: driver_jobs(slurm_site, planned, "PENDING"), "the driver's job in the queue")
    code, sentence = step(planned.root, planned.status)
    assert code == 10
    assert f"batch job {waiting}, which is pending" in sentence
    assert stop(planned.root)
    wait_for(lambda: not driver_jobs(slurm_site, planned, *ALIVE), "the withdrawn job to go")
    assert live_owner(planned.root) is None
