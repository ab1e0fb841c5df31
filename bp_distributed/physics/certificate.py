# SPDX-License-Identifier: BSD-3-Clause
r"""Proof by Cholesky that no mode below a frequency is missing.

Let K orthonormal vectors with Ritz values below σ be found.  Then D has at least K eigenvalues below σ.  If
D + τ Σ v vᵀ - σ is positive definite, D has at most K of them, since a positive update of rank K moves at most K
eigenvalues past any point.  A Cholesky factorisation that succeeds shows positive definiteness up to rounding,
and that rounding is bounded by c tr(A) with c = (n + 1) u / (1 - (n + 1) u): σ is raised by it.

The matrix is made panel by panel from its sparse factors and kept as the lower triangle only, n²/2 numbers.

References
----------
Parlett, The Symmetric Eigenvalue Problem (1998), for the interlacing; Rump, BIT 46, 433 (2006), for the rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.physics.hessian import FactoredHessian

PANEL_ATOMS = 256
"""Rows of one panel, in atoms: 768 rows keep matrix products near the machine's peak."""


def nothing_below(
    dynamical: FactoredHessian,
    shift: float,
    known_xk: NDArray[np.float64],
    lift: float,
    progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005
) -> bool:
    """Return whether all eigenvalues of D + lift Σ v vᵀ are proved to exceed ``shift``.

    Parameters
    ----------
    dynamical : FactoredHessian
        D, eV/Å²/amu.
    shift : float, eV/Å²/amu
        σ.
    known_xk : ndarray, shape=(size, n_known)
        Orthonormal vectors v to be lifted.
    lift : float, eV/Å²/amu
        τ.
    progress : callable
        Told how many panels of how many are done.

    Returns
    -------
    bool
        False if a mode below ``shift`` is missing or lies too near above it to tell.
    """
    trace = float(np.abs(dynamical.diagonal()).sum()) + lift * known_xk.shape[1]
    unit = (dynamical.size + 1) * np.finfo(np.float64).eps / 2
    sigma = shift + unit / (1 - unit) * trace
    starts = list(range(0, dynamical.n_atoms, PANEL_ATOMS))
    known_kx = np.ascontiguousarray(known_xk.T)
    factors: list[NDArray[np.float64]] = []
    for number, begin in enumerate(starts):
        panel = _panel(dynamical, begin, known_kx, lift, sigma)
        if not _factorised(panel, factors, starts):
            return False
        factors.append(panel)
        progress(number + 1, len(starts))
    return True


def _panel(
    dynamical: FactoredHessian, begin: int, known_kx: NDArray[np.float64], lift: float, sigma: float
) -> NDArray[np.float64]:
    """Return columns ``begin`` to ``begin + PANEL_ATOMS`` of the matrix, from the diagonal down."""
    first, end = 3 * begin, min(begin + PANEL_ATOMS, dynamical.n_atoms)
    panel = np.ascontiguousarray(dynamical.dense_rows(begin, end)[:, first:].T)
    panel += known_kx[:, first:].T @ (lift * known_kx[:, first : 3 * end])
    width = panel.shape[1]
    panel[np.arange(width), np.arange(width)] -= sigma
    return panel


def _factorised(panel: NDArray[np.float64], factors: list[NDArray[np.float64]], starts: list[int]) -> bool:
    """Turn a panel of the matrix into one of its Cholesky factor, in place; return whether that is possible."""
    width, begin = panel.shape[1], 3 * starts[len(factors)]
    for start, factor in zip(starts, factors, strict=False):
        below = factor[begin - 3 * start :]
        panel -= below @ below[:width].T
    try:
        corner = linalg.cholesky(panel[:width], lower=True, check_finite=False)
    except linalg.LinAlgError:
        return False
    panel[:width] = corner
    panel[width:] = linalg.solve_triangular(corner, panel[width:].T, lower=True, check_finite=False).T
    return True
