# SPDX-License-Identifier: BSD-3-Clause
"""The papers' dense network on Keras: built, trained in a compiled loop, stored as plain numbers, and read again.

The loop of :class:`Trainer` is compiled once and serves all repeats of one architecture: samples that must not teach
are told apart by index, not by shape.  Their targets are replaced by NaN beforehand, so that a leak could not stay
unseen.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), section II C.  Its Table I, the architectures, is absent from
the text; those of ``ARCHITECTURES`` are ours.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed import durable
from bp_distributed.errors import StoreError
from bp_distributed.learning.scaling import Scaler

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

ARCHITECTURES: tuple[tuple[int, ...], ...] = ((64,), (128, 64), (256, 128, 64))
"""Hidden layers of n-64-1, n-128-64-1 and n-256-128-64-1."""
CHECK_EVERY = 64
"""Updates between two looks at the validation part."""
GAIN = 0.01
"""Adadelta creeps: a validation error that falls by less than this part within the patience has converged."""
_PAD = 64
_TOP_SEED = 2**31


# ---- Keras ------------------------------------------------------------------------------------------------------------


def choose_backend() -> None:
    """Let Keras use JAX where the user has chosen nothing that is installed; Keras reads this when first imported."""
    if "KERAS_BACKEND" in os.environ or "keras" in sys.modules:
        return
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        chosen = json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError):
        chosen = "tensorflow"
    if importlib.util.find_spec(chosen) is None and importlib.util.find_spec("jax") is not None:
        os.environ["KERAS_BACKEND"] = "jax"


@contextmanager
def quiet_keras() -> Iterator[None]:
    """Silence what Keras says about itself."""
    with warnings.catch_warnings():
        # Keras 3.15 calls numpy.array on its variables in a way NumPy 2 deprecates
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        yield


def build(n_features: int, hidden: tuple[int, ...], dropout: float, l2: float, seed: int | None) -> Any:
    """Return the Keras model n-p-q-...-1: rectified hidden layers with dropout and an L2 penalty, a linear output.

    Without a seed its weights are zero, to be set later.
    """
    import keras

    def start(place: int) -> Any:
        return keras.initializers.Zeros() if seed is None else keras.initializers.GlorotUniform(seed + place)

    regular = keras.regularizers.L2(l2)
    layers = [keras.layers.Input((n_features,))]
    for depth, width in enumerate(hidden):
        layers.append(
            keras.layers.Dense(
                width, activation="relu", kernel_initializer=start(2 * depth), kernel_regularizer=regular
            )
        )
        layers.append(keras.layers.Dropout(dropout, seed=(seed or 0) + 2 * depth + 1))
    layers.append(keras.layers.Dense(1, kernel_initializer=start(1000)))
    return keras.Sequential(layers)


def optimizer_of(name: str, learning_rate: float) -> Any:
    """Return the optimizer ``"adam"`` or ``"adadelta"``."""
    import keras

    return {"adam": keras.optimizers.Adam, "adadelta": keras.optimizers.Adadelta}[name](learning_rate=learning_rate)


@dataclass(frozen=True)
class Network:
    """A trained network with the scaling of its inputs and output."""

    model: Any
    inputs: Scaler
    output: Scaler

    def predict(self, features_sf: Floats) -> Floats:
        """Return predictions in the target's units, shape=(n_samples,)."""
        with quiet_keras():
            scaled_s = np.asarray(self.model.predict(self.inputs.forward(features_sf).astype(np.float32), verbose=0))
        return self.output.back(scaled_s.astype(np.float64))[:, 0]


# ---- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    hidden : tuple of int
    optimizer : {"adadelta", "adam"}
    learning_rate, dropout, l2 : float
    batch : int
        Samples per update.
    updates : int
        At most so many; 64 updates are an epoch of 1024 samples.
    patience : int
        Updates after which training stops if the validation error (mean square) has not fallen by ``GAIN``; the best
        weights are kept.
    """

    hidden: tuple[int, ...]
    optimizer: str = "adadelta"
    learning_rate: float = 0.01
    dropout: float = 0.1
    l2: float = 1e-4
    batch: int = 16
    updates: int = 60_000
    patience: int = 2400


@dataclass(frozen=True)
class Fit:
    """One fit.

    Attributes
    ----------
    predicted_s : ndarray, shape=(n_samples,), units of the target
        Of all samples, learned from or not.
    check_mae : float, units of the target
        Of the validation part, at the weights kept.
    best_at, updates : int
        Updates until the weights kept, and until training stopped.
    weights : list of ndarray
        In Keras' order.
    inputs, output : Scaler
    """

    predicted_s: Floats
    check_mae: float
    best_at: int
    updates: int
    weights: list[NDArray[np.float32]]
    inputs: Scaler
    output: Scaler


class Trainer:
    """Trains networks of one recipe on features of one shape; compiled at the first fit, used by all.

    Parameters
    ----------
    n_features : int
    recipe : Recipe
    """

    def __init__(self, n_features: int, recipe: Recipe) -> None:
        self.recipe = recipe
        with quiet_keras():
            self.model = build(n_features, recipe.hidden, recipe.dropout, recipe.l2, None)
            self._optimizer = optimizer_of(recipe.optimizer, recipe.learning_rate)
            self._optimizer.build(self.model.trainable_variables)
            self._blank = [variable.value for variable in self._optimizer.variables]
        self._stretch, self._predict = self._compiled()

    def _compiled(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        import jax  # noqa: PLC0415 - only where something is trained

        model, optimizer = self.model, self._optimizer

        def loss(trained: Any, other: Any, x: Any, y: Any) -> tuple[Any, Any]:
            found, other, penalties = model.stateless_call(trained, other, x, training=True, return_losses=True)
            return ((found[:, 0] - y) ** 2).mean() + sum(penalties), other

        slope = jax.grad(loss, has_aux=True)

        def update(state: Any, chosen: Any, x: Any, y: Any) -> tuple[Any, None]:
            trained, other, memory = state
            gradient, other = slope(trained, other, x[chosen], y[chosen])
            trained, memory = optimizer.stateless_apply(memory, gradient, trained)
            return (trained, other, memory), None

        def predict(trained: Any, other: Any, x: Any) -> Any:
            return model.stateless_call(trained, other, x, training=False)[0][:, 0]

        def stretch(state: Any, order: Any, check: Any, x: Any, y: Any) -> tuple[Any, Any]:
            state, _ = jax.lax.scan(lambda before, chosen: update(before, chosen, x, y), state, order)
            return state, predict(state[0], state[1], x[check])

        return jax.jit(stretch), jax.jit(predict)

    def _start(self, seed: int) -> tuple[Any, Any, Any]:
        """Return fresh weights (Glorot's uniform, biases zero), dropout's state and the optimizer's memory."""
        rng = np.random.default_rng(seed)
        trained = []
        for variable in self.model.trainable_variables:
            shape = tuple(variable.shape)
            bound = np.sqrt(6.0 / sum(shape)) if len(shape) > 1 else 0.0
            trained.append(rng.uniform(-bound, bound, shape).astype(np.float32))
        dropout = [np.array([0, seed + place], np.uint32) for place, _ in enumerate(self.model.non_trainable_variables)]
        return trained, dropout, list(self._blank)

    def fit(self, features_sf: Floats, target_s: Floats, learn: Indices, check: Indices, seed: int) -> Fit:
        """Train on some samples, stop by others, predict all.

        Parameters
        ----------
        features_sf : ndarray, shape=(n_samples, n_features)
        target_s : ndarray, shape=(n_samples,)
        learn, check : ndarray of int
            Samples that teach, and those that decide when to stop; no other target is looked at.
        seed : int
            Of the first weights, dropout and the order of samples.
        """
        inputs, output = Scaler.fitted(features_sf[learn]), Scaler.fitted(target_s[learn, None])
        x = inputs.forward(features_sf).astype(np.float32)
        y = np.full(len(x), np.nan, np.float32)
        y[learn] = output.forward(target_s[learn, None])[:, 0]
        truth = output.forward(target_s[check, None])[:, 0]
        rng = np.random.default_rng(seed)
        padded = np.resize(check, -(-len(check) // _PAD) * _PAD)
        with quiet_keras():
            state = self._start(seed % _TOP_SEED)
            best, best_loss, best_at, done = state[:2], np.inf, 0, 0
            mark, mark_at = np.inf, 0
            for order in _orders(learn, self.recipe.batch, rng):
                state, found = self._stretch(state, order, padded, x, y)
                done += len(order)
                loss = float(((np.asarray(found)[: len(check)] - truth) ** 2).mean())
                if loss < best_loss:
                    best, best_loss, best_at = state[:2], loss, done
                if loss < (1.0 - GAIN) * mark:
                    mark, mark_at = loss, done
                if done - mark_at >= self.recipe.patience or done >= self.recipe.updates:
                    break
            scaled_s = np.asarray(self._predict(*best, x), dtype=np.float64)
        predicted_s = output.back(scaled_s[:, None])[:, 0]
        check_mae = float(np.abs(predicted_s[check] - target_s[check]).mean())
        return Fit(predicted_s, check_mae, best_at, done, [np.asarray(part) for part in best[0]], inputs, output)

    def network(self, fit: Fit) -> Network:
        """Return the network of one fit as a Keras model."""
        with quiet_keras():
            self.model.set_weights(fit.weights)
        return Network(self.model, fit.inputs, fit.output)


def _orders(learn: Indices, batch: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield which samples make the next updates, shape=(CHECK_EVERY, batch): permutations, one after the other."""
    need = CHECK_EVERY * batch
    waiting = np.empty(0, dtype=np.intp)
    while True:
        turns = -(-(need - len(waiting)) // len(learn))
        waiting = np.concatenate([waiting, *(rng.permutation(learn) for _ in range(max(turns, 0)))])
        order, waiting = waiting[:need], waiting[need:]
        yield order.reshape(CHECK_EVERY, batch)


# ---- on disk ----------------------------------------------------------------------------------------------------------


def save_network(network: Network, path: Path, facts: dict[str, Any]) -> None:
    """Write a network as ``PATH.weights.h5`` and ``PATH.json``: numbers and a description, nothing that runs.

    Parameters
    ----------
    network : Network
    path : Path
        Without ending.
    facts : dict
        Plain data to keep beside it: what the features are.
    """
    weights = path.with_name(f"{path.name}.weights.h5")
    aside = path.with_name(f".{path.name}.weights.h5")
    with quiet_keras():
        network.model.save_weights(aside)
    aside.replace(weights)
    description = {
        "model": network.model.get_config(),
        "inputs": {name: values.tolist() for name, values in asdict(network.inputs).items()},
        "output": {name: values.tolist() for name, values in asdict(network.output).items()},
    }
    durable.replace_text(path.with_name(f"{path.name}.json"), json.dumps(facts | description, indent=1))


def load_network(path: Path, maker: str) -> Network:
    """Return the network that :func:`save_network` wrote, ready to predict.

    Parameters
    ----------
    path : Path
        Without ending.
    maker : str
        Command to name if it is not there.

    Raises
    ------
    StoreError
        If nothing was stored there.
    """
    described = path.with_name(f"{path.name}.json")
    if not described.is_file():
        raise StoreError(str(described), f"no such file; '{maker}' writes it")
    return read_network(described, path.with_name(f"{path.name}.weights.h5"))


def read_network(described: Path, weights: Path) -> Network:
    """Return the network of a description and a file of weights."""
    choose_backend()
    import keras

    content = json.loads(described.read_text(encoding="utf-8"))
    with quiet_keras():
        model = keras.Sequential.from_config(content["model"])
        model.load_weights(weights)
    scalers = [
        Scaler(**{name: np.array(values) for name, values in content[key].items()}) for key in ("inputs", "output")
    ]
    return Network(model, *scalers)
