# SPDX-License-Identifier: BSD-3-Clause
r"""Grüneisen parameters γ_k = -d ln ω_k / d ln V of normal modes, by rank as the paper has it and mode by mode.

By rank: the energy is minimised again at V₀(1 ± h), and the k-th frequency compared with the k-th.  That mixes γ
where frequencies cross, and where the minimiser *jumps* to another minimum the extreme values are rearrangements.
Mode by mode: on the path of affine scaling and linear non-affine displacement, x(1 ± h)^(1/3) ± h u with
H u = Ξ = ∂F/∂ln V, perturbation theory gives

.. math:: γ_k = -\frac{λ'_k}{2 λ_k}, \qquad λ'_k = e_k^T \frac{dD}{d\ln V} e_k,

for degenerate modes with the eigenvalues of the small matrix e_aᵀ D′ e_b.  Both have the same mean over all modes,
since Σ ln λ does not depend on which mode is which.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Eqs. 3 to 5; Lemaître and Maloney, J. Stat. Phys. 123, 415
(2006), for u.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ScienceError
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import solve
from bp_distributed.physics.hessian import FactoredHessian, factored_hessian
from bp_distributed.physics.lammps_session import Session
from bp_distributed.physics.minimise import minimise
from bp_distributed.physics.modes import Modes, normal_modes
from bp_distributed.physics.outcome import Arrays, Outcome, Progress
from bp_distributed.physics.potential import EAMPotential, read_potential
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

FOLLOW_STEPS_S = np.array([1e-3, 2e-3, 3e-3, 4e-3])
"""Of ln V, for central differences.  Tables of 10 digits leave noise of 1e-4 eV/Å² in φ″, which a difference divides
by h: γ of single modes scatters by 0.3 (rms, 500 atoms of Cu-Zr) at 5e-4, by 0.05 at 4e-3.  The h² term of soft modes
shows beyond."""

DEGENERATE = 1e-5
"""Modes whose λ differ by less, relatively, are one cluster: a solver may mix their vectors."""

JUMP_A = 0.35
"""Distance of one atom from linear response that counts as a jump.

Of 58 changes of volume (0.1 to 1 %, eight glasses of 108 to 4000 atoms) the seven that could not be undone moved an atom
by 0.40 Å or more, the others by 0.31 at most.  A measure of the whole sample would hide a jump among many atoms.
"""

FORCE_TOLERANCE = 1e-8
"""eV/Å, of the minima that are compared."""

MARGIN = 1.1
"""The compressed glass is solved to a higher frequency, since all its modes have moved up."""

STILL_A = 1e-6
"""Root mean square displacement that counts as none: it vanishes by symmetry in crystals."""

COLUMNS = 64
"""Vectors multiplied at a time."""

N_PHASES = 4


# ---- mode by mode -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Followed:
    """Grüneisen parameters of single modes.

    Attributes
    ----------
    gruneisen_k : ndarray, shape=(n_modes,)
        γ, rising within a degenerate cluster.
    error_k : ndarray, shape=(n_modes,)
        Standard error from the spread over ``FOLLOW_STEPS_S``: digits of the tables, and terms in h².
    """

    gruneisen_k: NDArray[np.float64]
    error_k: NDArray[np.float64]


def scaled(configuration: Configuration, ratio: float) -> Configuration:
    """Return the configuration at ``ratio`` times its volume, cell and atoms scaled alike."""
    return configuration.strained((ratio ** (1.0 / 3.0) - 1.0) * np.eye(3))


def volume_response(
    configuration: Configuration, potential: EAMPotential, hessian: FactoredHessian
) -> NDArray[np.float64]:
    """Return the non-affine displacement per d ln V, u of H u = Ξ.

    Parameters
    ----------
    configuration : Configuration
        A minimum of the energy at its own cell.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    hessian : FactoredHessian
        Of that configuration, eV/Å².

    Returns
    -------
    ndarray, shape=(n_atoms, 3), Å
        Without drift.

    Raises
    ------
    ScienceError
        See ``elastic.solve``.
    """
    h = float(FOLLOW_STEPS_S[0])
    plus, minus = (evaluate(scaled(configuration, 1.0 + sign * h), potential).forces_ic for sign in (1, -1))
    answer_xs, _ = solve(hessian, ((plus - minus) / (2.0 * h)).reshape(-1, 1))
    return answer_xs.reshape(-1, 3)


def followed_gruneisen(
    configuration: Configuration,
    potential: EAMPotential,
    response_ic: NDArray[np.float64],
    frequency_k: NDArray[np.float64],
    vectors_kic: NDArray[np.float64],
) -> Followed:
    """Return γ of modes whose vectors are known, by products alone.

    Parameters
    ----------
    configuration : Configuration
        A minimum of the energy.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    response_ic : ndarray, shape=(n_atoms, 3), Å
        From ``volume_response``.
    frequency_k : ndarray, shape=(n_modes,), rad/ps
        Rising.
    vectors_kic : ndarray, shape=(n_modes, n_atoms, 3)
        Unit eigenvectors of the mass-weighted Hessian; of a degenerate cluster all, or none of its γ has a meaning.

    Returns
    -------
    Followed
    """
    value_k = (frequency_k / OMEGA_PER_SQRT_EIGENVALUE) ** 2
    vector_kx = vectors_kic.reshape(len(vectors_kic), -1)
    gruneisen_sk = np.stack([
        -_slopes(configuration, potential, response_ic, value_k, vector_kx, float(h)) / (2.0 * value_k)
        for h in FOLLOW_STEPS_S
    ])  # fmt: skip
    # Least squares of the odd part of λ(h) through the origin weighs each difference quotient with h².
    weight_s = FOLLOW_STEPS_S**2 / np.sum(FOLLOW_STEPS_S**2)
    gruneisen_k = weight_s @ gruneisen_sk
    variance_k = weight_s @ (gruneisen_sk - gruneisen_k) ** 2 / (len(weight_s) - 1)
    return Followed(gruneisen_k, np.sqrt(variance_k))


def _slopes(
    configuration: Configuration,
    potential: EAMPotential,
    response_ic: NDArray[np.float64],
    value_k: NDArray[np.float64],
    vector_kx: NDArray[np.float64],
    h: float,
) -> NDArray[np.float64]:
    """Return dλ/d ln V of each mode from D at V₀(1 ± h)."""
    masses_i = potential.masses_e[configuration.species_i]
    plus, minus = (
        factored_hessian(scaled(configuration, 1.0 + step).moved(step * response_ic), potential, masses_i=masses_i)
        for step in (h, -h)
    )
    slope_k = np.empty(len(value_k))
    for batch in _batches(_clusters(value_k)):
        first, end = batch[0].start, batch[-1].stop
        vector_xk = np.ascontiguousarray(vector_kx[first:end].T)
        change_kk = vector_xk.T @ (plus.matmat(vector_xk) - minus.matmat(vector_xk)) / (2.0 * h)
        for cluster in batch:
            inside = slice(cluster.start - first, cluster.stop - first)
            slope_k[cluster] = np.linalg.eigvalsh(change_kk[inside, inside])[::-1]
    return slope_k


def _clusters(value_k: NDArray[np.float64]) -> list[slice]:
    """Return runs of modes that a solver cannot tell apart; most hold one."""
    edge = np.flatnonzero(np.diff(value_k) > DEGENERATE * value_k[1:]) + 1
    bounds = [0, *edge.tolist(), len(value_k)]
    return [slice(begin, end) for begin, end in itertools.pairwise(bounds) if end > begin]


def _batches(clusters: list[slice]) -> Iterator[list[slice]]:
    """Group whole clusters into blocks of about ``COLUMNS`` modes."""
    batch: list[slice] = []
    for cluster in clusters:
        if batch and cluster.stop - batch[0].start > COLUMNS:
            yield batch
            batch = []
        batch.append(cluster)
    if batch:
        yield batch


# ---- by rank ----------------------------------------------------------------------------------------------------------


def rank_gruneisen(
    compressed_k: NDArray[np.float64],
    frequency_k: NDArray[np.float64],
    expanded_k: NDArray[np.float64],
    volume_step: float,
) -> NDArray[np.float64]:
    """Return γ_k = -(V₀/ω_k) (ω_k(V₀(1 + h)) - ω_k(V₀(1 - h))) / (2 h V₀) for the ranks that all three know.

    Parameters
    ----------
    compressed_k, frequency_k, expanded_k : ndarray, shape=(n_known,), rad/ps
        Rising from the lowest mode, at V₀(1 - h), V₀ and V₀(1 + h); lengths may differ.
    volume_step : float
        h.

    Returns
    -------
    ndarray, shape=(n_modes,)
        With the length of the shortest.
    """
    n = min(len(compressed_k), len(frequency_k), len(expanded_k))
    return np.asarray((compressed_k[:n] - expanded_k[:n]) / (2.0 * volume_step * frequency_k[:n]))


@dataclass(frozen=True)
class Departure:
    """How far a minimum at another volume lies from where linear response puts it.

    Attributes
    ----------
    relative : float
        ‖d - h u‖ / ‖h u‖ of the non-affine displacement d.
    largest : float, Å
        Of a single atom.
    """

    relative: float
    largest: float

    @property
    def is_jump(self) -> bool:
        """Whether this is another minimum than the one that was scaled."""
        return self.largest > JUMP_A


def departure(
    configuration: Configuration, end: Configuration, response_ic: NDArray[np.float64], step: float
) -> Departure:
    """Compare a minimum at V₀(1 + step) with the linear prediction.

    Parameters
    ----------
    configuration, end : Configuration
        Minima at V₀ and V₀(1 + step), atoms in the same order, each near its affine place.
    response_ic : ndarray, shape=(n_atoms, 3), Å
        From ``volume_response``.
    step : float
        Signed relative change of the volume.
    """
    displacement_ic = end.positions_ic - scaled(configuration, 1.0 + step).positions_ic
    predicted_ic = step * response_ic
    missed_ic = displacement_ic - displacement_ic.mean(axis=0) - predicted_ic
    scale = max(float(np.linalg.norm(predicted_ic)), STILL_A * np.sqrt(configuration.n_atoms))
    return Departure(float(np.linalg.norm(missed_ic)) / scale, float(np.linalg.norm(missed_ic, axis=1).max()))


def atomic_gruneisen(gruneisen_k: NDArray[np.float64], vectors_kic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return γ_i = Σ_k γ_k |e_k^i|² over the modes given; over all modes it sums to Σ_k γ_k.

    Parameters
    ----------
    gruneisen_k : ndarray, shape=(n_modes,)
        γ of each mode.
    vectors_kic : ndarray, shape=(n_modes, n_atoms, 3)
        Unit eigenvectors of the mass-weighted Hessian.

    Returns
    -------
    ndarray, shape=(n_atoms,)
        About three times a mean of γ_k, since Σ_k |e_k^i|² = 3 over all modes.

    References
    ----------
    Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Eq. 5.
    """
    return np.asarray(np.einsum("k,kic,kic->i", gruneisen_k, vectors_kic, vectors_kic))


# ---- the step ---------------------------------------------------------------------------------------------------------


def gruneisen_step(request: Mapping[str, Any], inputs: Arrays, workdir: Path, progress: Progress) -> Outcome:
    """Minimise an inherent structure at three volumes and compare its modes, by rank and mode by mode.

    Parameters
    ----------
    request : mapping
        ``potential_file`` and ``elements``; ``omega_cut`` (rad/ps); ``volume_step``, relative;
        ``all_vectors_below_atoms``: systems up to this size are solved with all vectors; ``solver``,
        ``certificate`` and, optionally, ``memory_bytes`` as for ``normal_modes``.
    inputs : mapping
        ``position`` (n_atoms, 3) and ``cell`` (3, 3) in Å, ``species`` (n_atoms,).
    workdir : Path
        Where the potential file lies; the current directory.
    progress : callable
        Told phase by phase.

    Returns
    -------
    Outcome
        The variables listed under "gruneisen" in ``units.VARIABLES``; those of all modes only where all are known.

    Raises
    ------
    ScienceError
        ``UNSTABLE``, ``NOT_CONVERGED`` or ``SOLVER_FAILED``, with the volume at which it happened.
    """
    started = time.monotonic()
    potential = read_potential(workdir / str(request["potential_file"]), request["elements"])
    positions_ic, cell_cc = (np.asarray(inputs[name], dtype=np.float64) for name in ("position", "cell"))
    given = Configuration(positions_ic, cell_cc, np.asarray(inputs["species"], dtype=np.int64), potential.elements)
    order_i = given.spatial_order()  # products with the Hessian are then twice as fast
    volumes = _Volumes(request, potential, workdir)
    h = float(request["volume_step"])
    progress(0, N_PHASES, "minimum and modes")
    all_vectors = given.n_atoms <= int(request["all_vectors_below_atoms"])
    centre, modes = volumes.solve(given.reordered(order_i), 1.0, all_vectors=all_vectors)
    progress(1, N_PHASES, f"minimum and modes at {1 - h:g} of the volume")
    compressed, compressed_modes = volumes.solve(centre, 1.0 - h, margin=MARGIN)
    progress(2, N_PHASES, f"minimum and modes at {1 + h:g} of the volume")
    expanded, expanded_modes = volumes.solve(centre, 1.0 + h)
    progress(3, N_PHASES, "following modes")
    n_followed = len(modes.vectors_kic)
    response_ic = volume_response(centre, potential, factored_hessian(centre, potential))
    followed = followed_gruneisen(centre, potential, response_ic, modes.frequency_k[:n_followed], modes.vectors_kic)
    rank_k = rank_gruneisen(compressed_modes.frequency_k, modes.frequency_k, expanded_modes.frequency_k, h)
    departures = [departure(centre, end, response_ic, step) for end, step in ((compressed, -h), (expanded, h))]
    facts = {
        "volume_step": h,
        "omega_cut": float(request["omega_cut"]),
        "n_modes_followed": n_followed,
        "n_modes_by_rank": len(rank_k),
        "solver": modes.solver,
        "potential_sha256": potential.sha256,
        "total_seconds": time.monotonic() - started,
    }
    progress(N_PHASES, N_PHASES, "done")
    modes = replace(modes, vectors_kic=modes.vectors_kic[:, np.argsort(order_i)])
    arrays = _mode_arrays(modes, followed, rank_k, float(request["omega_cut"])) | _departure_arrays(departures)
    return Outcome(arrays, facts=facts)


@dataclass(frozen=True)
class _Volumes:
    """Finds minimum and modes at other volumes, as the request of the step says."""

    request: Mapping[str, Any]
    potential: EAMPotential
    workdir: Path

    def solve(
        self, configuration: Configuration, ratio: float, *, all_vectors: bool = False, margin: float = 1.0
    ) -> tuple[Configuration, Modes]:
        try:
            end = lammps_minimum(scaled(configuration, ratio), self.workdir, str(self.request["potential_file"]))
            modes = normal_modes(
                factored_hessian(end, self.potential),
                self.potential.masses_e[end.species_i],
                margin * float(self.request["omega_cut"]),
                all_vectors=all_vectors,
                solver=str(self.request["solver"]),
                certificate=str(self.request["certificate"]),
                memory_bytes=self.request.get("memory_bytes"),
            )
        except ScienceError as error:
            raise ScienceError(error.reason, f"at {ratio:g} of the volume: {error.what}") from error
        return end, modes


def lammps_minimum(start: Configuration, workdir: Path, potential_file: str, log: str = "log.lammps") -> Configuration:
    """Return the minimum at the same cell to which LAMMPS's conjugate gradients lead.

    Atoms keep their order and are not wrapped, so that displacements can be read off.
    """
    session = Session(workdir, start.elements, potential_file, log)
    try:
        session.load(start.positions_ic, start.cell_cc, start.species_i)
        minimise(session, FORCE_TOLERANCE, "")
        fraction_ic = session.positions_ic @ np.linalg.inv(session.cell_cc)
    finally:
        session.close()
    moved_ic = fraction_ic - start.positions_ic @ np.linalg.inv(start.cell_cc)  # LAMMPS may have turned the cell
    return start.moved((moved_ic - np.round(moved_ic)) @ start.cell_cc)


def _mode_arrays(
    modes: Modes, followed: Followed, rank_k: NDArray[np.float64], omega_cut: float
) -> dict[str, NDArray[Any] | np.generic | float]:
    n = min(len(followed.gruneisen_k), len(rank_k))
    n_low = min(n, int(np.searchsorted(modes.frequency_k, omega_cut)))
    arrays: dict[str, NDArray[Any] | np.generic | float] = {
        "gruneisen_frequency": modes.frequency_k[:n],
        "gruneisen": followed.gruneisen_k[:n],
        "gruneisen_error": followed.error_k[:n],
        "rank_gruneisen": rank_k[:n],
        "low_atomic_gruneisen": atomic_gruneisen(followed.gruneisen_k[:n_low], modes.vectors_kic[:n_low]),
    }
    if n_low:
        arrays["low_mean_gruneisen"] = np.float64(followed.gruneisen_k[:n_low].mean())
        arrays["low_mean_rank_gruneisen"] = np.float64(rank_k[:n_low].mean())
    if len(rank_k) == modes.n_modes:
        arrays["mean_rank_gruneisen"] = np.float64(rank_k.mean())
    if len(followed.gruneisen_k) == modes.n_modes:
        arrays["mean_gruneisen"] = np.float64(followed.gruneisen_k.mean())
        arrays["atomic_gruneisen"] = atomic_gruneisen(followed.gruneisen_k, modes.vectors_kic)
    return arrays


def _departure_arrays(departures: list[Departure]) -> dict[str, NDArray[Any] | np.generic | float]:
    return {
        "volume_departure": np.float64(max(found.relative for found in departures)),
        "volume_departure_distance": np.float64(max(found.largest for found in departures)),
        "volume_jump": np.float64(any(found.is_jump for found in departures)),
    }
