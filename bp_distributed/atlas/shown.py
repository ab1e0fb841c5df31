# SPDX-License-Identifier: BSD-3-Clause
"""What page and text are made of: where the numbers come from, and the rows as they are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bp_distributed.atlas.panel import Claim, Verdict


@dataclass(frozen=True)
class Provenance:
    """Where the numbers of an atlas come from."""

    name: str
    root: str
    campaign_uuid: str = ""
    plan_sha256: str = ""
    potential_label: str = "unknown"
    potential_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    config_text: str = ""


@dataclass(frozen=True)
class Shown:
    """One row as the page shows it."""

    row: str
    title: str
    missing: str = ""
    command: str = ""
    caption: str = ""
    basis: Mapping[str, Any] = field(default_factory=dict)
    claims: Sequence[Claim] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    image: str = ""
    width: int = 0
    pdf: str = ""
    pdf_sha256: str = ""

    @property
    def counts(self) -> Counter[Verdict]:
        """Claims by verdict."""
        return Counter(claim.verdict for claim in self.claims)


def missing_together(rows: Sequence[Shown]) -> list[tuple[str, str, list[str]]]:
    """Return what is missing and the command for it, with the rows that lack the same."""
    together: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.missing:
            together.setdefault((row.missing, row.command), []).append(row.row)
    return [(what, command, names) for (what, command), names in together.items()]
