# SPDX-License-Identifier: BSD-3-Clause
"""Which model to use, and why, in words made from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.evaluate import Evaluated, difference
from bp_distributed.learning.scores import FEW_GROUPS, r2

SIMPLEST_FIRST = ("mean", "line", "ridge", "PLS", "Gaussian process", "boosted trees", "modern network", "network")
NEGLIGIBLE = 0.02
"""Part of the smallest error by which a simpler model may be behind."""
FROM_MODES = ("participation_ratio", "binary_participation_ratio")
"""Inputs made from the eigenvectors that the intensity itself is made from: no prediction from structure."""


def recommendation(
    models: Sequence[Evaluated], melt_s: NDArray[np.str_], target_s: NDArray[np.float64], seed: int
) -> dict[str, Any]:
    """Return the simplest model that no other is demonstrably better than, and a paragraph that says why.

    Parameters
    ----------
    models : sequence of Evaluated
        All under the same splits by melt.
    melt_s : ndarray of str, shape=(n_samples,)
    target_s : ndarray, shape=(n_samples,), µTHz⁻³
    seed : int
    """
    candidates = [model for model in models if model.features not in FROM_MODES]
    if not candidates:
        return {}
    errors = {model.name: float(np.nanmean(model.error_s)) for model in candidates}
    best = min(candidates, key=lambda model: errors[model.name])
    behind = {model.name: difference(model, best, melt_s, seed) for model in candidates}
    margin = NEGLIGIBLE * errors[best.name]
    level = [model for model in candidates if behind[model.name].low <= margin]
    chosen = min(level, key=lambda model: (SIMPLEST_FIRST.index(model.model), errors[model.name]))
    tested_s = chosen.tested_s
    groups = behind[best.name].groups
    return {
        "model": chosen.model,
        "features": chosen.features,
        "mae": errors[chosen.name],
        "best": best.name,
        "best_mae": errors[best.name],
        "behind_best": asdict(behind[chosen.name]),
        "text": _text(chosen, best, errors, behind, r2(chosen.predicted_s[tested_s], target_s[tested_s]), groups),
    }


def _text(
    chosen: Evaluated, best: Evaluated, errors: dict[str, float], behind: dict[str, Any], score: float, groups: int
) -> str:
    """Return the paragraph."""
    margin = NEGLIGIBLE * errors[best.name]
    count = int(chosen.tested_s.sum())
    first = (
        f"We recommend {_words(chosen)}: MAE {errors[chosen.name]:.2f} µTHz⁻³ and R² {_plain(score)} on {count} samples of "
        f"{groups} melts, each predicted by models that never saw its melt."
    )
    sentences = [first]
    if score <= 0.0:
        sentences.append(
            "An R² that is not above 0 explains nothing: to know the mean of the tested samples would be as good."
        )
    if chosen.name == best.name:
        sentences.append("No other model that was tried has a smaller error.")
    else:
        gap = behind[chosen.name]
        sentences.append(
            f"The smallest error, {errors[best.name]:.2f}, is that of {_words(best)}, but the difference "
            f"({_signed(gap.value)} [{_signed(gap.low)}, {_signed(gap.high)}], 95 %, melts drawn again) is not "
            f"demonstrably more than {100 * NEGLIGIBLE:g} % of it, and of models that are that near the simplest is the best. The "
            f"smallest of {len(errors)} errors is small by luck as well."
        )
    if groups < FEW_GROUPS:
        sentences.append(f"With {groups} melts the intervals decide nothing: plan more melts.")
        return " ".join(sentences)
    worse = [name.replace("_", " ").replace("pdf", "PDF") for name, gap in behind.items() if gap.low > margin]
    sentences.append(
        f"{len(worse)} of the {len(behind)} models are demonstrably worse than the best"
        + (f": {', '.join(sorted(worse))}." if worse else ".")
    )
    if chosen.model in {"mean", "line"}:
        sentences.append("So at this size structure has not been shown to say more than that.")
    return " ".join(sentences)


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _words(model: Evaluated) -> str:
    kind = {"mean": "the mean", "line": "a straight line in", "ridge": "ridge regression", "PLS": "partial least squares",
            "Gaussian process": "a Gaussian process", "boosted trees": "boosted trees",
            "modern network": "an ensemble of small networks trained with Adam", "network": "the paper's network"}[model.model]  # fmt: skip
    named = model.features.replace("_", " ").replace("pdf", "PDF")
    if model.model == "mean":
        return kind
    return f"{kind} the {named}" if model.model == "line" else f"{kind} on the {named}"
