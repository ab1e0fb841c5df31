# SPDX-License-Identifier: BSD-3-Clause
"""The Slurm that other tests run on: it starts, runs jobs, loses a node, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import slurm_site as site_module
from slurm_site import is_up

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.fault]


def test_a_step_runs_on_two_nodes(slurm_site):
    command = ["srun", "-N2", "--label", "printenv", "SLURMD_NODENAME"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len({line.split()[1] for line in done.stdout.splitlines()}) == 2


def test_a_batch_job_ends_and_is_remembered(slurm_site, tmp_path):
    job = slurm_site.submit("#!/bin/sh\necho here\nexit 3\n", "-o", str(tmp_path / "out"), "-w", "n2")
    assert slurm_site.wait_for(job, "FAILED", "COMPLETED")["ExitCode"] == "3:0"
    assert (tmp_path / "out").read_text() == "here\n"


@pytest.mark.slow
def test_a_job_dies_with_its_node_and_the_node_comes_back(slurm_site, tmp_path):
    script = f"#!/bin/sh\nsleep 300 &\necho $! > {tmp_path}/pid\nwait\n"
    job = slurm_site.submit(script, "--no-requeue", "-o", "/dev/null", "-w", "n3")
    slurm_site.wait_for(job, "RUNNING")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    task = psutil.Process(int((tmp_path / "pid").read_text()))
    slurm_site.kill_node("n3")
    assert not is_up(task)
    assert slurm_site.wait_for(job, "NODE_FAIL", "FAILED", "COMPLETED")["JobState"] == "NODE_FAIL"
    slurm_site.start_node("n3")
    assert slurm_site.node_states()["n3"] == "idle"


OWNER = """
import subprocess, sys, time
from slurm_site import SlurmSite
with SlurmSite() as site:
    job = site.submit("#!/bin/sh\\nsleep 300\\n", "-o", "/dev/null")
    site.wait_for(job, "RUNNING")
    print(site.folder, flush=True)
    {then}
"""


def owner(then):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", OWNER.format(then=then)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)


def test_nothing_is_left_after_a_failure_inside(slurm_site):
    with owner("raise ValueError") as process:
        folder = Path(process.stdout.readline().strip())
        assert process.wait(30) == 1
    assert not folder.exists()
    assert not site_module._processes_of(folder)


def test_what_a_killed_run_left_is_swept_by_the_next(slurm_site):
    with owner("time.sleep(300)") as process:
        folder = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.exists()
    assert site_module._processes_of(folder), "the job outlives its test run; there would be nothing to sweep"
    site_module._sweep()
    assert not folder.exists()
    assert not site_module._processes_of(folder)
    assert slurm_site.folder.exists(), "the sweep took a living one"


def test_without_slurm_the_reason_names_the_cure(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(site_module, "_SBIN", "")
    assert site_module.missing().startswith("no munged, slurmctld, slurmd, sbatch, srun, scontrol here; install")
