# SPDX-License-Identifier: BSD-3-Clause
"""A campaign of one small given glass, and its steps run piece by piece."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_campaign import write_campaign

from bp_distributed.config import default_potential
from bp_distributed.driver import Ending
from bp_distributed.errors import ConfigError
from bp_distributed.physics.configuration import Configuration, write_lammps_data

N_ATOMS = 108
HEAD = """\
name: stage
samples: [{label: given, structures: [alloy.data], elements: [Cu, Zr], cooling_rates: [1e13]}]
"""


def given_campaign(folder: Path, sections: str):
    """Run all stages of an alloy on displaced fcc sites, which relaxes to a disordered minimum."""
    try:
        default_potential()
    except ConfigError as error:
        pytest.skip(str(error))
    folder.mkdir()
    rng = np.random.default_rng(4)
    corner = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    sites = (corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3)
    positions_ic = 4.15 * sites + rng.normal(scale=0.1, size=sites.shape)
    alloy = Configuration(positions_ic, 12.45 * np.eye(3), rng.permutation(np.arange(N_ATOMS) % 2), ("Cu", "Zr"))
    write_lammps_data(folder / "alloy.data", alloy, np.array([63.546, 91.224]))
    campaign = write_campaign(folder, HEAD + sections)
    assert campaign.run(workers=0) is Ending.FINISHED
    return campaign


@functools.cache
def moving_campaign(base: Path):
    """Return the campaign whose glass is warmed, and whose atoms move; tests of one process share it."""
    sections = """\
protocol: {checkpoint_steps: 1000, history_steps: 20}
stages: [relax, vibration, temperatures, trajectory]
vibration: {bin_width: 1, omega_cut: 15}
temperatures: {series: [20, 1500 K], heating: 1.5, relaxation: 0.5}
trajectory: {temperature: 50, heating: 0.2, equilibration: 0.6, duration: 3.2, sampling: 0.08}
"""
    return given_campaign(base / "moving", sections)


def in_slices(campaign, stage: str, folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Run a stage of the glass again under deadlines that leave each process one slice.

    Returns the status of every process, and what the last one left.
    """
    (sample,) = campaign.store.plan.samples
    (task,) = [task for task in campaign.store.plan.tasks if task.stage == stage]
    glass = campaign.load(sample.sid, "relax")
    statuses: list[str] = []
    while "done" not in statuses:
        assert len(statuses) < 20, "it never ended"
        piece = folder / str(len(statuses))
        piece.mkdir(parents=True)
        shutil.copyfile(default_potential(), piece / task.request["potential_file"])
        earlier = [str(folder / str(number)) for number in reversed(range(len(statuses)))]
        request = {**task.request, "resume_from": earlier, "deadline": time.time(), "fresh": True}
        (piece / "request.json").write_text(json.dumps(request))
        with (piece / "inputs.npz").open("wb") as file:
            np.savez(file, **{name: glass[name].to_numpy() for name in ("position", "cell", "species")})
        command = [sys.executable, "-m", "bp_distributed.physics", stage]
        subprocess.run(command, cwd=piece, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        statuses.append(json.loads((piece / "verdict.json").read_text())["status"])
    with np.load(piece / "arrays.npz") as stored:
        return statuses, {name: stored[name] for name in stored.files}
