# SPDX-License-Identifier: BSD-3-Clause
"""Searches for saddles from atoms of a glass, one after the other, and what each of them costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bp_distributed.physics.activation import Event, find_event
from bp_distributed.physics.artn import SearchParameters
from bp_distributed.physics.region import Landscape, Region

REPEATS = 30


@dataclass(frozen=True)
class Cost:
    """Of one search, everything counted: the way, the check of its sides, and settling with free surroundings."""

    event: Event
    seconds: float
    active_forces: float
    """Work in the active region, in evaluations of its forces."""
    outer_forces: float
    """Work with the surroundings free, in evaluations of theirs."""


def one(landscape: Landscape, atom: int, trial: int, parameters: SearchParameters, weights: "Weights") -> Cost:
    """Search from one atom; the push depends on atom and trial alone."""
    with _counted(landscape) as prepared:
        started = time.perf_counter()
        event = find_event(landscape, atom, trial, 0, parameters)
        seconds = time.perf_counter() - started
    active = event.evaluations + weights.product * event.n_products + weights.hessian * prepared[0]
    outer = 0.0
    if event.saddle is not None:
        outer = event.saddle.evaluations + weights.product * event.saddle.n_products + weights.hessian * prepared[1]
    return Cost(event, seconds, active, outer)


@contextmanager
def _counted(landscape: Landscape) -> Iterator[list[int]]:
    """Count the places at which products are prepared, for each region that is made meanwhile."""
    prepared: list[int] = []
    make = landscape.region

    def region(centre: int, radius: float | None) -> Region:
        made = make(centre, radius)
        products, number = made.products, len(prepared)
        prepared.append(0)

        def counting(x_mc):
            prepared[number] += 1
            return products(x_mc)

        made.products = counting
        return made

    landscape.region = region
    try:
        yield prepared
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
