# SPDX-License-Identifier: BSD-3-Clause
r"""Normal modes through dense LAPACK: the oracle, and the fastest way to all modes of small systems.

Translations t are treated exactly: D is projected on their complement and s t tᵀ is added with s above the
spectrum, so they become the three largest eigenvalues and are dropped by position, not by a threshold.

Where only low vectors are wanted, D is made tridiagonal once; all eigenvalues come from the tridiagonal
matrix, and only the low vectors are transformed back.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.physics.hessian import FactoredHessian

BACK_PANEL = 1024
"""Householder reflectors applied at a time; bounds the extra memory."""


def dense_modes(
    dynamical: FactoredHessian,
    translation_xt: NDArray[np.float64],
    top: float,
    cut: float,
    *,
    all_vectors: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return all eigenvalues but those of the translations, and the vectors of those below ``cut``.

    Parameters
    ----------
    dynamical : FactoredHessian
        D, eV/Å²/amu.
    translation_xt : ndarray, shape=(size, 3)
        Orthonormal.
    top : float, eV/Å²/amu
        Above the largest eigenvalue.
    cut : float, eV/Å²/amu
        Vectors are computed below it.
    all_vectors : bool
        Compute every vector.  Needs memory for two dense matrices.

    Returns
    -------
    value_k : ndarray, shape=(size - 3,), eV/Å²/amu
        Rising.
    vector_xk : ndarray, shape=(size, n_vectors)
        Orthonormal.
    """
    matrix = dynamical.dense()
    _move_translations(matrix, translation_xt, dynamical.matmat(translation_xt), 2.0 * top)
    if all_vectors:
        value_k, vector_xk = linalg.eigh(matrix, overwrite_a=True, check_finite=False, driver="evd")
        return value_k[:-3], vector_xk[:, :-3]
    value_k, vector_xk = _low_vectors(matrix, cut)
    return value_k[:-3], vector_xk


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
    return value_k, _back_transformed(reflectors, tau, _tridiagonal_vectors(diagonal, off, n_low))


def _tridiagonal_vectors(diagonal: NDArray[np.float64], off: NDArray[np.float64], n_low: int) -> NDArray[np.float64]:
    """Return the lowest vectors by LAPACK's fastest way, or by a slower one where that gives up.

    ``stemr`` may fail where a crystal repeats its eigenvalues many times ("did not converge", info 22).
    """
    for driver in ("stemr", "stebz"):
        with suppress(linalg.LinAlgError):
            _, small_xk = linalg.eigh_tridiagonal(
                diagonal, off, select="i", select_range=(0, n_low - 1), check_finite=False, lapack_driver=driver
            )
            return np.asarray(small_xk)
    _, small_xk = linalg.eigh_tridiagonal(diagonal, off, check_finite=False, lapack_driver="stev")
    return np.asarray(small_xk[:, :n_low])


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
