# SPDX-License-Identifier: BSD-3-Clause
"""SIGKILL to a LAMMPS child, to a Dask worker and to the driver of a real campaign, then run it again (F04, F09, F10)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_campaign import write_campaign

from bp_distributed.commit import committed
from bp_distributed.store import State

BPD = str(Path(sys.executable).with_name("bpd"))
PATIENCE_S = 120.0  # a starved CI machine; nothing here asserts a speed


def bpd(campaign, *words, **kwargs):
    return subprocess.Popen(
        [BPD, *words, str(campaign.root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs
    )


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"waited in vain for {what}")
    return None


def family(process):
    try:
        return [p for p in psutil.Process(process.pid).children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def steps(process, stage="quench"):
    """The physics children of a driver at work on a stage."""
    found = []
    for child in family(process):
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        if "bp_distributed.physics" in line and line[-1] == stage:
            found.append(child)
    return found


def listeners(process):
    """Return (pid, address) of every listening socket of a driver and its descendants."""
    found = set()
    for one in (psutil.Process(process.pid), *family(process)):
        try:
            found |= {(one.pid, c.laddr.ip) for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            continue
    return found


def checkpointed(step):
    """Tell whether a step has vouched for a checkpoint."""
    try:
        return any((Path(step.cwd()) / name).exists() for name in ("A.json", "B.json"))
    except psutil.Error:
        return False


def results(campaign):
    store = campaign.store
    return {task.key: committed(store.folder(task))["sha256"] for task in store.plan.tasks if store.has_result(task)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An undisturbed run of the same campaign."""
    campaign = write_campaign(tmp_path_factory.mktemp("reference") / "campaign")
    process = bpd(campaign, "run", "-n", "2")
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    return campaign


@pytest.mark.fault
@pytest.mark.slow
def test_a_campaign_survives_kills_of_child_worker_and_driver(tmp_path, reference):
    campaign = write_campaign(tmp_path / "campaign")
    first = bpd(campaign, "run", "-n", "2")

    victim = wait_for(lambda: next(filter(checkpointed, steps(first)), None), "a quench with a checkpoint")
    victim.kill()
    wait_for(lambda: list(campaign.root.rglob("FAILED.json")), "the obituary of the killed step")

    victim = wait_for(lambda: next(iter(steps(first)), None), "another quench")
    worker = victim.parent()
    assert worker.pid != first.pid
    worker.kill()
    wait_for(
        lambda: not psutil.pid_exists(victim.pid) or victim.status() == psutil.STATUS_ZOMBIE,
        "the step to follow its worker",
    )

    wait_for(lambda: list(campaign.root.rglob("quench-*/DONE.json")), "a committed quench")
    orphans = family(first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = results(campaign)
    psutil.wait_procs(orphans, timeout=30)
    assert not [p for p in orphans if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], (
        "I6: processes outlived their driver"
    )

    stamps = {path: path.stat().st_mtime_ns for path in campaign.root.rglob("DONE.json")}
    second = bpd(campaign, "run", "-n", "2")
    output = second.communicate(timeout=600)[0]
    assert second.returncode == 0, output

    after = results(campaign)
    assert {state.state for state in campaign.store.states().values()} <= {State.DONE, State.REJECTED}
    assert {key: after[key] for key in before} == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "a committed result was touched"
    assert after == results(reference), "I7: the same bytes as the undisturbed campaign"
    findings = campaign.fsck()
    assert findings.clean
    assert not findings.notes

    third = bpd(campaign, "run")
    assert "nothing to do" in third.communicate(timeout=60)[0]


@pytest.mark.fault
@pytest.mark.slow
def test_ctrl_c_stops_in_order_and_the_next_run_continues(tmp_path, reference):
    campaign = write_campaign(tmp_path / "campaign")
    process = bpd(campaign, "run", "-n", "2", start_new_session=True)
    wait_for(lambda: next(filter(checkpointed, steps(process)), None), "a quench with a checkpoint")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 10, output
    assert "Traceback" not in output
    assert "nothing is lost" in output
    charged = [json.loads(path.read_text())["charged"] for path in campaign.root.rglob("FAILED.json")]
    assert charged
    assert not any(charged)

    output = bpd(campaign, "run", "-n", "2").communicate(timeout=600)[0]
    assert results(campaign) == results(reference), output


@pytest.mark.fault
@pytest.mark.slow
def test_a_second_driver_is_refused_while_the_first_lives(tmp_path):
    campaign = write_campaign(tmp_path / "campaign")
    first = bpd(campaign, "run", "-n", "1")
    wait_for(lambda: steps(first, "melt"), "the first driver at work")
    wait_for(lambda: list(campaign.root.rglob("log.lammps")), "LAMMPS")
    assert {address for _, address in listeners(first)} == {"127.0.0.1"}, "S04: nothing listens beyond this machine"
    second = bpd(campaign, "run")
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 3, output
    assert f"pid {first.pid}" in output
    status = bpd(campaign, "status")
    assert "driver:" in status.communicate(timeout=60)[0]
    cancel = subprocess.run([BPD, "cancel", "-C", str(campaign.root)], capture_output=True, text=True, check=True)
    assert "stop" in cancel.stdout
    first.communicate(timeout=120)
    assert first.returncode == 10
