# SPDX-License-Identifier: BSD-3-Clause
"""The atlas on disk: one HTML page that needs nothing else, figures as PDF, ``atlas.json``, and a text.

Every file appears whole; the page comes last, so that what it names is there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed import durable
from bp_distributed.atlas.contradictions import CONTRADICTIONS, NOT_SAID
from bp_distributed.atlas.panel import Missing, Panel, Verdict
from bp_distributed.atlas.rows import PAPERS, ROWS
from bp_distributed.atlas.shown import Provenance, Shown, missing_together
from bp_distributed.atlas.supplement import supplement
from bp_distributed.captions import limits_of
from bp_distributed.errors import CampaignError
from bp_distributed.figures import figure_files
from bp_distributed.report import ReportContext, render

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.atlas.source import Source

PAGE, DATA, TEXT, FIGURES = "atlas.html", "atlas.json", "supplement.md", "figures"
SCHEMA = 1
"""Of ``atlas.json``; a higher number means that a reader of this one may fail."""

PIXELS_PER_INCH = 110
"""Of a figure in the page."""

_LIMITING = ("n_atoms", "cooling_rate", "accepted", "robust_accepted", "first_phonon", "peak_frequency", "omega")
"""What sentences about the limits of the data are made from."""

MARKS = {Verdict.SUPPORTED: "✓", Verdict.CONTRADICTED: "✗", Verdict.UNDECIDED: "?"}
KINDS = {Verdict.SUPPORTED: "supported", Verdict.CONTRADICTED: "contradicted", Verdict.UNDECIDED: "undecided"}


def write_atlas(
    folder: Path, source: Source, provenance: Provenance, on_row: Callable[[], object] = lambda: None
) -> Path:
    """Write page, figures, data and text; return the path of the page.

    Parameters
    ----------
    folder : Path
        Files of other names in it are left alone.
    source : Source
    provenance : Provenance
    on_row : callable
        Called after each row, for a display.
    """
    durable.make_private_dir(folder / FIGURES)
    rows = []
    for row in ROWS:
        rows.append(_shown(row.make(source), folder))
        on_row()
    created, limits = datetime.now(UTC), _limits(source.dataset)
    durable.replace_text(
        folder / DATA,
        json.dumps(_data(rows, limits, provenance, created), indent=1, allow_nan=False, ensure_ascii=False),
    )
    durable.replace_text(folder / TEXT, supplement(rows, limits, source.dataset, provenance, created))
    durable.replace_text(folder / PAGE, _page(rows, limits, provenance, created))
    return folder / PAGE


def _limits(dataset: xr.Dataset) -> list[str]:
    """Return what the data cannot show, for each size of samples by itself."""
    size_s = dataset["n_atoms"].to_numpy()
    few = dataset[[name for name in _LIMITING if name in dataset.variables]]
    found = []
    for size in np.unique(size_s):
        mine = few.isel(sample=np.flatnonzero(size_s == size))
        who = "" if (size_s == size).all() else f"Samples of {size} atoms. "
        found += [who + sentence for sentence in limits_of(ReportContext("", "", dataset=mine))]
    return found


def _shown(made: Panel | Missing, folder: Path) -> Shown:
    name = f"{FIGURES}/{made.row}.pdf"
    if isinstance(made, Missing):
        (folder / name).unlink(missing_ok=True)  # an older figure would mislead
        return Shown(made.row, made.title, made.what, made.command)
    row = Shown(
        made.row, made.title, caption=made.caption, basis=asdict(made.basis), claims=made.claims, values=made.values
    )
    try:
        figure = made.draw() if made.draw else None
    except CampaignError as error:
        figure, row = None, replace(row, caption=f"{row.caption} No figure: {error}.")
    if figure is None:
        (folder / name).unlink(missing_ok=True)
        return row
    picture, printed = figure_files(figure)
    durable.replace_bytes(folder / name, printed)
    return replace(
        row, image=base64.b64encode(picture).decode(), width=round(PIXELS_PER_INCH * figure.get_figwidth()),
        pdf=name, pdf_sha256=hashlib.sha256(printed).hexdigest(),
    )  # fmt: skip


# ---- atlas.json -------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return numbers, texts, lists and mappings as JSON knows them; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _data(rows: Sequence[Shown], limits: Sequence[str], provenance: Provenance, created: datetime) -> dict[str, Any]:
    return {
        "format": "bp_distributed atlas",
        "schema": SCHEMA,
        "created": created.isoformat(timespec="seconds"),
        "campaign": {
            "name": provenance.name,
            "uuid": provenance.campaign_uuid,
            "plan_sha256": provenance.plan_sha256,
            "config": provenance.config_text,
        },
        "potential": {"label": provenance.potential_label, "sha256": provenance.potential_sha256},
        "versions": dict(provenance.versions),
        "papers": PAPERS,
        "verdicts": {verdict.value: sum(row.counts[verdict] for row in rows) for verdict in Verdict},
        "limits": list(limits),
        "rows": [_row_data(row) for row in rows],
        "contradictions": [asdict(one) for one in CONTRADICTIONS],
        "not_said": {paper: list(points) for paper, points in NOT_SAID.items()},
    }


def _row_data(row: Shown) -> dict[str, Any]:
    if row.missing:
        return {
            "row": row.row,
            "title": row.title,
            "status": "missing",
            "missing": row.missing,
            "command": row.command,
        }
    return {
        "row": row.row,
        "title": row.title,
        "status": "shown",
        "caption": row.caption,
        "basis": plain(row.basis),
        "claims": [plain(asdict(claim)) for claim in row.claims],
        "values": plain(row.values),
        "figure": {"file": row.pdf, "sha256": row.pdf_sha256} if row.pdf else None,
    }


# ---- the page ---------------------------------------------------------------------------------------------------------


def _page(rows: Sequence[Shown], limits: Sequence[str], provenance: Provenance, created: datetime) -> str:
    return render(
        "atlas.html",
        context=provenance,
        created=created.strftime("%Y-%m-%d %H:%M UTC"),
        cards=_cards(rows),
        rows=rows,
        limits=limits,
        n_claims=sum(len(row.claims) for row in rows),
        missing=missing_together(rows),
        papers=PAPERS,
        verdicts=list(Verdict),
        marks=MARKS,
        kinds=KINDS,
        contradictions=CONTRADICTIONS,
        not_said=NOT_SAID,
        commands=[f"bpd {command} {provenance.root}" for command in ("run", "gather", "learn", "atlas")],
    )


def _cards(rows: Sequence[Shown]) -> list[tuple[str, str, str]]:
    """Return the numbers to see first: value, name, note."""
    shown = [row for row in rows if not row.missing]
    claims = sum(len(row.claims) for row in rows)
    counted = [
        (f"{MARKS[verdict]} {sum(row.counts[verdict] for row in rows)}", verdict.value, f"of {claims} claims judged")
        for verdict in Verdict
    ]
    missing = len(rows) - len(shown)
    return [
        *counted,
        (
            f"{len(shown)} of {len(rows)}",
            "rows shown",
            f"{missing} missing, each with its command" if missing else "none missing",
        ),
    ]
