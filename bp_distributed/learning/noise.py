# SPDX-License-Identifier: BSD-3-Clause
"""How small an error could be at best: what the labels themselves are uncertain by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAE_PER_SIGMA = math.sqrt(2.0 / math.pi)
"""Mean absolute value of a normal deviate of unit variance."""


def replicate_spread(target_s: Floats, rate_s: Floats) -> tuple[float, int]:
    """Return the pooled standard deviation among samples of one rate, and how many samples it stands on.

    It holds noise of the labels and true differences between glasses made alike, so it bounds the noise from above: a
    model of structure may well do better.
    """
    squares, freedom, count = 0.0, 0, 0
    for rate in np.unique(rate_s[np.isfinite(rate_s)]):
        of_rate = target_s[rate_s == rate]
        if len(of_rate) > 1:
            squares += float(((of_rate - of_rate.mean()) ** 2).sum())
            freedom += len(of_rate) - 1
            count += len(of_rate)
    return (math.sqrt(squares / freedom), count) if freedom else (math.nan, 0)


def floors(target_s: Floats, rate_s: Floats, error_s: Floats, jitter_s: Floats) -> list[dict[str, Any]]:
    """Return noise floors, µTHz⁻³: standard deviation of the label, and the MAE that a perfect model would have.

    Parameters
    ----------
    target_s, error_s, jitter_s : ndarray, shape=(n_samples,), µTHz⁻³
        Label, its standard error, its standard deviation over the position of the bins; NaN where unknown.
    rate_s : ndarray, shape=(n_samples,), K/s

    Notes
    -----
    Modes are resampled as if they were independent.  Levels repel each other, so that this is too much.
    """
    spread, count = replicate_spread(target_s, rate_s)
    rows = [
        ("bins shifted", *_typical(jitter_s)),
        ("modes resampled (upper bound)", *_typical(error_s)),
        ("samples of equal rate (upper bound)", spread, count),
    ]
    return [
        {"source": source, "std": std, "mae": MAE_PER_SIGMA * std, "samples": samples}
        for source, std, samples in rows
        if math.isfinite(std)
    ]


def _typical(noise_s: Floats) -> tuple[float, int]:
    known = noise_s[np.isfinite(noise_s)]
    return (float(np.sqrt((known**2).mean())), len(known)) if len(known) else (math.nan, 0)
