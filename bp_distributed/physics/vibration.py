# SPDX-License-Identifier: BSD-3-Clause
"""The step ``vibration``: from an inherent structure to modes, spectra, moduli and boson-peak labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics import spectrum
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import Continuum, ElasticModuli, continuum_of, elastic_moduli
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.modes import Modes, normal_modes, participation_ratio
from bp_distributed.physics.outcome import Arrays, Outcome, Progress
from bp_distributed.physics.potential import EAMPotential, read_potential

N_PHASES = 5


def vibration_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:
    """Diagonalise the mass-weighted Hessian of an inherent structure and take its spectrum apart.

    Parameters
    ----------
    request : mapping
        ``potential_file`` and ``elements``; ``bin_width``, ``omega_cut`` and ``kernel_width`` (rad/ps);
        ``all_vectors_below_atoms``: systems up to this size are solved with all vectors.
    inputs : mapping
        ``position`` (n_atoms, 3) and ``cell`` (3, 3) in Å, ``species`` (n_atoms,).
    workdir : Path
        Where the potential file lies.
    progress : callable
        Told phase by phase.

    Returns
    -------
    Outcome
        The variables listed under "vibration" in ``units.VARIABLES``; rejected with ``NO_PEAK`` when the
        spectrum fails the rule of ``spectrum.judge``, arrays included.

    Raises
    ------
    ScienceError
        ``UNSTABLE`` if the structure is no minimum, ``NOT_FINITE`` if a coordinate is not finite.
    ConfigError
        If the potential cannot be read or lacks an element.
    """
    started = time.monotonic()
    progress(0, N_PHASES, "assembling")
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    configuration = _configuration(inputs, potential)
    settings = spectrum.Settings(
        float(request["bin_width"]), float(request["omega_cut"]), float(request["kernel_width"])
    )
    hessian = factored_hessian(configuration, potential)
    progress(1, N_PHASES, f"diagonalising {hessian.size} degrees of freedom")
    modes = normal_modes(
        hessian,
        potential.masses_e[configuration.species_i],
        settings.omega_cut,
        all_vectors=configuration.n_atoms <= int(request["all_vectors_below_atoms"]),
    )
    solved = time.monotonic()
    progress(2, N_PHASES, "elastic moduli")
    moduli = elastic_moduli(configuration, potential, hessian)
    continuum = continuum_of(configuration, potential, moduli)
    progress(3, N_PHASES, "spectrum")
    arrays, verdict, evidence = _spectral(configuration, modes, continuum, settings)
    arrays |= _elastic_arrays(configuration, moduli, continuum)
    arrays |= {
        "hessian_asymmetry": np.float64(hessian_asymmetry(hessian)),
        "residual": np.float64(modes.residual),
        "translation_residual": np.float64(modes.translation_residual),
    }
    facts = {
        "max_force_eV_per_A": evaluate(configuration, potential).max_force,
        "n_modes_below_cut": int(np.count_nonzero(modes.frequency_k < settings.omega_cut)),
        "potential_sha256": potential.sha256,
        "settings": asdict(settings),
        "elastic_iterations": moduli.iterations,
        "eigen_seconds": solved - started,
        "total_seconds": time.monotonic() - started,
    }
    progress(N_PHASES, N_PHASES, "done")
    return Outcome(arrays, verdict.reason, evidence, facts)


def _configuration(inputs: Arrays, potential: EAMPotential) -> Configuration:
    positions_ic = np.asarray(inputs["position"], dtype=np.float64)
    cell_cc = np.asarray(inputs["cell"], dtype=np.float64)
    if not np.isfinite(positions_ic).all() or not np.isfinite(cell_cc).all():
        raise ScienceError(Reason.NOT_FINITE, "the structure holds coordinates that are not finite")
    return Configuration(positions_ic, cell_cc, np.asarray(inputs["species"], dtype=np.int64), potential.elements)


def hessian_asymmetry(hessian: FactoredHessian) -> float:
    """Return the largest |H - Hᵀ| over the largest |H|; symmetric but for rounding by construction."""
    assembled = hessian.assembled()
    return float(abs(assembled - assembled.T).max() / abs(assembled).max())


def _longest_edge(configuration: Configuration) -> float:
    return float(np.linalg.norm(configuration.cell_cc, axis=1).max())


def _elastic_arrays(
    configuration: Configuration, moduli: ElasticModuli, continuum: Continuum
) -> dict[str, NDArray[Any] | np.generic | float]:
    return {
        "shear_modulus": np.float64(moduli.shear),
        "shear_modulus_spread": np.float64(moduli.shear_spread),
        "bulk_modulus": np.float64(moduli.bulk),
        "debye_frequency": np.float64(continuum.debye_frequency),
        "debye_level": np.float64(continuum.debye_level),
        "first_phonon": np.float64(continuum.first_phonon(_longest_edge(configuration))),
    }


def _spectral(
    configuration: Configuration, modes: Modes, continuum: Continuum, settings: spectrum.Settings
) -> tuple[dict[str, NDArray[Any] | np.generic | float], spectrum.Verdict, dict[str, Any]]:
    frequency_k = modes.frequency_k
    first_phonon = continuum.first_phonon(_longest_edge(configuration))
    n_low = int(np.count_nonzero(frequency_k < settings.omega_cut))
    vectors_kic = modes.vectors_kic[:n_low]
    window = spectrum.peak_window(first_phonon, settings.bin_width)
    binned = spectrum.histogram(frequency_k, settings.bin_width)
    atomic = spectrum.atomic_spectrum(frequency_k, vectors_kic, window, settings)
    paper = spectrum.paper_label(frequency_k, settings)
    robust = spectrum.robust_label(frequency_k, first_phonon, settings)
    verdict = spectrum.judge(frequency_k, first_phonon, settings)
    arrays: dict[str, NDArray[Any] | np.generic | float] = {
        "frequency": frequency_k,
        "participation_ratio": participation_ratio(vectors_kic),
        "omega": binned.omega_w,
        "vdos": binned.vdos_w,
        "reduced_vdos": binned.reduced_w,
        "low_omega": atomic.omega_w,
        "atomic_vdos": atomic.vdos_iw,
        "atomic_intensity": atomic.intensity_i,
        "atomic_window_intensity": atomic.window_intensity_i,
        "intensity": np.float64(paper.intensity),
        "intensity_error": np.float64(paper.error),
        "peak_frequency": np.float64(paper.frequency),
        "robust_intensity": np.float64(robust.intensity),
        "robust_intensity_error": np.float64(robust.error),
        "robust_peak_frequency": np.float64(robust.frequency),
    }
    evidence = {
        "criterion": verdict.criterion,
        "value": verdict.value,
        "threshold": verdict.threshold,
        "peak_window": list(window),
        "robust_window": list(robust.window),
        "robust_note": robust.note,
    }
    return arrays, verdict, evidence
