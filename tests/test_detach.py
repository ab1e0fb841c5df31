# SPDX-License-Identifier: BSD-3-Clause
"""Drivers apart from their terminal: started, followed, stopped, drained and started again by cron (F12, F14)."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from small_campaign import write_campaign

from bp_distributed import detach
from bp_distributed.detach import Parting
from bp_distributed.errors import ConfigError, LockedError
from bp_distributed.lock import live_owner

PATIENCE_S = 60.0
BPD = [sys.executable, "-m", "bp_distributed.cli"]


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A planned campaign whose steps are toys in every process, and whose quenches last until they are stopped."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("toy_site")))
    campaign = write_campaign(tmp_path / "a campaign")
    campaign.start()
    (campaign.root / "toy.json").write_text('{"quench": "sleep"}')
    yield campaign
    record = live_owner(campaign.root)
    if record:
        with suppress(ProcessLookupError):
            os.killpg(record["pid"], signal.SIGKILL)


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def start(campaign):
    return detach.start_detached(campaign.root, ["--workers", "1"])


def run_in_a_terminal(command):
    """Run a command on a terminal of its own, then close the window; return what it said."""
    window, terminal = os.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    said = b""
    with suppress(OSError):  # the last one to leave closes its side
        while b"bpd stop" not in said and (part := os.read(window, 4096)):
            said += part
    process.wait(PATIENCE_S)
    os.close(window)
    return said.decode()


def test_a_driver_goes_on_when_its_terminal_is_closed(slow):
    said = run_in_a_terminal([*BPD, "run", str(slow.root), "--detach", "--workers", "1"])
    assert "bpd attach" in said
    pid = live_owner(slow.root)["pid"]
    assert os.getsid(pid) == pid
    until(lambda: any(slow.status().running), "no step began")
    assert psutil.Process(pid).is_running()
    log = slow.root / detach.LOG_FILE
    assert log.stat().st_mode & 0o777 == 0o600
    assert detach.stop(slow.root, PATIENCE_S)
    assert live_owner(slow.root) is None
    assert not (slow.root / "STOP").exists()


def test_a_stop_is_heard_by_a_driver_that_is_just_starting(slow):
    """One request, made as soon as the lock is held; what was asked of an earlier driver is forgotten."""
    (slow.root / "STOP").touch()
    time.sleep(0.1)
    start(slow)
    (slow.root / "STOP").touch()
    until(lambda: live_owner(slow.root) is None, "the request was lost")


def test_the_status_page_shows_what_runs(slow):
    start(slow)
    page = slow.root / "products" / "status.html"
    until(lambda: page.exists() and "Running now" in page.read_text(), "the page does not show what runs")
    detach.stop(slow.root, PATIENCE_S)


def test_a_second_driver_is_refused_in_one_sentence(slow):
    start(slow)
    with pytest.raises(LockedError, match="drives this campaign from"):
        start(slow)
    detach.stop(slow.root, PATIENCE_S)


def test_a_driver_that_fails_tells_why(slow):
    text = slow.config_path.read_text()
    slow.config_path.write_text(text.replace("bin_width: 1.0", "bin_width: 0.5"))
    with pytest.raises(detach.DriverFailedError, match="bpd amend") as caught:
        start(slow)
    assert caught.value.exit_code == 2
    assert live_owner(slow.root) is None


def test_attach_follows_until_the_driver_is_gone_and_leaves_it_alone(slow, monkeypatch):
    monkeypatch.setattr(detach, "_LOOK_AT_LEAST_S", 0.1)
    pid = start(slow)
    seen = []

    def leave(status):
        seen.append(status)
        if status.running:
            raise KeyboardInterrupt

    assert detach.attach(slow.root, slow.status, leave) is Parting.LEFT
    assert seen[-1].driver.endswith(f"pid {pid}")
    assert live_owner(slow.root)["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    assert detach.attach(slow.root, slow.status, seen.append) is Parting.NO_DRIVER


def test_step_heals_a_killed_driver_and_ends_with_the_campaign(slow):
    code, sentence = detach.step(slow.root, slow.status)
    assert (code, sentence.split(",")[0]) == (10, "driver started")
    pid = live_owner(slow.root)["pid"]
    code, sentence = detach.step(slow.root, slow.status)
    assert code == 10
    assert sentence.endswith(f"pid {pid}")
    os.kill(pid, signal.SIGKILL)
    until(lambda: live_owner(slow.root) is None, "the dead driver seems alive")
    (slow.root / "toy.json").write_text("{}")
    detach.step(slow.root, slow.status)
    assert live_owner(slow.root)["pid"] != pid
    assert detach.attach(slow.root, slow.status, print) is Parting.FINISHED
    until(lambda: live_owner(slow.root) is None, "the driver does not end with its campaign")
    assert detach.step(slow.root, slow.status) == (0, "all 14 tasks have ended")


def test_step_starts_a_driver_the_way_it_was_started_before(slow):
    start(slow)
    detach.stop(slow.root, PATIENCE_S)
    detach.step(slow.root, slow.status)
    command = psutil.Process(live_owner(slow.root)["pid"]).cmdline()
    assert command[-2:] == ["--workers", "1"]
    detach.stop(slow.root, PATIENCE_S)


def test_step_says_what_is_set_aside(slow):
    for task in slow.store.plan.tasks:
        if task.stage == "melt":  # everything else is blocked behind them
            slow.store.quarantine(task, "by hand")
    code, sentence = detach.step(slow.root, slow.status)
    assert code == 11
    assert "2 tasks are set aside" in sentence


def test_drain_lets_what_runs_end_and_starts_nothing_new(slow):
    (slow.root / "toy.json").write_text('{"quench": "slow 3"}')
    start(slow)
    until(lambda: any(run.name.startswith("quench") for run in slow.status().running), "no quench began")
    assert detach.drain(slow.root, PATIENCE_S)
    quenches, *later = (row.counts for row in slow.status().rows if row.stage != "melt")
    assert quenches["done"] >= 1
    assert quenches["done"] < 4
    assert sum(counts["done"] for counts in later) == 0
    assert sum(counts["failed"] for counts in (quenches, *later)) == 0
    assert not (slow.root / "DRAIN").exists()


def test_there_is_nothing_to_stop_without_a_driver(slow):
    for ask in (detach.stop, detach.drain):
        with pytest.raises(ConfigError, match="no driver is at work"):
            ask(slow.root)
    assert not (slow.root / "STOP").exists()
    assert not (slow.root / "DRAIN").exists()


@pytest.mark.parametrize("detached", [True, False])
def test_nothing_is_imported_from_the_campaign_folder(slow, detached):
    """A file there that is named like a module must not be run, even by one who stands in the folder."""
    (slow.root / "json.py").write_text(f"open({str(slow.root / 'CANARY')!r}, 'w')")
    bpd = str(Path(sys.executable).with_name("bpd"))
    words = ["--detach"] if detached else ["--quiet"]
    driver = subprocess.Popen([bpd, "run", ".", "--workers", "1", *words], cwd=slow.root, stdout=subprocess.DEVNULL)
    until(lambda: live_owner(slow.root) and slow.status().running, "no step began")
    assert detach.stop(slow.root, PATIENCE_S)
    driver.wait(PATIENCE_S)
    assert not (slow.root / "CANARY").exists()
