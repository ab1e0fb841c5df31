# SPDX-License-Identifier: BSD-3-Clause
"""The step ``vibration``: from an inherent structure to modes, spectra, moduli and boson-peak labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics import spectrum
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import Continuum, ElasticModuli, continuum_of, elastic_moduli
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.kpm import N_WIDTHS, chebyshev_moments, moments_for
from bp_distributed.physics.modes import Modes, normal_modes, participation_ratio
from bp_distributed.physics.outcome import Arrays, Outcome, Progress
from bp_distributed.physics.potential import EAMPotential, read_potential
from bp_distributed.physics.solved import Solved
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

N_PHASES = 6

N_MOMENTS, KPM_START, KPM_STEP = 320, 1.0, 0.25
"""Moments and grid (rad/ps) of the density of states over all frequencies: both resolve 0.25 rad/ps."""

PROBES = 16
"""Columns by which the symmetry of the Hessian is tried."""

Numbers = dict[str, NDArray[Any] | np.generic | float]


def vibration_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:
    """Find the low modes of the mass-weighted Hessian of an inherent structure and take its spectrum apart.

    Parameters
    ----------
    request : mapping
        ``potential_file`` and ``elements``; ``bin_width``, ``omega_cut`` and ``kernel_width`` (rad/ps);
        ``all_vectors_below_atoms``: systems up to this size are solved with all vectors; ``solver``,
        ``certificate`` and ``memory_bytes`` as for ``modes.normal_modes``, or ``slepc`` with one MPI rank for each
        of ``threads``, or with ``ranks`` over ``nodes`` by a ``launcher``; ``store_vectors``: ``none`` or ``float32``.
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
        ``UNSTABLE`` if the structure is no minimum, ``NOT_FINITE`` if a coordinate is not finite,
        ``SOLVER_FAILED`` with the cure.
    ConfigError
        If the potential cannot be read or lacks an element.
    """
    started = time.monotonic()
    progress(0, N_PHASES, "assembling")
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    given = _configuration(inputs, potential)
    order_i = given.spatial_order()
    configuration, place_i = given.reordered(order_i), np.argsort(order_i)
    settings = spectrum.Settings(
        float(request["bin_width"]), float(request["omega_cut"]), float(request["kernel_width"])
    )
    masses_i = potential.masses_e[configuration.species_i]
    hessian = factored_hessian(configuration, potential)
    modes = _modes(request, hessian, masses_i, workdir, progress)
    modes = replace(modes, vectors_kic=modes.vectors_kic[:, place_i])
    solved = time.monotonic()
    progress(2, N_PHASES, "elastic moduli")
    moduli = elastic_moduli(configuration, potential, hessian)
    continuum = continuum_of(configuration, potential, moduli)
    progress(3, N_PHASES, "density of states at all frequencies")
    arrays = _all_frequencies(hessian, masses_i)
    progress(4, N_PHASES, "spectrum")
    spectral, verdict, evidence = _spectral(given, modes, continuum, settings)
    arrays |= spectral | _elastic_arrays(given, moduli, continuum) | _quality(hessian, modes)
    if request["store_vectors"] == "float32":
        n_low = len(spectral["participation_ratio"])  # type: ignore[arg-type]
        arrays["vector"] = modes.vectors_kic[:n_low].astype(np.float32)
    facts = {
        "max_force_eV_per_A": evaluate(configuration, potential).max_force,
        "n_modes_below_cut": int(np.count_nonzero(modes.frequency_k < settings.omega_cut)),
        "potential_sha256": potential.sha256,
        "settings": asdict(settings),
        "solver": modes.solver,
        "solver_reason": modes.reason,
        "certificate": modes.certificate,
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


def _modes(
    request: Mapping[str, Any],
    hessian: FactoredHessian,
    masses_i: NDArray[np.float64],
    workdir: Path,
    progress: Progress,
) -> Modes:
    """Return the modes by the solver that the request names."""

    def tell(note: str) -> None:
        progress(1, N_PHASES, note)

    omega_cut = float(request["omega_cut"])
    if request["solver"] == "slepc":
        from bp_distributed.physics.slepc import slepc_modes  # noqa: PLC0415 - only where MPI is wanted

        return slepc_modes(
            hessian, masses_i, omega_cut, ranks=int(request.get("ranks", request["threads"])), workdir=workdir,
            nodes=int(request.get("nodes", 1)), launcher=request.get("launcher", ()), progress=tell,
        )  # fmt: skip
    return normal_modes(
        hessian,
        masses_i,
        omega_cut,
        all_vectors=hessian.n_atoms <= int(request["all_vectors_below_atoms"]),
        solver=request["solver"],
        certificate=request["certificate"],
        memory_bytes=request["memory_bytes"],
        solved=Solved(workdir, [Path(name) for name in request.get("resume_from", ())]),
        progress=tell,
    )


def hessian_asymmetry(hessian: FactoredHessian) -> float:
    """Return the largest |uᵀH v - vᵀH u| over the largest |uᵀH v| for random u and v; zero but for rounding."""
    u_xv = np.random.default_rng(0).normal(size=(hessian.size, PROBES))
    form = u_xv.T @ hessian.matmat(u_xv)
    return float(np.abs(form - form.T).max() / np.abs(form).max())


def _quality(hessian: FactoredHessian, modes: Modes) -> Numbers:
    return {
        "n_modes": np.int64(modes.n_modes),
        "certified_below": np.float64(min(modes.certified_below, np.finfo(np.float64).max)),
        "hessian_asymmetry": np.float64(hessian_asymmetry(hessian)),
        "residual": np.float64(modes.residual),
        "orthogonality": np.float64(modes.orthogonality),
        "translation_residual": np.float64(modes.translation_residual),
    }


def moments_to_start(dynamical: FactoredHessian) -> int:
    """Return how many moments give g/ω² from ``KPM_START`` on: more than ``N_MOMENTS`` where light atoms vibrate fast."""
    omega_top = OMEGA_PER_SQRT_EIGENVALUE * float(np.sqrt(max(spectral_bound(dynamical), 0.0)))
    needed = moments_for(KPM_START / N_WIDTHS, omega_top)
    return max(N_MOMENTS, needed + needed % 2)


def _all_frequencies(hessian: FactoredHessian, masses_i: NDArray[np.float64]) -> Numbers:
    """Return g and g/ω² up to the highest frequency by the kernel polynomial method; errors hold noise and bias."""
    dynamical = hessian.mass_weighted(masses_i).astype(np.float32)
    moments = chebyshev_moments(dynamical, masses_i, moments_to_start(dynamical))
    omega_w = np.arange(KPM_START, moments.omega_top, KPM_STEP)
    density, reduced = moments.density(omega_w), moments.reduced_density(omega_w)
    return {
        "kpm_omega": omega_w,
        "kpm_vdos": density.value_w,
        "kpm_vdos_error": np.hypot(density.error_w, density.bias_w),
        "kpm_reduced_vdos": reduced.value_w,
        "kpm_reduced_vdos_error": np.hypot(reduced.error_w, reduced.bias_w),
    }


def _longest_edge(configuration: Configuration) -> float:
    return float(np.linalg.norm(configuration.cell_cc, axis=1).max())


def _elastic_arrays(configuration: Configuration, moduli: ElasticModuli, continuum: Continuum) -> Numbers:
    return {
        "shear_modulus": np.float64(moduli.shear),
        "shear_modulus_spread": np.float64(moduli.shear_spread),
        "bulk_modulus": np.float64(moduli.bulk),
        "transverse_speed": np.float64(continuum.transverse_speed),
        "longitudinal_speed": np.float64(continuum.longitudinal_speed),
        "debye_frequency": np.float64(continuum.debye_frequency),
        "debye_level": np.float64(continuum.debye_level),
        "first_phonon": np.float64(continuum.first_phonon(_longest_edge(configuration))),
    }


def _spectral(
    configuration: Configuration, modes: Modes, continuum: Continuum, settings: spectrum.Settings
) -> tuple[Numbers, spectrum.Verdict, dict[str, Any]]:
    frequency_k, n_modes = modes.frequency_k, modes.n_modes
    first_phonon = continuum.first_phonon(_longest_edge(configuration))
    n_low = int(np.count_nonzero(frequency_k < settings.omega_cut))
    vectors_kic = modes.vectors_kic[:n_low]
    window = spectrum.peak_window(first_phonon, settings.bin_width)
    binned = spectrum.histogram(frequency_k, settings.bin_width, n_modes=n_modes, known_below=settings.omega_cut)
    atomic = spectrum.atomic_spectrum(frequency_k, vectors_kic, window, settings, n_modes=n_modes)
    paper = spectrum.paper_label(frequency_k, settings, n_modes=n_modes)
    robust = spectrum.robust_label(frequency_k, first_phonon, settings, n_modes=n_modes)
    fitted = spectrum.fitted_label(frequency_k, first_phonon, settings, n_modes=n_modes)
    excess = spectrum.excess_label(frequency_k, first_phonon, continuum.debye_frequency, settings, n_modes=n_modes)
    size = spectrum.finite_size(frequency_k, first_phonon, paper.intensity, settings, n_modes=n_modes)
    verdict = spectrum.judge(frequency_k, first_phonon, settings, n_modes=n_modes)
    arrays: Numbers = {
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
        "fitted_intensity": np.float64(fitted.intensity),
        "fitted_intensity_error": np.float64(fitted.error),
        "excess_intensity": np.float64(excess.intensity),
        "excess_intensity_error": np.float64(excess.error),
        "multiplet_modes": np.int64(size.found_m[0]),
        "multiplet_level": np.float64(size.level),
        "soft_mode_limit": np.float64(size.soft_mode),
    }
    evidence = {
        "criterion": verdict.criterion,
        "value": verdict.value,
        "threshold": verdict.threshold,
        "peak_window": list(window),
        "robust_window": list(robust.window),
        "robust_note": robust.note,
        "fitted_note": fitted.note,
        "excess_note": excess.note,
    }
    return arrays, verdict, evidence
