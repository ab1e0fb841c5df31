# SPDX-License-Identifier: BSD-3-Clause
"""The paper's network on single atoms: four channels in, one logarithm out, one network for both elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.network import Fit, Recipe, Trainer, save_network
from bp_distributed.learning.parts import Part

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Features = NDArray[np.floating]

RECIPE = Recipe(hidden=(128, 64), batch=64, updates=25600, patience=3200)
"""Adadelta at 0.01 is the paper's; depth, widths, dropout, penalty and batch are ours, for it gives none of them."""


def forward(fit: Fit, features_if: Features) -> Floats:
    """Return what a trained network predicts, shape=(n_atoms,); plain arithmetic, since many small parts are asked."""
    layers = list(zip(fit.weights[0::2], fit.weights[1::2], strict=True))
    signal = fit.inputs.forward(features_if).astype(np.float32)
    for depth, (kernel, bias) in enumerate(layers, start=1):
        signal = signal @ kernel + bias
        if depth < len(layers):
            signal = np.maximum(signal, 0.0)
    return np.asarray(fit.output.back(signal.astype(np.float64))[:, 0])


@dataclass(frozen=True)
class Trained:
    """A trained network as a model of atoms; the channels say the element."""

    fit: Fit

    def __call__(self, features_if: Features, species_i: Indices) -> Floats:  # noqa: ARG002
        """Return predictions, shape=(n_atoms,)."""
        return forward(self.fit, features_if)


@dataclass
class Networks:
    """Trains networks of one recipe; each number of features is compiled once."""

    recipe: Recipe
    trainers: dict[int, Trainer] = field(default_factory=dict)

    def fit(
        self,
        features_if: NDArray[Any],
        target_i: Floats,
        species_i: Indices,  # noqa: ARG002
        part: Part,
        seed: int,
    ) -> Trained:
        """Return a network that saw only the training part."""
        n_features = features_if.shape[1]
        if n_features not in self.trainers:
            self.trainers[n_features] = Trainer(n_features, self.recipe)
        learn, check = part.train[~part.check_i], part.train[part.check_i]
        return Trained(self.trainers[n_features].fit(features_if, target_i, learn, check, seed))

    def save(self, trained: Trained, path: Path, facts: dict[str, Any]) -> None:
        """Store one trained network as weights and architecture."""
        trainer = self.trainers[len(trained.fit.inputs.mean_f)]
        save_network(trainer.network(trained.fit), path, facts)
