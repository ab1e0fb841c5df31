# SPDX-License-Identifier: BSD-3-Clause
"""One driver at a time (reliability.md F14, F15, S21)."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bp_distributed import durable, lock
from bp_distributed.errors import LockedError, SupersededError
from bp_distributed.lock import DriverLock, live_owner
from bp_distributed.process_identity import is_alive, myself

HOLDER = """
import sys
from pathlib import Path
from bp_distributed.errors import LockedError
from bp_distributed.lock import DriverLock
try:
    with DriverLock(Path(sys.argv[1])) as held:
        print("held", held.epoch, flush=True)
        sys.stdin.read()  # until the test lets go
except LockedError:
    sys.exit(3)
"""


def holder(root):
    command = [sys.executable, "-c", HOLDER, str(root)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def let_go(process):
    process.stdin.close()
    process.stdout.close()
    return process.wait(20)


def test_the_second_driver_is_refused_by_name(tmp_path):
    with DriverLock(tmp_path), pytest.raises(LockedError, match=rf"drives this campaign from .* \(pid {os.getpid()}\)"):
        DriverLock(tmp_path).__enter__()


def test_every_take_over_raises_the_epoch(tmp_path):
    epochs = []
    for _ in range(3):
        with DriverLock(tmp_path) as held:
            epochs.append(held.epoch)
    assert epochs == [1, 2, 3]
    assert live_owner(tmp_path) is None


@pytest.mark.fault
def test_a_killed_driver_is_taken_over_at_once(tmp_path):
    process = holder(tmp_path)
    assert process.stdout.readline() == "held 1\n"
    assert live_owner(tmp_path)["pid"] == process.pid
    process.send_signal(signal.SIGKILL)
    let_go(process)
    started = time.monotonic()
    with DriverLock(tmp_path) as held:
        assert held.epoch == 2
    assert time.monotonic() - started < 5.0, "F11: take-over on the same host within 5 s"


@pytest.mark.fault
def test_f14_two_at_once_one_wins(tmp_path):
    for number in range(10):  # each round starts two interpreters; the race itself is in link(2)
        root = tmp_path / str(number)
        root.mkdir()
        rivals = [holder(root), holder(root)]
        deadline = time.monotonic() + 60
        while all(rival.poll() is None for rival in rivals) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert {let_go(rival) for rival in rivals} == {0, 3}


def test_f15_the_driver_stolen_from_notices(tmp_path):
    with DriverLock(tmp_path) as old:
        old.check()
        with DriverLock(tmp_path, steal=True) as new:
            assert new.epoch == old.epoch + 1
            with pytest.raises(SupersededError, match="took this campaign over"):
                old.check()


def test_a_driver_on_another_host_is_judged_by_its_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_S", 0.3)
    monkeypatch.setattr(lock, "BEAT_S", 0.25)
    durable.make_private_dir(tmp_path / "lock")
    far = {**myself(), "host": "elsewhere", "boot_id": "another", "uid": os.getuid(), "user": "u", "epoch": 4}
    durable.publish(tmp_path / "lock" / "driver-4.lock", durable.sealed_json(far))
    (tmp_path / "lock" / "driver-4.hb").write_text(json.dumps({"beat": 1}))
    assert is_alive(far) is None
    with DriverLock(tmp_path) as held:  # the counter stands still for a whole lease: dead
        assert held.epoch == 5


def test_s21_a_foreign_or_absurd_lock_file_does_not_crash(tmp_path):
    durable.make_private_dir(tmp_path / "lock")
    absurd = {**myself(), "pid": 2**40, "uid": os.getuid() + 1, "user": "eve", "epoch": 7}
    durable.publish(tmp_path / "lock" / "driver-7.lock", durable.sealed_json(absurd))
    with DriverLock(tmp_path) as held:
        assert held.epoch == 8


def test_a_reused_pid_is_not_the_same_process():
    assert is_alive(myself()) is True
    assert is_alive({**myself(), "start": 1.0}) is False
    assert is_alive({"pid": 1}) is None, "a record without a boot is another host's"


def test_a_process_seen_from_another_is_the_same_one():
    """The start must not depend on who reads it, nor on when the boot time was estimated."""
    code = f"from bp_distributed.process_identity import is_alive; print(is_alive({myself()!r}))"
    for _ in range(5):
        assert (
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
        )


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive({**myself(), "pid": process.pid, "start": 0.0}) is False
    process.wait()
