# SPDX-License-Identifier: BSD-3-Clause
r"""The step ``trajectory``: a glass is brought to a temperature, and the motion of all its atoms is recorded.

Two measures of anharmonicity are given for each atom.  The paper's eye looks at how well the atom's potential energy
follows the square of its displacement; that is a share of variance R².  But an atom's energy also hangs on its neighbours,
so R² is far below 1 in a perfectly harmonic solid too.  The other has no such fault: with the harmonic forces
:math:`F^h = -H u` of the displacement u of all atoms from the inherent structure in which the recording began,

.. math:: \sigma_i = \sqrt{\langle |F_i - F^h_i|^2 \rangle / \langle |F_i|^2 \rangle}

is 0 for atoms that only know the quadratic energy, and about 1 for those that have left it.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Fig. 8; Knoop, Purcell, Scheffler and Carbogno, Phys. Rev.
Materials 4, 083809 (2020), for σ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.gruneisen import lammps_minimum
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.outcome import Arrays, Outcome, Pause, Progress
from bp_distributed.physics.potential import EAMPotential, read_potential
from bp_distributed.physics.quench import START_TEMPERATURE_K, Dynamics, Segment, Trajectory

MINIMUM_LOG = "minimum.lammps"
_FRAMES_AT_ONCE = 64


class Recording(Trajectory):
    """A trajectory that keeps displacements from the start with each row of the history of its last segment.

    They lie in ``records["displacement"]``, shape=(n_frames, n_atoms, 3), Å, single precision, from the first step of the
    segment on; ``records["reference"]`` holds the start.
    """

    def advance(self, segment: Segment, length: int) -> None:
        """Run one slice, in pieces where frames are recorded."""
        if segment is not self.segments[-1]:
            super().advance(segment, length)
            return
        end, first = self.session.step + length, segment.first
        frames = [self.records["displacement"]] if "displacement" in self.records else [self._frame()[None]]
        while self.session.step < end:
            piece = min(
                self.dynamics.history_steps - (self.session.step - first) % self.dynamics.history_steps,
                end - self.session.step,
            )
            super().advance(segment, piece)
            if (self.session.step - first) % self.dynamics.history_steps == 0:
                frames.append(self._frame()[None])
        self.records["displacement"] = np.concatenate(frames)

    def _frame(self) -> NDArray[np.float32]:
        return np.asarray(self.session.unwrapped_ic - self.records["reference"], dtype=np.float32)


def trajectory_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome | Pause:
    """Heat a glass at constant volume, equilibrate it, and record the motion of its atoms.

    Parameters
    ----------
    request : mapping
        ``potential_file``, ``elements`` and ``seed``; ``temperature_K``; ``heating_ps`` from 10 K, ``equilibration_ps``,
        ``duration_ps`` of what is recorded and ``sampling_ps`` between frames; the keys of ``quench.Dynamics``.
    inputs : mapping
        ``position`` (n_atoms, 3) and ``cell`` (3, 3) in Å, ``species`` (n_atoms,); an inherent structure.
    workdir : Path
        Where the potential file lies; the current directory.
    progress : callable
        Told as the dynamics goes on.

    Returns
    -------
    Outcome or Pause
        The variables listed under "trajectory" in ``units.VARIABLES``.
    """
    dynamics = Dynamics.of(request)
    every = max(1, round(request["sampling_ps"] / dynamics.timestep_ps))
    dynamics = replace(dynamics, history_steps=every)
    segments = recording_segments(request, dynamics)
    trajectory, start = Recording.open(request, dynamics, segments, workdir)
    session = trajectory.session
    if start == 0:
        session.load(inputs["position"], inputs["cell"], inputs["species"])
        session.command("velocity", "all", "create", START_TEMPERATURE_K, int(request["seed"]), "mom", "yes")
        trajectory.records["reference"] = session.unwrapped_ic
    if pause := trajectory.run(start, lambda segment, cut: None, progress):  # noqa: ARG005
        return pause
    progress(trajectory.total, trajectory.total, "energies and forces")
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    glass = Configuration(trajectory.records["reference"], session.cell_cc, session.species_i, potential.elements)
    moved_fic = trajectory.records["displacement"].astype(np.float64)
    basin = lammps_minimum(glass.moved(moved_fic[0]), workdir, str(request["potential_file"]), MINIMUM_LOG)
    rest_ic = basin.positions_ic - glass.positions_ic
    displacement_fic = moved_fic - rest_ic
    energy_fi, judged = judge_motion(basin, potential, displacement_fic)
    history = trajectory.history()
    recorded = history[history[:, 0] >= segments[-1].first]
    arrays = {
        "frame_time": every * dynamics.timestep_ps * np.arange(len(displacement_fic)),
        "frame_displacement": displacement_fic.astype(np.float32),
        "frame_energy": energy_fi.astype(np.float32),
        "rest_position": basin.positions_ic,
        "rest_energy": evaluate(basin, potential).energies_i,
        "rest_moved": np.linalg.norm(rest_ic - rest_ic.mean(axis=0), axis=1).max(),
        "trajectory_temperature": recorded[:, 1].mean(),
        "trajectory_anharmonicity": judged.anharmonicity,
        "atomic_anharmonicity": judged.anharmonicity_i,
        "atomic_amplitude": judged.amplitude_i,
        "atomic_farthest": judged.farthest_i,
        "energy_r2": judged.r2_i,
        "energy_curvature": judged.curvature_i,
    }
    facts = {"steps": trajectory.total, "frames": len(displacement_fic), "lammps": session.version, "resumed_at": start}
    return Outcome(arrays, facts=facts)


def recording_segments(request: Mapping[str, Any], dynamics: Dynamics) -> list[Segment]:
    """Return heating, equilibration and what is recorded; the latter a whole number of frames."""
    temperature = float(request["temperature_K"])
    heating, equilibration, duration = (
        max(1, round(request[name] / dynamics.timestep_ps))
        for name in ("heating_ps", "equilibration_ps", "duration_ps")
    )
    duration = max(1, duration // dynamics.history_steps) * dynamics.history_steps
    rest = heating + equilibration
    return [
        Segment(0, heating, START_TEMPERATURE_K, temperature),
        Segment(heating, rest, temperature, temperature),
        Segment(rest, rest + duration, temperature, temperature),
    ]


@dataclass(frozen=True)
class Motion:
    """What a trajectory says of each atom.

    Attributes
    ----------
    anharmonicity : float
        σ of all atoms together.
    anharmonicity_i : ndarray, shape=(n_atoms,)
        σ_i.
    amplitude_i : ndarray, shape=(n_atoms,), Å
        Root mean square distance from the atom's mean position.
    farthest_i : ndarray, shape=(n_atoms,), Å
        Largest distance from its first position.
    r2_i : ndarray, shape=(n_atoms,)
        Share of the variance of the atom's energy that a line against its squared displacement explains.
    curvature_i : ndarray, shape=(n_atoms,), eV/Å²
        Twice the slope of that line: the spring constant if the energy were ½ k d².
    """

    anharmonicity: float
    anharmonicity_i: NDArray[np.float64]
    amplitude_i: NDArray[np.float64]
    farthest_i: NDArray[np.float64]
    r2_i: NDArray[np.float64]
    curvature_i: NDArray[np.float64]


def judge_motion(
    basin: Configuration, potential: EAMPotential, displacement_fic: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Motion]:
    """Return energies along a trajectory and what it says of each atom.

    Parameters
    ----------
    basin : Configuration
        The inherent structure around which the atoms move.
    potential : EAMPotential
        Tables for its elements.
    displacement_fic : ndarray, shape=(n_frames, n_atoms, 3), Å
        From the inherent structure.

    Returns
    -------
    energy_fi : ndarray, shape=(n_frames, n_atoms), eV
        Potential energy of each atom.
    motion : Motion
    """
    hessian = factored_hessian(basin, potential)
    energy_fi = np.empty(displacement_fic.shape[:2])
    excess_i, total_i = np.zeros(basin.n_atoms), np.zeros(basin.n_atoms)
    for first in range(0, len(displacement_fic), _FRAMES_AT_ONCE):
        part_fic = displacement_fic[first : first + _FRAMES_AT_ONCE]
        found = [evaluate(basin.moved(frame_ic), potential) for frame_ic in part_fic]
        energy_fi[first : first + len(part_fic)] = [one.energies_i for one in found]
        forces_fic = np.array([one.forces_ic for one in found])
        excess_i += np.square(forces_fic - harmonic_forces(hessian, part_fic)).sum(axis=(0, 2))
        total_i += np.square(forces_fic).sum(axis=(0, 2))
    around_fic = displacement_fic - displacement_fic.mean(axis=0)
    square_fi = np.square(around_fic).sum(axis=2)
    r2_i, slope_i = _lines(square_fi, energy_fi)
    return energy_fi, Motion(
        float(np.sqrt(excess_i.sum() / total_i.sum())),
        np.sqrt(excess_i / total_i),
        np.sqrt(square_fi.mean(axis=0)),
        np.linalg.norm(displacement_fic - displacement_fic[0], axis=2).max(axis=0),
        r2_i,
        2.0 * slope_i,
    )


def harmonic_forces(hessian: FactoredHessian, displacement_fic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -H u of each frame, eV/Å, shape=(n_frames, n_atoms, 3)."""
    flat_xf = np.ascontiguousarray(displacement_fic.reshape(len(displacement_fic), -1).T)
    return np.asarray(-hessian.matmat(flat_xf).T).reshape(displacement_fic.shape)


def _lines(x_fi: NDArray[np.float64], y_fi: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return R² and slope of the line through each atom's points; atoms that stand still have 0 of both."""
    x_fi, y_fi = x_fi - x_fi.mean(axis=0), y_fi - y_fi.mean(axis=0)
    xy_i, xx_i, yy_i = (x_fi * y_fi).sum(axis=0), np.square(x_fi).sum(axis=0), np.square(y_fi).sum(axis=0)
    moving_i = (xx_i > 0) & (yy_i > 0)
    slope_i = np.divide(xy_i, xx_i, out=np.zeros_like(xy_i), where=moving_i)
    r2_i = np.divide(xy_i**2, xx_i * yy_i, out=np.zeros_like(xy_i), where=moving_i)
    return r2_i, slope_i
