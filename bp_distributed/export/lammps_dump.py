# SPDX-License-Identifier: BSD-3-Clause
"""LAMMPS dump files, which LAMMPS itself reads back (``read_dump``, ``rerun``) and OVITO opens with every column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bp_distributed.export.frame import STRESS, Column, Frame
from bp_distributed.physics.configuration import restricted_cell


def lammps_dump(frame: Frame) -> str:
    """Return one sample as text, rotated to LAMMPS's restricted cell where needed, stress along with it.

    Atoms lie wrapped into the cell, whose corner is the origin; lengths in Å; ``id`` and ``type`` count from 1.
    """
    configuration = frame.configuration
    cell_cc, rotation_cc = restricted_cell(configuration.cell_cc)
    fraction_ic = configuration.positions_ic @ np.linalg.inv(configuration.cell_cc)
    positions_ic = (fraction_ic - np.floor(fraction_ic)) @ cell_cc
    columns = _rotated(frame.columns, rotation_cc)
    head = [
        "ITEM: UNITS", "metal", "ITEM: TIMESTEP", "0", "ITEM: NUMBER OF ATOMS", str(configuration.n_atoms),
        *_box(cell_cc), " ".join(["ITEM: ATOMS id type element x y z", *(column.name for column in columns)]),
    ]  # fmt: skip
    atoms = zip(
        map(str, range(1, configuration.n_atoms + 1)),
        map(str, (configuration.species_i + 1).tolist()),
        frame.symbols,
        *(map(repr, component_i.tolist()) for component_i in positions_ic.T),
        *(column.words() for column in columns),
        strict=True,
    )
    return "\n".join([*head, *map(" ".join, atoms), ""])


def _box(cell_cc: NDArray[np.float64]) -> list[str]:
    """Return the lines of the cell; those of a tilted one give the box around it and its tilts."""
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell_cc.tolist()
    if not any((xy, xz, yz)):
        return ["ITEM: BOX BOUNDS pp pp pp", *(f"0.0 {length!r}" for length in (lx, ly, lz))]
    x_low, x_high = min(0.0, xy, xz, xy + xz), lx + max(0.0, xy, xz, xy + xz)
    y_low, y_high = min(0.0, yz), ly + max(0.0, yz)
    return [
        "ITEM: BOX BOUNDS xy xz yz pp pp pp",
        f"{x_low!r} {x_high!r} {xy!r}",
        f"{y_low!r} {y_high!r} {xz!r}",
        f"0.0 {lz!r} {yz!r}",
    ]


def _rotated(columns: tuple[Column, ...], rotation_cc: NDArray[np.float64]) -> tuple[Column, ...]:
    """Return columns with the stress in the rotated frame (rows times ``rotation_cc``)."""
    if np.array_equal(rotation_cc, np.eye(3)):
        return columns
    by_name = {column.name: column for column in columns}
    stress_icc = np.empty((len(columns[0].values_i), 3, 3))
    for name, (a, b) in STRESS.items():
        stress_icc[:, a, b] = stress_icc[:, b, a] = by_name[name].values_i
    stress_icc = np.einsum("ca,icd,db->iab", rotation_cc, stress_icc, rotation_cc)
    turned = {name: stress_icc[:, a, b] for name, (a, b) in STRESS.items()}
    return tuple(
        replace(column, values_i=turned[column.name]) if column.name in turned else column for column in columns
    )
