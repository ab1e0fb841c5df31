# SPDX-License-Identifier: BSD-3-Clause
"""Normal modes by SLEPc, over MPI ranks on one node or many, in child processes.

The Hessian is handed over through files, its atoms in an order that puts neighbours close, so that each rank
exchanges little.  The library lies where ``bpd slepc-build`` put it, or in the environment.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from bp_distributed.child import ChildExit, mpi_command, run_child
from bp_distributed.errors import ConfigError, InfrastructureError, Reason, ScienceError
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.hessian import FactoredHessian
from bp_distributed.physics.modes import Modes, check_minimum, translation_residual, translations
from bp_distributed.slepc_build import slepc_home
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

METHODS = ("polynomial", "slicing")
PROGRAM = "bp_distributed.physics.slepc_program"


def slepc_modes(
    hessian: FactoredHessian,
    masses_i: NDArray[np.float64],
    omega_cut: float,
    *,
    ranks: int,
    workdir: Path,
    method: str = "polynomial",
    nodes: int = 1,
    launcher: Sequence[str] = (),
    deadline_s: float = math.inf,
    stop: Callable[[], str] = lambda: "",
    progress: Callable[[str], None] = lambda note: None,  # noqa: ARG005
) -> Modes:
    """Return the modes below ``omega_cut`` with their vectors.

    Parameters
    ----------
    hessian : FactoredHessian
        At a minimum of the energy, eV/Å².
    masses_i : ndarray, shape=(n_atoms,), amu
        Mass of each atom.
    omega_cut : float, rad/ps
        As said.
    ranks : int
        MPI processes; the cores of this machine are shared out among them.
    workdir : Path
        A folder ``slepc`` is made in it, with ``modes.npz``, ``verdict.json``, ``stdout`` and ``stderr``; one that is
        there already is replaced.
    method : str
        ``polynomial``, matrix-free; or ``slicing``, on the assembled matrix, for small systems.
    nodes : int
        Machines of the batch job that the ranks are spread over.
    launcher : sequence of str
        Template of the launcher, see ``child.mpi_command``.
    deadline_s : float
        Seconds after which the solve is ended.
    stop : callable
        Polled; a non-empty answer ends the solve.
    progress : callable
        Told now and then.

    Returns
    -------
    Modes

    Raises
    ------
    ConfigError
        If ``method`` is unknown.
    ScienceError
        ``UNSTABLE`` if any mode other than a translation has λ < 1e-6 λ_max, or a translation more than that;
        ``NOT_FINITE`` if the Hessian holds NaN; ``SOLVER_FAILED``, with the cure.
    InfrastructureError
        If SLEPc is missing, a rank dies, or the deadline passes.
    """
    if method not in METHODS:
        raise ConfigError("slepc_modes", "method", f"got {method!r}, expected one of {', '.join(METHODS)}")
    home, folder = slepc_home(), workdir / "slepc"
    dynamical = hessian.mass_weighted(masses_i)
    pair, gather = dynamical.P, dynamical.J
    if not all(np.isfinite(part).all() for part in (pair.data, gather.data, dynamical.embedding_curvature_i)):
        raise ScienceError(Reason.NOT_FINITE, "the Hessian holds numbers that are not finite")
    top = spectral_bound(dynamical)
    drift = translation_residual(dynamical, translations(masses_i), top)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "operator").mkdir(parents=True)
    request = {"n_atoms": len(masses_i), "cut": (omega_cut / OMEGA_PER_SQRT_EIGENVALUE) ** 2, "top": top}
    (folder / "request.json").write_text(json.dumps(request | {"method": method}), encoding="utf-8")
    _write_operator(folder / "operator", dynamical, pair, gather, masses_i, assembled=method == "slicing")
    del pair, gather
    threads = max(1, len(os.sched_getaffinity(0)) * nodes // ranks)
    try:
        ended = run_child(
            mpi_command([sys.executable, "-m", PROGRAM], ranks, threads, nodes, launcher), folder, deadline_s, threads,
            stop=_Listener(folder / "progress.json", stop, progress), environment=home.environment,
            reach="nodes" if launcher else "node",
        )  # fmt: skip
    finally:
        shutil.rmtree(folder / "operator")
    verdict = _verdict(folder, ended)
    with np.load(folder / "modes.npz", allow_pickle=False) as stored:
        value_k, vectors_kic = stored["value_k"], stored["vectors_kic"]
    check_minimum(value_k, top)
    return Modes(
        frequency_k=OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(value_k),
        vectors_kic=vectors_kic,
        n_modes=hessian.size - 3,
        residual=verdict["residual"] / top,
        orthogonality=verdict["orthogonality"],
        translation_residual=drift,
        certified_below=OMEGA_PER_SQRT_EIGENVALUE * math.sqrt(verdict["complete_below"]),
        certificate=verdict["certificate"],
        solver=f"slepc {method}",
        reason=f"asked for, with {ranks} MPI ranks",
    )


_LAUNCHER_SAYS = re.compile(r"Abort\(|\[\d+\]\d+:Return code")
"""Comes last, and tells codes only; what went wrong comes before."""


class _Listener:
    """Polled while the ranks run: passes their notes on and asks whether to stop."""

    def __init__(self, path: Path, stop: Callable[[], str], progress: Callable[[str], None]) -> None:
        self._path, self._stop, self._progress, self._note = path, stop, progress, ""

    def __call__(self) -> str:
        try:
            note = json.loads(self._path.read_text(encoding="utf-8"))["note"]
        except FileNotFoundError:
            note = ""
        if note != self._note:
            self._note = note
            self._progress(note)
        return self._stop()


def _verdict(folder: Path, ended: ChildExit) -> dict[str, Any]:
    """Return what rank 0 left; raise what it says, or what the end of the ranks says."""
    path = folder / "verdict.json"
    if ended.stopped or ended.code or not path.exists():
        text = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip()
        lines = [line for line in text.splitlines() if not _LAUNCHER_SAYS.match(line)]
        cause = ended.stopped or "solver_died"
        what = f"the SLEPc solve ended with code {ended.code}; last words: {lines[-1][:200] if lines else 'none'}"
        raise InfrastructureError(cause, what, str(folder))
    verdict: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if verdict["status"] != "done":
        raise ScienceError(Reason(verdict["reason"]), verdict["message"])
    return verdict


def _write_operator(
    folder: Path,
    dynamical: FactoredHessian,
    pair: sparse.bsr_array,
    gather: sparse.csr_array,
    masses_i: NDArray[np.float64],
    *,
    assembled: bool,
) -> None:
    """Write the operator with its atoms in an order of small bandwidth, in rows of blocks."""
    n = len(masses_i)
    gather_block = gather.tobsr((1, 3))
    pattern = sparse.csr_matrix((np.ones(len(gather_block.indices)), gather_block.indices, gather_block.indptr), (n, n))
    order_i = csgraph.reverse_cuthill_mckee(pattern + pattern.T, symmetric_mode=True)
    arrays = {"order_i": order_i, "root_i": np.sqrt(masses_i / masses_i.sum())[order_i]}
    if assembled:
        coordinate_x = (3 * order_i[:, None] + np.arange(3)).ravel()
        whole = dynamical.assembled()[coordinate_x][:, coordinate_x]
        whole.sort_indices()
        arrays |= _rows("dynamical", whole.indptr, whole.indices, whole.data)
    else:
        scatter = gather_block.data * dynamical.embedding_curvature_i[_row_of(gather_block.indptr), None, None]
        arrays |= _reordered("pair", pair.indptr, pair.indices, pair.data, order_i)
        arrays |= _reordered("gather", gather_block.indptr, gather_block.indices, gather_block.data, order_i)
        arrays |= _reordered("scatter", gather_block.indptr, gather_block.indices, scatter, order_i, transposed=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _row_of(start: NDArray[Any]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(start) - 1), np.diff(start))


def _reordered(
    name: str,
    start: NDArray[Any],
    column: NDArray[Any],
    block: NDArray[np.float64],
    order_i: NDArray[Any],
    *,
    transposed: bool = False,
) -> dict[str, NDArray[Any]]:
    """Return a matrix of blocks, or its transpose, with rows and columns in the given order."""
    n, place_i = len(order_i), np.argsort(order_i)
    ends = place_i[_row_of(start)], place_i[column]
    row, column = ends[::-1] if transposed else ends
    sorted_q = np.lexsort((column, row))
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return _rows(name, start, column[sorted_q], block[sorted_q].reshape(len(block), -1))


def _rows(name: str, start: NDArray[Any], column: NDArray[Any], value: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {f"{name}_start": start, f"{name}_column": column.astype(np.int32), f"{name}_value": value}
