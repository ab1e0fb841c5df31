# SPDX-License-Identifier: BSD-3-Clause
"""The report: one HTML page that needs nothing else, and its figures as PNG files beside it.

Whatever is missing is named with the command that makes it; whatever cannot be compared with the papers says why.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bp_distributed import figures
from bp_distributed.errors import CampaignError
from bp_distributed.figures import MICRO_THZ, PAPER_DEBYE_LEVEL, PAPER_INTENSITY, StageLine, rate_text, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bp_distributed.status import FailureRow
    from bp_distributed.train import TrainingResult

REPORT_NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
FEW_SAMPLES = 3
"""Below this many samples a standard deviation is not shown."""

SAME = 1e-9
"""Relative; a spread below this is rounding."""

PAPER_PEAK = (2.5, 5.5)
"""rad/ps; boson-peak frequencies in Yang et al. (2022)."""

PAPER_ATOMS = 4000
DPI = 160
MAX_FAILURES = 200
"""Lines of the table of failures; ``bpd status`` has the rest."""


TARGETS = {
    "intensity": "paper-style estimator, accepted samples",
    "robust_intensity": "robust estimator, samples without a boson peak included",
}


@dataclass(frozen=True)
class ReportContext:
    """All that the report is made of.

    Attributes
    ----------
    name, root : str
        Campaign and where it lies.
    dataset : xarray.Dataset or None
        From :mod:`bp_distributed.gather`.
    training : TrainingResult or None
    failures : sequence of FailureRow
    stages : sequence of StageLine
    versions : mapping of str to str
    potential_label, potential_sha256 : str
    warnings : sequence of str
        From the plan.
    config_text : str
        The configuration in force, as YAML.
    campaign_uuid : str
    """

    name: str
    root: str
    dataset: xr.Dataset | None = None
    training: TrainingResult | None = None
    failures: Sequence[FailureRow] = ()
    stages: Sequence[StageLine] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    potential_label: str = "unknown"
    potential_sha256: str = ""
    warnings: Sequence[str] = ()
    config_text: str = ""
    campaign_uuid: str = ""


@dataclass(frozen=True)
class Comparison:
    """One line of "paper value, ours, not comparable because"."""

    quantity: str
    paper: str
    ours: str
    because: str


@dataclass(frozen=True)
class Shown:
    """One figure in the report; ``missing`` says why there is none."""

    name: str
    title: str
    caption: str = ""
    image: str = ""
    missing: str = ""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class _Plot:
    name: str
    title: str
    draw: Callable[[], Figure]
    caption: Callable[[], str]
    compare: Callable[[], tuple[Comparison, ...]] = tuple


def write_report(folder: Path, context: ReportContext) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into a folder.

    Parameters
    ----------
    folder : Path
    context : ReportContext

    Returns
    -------
    Path
        Of the HTML page.
    """
    import jinja2  # noqa: PLC0415 - only here

    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    page = environment.get_template("report.html").render(
        context=context,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cards=_cards(context),
        summary=_summary(context.dataset) if context.dataset is not None else [],
        figures=[_shown(plot, pictures) for plot in _plots(context)],
        failures=context.failures[:MAX_FAILURES],
        more_failures=max(0, len(context.failures) - MAX_FAILURES),
        limits=_limits(context),
        metrics=_metric_rows(context.training),
    )
    path = folder / REPORT_NAME
    aside = folder / f".{REPORT_NAME}.{os.getpid()}"
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
    return path


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """Return a number for people: significant digits, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:  # noqa: PLR2004 - beyond, powers of ten read better
        text = f"{value:.{digits - 1}e}"
    else:
        places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{places}f}"
    return f"{text.replace('-', '−')} {unit}".strip()


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _values(dataset: xr.Dataset, name: str, scale: float = 1.0) -> Any:
    """Return what is known of a variable of whole samples, accepted and rejected alike."""
    if name not in dataset:
        return np.array([])
    values = dataset[name].to_numpy() * scale
    return values[np.isfinite(values)]


def _accepted(dataset: xr.Dataset, name: str, scale: float = 1.0) -> Any:
    if name not in dataset:
        return np.array([])
    values = dataset[name].to_numpy()[dataset["accepted"].to_numpy() == 1] * scale
    return values[np.isfinite(values)]


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _spread(values: Any, digits: int = 3, unit: str = "") -> str:
    """Return mean ± standard deviation over samples, or what there is of it."""
    if not len(values):
        return "–"
    if len(values) < FEW_SAMPLES:
        return number(_mean(values), digits, unit)
    deviation = float(np.std(values, ddof=1))
    if deviation < SAME * abs(_mean(values)):
        return number(_mean(values), digits, unit)
    return f"{number(_mean(values), digits)} ± {number(deviation, 2)} {unit}".strip()


def _range(values: Any, digits: int = 3, unit: str = "") -> str:
    if not len(values):
        return "–"
    low, high = number(float(np.min(values)), digits), number(float(np.max(values)), digits)
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip()


def _atoms(dataset: xr.Dataset) -> str:
    atoms = np.unique(dataset["n_atoms"].to_numpy())
    return str(atoms[0]) if len(atoms) == 1 else f"{atoms[0]} to {atoms[-1]}"


def _first_peak(dataset: xr.Dataset, pair: str) -> float:
    if "partial_pdf" not in dataset or pair not in dataset["element_pair"].to_numpy():
        return math.nan
    pdf = (
        dataset["partial_pdf"].sel(element_pair=pair).to_numpy() if dataset["element_pair"].dtype.kind == "U" else None
    )
    if pdf is None or not np.isfinite(pdf).any():
        return math.nan
    return figures.first_peak(dataset["r"].to_numpy(), np.nanmean(pdf[np.isfinite(pdf).all(axis=1)], axis=0))


def _cards(context: ReportContext) -> list[tuple[str, str, str]]:
    """Return the numbers to see first: value, name, note."""
    cards: list[tuple[str, str, str]] = []
    dataset = context.dataset
    if dataset is not None:
        accepted = dataset["accepted"].to_numpy()
        note = f"{(accepted == 0).sum()} rejected, {(accepted == -1).sum()} not available"
        cards.append((str((accepted == 1).sum()), "accepted samples", note))
        peaks = [(pair, _first_peak(dataset, str(pair))) for pair in _unlike_pairs(dataset)]
        cards += [
            (number(peak, 3, "Å"), f"first {pair} peak", "all samples") for pair, peak in peaks if math.isfinite(peak)
        ]
        cards.append(
            (_spread(_accepted(dataset, "intensity", MICRO_THZ)), "intensity (µTHz⁻³)", "paper style, accepted samples")
        )
        cards.append(
            (
                _spread(_values(dataset, "debye_level", MICRO_THZ)),
                "own Debye level (µTHz⁻³)",
                "from each sample's moduli",
            )
        )
        if "frequency" in dataset:
            cards.append((number(float(dataset["frequency"].max()), 3), "highest ω (rad/ps)", "all samples"))
    if context.training is not None:
        network = context.training.metrics["network"]
        note = f"network, {context.training.facts['samples']} samples in {context.training.facts['groups']} melts"
        cards.append((number(network["mae"], 3), "MAE (µTHz⁻³)", note))
    spent = sum(stage.spent_core_hours for stage in context.stages)
    if spent:
        cards.append((number(spent, 3), "core-hours spent", "failed attempts included"))
    return cards


def _unlike_pairs(dataset: xr.Dataset) -> list[str]:
    elements = [str(element) for element in dataset["element"].to_numpy()]
    present = dataset["composition"].to_numpy().max(axis=0) > 0
    names = [element for element, there in zip(elements, present, strict=True) if there]
    return [f"{a}{b}" for index, a in enumerate(names) for b in names[index + 1 :]][:1] or [
        f"{name}{name}" for name in names[:1]
    ]


def _summary(dataset: xr.Dataset) -> list[dict[str, str]]:
    """Return one row per cooling rate (or label)."""
    rows = []
    for series in series_of(dataset):
        part = dataset[
            [
                name
                for name in ("energy", "density", "shear_modulus", "bulk_modulus", "debye_level", "intensity", "robust_intensity",
                             "peak_frequency", "accepted", "n_atoms")
                if name in dataset.variables
            ]
        ].isel(sample=series.samples)  # fmt: skip
        per_atom = part["energy"] / part["n_atoms"] if "energy" in part else xr.DataArray(np.array([np.nan]))
        rows.append(
            {
                "series": series.name,
                "samples": f"{len(series.samples)} ({int((part['accepted'] == 1).sum())})",
                "atoms": _atoms(part),
                "energy": _spread(per_atom.to_numpy()[np.isfinite(per_atom.to_numpy())], 6),
                "density": _spread(_values(part, "density"), 4),
                "shear": _spread(_values(part, "shear_modulus")),
                "bulk": _spread(_values(part, "bulk_modulus"), 4),
                "debye": _spread(_values(part, "debye_level", MICRO_THZ)),
                "intensity": _spread(_accepted(part, "intensity", MICRO_THZ)),
                "robust": _spread(_accepted(part, "robust_intensity", MICRO_THZ)),
                "peak": _spread(_accepted(part, "peak_frequency")),
            }
        )
    return rows


def _metric_rows(training: TrainingResult | None) -> list[dict[str, Any]]:
    if training is None:
        return []
    order = sorted(training.metrics, key=lambda name: (name != "network", training.metrics[name]["mae"]))
    return [{"name": name, **training.metrics[name]} for name in order]


# ---- figures ----------------------------------------------------------------------------------------------------------


def _shown(plot: _Plot, folder: Path) -> Shown:
    try:
        figure = plot.draw()
    except CampaignError as error:
        (folder / f"{plot.name}.png").unlink(missing_ok=True)  # an older report's picture would mislead
        return Shown(plot.name, plot.title, missing=str(error))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    (folder / f"{plot.name}.png").write_bytes(buffer.getvalue())
    image = base64.b64encode(buffer.getvalue()).decode()
    return Shown(plot.name, plot.title, plot.caption(), image, comparisons=plot.compare())


def _plots(context: ReportContext) -> list[_Plot]:
    dataset, training = context.dataset, context.training
    plots = []
    if dataset is not None:
        who = _who(dataset, context)
        plots = [
            _Plot("quench", "Energy and volume on cooling", lambda: figures.quench_figure(dataset), lambda: _quench_caption(who)),
            _Plot("pdf", "Structure", lambda: figures.pdf_figure(dataset), lambda: _pdf_caption(dataset, who)),
            _Plot(
                "vdos", "Vibrations", lambda: figures.vdos_figure(dataset), lambda: _vdos_caption(dataset, who),
                lambda: _vdos_comparisons(dataset, context),
            ),
            _Plot(
                "intensity", "Boson-peak intensity and cooling rate", lambda: figures.intensity_figure(dataset),
                lambda: _intensity_caption(dataset, who), lambda: _intensity_comparisons(dataset, context),
            ),
        ]  # fmt: skip
    else:
        plots.append(_Plot("dataset", "Physics", _refuse("no gathered dataset; 'bpd gather' makes it"), str))
    if training is not None:
        plots.append(
            _Plot(
                "parity", "Learning the intensity from structure", lambda: figures.parity_figure(training),
                lambda: _parity_caption(training, context), lambda: _parity_comparisons(training),
            )
        )  # fmt: skip
    else:
        plots.append(
            _Plot(
                "parity",
                "Learning the intensity from structure",
                _refuse("no trained model; 'bpd train' makes one"),
                str,
            )
        )
    plots.append(
        _Plot(
            "work",
            "Work done",
            lambda: figures.work_figure(context.stages),
            lambda: "Tasks by how they ended, and core-hours of all attempts, failed ones included.",
        )
    )
    return plots


def _refuse(sentence: str) -> Callable[[], Figure]:
    def draw() -> Figure:
        raise CampaignError(sentence)

    return draw


# ---- captions ---------------------------------------------------------------------------------------------------------


def _who(dataset: xr.Dataset, context: ReportContext) -> str:
    """Return who was measured: samples, atoms, composition, rates, potential."""
    rate_s = dataset["cooling_rate"].to_numpy()
    known = np.unique(rate_s[np.isfinite(rate_s)])
    rates = "no known cooling rate"
    if len(known) == 1:
        rates = f"cooled at {rate_text(known[0])}"
    elif len(known):
        rates = f"{len(known)} cooling rates from {rate_text(known[0])} to {rate_text(known[-1])}"
    return (
        f"{dataset.sizes['sample']} sample{'s' if dataset.sizes['sample'] > 1 else ''} of {_atoms(dataset)} atoms ({_composition(dataset)}) from {_melts(dataset)}, {rates}, potential "
        f"{context.potential_label} (sha256 {context.potential_sha256[:12]})"
    )


def _melts(dataset: xr.Dataset) -> str:
    count = len(np.unique(dataset["group"].to_numpy()))
    word = "melt" if np.isfinite(dataset["cooling_rate"].to_numpy()).any() else "leakage group"
    return f"{count} {word}" + ("s" if count > 1 else "")


def _composition(dataset: xr.Dataset) -> str:
    shares = np.unique(np.round(dataset["composition"].to_numpy() * 100.0, 3), axis=0)
    if len(shares) > 1:
        return f"{len(shares)} compositions"
    subscript = str.maketrans("0123456789.", "₀₁₂₃₄₅₆₇₈₉.")
    elements = dataset["element"].to_numpy()
    return "".join(
        f"{e}{f'{share:g}'.translate(subscript)}" for e, share in zip(elements, shares[0], strict=True) if share
    )


def _quench_caption(who: str) -> str:
    return (
        f"Potential energy (a) and volume (b) per atom while cooling at zero pressure, averaged over the samples of one rate and "
        f"over 50 bins of temperature; the bend is the glass transition. (c) Energy of the inherent structures. {who}."
    )


def _pdf_caption(dataset: xr.Dataset, who: str) -> str:
    r = dataset["r"].to_numpy()
    return (
        f"Partial pair distribution functions of the inherent structures, mean over samples, bins of {r[1] - r[0]:.3g} Å, normalised "
        f"with 4πr²Δr (Tao et al., Eq. 1). The dotted line marks the first peak. {who}."
    )


def _vdos_caption(dataset: xr.Dataset, who: str) -> str:
    omega = dataset["omega"].to_numpy()
    return (
        f"Vibrational density of states (a) and its reduced form (b), mean over all samples with a spectrum, rejected ones included; "
        f"histogram with bins of {omega[1] - omega[0]:.3g} rad/ps from 0. Solid line: Debye level of the samples' own elastic moduli. "
        f"Grey band: where the first transverse phonons of these boxes lie. {who}."
    )


def _intensity_caption(dataset: xr.Dataset, who: str) -> str:
    omega = dataset["omega"].to_numpy()
    return (
        f"Boson-peak intensity against cooling rate: (a) maximum of the histogram with bins of {omega[1] - omega[0]:.3g} rad/ps "
        f"(paper style; the papers do not give their bins), (b) kernel estimate above the first phonons. Crosses: rejected for lack of "
        f"a peak. Error bars: standard error within a sample. {who}."
    )


def _layers(hidden: Sequence[int]) -> str:
    return "-".join(str(width) for width in hidden) or "none"


def _parity_caption(training: TrainingResult, context: ReportContext) -> str:
    facts = training.facts
    settings = facts["settings"]
    return (
        f"Predicted against true intensity ({TARGETS[settings['target']]}). Each point was predicted by models that never saw its melt: "
        f"{facts['folds']} folds over {facts['groups']} melts, {facts['samples']} samples, network with hidden layers {_layers(settings['hidden'])} on "
        f"{facts['n_features']} values of {settings['features']}, mean of {settings['repeats']} networks; in brackets 95 % intervals "
        f"with melts resampled. Potential {context.potential_label} (sha256 {context.potential_sha256[:12]})."
    )


# ---- paper, ours, because ---------------------------------------------------------------------------------------------


def _differences(dataset: xr.Dataset, context: ReportContext, *, tao: bool, binned: bool = True) -> str:
    """Return why a number of ours is not that of a paper."""
    reasons = []
    atoms = dataset["n_atoms"].to_numpy()
    size = PAPER_ATOMS if tao else 19652
    if (atoms != size).any():
        reasons.append(f"{_atoms(dataset)} atoms, not {size}")
    rate_s = dataset["cooling_rate"].to_numpy()
    if not np.isfinite(rate_s).all() or np.nanmin(rate_s) > 1e10:  # noqa: PLR2004 - the papers' slow end
        reasons.append("other cooling rates" if np.isfinite(rate_s).any() else "unknown cooling rates")
    named = "Cu-Zr_4" if tao else "Cu-Zr_2"
    if named not in context.potential_label:
        reasons.append(f"another potential (the paper's is Mendelev {'2019' if tao else '2009'})")
    if binned:
        reasons.append("their bin width and smoothing are not published")
    return "; ".join(reasons)


def _vdos_comparisons(dataset: xr.Dataset, context: ReportContext) -> tuple[Comparison, ...]:
    rows = [
        Comparison(
            "Debye level (µTHz⁻³)", f"{PAPER_DEBYE_LEVEL} (Yang et al.)", _spread(_values(dataset, "debye_level", MICRO_THZ)),
            "; ".join(["theirs is quoted from another work", _differences(dataset, context, tao=False, binned=False)]),
        ),
        Comparison(
            "boson-peak frequency (rad/ps)", f"{PAPER_PEAK[0]} to {PAPER_PEAK[1]} (Yang et al.)",
            _range(_accepted(dataset, "peak_frequency")), _differences(dataset, context, tao=False),
        ),
    ]  # fmt: skip
    if "frequency" in dataset:
        frequency = dataset["frequency"].to_numpy()
        count = np.isfinite(frequency).sum(axis=1)
        share = (frequency < 10.0).sum(axis=1)[count > 0] / (count[count > 0] + 3)  # noqa: PLR2004 - Tao's cut in rad/ps
        because = _differences(dataset, context, tao=True, binned=False)
        rows.append(
            Comparison("modes below 10 rad/ps (%)", "6.03 (Tao et al., 724 of 12 000)", _spread(100.0 * share), because)
        )
    return tuple(rows)


def _intensity_comparisons(dataset: xr.Dataset, context: ReportContext) -> tuple[Comparison, ...]:
    accepted = dataset["accepted"].to_numpy()
    judged = int((accepted >= 0).sum())
    share = f"{100.0 * (accepted == 0).sum() / judged:.1f} % of {judged}" if judged else "–"
    because = _differences(dataset, context, tao=True)
    return (
        Comparison(
            "intensity (µTHz⁻³)", f"{PAPER_INTENSITY[0]:.0f} to {PAPER_INTENSITY[1]:.0f} (Tao et al.)",
            _range(_accepted(dataset, "intensity", MICRO_THZ)), because,
        ),
        Comparison("rejected samples", "9.5 % of 1800 (Tao et al.)", share, f"their rule is not published; {because}"),
    )  # fmt: skip


def _parity_comparisons(training: TrainingResult) -> tuple[Comparison, ...]:
    facts, network = training.facts, training.metrics["network"]
    because = (
        f"another estimator and label noise; {facts['samples']} samples instead of 1629; split by melt instead of at random; an MAE scales "
        f"with the spread of the label, here {facts['target_std']:.1f} µTHz⁻³"
    )
    ours = f"{network['mae']:.2f} [{network['mae_low']:.2f}, {network['mae_high']:.2f}]"
    return (Comparison("MAE, partial PDF (µTHz⁻³)", "7.98 (Tao et al.)", ours, because),)


# ---- limits -----------------------------------------------------------------------------------------------------------


def _limits(context: ReportContext) -> list[str]:
    """Return what these data cannot show, in sentences."""
    dataset = context.dataset
    limits: list[str] = []
    if dataset is None:
        return limits
    if "first_phonon" in dataset and "omega" in dataset and len(_values(dataset, "first_phonon")):
        limits += _size_limits(dataset)
    rate_s = dataset["cooling_rate"].to_numpy()
    known = rate_s[np.isfinite(rate_s)]
    if len(known) and known.min() > 1e12:  # noqa: PLR2004 - below it the paper's curve is flat
        limits.append(
            f"The slowest cooling rate is {rate_text(float(known.min()))}; laboratory metallic glasses cool about ten orders of magnitude "
            "more slowly, and the paper's plateau below 10¹³ K/s is hardly reached."
        )
    melts = len(np.unique(dataset["group"].to_numpy()))
    if melts < min(10, dataset.sizes["sample"]):
        limits.append(
            f"All samples descend from {_melts(dataset)}. Samples of one are not independent, so error bars over "
            "samples are too small."
        )
    return limits


def _size_limits(dataset: xr.Dataset) -> list[str]:
    limits = []
    atoms = int(np.min(dataset["n_atoms"].to_numpy()))
    phonon = _mean(_values(dataset, "first_phonon"))
    omega = dataset["omega"].to_numpy()
    width = float(omega[1] - omega[0])
    peak = _mean(_accepted(dataset, "peak_frequency"))
    at = peak if math.isfinite(peak) else sum(PAPER_PEAK) / 2
    one_mode = MICRO_THZ / (3.0 * atoms * width * at**2)
    limits.append(
        f"Finite size: with {atoms} atoms a single mode at {at:.1f} rad/ps adds {one_mode:.0f} µTHz⁻³ to its bin of {width:g} rad/ps"
        + (f" (with 4000 atoms: {one_mode * atoms / PAPER_ATOMS:.0f}). " if atoms < PAPER_ATOMS else ". ")
        + "Intensities therefore scatter from sample to sample by about that much."
    )
    if phonon > PAPER_PEAK[0]:
        limits.append(
            f"The first transverse phonons of the smallest boxes lie at 2πc_t/L = {phonon:.1f} rad/ps on average, "
            + (
                "above the papers' boson-peak window of 2.5 to 5.5 rad/ps: below it there are quasi-localised modes only, and the "
                "phonons add a maximum of their own. "
                if phonon > PAPER_PEAK[1]
                else "inside the papers' boson-peak window of 2.5 to 5.5 rad/ps, so a maximum there is at least partly phononic. "
            )
            + "Only a scan over sizes tells the two apart: a phononic maximum moves as 1/L."
        )
    return limits
