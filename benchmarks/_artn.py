# SPDX-License-Identifier: BSD-3-Clause
"""Searches for saddles from atoms of a glass, one after the other, and what each of them costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from bp_distributed.physics.activation import Event, find_event
from bp_distributed.physics.artn import SearchParameters
from bp_distributed.physics.region import Landscape, Region

REPEATS = 30


@dataclass(frozen=True)
class Cost:
    """Of one search, everything counted: the way, the check of its sides, and settling with free surroundings.

    Seconds are those of the processor, of one thread, as a task of a campaign has.
    """

    event: Event
    seconds: float
    active_forces: float
    """Work in the active region, in evaluations of its forces."""
    outer_forces: float
    """Work with the surroundings free, in evaluations of all of them."""


def one(landscape: Landscape, atom: int, trial: int, parameters: SearchParameters, weights: "Weights") -> Cost:
    """Search from one atom; the push depends on atom and trial alone."""
    with _counted(landscape) as counts, threadpool_limits(1):
        started = time.process_time()
        event = find_event(landscape, atom, trial, 0, parameters)
        seconds = time.process_time() - started
    work = [made.evaluations + weights.product * made.n_products + weights.hessian * n for made, n in counts]
    sizes = [made.n_mobile for made, _ in counts]
    outer = sum(size * spent for size, spent in zip(sizes[1:], work[1:], strict=True)) / min(
        landscape.n_atoms, parameters.outer_atoms
    )
    return Cost(event, seconds, work[0], outer)


@contextmanager
def _counted(landscape: Landscape) -> Iterator[list[list]]:
    """List the regions that are made meanwhile, each with the number of places at which its products are prepared."""
    counts: list[list] = []
    make = landscape.region

    def region(centre: int, radius: float | None) -> Region:
        made = make(centre, radius)
        products, count = made.products, [made, 0]
        counts.append(count)

        def counting(x_mc):
            count[1] += 1
            return products(x_mc)

        made.products = counting
        return made

    landscape.region = region
    try:
        yield counts
    finally:
        del landscape.region


@dataclass(frozen=True)
class Weights:
    """Times of a product and of a preparation of products, each in evaluations, and that of an evaluation in ms."""

    evaluation_ms: float
    product: float
    hessian: float


def weights_of(landscape: Landscape, atom: int, radius: float | None) -> Weights:
    """Measure them in one region."""
    region = landscape.region(atom, radius)
    v_mc = np.random.default_rng(0).standard_normal(region.start_mc.shape)
    product, times = region.products(region.start_mc), {"evaluate": [], "prepare": [], "product": []}
    for _ in range(REPEATS):
        for name, call in (
            ("evaluate", lambda: region.evaluate(region.start_mc)),
            ("prepare", lambda: region.products(region.start_mc)),
            ("product", lambda: product(v_mc)),
        ):
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    median = {name: float(np.median(found)) for name, found in times.items()}
    force = median["evaluate"]
    return Weights(1e3 * force, median["product"] / force, median["prepare"] / force)
