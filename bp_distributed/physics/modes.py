# SPDX-License-Identifier: BSD-3-Clause
r"""Normal modes of the mass-weighted Hessian through dense LAPACK.

Translations t are treated exactly: D is projected on their complement and s t tᵀ is added with s above the
spectrum, so they become the three largest eigenvalues and are dropped by position, not by a threshold.

Where only low vectors are wanted, D is made tridiagonal once; all eigenvalues come from the tridiagonal
matrix, and only the low vectors are transformed back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.hessian import FactoredHessian
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

ZERO_MODE_TOLERANCE = 1e-6
"""Of the largest eigenvalue: translations must lie below it, every other mode above."""

BACK_PANEL = 1024
"""Householder reflectors applied at a time; bounds the extra memory."""

RESIDUAL_BLOCK = 64
"""Vectors checked at a time; bounds the extra memory."""


@dataclass(frozen=True)
class Modes:
    """Normal modes, translations left out.

    Attributes
    ----------
    frequency_k : ndarray, shape=(3 n_atoms - 3,), rad/ps
        All of them, rising.
    vectors_kic : ndarray, shape=(n_vectors, n_atoms, 3)
        Unit eigenvectors of the mass-weighted Hessian for the first ``n_vectors`` modes.
    residual : float
        Largest ‖D e - λ e‖ / λ_max over the vectors.
    translation_residual : float
        Largest ‖D t‖ / λ_max over the translations.
    """

    frequency_k: NDArray[np.float64]
    vectors_kic: NDArray[np.float64]
    residual: float
    translation_residual: float


def normal_modes(
    hessian: FactoredHessian, masses_i: NDArray[np.float64], omega_cut: float, *, all_vectors: bool = False
) -> Modes:
    """Return all frequencies, and the vectors of the modes below ``omega_cut``.

    Parameters
    ----------
    hessian : FactoredHessian
        At a minimum of the energy, eV/Å².
    masses_i : ndarray, shape=(n_atoms,), amu
        Mass of each atom.
    omega_cut : float, rad/ps
        Vectors are computed below it.
    all_vectors : bool
        Compute every vector.  Needs memory for two dense matrices.

    Returns
    -------
    Modes

    Raises
    ------
    ScienceError
        ``UNSTABLE`` if any mode other than a translation has λ < 1e-6 λ_max, or a translation more than that;
        ``NOT_FINITE`` if the Hessian holds NaN.
    """
    dynamical = hessian.mass_weighted(masses_i)
    if not np.isfinite(dynamical.P.data).all() or not np.isfinite(dynamical.J.data).all():
        raise ScienceError(Reason.NOT_FINITE, "the Hessian holds numbers that are not finite")
    translations = _translations(masses_i)
    largest = _largest_eigenvalue(dynamical)
    drift = dynamical.matmat(translations)
    translation_residual = float(np.linalg.norm(drift, axis=0).max() / largest)
    if translation_residual > ZERO_MODE_TOLERANCE:
        raise ScienceError(Reason.UNSTABLE, f"translations are no zero modes, |D t| = {translation_residual:.2g} max")
    matrix = dynamical.dense()
    _move_translations(matrix, translations, drift, 2.0 * largest)
    if all_vectors:
        value_k, vector_xk = linalg.eigh(matrix, overwrite_a=True, check_finite=False, driver="evd")
        vector_xk = vector_xk[:, :-3]
    else:
        value_k, vector_xk = _low_vectors(matrix, (omega_cut / OMEGA_PER_SQRT_EIGENVALUE) ** 2)
    value_k = value_k[:-3]
    _check_minimum(value_k, largest)
    residual = _residual(dynamical, value_k, vector_xk) / largest
    frequency_k = OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(value_k)
    vectors_kic = np.ascontiguousarray(vector_xk.T).reshape(vector_xk.shape[1], len(masses_i), 3)
    return Modes(frequency_k, vectors_kic, residual, translation_residual)


def _translations(masses_i: NDArray[np.float64]) -> NDArray[np.float64]:
    root_i = np.sqrt(masses_i / masses_i.sum())
    return np.kron(root_i[:, None], np.eye(3))


def _largest_eigenvalue(dynamical: FactoredHessian) -> float:
    operator = LinearOperator((dynamical.size,) * 2, matvec=dynamical.matvec, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=dynamical.size)
    return float(eigsh(operator, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)[0])


def _move_translations(
    matrix: NDArray[np.float64], t: NDArray[np.float64], drift: NDArray[np.float64], shift: float
) -> None:
    """Replace D by (1 - ttᵀ) D (1 - ttᵀ) + shift ttᵀ in place, as one update of rank 6."""
    inner = t @ (t.T @ drift) + shift * t
    left = np.concatenate([drift, t], axis=1)
    right = np.concatenate([t, drift - inner], axis=1)
    for begin in range(0, len(matrix), 512):
        columns = slice(begin, begin + 512)
        matrix[:, columns] -= left @ right[columns].T


def _low_vectors(matrix: NDArray[np.float64], below: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all eigenvalues of ``matrix`` (destroyed) and the vectors of those under ``below``."""
    n = len(matrix)
    work, _ = linalg.lapack.dsytrd_lwork(n, lower=1)
    reflectors, diagonal, off, tau, _ = linalg.lapack.dsytrd(matrix, lower=1, lwork=int(work), overwrite_a=1)
    value_k = linalg.eigvalsh_tridiagonal(diagonal, off, check_finite=False, lapack_driver="sterf")
    n_low = int(np.searchsorted(value_k, below))
    if n_low == 0:
        return value_k, np.empty((n, 0))
    _, small_xk = linalg.eigh_tridiagonal(
        diagonal, off, select="i", select_range=(0, n_low - 1), check_finite=False, lapack_driver="stemr"
    )
    return value_k, _back_transformed(reflectors, tau, small_xk)


def _back_transformed(
    reflectors: NDArray[np.float64], tau: NDArray[np.float64], small_xk: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Q times the vectors of the tridiagonal matrix; Q is a product of Householder reflectors.

    Below its first row Q looks like the Q of a QR factorisation, so LAPACK's ormqr applies it.  In panels, last
    first, because one call would need a second copy of the whole matrix.
    """
    vector_xk = np.array(small_xk, order="F")
    for begin in reversed(range(0, len(tau), BACK_PANEL)):
        end = min(begin + BACK_PANEL, len(tau))
        panel = np.asfortranarray(reflectors[begin + 1 :, begin:end])
        rows = np.asfortranarray(vector_xk[begin + 1 :])
        _, work, _ = linalg.lapack.dormqr("L", "N", panel, tau[begin:end], rows, -1)
        vector_xk[begin + 1 :], _, _ = linalg.lapack.dormqr(
            "L", "N", panel, tau[begin:end], rows, int(work[0]), overwrite_c=1
        )
    return vector_xk


def _check_minimum(value_k: NDArray[np.float64], largest: float) -> None:
    if not np.isfinite(value_k).all():
        raise ScienceError(Reason.NOT_FINITE, "the spectrum holds numbers that are not finite")
    n_bad = int(np.count_nonzero(value_k < ZERO_MODE_TOLERANCE * largest))
    if n_bad:
        what = f"not a minimum: {n_bad} modes have no positive stiffness, lowest {value_k[0]:.3g} eV/angstrom2/amu"
        raise ScienceError(Reason.UNSTABLE, what)


def _residual(dynamical: FactoredHessian, value_k: NDArray[np.float64], vector_xk: NDArray[np.float64]) -> float:
    worst = 0.0
    for begin in range(0, vector_xk.shape[1], RESIDUAL_BLOCK):
        block = vector_xk[:, begin : begin + RESIDUAL_BLOCK]
        error = dynamical.matmat(block) - value_k[begin : begin + block.shape[1]] * block
        worst = max(worst, float(np.linalg.norm(error, axis=0).max()))
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
