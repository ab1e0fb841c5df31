# SPDX-License-Identifier: BSD-3-Clause
"""T5: which spectra are rejected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import Alike, alike, basis, known, lacking, why_not
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import difference_of_shares, verdict, wilson, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_vibrations import PLATEAU
from bp_distributed.captions import PAPER_ATOMS, span
from bp_distributed.errors import Reason
from bp_distributed.figures import (
    COLOURS,
    MICRO_THZ,
    MICRO_UNIT,
    PAPER_INTENSITY,
    new_figure,
    panel_letters,
    series_of,
    styled,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source
    from bp_distributed.physics.correlation import Estimate

PAPER_REJECTED = 171, 1800

FEW_REJECTED = 0.05


def t5(source: Source) -> Panel | Missing:
    """Return the row of the rejected spectra."""
    dataset = source.dataset
    judged_s = (dataset["accepted"].to_numpy() >= 0) & known(dataset, "intensity")
    chosen = alike(dataset, judged_s & known(dataset, "cooling_rate"))
    chosen = chosen if len(chosen.samples) else alike(dataset, judged_s)
    if not len(chosen.samples):
        return lacking(source, "T5", "no spectrum was judged yet")
    monotonic_s = dataset["rejected"].to_numpy()[chosen.samples] == Reason.NO_PEAK.value
    rate_s = dataset["cooling_rate"].to_numpy()[chosen.samples]
    fast_s, slow_s = rate_s > PLATEAU, rate_s <= PLATEAU
    claims = _rejections(source, chosen, monotonic_s, fast_s, slow_s)
    low, high = wilson(int(monotonic_s.sum()), len(monotonic_s))
    caption = (
        "Distribution of the paper-style intensity of accepted and of rejected samples (a), and share of rejected samples at each cooling "
        "rate with Wilson's 95 % intervals (b). Rule: a sample is kept if g/ω² has a maximum inside the search window whose prominence "
        f"above the minimum on its left exceeds two standard errors; the paper does not give its rule. {chosen.sentence}."
    )
    values = {
        "judged": len(monotonic_s), "rejected": int(monotonic_s.sum()), "share": float(monotonic_s.mean()),
        "share_low": low, "share_high": high, "rejected_above_1e13": int((monotonic_s & fast_s).sum()),
        "judged_above_1e13": int(fast_s.sum()), "rejected_at_or_below_1e13": int((monotonic_s & slow_s).sum()),
        "judged_at_or_below_1e13": int(slow_s.sum()), "paper_rejected": PAPER_REJECTED[0], "paper_judged": PAPER_REJECTED[1],
    }  # fmt: skip
    return Panel(
        "T5", title_of("T5"), caption,
        basis(source, chosen.samples, "prominence of a maximum of g/ω² above two standard errors (bootstrap over modes)",
              "95 % intervals of shares by Wilson, of their difference by Newcombe; samples taken as independent"),
        claims, lambda: rejection_figure(dataset, chosen.samples, monotonic_s), values,
    )  # fmt: skip


def _rejections(
    source: Source, chosen: Alike, monotonic_s: NDArray[np.bool_], fast_s: NDArray[np.bool_], slow_s: NDArray[np.bool_]
) -> tuple[Claim, ...]:
    fast, slow = int((monotonic_s & fast_s).sum()), int((monotonic_s & slow_s).sum())
    apart = difference_of_shares(fast, int(fast_s.sum()), slow, int(slow_s.sum()))
    why = why_not(source, chosen.samples, tao=True, binned=True)
    low, high = (100.0 * end for end in wilson(int(monotonic_s.sum()), len(monotonic_s)))
    both_sides = f"{_of(fast, fast_s)} above, {_of(slow, slow_s)} at or below 10¹³ K/s"
    return (
        Claim(
            "Spectra without a boson peak are more frequent above 10¹³ K/s than below.", "only above 10¹³ K/s", both_sides,
            comparable=False, why=f"the sign of the difference decides: {with_interval(_percent(apart), '%')}; their rule is not published; {why}",
            verdict=verdict(apart, low=0.0),
        ),
        Claim(
            "At 10¹³ K/s and below no spectrum lacks a boson peak.", "none", _of(slow, slow_s), comparable=False,
            why=f"supported where the upper limit is below {100 * FEW_REJECTED:g} %; smaller samples have fewer modes per bin and lose their "
            f"peak more easily; their rule is not published; {why}",
            verdict=_none_slow(source, chosen, slow, int(slow_s.sum())),
        ),
        Claim(
            "171 of 1800 samples are rejected (9.5 %).", "9.5 %",
            f"{100.0 * monotonic_s.mean():.3g} % [{low:.3g}, {high:.3g}] ({int(monotonic_s.sum())} of {len(monotonic_s)})", comparable=False,
            why=f"the share depends on the rule, which is not published, and on the cooling rates chosen; {why}", verdict=Verdict.UNDECIDED,
        ),
    )  # fmt: skip


def _of(rejected: int, judged_s: NDArray[np.bool_]) -> str:
    """Return how many were rejected of those there are."""
    return f"{rejected} of {int(judged_s.sum())} rejected" if judged_s.any() else "no sample"


def _percent(found: Estimate) -> Estimate:
    return type(found)(*(100.0 * value for value in (found.value, found.error, found.low, found.high)))


def _none_slow(source: Source, chosen: Alike, rejected: int, judged: int) -> Verdict:
    as_large = bool((source.dataset["n_atoms"].to_numpy()[chosen.samples] >= PAPER_ATOMS).all())
    if rejected:
        return Verdict.CONTRADICTED if as_large else Verdict.UNDECIDED
    return Verdict.SUPPORTED if wilson(0, judged)[1] < FEW_REJECTED else Verdict.UNDECIDED


@styled
def rejection_figure(dataset: xr.Dataset, samples: NDArray[np.intp], monotonic_s: NDArray[np.bool_]) -> Figure:
    """Draw the distribution of the intensity, and the share of rejected samples against the cooling rate."""
    figure = new_figure(7.0, 2.9)
    histogram_ax, share_ax = figure.subplots(1, 2)
    value_s = dataset["intensity"].to_numpy()[samples] * MICRO_THZ
    _histogram(histogram_ax, value_s, dataset["accepted"].to_numpy()[samples] == 1)
    few = dataset[["cooling_rate", "label"]].isel(sample=samples)
    names = []
    for place, series in enumerate(series_of(few)):
        count, hits = len(series.samples), int(monotonic_s[series.samples].sum())
        low, high = wilson(hits, count)
        share = hits / count
        share_ax.errorbar(
            place,
            100 * share,
            [[100 * (share - low)], [100 * (high - share)]],
            fmt=series.marker,
            color=series.colour,
            capsize=3,
        )
        names.append(f"{series.name.removesuffix(' K/s')}\n{hits} of {count}")
    share_ax.set_xticks(range(len(names)), names, fontsize=7)
    share_ax.set(
        xlabel="cooling rate (K/s)",
        ylabel="without a boson peak (%)",
        title="rejected",
        ylim=(0, 105),
        xlim=(-0.5, len(names) - 0.5),
    )
    panel_letters([histogram_ax, share_ax])
    return figure


def _histogram(ax: Axes, value_s: NDArray[np.float64], kept_s: NDArray[np.bool_]) -> None:
    top = 1.2 * max(PAPER_INTENSITY[1], float(value_s[kept_s].max(initial=0.0)))
    edges: list[float] = np.linspace(
        min(0.9 * float(value_s.min()), 0.9 * PAPER_INTENSITY[0]), top, int(np.clip(2 * math.sqrt(len(value_s)), 8, 40))
    ).tolist()
    shown, beyond = np.minimum(value_s, top), int((value_s > top).sum())
    ax.axvspan(
        *PAPER_INTENSITY, facecolor="0.9", edgecolor="0.6", lw=0.7, ls=":", zorder=0, label="Tao et al., test samples"
    )
    ax.hist(
        shown[kept_s],
        edges,
        histtype="stepfilled",
        facecolor="#BBD7EA",
        edgecolor=COLOURS[0],
        lw=1.2,
        label=f"accepted ({kept_s.sum()}): {span(value_s[kept_s])}" if kept_s.any() else "accepted: none",
    )
    ax.hist(
        shown[~kept_s],
        edges,
        histtype="stepfilled",
        facecolor="none",
        edgecolor=COLOURS[1],
        hatch="////",
        lw=1.2,
        ls="--",
        label=f"rejected ({(~kept_s).sum()}{f', {beyond} beyond' if beyond else ''})",
    )
    ax.set(xlabel=f"intensity, paper style ({MICRO_UNIT})", ylabel="samples", title="distribution")
    ax.set_ylim(0, 1.6 * ax.get_ylim()[1])
    ax.legend(loc="upper right", fontsize=7)
