# SPDX-License-Identifier: BSD-3-Clause
"""Small campaigns, with real steps or with toy ones."""

import sys
from pathlib import Path

import pytest
from small_campaign import write_campaign

TOY = Path(__file__).with_name("toy_step.py")


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
