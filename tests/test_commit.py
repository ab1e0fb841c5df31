# SPDX-License-Identifier: BSD-3-Clause
"""The commit protocol under kills, power loss and bit rot (reliability.md F01, F02, F03, F23, F24)."""

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from killed_commits import DATA, prepare

from bp_distributed import durable
from bp_distributed.commit import Marker, adopt, commit, committed, verified
from bp_distributed.errors import DamagedResultError, StoreError

CALLS = ("open", "write", "fsync", "rename", "link", "unlink", "close", "fchmod", "fstat", "stat", "read")
KILLS_AT_RANDOM = 1000  # the figure of F01
FLUSHES = 5  # the data, the intent, the directory, the marker, the directory again


def in_a_child(action) -> int:
    """Fork, act, and return the wait status; the child never returns into pytest."""
    if (pid := os.fork()) == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


def check_whole(folder: Path) -> bool:
    """Return whether a result is committed; if it is, it must verify."""
    manifest = committed(folder)
    if manifest is None:
        assert not (folder / Marker.DONE).exists(), "a marker that is not intact"
        return False
    assert verified(folder, manifest).read_bytes() == DATA
    return True


def test_committed_result_reads_back_and_is_never_replaced(tmp_path):
    folder, result = prepare(tmp_path)
    first = commit(folder, result, Marker.DONE, {"task": "t"})
    _, rival = prepare(tmp_path, 2, b"another result")
    second = commit(folder, rival, Marker.DONE, {"task": "t"})
    assert first.won
    assert not second.won
    assert second.manifest == first.manifest
    assert second.sha256 != first.sha256
    assert verified(folder, first.manifest).read_bytes() == DATA
    assert not result.exists()
    assert rival.exists(), "the loser's evidence stays"


def test_files_are_private_whatever_the_umask(tmp_path):
    previous = os.umask(0)
    try:
        folder, result = prepare(tmp_path / "x")
        commit(folder, result, Marker.DONE, {})
    finally:
        os.umask(previous)
    for path in folder.rglob("*"):
        if path.name != "result.nc":
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.fault
def test_f01_sigkill_at_a_random_moment_never_leaves_a_broken_marker(tmp_path):
    script = Path(__file__).with_name("killed_commits.py")  # to fork a whole test process takes ten times as long
    subprocess.run([sys.executable, script, tmp_path, str(KILLS_AT_RANDOM)], check=True)
    whole = sum(check_whole(tmp_path / str(number)) for number in range(KILLS_AT_RANDOM))
    assert 0.25 * KILLS_AT_RANDOM < whole < 0.75 * KILLS_AT_RANDOM, "the kills missed the interesting moments"


class KilledAt:
    """Replace the system calls of ``os`` by ones that kill the process at the n-th call."""

    def __init__(self, fatal: int, *, before: bool) -> None:
        self.count, self.fatal, self.before = 0, fatal, before

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, call):
        def counted(*args, **kwargs):
            self.count += 1
            if self.count == self.fatal and self.before:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*args, **kwargs)
            if self.count == self.fatal and not self.before:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted


@pytest.mark.fault
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_f02_sigkill_at_every_system_call(tmp_path, before):
    eligible = adopted = 0
    for fatal in range(1, 200):
        folder, result = prepare(tmp_path / str(fatal))
        killer = KilledAt(fatal, before=before)

        def act(killer=killer, folder=folder, result=result):
            killer.install()
            commit(folder, result, Marker.DONE, {"task": "t"})

        status = in_a_child(act)
        if not os.WIFSIGNALED(status):
            assert check_whole(folder), "the undisturbed commit did not commit"
            break
        if not check_whole(folder) and list(folder.glob("result-*")):
            eligible += 1
            adopted += adopt(folder) is not None
            assert check_whole(folder)
    else:
        pytest.fail("commit makes more than 200 system calls")
    assert fatal > 20, "too few kill points were tried"
    assert eligible > 0
    assert adopted == eligible


def test_a_torn_intent_is_not_adopted(tmp_path):
    folder, result = prepare(tmp_path)
    (folder / "result-0123456789abcdef.nc").write_bytes(DATA)
    (result.parent / "manifest.json").write_bytes(b'{"file": "result-0123')
    assert adopt(folder) is None
    assert committed(folder) is None


@pytest.mark.fault
def test_racing_writers_leave_one_whole_result(tmp_path):
    for number in range(25):
        folder = tmp_path / str(number)
        results = [prepare(folder, rival, DATA)[1] for rival in range(8)]
        pids = []
        for result in results:
            if (pid := os.fork()) == 0:
                try:
                    commit(folder, result, Marker.DONE, {"attempt": result.parent.name})
                finally:
                    os._exit(0)
            pids.append(pid)
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        assert check_whole(folder)
        assert len(list(folder.glob("DONE*"))) == 1
        assert not list(folder.glob(".m-*"))


@pytest.mark.fault
def test_f23_every_flipped_bit_is_found(tmp_path):
    generator = random.Random(23)
    found = 0
    for number in range(200):
        folder, result = prepare(tmp_path / str(number))
        manifest = commit(folder, result, Marker.DONE, {}).manifest
        verified(folder, manifest)  # no false alarm
        path = folder / manifest["file"]
        data = bytearray(path.read_bytes())
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(data)
        with pytest.raises(DamagedResultError, match="differs from its marker"):
            verified(folder, manifest)
        found += 1
    assert found == 200


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, -1])
def test_f24_truncated_result_raises(tmp_path, keep):
    folder, result = prepare(tmp_path)
    manifest = commit(folder, result, Marker.DONE, {}).manifest
    path = folder / manifest["file"]
    os.truncate(path, len(DATA) - 1 if keep == -1 else int(keep * len(DATA)))
    with pytest.raises(DamagedResultError, match="differs from its marker"):
        verified(folder, manifest)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b'{"file": "x", "self_crc": 1}', b"\xff\x00garbage"])
def test_f24_torn_marker_counts_as_absent(tmp_path, content):
    (tmp_path / Marker.DONE).write_bytes(content)
    assert committed(tmp_path) is None


def test_sealed_json_refuses_an_edited_field(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(durable.sealed_json({"size": 1, "name": "a"}))
    assert durable.read_sealed(path) == {"size": 1, "name": "a"}
    edited = {**json.loads(path.read_text()), "size": 2}
    path.write_text(json.dumps(edited))
    assert durable.read_sealed(path) is None


def test_self_test_names_the_step_that_fails(tmp_path):
    assert any("link" in line for line in durable.self_test(tmp_path))
    with pytest.raises(StoreError, match="cannot create a file here"):
        durable.self_test(tmp_path / "absent")


@pytest.mark.fault
def test_f22_an_input_output_error_at_any_flush_commits_nothing_unflushed(tmp_path, monkeypatch):
    """Every one of the flushes fails 20 times: 100 of 100 refused, and whatever is committed is whole."""
    real, refused = os.fsync, 0
    for number in range(20 * FLUSHES):
        fatal = number % FLUSHES + 1
        folder, result = prepare(tmp_path / str(number))
        count = itertools.count(1)

        def fsync(descriptor, count=count, fatal=fatal):
            if next(count) == fatal:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(OSError, match="Input/output error"):
                commit(folder, result, Marker.DONE, {})
        refused += 1
        # Only the last flush, of the directory after the marker was linked, can fail with the marker in place.
        assert check_whole(folder) is (fatal == FLUSHES)
    assert refused == 100


def test_a_commit_makes_as_many_flushes_as_the_test_above_fails(tmp_path, monkeypatch):
    calls = []
    real = os.fsync
    folder, result = prepare(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(1), real(descriptor)))
    commit(folder, result, Marker.DONE, {})
    assert len(calls) == FLUSHES
