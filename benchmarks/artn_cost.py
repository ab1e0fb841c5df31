# SPDX-License-Identifier: BSD-3-Clause
"""Searches from random atoms of a glass of 4000 atoms: core-seconds per success, everything counted.

That is the searches that fail, and the check of those that do not (index, and both sides relaxed).  The peer is the
target.  A force-equivalent is one evaluation of energy and forces; a product with the Hessian, and its preparation,
count by measured time.
"""

from collections import Counter

import numpy as np

from benchmarks._artn import force_equivalents, in_forces, one
from benchmarks._glass import glass
from bp_distributed.physics.artn import Code, SearchParameters
from bp_distributed.physics.region import Landscape

ATOMS, TRIALS = 30, 4
ALLOWED_S, ALLOWED_FORCES, CONNECTED = 1.0, 250.0, 0.75


def run() -> dict:
    parameters = SearchParameters()
    landscape, rng = Landscape(*glass(4000)), np.random.default_rng(0)
    weights = in_forces(landscape, 0, parameters.active_radius)
    atoms = rng.choice(4000, ATOMS, replace=False)
    costs = [one(landscape, int(atom), seed, parameters.active_radius, parameters) for atom in atoms
             for seed in range(TRIALS)]  # fmt: skip
    good = [cost for cost in costs if cost.code is Code.SUCCESS]
    seconds = sum(cost.seconds + cost.check_seconds for cost in costs) / len(good)
    ways, checks = np.array([force_equivalents(cost, weights) for cost in good]).T
    detail = {
        "searches": len(costs),
        "codes": dict(Counter(cost.code.name for cost in costs)),
        "connected_share": sum(cost.connected for cost in good) / len(good),
        "seconds_per_search": float(np.mean([cost.seconds for cost in costs])),
        "seconds_per_check": float(np.mean([cost.check_seconds for cost in good])),
        "median_force_equivalents": float(np.median(ways)),
        "median_force_equivalents_with_check": float(np.median(ways + checks)),
        "forces_per_success_with_failures": sum(force_equivalents(cost, weights)[0] for cost in costs) / len(good),
        "median_barrier_eV": float(np.median([cost.energy for cost in good if cost.connected])),
        "weights": weights,
        "target": f"<= {ALLOWED_S} s per success, median <= {ALLOWED_FORCES} force-equivalents, "
        f">= {CONNECTED} of successes connected",
    }
    return {"row": "artn_cost", "ours": seconds, "peer": ALLOWED_S, "ratio": ALLOWED_S / seconds,
            "unit": "core-s per success", "detail": detail}  # fmt: skip
