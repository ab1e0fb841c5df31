# SPDX-License-Identifier: BSD-3-Clause
"""The job ``interpretation``: what in a pair distribution tells samples of high and low intensity apart.

Groups of highest and lowest intensity, real and predicted by models that never saw the sample's melt; a single neuron;
and which shell a ridge and a network look at.  All intervals draw melts again.

Letters of axes: ``s`` sample, ``c`` channel (the total function, then the partial ones), ``r`` radial bin, ``f`` feature.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Fig. 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning import scores
from bp_distributed.learning.atom_models import fit_ridge
from bp_distributed.learning.atom_network import forward
from bp_distributed.learning.groups import differences, with_intervals
from bp_distributed.learning.importance import losses
from bp_distributed.learning.landmarks import shells
from bp_distributed.learning.network import Recipe, Trainer, save_network
from bp_distributed.learning.single_neuron import RECIPE as NEURON
from bp_distributed.learning.single_neuron import Neuron, correlation
from bp_distributed.learning.splits import group_folds, validation_part

SHARES = (0.05, 0.10)
"""The paper's Fig. 5, and twice that, which fewer samples allow."""
FEWEST = 2
"""Samples of a group at least."""
RIDGE, NETWORK = "ridge", "network"
FOLDS = 5
Z95, NEARLY_1 = 1.96, 1.0 - 1e-9
SMALL = Recipe(hidden=(64,), optimizer="adam", learning_rate=1e-3, updates=3200, patience=640)
"""Ours, so that few samples suffice."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Settings:
    """What is asked of the job.

    Attributes
    ----------
    seed : int
    bootstraps : int
        Of melts, for the groups.
    repeats : int
        Trainings of the neuron with all samples; the paper trains nine times.
    neuron_bootstraps : int
        Of melts, for the neuron, which is trained as often for each.
    shuffles : int
        Of the intensities among the samples, for what the neuron's correlation is where there is nothing to learn.
    network, neuron : Recipe
    """

    seed: int = 0
    bootstraps: int = 500
    repeats: int = 9
    neuron_bootstraps: int = 30
    shuffles: int = 5
    network: Recipe = SMALL
    neuron: Recipe = NEURON

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Settings:
        """Return the settings from a request; what it leaves out stays as it is."""
        given: dict[str, Any] = {name: request[name] for name in cls.__dataclass_fields__ if name in request}
        for name in {"network", "neuron"} & set(given):
            given[name] = replace(getattr(cls, name), **given[name])
        return cls(**given)


@dataclass(frozen=True)
class Glasses:
    """Samples alike in size and composition.

    Attributes
    ----------
    pdf_scr : ndarray, shape=(n_samples, 1 + n_pairs, n_bins), dimensionless
        The total function, then the partial ones.
    r : ndarray, shape=(n_bins,), Å
    target_s : ndarray, shape=(n_samples,), µTHz⁻³
    melt_s : ndarray of str, shape=(n_samples,)
    names : list of str
        Of the channels.
    ratios : list of tuple of int
        Channels of unlike elements over those of like ones.
    """

    pdf_scr: Floats
    r: Floats
    target_s: Floats
    melt_s: NDArray[np.str_]
    names: list[str]
    ratios: list[tuple[int, int]]

    @classmethod
    def of(cls, request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]]) -> Glasses:
        """Return the samples that a job was given (see :class:`bp_distributed.learning.samples.Samples`)."""
        pairs = list(combinations_with_replacement(request["elements"], 2))
        names = ["total", *("-".join(pair) for pair in pairs)]
        n_samples = len(inputs["target"])
        partial_spr = inputs["partial_pdf"].reshape(n_samples, len(pairs), -1)
        pdf_scr = np.concatenate([inputs["total_pdf"][:, None], partial_spr], axis=1).astype(np.float64)
        ratios = [
            (1 + place, 1 + pairs.index((one, one)))
            for place, pair in enumerate(pairs) for one in pair if pair[0] != pair[1]
        ]  # fmt: skip
        return cls(pdf_scr, inputs["r"], inputs["target"], inputs["melt"].astype(np.str_), names, ratios)

    @property
    def partial_sf(self) -> Floats:
        """Return the partial functions as features, shape=(n_samples, n_pairs n_bins)."""
        return self.pdf_scr[:, 1:].reshape(len(self.target_s), -1)

    def draws(self, count: int, seed: int) -> list[Indices]:
        """Return samples of melts drawn again, one array for each draw; one may stand there more than once."""
        names, melt_of_s = np.unique(self.melt_s, return_inverse=True)
        drawn_bg = scores.drawn_counts(len(names), seed)[:count]
        return [np.repeat(np.arange(len(melt_of_s)), drawn_g[melt_of_s]) for drawn_g in drawn_bg]


def interpretation_job(request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, Any]:
    """Find what models of whole samples have learned.

    Parameters
    ----------
    request : mapping
        ``elements``, and any field of :class:`Settings`.
    inputs : mapping
        ``total_pdf`` (sample, bin), ``partial_pdf`` (sample, pair x bin), ``r`` in Å, ``target`` in µTHz⁻³, ``melt``,
        ``rate`` in K/s.
    folder : Path
        Gets the network of the first fold.

    Returns
    -------
    dict
        ``groups`` by share and by what sorts the samples; ``neuron``; ``importance`` by model and shell; ``models``.
    """
    glasses, settings = Glasses.of(request, inputs), Settings.of(request)
    models = _crossed(glasses, settings, folder)
    sorts = {"real": glasses.target_s, **{name: model.predicted_s for name, model in models.items()}}
    return {
        "samples": len(glasses.target_s),
        "melts": len(np.unique(glasses.melt_s)),
        "channels": glasses.names,
        "ratios": [f"{glasses.names[a]} / {glasses.names[b]}" for a, b in glasses.ratios],
        "r_A": glasses.r.tolist(),
        "rate_correlation": _rate_correlation(inputs["rate"], glasses.target_s),
        "groups": {
            f"{share:g}": {name: _group(glasses, sort_s, share, settings) for name, sort_s in sorts.items()}
            for share in SHARES
        },
        "neuron": _neuron(glasses, settings),
        "models": {name: _judged(model.predicted_s, glasses) for name, model in models.items()},
        "shells_A": {
            name: [float(glasses.r[part[0]]), float(glasses.r[part[-1]])] for name, _, part in _shells(glasses)
        },
        "importance": {name: _importance(glasses, model, settings) for name, model in models.items()},
    }


def _rate_correlation(rate_s: Floats, target_s: Floats) -> float:
    """Return Pearson's r of the logarithm of the cooling rate and the intensity; NaN where rates are not known."""
    if not np.isfinite(rate_s).all() or np.ptp(rate_s) == 0.0:
        return float("nan")
    return float(np.corrcoef(np.log10(rate_s), target_s)[0, 1])


# ---- models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossed:
    """Predictions for every sample by models that never saw its melt, and the model of each fold."""

    predicted_s: Floats
    fold_s: Indices
    models: list[Any]


def _crossed(glasses: Glasses, settings: Settings, folder: Path) -> dict[str, Crossed]:
    """Train ridge and network on the partial functions, fold by fold; store the network of the first."""
    fold_s = group_folds(glasses.melt_s, min(FOLDS, len(np.unique(glasses.melt_s))), settings.seed)
    features_sf, target_s = glasses.partial_sf, glasses.target_s
    trainer = Trainer(features_sf.shape[1], settings.network)
    found = {name: Crossed(np.empty(len(target_s)), fold_s, []) for name in (RIDGE, NETWORK)}
    for fold in np.unique(fold_s):
        train, test = np.flatnonzero(fold_s != fold), np.flatnonzero(fold_s == fold)
        held = validation_part(glasses.melt_s[train], settings.seed + int(fold))
        ridge = fit_ridge(features_sf[train], target_s[train], held)
        fit = trainer.fit(features_sf, target_s, train[~held], train[held], settings.seed + int(fold))
        if fold == 0:
            save_network(
                trainer.network(fit), folder / "network", {"features": "partial_pdf", "r_A": glasses.r.tolist()}
            )
        for name, model in ((RIDGE, ridge), (NETWORK, lambda told_sf, fit=fit: forward(fit, told_sf))):
            found[name].models.append(model)
            found[name].predicted_s[test] = model(features_sf[test])
    return found


def _judged(predicted_s: Floats, glasses: Glasses) -> dict[str, Any]:
    interval = scores.mean_interval(np.abs(predicted_s - glasses.target_s), glasses.melt_s, 0)
    return {"mae_uTHz-3": [interval.value, interval.low, interval.high], "r2": scores.r2(predicted_s, glasses.target_s)}


# ---- groups -----------------------------------------------------------------------------------------------------------


def top_and_bottom(sort_s: Floats, share: float) -> tuple[Indices, Indices]:
    """Return the places of the highest and of the lowest values, at least two of each."""
    count = max(FEWEST, round(share * len(sort_s)))
    order = np.argsort(sort_s, kind="stable")
    return order[-count:], order[:count]


def _means(glasses: Glasses, sort_s: Floats, drawn: Indices, share: float) -> tuple[Floats, Floats]:
    high, low = (drawn[part] for part in top_and_bottom(sort_s[drawn], share))
    return glasses.pdf_scr[high].mean(axis=0), glasses.pdf_scr[low].mean(axis=0)


def _group(glasses: Glasses, sort_s: Floats, share: float, settings: Settings) -> dict[str, Any]:
    """Return the mean functions of both groups, their difference with its interval, and how their landmarks differ."""
    every = np.arange(len(sort_s))
    high_cr, low_cr = _means(glasses, sort_s, every, share)
    pairs = [_means(glasses, sort_s, drawn, share) for drawn in glasses.draws(settings.bootstraps, settings.seed)]
    band = np.quantile([high - low for high, low in pairs], [0.025, 0.975], axis=0)
    high, low = top_and_bottom(sort_s, share)
    return {
        "per_group": len(high),
        "mean_target_uTHz-3": {
            "high": float(glasses.target_s[high].mean()),
            "low": float(glasses.target_s[low].mean()),
        },
        "high": high_cr.tolist(),
        "low": low_cr.tolist(),
        "difference": [(high_cr - low_cr).tolist(), *band.tolist()],
        "landmarks": with_intervals(
            differences(glasses.r, high_cr, low_cr, glasses.ratios),
            [differences(glasses.r, *pair, glasses.ratios) for pair in pairs],
        ),
    }


# ---- neuron -----------------------------------------------------------------------------------------------------------


def _neuron(glasses: Glasses, settings: Settings) -> dict[str, Any]:
    """Return the neuron's weights and their correlation with the differences between groups, with intervals."""
    total_sr = glasses.pdf_scr[:, 0]
    neuron, every = Neuron(total_sr, glasses.target_s, settings.neuron), np.arange(len(glasses.target_s))
    weight_r = neuron.weights(every, glasses.melt_s, range(settings.repeats))
    found = {share: _agreement(glasses, neuron, weight_r, every, share) for share in SHARES}
    drawn_rs = [
        (neuron.weights(drawn, glasses.melt_s, range(100 * number, 100 * number + settings.repeats)), drawn)
        for number, drawn in enumerate(glasses.draws(settings.neuron_bootstraps, settings.seed), start=1)
        if len(np.unique(drawn)) > FEWEST
    ]
    pearson = {}
    for share, value in found.items():
        replicas = np.array([_agreement(glasses, neuron, drawn_r, drawn, share) for drawn_r, drawn in drawn_rs])
        pearson[f"{share:g}"] = fisher_interval(value, replicas[np.isfinite(replicas)])
    shuffled = [_shuffled(glasses, settings, number) for number in range(settings.shuffles)]
    return {
        "weights": weight_r.tolist(),
        "bins": int(neuron.varies_r.sum()),
        "repeats": settings.repeats,
        "bootstraps": len(drawn_rs),
        "pearson": pearson,
        "pearson_shuffled": {share: [one[share] for one in shuffled] for share in pearson},
    }


def _shuffled(glasses: Glasses, settings: Settings, number: int) -> dict[str, float]:
    """Return the same correlations where the intensities were shuffled among the samples, so that nothing can be learned."""
    target_s = np.random.default_rng([settings.seed, number]).permutation(glasses.target_s)
    senseless, every = replace(glasses, target_s=target_s), np.arange(len(target_s))
    neuron = Neuron(glasses.pdf_scr[:, 0], target_s, settings.neuron)
    weight_r = neuron.weights(every, glasses.melt_s, range(settings.repeats))
    return {f"{share:g}": _agreement(senseless, neuron, weight_r, every, share) for share in SHARES}


def fisher_interval(value: float, replicas_b: Floats) -> list[float]:
    """Return a correlation with its 95 % interval, from the spread of few replicas of its Fisher transform."""
    if len(replicas_b) < FEWEST:
        return [value, float("nan"), float("nan")]
    half = Z95 * float(np.arctanh(np.clip(replicas_b, -NEARLY_1, NEARLY_1)).std(ddof=1))
    centre = np.arctanh(np.clip(value, -NEARLY_1, NEARLY_1))
    return [value, float(np.tanh(centre - half)), float(np.tanh(centre + half))]


def _agreement(glasses: Glasses, neuron: Neuron, weight_r: Floats, drawn: Indices, share: float) -> float:
    """Return Pearson's r of the weights and the difference of the total function between the extreme groups."""
    high_cr, low_cr = _means(glasses, glasses.target_s, drawn, share)
    return correlation(weight_r, high_cr[0] - low_cr[0], neuron.varies_r)


# ---- shells -----------------------------------------------------------------------------------------------------------


def _shells(glasses: Glasses) -> list[tuple[str, Indices, Indices]]:
    """Return name, columns and bins of each coordination shell of each partial function."""
    n_bins, found = len(glasses.r), []
    for place, name in enumerate(glasses.names[1:]):
        for number, shell in enumerate(shells(glasses.r, glasses.pdf_scr[:, 1 + place].mean(axis=0)), start=1):
            bins = np.arange(n_bins)[shell]
            found.append((f"{name} {number}", place * n_bins + bins, bins))
    return found


def _importance(glasses: Glasses, model: Crossed, settings: Settings) -> dict[str, list[float]]:
    """Return by which part of the target's variance the squared error grows when a shell is shuffled among samples."""
    blocks = {name: columns for name, columns, _ in _shells(glasses)}
    grown = {name: np.empty(len(glasses.target_s)) for name in blocks}
    for fold, predict in enumerate(model.models):
        test = np.flatnonzero(model.fold_s == fold)
        alike = np.zeros(len(test), dtype=np.intp)
        found = losses(predict, glasses.partial_sf[test], glasses.target_s[test], blocks, alike, settings.seed + fold)
        for name, loss_s in found.items():
            grown[name][test] = loss_s / glasses.target_s.var()
    intervals = {name: scores.mean_interval(loss_s, glasses.melt_s, settings.seed) for name, loss_s in grown.items()}
    return {name: [interval.value, interval.low, interval.high] for name, interval in intervals.items()}
