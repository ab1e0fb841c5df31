# SPDX-License-Identifier: BSD-3-Clause
r"""What every MPI rank of a solve runs: ``python -m bp_distributed.physics.slepc_program``, started by ``slepc``.

The current folder holds ``request.json`` and ``operator/*.npy``; each rank reads the rows of its own atoms.  Rank 0
leaves ``modes.npz`` and, last, ``verdict.json``; ``progress.json`` is replaced as it goes.

``polynomial``: SLEPc's Krylov-Schur method on a Chebyshev polynomial p(D) of the distributed operator
D = P + Jᵀ F″ J.  p is below 1/T_d in size from an edge above the cut on and rises steeply below it, so the wanted
modes are the largest eigenvalues of p(D).  ``slicing``: shift and invert on the assembled D between two inertias.

References
----------
Hernandez, Roman and Vidal, ACM Trans. Math. Softw. 31, 351 (2005), for SLEPc; Campos and Roman, Numer.
Algorithms 60, 279 (2012), for slicing; Bai, Fahey and Golub, J. Comput. Appl. Math. 74, 71 (1996), for the count.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.child import die_with_launcher
from bp_distributed.errors import Reason, ScienceError
from bp_distributed.mpi_segments import sweep_mpi_segments

GUARD, EDGE = 1.02, 1.1
"""In frequency, times the cut: modes are converged up to the guard and damped from the edge on."""

GAIN = 27.0
"""How much more the polynomial weighs a mode at the cut than one beyond the edge."""

TOLERANCE, SEARCH_TOLERANCE = 1e-11, 1e-2
"""Of an eigenpair, relative to its eigenvalue; to tell whether any is missing its size is enough."""

N_PROBES, PROBE_STEPS = 8, 100
"""Random vectors and Lanczos steps for the number of modes; it errs by a few per cent."""

BASIS = 1.35
"""Basis vectors per wanted mode: with these most searches end without a restart."""

SPARE = 16
"""Modes and basis vectors on top of what is estimated."""

SHARE = 0.5
"""Largest part of all modes for which a Krylov method is worth while."""

ROUNDS = 12
ZERO = 1e-6
"""Of the largest eigenvalue: between translations and modes."""

SLAB = 64
"""Vectors gathered at a time."""


@dataclass(frozen=True)
class _Found:
    """Eigenpairs of D: eigenvalues, this rank's part of the vectors, and below which eigenvalue none is missing."""

    value_k: NDArray[np.float64]
    local_xk: NDArray[np.float64]
    complete_below: float
    statement: str
    facts: dict[str, Any]


class _Share:
    """The rows of the operator that belong to this rank's atoms, and its words to the parent."""

    def __init__(self, comm: Any, request: dict[str, Any]) -> None:
        self.comm, self.request = comm, request
        self.n_atoms = int(request["n_atoms"])
        self.bounds = [self.n_atoms * rank // comm.size for rank in range(comm.size + 1)]
        self.begin, self.end = self.bounds[comm.rank], self.bounds[comm.rank + 1]
        self.n_rows = 3 * (self.end - self.begin)
        self._said = -np.inf

    @staticmethod
    def read(name: str) -> Any:
        return np.load(f"operator/{name}.npy", mmap_mode="r", allow_pickle=False)

    def rows(self, name: str, rows_per_atom: int = 1) -> tuple[Any, Any, Any]:
        """Return this rank's rows of a sparse matrix as (start, column, value), for PETSc."""
        start = np.array(self.read(f"{name}_start")[self.begin * rows_per_atom : self.end * rows_per_atom + 1])
        entries = slice(start[0], start[-1])
        column, value = (np.array(self.read(f"{name}_{part}")[entries]) for part in ("column", "value"))
        return (start - start[0]).astype(np.int32), column, value

    def translation(self) -> NDArray[np.float64]:
        """Return this rank's part of the three translations, shape=(n_rows, 3)."""
        return np.kron(np.array(self.read("root_i")[self.begin : self.end])[:, None], np.eye(3))

    def dot(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return leftᵀ right, summed over the ranks."""
        mine = np.atleast_1d(left.T @ right)
        total = np.empty_like(mine)
        self.comm.Allreduce(mine, total)
        return total

    def say(self, note: str, *, often: bool = False) -> None:
        """Replace ``progress.json``; a note that comes often is left out unless a second has passed."""
        if self.comm.rank == 0 and not (often and time.monotonic() - self._said < 1.0):
            self._said = time.monotonic()
            _replace_json("progress.json", {"note": note})


class _Factored:
    """The distributed operator 2 (D - centre) / half: with D on [centre - half, centre + half], twice [-1, 1]."""

    def __init__(self, share: _Share) -> None:
        from petsc4py import PETSc

        rows = (share.n_rows, 3 * share.n_atoms)
        atoms = (share.end - share.begin, share.n_atoms)
        start, column, value = share.rows("pair", 1)
        self._pair = PETSc.Mat().createBAIJ((rows, rows), 3, csr=(start, column, value.ravel()))
        # Rows of J are stored as 1x3 blocks, those of Jᵀ as 3x1 blocks; PETSc wants them written out.
        start, column, value = share.rows("gather", 1)
        wide = (3 * column[:, None] + np.arange(3, dtype=np.int32)).ravel()
        self._gather = PETSc.Mat().createAIJ((atoms, rows), csr=(3 * start, wide, value.ravel()))
        start, column, value = share.rows("scatter", 1)
        self._scatter = PETSc.Mat().createAIJ((rows, atoms), csr=_three_rows(start, column, value))
        self._change = self._gather.createVecLeft()
        self.n_products = 0
        self.centre, self.half = 0.0, 2.0

    def rescale(self, centre: float, half: float) -> None:
        """Move and stretch the spectrum; to be called once."""
        self._pair.shift(-centre)
        self._pair.scale(2.0 / half)
        self._scatter.scale(2.0 / half)
        self.centre, self.half = centre, half

    def vector(self) -> Any:
        return self._pair.createVecRight()

    def add_to(self, out: Any, u: Any) -> None:
        """Add 2 (D - centre) / half times u to ``out``."""
        self._pair.multAdd(u, out, out)
        self._gather.mult(u, self._change)
        self._scatter.multAdd(self._change, out, out)
        self.n_products += 1

    def image(self, u: Any, out: Any) -> None:
        """Set ``out`` to D u."""
        out.set(0.0)
        self.add_to(out, u)
        out.axpby(self.centre, 0.5 * self.half, u)


def _three_rows(start: Any, column: Any, value: Any) -> tuple[Any, Any, Any]:
    """Write rows of 3x1 blocks out as three rows each."""
    count = np.repeat(np.diff(start), 3)
    begin = np.repeat(start[:-1], 3)
    wide = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    entry = np.arange(wide[-1]) - np.repeat(wide[:-1], count) + np.repeat(begin, count)
    component = np.repeat(np.tile(np.arange(3), len(start) - 1), count)
    return wide, column[entry], value[entry, component]


class _Filter:
    """p(D) as a matrix that PETSc knows by its products only."""

    def __init__(self, operator: _Factored, cut: float, top: float, share: _Share) -> None:
        edge = min(EDGE**2 * cut, 0.5 * (cut + top))
        operator.rescale(0.5 * (top + edge), 0.5 * (top - edge))
        self.operator, self._share = operator, share
        outside = (operator.centre - cut) / operator.half
        self.degree = int(np.clip(2 * np.ceil(0.5 * np.arccosh(GAIN) / np.arccosh(outside)), 4, 400))
        self._damping = 1.0 / np.cosh(self.degree * np.arccosh(operator.centre / operator.half))
        self.limit = self.value(min(GUARD**2 * cut, 0.5 * (cut + edge)))
        self._work = [operator.vector() for _ in range(2)]
        self.expected = 0

    def value(self, eigenvalue: float) -> float:
        """Return p at an eigenvalue below the edge."""
        outside = max(1.0, (self.operator.centre - eigenvalue) / self.operator.half)
        return float(self._damping * np.cosh(self.degree * np.arccosh(outside)))

    def mult(self, matrix: Any, u: Any, out: Any) -> None:  # noqa: ARG002 - PETSc calls it like this
        before, now = self._work
        u.copy(before)
        now.set(0.0)
        self.operator.add_to(now, before)
        now.scale(0.5)
        for _ in range(self.degree - 1):
            before.scale(-1.0)
            self.operator.add_to(before, now)
            before, now = now, before
        now.copy(out)
        out.scale(self._damping)
        done = self.operator.n_products
        self._share.say(f"polynomial filter, {done} of about {max(done, self.expected)} products", often=True)


def polynomial(share: _Share) -> _Found:
    """Return all modes below the cut by Krylov-Schur on the filter, and the search that found no further one."""
    cut, top = float(share.request["cut"]), float(share.request["top"])
    operator = _Factored(share)
    estimate = _estimated_count(share, operator, cut)
    filter_ = _Filter(operator, cut, top, share)
    translations = [_as_vector(operator, column) for column in share.translation().T]
    known: list[tuple[float, Any]] = []
    if estimate > SHARE * 3 * share.n_atoms:
        what = f"about {estimate:.0f} of {3 * share.n_atoms} modes lie below the cut: use solver lapack"
        raise ScienceError(Reason.SOLVER_FAILED, what)
    wanted = int(estimate) + SPARE
    for round_ in range(ROUNDS):
        deflated = translations + [vector for _, vector in known]
        filter_.expected = operator.n_products + filter_.degree * (int(BASIS * wanted) + 2 * SPARE)
        pairs = _largest(filter_, wanted, TOLERANCE, deflated, seed=round_, limit=filter_.limit)
        known += [(_rayleigh(operator, vector), vector) for _, _, vector in pairs]
        _check_stiffness(sum(value < ZERO * top for value, _ in known))
        if max((value for value, _ in known), default=0.0) <= cut:
            wanted = max(2 * SPARE, len(known) // 2)
            continue
        share.say("search for a missing mode")
        deflated = translations + [vector for _, vector in known]
        bound = _bound_of_rest(filter_, deflated, seed=ROUNDS + round_)
        if bound < filter_.value(cut):
            return _finished(share, filter_, known, cut, round_ + 1)
        wanted = 2 * SPARE
    raise ScienceError(Reason.SOLVER_FAILED, f"modes were still turning up after {ROUNDS} random starts")


def _check_stiffness(n_soft: int) -> None:
    if n_soft:
        raise ScienceError(Reason.UNSTABLE, f"not a minimum: {n_soft} or more modes have no positive stiffness")


def _finished(share: _Share, filter_: _Filter, known: list[tuple[float, Any]], cut: float, rounds: int) -> _Found:
    low = sorted(((value, vector) for value, vector in known if value < cut), key=lambda pair: pair[0])
    local_xk = np.empty((share.n_rows, len(low)), order="F")
    for k, (_, vector) in enumerate(low):
        local_xk[:, k] = vector.array_r
    guards = len(known) - len(low)
    statement = (
        f"{guards} modes above the cut are converged too, and a search from a fresh random vector, orthogonal to all "
        "that were found, ends above the cut"
    )
    operator = filter_.operator
    facts = {
        "products": operator.n_products, "degree": filter_.degree, "rounds": rounds,
        "residual": max((_error(operator, value, vector) for value, vector in low), default=0.0),
    }  # fmt: skip
    return _Found(np.array([value for value, _ in low]), local_xk, cut, statement, facts)


def _as_vector(operator: _Factored, local: NDArray[np.float64]) -> Any:
    vector = operator.vector()
    vector.array[:] = local
    return vector


def _rayleigh(operator: _Factored, vector: Any) -> float:
    image = operator.vector()
    operator.image(vector, image)
    return float(image.dot(vector))


def _error(operator: _Factored, value: float, vector: Any) -> float:
    """Return ‖D e - λ e‖."""
    image = operator.vector()
    operator.image(vector, image)
    image.axpy(-value, vector)
    return float(image.norm())


def _estimated_count(share: _Share, operator: _Factored, cut: float) -> float:
    """Return about how many eigenvalues lie below ``cut``, by Lanczos quadrature from random vectors."""
    size, rng = 3 * share.n_atoms, np.random.default_rng(share.comm.rank)
    n_steps = min(PROBE_STEPS, size - 3)
    u, image = operator.vector(), operator.vector()
    weight = 0.0
    for probe in range(N_PROBES):
        share.say(f"counting modes, probe {probe + 1} of {N_PROBES}")
        now = rng.choice([-1.0, 1.0], size=share.n_rows) / np.sqrt(size)
        before, coupling = np.zeros_like(now), 0.0
        diagonal, off = np.zeros(n_steps), np.zeros(n_steps)
        for step in range(n_steps):
            u.array[:] = now
            operator.image(u, image)
            rest = image.array_r - coupling * before
            diagonal[step] = share.dot(rest, now)[0]
            rest -= diagonal[step] * now
            coupling = off[step] = np.sqrt(share.dot(rest, rest)[0])
            if coupling <= ZERO * np.abs(diagonal).max():  # nothing is left of the space
                break
            before, now = now, rest / coupling
        value, vector = linalg.eigh_tridiagonal(diagonal[: step + 1], off[:step])
        weight += float((vector[0, value < cut] ** 2).sum())
    return float(share.comm.bcast(size * weight / N_PROBES))  # all ranks must decide alike


def _largest(
    filter_: _Filter, n_wanted: int, tolerance: float, deflated: list[Any], seed: int, limit: float = np.inf
) -> list[Any]:
    """Return (eigenvalue, error, vector) of the largest eigenpairs of p(D) orthogonal to ``deflated``.

    The search ends when ``n_wanted`` have converged, or one below ``limit``.
    """
    from petsc4py import PETSc
    from slepc4py import SLEPc

    start = filter_.operator.vector()
    size = start.getSizes()
    start.array[:] = np.random.default_rng([seed, PETSc.COMM_WORLD.rank]).normal(size=size[0])
    left = size[1] - len(deflated)
    n_wanted = min(n_wanted, left // 2)
    if n_wanted == 0:
        raise ScienceError(Reason.SOLVER_FAILED, "nearly all modes lie below the cut: use solver lapack")
    n_basis = min(int(BASIS * n_wanted) + 2 * SPARE, left)
    matrix = PETSc.Mat().createPython((size, size), filter_)
    solver = SLEPc.EPS().create()
    solver.setOperators(matrix)
    solver.setProblemType(SLEPc.EPS.ProblemType.HEP)
    solver.setType(SLEPc.EPS.Type.KRYLOVSCHUR)
    solver.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_REAL)
    solver.setDimensions(n_wanted, n_basis, n_basis)
    solver.setTolerances(tolerance, 100)
    solver.setDeflationSpace(deflated)
    solver.setInitialSpace([start])
    projected = solver.getDS()

    def enough(solver: Any, restarts: int, max_restarts: int, n_converged: int, n_wanted: int) -> Any:  # noqa: ARG001
        value_k = projected.getArray(SLEPc.DS.MatType.T)[:, 0]
        if n_converged >= n_wanted or (n_converged and value_k[n_converged - 1] < limit):
            return True
        return SLEPc.EPS.ConvergedReason.DIVERGED_ITS if restarts >= max_restarts else None

    solver.setStoppingTest(enough)
    solver.solve()
    found = []
    for k in range(solver.getConverged()):
        vector = filter_.operator.vector()
        value = solver.getEigenpair(k, vector)
        found.append((value.real, solver.getErrorEstimate(k), vector))
    solver.destroy()
    matrix.destroy()
    return found


def _bound_of_rest(filter_: _Filter, deflated: list[Any], seed: int) -> float:
    """Return the largest eigenvalue of p(D) orthogonal to ``deflated`` plus its error; infinite if none converges."""
    found = _largest(filter_, 1, SEARCH_TOLERANCE, deflated, seed)
    return max((value + error * abs(value) for value, error, _ in found), default=np.inf)


def slicing(share: _Share) -> _Found:
    """Return all modes below the cut between two inertias of the assembled matrix."""
    from petsc4py import PETSc

    low, cut = ZERO * float(share.request["top"]), float(share.request["cut"])
    rows = (share.n_rows, 3 * share.n_atoms)
    matrix = PETSc.Mat().createAIJ((rows, rows), csr=share.rows("dynamical", 3))
    matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    solver = _interval_solver(matrix, low, cut)
    share.say("factorising")
    solver.solve()
    inertia = dict(zip(*solver.getKrylovSchurInertias(), strict=True))
    below_low, below_cut = inertia[min(inertia)], inertia[max(inertia)]
    _check_stiffness(below_low - 3)  # the translations lie below
    n_found = solver.getConverged()
    if n_found != below_cut - below_low:
        what = f"slicing found {n_found} of the {below_cut - below_low} modes that the inertia counts"
        raise ScienceError(Reason.SOLVER_FAILED, what)
    vector, image = matrix.createVecRight(), matrix.createVecRight()
    value_k, error_k = np.empty(n_found), np.empty(n_found)
    local_xk = np.empty((share.n_rows, n_found), order="F")
    for k in range(n_found):
        solver.getEigenpair(k, vector)
        matrix.mult(vector, image)
        value_k[k] = image.dot(vector)
        image.axpy(-value_k[k], vector)
        error_k[k], local_xk[:, k] = image.norm(), vector.array_r
    order = np.argsort(value_k)
    statement = f"the inertia of D at the cut counts {below_cut}: the modes found and three translations"
    return _Found(value_k[order], local_xk[:, order], cut, statement, {"residual": error_k.max(initial=0.0)})


def _interval_solver(matrix: Any, low: float, cut: float) -> Any:
    """Return a solver for all eigenvalues in an interval, by shift and invert with a Cholesky factor."""
    from petsc4py import PETSc
    from slepc4py import SLEPc

    has_mumps = PETSc.Sys.hasExternalPackage("mumps")
    if matrix.comm.size > 1 and not has_mumps:
        raise ScienceError(Reason.SOLVER_FAILED, "slicing over several ranks needs a PETSc with MUMPS; use one rank")
    solver = SLEPc.EPS().create()
    solver.setOperators(matrix)
    solver.setProblemType(SLEPc.EPS.ProblemType.HEP)
    solver.setWhichEigenpairs(SLEPc.EPS.Which.ALL)
    solver.setInterval(low, cut)
    solver.setTolerances(TOLERANCE, 100)
    transform = solver.getST()
    transform.setType(SLEPc.ST.Type.SINVERT)
    linear = transform.getKSP()
    linear.setType(PETSc.KSP.Type.PREONLY)
    factorisation = linear.getPC()
    factorisation.setType(PETSc.PC.Type.CHOLESKY)
    if has_mumps:
        factorisation.setFactorSolverType("mumps")
        PETSc.Options().setValue("-st_mat_mumps_icntl_13", 1)  # without it MUMPS gives no inertia over ranks
    return solver


METHODS: dict[str, Callable[[_Share], _Found]] = {"polynomial": polynomial, "slicing": slicing}


def _orthogonality(share: _Share, local_xk: NDArray[np.float64]) -> float:
    worst = 0.0
    for begin in range(0, local_xk.shape[1], SLAB):
        overlap = share.dot(local_xk[:, begin : begin + SLAB], local_xk[:, begin:])
        np.fill_diagonal(overlap, overlap.diagonal() - 1.0)
        worst = max(worst, float(np.abs(overlap).max()))
    return worst


def _write_modes(share: _Share, found: _Found) -> None:
    """Gather the vectors slab by slab on rank 0, which writes them, in the atoms' own order, as they come."""
    if share.comm.rank:
        for begin in range(0, found.local_xk.shape[1], SLAB):
            share.comm.Send(np.ascontiguousarray(found.local_xk[:, begin : begin + SLAB].T), dest=0)
        return
    aside = Path(".modes.npz")
    place_i = np.argsort(share.read("order_i"))
    n_modes = found.local_xk.shape[1]
    with zipfile.ZipFile(aside, "w", allowZip64=True) as archive:
        with archive.open("value_k.npy", "w") as file:
            np.lib.format.write_array(file, found.value_k)
        with archive.open("vectors_kic.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": (n_modes, share.n_atoms, 3)}
            np.lib.format.write_array_header_2_0(file, header)
            for begin in range(0, n_modes, SLAB):
                slab = np.empty((min(SLAB, n_modes - begin), 3 * share.n_atoms))
                slab[:, : share.n_rows] = found.local_xk[:, begin : begin + SLAB].T
                for rank in range(1, share.comm.size):
                    part = np.empty((len(slab), 3 * (share.bounds[rank + 1] - share.bounds[rank])))
                    share.comm.Recv(part, source=rank)
                    slab[:, 3 * share.bounds[rank] : 3 * share.bounds[rank + 1]] = part
                file.write(slab.reshape(-1, share.n_atoms, 3)[:, place_i].tobytes())
    aside.replace("modes.npz")


def _solve(comm: Any) -> dict[str, Any]:
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    share, started = _Share(comm, request), time.monotonic()
    try:
        found = METHODS[request["method"]](share)
    except ScienceError as error:
        return {"status": "failed", "reason": error.reason.value, "message": error.what}
    share.say("writing modes")
    orthogonality = _orthogonality(share, found.local_xk)
    _write_modes(share, found)
    return {
        "status": "done", "complete_below": found.complete_below, "certificate": found.statement,
        "orthogonality": orthogonality, "seconds": time.monotonic() - started, "ranks": comm.size, **found.facts,
    }  # fmt: skip


def _replace_json(name: str, content: dict[str, Any]) -> None:
    aside = Path(f".{name}.aside")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(name)


def main() -> None:
    """Take part in the solve; an exception in one rank ends all of them."""
    die_with_launcher()
    sweep_mpi_segments()
    from mpi4py import MPI  # before PETSc, which then uses the library that mpi4py has loaded

    comm = MPI.COMM_WORLD
    try:
        verdict = _solve(comm)
        if comm.rank == 0:
            _replace_json("verdict.json", verdict)
        comm.Barrier()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(1)


if __name__ == "__main__":
    os.umask(0o077)
    main()
