# SPDX-License-Identifier: BSD-3-Clause
"""Models of single atoms beside the paper's network: mean, ridge and boosted trees, each fitted element by element.

Letters of axes: ``i`` atom, ``f`` feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.parts import Part
from bp_distributed.learning.scaling import Scaler

PENALTIES = np.logspace(-5, 2, 22)
"""Of the ridge, in units of the mean square of a standardised feature times the number of atoms."""
COMPONENTS = 40
"""Principal components that the trees are given."""
TREES, LEARNING_RATE, LEAVES = 250, 0.06, 15

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Features = NDArray[np.floating]
FitOne = Callable[[Features, Floats, NDArray[np.bool_]], Callable[[Features], Floats]]
"""``fit(features_if, target_i, check_i)``: ``check_i`` marks the part of the training set that settings are chosen on."""
Predict = Callable[[Features, Indices], Floats]
"""Features and elements of atoms to predictions."""


def fit_mean(features_if: Features, target_i: Floats, check_i: NDArray[np.bool_]) -> Callable[[Features], Floats]:  # noqa: ARG001
    """Return a model that says the mean."""
    mean = float(target_i.mean())
    return lambda features_if: np.full(len(features_if), mean)


@dataclass(frozen=True)
class Ridge:
    """A linear model of standardised features.

    Attributes
    ----------
    scaler : Scaler
        Of the training part.
    weights_f : ndarray, shape=(n_features,), unit of the target
    level : float
        Mean of the target.
    penalty : float
        Chosen on the part held back within the training set.
    """

    scaler: Scaler
    weights_f: Floats
    level: float
    penalty: float

    def __call__(self, features_if: Features) -> Floats:
        """Return predictions, shape=(n_atoms,)."""
        return np.asarray(self.scaler.forward(features_if) @ self.weights_f + self.level)


def fit_ridge(features_if: Features, target_i: Floats, check_i: NDArray[np.bool_]) -> Ridge:
    """Return a ridge whose penalty does best on the part held back, fitted again with that part."""
    wide_if = np.asarray(features_if, dtype=np.float64)
    scaler = Scaler.fitted(wide_if)
    scaled_if, level = scaler.forward(wide_if), float(target_i.mean())
    centred_i = target_i - level
    learn_if, held_if = scaled_if[~check_i], scaled_if[check_i]
    gram_ff, moment_f = learn_if.T @ learn_if, learn_if.T @ centred_i[~check_i]
    paths = _path(gram_ff, moment_f, PENALTIES * len(learn_if))
    error = ((held_if @ paths - centred_i[check_i][:, None]) ** 2).mean(axis=0)
    penalty = float(PENALTIES[int(error.argmin())])
    gram_ff += held_if.T @ held_if
    moment_f += held_if.T @ centred_i[check_i]
    gram_ff[np.diag_indices_from(gram_ff)] += penalty * len(scaled_if)
    return Ridge(scaler, np.asarray(np.linalg.solve(gram_ff, moment_f), dtype=np.float64), level, penalty)


def _path(gram_ff: Floats, moment_f: Floats, penalties: Floats) -> Floats:
    """Return the weights for every penalty, shape=(n_features, n_penalties)."""
    value_f, vectors_ff = np.linalg.eigh(gram_ff)
    shrunk = (vectors_ff.T @ moment_f)[:, None] / (np.maximum(value_f, 0.0)[:, None] + penalties)
    return np.asarray(vectors_ff @ shrunk)


def fit_trees(features_if: Features, target_i: Floats, check_i: NDArray[np.bool_]) -> Callable[[Features], Floats]:  # noqa: ARG001
    """Return gradient-boosted trees on the principal components of the features; nothing is chosen."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingRegressor

    scaler = Scaler.fitted(np.asarray(features_if, dtype=np.float64))
    components = PCA(min(COMPONENTS, *features_if.shape), svd_solver="covariance_eigh", random_state=0)
    reduced_if = components.fit_transform(scaler.forward(features_if))
    trees = HistGradientBoostingRegressor(
        max_iter=TREES, learning_rate=LEARNING_RATE, max_leaf_nodes=LEAVES, early_stopping=False, random_state=0
    )
    trees.fit(reduced_if, target_i)
    return lambda features_if: np.asarray(trees.predict(components.transform(scaler.forward(features_if))))


@dataclass(frozen=True)
class ByElement:
    """One model for each element.

    Attributes
    ----------
    models : mapping of int to callable
        By index of the element.
    """

    models: Mapping[int, Callable[[Features], Floats]]

    def __call__(self, features_if: Features, species_i: Indices) -> Floats:
        """Return predictions, shape=(n_atoms,); NaN for an element that was not in the training part."""
        predicted_i = np.full(len(species_i), np.nan)
        for element, model in self.models.items():
            mine = species_i == element
            if mine.any():
                predicted_i[mine] = model(features_if[mine])
        return predicted_i


def by_element(
    fit: FitOne,
    features_if: Features,
    target_i: Floats,
    species_i: Indices,
    part: Part,
    seed: int,  # noqa: ARG001
) -> ByElement:
    """Fit a model to the atoms of each element alone.

    Parameters
    ----------
    fit : callable
        Such as :func:`fit_ridge`.
    features_if : ndarray, shape=(n_atoms, n_features)
    target_i, species_i : ndarray, shape=(n_atoms,)
    part : Part
        Who is trained on.
    seed : int
        Not used: these models draw nothing.

    Returns
    -------
    ByElement
    """
    models = {}
    for element in np.unique(species_i[part.train]):
        mine = species_i[part.train] == element
        chosen = part.train[mine]
        models[int(element)] = fit(features_if[chosen], target_i[chosen], part.check_i[mine])
    return ByElement(models)
