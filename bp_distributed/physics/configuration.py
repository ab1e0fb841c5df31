# SPDX-License-Identifier: BSD-3-Clause
"""An atomic configuration, and the doors through which foreign ones come in and ours go out.

LAMMPS data files (atom style ``atomic``) and extended XYZ are read; whatever is wrong with one is said in a
single sentence with file and line, before any work starts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ConfigError
from bp_distributed.physics.neighbours import neighbours
from bp_distributed.units import MASS_AMU

CLOSEST_ANGSTROM = 0.5
"""Two atoms nearer than this are one atom written twice."""

_CURVE_BITS = 10
"""Per axis; of the Morton curve through the cell."""

MASS_TOLERANCE = 0.005
"""Relative; files round masses to four digits, and no two elements of one alloy are this close."""


@dataclass(frozen=True)
class Configuration:
    """Atoms in a periodic cell.

    Attributes
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
        Cartesian positions, inside or outside the cell.
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows.
    species_i : ndarray of int, shape=(n_atoms,)
        Index into ``elements``.
    elements : tuple of str
        Chemical symbols.
    """

    positions_ic: NDArray[np.float64]
    cell_cc: NDArray[np.float64]
    species_i: NDArray[np.int64]
    elements: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.species_i)

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.cell_cc)))

    def strained(self, strain_cc: NDArray[np.float64]) -> Configuration:
        """Return the configuration with cell and positions deformed affinely by I + strain."""
        deform_cc = np.eye(3) + strain_cc
        return Configuration(self.positions_ic @ deform_cc.T, self.cell_cc @ deform_cc.T, self.species_i, self.elements)

    def spatial_order(self) -> NDArray[np.intp]:
        """Return an order of atoms along a curve through the cell, in which neighbours in space come close.

        Products with the Hessian then find their operands in the cache: twice as fast as in random order.
        """
        fraction_ic = self.positions_ic @ np.linalg.inv(self.cell_cc)
        place_ic = ((fraction_ic - np.floor(fraction_ic)) * 2**_CURVE_BITS).astype(np.int64)
        key_i = np.zeros(self.n_atoms, dtype=np.int64)
        for bit in range(_CURVE_BITS):
            for axis in range(3):
                key_i |= ((place_ic[:, axis] >> bit) & 1) << (3 * bit + axis)
        return np.argsort(key_i, kind="stable")

    def reordered(self, order_i: NDArray[np.intp]) -> Configuration:
        """Return the configuration with atom ``order_i[i]`` in place i."""
        return Configuration(self.positions_ic[order_i], self.cell_cc, self.species_i[order_i], self.elements)

    def moved(self, step_ic: NDArray[np.float64]) -> Configuration:
        """Return the configuration with ``step_ic`` (Å) added to the positions."""
        return Configuration(self.positions_ic + step_ic, self.cell_cc, self.species_i, self.elements)


@dataclass
class _Raw:
    """What a file says, before it is checked; ``line_i`` is the line number of each atom."""

    cell_cc: NDArray[np.float64]
    positions_ic: NDArray[np.float64]
    names: list[str]
    line_i: list[int] = field(default_factory=list)


def read_configuration(path: str | Path, elements: Sequence[str]) -> Configuration:
    """Read a LAMMPS data file (``atomic`` style) or an extended XYZ file (first frame).

    Parameters
    ----------
    path : str or Path
        The format is recognised from the content.
    elements : sequence of str
        Elements of the potential, in order.  Type i of a data file is ``elements[i - 1]`` unless its
        ``Atom Type Labels`` or ``Masses`` say otherwise.

    Returns
    -------
    Configuration
        Positions in Å, wrapped into the cell; species index into ``elements``.

    Raises
    ------
    ConfigError
        If the file is missing, binary, truncated or contradicts itself, if a coordinate is not finite, if an
        element is unknown, or if two atoms lie closer than 0.5 Å.
    """
    path = Path(path)
    lines = _read_lines(path)
    is_xyz = len(lines) > 1 and lines[0].strip().isdigit()
    raw = _parse_xyz(path, lines) if is_xyz else _parse_data(path, lines, elements)
    return _checked(path, raw, tuple(elements))


def _read_lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror}), expected a structure file") from error
    if not content.strip():
        raise ConfigError(str(path), "", "is empty, expected a LAMMPS data or extended XYZ file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", "is binary, expected a LAMMPS data or extended XYZ text file") from error
    if "\0" in text:
        raise ConfigError(str(path), "", "is binary, expected a LAMMPS data or extended XYZ text file")
    return text.splitlines()


def _checked(path: Path, raw: _Raw, elements: tuple[str, ...]) -> Configuration:
    if not raw.names:
        raise ConfigError(str(path), "atoms", "has 0 atoms, expected at least 1")
    for index, name in enumerate(raw.names):
        if name not in elements:
            known = ", ".join(elements)
            where = f"{path}:{raw.line_i[index]}"
            raise ConfigError(where, f"atom {index + 1}", f"unknown element, got {name!r}, expected one of {known}")
    if not np.isfinite(raw.cell_cc).all() or abs(np.linalg.det(raw.cell_cc)) < 1.0:
        raise ConfigError(str(path), "cell", "expected three finite lattice vectors that span a volume")
    if np.linalg.det(raw.cell_cc) < 0:
        raise ConfigError(
            str(path), "cell", "is left-handed, expected right-handed lattice vectors: exchange two of them"
        )
    bad_i = np.flatnonzero(~np.isfinite(raw.positions_ic).all(axis=1))
    if bad_i.size:
        first = int(bad_i[0])
        got = " ".join(map(str, raw.positions_ic[first]))
        raise ConfigError(f"{path}:{raw.line_i[first]}", f"atom {first + 1}", f"got {got}, expected finite coordinates")
    fraction_ic = raw.positions_ic @ np.linalg.inv(raw.cell_cc)
    positions_ic = raw.positions_ic - np.floor(fraction_ic) @ raw.cell_cc
    close = neighbours(positions_ic, raw.cell_cc, CLOSEST_ANGSTROM)
    if close.i_n.size:
        i, j = sorted((int(close.i_n[0]), int(close.j_n[0])))
        what = f"lie {close.r_n[0]:.3g} angstrom apart, expected at least {CLOSEST_ANGSTROM}"
        raise ConfigError(f"{path}:{raw.line_i[j]}", f"atoms {i + 1} and {j + 1}", what)
    species_i = np.array([elements.index(name) for name in raw.names], dtype=np.int64)
    return Configuration(positions_ic, raw.cell_cc, species_i, elements)


def _numbers(where: str, key: str, words: Sequence[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise ConfigError(where, key, f"got {' '.join(words)!r}, expected numbers") from error


def _count(where: str, key: str, word: str) -> int:
    if not re.fullmatch(r"\d{1,12}", word):
        raise ConfigError(where, key, f"got {word!r}, expected a whole number")
    return int(word)


# --------------------------------------------------------------------------------------- extended XYZ


def _parse_xyz(path: Path, lines: list[str]) -> _Raw:
    n_atoms = _count(f"{path}:1", "atoms", lines[0].strip())
    comment = {key.lower(): value.strip('"') for key, value in re.findall(r'(\w+)=("[^"]*"|\S+)', lines[1])}
    if "lattice" not in comment:
        raise ConfigError(f"{path}:2", "Lattice", 'is missing, expected Lattice="ax ay az bx by bz cx cy cz"')
    lattice = _numbers(f"{path}:2", "Lattice", comment["lattice"].split())
    if len(lattice) != 9:  # noqa: PLR2004 - three vectors of three
        raise ConfigError(f"{path}:2", "Lattice", f"got {len(lattice)} numbers, expected 9")
    species_at, position_at = _xyz_columns(path, comment.get("properties", "species:S:1:pos:R:3"))
    body = lines[2 : 2 + n_atoms]
    raw = _Raw(np.reshape(lattice, (3, 3)), np.empty((n_atoms, 3)), [])
    if len(body) < n_atoms:
        raise ConfigError(f"{path}:{len(lines)}", "atoms", f"is truncated, got {len(body)}, expected {n_atoms}")
    for index, line in enumerate(body):
        words, where = line.split(), f"{path}:{index + 3}"
        if len(words) < max(species_at + 1, position_at + 3):
            raise ConfigError(where, f"atom {index + 1}", f"is truncated, got {line!r}, expected symbol and x y z")
        raw.names.append(words[species_at])
        raw.positions_ic[index] = _numbers(where, f"atom {index + 1}", words[position_at : position_at + 3])
        raw.line_i.append(index + 3)
    return raw


def _xyz_columns(path: Path, properties: str) -> tuple[int, int]:
    parts = properties.split(":")
    columns: dict[str, int] = {}
    column = 0
    for name, width in zip(parts[::3], parts[2::3], strict=False):
        columns[name.lower()] = column
        column += _count(f"{path}:2", "Properties", width)
    if "species" not in columns or "pos" not in columns:
        raise ConfigError(f"{path}:2", "Properties", f"got {properties!r}, expected species:S:1 and pos:R:3")
    return columns["species"], columns["pos"]


# --------------------------------------------------------------------------------------- LAMMPS data

_HEADER = re.compile(r"^\s*(\S.*?)\s+(atoms|atom types|xlo xhi|ylo yhi|zlo zhi|xy xz yz)\s*$")
_SECTIONS = ("Masses", "Atom Type Labels", "Atoms", "Velocities", "Pair Coeffs", "PairIJ Coeffs")


@dataclass
class _Data:
    """Header words by key and section lines (number, text, comment) by name."""

    header: dict[str, tuple[int, list[str]]]
    sections: dict[str, list[tuple[int, str, str]]]


def _split_data(path: Path, lines: list[str]) -> _Data:
    data = _Data({}, {})
    section = ""
    for number, line in enumerate(lines[1:], start=2):
        text, _, comment = line.partition("#")
        text, comment = text.strip(), comment.strip()
        if not text:
            continue
        if text in _SECTIONS:
            section = text
            data.sections[section] = []
            if section == "Atoms" and comment and comment != "atomic":
                raise ConfigError(f"{path}:{number}", "Atoms", f"got atom style {comment!r}, expected atomic")
        elif section:
            data.sections[section].append((number, text, comment))
        elif match := _HEADER.match(text):
            data.header[match[2]] = (number, match[1].split())
    return data


def _parse_data(path: Path, lines: list[str], elements: Sequence[str]) -> _Raw:
    data = _split_data(path, lines)
    for key in ("atoms", "atom types", "xlo xhi", "ylo yhi", "zlo zhi"):
        if key not in data.header:
            raise ConfigError(str(path), key, "is missing, expected a LAMMPS data or extended XYZ file")
    number, words = data.header["atoms"]
    n_atoms = _count(f"{path}:{number}", "atoms", words[0])
    number, words = data.header["atom types"]
    n_types = _count(f"{path}:{number}", "atom types", words[0])
    names = _type_names(path, data, n_types, elements)
    rows = data.sections.get("Atoms", [])
    if len(rows) != n_atoms:
        last = rows[-1][0] if rows else len(lines)
        what = f"wrong count or truncated file, got {len(rows)} atoms, expected {n_atoms}"
        raise ConfigError(f"{path}:{last}", "Atoms", what)
    return _sorted_atoms(path, _data_cell(path, data), list(_atom_rows(path, rows, names)))


def _data_cell(path: Path, data: _Data) -> NDArray[np.float64]:
    cell_cc = np.zeros((3, 3))
    for axis, key in enumerate(("xlo xhi", "ylo yhi", "zlo zhi")):
        number, words = data.header[key]
        bounds = _numbers(f"{path}:{number}", key, words)
        if len(bounds) != 2 or not bounds[1] > bounds[0]:  # noqa: PLR2004 - low and high
            raise ConfigError(f"{path}:{number}", key, f"got {' '.join(words)!r}, expected low < high")
        cell_cc[axis, axis] = bounds[1] - bounds[0]
    if "xy xz yz" in data.header:
        number, words = data.header["xy xz yz"]
        tilts = _numbers(f"{path}:{number}", "xy xz yz", words)
        if len(tilts) != 3:  # noqa: PLR2004 - xy, xz, yz
            raise ConfigError(f"{path}:{number}", "xy xz yz", f"got {len(tilts)} numbers, expected 3")
        cell_cc[1, 0], cell_cc[2, 0], cell_cc[2, 1] = tilts
    return cell_cc


def _type_names(path: Path, data: _Data, n_types: int, elements: Sequence[str]) -> dict[str, str]:
    """Return the element behind each word that may stand in the type column."""
    names = {str(index + 1): element for index, element in enumerate(elements[:n_types])}
    for number, text, comment in data.sections.get("Masses", []):
        words = text.split()
        if len(words) != 2:  # noqa: PLR2004 - type and mass
            raise ConfigError(f"{path}:{number}", "Masses", f"got {text!r}, expected a type and a mass")
        names[words[0]] = _element_of_mass(f"{path}:{number}", words, comment, elements)
    for number, text, _ in data.sections.get("Atom Type Labels", []):
        words = text.split()
        if len(words) != 2:  # noqa: PLR2004 - type and label
            raise ConfigError(f"{path}:{number}", "Atom Type Labels", f"got {text!r}, expected a type and a label")
        names[words[0]] = names[words[1]] = words[1]
    return names


def _element_of_mass(where: str, words: list[str], comment: str, elements: Sequence[str]) -> str:
    mass = _numbers(where, "Masses", words[1:])[0]
    if comment in elements:
        return comment
    for element in elements:
        if abs(mass - MASS_AMU.get(element, 0.0)) <= MASS_TOLERANCE * mass:
            return element
    by_order = words[0].isdigit() and 0 < int(words[0]) <= len(elements)
    if by_order and elements[int(words[0]) - 1] not in MASS_AMU:
        return elements[int(words[0]) - 1]
    raise ConfigError(where, f"type {words[0]}", f"unknown element of mass {mass:g}, expected {', '.join(elements)}")


def _atom_rows(
    path: Path, rows: list[tuple[int, str, str]], names: dict[str, str]
) -> Iterator[tuple[int, str, list[float], int]]:
    for number, text, _ in rows:
        words, where = text.split(), f"{path}:{number}"
        if len(words) not in {5, 8}:
            raise ConfigError(where, "Atoms", f"got {text!r}, expected id type x y z, with or without 3 image flags")
        atom = _count(where, "Atoms", words[0])
        if words[1] not in names:
            what = f"unknown element, got type {words[1]!r}, expected one of {', '.join(sorted(names))}"
            raise ConfigError(where, f"atom {atom}", what)
        yield atom, names[words[1]], _numbers(where, f"atom {atom}", words[2:5]), number


def _sorted_atoms(path: Path, cell_cc: NDArray[np.float64], rows: list[tuple[int, str, list[float], int]]) -> _Raw:
    rows.sort(key=lambda row: row[0])
    for expected, row in enumerate(rows, start=1):
        if row[0] != expected:
            raise ConfigError(
                f"{path}:{row[3]}", "Atoms", f"got atom id {row[0]}, expected each of 1 to {len(rows)} once"
            )
    positions_ic = np.array([row[2] for row in rows]).reshape(-1, 3)
    return _Raw(cell_cc, positions_ic, [row[1] for row in rows], [row[3] for row in rows])


# --------------------------------------------------------------------------------------- writing


def write_extended_xyz(path: str | Path, configuration: Configuration) -> None:
    """Write an extended XYZ file; positions and lattice in Å, exact to the last bit."""
    lattice = " ".join(repr(float(x)) for x in configuration.cell_cc.ravel())
    text = io.StringIO()
    text.write(f'{configuration.n_atoms}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T"\n')
    for species, position_c in zip(configuration.species_i, configuration.positions_ic, strict=True):
        coordinates = " ".join(repr(float(x)) for x in position_c)
        text.write(f"{configuration.elements[species]} {coordinates}\n")
    Path(path).write_text(text.getvalue(), encoding="utf-8")


def restricted_cell(cell_cc: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotate a cell into LAMMPS's lower triangular form.

    Parameters
    ----------
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; any handedness but left.

    Returns
    -------
    lower_cc : ndarray, shape=(3, 3), Å
        Lower triangular with a positive diagonal.
    rotation_cc : ndarray, shape=(3, 3)
        ``lower_cc = cell_cc @ rotation_cc``, and so for positions.

    Raises
    ------
    ConfigError
        If the lattice vectors are left-handed.
    """
    if np.linalg.det(cell_cc) <= 0:
        raise ConfigError("", "cell", "is left-handed, expected right-handed lattice vectors")
    if not np.triu(cell_cc, 1).any() and (np.diag(cell_cc) > 0).all():
        return cell_cc.copy(), np.eye(3)
    rotation_cc, upper_cc = np.linalg.qr(cell_cc.T)
    sign_c = np.sign(np.diag(upper_cc))
    return np.tril((upper_cc * sign_c[:, None]).T), rotation_cc * sign_c


def write_lammps_data(path: str | Path, configuration: Configuration, masses_e: Sequence[float]) -> None:
    """Write a LAMMPS data file (``atomic`` style), rotated to LAMMPS's restricted cell where needed.

    Parameters
    ----------
    path : str or Path
        Where to write.
    configuration : Configuration
        Type i of the file is ``configuration.elements[i - 1]``.
    masses_e : sequence of float, shape=(n_elements,), amu
        One mass per element.

    Raises
    ------
    ConfigError
        If the lattice vectors are left-handed.
    """
    cell_cc, rotation_cc = restricted_cell(configuration.cell_cc)
    fraction_ic = configuration.positions_ic @ np.linalg.inv(configuration.cell_cc)
    positions_ic = (fraction_ic - np.floor(fraction_ic)) @ configuration.cell_cc @ rotation_cc
    text = io.StringIO()
    text.write(f"# {' '.join(configuration.elements)}\n\n{configuration.n_atoms} atoms\n")
    text.write(f"{len(configuration.elements)} atom types\n\n")
    for axis, name in enumerate("xyz"):
        text.write(f"0.0 {float(cell_cc[axis, axis])!r} {name}lo {name}hi\n")
    if np.tril(cell_cc, -1).any():
        text.write(f"{float(cell_cc[1, 0])!r} {float(cell_cc[2, 0])!r} {float(cell_cc[2, 1])!r} xy xz yz\n")
    text.write("\nMasses\n\n")
    for index, (element, mass) in enumerate(zip(configuration.elements, masses_e, strict=True), start=1):
        text.write(f"{index} {float(mass)!r} # {element}\n")
    text.write("\nAtoms # atomic\n\n")
    for index, (species, position_c) in enumerate(zip(configuration.species_i, positions_ic, strict=True), start=1):
        text.write(f"{index} {species + 1} {' '.join(repr(float(x)) for x in position_c)}\n")
    Path(path).write_text(text.getvalue(), encoding="utf-8")
