# SPDX-License-Identifier: BSD-3-Clause
r"""Block Lanczos with full orthogonalisation for the upper end of a filtered operator, and what it proves.

The Krylov space of p(D) from a random block, orthogonal to everything locked, is enlarged until all its Ritz
values above a limit have converged.  Convergence is faster than geometric: about 1.6 vectors per mode suffice.

A run that meets *no* Ritz value above the limit proves that nothing was overlooked, but for a tiny probability.
For a positive semidefinite operator A of size n, k steps from one random start give a Ritz value θ with

.. math:: P[\theta < (1 - \epsilon) \lambda_{max}] \le 1.648 \sqrt{n}\, e^{-\sqrt{\epsilon}(2k - 1)}

and the Krylov space of a block contains those of each of its b independent columns: the bound holds to the b-th
power.

References
----------
Golub and Underwood, in Mathematical Software III, 361 (1977), block Lanczos; Kuczyński and Woźniakowski, SIAM J.
Matrix Anal. Appl. 13, 1094 (1992), Theorem 4.2, the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.errors import Reason, ScienceError

BLOCK = 32
"""Vectors per step: the width at which the operator is fastest."""

CONVERGED = 1e-12
"""Residual of a Ritz pair where p(0) = 1."""

CHECK_GROWTH = 1.05
"""The basis grows at least by this factor before the projected matrix is diagonalised again."""

VECTORS_PER_MODE = 1.2
"""No check is worth its time before the basis is this many times larger than the modes in sight."""

WELL_CONDITIONED = 1e-6
"""Smallest over largest diagonal element of R for which the Gram matrix holds enough digits."""

Operator = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Krylov:
    """What a run of block Lanczos found.

    Attributes
    ----------
    vector_xk : ndarray, shape=(size, n_found)
        Converged Ritz vectors above the limit, largest Ritz value first.
    largest : float
        Largest Ritz value of all.
    n_steps, n_products : int
        Block steps, and applications of the operator to a vector.
    """

    vector_xk: NDArray[np.float64]
    largest: float
    n_steps: int
    n_products: int


def block_lanczos(
    operator: Operator,
    locked_xk: NDArray[np.float64],
    limit: float,
    *,
    seed: int,
    max_vectors: int,
    min_steps: int,
    progress: Callable[[str], None] = lambda note: None,  # noqa: ARG005
) -> Krylov:
    """Return all Ritz vectors whose Ritz value exceeds ``limit``.

    Parameters
    ----------
    operator : callable
        Applies a symmetric operator to a block, shape=(size, BLOCK) in C order.
    locked_xk : ndarray, shape=(size, n_locked)
        Orthonormal vectors to whose complement the operator is restricted.
    limit : float
        Ritz pairs above it must converge.
    seed : int
        Of the random start.
    max_vectors : int
        Largest size of the basis.
    min_steps : int
        Block steps before the first check; a run that finds nothing ends there.
    progress : callable
        Told at each check.

    Returns
    -------
    Krylov

    Raises
    ------
    ScienceError
        ``SOLVER_FAILED`` if ``max_vectors`` do not suffice.
    """
    size = len(locked_xk)
    basis = _Basis(locked_xk, max_vectors)
    basis.start(np.random.default_rng(seed).normal(size=(size, BLOCK)))
    next_check = min_steps * BLOCK
    while True:
        basis.grow(operator)
        if basis.n_vectors < next_check and not basis.is_full:
            continue
        ritz_k, small_mk, error_k = basis.ritz(limit)
        n_found, n_open = len(ritz_k), int(np.count_nonzero(error_k > CONVERGED))
        progress(f"{basis.n_vectors} Lanczos vectors, {n_found - n_open} of {n_found} modes converged")
        if n_open == 0:
            products = basis.n_vectors
            return Krylov(basis.combined(small_mk), basis.largest, products // BLOCK, products)
        if basis.is_full:
            what = f"{n_open} of {n_found} modes did not converge with {basis.n_vectors} Lanczos vectors"
            raise ScienceError(Reason.SOLVER_FAILED, f"{what}: lower omega_cut, or give more memory or solver lapack")
        next_check = int(max(CHECK_GROWTH * basis.n_vectors, VECTORS_PER_MODE * n_found))


class _Basis:
    """The Krylov basis, grown block by block, and the operator projected on it."""

    def __init__(self, locked_xk: NDArray[np.float64], max_vectors: int) -> None:
        size = len(locked_xk)
        max_vectors = min(max_vectors, size - locked_xk.shape[1]) // BLOCK * BLOCK
        if max_vectors < BLOCK:
            raise ScienceError(Reason.SOLVER_FAILED, f"{size} degrees of freedom are too few for Lanczos: use lapack")
        self.locked_xk = locked_xk
        # Memory is claimed from the system page by page, as the basis grows.
        self.vector_xm = np.empty((size, max_vectors + BLOCK), order="F")
        self.projected_mm = np.zeros((max_vectors, max_vectors + BLOCK))
        self.n_vectors, self.max_vectors = 0, max_vectors
        self.coupling_bb = np.zeros((BLOCK, BLOCK))
        self.largest = 0.0

    @property
    def is_full(self) -> bool:
        return self.n_vectors >= self.max_vectors

    def start(self, block_xb: NDArray[np.float64]) -> None:
        self._remove_locked(block_xb)
        self.vector_xm[:, :BLOCK] = linalg.qr(block_xb, mode="economic", check_finite=False)[0]

    def _remove_locked(self, block_xb: NDArray[np.float64]) -> None:
        block_xb -= self.locked_xk @ (self.locked_xk.T @ block_xb)

    def grow(self, operator: Operator) -> None:
        """Apply the operator to the newest block; what is new in the image becomes the next block."""
        begin, end = self.n_vectors, self.n_vectors + BLOCK
        image_xb = operator(np.ascontiguousarray(self.vector_xm[:, begin:end]))
        so_far = self.vector_xm[:, :end]
        column_mb = np.zeros((end, BLOCK))
        for _ in range(2):  # twice is enough for orthogonality to rounding
            self._remove_locked(image_xb)
            overlap_mb = so_far.T @ image_xb
            image_xb -= so_far @ overlap_mb
            column_mb += overlap_mb
        found = _orthonormal(image_xb)
        if found is None:
            # The space is nearly exhausted: part of the image is rounding noise, and leans towards the old vectors.
            fresh_xb, self.coupling_bb = linalg.qr(image_xb, mode="economic", check_finite=False)
            self._remove_locked(fresh_xb)
            fresh_xb -= so_far @ (so_far.T @ fresh_xb)
            fresh_xb = linalg.qr(fresh_xb, mode="economic", check_finite=False)[0]
        else:
            fresh_xb, self.coupling_bb = found
        self.vector_xm[:, end : end + BLOCK] = fresh_xb
        self.projected_mm[begin:end, :end] = column_mb.T
        self.n_vectors = end

    def ritz(self, limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return Ritz values above ``limit``, falling, their vectors in the basis and their residuals."""
        m = self.n_vectors
        value_k, small_mk = linalg.eigh(self.projected_mm[:m, :m], lower=True, check_finite=False, driver="evd")
        self.largest = float(value_k[-1])
        above = slice(int(np.searchsorted(value_k, limit, side="right")), None)
        value_k, small_mk = value_k[above][::-1], small_mk[:, above][:, ::-1]
        return value_k, small_mk, np.linalg.norm(self.coupling_bb @ small_mk[-BLOCK:], axis=0)

    def combined(self, small_mk: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.vector_xm[:, : self.n_vectors] @ small_mk)


def _orthonormal(block_xb: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return Q and R by Cholesky of the Gram matrix, twice, or None where that would lose digits.

    Matrix products do all the work, and so it takes a tenth of the time of Householder's QR.
    """
    whole_bb = np.eye(block_xb.shape[1])
    for _ in range(2):
        try:
            corner_bb = linalg.cholesky(block_xb.T @ block_xb, check_finite=False)
        except linalg.LinAlgError:
            return None
        if corner_bb.diagonal().min() < WELL_CONDITIONED * corner_bb.diagonal().max():
            return None
        block_xb = block_xb @ linalg.inv(corner_bb)
        whole_bb = corner_bb @ whole_bb
    return block_xb, whole_bb


def overlooked_above(run: Krylov, size: int, floor: float, probability: float) -> float:
    """Return the value above which no eigenvalue of the operator was overlooked, except with ``probability``.

    Parameters
    ----------
    run : Krylov
        Of the operator restricted to the complement of everything found.
    size : int
        Of the operator.
    floor : float
        Minus the smallest eigenvalue, or more: the operator plus ``floor`` is positive semidefinite.
    probability : float
        That the statement is wrong.

    Returns
    -------
    float
        Infinity if the run was too short for any statement.
    """
    per_start = probability ** (1.0 / BLOCK)
    root = np.log(1.648 * np.sqrt(size) / per_start) / (2 * run.n_steps - 1)
    if root >= 1.0:
        return float("inf")
    return float((run.largest + floor) / (1.0 - root**2) - floor)
