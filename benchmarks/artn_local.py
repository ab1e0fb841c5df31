# SPDX-License-Identifier: BSD-3-Clause
"""Searches in an active region, settled with surroundings free, against searches with all 19,652 atoms moving.

From the same pushes, both ours, with the same loops; interleaved; seconds of one core.  The whole-sample search ends
at its saddle and is not checked.  Paths differ after a while, so the ratio is that of total seconds.
"""

import time

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._glass import glass
from bp_distributed.physics.activation import find_event
from bp_distributed.physics.artn import Search, SearchParameters, push_direction, search
from bp_distributed.physics.region import Landscape

ATOMS = 4


def whole(landscape: Landscape, atom: int, parameters: SearchParameters) -> Search:
    """Search with every atom free."""
    region = landscape.region(atom, None)
    distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
    return search(region, push_direction(distance_m, parameters, np.random.default_rng([0, atom, 0])), parameters)


def run() -> dict:
    parameters, rng = SearchParameters(), np.random.default_rng(2)
    landscape = Landscape(*glass(19652))
    seconds, ends = {"local": [], "whole": []}, {"local": [], "whole": []}
    for atom in rng.choice(landscape.n_atoms, ATOMS, replace=False):
        with threadpool_limits(1):
            started = time.process_time()
            event = find_event(landscape, int(atom), 0, 0, parameters)
            half = time.process_time()
            found = whole(landscape, int(atom), parameters)
        seconds["local"].append(half - started)
        seconds["whole"].append(time.process_time() - half)
        ends["local"].append(event.code.name)
        ends["whole"].append(found.code.name)
    ours, peer = (float(np.mean(seconds[name])) for name in ("local", "whole"))
    return {"row": "artn_local", "ours": ours, "peer": peer, "ratio": peer / ours, "unit": "s per search",
            "detail": {"searches": ATOMS, "seconds": seconds, "codes": ends, "target": ">= 10 times"}}  # fmt: skip
