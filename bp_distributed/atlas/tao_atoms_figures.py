# SPDX-License-Identifier: BSD-3-Clause
"""Figures of T13 to T15, from the plain data that the jobs of learning leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed.figures import COLOURS, MARKERS, new_figure, panel_letters, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER_LENGTH = 6.85
"""Å."""
R_MAX = 9.0
"""Å; beyond, all functions are one."""
_LOWEST_R2 = -0.3
_SHELLS = 4

Learned = Mapping[str, Any]


@styled
def atoms_figure(learned: Learned) -> Figure:
    """Draw parity, scores of all models, error against cutoff, and importance by shell."""
    figure = new_figure(9.2, 7.2)
    # each row by itself: the long names of models would push the lower panels apart
    rows: Any = figure.subfigures(2, 1)
    axes = [ax for row in rows for ax in row.subplots(1, 2)]
    _parity(axes[0], learned)
    _scores(axes[1], learned)
    _cutoffs(axes[2], learned)
    _importance(
        axes[3], learned["importance"], [name for name in learned["importance"]["ridge"] if _number(name) <= _SHELLS]
    )
    panel_letters(axes)
    return figure


def _number(shell: str) -> int:
    return int(shell.rsplit(" ", 1)[1])


def _parity(ax: Axes, learned: Learned) -> None:
    figure: Any = ax.get_figure()
    parity = learned["parity"]["network"]
    edges, counts = np.array(parity["edges"]), np.array(parity["counts"], dtype=float)
    image = ax.pcolormesh(
        edges, edges, np.where(counts > 0, counts, np.nan).T, cmap="Greys", norm="log", rasterized=True
    )
    figure.colorbar(image, ax=ax, label="atoms", pad=0.02)
    ax.plot(edges[[0, -1]], edges[[0, -1]], color=COLOURS[1], ls="--", lw=1.2, label="prediction = truth")
    ax.plot(*np.array(parity["means"]).T, MARKERS[0], color=COLOURS[0], mec="white", mew=0.6, ms=5.5, label="means")
    ax.axvline(learned["linear"]["limit"], color="0.4", ls=":", lw=1.0, label="89.10 % of the atoms")
    view = [_middle(edges, counts.sum(axis=axis)) for axis in (1, 0)]
    ax.set_xlim(*view[0])
    ax.set_ylim(view[1][0], view[1][1] + 0.35 * (view[1][1] - view[1][0]))
    ax.set(xlabel=r"true $\log_{10}(I_i\,/\,10^{-9}$ ps$^3)$", ylabel="predicted", title="network, melts never seen")
    ax.legend(loc="upper left")


def _middle(edges: Any, counts: Any) -> tuple[float, float]:
    """Return the range that leaves out a thousandth of the atoms at each end."""
    shares = np.cumsum(counts) / counts.sum()
    return float(edges[np.searchsorted(shares, 1e-3)]), float(edges[1 + np.searchsorted(shares, 0.999)])


def _scores(ax: Axes, learned: Learned) -> None:
    names = list(learned["models"])[::-1]
    for shift, (part, label) in enumerate([("all", "all atoms"), *((one, one) for one in learned["elements"])]):
        at = np.arange(len(names)) + 0.22 * (1 - shift)
        found = np.array([learned["models"][name][part]["r2"] for name in names], dtype=float)
        value, low, high = found.T
        ax.errorbar(
            value,
            at,
            xerr=[value - low, high - value],
            fmt=MARKERS[shift],
            color=COLOURS[shift],
            lw=0.9,
            capsize=2,
            label=label,
        )
    for name, found in learned["random_split"].items():
        ax.plot(found["r2_random"][0], names.index(name), MARKERS[3], color="k", mfc="none", ms=6)
    ax.plot([], [], MARKERS[3], color="k", mfc="none", ms=6, ls="none", label="all, random split (leaks)")
    ax.axvline(0.0, color="0.7", lw=0.8, zorder=0)
    ax.set(xlabel="$R^2$ of log$_{10}$ $I_i$", yticks=range(len(names)), title="models")
    ax.set_yticklabels(names)
    ax.set_xlim(left=max(_LOWEST_R2, ax.get_xlim()[0]))
    ax.set_ylim(-0.6, len(names) + 0.9)
    ax.legend(loc="upper left", ncols=2, columnspacing=1.0)


def _cutoffs(ax: Axes, learned: Learned) -> None:
    for place, (name, scan) in enumerate(learned["cutoff"].items()):
        end = scan["saturation"]["cutoff"]
        label = name if end is None else f"{name}, saturates at {end:.2f} Å"
        ax.plot(scan["cutoff_A"], scan["mae"], MARKERS[place], color=COLOURS[place], ls=("-", "--")[place], label=label)
        low, high = scan["saturation"]["low"], scan["saturation"]["high"]
        if low is not None:
            ax.axvspan(low - 0.05, high + 0.05, 0.0, 0.06, color=COLOURS[place], alpha=0.5, lw=0)
    ax.axvline(PAPER_LENGTH, color="0.4", ls=":", lw=1.0)
    ax.annotate(
        "6.85 Å (paper)",
        (PAPER_LENGTH, 1.0),
        (3, -4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
    )
    ax.set(xlabel="cutoff (Å)", ylabel="mean absolute error of log$_{10}$ $I_i$", title="length")
    ax.margins(y=0.18)
    ax.legend(loc="upper right", bbox_to_anchor=(1.0, 0.9))


def _importance(ax: Axes, importance: Mapping[str, Any], names: list[str]) -> None:
    for place, (model, found) in enumerate(importance.items()):
        value, low, high = np.array([found[name] for name in names], dtype=float).T
        at = np.arange(len(names)) + 0.3 * (place - 0.5)
        ax.errorbar(
            at,
            value,
            yerr=[value - low, high - value],
            fmt=MARKERS[place],
            color=COLOURS[place],
            lw=0.9,
            capsize=2,
            label=model,
        )
    ax.axhline(0.0, color="0.7", lw=0.8, zorder=0)
    for place, name in enumerate(names):
        if place and name.rsplit(" ", 1)[0] != names[place - 1].rsplit(" ", 1)[0]:
            ax.axvline(place - 0.5, color="0.85", lw=0.8, zorder=0)
    ax.set(
        xticks=range(len(names)),
        ylabel="growth of squared error (variance)",
        xlabel="channel and shell",
        title="importance",
    )
    ax.set_xticklabels([str(_number(name)) for name in names])
    _channel_names(ax, names)
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=2, borderaxespad=0.0)


def _channel_names(ax: Axes, names: list[str]) -> None:
    """Write each channel once, above its shells."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name.rsplit(" ", 1)[0], []).append(place)
    for name, places in groups.items():
        ax.annotate(
            name, (float(np.mean(places)), 0.0), (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center",
            fontsize=8,
        )  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.1 * (high - low), high)


@styled
def surroundings_figure(learned: Learned) -> Figure:
    """Draw the mean surroundings of atoms with high and low intensity, real and predicted, by channel."""
    profiles, elements = learned["profiles"], learned["elements"]
    r = np.array(profiles["r_A"])
    shown = r < R_MAX
    figure = new_figure(9.2, 6.4)
    axes = figure.subplots(len(elements), len(elements), sharex=True, squeeze=False)
    for centre, element in enumerate(elements):
        for neighbour, other in enumerate(elements):
            ax = axes[centre][neighbour]
            for place, (group, line) in enumerate((("high", "-"), ("low", "--"))):
                real = np.array(profiles["sorts"]["real"][group])[centre, neighbour]
                told = np.array(profiles["sorts"]["network"][group])[centre, neighbour]
                ax.plot(r[shown], real[shown], color=COLOURS[place], ls=line, label=f"{group}, real")
                ax.plot(
                    r[shown][::2], told[shown][::2], MARKERS[place], color=COLOURS[place], mfc="none", ms=3.2, mew=0.7,
                    label=f"{group}, predicted",
                )  # fmt: skip
            ax.set(title=f"{other} around {element}", xlim=(1.8, R_MAX), ylim=(0, None))
    for ax in axes[-1]:
        ax.set_xlabel("$r$ (Å)")
    for row in axes:
        row[0].set_ylabel(r"$g^i_{\alpha\beta}(r)$, Gaussian")
    axes[0][-1].legend(loc="upper right", title=f"{100 * profiles['share']:g} % of the atoms by $I_i$")
    panel_letters([ax for row in axes for ax in row])
    return figure


@styled
def neuron_figure(learned: Learned) -> Figure:
    """Draw the total functions of extreme samples, the neuron's weights beside their difference, and importance."""
    figure = new_figure(9.2, 6.4)
    grid = figure.add_gridspec(2, 2)
    axes = [figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, :])]
    r, group = np.array(learned["r_A"]), learned["groups"]["0.05"]["real"]
    total_r, low_r, high_r = (np.array(row)[0] for row in group["difference"])
    count = group["per_group"]
    axes[0].plot(r, group["high"][0], color=COLOURS[0], label=f"highest {count}")
    axes[0].plot(r, group["low"][0], color=COLOURS[1], ls="--", label=f"lowest {count}")
    axes[0].plot(r, 10.0 * total_r - 1.0, color="0.3", lw=1.0, label="10 × difference − 1")
    axes[0].axhline(-1.0, color="0.8", lw=0.8, zorder=0)
    axes[0].set(xlabel="$r$ (Å)", ylabel="$g(r)$", title=f"extreme of {learned['samples']} samples", xlim=(1.8, r[-1]))
    axes[0].legend(loc="upper right")
    _weights(axes[1], learned, total_r, (low_r, high_r))
    _importance(axes[2], learned["importance"], list(learned["importance"]["ridge"]))
    panel_letters(axes)
    return figure


def _weights(ax: Axes, learned: Learned, difference_r: Any, band: tuple[Any, Any]) -> None:
    r = np.array(learned["r_A"])
    ax.plot(r, difference_r, color="0.3", lw=1.2, label="difference of $g$ (left)")
    ax.fill_between(r, *band, color="0.85", lw=0, label="its 95 % interval")
    weights = ax.twinx()
    weights.plot(r, learned["neuron"]["weights"], color=COLOURS[0], ls="--", lw=1.2)
    ax.plot([], [], color=COLOURS[0], ls="--", label="weights (right)")
    for one, values in ((ax, np.concatenate([difference_r, *band])), (weights, learned["neuron"]["weights"])):
        reach = 1.15 * float(np.abs(values).max()) or 1.0
        one.set_ylim(-reach, 1.7 * reach)  # room for the legend
    value, low, high = learned["neuron"]["pearson"]["0.05"]
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]".replace("-", "−")
    ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(
        xlabel="$r$ (Å)",
        ylabel="$g^{high} - g^{low}$",
        title=f"one neuron, $r$ = {value:.2f}{interval}".replace("= -", "= −"),
        xlim=(1.8, r[-1]),
    )
    weights.set_ylabel("weight (standardised input)")
    ax.legend(loc="upper right")
