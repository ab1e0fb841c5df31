# SPDX-License-Identifier: BSD-3-Clause
"""Searches for saddles from atoms of a glass, one after the other, and what each of them costs."""

import time
from dataclasses import dataclass

import numpy as np

from bp_distributed.physics.artn import Code, SearchParameters, push_direction, search
from bp_distributed.physics.region import Landscape, Region
from bp_distributed.physics.saddle import explore

REPEATS = 30


@dataclass(frozen=True)
class Cost:
    """Of one search: the way to the saddle, and the check that follows success."""

    seconds: float
    check_seconds: float
    evaluations: int
    products: int
    hessians: int
    """Places at which products were prepared."""
    check_evaluations: int
    check_products: int
    check_hessians: int
    code: Code
    connected: bool
    energy: float


def one(landscape: Landscape, atom: int, seed: int, radius: float | None, parameters: SearchParameters) -> Cost:
    """Search from one atom; the push depends on atom and seed alone."""
    started = time.perf_counter()
    region = landscape.region(atom, radius)
    prepared = count_hessians(region)
    distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
    push_mc = push_direction(distance_m, parameters, np.random.default_rng((seed, atom)))
    found = search(region, push_mc, parameters)
    half, counts = time.perf_counter(), (region.evaluations, region.n_products, len(prepared))
    connected = False
    if found.mode is not None and np.isfinite(found.refined_energy):
        ends = explore(region, found.saddle_mc, found.mode, parameters.push_over)
        near = ends.displacement_e[0] < parameters.connected_displacement
        connected = bool(ends.index == 1 and near and abs(ends.energy_e[0]) < parameters.connected_energy)
    check = region.evaluations - counts[0], region.n_products - counts[1], len(prepared) - counts[2]
    end = time.perf_counter()
    return Cost(half - started, end - half, *counts, *check, found.code, connected, found.refined_energy)


def count_hessians(region: Region) -> list[None]:
    """Return a list that grows with each place at which products are prepared."""
    prepared: list[None] = []
    products = region.products

    def counted(x_mc):
        prepared.append(None)
        return products(x_mc)

    region.products = counted
    return prepared


def in_forces(landscape: Landscape, atom: int, radius: float | None) -> dict[str, float]:
    """Return the times of a product and of a preparation of products, each in evaluations, and that of one in ms."""
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
    return {"evaluation_ms": 1e3 * force, "product": median["product"] / force, "hessian": median["prepare"] / force}


def force_equivalents(cost: Cost, weights: dict[str, float]) -> tuple[float, float]:
    """Return what a search, and its check, cost in evaluations."""
    way = cost.evaluations + weights["product"] * cost.products + weights["hessian"] * cost.hessians
    check = cost.check_evaluations + weights["product"] * cost.check_products + weights["hessian"] * cost.check_hessians
    return way, check
