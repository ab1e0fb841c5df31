# SPDX-License-Identifier: BSD-3-Clause
"""Figures a glass physicist recognises, each from the gathered dataset (or the training result) alone.

Every function returns a ``matplotlib.figure.Figure`` made without pyplot, so nothing global changes.  Cooling rates differ
by colour, marker and line style at once, so the figures can be read in grey and by colour-blind people.  A figure that
has nothing to show raises ``CampaignError`` with the command that would make it.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.train import TrainingResult

MICRO_THZ = 1e6
"""µTHz⁻³ per ps³."""

PAPER_DEBYE_LEVEL = 87.23
"""µTHz⁻³; Yang et al. (2022), 19 652 atoms."""

PAPER_INTENSITY = (193.21, 285.30)
"""µTHz⁻³; span of the test samples of Tao et al. (2023), 4000 atoms, 1e10 to 1e14 K/s."""

MAX_SERIES = 6
LONGEST_NAME = 20
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito; told apart by people who do not see red or green."""
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
STATE_LOOK = {
    "done": ("#009E73", ""), "rejected": ("#E69F00", "//"), "running": ("#56B4E9", ".."), "ready": ("#D9D9D9", ""),
    "waiting": ("#F2F2F2", ""), "failed": ("#D55E00", "xx"), "quarantined": ("#7A0C0C", "\\\\"),
}  # fmt: skip
_STYLE = {
    "font.size": 9, "axes.labelsize": 9.5, "axes.titlesize": 9.5, "legend.fontsize": 8, "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5, "axes.linewidth": 0.8, "lines.linewidth": 1.4, "lines.markersize": 4.5,
    "xtick.direction": "in", "ytick.direction": "in", "xtick.top": True, "ytick.right": True, "legend.frameon": False,
    "axes.titlelocation": "left", "mathtext.default": "regular", "hatch.linewidth": 0.7,
}  # fmt: skip
MICRO_UNIT = r"$\mu$THz$^{-3}$"
_NAMED_RATES = 6
_ROOM_ABOVE = 1.35


@dataclass(frozen=True)
class StageLine:
    """One stage of a campaign, for the figure and the table of costs.

    Attributes
    ----------
    stage : str
    counts : dict of str to int
        Tasks by state.
    estimated_core_hours, spent_core_hours : float
    """

    stage: str
    counts: Mapping[str, int] = field(default_factory=dict)
    estimated_core_hours: float = 0.0
    spent_core_hours: float = 0.0


@dataclass(frozen=True)
class Series:
    """Samples that are drawn alike."""

    name: str
    samples: NDArray[np.intp]
    rate: float
    colour: str
    marker: str
    line: Any


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let a function draw in the house's style, whatever the user's own settings."""

    @wraps(draw)
    def drawn(*args: Any, **options: Any) -> Figure:
        import matplotlib as mpl

        style: Any = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
        with mpl.rc_context(style | _STYLE):
            return draw(*args, **options)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def figure_files(figure: Figure) -> tuple[bytes, bytes]:
    """Return a figure as PNG for a page and as PDF for print: vectors, fonts embedded as TrueType, no date."""
    import matplotlib as mpl

    picture, printed = io.BytesIO(), io.BytesIO()
    style: Any = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    with mpl.rc_context(style | _STYLE | {"pdf.fonttype": 42}):
        figure.savefig(picture, format="png")
        figure.savefig(printed, format="pdf", metadata={"CreationDate": None})
    return picture.getvalue(), printed.getvalue()


# ---- which samples are drawn alike ------------------------------------------------------------------------------------


def rate_text(rate: float) -> str:
    """Return a cooling rate as people write it, such as ``2×10¹² K/s``."""
    exponent = int(np.floor(np.log10(rate) + 1e-9))
    mantissa = rate / 10.0**exponent
    power = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power} K/s" if abs(mantissa - 1.0) < 5e-3 else f"{mantissa:.3g}×10{power} K/s"  # noqa: PLR2004 - as printed


def series_of(dataset: xr.Dataset) -> list[Series]:
    """Group the samples: by cooling rate where known (at most six groups), else by label."""
    rate_s = dataset["cooling_rate"].to_numpy()
    groups = [*_by_rate(rate_s), *_by_label(dataset, ~np.isfinite(rate_s), MAX_SERIES)]
    return [
        Series(name, samples, rate, COLOURS[index % MAX_SERIES], MARKERS[index % MAX_SERIES], LINES[index % MAX_SERIES])
        for index, (name, samples, rate) in enumerate(groups)
    ]


def _by_rate(rate_s: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.intp], float]]:
    known_s = np.isfinite(rate_s)
    rates = np.unique(rate_s[known_s])
    if len(rates) <= MAX_SERIES:
        for rate in rates:
            yield rate_text(rate), np.flatnonzero(rate_s == rate), float(rate)
        return
    edges = np.logspace(np.log10(rates[0]), np.log10(rates[-1]), MAX_SERIES + 1)
    part_s = np.clip(np.searchsorted(edges, np.where(known_s, rate_s, rates[0]), side="right") - 1, 0, MAX_SERIES - 1)
    for part in range(MAX_SERIES):
        samples = np.flatnonzero(known_s & (part_s == part))
        if samples.size:
            low, high = rate_s[samples].min(), rate_s[samples].max()
            name = rate_text(low) if low == high else f"{rate_text(low).removesuffix(' K/s')} to {rate_text(high)}"
            yield name, samples, float(10.0 ** np.log10(rate_s[samples]).mean())


def _by_label(
    dataset: xr.Dataset, given_s: NDArray[np.bool_], most: int
) -> Iterator[tuple[str, NDArray[np.intp], float]]:
    labels = dataset["label"].to_numpy()
    names = list(dict.fromkeys(labels[given_s]))
    if len(names) <= most:
        for name, short in zip(names, _short([str(name) for name in names]), strict=True):
            yield short, np.flatnonzero(given_s & (labels == name)), np.nan
    elif names:
        yield f"{len(names)} given structures", np.flatnonzero(given_s), np.nan


def _short(names: list[str]) -> list[str]:
    """Return names that still differ but fit a legend: what all begin with is left out, then the beginning."""
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in same) if len(names) > 1 else ""
    start = 1 + max(common.rfind(mark) for mark in "-_./ ")
    return [
        rest if len(rest) <= LONGEST_NAME else f"…{rest[-LONGEST_NAME:]}" for rest in (name[start:] for name in names)
    ]


def _need(dataset: xr.Dataset, names: Sequence[str], stage: str) -> None:
    for name in names:
        if name not in dataset or not np.isfinite(dataset[name].to_numpy()).any():
            raise CampaignError(
                f"no {name!r} in the dataset: no sample has finished the stage {stage!r}; 'bpd run' continues"
            )


def panel_letters(axes: Sequence[Axes]) -> None:
    """Put (a), (b), ... before the titles."""
    for letter, ax in zip("abcdefgh", axes, strict=False):
        ax.set_title(f"({letter}) {ax.get_title(loc='left')}".strip())


# ---- quench -----------------------------------------------------------------------------------------------------------


def _binned(x: NDArray[np.float64], y: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return means of x and y in bins of x that hold something."""
    place = np.searchsorted(edges, x, side="right") - 1
    inside = (place >= 0) & (place < len(edges) - 1) & np.isfinite(y)
    count = np.bincount(place[inside], minlength=len(edges) - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean = np.bincount(place[inside], x[inside], len(edges) - 1) / count
        y_mean = np.bincount(place[inside], y[inside], len(edges) - 1) / count
    return x_mean[count > 0], y_mean[count > 0]


@styled
def quench_figure(dataset: xr.Dataset) -> Figure:
    """Draw potential energy and volume per atom against temperature, and the inherent structures' energy.

    Raises
    ------
    CampaignError
        If no sample has a history.
    """
    if not np.isfinite(dataset["cooling_rate"].to_numpy()).any():
        raise CampaignError("these structures were made elsewhere: there is no cooling history to show")
    _need(dataset, ["history_temperature", "history_energy", "history_volume"], "quench")
    figure = new_figure(9.2, 3.2)
    energy_ax, volume_ax, final_ax = figure.subplots(1, 3)
    sizes = dataset["history_row_size"].to_numpy()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    temperature = dataset["history_temperature"].to_numpy()
    edges = np.linspace(0.0, float(np.nanmax(temperature)), 51)
    for series in series_of(dataset):
        mine = np.isin(owner, series.samples)
        if not mine.any():
            continue
        for ax, name in ((energy_ax, "history_energy"), (volume_ax, "history_volume")):
            x, y = _binned(temperature[mine], dataset[name].to_numpy()[mine], edges)
            ax.plot(
                x, y, color=series.colour, ls=series.line, marker=series.marker, markevery=6, ms=3.5, label=series.name
            )
    energy_ax.set(xlabel="temperature (K)", ylabel="potential energy per atom (eV)", title="energy")
    volume_ax.set(xlabel="temperature (K)", ylabel="volume per atom (Å$^3$)", title="volume")
    for ax in (energy_ax, volume_ax):
        ax.set_xlim(left=0.0)
    energy_ax.legend(loc="upper left")
    _final_energies(final_ax, dataset)
    panel_letters([energy_ax, volume_ax, final_ax])
    return figure


def _final_energies(ax: Axes, dataset: xr.Dataset) -> None:
    per_atom_s = (dataset["energy"] / dataset["n_atoms"]).to_numpy()
    ticks = _rate_axis(ax, dataset)
    means = []
    for series, at in ticks:
        known = np.isfinite(per_atom_s[series.samples])
        if known.any():
            ax.plot(at, per_atom_s[series.samples], series.marker, color=series.colour, mfc="none")
            means.append((np.mean(at), per_atom_s[series.samples][known].mean()))
    ax.plot(*zip(*means, strict=True), color="0.5", lw=0.9, zorder=0)
    ax.set(ylabel="energy per atom (eV)", title="inherent structures")
    ax.ticklabel_format(axis="y", useOffset=False)


def _rate_axis(ax: Axes, dataset: xr.Dataset) -> list[tuple[Series, NDArray[np.float64]]]:
    """Prepare the horizontal axis; return every series and where its samples stand: at their rate, or by name."""
    every = series_of(dataset)
    rate_s = dataset["cooling_rate"].to_numpy()
    if all(np.isfinite(series.rate) for series in every):
        ax.set_xscale("log")
        ax.set_xlabel("cooling rate (K/s)")
        known = rate_s[np.isfinite(rate_s)]
        ax.set_xlim(known.min() / 2.0, known.max() * 2.0)
        if len(every) <= _NAMED_RATES:  # few rates: name them, instead of decades and their parts
            ax.set_xticks(
                [series.rate for series in every], [rate_text(series.rate).removesuffix(" K/s") for series in every]
            )
            ax.set_xticks([], minor=True)
        return [(series, rate_s[series.samples] * 10.0 ** _fan(rate_s[series.samples], 0.035)) for series in every]
    names = [series.name for series in every]
    ax.set_xticks(range(len(names)), names, rotation=25, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    return [(series, place + _fan(np.zeros(len(series.samples)), 0.25)) for place, series in enumerate(every)]


def _fan(values: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Return shifts within ± reach that set equal values side by side, so that points do not hide each other."""
    shift = np.zeros(len(values))
    for value in np.unique(values):
        same = np.flatnonzero(values == value)
        if len(same) > 1:
            shift[same] = np.linspace(-reach, reach, len(same))
    return shift


# ---- structure --------------------------------------------------------------------------------------------------------


def first_peak(r: NDArray[np.float64], pdf_r: NDArray[np.float64]) -> float:
    """Return the position of the highest peak in Å, from a parabola through its three highest bins."""
    top = int(np.clip(pdf_r.argmax(), 1, len(r) - 2))
    left, centre, right = pdf_r[top - 1 : top + 2]
    bend = left - 2.0 * centre + right
    return float(r[top] + (0.5 * (left - right) / bend if bend else 0.0) * (r[1] - r[0]))


@styled
def pdf_figure(dataset: xr.Dataset) -> Figure:
    """Draw the partial pair distribution functions, averaged over the samples of each rate.

    Raises
    ------
    CampaignError
        If no sample has one.
    """
    _need(dataset, ["partial_pdf"], "structure")
    pairs = [str(pair) for pair in dataset["element_pair"].to_numpy()]
    partial = dataset["partial_pdf"].to_numpy()
    shown = [index for index in range(len(pairs)) if np.nanmax(partial[:, index]) > 0]
    figure = new_figure(9.2, 3.2)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    r = dataset["r"].to_numpy()
    for ax, pair in zip(axes, shown, strict=True):
        ax.axhline(1.0, color="0.75", lw=0.8, zorder=0)
        peaks = []
        for series in series_of(dataset):
            pdf_sr = partial[series.samples, pair]
            pdf_sr = pdf_sr[np.isfinite(pdf_sr).all(axis=1)]
            if not len(pdf_sr):
                continue
            mean_r = pdf_sr.mean(axis=0)
            peaks.append((first_peak(r, mean_r), mean_r.max()))
            ax.plot(r, mean_r, color=series.colour, ls=series.line, lw=1.2, label=series.name)
        where = [position for position, _ in peaks]
        ax.axvline(float(np.mean(where)), color="0.5", lw=0.8, ls=":", zorder=0)
        low, high = f"{min(where):.2f}", f"{max(where):.2f}"
        at = f"{low} Å" if low == high else f"{low} to {high} Å"
        ax.annotate(
            f"first peak {at}",
            (np.mean(where), max(height for _, height in peaks)),
            (12, -2),
            textcoords="offset points",
            va="top",
        )
        ax.set(xlabel="$r$ (Å)", ylabel=f"$g_{{{pairs[pair]}}}(r)$", title=pairs[pair], xlim=(0, r[-1]), ylim=(0, None))
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=MAX_SERIES)
    panel_letters(list(axes))
    return figure


# ---- vibration --------------------------------------------------------------------------------------------------------


def _mean_spectrum(dataset: xr.Dataset, name: str, samples: NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Return the mean over samples; NaN beyond the frequency up to which all of them are known."""
    spectra = dataset[name].to_numpy()[samples]
    spectra = spectra[np.isfinite(spectra).any(axis=1)]
    return spectra.mean(axis=0) if len(spectra) else None


@styled
def vdos_figure(dataset: xr.Dataset) -> Figure:
    """Draw the vibrational density of states and its reduced form with the Debye levels.

    Raises
    ------
    CampaignError
        If no sample has a spectrum.
    """
    _need(dataset, ["kpm_vdos", "reduced_vdos", "debye_level"], "vibration")
    figure = new_figure(9.2, 3.6)
    vdos_ax, reduced_ax = figure.subplots(1, 2, width_ratios=[1, 1.25])
    omega, every = dataset["omega"].to_numpy(), dataset["kpm_omega"].to_numpy()
    top = 0.0
    for series in series_of(dataset):
        for ax, name, x, scale, every_nth in (
            (vdos_ax, "kpm_vdos", every, 1e3, 12),
            (reduced_ax, "reduced_vdos", omega, MICRO_THZ, 3),
        ):
            mean = _mean_spectrum(dataset, name, series.samples)
            if mean is None:
                continue
            ax.plot(
                x, mean * scale, color=series.colour, ls=series.line, marker=series.marker, ms=3.2, markevery=every_nth,
                lw=1.2, label=series.name,
            )  # fmt: skip
            if name == "reduced_vdos":
                top = max(top, float(np.nanmax(mean[omega > 2.0])) * scale)  # noqa: PLR2004 - below, one soft mode is a spike
        smooth = _mean_spectrum(dataset, "kpm_reduced_vdos", series.samples)
        if smooth is not None:
            reduced_ax.plot(every, smooth * MICRO_THZ, color=series.colour, ls=series.line, lw=0.6, alpha=0.7)
    vdos_ax.set(
        xlabel=r"$\omega$ (rad/ps)", ylabel=r"$g(\omega)$ (10$^{-3}$ ps)", title="density of states", ylim=(0, None)
    )
    vdos_ax.set_xlim(0, every[-1])
    _debye_lines(reduced_ax, dataset)
    reduced_ax.set(
        xlabel=r"$\omega$ (rad/ps)",
        ylabel=rf"$g(\omega)/\omega^2$ ({MICRO_UNIT})",
        title="reduced density of states",
        xlim=(0, 20),
    )
    reduced_ax.set_ylim(0, 1.25 * max(top, PAPER_DEBYE_LEVEL))
    reduced_ax.legend(loc="upper right")
    panel_letters([vdos_ax, reduced_ax])
    return figure


def _debye_lines(ax: Axes, dataset: xr.Dataset) -> None:
    own_s = dataset["debye_level"].to_numpy() * MICRO_THZ
    own_s = own_s[np.isfinite(own_s)]
    ax.axhline(own_s.mean(), color="k", lw=1.2, label=f"own Debye level {own_s.mean():.0f} (mean of {own_s.size})")
    ax.axhline(PAPER_DEBYE_LEVEL, color="0.45", lw=1.0, ls=(0, (6, 3)), label=f"Yang et al. 2022: {PAPER_DEBYE_LEVEL}")
    phonon_s = dataset["first_phonon"].to_numpy()
    phonon_s = phonon_s[np.isfinite(phonon_s)]
    if phonon_s.size:
        ax.axvspan(
            phonon_s.min() - 0.06,
            phonon_s.max() + 0.06,
            color="0.85",
            lw=0,
            zorder=0,
            label=r"first phonons $2\pi c_t/L$",
        )


@styled
def intensity_figure(dataset: xr.Dataset) -> Figure:
    """Draw the boson-peak intensity against the cooling rate, in the paper's style and by the robust estimator.

    Raises
    ------
    CampaignError
        If no sample has an intensity.
    """
    _need(dataset, ["intensity", "robust_intensity"], "vibration")
    figure = new_figure(9.2, 3.6)
    axes = figure.subplots(1, 2, sharey=True)
    _intensities(axes[0], dataset, "intensity", "accepted")
    _intensities(axes[1], dataset, "robust_intensity", "robust_accepted")
    axes[0].set_title("paper style: maximum of the histogram")
    axes[1].set_title("robust: kernel estimate")
    axes[0].set_ylabel(f"boson-peak intensity ({MICRO_UNIT})")
    _cut(list(axes), dataset)
    axes[0].errorbar([], [], [], fmt="o", color="k", lw=0.8, capsize=2, label="accepted, with standard error")
    axes[0].plot([], [], "x", color="k", ms=7, mew=1.6, label="rejected")
    handles = dict(zip(*reversed(axes[1].get_legend_handles_labels()), strict=True))
    handles |= dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    panel_letters(list(axes))
    return figure


def _cut(axes: Sequence[Axes], dataset: xr.Dataset) -> None:
    """Scale to what was accepted; a rejected intensity far above (one soft mode) becomes an arrow at the rim."""
    top = [PAPER_INTENSITY[1]]
    for name, verdict in (("intensity", "accepted"), ("robust_intensity", "robust_accepted")):
        upper_s = (dataset[name] + dataset[f"{name}_error"].fillna(0)).to_numpy() * MICRO_THZ
        top += upper_s[(dataset[verdict].to_numpy() == 1) & np.isfinite(upper_s)].tolist()
    limit = _ROOM_ABOVE * max(top)
    axes[0].set_ylim(0.0, limit)
    value_s = dataset["intensity"].to_numpy() * MICRO_THZ
    for series, at in _rate_axis(axes[0], dataset):
        for x, value in zip(at, value_s[series.samples], strict=True):
            if value > limit:
                axes[0].annotate(
                    f"{value:.0f}", (x, limit), (x, 0.88 * limit), ha="center", fontsize="small",
                    arrowprops={"arrowstyle": "->", "lw": 0.8},
                )  # fmt: skip


def _intensities(ax: Axes, dataset: xr.Dataset, name: str, verdict: str) -> None:
    value_s = dataset[name].to_numpy() * MICRO_THZ
    error_s = np.nan_to_num(dataset[f"{name}_error"].to_numpy() * MICRO_THZ)
    good_s = dataset[verdict].to_numpy() == 1
    ax.axhspan(*PAPER_INTENSITY, color="0.9", lw=0, zorder=0, label="span of Tao et al. 2023 (N = 4000)")
    means = []
    for series, at in _rate_axis(ax, dataset):
        values, errors, good = value_s[series.samples], error_s[series.samples], good_s[series.samples]
        look: dict[str, Any] = {"fmt": series.marker, "color": series.colour, "lw": 0.8, "capsize": 2}
        ax.errorbar(at[good], values[good], errors[good], **look)
        ax.errorbar(at[~good], values[~good], errors[~good], mfc="none", alpha=0.6, **look)
        ax.plot(at[~good], values[~good], "x", color="k", ms=7, mew=1.6, zorder=4)
        if good.any():
            means.append((float(np.mean(at[good])), float(values[good].mean())))
    if means:
        ax.plot(*zip(*means, strict=True), color="0.35", lw=1.0, ls="-", zorder=1, label="mean of the accepted")


# ---- learning ---------------------------------------------------------------------------------------------------------


@styled
def parity_figure(result: TrainingResult) -> Figure:
    """Draw predicted against true intensity, for the network and for its best baseline."""
    figure = new_figure(9.2, 3.8)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    best = min((name for name in result.metrics if name != "network"), key=lambda name: result.metrics[name]["mae"])
    truth = np.array(result.truth)
    groups = list(dict.fromkeys(result.group))
    values = np.concatenate([truth, result.predictions["network"], result.predictions[best]])
    margin = 0.06 * np.ptp(values) + 1e-9
    low, high = values.min() - margin, values.max() + margin
    for ax, name in zip(axes, ("network", best), strict=True):
        metric = result.metrics[name]
        ax.plot([low, high], [low, high], color="0.6", lw=0.9, zorder=0)
        for index, group in enumerate(groups):
            mine = np.array([owner == group for owner in result.group])
            look = index % MAX_SERIES if len(groups) <= MAX_SERIES else 0
            ax.plot(
                truth[mine], np.array(result.predictions[name])[mine], MARKERS[look], color=COLOURS[look], mfc="none",
                label=f"melt {index + 1}" if len(groups) <= MAX_SERIES else None,
            )  # fmt: skip
        model = name if name == "network" else f"best baseline: {name}"
        interval = f"[{metric['mae_low']:.1f}, {metric['mae_high']:.1f}]"
        title = f"{model}\nMAE {metric['mae']:.1f} {interval} {MICRO_UNIT}, $R^2$ {metric['r2']:.2f}".replace("-", "−")
        ax.set(xlabel=f"true intensity ({MICRO_UNIT})", title=title, xlim=(low, high), ylim=(low, high), aspect="equal")
    axes[0].set_ylabel(f"predicted intensity ({MICRO_UNIT})")
    if len(groups) <= MAX_SERIES:
        axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="left out together")
    panel_letters(list(axes))
    return figure


# ---- work -------------------------------------------------------------------------------------------------------------


@styled
def work_figure(stages: Sequence[StageLine]) -> Figure:
    """Draw how the tasks ended and what they cost, stage by stage.

    Raises
    ------
    CampaignError
        If there is no stage.
    """
    if not stages:
        raise CampaignError("nothing was planned; 'bpd plan' shows what the configuration asks for")
    figure = new_figure(9.2, 0.9 + 0.42 * len(stages))
    task_ax, cost_ax = figure.subplots(1, 2)
    names = [stage.stage for stage in stages]
    places = np.arange(len(names))
    left = np.zeros(len(names))
    for state, (colour, hatch) in STATE_LOOK.items():
        counts = np.array([stage.counts.get(state, 0) for stage in stages], dtype=float)
        if counts.any():
            task_ax.barh(
                places, counts, left=left, color=colour, hatch=hatch, edgecolor="k", lw=0.5, height=0.6, label=state
            )
        left += counts
    task_ax.set(xlabel="tasks", yticks=places, title="how the tasks ended")
    task_ax.set_yticklabels(names)
    task_ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    spent = [stage.spent_core_hours for stage in stages]
    estimated = [stage.estimated_core_hours for stage in stages]
    cost_ax.barh(
        places - 0.19, estimated, height=0.36, color="white", edgecolor="k", hatch="////", lw=0.6, label="estimated"
    )
    cost_ax.barh(places + 0.19, spent, height=0.36, color="#0072B2", edgecolor="k", lw=0.5, label="spent")
    cost_ax.set(xlabel="core-hours", yticks=places, title="what they cost")
    cost_ax.set_yticklabels(names)
    cost_ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    task_ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in (task_ax, cost_ax):
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
    panel_letters([task_ax, cost_ax])
    return figure
