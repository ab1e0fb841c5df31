# SPDX-License-Identifier: BSD-3-Clause
"""Downhill on a surface, in all directions or in all but some, by Newton steps within a radius of trust.

The step of least predicted energy within the radius is approximated by conjugate gradients on the exact Hessian; where
they meet negative curvature they follow it to the rim.  Each accepted step lowers the energy, so the path stays in the
valley it began in as long as the radius is small.

References
----------
Steihaug, SIAM J. Numer. Anal. 20, 626 (1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.surface import Product, Surface, Vectors

LARGEST_MOVE_A = 0.3
"""Of one atom in one step: the Hessian tells little about what lies further."""

RADIUS_A, LARGEST_RADIUS_A = 0.4, 0.08
"""Length of the whole step, at first; and at most, times the root of the number of atoms."""

FORCING, MOST_PRODUCTS = 0.1, 24
"""Part of the force that may be left in the linear solve of a step, and products it may cost: more do not pay."""

_POOR, _GOOD = 0.25, 0.75
_ROUNDING_EV = 1e-9


@dataclass
class Place:
    """Where a walk is.

    Attributes
    ----------
    x_mc : ndarray, shape=(n_mobile, 3), Å
    energy : float, eV
        Above the minimum of the surface.
    forces_mc : ndarray, shape=(n_mobile, 3), eV/Å
    """

    x_mc: Vectors
    energy: float
    forces_mc: Vectors

    @classmethod
    def on(cls, surface: Surface, x_mc: Vectors) -> Place:
        """Return the place at ``x_mc``."""
        return cls(x_mc, *surface.evaluate(x_mc))


def largest(vectors_mc: Vectors) -> float:
    """Return the length of the longest of the atoms' vectors."""
    return float(np.sqrt(np.einsum("mc,mc->m", vectors_mc, vectors_mc).max()))


def without(vectors_mc: Vectors, beside_kx: Vectors) -> Vectors:
    """Return the part of a displacement or force that is orthogonal to some others."""
    if not len(beside_kx):
        return vectors_mc
    vector_x = vectors_mc.ravel()
    return (vector_x - (beside_kx @ vector_x) @ beside_kx).reshape(vectors_mc.shape)


def descend(
    surface: Surface, place: Place, beside_kx: Vectors, force: float, most: int, radius: float = RADIUS_A
) -> Place:
    """Go downhill until the largest force on an atom is small.

    Parameters
    ----------
    surface : Surface
    place : Place
        Where to start.
    beside_kx : ndarray, shape=(k, 3 * n_mobile)
        Orthonormal directions in which not to move.
    force : float, eV/Å
        Length of an atom's force, without its part along ``beside_kx``, at which to stop.
    most : int
        Evaluations at most.
    radius : float, Å
        Length of the first step at most.

    Returns
    -------
    Place
    """
    across_mc = without(place.forces_mc, beside_kx)
    product: Product | None = None
    for _ in range(most):
        if largest(across_mc) < force:
            break
        product = product or surface.products(place.x_mc)
        step_mc, gain = newton_step(product, across_mc, beside_kx, radius, MOST_PRODUCTS)
        new = Place.on(surface, place.x_mc + step_mc)
        share = (place.energy - new.energy + _ROUNDING_EV) / (gain + _ROUNDING_EV)
        length = float(np.sqrt(np.vdot(step_mc, step_mc)))
        if share < _POOR:
            radius = 0.25 * length
        elif share > _GOOD and length > 0.9 * radius:
            radius = min(2.0 * radius, LARGEST_RADIUS_A * math.sqrt(len(place.x_mc)))
        if share > 0:
            place, product, across_mc = new, None, without(new.forces_mc, beside_kx)
    return place


def newton_step(
    product: Product, force_mc: Vectors, beside_kx: Vectors, radius: float, most: int
) -> tuple[Vectors, float]:
    """Return the step downhill and the loss of energy it promises (eV).

    Parameters
    ----------
    product : callable
        v -> H v, eV/Å².
    force_mc : ndarray, shape=(n_mobile, 3), eV/Å
        Orthogonal to ``beside_kx``.
    beside_kx : ndarray, shape=(k, 3 * n_mobile)
        Orthonormal directions in which not to step.
    radius : float, Å
        Length at most; no atom moves further than ``LARGEST_MOVE_A``.
    most : int
        Products at most.
    """
    shape = force_mc.shape
    left_x = force_mc.ravel().copy()
    step_x, response_x = np.zeros_like(left_x), np.zeros_like(left_x)
    along_x = left_x.copy()
    square = float(left_x @ left_x)
    enough = FORCING**2 * square
    for _ in range(most if square else 0):
        new_x = without(product(along_x.reshape(shape)), beside_kx).ravel()
        curvature = float(along_x @ new_x)
        rate = square / curvature if curvature > 0 else np.inf
        rim = _to_rim(step_x, along_x, radius)
        rate, last = (rim, True) if rate >= rim else (rate, False)
        step_x += rate * along_x
        response_x += rate * new_x
        left_x -= rate * new_x
        before, square = square, float(left_x @ left_x)
        if last or square < enough:
            break
        along_x = left_x + (square / before) * along_x
    shrink = min(1.0, LARGEST_MOVE_A / max(largest(step_x.reshape(shape)), 1e-300))
    gain = shrink * float(force_mc.ravel() @ step_x) - 0.5 * shrink**2 * float(step_x @ response_x)
    return shrink * step_x.reshape(shape), gain


def _to_rim(step_x: NDArray[np.float64], along_x: NDArray[np.float64], radius: float) -> float:
    """Return how far along a direction the step may go to have the given length."""
    a, b = float(along_x @ along_x), float(step_x @ along_x)
    c = float(step_x @ step_x) - radius**2
    return float((-b + np.sqrt(max(b * b - a * c, 0.0))) / a)
