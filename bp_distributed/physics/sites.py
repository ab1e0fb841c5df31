# SPDX-License-Identifier: BSD-3-Clause
"""Where atoms sit, and two ways to learn from that how certain a relation between their properties is.

Neighbouring atoms are alike, so thousands of atoms may hold the information of a few dozen.  *Blocks* answer how far an
estimate would move with other glass of the same kind: cubes larger than what is alike, or whole independent samples,
are drawn again with replacement.  *Shifts* answer what chance alone would give: one property is moved rigidly through
the periodic cell and read at the nearest atom, which keeps its own spatial order and breaks its tie to the other.

Letters of axes: ``i`` atom, ``s`` sample, ``d`` draw, ``b`` block.

References
----------
Hall, Horowitz and Jing, Biometrika 82, 561 (1995), on the size of blocks; Upton and Fingleton, Spatial Data Analysis by
Example (1985), on toroidal shifts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENOUGH_GROUPS = 8
"""From so many independent samples on, the samples themselves are the blocks."""

LEAST_PER_AXIS = 2
_ORIGINS = 20
"""Different grids of blocks among all draws."""


@dataclass(frozen=True)
class Sites:
    """Atoms of one or several periodic samples, sample after sample.

    Attributes
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cells_scc : ndarray, shape=(n_samples, 3, 3), Å
        Lattice vectors are rows.
    sample_i : ndarray of int, shape=(n_atoms,)
        Which sample an atom belongs to, rising.
    group_s : ndarray of int, shape=(n_samples,)
        Samples of one group are not independent, as those of a common melt.
    """

    positions_ic: NDArray[np.float64]
    cells_scc: NDArray[np.float64]
    sample_i: NDArray[np.intp]
    group_s: NDArray[np.intp]

    @classmethod
    def of_one(cls, positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64]) -> Sites:
        """Return the sites of one sample."""
        one = np.zeros(1, dtype=np.intp)
        return cls(positions_ic, cell_cc[None], np.zeros(len(positions_ic), dtype=np.intp), one)

    def __len__(self) -> int:
        return len(self.positions_ic)

    def take(self, keep_i: NDArray[np.bool_]) -> Sites:
        """Return some of the atoms."""
        return Sites(self.positions_ic[keep_i], self.cells_scc, self.sample_i[keep_i], self.group_s)

    @property
    def volume(self) -> float:
        """Volume of the samples that have atoms here, Å³."""
        return float(np.abs(np.linalg.det(self.cells_scc[np.unique(self.sample_i)])).sum())


@dataclass(frozen=True)
class Blocks:
    """One way to cut the atoms into parts that are taken as independent.

    Attributes
    ----------
    block_i : ndarray of int, shape=(n_atoms,)
    counts_db : ndarray, shape=(n_draws, n_blocks)
        How often each draw takes each block.
    """

    block_i: NDArray[np.intp]
    counts_db: NDArray[np.float64]


def blocks(sites: Sites, edge: float, n_draws: int, rng: np.random.Generator) -> Iterator[Blocks]:
    """Yield cuts into blocks and draws of them with replacement, each cut with another origin of its grid.

    Parameters
    ----------
    sites : Sites
    edge : float, Å
        Blocks have at least this edge, as far as each axis still has two.  Where there are ``ENOUGH_GROUPS``
        independent samples, these are the blocks and the edge does not matter.
    n_draws : int
        Of all cuts together.
    rng : numpy.random.Generator
    """
    groups, group_i = np.unique(sites.group_s[sites.sample_i], return_inverse=True)
    if len(groups) >= ENOUGH_GROUPS:
        yield Blocks(group_i, _draws(len(groups), n_draws, rng))
        return
    for _ in range(_ORIGINS):
        _, block_i = np.unique(_cubes(sites, edge, rng), return_inverse=True)
        yield Blocks(block_i, _draws(int(block_i.max()) + 1, -(-n_draws // _ORIGINS), rng))


def n_blocks(sites: Sites, edge: float) -> int:
    """Return into how many parts :func:`blocks` cuts the atoms."""
    samples = np.unique(sites.sample_i)
    n_groups = len(np.unique(sites.group_s[samples]))
    if n_groups >= ENOUGH_GROUPS:
        return n_groups
    return sum(int(np.prod(_per_axis(sites.cells_scc[sample], edge))) for sample in samples)


def _draws(n_parts: int, n_draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.multinomial(n_parts, np.full(n_parts, 1.0 / n_parts), n_draws).astype(np.float64)


def _per_axis(cell_cc: NDArray[np.float64], edge: float) -> NDArray[np.intp]:
    width_c = 1.0 / np.linalg.norm(np.linalg.inv(cell_cc), axis=0)
    parts_c: NDArray[np.intp] = np.maximum(LEAST_PER_AXIS, (width_c / edge).astype(np.intp))
    return parts_c


def _cubes(sites: Sites, edge: float, rng: np.random.Generator) -> NDArray[np.intp]:
    block_i = np.empty(len(sites), dtype=np.intp)
    first = 0
    for sample in np.unique(sites.sample_i):
        mine_i = sites.sample_i == sample
        parts_c = _per_axis(sites.cells_scc[sample], edge)
        fractional_ic = sites.positions_ic[mine_i] @ np.linalg.inv(sites.cells_scc[sample]) + rng.random(3)
        place_ic = np.floor((fractional_ic % 1.0) * parts_c).astype(np.intp) % parts_c
        block_i[mine_i] = first + np.ravel_multi_index(tuple(place_ic.T), tuple(parts_c))
        first += int(np.prod(parts_c))
    return block_i


def shifts(sites: Sites, n_draws: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return from which atom each atom takes its value, when the values of a sample move rigidly by a random vector.

    Parameters
    ----------
    sites : Sites
    n_draws : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int32, shape=(n_draws, n_atoms)
        Always of the same sample.

    Notes
    -----
    Every shift is as likely as any other, short ones included, so that a p-value from them is right and cannot fall
    below the part of the cell over which the property stays alike.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - heavy for those who only import

    source_di = np.empty((n_draws, len(sites)), dtype=np.int32)
    for sample in np.unique(sites.sample_i):
        mine = np.flatnonzero(sites.sample_i == sample)
        cell_cc = sites.cells_scc[sample]
        fractional_ic = sites.positions_ic[mine] @ np.linalg.inv(cell_cc) % 1.0
        images_nc = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=3)))
        around_nc = (fractional_ic[None] + images_nc[:, None]).reshape(-1, 3)
        near_n = np.flatnonzero(((around_nc > -0.5) & (around_nc < 1.5)).all(axis=1))  # noqa: PLR2004 - half a cell
        tree = KDTree(around_nc[near_n] @ cell_cc)
        for draw in range(n_draws):
            _, found_i = tree.query((fractional_ic + rng.random(3)) % 1.0 @ cell_cc)
            source_di[draw, mine] = mine[near_n[found_i] % len(mine)]
    return source_di
