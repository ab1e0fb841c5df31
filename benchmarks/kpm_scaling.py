# SPDX-License-Identifier: BSD-3-Clause
"""Density of states of fcc Cu by moments at 1e4, 1e5 and 1e6 atoms: time against size, memory, and the exact answer.

``ours`` is the exponent of the time for assembly, spectral bound and moments against the number of atoms, ``peer``
the exponent allowed.  Every size runs in a process of its own, whose peak memory is told.  The exact answer is the sum
over wave vectors of the very same cell, by the function of ``tests/physics/test_kpm.py``; ``covered`` is the fraction
of frequencies at which it lies within two standard errors.  Neighbouring frequencies share their error, so that one
excursion of chance takes several of them along.

Small systems are measured several times and the least time counts; the largest only once.  The exponent means little
on a busy machine: processor seconds of all threads and the load at the start are told beside it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._glass import potential_file
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.kpm import chebyshev_moments
from bp_distributed.physics.potential import read_potential

TESTS = Path(__file__).resolve().parents[1] / "tests" / "physics"
EDGE = 3.63909  # Å
REPEATS = {14: 5, 29: 3, 63: 1}  # by cells per edge: 10 976, 97 556 and 1 000 188 atoms
N_MOMENTS = 64
N_PROBES = 16
OMEGA = np.linspace(8.0, 44.0, 37)  # rad/ps
ALLOWED = 1.05
TWO_SIGMA = 2.0
FUNCTIONS = ("density", "reduced_density", "count")


def measure(cells: int) -> dict[str, Any]:
    """Return times, memory and deviations; to be called in a process of its own."""
    from small_systems import fcc
    from test_kpm import bloch_frequencies, exact_moments

    potential = read_potential(potential_file(), ["Cu"])
    warm, mass = fcc(EDGE, 4), potential.masses_e[:1]
    chebyshev_moments(
        factored_hessian(warm, potential, masses_i=mass.repeat(256), dtype=np.float32), mass.repeat(256), 4
    )
    crystal = fcc(EDGE, cells)
    masses_i = mass.repeat(crystal.n_atoms)
    load, times = os.getloadavg()[0], []
    for _ in range(REPEATS[cells]):
        start, worked = time.perf_counter(), time.process_time()
        ordered = crystal.reordered(crystal.spatial_order())  # as the vibration stage does
        dynamical = factored_hessian(ordered, potential, masses_i=masses_i, dtype=np.float32)
        assembled = time.perf_counter()
        moments = chebyshev_moments(dynamical, masses_i, N_MOMENTS, N_PROBES, block=N_PROBES)
        done = time.perf_counter()
        times.append((done - start, assembled - start, done - assembled, time.process_time() - worked))
    total, assembly, products, processor = min(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    exact = exact_moments(bloch_frequencies(potential, EDGE, cells), N_MOMENTS, moments.omega_top)
    deviation = {name: _deviation(moments, exact, name) for name in FUNCTIONS}
    return {
        "n_atoms": crystal.n_atoms,
        "total_s": total,
        "assembly_s": assembly,
        "moments_s": products,
        "processor_s": processor,
        "every_total_s": [each[0] for each in times],
        "load": load,
        "peak_gib": peak,
        "operator_bytes_per_atom": dynamical.bytes_per_atom,
        "covered": {name: float((np.abs(of_w) < TWO_SIGMA).mean()) for name, of_w in deviation.items()},
        "largest_deviation": {name: float(np.abs(of_w).max()) for name, of_w in deviation.items()},
        "width_rad_ps": float(moments.width(np.zeros(1))[0]),
        "relative_error": float(np.median(moments.density(OMEGA).error_w / moments.density(OMEGA).value_w)),
    }


def _deviation(moments: Any, exact: Any, name: str) -> Any:
    """Return estimate minus truth in standard errors, at ``OMEGA``."""
    found, truth = (getattr(source, name)(OMEGA) for source in (moments, exact))
    return (found.value_w - truth.value_w) / found.error_w


def run() -> dict[str, object]:
    """Measure all sizes and fit the exponent."""
    sizes = []
    for cells in REPEATS:
        code = f"import json; from benchmarks.kpm_scaling import measure; print(json.dumps(measure({cells})))"
        environment = os.environ | {"PYTHONPATH": str(TESTS)}
        told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
        sizes.append(json.loads(told.stdout.splitlines()[-1]))
    exponent = _exponent(sizes, "total_s")
    detail = {
        "n_moments": N_MOMENTS,
        "n_probes": N_PROBES,
        "precision": "float32",
        "target": ALLOWED,
        "processor_exponent": _exponent(sizes, "processor_s"),
        "sizes": sizes,
    }
    return {
        "row": "kpm_scaling",
        "ours": exponent,
        "peer": ALLOWED,
        "ratio": ALLOWED / exponent,
        "unit": "exponent",
        "detail": detail,
    }


def _exponent(sizes: list[dict[str, Any]], seconds: str) -> float:
    logs = np.log([[size["n_atoms"], size[seconds]] for size in sizes])
    return float(np.polyfit(*logs.T, 1)[0])
