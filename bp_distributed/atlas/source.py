# SPDX-License-Identifier: BSD-3-Clause
"""What the rows of the atlas are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Source:
    """A campaign's data."""

    dataset: xr.Dataset
    """From :mod:`bp_distributed.gather`."""
    potential: str
    """Name and first digits of the sha256 of the potential file."""
    learning: Path
    """Folder of the learning results; need not exist."""
    load: Callable[[str, str], xr.Dataset | None]
    """``load(sample_id, stage)``: the committed result of one stage of one sample, or nothing.

    It holds what the dataset leaves out, such as ``atomic_pdf``.
    """
