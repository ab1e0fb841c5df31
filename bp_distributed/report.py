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

from bp_distributed import activation_captions, activation_figures, figures
from bp_distributed.activation_study import PAPER, ActivationStudy, study, tally_of
from bp_distributed.captions import (
    Comparison,
    Table,
    accepted_of,
    atoms_text,
    first_peak_of,
    intensity_caption,
    intensity_comparisons,
    limits_of,
    number,
    parity_caption,
    parity_comparisons,
    pdf_caption,
    quench_caption,
    spread,
    values_of,
    vdos_caption,
    vdos_comparisons,
    who_text,
)
from bp_distributed.errors import CampaignError
from bp_distributed.figures import MICRO_THZ, StageLine, series_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bp_distributed.status import FailureRow
    from bp_distributed.train import TrainingResult

REPORT_NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
DPI = 160
MAX_FAILURES = 200
"""Lines of the table of failures; ``bpd status`` has the rest."""


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
    atlas : str
        Where the atlas of both papers lies, seen from the page; empty if there is none.
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
    atlas: str = ""


@dataclass(frozen=True)
class Shown:
    """One figure in the report; ``missing`` says why there is none."""

    name: str
    title: str
    caption: str = ""
    image: str = ""
    missing: str = ""
    comparisons: tuple[Comparison, ...] = ()
    tables: tuple[Table, ...] = ()
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plot:
    name: str
    title: str
    draw: Callable[[], Figure]
    caption: Callable[[], str]
    compare: Callable[[], tuple[Comparison, ...]] = tuple
    tables: Callable[[], tuple[Table, ...]] = tuple
    limits: Callable[[], tuple[str, ...]] = tuple


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
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    page = render(
        "report.html",
        context=context,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cards=_cards(context),
        summary=_summary(context.dataset) if context.dataset is not None else [],
        figures=[_shown(plot, pictures) for plot in _plots(context)],
        failures=context.failures[:MAX_FAILURES],
        more_failures=max(0, len(context.failures) - MAX_FAILURES),
        limits=limits_of(context),
        metrics=_metric_rows(context.training),
    )
    path = folder / REPORT_NAME
    aside = folder / f".{REPORT_NAME}.{os.getpid()}"
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
    return path


def render(template: str, **values: Any) -> str:
    """Return a page from a template of this package; what is not known in it is an error."""
    import jinja2  # noqa: PLC0415 - only here

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    return environment.get_template(template).render(**values)


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _cards(context: ReportContext) -> list[tuple[str, str, str]]:
    """Return the numbers to see first: value, name, note."""
    cards: list[tuple[str, str, str]] = []
    dataset = context.dataset
    if dataset is not None:
        accepted = dataset["accepted"].to_numpy()
        note = f"{(accepted == 0).sum()} rejected, {(accepted == -1).sum()} not available"
        cards.append((str((accepted == 1).sum()), "accepted samples", note))
        peaks = [(pair, first_peak_of(dataset, str(pair))) for pair in _unlike_pairs(dataset)]
        cards += [
            (number(peak, 3, "Å"), f"first {pair} peak", "all samples") for pair, peak in peaks if math.isfinite(peak)
        ]
        cards.append(
            (
                spread(accepted_of(dataset, "intensity", MICRO_THZ)),
                "intensity (µTHz⁻³)",
                "paper style, accepted samples",
            )
        )
        cards.append(
            (
                spread(accepted_of(dataset, "robust_intensity", MICRO_THZ)),
                "intensity (µTHz⁻³)",
                "robust, lack of a peak allowed",
            )
        )
        cards.append(
            (
                spread(values_of(dataset, "debye_level", MICRO_THZ)),
                "own Debye level (µTHz⁻³)",
                "from each sample's moduli",
            )
        )
        if "frequency" in dataset:
            worst = f"{float(dataset['residual'].max()):.0e}"
            cards.append((worst, "largest eigen-residual", "of all modes, over the largest eigenvalue"))
        if PAPER in dataset:
            cards += _activation_cards(dataset)
    if context.training is not None:
        network = context.training.metrics["network"]
        note = f"network, {context.training.facts['samples']} samples in {context.training.facts['groups']} melts"
        cards.append((number(network["mae"], 3), "MAE (µTHz⁻³)", note))
    spent = sum(stage.spent_core_hours for stage in context.stages)
    if spent:
        cards.append((number(spent, 3), "core-hours spent", "failed attempts included"))
    return cards


def _activation_cards(dataset: xr.Dataset) -> list[tuple[str, str, str]]:
    tally = tally_of(dataset)
    if not tally.successes:
        return []
    energy = values_of(dataset, PAPER)
    connected = 100.0 * (tally.connected + tally.repeated) / tally.successes
    return [
        (spread(energy), "activation energy (eV)", f"paper's mean, {len(energy)} atoms"),
        (f"{100.0 * tally.successes / tally.searches:.0f} %", "searches that succeed", f"of {tally.searches}; {connected:.0f} % of them connected"),
    ]  # fmt: skip


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
                             "peak_frequency", "accepted", "robust_accepted", "n_atoms")
                if name in dataset.variables
            ]
        ].isel(sample=series.samples)  # fmt: skip
        per_atom = part["energy"] / part["n_atoms"] if "energy" in part else xr.DataArray(np.array([np.nan]))
        rows.append(
            {
                "series": series.name,
                "samples": f"{len(series.samples)} ({int((part['accepted'] == 1).sum())})",
                "atoms": atoms_text(part),
                "energy": spread(per_atom.to_numpy()[np.isfinite(per_atom.to_numpy())], 6),
                "density": spread(values_of(part, "density"), 4),
                "shear": spread(values_of(part, "shear_modulus")),
                "bulk": spread(values_of(part, "bulk_modulus"), 4),
                "debye": spread(values_of(part, "debye_level", MICRO_THZ)),
                "intensity": spread(accepted_of(part, "intensity", MICRO_THZ)),
                "robust": spread(accepted_of(part, "robust_intensity", MICRO_THZ)),
                "peak": spread(accepted_of(part, "peak_frequency")),
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
    return Shown(
        plot.name,
        plot.title,
        plot.caption(),
        image,
        comparisons=plot.compare(),
        tables=plot.tables(),
        limits=plot.limits(),
    )


def _plots(context: ReportContext) -> list[_Plot]:
    dataset, training = context.dataset, context.training
    plots = []
    if dataset is not None:
        who = who_text(dataset, context)
        plots = [
            _Plot("quench", "Energy and volume on cooling", lambda: figures.quench_figure(dataset), lambda: quench_caption(who)),
            _Plot("pdf", "Structure", lambda: figures.pdf_figure(dataset), lambda: pdf_caption(dataset, who)),
            _Plot(
                "vdos", "Vibrations", lambda: figures.vdos_figure(dataset), lambda: vdos_caption(dataset, who),
                lambda: vdos_comparisons(dataset, context),
            ),
            _Plot(
                "intensity", "Boson-peak intensity and cooling rate", lambda: figures.intensity_figure(dataset),
                lambda: intensity_caption(dataset, who), lambda: intensity_comparisons(dataset, context),
            ),
            *_activation_plots(dataset, context),
        ]  # fmt: skip
    else:
        plots.append(_Plot("dataset", "Physics", _refuse("no gathered dataset; 'bpd gather' makes it"), str))
    if training is not None:
        plots.append(
            _Plot(
                "parity", "Learning the intensity from structure", lambda: figures.parity_figure(training),
                lambda: parity_caption(training, context), lambda: parity_comparisons(training),
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


def _activation_plots(dataset: xr.Dataset, context: ReportContext) -> list[_Plot]:
    """Return the section of activation energies; nothing where a campaign has none."""
    if "searched_planned" not in dataset.coords:
        return []
    try:
        found = study(dataset)
    except CampaignError as error:
        return [_Plot("activation", "Activation energies", _refuse(str(error)), str)]
    return _studied_plots(found, dataset, context)


def _studied_plots(found: ActivationStudy, dataset: xr.Dataset, context: ReportContext) -> list[_Plot]:
    words, draw = activation_captions, activation_figures
    shown = max(found.glasses, key=lambda one: one.relations[PAPER].n_atoms)
    relation = shown.relations[PAPER]
    part = dataset.isel(sample=shown.glass.samples)
    who = who_text(part, context)
    everyone = who_text(dataset, context)
    return [
        _Plot(
            "activation_endings", "Activation energies: how the searches ended",
            lambda: draw.endings_figure(found.tally), lambda: words.endings_caption(found.tally, everyone),
            limits=lambda: words.activation_limits(found, shown, dataset),
        ),
        _Plot(
            "activation_ends", "Activation energies of the atoms with the most and the least boson peak",
            lambda: draw.contrast_figure(relation), lambda: words.contrast_caption(relation, who),
            lambda: words.contrast_comparisons(part, shown, context), lambda: (words.contrast_table(shown),),
        ),
        _Plot(
            "activation_lengths", "Correlation and coarse-graining length",
            lambda: draw.curves_figure(relation), lambda: words.curves_caption(relation, who),
            lambda: words.curves_comparisons(part, shown, context), lambda: (words.kernels_table(shown),),
        ),
        _Plot(
            "activation_line", "Activation energy against inverse intensity",
            lambda: draw.line_figure(relation), lambda: words.line_caption(relation, who),
            lambda: words.line_comparisons(part, shown, context), lambda: (words.line_table(shown),),
        ),
        _Plot(
            "activation_choices", "What is called the activation energy, and what depends on it",
            lambda: draw.choices_figure(shown.relations), lambda: words.choices_caption(who),
            tables=lambda: (words.choices_table(shown),),
        ),
        _Plot(
            "activation_map", "Where barriers are low and boson peaks high",
            lambda: draw.map_figure(shown.glass, relation), lambda: words.map_caption(relation, who),
        ),
        _Plot(
            "activation_decay", "How far intensity and activation energy resemble themselves",
            lambda: draw.decay_figure(shown), lambda: words.decay_caption(who),
            lambda: words.decay_comparisons(part, shown, context), lambda: (words.decay_table(shown),),
        ),
        _Plot(
            "activation_robustness", "Other compositions and cooling rates",
            lambda: draw.robustness_figure(found), lambda: words.robustness_caption(everyone),
            tables=lambda: (words.robustness_table(found.glasses),),
        ),
    ]  # fmt: skip


def _refuse(sentence: str) -> Callable[[], Figure]:
    def draw() -> Figure:
        raise CampaignError(sentence)

    return draw
