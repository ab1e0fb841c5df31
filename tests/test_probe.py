# SPDX-License-Identifier: BSD-3-Clause
"""``bpd doctor --profile``: probe jobs on a real Slurm, and what a probe says of a node that lacks something."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest

from bp_distributed import doctor, probe
from bp_distributed.doctor import Finding, _judge, _listening, examine_profile
from bp_distributed.profile import profile_path

slurm = pytest.mark.xdist_group("slurm")


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")  # the table is read here


def edited(tmp_path, old, new):
    text = profile_path("ci-slurm").read_text()
    assert old in text
    path = tmp_path / "site.yaml"
    path.write_text(text.replace(old, new))
    return path


@slurm
def test_a_sound_site_passes(slurm_site, tmp_path, capsys):
    assert examine_profile("ci-slurm", tmp_path / "campaign") == 0
    told = capsys.readouterr().out
    for words in ("2 ranks on 2 nodes", "127.0.0.1 is reached", "LAMMPS", "s from this machine's"):
        assert words in told, told
    assert not list((tmp_path / "campaign").iterdir()), "it cleans up"
    assert all(job["JobState"] != "RUNNING" for job in slurm_site.jobs().values())


@slurm
def test_a_broken_lane_is_named_with_its_cure_and_the_others_are_still_tried(slurm_site, tmp_path, capsys):
    path = edited(tmp_path, "--mpi=pmi2", "--mpi=none")
    assert examine_profile(path, tmp_path / "campaign") == 2
    told = capsys.readouterr().out
    assert "worlds of 1" in told
    assert "set the lane's launcher" in told
    assert told.count("127.0.0.1 is reached") == 2


@slurm
def test_a_lane_without_our_python_says_what_its_job_said(slurm_site, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_LAG_S", 0.5)
    path = edited(tmp_path, "  single:\n", "  single:\n    python: /nowhere/python\n")
    assert examine_profile(path, tmp_path / "campaign") == 2
    told = capsys.readouterr().out
    assert "No such file or directory" in told
    assert "2 ranks on 2 nodes" in told


@slurm
def test_a_refused_lane_and_one_that_never_starts(slurm_site, tmp_path, capsys):
    text = profile_path("ci-slurm").read_text()
    text = text.replace("  single:\n", "  single:\n    queue: absent\n").replace(
        "nodes: 2", "nodes: 2\n    directives: [--begin=now+1hour]"
    )
    (tmp_path / "site.yaml").write_text(text)
    assert examine_profile(tmp_path / "site.yaml", tmp_path / "campaign", patience_s=2.0) == 2
    told = capsys.readouterr().out
    assert "absent" in told
    assert "still pending" in told
    assert "correct the lane in the profile" in told
    assert not [job for job in slurm_site.jobs().values() if job["JobState"] == "PENDING"]


def ask(folder, address, nonce="word"):
    folder.mkdir()
    (folder / probe.QUESTION).write_text(json.dumps({"nonce": nonce, "address": list(address)}))
    probe.main(folder)
    return json.loads((folder / probe.ANSWER).read_text())


def test_a_node_that_cannot_reach_the_driver_is_told_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()
    answer = ask(tmp_path / "a", closed)
    assert not answer["checks"]["connection"]["ok"]
    (finding,) = [one for one in _judge("single", answer, tmp_path) if one.check == "connection"]
    assert "scheduler.interface" in finding.cure
    assert "refused" in finding.what


def test_another_machine_under_the_same_address_is_noticed(tmp_path):
    with _listening("127.0.0.1") as (address, nonce):
        assert ask(tmp_path / "a", address, nonce)["checks"]["connection"]["ok"]
        assert "somebody else answers" in ask(tmp_path / "b", address, "another")["checks"]["connection"]["what"]


def test_differing_versions_and_clocks_are_problems(tmp_path):
    with _listening("127.0.0.1") as (address, nonce):
        answer = ask(tmp_path / "a", address, nonce)
    assert {finding.cure for finding in _judge("single", answer, tmp_path)} == {""}
    answer["versions"]["distributed"] = "1.0"
    answer["clock_offset_s"] = -7200.0
    wrong = {finding.check: finding for finding in _judge("single", answer, tmp_path) if finding.cure}
    assert set(wrong) == {"versions", "clock"}
    assert "distributed 1.0 there" in wrong["versions"].what
    assert sys.executable in wrong["versions"].cure
    assert wrong["clock"].what.startswith("-7200.")


def test_ranks_that_do_not_find_each_other_are_a_problem(tmp_path, monkeypatch):
    script = tmp_path / "alone"  # what a launcher of another MPI does: as many worlds of one
    script.write_text('#!/bin/sh\nfor rank in 1 2; do "$@" || exit 1; done\n')
    script.chmod(0o700)
    monkeypatch.setenv("BPD_LAUNCHER", json.dumps([str(script), "{cmd}"]))
    monkeypatch.setenv("BPD_NODES", "1")
    found = probe._tried(probe._ranks)
    assert found == {"ok": False, "what": "2 ranks started as 2 worlds of 1 (mpi)"}
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec"
    monkeypatch.setenv("BPD_LAUNCHER", json.dumps([mpiexec, "-n", "{n}", "{cmd}"]))
    assert probe._tried(probe._ranks) == {"ok": True, "what": "2 ranks on 1 node"}


def test_brackets_in_an_answer_are_shown_as_they_are(capsys):
    from rich.console import Console

    from bp_distributed.profile import read_profile

    Console().print(doctor._table(read_profile("ci-slurm"), [Finding("single", "job", "got [red] and [/]", "a cure")]))
    assert "got [red] and [/]" in capsys.readouterr().out
