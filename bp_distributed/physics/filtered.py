# SPDX-License-Identifier: BSD-3-Clause
"""The low normal modes of large systems: block Lanczos on a Chebyshev filter, matrix-free.

Products with the factored Hessian are all that is needed of it, so memory is the Krylov basis: about 1.6 vectors
per mode.  The run ends when a fresh random start, orthogonal to all that was found, finds nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.chebyshev import Filter
from bp_distributed.physics.hessian import FactoredHessian
from bp_distributed.physics.lanczos import BLOCK, block_lanczos, overlooked_above

DEGREE = 24
"""Of the polynomial: products and orthogonalisation then cost about the same at 60 000 degrees of freedom."""

GUARD, EDGE = 1.02, 1.05
"""In frequency, times the cut: modes are converged up to the guard and damped from the edge on."""

MISTAKE = 1e-9
"""Probability with which a mode below the certified frequency may have been overlooked."""

LARGEST_BASIS = 0.3
"""Krylov vectors per degree of freedom; beyond, LAPACK is as good."""

ROUNDS = 8
"""Fresh starts; more than two are needed only for eigenvalues more than 32-fold degenerate."""


@dataclass(frozen=True)
class LowModes:
    """Eigenpairs at the low end, translations left out.

    Attributes
    ----------
    value_k : ndarray, shape=(n_found,), eV/Å²/amu
        Rising; reaches a little beyond the cut.
    vector_xk : ndarray, shape=(size, n_found)
        Orthonormal.
    complete_below : float, eV/Å²/amu
        No eigenvalue below is missing, but with probability ``MISTAKE``.
    """

    value_k: NDArray[np.float64]
    vector_xk: NDArray[np.float64]
    complete_below: float


def filtered_modes(
    dynamical: FactoredHessian,
    translation_xt: NDArray[np.float64],
    top: float,
    cut: float,
    *,
    max_vectors: int | None = None,
    progress: Callable[[str], None] = lambda note: None,  # noqa: ARG005
) -> LowModes:
    """Return all modes with an eigenvalue below ``cut``, and a few more.

    Parameters
    ----------
    dynamical : FactoredHessian
        D, eV/Å²/amu.
    translation_xt : ndarray, shape=(size, 3)
        Orthonormal; projected out.
    top : float, eV/Å²/amu
        Not smaller than the largest eigenvalue.
    cut : float, eV/Å²/amu
        As said.
    max_vectors : int, optional
        Largest Krylov basis that memory holds.
    progress : callable
        Told now and then.

    Returns
    -------
    LowModes

    Raises
    ------
    ScienceError
        ``SOLVER_FAILED`` if the cut takes in more than a sixth of the modes, or memory does not suffice.
    """
    size, steps = dynamical.size, 6
    polynomial = Filter(dynamical, EDGE**2 * cut, top, DEGREE)
    limit = float(polynomial.value(GUARD**2 * cut))
    known_xk = translation_xt
    for seed in range(ROUNDS):
        run = block_lanczos(
            polynomial,
            known_xk,
            limit,
            seed=seed,
            max_vectors=min(max_vectors or size, int(LARGEST_BASIS * size)),
            min_steps=steps,
            progress=progress,
        )
        if run.vector_xk.shape[1]:
            known_xk = np.concatenate([known_xk, run.vector_xk], axis=1)
            continue
        complete_below = polynomial.eigenvalue(overlooked_above(run, size, polynomial.damping, MISTAKE))
        if complete_below >= cut:
            progress("rotating to eigenvectors")
            value_k, vector_xk = _rayleigh_ritz(dynamical, known_xk[:, translation_xt.shape[1] :])
            return LowModes(value_k, vector_xk, complete_below)
        steps *= 2
    raise ScienceError(Reason.SOLVER_FAILED, f"modes were still turning up after {ROUNDS} random starts: use lapack")


def _rayleigh_ritz(
    dynamical: FactoredHessian, basis_xk: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the eigenpairs of D within the space of orthonormal vectors."""
    image_xk = np.empty_like(basis_xk)
    for begin in range(0, basis_xk.shape[1], BLOCK):
        columns = slice(begin, begin + BLOCK)
        image_xk[:, columns] = dynamical.matmat(basis_xk[:, columns])
    value_k, small_kk = np.linalg.eigh(basis_xk.T @ image_xk)
    del image_xk
    return value_k, basis_xk @ small_kk
