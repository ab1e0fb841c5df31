# SPDX-License-Identifier: BSD-3-Clause
r"""Pair distribution functions of one configuration: partial, total and atomic.

Notation: :math:`\rho_b = N_b / V` number density of element b, :math:`c_a = N_a / N`, :math:`\Delta r` bin width,
bin k = [(k-1) Δr, k Δr) with r at its centre.  The shell volume is 4πr²Δr, as in the paper, not the exact one.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Eqs. (1) and (2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ConfigError
from bp_distributed.physics.neighbours import neighbours
from bp_distributed.physics.outcome import Arrays, Outcome, Progress

_PAIRS_AT_ONCE = 1_000_000
_GAUSSIAN_REACH = 6.1
"""In units of sigma; exp(-6.1²) = 7e-17, below what a sum of order one can hold in double precision."""


@dataclass(frozen=True)
class RadialGrid:
    """Bins of equal width from 0.

    Parameters
    ----------
    r_max, bin_width : float, Å

    Raises
    ------
    ConfigError
        If r_max is not a whole number of bins.
    """

    r_max: float
    bin_width: float

    def __post_init__(self) -> None:
        count = self.r_max / self.bin_width
        if not (count > 0.5 and abs(count - round(count)) < 1e-6):  # noqa: PLR2004 - half a bin; rounding of decimals
            what = f"r_max {self.r_max:g} Å is not a whole number of bins of {self.bin_width:g} Å"
            raise ConfigError("request", "structure.bin_width", what)

    @property
    def n_bins(self) -> int:
        """Return the number of bins."""
        return round(self.r_max / self.bin_width)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Return the bin edges, shape=(n_bins + 1,), Å."""
        return np.linspace(0.0, self.r_max, self.n_bins + 1)

    @property
    def centres_r(self) -> NDArray[np.float64]:
        """Return the bin centres, shape=(n_bins,), Å."""
        return np.asarray((np.arange(self.n_bins) + 0.5) * self.bin_width)

    @property
    def shells_r(self) -> NDArray[np.float64]:
        """Return 4πr²Δr at the bin centres, shape=(n_bins,), Å³."""
        return 4.0 * np.pi * self.centres_r**2 * self.bin_width

    def bins_of(self, distances_n: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the bin of every distance; ``n_bins`` where it lies beyond the last."""
        return np.searchsorted(self.edges[1:], distances_n, side="right")


@dataclass(frozen=True)
class Pairs:
    """Directed pairs of neighbours, every image its own pair.

    Parameters
    ----------
    first_n, second_n : ndarray, shape=(n_pairs,)
        Indices of the atoms.
    distances_n : ndarray, shape=(n_pairs,), Å
    """

    first_n: NDArray[np.intp]
    second_n: NDArray[np.intp]
    distances_n: NDArray[np.float64]

    def parts(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]:
        """Yield the pairs in slices that fit the cache and the memory."""
        for start in range(0, len(self.distances_n), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            yield self.first_n[part], self.second_n[part], self.distances_n[part]


def find_pairs(positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64], cutoff: float) -> Pairs:
    """Return all directed pairs up to the cutoff, in any periodic cell.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows.
    cutoff : float, Å
        May exceed half the cell; an atom then sees its own images, which are real neighbours.

    Returns
    -------
    Pairs
    """
    found = neighbours(positions_ic, cell_cc, float(np.nextafter(cutoff, np.inf)))  # theirs leaves r = cutoff out
    return Pairs(found.i_n, found.j_n, found.r_n)


def element_pairs(n_elements: int) -> list[tuple[int, int]]:
    """Return the unordered pairs of elements in storage order: (0, 0), (0, 1), (1, 1) for two."""
    return list(combinations_with_replacement(range(n_elements), 2))


def count_pairs(pairs: Pairs, species_i: NDArray[np.integer], n_elements: int, grid: RadialGrid) -> NDArray[np.int64]:
    """Return how many directed pairs each bin holds, by element of the centre and of the neighbour.

    Returns
    -------
    ndarray, shape=(n_elements, n_elements, n_bins), int64
        Exact counts.
    """
    species_i = species_i.astype(np.intp)
    shape = (n_elements, n_elements, grid.n_bins + 1)
    counts = np.zeros(np.prod(shape), dtype=np.int64)
    for first_n, second_n, distances_n in pairs.parts():
        channel_n = species_i[first_n] * n_elements + species_i[second_n]
        counts += np.bincount(channel_n * shape[2] + grid.bins_of(distances_n), minlength=len(counts))
    return counts.reshape(shape)[:, :, :-1]


def partial_pdf(
    counts: NDArray[np.int64], atoms_e: NDArray[np.integer], volume: float, grid: RadialGrid
) -> NDArray[np.float64]:
    r"""Return the partial pair distribution functions.

    Parameters
    ----------
    counts : ndarray, shape=(n_elements, n_elements, n_bins)
        From :func:`count_pairs`.
    atoms_e : ndarray, shape=(n_elements,)
        Number of atoms of each element.
    volume : float, Å³
    grid : RadialGrid

    Returns
    -------
    ndarray, shape=(n_element_pairs, n_bins), dimensionless
        Zero where an element is absent.

    Notes
    -----
    .. math:: g_{ab}(r) = \frac{1}{N_a \rho_b 4 \pi r^2 \Delta r} \sum_{i \in a} \sum_{j \in b} \delta(r - r_{ij})

    References
    ----------
    Tao et al. (2023), Eq. (1).
    """
    rows = []
    for a, b in element_pairs(len(atoms_e)):
        ideal_r = float(atoms_e[a]) * float(atoms_e[b]) / volume * grid.shells_r
        rows.append(counts[a, b] / ideal_r if atoms_e[a] and atoms_e[b] else np.zeros(grid.n_bins))
    return np.array(rows)


def total_pdf(counts: NDArray[np.int64], n_atoms: int, volume: float, grid: RadialGrid) -> NDArray[np.float64]:
    r"""Return the total pair distribution function.

    Parameters
    ----------
    counts : ndarray, shape=(n_elements, n_elements, n_bins)
        From :func:`count_pairs`.
    n_atoms : int
    volume : float, Å³
    grid : RadialGrid

    Returns
    -------
    ndarray, shape=(n_bins,), dimensionless
        Equal to :math:`\sum_{ab} c_a c_b g_{ab}(r)`.
    """
    return np.asarray(counts.sum(axis=(0, 1)) / (n_atoms * n_atoms / volume * grid.shells_r))


@dataclass(frozen=True)
class Gaussian:
    """How the atomic functions are smeared.

    Parameters
    ----------
    sigma : float, Å
        Width of exp(-(r - r_ij)²/σ²); note that there is no factor 2.
    cutoff : float, Å
        Neighbours farther than this are left out.
    """

    sigma: float
    cutoff: float


def atomic_pdf(
    pairs: Pairs,
    species_i: NDArray[np.integer],
    atoms_e: NDArray[np.integer],
    volume: float,
    *,
    grid: RadialGrid,
    gaussian: Gaussian,
) -> NDArray[np.float64]:
    r"""Return the smooth pair distribution function of every atom.

    Parameters
    ----------
    pairs : Pairs
        At least up to the Gaussian's cutoff.
    species_i : ndarray, shape=(n_atoms,)
        Index of the atom's element.
    atoms_e : ndarray, shape=(n_elements,)
        Number of atoms of each element.
    volume : float, Å³
    grid : RadialGrid
    gaussian : Gaussian

    Returns
    -------
    ndarray, shape=(n_atoms, n_elements, n_bins), dimensionless
        The second axis is the element of the neighbour; the centre's own element says which of the paper's four
        channels these are, the other two being zero by definition.

    Notes
    -----
    .. math:: g^i_b(r) = \frac{1}{\rho_b 4 \pi r^2 \Delta r} \sum_{j \in b,\, r_{ij} \le r_c} e^{-(r - r_{ij})^2/\sigma^2}

    The paper gives no σ and no factor 1/(σ√π); so the average over atoms is the partial function smeared and multiplied by
    σ√π/Δr.

    References
    ----------
    Tao et al. (2023), Eq. (2).
    """
    n_atoms, n_elements = len(species_i), len(atoms_e)
    result = np.zeros(n_atoms * n_elements * grid.n_bins)
    reach = int(np.ceil(_GAUSSIAN_REACH * gaussian.sigma / grid.bin_width)) + 1
    for first_n, second_n, distances_n in pairs.parts():
        near_n = distances_n <= gaussian.cutoff
        row_n = first_n[near_n] * n_elements + species_i[second_n[near_n]]
        r_n = distances_n[near_n]
        bin_n = np.floor(r_n / grid.bin_width).astype(np.intp)
        for offset in range(-reach, reach + 1):
            at_n = bin_n + offset
            inside_n = (at_n >= 0) & (at_n < grid.n_bins)
            gap_n = (at_n[inside_n] + 0.5) * grid.bin_width - r_n[inside_n]
            place_n = row_n[inside_n] * grid.n_bins + at_n[inside_n]
            result += np.bincount(place_n, np.exp(-((gap_n / gaussian.sigma) ** 2)), minlength=len(result))
    density_e = np.asarray(atoms_e, dtype=float) / volume
    per_density_e = np.divide(1.0, density_e, out=np.zeros(n_elements), where=density_e > 0)
    return result.reshape(n_atoms, n_elements, grid.n_bins) * per_density_e[:, None] / grid.shells_r


def structure_step(request: Mapping[str, Any], inputs: Arrays, workdir: Any, progress: Progress) -> Outcome:  # noqa: ARG001
    """Compute the pair distribution functions of a configuration.

    Parameters
    ----------
    request : mapping
        ``elements``, ``r_max`` (Å), ``bin_width`` (Å), ``atomic`` (bool), ``gaussian_sigma`` (Å), ``atomic_cutoff`` (Å).
    inputs : mapping
        ``position`` (atom, cart) and ``cell`` (3, 3 rows) in Å, ``species`` (atom).
    workdir : Path
        Not used.
    progress : callable

    Returns
    -------
    Outcome
        ``r``, ``partial_pdf``, ``total_pdf`` and, if ``atomic``, ``atomic_pdf``.

    Raises
    ------
    ConfigError
        If r_max is not a whole number of bins.
    """
    grid = RadialGrid(float(request["r_max"]), float(request["bin_width"]))
    gaussian = Gaussian(float(request["gaussian_sigma"]), float(request["atomic_cutoff"]))
    species_i = np.asarray(inputs["species"])
    cell_cc = np.asarray(inputs["cell"], dtype=np.float64)
    volume = float(abs(np.linalg.det(cell_cc)))
    atoms_e = np.bincount(species_i, minlength=len(request["elements"]))
    progress(0, 3, "neighbours")
    cutoff = max(grid.r_max, gaussian.cutoff) if request["atomic"] else grid.r_max
    pairs = find_pairs(np.asarray(inputs["position"], dtype=np.float64), cell_cc, cutoff)
    progress(1, 3, "partial functions")
    counts = count_pairs(pairs, species_i, len(atoms_e), grid)
    arrays: dict[str, Any] = {
        "r": grid.centres_r,
        "partial_pdf": partial_pdf(counts, atoms_e, volume, grid),
        "total_pdf": total_pdf(counts, len(species_i), volume, grid),
    }
    if request["atomic"]:
        progress(2, 3, "atomic functions")
        arrays["atomic_pdf"] = atomic_pdf(pairs, species_i, atoms_e, volume, grid=grid, gaussian=gaussian)
    progress(3, 3, "done")
    return Outcome(arrays, facts={"pairs": len(pairs.distances_n), "gaussian_sigma": gaussian.sigma})
