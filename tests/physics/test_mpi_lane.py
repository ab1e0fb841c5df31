# SPDX-License-Identifier: BSD-3-Clause
"""A solve over two nodes of a real Slurm job: one rank on each, LAPACK's answer, and an end that leaves no rank."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from small_systems import fcc
from test_slepc import F30_S, ranks_of, wait_for
from test_vibration import REQUEST, inputs_of

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("built_slepc")]

SRUN = ["srun", "--exact", "--overlap", "-N", "{nodes}", "-n", "{n}", "--mpi=pmi2", "{cmd}"]
MPIEXEC = [shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or "mpiexec", "-n", "{n}", "{cmd}"]
LAUNCHERS = pytest.mark.parametrize("launcher", [SRUN, MPIEXEC], ids=["srun", "mpiexec"])

WORKER = """
import json
from pathlib import Path
from bp_distributed.child import mpi_command, run_child, step_command
given = json.loads(Path("given.json").read_text())
step = given.get("step")
command = step_command(step) if step else mpi_command(given["command"], 2, 1, 2, given["launcher"])
print(run_child(command, Path(), 120, reach="nodes").code)
"""


def submit(site, folder, **given):
    """Start what a worker of an MPI lane starts: a child in a batch job of two nodes, to which nothing was exported."""
    (folder / "worker.py").write_text(WORKER)
    (folder / "given.json").write_text(json.dumps(given))
    lines = ["#!/bin/sh", "export SLURM_EXPORT_ENV=ALL", f"cd {folder}", f"exec {sys.executable} worker.py"]
    out = ["-o", str(folder / "out"), "-e", str(folder / "err")]
    return site.submit("\n".join(lines) + "\n", "-N2", "-c2", "--ntasks-per-node=1", "--export=NONE", *out)


def submit_solve(site, folder, cuzr_path, sample, omega_cut, launcher):
    shutil.copy(cuzr_path, folder / "potential.eam.fs")
    request = {**REQUEST, "solver": "slepc", "omega_cut": omega_cut, "launcher": launcher, "nodes": 2, "ranks": 2}
    (folder / "request.json").write_text(json.dumps(request))
    np.savez(folder / "inputs.npz", **inputs_of(sample))
    return submit(site, folder, step="vibration")


@LAUNCHERS
def test_one_rank_runs_on_each_node(slurm_site, tmp_path, launcher):
    job = submit(slurm_site, tmp_path, command=["printenv", "SLURMD_NODENAME"], launcher=launcher)
    slurm_site.wait_for(job, "COMPLETED", "FAILED")
    assert (tmp_path / "out").read_text() == "0\n", (tmp_path / "stderr").read_text()
    assert len(set((tmp_path / "stdout").read_text().split())) == 2


@LAUNCHERS
def test_modes_found_over_two_nodes_are_those_of_lapack(
    slurm_site, tmp_path, tiny_glass, tiny_exact, cuzr_path, launcher
):
    job = submit_solve(slurm_site, tmp_path, cuzr_path, tiny_glass, 15.0, launcher)
    slurm_site.wait_for(job, "COMPLETED", "FAILED")
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["facts"]["solver_reason"] == "asked for, with 2 MPI ranks"
    with np.load(tmp_path / "arrays.npz") as stored:
        frequency_k = stored["frequency"]
    exact_k = 98.226949 * np.sqrt(tiny_exact[0][3:])
    np.testing.assert_allclose(frequency_k, exact_k[: len(frequency_k)], rtol=1e-6)
    assert len(frequency_k) == np.count_nonzero(exact_k < 15.0)


@pytest.mark.fault
@LAUNCHERS
@pytest.mark.parametrize("victim", ["rank", "worker"])
def test_f30_no_rank_survives_another_rank_or_its_worker(slurm_site, tmp_path, cuzr_path, launcher, victim):
    job = submit_solve(slurm_site, tmp_path, cuzr_path, fcc(4.14, 5, ("Cu", "Zr")), 25.0, launcher)
    folder = tmp_path / "slepc"
    assert wait_for((folder / "progress.json").exists, F30_S), (tmp_path / "err").read_text()
    ranks = ranks_of(folder)
    nodes = {rank.environ()["SLURMD_NODENAME"]: rank for rank in ranks}
    assert len(ranks) == len(nodes) == 2
    here = slurm_site.jobs()[job]["BatchHost"]
    if victim == "rank":
        next(rank for node, rank in nodes.items() if node != here).kill()
    else:
        (worker,) = [process for process in psutil.process_iter() if worker_in(process, tmp_path)]
        os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    slurm_site.wait_for(job, "COMPLETED", "FAILED")
    assert wait_for(lambda: not ranks_of(folder), F30_S)
    assert time.monotonic() - killed < F30_S
    assert not (tmp_path / "arrays.npz").exists()
    if victim == "rank":
        verdict = json.loads((tmp_path / "verdict.json").read_text())
        assert (verdict["class"], verdict["reason"]) == ("infrastructure", "solver_died")


def worker_in(process, folder):
    try:
        return process.cmdline()[1:] == ["worker.py"] and process.cwd() == str(folder)
    except psutil.Error:
        return False
