# SPDX-License-Identifier: BSD-3-Clause
"""Small campaigns, with real steps or with toy ones."""

import sys
from pathlib import Path

import pytest

from bp_distributed.campaign import Campaign

TOY = Path(__file__).with_name("toy_step.py")
SHARED = Path(__file__).parents[2] / "shared"

SMALL = """\
name: small
potential: default
samples:
  - label: glass
    composition: {Cu: 50, Zr: 50}
    n_atoms: 108
    cooling_rates: [5e14, 2.5e14]
    replicas: 2
    melts: 2
protocol: {heating: 1, hold: 6, branch_spacing: 1, barostat: iso, checkpoint_steps: 500, history_steps: 50}
vibration: {bin_width: 1.0, omega_cut: 15}
training: {hidden: [4], epochs: 10, patience: 5, repeats: 1, folds: 2}
"""


def write_campaign(folder: Path, text: str = SMALL) -> Campaign:
    folder.mkdir(exist_ok=True)
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    return Campaign(folder)


@pytest.fixture
def toy_steps(monkeypatch):
    """Replace every heavy step by a toy; everything around it is real."""
    monkeypatch.setattr("bp_distributed.tasks.step_command", lambda step: [sys.executable, str(TOY), step])


@pytest.fixture
def campaign(tmp_path, toy_steps):
    """A planned campaign of 4 samples from 2 melts, 14 tasks, with toy steps."""
    return write_campaign(tmp_path / "campaign")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep calibrations of tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
