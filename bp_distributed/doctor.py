# SPDX-License-Identifier: BSD-3-Clause
"""``bpd doctor``: does this machine have what a campaign needs?  Every line that fails names its cure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
from rich.console import Console

from bp_distributed import durable
from bp_distributed.campaign import CONFIG_NAME, Campaign, run_step, versions
from bp_distributed.cluster import default_workers
from bp_distributed.config import default_potential
from bp_distributed.errors import CampaignError, InfrastructureError
from bp_distributed.slepc_build import slepc_home

SMALL_DISK_BYTES = 2 << 30


def examine(folder: Path) -> int:
    """Print one line per check; return 0 when everything a campaign needs is there, else 2."""
    console = Console(highlight=False)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("libraries", _libraries),
        ("machine", _machine),
        ("folder", lambda: _folder(folder)),
        ("potential and LAMMPS", lambda: _lammps(folder)),
        ("Keras", _keras),
        ("SLEPc", _slepc),
        ("configuration", lambda: _configuration(folder)),
    ]
    wrong = 0
    for name, check in checks:
        try:
            console.print(f"[green]ok[/green]    {name}: {check()}")
        except (CampaignError, ImportError, OSError) as error:
            wrong += 1
            console.print(f"[red]wrong[/red] {name}: {error}")
    if os.getuid() == 0:
        console.print("note  you are root: LAMMPS advises against it outside containers (its SECURITY.md)")
    return 2 if wrong else 0


def _libraries() -> str:
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _machine() -> str:
    memory = psutil.virtual_memory()
    return f"{default_workers()} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"


def _folder(folder: Path) -> str:
    where = folder if folder.is_dir() else folder.parent
    findings = durable.self_test(where)
    free = shutil.disk_usage(where).free
    room = "" if free > SMALL_DISK_BYTES else " (little: a campaign of 4000-atom samples takes about 10 MB per sample)"
    return f"{where.absolute()}: {free / 2**30:.1f} GiB free{room}; {'; '.join(findings)}"


def _lammps(folder: Path) -> str:
    campaign = Campaign(folder)
    path = campaign.plan().potential.path if campaign.config_path.is_file() else default_potential()
    elements = list(campaign.plan().potential.elements) if campaign.config_path.is_file() else ["Cu", "Zr"]
    run_step("dry_run", {"elements": elements}, path)
    return f"{path.name} runs"


def _keras() -> str:
    import importlib.util  # noqa: PLC0415

    backends = [name for name in ("jax", "tensorflow", "torch") if importlib.util.find_spec(name)]
    if importlib.util.find_spec("keras") is None or not backends:
        raise ImportError(
            "Keras or a backend is missing: pip install 'bp_distributed[train]' (only 'bpd train' needs it)"
        )
    return f"backends here: {', '.join(backends)}"


def _slepc() -> str:
    try:
        site = slepc_home().site
    except InfrastructureError as missing:  # only solves over several nodes need it
        return missing.what
    return "from this environment" if site is None else f"in {site}"


def _configuration(folder: Path) -> str:
    campaign = Campaign(folder)
    if not campaign.config_path.is_file():
        return f"no {CONFIG_NAME} in {folder.absolute()} yet; 'bpd init' makes one"
    plan = campaign.plan()
    return f"{len(plan.samples)} samples, {len(plan.tasks)} tasks"
