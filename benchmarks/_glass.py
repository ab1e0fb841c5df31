# SPDX-License-Identifier: BSD-3-Clause
"""The glasses and the potential of paper size, found by environment variable or beside the repository."""

import os
from pathlib import Path

from bp_distributed.physics.configuration import Configuration, read_configuration
from bp_distributed.physics.potential import EAMPotential, read_potential

SHARED = Path(__file__).resolve().parents[2] / "shared"


def potential_file() -> Path:
    """Return the path of Cu-Zr_4.eam.fs."""
    return Path(os.environ.get("BPD_POTENTIALS", SHARED / "potentials")) / "Cu-Zr_4.eam.fs"


def glass(n_atoms: int) -> tuple[Configuration, EAMPotential]:
    """Return a glass of 4000 or 19 652 atoms, in the spatial order that the vibration stage makes, and its potential."""
    name = {4000: "cu50zr50_n4000_melt1_branch00.data", 19652: "cu50zr50_n19652_fast.data"}[n_atoms]
    potential = read_potential(potential_file())
    folder = Path(os.environ.get("BPD_GLASSES", SHARED / "glasses"))
    sample = read_configuration(folder / name, potential.elements)
    return sample.reordered(sample.spatial_order()), potential
