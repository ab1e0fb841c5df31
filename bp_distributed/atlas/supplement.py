# SPDX-License-Identifier: BSD-3-Clause
"""The atlas as text: methods, the table of claims, what is missing, in Markdown for a supplement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed.atlas.basis import groups_alike, rates_text
from bp_distributed.atlas.contradictions import CONTRADICTIONS, NOT_SAID
from bp_distributed.atlas.rows import PAPERS
from bp_distributed.atlas.shown import missing_together

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.atlas.shown import Provenance, Shown


_READING = (
    "Intervals are 95 % intervals. “Not decidable at this size” means that the interval holds values on both sides of the claim, or that the "
    "data needed are not there. “Supported” is said of signs, orderings and forms; no number of the papers is called reproduced. "
    "Of many 95 % intervals one in twenty misses by chance, so single verdicts may be wrong."
)


def supplement(
    rows: Sequence[Shown], limits: Sequence[str], dataset: xr.Dataset, provenance: Provenance, created: datetime
) -> str:
    """Return the text.

    Parameters
    ----------
    rows : sequence of Shown
    limits : sequence of str
        What the data cannot show, in sentences.
    dataset : xarray.Dataset
    provenance : Provenance
    created : datetime
    """
    parts = [
        f"# Supplement: {provenance.name}",
        f"Written by bp_distributed on {created:%Y-%m-%d %H:%M} UTC from the campaign {provenance.campaign_uuid}.",
        "## Methods",
        *_methods(dataset, provenance),
        "## Table S1. The papers' claims and these data",
        _table(("row", "the paper says", "its value", "ours", "comparable as numbers, and why", "verdict"), _claim_lines(rows)),
        _READING,
        "## What these data cannot show",
        *limits,
        "## Figures and their basis",
        *_captions(rows),
        *_missing(rows),
        "## Contradictions in the papers",
        _table(("paper", "statement", "finding"), [(one.paper, one.statement, one.finding) for one in CONTRADICTIONS]),
        *(f"Not said in {paper}: {'; '.join(points)}." for paper, points in NOT_SAID.items()),
        "## References and versions",
        *(f"{letter}: {paper}." for letter, paper in PAPERS.items()),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in provenance.versions.items()) + ".",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _methods(dataset: xr.Dataset, provenance: Provenance) -> Iterator[str]:
    everyone = np.ones(dataset.sizes["sample"], dtype=bool)
    groups = groups_alike(dataset, everyone)
    rate_s = dataset["cooling_rate"].to_numpy()
    samples = "; ".join(
        f"{one.name}: {len(one.samples)} samples, cooling rates {rates_text(rate_s[one.samples])}" for one in groups
    )
    melts = len(np.unique(dataset["group"].to_numpy()))
    yield (
        f"Samples ({len(everyone)} from {melts} independent melts or leakage groups). {samples}. Potential: {provenance.potential_label}, sha256 "
        f"{provenance.potential_sha256}. Samples of different size or composition are never put together; each row takes the largest group alike."
    )
    config = json.loads(dataset.attrs.get("bp_config", "{}"))
    if protocol := config.get("protocol"):
        yield _preparation(protocol)
    if vibration := config.get("vibration"):
        yield (
            f"Vibrations. Normal modes of the mass-weighted analytic Hessian (solver {vibration['solver']}); the three translations are left out. "
            f"Densities of states are histograms with bins of {vibration['bin_width']:g} rad/ps from 0 and unit area; the paper-style intensity is "
            f"the maximum of g/ω², the robust one that of a Gaussian kernel estimate (width {vibration['kernel_width']:g} rad/ps) above the first "
            "transverse phonons. The papers give no bin width. What they print as THz is an angular frequency in rad/ps; 1 µTHz⁻³ is 10⁻⁶ ps³."
        )


def _preparation(protocol: Mapping[str, Any]) -> str:
    return (
        f"Preparation of our own samples. Random species on an fcc lattice, heated in {protocol['heating']:g} ps to {protocol['melt_temperature']:g} K, held "
        f"for {protocol['hold']:g} ps, start configurations {protocol['branch_spacing']:g} ps apart (samples of one melt are one leakage group), cooled at "
        f"zero pressure to {protocol['final_temperature']:g} K ({protocol['barostat']} barostat, time step {protocol['timestep']:g} fs), and "
        f"minimised to forces below {protocol['force_tolerance']:g} eV/Å with the cell free. The papers hold the melt for 2 ns."
    )


def _claim_lines(rows: Sequence[Shown]) -> list[tuple[str, ...]]:
    return [
        (row.row, claim.text, claim.paper, claim.ours, f"{'yes' if claim.comparable else 'no'}: {claim.why}", claim.verdict.value)
        for row in rows
        for claim in row.claims
    ]  # fmt: skip


def _captions(rows: Sequence[Shown]) -> Iterator[str]:
    for row in rows:
        if row.missing:
            continue
        basis = row.basis
        yield (
            f"**{row.row}. {row.title}.** {row.caption} Basis: {basis['samples']} samples, {basis['atoms']} atoms, cooling rates {basis['rates']}, potential "
            f"{basis['potential']}. Estimator: {basis['estimator']}. Uncertainty: {basis['uncertainty']}."
            + (f" Figure: {row.pdf}." if row.pdf else "")
        )


def _missing(rows: Sequence[Shown]) -> Iterator[str]:
    lines = [(", ".join(names), what, command) for what, command, names in missing_together(rows)]
    if lines:
        yield "## What is missing"
        yield _table(("rows", "missing", "command that would produce it"), lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *lines))


def _line(cells: Sequence[str]) -> str:
    safe = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(safe)} |"
