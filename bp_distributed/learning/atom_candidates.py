# SPDX-License-Identifier: BSD-3-Clause
"""The models of single atoms that stand beside each other: what each is told, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.atom_models import Features, Predict, by_element, fit_mean, fit_ridge, fit_trees
from bp_distributed.learning.atom_network import RECIPE, Networks
from bp_distributed.learning.atom_table import Atoms
from bp_distributed.learning.network import Recipe
from bp_distributed.learning.parts import Part

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Fit = Callable[[Features, Floats, Indices, Part, int], Predict]
"""``fit(features_if, target_i, species_i, part, seed)``."""

MODERN_RECIPE = replace(RECIPE, optimizer="adam", learning_rate=1e-3, updates=6400, patience=640)
SCAN = replace(MODERN_RECIPE, updates=1920)
"""Trained by Adam: by Adadelta each of the fits would take 50 times as many updates."""

NETWORK, MODERN = "network", "network, Adam"
MEAN, RIDGE, TREES = "mean of the element", "ridge", "trees"
AVERAGED_RIDGE, AVERAGED_TREES = "ridge, neighbours averaged", "trees, neighbours averaged"
STIFFNESS = "ridge, local stiffness"
"""Uses the potential, so it is no prediction from structure; shown beside those that are, never recommended."""


@dataclass(frozen=True)
class Settings:
    """What is asked of the job.

    Attributes
    ----------
    folds, seed : int
    most_trained : int
        Atoms that one model is trained on at most, drawn at random from all samples of its training part.
    average_cutoff : float, Å
        Where the weight of one round of averaging ends.
    rounds, factor : int
        Rounds of averaging; bins put together before it.
    cutoffs, network_cutoffs : tuple of float, Å
        Farthest bin centre that ridge and network are told of.
    network_repeats : int
        Trainings for each cutoff.
    network, modern, scan : Recipe
        Of the paper's network, of the same trained by Adam, and of those of the scan over cutoffs, all trained alike.
    """

    folds: int = 5
    seed: int = 0
    most_trained: int = 20_000
    average_cutoff: float = 5.0
    rounds: int = 3
    factor: int = 2
    cutoffs: tuple[float, ...] = tuple(np.round(np.arange(2.85, 12.0, 0.5), 2).tolist())
    network_cutoffs: tuple[float, ...] = tuple(np.round(np.arange(2.85, 10.0, 1.0), 2).tolist())
    network_repeats: int = 2
    network: Recipe = RECIPE
    modern: Recipe = MODERN_RECIPE
    scan: Recipe = SCAN

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Settings:
        """Return the settings from a request; what it leaves out stays as it is."""
        given: dict[str, Any] = {name: value for name, value in request.items() if name in cls.__dataclass_fields__}
        lists: dict[str, Any] = {name: tuple(given[name]) for name in ("cutoffs", "network_cutoffs") if name in given}
        recipes: dict[str, Any] = {}
        for name in {"network", "modern", "scan"} & set(given):
            changed = given[name] | {"hidden": tuple(given[name].get("hidden", RECIPE.hidden))}
            recipes[name] = replace(getattr(cls, name), **changed)
        return cls(**(given | lists | recipes))


def fits_of(networks: Networks, modern: Networks) -> dict[str, Fit]:
    """Return how each model is trained."""
    ridge, trees = partial(by_element, fit_ridge), partial(by_element, fit_trees)
    return {
        MEAN: partial(by_element, fit_mean), RIDGE: ridge, AVERAGED_RIDGE: ridge, TREES: trees, AVERAGED_TREES: trees,
        MODERN: modern.fit, NETWORK: networks.fit, STIFFNESS: ridge,
    }  # fmt: skip


def features_of(atoms: Atoms, stiffness_i: Floats | None, settings: Settings) -> dict[str, Features]:
    """Return what each model is told, from the simplest model to the least simple."""
    channels_if = atoms.channels_if
    averaged_if = atoms.averaged_if(settings.average_cutoff, settings.rounds, settings.factor)
    features: dict[str, Features] = {
        MEAN: atoms.own_if[:, :0], RIDGE: atoms.own_if, AVERAGED_RIDGE: averaged_if, TREES: atoms.own_if,
        AVERAGED_TREES: averaged_if, MODERN: channels_if, NETWORK: channels_if,
    }  # fmt: skip
    if stiffness_i is not None:
        log_if = np.log(stiffness_i)[:, None].astype(np.float32)
        averages = atoms.averages(log_if, settings.average_cutoff, settings.rounds)
        features[STIFFNESS] = np.concatenate([log_if, *averages], axis=1)
    return features


def crossed(
    fit: Fit, features_if: Features, atoms: Atoms, parts: Sequence[Part], repeat: int = 0
) -> tuple[Floats, list[Predict]]:
    """Return a prediction for every atom by models that never saw its fold, and the model of each fold.

    Returns
    -------
    predicted_i : ndarray, shape=(n_atoms,)
    models : list of callable
    """
    found_i, models = np.full(len(atoms.target_i), np.nan), []
    for fold, part in enumerate(parts):
        models.append(fit(features_if, atoms.target_i, atoms.species_i, part, repeat * len(parts) + fold))
        found_i[part.test] = models[-1](features_if[part.test], atoms.species_i[part.test])
    return found_i, models
