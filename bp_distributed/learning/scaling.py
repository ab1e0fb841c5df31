# SPDX-License-Identifier: BSD-3-Clause
"""Standard scores, fitted on a training part and applied to all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONSTANT = 1e-12
"""Standard deviations below this are rounding of a constant."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of a training part; a constant column keeps its size.

    Attributes
    ----------
    mean_f, scale_f : ndarray, shape=(n_features,), units of the values
    """

    mean_f: Floats
    scale_f: Floats

    @classmethod
    def fitted(cls, values_sf: Floats) -> Scaler:
        """Return the scaler of these values, shape=(n_samples, n_features)."""
        scale_f = values_sf.std(axis=0)
        return cls(values_sf.mean(axis=0), np.where(scale_f > CONSTANT, scale_f, 1.0))

    def forward(self, values_sf: Floats) -> NDArray[Any]:
        """Return standardised values."""
        return np.asarray((values_sf - self.mean_f) / self.scale_f)

    def back(self, values_sf: Floats) -> NDArray[Any]:
        """Return values in their own units."""
        return np.asarray(values_sf * self.scale_f + self.mean_f)
