# SPDX-License-Identifier: BSD-3-Clause
"""How far models of single atoms look: error against the cutoff, and importance shell by shell.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), Fig. 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning import atom_scores
from bp_distributed.learning.atom_candidates import RIDGE, Fit, crossed
from bp_distributed.learning.atom_models import Features, Predict
from bp_distributed.learning.atom_table import Atoms
from bp_distributed.learning.importance import losses
from bp_distributed.learning.landmarks import shells
from bp_distributed.learning.parts import Part
from bp_distributed.learning.saturation import saturation

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

IMPORTANCE_ATOMS = 2000
"""Atoms of each fold whose inputs are shuffled."""
HAIR = 1e-9
"""Å; bin centres are decimals and cutoffs are bin centres."""


def cutoff_scan(
    fit: Fit, features_if: Features, atoms: Atoms, parts: Sequence[Part], cutoffs: Sequence[float], repeats: int = 1
) -> dict[str, Any]:
    """Return the error of log10 I against the farthest bin that a model is told of, and where it saturates.

    Parameters
    ----------
    fit : callable
    features_if : ndarray, shape=(n_atoms, n_channels n_bins)
        Channel after channel.
    atoms : Atoms
    parts : sequence of Part
    cutoffs : sequence of float, Å
    repeats : int
        Trainings for each cutoff.
    """
    used = [cutoff for cutoff in cutoffs if cutoff <= atoms.r[-1] + HAIR]
    size_s = np.bincount(atoms.sample_i).astype(np.float64)
    error_ncs = np.zeros((repeats, len(used), atoms.n_samples))
    for place, cutoff in enumerate(used):
        near = np.flatnonzero(np.tile(atoms.r <= cutoff + HAIR, features_if.shape[1] // len(atoms.r)))
        for repeat in range(repeats):
            near_i, _ = crossed(fit, features_if[:, near], atoms, parts, repeat)
            error_ncs[repeat, place] = np.bincount(atoms.sample_i, np.abs(near_i - atoms.target_i)) / size_s
    error_cs = error_ncs.mean(axis=0)
    mean_nc = error_ncs @ size_s / size_s.sum()
    return {
        "cutoff_A": used,
        "mae": mean_nc.mean(axis=0).tolist(),
        "mae_sd_over_trainings": mean_nc.std(axis=0, ddof=1).tolist() if repeats > 1 else None,
        "mae_sd_over_samples": error_cs.std(axis=1, ddof=1).tolist(),
        "repeats": repeats,
        "saturation": asdict(saturation(np.array(used), error_cs, size_s, 0)),
    }


def channel_shells(atoms: Atoms) -> dict[str, Indices]:
    """Return the columns of each coordination shell of each channel, by names such as ``Cu-Zr 2``."""
    n_bins, found = len(atoms.r), {}
    for centre, element in enumerate(atoms.elements):
        mean_nr = atoms.pdf_inr[atoms.species_i == centre].mean(axis=0, dtype=np.float64)
        for neighbour, other in enumerate(atoms.elements):
            first = (centre * len(atoms.elements) + neighbour) * n_bins
            for number, shell in enumerate(shells(atoms.r, mean_nr[neighbour]), start=1):
                found[f"{element}-{other} {number}"] = np.arange(n_bins)[shell] + first
    return found


def shell_importance(
    model: str, predictors: Sequence[Predict], atoms: Atoms, parts: Sequence[Part], seed: int
) -> dict[str, list[float]]:
    """Return by which part of the variance of log10 I the squared error grows when a shell of a channel is shuffled.

    Parameters
    ----------
    model : str
        ``RIDGE`` or ``NETWORK``.
    predictors : sequence of callable
        Its trained model of each fold.
    atoms : Atoms
    parts : sequence of Part
        The folds; only atoms that a model did not see are shuffled, among those of the same element.
    seed : int

    Returns
    -------
    dict of str to list of float
        Value, low and high end of the 95 % interval over samples, by shell.
    """
    blocks, channels_if = channel_shells(atoms), atoms.channels_if
    sums = {name: np.zeros((2, atoms.n_samples)) for name in blocks}
    for fold, (part, predictor) in enumerate(zip(parts, predictors, strict=True)):
        test = part.test[np.random.default_rng(fold).permutation(len(part.test))[:IMPORTANCE_ATOMS]]
        species_i, sample_i = atoms.species_i[test], atoms.sample_i[test]
        told = _told(model, predictor, atoms, species_i)
        grown = losses(told, channels_if[test], atoms.target_i[test], blocks, species_i, seed + fold)
        for name, loss_i in grown.items():
            centre = species_i == atoms.elements.index(name.split("-")[0])
            sums[name][0] += np.bincount(sample_i[centre], loss_i[centre], atoms.n_samples)
            sums[name][1] += np.bincount(sample_i[centre], minlength=atoms.n_samples)
    draws_bs, variance = atom_scores.draws(atoms.n_samples, seed), float(atoms.target_i.var())
    return {
        name: atom_scores.with_interval(draws_bs @ loss_s / (draws_bs @ count_s) / variance)
        for name, (loss_s, count_s) in sums.items()
    }


def _told(model: str, predictor: Predict, atoms: Atoms, species_i: Indices) -> Callable[[Features], Floats]:
    """Return a model as a function of the four channels alone."""
    if model == RIDGE:
        return lambda channels_if: predictor(atoms.own_of(channels_if, species_i), species_i)
    return lambda channels_if: predictor(channels_if, species_i)
