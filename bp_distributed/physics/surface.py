# SPDX-License-Identifier: BSD-3-Clause
"""What a search for saddles asks of an energy landscape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]
Product = Callable[[Vectors], Vectors]


class Surface(Protocol):
    """The energy as a function of the atoms that move.

    Attributes
    ----------
    start_mc : ndarray, shape=(n_mobile, 3), Å
        The minimum that energies are counted from.
    rigid_kx : ndarray, shape=(n_rigid, 3 * n_mobile)
        Orthonormal motions that cost no energy: translations of a periodic cell, rotations too of a free cluster;
        none where the surroundings are held.
    evaluations, n_products : int
        How often the two methods' work was done; for accounts.
    """

    start_mc: Vectors
    rigid_kx: Vectors
    evaluations: int
    n_products: int

    def evaluate(self, x_mc: Vectors) -> tuple[float, Vectors]:
        """Return the energy above the minimum (eV) and the forces (eV/Å, shape of ``x_mc``)."""

    def products(self, x_mc: Vectors) -> Product:
        """Return v -> H v with the exact Hessian at ``x_mc`` (eV/Å²); good until the next call."""
