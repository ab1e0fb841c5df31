# SPDX-License-Identifier: BSD-3-Clause
"""What ``bpd export`` writes: structures and tables of a gathered dataset, in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bp_distributed.errors import CampaignError, ConfigError
from bp_distributed.export.extended_xyz import extended_xyz
from bp_distributed.export.frame import Frame, frames
from bp_distributed.export.lammps_dump import lammps_dump
from bp_distributed.export.tables import (
    Description,
    atom_description,
    atoms_csv,
    atoms_parquet,
    require_parquet,
    sample_rows,
    write_samples_csv,
    write_samples_parquet,
)
from bp_distributed.export.whole import COLUMNS_NAME, whole
from bp_distributed.physics.potential import EAMPotential

if TYPE_CHECKING:
    import xarray as xr

FORMATS = ("xyz", "dump", "csv", "parquet")
PACKAGE = "package"

_STRUCTURES = {"xyz": ("structures", ".xyz", extended_xyz), "dump": ("dumps", ".dump", lammps_dump)}
_ATOMS = {"csv": atoms_csv, "parquet": atoms_parquet}
_SAMPLES = {"csv": write_samples_csv, "parquet": write_samples_parquet}

Sink = Callable[[Frame], None]


def checked_formats(words: Sequence[str]) -> tuple[str, ...]:
    """Return formats as asked for, each once.

    Raises
    ------
    ConfigError
        If one is unknown, cannot be written here, or a package is asked for beside others.
    """
    formats = tuple(dict.fromkeys(word.strip() for text in words for word in text.split(",")))
    for word in formats:
        if word not in {*FORMATS, PACKAGE}:
            expected = ", ".join((*FORMATS, PACKAGE))
            raise ConfigError("bpd export", "--format", f"got {word!r}, expected one or more of {expected}")
    if PACKAGE in formats and len(formats) > 1:
        raise ConfigError("bpd export", "--format", "a package holds its own structures and tables; ask for it alone")
    if "parquet" in formats:
        require_parquet()
    return formats


def export(
    dataset: xr.Dataset,
    potential: EAMPotential,
    chosen: Sequence[int],
    formats: Sequence[str],
    target: Path,
    advance: Callable[[], object] = lambda: None,
) -> Path:
    """Write structures and tables into a folder that appears whole or not at all, and return it.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    potential : EAMPotential
        For the dataset's elements, in its order.
    chosen : sequence of int
        Positions along ``sample``; those without a structure yet stand in the table of samples only.
    formats : sequence of str
        Of ``FORMATS``.
    target : Path
        An earlier export there is replaced, anything else refused.
    advance : callable
        Called after each sample that has a structure, for a bar.

    Raises
    ------
    CampaignError
        If none of the samples has a structure.
    ConfigError
        If ``target`` is to be a zip file.
    StoreError
        If ``target`` is something else.
    """
    if target.suffix == ".zip":
        what = f"got {target.name}, but only a package is packed; name a folder, or ask for --format package"
        raise ConfigError("bpd export", "--out", what)
    with whole(target) as folder:
        write_into(folder, dataset, potential, chosen, formats, advance)
    return target


def write_into(
    folder: Path,
    dataset: xr.Dataset,
    potential: EAMPotential,
    chosen: Sequence[int],
    formats: Sequence[str],
    advance: Callable[[], object],
) -> dict[str, Description]:
    """Write the files, and return what the columns of the tables of samples and of atoms mean."""
    described, rows = sample_rows(dataset, chosen)
    atoms: Description = {}
    with ExitStack() as open_files:
        sinks = [open_files.enter_context(_sink(folder, name)) for name in formats]
        for frame in frames(dataset, potential, chosen):
            for sink in sinks:
                sink(frame)
            atoms = atoms or atom_description(frame.columns)
            advance()
    if not atoms:
        raise CampaignError("no sample has a structure yet; 'bpd run' makes them")
    for name in formats:
        if name in _SAMPLES:
            _SAMPLES[name](folder / "tables" / f"samples.{name}", described, rows)
    meanings = {"samples": described, "atoms": atoms}
    (folder / COLUMNS_NAME).write_text(json.dumps(meanings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return meanings


@contextmanager
def _sink(folder: Path, name: str) -> Iterator[Sink]:
    if name in _STRUCTURES:
        kind, suffix, text_of = _STRUCTURES[name]
        (folder / kind).mkdir()

        def write(frame: Frame) -> None:
            (folder / kind / f"{frame.file_stem}{suffix}").write_text(text_of(frame), encoding="utf-8")

        yield write
    else:
        (folder / "tables").mkdir(exist_ok=True)
        with _ATOMS[name](folder / "tables" / f"atoms.{name}") as table:
            yield table.add
