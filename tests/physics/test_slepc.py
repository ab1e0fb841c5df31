# SPDX-License-Identifier: BSD-3-Clause
"""SLEPc over MPI: LAPACK as oracle with one and two ranks, degenerate spectra, saddles, and ranks that die."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from small_systems import fcc, random_start

from bp_distributed.child import mpi_command
from bp_distributed.errors import ConfigError, InfrastructureError, Reason, ScienceError
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import normal_modes
from bp_distributed.physics.slepc import slepc_modes

OMEGA_CUT = 15.0  # rad/ps; 43 of the 321 modes of the tiny glass
RELATIVE = 1e-10  # of frequencies, against LAPACK
ROUNDING = 1e-10  # of residuals over λ_max, and of orthogonality
F30_S = 30.0  # reliability.md F30: the whole solve ends within this


pytestmark = pytest.mark.usefixtures("built_slepc")


@pytest.fixture(scope="module")
def glass(tiny_glass, cuzr):
    """Hessian, masses and LAPACK's modes."""
    hessian, masses_i = factored_hessian(tiny_glass, cuzr), cuzr.masses_e[tiny_glass.species_i]
    return hessian, masses_i, normal_modes(hessian, masses_i, OMEGA_CUT, solver="lapack")


def agree(found, oracle):
    n = len(oracle.vectors_kic)
    np.testing.assert_allclose(found.frequency_k, oracle.frequency_k[:n], rtol=RELATIVE)
    overlap_kk = np.tensordot(found.vectors_kic, oracle.vectors_kic, axes=((1, 2), (1, 2)))
    np.testing.assert_allclose(np.linalg.svd(overlap_kk, compute_uv=False), 1.0, atol=RELATIVE)
    assert found.residual < ROUNDING
    assert found.orthogonality < ROUNDING


@pytest.mark.parametrize(("method", "ranks"), [("polynomial", 1), ("polynomial", 2), ("slicing", 1)])
def test_modes_are_those_of_lapack(glass, tmp_path, method, ranks):
    hessian, masses_i, oracle = glass
    notes = []
    found = slepc_modes(
        hessian, masses_i, OMEGA_CUT, ranks=ranks, workdir=tmp_path, method=method, progress=notes.append
    )
    agree(found, oracle)
    overlap_k = np.abs(np.einsum("kic,kic->k", found.vectors_kic, oracle.vectors_kic))
    np.testing.assert_allclose(overlap_k, 1.0, atol=1e-8)  # the glass has no degenerate modes
    assert found.certified_below == pytest.approx(OMEGA_CUT)
    assert notes
    assert not (tmp_path / "slepc" / "operator").exists()


def test_degenerate_modes_are_all_found(cuzr, tmp_path):
    """A crystal's modes come up to 48-fold, and one start vector sees one of each but for rounding."""
    crystal = fcc(3.62, 3, ("Cu", "Zr"))
    hessian, masses_i = factored_hessian(crystal, cuzr), cuzr.masses_e[crystal.species_i]
    frequency_k = normal_modes(hessian, masses_i, 1.0, solver="lapack").frequency_k
    n_low = 60 + int(np.argmax(np.diff(frequency_k[59:140])))  # the widest gap of a range
    cut = 0.5 * float(frequency_k[n_low - 1] + frequency_k[n_low])
    found = slepc_modes(hessian, masses_i, cut, ranks=1, workdir=tmp_path)
    np.testing.assert_allclose(found.frequency_k, frequency_k[:n_low], rtol=RELATIVE)
    assert found.orthogonality < ROUNDING


@pytest.mark.parametrize("ranks", [1, 2])
def test_too_low_an_estimate_is_made_good(glass, tmp_path, monkeypatch, ranks):
    """Further rounds, orthogonal to what is known, until nothing is missing below the cut."""
    hessian, masses_i, oracle = glass
    code = "from bp_distributed.physics import slepc_program as s; s._estimated_count = lambda *_: 0.0; s.main()"
    command = mpi_command([sys.executable, "-c", code], ranks)
    monkeypatch.setattr("bp_distributed.physics.slepc.mpi_command", lambda *_: command)
    agree(slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=ranks, workdir=tmp_path), oracle)
    assert json.loads((tmp_path / "slepc" / "verdict.json").read_text())["rounds"] > 1


def test_a_mode_that_was_skipped_is_found_by_the_search(glass, tmp_path, monkeypatch):
    """The first search is made to lose its softest mode; only the search from a fresh vector can tell."""
    hessian, masses_i, oracle = glass
    code = """if True:
        from bp_distributed.physics import slepc_program as s
        honest, calls = s._largest, []
        def forgetful(*given, **named):
            calls.append(1)
            return honest(*given, **named)[len(calls) == 1 :]
        s._largest = forgetful
        s.main()
    """
    command = mpi_command([sys.executable, "-c", code], 1)
    monkeypatch.setattr("bp_distributed.physics.slepc.mpi_command", lambda *_: command)
    agree(slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=1, workdir=tmp_path), oracle)
    assert json.loads((tmp_path / "slepc" / "verdict.json").read_text())["rounds"] > 1


def test_a_cut_high_in_the_spectrum_is_left_to_lapack(glass, tmp_path):
    hessian, masses_i, oracle = glass
    with pytest.raises(ScienceError, match="modes lie below the cut: use solver lapack") as caught:
        slepc_modes(hessian, masses_i, 0.9 * float(oracle.frequency_k[-1]), ranks=1, workdir=tmp_path)
    assert caught.value.reason is Reason.SOLVER_FAILED


@pytest.mark.parametrize("method", ["polynomial", "slicing"])
def test_a_negative_mode_is_refused(cuzr, tmp_path, method):
    start = random_start(60, ("Cu", "Zr"), 10.3, seed=3)
    hessian, masses_i = factored_hessian(start, cuzr), cuzr.masses_e[start.species_i]
    with pytest.raises(ScienceError, match="not a minimum") as caught:
        slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=1, workdir=tmp_path, method=method)
    assert caught.value.reason is Reason.UNSTABLE


def test_slicing_over_ranks_names_what_it_needs(glass, tmp_path):
    hessian, masses_i, oracle = glass
    try:
        agree(slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=2, workdir=tmp_path, method="slicing"), oracle)
    except ScienceError as error:
        assert "MUMPS; use one rank" in str(error)  # noqa: PT017 - a PETSc with MUMPS can do it


def test_numbers_that_are_not_finite_are_refused(glass, tmp_path):
    hessian, masses_i, _ = glass
    curvature_i = np.where(np.arange(hessian.n_atoms) == 7, np.nan, hessian.embedding_curvature_i)
    broken = replace(hessian, embedding_curvature_i=curvature_i)
    with pytest.raises(ScienceError, match="not finite") as caught:
        slepc_modes(broken, masses_i, OMEGA_CUT, ranks=1, workdir=tmp_path)
    assert caught.value.reason is Reason.NOT_FINITE


def test_an_unknown_method_is_refused(glass, tmp_path):
    hessian, masses_i, _ = glass
    with pytest.raises(ConfigError, match="method: got 'magic', expected one of polynomial, slicing"):
        slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=1, workdir=tmp_path, method="magic")


def test_a_solve_that_is_stopped_says_why(glass, tmp_path):
    hessian, masses_i, _ = glass
    with pytest.raises(InfrastructureError, match="cancelled"):
        slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=1, workdir=tmp_path, stop=lambda: "cancelled")


def ranks_of(folder):
    """Return the processes that run a solve in ``folder``."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        arguments = process.info["cmdline"] or []
        if arguments[1:3] == ["-m", "bp_distributed.physics.slepc_program"] and process.info["cwd"] == str(folder):
            found.append(process)
    return found


def wait_for(condition, patience_s):
    deadline = time.monotonic() + patience_s
    while not (answer := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


@pytest.mark.fault
@pytest.mark.parametrize("launcher", ["mpiexec.gforker", "mpiexec"])
def test_f30_the_solve_ends_with_one_of_its_ranks(cuzr, tmp_path, launcher):
    if (program := shutil.which(launcher, path=str(Path(sys.executable).parent))) is None:
        pytest.skip(f"this MPI has no {launcher}")
    crystal = fcc(4.14, 5, ("Cu", "Zr"))
    hessian, masses_i = factored_hessian(crystal, cuzr), cuzr.masses_e[crystal.species_i]
    folder, killed = tmp_path / "slepc", []

    def kill_one():
        if wait_for((folder / "progress.json").exists, F30_S):
            ranks = ranks_of(folder)
            os.kill(ranks[-1].pid, signal.SIGKILL)
            killed.extend((len(ranks), time.monotonic()))

    assassin = threading.Thread(target=kill_one)
    assassin.start()
    with pytest.raises(InfrastructureError, match="the SLEPc solve ended with code") as caught:
        slepc_modes(hessian, masses_i, 25.0, ranks=2, workdir=tmp_path, launcher=(program, "-n", "{n}", "{cmd}"))
    assassin.join()
    assert killed[0] == 2
    assert time.monotonic() - killed[1] < F30_S
    assert caught.value.evidence == str(folder)
    assert wait_for(lambda: not ranks_of(folder), 5.0)
    assert not (folder / "modes.npz").exists()
    assert not (folder / "verdict.json").exists()


def test_ranks_on_one_node_open_no_port(glass, tmp_path):
    hessian, masses_i, _ = glass
    folder, seen, ports = tmp_path / "slepc", [], []

    def look():
        with contextlib.suppress(psutil.Error):  # a process may end while it is looked at
            ranks = ranks_of(folder)
            family = {*ranks, *(parent for rank in ranks for parent in rank.parents() if "mpiexec" in parent.name())}
            seen.append(len(family))
            ports.extend(connection.laddr for one in family for connection in one.net_connections("inet"))
        return ""

    if not mpi_command([], 2)[3].endswith("gforker"):
        pytest.skip("this MPI has no launcher that opens no port")
    slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=2, workdir=tmp_path, stop=look)
    assert max(seen) == 3
    assert ports == []
