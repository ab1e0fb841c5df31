# SPDX-License-Identifier: BSD-3-Clause
"""Atom-steps per second of a melt through the runner against bare ``lmp`` on the same input.

Ours is the whole child process as production runs it: interpreter start, imports, slices, durable checkpoints,
thermodynamic history, result arrays and verdict.  The peer is ``lmp -in`` from start to end: same potential,
pair style, neighbour skin, atoms, temperature program and thermodynamic output, in two uncut runs.
"""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bp_distributed.child import child_environment, run_child, step_command
from bp_distributed.config import default_potential
from bp_distributed.physics.quench import Dynamics, fcc_start, melt_segments

ROUNDS = 3
REQUEST = {
    "potential_file": "potential.eam.fs", "elements": ["Cu", "Zr"], "composition": {"Cu": 0.5, "Zr": 0.5},
    "n_atoms": 500, "temperature_K": 2000.0, "heating_ps": 4.0, "hold_ps": 26.0, "branches": 1, "branch_spacing_ps": 10.0,
    "timestep_fs": 2.0, "barostat": "iso", "thermostat_ps": 0.1, "barostat_ps": 1.0, "checkpoint_steps": 5000,
    "history_steps": 100, "seed": 7, "resume_from": [],
}  # fmt: skip
STEPS = 15_000

INPUT = """\
units metal
atom_style atomic
atom_modify map array
boundary p p p
read_data start.data
pair_style eam/fs
pair_coeff * * potential.eam.fs Cu Zr
neighbor 1.0 bin
velocity all create 10.0 7 mom yes
timestep 0.002
thermo_style custom step temp pe vol press
thermo 100
fix heat all npt temp 10 2000 0.1 iso 0 0 1.0
run 2000
unfix heat
fix hold all npt temp 2000 2000 0.1 iso 0 0 1.0
run 13000
"""


def write_start(folder: Path) -> None:
    """Write the atoms that ``melt_step`` starts from."""
    positions_ic, cell_cc, species_i = fcc_start(REQUEST)
    lines = ["fcc start", "", f"{len(positions_ic)} atoms", "2 atom types", ""]
    lines += [f"0 {float(cell_cc[i, i])!r} {axis}lo {axis}hi" for i, axis in enumerate("xyz")]
    lines += ["", "Atoms # atomic", ""]
    for number, (species, (x, y, z)) in enumerate(zip(species_i, positions_ic, strict=True), start=1):
        lines.append(f"{number} {species + 1} {float(x)!r} {float(y)!r} {float(z)!r}")
    (folder / "start.data").write_text("\n".join(lines) + "\n")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of the processes that ``work`` starts and waits for."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(folder: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of one melt through the runner."""
    folder.mkdir()
    shutil.copyfile(default_potential(), folder / "potential.eam.fs")
    (folder / "request.json").write_text(json.dumps(REQUEST))
    found = timed(lambda: run_child(step_command("melt"), folder, deadline_s=600))
    if json.loads((folder / "verdict.json").read_text())["status"] != "done":
        raise RuntimeError((folder / "verdict.json").read_text())
    return found


def peer(folder: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of bare LAMMPS."""
    folder.mkdir()
    shutil.copyfile(default_potential(), folder / "potential.eam.fs")
    (folder / "in.lmp").write_text(INPUT)
    write_start(folder)
    command = [Path(sys.executable).with_name("lmp"), "-in", "in.lmp", "-screen", "none", "-nocite"]
    return timed(lambda: subprocess.run(command, cwd=folder, env=child_environment(1), check=True))


def run() -> dict:
    steps = melt_segments(REQUEST, Dynamics.of(REQUEST))[-1].last
    if steps != STEPS:
        raise RuntimeError(f"the melt takes {steps} steps, the peer {STEPS}")
    work = REQUEST["n_atoms"] * STEPS
    runs = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # on the disk people use, not a tmpfs
        for turn in range(ROUNDS):
            runs["ours"].append(ours(Path(name) / f"ours-{turn}"))
            runs["peer"].append(peer(Path(name) / f"peer-{turn}"))
    wall = {key: statistics.median(work / seconds for seconds, _ in found) for key, found in runs.items()}
    cpu = {key: statistics.median(work / seconds for _, seconds in found) for key, found in runs.items()}
    detail = {
        "wall_and_cpu_seconds": runs,
        "ratio_per_cpu_second": cpu["ours"] / cpu["peer"],
        "cpu_share": {key: min(used / seconds for seconds, used in found) for key, found in runs.items()},
        "note": "a cpu_share well below 1 means that other work held the cores: then read ratio_per_cpu_second",
        "n_atoms": REQUEST["n_atoms"], "steps": STEPS, "checkpoints": 4, "target": ">= 0.95",
        "included": "process start, imports, checkpoints with fsync, history, arrays, verdict",
    }  # fmt: skip
    return {"row": "md_throughput", "ours": wall["ours"], "peer": wall["peer"], "ratio": wall["ours"] / wall["peer"],
            "unit": "atom-steps/s", "detail": detail}  # fmt: skip
