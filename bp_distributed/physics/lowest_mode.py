# SPDX-License-Identifier: BSD-3-Clause
"""The lowest eigenpair of a Hessian by Lanczos, from products alone and from a good guess.

Every vector is orthogonalised against all others, so no copies of an eigenvalue appear; and against the motions that
cost nothing, whose zeros would otherwise take up vectors.

References
----------
Lanczos, J. Res. Natl. Bur. Stand. 45, 255 (1950); Malek and Mousseau, Phys. Rev. E 62, 7723 (2000), in ART nouveau.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dstev

from bp_distributed.physics.descent import without
from bp_distributed.physics.surface import Product, Vectors

SMALLEST_SCALE = 0.5
"""eV/Å²; tolerances are relative to the eigenvalue, or to this where it is smaller."""

RESIDUAL = 0.3
"""Accepted |H v - λ v|, in the same units: the sign of λ is then as good as certain."""

_FEWEST = 3
_NOTHING = 1e-10


@dataclass(frozen=True)
class Mode:
    """An approximate eigenpair.

    Attributes
    ----------
    eigenvalue : float, eV/Å²
        Never below the true lowest.
    vector_mc : ndarray, shape=(n_mobile, 3)
        Of unit length.
    residual : float, eV/Å²
        Length of H v - λ v; an eigenvalue lies within this of λ.
    """

    eigenvalue: float
    vector_mc: Vectors
    residual: float


def lowest_mode(product: Product, guess_mc: Vectors, beside_kx: Vectors, most: int, rtol: float) -> Mode:
    """Return the lowest mode orthogonal to ``beside_kx``.

    Parameters
    ----------
    product : callable
        v -> H v, eV/Å².
    guess_mc : ndarray, shape=(n_mobile, 3)
        Where to start; its component along the mode wanted must not vanish.
    beside_kx : ndarray, shape=(k, 3 * n_mobile)
        Orthonormal vectors to stay clear of.
    most : int
        Products at most.
    rtol : float
        Change of λ from one vector to the next, relatively, at which to stop; the residual must be small too.
    """
    shape = guess_mc.shape
    basis_jx = np.empty((min(most, guess_mc.size - len(beside_kx)), guess_mc.size))
    basis_jx[0] = _unit(without(guess_mc.ravel(), beside_kx))
    diagonal_j: list[float] = []
    beside_j: list[float] = []
    before = np.inf
    for j in range(len(basis_jx)):
        new_x = without(product(basis_jx[j].reshape(shape)).ravel(), beside_kx)
        diagonal_j.append(float(basis_jx[j] @ new_x))
        used_jx = basis_jx[: j + 1]
        new_x = new_x - (used_jx @ new_x) @ used_jx
        new_x -= (used_jx @ new_x) @ used_jx
        length = float(np.sqrt(new_x @ new_x))
        value, share_j = _lowest(diagonal_j, beside_j)
        residual = length * abs(share_j[-1])
        scale = max(abs(value), SMALLEST_SCALE)
        settled = abs(before - value) < rtol * scale and residual < RESIDUAL * scale
        if (j + 1 >= _FEWEST and settled) or j + 1 == len(basis_jx) or length < _NOTHING * scale:
            break
        before = value
        beside_j.append(length)
        basis_jx[j + 1] = new_x / length
    vector_x = _unit(share_j @ used_jx)
    return Mode(value, vector_x.reshape(shape), residual)


def _lowest(diagonal_j: list[float], beside_j: list[float]) -> tuple[float, NDArray[np.float64]]:
    # The bare routine: for so small a matrix what comes before it in ``eigh_tridiagonal`` costs several times as much.
    value_k, share_jk, _ = dstev(diagonal_j, beside_j or [0.0])
    return float(value_k[0]), share_jk[:, 0]


def _unit(vector_x: Vectors) -> Vectors:
    return vector_x / np.sqrt(vector_x @ vector_x)
