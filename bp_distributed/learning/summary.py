# SPDX-License-Identifier: BSD-3-Clause
"""What the protocol's jobs say together: scores, orderings with their certainty, selections, scans, a recommendation.

Everything is plain data for ``learning.json``; intensities and errors are in µTHz⁻³.

Array names: letter ``v`` is a variant of the input, ``a`` an architecture or model, ``n`` a fit, ``s`` a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.evaluate import Evaluated, difference, ensemble, evaluated, in_bands, metrics
from bp_distributed.learning.fan_out import Result
from bp_distributed.learning.network import ARCHITECTURES
from bp_distributed.learning.noise import floors
from bp_distributed.learning.protocol import MODERN_MEMBERS, SCHEMES, Settings, parted, width_name
from bp_distributed.learning.recommendation import recommendation
from bp_distributed.learning.samples import INPUTS, Samples
from bp_distributed.learning.saturation import saturation
from bp_distributed.learning.scores import group_draws, limits, mean_interval

NETWORK, MODERN = "network", "modern network"
PDFS = ("total_pdf", "partial_pdf")
TOP_SHARE = 0.1231
"""The paper's part of the samples with the highest intensities."""

Floats = NDArray[np.float64]
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Study:
    """Results beside the samples they are of."""

    samples: Samples
    results: Results
    seed: int

    def of_model(self, job: str, model: str, place: int = 0, members: int = 1) -> Evaluated | None:
        """Return the errors of one variant of a job on its test sets, or nothing if the job failed."""
        if job not in self.results:
            return None
        arrays = self.results[job].arrays
        predicted_ns, test_ns = arrays["predicted_vans"][place, 0], arrays["test_ns"]
        if members > 1:
            predicted_ns, test_ns = ensemble(predicted_ns, test_ns, members)
        return evaluated(
            model, self.results[job].request["variants"][place]["input"], predicted_ns, test_ns, self.samples.target_s
        )

    def networks(self, scheme: str, by: str, features: str) -> dict[str, Result]:
        """Return the results of one input by architecture."""
        names = {
            width_name(hidden): f"network-{scheme}-{by}-{features}-{width_name(hidden)}" for hidden in ARCHITECTURES
        }
        return {width: self.results[name] for width, name in names.items() if name in self.results}

    def compare(self, first: Evaluated, second: Evaluated) -> dict[str, Any]:
        """Return the MAE of the first minus that of the second, as plain data."""
        found = difference(first, second, self.samples.melt_s, self.seed)
        return {"first": first.name, "second": second.name, **asdict(found), "sign": found.sign}


def summarise(samples: Samples, results: Results, settings: Settings) -> dict[str, Any]:
    """Return all that ``learning.json`` says.

    Parameters
    ----------
    samples : Samples
    results : mapping of str to Result
        By name of the job; failed jobs are absent, and what they would have said is left out.
    settings : Settings
    """
    study = Study(samples, parted(results), settings.seed)
    schemes = {f"{scheme}_by_{by}": _scheme(study, scheme, by) for scheme, by in SCHEMES}
    models = _models(study, "splits", "melt")
    return {
        "unit": "µTHz⁻³",
        "samples": _facts(samples),
        "networks": schemes,
        "models": [metrics(model, samples.target_s, samples.melt_s, settings.seed) for model in models],
        "leakage": _leakage(study),
        "noise": floors(samples.target_s, samples.rate_s, samples.error_s, samples.jitter_s),
        "bands": {model.name: in_bands(model, samples.target_s, samples.rate_s) for model in models},
        "orderings": _orderings(study, models),
        "threshold_scan": _threshold_scan(study),
        "cutoff_scan": _cutoff_scan(study),
        "parity": _parity(study),
        "convergence": _convergence(study),
        "recommendation": recommendation(models, samples.melt_s, samples.target_s, settings.seed),
    }


def _facts(samples: Samples) -> dict[str, Any]:
    rate_s = samples.rate_s[np.isfinite(samples.rate_s)]
    return {
        "samples": len(samples),
        "melts": len(np.unique(samples.melt_s)),
        "n_atoms": samples.n_atoms,
        "composition": dict(samples.composition),
        "rates_K_per_s": [float(rate_s.min()), float(rate_s.max())] if len(rate_s) else [],
        "left_out": dict(samples.left_out),
        "label": samples.label,
        "note": samples.note,
        "modes": samples.arrays["participation_ratio"].shape[1],
        "sample_id": samples.sample_id_s.tolist(),
        "target_mean": float(samples.target_s.mean()),
        "target_std": float(samples.target_s.std()),
        "target_min": float(samples.target_s.min()),
        "target_max": float(samples.target_s.max()),
    }


# ---- networks of the protocol -----------------------------------------------------------------------------------------


def _inner_mae(result: Result, samples: Samples) -> Floats:
    """Return the error of each sample of the training set when it was left out to stop by; NaN for test samples."""
    arrays = result.arrays
    return evaluated("", "", arrays["predicted_vans"][0, 0], arrays["check_ns"], samples.target_s).error_s


def _chosen(study: Study, scheme: str, by: str, features: str) -> tuple[Evaluated, list[str]] | None:
    """Return the network whose architecture was chosen inside the training data, and the choices.

    ``fixed``: one choice, by the inner cross-validation of all repeats; ``splits``: one for each, by its own
    validation part.
    """
    found = study.networks(scheme, by, features)
    if len(found) < len(ARCHITECTURES):
        return None
    widths, target_s = list(found), study.samples.target_s
    test_ns = found[widths[0]].arrays["test_ns"]
    predicted_ans = np.array([found[width].arrays["predicted_vans"][0, 0] for width in widths])
    if scheme == "fixed":
        inner = [np.nanmean(_inner_mae(found[width], study.samples)) for width in widths]
        choice_n = np.full(len(test_ns), int(np.argmin(inner)))
    else:
        choice_n = np.array([found[width].arrays["check_van"][0, 0] for width in widths]).argmin(axis=0)
    predicted_ns = predicted_ans[choice_n, np.arange(len(test_ns))]
    return evaluated(NETWORK, features, predicted_ns, test_ns, target_s), [widths[choice] for choice in choice_n]


def _scheme(study: Study, scheme: str, by: str) -> dict[str, Any]:
    """Return the 4 inputs times 3 architectures, what was chosen by which rule, and the orderings."""
    samples, rows, chosen, worst_minus_best = study.samples, {}, {}, {}
    for features in INPUTS:
        each = {
            width: evaluated(width, features, result.arrays["predicted_vans"][0, 0], result.arrays["test_ns"], samples.target_s)
            for width, result in study.networks(scheme, by, features).items()
        }  # fmt: skip
        pick = _chosen(study, scheme, by, features)
        if pick is None:
            continue
        chosen[features] = pick[0]
        by_mae = sorted(each, key=lambda width: float(each[width].mae_n.mean()))
        best = by_mae[0]
        worst_minus_best[features] = study.compare(each[by_mae[-1]], each[best])
        rows[features] = {
            "architectures": {
                width: metrics(model, samples.target_s, samples.melt_s, study.seed) for width, model in each.items()
            },
            "chosen_inside": metrics(pick[0], samples.target_s, samples.melt_s, study.seed),
            "choices": {width: pick[1].count(width) for width in each},
            "chosen_on_test": {"architecture": best, "mae": float(each[best].mae_n.mean()),
                               "mae_sd": float(each[best].mae_n.std(ddof=1)), "r2": float(each[best].r2_n.mean())},
        }  # fmt: skip
    pairs = (("partial_pdf", "total_pdf"), ("binary_participation_ratio", "total_pdf"),
             ("binary_participation_ratio", "participation_ratio"), ("partial_pdf", "participation_ratio"))  # fmt: skip
    return {
        "inputs": rows,
        "orderings": [study.compare(chosen[a], chosen[b]) for a, b in pairs if a in chosen and b in chosen],
        "architectures": worst_minus_best,
    }


def _models(study: Study, scheme: str, by: str) -> list[Evaluated]:
    """Return every model that was tested under this scheme: baselines, the paper's network, a small network of today."""
    found = [study.of_model(f"mean-{scheme}-{by}", "mean")]
    line = f"line-{scheme}-{by}"
    if line in study.results:
        count = len(study.results[line].request["variants"])
        found += [study.of_model(line, "line", place) for place in range(count)]
    found += [study.of_model(f"ridge-{scheme}-{by}", "ridge", place) for place in range(len(INPUTS))]
    for kind, name in (("pls", "PLS"), ("gaussian_process", "Gaussian process"), ("boosting", "boosted trees")):
        found += [study.of_model(f"{kind}-{scheme}-{by}", name, place) for place in range(len(PDFS))]
    for features in INPUTS:
        pick = _chosen(study, scheme, by, features)
        found.append(pick[0] if pick else None)
    found += [study.of_model(f"modern-{scheme}-{by}-{name}", MODERN, members=MODERN_MEMBERS) for name in PDFS]
    return [model for model in found if model is not None]


# ---- comparisons ------------------------------------------------------------------------------------------------------


def _leakage(study: Study) -> list[dict[str, Any]]:
    """Return each model's MAE split by melt minus that split at random: what a split at random would have hidden."""
    random = {model.name: model for model in _models(study, "splits", "sample")}
    return [
        {**study.compare(model, random[model.name]), "by_melt": float(np.nanmean(model.error_s)),
         "at_random": float(np.nanmean(random[model.name].error_s))}
        for model in _models(study, "splits", "melt")
        if model.name in random
    ]  # fmt: skip


def _orderings(study: Study, models: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """Return the comparisons that somebody may claim: partial against total, models against networks and the rate."""
    named = {(model.model, model.features): model for model in models}
    pairs = [((kind, "partial_pdf"), (kind, "total_pdf")) for kind in dict.fromkeys(model.model for model in models)]
    pairs += [((NETWORK, "binary_participation_ratio"), (NETWORK, "total_pdf"))]
    others = [key for key in named if key[0] != NETWORK and key[1] not in INPUTS[:2]]
    pairs += [((NETWORK, "partial_pdf"), key) for key in others]
    pairs += [(key, ("line", "rate")) for key in named if key[1] in PDFS]
    return [study.compare(named[a], named[b]) for a, b in dict.fromkeys(pairs) if a in named and b in named]


# ---- scans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Curves:
    """Errors along a scan.

    Attributes
    ----------
    values : list of float
    test_vas, inner_vas : ndarray, shape=(n_values, n_architectures, n_samples), µTHz⁻³
        Errors of samples of the test set, and of the training set when they were left out to stop by; NaN elsewhere.
    fits_van : ndarray, shape=(n_values, n_architectures, n_fits), µTHz⁻³
        MAE of each fit on the test set.
    """

    values: list[float]
    test_vas: Floats
    inner_vas: Floats
    fits_van: Floats


def _curves(study: Study, scan: str, key: str, widths: Sequence[str]) -> _Curves | None:
    """Return the errors along a scan, or nothing if a part of it failed."""
    target_s, found = study.samples.target_s, {}
    for width in widths:
        for name, result in study.results.items():
            if name.startswith(f"{scan}-{width}-"):
                for variant, predicted in zip(result.request["variants"], result.arrays["predicted_vans"], strict=True):
                    found[width, variant[key]] = (predicted[0], result.arrays["test_ns"], result.arrays["check_ns"])
    values = sorted({value for _, value in found})
    if len(values) < 2 or len(found) < len(values) * len(widths):  # noqa: PLR2004 - a curve
        return None
    test, inner, fits = [], [], []
    for value in values:
        each = [found[width, value] for width in widths]
        tested = [evaluated("", "", predicted_ns, test_ns, target_s) for predicted_ns, test_ns, _ in each]
        test.append([model.error_s for model in tested])
        fits.append([model.mae_n for model in tested])
        inner.append(
            [evaluated("", "", predicted_ns, check_ns, target_s).error_s for predicted_ns, _, check_ns in each]
        )
    return _Curves(values, np.array(test), np.array(inner), np.array(fits))


def _best_interval(error_ts: Floats, melt_s: NDArray[np.str_], values: Sequence[float], seed: int) -> dict[str, Any]:
    """Return the value with the smallest mean error, with its interval, melts drawn again; and best against worst."""
    known_s = np.isfinite(error_ts).all(axis=0)
    error_ts, melt_s = error_ts[:, known_s], melt_s[known_s]
    weight_bs = group_draws(melt_s, seed)
    mean_bt = weight_bs @ error_ts.T
    low, high = limits(np.asarray(values)[mean_bt.argmin(axis=1)])
    mean_t = error_ts.mean(axis=1)
    best, worst = int(mean_t.argmin()), int(mean_t.argmax())
    gap = mean_interval(error_ts[worst] - error_ts[best], melt_s, seed)
    return {"best": values[best], "low": low, "high": high, "samples": int(known_s.sum()), "melts": gap.groups,
            "worst_minus_best": asdict(gap)}  # fmt: skip


def _threshold_scan(study: Study) -> dict[str, Any]:
    """Return the error of the binary participation ratio against its threshold, by both rules of selection."""
    widths = [width_name(hidden) for hidden in ARCHITECTURES]
    curves = _curves(study, "threshold", "threshold", widths)
    if curves is None:
        return {}
    ratio, melt_s, values = study.samples.arrays["participation_ratio"], study.samples.melt_s, curves.values
    mae_va = curves.fits_van.mean(axis=2)
    return {
        "threshold": values,
        "extended_share": [float((ratio >= threshold).mean()) for threshold in values],
        "architectures": widths,
        "mae": mae_va.tolist(),
        "mae_sd": curves.fits_van.std(axis=2, ddof=1).tolist(),
        "inner_mae": np.nanmean(curves.inner_vas, axis=2).tolist(),
        "best_on_test_by_architecture": [values[int(place)] for place in mae_va.argmin(axis=0)],
        "best_inside": _best_interval(curves.inner_vas.mean(axis=1), melt_s, values, study.seed),
        "best_on_test": _best_interval(curves.test_vas.mean(axis=1), melt_s, values, study.seed),
    }


def _cutoff_scan(study: Study) -> dict[str, Any]:
    """Return the error against the cutoff, and where it saturates: network on the test set and inside, ridge on all."""
    curves = _curves(study, "cutoff", "cutoff", [width_name(ARCHITECTURES[0])])
    ridge = study.results.get("cutoff-ridge")
    if curves is None or ridge is None:
        return {}
    target_s, test_ns = study.samples.target_s, ridge.arrays["test_ns"]
    ridge_cs = np.array(
        [evaluated("", "", one[0], test_ns, target_s).error_s for one in ridge.arrays["predicted_vans"]]
    )
    cutoffs = [variant["cutoff"] for variant in ridge.request["variants"]]
    test_cs, inner_cs, fits_cn = curves.test_vas[:, 0], curves.inner_vas[:, 0], curves.fits_van[:, 0]
    return {
        "cutoff_angstrom": curves.values,
        "mae": fits_cn.mean(axis=1).tolist(),
        "mae_sd": fits_cn.std(axis=1, ddof=1).tolist(),
        "inner_mae": np.nanmean(inner_cs, axis=1).tolist(),
        "ridge_cutoff_angstrom": cutoffs,
        "ridge_mae": np.nanmean(ridge_cs, axis=1).tolist(),
        "saturation": {
            "network, test set": _saturation(study, curves.values, test_cs),
            "network, inside the training set": _saturation(study, curves.values, inner_cs),
            "ridge, all samples": _saturation(study, cutoffs, ridge_cs),
        },
    }


def _saturation(study: Study, cutoffs: Sequence[float], error_cs: Floats) -> dict[str, Any]:
    """Return where the error saturates; whole melts are drawn again."""
    known_s = np.isfinite(error_cs).all(axis=0)
    names, melt_of_s = np.unique(study.samples.melt_s[known_s], return_inverse=True)
    weight_u = np.bincount(melt_of_s).astype(np.float64)
    error_cu = np.array([np.bincount(melt_of_s, error_s) for error_s in error_cs[:, known_s]]) / weight_u
    found = saturation(np.asarray(cutoffs), error_cu, weight_u, study.seed)
    return {**asdict(found), "melts": len(names), "samples": int(known_s.sum())}


# ---- parity and convergence -------------------------------------------------------------------------------------------


def _parity(study: Study) -> dict[str, Any]:
    """Return true and predicted intensities of the partial PDF's network, and how the highest intensities fare."""
    found = {}
    samples = study.samples
    for scheme in ("fixed", "splits"):
        pick = _chosen(study, scheme, "melt", "partial_pdf")
        if pick is None:
            continue
        tested_s = pick[0].tested_s
        truth, error = samples.target_s[tested_s], pick[0].error_s[tested_s]
        count = max(1, round(TOP_SHARE * len(truth)))
        top = truth >= np.sort(truth)[-count]
        # top minus rest, as the mean of a weighted error, so that melts can be drawn again
        weight_bs = group_draws(samples.melt_s[tested_s], study.seed)
        found[scheme] = {
            "true": truth.tolist(), "predicted": pick[0].predicted_s[tested_s].tolist(),
            "rate_K_per_s": samples.rate_s[tested_s].tolist(), "sample_id": samples.sample_id_s[tested_s].tolist(),
            **metrics(pick[0], samples.target_s, samples.melt_s, study.seed),
            "top_samples": int(top.sum()), "top_above": float(truth[top].min()),
            "top_minus_rest": _contrast(error, top, weight_bs), "mean_bias_of_top": float(
                (pick[0].predicted_s[tested_s] - truth)[top].mean()),
        }  # fmt: skip
    return found


def _contrast(error_s: Floats, top_s: NDArray[np.bool_], weight_bs: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean error of the top minus that of the rest, with its interval; draws without a top sample are left out."""
    of_top, of_rest = weight_bs @ top_s, weight_bs @ ~top_s
    both = (of_top > 0) & (of_rest > 0)
    means = (weight_bs @ (error_s * top_s))[both] / of_top[both] - (weight_bs @ (error_s * ~top_s))[both] / of_rest[
        both
    ]
    low, high = limits(means) if len(means) else (np.nan, np.nan)
    rest = float(error_s[~top_s].mean()) if (~top_s).any() else np.nan
    return {"value": float(error_s[top_s].mean()) - rest, "low": low, "high": high}


def _convergence(study: Study) -> dict[str, Any]:
    """Return how many updates the networks of the paper's kind took, and how many ran into the limit."""
    found = {name: result for name, result in study.results.items() if name.startswith("network-")}
    if not found:
        return {}
    updates = np.concatenate([result.arrays["updates_van"].ravel() for result in found.values()])
    limit = max(result.request["recipes"][0]["updates"] for result in found.values())
    by_width = {
        width_name(hidden): float(
            np.median([
                result.arrays["updates_van"] for name, result in found.items() if name.endswith(f"-{width_name(hidden)}")
            ])
        )
        for hidden in ARCHITECTURES
    }  # fmt: skip
    return {"fits": len(updates), "median_updates": by_width, "at_the_limit": int((updates >= limit).sum()),
            "limit": limit}  # fmt: skip
