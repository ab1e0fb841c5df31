# SPDX-License-Identifier: BSD-3-Clause
"""Searches in an active region against the same searches, from the same pushes, with all 19,652 atoms moving.

Both are ours, with the same loops; interleaved.  Paths differ after a while, so the ratio is that of total seconds;
that of seconds per force-equivalent stands beside it.
"""

import numpy as np

from benchmarks._artn import force_equivalents, in_forces, one
from benchmarks._glass import glass
from bp_distributed.physics.artn import SearchParameters
from bp_distributed.physics.region import Landscape

ATOMS = 4


def run() -> dict:
    parameters, rng = SearchParameters(), np.random.default_rng(2)
    landscape = Landscape(*glass(19652))
    radii, costs = {"local": parameters.active_radius, "whole": None}, {"local": [], "whole": []}
    for atom in rng.choice(landscape.n_atoms, ATOMS, replace=False):
        for name, radius in radii.items():
            costs[name].append(one(landscape, int(atom), 0, radius, parameters))
    seconds = {name: sum(cost.seconds for cost in found) for name, found in costs.items()}
    per_force = {}
    for name, radius in radii.items():
        weights = in_forces(landscape, 0, radius)
        per_force[name] = 1e3 * seconds[name] / sum(force_equivalents(cost, weights)[0] for cost in costs[name])
    detail = {
        "searches": ATOMS,
        "seconds": {name: [cost.seconds for cost in found] for name, found in costs.items()},
        "codes": {name: [cost.code.name for cost in found] for name, found in costs.items()},
        "barriers_eV": {
            name: [cost.energy if cost.energy > 0 else None for cost in found] for name, found in costs.items()
        },
        "ms_per_force_equivalent": per_force,
        "target": ">= 10 times",
    }
    ours, peer = seconds["local"] / ATOMS, seconds["whole"] / ATOMS
    return {"row": "artn_local", "ours": ours, "peer": peer, "ratio": peer / ours, "unit": "s per search",
            "detail": detail}  # fmt: skip
