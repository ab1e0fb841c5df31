# SPDX-License-Identifier: BSD-3-Clause
"""T12: atomic densities of states and intensities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import (
    Alike,
    basis,
    entries,
    known_atoms,
    lacking,
    largest_alike,
    melts_of,
    part,
    why_not,
)
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import UNCERTAINTY, as_values, mean, over_melts, verdict, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_samples import LARGE
from bp_distributed.atlas.tao_vibrations import widths
from bp_distributed.captions import number
from bp_distributed.figures import COLOURS, LINES, MARKERS, MICRO_THZ, MICRO_UNIT, new_figure, panel_letters, styled

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source
    from bp_distributed.physics.correlation import Estimate

PAPER_RANGE = (0.004657, 2.8310)
"""µTHz⁻³; the smallest and the largest atomic intensity the paper states."""

FOUR_DECADES = (3.5, 4.5)
SUM_RULE = 1e-5
"""Of the largest g; atomic shares are kept in single precision."""


def t12(source: Source) -> Panel | Missing:
    """Return the row of the atomic intensities."""
    dataset = source.dataset
    chosen = largest_alike(dataset, known_atoms(dataset, "atomic_intensity"))
    if not len(chosen.samples):
        return lacking(source, "T12", "no sample has atomic intensities yet")
    atomic = [_atomic(dataset, int(sample)) for sample in chosen.samples]
    melt_s = melts_of(dataset, chosen.samples)
    decades = over_melts(mean(np.array([np.log10(one.max() / one.min()) for one in atomic])), melt_s)
    tail = over_melts(mean(np.array([_upper_tail(one) for one in atomic])), melt_s)
    departure = max(_sum_departure(dataset, int(sample)) for sample in chosen.samples)
    claims = _atomic_claims(source, chosen, decades, tail, departure)
    lowest, highest = min(one.min() for one in atomic), max(one.max() for one in atomic)
    caption = (
        "Distribution of the atomic boson-peak intensity by element (a), and the sum of the atomic densities of states beside the "
        f"density of states of one sample (b). I_i = max g_i/ω² with the bins of the whole sample; Eq. 4 needs its sum up to 3N. {chosen.sentence}."
    )
    values = {
        "smallest_muTHz-3": float(lowest), "largest_muTHz-3": float(highest), "paper_smallest_muTHz-3": PAPER_RANGE[0],
        "paper_largest_muTHz-3": PAPER_RANGE[1], "decades_in_one_sample": as_values(decades),
        "upper_minus_lower_tail_decades": as_values(tail), "sum_rule_departure": departure,
    }  # fmt: skip
    return Panel(
        "T12", title_of("T12"), caption,
        basis(source, chosen.samples, f"Eq. 4 with the prefactor 1/3N over all modes known, {widths(dataset)}", UNCERTAINTY),
        claims, lambda: atomic_figure(dataset, chosen.samples), values,
    )  # fmt: skip


def _atomic(dataset: xr.Dataset, sample: int) -> NDArray[np.float64]:
    """Return the atomic intensities of a sample in µTHz⁻³, those above zero."""
    values = dataset["atomic_intensity"][entries(dataset, sample)].to_numpy().astype(np.float64) * MICRO_THZ
    return values[np.isfinite(values) & (values > 0)]


def _upper_tail(values: NDArray[np.float64]) -> float:
    """Return by how many decades the upper tail (median to 99 %) is longer than the lower (1 % to median)."""
    low, middle, high = np.log10(np.percentile(values, [1.0, 50.0, 99.0]))
    return float(high - middle - (middle - low))


def _sum_departure(dataset: xr.Dataset, sample: int) -> float:
    """Return the largest difference of Σ_i g_i from g, over the largest g."""
    total, whole = _summed(dataset, sample)
    return float(np.abs(total - whole).max() / whole.max())


def _summed(dataset: xr.Dataset, sample: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share_ib = dataset["atomic_vdos"][entries(dataset, sample)].to_numpy()
    total_b = share_ib.sum(axis=0, dtype=np.float64)
    return total_b, dataset["vdos"].to_numpy()[sample, : len(total_b)].astype(np.float64)


def _atomic_claims(
    source: Source, chosen: Alike, decades: Estimate, tail: Estimate, departure: float
) -> tuple[Claim, ...]:
    why = why_not(source, chosen.samples, tao=True, binned=True)
    own = math.log10(PAPER_RANGE[1] / PAPER_RANGE[0])
    atoms = int(source.dataset["n_atoms"].to_numpy()[chosen.samples[0]])
    spanned = verdict(decades, *FOUR_DECADES)
    if spanned is Verdict.CONTRADICTED and decades.value < FOUR_DECADES[0] and atoms < LARGE:
        spanned = Verdict.UNDECIDED  # extremes of fewer atoms are nearer
    return (
        Claim(
            "The atomic intensity spans four orders of magnitude.", f"{PAPER_RANGE[0]} to {PAPER_RANGE[1]} µTHz⁻³, which is {own:.2f} decades",
            f"{with_interval(decades, 'decades within one sample')} of {atoms} atoms, mean of {len(chosen.samples)} samples", comparable=False,
            why="the paper's own extremes span 2.8 decades, not four; extremes move apart with the number of atoms, and the largest grows "
            f"as the bins narrow; {why}", verdict=spanned,
        ),
        Claim(
            "The atomic intensity has a heavy upper tail.", "-",
            f"median to 99 % minus 1 % to median: {with_interval(tail, 'decades')}", comparable=False,
            why=f"the sign decides: the upper tail is the longer one, on a logarithmic scale; {why}", verdict=verdict(tail, low=0.0),
        ),
        Claim(
            "The atomic densities of states add up to that of the sample.", "exact", f"largest difference {number(departure, 2)} of the largest g",
            comparable=True, why=f"an identity if Eq. 4 sums over 3N modes; the paper prints N; limit {SUM_RULE:g} for single precision",
            verdict=Verdict.SUPPORTED if departure < SUM_RULE else Verdict.CONTRADICTED,
        ),
    )  # fmt: skip


@styled
def atomic_figure(dataset: xr.Dataset, samples: NDArray[np.intp]) -> Figure:
    """Draw the distribution of the atomic intensity by element, and the sum rule of one sample."""
    figure = new_figure(7.0, 2.9)
    spread_ax, sum_ax = figure.subplots(1, 2)
    rows = part(dataset[["atomic_intensity", "species", "row_size"]], samples)
    log_i = np.log10(np.maximum(rows["atomic_intensity"].to_numpy().astype(np.float64) * MICRO_THZ, 1e-12))
    species_i = rows["species"].to_numpy()
    edges = np.linspace(np.nanpercentile(log_i, 0.01), np.nanmax(log_i), 60)
    for number_of, element in enumerate(dataset["element"].to_numpy()):
        mine = log_i[species_i == number_of]
        if len(mine):
            spread_ax.hist(
                mine,
                edges.tolist(),
                density=True,
                histtype="step",
                color=COLOURS[number_of],
                ls=LINES[number_of],
                lw=1.4,
                label=f"{element}, {len(mine)} atoms",
            )
    for limit, side in zip(np.log10(PAPER_RANGE), ("left", "right"), strict=True):
        spread_ax.axvline(limit, color="0.5", lw=0.9, ls=":", label="paper's extremes" if side == "left" else None)
    spread_ax.set(
        xlabel=rf"log$_{{10}}$ of $I_i$ ({MICRO_UNIT})",
        ylabel="probability density",
        title="atomic intensity",
        yscale="log",
    )
    low, high = spread_ax.get_ylim()
    spread_ax.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    spread_ax.legend(loc="upper right", fontsize=7)
    _sum_rule(sum_ax, dataset, int(samples[0]))
    panel_letters([spread_ax, sum_ax])
    return figure


def _sum_rule(ax: Axes, dataset: xr.Dataset, sample: int) -> None:
    total_b, whole_b = _summed(dataset, sample)
    omega_b = dataset["low_omega"].to_numpy()
    ax.plot(omega_b, 1e3 * whole_b, color="k", lw=1.2, label=r"$g(\omega)$")
    ax.plot(omega_b, 1e3 * total_b, MARKERS[0], color=COLOURS[1], mfc="none", label=r"$\sum_i g_i(\omega)$")
    ax.set(
        xlabel=r"$\omega$ (rad/ps)",
        ylabel=r"density of states (10$^{-3}$ ps)",
        title="sum rule, one sample",
        xlim=(0, None),
        ylim=(0, None),
    )
    ax.legend(loc="upper left")
