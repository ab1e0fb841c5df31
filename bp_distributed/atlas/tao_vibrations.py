# SPDX-License-Identifier: BSD-3-Clause
"""T3 and T4: spectra against the cooling rate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import Alike, alike, basis, counted, known, lacking, melts_of, why_not
from bp_distributed.atlas.panel import Claim, Missing, Panel
from bp_distributed.atlas.resampling import (
    UNCERTAINTY,
    as_values,
    over_melts,
    slope,
    verdict,
    with_interval,
)
from bp_distributed.atlas.rows import title_of
from bp_distributed.figures import (
    COLOURS,
    LINES,
    MARKERS,
    MICRO_THZ,
    MICRO_UNIT,
    Series,
    new_figure,
    panel_letters,
    rate_text,
    series_of,
    styled,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source
    from bp_distributed.physics.correlation import Estimate

CUT = 10.0
"""rad/ps; Tao et al. call the modes below it those of the boson-peak region."""

PLATEAU = 1e13
"""K/s; below it the paper's curve is flat."""

LEAST_DECADES = 0.5
"""Decades of cooling rate on each side of the plateau's end that a comparison of slopes needs."""

"""An upper limit below this is read as "none"."""

TICK_ROOM = 0.25
"""Part of the axis that the name of a rate needs."""

_PER_DECADE = "per decade of cooling rate"


@dataclass(frozen=True)
class Trend:
    """A quantity of the samples of one group against the cooling rate."""

    samples: NDArray[np.intp]
    log_rate_s: NDArray[np.float64]
    value_s: NDArray[np.float64]
    slope: Estimate

    @property
    def decades(self) -> float:
        """Span of the cooling rates."""
        return float(np.ptp(self.log_rate_s)) if len(self.samples) else 0.0


def trend(dataset: xr.Dataset, samples: NDArray[np.intp], value_s: NDArray[np.float64]) -> Trend:
    """Return values of these samples against log10 of their cooling rate, those that have both.

    Parameters
    ----------
    dataset : xarray.Dataset
    samples : ndarray of int
    value_s : ndarray, shape=(all samples,)
        NaN where not to be used.
    """
    rate_s = dataset["cooling_rate"].to_numpy()
    samples = samples[np.isfinite(value_s[samples]) & np.isfinite(rate_s[samples])]
    log_rate_s, values = np.log10(rate_s[samples]), value_s[samples]
    return Trend(samples, log_rate_s, values, over_melts(slope(log_rate_s, values), melts_of(dataset, samples)))


def cooled(source: Source) -> Alike | None:
    """Return the largest group alike with spectra and known cooling rates; nothing if there is none."""
    chosen = alike(source.dataset, known(source.dataset, "reduced_vdos", "cooling_rate"))
    return chosen if len(chosen.samples) else None


def scaled(dataset: xr.Dataset, name: str, flag: str = "", scale: float = 1.0) -> NDArray[np.float64]:
    """Return a variable of whole samples, NaN where the flag does not accept the sample."""
    value_s = dataset[name].to_numpy() * scale
    return np.where(dataset[flag].to_numpy() == 1, value_s, np.nan) if flag else value_s


# ---- T3 ---------------------------------------------------------------------------------------------------------------


def t3(source: Source) -> Panel | Missing:
    """Return the row of the density of states: whether faster cooling leaves more soft modes."""
    chosen = cooled(source)
    if chosen is None:
        return lacking(source, "T3", "no sample with a known cooling rate has a spectrum yet")
    dataset = source.dataset
    soft_s = 100.0 * share_below(dataset, CUT)
    found = trend(dataset, chosen.samples, soft_s)
    why = why_not(source, chosen.samples, tao=True)
    claims = (
        Claim(
            "A higher cooling rate leads to more soft modes (Fig. 1a, inset).", "-",
            f"share of the modes below {CUT:g} rad/ps: {_ours(found, '% of all modes')}",
            comparable=False, why=f"the sign decides; the paper gives no number; {why}", verdict=verdict(found.slope, low=0.0),
        ),
    )  # fmt: skip
    caption = (
        f"Vibrational density of states, mean over the samples of one cooling rate (a), and share of the modes below {CUT:g} rad/ps "
        f"of each sample with the least-squares line (b); the 3N − 3 modes of a sample are all, translations left out. {chosen.sentence}."
    )
    values = {"slope_percent_per_decade": as_values(found.slope), "share_percent": found.value_s.tolist()}
    return Panel(
        "T3", title_of("T3"), caption,
        basis(source, chosen.samples, f"modes counted below {CUT:g} rad/ps; (a) kernel polynomial estimate", UNCERTAINTY),
        claims, lambda: density_figure(dataset, chosen.samples, found), values,
    )  # fmt: skip


def share_below(dataset: xr.Dataset, cut: float) -> NDArray[np.float64]:
    """Return the share of all modes below a frequency (rad/ps) for each sample; NaN where it is not certain."""
    if "frequency" not in dataset:
        return np.full(dataset.sizes["sample"], np.nan)
    below_s = (dataset["frequency"].to_numpy() < cut).sum(axis=1)
    certain_s = dataset["certified_below"].to_numpy() >= cut
    return np.where(certain_s, below_s / dataset["n_modes"].to_numpy(), np.nan)


@styled
def density_figure(dataset: xr.Dataset, samples: NDArray[np.intp], found: Trend) -> Figure:
    """Draw the density of states by cooling rate, and the share of soft modes against it."""
    figure = new_figure(7.0, 2.9)
    vdos_ax, soft_ax = figure.subplots(1, 2, width_ratios=[1.2, 1])
    few = dataset[["kpm_vdos", "cooling_rate", "label"]].isel(sample=samples)
    for series in series_of(few):
        mean = _mean_known(few["kpm_vdos"].to_numpy()[series.samples]) * 1e3
        _series(vdos_ax, dataset["kpm_omega"].to_numpy(), mean, series, 14)
    vdos_ax.set(
        xlabel=r"$\omega$ (rad/ps)",
        ylabel=r"$g(\omega)$ (10$^{-3}$ ps)",
        title="density of states",
        ylim=(0, None),
        xlim=(0, None),
    )
    vdos_ax.legend(loc="lower center")
    draw_trend(soft_ax, found, COLOURS[0], "o", "-", "")
    soft_ax.set(ylabel=f"modes below {CUT:g} rad/ps (%)", title="soft modes")
    panel_letters([vdos_ax, soft_ax])
    return figure


def _mean_known(value_sw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the samples that have a value; NaN where none has."""
    known_w = np.isfinite(value_sw).sum(axis=0)
    total_w = np.nansum(value_sw, axis=0, dtype=np.float64)
    return np.where(known_w > 0, total_w / np.maximum(known_w, 1), np.nan)


def _series(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], series: Series, every: int) -> None:
    ax.plot(
        x,
        y,
        color=series.colour,
        ls=series.line,
        marker=series.marker,
        ms=3.2,
        markevery=every,
        lw=1.1,
        label=series.name,
    )


def draw_trend(ax: Axes, found: Trend, colour: str, marker: str, line: Any, name: str) -> None:
    """Draw values against the cooling rate with their least-squares line; what has no sample is said to have none."""
    if not len(found.samples):
        ax.plot([], [], marker, color=colour, mfc="none", ls="none", label=f"{name or 'values'}:\nno sample")
        ax.legend(loc="upper left")
        return
    rate_axis(ax, 10.0**found.log_rate_s)
    ax.plot(10.0**found.log_rate_s, found.value_s, marker, color=colour, mfc="none", label=name or None)
    if math.isfinite(found.slope.value):
        ends = np.array([found.log_rate_s.min(), found.log_rate_s.max()])
        middle = found.value_s.mean() + found.slope.value * (ends - found.log_rate_s.mean())
        ax.plot(10.0**ends, middle, color=colour, ls=line, lw=1.2)
    ax.set_xlim(*_with_room(10.0**found.log_rate_s))


def _with_room(rate_s: NDArray[np.float64]) -> tuple[float, float]:
    """Return limits of an axis of rates, so that no rate stands on the frame."""
    low, high = float(rate_s.min()), float(rate_s.max())
    room = (high / low) ** 0.15 if high > low else 2.0
    return low / room, high * room


def rate_axis(ax: Axes, rate_s: NDArray[np.float64], more_decades: float = 0.0) -> None:
    """Prepare a horizontal axis of cooling rates (K/s) and name those that leave each other room.

    ``more_decades`` are those of the axis that hold no rates.
    """
    ax.set_xlabel("cooling rate (K/s)")
    ax.set_xscale("log")
    ax.set_xticks([], minor=True)
    rates = np.unique(rate_s)
    if not len(rates):
        ax.set_xticks([])
        return
    longest = max(len(rate_text(rate)) for rate in rates)
    room = TICK_ROOM * longest / len(rate_text(1e14)) * (math.log10(rates[-1] / rates[0]) + more_decades)
    ticks: list[float] = []
    for rate in rates:
        if not ticks or math.log10(rate / ticks[-1]) > room:
            ticks.append(float(rate))
    ax.set_xticks(ticks, [rate_text(rate).removesuffix(" K/s") for rate in ticks])


# ---- T4 ---------------------------------------------------------------------------------------------------------------

_INTENSITIES = {
    "intensity": ("accepted", "paper style: highest bin, accepted spectra"),
    "robust_intensity": ("robust_accepted", "robust: kernel estimate, spectra without a peak included"),
}


def t4(source: Source) -> Panel | Missing:
    """Return the row of the boson peak against the cooling rate."""
    chosen = cooled(source)
    if chosen is None:
        return lacking(source, "T4", "no sample with a known cooling rate has a spectrum yet")
    dataset = source.dataset
    levels = {
        name: trend(dataset, chosen.samples, scaled(dataset, name, flag, MICRO_THZ))
        for name, (flag, _) in _INTENSITIES.items()
    }
    peaks = {
        name: trend(dataset, chosen.samples, scaled(dataset, name, flag))
        for name, flag in (("peak_frequency", "accepted"), ("robust_peak_frequency", "robust_accepted"))
    }
    plateau = _plateau(dataset, levels["robust_intensity"])
    why = why_not(source, chosen.samples, tao=True, binned=True)
    claims = (
        *(_rises(name, found, why) for name, found in levels.items()),
        *(_falls(name, found, why) for name, found in peaks.items()),
        _flattens(levels["robust_intensity"], plateau),
    )
    omega = dataset["omega"].to_numpy()
    place = without_peak(dataset, chosen.samples)
    caption = (
        f"Reduced density of states, bins of {omega[1] - omega[0]:.3g} rad/ps, mean over the samples of one cooling rate, with the Debye "
        "level of the samples' own moduli; the paper draws its level without a value (a). Boson-peak intensity (b) and frequency (c) "
        f"of each sample against the cooling rate with least-squares lines. {chosen.sentence}.{f' Note: {place}.' if place else ''}"
    )
    values = {
        **{f"{name}_slope_muTHz-3_per_decade": as_values(found.slope) for name, found in levels.items()},
        **{f"{name}_slope_rad_per_ps_per_decade": as_values(found.slope) for name, found in peaks.items()},
        "slope_above_minus_below_1e13_muTHz-3_per_decade": as_values(plateau),
    }
    return Panel(
        "T4", title_of("T4"), caption,
        basis(source, chosen.samples, f"{'; '.join(text for _, text in _INTENSITIES.values())}; {widths(dataset)}", UNCERTAINTY),
        claims, lambda: peak_figure(dataset, chosen.samples, levels, peaks), values,
    )  # fmt: skip


def without_peak(dataset: xr.Dataset, samples: NDArray[np.intp]) -> str:
    """Return in words that no spectrum of these samples has a boson peak by the rule; empty where one has, or none was judged."""
    judged = dataset["accepted"].to_numpy()[samples]
    if (judged == 1).any() or not (judged >= 0).any():
        return ""
    return (
        f"none of these {int((judged >= 0).sum())} spectra has a boson peak by the rule of T5, so height and place are those of the "
        "highest value of a kernel estimate, which every spectrum has"
    )


def widths(dataset: xr.Dataset) -> str:
    """Return the widths that an intensity depends on."""
    omega = dataset["omega"].to_numpy()
    kernel = (json.loads(dataset.attrs.get("bp_config", "{}")).get("vibration") or {}).get("kernel_width")
    bins = f"bins of {omega[1] - omega[0]:.3g} rad/ps from 0"
    return f"{bins}, kernel of {kernel:g} rad/ps" if kernel else bins


def _ours(found: Trend, unit: str) -> str:
    if not len(found.samples):
        return "not measured: no sample has a value that counts"
    return f"{with_interval(found.slope, f'{unit} {_PER_DECADE}')}; {counted(len(found.samples))} over {found.decades:.2g} decades"


def _rises(name: str, found: Trend, why: str) -> Claim:
    text = _INTENSITIES[name][1]
    return Claim(
        f"The boson-peak intensity rises with the cooling rate ({text}).", "-", _ours(found, "µTHz⁻³"), comparable=False,
        why=f"the sign of the slope decides; the paper gives no slope; {why}", verdict=verdict(found.slope, low=0.0),
    )  # fmt: skip


def _falls(name: str, found: Trend, why: str) -> Claim:
    text = "robust estimator" if name.startswith("robust") else "paper style, accepted spectra"
    return Claim(
        f"The boson-peak frequency falls with the cooling rate ({text}).", "-", _ours(found, "rad/ps"), comparable=False,
        why=f"the sign of the slope decides; {why}; at this size the position may be that of the first phonons of the box",
        verdict=verdict(found.slope, high=0.0),
    )  # fmt: skip


def _plateau(dataset: xr.Dataset, found: Trend) -> Estimate:
    """Return the slope above 1e13 K/s minus that below it."""
    log_s, value_s, end = found.log_rate_s, found.value_s, math.log10(PLATEAU)

    def difference(samples: NDArray[np.intp]) -> float:
        below, above = samples[log_s[samples] <= end], samples[log_s[samples] >= end]
        if min(_reach(log_s[below]), _reach(log_s[above])) < LEAST_DECADES:
            return math.nan
        fit = slope(log_s, value_s)
        return fit(above) - fit(below)

    return over_melts(difference, melts_of(dataset, found.samples))


def _reach(log_s: NDArray[np.float64]) -> float:
    return float(np.ptp(log_s)) if len(log_s) else 0.0


def _flattens(found: Trend, difference: Estimate) -> Claim:
    below = int((found.log_rate_s <= math.log10(PLATEAU)).sum())
    return Claim(
        "The relation levels off below 10¹³ K/s.", "-",
        f"robust intensity: slope above minus slope below 10¹³ K/s {with_interval(difference, f'µTHz⁻³ {_PER_DECADE}')}; {counted(below)} at "
        "10¹³ K/s or below",
        comparable=False,
        why=f"a steeper slope above decides; at least {LEAST_DECADES:g} decades of cooling rate are needed on either side",
        verdict=verdict(difference, low=0.0),
    )  # fmt: skip


@styled
def peak_figure(
    dataset: xr.Dataset, samples: NDArray[np.intp], levels: dict[str, Trend], peaks: dict[str, Trend]
) -> Figure:
    """Draw the reduced density of states, and height and place of the boson peak against the cooling rate."""
    figure = new_figure(7.0, 3.1)
    reduced_ax, level_ax, peak_ax = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    reduced(reduced_ax, dataset, samples)
    names = ("paper style", "robust")
    for ax, trends in ((level_ax, levels), (peak_ax, peaks)):
        for number, (name, found) in enumerate(zip(names, trends.values(), strict=True)):
            draw_trend(ax, found, COLOURS[number], MARKERS[number], LINES[number], name)
        ax.set_ylim(0.0, 1.45 * ax.get_ylim()[1])
        ax.legend(loc="upper left", fontsize=7, handletextpad=0.4)
    level_ax.set(ylabel=f"boson-peak intensity ({MICRO_UNIT})", title="height")
    peak_ax.set(ylabel="boson-peak frequency (rad/ps)", title="place")
    panel_letters([reduced_ax, level_ax, peak_ax])
    return figure


def reduced(ax: Axes, dataset: xr.Dataset, samples: NDArray[np.intp]) -> None:
    """Draw the reduced density of states by cooling rate with the samples' own Debye level."""
    few = dataset[["reduced_vdos", "cooling_rate", "label", "debye_level"]].isel(sample=samples)
    omega, top, end = dataset["omega"].to_numpy(), 0.0, 0.0
    for series in series_of(few):
        mean = _mean_known(few["reduced_vdos"].to_numpy()[series.samples]) * MICRO_THZ
        if not np.isfinite(mean).any():
            continue
        _series(ax, omega, mean, series, 3)
        top = max(top, float(np.nanmax(mean[omega > 2.0])))  # noqa: PLR2004 - below, one soft mode is a spike
        end = max(end, float(omega[np.isfinite(mean)].max()))
    own = float(_mean_known(few["debye_level"].to_numpy())) * MICRO_THZ
    if math.isfinite(own):
        ax.axhline(own, color="k", lw=1.0, ls=(0, (6, 3)), label=f"own Debye level {own:.0f}")
    ax.set(
        xlabel=r"$\omega$ (rad/ps)",
        ylabel=rf"$g(\omega)/\omega^2$ ({MICRO_UNIT})",
        xlim=(0, min(20.0, end)),
        ylim=(0, 1.6 * top),
        title="reduced",
    )
    ax.legend(loc="upper right", fontsize=7)
