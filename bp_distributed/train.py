# SPDX-License-Identifier: BSD-3-Clause
"""Learn the boson-peak intensity from pair distributions, with errors that can be believed.

Samples of one melt never stand on both sides of a split.  Every sample is predicted once, by models that never saw
its melt; the same holds for the baselines beside the network.  Scaling, early stopping and the choice of the ridge's
penalty see the training part only.  Intensities are in µTHz⁻³, which is 1e-6 ps³ = 1e-6 (rad/ps)⁻³.

Array names: letter ``s`` is a sample, ``f`` a feature.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), section II B and appendix B.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError, StoreError
from bp_distributed.learning.baselines import ridge
from bp_distributed.learning.network import Network, build, choose_backend, optimizer_of, quiet_keras, read_network
from bp_distributed.learning.scaling import Scaler
from bp_distributed.learning.scores import mae, mean_interval, paired_difference, r2, rmse, spearman
from bp_distributed.learning.splits import group_folds, validation_part

MICRO_THZ = 1e6
"""µTHz⁻³ per ps³."""

MIN_GROUPS = 2
MIN_SAMPLES = 4
FEW_GROUPS = 10
"""Below this many melts a confidence interval over melts means little."""

BATCH = 32
RESULT_NAME, PREDICTIONS_NAME = "training.json", "predictions.csv"
WEIGHTS_NAME, ARCHITECTURE_NAME = "network.weights.h5", "architecture.json"
NETWORK = "network"

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Settings(Protocol):
    """What training needs to know; ``config.TrainingConfig`` fits."""

    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def features(self) -> str: ...  # noqa: D102
    @property
    def hidden(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def epochs(self) -> int: ...  # noqa: D102
    @property
    def patience(self) -> int: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def l2(self) -> float: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def optimizer(self) -> str: ...  # noqa: D102
    @property
    def repeats(self) -> int: ...  # noqa: D102
    @property
    def folds(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Table:
    """The samples that can be learned from.

    Attributes
    ----------
    features_sf : ndarray, shape=(n_samples, n_features), dimensionless
    target_s : ndarray, shape=(n_samples,), µTHz⁻³
    rate_s : ndarray, shape=(n_samples,), K/s
        NaN for structures made elsewhere.
    noise_s : ndarray, shape=(n_samples,), µTHz⁻³
        Standard error of the target; NaN where unknown.
    group_s, sample_id_s, label_s : ndarray of str, shape=(n_samples,)
    left_out : dict of str to int
        Samples that could not be used, by reason.
    """

    features_sf: Floats
    target_s: Floats
    rate_s: Floats
    noise_s: Floats
    group_s: NDArray[np.str_]
    sample_id_s: NDArray[np.str_]
    label_s: NDArray[np.str_]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.target_s)


@dataclass(frozen=True)
class TrainingResult:
    """Errors and predictions of the network and its baselines.

    Attributes
    ----------
    metrics : dict of str to dict of str to float
        By model: ``mae``, ``mae_low``, ``mae_high`` (95 %, melts resampled), ``rmse`` in µTHz⁻³; ``r2``;
        ``mae_over_std`` and ``mae_over_noise``; ``spearman``; for the network also ``single_mae`` and
        ``single_mae_sd``, of one network over the repeats.
    remarks : list of str
        What must be said with the numbers.
    predictions : dict of str to list of float
        By model, in the order of ``sample_id``, µTHz⁻³; each by models that never saw the sample's melt.
    truth, sample_id, label, group, fold : list
        Target in µTHz⁻³, and who is who.
    facts : dict
        Counts, settings, versions, time, the random split.
    """

    metrics: dict[str, dict[str, float]]
    remarks: list[str]
    predictions: dict[str, list[float]]
    truth: list[float]
    sample_id: list[str]
    label: list[str]
    group: list[str]
    fold: list[int]
    facts: dict[str, Any]


# ---- data -------------------------------------------------------------------------------------------------------------


def table_of(dataset: xr.Dataset, features: str, target: str = "intensity") -> Table:
    """Return the samples to learn from, with their features and target.

    A sample without a boson peak has no paper-style ``intensity``, but it has a robust one; a sample rejected for any
    other reason is not used.

    Raises
    ------
    CampaignError
        If the dataset lacks what is needed.
    """
    for name, stage in ((features, "structure"), (target, "vibration")):
        if name not in dataset:
            raise CampaignError(f"the dataset holds no {name!r}; run the stage {stage!r}, then 'bpd gather'")
    n_samples = dataset.sizes["sample"]
    features_sf = dataset[features].to_numpy().reshape(n_samples, -1).astype(np.float64)
    target_s = dataset[target].to_numpy() * MICRO_THZ
    accepted_s = dataset["accepted" if target == "intensity" else "robust_accepted"].to_numpy()
    complete_s = np.isfinite(target_s) & np.isfinite(features_sf).all(axis=1)
    use_s = complete_s & (accepted_s == 1)
    rejected = int((accepted_s == 0).sum())
    noise_s = (
        dataset[f"{target}_error"].to_numpy() * MICRO_THZ
        if f"{target}_error" in dataset
        else np.full(n_samples, np.nan)
    )
    return Table(
        features_sf[use_s],
        target_s[use_s],
        dataset["cooling_rate"].to_numpy()[use_s],
        noise_s[use_s],
        dataset["group"].to_numpy()[use_s],
        dataset["sample_id"].to_numpy()[use_s],
        dataset["label"].to_numpy()[use_s],
        {"rejected": rejected, "incomplete": int((~use_s).sum()) - rejected},
    )


def _check(table: Table) -> int:
    """Return the number of groups, or say why nothing can be learned."""
    n_groups = len(np.unique(table.group_s))
    if n_groups < MIN_GROUPS:
        raise CampaignError(
            f"{len(table)} usable samples come from {n_groups} melt(s); a split by melt needs at least {MIN_GROUPS}: "
            "plan more melts, or wait for more samples"
        )
    if len(table) < MIN_SAMPLES:
        raise CampaignError(
            f"{len(table)} usable samples; training needs at least {MIN_SAMPLES}: wait for more samples"
        )
    if float(np.ptp(table.target_s)) == 0.0:
        raise CampaignError("all samples have the same intensity; there is nothing to learn")
    return n_groups


# ---- baselines --------------------------------------------------------------------------------------------------------


def _mean(table: Table, train: Indices, test: Indices, seed: int) -> Floats:  # noqa: ARG001
    return np.full(len(test), table.target_s[train].mean())


def _rate(table: Table, train: Indices, test: Indices, seed: int) -> Floats:  # noqa: ARG001
    exponent_s = np.log10(table.rate_s)
    slope, level = np.polyfit(exponent_s[train], table.target_s[train], 1)
    return np.asarray(slope * exponent_s[test] + level)


def _ridge(table: Table, train: Indices, test: Indices, seed: int) -> Floats:
    n_groups = len(np.unique(table.group_s[train]))
    units_s = table.group_s[train] if n_groups > 1 else table.sample_id_s[train]
    return ridge(table.features_sf[train], table.target_s[train], units_s, table.features_sf[test], seed)


def _rates_differ(table: Table, fold_s: Indices) -> bool:
    """Tell whether a line through the rates can be fitted in every training part."""
    if not np.isfinite(table.rate_s).all():
        return False
    return all(len(np.unique(table.rate_s[fold_s != fold])) > 1 for fold in np.unique(fold_s))


def _by_fold(predict: Any, table: Table, fold_s: Indices, seed: int) -> Floats:
    found_s = np.full(len(table), np.nan)
    for fold in np.unique(fold_s):
        train, test = np.flatnonzero(fold_s != fold), np.flatnonzero(fold_s == fold)
        found_s[test] = predict(table, train, test, seed)
    return found_s


# ---- network ----------------------------------------------------------------------------------------------------------


def _fit(table: Table, train: Indices, settings: Settings, seed: int) -> Network:
    """Train one network, stopped early by a validation part of the training set.

    Sets the seeds of Python, NumPy and the backend, since Keras shuffles with theirs.
    """
    import keras

    stop_s = validation_part(table.group_s[train], seed)
    learn, check = train[~stop_s], train[stop_s]
    inputs = Scaler.fitted(table.features_sf[learn])
    output = Scaler.fitted(table.target_s[learn, None])

    def batch(part: Indices) -> tuple[Any, Any]:
        x, y = inputs.forward(table.features_sf[part]), output.forward(table.target_s[part, None])
        return x.astype(np.float32), y.astype(np.float32)

    with quiet_keras():
        keras.utils.set_random_seed(seed)
        model = build(table.features_sf.shape[1], settings.hidden, settings.dropout, settings.l2, seed)
        model.compile(optimizer=optimizer_of(settings.optimizer, settings.learning_rate), loss="mse")
        stop = keras.callbacks.EarlyStopping(patience=settings.patience, restore_best_weights=True)
        model.fit(
            *batch(learn),
            validation_data=batch(check),
            epochs=settings.epochs,
            batch_size=BATCH,
            callbacks=[stop],
            verbose=0,
        )
    return Network(model, inputs, output)


def _network_by_fold(table: Table, fold_s: Indices, settings: Settings) -> Floats:
    """Return predictions, shape=(repeats, n_samples), µTHz⁻³; the folds stay, initialisation and validation part change."""
    import keras

    found = np.full((settings.repeats, len(table)), np.nan)
    for repeat in range(settings.repeats):
        for fold in np.unique(fold_s):
            train, test = np.flatnonzero(fold_s != fold), np.flatnonzero(fold_s == fold)
            seed = int(np.random.SeedSequence([settings.seed, repeat, int(fold)]).generate_state(1)[0]) % 2**31
            found[repeat, test] = _fit(table, train, settings, seed).predict(table.features_sf[test])
            keras.backend.clear_session()
    return found


# ---- errors -----------------------------------------------------------------------------------------------------------


def errors_of(predicted_s: Floats, table: Table, seed: int) -> dict[str, float]:
    """Return the errors of one model (see :class:`TrainingResult`)."""
    error = mean_interval(np.abs(predicted_s - table.target_s), table.group_s, seed)
    noise = float(np.nanmedian(table.noise_s)) if np.isfinite(table.noise_s).any() else math.nan
    return {
        "mae": error.value,
        "mae_low": error.low,
        "mae_high": error.high,
        "rmse": rmse(predicted_s, table.target_s),
        "r2": r2(predicted_s, table.target_s),
        "mae_over_std": error.value / float(table.target_s.std()),
        "mae_over_noise": error.value / noise if noise else math.nan,
        "spearman": spearman(predicted_s, table.target_s),
    }


def _remarks(
    table: Table, predictions: dict[str, Floats], metrics: dict[str, dict[str, float]], facts: dict[str, Any]
) -> list[str]:
    n_groups, seed = facts["groups"], facts["settings"]["seed"]
    remarks = []
    if n_groups < FEW_GROUPS:
        remarks.append(
            f"{len(table)} samples in {n_groups} melts: this shows that the pipeline works; "
            "it is too little to conclude how well structure predicts the boson peak"
        )
    best = min((name for name in metrics if name != NETWORK), key=lambda name: metrics[name]["mae"])
    excess = paired_difference(predictions[NETWORK], predictions[best], table.target_s, table.group_s, seed)
    word = "better than" if excess.high < 0 else "worse than" if excess.low > 0 else "not distinguishable from"
    remarks.append(
        f"the network is {word} the best baseline, {best!r}: MAE of the network minus that of the baseline "
        f"{excess.value:+.2f} [{excess.low:+.2f}, {excess.high:+.2f}] µTHz⁻³ (95 %, melts resampled)".replace("-", "−")
    )
    split = facts["random_split"]
    remarks.append(
        f"leakage check: the ridge's MAE is {split['ridge_mae_random']:.2f} µTHz⁻³ when samples are split at random "
        f"and {split['ridge_mae_by_melt']:.2f} when split by melt, which is what counts"
    )
    if any(table.left_out.values()):
        remarks.append(
            f"left out: {table.left_out['rejected']} rejected and {table.left_out['incomplete']} incomplete samples"
            + ("; rejection looks at the spectrum, so it selects on the label" if table.left_out["rejected"] else "")
        )
    if "rate" not in metrics:
        remarks.append("no cooling-rate baseline: the rates are unknown, or all the same")
    if facts["folds"] < facts["settings"]["folds"]:
        remarks.append(f"{facts['settings']['folds']} folds were asked for; {n_groups} melts allow {facts['folds']}")
    return remarks


# ---- the door ---------------------------------------------------------------------------------------------------------


def train(dataset: xr.Dataset, settings: Settings, folder: Path) -> TrainingResult:
    """Train and judge the network and its baselines; write everything into ``folder``.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    settings : Settings
    folder : Path
        Gets ``training.json``, ``predictions.csv``, and the network trained on all samples as
        ``network.weights.h5`` and ``architecture.json``.

    Returns
    -------
    TrainingResult

    Raises
    ------
    CampaignError
        If there are too few samples or melts, or they are all alike.
    """
    choose_backend()
    started = time.time()
    table = table_of(dataset, settings.features, settings.target)
    n_groups = _check(table)
    n_folds = min(settings.folds, n_groups)
    fold_s = group_folds(table.group_s, n_folds, settings.seed)
    baselines = {"mean": _mean, "ridge": _ridge} | ({"rate": _rate} if _rates_differ(table, fold_s) else {})
    predictions = {name: _by_fold(predict, table, fold_s, settings.seed) for name, predict in sorted(baselines.items())}
    each = _network_by_fold(table, fold_s, settings)
    predictions[NETWORK] = each.mean(axis=0)
    metrics = {name: errors_of(predicted_s, table, settings.seed) for name, predicted_s in predictions.items()}
    single = np.abs(each - table.target_s).mean(axis=1)
    metrics[NETWORK] |= {"single_mae": float(single.mean()), "single_mae_sd": float(single.std())}
    network = _fit(table, np.arange(len(table)), settings, settings.seed)
    facts = {
        "samples": len(table),
        "groups": n_groups,
        "folds": n_folds,
        "left_out": table.left_out,
        "target": settings.target,
        "target_mean": float(table.target_s.mean()),
        "target_std": float(table.target_s.std()),
        "n_features": table.features_sf.shape[1],
        "random_split": _random_split(table, n_folds, settings.seed, metrics["ridge"]["mae"]),
        "settings": _plain(settings),
        "versions": _versions(),
        "seconds": time.time() - started,
    }
    result = TrainingResult(
        metrics,
        _remarks(table, predictions, metrics, facts),
        {name: predicted_s.tolist() for name, predicted_s in predictions.items()},
        table.target_s.tolist(),
        table.sample_id_s.tolist(),
        table.label_s.tolist(),
        table.group_s.tolist(),
        fold_s.tolist(),
        facts,
    )
    _save(result, network, folder)
    return result


def _random_split(table: Table, n_folds: int, seed: int, by_melt: float) -> dict[str, float]:
    """Return what the ridge seems to be worth when a melt may stand on both sides."""
    fold_s = group_folds(table.sample_id_s, n_folds, seed)
    leaky_s = _by_fold(_ridge, replace(table, group_s=table.sample_id_s), fold_s, seed)
    return {"ridge_mae_random": mae(leaky_s, table.target_s), "ridge_mae_by_melt": by_melt}


def _plain(settings: Settings) -> dict[str, Any]:
    names = [name for name in vars(Settings) if isinstance(vars(Settings)[name], property)]
    return {name: getattr(settings, name) for name in names}


def _versions() -> dict[str, str]:
    import keras

    backend = str(keras.backend.backend())
    versions = {"backend": backend}
    for name in ("keras", backend, "scikit-learn", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the backend's module and its package may differ in name
            versions[name] = "unknown"
    return versions


# ---- on disk ----------------------------------------------------------------------------------------------------------


def _save(result: TrainingResult, network: Network, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_keras():
        network.model.save_weights(folder / WEIGHTS_NAME)
    architecture = {
        "model": network.model.get_config(),
        "inputs": {name: values.tolist() for name, values in asdict(network.inputs).items()},
        "output": {name: values.tolist() for name, values in asdict(network.output).items()},
        "features": result.facts["settings"]["features"],
    }
    _write_json(folder / ARCHITECTURE_NAME, architecture)
    _write_predictions(result, folder / PREDICTIONS_NAME)
    _write_json(folder / RESULT_NAME, _without_nan(asdict(result)))


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_json(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    aside.replace(path)


def _write_predictions(result: TrainingResult, path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    models = list(result.predictions)
    with aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "label", "group", "fold", "true_uTHz-3", *(f"{name}_uTHz-3" for name in models)])
        columns = (
            result.sample_id,
            result.label,
            result.group,
            result.fold,
            result.truth,
            *result.predictions.values(),
        )
        writer.writerows(zip(*columns, strict=True))
    aside.replace(path)


def load_result(folder: Path) -> TrainingResult:
    """Return what :func:`train` wrote into a folder.

    Raises
    ------
    StoreError
        If nothing was trained there, or the file was damaged.
    """
    path = folder / RESULT_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return TrainingResult(**{**content, "metrics": _with_nan(content["metrics"])})
    except FileNotFoundError:
        raise StoreError(str(path), "no such file; 'bpd train' writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(str(path), f"is damaged ({error}); 'bpd train' writes it again") from error


def _with_nan(metrics: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float]]:
    return {
        model: {name: math.nan if value is None else value for name, value in values.items()}
        for model, values in metrics.items()
    }


def load_network(folder: Path) -> Network:
    """Return the network that was trained on all samples, ready to predict.

    Raises
    ------
    StoreError
        If nothing was trained there.
    """
    path = folder / ARCHITECTURE_NAME
    if not path.is_file():
        raise StoreError(str(path), "no such file; 'bpd train' writes it")
    return read_network(path, folder / WEIGHTS_NAME)
