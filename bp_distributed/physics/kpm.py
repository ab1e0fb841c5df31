# SPDX-License-Identifier: BSD-3-Clause
r"""Density of states of systems too large for any eigen-solver, from Chebyshev moments of random vectors.

The angle θ with λ = Λ sin²(θ/2), Λ not below the largest eigenvalue of D, turns Chebyshev polynomials of
X = 1 - 2D/Λ into cosines of θ.  From the moments, averaged over random unit vectors r without translations,

.. math:: \mu_m = \langle r^T T_m(X)\, r \rangle = \frac{1}{n} \sum_k \cos m\theta_k ,

a cosine series gives the density in θ, broadened by the Jackson kernel.  For M moments the mean of cos Δθ over the
kernel is cos(π/(M + 1)), so its rms width is π/(M + 1).  With ω = Ω sin(θ/2), Ω = √Λ, the width in frequency is

.. math:: \sigma(\omega) = \frac{\pi}{2 (M + 1)} \sqrt{\Omega^2 - \omega^2} ,

the same at all low frequencies: 0.25 rad/ps for 300 moments and Ω = 47 rad/ps.

For g/ω² each mode must carry 1/ω_k² before it is broadened, or the kernel's σ² would add σ²/ω² to a Debye
spectrum.  The moments ν of D⁻¹ follow from those of g without a solve: (1 - X) T_m = T_m - (T_{m+1} + T_{m-1})/2
makes them a second sum of μ, up to one constant.  That constant is a peak at ω = 0, fixed by asking that g/ω² be
flat there, as Debye's is.  Below ``N_WIDTHS`` widths the answer leans on that, so it is not given.

Two errors are told apart: the *error* from the scatter over random vectors, about sqrt(2 / (n_probes × modes within
the kernel)), and the *bias* by broadening, which is of second order in the width and so a third of what changes
when only half the moments are used.

References
----------
Weiße, Wellein, Alvermann and Fehske, Rev. Mod. Phys. 78, 275 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.hessian import FactoredHessian
from bp_distributed.physics.modes import translations
from bp_distributed.physics.outcome import Progress, silent
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

BLOCK = 32
"""Vectors per product."""

N_WIDTHS = 3.0
"""Kernel widths from ω = 0 up to where g/ω² is given."""

ROWS = 8192
"""Rows of single-precision vectors multiplied at a time, in double precision and within the cache."""

LARGEST_MOMENT = 1.01
"""Of a unit vector no moment exceeds 1 unless an eigenvalue lies outside [0, Λ]; rounding may add a little."""


@dataclass(frozen=True)
class Estimate:
    """A function of frequency with its two errors, in the unit of the function.

    Attributes
    ----------
    value_w : ndarray, shape=(n_omega,)
        Broadened by the kernel.
    error_w : ndarray, shape=(n_omega,)
        Standard error by the choice of random vectors.
    bias_w : ndarray, shape=(n_omega,)
        What the broadening adds, to leading order.
    width_w : ndarray, shape=(n_omega,), rad/ps
        Rms width of the kernel.
    """

    value_w: NDArray[np.float64]
    error_w: NDArray[np.float64]
    bias_w: NDArray[np.float64]
    width_w: NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Chebyshev moments of a dynamical matrix, vector by vector.

    Attributes
    ----------
    moment_pm : ndarray, shape=(n_probes, n_moments)
        rᵀ T_m(X) r for each random unit vector.
    omega_top : float, rad/ps
        Ω, not below the highest frequency.
    n_modes : int
        3 n_atoms - 3.
    """

    moment_pm: NDArray[np.float64]
    omega_top: float
    n_modes: int

    @property
    def n_moments(self) -> int:
        """M."""
        return int(self.moment_pm.shape[1])

    def width(self, omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rms width of the kernel at frequencies, rad/ps."""
        return np.asarray(0.5 * np.pi / (self.n_moments + 1) * np.sqrt(self.omega_top**2 - omega_w**2))

    def density(self, omega_w: NDArray[np.float64]) -> Estimate:
        """Return g of unit area, ps.

        Parameters
        ----------
        omega_w : ndarray, shape=(n_omega,), rad/ps
            Within (0, Ω).
        """
        return self._estimate(omega_w, Moments._density)

    def reduced_density(self, omega_w: NDArray[np.float64]) -> Estimate:
        """Return g/ω², ps³; NaN below ``N_WIDTHS`` kernel widths.

        Parameters
        ----------
        omega_w : ndarray, shape=(n_omega,), rad/ps
            Within (0, Ω).
        """
        found = self._estimate(omega_w, Moments._reduced)
        hidden_w = np.where(omega_w < N_WIDTHS * found.width_w, np.nan, 0.0)
        return replace(found, value_w=found.value_w + hidden_w)

    def count(self, omega_w: NDArray[np.float64]) -> Estimate:
        """Return how many modes, translations left out, lie below each frequency.

        Parameters
        ----------
        omega_w : ndarray, shape=(n_omega,), rad/ps
            Within (0, Ω).
        """
        return self._estimate(omega_w, Moments._count)

    def _estimate(self, omega_w: NDArray[np.float64], function: Any) -> Estimate:
        """Return mean, standard error and bias of a function of the moments that gives one row per vector."""
        value_pw = function(self, omega_w)
        half = replace(self, moment_pm=self.moment_pm[:, : self.n_moments // 2])
        value_w = value_pw.mean(axis=0)
        shrunk = (self.n_moments + 1) ** 2 / (half.n_moments + 1) ** 2 - 1.0
        bias_w = (function(half, omega_w).mean(axis=0) - value_w) / shrunk
        error_w = value_pw.std(axis=0, ddof=1) / np.sqrt(len(value_pw))
        return Estimate(value_w, error_w, bias_w, self.width(omega_w))

    def _angle(self, omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(2.0 * np.arcsin(omega_w / self.omega_top))

    def _series(self, moment_pm: NDArray[np.float64], omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a function of ω from the cosine coefficients of its kernel sum, shape=(n_probes, n_omega)."""
        twice_m = np.where(np.arange(self.n_moments) == 0, 1.0, 2.0) * jackson(self.n_moments)
        cosine_mw = np.cos(np.arange(self.n_moments)[:, None] * self._angle(omega_w))
        slope_w = 2.0 / np.sqrt(self.omega_top**2 - omega_w**2)
        return np.asarray((moment_pm * twice_m) @ cosine_mw * slope_w / np.pi)

    def _density(self, omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._series(self.moment_pm, omega_w)

    def _reduced(self, omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._series(self._inverse_moments(), omega_w)

    def _inverse_moments(self) -> NDArray[np.float64]:
        """Return ν_m, the moments of 1/ω², shape=(n_probes, n_moments), ps²."""
        # ν_{m+1} - ν_m = ν_m - ν_{m-1} - 4 μ_m / Λ, and ν_1 - ν_0 = -2 μ_0 / Λ.
        step_pm = -4.0 * np.cumsum(self.moment_pm, axis=1) + 2.0 * self.moment_pm[:, :1]
        sum_pm = np.cumsum(step_pm[:, :-1], axis=1) / self.omega_top**2
        sum_pm = np.pad(sum_pm, ((0, 0), (1, 0)))
        curvature_m = np.arange(self.n_moments) ** 2 * jackson(self.n_moments)
        constant_p = -(sum_pm @ curvature_m) / curvature_m.sum()
        return np.asarray(sum_pm + constant_p[:, None])

    def _count(self, omega_w: NDArray[np.float64]) -> NDArray[np.float64]:
        angle_w, m = self._angle(omega_w), np.arange(1, self.n_moments)[:, None]
        step_mw = np.vstack([angle_w, 2.0 * np.sin(m * angle_w) / m]) / np.pi
        return np.asarray(self.n_modes * (self.moment_pm * jackson(self.n_moments)) @ step_mw)


def jackson(n_moments: int) -> NDArray[np.float64]:
    """Return the factors that make a truncated cosine series a positive kernel, shape=(n_moments,)."""
    unit = np.pi / (n_moments + 1)
    m = np.arange(n_moments)
    return np.asarray(((n_moments - m + 1) * np.cos(unit * m) + np.sin(unit * m) / np.tan(unit)) / (n_moments + 1))


def moments_for(width: float, omega_top: float) -> int:
    """Return how many moments make the kernel no wider than ``width`` anywhere, both in rad/ps."""
    return int(np.ceil(0.5 * np.pi * omega_top / width))


def chebyshev_moments(
    dynamical: FactoredHessian,
    masses_i: NDArray[np.float64],
    n_moments: int,
    n_probes: int = BLOCK,
    *,
    seed: int = 0,
    block: int = BLOCK,
    progress: Progress = silent,
) -> Moments:
    """Return the moments of random vectors; one product with D gives two.

    Parameters
    ----------
    dynamical : FactoredHessian
        D, mass-weighted, at a minimum of the energy, eV/Å²/amu; float32 halves time and memory.
    masses_i : ndarray, shape=(n_atoms,), amu
        Mass of each atom.
    n_moments : int
        M, even; see ``moments_for``.
    n_probes : int
        Random vectors.
    seed : int
        Vector p depends on it and on p alone.
    block : int
        Vectors multiplied at a time; two blocks and a product are held in memory.
    progress : callable
        Told after every product.

    Returns
    -------
    Moments

    Raises
    ------
    ScienceError
        ``UNSTABLE`` if an eigenvalue is negative enough to be seen, ``NOT_FINITE`` if the matrix holds NaN.
    """
    top = spectral_bound(dynamical)
    if not np.isfinite(top):
        raise ScienceError(Reason.NOT_FINITE, "the Hessian holds numbers that are not finite")
    translation_xt = translations(masses_i)
    moment_pm = np.empty((n_probes, n_moments))
    for begin in range(0, n_probes, block):
        probes = range(begin, min(begin + block, n_probes))
        start_xv = _random_vectors(translation_xt, seed, probes, dynamical.dtype)
        done, total = begin * n_moments // 2, n_probes * n_moments // 2

        def tell(product: int, done: int = done, total: int = total, width: int = len(probes)) -> None:
            progress(done + product * width, total, "moments")

        moment_pm[probes] = _moments_of(dynamical, top, start_xv, n_moments, tell)
    if not (np.abs(moment_pm) <= LARGEST_MOMENT).all():
        what = f"a moment of size {np.abs(moment_pm).max():.3g} exceeds 1: the structure is no minimum, relax it first"
        raise ScienceError(Reason.UNSTABLE, what)
    return Moments(moment_pm, OMEGA_PER_SQRT_EIGENVALUE * float(np.sqrt(top)), dynamical.size - 3)


def _random_vectors(
    translation_xt: NDArray[np.float64], seed: int, probes: range, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return random unit vectors orthogonal to the translations, shape=(size, n_vectors)."""
    start_xv = np.empty((len(translation_xt), len(probes)), dtype)
    for column, probe in enumerate(probes):
        vector = np.random.default_rng([seed, probe]).normal(size=len(translation_xt))
        vector -= translation_xt @ (translation_xt.T @ vector)
        start_xv[:, column] = vector / np.linalg.norm(vector)
    return start_xv


def _moments_of(
    dynamical: FactoredHessian, top: float, start_xv: NDArray[Any], n_moments: int, tell: Any
) -> NDArray[np.float64]:
    """Return the moments of a block of unit vectors, shape=(n_vectors, n_moments)."""
    moment_mv = np.empty((n_moments, start_xv.shape[1]))
    before_xv, now_xv = start_xv, dynamical.apply(start_xv, scale=-2.0 / top, shift=1.0)
    moment_mv[0], moment_mv[1] = _dot(before_xv, before_xv), _dot(before_xv, now_xv)
    for m in range(1, n_moments // 2):
        tell(m)
        moment_mv[2 * m] = 2.0 * _dot(now_xv, now_xv) - moment_mv[0]
        before_xv, now_xv = (
            now_xv,
            dynamical.apply(now_xv, before_xv, scale=-4.0 / top, shift=2.0, previous=before_xv, previous_scale=-1.0),
        )
        moment_mv[2 * m + 1] = 2.0 * _dot(before_xv, now_xv) - moment_mv[1]
    return moment_mv.T


def _dot(a_xv: NDArray[Any], b_xv: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scalar product column by column, summed in double precision."""
    total_v = np.zeros(a_xv.shape[1])
    for begin in range(0, len(a_xv), ROWS):
        rows = slice(begin, begin + ROWS)
        total_v += np.einsum("xv,xv->v", a_xv[rows], b_xv[rows], dtype=np.float64)
    return total_v
