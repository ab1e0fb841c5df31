# SPDX-License-Identifier: BSD-3-Clause
r"""Energy, forces and stress of the embedded-atom model.

.. math:: E = \sum_{i<j} \varphi_{ij}(r_{ij}) + \sum_i F_i(\rho_i), \quad \rho_i = \sum_j f_{ij}(r_{ij})

with f_ij the density that j leaves at i.  Equal to LAMMPS's ``pair_style eam/fs`` up to rounding.

References
----------
Daw and Baskes, Phys. Rev. B 29, 6443 (1984).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.neighbours import neighbours
from bp_distributed.physics.potential import EAMPotential
from bp_distributed.units import G_CM3_PER_AMU_A3, GPA_PER_EV_PER_A3


@dataclass(frozen=True)
class Evaluation:
    """What the model says about one configuration.

    Attributes
    ----------
    energies_i : ndarray, shape=(n_atoms,), eV
        Half of each pair energy plus the embedding energy, as LAMMPS's ``pe/atom``.
    forces_ic : ndarray, shape=(n_atoms, 3), eV/Å
        Minus the gradient of the energy.
    stress_cc : ndarray, shape=(3, 3), eV/Å³
        Tension positive; at zero temperature.
    """

    energies_i: NDArray[np.float64]
    forces_ic: NDArray[np.float64]
    stress_cc: NDArray[np.float64]

    @property
    def energy(self) -> float:
        """Total energy in eV."""
        return float(self.energies_i.sum())

    @property
    def max_force(self) -> float:
        """Largest force component in eV/Å."""
        return float(np.abs(self.forces_ic).max())

    @property
    def pressure(self) -> float:
        """Virial pressure in GPa."""
        return float(-np.trace(self.stress_cc) / 3.0 * GPA_PER_EV_PER_A3)


@dataclass(frozen=True)
class PairTerms:
    """Derivatives along every unordered pair of neighbours, for one configuration.

    Attributes
    ----------
    i_n, j_n : ndarray of int, shape=(n_pairs,)
        The two atoms.
    r_n : ndarray, shape=(n_pairs,), Å
        Their distance.
    unit_nc : ndarray, shape=(n_pairs, 3)
        ê = (x_i - x_j) / r.
    energies_i : ndarray, shape=(n_atoms,), eV
        Energy per atom.
    tension_n, stiffness_n : ndarray, shape=(n_pairs,), eV/Å and eV/Å²
        t = φ' + F'_i f'_ij + F'_j f'_ji and k, the same with second derivatives of φ and f.
    slope_ij_n, slope_ji_n : ndarray, shape=(n_pairs,), 1/Å
        f'_ij and f'_ji.
    embedding_curvature_i : ndarray, shape=(n_atoms,), eV
        F''(ρ_i).
    """

    i_n: NDArray[np.intp]
    j_n: NDArray[np.intp]
    r_n: NDArray[np.float64]
    unit_nc: NDArray[np.float64]
    energies_i: NDArray[np.float64]
    tension_n: NDArray[np.float64]
    stiffness_n: NDArray[np.float64]
    slope_ij_n: NDArray[np.float64]
    slope_ji_n: NDArray[np.float64]
    embedding_curvature_i: NDArray[np.float64]


def _sum_at(index_n: NDArray[np.intp], weight_n: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(index_n, weights=weight_n, minlength=n), dtype=np.float64)


def pair_terms(configuration: Configuration, potential: EAMPotential) -> PairTerms:
    """Return energies and derivatives along all pairs.

    Parameters
    ----------
    configuration : Configuration
        Positions in Å; its elements must be the potential's.
    potential : EAMPotential
        Tables.

    Returns
    -------
    PairTerms
    """
    n = configuration.n_atoms
    pairs = neighbours(configuration.positions_ic, configuration.cell_cc, potential.cutoff).once()
    i_n, j_n, r_n = pairs.i_n, pairs.j_n, pairs.r_n
    species_i = configuration.species_i
    first, second = species_i[i_n], species_i[j_n]
    phi, dphi, d2phi = potential.pair_energy(first, second, r_n)
    f_ij, df_ij, d2f_ij = potential.density_at(first, second, r_n)
    f_ji, df_ji, d2f_ji = potential.density_at(second, first, r_n)
    rho_i = _sum_at(i_n, f_ij, n) + _sum_at(j_n, f_ji, n)
    embedding_i, slope_i, curvature_i = potential.embedding_energy(species_i, rho_i)
    return PairTerms(
        i_n=i_n,
        j_n=j_n,
        r_n=r_n,
        unit_nc=-pairs.dr_nc / r_n[:, None],
        energies_i=embedding_i + 0.5 * (_sum_at(i_n, phi, n) + _sum_at(j_n, phi, n)),
        tension_n=dphi + slope_i[i_n] * df_ij + slope_i[j_n] * df_ji,
        stiffness_n=d2phi + slope_i[i_n] * d2f_ij + slope_i[j_n] * d2f_ji,
        slope_ij_n=df_ij,
        slope_ji_n=df_ji,
        embedding_curvature_i=curvature_i,
    )


def evaluate(configuration: Configuration, potential: EAMPotential) -> Evaluation:
    """Return energies (eV), forces (eV/Å) and stress (eV/Å³).

    Parameters
    ----------
    configuration : Configuration
        Any periodic cell, also one smaller than twice the cutoff.
    potential : EAMPotential
        Tables for ``configuration.elements``, in that order.

    Returns
    -------
    Evaluation
    """
    terms = pair_terms(configuration, potential)
    pull_nc = terms.tension_n[:, None] * terms.unit_nc
    n = configuration.n_atoms
    forces_ic = np.stack(
        [_sum_at(terms.j_n, pull_n, n) - _sum_at(terms.i_n, pull_n, n) for pull_n in pull_nc.T], axis=1
    )
    stress_cc = np.einsum("n,nc,nd->cd", terms.r_n, pull_nc, terms.unit_nc, optimize=True) / configuration.volume
    return Evaluation(terms.energies_i, forces_ic, stress_cc)


def density_g_cm3(configuration: Configuration, potential: EAMPotential) -> float:
    """Return the mass density in g/cm³."""
    mass = float(potential.masses_e[configuration.species_i].sum())
    return mass / configuration.volume * G_CM3_PER_AMU_A3
