# SPDX-License-Identifier: BSD-3-Clause
"""Tables of samples and of atoms, as CSV or Parquet."""

from __future__ import annotations

import csv
import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bp_distributed.errors import ConfigError
from bp_distributed.export.frame import Column, Frame, facts

if TYPE_CHECKING:
    import xarray as xr

_TEXTS = ("sample_id", "label", "group", "rejected")
_ATOM_TEXTS = {
    "sample_id": "content hash of what defines the sample",
    "label": "name people know the sample by",
    "element": "chemical symbol",
}

Description = dict[str, dict[str, str]]
"""Type, units and meaning by name of a column, in the order of the columns."""


class AtomTable(Protocol):
    """A table that is written sample by sample."""

    def add(self, frame: Frame) -> None:
        """Append the atoms of one sample."""


# ---- samples ----------------------------------------------------------------------------------------------------------


def sample_rows(dataset: xr.Dataset, chosen: Sequence[int]) -> tuple[Description, list[dict[str, Any]]]:
    """Return the columns of the table of samples, and a row per sample; what is not known is left out of a row.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    chosen : sequence of int
        Positions along ``sample``.
    """
    flat = dataset[[str(name) for name in dataset.variables if set(dataset[name].dims) <= {"sample", "element"}]].load()
    rows = []
    for index in chosen:
        sample = flat.isel(sample=index)
        rows.append({name: str(sample[name].item()) for name in _TEXTS} | facts(sample))
    present = {name for row in rows for name in row}
    described = {name: _described("string", "", flat[name].attrs["long_name"]) for name in _TEXTS}
    for element in flat["element"].to_numpy().tolist():
        described[f"composition_{element}"] = _described("number", "1", f"atomic fraction of {element}")
    for name, found in flat.variables.items():
        if name in present and name not in described:
            kind = "integer" if found.dtype.kind in "iu" else "number"
            described[str(name)] = _described(kind, found.attrs["units"], found.attrs["long_name"])
    return described, rows


def write_samples_csv(path: Path, described: Description, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table of samples; an empty field is a number that is not known."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(described), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def write_samples_parquet(path: Path, described: Description, rows: Sequence[dict[str, Any]]) -> None:
    """Write the same as Parquet."""
    arrow, parquet = _arrow()
    schema = _schema(described)
    parquet.write_table(
        arrow.Table.from_pylist([{name: row.get(name) for name in described} for row in rows], schema), path
    )


# ---- atoms ------------------------------------------------------------------------------------------------------------


def atom_description(columns: Iterable[Column]) -> Description:
    """Return the columns of the table of atoms."""
    described = {name: _described("string", "", meaning) for name, meaning in _ATOM_TEXTS.items()}
    described["atom"] = _described("integer", "1", "number of the atom in its sample, from 1")
    for axis in "xyz":
        described[axis] = _described("number", "angstrom", f"Cartesian position in the inherent structure, {axis}")
    for column in columns:
        kind = "integer" if column.values_i.dtype.kind in "iu" else "number"
        described[column.name] = _described(kind, column.units, column.meaning)
    return described


@contextmanager
def atoms_csv(path: Path) -> Iterator[AtomTable]:
    """Open a CSV table of atoms for writing; an empty field is a number that is not known."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _CSVTable(csv.writer(file, lineterminator="\n"))


class _CSVTable:
    def __init__(self, table: Any) -> None:
        self._table, self._headed = table, False

    def add(self, frame: Frame) -> None:
        if not self._headed:
            self._table.writerow(atom_description(frame.columns))
            self._headed = True
        n_atoms = frame.configuration.n_atoms
        columns = [["" if word == "nan" else word for word in column.words()] for column in frame.columns]
        positions = frame.configuration.positions_ic.T.tolist()
        texts = ([frame.sample_id] * n_atoms, [frame.label] * n_atoms, frame.symbols, range(1, n_atoms + 1))
        self._table.writerows(zip(*texts, *positions, *columns, strict=True))


def require_parquet() -> None:
    """Refuse Parquet where it cannot be written.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            "bpd export", "--format parquet", "needs pyarrow, which is not installed; install it, or ask for csv"
        )


@contextmanager
def atoms_parquet(path: Path) -> Iterator[AtomTable]:
    """Open a Parquet table of atoms for writing, one row group per sample; a null is a number that is not known."""
    table = _ParquetTable(path)
    try:
        yield table
    finally:
        table.close()


class _ParquetTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def add(self, frame: Frame) -> None:
        arrow, parquet = _arrow()
        schema = _schema(atom_description(frame.columns))
        n_atoms = frame.configuration.n_atoms
        values: list[Any] = [
            [frame.sample_id] * n_atoms, [frame.label] * n_atoms, frame.symbols, np.arange(1, n_atoms + 1),
            *frame.configuration.positions_ic.T, *(column.values_i for column in frame.columns),
        ]  # fmt: skip
        arrays = [
            arrow.array(found, field.type, from_pandas=True) for found, field in zip(values, schema, strict=True)
        ]  # from_pandas: NaN becomes null
        self._file = self._file or parquet.ParquetWriter(self._path, schema)
        self._file.write_table(arrow.Table.from_arrays(arrays, schema=schema))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _arrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet, which need not be installed."""
    return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")


def _schema(described: Description) -> Any:
    arrow, _ = _arrow()
    types = {"string": arrow.string(), "integer": arrow.int64(), "number": arrow.float64()}
    return arrow.schema(
        [
            arrow.field(name, types[about["type"]], metadata={key: about[key] for key in ("units", "description")})
            for name, about in described.items()
        ]
    )


def _described(kind: str, units: str, description: str) -> dict[str, str]:
    return {"type": kind, "units": units, "description": description}
