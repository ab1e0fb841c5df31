# SPDX-License-Identifier: BSD-3-Clause
r"""The analytic EAM Hessian in factored form, H = P + Jᵀ diag(F″) J.

Notation, per unordered pair (i, j) with ê = (x_i - x_j)/r::

    t = φ' + F'_i f'_ij + F'_j f'_ji            k = the same with second derivatives
    B = (k - t/r) ê êᵀ + (t/r) 1                P = Σ [[B, -B], [-B, B]]
    row i of J: +f'_ij ê at i, -f'_ij ê at j    row j of J: +f'_ji ê at i, -f'_ji ê at j

P has the range of φ, J that of the density; the assembled H reaches twice as far as J.  Every image of a pair
adds its own term; an atom's own images add nothing, because their distance does not change when it moves.

References
----------
Daw and Baskes, Phys. Rev. B 29, 6443 (1984), for the model; the factorisation follows by differentiating twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import PairTerms, pair_terms
from bp_distributed.physics.potential import EAMPotential


@dataclass(frozen=True)
class FactoredHessian:
    """H = P + Jᵀ diag(F″) J as an operator on displacements, flattened as ``positions_ic.ravel()``.

    Attributes
    ----------
    P : bsr_array, shape=(3 n_atoms, 3 n_atoms), eV/Å²
        Pair part, 3x3 blocks.
    J : csr_array, shape=(n_atoms, 3 n_atoms), 1/Å
        Gradient of each atom's density.
    embedding_curvature_i : ndarray, shape=(n_atoms,), eV
        F″(ρ_i); may be negative.
    """

    P: sparse.bsr_array
    J: sparse.csr_array
    embedding_curvature_i: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of degrees of freedom, 3 n_atoms."""
        return int(self.P.shape[0])

    def matvec(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return H u for a vector, shape=(3 n_atoms,), Å -> eV/Å."""
        return np.asarray(self.P @ u + self.J.T @ (self.embedding_curvature_i * (self.J @ u)))

    def matmat(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return H u for a block of vectors, shape=(3 n_atoms, n_vectors), Å -> eV/Å."""
        return np.asarray(self.P @ u + self.J.T @ (self.embedding_curvature_i[:, None] * (self.J @ u)))

    def assembled(self) -> sparse.csr_array:
        """Return H as one sparse matrix, eV/Å²."""
        weighted = sparse.diags_array(self.embedding_curvature_i) @ self.J
        return sparse.csr_array(self.P.tocsr() + self.J.T.tocsr() @ weighted)

    def dense(self) -> NDArray[np.float64]:
        """Return H as a dense array in Fortran order, shape=(3 n_atoms, 3 n_atoms), eV/Å²."""
        return np.asarray(self.assembled().toarray(order="F"))

    def diagonal(self) -> NDArray[np.float64]:
        """Return the diagonal of H, shape=(3 n_atoms,), eV/Å²."""
        squares = self.J.multiply(self.J)
        return np.asarray(self.P.diagonal() + squares.T @ self.embedding_curvature_i)

    def mass_weighted(self, masses_i: NDArray[np.float64]) -> FactoredHessian:
        """Return the factored dynamical matrix M^(-1/2) H M^(-1/2), eV/Å²/amu.

        Parameters
        ----------
        masses_i : ndarray, shape=(n_atoms,), amu
            Mass of each atom.
        """
        scale = np.repeat(1.0 / np.sqrt(masses_i), 3)
        scaling = sparse.diags_array(scale)
        P = sparse.bsr_array(scaling @ self.P @ scaling, blocksize=(3, 3))
        return FactoredHessian(P, sparse.csr_array(self.J @ scaling), self.embedding_curvature_i)


def factored_hessian(configuration: Configuration, potential: EAMPotential) -> FactoredHessian:
    """Return the Hessian of the EAM energy in factored form.

    Parameters
    ----------
    configuration : Configuration
        Any periodic cell.  Defined everywhere; eigenvectors are normal modes only at a stationary point.
    potential : EAMPotential
        Tables for ``configuration.elements``.

    Returns
    -------
    FactoredHessian
    """
    terms = pair_terms(configuration, potential)
    n = configuration.n_atoms
    moving = terms.i_n != terms.j_n
    J = _density_gradient(terms, moving, n)
    return FactoredHessian(_pair_part(terms, moving, n), J, terms.embedding_curvature_i)


def _pair_part(terms: PairTerms, moving_n: NDArray[np.bool_], n_atoms: int) -> sparse.bsr_array:
    i_n, j_n, unit_nc = terms.i_n[moving_n], terms.j_n[moving_n], terms.unit_nc[moving_n]
    transverse_n = terms.tension_n[moving_n] / terms.r_n[moving_n]
    blocks_ncc = (terms.stiffness_n[moving_n] - transverse_n)[:, None, None] * (unit_nc[:, :, None] * unit_nc[:, None])
    blocks_ncc[:, [0, 1, 2], [0, 1, 2]] += transverse_n[:, None]
    diagonal_icc = np.empty((n_atoms, 3, 3))
    for c in range(3):
        for d in range(3):
            block_n = blocks_ncc[:, c, d]
            diagonal_icc[:, c, d] = np.bincount(i_n, block_n, n_atoms) + np.bincount(j_n, block_n, n_atoms)
    own = np.arange(n_atoms)
    rows, columns = np.concatenate([i_n, j_n, own]), np.concatenate([j_n, i_n, own])
    return _block_matrix(rows, columns, np.concatenate([-blocks_ncc, -blocks_ncc, diagonal_icc]), n_atoms)


def _density_gradient(terms: PairTerms, moving_n: NDArray[np.bool_], n_atoms: int) -> sparse.csr_array:
    near = moving_n & ((terms.slope_ij_n != 0.0) | (terms.slope_ji_n != 0.0))
    i_n, j_n = terms.i_n[near], terms.j_n[near]
    at_i_nc = terms.slope_ij_n[near, None] * terms.unit_nc[near]
    at_j_nc = terms.slope_ji_n[near, None] * terms.unit_nc[near]
    own_ic = np.stack(
        [
            np.bincount(i_n, a, n_atoms) - np.bincount(j_n, b, n_atoms)
            for a, b in zip(at_i_nc.T, at_j_nc.T, strict=True)
        ],
        axis=1,
    )
    own = np.arange(n_atoms)
    rows, columns = np.concatenate([i_n, j_n, own]), np.concatenate([j_n, i_n, own])
    blocks = np.concatenate([-at_i_nc, at_j_nc, own_ic])[:, None, :]
    return _block_matrix(rows, columns, blocks, n_atoms).tocsr()


def _block_matrix(
    rows: NDArray[np.intp], columns: NDArray[np.intp], blocks: NDArray[np.float64], n_blocks: int
) -> sparse.bsr_array:
    """Return the sum of ``blocks`` at (row, column); several images of one pair share a place."""
    place = rows * n_blocks + columns
    order = np.argsort(place, kind="stable")
    place, blocks = place[order], blocks[order]
    first = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1]]))
    if len(first) < len(place):
        blocks, place = np.add.reduceat(blocks, first, axis=0), place[first]
    start = np.searchsorted(place, np.arange(n_blocks + 1) * n_blocks)
    height, width = blocks.shape[1:]
    shape = (n_blocks * height, n_blocks * width)
    return sparse.bsr_array((blocks, place % n_blocks, start), shape=shape)
