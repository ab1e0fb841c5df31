# SPDX-License-Identifier: BSD-3-Clause
"""Campaigns of toy steps on the Slurm of the tests, and what must hold after every fault (I1 to I6)."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from small_campaign import write_campaign

from bp_distributed.attempt import attempts_of
from bp_distributed.commit import committed
from bp_distributed.lane_pool import job_prefix
from bp_distributed.profile import shipped_profiles
from bp_distributed.strict_yaml import read_yaml

BPD = str(Path(sys.executable).with_name("bpd"))
TOYS = Path(__file__).with_name("toy_site")
PATIENCE_S = 150.0  # a starved CI machine; figures of time are asserted where the issue asks for them

_DRIVERS = []

TEXT = """\
name: service
potential: default
samples:
  - label: glass
    composition: {{Cu: 50, Zr: 50}}
    n_atoms: 4
    cooling_rates: [5e14]
    replicas: {replicas}
    melts: 1
protocol: {{heating: 1, hold: 6, branch_spacing: 1, barostat: iso, checkpoint_steps: 500, history_steps: 50}}
vibration: {{bin_width: 1.0, omega_cut: 15}}
budget: {{infrastructure_retries: {retries}, sample_retries: 1}}
"""


def slurm_campaign(folder, *, replicas=8, retries=5, toys=None, lanes=None, **lane):
    """Write a campaign whose lanes are those of ``ci-slurm``, changed by ``lane`` (all) and ``lanes`` (by name)."""
    campaign = write_campaign(folder, TEXT.format(replicas=replicas, retries=retries))
    (campaign.root / "toy.json").write_text(json.dumps(toys or {}))
    profile = read_yaml(shipped_profiles()["ci-slurm"]).content
    for name, settings in profile["lanes"].items():
        settings |= {"prologue": [f"export PYTHONPATH={TOYS}"], **lane, **(lanes or {}).get(name, {})}
    path = folder.with_name(f"{folder.name}-profile.yaml")
    path.write_text(yaml.safe_dump(profile, sort_keys=False))
    campaign.use_profile(path)
    campaign.start()
    return campaign


def drive(campaign, *words):
    """Start a driver as a process of its own; ``end_drivers`` ends what a failed test leaves."""
    command = [BPD, "run", str(campaign.root), "--quiet", *words]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _DRIVERS.append(driver)
    return driver


def end_drivers():
    """Kill every driver that still runs."""
    while _DRIVERS:
        driver = _DRIVERS.pop()
        if driver.poll() is None:
            driver.kill()
            driver.communicate()


def ended(driver, code=0):
    """Wait for a driver and return what it said."""
    output = driver.communicate(timeout=PATIENCE_S)[0]
    assert driver.returncode == code, output
    return output


def wait_for(condition, what, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
    return None


def steps(campaign, stage="quench"):
    """The physics children at work, wherever their workers run."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line, cwd = process.info["cmdline"] or [], process.info["cwd"] or ""
        if cwd.startswith(str(campaign.root)) and line[-1:] == [stage] and "toy_step.py" in " ".join(line):
            found.append(process)
    return found


def scheduler_pid(campaign):
    """The scheduler's process."""
    (file,) = (campaign.root / "lock").glob("scheduler-*.json")
    return json.loads(file.read_bytes())["pid"]


def own_jobs(site, campaign, *states):
    """Batch jobs of a campaign, by id."""
    prefix = job_prefix(campaign.store)
    found = {number: job for number, job in site.jobs().items() if job["JobName"].startswith(prefix)}
    return {number: job for number, job in found.items() if not states or job["JobState"] in states}


def done(campaign, stage=None):
    """Markers of committed results, by task key."""
    store = campaign.store
    tasks = [task for task in store.plan.tasks if stage in {None, task.stage}]
    return {task.key: manifest["sha256"] for task in tasks if (manifest := committed(store.folder(task)))}


def executions(campaign):
    """Attempts ever opened."""
    store = campaign.store
    return sum(len(attempts_of(store.folder(task))) for task in store.plan.tasks)


def sound(site, campaign, before=(), **states):
    """Assert what must hold after every fault; ``states`` counts tasks that are not done."""
    store = campaign.store
    findings = campaign.fsck()
    assert findings.clean, findings.damage
    expected = {**states, "done": len(store.plan.tasks) - sum(states.values())}
    assert {name: count for name, count in findings.states.items() if count} == expected
    results = done(campaign)
    for key, sha256 in dict(before).items():
        assert results[key] == sha256, f"{key} was committed before and changed"
    alive = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}
    wait_for(lambda: not own_jobs(site, campaign, *alive), "all batch jobs to end", 60)
    wait_for(lambda: not steps(campaign), "all steps to end", 60)
    assert not (campaign.root / "tls").exists(), "keys are removed with the session"
