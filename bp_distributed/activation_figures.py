# SPDX-License-Identifier: BSD-3-Clause
"""Figures of the activation energies, each from the study of the gathered dataset alone.

As in :mod:`~bp_distributed.figures`: no pyplot, and nothing that only colour tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.activation_study import (
    CHOICES,
    N_SHIFTS,
    PAPER,
    REFERENCE_KERNEL,
    ActivationStudy,
    Glass,
    GlassStudy,
    Relation,
    Tally,
    averaged_by,
)
from bp_distributed.errors import CampaignError
from bp_distributed.figures import COLOURS, LINES, MARKERS, MAX_SERIES, new_figure, panel_letters, styled
from bp_distributed.physics.artn import Code
from bp_distributed.physics.autocorrelation import NEAR, Decay, decaying
from bp_distributed.physics.coarse_graining import KERNELS
from bp_distributed.physics.correlation import LEAST_EFFECTIVE, Contrast, Curve, Estimate, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PAPER_LENGTH = 5.9
"""Å; best coarse-graining length of Yang et al. (2022), where C(r) is about exp(-3)."""

KERNEL_NAMES = {
    "exponential": r"$e^{-r/L}$",
    "gaussian": r"$e^{-r^2/2L^2}$",
    "top_hat": r"$r < L$",
}
ENDINGS = {
    Code.SUCCESS: "at a saddle",
    Code.BASIN: "never left the basin",
    Code.EIG_LOST: "lost the direction",
    Code.MAXITER: "too many steps",
    Code.ENERGY: "too high",
    Code.DISP: "moved too far",
    Code.NEG: "below the minimum",
    Code.COLLAPSED: "fell back",
    Code.SHOULDER: "at a shoulder",
    Code.RELAXED_AWAY: "relaxed away",
}
INVERSE_UNIT = r"1/$\mu$THz$^{-3}$"
FEW_POINTS = 1500
"""Fewer atoms are drawn one by one."""

SMALLEST = 1e-3
"""meV: smaller errors are drawn as this."""

SLAB = 4.0
"""Å: thickness of the slice in the maps."""

_TOP, _BOTTOM = COLOURS[1], COLOURS[0]


# ---- how searches ended -----------------------------------------------------------------------------------------------


@styled
def endings_figure(tally: Tally) -> Figure:
    """Draw how the searches ended, and what the frozen surroundings cost in energy."""
    figure = new_figure(9.2, 3.3)
    ending_ax, error_ax = figure.subplots(1, 2, width_ratios=[1.7, 1.0])
    _endings(ending_ax, tally)
    _errors(error_ax, tally)
    panel_letters([ending_ax, error_ax])
    return figure


def _errors(ax: Axes, tally: Tally) -> None:
    errors = {
        "active region": (1e3 * np.abs(tally.region_error), COLOURS[5], "", "-"),
        "what is left": (1e3 * np.abs(tally.boundary_error), COLOURS[1], "////", "--"),
    }
    known = np.concatenate([error for error, *_ in errors.values()])
    if not known.size:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color="0.4")
        ax.set(xticks=[], yticks=[])
    edges = np.geomspace(SMALLEST, max(known.max(initial=0.0), 1.0) * 1.1, 25)
    for name, (error, colour, hatch, look) in errors.items():
        if error.size:
            text = f"{name}, {error.size}: median {_short(np.median(error))},\n95 % below {_short(np.percentile(error, 95))} meV"
            ax.hist(
                np.maximum(error, SMALLEST), edges.tolist(), weights=np.full(error.size, 100.0 / error.size), histtype="stepfilled",
                facecolor="none" if hatch else colour, edgecolor=colour, hatch=hatch, ls=look, lw=1.2, label=text,
            )  # fmt: skip
    if known.size:
        ax.set_xscale("log")
        ax.legend(loc="upper left", fontsize=7.5)
        ax.set_ylim(top=1.6 * ax.get_ylim()[1])
    ax.set(xlabel="error of the energy (meV)", ylabel="share of the saddles (%)", title="frozen surroundings")


def _short(number: np.floating[Any]) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"  # noqa: PLR2004 - two digits are enough


def _endings(ax: Axes, tally: Tally) -> None:
    whole = max(1, tally.searches)
    parts = (
        ("connected, new", tally.connected, COLOURS[2], ""),
        ("connected, found before", tally.repeated, "#9AD6C2", "//"),
        ("not connected", tally.unconnected, COLOURS[4], ".."),
        ("second order", tally.second_order, COLOURS[3], "xx"),
        ("not validated", tally.unknown, "white", ""),
    )
    left = 0.0
    for name, count, colour, hatch in parts:
        if count:
            width = 100.0 * count / whole
            ax.barh(0, width, left=left, color=colour, hatch=hatch, edgecolor="k", lw=0.5, height=0.62, label=name)
            left += width
    for place, code in enumerate(Code):
        if code <= Code.SUCCESS:
            continue
        share = 100.0 * tally.codes.get(code, 0) / whole
        ax.barh(place - 1, share, color="0.8", edgecolor="k", lw=0.5, height=0.62)
    shares = [100.0 * tally.codes.get(code, 0) / whole for code in ENDINGS]
    for place, share in enumerate(shares):
        ax.annotate(
            f"{share:.1f} %" if share else "none",
            (share, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    ax.set(
        xlabel="share of the searches (%)", xlim=(0, 1.18 * max(shares)), title=f"how {tally.searches} searches ended"
    )
    ax.set_yticks(range(len(ENDINGS)), list(ENDINGS.values()))
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.legend(loc="center right")


# ---- the ends of the distribution (Fig. 2 of the paper) ---------------------------------------------------------------


@styled
def contrast_figure(relation: Relation) -> Figure:
    """Draw the activation energies of the atoms with the largest and the smallest intensity, by element.

    Raises
    ------
    CampaignError
        If no element has enough atoms.
    """
    if not relation.contrasts:
        raise CampaignError("too few atoms of each element were searched to compare the ends of the distribution")
    figure = new_figure(9.2, 3.4)
    axes = figure.subplots(1, len(relation.contrasts), squeeze=False)[0]
    for ax, (element, found) in zip(axes, relation.contrasts.items(), strict=True):
        both = np.concatenate([found.top_i, found.bottom_i])
        edges = np.linspace(both.min() - 0.05, both.max() + 0.05, int(np.clip(2 * np.sqrt(both.size), 9, 31)))
        _distribution(ax, found.top_i, edges, "top 10 % of $I$", _TOP, "////", "-")
        _distribution(ax, found.bottom_i, edges, "bottom 10 % of $I$", _BOTTOM, "", "--")
        ax.set(xlabel=r"activation energy $\Delta Q$ (eV)", ylabel="probability density (1/eV)")
        ax.set_title(f"{element}: {len(found.top_i)} atoms at each end")
        ax.set_ylim(0, 1.55 * ax.get_ylim()[1])
        ax.text(0.03, 0.96, _contrast_text(found), transform=ax.transAxes, va="top", fontsize=8)
        ax.legend(loc="upper right")
    panel_letters(list(axes))
    return figure


def _distribution(
    ax: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], name: str, colour: str, hatch: str, look: str
) -> None:
    ax.hist(
        values,
        edges.tolist(),
        density=True,
        histtype="stepfilled",
        facecolor="none",
        edgecolor=colour,
        hatch=hatch,
        lw=1.3,
        ls=look,
        label=name,
    )
    ax.axvline(values.mean(), 0, 0.62, color=colour, ls=look, lw=1.6)


def _contrast_text(found: Contrast) -> str:
    mean, median = found.mean_difference, found.median_difference
    return (
        f"means: {with_error(mean)} eV\nmedians: {with_error(median)} eV\nrandom shifts: $p$ = {p_text(found.p_shift)}"
    )


def p_text(p: float, n_draws: int = N_SHIFTS) -> str:
    """Return a p-value as people write it; one that no draw exceeded is a bound."""
    bound = "≤ " if p <= 1.0 / (1 + n_draws) else ""
    return f"{bound}{p:.2f}" if p >= 0.1 else f"{bound}{p:.1g}"  # noqa: PLR2004 - as printed


# ---- r against length (Fig. 3) ----------------------------------------------------------------------------------------


@styled
def curves_figure(relation: Relation) -> Figure:
    """Draw Pearson's r against the coarse-graining length for all kernels, and how much independent data is left."""
    figure = new_figure(9.2, 3.7)
    inverse_ax, direct_ax, left_ax = figure.subplots(1, 3, width_ratios=[1.25, 1.25, 1.0])
    for number, kernel in enumerate(KERNELS):
        _curve(inverse_ax, relation.inverse[kernel], number, KERNEL_NAMES[kernel])
        _curve(direct_ax, relation.direct[kernel], number, KERNEL_NAMES[kernel])
        found = relation.inverse[kernel]
        left_ax.plot(
            found.lengths_l, found.n_effective_l, color=COLOURS[number], marker=MARKERS[number], ls=LINES[number]
        )
    within = relation.within
    inverse_ax.plot(
        within.lengths_l,
        within.r_l,
        color="0.35",
        lw=1.0,
        ls=(0, (1, 2)),
        marker="x",
        ms=4,
        label="elements' means taken off",
    )
    left_ax.axhline(LEAST_EFFECTIVE, color="0.5", lw=0.9, ls="--", label="fewest to choose by")
    left_ax.legend(loc="upper right")
    left_ax.set(
        xlabel="length $L$ (Å)",
        ylabel="effective sample size",
        yscale="log",
        ylim=(1, 4.0 * relation.n_atoms),
        title="independent pairs left",
    )
    for ax, name in ((inverse_ax, r"$[1/I]_{CG}$ and $\Delta Q_{CG}$"), (direct_ax, r"$I_{CG}$ and $\Delta Q_{CG}$")):
        ax.axhline(0.0, color="0.6", lw=0.8, zorder=0)
        ax.axvline(PAPER_LENGTH, color="0.6", lw=0.9, ls=":", zorder=0)
        ax.set(xlabel="length $L$ (Å)", title=name)
    inverse_ax.set_ylabel("Pearson's $r$")
    figure.legend(*inverse_ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    panel_letters([inverse_ax, direct_ax, left_ax])
    return figure


def _curve(ax: Axes, found: Curve, number: int, name: str) -> None:
    colour, marker = COLOURS[number], MARKERS[number]
    enough_l = found.n_effective_l >= LEAST_EFFECTIVE
    ax.plot(found.lengths_l, found.r_l, color=colour, marker=marker, ls=LINES[number], mfc="white", label=name)
    ax.plot(found.lengths_l[enough_l], found.r_l[enough_l], marker, color=colour)
    ax.fill_between(found.lengths_l, found.low_l, found.high_l, color=colour, alpha=0.14, lw=0)
    for edge_l in (found.low_l, found.high_l):
        ax.plot(found.lengths_l, edge_l, color=colour, lw=0.6, ls=LINES[number])
    ax.plot(found.lengths_l[found.best], found.r_l[found.best], "o", ms=10, mfc="none", color=colour, mew=1.1)


# ---- the line (Fig. 4 and S1) -----------------------------------------------------------------------------------------


def draw_means(ax: Axes, line: Line) -> None:
    """Draw the means of groups of atoms that a line was fitted through, with their errors."""
    label = f"means of {line.per_group} atoms"
    ax.errorbar(line.x_g, line.y_g, line.y_error_g, fmt="o", color=COLOURS[1], lw=0.9, capsize=2, label=label)


@styled
def line_figure(relation: Relation) -> Figure:
    """Draw the coarse-grained energy against the coarse-grained inverse intensity, atoms and bins, and by element."""
    figure = new_figure(9.2, 3.7)
    all_ax, element_ax = figure.subplots(1, 2, sharey=True)
    if len(relation.x_i) < FEW_POINTS:
        all_ax.plot(relation.x_i, relation.y_i, ".", color="0.65", ms=4, label="atoms")
    else:
        shown = all_ax.hexbin(relation.x_i, relation.y_i, gridsize=34, cmap="Greys", mincnt=1, lw=0.1, bins="log")
        figure.colorbar(shown, ax=all_ax, label="atoms per cell", pad=0.01)
    line = relation.line
    draw_means(all_ax, line)
    _straight(all_ax, line.x_g, line.slope, line.intercept, COLOURS[1], "-")
    all_ax.set_title(f"all: slope {with_error(line.slope)}")
    all_ax.legend(loc="upper left")
    for number, (element, one) in enumerate(relation.element_lines.items()):
        colour, marker = COLOURS[number], MARKERS[number]
        element_ax.errorbar(
            one.x_g, one.y_g, one.y_error_g, fmt=marker, color=colour, lw=0.9, capsize=2,
            label=f"{element}, {one.per_group} per mean: slope {with_error(one.slope)}",
        )  # fmt: skip
        _straight(element_ax, one.x_g, one.slope, one.intercept, colour, LINES[number])
    element_ax.set_title("by element")
    element_ax.legend(loc="upper left")
    for ax in (all_ax, element_ax):
        ax.set_xlabel(rf"$[1/I]_{{CG}}$ ({INVERSE_UNIT})")
    all_ax.set_ylabel(r"$\Delta Q_{CG}$ (eV)")
    low, high = all_ax.get_ylim()
    all_ax.set_ylim(low, high + 0.25 * (high - low))
    panel_letters([all_ax, element_ax])
    return figure


def _straight(ax: Axes, x_g: NDArray[np.float64], slope: Estimate, intercept: Estimate, colour: str, look: Any) -> None:
    ends = np.array([x_g.min(), x_g.max()])
    ax.plot(ends, intercept.value + slope.value * ends, color=colour, ls=look, lw=1.3)


def with_error(found: Estimate) -> str:
    """Return value ± error to the error's two leading digits."""
    places = max(0, 1 - int(np.floor(np.log10(found.error)))) if 0 < found.error < np.inf else 3
    return f"{found.value:.{places}f} ± {found.error:.{places}f}".replace("-", "−")


# ---- maps and decay (Fig. 5) ------------------------------------------------------------------------------------------


@styled
def map_figure(glass: Glass, relation: Relation, choice: str = PAPER) -> Figure:
    """Draw a slice of the first sample: inverse intensity and energy, as they are and coarse-grained.

    Each panel is coloured by rank, so that what is high and low in one can be found in the other.

    Raises
    ------
    CampaignError
        If less than half of the atoms were searched.
    """
    if not can_be_mapped(glass, choice):
        part = glass.of(choice)
        raise CampaignError(
            f"{len(part.sites)} of {len(glass.sites)} atoms have an activation energy: too few for a map"
        )
    figure = new_figure(9.2, 2.9)
    panel_letters(draw_maps(figure, glass, relation, choice))
    return figure


def can_be_mapped(glass: Glass, choice: str = PAPER) -> bool:
    """Tell whether at least half of the atoms have an activation energy."""
    return 2 * len(glass.of(choice).sites) >= len(glass.sites)


def draw_maps(figure: Figure | SubFigure, glass: Glass, relation: Relation, choice: str = PAPER) -> list[Axes]:
    """Draw the panels of :func:`map_figure` into a figure or a part of one."""
    part = glass.of(choice)
    fields_fi = np.array([1.0 / part.intensity_i, part.energy[choice]])
    smooth_fi = averaged_by(part.sites, fields_fi, [(REFERENCE_KERNEL, relation.length)])[0]
    first = int(part.sites.sample_i.min())
    mine_i = part.sites.sample_i == first
    cell_cc = part.sites.cells_scc[first]
    inside_ic = (part.sites.positions_ic[mine_i] @ np.linalg.inv(cell_cc) % 1.0) @ cell_cc
    width = 1.0 / float(np.linalg.norm(np.linalg.inv(cell_cc)[:, 2]))
    slab_i = np.abs((inside_ic @ np.linalg.inv(cell_cc))[:, 2] - 0.5) * width < 0.5 * SLAB
    axes = list(figure.subplots(1, 4, sharex=True, sharey=True))
    names = ("$1/I$", r"$\Delta Q$", "$[1/I]_{CG}$", r"$\Delta Q_{CG}$")
    for ax, name, values_i in zip(axes, names, (*fields_fi, *smooth_fi), strict=True):
        rank_i = 100.0 * (np.argsort(np.argsort(values_i[mine_i])) + 0.5) / mine_i.sum()
        shown = ax.scatter(
            *inside_ic[slab_i, :2].T,
            c=rank_i[slab_i],
            s=_spot(cell_cc),
            cmap="cividis",
            vmin=0,
            vmax=100,
            lw=0.2,
            ec="k",
        )
        outline = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ cell_cc[:2, :2]
        ax.plot(*(outline + 0.5 * cell_cc[2, :2]).T, color="0.5", lw=0.7)
        ax.set(title=name, xlabel="$x$ (Å)", aspect="equal")
    axes[0].set_ylabel("$y$ (Å)")
    figure.colorbar(shown, ax=axes, label="rank in the sample (%)", pad=0.01)
    return axes


def _spot(cell_cc: NDArray[np.float64]) -> float:
    """Return the area of an atom of 1.3 Å in a panel 1.8 inches wide, in square points."""
    return float((1.8 * 72.0 * 2.0 * 1.3 / np.linalg.norm(cell_cc[0])) ** 2)


@styled
def decay_figure(glass: GlassStudy) -> Figure:
    """Draw the autocorrelation of inverse intensity and energy with the fits.

    Raises
    ------
    CampaignError
        If too few neighbouring atoms were searched.
    """
    if not np.isfinite(glass.intensity_decay.length.value):
        raise CampaignError(
            f"too few pairs of searched atoms are nearer than {NEAR:g} Å to see how the activation energy decays with distance"
        )
    figure = new_figure(9.2, 3.6)
    panel_letters(draw_decay(figure, glass))
    return figure


def draw_decay(figure: Figure | SubFigure, glass: GlassStudy) -> list[Axes]:
    """Draw the panels of :func:`decay_figure` into a figure or a part of one."""
    plain_ax, log_ax = figure.subplots(1, 2)
    sites = glass.glass.of(PAPER).sites
    volume = sites.volume / len(np.unique(sites.sample_i))
    fields = {"$1/I$": glass.intensity_decay, r"$\Delta Q$": glass.energy_decay[PAPER]}
    for number, (name, found) in enumerate(fields.items()):
        for ax in (plain_ax, log_ax):
            _decay(ax, found, volume, number, name)
    plain_ax.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    highest = max(1.0, *(float(np.nanmax(found.c_b + found.error_b)) for found in fields.values()))
    lowest = min(0.0, *(float(np.nanmin(found.c_b - found.error_b)) for found in fields.values()))
    plain_ax.set(
        xlabel="$r$ (Å)",
        ylabel="$C(r)$",
        xlim=(0, None),
        ylim=(1.1 * lowest - 0.02, 1.1 * highest),
        title="autocorrelation",
    )
    log_ax.set(
        xlabel="$r$ (Å)", ylabel="$C(r)$", xlim=(0, None), yscale="log", ylim=(3e-3, 1.3), title="the same, logarithmic"
    )
    log_ax.axhline(np.exp(-3.0), color="0.6", lw=0.9, ls=":", zorder=0)
    log_ax.axvline(PAPER_LENGTH, color="0.6", lw=0.9, ls=":", zorder=0)
    log_ax.annotate("paper: $e^{-3}$ at 5.9 Å", (0.01, np.exp(-3.0)), (0, 3), xycoords=("axes fraction", "data"),
                    textcoords="offset points", fontsize=7, color="0.35")  # fmt: skip
    plain_ax.legend(loc="upper right")
    return [plain_ax, log_ax]


def _decay(ax: Axes, found: Decay, volume: float, number: int, name: str) -> None:
    colour = COLOURS[number]
    length, free, amplitude = found.length, found.free_length, found.amplitude
    ax.errorbar(
        found.r_b,
        found.c_b,
        found.error_b,
        fmt=MARKERS[number],
        color=colour,
        lw=0.8,
        capsize=2,
        ms=4,
        mfc="none",
        label=name,
    )
    r = np.linspace(0.0, found.r_b.max(), 200)
    ax.plot(
        r, decaying(r, length.value, volume), color=colour, ls="-", lw=1.2, label=rf"$\xi$ = {with_error(length)} Å"
    )
    if amplitude.error > abs(amplitude.value):  # a line through an amplitude that is not known would mislead
        ax.plot([], [], color=colour, ls="--", lw=1.0, label="$A$ not determined")
        return
    ax.plot(
        r, amplitude.value * decaying(r, free.value, volume), color=colour, ls="--", lw=1.0,
        label=rf"$A$ = {with_error(amplitude)}, $\xi$ = {with_error(free)} Å",
    )  # fmt: skip


# ---- choices, compositions, rates (Figs. 6 and 7) ---------------------------------------------------------------------


@styled
def choices_figure(relations: Mapping[str, Relation]) -> Figure:
    """Draw how r, the slope and the difference of the ends depend on what is called the activation energy."""
    figure = new_figure(9.2, 1.3 + 0.42 * len(relations))
    r_ax, slope_ax, ends_ax = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(relations))
    for number, kernel in enumerate(KERNELS):
        curves = [relation.inverse[kernel] for relation in relations.values()]
        best = [Estimate(c.r_l[c.best], 0.0, c.low_l[c.best], c.high_l[c.best]) for c in curves]
        _forest(r_ax, places + 0.22 * (number - 1), best, number, KERNEL_NAMES[kernel])
    _forest(slope_ax, places, [relation.line.slope for relation in relations.values()], 0, None)
    elements = list(dict.fromkeys(element for relation in relations.values() for element in relation.contrasts))
    for number, element in enumerate(elements):
        have = [place for place, relation in enumerate(relations.values()) if element in relation.contrasts]
        ends = [
            relation.contrasts[element].mean_difference
            for relation in relations.values()
            if element in relation.contrasts
        ]
        _forest(ends_ax, np.array(have) + 0.2 * (number - 0.5 * (len(elements) - 1)), ends, number + 3, element)
    r_ax.set(xlabel="$r$ at the best length", title=r"$[1/I]_{CG}$ and $\Delta Q_{CG}$")
    slope_ax.set(xlabel=r"slope (eV $\mu$THz$^{-3}$)", title="slope of the line")
    ends_ax.set(xlabel=r"$\langle\Delta Q\rangle_{top} - \langle\Delta Q\rangle_{bottom}$ (eV)", title="ends of $I$")
    r_ax.set_yticks(places, [CHOICES[choice] for choice in relations])
    r_ax.invert_yaxis()
    for ax in (r_ax, slope_ax, ends_ax):
        ax.axvline(0.0, color="0.5", lw=0.9, zorder=0)
        ax.set_ylim(len(relations) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
    figure.legend(*r_ax.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    if elements:
        figure.legend(*ends_ax.get_legend_handles_labels(), loc="outside lower right", ncols=len(elements))
    panel_letters([r_ax, slope_ax, ends_ax])
    return figure


def _forest(ax: Axes, places: Any, found: Sequence[Estimate], number: int, name: str | None) -> None:
    value = np.array([one.value for one in found])
    reach = np.array([[one.value - one.low for one in found], [one.high - one.value for one in found]])
    look = number % MAX_SERIES
    ax.errorbar(value, places, xerr=reach, fmt=MARKERS[look], color=COLOURS[look], capsize=2.5, lw=1.1, label=name)


@styled
def robustness_figure(study: ActivationStudy) -> Figure:
    """Draw the line of every composition and cooling rate, by element.

    Raises
    ------
    CampaignError
        If there is one of them only.
    """
    if len(study.glasses) < 2:  # noqa: PLR2004 - two can be compared
        raise CampaignError("one composition and one cooling rate: whether the relation holds for others is open")
    elements = list(dict.fromkeys(name for one in study.glasses for name in one.relations[PAPER].element_lines))
    figure = new_figure(9.2, 3.9)
    *axes, forest_ax = figure.subplots(1, len(elements) + 1)
    for number, one in enumerate(study.glasses[:MAX_SERIES]):
        for ax, element in zip(axes, elements, strict=True):
            line = one.relations[PAPER].element_lines.get(element)
            if line is not None:
                ax.errorbar(
                    line.x_g,
                    line.y_g,
                    line.y_error_g,
                    fmt=MARKERS[number],
                    color=COLOURS[number],
                    lw=0.8,
                    capsize=2,
                    ms=4,
                )
                _straight(ax, line.x_g, line.slope, line.intercept, COLOURS[number], LINES[number])
        _forest(forest_ax, np.array([number]), [one.relations[PAPER].line.slope], number, one.glass.name)
    for ax, element in zip(axes, elements, strict=True):
        ax.set(xlabel=rf"$[1/I]_{{CG}}$ ({INVERSE_UNIT})", title=element)
    axes[0].set_ylabel(r"$\Delta Q_{CG}$ (eV)")
    forest_ax.axvline(0.0, color="0.5", lw=0.9, zorder=0)
    forest_ax.set(xlabel=r"slope (eV $\mu$THz$^{-3}$)", title="slope, all atoms", yticks=[])
    forest_ax.set_ylim(min(len(study.glasses), MAX_SERIES) - 0.5, -0.5)
    figure.legend(*forest_ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    panel_letters([*axes, forest_ax])
    return figure
