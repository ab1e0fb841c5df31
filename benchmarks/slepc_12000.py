# SPDX-License-Identifier: BSD-3-Clause
"""Modes below 10 rad/ps of a 4000-atom Cu-Zr glass: SLEPc over 2 MPI ranks against ``normal_modes``.

The two share the product's mathematics but no solver, so their agreement is the point; the ratio is of times.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._glass import glass
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import normal_modes
from bp_distributed.physics.slepc import slepc_modes

OMEGA_CUT = 10.0  # rad/ps
RANKS = 2


def run() -> dict[str, object]:
    """Solve once with each; seconds."""
    sample, potential = glass(4000)
    masses_i = potential.masses_e[sample.species_i]
    hessian = factored_hessian(sample, potential)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = slepc_modes(hessian, masses_i, OMEGA_CUT, ranks=RANKS, workdir=Path(folder))
        ours = time.perf_counter() - started
        verdict = json.loads((Path(folder) / "slepc" / "verdict.json").read_text(encoding="utf-8"))
    started = time.perf_counter()
    other = normal_modes(hessian, masses_i, OMEGA_CUT)
    peer = time.perf_counter() - started
    n_modes = len(other.vectors_kic)
    same = len(found.frequency_k) == n_modes
    difference = np.abs(found.frequency_k / other.frequency_k[:n_modes] - 1.0).max() if same else np.inf
    detail = {
        "n_atoms": sample.n_atoms,
        "ranks": RANKS,
        "n_modes": [len(found.frequency_k), n_modes],
        "max_relative_difference": float(difference),
        "residual": found.residual,
        "orthogonality": found.orthogonality,
        "certificate": found.certificate,
        "peer_solver": other.solver,
        "ranks_said": verdict,
    }
    return {"row": "slepc_12000", "ours": ours, "peer": peer, "ratio": peer / ours, "unit": "s", "detail": detail}
