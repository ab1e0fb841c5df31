# SPDX-License-Identifier: BSD-3-Clause
r"""Chebyshev polynomials of the dynamical matrix, by which iterative solvers see its low end only.

.. math:: p(D) = T_d\!\left(\frac{2D - (b + a)}{b - a}\right) \Big/ T_d\!\left(-\frac{b + a}{b - a}\right)

is below 1/T_d in size on [a, b], rises steeply below a, and is 1 at zero.

References
----------
Zhou, Saad, Tiago and Chelikowsky, J. Comput. Phys. 219, 172 (2006); Zhou and Li, Linear Algebra Appl. 435,
480 (2011), for the upper bound of the spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.physics.hessian import FactoredHessian

BOUND_STEPS = 24
"""Of Lanczos for the upper bound; it then lies within a percent or two of the largest eigenvalue."""


def spectral_bound(dynamical: FactoredHessian, n_steps: int = BOUND_STEPS) -> float:
    """Return a number not smaller than the largest eigenvalue, in the units of ``dynamical``.

    A few Lanczos steps give the largest Ritz value; the last residual is added to it.
    """
    size, start = dynamical.size, np.random.default_rng(0)
    n_steps = min(n_steps, size)
    basis_xm = np.zeros((size, n_steps))
    vector = start.normal(size=size)
    vector /= np.linalg.norm(vector)
    diagonal, off = np.zeros(n_steps), np.zeros(n_steps)
    for m in range(n_steps):
        basis_xm[:, m] = vector
        image = dynamical.matvec(vector).astype(np.float64)
        diagonal[m] = vector @ image
        for _ in range(2):
            image -= basis_xm[:, : m + 1] @ (basis_xm[:, : m + 1].T @ image)
        off[m] = np.linalg.norm(image)
        if off[m] <= 1e-12 * abs(diagonal).max():
            n_steps = m + 1
            break
        vector = image / off[m]
    ritz = linalg.eigh_tridiagonal(diagonal[:n_steps], off[: n_steps - 1], eigvals_only=True)
    return float(ritz[-1] + off[n_steps - 1])


@dataclass(frozen=True)
class Filter:
    """The polynomial p of a dynamical matrix.

    Attributes
    ----------
    dynamical : FactoredHessian
        D.
    edge, top : float, in the units of D
        The interval [a, b] that is damped; ``top`` must not lie below the largest eigenvalue.
    degree : int
        Even, so that p is positive below the edge.
    """

    dynamical: FactoredHessian
    edge: float
    top: float
    degree: int

    @property
    def _centre(self) -> float:
        return 0.5 * (self.top + self.edge)

    @property
    def _half(self) -> float:
        return 0.5 * (self.top - self.edge)

    @property
    def damping(self) -> float:
        """The largest size of p on [edge, top]."""
        return float(1.0 / np.cosh(self.degree * np.arccosh(self._centre / self._half)))

    def value(self, eigenvalue: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return p at eigenvalues not above the edge."""
        outside = np.maximum(1.0, (self._centre - np.asarray(eigenvalue)) / self._half)
        return np.asarray(np.cosh(self.degree * np.arccosh(outside)) * self.damping)

    def eigenvalue(self, value: float) -> float:
        """Return the eigenvalue below the edge at which p takes ``value``; the edge itself if it is smaller."""
        outside = np.cosh(np.arccosh(max(1.0, value / self.damping)) / self.degree)
        return float(self._centre - self._half * outside)

    def __call__(self, u_xv: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return p(D) u for a block of vectors, shape=(size, n_vectors); ``degree`` products."""
        first = 1.0 / self._half
        before, now = u_xv, self.dynamical.apply(u_xv, scale=first, shift=-self._centre * first)
        for step in range(2, self.degree + 1):
            out = None if step == 2 else before  # noqa: PLR2004 - the first "before" belongs to the caller
            before, now = (
                now,
                self.dynamical.apply(
                    now, out, scale=2 * first, shift=-2 * self._centre * first, previous=before, previous_scale=-1.0
                ),
            )
        now *= self.damping
        return now
