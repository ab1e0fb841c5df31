# SPDX-License-Identifier: BSD-3-Clause
"""EAM tables (setfl ``.eam.alloy`` and ``.eam.fs``), read and interpolated exactly as LAMMPS does.

LAMMPS interpolates each table with a local cubic: value and slope are given at the knots, the slope from the
five-point central difference ((f[m-2] - f[m+2]) + 8 (f[m+1] - f[m-1])) / 12, three points next to the ends,
two at the ends.  The interpolant is C1; its second derivative jumps at the knots, and that second derivative
is the one that belongs to LAMMPS's forces.

References
----------
LAMMPS documentation, ``pair_style eam``; Daw and Baskes, Phys. Rev. B 29, 6443 (1984); Finnis and Sinclair,
Phil. Mag. A 50, 45 (1984).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import ConfigError

Derivatives = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Value, first and second derivative."""


@dataclass(frozen=True)
class SplineTables:
    """Several tables on one regular grid that starts at 0.

    Attributes
    ----------
    coefficient_sm : ndarray, shape=(n_tables * n_knots, 4)
        Powers 0 to 3 of the fraction p of each interval; the row is table * n_knots + knot.
    n_knots : int
        Knots per table.
    delta : float, Å or density
        Distance of the knots.
    """

    coefficient_sm: NDArray[np.float64]
    n_knots: int
    delta: float

    @property
    def loops(self) -> tuple[NDArray[np.float64], float, int]:
        """What the loops of ``kernels`` take: coefficients, knots per unit, knots per table."""
        return self.coefficient_sm, 1.0 / self.delta, self.n_knots

    def evaluate(self, table_n: NDArray[np.intp], x_n: NDArray[np.float64]) -> Derivatives:
        """Return value, first and second derivative.

        Parameters
        ----------
        table_n : ndarray of int, shape=(n,)
            Which table.
        x_n : ndarray, shape=(n,)
            Where.  Beyond the last knot the cubic is held at that knot, as LAMMPS holds it.
        """
        p_n = x_n * (1.0 / self.delta)
        knot_n = np.clip(p_n.astype(np.intp), 0, self.n_knots - 2)
        p_n = np.minimum(p_n - knot_n, 1.0)
        c_nm = self.coefficient_sm[table_n * self.n_knots + knot_n]
        c0, c1, c2, c3 = c_nm.T
        value_n = ((c3 * p_n + c2) * p_n + c1) * p_n + c0
        slope_n = ((3.0 * c3 * p_n + 2.0 * c2) * p_n + c1) / self.delta
        curvature_n = (6.0 * c3 * p_n + 2.0 * c2) / self.delta**2
        return value_n, slope_n, curvature_n


def hermite_tables(values_sm: NDArray[np.float64], delta: float) -> SplineTables:
    """Return LAMMPS's piecewise cubics through tabulated values.

    Parameters
    ----------
    values_sm : ndarray, shape=(n_tables, n_knots)
        Values at 0, delta, 2 delta, ...
    delta : float
        Distance of the knots.

    Returns
    -------
    SplineTables
    """
    f = values_sm
    slope_sm = np.empty_like(f)
    slope_sm[:, 0] = f[:, 1] - f[:, 0]
    slope_sm[:, 1] = 0.5 * (f[:, 2] - f[:, 0])
    slope_sm[:, -2] = 0.5 * (f[:, -1] - f[:, -3])
    slope_sm[:, -1] = f[:, -1] - f[:, -2]
    slope_sm[:, 2:-2] = ((f[:, :-4] - f[:, 4:]) + 8.0 * (f[:, 3:-1] - f[:, 1:-3])) / 12.0
    coefficient_sm = np.zeros((*f.shape, 4))
    rise_sm = f[:, 1:] - f[:, :-1]
    left_sm, right_sm = slope_sm[:, :-1], slope_sm[:, 1:]
    coefficient_sm[..., 0] = f
    coefficient_sm[..., 1] = slope_sm
    coefficient_sm[:, :-1, 2] = 3.0 * rise_sm - 2.0 * left_sm - right_sm
    coefficient_sm[:, :-1, 3] = left_sm + right_sm - 2.0 * rise_sm
    return SplineTables(coefficient_sm.reshape(-1, 4), f.shape[1], delta)


@dataclass(frozen=True)
class EAMPotential:
    """Embedded-atom tables for the elements asked for, in that order.

    Attributes
    ----------
    elements : tuple of str
        Chemical symbols; species index in every array.
    masses_e : ndarray, shape=(n_elements,), amu
        Masses of the file.
    cutoff : float, Å
        Pairs at or beyond it do not interact.
    sha256 : str
        Of the file's bytes.
    pair, density, embedding : SplineTables
        r φ(r) in eV·Å, ρ(r), F(ρ) in eV.
    rho_max : float
        Largest tabulated density; beyond it F is continued linearly.
    """

    elements: tuple[str, ...]
    masses_e: NDArray[np.float64]
    cutoff: float
    sha256: str
    pair: SplineTables
    density: SplineTables
    embedding: SplineTables
    rho_max: float

    def pair_energy(
        self, species_i: NDArray[np.int64], species_j: NDArray[np.int64], r_n: NDArray[np.float64]
    ) -> Derivatives:
        """Return φ (eV), φ′ (eV/Å), φ″ (eV/Å²) at distances ``r_n`` (Å)."""
        z, dz, d2z = self.pair.evaluate(species_i * len(self.elements) + species_j, r_n)
        phi = z / r_n
        dphi = (dz - phi) / r_n
        return phi, dphi, (d2z - 2.0 * dphi) / r_n

    def density_at(
        self, species_i: NDArray[np.int64], species_j: NDArray[np.int64], r_n: NDArray[np.float64]
    ) -> Derivatives:
        """Return the density that an atom of ``species_j`` leaves at one of ``species_i``, and derivatives.

        In a Finnis-Sinclair file that is column ``species_i`` of the block of ``species_j``; the two orders differ.
        """
        return self.density.evaluate(species_j * len(self.elements) + species_i, r_n)

    def embedding_energy(self, species_i: NDArray[np.int64], rho_i: NDArray[np.float64]) -> Derivatives:
        """Return F (eV), F′ and F″ at densities ``rho_i``; linear beyond the table."""
        energy_i, slope_i, curvature_i = self.embedding.evaluate(species_i, rho_i)
        beyond_i = rho_i > self.rho_max
        energy_i = np.where(beyond_i, energy_i + slope_i * (rho_i - self.rho_max), energy_i)
        return energy_i, slope_i, np.where(beyond_i, 0.0, curvature_i)


class _Lines:
    """The lines of a setfl file, consumed in order, with errors that name the line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.lines, self.at = path, text.splitlines(), 0

    @property
    def where(self) -> str:
        return f"{self.path}:{min(self.at, len(self.lines))}"

    def words(self, at_least: int, what: str) -> list[str]:
        if self.at >= len(self.lines):
            raise ConfigError(self.where, "", f"is truncated, expected {what}")
        self.at += 1
        words = self.lines[self.at - 1].split()
        if len(words) < at_least:
            raise ConfigError(self.where, "", f"got {self.lines[self.at - 1][:60]!r}, expected {what}")
        return words

    def table(self, n: int, what: str) -> NDArray[np.float64]:
        words: list[str] = []
        while len(words) < n:
            words += self.words(0, f"{n} values of {what}, got {len(words)}")
        if len(words) > n:
            raise ConfigError(self.where, "", f"got {len(words)} values of {what}, expected {n}")
        values = self.floats(words, what)
        if not np.isfinite(values).all():
            raise ConfigError(self.where, "", f"got a value that is not finite in {what}")
        return values

    def floats(self, words: list[str], what: str) -> NDArray[np.float64]:
        try:
            return np.array(words, dtype=np.float64)
        except ValueError as error:
            raise ConfigError(self.where, "", f"got {error.args[0]}, expected {what}") from error


@dataclass
class _Setfl:
    """The content of a setfl file, all elements."""

    elements: list[str]
    grid: NDArray[np.float64]
    masses_e: NDArray[np.float64]
    embedding_em: NDArray[np.float64]
    density_eem: NDArray[np.float64]
    pair_eem: NDArray[np.float64]


def read_potential(path: str | Path, elements: Sequence[str] | None = None) -> EAMPotential:
    """Read a setfl file.

    Parameters
    ----------
    path : str or Path
        ``*.eam.alloy`` or ``*.eam.fs``.
    elements : sequence of str, optional
        Which of its elements, in which order; all of them in the file's order by default.

    Returns
    -------
    EAMPotential

    Raises
    ------
    ConfigError
        If the file is missing, unreadable, a directory, malformed or truncated, or lacks an element.
    """
    path = Path(path)
    finnis_sinclair = path.name.endswith(".eam.fs")
    if not finnis_sinclair and not path.name.endswith(".eam.alloy"):
        raise ConfigError(str(path), "potential", "expected a file named *.eam.fs or *.eam.alloy")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "potential", f"cannot be read ({error.strerror}), expected a file") from error
    if not content.strip():
        raise ConfigError(str(path), "potential", "is empty, expected an EAM setfl file")
    if b"\0" in content:
        raise ConfigError(str(path), "potential", "is binary, expected an EAM setfl text file")
    tables = _parse(_Lines(path, content.decode("latin-1")), finnis_sinclair=finnis_sinclair)
    wanted = list(elements) if elements is not None else tables.elements
    for element in wanted:
        if element not in tables.elements:
            what = f"unknown element, got {element!r}, expected one of {', '.join(tables.elements)}"
            raise ConfigError(str(path), "elements", what)
    return _select(tables, wanted, hashlib.sha256(content).hexdigest())


def _parse(lines: _Lines, *, finnis_sinclair: bool) -> _Setfl:
    for _ in range(3):
        lines.words(0, "three comment lines")
    words = lines.words(2, "the number of elements and their symbols")
    names = words[1:]
    if words[0] != str(len(names)) or not all(name.isalpha() for name in names):
        raise ConfigError(lines.where, "", f"got {' '.join(words)[:60]!r}, expected a number and as many elements")
    grid = lines.floats(lines.words(5, "nrho drho nr dr cutoff")[:5], "nrho drho nr dr cutoff")
    smallest = 6
    if (
        not np.isfinite(grid).all()
        or (grid <= 0).any()
        or grid[0] < smallest
        or grid[2] < smallest
        or (grid[[0, 2]] % 1).any()
    ):
        raise ConfigError(lines.where, "", "expected positive nrho drho nr dr cutoff with at least 6 knots")
    n_rho, n_r, n = int(grid[0]), int(grid[2]), len(names)
    if max(n_rho, n_r) > 50 * len(lines.lines):
        raise ConfigError(lines.where, "", f"is truncated, expected tables of {n_rho} and {n_r} values")
    tables = _Setfl(names, grid, np.empty(n), np.empty((n, n_rho)), np.empty((n, n, n_r)), np.empty((n, n, n_r)))
    for index, name in enumerate(names):
        words = lines.words(2, f"atomic number and mass of {name}")
        tables.masses_e[index] = lines.floats(words[1:2], f"the mass of {name}")[0]
        tables.embedding_em[index] = lines.table(n_rho, f"F of {name}")
        for other in range(n if finnis_sinclair else 1):
            tables.density_eem[index, other:] = lines.table(n_r, f"rho of {name}")
    for index, name in enumerate(names):
        for other in range(index + 1):
            pair = lines.table(n_r, f"phi of {name}-{names[other]}")
            tables.pair_eem[index, other] = tables.pair_eem[other, index] = pair
    return tables


def _select(tables: _Setfl, wanted: list[str], sha256: str) -> EAMPotential:
    pick = [tables.elements.index(element) for element in wanted]
    both = np.ix_(pick, pick)
    n_rho, d_rho, n_r, d_r, cutoff = tables.grid
    return EAMPotential(
        elements=tuple(wanted),
        masses_e=tables.masses_e[pick],
        cutoff=float(cutoff),
        sha256=sha256,
        pair=hermite_tables(tables.pair_eem[both].reshape(-1, int(n_r)), float(d_r)),
        density=hermite_tables(tables.density_eem[both].reshape(-1, int(n_r)), float(d_r)),
        embedding=hermite_tables(tables.embedding_em[pick], float(d_rho)),
        rho_max=float((n_rho - 1) * d_rho),
    )
