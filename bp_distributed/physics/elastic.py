# SPDX-License-Identifier: BSD-3-Clause
r"""Elastic moduli of a glass with non-affine relaxation, and the Debye level they imply.

For a strain mode ε the affine deformation leaves forces Ξ dε on the atoms, which move on by u dε with
H u = Ξ.  The modulus is the central difference of the stress along that path; without u it is the affine
(Born) modulus.  The formulas hold at a minimum of the energy with almost no residual stress.

References
----------
Lemaître and Maloney, J. Stat. Phys. 123, 415 (2006), for Ξ and u.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import density_g_cm3, evaluate
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.potential import EAMPotential
from bp_distributed.units import ANGSTROM_PER_PS_PER_KM_S, GPA_PER_EV_PER_A3

STRAIN_STEP = 2e-4
"""Small against the curvature of the energy, large against rounding of the stress."""

SOLVER_TOLERANCE = 1e-7
"""Relative residual of H u = Ξ; the modulus error is of second order in it."""

STRAINS_SCC = np.array(
    [
        [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]],
        [[0, 0, 0.5], [0, 0, 0], [0.5, 0, 0]],
        [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]],
        [[0.5, 0, 0], [0, -0.5, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0.5, 0], [0, 0, -0.5]],
        [[1 / 3, 0, 0], [0, 1 / 3, 0], [0, 0, 1 / 3]],
    ]
)
"""xy, xz, yz, two deviatoric and the volumetric strain; shape=(6, 3, 3)."""


@dataclass(frozen=True)
class ElasticModuli:
    """Six moduli in the order of ``STRAINS_SCC``: five of shear type, then the bulk modulus.

    Attributes
    ----------
    relaxed_s : ndarray, shape=(6,), GPa
        With non-affine displacements.
    affine_s : ndarray, shape=(6,), GPa
        Born moduli, without.
    iterations : int
        Of the conjugate gradient solver.
    """

    relaxed_s: NDArray[np.float64]
    affine_s: NDArray[np.float64]
    iterations: int

    @property
    def shear(self) -> float:
        """Mean of the five shear-type moduli in GPa."""
        return float(self.relaxed_s[:5].mean())

    @property
    def shear_spread(self) -> float:
        """Standard deviation of the five shear-type moduli in GPa."""
        return float(self.relaxed_s[:5].std(ddof=1))

    @property
    def bulk(self) -> float:
        """Bulk modulus in GPa."""
        return float(self.relaxed_s[5])


@dataclass(frozen=True)
class Continuum:
    """The elastic continuum with the sample's moduli and density.

    Attributes
    ----------
    transverse_speed, longitudinal_speed, debye_speed : float, km/s
        Speeds of sound.
    debye_frequency : float, rad/ps
        ω_D = c_D (6π² N/V)^(1/3).
    debye_level : float, ps³
        3/ω_D³, the low-frequency limit of g/ω².
    """

    transverse_speed: float
    longitudinal_speed: float
    debye_speed: float
    debye_frequency: float
    debye_level: float

    def first_phonon(self, longest_edge: float) -> float:
        """Return 2π c_t / L in rad/ps for the longest edge L of the cell in Å."""
        return 2.0 * np.pi * self.transverse_speed * ANGSTROM_PER_PS_PER_KM_S / longest_edge


def elastic_moduli(
    configuration: Configuration, potential: EAMPotential, hessian: FactoredHessian | None = None
) -> ElasticModuli:
    """Return five shear-type moduli and the bulk modulus.

    Parameters
    ----------
    configuration : Configuration
        A minimum of the energy, near zero pressure.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    hessian : FactoredHessian, optional
        Of that configuration, eV/Å²; made here if not given.

    Returns
    -------
    ElasticModuli

    Raises
    ------
    ScienceError
        If the Hessian is not positive definite (``UNSTABLE``) or the solver stalls (``NOT_CONVERGED``).
    """
    hessian = hessian or factored_hessian(configuration, potential)
    h = STRAIN_STEP
    ahead = [evaluate(configuration.strained(h * strain_cc), potential) for strain_cc in STRAINS_SCC]
    behind = [evaluate(configuration.strained(-h * strain_cc), potential) for strain_cc in STRAINS_SCC]
    affine_s = [
        _conjugate_stress(index, (plus.stress_cc - minus.stress_cc) / (2 * h))
        for index, (plus, minus) in enumerate(zip(ahead, behind, strict=True))
    ]
    force_xs = np.stack(
        [(plus.forces_ic - minus.forces_ic).ravel() / (2 * h) for plus, minus in zip(ahead, behind, strict=True)],
        axis=1,
    )
    answer_xs, iterations = solve(hessian, force_xs)
    relaxed_s = []
    for index, strain_cc in enumerate(STRAINS_SCC):
        step_ic = h * answer_xs[:, index].reshape(-1, 3)
        plus = evaluate(configuration.strained(h * strain_cc).moved(step_ic), potential)
        minus = evaluate(configuration.strained(-h * strain_cc).moved(-step_ic), potential)
        relaxed_s.append(_conjugate_stress(index, (plus.stress_cc - minus.stress_cc) / (2 * h)))
    to_gpa = GPA_PER_EV_PER_A3
    return ElasticModuli(np.array(relaxed_s) * to_gpa, np.array(affine_s) * to_gpa, iterations)


def _conjugate_stress(index: int, stress_cc: NDArray[np.float64]) -> float:
    """Return the stress component that belongs to a strain mode."""
    shear = {0: (0, 1), 1: (0, 2), 2: (1, 2)}
    deviatoric = {3: (0, 1), 4: (1, 2)}
    if index in shear:
        return float(stress_cc[shear[index]])
    if index in deviatoric:
        a, b = deviatoric[index]
        return float(stress_cc[a, a] - stress_cc[b, b]) / 2.0
    return float(np.trace(stress_cc)) / 3.0


def solve(
    hessian: FactoredHessian, force_xs: NDArray[np.float64], max_iterations: int = 5000, floor: float = 1e-9
) -> tuple[NDArray[np.float64], int]:
    """Solve H u = force by Jacobi-preconditioned conjugate gradients, translations projected out.

    Parameters
    ----------
    hessian : FactoredHessian
        Positive definite but for translations, eV/Å².
    force_xs : ndarray, shape=(3 n_atoms, n_columns), eV/Å
        Right-hand sides; their mean force is removed.
    max_iterations : int
        Limit.
    floor : float, eV/Å
        Root mean square of a residual that counts as zero: forces that vanish by symmetry (fcc) are noise.

    Returns
    -------
    answer_xs : ndarray, shape=(3 n_atoms, n_columns), Å
        Without drift.
    iterations : int
        Used by the slowest column.

    Raises
    ------
    ScienceError
        If a direction of negative curvature is met (``UNSTABLE``) or the limit reached (``NOT_CONVERGED``).
    """
    inverse = _preconditioner(hessian)
    residual = _without_drift(force_xs)
    target = np.maximum(SOLVER_TOLERANCE * np.linalg.norm(residual, axis=0), floor * np.sqrt(len(force_xs)))
    answer = np.zeros_like(residual)
    scaled = _without_drift(inverse * residual)
    direction = scaled.copy()
    energy = np.einsum("xs,xs->s", residual, scaled)
    for iteration in range(max_iterations):
        open_s = np.linalg.norm(residual, axis=0) > target
        if not open_s.any():
            return _without_drift(answer), iteration
        image = hessian.matmat(direction)
        curvature = np.einsum("xs,xs->s", direction, image)
        if (curvature[open_s] <= 0).any():
            raise ScienceError(Reason.UNSTABLE, "a direction of negative curvature was met in the elastic solve")
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=open_s)
        answer += step * direction
        residual = _without_drift(residual - step * image)
        scaled = _without_drift(inverse * residual)
        previous, energy = energy, np.einsum("xs,xs->s", residual, scaled)
        direction = scaled + np.divide(energy, previous, out=np.zeros_like(energy), where=open_s) * direction
    raise ScienceError(Reason.NOT_CONVERGED, f"the elastic solve did not converge in {max_iterations} iterations")


def _preconditioner(hessian: FactoredHessian) -> NDArray[np.float64]:
    diagonal = hessian.diagonal()
    if (diagonal <= 0).any():
        raise ScienceError(Reason.UNSTABLE, "an atom has no restoring force along one direction")
    return np.asarray(1.0 / diagonal[:, None])


def _without_drift(vectors_xs: NDArray[np.float64]) -> NDArray[np.float64]:
    by_atom = vectors_xs.reshape(-1, 3, vectors_xs.shape[1])
    return np.asarray((by_atom - by_atom.mean(axis=0)).reshape(vectors_xs.shape))


def continuum(shear: float, bulk: float, density: float, number_density: float) -> Continuum:
    """Return speeds of sound and the Debye level of an isotropic continuum.

    Parameters
    ----------
    shear, bulk : float, GPa
        Moduli.
    density : float, g/cm³
        Mass density.
    number_density : float, Å⁻³
        Atoms per volume.

    Raises
    ------
    ScienceError
        If a modulus is not positive (``UNSTABLE``).
    """
    if shear <= 0 or bulk <= 0:
        what = f"moduli must be positive, got shear {shear:.3g} and bulk {bulk:.3g} GPa"
        raise ScienceError(Reason.UNSTABLE, what)
    transverse = np.sqrt(shear / density)
    longitudinal = np.sqrt((bulk + 4.0 * shear / 3.0) / density)
    debye = (3.0 / (1.0 / longitudinal**3 + 2.0 / transverse**3)) ** (1.0 / 3.0)
    frequency = debye * ANGSTROM_PER_PS_PER_KM_S * (6.0 * np.pi**2 * number_density) ** (1.0 / 3.0)
    return Continuum(float(transverse), float(longitudinal), float(debye), float(frequency), float(3.0 / frequency**3))


def continuum_of(configuration: Configuration, potential: EAMPotential, moduli: ElasticModuli) -> Continuum:
    """Return the continuum with a sample's own moduli and density."""
    number_density = configuration.n_atoms / configuration.volume
    return continuum(moduli.shear, moduli.bulk, density_g_cm3(configuration, potential), number_density)
