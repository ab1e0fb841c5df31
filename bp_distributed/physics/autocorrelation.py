# SPDX-License-Identifier: BSD-3-Clause
r"""How far an atomic property resembles itself: the spatial autocorrelation and the length over which it decays.

.. math:: C(r) = \langle \Delta P_i \, \Delta P_j \rangle_{r_{ij} = r} / \langle \Delta P^2 \rangle, \quad
          \Delta P = P - \langle P \rangle

which is Eq. 2 of the paper, whose second term is zero.  The paper fits exp(-r/ξ).  A property that also scatters from
atom to atom, by species or because it was measured with noise, starts lower than 1; the fit with a free amplitude tells.

As the mean is that of the same finite cell, C averages to zero over all its pairs: what decays as exp(-r/ξ) in a large
glass decays as (exp(-r/ξ) − c)/(1 − c) with c = 8πξ³/V here.  This is what is fitted, with no more parameters.

Letters of axes: ``i`` atom, ``b`` bin of distance, ``d`` draw, ``g`` trial length of the fit.

References
----------
Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), Eq. 2 and Fig. 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.coarse_graining import distance_rows, reach
from bp_distributed.physics.correlation import N_DRAWS, UNKNOWN, Estimate, estimate
from bp_distributed.physics.sites import Blocks, Sites, blocks, n_blocks

FARTHEST = 10.0
"""Å."""

WIDTH = 0.5
"""Of a bin, Å."""

FIT_FROM_PAIRS = 30
"""Bins of fewer pairs are neither shown nor fitted."""

NEAR = 4.0
"""Å: without pairs nearer than this no length of decay can be told."""

_TRIAL_LENGTHS = np.geomspace(0.2, 50.0, 400)
_FULL_CELL = 0.5
"""Largest part c of the cell that a trial length may fill."""


@dataclass(frozen=True)
class Decay:
    """An autocorrelation and its fits.

    Attributes
    ----------
    r_b : ndarray, shape=(n_bins,), Å
        Mean distance of the pairs of a bin.
    c_b, error_b : ndarray, shape=(n_bins,)
        Autocorrelation and its standard error from blocks of space.
    length : Estimate, Å
        ξ of exp(-r/ξ), the paper's form.  Not known, like the others, where few pairs are near.
    amplitude, free_length : Estimate, the second in Å
        A and ξ of A exp(-r/ξ).
    """

    r_b: NDArray[np.float64]
    c_b: NDArray[np.float64]
    error_b: NDArray[np.float64]
    length: Estimate
    amplitude: Estimate
    free_length: Estimate


@dataclass(frozen=True)
class _Pairs:
    """Ordered pairs of near atoms of one sample."""

    i_n: NDArray[np.int32]
    j_n: NDArray[np.int32]
    bin_n: NDArray[np.int16]
    r_n: NDArray[np.float32]
    product_n: NDArray[np.float32]


def decay(sites: Sites, values_i: NDArray[np.float64], edge: float, rng: np.random.Generator) -> Decay:
    """Return the autocorrelation of an atomic property and the length of its decay.

    Parameters
    ----------
    sites : Sites
    values_i : ndarray, shape=(n_atoms,)
        All known.
    edge : float, Å
        Of the blocks.
    rng : numpy.random.Generator
    """
    samples = np.unique(sites.sample_i)
    n_bins = int(min(FARTHEST, *(reach(sites.cells_scc[sample]) for sample in samples)) / WIDTH)
    delta_i = (
        values_i - (np.bincount(sites.sample_i, values_i) / np.maximum(np.bincount(sites.sample_i), 1))[sites.sample_i]
    )
    square_i = np.square(delta_i)
    pairs = [_pairs(sites, sample, delta_i, n_bins) for sample in samples]
    count_b, distance_b, product_b = (
        sum(np.bincount(p.bin_n, weight, n_bins) for p, weight in zip(pairs, weights, strict=True))
        for weights in ([None] * len(pairs), [p.r_n for p in pairs], [p.product_n for p in pairs])
    )
    shown_b = np.flatnonzero(count_b >= FIT_FROM_PAIRS)
    r_b = (distance_b / np.maximum(count_b, 1))[shown_b]
    c_b = (product_b / np.maximum(count_b, 1))[shown_b] / square_i.mean()
    drawn_db = np.concatenate(
        [_redrawn(pairs, cut, square_i, n_bins)[:, shown_b] for cut in blocks(sites, edge, N_DRAWS, rng)]
    )
    error_b = drawn_db.std(axis=0)
    if not (r_b < NEAR).any():
        return Decay(r_b, c_b, error_b, UNKNOWN, UNKNOWN, UNKNOWN)
    weight_b = 1.0 / np.square(np.maximum(error_b, 1e-3 * error_b.max()))
    both_db = np.concatenate([c_b[None], drawn_db])
    volume = sites.volume / len(samples)
    length_d, _ = fit(r_b, both_db, weight_b, volume, free=False)
    free_d, amplitude_d = fit(r_b, both_db, weight_b, volume, free=True)
    parts = n_blocks(sites, edge)
    length, amplitude, free = (estimate(v[0], v[1:], parts, positive=True) for v in (length_d, amplitude_d, free_d))
    return Decay(r_b, c_b, error_b, length, amplitude, free)


def _pairs(sites: Sites, sample: int, delta_i: NDArray[np.float64], n_bins: int) -> _Pairs:
    mine = np.flatnonzero(sites.sample_i == sample).astype(np.int32)
    found: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]] = []
    for rows, r_ij in distance_rows(sites.positions_ic[mine], sites.cells_scc[sample]):
        i, j = np.nonzero(r_ij < n_bins * WIDTH)
        i, j = i[i + rows.start != j], j[i + rows.start != j]
        found.append((mine[rows][i], mine[j], r_ij[i, j].astype(np.float32)))
    i_n, j_n, r_n = (np.concatenate(parts) for parts in zip(*found, strict=True))
    bin_n = np.minimum(r_n / WIDTH, n_bins - 1).astype(np.int16)
    return _Pairs(i_n, j_n, bin_n, r_n, (delta_i[i_n] * delta_i[j_n]).astype(np.float32))


def _redrawn(pairs: list[_Pairs], cut: Blocks, square_i: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return C of each draw of blocks, shape=(n_draws, n_bins).

    A pair within a block comes and goes with it.  A pair across two blocks hangs on both: to first order in the counts
    a and b, ab = a + b − 1.
    """
    count = cut.counts_db.shape[1]
    sums_bm, across_m = np.zeros((count, 2, n_bins)), np.zeros((2, n_bins))
    for p in pairs:
        block_n = cut.block_i[p.i_n]
        apart_n = block_n != cut.block_i[p.j_n]
        place_n = block_n * n_bins + p.bin_n
        for m, weight_n in enumerate((np.ones_like(p.product_n), p.product_n)):
            sums_bm[:, m] += np.bincount(place_n, weight_n * (1.0 + apart_n), count * n_bins).reshape(count, n_bins)
            across_m[m] += np.bincount(p.bin_n, weight_n * apart_n, n_bins)
    pair_dm = np.tensordot(cut.counts_db, sums_bm, axes=1) - across_m
    atoms_d = cut.counts_db @ np.bincount(cut.block_i, minlength=count)
    variance_d = cut.counts_db @ np.bincount(cut.block_i, square_i, count) / atoms_d
    return np.asarray(pair_dm[:, 1] / np.maximum(pair_dm[:, 0], 1.0) / variance_d[:, None])


def fit(
    r_b: NDArray[np.float64], c_db: NDArray[np.float64], weight_b: NDArray[np.float64], volume: float, *, free: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ξ and A of A exp(-r/ξ), by weighted least squares for each draw; A is 1 unless ``free``.

    Parameters
    ----------
    r_b : ndarray, shape=(n_bins,), Å
    c_db : ndarray, shape=(n_draws, n_bins)
    weight_b : ndarray, shape=(n_bins,)
    volume : float, Å³
        Of a sample.
    free : bool

    Returns
    -------
    length_d, Å, and amplitude_d : ndarray, shape=(n_draws,)
        ξ is sought from 0.2 Å to where c is a half; one at an end of this range means that C does not decay as
        assumed.
    """
    lengths_g = _TRIAL_LENGTHS[8.0 * np.pi * _TRIAL_LENGTHS**3 < _FULL_CELL * volume]
    shape_gb = decaying(r_b, lengths_g[:, None], volume)
    norm_g = np.square(shape_gb) @ weight_b
    overlap_dg = (c_db * weight_b) @ shape_gb.T
    amplitude_dg = np.maximum(overlap_dg / norm_g, 0.0) if free else np.ones_like(overlap_dg)
    misfit_dg = amplitude_dg**2 * norm_g - 2.0 * amplitude_dg * overlap_dg
    best_d = misfit_dg.argmin(axis=1)
    inner_d = np.clip(best_d, 1, len(lengths_g) - 2)
    left, centre, right = (misfit_dg[np.arange(len(c_db)), inner_d + step] for step in (-1, 0, 1))
    bend = left - 2.0 * centre + right
    step_d = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1.0), 0.0)
    ratio = np.log(lengths_g[1] / lengths_g[0])
    inside_d = best_d == inner_d
    length_d = np.where(inside_d, lengths_g[inner_d] * np.exp(step_d * ratio), lengths_g[best_d])
    if not free:
        return length_d, np.ones_like(length_d)
    shape_db = decaying(r_b, length_d[:, None], volume)
    return length_d, (c_db * shape_db) @ weight_b / (np.square(shape_db) @ weight_b)


def decaying(r_b: NDArray[np.float64], length: NDArray[np.float64] | float, volume: float) -> NDArray[np.float64]:
    """Return what exp(-r/ξ) becomes where the mean is taken over a finite volume (Å³)."""
    common = 8.0 * np.pi * np.asarray(length) ** 3 / volume
    return np.asarray((np.exp(-r_b / length) - common) / (1.0 - common))
