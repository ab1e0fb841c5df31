# SPDX-License-Identifier: BSD-3-Clause
"""Two-file checkpoints: torn, altered and foreign ones are passed over (reliability.md F28), without LAMMPS."""

import json
import os

import numpy as np
import pytest

from bp_distributed.physics import checkpoint

FACTS = {"lammps": 20250722, "ranks": 1, "elements": ["Cu", "Zr"]}


def write(folder, turn, step, size=4000):
    checkpoint.withdraw(folder, turn)
    restart = folder / f"{checkpoint.restart_name(turn)}.restart"
    restart.write_bytes(np.random.default_rng(step).bytes(size))
    checkpoint.save(folder, turn, step, {"history": np.arange(step, dtype=float)}, FACTS)
    return restart


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints were made: B at 200 is the older, A at 300 the newest."""
    for turn, step in enumerate([100, 200, 300]):
        write(tmp_path, turn, step)
    return tmp_path


def test_names_alternate_and_the_newest_wins(folder):
    found = checkpoint.newest([folder], FACTS)
    assert (found.name, found.step) == ("A", 300)
    np.testing.assert_array_equal(found.records["history"], np.arange(300.0))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{suffix}" for name in "AB" for suffix in ("restart", "npz", "json")
    )


def test_the_newest_of_several_attempts_wins(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write(other, 1, 900)
    assert checkpoint.newest([folder, other, tmp_path / "missing"], FACTS).folder == other


@pytest.mark.fault
@pytest.mark.parametrize("suffix", ["restart", "npz", "json"])
def test_every_truncation_falls_back_to_the_older(folder, suffix):
    path = folder / f"A.{suffix}"
    size = path.stat().st_size
    for length in sorted({0, 1, size // 2, size - 1}, reverse=True):
        os.truncate(path, length)
        assert checkpoint.newest([folder], FACTS).step == 200


@pytest.mark.fault
@pytest.mark.parametrize("suffix", ["restart", "npz"])
def test_every_flipped_bit_falls_back_to_the_older(folder, suffix):
    path = folder / f"A.{suffix}"
    data = path.read_bytes()
    for place in np.random.default_rng(3).integers(0, len(data) * 8, 50):
        torn = bytearray(data)
        torn[place // 8] ^= 1 << (place % 8)
        path.write_bytes(torn)
        assert checkpoint.newest([folder], FACTS).step == 200
    path.write_bytes(data)
    assert checkpoint.newest([folder], FACTS).step == 300


@pytest.mark.fault
@pytest.mark.parametrize("stage", ["withdrawn", "restart half", "records half"])
def test_a_kill_while_writing_leaves_the_other(folder, stage):
    """Turn 3 writes B; at every stage of it A stands."""
    checkpoint.withdraw(folder, 3)
    if stage != "withdrawn":
        os.truncate(folder / "B.restart", 1000)
    if stage == "records half":
        (folder / "B.npz").write_bytes(b"PK")
    assert checkpoint.newest([folder], FACTS).step == 300


@pytest.mark.fault
def test_both_gone_is_a_fresh_start(folder):
    for name in "AB":
        os.truncate(folder / f"{name}.restart", 10)
    assert checkpoint.newest([folder], FACTS) is None


@pytest.mark.parametrize("change", [{"lammps": 20240829}, {"ranks": 2}, {"elements": ["Zr", "Cu"]}])
def test_another_program_or_rank_count_does_not_continue_it(folder, change):
    assert checkpoint.newest([folder], FACTS | change) is None


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"step": "x", "facts": {}}', "{"])
def test_a_vouching_file_of_another_shape_is_passed_over(folder, content):
    (folder / "A.json").write_text(content)
    assert checkpoint.newest([folder], FACTS).step == 200


def test_records_are_never_unpickled(folder):
    np.savez(folder / "A.npz", history=np.array([{"not": "plain"}], dtype=object))
    content = json.loads((folder / "A.json").read_text())
    content["records_sha256"] = checkpoint._sha256(folder / "A.npz")
    (folder / "A.json").write_text(json.dumps(content))
    assert checkpoint.newest([folder], FACTS).step == 200


def test_copy_aside_survives_that_the_original_is_overwritten(folder):
    found = checkpoint.newest([folder], FACTS)
    before = found.restart.read_bytes()
    copy = checkpoint.copy_aside(found, folder)
    write(folder, 4, 500)
    assert copy.read_bytes() == before
