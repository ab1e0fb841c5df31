# SPDX-License-Identifier: BSD-3-Clause
"""One row of the papers' checklists as the atlas shows it: figure, numbers, claims, and what they stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Verdict(StrEnum):
    """What our data say of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decidable at this size"


@dataclass(frozen=True)
class Claim:
    """One statement of a paper beside ours."""

    text: str
    """What the paper says, in one sentence."""
    paper: str
    """Its value, with unit; ``"-"`` where it gives none."""
    ours: str
    """Our value, with unit, uncertainty and count."""
    comparable: bool
    """Whether the two values may be compared as numbers."""
    why: str
    """Why they may, or may not; and what decided the verdict."""
    verdict: Verdict


@dataclass(frozen=True)
class Basis:
    """What the numbers of a panel stand on."""

    samples: int
    atoms: str
    """Such as ``"864"``, or ``"864 to 4000"``."""
    rates: str
    """Cooling rates with unit."""
    potential: str
    estimator: str
    """How the numbers were obtained, with its parameters."""
    uncertainty: str
    """What the uncertainties are: level, what was resampled."""


@dataclass(frozen=True)
class Panel:
    """A row that the campaign's data fill.

    ``values`` go into ``atlas.json``: numbers, texts, lists and mappings of them; units are part of the names.
    """

    row: str
    """``"T1"`` .. ``"T15"``, ``"Y1"`` .. ``"Y13"``."""
    title: str
    caption: str
    basis: Basis
    claims: tuple[Claim, ...]
    draw: Callable[[], Figure] | None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """A row whose data are not there."""

    row: str
    title: str
    what: str
    """What is missing, in one sentence."""
    command: str
    """What would produce it: a command, or a key of ``campaign.yaml`` and a command."""
