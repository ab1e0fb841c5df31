# SPDX-License-Identifier: BSD-3-Clause
"""F21 and F22 in a campaign: a really full file system, and a disk that answers with an error."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
from distributed.comm import CommClosedError
from small_campaign import write_campaign

from bp_distributed import driver as driver_module
from bp_distributed import durable
from bp_distributed.attempt import attempts_of
from bp_distributed.cluster import InlinePool
from bp_distributed.driver import Driver, Ending
from bp_distributed.lock import DriverLock
from bp_distributed.store import State
from bp_distributed.tasks import run_job

ROOM_LEFT_BYTES = 200_000  # less than the copy of the potential that every attempt makes


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 16 MB."""
    target = tmp_path / "disk"
    target.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", target], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield target
    subprocess.run(["umount", "-l", target], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(b"\0" * (free - ROOM_LEFT_BYTES))
    return ballast


def conduct(campaign, bytes_needed):
    store = campaign.store
    with DriverLock(campaign.root) as lock:
        driver = Driver(store, InlinePool(), lock, {}, bytes_needed)
        return driver.conduct(), driver.message


@pytest.mark.fault
def test_f21_a_full_file_system_pauses_and_nothing_is_charged(small_disk, toy_steps, monkeypatch):
    monkeypatch.setattr(driver_module, "TICK_S", 0.01)
    campaign = write_campaign(small_disk / "campaign")
    campaign.start()
    ballast = fill(small_disk)

    ending, message = conduct(campaign, bytes_needed=0.0)  # the check before work is off: writing itself fails
    assert ending is Ending.DISK_FULL
    assert str(campaign.root) in message
    assert "make room" in message
    assert not list(campaign.root.rglob("DONE.json"))
    assert not [state for state in campaign.store.states().values() if state.failures]

    ending, message = conduct(campaign, bytes_needed=1e6)  # the check before work is on: nothing starts
    assert ending is Ending.DISK_FULL

    ballast.unlink()
    assert campaign.run(workers=0) is Ending.FINISHED
    assert {state.state for state in campaign.store.states().values()} == {State.DONE}
    assert campaign.fsck().clean


@pytest.mark.fault
def test_f22_an_input_output_error_is_the_machines_failure(campaign, monkeypatch):
    store = campaign.start()
    task = store.plan.tasks[0]

    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_file", broken)
        report = run_job(store.job(task))
    assert (report.status, report.failure_class, report.cause) == ("failed", "infrastructure", "io")
    assert not store.has_result(task)
    assert attempts_of(store.folder(task))[0].failure["charged"]
    assert run_job(store.job(task)).status == "done"


def test_a_worker_taken_down_under_its_task_charges_nobody(campaign, monkeypatch):
    store = campaign.start()
    task = store.plan.tasks[0]

    def broken(path):
        raise CommClosedError("ConnectionPool closing.")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync_file", broken)
        report = run_job(store.job(task))
    assert (report.status, report.cause, report.charged) == ("failed", "cancelled", False)
    assert not attempts_of(store.folder(task))[0].failure["charged"]
    assert run_job(store.job(task)).status == "done"
