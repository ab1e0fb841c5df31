# SPDX-License-Identifier: BSD-3-Clause
"""The papers' protocol of learning at sample level, as jobs: what is fitted, by what split, how often.

Two schemes stand side by side.  ``fixed`` is the paper's: one test set of a fifth, nine fits that differ in first
weights, dropout, order and validation part.  ``splits`` has nine test sets, of which the first five test every sample
once.  Both are made twice, by melt and by single sample.  Validation parts of repeated fits are the folds of inner
cross-validations of the training set (:func:`~bp_distributed.learning.splits.validation_folds`), so that thresholds,
architectures and cutoffs can be chosen without the test set.

Array names: letter ``v`` is a variant of the input, ``a`` an architecture or model, ``n`` a fit, ``s`` a sample.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), sections II C and III A, appendices A and B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.baselines import MODELS
from bp_distributed.learning.fan_out import LearningJob, Result
from bp_distributed.learning.network import ARCHITECTURES, Fit, Recipe, Trainer, save_network
from bp_distributed.learning.samples import INPUTS, PAPER_THRESHOLD, PROPERTIES, Samples, features_of
from bp_distributed.learning.splits import repeated_splits, single_samples, validation_folds, validation_part

THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(1, 22))
"""Participation ratios tried, 0.02 to 0.42."""
CUTOFFS = tuple(round(2.35 + 0.5 * step, 2) for step in range(20))
"""Å, centres of bins; 6.85, the paper's, is one of them."""
SCAN_PART = 7
"""Values of a scan in one job: few enough to resume well, many enough that compiling pays."""
SPLITS_BY = ("melt", "sample")
SCHEMES = tuple((scheme, by) for by in SPLITS_BY for scheme in ("fixed", "splits"))
"""The paper's scheme, by melt, first."""
MODERN = Recipe((64, 64), "adam", 1e-3, 0.1, 1e-4, 16, 6000, 1200)
MODERN_MEMBERS = 5
MODEL_NAME = "network"

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
_Trainers = dict[tuple[Recipe, int], Trainer]


class Settings(Protocol):
    """What the protocol needs to know; ``config.ProtocolConfig`` fits."""

    @property
    def repeats(self) -> int: ...  # noqa: D102
    @property
    def scan_repeats(self) -> int: ...  # noqa: D102
    @property
    def updates(self) -> int: ...  # noqa: D102
    @property
    def patience(self) -> int: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def l2(self) -> float: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


# ---- who learns from whom ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """One fit of a scheme: positions of samples to learn from, to stop by and to predict, and a seed."""

    learn: NDArray[np.intp]
    check: NDArray[np.intp]
    test: NDArray[np.intp]
    seed: int

    @property
    def train(self) -> NDArray[np.intp]:
        """All samples of the training set."""
        return np.union1d(self.learn, self.check)


def turns_of(melt_s: NDArray[np.str_], request: Mapping[str, Any]) -> list[Turn]:
    """Return the fits of a scheme.

    Parameters
    ----------
    melt_s : ndarray of str, shape=(n_samples,)
    request : mapping
        ``by``, melt or sample; ``scheme``, fixed or splits; ``repeats``, ``members`` (fits of one test set under
        ``splits``) and ``seed``.
    """
    unit_s = melt_s if request["by"] == "melt" else single_samples(len(melt_s))
    seed, repeats = int(request["seed"]), int(request["repeats"])
    if request["scheme"] == "fixed":
        split = repeated_splits(unit_s, 1, seed)[0]
        checks = [(split, check) for check in validation_folds(unit_s[split.train], repeats, seed)]
    else:
        members = int(request.get("members", 1))
        checks = [
            (split, validation_part(unit_s[split.train], seed + member))
            for split in repeated_splits(unit_s, repeats, seed)
            for member in range(members)
        ]
    return [
        Turn(split.train[~check], split.train[check], split.test, seed + 101 * number)
        for number, (split, check) in enumerate(checks)
    ]


# ---- in the child -----------------------------------------------------------------------------------------------------


def fits_job(request: dict[str, Any], inputs: dict[str, NDArray[Any]], folder: Path) -> dict[str, Any]:
    """Train networks: every variant of the input, every architecture, every turn of the scheme.

    Parameters
    ----------
    request : dict
        ``variants`` (see :func:`~bp_distributed.learning.samples.features_of`), ``recipes``, and those of
        :func:`turns_of`; with ``save`` the network with the best validation error is stored in the folder.  With
        ``parts``, see :func:`requests_of`, networks are compiled once for all of them.
    inputs : dict
        Those of :class:`~bp_distributed.learning.samples.Samples`.
    folder : Path

    Returns
    -------
    dict
        ``predicted_vans`` and ``check_van``, µTHz⁻³; ``best_at_van``, ``updates_van``; ``test_ns``, ``check_ns``; of
        parts each with the part's name and a slash before.
    """
    trainers: _Trainers = {}
    if "parts" not in request:
        return _fits(request, inputs, folder, trainers)
    found: dict[str, Any] = {}
    for name, asked in requests_of("", request).items():
        found |= {f"{name}/{key}": values for key, values in _fits(asked, inputs, folder, trainers).items()}
    return found


def _fits(request: Mapping[str, Any], inputs: Arrays, folder: Path, trainers: _Trainers) -> dict[str, Any]:
    target_s = inputs["target"]
    turns = turns_of(inputs["melt"], request)
    recipes = [Recipe(**{**recipe, "hidden": tuple(recipe["hidden"])}) for recipe in request["recipes"]]
    shape = (len(request["variants"]), len(recipes), len(turns))
    predicted = np.empty((*shape, len(target_s)))
    check, best_at, updates = np.empty(shape), np.empty(shape, np.int64), np.empty(shape, np.int64)
    best: tuple[float, Trainer | None, Fit | None, int] = (np.inf, None, None, 0)
    for v, variant in enumerate(request["variants"]):
        features_sf = features_of(inputs, variant)
        for a, recipe in enumerate(recipes):
            key = (recipe, features_sf.shape[1])
            if key not in trainers:
                trainers[key] = Trainer(features_sf.shape[1], recipe)
            for n, turn in enumerate(turns):
                fit = trainers[key].fit(features_sf, target_s, turn.learn, turn.check, turn.seed)
                predicted[v, a, n], check[v, a, n] = fit.predicted_s, fit.check_mae
                best_at[v, a, n], updates[v, a, n] = fit.best_at, fit.updates
                if fit.check_mae < best[0]:
                    best = (fit.check_mae, trainers[key], fit, v)
    if request.get("save") and best[1] and best[2]:
        save_network(best[1].network(best[2]), folder / MODEL_NAME, {"features": request["variants"][best[3]]})
    return {"predicted_vans": predicted, "check_van": check, "best_at_van": best_at, "updates_van": updates,
            **_masks(turns, len(target_s))}  # fmt: skip


def requests_of(name: str, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a job asks by name: itself, or its parts, each the whole request with what the part changes."""
    if "parts" not in request:
        return {name: dict(request)}
    shared = {key: value for key, value in request.items() if key != "parts"}
    return {str(part["name"]): {**shared, **part} for part in request["parts"]}


def parted(results: Mapping[str, Result]) -> dict[str, Result]:
    """Return results with those of parts standing for themselves."""
    found = {}
    for name, result in results.items():
        for part, asked in requests_of(name, result.request).items():
            arrays = result.arrays
            if "parts" in result.request:
                prefix = f"{part}/"
                arrays = {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
            found[part] = Result(asked, result.facts, arrays, result.folder)
    return found


def baselines_job(request: dict[str, Any], inputs: dict[str, NDArray[Any]], folder: Path) -> dict[str, Any]:  # noqa: ARG001
    """Fit baselines: every variant of the input, every model, every turn; validation parts belong to what is learned from.

    Parameters
    ----------
    request : dict
        As for :func:`fits_job`, with ``models`` instead of recipes.  A variant's input may also be one of
        ``PROPERTIES``, or ``rate``, whose logarithm is taken.
    inputs : dict
    folder : Path

    Returns
    -------
    dict
        ``predicted_vans``, µTHz⁻³, NaN where a sample was not tested; ``test_ns``, ``check_ns``.
    """
    target_s, unit_s = inputs["target"], inputs["melt"]
    if request["by"] != "melt":
        unit_s = single_samples(len(target_s))
    turns = turns_of(inputs["melt"], request)
    predicted = np.full((len(request["variants"]), len(request["models"]), len(turns), len(target_s)), np.nan)
    for v, variant in enumerate(request["variants"]):
        features_sf = _baseline_features(inputs, variant)
        for a, name in enumerate(request["models"]):
            for n, turn in enumerate(turns):
                learn = turn.train
                predicted[v, a, n, turn.test] = MODELS[name](
                    features_sf[learn], target_s[learn], unit_s[learn], features_sf[turn.test], turn.seed
                )
    return {"predicted_vans": predicted, **_masks(turns, len(target_s))}


def _baseline_features(inputs: Arrays, variant: Mapping[str, Any]) -> Floats:
    name = variant["input"]
    if name == "rate":
        return np.log10(inputs["rate"])[:, None]
    return inputs[name][:, None] if name in PROPERTIES else features_of(inputs, variant)


def _masks(turns: Sequence[Turn], n_samples: int) -> dict[str, NDArray[np.bool_]]:
    test_ns, check_ns = np.zeros((2, len(turns), n_samples), dtype=bool)
    for n, turn in enumerate(turns):
        test_ns[n, turn.test], check_ns[n, turn.check] = True, True
    return {"test_ns": test_ns, "check_ns": check_ns}


# ---- what is asked ----------------------------------------------------------------------------------------------------


def protocol_jobs(samples: Samples, settings: Settings) -> list[LearningJob]:
    """Return all jobs of the protocol at sample level, the paper's own first."""
    return [
        *network_jobs(samples, settings),
        *(job for by in SPLITS_BY for job in baseline_jobs(samples, settings, by)),
        *modern_jobs(samples, settings),
        *scan_jobs(samples, settings),
    ]


def variant_of(name: str) -> dict[str, Any]:
    """Return an input with the paper's threshold where it has one."""
    return {"input": name} | ({"threshold": PAPER_THRESHOLD} if name == "binary_participation_ratio" else {})


def _recipe(settings: Settings, hidden: tuple[int, ...]) -> Recipe:
    return Recipe(
        hidden, "adadelta", settings.learning_rate, settings.dropout, settings.l2, Recipe.batch, settings.updates,
        settings.patience,
    )  # fmt: skip


def batched(values: Sequence[float], count: int) -> list[Sequence[float]]:
    """Return the values in parts of at most so many."""
    return [values[first : first + count] for first in range(0, len(values), count)]


def width_name(hidden: Sequence[int]) -> str:
    """Return ``n-64-1`` for one hidden layer of 64."""
    return "-".join(["n", *map(str, hidden), "1"])


def network_jobs(
    samples: Samples, settings: Settings, schemes: Sequence[tuple[str, str]] = SCHEMES
) -> list[LearningJob]:
    """Return the paper's 4 inputs times 3 architectures, all schemes in one job, the largest first."""
    return [
        LearningJob(
            f"network-{name}-{width_name(hidden)}",
            {"kind": "fits", "variants": [variant_of(name)], "recipes": [vars(_recipe(settings, hidden))],
             "repeats": settings.repeats, "seed": settings.seed, "parts": [
                {"name": f"network-{scheme}-{by}-{name}-{width_name(hidden)}", "scheme": scheme, "by": by,
                 "save": (scheme, by) == SCHEMES[0]} for scheme, by in schemes]},
            samples.arrays,
        )
        for hidden in reversed(ARCHITECTURES)
        for name in INPUTS
    ]  # fmt: skip


def modern_jobs(samples: Samples, settings: Settings) -> list[LearningJob]:
    """Return small networks of today: Adam, several members whose predictions are averaged."""
    return [
        LearningJob(
            f"modern-{name}",
            {"kind": "fits", "variants": [variant_of(name)], "recipes": [vars(MODERN)], "scheme": "splits",
             "repeats": settings.repeats, "members": MODERN_MEMBERS, "seed": settings.seed, "parts": [
                {"name": f"modern-splits-{by}-{name}", "by": by, "save": by == "melt"} for by in SPLITS_BY]},
            samples.arrays,
        )
        for name in ("total_pdf", "partial_pdf")
    ]  # fmt: skip


def baseline_jobs(samples: Samples, settings: Settings, by: str) -> list[LearningJob]:
    """Return the baselines, one job for each kind of model."""
    known = [name for name in PROPERTIES if name in samples.arrays]
    if np.isfinite(samples.rate_s).all() and np.ptp(samples.rate_s) > 0.0:
        known.append("rate")
    pdfs = ("total_pdf", "partial_pdf")
    asked: list[tuple[str, Sequence[str]]] = [("mean", ("total_pdf",)), ("ridge", INPUTS)]
    asked += [("line", known)] if known else []
    asked += [(model, pdfs) for model in ("pls", "gaussian_process", "boosting")]
    return [
        LearningJob(
            f"{model}-splits-{by}",
            {"kind": "baselines", "variants": [variant_of(name) for name in names], "models": [model], "scheme": "splits",
             "by": by, "repeats": settings.repeats, "seed": settings.seed},
            samples.arrays,
        )
        for model, names in asked
    ]  # fmt: skip


def scan_jobs(samples: Samples, settings: Settings) -> list[LearningJob]:
    """Return the scans over the threshold (Fig. 7) and over the cutoff (Fig. 3c), by melt; the cutoff also with ridge."""
    fixed = {"scheme": "fixed", "by": "melt", "repeats": settings.scan_repeats, "seed": settings.seed}
    jobs = [
        LearningJob(
            f"threshold-{width_name(hidden)}-{part[0]:.2f}",
            {"kind": "fits", "recipes": [vars(_recipe(settings, hidden))], **fixed,
             "variants": [{"input": "binary_participation_ratio", "threshold": threshold} for threshold in part]},
            samples.arrays,
        )
        for hidden in ARCHITECTURES
        for part in batched(THRESHOLDS, SCAN_PART)
    ]  # fmt: skip
    reach = float(samples.arrays["r"][-1])
    cutoffs = [cutoff for cutoff in CUTOFFS if cutoff <= reach + 1e-9]
    jobs += [
        LearningJob(
            f"cutoff-{width_name(ARCHITECTURES[0])}-{part[0]:.2f}",
            {"kind": "fits", "recipes": [vars(_recipe(settings, ARCHITECTURES[0]))], **fixed,
             "variants": [{"input": "partial_pdf", "cutoff": cutoff} for cutoff in part]},
            samples.arrays,
        )
        for part in batched(cutoffs, SCAN_PART)
    ]  # fmt: skip
    jobs.append(
        LearningJob(
            "cutoff-ridge",
            {"kind": "baselines", "variants": [{"input": "partial_pdf", "cutoff": cutoff} for cutoff in cutoffs],
             "models": ["ridge"], "scheme": "splits", "by": "melt", "repeats": settings.repeats, "seed": settings.seed},
            samples.arrays,
        )
    )  # fmt: skip
    return jobs
