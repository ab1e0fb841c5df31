# SPDX-License-Identifier: BSD-3-Clause
"""Volumes on cooling, and what they say of the glass transition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import counted
from bp_distributed.atlas.panel import Claim, Verdict
from bp_distributed.figures import COLOURS, LINES, MARKERS, rate_text
from bp_distributed.gather import of_sample
from bp_distributed.physics.glass_transition import Kink, find_kink, rate_dependence

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from bp_distributed.atlas.source import Source

PAPER_TG = 650.0
"""K."""

WINDOWS = ((100.0, 1500.0), (200.0, 1300.0))
"""K; of V(T).  The first is the one reported; a transition that the second puts elsewhere is none."""

MEMORY_PS = 2.0
"""After which volumes have forgotten each other: two times the usual damping of the barostat."""


@dataclass(frozen=True)
class Cooling:
    """Samples cooled alike, and the kink of their mean volume."""

    rate: float
    composition: str
    samples: NDArray[np.intp]
    temperature_r: NDArray[np.float64]
    volume_sr: NDArray[np.float64]
    kink: Kink


def coolings(dataset: xr.Dataset) -> list[Cooling]:
    """Return the samples that were cooled here, by composition, size and rate, and the kinks of their volumes."""
    if "history_volume" not in dataset:
        return []
    groups: dict[tuple[Any, ...], list[int]] = {}
    for sample in np.flatnonzero(np.isfinite(dataset["cooling_rate"].to_numpy())):
        rows = int(dataset["history_row_size"][sample])
        if rows:
            shares = tuple(np.round(100.0 * dataset["composition"].to_numpy()[sample], 2))
            groups.setdefault(
                (shares, int(dataset["n_atoms"][sample]), float(dataset["cooling_rate"][sample]), rows), []
            ).append(int(sample))
    elements = [str(element) for element in dataset["element"].to_numpy()]
    found = []
    for (shares, n_atoms, rate, _), samples in sorted(groups.items()):
        name = "".join(f"{element}{share:g}" for element, share in zip(elements, shares, strict=True) if share)
        found.append(_cooling(dataset, f"{name}, {n_atoms} atoms", rate, np.array(samples)))
    return found


def _cooling(dataset: xr.Dataset, name: str, rate: float, samples: NDArray[np.intp]) -> Cooling:
    histories = [of_sample(dataset, int(sample)) for sample in samples]
    time_r = histories[0]["history_time"].to_numpy()
    volume_sr = np.array([one["history_volume"].to_numpy() for one in histories])
    temperature_sr = np.array([one["history_temperature"].to_numpy() for one in histories])
    # What the thermostat was set to: atoms of small samples scatter by tens of kelvins.
    temperature_r = np.polyval(np.polyfit(time_r, temperature_sr.mean(axis=0), 1), time_r)
    block = max(1, round(MEMORY_PS / float(np.median(np.diff(time_r)))))
    kink, other = (find_kink(temperature_r, volume_sr, block, window) for window in WINDOWS)
    if not kink.why_not and (other.temperature < kink.low or other.temperature > kink.high):
        low, high = other.window
        why = f"it depends on the window: {kink.temperature:.0f} K here, {other.temperature:.0f} K from {low:g} to {high:g} K"
        kink = replace(kink, why_not=why)
    return Cooling(rate, name, samples, temperature_r, volume_sr, kink)


def kink_values(one: Cooling) -> dict[str, Any]:
    """Return a kink for ``atlas.json``."""
    kink = one.kink
    return {
        "samples": len(one.samples), "of": one.composition, "cooling_rate_K_per_s": one.rate, "temperature_K": kink.temperature,
        "low_K": kink.low, "high_K": kink.high, "p_value_of_a_parabola": kink.p_value, "refused_because": kink.why_not,
    }  # fmt: skip


def glass_transition_text(source: Source) -> str:
    """Return what the volumes on cooling say of the glass transition, rate by rate, in a few sentences."""
    return transition_text(coolings(source.dataset))


def transition_text(cooled: list[Cooling]) -> str:
    """Return the same of samples that are already sorted."""
    if not cooled:
        return "No sample was cooled here, so there is no V(T)."
    found = [one for one in cooled if not one.kink.why_not]
    sentences = [
        f"{one.composition} at {rate_text(one.rate)}: T_g = {one.kink.temperature:.0f} K [{one.kink.low:.0f}, {one.kink.high:.0f}] "
        f"({counted(len(one.samples))})."
        for one in found
    ]
    reasons: dict[str, list[str]] = {}
    for one in cooled:
        if one.kink.why_not:
            reasons.setdefault(one.kink.why_not, []).append(f"{one.composition} at {rate_text(one.rate)}")
    sentences += [f"No T_g for {'; '.join(names)}: {why}." for why, names in reasons.items()]
    return " ".join(sentences)


def transition_claim(cooled: list[Cooling]) -> Claim:
    """Return what the paper claims of the transition, judged."""
    found = [one for one in cooled if not one.kink.why_not and "Cu50Zr50" in one.composition]
    slope = rate_dependence([one.rate for one in found], [one.kink for one in found])
    moves = (
        f"; ours moves by {slope.per_decade:.0f} K [{slope.low:.0f}, {slope.high:.0f}] per tenfold rate"
        if slope
        else ""
    )
    return Claim(
        "The slope of volume against temperature changes at the glass transition of Cu50Zr50 upon cooling.", f"T_g = {PAPER_TG:g} K",
        transition_text(cooled), comparable=False,
        why=f"the paper does not say at which rate its value was read, and T_g rises with the rate{moves}; supported where two lines fit better than "
            "a parabola at the level of 5 %",
        verdict=Verdict.SUPPORTED if found else Verdict.UNDECIDED,
    )  # fmt: skip


def draw_volumes(ax: Axes, cooled: list[Cooling]) -> None:
    """Draw the mean volume of each rate in bins of 50 K, and two lines where there is a kink."""
    if not cooled:
        ax.set(title="no sample was cooled here")
        return
    most = max(
        cooled, key=lambda one: sum(len(o.samples) for o in cooled if o.composition == one.composition)
    ).composition
    mine = [one for one in cooled if one.composition == most]
    shown = [mine[i] for i in np.unique(np.linspace(0, len(mine) - 1, 4).round().astype(int))]
    for place, one in enumerate(shown):
        bin_r = (one.temperature_r // 50).astype(int)
        bins = np.unique(bin_r)
        volume_r = one.volume_sr.mean(axis=0) + 0.1 * place
        middle_b, volume_b = (np.array([v[bin_r == b].mean() for b in bins]) for v in (one.temperature_r, volume_r))
        name = rate_text(one.rate) + (f" (+{0.1 * place:.1f})" if place else "")
        ax.plot(middle_b, volume_b, ls="", marker=MARKERS[place], ms=3, color=COLOURS[place], mfc="white", label=name)
        if not one.kink.why_not:
            low, high = one.kink.window
            grid = np.linspace(low, high, 100)
            ax.plot(grid, one.kink(grid) + 0.1 * place, color=COLOURS[place], ls=LINES[place])
            ax.plot(one.kink.temperature, one.kink.volume + 0.1 * place, marker="|", ms=14, color="black")
    ax.set(xlabel="temperature (K)", ylabel="volume per atom (Å³)", title=most)
    ax.legend(loc="upper left")
