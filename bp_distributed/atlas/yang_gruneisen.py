# SPDX-License-Identifier: BSD-3-Clause
"""Y11 and Y12: Grüneisen parameters of modes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import Alike, alike, basis, known, lacking, melts_of, why_not
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import UNCERTAINTY, as_values, mean, over_melts, verdict, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_inputs import mean_known
from bp_distributed.atlas.tao_vibrations import without_peak
from bp_distributed.captions import number
from bp_distributed.figures import COLOURS, LINES, MARKERS, new_figure, panel_letters, styled
from bp_distributed.physics.correlation import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

KINDS = {"rank_gruneisen": "by rank (paper)", "gruneisen": "mode followed"}
CUT = 10.0
"""rad/ps; the papers' boson-peak region."""

BIN = 1.0
"""rad/ps; of means of absolute values by frequency."""

LEVEL = 2.0
"""A mean absolute value above this many times that of all modes above the cut is "huge"."""

NEAR_THE_PEAK = 1.0
"""rad/ps."""

PAPER_MEAN = (1.0, 2.0)
PAPER_MAXIMUM = 2.5
"""rad/ps; where the paper's running mean is largest."""

Columns = dict[str, NDArray[np.float64]]
"""Frequencies and parameters of the modes of one sample, by name."""


def _modes(source: Source) -> tuple[Alike, list[Columns]]:
    """Return the largest group alike and the modes of each of its samples."""
    dataset = source.dataset
    chosen = alike(dataset, known(dataset, "gruneisen_frequency", *KINDS))
    names = ("gruneisen_frequency", *KINDS)
    columns = {name: dataset[name].to_numpy() for name in names} if len(chosen.samples) else {}
    return chosen, [
        {name: column[s][np.isfinite(columns[names[0]][s])] for name, column in columns.items()} for s in chosen.samples
    ]


def _no_modes(source: Source, row: str) -> Missing:
    return lacking(source, row, "no sample has Grüneisen parameters of its modes yet", "gruneisen")


def _estimated(source: Source, chosen: Alike, values: list[float]) -> Estimate:
    value_s = np.array(values)
    there = np.isfinite(value_s)
    return over_melts(mean(value_s[there]), melts_of(source.dataset, chosen.samples[there]))


# ---- Y11 --------------------------------------------------------------------------------------------------------------


def y11(source: Source) -> Panel | Missing:
    """Return the row of the modes: how large their Grüneisen parameters are at low frequency."""
    chosen, modes = _modes(source)
    if not modes:
        return _no_modes(source, "Y11")
    dataset = source.dataset
    peak, place = (
        mean_known(dataset["robust_peak_frequency"].to_numpy()[chosen.samples]),
        without_peak(dataset, chosen.samples),
    )
    ratios = {kind: _estimated(source, chosen, [_low_over_high(one, kind, peak) for one in modes]) for kind in KINDS}
    knee = _estimated(source, chosen, [_knee(one, "rank_gruneisen") - peak for one in modes])
    jumped = int((dataset["volume_jump"].to_numpy()[chosen.samples] > 0).sum())
    claims = _mode_claims(source, chosen, ratios, knee, jumped, place)
    caption = (
        "Grüneisen parameter of each mode at 0.99, 1 and 1.01 of the volume, frequencies matched by rank as in the paper (a), and with each mode "
        f"followed (b); (c) mean absolute value by frequency, bins of {BIN:g} rad/ps. Dotted: mean frequency of the boson peak, {number(peak)} rad/ps. "
        f"{jumped} of {len(modes)} samples moved to another minimum when the volume changed, which makes its values by rank meaningless. {_shown_of(modes)}"
        f"{chosen.sentence}.{f' Note: {place}.' if place else ''}"
    )
    values = {
        "low_over_high": {kind: as_values(found) for kind, found in ratios.items()}, "knee_minus_peak_rad_per_ps": as_values(knee),
        "peak_rad_per_ps": peak, "samples_that_jumped": jumped,
        "largest_absolute": {kind: max(float(np.abs(one[kind]).max()) for one in modes) for kind in KINDS},
    }  # fmt: skip
    return Panel(
        "Y11", title_of("Y11"), caption,
        basis(source, chosen.samples, "differences of frequencies by rank (Eq. 4), and perturbation theory with modes followed", UNCERTAINTY),
        claims, lambda: modes_figure(modes, peak), values,
    )  # fmt: skip


def _shown_of(modes: list[Columns]) -> str:
    shown = len(modes[: len(MARKERS)])
    return f"(a) and (b) show the first {shown} of {len(modes)} samples, (c) all. " if shown < len(modes) else ""


def _low_over_high(modes: Columns, kind: str, peak: float) -> float:
    """Return the mean absolute value below the boson peak over that above the cut."""
    omega_k, size_k = modes["gruneisen_frequency"], np.abs(modes[kind])
    low, high = size_k[omega_k < peak], size_k[omega_k > CUT]
    return float(low.mean() / high.mean()) if len(low) and len(high) else math.nan


def _by_frequency(modes: Columns, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of bins and the mean absolute values in them."""
    place_k = (modes["gruneisen_frequency"] / BIN).astype(np.intp)
    count_b = np.bincount(place_k)
    there = count_b > 0
    total_b = np.bincount(place_k, np.abs(modes[kind]))
    centre_b = np.asarray((np.flatnonzero(there) + 0.5) * BIN, dtype=np.float64)
    return centre_b, np.asarray(total_b[there] / count_b[there], dtype=np.float64)


def _knee(modes: Columns, kind: str) -> float:
    """Return the frequency (rad/ps) up to which the mean absolute value exceeds ``LEVEL`` times that above the cut."""
    centre_b, mean_b = _by_frequency(modes, kind)
    high = np.abs(modes[kind][modes["gruneisen_frequency"] > CUT])
    if not len(high):
        return math.nan
    large = np.flatnonzero(mean_b > LEVEL * high.mean())
    return float(centre_b[large[-1]] + 0.5 * BIN) if len(large) else math.nan


def _mode_claims(
    source: Source, chosen: Alike, ratios: dict[str, Estimate], knee: Estimate, jumped: int, place: str
) -> tuple[Claim, ...]:
    why = why_not(source, chosen.samples, tao=False)
    moved = f"{jumped} of {len(chosen.samples)} samples moved to another minimum"
    return (
        *(
            Claim(
                f"Modes of low frequency have huge Grüneisen parameters ({text}).", "-",
                f"mean absolute value below the boson peak over that above {CUT:g} rad/ps: {with_interval(ratios[kind])}",
                comparable=False, why=f"“huge” read as more than {LEVEL:g} times; contradicted if surely not above 1; {moved}; {why}",
                verdict=_huge(ratios[kind]),
            )
            for kind, text in KINDS.items()
        ),
        Claim(
            "The boson-peak frequency lies at the inflection of the Grüneisen parameter against frequency.", "-",
            f"where the mean absolute value (by rank) falls below {LEVEL:g} times its level above {CUT:g} rad/ps, minus the boson peak: "
            f"{with_interval(knee, 'rad/ps')}",
            comparable=False, why=f"the paper does not say how its inflection is found; ours is supported within ±{NEAR_THE_PEAK:g} rad/ps; "
            f"{place + '; ' if place else ''}{moved}; {why}",
            verdict=Verdict.UNDECIDED if place else verdict(knee, -NEAR_THE_PEAK, NEAR_THE_PEAK),
        ),
    )  # fmt: skip


def _huge(ratio: Estimate) -> Verdict:
    """Return the verdict on a ratio that is to be surely above the level, and contradicts where it is surely below 1."""
    if ratio.low > LEVEL:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if ratio.high < 1.0 else Verdict.UNDECIDED


@styled
def modes_figure(modes: list[Columns], peak: float) -> Figure:
    """Draw the parameter of every mode, by rank and followed, and mean absolute values by frequency."""
    figure = new_figure(7.0, 2.8)
    axes = figure.subplots(1, 3)
    shown = modes[: len(MARKERS)]
    for ax, (kind, title) in zip(axes, KINDS.items(), strict=False):
        for number_of, one in enumerate(shown):
            ax.plot(
                one["gruneisen_frequency"],
                one[kind],
                MARKERS[number_of],
                ms=2,
                mew=0.4,
                mfc="none",
                color=COLOURS[number_of],
                rasterized=True,
            )
        ax.set_yscale("symlog", linthresh=5.0)
        ax.set_yticks([-100.0, -10.0, 0.0, 10.0, 100.0], ["−100", "−10", "0", "10", "100"])
        ax.set_yticks([], minor=True)
        largest = max(float(np.abs(one[kind]).max()) for one in shown)
        ax.set_ylim(-1.5 * largest, 1.5 * largest)
        ax.set(ylabel=r"$\gamma_k$", title=title)
    for number_of, (kind, title) in enumerate(KINDS.items()):
        centres, means = zip(*(_by_frequency(one, kind) for one in modes), strict=True)
        grid = np.unique(np.concatenate(centres))
        mean_b = [
            np.mean([m[np.searchsorted(c, x)] for c, m in zip(centres, means, strict=True) if x in c]) for x in grid
        ]
        axes[2].plot(
            grid, mean_b, color=COLOURS[number_of], marker=MARKERS[number_of], ms=3, ls=LINES[number_of], label=title
        )
    axes[2].set(ylabel=r"mean of $|\gamma_k|$", title="by frequency", yscale="log")
    axes[2].legend(loc="upper right")
    for ax in axes:
        if math.isfinite(peak):
            ax.axvline(peak, color="0.4", lw=0.9, ls=":")
        ax.set(xlabel=r"$\omega$ (rad/ps)", xlim=(0, None))
    panel_letters(list(axes))
    return figure


# ---- Y12 --------------------------------------------------------------------------------------------------------------

_GRID = np.arange(1.0, 50.25, 0.25)
"""rad/ps; upper limits of the running mean."""

FEWEST_MODES = 10
"""Below so many modes a running mean of a sample is not looked at."""


def y12(source: Source) -> Panel | Missing:
    """Return the row of the running mean."""
    chosen, modes = _modes(source)
    if not modes:
        return _no_modes(source, "Y12")
    running = {kind: np.array([_running(one, kind) for one in modes]) for kind in KINDS}
    at_cut = {
        kind: _estimated(source, chosen, found[:, _GRID == CUT][:, 0].tolist()) for kind, found in running.items()
    }
    top = {kind: _estimated(source, chosen, [_highest(one) for one in found]) for kind, found in running.items()}
    claims = _running_claims(source, chosen, at_cut, top)
    caption = (
        "Mean Grüneisen parameter of the modes below ω₀, by rank as in the paper and with modes followed: mean over samples, bars: standard "
        f"deviation over samples, from where all have {FEWEST_MODES} modes. Grey: the paper's range and the place of its maximum. {chosen.sentence}."
    )
    values = {
        "mean_below_10_rad_per_ps": {kind: as_values(found) for kind, found in at_cut.items()},
        "maximum_at_rad_per_ps": {kind: as_values(found) for kind, found in top.items()},
    }
    return Panel(
        "Y12", title_of("Y12"), caption,
        basis(source, chosen.samples, f"mean of γ_k over ω < ω₀, from {FEWEST_MODES} modes on", UNCERTAINTY),
        claims, lambda: running_figure(running), values,
    )  # fmt: skip


def _running(modes: Columns, kind: str) -> NDArray[np.float64]:
    """Return the mean over the modes below each limit; NaN where there are few, or beyond the last mode known."""
    omega_k = modes["gruneisen_frequency"]
    count_g = np.searchsorted(omega_k, _GRID)
    total_g = np.concatenate([[0.0], np.cumsum(modes[kind])])[count_g]
    seen_g = (count_g >= FEWEST_MODES) & (omega_k[-1] >= _GRID)
    return np.where(seen_g, total_g / np.maximum(count_g, 1), np.nan)


def _highest(running_g: NDArray[np.float64]) -> float:
    """Return where a running mean is largest in the boson-peak region."""
    low = np.where(_GRID <= CUT, running_g, np.nan)
    return float(_GRID[np.nanargmax(low)]) if np.isfinite(low).any() else math.nan


def _running_claims(
    source: Source, chosen: Alike, at_cut: dict[str, Estimate], top: dict[str, Estimate]
) -> tuple[Claim, ...]:
    why = why_not(source, chosen.samples, tao=False)
    first = source.dataset["gruneisen_frequency"].to_numpy()[chosen.samples]
    reached = bool(
        (np.nanmin(first, axis=1) < PAPER_MAXIMUM).all() and ((first < PAPER_MAXIMUM).sum(axis=1) >= FEWEST_MODES).all()
    )
    return (
        *(
            Claim(
                f"The mean Grüneisen parameter at low frequency lies between 1 and 2 ({text}).", "1 to 2", f"modes below {CUT:g} rad/ps: {with_interval(at_cut[kind])}",
                comparable=not why, why=f"the interval decides{'; ' + why if why else ''}", verdict=verdict(at_cut[kind], *PAPER_MEAN),
            )
            for kind, text in KINDS.items()
        ),
        Claim(
            f"The running mean is largest at {PAPER_MAXIMUM} rad/ps.", f"{PAPER_MAXIMUM} rad/ps", f"{with_interval(top['rank_gruneisen'], 'rad/ps')} (by rank)",
            comparable=not why,
            why=f"supported within ±{NEAR_THE_PEAK:g} rad/ps; "
            + ("" if reached else f"samples of this size have fewer than {FEWEST_MODES} modes below {PAPER_MAXIMUM} rad/ps, so the place cannot be seen; ") + why,
            verdict=verdict(top["rank_gruneisen"], PAPER_MAXIMUM - NEAR_THE_PEAK, PAPER_MAXIMUM + NEAR_THE_PEAK) if reached else Verdict.UNDECIDED,
        ),
    )  # fmt: skip


@styled
def running_figure(running: dict[str, NDArray[np.float64]]) -> Figure:
    """Draw the running means with their standard deviations over samples."""
    figure = new_figure(3.5, 2.9)
    ax = figure.subplots()
    ax.axhspan(*PAPER_MEAN, color="0.92", lw=0, zorder=0)
    ax.axvline(PAPER_MAXIMUM, color="0.6", lw=0.9, ls=":")
    for number_of, (kind, found) in enumerate(running.items()):
        there = np.isfinite(found).all(axis=0)  # where some samples have too few modes the mean would be of others
        if not there.any():
            there = np.isfinite(found).any(axis=0)
        mean_g, error_g = np.nanmean(found[:, there], axis=0), np.nanstd(found[:, there], axis=0)
        ax.errorbar(_GRID[there], mean_g, error_g, color=COLOURS[number_of], ls=LINES[number_of], marker=MARKERS[number_of], ms=3,
                    markevery=8, errorevery=8, lw=1.1, capsize=2, label=KINDS[kind])  # fmt: skip
    ax.set(xlabel=r"$\omega_0$ (rad/ps)", ylabel=r"mean of $\gamma_k$, $\omega < \omega_0$", xlim=(0, None))
    ax.legend(loc="best")
    return figure
