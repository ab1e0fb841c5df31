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

from bp_distributed.physics import kernels
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.neighbours import NeighbourTable, neighbour_table
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
    virial_icc : ndarray, shape=(n_atoms, 3, 3), eV
        Half of Σ t r ê ê over an atom's pairs, tension positive, as LAMMPS's ``stress/atom`` at zero temperature.
    volume : float, Å³
    """

    energies_i: NDArray[np.float64]
    forces_ic: NDArray[np.float64]
    virial_icc: NDArray[np.float64]
    volume: float

    @property
    def stress_cc(self) -> NDArray[np.float64]:
        """Stress in eV/Å³, shape=(3, 3), tension positive; at zero temperature."""
        stress_cc: NDArray[np.float64] = self.virial_icc.sum(axis=0) / self.volume
        return stress_cc

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
class Surroundings:
    """Every atom's neighbours and density, the common beginning of forces and Hessian.

    Attributes
    ----------
    table : NeighbourTable
        Neighbours within the cutoff.
    energies_i, slope_i, curvature_i : ndarray, shape=(n_atoms,), eV
        Embedding energy F(ρ_i), F′ and F″.
    """

    table: NeighbourTable
    energies_i: NDArray[np.float64]
    slope_i: NDArray[np.float64]
    curvature_i: NDArray[np.float64]


def surroundings(configuration: Configuration, potential: EAMPotential) -> Surroundings:
    """Return neighbours and embedding terms of a configuration."""
    table = neighbour_table(configuration.positions_ic, configuration.cell_cc, potential.cutoff)
    geometry = (configuration.positions_ic, configuration.cell_cc, table.start_i, table.j_m, table.shift_mc)
    species_i, cutoff = configuration.species_i, potential.cutoff
    rho_i = kernels.densities(*geometry, species_i, len(potential.elements), cutoff, *potential.density.loops)
    return Surroundings(table, *potential.embedding_energy(species_i, rho_i))


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
    around = surroundings(configuration, potential)
    table = around.table
    pair_i, forces_ic, virial_icc = kernels.pair_forces(
        configuration.positions_ic, configuration.cell_cc, table.start_i, table.j_m, table.shift_mc,
        configuration.species_i, len(potential.elements), potential.cutoff, around.slope_i,
        *potential.pair.loops, *potential.density.loops,
    )  # fmt: skip
    return Evaluation(around.energies_i + pair_i, forces_ic, virial_icc, configuration.volume)


def density_g_cm3(configuration: Configuration, potential: EAMPotential) -> float:
    """Return the mass density in g/cm³."""
    mass = float(potential.masses_e[configuration.species_i].sum())
    return mass / configuration.volume * G_CM3_PER_AMU_A3
