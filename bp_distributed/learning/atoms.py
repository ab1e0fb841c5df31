# SPDX-License-Identifier: BSD-3-Clause
"""The job ``atoms``: learn the boson-peak intensity of single atoms from their surroundings, and say what was learned.

The paper's network on four channels stands beside models that may beat it.  Every atom is predicted once, by models
that never saw an atom of its melt.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Figs. 3(d), 4 and 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning import atom_scores, groups
from bp_distributed.learning.atom_candidates import (
    AVERAGED_RIDGE,
    AVERAGED_TREES,
    MEAN,
    MODERN,
    NETWORK,
    RIDGE,
    STIFFNESS,
    Fit,
    Settings,
    crossed,
    features_of,
    fits_of,
)
from bp_distributed.learning.atom_lengths import channel_shells, cutoff_scan, shell_importance
from bp_distributed.learning.atom_models import Features
from bp_distributed.learning.atom_network import Networks
from bp_distributed.learning.atom_table import Atoms
from bp_distributed.learning.parts import split_at_random, split_by_melt
from bp_distributed.learning.stiffness import local_stiffness

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


SHARE = 0.10
"""Top and bottom group of the paper's Fig. 4."""
LINEAR_SHARE = 0.8910
"""The paper calls the relation linear for this part of the atoms, those of lowest intensity."""
N_BINS = 40
TARGET = "log10(I / 1e-9 ps^3)"


def atoms_job(request: Mapping[str, Any], inputs: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, Any]:
    """Learn from atoms.

    Parameters
    ----------
    request : mapping
        ``elements``, and any field of :class:`Settings`; ``potential_file``, if there shall be a model that uses it.
    inputs : mapping
        From :func:`bp_distributed.learning.atom_inputs.atom_inputs`.
    folder : Path
        Gets the network of the first fold.

    Returns
    -------
    dict
        ``models`` by name with scores; ``orderings``; ``random_split``; ``back_transform``; ``parity``; ``linear``;
        ``cutoff``; ``importance``; ``profiles``; ``recommendation``; as arrays ``predicted`` (model, atom) and the
        ridge of the first fold.
    """
    atoms, settings = Atoms.of(request, inputs), Settings.of(request)
    n_melts = len(np.unique(atoms.group_s))
    parts = split_by_melt(
        atoms.group_s, atoms.sample_i, min(settings.folds, n_melts), settings.most_trained, settings.seed
    )
    potential = request.get("potential_file")
    features = features_of(atoms, local_stiffness(atoms, Path(potential)) if potential else None, settings)
    networks = Networks(settings.network)
    fits = fits_of(networks, Networks(settings.modern))
    found = {name: crossed(fits[name], features_if, atoms, parts) for name, features_if in features.items()}
    predictions = {name: found_i for name, (found_i, _) in found.items()}
    best = recommended(predictions, atoms, settings.seed)
    _save(networks, found[NETWORK][1][0], atoms, folder)
    return {
        "atoms": len(atoms.target_i),
        "samples": inputs["sample_id"].tolist(),
        "melts": n_melts,
        "folds": len(parts),
        "elements": list(atoms.elements),
        "target": TARGET,
        "target_mean": float(atoms.target_i.mean()),
        "target_sd": float(atoms.target_i.std()),
        "intensity_span_uTHz-3": [10.0 ** (bound - 3.0) for bound in (atoms.target_i.min(), atoms.target_i.max())],
        "settings": asdict(settings),
        "models": {name: _scores(found_i, atoms, settings.seed) for name, found_i in predictions.items()},
        "recommended": best,
        "recommendation": _recommendation(best, predictions, atoms, settings.seed),
        "orderings": _orderings(best, predictions, atoms, settings.seed),
        "random_split": _random_split(features, fits, predictions, atoms, settings),
        "back_transform": {name: _back_transform(predictions[name], atoms) for name in (NETWORK, best)},
        "parity": {name: _parity(predictions[name], atoms) for name in (NETWORK, best)},
        "linear": _linear(predictions[NETWORK], atoms, settings.seed),
        "cutoff": {
            RIDGE: cutoff_scan(fits[RIDGE], atoms.own_if, atoms, parts, settings.cutoffs),
            MODERN: cutoff_scan(
                Networks(settings.scan).fit, atoms.channels_if, atoms, parts, settings.network_cutoffs,
                settings.network_repeats,
            ),
        },
        "shells_A": {name: _bounds(atoms, columns) for name, columns in channel_shells(atoms).items()},
        "importance": {
            name: shell_importance(name, found[name][1], atoms, parts, settings.seed) for name in (RIDGE, NETWORK)
        },
        "profiles": _profiles(predictions, best, atoms, settings.seed),
        "predicted": np.array(list(predictions.values()), dtype=np.float32),
        **_ridge_arrays(found[RIDGE][1][0]),
    }  # fmt: skip


def _save(networks: Networks, trained: Any, atoms: Atoms, folder: Path) -> None:
    """Store the network of the first fold, the one whose test atoms are known."""
    facts = {"features": "four channels of the atomic pair distribution", "r_A": atoms.r.tolist(),
             "elements": list(atoms.elements), "target": TARGET}  # fmt: skip
    networks.save(trained, folder / "network", facts)


def _ridge_arrays(model: Any) -> dict[str, NDArray[np.float64]]:
    """Return the ridge of the first fold as numbers, element by element: target = level + weight (feature - mean) / scale."""
    ridges = [model.models[element] for element in sorted(model.models)]
    return {
        "ridge_weight": np.array([ridge.weights_f for ridge in ridges]),
        "ridge_mean": np.array([ridge.scaler.mean_f for ridge in ridges]),
        "ridge_scale": np.array([ridge.scaler.scale_f for ridge in ridges]),
        "ridge_level": np.array([ridge.level for ridge in ridges]),
    }


def _bounds(atoms: Atoms, columns: Indices) -> list[float]:
    """Return first and last bin centre of a shell, Å."""
    return [float(atoms.r[column % len(atoms.r)]) for column in (columns[0], columns[-1])]


# ---- scores -----------------------------------------------------------------------------------------------------------


def _scores(found_i: Floats, atoms: Atoms, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return scores of all atoms, and of those of each element, within which the element says nothing."""
    every = {"all": atom_scores.scores(found_i, atoms.target_i, atoms.sample_i, seed)}
    for index, element in enumerate(atoms.elements):
        mine = atoms.species_i == index
        if mine.any():
            every[element] = atom_scores.scores(found_i[mine], atoms.target_i[mine], atoms.sample_i[mine], seed)
    return every


def _excess(first: str, second: str, predictions: Mapping[str, Floats], atoms: Atoms, seed: int) -> list[float]:
    return atom_scores.excess_error(predictions[first], predictions[second], atoms.target_i, atoms.sample_i, seed)


def recommended(predictions: Mapping[str, Floats], atoms: Atoms, seed: int) -> str:
    """Return the simplest model, from structure alone, that is not certainly worse than the best of them."""
    honest = [name for name in predictions if name != STIFFNESS]
    best = min(honest, key=lambda name: float(np.abs(predictions[name] - atoms.target_i).mean()))
    return next(name for name in honest if _excess(name, best, predictions, atoms, seed)[1] <= 0.0)


def _recommendation(best: str, predictions: Mapping[str, Floats], atoms: Atoms, seed: int) -> str:
    score = atom_scores.scores(predictions[best], atoms.target_i, atoms.sample_i, seed)["r2"]
    value, low, high = _excess(NETWORK, best, predictions, atoms, seed)
    beside = (
        f"the network's error exceeds its by {value:+.4f} [{low:+.4f}, {high:+.4f}]" if best != NETWORK else
        "no simpler model does as well"
    )  # fmt: skip
    return (
        f"{best}: the simplest model from structure alone whose mean absolute error of log10 I is not certainly larger "
        f"than the smallest; R² {score[0]:.3f} [{score[1]:.3f}, {score[2]:.3f}], melts never seen (chosen by the folds that score it); "
        f"{beside}"
    ).replace("-", "−")


def _orderings(best: str, predictions: Mapping[str, Floats], atoms: Atoms, seed: int) -> list[dict[str, Any]]:
    """Return paired comparisons of the mean absolute error of log10 I, first minus second."""
    pairs = [
        (NETWORK, MEAN),
        (NETWORK, MODERN),
        (RIDGE, MEAN),
        (AVERAGED_RIDGE, RIDGE),
        (AVERAGED_TREES, AVERAGED_RIDGE),
        (NETWORK, RIDGE),
    ]
    pairs += [(NETWORK, best)] if best != NETWORK else []
    pairs += [(STIFFNESS, best)] if STIFFNESS in predictions else []
    return [
        {"first": first, "second": second, "excess_mae": _excess(first, second, predictions, atoms, seed)}
        for first, second in dict.fromkeys(pairs)
    ]


def _random_split(
    features: Mapping[str, Features],
    fits: Mapping[str, Fit],
    predictions: Mapping[str, Floats],
    atoms: Atoms,
    settings: Settings,
) -> dict[str, Any]:
    """Return what two models seem to be worth when atoms of one sample stand on both sides."""
    n_folds = min(settings.folds, len(np.unique(atoms.group_s)))
    parts = split_at_random(len(atoms.target_i), n_folds, settings.most_trained, settings.seed)
    found = {}
    for name in (RIDGE, AVERAGED_RIDGE):
        leaky_i, _ = crossed(fits[name], features[name], atoms, parts)
        found[name] = {
            "r2_random": atom_scores.scores(leaky_i, atoms.target_i, atoms.sample_i, settings.seed)["r2"],
            "r2_by_melt": atom_scores.scores(predictions[name], atoms.target_i, atoms.sample_i, settings.seed)["r2"],
            "excess_mae_by_melt": atom_scores.excess_error(
                predictions[name], leaky_i, atoms.target_i, atoms.sample_i, settings.seed
            ),
        }
    return found


def _back_transform(found_i: Floats, atoms: Atoms) -> dict[str, float]:
    """Return the mean intensity predicted over the true one: 10 to the prediction, and after Duan's correction.

    The correction is the mean of 10 to the residual over the atoms of all other melts.
    """
    true_i, plain_i = 10.0**atoms.target_i, 10.0**found_i
    corrected_i = np.empty_like(plain_i)
    group_i = atoms.group_s[atoms.sample_i]
    for group in np.unique(atoms.group_s):
        mine = group_i == group
        corrected_i[mine] = plain_i[mine] * (10.0 ** (atoms.target_i - found_i))[~mine].mean()
    return {"ratio": float(plain_i.mean() / true_i.mean()), "corrected": float(corrected_i.mean() / true_i.mean())}


def _parity(found_i: Floats, atoms: Atoms) -> dict[str, Any]:
    """Return a histogram of truth and prediction, and means of equally many atoms each, in order of the truth."""
    both = np.array([atoms.target_i, found_i])
    low, high = np.floor(10.0 * both.min()) / 10.0, np.ceil(10.0 * both.max()) / 10.0
    counts, edges, _ = np.histogram2d(both[0], both[1], bins=N_BINS, range=[[low, high], [low, high]])
    ordered = np.array_split(both[:, np.argsort(both[0])], N_BINS // 2, axis=1)
    return {
        "edges": edges.tolist(),
        "counts": counts.astype(int).tolist(),
        "means": [b.mean(axis=1).tolist() for b in ordered],
    }


def _linear(found_i: Floats, atoms: Atoms, seed: int) -> dict[str, Any]:
    """Return the slope of the prediction against the truth below and above the paper's share of the atoms."""
    limit = float(np.quantile(atoms.target_i, LINEAR_SHARE))
    draws_bs = atom_scores.draws(atoms.n_samples, seed)
    slope_b = {}
    for name, part_i in (("below", atoms.target_i <= limit), ("above", atoms.target_i > limit)):
        sums = atom_scores.sums_by_sample(
            found_i[part_i], atoms.target_i[part_i], atoms.sample_i[part_i], atoms.n_samples
        )
        slope_b[name] = atom_scores.slope(draws_bs @ sums)
    return {
        "share": LINEAR_SHARE,
        "limit": limit,
        **{f"slope_{name}": atom_scores.with_interval(values_b) for name, values_b in slope_b.items()},
        "slope_difference": atom_scores.with_interval(slope_b["below"] - slope_b["above"]),
    }


# ---- groups of atoms --------------------------------------------------------------------------------------------------


def _profiles(predictions: Mapping[str, Floats], best: str, atoms: Atoms, seed: int) -> dict[str, Any]:
    """Return the mean functions of the atoms of highest and lowest intensity, real and predicted, and what differs."""
    stratum_i = atoms.sample_i * len(atoms.elements) + atoms.species_i
    sorts = {"real": atoms.target_i} | {name: predictions[name] for name in dict.fromkeys((NETWORK, best))}
    pairs = {}
    for name, value_i in sorts.items():
        high, low = (
            groups.Profiles.of(atoms.pdf_inr, group_i, atoms.species_i, atoms.sample_i)
            for group_i in groups.extremes(value_i, stratum_i, SHARE)
        )
        pairs[name] = (high, low)
    every_s = np.ones(atoms.n_samples)
    found: dict[str, Any] = {"share": SHARE, "r_A": atoms.r.tolist(), "sorts": {}}
    for name, (high, low) in pairs.items():
        found["sorts"][name] = {
            "high": high.mean(every_s).tolist(),
            "low": low.mean(every_s).tolist(),
            "differences": groups.bootstrapped(atoms.r, high, low, seed),
            "agreement": groups.agreement(atoms.r, pairs["real"], (high, low), seed),
        }
    return found
