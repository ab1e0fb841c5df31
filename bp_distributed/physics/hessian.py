# SPDX-License-Identifier: BSD-3-Clause
r"""The analytic EAM Hessian in factored form, H = P + Jᵀ diag(F″) J, as an operator on blocks of vectors.

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

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import sparse

from bp_distributed.physics import kernels
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import surroundings
from bp_distributed.physics.potential import EAMPotential

Reals = NDArray[Any]
"""float64 or float32."""


@dataclass(frozen=True)
class FactoredHessian:
    """H = P + Jᵀ diag(F″) J as an operator on displacements, flattened as ``positions_ic.ravel()``.

    Row i of P holds the blocks ``row_i[i]:row_i[i + 1]``.  Its first ``first_i[i + 1] - first_i[i]`` neighbours
    are those that J couples too, in the same order.

    Attributes
    ----------
    row_i, first_i : ndarray of int64, shape=(n_atoms + 1,)
        Where the rows of P and of J start.
    column_p : ndarray of int32, shape=(n_blocks,)
        Neighbours; several images of one neighbour may follow each other.
    block_pcc : ndarray, shape=(n_blocks, 3, 3), eV/Å²
        Blocks of P off the diagonal.
    diagonal_icc : ndarray, shape=(n_atoms, 3, 3), eV/Å²
        Blocks of P on the diagonal.
    gather_qc, scatter_qc : ndarray, shape=(n_near, 3), 1/Å
        J[i, j] and J[j, i], the latter for gathering Jᵀ.
    own_ic : ndarray, shape=(n_atoms, 3), 1/Å
        J[i, i].
    embedding_curvature_i : ndarray, shape=(n_atoms,), eV
        F″(ρ_i); may be negative.
    """

    row_i: NDArray[np.int64]
    first_i: NDArray[np.int64]
    column_p: NDArray[np.int32]
    block_pcc: Reals
    diagonal_icc: Reals
    gather_qc: Reals
    scatter_qc: Reals
    own_ic: Reals
    embedding_curvature_i: Reals

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.row_i) - 1

    @property
    def size(self) -> int:
        """Number of degrees of freedom, 3 n_atoms."""
        return 3 * self.n_atoms

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 or float32."""
        return self.block_pcc.dtype

    @property
    def bytes_per_atom(self) -> float:
        """Memory of all arrays."""
        return float(sum(getattr(self, field.name).nbytes for field in fields(self))) / self.n_atoms

    def apply(
        self,
        u_xv: Reals,
        out: Reals | None = None,
        *,
        scale: float = 1.0,
        shift: float = 0.0,
        previous: Reals | None = None,
        previous_scale: float = 0.0,
    ) -> Reals:
        """Return scale H u + shift u + previous_scale previous for a block of vectors, in one pass.

        Parameters
        ----------
        u_xv : ndarray, shape=(3 n_atoms, n_vectors), Å
            In C order and of the operator's own type; 32 to 64 vectors are fastest.
        out : ndarray, shape=(3 n_atoms, n_vectors), optional
            Receives the result; may be ``previous``, not ``u_xv``.
        scale, shift, previous_scale : float
            Factors; by default the result is H u in eV/Å.
        previous : ndarray, shape=(3 n_atoms, n_vectors), optional
            Third term, as recurrences of polynomials need it.

        Returns
        -------
        ndarray, shape=(3 n_atoms, n_vectors)
        """
        n_vectors, rest = u_xv.shape[1], -u_xv.shape[1] % kernels.NARROW
        if rest:
            wide = ((0, 0), (0, rest))
            padded = None if previous is None else np.pad(previous, wide)
            found = self.apply(
                np.pad(u_xv, wide), scale=scale, shift=shift, previous=padded, previous_scale=previous_scale
            )[:, :n_vectors]
            if out is None:
                return np.ascontiguousarray(found)
            out[:] = found
            return out
        out = np.empty_like(u_xv) if out is None else out
        previous = u_xv if previous is None else previous
        change_iv = np.empty((self.n_atoms, u_xv.shape[1]), self.dtype)
        table, number = (self.row_i, self.first_i, self.column_p), self.dtype.type
        kernels.pair_forces_and_densities(
            *table, self.block_pcc, self.diagonal_icc, self.gather_qc, self.own_ic, self.embedding_curvature_i, u_xv,
            number(scale), number(shift), previous, number(previous_scale), change_iv, out,
        )  # fmt: skip
        kernels.add_embedding_forces(*table, self.scatter_qc, self.own_ic, change_iv, out)
        return out

    def matmat(self, u_xv: Reals) -> Reals:
        """Return H u for a block of vectors in any memory order, shape=(3 n_atoms, n_vectors), Å -> eV/Å."""
        return self.apply(np.ascontiguousarray(u_xv, dtype=self.dtype))

    def matvec(self, u: Reals) -> Reals:
        """Return H u for a vector, shape=(3 n_atoms,), Å -> eV/Å."""
        return np.asarray(self.matmat(np.reshape(u, (-1, 1)))[:, 0])

    def dense_rows(self, begin: int, end: int) -> Reals:
        """Return rows of H that belong to the atoms ``begin:end``, shape=(3 (end - begin), 3 n_atoms), eV/Å²."""
        out = np.empty((3 * (end - begin), self.size), self.dtype)
        kernels.dense_rows(
            begin, self.row_i, self.first_i, self.column_p, self.block_pcc, self.diagonal_icc,
            self.gather_qc, self.scatter_qc, self.own_ic, self.embedding_curvature_i, out,
        )  # fmt: skip
        return out

    def dense(self) -> Reals:
        """Return H as a dense array in Fortran order, shape=(3 n_atoms, 3 n_atoms), eV/Å²."""
        return self.dense_rows(0, self.n_atoms).T  # symmetric but for rounding

    @property
    def P(self) -> sparse.bsr_array:  # noqa: N802 - the symbol of the formula
        """The pair part as 3x3 blocks, shape=(3 n_atoms, 3 n_atoms), eV/Å²."""
        atom_p = np.repeat(np.arange(self.n_atoms), np.diff(self.row_i))
        return self._block_matrix(atom_p, self.column_p, self.block_pcc, self.diagonal_icc)

    @property
    def J(self) -> sparse.csr_array:  # noqa: N802
        """The gradient of each atom's density, shape=(n_atoms, 3 n_atoms), 1/Å."""
        near_i = np.diff(self.first_i)
        atom_q = np.repeat(np.arange(self.n_atoms), near_i)
        column_q = self.column_p[np.arange(len(atom_q)) + np.repeat(self.row_i[:-1] - self.first_i[:-1], near_i)]
        return self._block_matrix(atom_q, column_q, self.gather_qc[:, None], self.own_ic[:, None]).tocsr()

    def _block_matrix(
        self, atom_p: NDArray[np.int64], column_p: NDArray[np.int32], block_p: Reals, own_i: Reals
    ) -> sparse.bsr_array:
        """Return blocks at (atom, column) and on the diagonal as one matrix, several images summed."""
        every = np.arange(self.n_atoms)
        row, column = np.concatenate([atom_p, every]), np.concatenate([column_p, every])
        order = np.argsort(row, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=self.n_atoms))])
        blocks = np.concatenate([block_p, own_i])[order]
        shape = (self.n_atoms * blocks.shape[1], self.n_atoms * blocks.shape[2])
        matrix = sparse.bsr_array((blocks, column[order], start), shape=shape)
        matrix.sum_duplicates()
        return matrix

    def assembled(self) -> sparse.csr_array:
        """Return H as one sparse matrix, eV/Å²; four times the memory of the factors."""
        J = self.J
        return sparse.csr_array(self.P.tocsr() + J.T.tocsr() @ (sparse.diags_array(self.embedding_curvature_i) @ J))

    def diagonal(self) -> Reals:
        """Return the diagonal of H, shape=(3 n_atoms,), eV/Å²."""
        squares = self.J.power(2)
        pair = np.diagonal(self.diagonal_icc, axis1=1, axis2=2).ravel()
        return np.asarray(pair + squares.T @ self.embedding_curvature_i)

    def mass_weighted(self, masses_i: NDArray[np.float64]) -> FactoredHessian:
        """Return the factored dynamical matrix M^(-1/2) H M^(-1/2), eV/Å²/amu.

        Parameters
        ----------
        masses_i : ndarray, shape=(n_atoms,), amu
            Mass of each atom.
        """
        weight_i = (1.0 / np.sqrt(masses_i)).astype(self.dtype)
        near_i, degree_i = np.diff(self.first_i), np.diff(self.row_i)
        from_p, to_p = np.repeat(weight_i, degree_i), weight_i[self.column_p]
        is_near_p = np.arange(len(to_p)) - np.repeat(self.row_i[:-1], degree_i) < np.repeat(near_i, degree_i)
        return replace(
            self,
            block_pcc=self.block_pcc * (from_p * to_p)[:, None, None],
            diagonal_icc=self.diagonal_icc * (weight_i**2)[:, None, None],
            gather_qc=self.gather_qc * to_p[is_near_p, None],
            scatter_qc=self.scatter_qc * from_p[is_near_p, None],
            own_ic=self.own_ic * weight_i[:, None],
        )

    def astype(self, dtype: DTypeLike) -> FactoredHessian:
        """Return the operator with all its numbers as float32 or float64."""
        names = ("block_pcc", "diagonal_icc", "gather_qc", "scatter_qc", "own_ic", "embedding_curvature_i")
        return replace(self, **{name: getattr(self, name).astype(dtype) for name in names})


def factored_hessian(
    configuration: Configuration,
    potential: EAMPotential,
    *,
    masses_i: NDArray[np.float64] | None = None,
    dtype: DTypeLike = np.float64,
) -> FactoredHessian:
    """Return the Hessian of the EAM energy in factored form.

    Parameters
    ----------
    configuration : Configuration
        Any periodic cell.  Defined everywhere; eigenvectors are normal modes only at a stationary point.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    masses_i : ndarray, shape=(n_atoms,), amu, optional
        Makes the dynamical matrix at once, without a second copy.
    dtype : float64 or float32
        Of the factors; derivatives are taken in float64.

    Returns
    -------
    FactoredHessian
        About 10 kB per atom in float64 and 5.3 kB in float32, for a range of 7.6 Å.
    """
    around = surroundings(configuration, potential)
    table, n, n_species = around.table, configuration.n_atoms, len(potential.elements)
    place = (configuration.positions_ic, configuration.cell_cc, table.start_i, table.j_m, table.shift_mc)
    species_i = configuration.species_i
    near_i, used_i = kernels.near_first(*place, species_i, n_species, potential.cutoff, *potential.density.loops)
    row_i, first_i = (np.concatenate([[0], np.cumsum(count_i)]) for count_i in (used_i, near_i))
    weight_i = np.ones(n) if masses_i is None else 1.0 / np.sqrt(masses_i)
    hessian = FactoredHessian(
        row_i=row_i,
        first_i=first_i,
        column_p=np.empty(row_i[-1], np.int32),
        block_pcc=np.empty((row_i[-1], 3, 3), dtype),
        diagonal_icc=np.empty((n, 3, 3), dtype),
        gather_qc=np.empty((first_i[-1], 3), dtype),
        scatter_qc=np.empty((first_i[-1], 3), dtype),
        own_ic=np.empty((n, 3), dtype),
        embedding_curvature_i=around.curvature_i.astype(dtype),
    )
    kernels.hessian_factors(
        *place, species_i, n_species, around.slope_i, weight_i, first_i, near_i,
        *potential.pair.loops, *potential.density.loops, row_i,
        hessian.column_p, hessian.block_pcc, hessian.diagonal_icc, hessian.gather_qc, hessian.scatter_qc, hessian.own_ic,
    )  # fmt: skip
    return hessian
