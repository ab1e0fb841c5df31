# SPDX-License-Identifier: BSD-3-Clause
"""Extended XYZ, which OVITO and ASE open with every column.

References
----------
The format: https://github.com/libAtoms/extxyz.  Values of ``nan`` are read as such by OVITO 3 and ASE 3.
"""

from __future__ import annotations

from bp_distributed.export.frame import Frame


def extended_xyz(frame: Frame) -> str:
    """Return one sample as text: count, header, one line per atom.

    Positions in Å and cell are those of the gathered dataset, digit for digit.  The header carries the sample's label
    and id, in one text since readers take an id of digits alone for a number, and its numbers; ``id`` counts atoms from 1.
    """
    configuration = frame.configuration
    names = [column.name for column in frame.columns]
    kinds = ["I" if column.values_i.dtype.kind in "iu" else "R" for column in frame.columns]
    properties = ":".join(
        ["species:S:1:pos:R:3:id:I:1", *(f"{name}:{kind}:1" for name, kind in zip(names, kinds, strict=True))]
    )
    lattice = " ".join(repr(float(length)) for length in configuration.cell_cc.ravel())
    known = " ".join(f"{name}={value!r}" for name, value in frame.facts.items())
    header = (
        f'Lattice="{lattice}" Properties={properties} pbc="T T T" '
        f"sample={_quoted(f'{frame.label} ({frame.sample_id})')} {known}"
    )
    atoms = zip(
        frame.symbols,
        *(map(repr, component_i.tolist()) for component_i in configuration.positions_ic.T),
        map(str, range(1, configuration.n_atoms + 1)),
        *(column.words() for column in frame.columns),
        strict=True,
    )
    return "\n".join([str(configuration.n_atoms), header, *map(" ".join, atoms), ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
