# SPDX-License-Identifier: BSD-3-Clause
"""Y13: the Grüneisen parameters of atoms against their intensities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.activation_captions import interval
from bp_distributed.activation_figures import draw_means
from bp_distributed.activation_study import FEWEST_GROUPS, PER_GROUP
from bp_distributed.atlas.basis import Alike, alike, basis, known_atoms, lacking, melts_of, part, why_not
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import as_values, over_melts, verdict, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.figures import COLOURS, MICRO_THZ, MICRO_UNIT, new_figure, styled
from bp_distributed.physics.correlation import N_DRAWS, Estimate, Line, curve, estimate, line, pearson
from bp_distributed.physics.sites import Sites, blocks, n_blocks, shifts

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

EXTREME = 10.0
"""The paper itself takes larger atomic values for rearrangements."""

N_SHIFTS = 100
"""Enough for the size of blocks."""


def y13(source: Source) -> Panel | Missing:
    """Return the row of the atoms: their Grüneisen parameter against their intensity."""
    dataset = source.dataset
    name = "atomic_gruneisen"
    chosen = alike(dataset, known_atoms(dataset, name) & known_atoms(dataset, "atomic_intensity"))
    if not len(chosen.samples):
        return lacking(source, "Y13", "no sample has Grüneisen parameters of its atoms over all modes yet", "gruneisen")
    sites, gamma_i, log_i, species_i = _atoms(dataset, chosen.samples, name)
    rng = np.random.default_rng(0)
    edge = _edge(sites, gamma_i, log_i, rng)
    everyone = line(sites, gamma_i, log_i, edge, _per_group(len(sites)), rng)
    usual = np.abs(gamma_i) < EXTREME
    form = _log_is_straighter(sites.take(usual), gamma_i[usual], log_i[usual], edge, rng)
    ranks = [over_melts(_of_samples(sites, x_i, y_i), sites.group_s) for x_i, y_i in _ranked(gamma_i, log_i, species_i)]
    claims = _atomic_claims(source, chosen, everyone, ranks, form, float(usual.mean()))
    caption = (
        "Atomic intensity on a logarithmic scale against the atomic Grüneisen parameter (Eq. 5, over all modes, each followed; three times a "
        f"weighted mean of γ_k): atoms, and means of {everyone.per_group} atoms in order of γ_i with standard errors as if atoms were independent; "
        f"the least-squares line. {chosen.sentence}, {len(sites)} atoms."
    )
    values = {
        "slope_decades_per_gamma": as_values(everyone.slope), "spearman_blocks": as_values(everyone.spearman),
        "spearman_melts": as_values(ranks[0]), "spearman_within_elements_melts": as_values(ranks[1]), "atoms": len(sites),
        "r_log_minus_r_linear_below_10": as_values(form), "share_of_atoms_below_10": float(usual.mean()),
    }  # fmt: skip
    return Panel(
        "Y13", title_of("Y13"), caption,
        basis(source, chosen.samples, "Eq. 5 with modes followed; I_i = max g_i/ω²",
              "95 % intervals from blocks of space drawn anew (melts, where there are eight or more), and from melts drawn anew"),
        claims, lambda: atoms_figure(gamma_i, log_i, everyone), values,
    )  # fmt: skip


def _atoms(
    dataset: xr.Dataset, samples: NDArray[np.intp], name: str
) -> tuple[Sites, NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return sites, parameter, log10 of the intensity and species of the atoms that have both."""
    few = part(dataset[["position", "cell", "species", name, "atomic_intensity", "row_size"]], samples)
    gamma_i, value_i = few[name].to_numpy().astype(np.float64), few["atomic_intensity"].to_numpy().astype(np.float64)
    keep_i = np.isfinite(gamma_i) & (value_i > 0)
    owner_i = np.repeat(np.arange(len(samples)), few["row_size"].to_numpy())
    sites = Sites(few["position"].to_numpy(), few["cell"].to_numpy(), owner_i, melts_of(dataset, samples)).take(keep_i)
    return (
        sites,
        gamma_i[keep_i],
        np.log10(value_i[keep_i] * MICRO_THZ),
        few["species"].to_numpy()[keep_i].astype(np.intp),
    )


def _ranked(
    gamma_i: NDArray[np.float64], log_i: NDArray[np.float64], species_i: NDArray[np.intp]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the ranks of both among all atoms, and among the atoms of the same element."""
    from scipy.stats import rankdata  # noqa: PLC0415 - heavy for those who only import

    within: list[NDArray[np.float64]] = []
    for values_i in (gamma_i, log_i):
        rank_i = np.empty(len(values_i))
        for species in np.unique(species_i):
            mine = species_i == species
            rank_i[mine] = (rankdata(values_i[mine]) - 0.5) / mine.sum()
        within.append(rank_i)
    return [(rankdata(gamma_i), rankdata(log_i)), (within[0], within[1])]


def _of_samples(
    sites: Sites, x_i: NDArray[np.float64], y_i: NDArray[np.float64]
) -> Callable[[NDArray[np.intp]], float]:
    """Return Pearson's r over the atoms of samples as a statistic of samples."""
    x_i, y_i = x_i - x_i.mean(), y_i - y_i.mean()
    columns = (np.ones_like(x_i), x_i, y_i, x_i * x_i, y_i * y_i, x_i * y_i)
    sums_sm = np.stack([np.bincount(sites.sample_i, column, len(sites.group_s)) for column in columns], axis=1)

    def r(samples: NDArray[np.intp]) -> float:
        n, x, y, xx, yy, xy = sums_sm[samples].sum(axis=0)
        norm = math.sqrt((xx - x * x / n) * (yy - y * y / n))
        return float(xy - x * y / n) / norm if norm > 0 else math.nan

    return r


def _per_group(n_atoms: int) -> int:
    return max(1, min(PER_GROUP, n_atoms // FEWEST_GROUPS))


def _edge(sites: Sites, x_i: NDArray[np.float64], y_i: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return the edge (Å) of blocks large enough to be independent."""
    found = curve(sites, np.zeros(1), x_i[None], y_i[None], shifts(sites, N_SHIFTS, rng), rng)
    return float(found.edge_l[0])


def _log_is_straighter(
    sites: Sites, gamma_i: NDArray[np.float64], log_i: NDArray[np.float64], edge: float, rng: np.random.Generator
) -> Estimate:
    """Return r of log I with γ minus r of I with γ: positive where an exponential describes the relation better."""
    plain_i = 10.0**log_i

    def apart(weight_i: NDArray[np.float64]) -> float:
        return _weighted_r(gamma_i, log_i, weight_i) - _weighted_r(gamma_i, plain_i, weight_i)

    drawn = [apart(counts_b[cut.block_i]) for cut in blocks(sites, edge, N_DRAWS, rng) for counts_b in cut.counts_db]
    return estimate(pearson(gamma_i, log_i) - pearson(gamma_i, plain_i), np.array(drawn), n_blocks(sites, edge))


def _weighted_r(x_i: NDArray[np.float64], y_i: NDArray[np.float64], weight_i: NDArray[np.float64]) -> float:
    x_i, y_i = x_i - np.average(x_i, weights=weight_i), y_i - np.average(y_i, weights=weight_i)
    norm = math.sqrt(float(weight_i @ (x_i * x_i)) * float(weight_i @ (y_i * y_i)))
    return float(weight_i @ (x_i * y_i)) / norm if norm > 0 else math.nan


def _atomic_claims(
    source: Source, chosen: Alike, everyone: Line, ranks: list[Estimate], form: Estimate, usual: float
) -> tuple[Claim, ...]:
    why = why_not(source, chosen.samples, tao=False, binned=True)
    signs = {verdict(found, low=0.0) for found in (everyone.spearman, ranks[0])}
    sign = signs.pop() if len(signs) == 1 else Verdict.UNDECIDED
    return (
        Claim(
            "Atoms with a larger Grüneisen parameter have a higher intensity.", "positive (Fig. 11c, no number)",
            f"rank correlation {interval(everyone.spearman)} with blocks drawn anew, {with_interval(ranks[0], digits=2)} with melts; within elements "
            f"{with_interval(ranks[1], digits=2)}",
            comparable=False, why=f"the sign decides if both intervals agree; the paper's γ_i come from frequencies matched by rank, ours from modes followed; {why}",
            verdict=sign,
        ),
        Claim(
            "The intensity grows exponentially with the Grüneisen parameter below 10.", "exponential", f"r of log I and γ minus r of I and γ: {interval(form)} "
            f"({100 * usual:.3g} % of the atoms)",
            comparable=False, why=f"supported if the logarithm is the straighter one, which does not exclude other curves, and the correlation is positive; {why}",
            verdict=verdict(form, low=0.0) if sign is Verdict.SUPPORTED else Verdict.UNDECIDED,
        ),
    )  # fmt: skip


@styled
def atoms_figure(gamma_i: NDArray[np.float64], log_i: NDArray[np.float64], found: Line) -> Figure:
    """Draw the intensity of atoms against their Grüneisen parameter, with means and the line."""
    figure = new_figure(3.5, 3.0)
    ax = figure.subplots()
    low, high = np.percentile(gamma_i, [0.5, 99.5])
    low, high = min(float(low), float(found.x_g.min())), max(float(high), float(found.x_g.max()))
    inside = (gamma_i >= low) & (gamma_i <= high)
    cells = ax.hexbin(gamma_i[inside], log_i[inside], gridsize=34, cmap="Greys", mincnt=1, lw=0.1, bins="log", vmin=0.2)
    figure.colorbar(cells, ax=ax, label="atoms per cell", pad=0.01)
    draw_means(ax, found)
    ends = np.array([found.x_g.min(), found.x_g.max()])
    ax.plot(
        ends,
        found.intercept.value + found.slope.value * ends,
        color=COLOURS[0],
        ls="--",
        zorder=4,
        lw=1.3,
        label=f"slope {interval(found.slope)}",
    )
    ax.set(
        xlabel=r"atomic Grüneisen parameter $\gamma_i$",
        ylabel=rf"log$_{{10}}$ of $I_i$ ({MICRO_UNIT})",
        xlim=(low - 0.03 * (high - low), high + 0.03 * (high - low)),
    )
    ax.set_ylim(top=ax.get_ylim()[1] + 0.3 * float(np.ptp(ax.get_ylim())))
    ax.legend(loc="upper left", fontsize=7)
    return figure
