# SPDX-License-Identifier: BSD-3-Clause
r"""Chebyshev polynomials of the dynamical matrix, by which iterative solvers see its low end only.

.. math:: p(D) = T_d\!\left(\frac{2D - (b + a)}{b - a}\right) \Big/ T_d\!\left(-\frac{b + a}{b - a}\right)

is below 1/T_d in size on [a, b], rises steeply below a, and is 1 at zero.

References
----------
Zhou, Saad, Tiago and Chelikowsky, J. Comput. Phys. 219, 172 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bp_distributed.physics.hessian import FactoredHessian

BOUND_STEPS, BOUND_STARTS = 60, 8
"""Lanczos steps and random starts for the upper bound; it lies within a percent of the largest eigenvalue."""

BOUND_MISTAKE = 1e-12
"""Probability with which the bound is none."""

DENSE_BOUND = 300
"""Degrees of freedom up to which the largest eigenvalue is simply computed."""


def spectral_bound(dynamical: FactoredHessian, n_steps: int = BOUND_STEPS) -> float:
    """Return a number not smaller than the largest eigenvalue, in the units of ``dynamical``.

    The largest Ritz value θ of several independent Lanczos runs is raised by what the theorem quoted in ``lanczos``
    leaves possible.  No basis is kept, so memory is that of four blocks.
    """
    if dynamical.size <= DENSE_BOUND:
        return float(linalg.eigvalsh(dynamical.dense(), check_finite=False)[-1]) * (1.0 + 1e-6)
    per_start = BOUND_MISTAKE ** (1.0 / BOUND_STARTS)
    root = np.log(1.648 * np.sqrt(dynamical.size) / per_start) / (2 * n_steps - 1)
    return float(_largest_ritz_value(dynamical, n_steps) / (1.0 - root**2))


def _largest_ritz_value(dynamical: FactoredHessian, n_steps: int) -> float:
    """Return the largest Ritz value of ``BOUND_STARTS`` Lanczos recurrences that run side by side."""
    number, shape = dynamical.dtype, (dynamical.size, BOUND_STARTS)
    before, now = np.zeros(shape, number), np.asarray(np.random.default_rng(0).normal(size=shape), number)
    now /= _norm(now)
    diagonal_mv, off_mv = np.zeros((2, n_steps, BOUND_STARTS))
    for m in range(n_steps):
        image = dynamical.apply(now)
        if m:
            image -= off_mv[m - 1].astype(number) * before
        diagonal_mv[m] = np.einsum("xv,xv->v", now, image, dtype=np.float64)
        image -= diagonal_mv[m].astype(number) * now
        off_mv[m] = _norm(image)
        before, now = now, image / off_mv[m].astype(number)
    return max(
        float(linalg.eigh_tridiagonal(diagonal_mv[:, v], off_mv[:-1, v], eigvals_only=True)[-1])
        for v in range(BOUND_STARTS)
    )


def _norm(block_xv: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.sqrt(np.einsum("xv,xv->v", block_xv, block_xv, dtype=np.float64))).astype(block_xv.dtype)


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
