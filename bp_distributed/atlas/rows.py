# SPDX-License-Identifier: BSD-3-Clause
"""All rows of the papers' checklists in their order, and where each is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from bp_distributed.atlas.panel import Missing, Panel
from bp_distributed.errors import CampaignError

if TYPE_CHECKING:
    from bp_distributed.atlas.source import Source

PAPERS = {
    "T": "Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), doi 10.1103/PhysRevResearch.5.023113",
    "Y": "Yang, Wang and Zaccone, Phys. Rev. B 105, 014204 (2022), doi 10.1103/PhysRevB.105.014204",
}


@dataclass(frozen=True)
class Row:
    """One row: ``t4`` of ``room`` makes the row ``T4``."""

    row: str
    title: str
    room: str

    def make(self, source: Source) -> Panel | Missing:
        """Return the row from a campaign's data; what these refuse to show is missing."""
        room = import_module(f"bp_distributed.atlas.{self.room}")
        made: Callable[[Source], Panel | Missing] = getattr(room, self.row.lower())
        try:
            return made(source)
        except CampaignError as error:
            return Missing(self.row, self.title, str(error), "bpd run, then bpd atlas")


ROWS = (
    Row("T1", "Samples: melt, quench, minimise", "tao_samples"),
    Row("T2", "Large samples", "tao_samples"),
    Row("T3", "Vibrational density of states and cooling rate", "tao_vibrations"),
    Row("T4", "Boson-peak intensity and frequency against cooling rate", "tao_vibrations"),
    Row("T5", "Rejected spectra", "tao_rejections"),
    Row("T6", "Partial pair distribution functions", "tao_inputs"),
    Row("T7", "Participation ratios of the lowest modes", "tao_inputs"),
    Row("T8", "Binary participation ratio: the threshold", "tao_learning"),
    Row("T9", "Four inputs compared", "tao_learning"),
    Row("T10", "Predicted against true intensity", "tao_learning"),
    Row("T11", "Error against the cutoff of the pair distribution", "tao_learning"),
    Row("T12", "Atomic density of states and atomic intensity", "tao_atomic"),
    Row("T13", "Learning the atomic intensity", "tao_atoms"),
    Row("T14", "Surroundings of atoms with high and low intensity", "tao_atoms"),
    Row("T15", "What a single neuron learns", "tao_atoms"),
    Row("Y1", "Glasses of other compositions and cooling rates", "yang_samples"),
    Row("Y2", "Reduced density of states and the Debye level", "yang_samples"),
    Row("Y3", "Activation energies of atoms with high and low intensity", "yang_activation"),
    Row("Y4", "Correlation against the coarse-graining length", "yang_activation"),
    Row("Y5", "Activation energy against inverse intensity", "yang_activation"),
    Row("Y6", "Maps and the length of decay", "yang_activation"),
    Row("Y7", "Robustness in composition and cooling rate", "yang_activation"),
    Row("Y8", "One picosecond at 100 K: anharmonic basins and strings", "yang_dynamics"),
    Row("Y9", "Inherent structures at temperatures, and the glass transition", "yang_dynamics"),
    Row("Y10", "Potential of mean force", "yang_dynamics"),
    Row("Y11", "Grüneisen parameters of modes", "yang_gruneisen"),
    Row("Y12", "Running mean of the Grüneisen parameters", "yang_gruneisen"),
    Row("Y13", "Atomic Grüneisen parameter against atomic intensity", "yang_atoms"),
)


def title_of(row: str) -> str:
    """Return the title of a row."""
    return next(one.title for one in ROWS if one.row == row)
