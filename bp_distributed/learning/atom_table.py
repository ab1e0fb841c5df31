# SPDX-License-Identifier: BSD-3-Clause
"""The atoms that are learned from, and what each kind of model is told of them.

Letters of axes: ``i`` atom, ``s`` sample, ``n`` element of the neighbour, ``r`` radial bin, ``c`` channel, ``f`` feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.descriptors import Singles, four_channels, neighbour_weights, rebinned, recursive_averages

UNIT = 1e-9
"""ps³; the paper's target is log10(I x 1e9), which is this with I in (rad/ps)⁻³.  In another unit the target would be
shifted, and no error would change."""

CORE = 2.0
"""Å; no neighbour is nearer.  What tails of Gaussians leave in there would be blown up by any scaler."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Atoms:
    """Atoms of whole samples of one size and one composition.

    Attributes
    ----------
    pdf_inr : ndarray, shape=(n_atoms, n_elements, n_bins), dimensionless
    r : ndarray, shape=(n_bins,), Å
        Bins beyond the core, 2 Å.
    species_i, sample_i : ndarray of int, shape=(n_atoms,)
    target_i : ndarray, shape=(n_atoms,)
        log10 of the intensity in 1e-9 ps³.
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_scc : ndarray, shape=(n_samples, 3, 3), Å
    group_s : ndarray of str, shape=(n_samples,)
        Melts.
    elements : tuple of str
    """

    pdf_inr: Singles
    r: Floats
    species_i: Indices
    sample_i: Indices
    target_i: Floats
    positions_ic: Floats
    cell_scc: Floats
    group_s: NDArray[np.str_]
    elements: tuple[str, ...]

    @classmethod
    def of(cls, request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]]) -> Atoms:
        """Return the atoms that a job was given (see :func:`bp_distributed.learning.atom_inputs.atom_inputs`)."""
        beyond_r = inputs["r"] > CORE
        return cls(
            inputs["pdf"][:, :, beyond_r], inputs["r"][beyond_r], inputs["species"].astype(np.intp), inputs["sample"].astype(np.intp),
            np.log10(inputs["intensity"] / UNIT), inputs["position"], inputs["cell"], inputs["group"],
            tuple(request["elements"]),
        )  # fmt: skip

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return len(self.group_s)

    def samples(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield each sample with the mask of its atoms."""
        for sample in range(self.n_samples):
            yield sample, self.sample_i == sample

    @property
    def channels_if(self) -> Singles:
        """Return the paper's features, shape=(n_atoms, n_elements² n_bins): by centre, by neighbour, by bin."""
        return four_channels(self.pdf_inr, self.species_i).reshape(len(self.species_i), -1)

    @property
    def own_if(self) -> Singles:
        """Return the channels of the atom's own element, shape=(n_atoms, n_elements n_bins)."""
        return self.pdf_inr.reshape(len(self.species_i), -1)

    def averaged_if(self, cutoff: float, rounds: int, factor: int) -> Singles:
        """Return the atom's own functions and, by element, those of its surroundings after each round of averaging.

        Parameters
        ----------
        cutoff : float, Å
            Where the weight of one round ends.
        rounds : int
        factor : int
            Bins of the functions that are put together.

        Returns
        -------
        ndarray, shape=(n_atoms, n_features), float32
        """
        own_if = rebinned(self.pdf_inr, factor).reshape(len(self.species_i), -1)
        channels_if = rebinned(four_channels(self.pdf_inr, self.species_i), factor).reshape(len(self.species_i), -1)
        return np.concatenate([own_if, *self.averages(channels_if, cutoff, rounds)], axis=1)

    def averages(self, features_if: Singles, cutoff: float, rounds: int) -> list[Singles]:
        """Return any features after 1, 2, ... rounds of averaging within each sample."""
        found = [np.empty_like(features_if) for _ in range(rounds)]
        for sample, mine_i in self.samples():
            weights = neighbour_weights(self.positions_ic[mine_i], self.cell_scc[sample], cutoff)
            for whole_if, part_if in zip(found, recursive_averages(features_if[mine_i], weights, rounds), strict=True):
                whole_if[mine_i] = part_if
        return found

    def own_of(self, channels_if: Singles, species_i: Indices) -> Singles:
        """Return the channels of the atoms' own elements out of all channels."""
        n_elements = len(self.elements)
        channels = channels_if.reshape(len(species_i), n_elements, -1)
        return np.asarray(channels[np.arange(len(species_i)), species_i])
