# SPDX-License-Identifier: BSD-3-Clause
"""What kind of saddle was found: its index, and where its two sides lead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bp_distributed.physics.descent import Place, descend, largest, without
from bp_distributed.physics.lowest_mode import Mode, lowest_mode
from bp_distributed.physics.surface import Product, Surface, Vectors

INDEX_LANCZOS = 80
"""Vectors for the second eigenvalue, for which there is no good guess to start from."""

RELAXED_FORCE = 0.005
"""eV/Å, of the two relaxed ends; what is left in the energy is below 1e-4 eV."""

RELAX_EVALUATIONS = 400


@dataclass(frozen=True)
class Ends:
    """What lies on the two sides of a saddle.

    Attributes
    ----------
    index : int
        Negative eigenvalues of the Hessian at the saddle; 2 stands for two or more.
    energy_e : ndarray, shape=(2,), eV
        Of the relaxed ends, the one nearer to the start first.
    displacement_e : ndarray, shape=(2,), Å
        Largest displacement of an atom from the start, rigid motion left out.
    x_emc : ndarray, shape=(2, n_mobile, 3), Å
        The ends.
    """

    index: int
    energy_e: Vectors
    displacement_e: Vectors
    x_emc: Vectors


def explore(surface: Surface, saddle_mc: Vectors, mode: Mode, push_over: float) -> Ends:
    """Count a saddle's negative eigenvalues, and relax both of its sides.

    Parameters
    ----------
    surface : Surface
    saddle_mc : ndarray, shape=(n_mobile, 3), Å
        Refined.
    mode : Mode
        Lowest mode there.
    push_over : float, Å
        Length of the displacement along the mode.

    Returns
    -------
    Ends
    """
    index = _index(surface, surface.products(saddle_mc), mode)
    ends = []
    for sign in (1.0, -1.0):
        place = Place.on(surface, saddle_mc + sign * push_over * mode.vector_mc)
        ends.append(descend(surface, place, surface.rigid_kx, RELAXED_FORCE, RELAX_EVALUATIONS))
    moved = [without(end.x_mc - surface.start_mc, surface.rigid_kx) for end in ends]
    order = np.argsort([largest(moved_mc) for moved_mc in moved], kind="stable")
    return Ends(
        index,
        np.array([ends[e].energy for e in order]),
        np.array([largest(moved[e]) for e in order]),
        np.stack([ends[e].x_mc for e in order]),
    )


def _index(surface: Surface, product: Product, mode: Mode) -> int:
    """Return 1 if the second eigenvalue is positive, else 2; a Lanczos value bounds it from above only."""
    beside_kx = np.concatenate([surface.rigid_kx, mode.vector_mc.reshape(1, -1)])
    # Low modes of a glass involve all atoms: a fixed random vector misses none.
    guess_mc = np.random.default_rng(0).standard_normal(mode.vector_mc.shape)
    second = lowest_mode(product, guess_mc, beside_kx, INDEX_LANCZOS, 1e-4)
    return 1 if second.eigenvalue > 0 else 2
