# SPDX-License-Identifier: BSD-3-Clause
"""``bpd fsck`` and the guarded reader: every kind of damage is found, nothing crashes on it (reliability.md F24, S15)."""

import json
import os
import threading

import numpy as np
import pytest
import xarray as xr

from bp_distributed import dataset, durable, reader
from bp_distributed.attempt import attempts_of
from bp_distributed.commit import Marker, commit, committed
from bp_distributed.fsck import fsck
from bp_distributed.reader import Reader
from bp_distributed.store import State


@pytest.fixture
def done(campaign):
    """A finished campaign with toy steps."""
    campaign.run(workers=0)
    return campaign


def result_of(campaign, number):
    task = campaign.store.plan.tasks[number]
    folder = campaign.store.folder(task)
    return task, folder, folder / committed(folder)["file"]


@pytest.mark.fault
def test_f24_each_damage_is_named_and_the_rest_stays_sound(done):
    expected = set()
    for number, keep in enumerate((0.0, 0.01, 0.5, -1)):
        task, _, path = result_of(done, number)
        size = path.stat().st_size
        os.truncate(path, size - 1 if keep == -1 else int(keep * size))
        expected.add(task.key)
    task, folder, _ = result_of(done, 4)
    (folder / Marker.DONE).write_bytes(b'{"file": "resu')
    expected.add(task.key)
    _, folder, _ = result_of(done, 5)
    for attempt in attempts_of(folder):
        (attempt.folder / "claim.json").write_bytes(b"")
    (folder / "attempts" / "not an attempt").mkdir()
    (folder / "attempts" / "x-y").mkdir()

    findings = fsck(done.store)
    assert {line.split(":")[0] for line in findings.damage} == expected
    assert findings.verified == len(done.store.plan.tasks) - len(expected)
    assert not findings.clean
    states = done.store.states()
    quarantined = {key for key, state in states.items() if state.state is State.QUARANTINED}
    assert quarantined == {result_of_key for result_of_key in expected if states[result_of_key].manifest}
    assert fsck(done.store).damage, "damage does not go away by looking twice"

    done.retry()
    done.run(workers=0)
    assert fsck(done.store).clean


@pytest.mark.fault
def test_a_result_that_is_garbage_with_a_valid_checksum_is_found_by_opening_it(done):
    task, folder, path = result_of(done, 0)
    manifest = committed(folder)
    path.write_bytes(os.urandom(path.stat().st_size))
    size, digest = durable.digest_of(path)
    (folder / Marker.DONE).unlink()
    durable.publish(folder / Marker.DONE, durable.sealed_json({**manifest, "size": size, "sha256": digest}))
    (line,) = fsck(done.store).damage
    assert line.startswith(task.key)
    assert done.store.state(task).state is State.QUARANTINED


@pytest.mark.fault
def test_a_result_without_its_marker_is_adopted_on_request(done):
    task, folder, _ = result_of(done, 0)
    manifest = committed(folder)
    (folder / Marker.DONE).unlink()
    (folder / "attempts" / manifest["attempt"] / "manifest.json").write_bytes(durable.sealed_json(manifest))
    assert fsck(done.store).adoptable == [task.key]
    assert fsck(done.store, adopt_orphans=True).adopted == [task.key]
    assert done.store.state(task).state is State.DONE
    assert fsck(done.store).clean


def test_the_reader_looks_at_every_part_of_a_large_array(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_NUMBERS_AT_A_TIME", 1)
    vector = np.zeros((150, 2, 3), dtype=np.float32)
    dataset.write(dataset.label({"vector": vector}, {}), tmp_path / "good.nc")
    assert reader.examine(str(tmp_path / "good.nc")) == ""
    vector[149, 1, 2] = np.nan
    dataset.write(dataset.label({"vector": vector}, {}), tmp_path / "bad.nc")
    assert reader.examine(str(tmp_path / "bad.nc")) == "vector: holds missing or non-finite numbers"


def test_the_reader_judges_names_units_and_numbers(tmp_path):
    good = dataset.label({"energy": np.array(1.0)}, {})
    dataset.write(good, tmp_path / "good.nc")
    cases = {
        "unknown": xr.Dataset({"nonsense": ((), 1.0)}),
        "unit": xr.Dataset({"energy": ((), 1.0, {"units": "J"})}),
        "unitless": xr.Dataset({"energy": ((), 1.0)}),
        "dims": xr.Dataset({"energy": (("atom",), [1.0], {"units": "eV"})}),
        "nan": dataset.label({"energy": np.array(np.nan)}, {}),
        "infinite": dataset.label({"position": np.full((2, 3), np.inf)}, {}),
    }
    with Reader() as guard:
        assert guard.complaint(tmp_path / "good.nc") == ""
        for name, wrong in cases.items():
            wrong.to_netcdf(tmp_path / f"{name}.nc", engine="netcdf4")
            assert guard.complaint(tmp_path / f"{name}.nc"), name
        (tmp_path / "text.nc").write_text("not a netCDF file")
        assert "OSError" in guard.complaint(tmp_path / "text.nc")
        assert guard.complaint(tmp_path / "absent.nc")
        assert guard.complaint(tmp_path / "good.nc") == "", "the reader survives what it judged"


@pytest.mark.fault
def test_a_file_that_hangs_its_reader_costs_one_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "TIMEOUT_S", 1.5)
    dataset.write(dataset.label({"energy": np.array(1.0)}, {}), tmp_path / "good.nc")
    os.mkfifo(tmp_path / "hangs.nc")
    with Reader() as guard:
        assert "hung" in guard.complaint(tmp_path / "hangs.nc")
        monkeypatch.setattr(reader, "TIMEOUT_S", 60.0)
        assert guard.complaint(tmp_path / "good.nc") == ""


@pytest.mark.fault
def test_a_file_that_crashes_its_reader_is_a_complaint(tmp_path):
    dataset.write(dataset.label({"energy": np.array(1.0)}, {}), tmp_path / "good.nc")
    os.mkfifo(tmp_path / "crashes.nc")
    with Reader() as guard:
        assert guard.complaint(tmp_path / "good.nc") == ""
        threading.Timer(0.5, guard._process.kill).start()  # while it sits on the next file
        assert "crashed" in guard.complaint(tmp_path / "crashes.nc")
        assert guard.complaint(tmp_path / "good.nc") == ""
        guard._process.kill()  # while it sits idle
        guard._process.wait()
        assert guard.complaint(tmp_path / "good.nc") == "", "no file is blamed for that"


def test_every_chunk_carries_a_checksum(done):
    import netCDF4

    _, _, path = result_of(done, 2)
    with netCDF4.Dataset(path) as file:
        arrays = [variable for variable in file.variables.values() if variable.ndim]
        assert arrays
        assert all(variable.filters()["fletcher32"] for variable in arrays)


def test_s15_nothing_in_the_store_is_pickled(done):
    magic = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    for path in done.root.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(magic), path
            if path.suffix == ".json":
                json.loads(path.read_text())


def test_a_marker_that_vouches_for_nothing_is_damage(tmp_path):
    attempt = durable.make_private_dir(tmp_path / "attempts" / "1-a")
    (attempt / "result.nc").write_bytes(b"x")
    manifest = commit(tmp_path, attempt / "result.nc", Marker.DONE, {}).manifest
    (tmp_path / manifest["file"]).unlink()
    from bp_distributed.commit import verified
    from bp_distributed.errors import DamagedResultError

    with pytest.raises(DamagedResultError, match="committed but unreadable"):
        verified(tmp_path, manifest)
