# SPDX-License-Identifier: BSD-3-Clause
"""F03: a power cut at any point of a commit, on a file system that keeps only what was flushed.

A real commit is traced at the level of system calls.  The trace is then replayed up to a random point on
a model disk in which file data survive only after fsync of the file and names only after fsync of the
directory; whatever was not flushed survives or not as Hypothesis pleases, in any combination.
"""

import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bp_distributed import durable
from bp_distributed.commit import Marker, commit

EXAMPLES = 500  # the figure of F03
DATA = b"netCDF bytes, as far as the protocol cares" * 10


class Trace:
    """Record the calls of ``os`` that change the disk."""

    def __init__(self, monkeypatch) -> None:
        self.calls: list[tuple] = []
        self.paths: dict[int, str] = {}
        for name in ("open", "write", "fsync", "rename", "link", "unlink"):
            monkeypatch.setattr(os, name, getattr(self, name)(getattr(os, name)))

    def open(self, real):
        def call(path, flags, mode=0o777, **kwargs):
            descriptor = real(path, flags, mode, **kwargs)
            self.paths[descriptor] = str(path)
            if flags & os.O_CREAT:
                self.calls.append(("create", str(path)))
            return descriptor

        return call

    def write(self, real):
        def call(descriptor, data):
            count = real(descriptor, data)
            self.calls.append(("write", self.paths[descriptor], bytes(data[:count])))
            return count

        return call

    def fsync(self, real):
        def call(descriptor):
            real(descriptor)
            self.calls.append(("fsync", self.paths[descriptor]))

        return call

    def rename(self, real):
        return self._two_names("rename", real)

    def link(self, real):
        return self._two_names("link", real)

    def _two_names(self, name, real):
        def call(source, target, **kwargs):
            real(source, target, **kwargs)
            self.calls.append((name, str(source), str(target)))

        return call

    def unlink(self, real):
        def call(path, **kwargs):
            real(path, **kwargs)
            self.calls.append(("unlink", str(path)))

        return call


@dataclass
class Inode:
    written: bytes = b""
    flushed: bytes = b""


@dataclass
class Disk:
    """A directory tree in which names and data are volatile until flushed."""

    durable: dict[str, Inode] = field(default_factory=dict)
    current: dict[str, Inode] = field(default_factory=dict)
    pending: list[tuple[str, dict[str, Inode | None]]] = field(default_factory=list)
    """Changes of names not yet flushed: (directory, {name: inode or None}); each is atomic."""

    def change(self, path: str, names: dict[str, Inode | None]) -> None:
        self.pending.append((str(Path(path).parent), names))
        for name, inode in names.items():
            if inode is None:
                self.current.pop(name, None)
            else:
                self.current[name] = inode

    def apply(self, call: tuple) -> None:
        match call:
            case ("create", path):
                self.change(path, {path: Inode()})
            case ("write", path, data):
                self.current[path].written += data
            case ("fsync", path) if path in self.current:
                self.current[path].flushed = self.current[path].written
            case ("fsync", path):
                self._flush_names(path)
            case ("rename", source, target):
                self.change(target, {source: None, target: self.current[source]})
            case ("link", source, target):
                self.change(target, {target: self.current[source]})
            case ("unlink", path):
                self.change(path, {path: None})

    def _flush_names(self, directory: str) -> None:
        kept = []
        for parent, names in self.pending:
            if parent == directory:
                self._settle(self.durable, names)
            else:
                kept.append((parent, names))
        self.pending = kept

    @staticmethod
    def _settle(target: dict[str, Inode], names: dict[str, Inode | None]) -> None:
        for name, inode in names.items():
            if inode is None:
                target.pop(name, None)
            else:
                target[name] = inode

    def after_power_cut(self, survives) -> dict[str, bytes]:
        """Return path -> content; ``survives()`` decides for each volatile thing."""
        names = dict(self.durable)
        for _, change in self.pending:
            if survives():
                self._settle(names, change)
        contents: dict[int, bytes] = {}
        for inode in names.values():
            if id(inode) not in contents:
                contents[id(inode)] = inode.written if survives() else inode.flushed
        return {name: contents[id(inode)] for name, inode in names.items()}


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """The system calls of five commits, one of them second to another: about 50."""
    root = tmp_path_factory.mktemp("power")
    existing: dict[str, bytes] = {}
    results = []
    for task, attempt in (("a", 1), ("b", 1), ("a", 2), ("c", 1), ("d", 1)):
        folder = durable.make_private_dir(root / task / "attempts" / f"{attempt}-x")
        data = DATA + str(attempt).encode()
        (folder / "result.nc").write_bytes(data)
        existing[str(folder / "result.nc")] = data
        results.append((root / task, folder / "result.nc"))
    with pytest.MonkeyPatch.context() as patch:
        recorder = Trace(patch)
        for folder, result in results:
            commit(folder, result, Marker.DONE, {"attempt": result.parent.name})
    return existing, recorder.calls


def test_the_trace_is_worth_cutting(trace):
    _, calls = trace
    kinds = [call[0] for call in calls]
    assert len(calls) >= 40
    assert {"create", "write", "fsync", "rename", "link", "unlink"} <= set(kinds)


def broken_promise(existing, calls, stop: int, survives) -> str:
    """Cut the power after ``stop`` calls; return which promise the disk breaks, or an empty string."""
    disk = Disk()
    for path, content in existing.items():  # named, but its bytes still in the page cache
        disk.durable[path] = disk.current[path] = Inode(written=content)
    for call in calls[:stop]:
        disk.apply(call)
    left = disk.after_power_cut(survives)
    for path, content in left.items():
        if Path(path).name != Marker.DONE or not content:
            continue  # an empty marker fails its seal: it counts as absent
        manifest = json.loads(content)
        result = left.get(str(Path(path).parent / manifest["file"]))
        if result is None:
            return "the marker vouches for a file that is not there"
        if len(result) != manifest["size"]:
            return "the marker vouches for bytes that were lost"
    return ""


@pytest.mark.fault
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_f03_no_marker_without_its_data(trace, data):
    existing, calls = trace
    stop = data.draw(st.integers(0, len(calls)), label="power cut after call")
    assert broken_promise(existing, calls, stop, lambda: data.draw(st.booleans())) == ""


@pytest.mark.parametrize("left_out", ["result.nc", "directory"])
def test_the_model_catches_a_protocol_with_one_flush_left_out(trace, left_out):
    existing, calls = trace
    names = {Path(path).parent.parent.parent.as_posix() for path in existing}
    careless = [
        call for call in calls
        if not (call[0] == "fsync" and (call[1] in names if left_out == "directory" else call[1].endswith(left_out)))
    ]  # fmt: skip
    generator = random.Random(3)
    found = {broken_promise(existing, careless, len(careless), lambda: generator.random() < 0.5) for _ in range(200)}
    assert found - {""}
