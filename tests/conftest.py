# SPDX-License-Identifier: BSD-3-Clause
"""Small campaigns, with real steps or with toy ones."""

import os
import sys
from pathlib import Path

# Two test processes share two cores: threads that wait by spinning steal each other's time, up to eighty-fold.
# Read when the first library with OpenMP is loaded, hence before any import that might.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
from slurm_campaign import end_drivers
from slurm_site import slurm_session, slurm_site  # noqa: F401 - fixtures
from small_campaign import write_campaign

from bp_distributed.errors import InfrastructureError
from bp_distributed.slepc_build import slepc_home

USER_CACHE = os.environ.get("XDG_CACHE_HOME")
TOY = Path(__file__).with_name("toy_step.py")


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the marks here
def pytest_collection_modifyitems(items):
    """Keep the tests of a file in one process, as their shared fixtures are dear; those on Slurm share one Slurm.

    These take longest and wait most, so they come first.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args[0] != "slurm")


def pytest_collection_finish(session):
    """Refuse a pytest that ignores the groups in silence, as 9.2 does with xdist 3.8 (pytest-xdist issue 1386)."""
    if hasattr(session.config, "workerinput") and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist does not group tests with this pytest; install the locked ones")


@pytest.fixture(autouse=True)
def no_driver_left():
    """A failed test leaves no driver to the next one."""
    yield
    end_drivers()


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


@pytest.fixture
def built_slepc(own_cache, monkeypatch):
    """The SLEPc that 'make slepc' put into the user's cache, which other tests do not see."""
    if USER_CACHE is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", USER_CACHE)
    try:
        return slepc_home()
    except InfrastructureError as missing:
        pytest.skip(str(missing))
