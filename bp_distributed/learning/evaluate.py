# SPDX-License-Identifier: BSD-3-Clause
"""One model's errors, sample by sample, from the predictions of all its fits.

Array names: letter ``n`` is a fit, ``s`` a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.scores import Interval, mean_interval, r2, spearman

MIN_BAND = 8
"""Samples a band of rates needs for a score of its own."""

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Evaluated:
    """One model under one scheme.

    Attributes
    ----------
    model, features : str
        Kind of model, and its input.
    predicted_s : ndarray, shape=(n_samples,), µTHz⁻³
        Mean of the predictions by fits that did not see the sample; NaN where it was never tested.
    error_s : ndarray, shape=(n_samples,), µTHz⁻³
        Mean of their absolute errors.
    mae_n, r2_n : ndarray, shape=(n_fits,)
        Scores of each fit on its test set.
    """

    model: str
    features: str
    predicted_s: Floats
    error_s: Floats
    mae_n: Floats
    r2_n: Floats

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.model} on {self.features}"

    @property
    def tested_s(self) -> Masks:
        """Samples that were tested."""
        return np.isfinite(self.error_s)


def evaluated(model: str, features: str, predicted_ns: Floats, mask_ns: Masks, target_s: Floats) -> Evaluated:
    """Return the errors of one model.

    Parameters
    ----------
    model, features : str
    predicted_ns : ndarray, shape=(n_fits, n_samples), µTHz⁻³
    mask_ns : ndarray of bool, shape=(n_fits, n_samples)
        Which predictions count.
    target_s : ndarray, shape=(n_samples,), µTHz⁻³
    """
    count_s = mask_ns.sum(axis=0)
    known_ns = np.where(mask_ns, predicted_ns, 0.0)
    error_ns = np.where(mask_ns, np.abs(known_ns - target_s), 0.0)
    tested_s = np.where(count_s > 0, count_s, np.nan)
    return Evaluated(
        model,
        features,
        known_ns.sum(axis=0) / tested_s,
        error_ns.sum(axis=0) / tested_s,
        error_ns.sum(axis=1) / mask_ns.sum(axis=1),
        np.array([r2(predicted_s[mask_s], target_s[mask_s]) for predicted_s, mask_s in zip(known_ns, mask_ns, strict=True)]),
    )  # fmt: skip


def ensemble(predicted_ns: Floats, mask_ns: Masks, members: int) -> tuple[Floats, Masks]:
    """Return the mean predictions of members that share a test set, and that set; members stand one after the other."""
    shape = (len(mask_ns) // members, members, -1)
    return predicted_ns.reshape(shape).mean(axis=1), mask_ns.reshape(shape)[:, 0]


def difference(first: Evaluated, second: Evaluated, melt_s: Names, seed: int) -> Interval:
    """Return the MAE of the first minus that of the second on samples that both were tested on, melts drawn again."""
    both_s = first.tested_s & second.tested_s
    return mean_interval((first.error_s - second.error_s)[both_s], melt_s[both_s], seed)


def metrics(model: Evaluated, target_s: Floats, melt_s: Names, seed: int) -> dict[str, Any]:
    """Return the scores of one model: MAE in µTHz⁻³ with its interval, and relative to what the samples span."""
    tested_s = model.tested_s
    truth, predicted = target_s[tested_s], model.predicted_s[tested_s]
    error = mean_interval(model.error_s[tested_s], melt_s[tested_s], seed)
    return {
        "model": model.model,
        "features": model.features,
        "tested": int(tested_s.sum()),
        "melts": error.groups,
        "mae": error.value,
        "mae_low": error.low,
        "mae_high": error.high,
        "mae_of_fits": float(model.mae_n.mean()),
        "mae_sd_of_fits": float(model.mae_n.std(ddof=1)) if len(model.mae_n) > 1 else math.nan,
        "r2_of_fits": float(model.r2_n.mean()),
        "r2_sd_of_fits": float(model.r2_n.std(ddof=1)) if len(model.r2_n) > 1 else math.nan,
        "r2": r2(predicted, truth),
        "spearman": spearman(predicted, truth),
        "mae_over_std": error.value / float(truth.std()),
        "mae_over_span": error.value / float(np.ptp(truth)),
    }


def in_bands(model: Evaluated, target_s: Floats, rate_s: Floats) -> list[dict[str, Any]]:
    """Return MAE and R² among samples of about one cooling rate (a decade), where the rate itself explains little."""
    bands = []
    decade_s = np.floor(np.log10(rate_s) + 1e-9)
    for decade in np.unique(decade_s[np.isfinite(decade_s)]):
        use_s = (decade_s == decade) & model.tested_s
        if use_s.sum() >= MIN_BAND and np.ptp(target_s[use_s]) > 0.0:
            truth = target_s[use_s]
            bands.append({
                "from_K_per_s": float(rate_s[use_s].min()), "to_K_per_s": float(rate_s[use_s].max()),
                "samples": int(use_s.sum()), "mae": float(model.error_s[use_s].mean()),
                "r2": r2(model.predicted_s[use_s], truth), "std": float(truth.std()),
            })  # fmt: skip
    return bands
