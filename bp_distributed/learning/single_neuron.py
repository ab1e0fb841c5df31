# SPDX-License-Identifier: BSD-3-Clause
"""The paper's network squeezed to one hidden neuron, and its weights beside a difference of pair distributions.

What the neuron is told is standardised bin by bin, so its weights belong to standardised inputs.  Training that starts
near zero and stops early leaves weights that point along the covariance of inputs and target, and so does the
difference between the groups of highest and lowest target: some correlation of the two is built in.

Letters of axes: ``s`` sample, ``r`` radial bin.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Fig. 5(b).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.network import Recipe, Trainer
from bp_distributed.learning.splits import Names, validation_part

RECIPE = Recipe(hidden=(1,), optimizer="adam", learning_rate=1e-3, dropout=0.0, l2=1e-2, updates=6400, patience=640)
"""Not Adadelta at 0.01 as elsewhere: where samples are few, its random first weights outlast the training."""

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Neuron:
    """One neuron between pair distribution and intensity.

    Parameters
    ----------
    pdf_sr : ndarray, shape=(n_samples, n_bins), dimensionless
        Bins in which all samples agree, such as the empty core, are left out of training.
    target_s : ndarray, shape=(n_samples,)
    recipe : Recipe
    """

    def __init__(self, pdf_sr: Floats, target_s: Floats, recipe: Recipe = RECIPE) -> None:
        self.varies_r = np.asarray(np.ptp(pdf_sr, axis=0) > 0.0)
        self._inputs, self._target = pdf_sr[:, self.varies_r].astype(np.float64), target_s
        self._trainer = Trainer(int(self.varies_r.sum()), recipe)

    def weights(self, drawn: Indices, group_s: Names, seeds: range) -> Floats:
        """Return the weights between input and neuron, mean over trainings.

        Parameters
        ----------
        drawn : ndarray of int
            Samples to learn from; one may stand there more than once.
        group_s : ndarray of str, shape=(n_samples,)
            Melts; whole ones are held back to stop by.
        seeds : range
            One training each.

        Returns
        -------
        ndarray, shape=(n_bins,), dimensionless
            Positive where a larger g makes a larger prediction; zero for bins left out.
        """
        total_r = np.zeros(len(self.varies_r))
        for seed in seeds:
            held = validation_part(group_s[drawn], seed)
            fit = self._trainer.fit(self._inputs, self._target, drawn[~held], drawn[held], seed)
            into, _, out, _ = fit.weights
            total_r[self.varies_r] += into[:, 0] * np.sign(out[0, 0])
        return total_r / len(seeds)


def correlation(weight_r: Floats, difference_r: Floats, known_r: NDArray[np.bool_]) -> float:
    """Return Pearson's r of weights and a difference of functions over the bins known; NaN if one is constant."""
    first, second = weight_r[known_r], difference_r[known_r]
    if min(np.ptp(first), np.ptp(second)) == 0.0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
