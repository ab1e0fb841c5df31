# SPDX-License-Identifier: BSD-3-Clause
r"""Normal modes of the mass-weighted Hessian, by the solver that suits, with proof that none is missing.

Two solvers stand behind ``normal_modes``: ``lapack`` finds all modes of a dense matrix, ``chebyshev`` the low ones
with products alone.  Both project translations out exactly, and both are judged alike: by residuals, by
orthogonality, and by what certifies the list to be complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ConfigError, Reason, ScienceError
from bp_distributed.physics.certificate import nothing_below
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.dense import dense_modes
from bp_distributed.physics.filtered import MISTAKE, LowModes, filtered_modes
from bp_distributed.physics.hessian import FactoredHessian
from bp_distributed.physics.solved import Solved
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

SOLVERS = ("lapack", "chebyshev")
CERTIFICATES = ("cholesky", "search")

ZERO_MODE_TOLERANCE = 1e-6
"""Of the largest eigenvalue: translations must lie below it, every other mode above."""

DENSE_SIZE = 3000
"""Degrees of freedom up to which LAPACK takes seconds, and gives all modes."""

CHOLESKY_SIZE = 6000
"""Degrees of freedom up to which the proof by Cholesky costs next to nothing; at 12 000 it would add half."""

COLUMNS = 64
"""Vectors checked at a time; bounds the extra memory."""


@dataclass(frozen=True)
class Modes:
    """Normal modes, translations left out.

    Attributes
    ----------
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Rising.  All 3 n_atoms - 3 of them from ``lapack``, those below the cut from ``chebyshev``.
    vectors_kic : ndarray, shape=(n_vectors, n_atoms, 3)
        Unit eigenvectors of the mass-weighted Hessian for the first ``n_vectors`` modes.
    n_modes : int
        3 n_atoms - 3.
    residual : float
        Largest ‖D e - λ e‖ / λ_max over the vectors.
    orthogonality : float
        Largest deviation of eᵀe' from 0 or 1 over the vectors.
    translation_residual : float
        Largest ‖D t‖ / λ_max over the translations.
    certified_below : float, rad/ps
        No mode of a lower frequency is missing; infinity if all are known.
    certificate : str
        By what argument.
    solver, reason : str
        Which one, and why.
    """

    frequency_k: NDArray[np.float64]
    vectors_kic: NDArray[np.float64]
    n_modes: int
    residual: float
    orthogonality: float
    translation_residual: float
    certified_below: float
    certificate: str
    solver: str
    reason: str


def choose_solver(size: int, *, all_vectors: bool = False, memory_bytes: float | None = None) -> tuple[str, str]:
    """Return the solver that suits a system of ``size`` degrees of freedom, and why.

    Parameters
    ----------
    size : int
        3 n_atoms.
    all_vectors : bool
        Whether every vector is wanted; only ``lapack`` gives them.
    memory_bytes : float, optional
        What the process may use.

    Raises
    ------
    ScienceError
        ``SOLVER_FAILED`` if all vectors are wanted and two dense matrices do not fit.
    """
    dense = 2.0 * 8.0 * size**2
    if all_vectors:
        if memory_bytes is not None and dense > memory_bytes:
            have = f"{memory_bytes / 2**30:.1f} GiB of {dense / 2**30:.1f}"
            raise ScienceError(Reason.SOLVER_FAILED, f"all vectors need two dense matrices, which do not fit: {have}")
        return "lapack", "all vectors are wanted"
    if size <= DENSE_SIZE:
        return "lapack", f"{size} degrees of freedom are few: all modes in seconds"
    return "chebyshev", f"{size} degrees of freedom, low modes wanted: products cost less than a dense reduction"


def normal_modes(
    hessian: FactoredHessian,
    masses_i: NDArray[np.float64],
    omega_cut: float,
    *,
    all_vectors: bool = False,
    solver: str = "auto",
    certificate: str = "auto",
    memory_bytes: float | None = None,
    solved: Solved | None = None,
    progress: Callable[[str], None] = lambda note: None,  # noqa: ARG005
) -> Modes:
    """Return the modes below ``omega_cut`` with their vectors, and all other frequencies if they come for free.

    Parameters
    ----------
    hessian : FactoredHessian
        At a minimum of the energy, eV/Å².
    masses_i : ndarray, shape=(n_atoms,), amu
        Mass of each atom.
    omega_cut : float, rad/ps
        Vectors are computed below it.
    all_vectors : bool
        Compute every vector, by ``lapack``.
    solver : str
        ``lapack``, ``chebyshev`` or ``auto`` (see ``choose_solver``).
    certificate : str
        How ``chebyshev`` proves its list complete: ``cholesky``, by a factorisation that takes n²/2 numbers, or
        ``search``, by fresh random starts, wrong with probability 1e-9; ``auto`` takes the first for small systems.
    memory_bytes : float, optional
        What the process may use; unlimited by default.
    solved : Solved, optional
        Where ``chebyshev`` keeps its modes before they are certified, and looks for those of an earlier attempt.
    progress : callable
        Told now and then.

    Returns
    -------
    Modes

    Raises
    ------
    ConfigError
        If ``solver`` or ``certificate`` is unknown.
    ScienceError
        ``UNSTABLE`` if any mode other than a translation has λ < 1e-6 λ_max, or a translation more than that;
        ``NOT_FINITE`` if the Hessian holds NaN; ``SOLVER_FAILED``, with the cure.
    """
    _check_choice("solver", solver, SOLVERS)
    _check_choice("certificate", certificate, CERTIFICATES)
    dynamical = hessian.mass_weighted(masses_i)
    if not np.isfinite(dynamical.block_pcc).all() or not np.isfinite(dynamical.gather_qc).all():
        raise ScienceError(Reason.NOT_FINITE, "the Hessian holds numbers that are not finite")
    chosen, reason = choose_solver(hessian.size, all_vectors=all_vectors, memory_bytes=memory_bytes)
    if solver != "auto":
        chosen, reason = solver, "asked for"
    progress(f"{hessian.size} degrees of freedom by {chosen}: {reason}")
    translation_xt = translations(masses_i)
    top = spectral_bound(dynamical)
    drift = translation_residual(dynamical, translation_xt, top)
    cut = (omega_cut / OMEGA_PER_SQRT_EIGENVALUE) ** 2
    if chosen == "lapack":
        value_k, vector_xk = dense_modes(dynamical, translation_xt, top, cut, all_vectors=all_vectors)
        complete_below, statement = float("inf"), "all eigenvalues of the dense matrix"
        check_minimum(value_k, top)
    else:
        low = solved.read(dynamical, cut) if solved else None
        if low is None:
            max_vectors = None if memory_bytes is None else _affordable_vectors(dynamical, memory_bytes)
            low = filtered_modes(dynamical, translation_xt, top, cut, max_vectors=max_vectors, progress=progress)
            if solved:
                solved.write(dynamical, cut, low)
        check_minimum(low.value_k, top)
        if certificate == "auto":
            certificate = "cholesky" if hessian.size <= CHOLESKY_SIZE else "search"
        complete_below, statement = _certified(dynamical, translation_xt, low, cut, certificate, progress)
        n_low = int(np.searchsorted(low.value_k, cut))
        value_k, vector_xk = low.value_k[:n_low], low.vector_xk[:, :n_low]
    progress("residuals")
    return Modes(
        frequency_k=OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(value_k),
        vectors_kic=np.ascontiguousarray(vector_xk.T).reshape(vector_xk.shape[1], len(masses_i), 3),
        n_modes=hessian.size - 3,
        residual=_residual(dynamical, value_k, vector_xk) / top,
        orthogonality=_orthogonality(vector_xk),
        translation_residual=drift,
        certified_below=OMEGA_PER_SQRT_EIGENVALUE * float(np.sqrt(complete_below)),
        certificate=statement,
        solver=chosen,
        reason=reason,
    )


def _check_choice(key: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in ("auto", *allowed):
        raise ConfigError("normal_modes", key, f"got {given!r}, expected auto, {' or '.join(allowed)}")


def translations(masses_i: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the three mass-weighted translations, orthonormal, shape=(3 n_atoms, 3)."""
    root_i = np.sqrt(masses_i / masses_i.sum())
    return np.kron(root_i[:, None], np.eye(3))


def translation_residual(dynamical: FactoredHessian, translation_xt: NDArray[np.float64], top: float) -> float:
    """Return the largest ‖D t‖ / λ_max; raise ``UNSTABLE`` if translations are no zero modes."""
    residual = float(np.linalg.norm(dynamical.matmat(translation_xt), axis=0).max() / top)
    if residual > ZERO_MODE_TOLERANCE:
        raise ScienceError(Reason.UNSTABLE, f"translations are no zero modes, |D t| = {residual:.2g} max")
    return residual


def check_minimum(value_k: NDArray[np.float64], largest: float) -> None:
    """Raise ``UNSTABLE`` if a mode has no positive stiffness, ``NOT_FINITE`` if an eigenvalue is no number."""
    if not np.isfinite(value_k).all():
        raise ScienceError(Reason.NOT_FINITE, "the spectrum holds numbers that are not finite")
    n_bad = int(np.count_nonzero(value_k < ZERO_MODE_TOLERANCE * largest))
    if n_bad:
        what = f"not a minimum: {n_bad} modes have no positive stiffness, lowest {value_k[0]:.3g} eV/angstrom2/amu"
        raise ScienceError(Reason.UNSTABLE, what)


def _affordable_vectors(dynamical: FactoredHessian, memory_bytes: float) -> int:
    """Return how many Krylov vectors fit beside the operator, if as much again is left for their combinations."""
    left = memory_bytes - 3.0 * dynamical.bytes_per_atom * dynamical.n_atoms
    return int(left / (2.5 * 8.0 * dynamical.size))


def _certified(
    dynamical: FactoredHessian,
    translation_xt: NDArray[np.float64],
    low: LowModes,
    cut: float,
    certificate: str,
    progress: Callable[[str], None],
) -> tuple[float, str]:
    """Return below which eigenvalue the list is complete, and by what argument."""
    if certificate == "search":
        what = f"a fresh random start found no further mode; one is missing with probability < {MISTAKE:.0e}"
        return low.complete_below, what
    # The proof needs room between the eigenvalues below and above its shift: the widest gap near the cut.
    near = np.concatenate([[cut], low.value_k[(low.value_k > cut) & (low.value_k < low.complete_below)]])
    widest = int(np.argmax(np.diff(np.append(near, low.complete_below))))
    shift = float(0.5 * (near[widest] + np.append(near, low.complete_below)[widest + 1]))
    n_below = int(np.searchsorted(low.value_k, shift))
    lifted_xk = np.concatenate([translation_xt, low.vector_xk[:, :n_below]], axis=1)
    proved = nothing_below(
        dynamical,
        shift,
        lifted_xk,
        2.0 * shift,
        lambda done, total: progress(f"proof by Cholesky, panel {done} of {total}"),
    )
    if not proved:
        what = f"Cholesky finds more than the {n_below} modes known below {shift:.6g} eV/angstrom2/amu"
        raise ScienceError(Reason.SOLVER_FAILED, f"{what}: use solver lapack")
    return shift, f"Cholesky proves that no more than the {n_below} modes found lie below"


def _residual(dynamical: FactoredHessian, value_k: NDArray[np.float64], vector_xk: NDArray[np.float64]) -> float:
    worst = 0.0
    for begin in range(0, vector_xk.shape[1], COLUMNS):
        block = vector_xk[:, begin : begin + COLUMNS]
        error = dynamical.matmat(block) - value_k[begin : begin + block.shape[1]] * block
        worst = max(worst, float(np.linalg.norm(error, axis=0).max()))
    return worst


def _orthogonality(vector_xk: NDArray[np.float64]) -> float:
    worst = 0.0
    for begin in range(0, vector_xk.shape[1], 16 * COLUMNS):
        overlap = vector_xk[:, begin : begin + 16 * COLUMNS].T @ vector_xk[:, begin:]
        np.fill_diagonal(overlap, overlap.diagonal() - 1.0)
        worst = max(worst, float(np.abs(overlap).max()))
    return worst


def participation_ratio(vectors_kic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (Σ |e_i|²)² / (N Σ |e_i|⁴) of each mode, 1 when all atoms move equally, 1/N for one atom.

    Parameters
    ----------
    vectors_kic : ndarray, shape=(n_modes, n_atoms, 3)
        Eigenvectors of the mass-weighted Hessian.

    Returns
    -------
    ndarray, shape=(n_modes,)

    References
    ----------
    Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Eq. 3.
    """
    share_ki = np.einsum("kic,kic->ki", vectors_kic, vectors_kic)
    n_atoms = vectors_kic.shape[1]
    return np.asarray(share_ki.sum(axis=1) ** 2 / (n_atoms * (share_ki**2).sum(axis=1)))
