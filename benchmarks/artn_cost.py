# SPDX-License-Identifier: BSD-3-Clause
"""Searches from random atoms of a glass of 4000 atoms: core-seconds per success, everything counted.

That is the searches that fail, the check of those that do not (index, and both sides relaxed), and settling with the
surroundings free.  The peer is the target.  A force-equivalent is one evaluation of energy and forces of the atoms that
move; a product with the Hessian, and its preparation, count by measured time.
"""

from collections import Counter
from dataclasses import asdict

import numpy as np

from benchmarks._artn import one, weights_of
from benchmarks._glass import glass
from bp_distributed.physics.artn import Code, SearchParameters
from bp_distributed.physics.newton import newton_minimum
from bp_distributed.physics.region import Landscape

ATOMS, TRIALS = 30, 4
ALLOWED_S, ALLOWED_FORCES, CONNECTED = 1.0, 250.0, 0.75


def run() -> dict:
    parameters = SearchParameters()
    sample, potential = glass(4000)
    landscape, rng = Landscape(newton_minimum(sample, potential, 1e-7), potential), np.random.default_rng(0)
    weights = weights_of(landscape, 0, parameters.active_radius)
    atoms = rng.choice(4000, ATOMS, replace=False)
    costs = [one(landscape, int(atom), trial, parameters, weights) for atom in atoms for trial in range(TRIALS)]
    good = [cost for cost in costs if cost.event.code is Code.SUCCESS]
    seconds = sum(cost.seconds for cost in costs) / len(good)
    region_error = [cost.event.search.refined_energy - cost.event.refined_energy for cost in good]
    detail = {
        "searches": len(costs),
        "codes": dict(Counter(cost.event.code.name for cost in costs)),
        "connected_share": float(np.mean([cost.event.connected(parameters) for cost in good])),
        "median_force_equivalents_active": float(np.median([cost.active_forces for cost in good])),
        "median_force_equivalents_outer": float(np.median([cost.outer_forces for cost in good])),
        "median_barrier_eV": float(np.median([cost.event.refined_energy for cost in good])),
        "median_excess_of_frozen_surroundings_eV": float(np.median(region_error)),
        "weights": asdict(weights),
        "target": f"<= {ALLOWED_S} s per success, median <= {ALLOWED_FORCES} force-equivalents, "
        f">= {CONNECTED} of successes connected",
    }
    return {"row": "artn_cost", "ours": seconds, "peer": ALLOWED_S, "ratio": ALLOWED_S / seconds,
            "unit": "core-s per success", "detail": detail}  # fmt: skip
