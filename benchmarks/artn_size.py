# SPDX-License-Identifier: BSD-3-Clause
"""The same searches in a glass of 4000 atoms and in five copies of it side by side, and in a glass of 19,652 atoms.

The copies have the same atoms around every atom, so that searches differ in the size of the sample alone; in another
glass they differ by chance as well.  Interleaved; mean seconds per search, and the ratio of the totals.
"""

import numpy as np

from benchmarks._artn import one, weights_of
from benchmarks._glass import glass
from bp_distributed.physics.artn import SearchParameters
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.region import Landscape

ATOMS, COPIES = 60, 5
ALLOWED = 1.15
SAME = 1e-6  # eV


def side_by_side(sample: Configuration) -> Configuration:
    """Return copies of a sample along its first lattice vector; the first copy's atoms come first."""
    positions = np.concatenate([sample.positions_ic + copy * sample.cell_cc[0] for copy in range(COPIES)])
    cell_cc = sample.cell_cc * np.array([[COPIES], [1], [1]])
    return Configuration(positions, cell_cc, np.tile(sample.species_i, COPIES), sample.elements)


def run() -> dict:
    parameters, rng = SearchParameters(), np.random.default_rng(1)
    (sample, potential), (large, _) = glass(4000), glass(19652)
    landscapes = {
        "4000": Landscape(sample, potential),
        "copies": Landscape(side_by_side(sample), potential),
        "19652": Landscape(large, potential),
    }
    weights = {name: weights_of(found, 0, parameters.active_radius) for name, found in landscapes.items()}
    costs = {name: [] for name in landscapes}
    for atom in rng.choice(4000, ATOMS, replace=False):
        for name, landscape in landscapes.items():
            costs[name].append(one(landscape, int(atom), 0, parameters, weights[name]))
    mean = {name: float(np.mean([cost.seconds for cost in found])) for name, found in costs.items()}
    forces = {
        name: float(np.mean([cost.active_forces + cost.outer_forces for cost in found]))
        for name, found in costs.items()
    }
    pairs = zip(costs["4000"], costs["copies"], strict=True)
    same = sum(
        a.event.search.code == b.event.search.code
        and np.isclose(a.event.search.energy, b.event.search.energy, rtol=0, atol=SAME, equal_nan=True)
        for a, b in pairs
    )
    detail = {
        "searches_each": ATOMS,
        "mean_seconds": mean,
        "seconds_ratio_of_copies": mean["copies"] / mean["4000"],
        "mean_force_equivalents": forces,
        "searches_with_equal_end_in_copies": int(same),
        "target": f"<= {ALLOWED} times the cost at 4000 atoms",
    }
    ratio = mean["19652"] / mean["4000"]
    return {"row": "artn_size", "ours": ratio, "peer": ALLOWED, "ratio": ALLOWED / ratio, "unit": "times the cost",
            "detail": detail}  # fmt: skip
