# SPDX-License-Identifier: BSD-3-Clause
"""LAMMPS "metal" units, the constants that leave them, and one table that names every variable on disk.

Length Å, energy eV, mass amu, time ps, force eV/Å.  Angular frequencies are in rad/ps, which both
papers print as "THz"; intensities g/ω² are in (rad/ps)⁻³ = ps³, and "µTHz⁻³" is 1e-6 of that.
"""

from __future__ import annotations

from typing import NamedTuple

OMEGA_PER_SQRT_EIGENVALUE = 98.22694788464063
"""rad/ps per sqrt(eV/Å²/amu): sqrt(e / (1.66053906660e-27 kg) / Å²) in ps⁻¹ (CODATA 2018)."""

GPA_PER_EV_PER_A3 = 160.21766340
"""GPa per eV/Å³."""

GPA_PER_BAR = 1e-4

G_CM3_PER_AMU_A3 = 1.66053906660
"""g/cm³ per amu/Å³."""

ANGSTROM_PER_PS_PER_KM_S = 10.0

MASS_AMU = {
    "Al": 26.9815, "Fe": 55.847, "Ni": 58.6934, "Cu": 63.546, "Zr": 91.224, "P": 30.9738, "H": 1.008, "Ag": 107.8682,
    "Au": 196.967, "Pt": 195.084, "Pd": 106.42, "Ti": 47.867, "Mg": 24.305, "Mo": 95.94, "W": 183.84, "Co": 58.9332,
}  # fmt: skip
"""Used only where a potential file is not at hand; a potential's own masses always win."""


class Variable(NamedTuple):
    """How one variable is labelled on disk."""

    dims: tuple[str, ...]
    units: str
    long_name: str
    has_gaps: bool = False
    """NaN stands where nothing is known; in all other results it is an error."""


VARIABLES: dict[str, Variable] = {
    # melt: start configurations
    "branch_position": Variable(("branch", "atom", "cart"), "angstrom", "Cartesian position at the branch point"),
    "branch_velocity": Variable(("branch", "atom", "cart"), "angstrom ps-1", "velocity at the branch point"),
    "branch_cell": Variable(
        ("branch", "cell_vector", "cart"), "angstrom", "lattice vectors (rows) at the branch point"
    ),
    "mean_square_displacement": Variable(("branch",), "angstrom2", "mean square displacement since the fcc start"),
    # every configuration
    "species": Variable(("atom",), "1", "index of the atom's element in the attribute 'elements'"),
    "position": Variable(("atom", "cart"), "angstrom", "Cartesian position in the inherent structure"),
    "cell": Variable(("cell_vector", "cart"), "angstrom", "lattice vectors (rows) of the inherent structure"),
    "energy": Variable((), "eV", "potential energy of the inherent structure"),
    "max_force": Variable((), "eV angstrom-1", "largest force component magnitude in the inherent structure"),
    "pressure": Variable((), "GPa", "virial pressure of the inherent structure"),
    "density": Variable((), "g cm-3", "mass density of the inherent structure"),
    # thermodynamic history of a melt or quench
    "history_time": Variable(("history",), "ps", "time since the start of the stage"),
    "history_temperature": Variable(("history",), "K", "instantaneous temperature"),
    "history_energy": Variable(("history",), "eV", "potential energy per atom"),
    "history_volume": Variable(("history",), "angstrom3", "volume per atom"),
    "history_pressure": Variable(("history",), "GPa", "pressure"),
    # structure
    "r": Variable(("r_bin",), "angstrom", "centre of the radial bin"),
    "partial_pdf": Variable(("element_pair", "r_bin"), "1", "partial pair distribution function"),
    "total_pdf": Variable(("r_bin",), "1", "total pair distribution function"),
    "atomic_pdf": Variable(("atom", "element", "r_bin"), "1", "Gaussian atomic pair distribution by neighbour element"),
    # gruneisen
    "gruneisen_frequency": Variable(("gruneisen_mode",), "rad ps-1", "angular frequency of the mode, rising"),
    "gruneisen": Variable(("gruneisen_mode",), "1", "Grueneisen parameter of the mode, followed as the volume changes"),
    "gruneisen_error": Variable(("gruneisen_mode",), "1", "standard error of gruneisen over steps of the volume"),
    "rank_gruneisen": Variable(("gruneisen_mode",), "1", "Grueneisen parameter from frequencies of equal rank (paper)"),
    "mean_gruneisen": Variable((), "1", "mean of gruneisen over all modes"),
    "mean_rank_gruneisen": Variable((), "1", "mean of rank_gruneisen over all modes"),
    "low_mean_gruneisen": Variable((), "1", "mean of gruneisen over modes below the cut"),
    "low_mean_rank_gruneisen": Variable((), "1", "mean of rank_gruneisen over modes below the cut"),
    "atomic_gruneisen": Variable(("atom",), "1", "sum of gruneisen times the atom's share, over all modes"),
    "low_atomic_gruneisen": Variable(("atom",), "1", "sum of gruneisen times the atom's share, modes below the cut"),
    "volume_departure": Variable((), "1", "distance of the minima at other volumes from linear response, relative"),
    "volume_departure_distance": Variable((), "angstrom", "the same of the atom that departs most"),
    "volume_jump": Variable((), "1", "1 if a minimum at another volume is another one, and rank_gruneisen meaningless"),
    # temperatures: inherent structures of a glass as it is warmed
    "temperature": Variable(("temperature",), "K", "temperature at which the glass was held"),
    "thermal_temperature": Variable(("temperature",), "K", "mean kinetic temperature over the second half of the hold"),
    "thermal_energy": Variable(("temperature",), "eV", "mean potential energy per atom over the same time"),
    "thermal_volume": Variable(("temperature",), "angstrom3", "mean volume per atom over the same time"),
    "thermal_pressure": Variable(("temperature",), "GPa", "mean pressure over the same time"),
    "inherent_energy": Variable(("temperature",), "eV", "potential energy per atom of the inherent structure"),
    "inherent_displacement": Variable(
        ("temperature",), "angstrom", "root mean square distance of its atoms from their places in the glass"
    ),
    "inherent_moved": Variable(("temperature",), "1", "share of atoms farther than 1 angstrom from these places"),
    "inherent_shear_modulus": Variable(("temperature",), "GPa", "shear modulus of the inherent structure"),
    "inherent_debye_level": Variable(("temperature",), "ps3", "Debye level of the inherent structure"),
    "inherent_intensity": Variable(("temperature",), "ps3", "its boson-peak intensity, maximum of the binned g/omega2"),
    "inherent_intensity_error": Variable(("temperature",), "ps3", "standard error of the same"),
    "inherent_peak_frequency": Variable(("temperature",), "rad ps-1", "position of the same"),
    "inherent_robust_intensity": Variable(("temperature",), "ps3", "its boson-peak intensity, kernel estimate"),
    "inherent_robust_intensity_error": Variable(("temperature",), "ps3", "standard error of the same"),
    "inherent_robust_peak_frequency": Variable(("temperature",), "rad ps-1", "position of the same"),
    "inherent_reduced_vdos": Variable(("temperature", "low_omega_bin"), "ps3", "its g/omega2 below the cut, binned"),
    "thermal_omega": Variable(("thermal_bin",), "rad ps-1", "frequency at which inherent_vdos is given"),
    "inherent_vdos": Variable(("temperature", "thermal_bin"), "ps", "its density of states g, broadened"),
    # trajectory
    "frame_time": Variable(("frame",), "ps", "time since recording began"),
    "frame_displacement": Variable(
        ("frame", "atom", "cart"), "angstrom", "displacement from the inherent structure in which recording began"
    ),
    "frame_energy": Variable(("frame", "atom"), "eV", "potential energy of the atom"),
    "rest_position": Variable(("atom", "cart"), "angstrom", "position in that inherent structure, not wrapped"),
    "rest_energy": Variable(("atom",), "eV", "potential energy of the atom there"),
    "rest_moved": Variable((), "angstrom", "farthest that an atom lies there from its place in the glass"),
    "trajectory_temperature": Variable((), "K", "mean kinetic temperature while it was recorded"),
    "trajectory_anharmonicity": Variable((), "1", "rms of forces beyond harmonic ones over rms of forces, all atoms"),
    "atomic_anharmonicity": Variable(("atom",), "1", "the same of each atom"),
    "atomic_amplitude": Variable(("atom",), "angstrom", "rms distance from the mean position"),
    "atomic_farthest": Variable(("atom",), "angstrom", "largest distance from the first position"),
    "energy_r2": Variable(("atom",), "1", "R2 of a line through the atom's energy against its squared displacement"),
    "energy_curvature": Variable(("atom",), "eV angstrom-2", "twice the slope of that line"),
    # activation
    "searched_atom": Variable(("searched",), "1", "index of the searched atom in the sample, from 0"),
    "search_code": Variable(("searched", "trial"), "1", "how the search ended: 0 at a saddle, -1 not tried"),
    "activation_energy": Variable(
        ("searched", "trial"), "eV", "energy of the saddle at the paper's tolerance of force", has_gaps=True
    ),
    "refined_activation_energy": Variable(
        ("searched", "trial"), "eV", "energy of the refined saddle above the start", has_gaps=True
    ),
    "saddle_eigenvalue": Variable(
        ("searched", "trial"), "eV angstrom-2", "lowest eigenvalue of the Hessian there", has_gaps=True
    ),
    "saddle_index": Variable(("searched", "trial"), "1", "negative eigenvalues found at the saddle; 2 are two or more"),
    "saddle_connected": Variable(("searched", "trial"), "1", "1 if one end relaxes to the start, -1 unknown"),
    "saddle_first_trial": Variable(("searched", "trial"), "1", "earliest trial of the atom that found the same saddle"),
    "saddle_displacement": Variable(
        ("searched", "trial"), "angstrom", "farthest that an atom moved to the saddle", has_gaps=True
    ),
    "end_energy": Variable(
        ("searched", "trial", "end"), "eV", "energy of the relaxed end; end 0 is nearer the start", has_gaps=True
    ),
    "end_displacement": Variable(
        ("searched", "trial", "end"), "angstrom", "farthest that an atom moved to the end", has_gaps=True
    ),
    "force_evaluations": Variable(("searched", "trial"), "1", "evaluations of energy and forces by the search"),
    "hessian_products": Variable(("searched", "trial"), "1", "products of Hessian and vector by the search"),
    "region_error": Variable(
        ("searched", "trial"),
        "eV",
        "saddle energy in the active region minus that with its surroundings free",
        has_gaps=True,
    ),
    "boundary_error": Variable(
        ("searched", "trial"),
        "eV",
        "saddle energy minus that with all atoms of the sample free, where checked",
        has_gaps=True,
    ),
    "boundary_connected": Variable(
        ("searched", "trial"), "1", "as saddle_connected, with all atoms of the sample free; -1 not checked, or lost"
    ),
    # what the searches of one atom say
    "n_tried": Variable(("atom",), "1", "searches begun from the atom; 0 if it was not chosen"),
    "n_succeeded": Variable(("atom",), "1", "searches that ended at a saddle"),
    "n_connected": Variable(("atom",), "1", "searches that ended at a first-order saddle connected to the start"),
    "n_unique": Variable(("atom",), "1", "distinct saddles among these"),
    "mean_activation_energy": Variable(("atom",), "eV", "mean of activation_energy over all successes (paper)"),
    "refined_mean_activation_energy": Variable(("atom",), "eV", "mean of the refined energy over all successes"),
    "connected_mean_activation_energy": Variable(("atom",), "eV", "mean of the refined energy, connected saddles"),
    "unique_mean_activation_energy": Variable(("atom",), "eV", "the same, each distinct saddle counted once"),
    "min_activation_energy": Variable(("atom",), "eV", "refined energy of the lowest connected saddle"),
    # vibration
    "n_modes": Variable((), "1", "number of modes that exist, 3 N - 3"),
    "certified_below": Variable((), "rad ps-1", "no mode below this frequency is missing; 1.8e308 if all are known"),
    "orthogonality": Variable((), "1", "largest deviation of a scalar product of two vectors from 0 or 1"),
    "vector": Variable(("low_mode", "atom", "cart"), "1", "unit eigenvector of the mass-weighted Hessian"),
    "frequency": Variable(("mode",), "rad ps-1", "angular frequency of the known modes, translations left out"),
    "participation_ratio": Variable(("low_mode",), "1", "participation ratio of the mode"),
    "omega": Variable(("omega_bin",), "rad ps-1", "centre of the frequency bin"),
    "vdos": Variable(("omega_bin",), "ps", "vibrational density of states g, unit area"),
    "reduced_vdos": Variable(("omega_bin",), "ps3", "reduced vibrational density of states g/omega2"),
    "atomic_vdos": Variable(("atom", "low_omega_bin"), "ps", "atomic share of the density of states, sums to g"),
    "low_omega": Variable(("low_omega_bin",), "rad ps-1", "centre of the frequency bin below the cut"),
    "atomic_intensity": Variable(("atom",), "ps3", "atomic boson-peak intensity, maximum of g_i/omega2"),
    "atomic_window_intensity": Variable(("atom",), "ps2", "integral of g_i/omega2 over the boson-peak window"),
    "kpm_omega": Variable(("kpm_bin",), "rad ps-1", "frequency at which the kernel polynomial estimate is given"),
    "kpm_vdos": Variable(("kpm_bin",), "ps", "vibrational density of states g at all frequencies, broadened"),
    "kpm_vdos_error": Variable(("kpm_bin",), "ps", "error of kpm_vdos: random vectors and broadening"),
    "kpm_reduced_vdos": Variable(("kpm_bin",), "ps3", "reduced density of states g/omega2, broadened mode by mode"),
    "kpm_reduced_vdos_error": Variable(("kpm_bin",), "ps3", "error of kpm_reduced_vdos: random vectors and broadening"),
    "intensity": Variable((), "ps3", "boson-peak intensity, maximum of the binned g/omega2 (paper style, bin assumed)"),
    "intensity_error": Variable((), "ps3", "standard error of the paper-style intensity"),
    "peak_frequency": Variable((), "rad ps-1", "position of the paper-style boson peak"),
    "robust_intensity": Variable((), "ps3", "boson-peak intensity, kernel estimate above the first phonon multiplet"),
    "robust_intensity_error": Variable((), "ps3", "standard error of the robust intensity"),
    "robust_peak_frequency": Variable((), "rad ps-1", "position of the robust boson peak"),
    "fitted_intensity": Variable((), "ps3", "boson-peak intensity, parabola through g/omega2 around its maximum"),
    "fitted_intensity_error": Variable((), "ps3", "standard error of the fitted intensity"),
    "excess_intensity": Variable((), "ps3", "boson-peak intensity from the excess of modes over Debye's"),
    "excess_intensity_error": Variable((), "ps3", "standard error of the excess intensity"),
    "multiplet_modes": Variable((), "1", "modes found near the first transverse phonon multiplet, 12 of them phonons"),
    "multiplet_level": Variable((), "ps3", "g/omega2 if the first multiplet fell into one bin"),
    "soft_mode_limit": Variable((), "rad ps-1", "one mode below this frequency alone outweighs the intensity"),
    "transverse_speed": Variable((), "km s-1", "transverse speed of sound of the sample's own elastic continuum"),
    "longitudinal_speed": Variable((), "km s-1", "longitudinal speed of sound of the sample's own elastic continuum"),
    "shear_modulus": Variable((), "GPa", "shear modulus, non-affine, mean of five shear modes"),
    "shear_modulus_spread": Variable((), "GPa", "standard deviation of the five shear-type moduli"),
    "bulk_modulus": Variable((), "GPa", "bulk modulus, non-affine"),
    "debye_frequency": Variable((), "rad ps-1", "Debye frequency of the sample's own elastic continuum"),
    "debye_level": Variable((), "ps3", "Debye level 3/omega_D^3 of g/omega2"),
    "first_phonon": Variable((), "rad ps-1", "first transverse phonon multiplet 2 pi c_t / L"),
    "hessian_asymmetry": Variable((), "1", "largest relative |H - H^T| element"),
    "residual": Variable((), "1", "largest eigen-residual |D e - lambda e| / lambda_max"),
    "translation_residual": Variable((), "1", "largest |D t| / lambda_max over the three translations"),
}
