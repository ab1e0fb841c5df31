# SPDX-License-Identifier: BSD-3-Clause
r"""What a model is told of an atom's surroundings: the paper's four channels, and averages over its neighbours.

One round of averaging replaces the features of an atom by the weighted mean over itself and its neighbours,

.. math:: X^{(n)}_i = \sum_j w(r_{ij}) X^{(n-1)}_j \Big/ \sum_j w(r_{ij}), \quad
    w(r) = \tfrac{1}{2} (1 + \cos(\pi r / r_w)) \text{ for } r < r_w,

so that the n-th reaches n times as far as the weight, with ever less detail.

Letters of axes: ``i``, ``j`` atom, ``c`` channel, ``e`` element of the neighbour, ``r`` radial bin, ``f`` feature.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), section III (channels).
Boattini, Smallenburg and Filion, Phys. Rev. Lett. 127, 088007 (2021) (recursive averages).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bp_distributed.physics.neighbours import neighbours

Singles = NDArray[np.float32]


def four_channels(pdf_ier: NDArray[np.floating], species_i: NDArray[np.integer]) -> Singles:
    """Return the atomic functions by element of the centre and of the neighbour, zero for the other centres.

    Parameters
    ----------
    pdf_ier : ndarray, shape=(n_atoms, n_elements, n_bins), dimensionless
    species_i : ndarray, shape=(n_atoms,)

    Returns
    -------
    ndarray, shape=(n_atoms, n_elements², n_bins), float32, dimensionless
        For Cu and Zr: Cu-Cu, Cu-Zr, Zr-Cu, Zr-Zr.
    """
    n_atoms, n_elements, n_bins = pdf_ier.shape
    channels = np.zeros((n_atoms, n_elements, n_elements, n_bins), dtype=np.float32)
    channels[np.arange(n_atoms), species_i] = pdf_ier
    return channels.reshape(n_atoms, n_elements**2, n_bins)


def rebinned(pdf_icr: NDArray[np.floating], factor: int) -> Singles:
    """Return means over ``factor`` neighbouring bins, shape=(n_atoms, n_channels, n_bins // factor)."""
    n_atoms, n_channels, n_bins = pdf_icr.shape
    whole = n_bins // factor * factor
    return np.asarray(pdf_icr[:, :, :whole].reshape(n_atoms, n_channels, -1, factor).mean(axis=3, dtype=np.float32))


def neighbour_weights(
    positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64], cutoff: float
) -> sparse.csr_array:
    """Return the weights of one round of averaging.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; every image counts.
    cutoff : float, Å
        Where the weight ends.

    Returns
    -------
    csr_array, shape=(n_atoms, n_atoms), float32, dimensionless
        Rows sum to 1; the atom itself weighs most.
    """
    found = neighbours(positions_ic, cell_cc, cutoff)
    every = np.arange(len(positions_ic))
    weight_n = 0.5 * (1.0 + np.cos(np.pi * found.r_n / cutoff))
    row, column = np.concatenate([found.i_n, every]), np.concatenate([found.j_n, every])
    entries = np.concatenate([weight_n, np.ones(len(every))])
    entries /= np.bincount(row, entries)[row]
    return sparse.csr_array((entries.astype(np.float32), (row, column)), shape=(len(every), len(every)))


def recursive_averages(features_if: Singles, weights: sparse.csr_array, rounds: int) -> list[Singles]:
    """Return the features after 1, 2, ... rounds of averaging, each shape=(n_atoms, n_features)."""
    averages = []
    for _ in range(rounds):
        features_if = weights @ features_if
        averages.append(features_if)
    return averages
