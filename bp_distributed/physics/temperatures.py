# SPDX-License-Identifier: BSD-3-Clause
"""The step ``temperatures``: a glass is warmed, and at each temperature of a series its inherent structure is judged.

One task per sample: the dynamics goes on from each temperature to the next, as in an experiment that heats, so what has
changed at one temperature is not undone at the next.  At the end of each stretch a copy is minimised at the volume it
has, and solved; the dynamics never sees the minimisation.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Fig. 9; Sastry, Debenedetti and Stillinger, Nature 393, 554
(1998), for energies of inherent structures against temperature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ScienceError
from bp_distributed.physics import spectrum
from bp_distributed.physics.chebyshev import spectral_bound
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import continuum_of, elastic_moduli
from bp_distributed.physics.gruneisen import lammps_minimum
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.kpm import chebyshev_moments
from bp_distributed.physics.modes import Modes, normal_modes
from bp_distributed.physics.outcome import Arrays, Outcome, Pause, Progress
from bp_distributed.physics.potential import EAMPotential, read_potential
from bp_distributed.physics.quench import START_TEMPERATURE_K, Dynamics, Segment, Trajectory
from bp_distributed.physics.vibration import KPM_START, KPM_STEP, N_MOMENTS
from bp_distributed.units import GPA_PER_BAR, OMEGA_PER_SQRT_EIGENVALUE

MOVED_A = 1.0
"""An atom that lies farther from its place in the glass has moved; the paper draws those."""

MINIMUM_LOG = "minimum.lammps"


def temperatures_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome | Pause:
    """Warm a glass through a series of temperatures, and take the spectrum of its inherent structure at each.

    Parameters
    ----------
    request : mapping
        ``potential_file``, ``elements`` and ``seed``; ``series_K`` (rising), ``heating_ps`` from each to the next and
        ``relaxation_ps`` at each; the keys of ``quench.Dynamics``, of which ``barostat`` is ``none`` at constant
        volume; ``bin_width``, ``omega_cut`` and ``kernel_width`` (rad/ps), ``solver``, ``certificate`` and
        ``memory_bytes`` as for the step ``vibration``.
    inputs : mapping
        ``position`` (n_atoms, 3) and ``cell`` (3, 3) in Å, ``species`` (n_atoms,).
    workdir : Path
        Where the potential file lies; the current directory.
    progress : callable
        Told as the dynamics goes on.

    Returns
    -------
    Outcome or Pause
        The variables listed under "temperatures" in ``units.VARIABLES``.

    Raises
    ------
    ScienceError
        ``NOT_CONVERGED``, ``UNSTABLE`` or ``SOLVER_FAILED``, with the temperature at which it happened.
    """
    dynamics = Dynamics.of(request)
    segments = warming_segments(request, dynamics)
    trajectory, start = Trajectory.open(request, dynamics, segments, workdir)
    session, records = trajectory.session, trajectory.records
    if start == 0:
        session.load(inputs["position"], inputs["cell"], inputs["species"], triclinic=dynamics.barostat == "tri")
        session.command("velocity", "all", "create", START_TEMPERATURE_K, int(request["seed"]), "mom", "yes")
    judge = _judge(request, inputs, workdir)

    def at_cut(segment: Segment, cut: int) -> None:
        if segment.branch is not None and cut == segment.last:
            for name, value in judge(session.configuration, segment.stop_K).items():
                records[f"{name}.{segment.branch}"] = np.asarray(value)

    if pause := trajectory.run(start, at_cut, progress):
        return pause
    count = len(request["series_K"])
    names = [key.removesuffix(".0") for key in records if key.endswith(".0")]
    arrays: dict[str, Any] = {name: np.array([records[f"{name}.{index}"] for index in range(count)]) for name in names}
    arrays |= {
        "temperature": np.array(request["series_K"], dtype=float),
        "thermal_omega": judge.omega_w,
        "low_omega": (np.arange(spectrum.n_low_bins(judge.settings)) + 0.5) * judge.settings.bin_width,
        **thermal_means(trajectory),
    }
    facts = {"steps": trajectory.total, "lammps": session.version, "resumed_at": start}
    return Outcome(arrays, facts=facts)


def _judge(request: Mapping[str, Any], inputs: Arrays, workdir: Path) -> _Judge:
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    positions_ic, cell_cc = (np.asarray(inputs[name], dtype=np.float64) for name in ("position", "cell"))
    glass = Configuration(positions_ic, cell_cc, np.asarray(inputs["species"], dtype=np.int64), potential.elements)
    dynamical = factored_hessian(glass, potential, masses_i=potential.masses_e[glass.species_i])
    top = OMEGA_PER_SQRT_EIGENVALUE * float(np.sqrt(spectral_bound(dynamical)))
    return _Judge(request, potential, workdir, glass, np.arange(KPM_START, top, KPM_STEP))


def warming_segments(request: Mapping[str, Any], dynamics: Dynamics) -> list[Segment]:
    """Return a ramp to each temperature and a stretch there, at whose end a structure is taken."""
    heating, relaxation = (
        max(1, round(request[name] / dynamics.timestep_ps)) for name in ("heating_ps", "relaxation_ps")
    )
    segments, step, before = [], 0, START_TEMPERATURE_K
    for index, temperature in enumerate(map(float, request["series_K"])):
        segments.append(Segment(step, step + heating, before, temperature))
        step += heating
        segments.append(Segment(step, step + relaxation, temperature, temperature, branch=index))
        step, before = step + relaxation, temperature
    return segments


def thermal_means(trajectory: Trajectory) -> dict[str, NDArray[np.float64]]:
    """Return means over the second half of each stretch at one temperature, shape=(n_temperatures,) each."""
    history = trajectory.history()
    n_atoms = len(trajectory.session.species_i)
    rows = []
    for segment in trajectory.segments:
        if segment.branch is not None:
            late = history[(history[:, 0] > 0.5 * (segment.first + segment.last)) & (history[:, 0] <= segment.last)]
            rows.append(late.mean(axis=0))
    _, temperature, energy, volume, pressure = np.array(rows).T
    return {
        "thermal_temperature": temperature,
        "thermal_energy": energy / n_atoms,
        "thermal_volume": volume / n_atoms,
        "thermal_pressure": pressure * GPA_PER_BAR,
    }


@dataclass(frozen=True)
class _Judge:
    """Minimises a warm configuration and takes its spectrum, as the request of the step says."""

    request: Mapping[str, Any]
    potential: EAMPotential
    workdir: Path
    glass: Configuration
    omega_w: NDArray[np.float64]
    """Where densities of states over all frequencies are given, rad/ps."""

    @property
    def settings(self) -> spectrum.Settings:
        return spectrum.Settings(
            float(self.request["bin_width"]), float(self.request["omega_cut"]), float(self.request["kernel_width"])
        )

    def __call__(self, warm: Configuration, temperature: float) -> dict[str, Any]:
        order_i = warm.spatial_order()
        potential_file = str(self.request["potential_file"])
        try:
            rested = lammps_minimum(warm.reordered(order_i), self.workdir, potential_file, MINIMUM_LOG)
            spectral = self._spectral(rested, factored_hessian(rested, self.potential))
        except ScienceError as error:
            raise ScienceError(error.reason, f"at {temperature:g} K: {error.what}") from error
        energy = evaluate(rested, self.potential).energy / rested.n_atoms
        return {"inherent_energy": energy, **departure(rested.reordered(np.argsort(order_i)), self.glass), **spectral}

    def _spectral(self, rested: Configuration, hessian: FactoredHessian) -> dict[str, Any]:
        settings, masses_i = self.settings, self.potential.masses_e[rested.species_i]
        moduli = elastic_moduli(rested, self.potential, hessian)
        continuum = continuum_of(rested, self.potential, moduli)
        first_phonon = continuum.first_phonon(float(np.linalg.norm(rested.cell_cc, axis=1).max()))
        modes = normal_modes(
            hessian, masses_i, settings.omega_cut, solver=str(self.request["solver"]),
            certificate=str(self.request["certificate"]), memory_bytes=self.request.get("memory_bytes"),
        )  # fmt: skip
        paper = spectrum.paper_label(modes.frequency_k, settings, n_modes=modes.n_modes)
        robust = spectrum.robust_label(modes.frequency_k, first_phonon, settings, n_modes=modes.n_modes)
        return {
            "inherent_shear_modulus": moduli.shear,
            "inherent_debye_level": continuum.debye_level,
            "inherent_intensity": paper.intensity,
            "inherent_intensity_error": paper.error,
            "inherent_peak_frequency": paper.frequency,
            "inherent_robust_intensity": robust.intensity,
            "inherent_robust_intensity_error": robust.error,
            "inherent_robust_peak_frequency": robust.frequency,
            "inherent_reduced_vdos": _low_bins(modes, settings),
            "inherent_vdos": self._density(hessian, masses_i),
        }

    def _density(self, hessian: FactoredHessian, masses_i: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return g by the kernel polynomial method, ps; zero above the highest frequency."""
        moments = chebyshev_moments(hessian.mass_weighted(masses_i).astype(np.float32), masses_i, N_MOMENTS)
        inside_w = self.omega_w < moments.omega_top
        vdos_w = np.zeros(len(self.omega_w))
        vdos_w[inside_w] = moments.density(self.omega_w[inside_w]).value_w
        return vdos_w


def _low_bins(modes: Modes, settings: spectrum.Settings) -> NDArray[np.float64]:
    """Return the binned g/ω² below the cut, ps³."""
    binned = spectrum.histogram(
        modes.frequency_k, settings.bin_width, n_modes=modes.n_modes, known_below=settings.omega_cut
    )
    low_w = np.zeros(spectrum.n_low_bins(settings))
    known_w = binned.reduced_w[: len(low_w)]
    low_w[: len(known_w)] = known_w
    return low_w


def departure(rested: Configuration, glass: Configuration) -> dict[str, float]:
    """Return how far a structure is from the glass it came from, its cell scaled back and its drift taken out."""
    moved_ic = rested.positions_ic @ np.linalg.inv(rested.cell_cc) - glass.positions_ic @ np.linalg.inv(glass.cell_cc)
    moved_ic = moved_ic - np.round(moved_ic)
    moved_ic = (moved_ic - moved_ic.mean(axis=0)) @ glass.cell_cc
    distance_i = np.linalg.norm(moved_ic, axis=1)
    return {
        "inherent_displacement": float(np.sqrt(np.mean(distance_i**2))),
        "inherent_moved": float(np.mean(distance_i > MOVED_A)),
    }
