# SPDX-License-Identifier: BSD-3-Clause
"""All samples as one ``xarray.Dataset`` on disk: what a person analyses and what training starts from.

Quantities of a whole sample lie along ``sample``; quantities of single atoms along ``row``, histories along
``history_row`` and saddle searches along ``searched_row`` (one searched atom each, told by ``searched_atom``), sample
after sample, counted by ``row_size``, ``history_row_size`` and ``searched_row_size`` (CF contiguous ragged arrays).
What the searches of an atom say in a few numbers lies along ``row`` again, beside its other quantities.  A sample that lacks a stage stays listed, with NaN.  Atomic pair distributions, vectors of modes and trajectories stay in the
samples' own files: they are too large to copy.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError, Reason, StoreError
from bp_distributed.physics.activation_summary import summarise
from bp_distributed.physics.artn import Code
from bp_distributed.units import VARIABLES, Variable

GRIDS = {
    "r_bin": "r", "omega_bin": "omega", "low_omega_bin": "low_omega", "kpm_bin": "kpm_omega",
    "temperature": "temperature", "thermal_bin": "thermal_omega",
}  # fmt: skip
"""Dimension and the coordinate along it, which all samples must share."""

LEFT_OUT = frozenset(
    {"atomic_pdf", "mean_square_displacement", "branch_position", "branch_velocity", "branch_cell", "vector",
     "frame_time", "frame_displacement", "frame_energy", "rest_position"}
)  # fmt: skip
SINGLE_PRECISION = frozenset(
    {"partial_pdf", "total_pdf", "vdos", "reduced_vdos", "atomic_vdos", "atomic_intensity", "atomic_window_intensity",
     "participation_ratio", "activation_energy", "refined_activation_energy", "saddle_eigenvalue",
     "saddle_displacement", "end_energy", "end_displacement", "region_error", "boundary_error",
     "inherent_reduced_vdos", "inherent_vdos", "atomic_anharmonicity", "atomic_amplitude", "atomic_farthest",
     "energy_r2", "energy_curvature"}
)  # fmt: skip
COUNTS = frozenset({"n_tried", "n_succeeded", "n_connected", "n_unique"})
"""Zero, not missing, where an atom was not searched."""
ROWS = {
    "atom": ("row", "row_size"),
    "history": ("history_row", "history_row_size"),
    "searched": ("searched_row", "searched_row_size"),
}
"""Ragged dimension of a single sample, its name here, and the variable that counts it."""
_GROWING = ("history", "searched")
"""Ragged dimensions whose lengths are known only when a sample was read."""

_SPECTRAL = frozenset({"omega_bin", "kpm_bin"})

SAMPLE_VARIABLES = {
    "cooling_rate": Variable(("sample",), "K s-1", "cooling rate of the quench; missing for structures made elsewhere"),
    "n_atoms": Variable(("sample",), "1", "number of atoms"),
    "seed": Variable(("sample",), "1", "random seed of the sample"),
    "replica": Variable(("sample",), "1", "number of the sample among those of equal parameters"),
    "accepted": Variable(("sample",), "1", "1 accepted, 0 rejected by a scientific criterion, -1 not (yet) available"),
    "robust_accepted": Variable(("sample",), "1", "as accepted, but lack of a boson peak is no reason to reject"),
    "composition": Variable(("sample", "element"), "1", "atomic fraction of the element"),
    "row_size": Variable(("sample",), "1", "number of atoms stored for the sample"),
    "history_row_size": Variable(("sample",), "1", "number of history records stored for the sample"),
    "searched_row_size": Variable(("sample",), "1", "number of atoms whose saddle searches are stored for the sample"),
    "searched_planned": Variable(("sample",), "1", "number of atoms whose saddle searches the campaign asks for"),
}
TEXTS = {
    "sample_id": "content hash of what defines the sample",
    "label": "name people know the sample by",
    "group": "leakage group: samples of one group share a melt and must not be split between training and test",
    "rejected": "reason code of the rejection; empty if accepted",
}
_CHUNK_BYTES = 1 << 20

_FEW_SAMPLES = 300
"""From here on it pays to start processes that read; they take some seconds to start."""
_MOST_READERS = 4
"""A login node is shared, and so are its disks."""

Stage = xr.Dataset | Callable[[], xr.Dataset]
_Read = tuple[tuple[str, ...], list[tuple[str, NDArray[Any]]]]


@dataclass(frozen=True)
class GatherItem:
    """One sample as its campaign knows it.

    Attributes
    ----------
    sample_id, label, group : str
        ``group`` is the leakage group, the melt.
    cooling_rate : float, K/s
        NaN for a structure made elsewhere.
    composition : mapping of str to float
        Atomic fractions by element.
    n_atoms, seed, replica : int
    rejected : str
        Reason code, empty if accepted.
    stages : mapping of str to Dataset or callable
        Finished stages by name.  A callable is called when the sample's turn comes, in another process where there
        are many samples, and what it returns is let go again, so that the samples never lie in memory twice.
    searched_planned : int
        Atoms whose saddle searches the campaign asks for; there may be results of fewer.
    """

    sample_id: str
    label: str
    group: str
    cooling_rate: float
    composition: Mapping[str, float]
    n_atoms: int
    seed: int = 0
    replica: int = 0
    rejected: str = ""
    stages: Mapping[str, Stage] = field(default_factory=dict)
    searched_planned: int = 0

    @property
    def has_atoms(self) -> bool:
        """Tell whether a stage that yields a structure is there."""
        return bool({"quench", "relax"} & set(self.stages))


# ---- collecting -------------------------------------------------------------------------------------------------------


class _Columns:
    """Arrays of the whole dataset, filled sample by sample; each is made when its first values come."""

    def __init__(self, items: list[GatherItem]) -> None:
        self.items = items
        sizes = [item.n_atoms if item.has_atoms else 0 for item in items]
        self.first_row = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.arrays: dict[str, NDArray[Any]] = {}
        self.grids: dict[str, NDArray[Any]] = {}
        self.growing: dict[str, dict[str, dict[int, NDArray[Any]]]] = {dim: {} for dim in _GROWING}
        """Ragged arrays by dimension, name and sample."""

    def add(self, index: int, name: str, values: NDArray[Any]) -> None:
        """Put one variable of one sample in its place."""
        dims = VARIABLES[name].dims
        if name in GRIDS.values():
            self._grid(index, name, values)
        elif dims[:1] == ("atom",):
            self._rows(index, name, values)
        elif dims[:1] and dims[0] in _GROWING:
            kept = values.astype(np.float32) if name in SINGLE_PRECISION else values
            self.growing[dims[0]].setdefault(name, {})[index] = kept
        else:
            self._padded(index, name, values)

    def _grid(self, index: int, name: str, values: NDArray[Any]) -> None:
        known = self.grids.setdefault(name, values)
        common = min(len(known), len(values))
        if not np.allclose(known[:common], values[:common], rtol=1e-9, atol=0):
            what = (
                f"sample {self.items[index].label} was computed on another grid of {name!r}; its stage must run again"
            )
            raise CampaignError(what)
        if len(values) > len(known):
            self.grids[name] = values

    def _rows(self, index: int, name: str, values: NDArray[Any]) -> None:
        start, stop = self.first_row[index], self.first_row[index + 1]
        if len(values) != stop - start:
            item = self.items[index]
            raise CampaignError(f"sample {item.label}: {name!r} has {len(values)} atoms, expected {item.n_atoms}")
        if name not in self.arrays:
            self.arrays[name] = _empty(name, (int(self.first_row[-1]), *values.shape[1:]), values.dtype)
        self.arrays[name][start:stop] = values

    def _padded(self, index: int, name: str, values: NDArray[Any]) -> None:
        shape = (len(self.items), *values.shape)
        known = self.arrays.get(name)
        if known is None:
            known = _empty(name, shape, values.dtype)
        elif any(old < new for old, new in zip(known.shape, shape, strict=True)):
            larger = _empty(name, tuple(np.maximum(known.shape, shape)), known.dtype)
            larger[tuple(slice(0, length) for length in known.shape)] = known
            known = larger
        place: tuple[int | slice, ...] = (index, *(slice(0, length) for length in values.shape))
        known[place] = values
        self.arrays[name] = known


def _empty(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if name == "species":
        return np.zeros(shape, dtype=np.int8)
    if name in COUNTS:
        return np.zeros(shape, dtype=np.int32)
    if name in SINGLE_PRECISION:
        return np.full(shape, np.nan, dtype=np.float32)
    return np.full(shape, np.nan, dtype=np.float64 if dtype.kind in "fiu" else dtype)


def _collect(items: list[GatherItem], on_sample: Callable[[], object]) -> tuple[_Columns, tuple[str, ...]]:
    columns = _Columns(items)
    elements: tuple[str, ...] = ()
    for index, (found, arrays) in enumerate(_read_all(items)):
        elements = elements or found
        for name, values in arrays:
            columns.add(index, name, values)
        on_sample()
    return columns, elements


def _read_all(items: list[GatherItem]) -> Iterator[_Read]:
    """Yield what every sample has, in order; many samples are read by several processes.

    Threads would not do: the netCDF library opens files one at a time.
    """
    if len(items) < _FEW_SAMPLES:
        return map(_read, items)
    import joblib  # noqa: PLC0415 - small campaigns do without

    processes = joblib.Parallel(min(_MOST_READERS, joblib.cpu_count()), backend="loky", return_as="generator")
    found: Iterator[_Read] = processes(joblib.delayed(_read)(item) for item in items)
    return found


def _read(item: GatherItem) -> _Read:
    """Return the elements of a sample and its variables, in the order in which its stages hold them."""
    elements: tuple[str, ...] = ()
    arrays: list[tuple[str, NDArray[Any]]] = []
    for stage, source in item.stages.items():
        if stage == "melt":
            continue
        found = source() if callable(source) else source
        elements = elements or tuple(str(found.attrs.get("elements", "")).split())
        arrays += [
            (str(name), variable.to_numpy())
            for name, variable in found.variables.items()
            if name in VARIABLES and name not in LEFT_OUT
        ]
        if "search_code" in found:
            arrays += _per_atom(found, item.n_atoms).items()
    return elements, arrays


def _per_atom(searched: xr.Dataset, n_atoms: int) -> dict[str, NDArray[Any]]:
    """Return what the searches of each atom say; NaN, or a count of 0, for atoms that were not searched."""
    whole = {}
    for name, values in summarise({str(name): searched[name].to_numpy() for name in searched.variables}).items():
        whole[name] = _empty(name, (n_atoms,), values.dtype)
        whole[name][searched["searched_atom"].to_numpy()] = values
    return whole


# ---- the dataset ------------------------------------------------------------------------------------------------------


def gather(
    results: Iterable[GatherItem], attrs: Mapping[str, Any], on_sample: Callable[[], object] = lambda: None
) -> xr.Dataset:
    """Return all samples as one dataset.

    Parameters
    ----------
    results : iterable of GatherItem
    attrs : mapping
        Global attributes: ``title``, ``source``, ``license``, ``bp_*`` and so on; they win over the defaults.
    on_sample : callable
        Called after each sample, for a display.

    Returns
    -------
    xarray.Dataset
        Units and long names are those of ``units.VARIABLES``.

    Raises
    ------
    CampaignError
        If there is no sample, or samples do not fit together.
    """
    items = list(results)
    if not items:
        raise CampaignError("there is no sample to gather; 'bpd plan' shows what the configuration asks for")
    columns, elements = _collect(items, on_sample)
    elements = elements or tuple(dict.fromkeys(element for item in items for element in item.composition))
    variables = _sample_variables(items, elements)
    variables["row_size"] = np.diff(columns.first_row).astype(np.int32)
    dataset = xr.Dataset()
    for name, values in variables.items():
        dataset[name] = _labelled(SAMPLE_VARIABLES[name], values)
    for name, values in columns.arrays.items():
        dataset[name] = _labelled(VARIABLES[name], _without_gaps(name, columns, values))
    for dim in _GROWING:
        _add_growing(dataset, columns.growing[dim], dim, len(items))
    return _finish(dataset, items, columns.grids, elements, attrs)


def _sample_variables(items: list[GatherItem], elements: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    variables: dict[str, NDArray[Any]] = {
        "cooling_rate": np.array([item.cooling_rate for item in items], dtype=np.float64),
        "n_atoms": np.array([item.n_atoms for item in items], dtype=np.int32),
        "seed": np.array([item.seed for item in items], dtype=np.int64),
        "replica": np.array([item.replica for item in items], dtype=np.int32),
        "accepted": np.array([_verdict(item, item.rejected) for item in items], dtype=np.int8),
        "robust_accepted": np.array(
            [_verdict(item, item.rejected.replace(Reason.NO_PEAK.value, "")) for item in items], dtype=np.int8
        ),
        "composition": np.array([[item.composition.get(element, 0.0) for element in elements] for item in items]),
    }
    if any(planned := [item.searched_planned for item in items]):
        variables["searched_planned"] = np.array(planned, dtype=np.int32)
    return variables


def _verdict(item: GatherItem, rejected: str) -> int:
    if rejected:
        return 0
    return 1 if "vibration" in item.stages else -1


def _labelled(known: Variable, values: NDArray[Any]) -> xr.Variable:
    dims = known.dims
    if dims[:1] and dims[0] in ROWS:
        dims = (ROWS[dims[0]][0], *dims[1:])
    elif dims[:1] != ("sample",):
        dims = ("sample", *dims)
    return xr.Variable(dims, values, {"units": known.units, "long_name": known.long_name})


def _without_gaps(name: str, columns: _Columns, values: NDArray[Any]) -> NDArray[Any]:
    """Spectra end at each sample's highest mode: beyond it g is zero, not unknown, if all modes are known."""
    grid = VARIABLES[name].dims[0] if VARIABLES[name].dims else ""
    if grid in _SPECTRAL:
        there = ~np.isnan(values).all(axis=1)
        if grid == "omega_bin":
            there &= _all_modes_known(columns)
        values[there] = np.nan_to_num(values[there], nan=0.0)
        if len(columns.grids[GRIDS[grid]]) != values.shape[1]:
            raise CampaignError(f"{name!r} and {GRIDS[grid]!r} differ in length")
    return values


def _all_modes_known(columns: _Columns) -> NDArray[np.bool_]:
    """Tell for each sample whether ``frequency`` holds all its modes."""
    known = np.isfinite(columns.arrays["frequency"]).sum(axis=1)
    return np.asarray(known >= columns.arrays["n_modes"])


def _add_growing(dataset: xr.Dataset, found: Mapping[str, dict[int, NDArray[Any]]], dim: str, n_samples: int) -> None:
    """Add ragged arrays and how long each sample's is; a sample that lacks one of several has NaN there."""
    sizes = np.zeros(n_samples, dtype=np.int64)
    for per_sample in found.values():
        for index, values in per_sample.items():
            sizes[index] = max(sizes[index], len(values))
    if not sizes.any():
        return
    count = ROWS[dim][1]
    dataset[count] = _labelled(SAMPLE_VARIABLES[count], sizes.astype(np.int32))
    first = np.concatenate([[0], np.cumsum(sizes)])
    for name, per_sample in found.items():
        like = next(iter(per_sample.values()))
        shape = (int(first[-1]), *like.shape[1:])
        whole = np.full(shape, np.nan if like.dtype.kind == "f" else -1, like.dtype)
        for index, values in per_sample.items():
            whole[first[index] : first[index] + len(values)] = values
        dataset[name] = _labelled(VARIABLES[name], whole)


def _finish(
    dataset: xr.Dataset,
    items: list[GatherItem],
    grids: Mapping[str, NDArray[Any]],
    elements: tuple[str, ...],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Add coordinates, CF attributes of the ragged arrays, and global attributes."""
    for dim, name in GRIDS.items():
        if name in grids:
            known = VARIABLES[name]
            dataset.coords[name] = xr.Variable(
                (dim,), grids[name], {"units": known.units, "long_name": known.long_name}
            )
    for name, meaning in TEXTS.items():
        values = np.array([getattr(item, name) for item in items], dtype=np.str_)
        dataset.coords[name] = xr.Variable(("sample",), values, {"long_name": meaning})
    dataset.coords["element"] = xr.Variable(
        ("element",), np.array(elements, dtype=np.str_), {"long_name": "chemical element"}
    )
    if "element_pair" in dataset.sizes:
        pairs = [f"{a}{b}" for index, a in enumerate(elements) for b in elements[index:]]
        dataset.coords["element_pair"] = xr.Variable(
            ("element_pair",), np.array(pairs, dtype=np.str_), {"long_name": "pair of chemical elements"}
        )
    if "cart" in dataset.sizes:
        dataset.coords["cart"] = xr.Variable(("cart",), np.array(["x", "y", "z"]), {"long_name": "Cartesian component"})
    dataset = dataset.set_coords([name for name in SAMPLE_VARIABLES if name in dataset and name != "composition"])
    for dim, count in ROWS.values():
        if count in dataset:
            dataset[count].attrs["sample_dimension"] = dim  # CF: names the dimension that is counted
    if "species" in dataset:
        dataset["species"].attrs |= {
            "flag_values": np.arange(len(elements), dtype=np.int8),
            "flag_meanings": " ".join(elements),
        }
    for name in ("accepted", "robust_accepted"):
        dataset[name].attrs |= {
            "flag_values": np.array([-1, 0, 1], dtype=np.int8),
            "flag_meanings": "not_available rejected accepted",
        }
    if "search_code" in dataset:
        dataset["search_code"].attrs |= {
            "flag_values": np.array([*Code], dtype=np.int8),
            "flag_meanings": " ".join(code.name.lower() for code in Code),
        }
    dataset.attrs = {**_default_attributes(dataset, elements), **attrs}
    return dataset


def _default_attributes(dataset: xr.Dataset, elements: tuple[str, ...]) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    accepted = dataset["accepted"].to_numpy()
    return {
        "Conventions": "CF-1.11 ACDD-1.3",
        "title": "Boson-peak campaign of model glasses",
        "summary": "Inherent structures, pair distributions and vibrational spectra of quenched glasses",
        "source": "bp_distributed",
        "history": f"{now} gathered by bp_distributed",
        "date_created": now,
        "references": "Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023)",
        "comment": "angular frequencies in rad/ps; 1e-6 ps3 is the papers' µTHz-3",
        "license": "as the campaign's owner decides",
        "elements": " ".join(elements),
        "bp_samples": int(accepted.size),
        "bp_samples_accepted": int((accepted == 1).sum()),
        "bp_samples_rejected": int((accepted == 0).sum()),
        "bp_samples_unavailable": int((accepted == -1).sum()),
    }


# ---- on disk ----------------------------------------------------------------------------------------------------------


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write the dataset as one netCDF4 file, which appears whole or not at all.

    Every array is compressed, chunked along its first dimension and carries checksums.
    """
    encoding = {str(name): _encoding(variable) for name, variable in dataset.variables.items()}
    aside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        dataset.to_netcdf(aside, engine="netcdf4", format="NETCDF4", encoding=encoding)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind == "U":
        return {"dtype": "S1"}
    if not variable.ndim or not variable.size:
        return {"_FillValue": None}
    per_first = max(1, variable.dtype.itemsize * int(np.prod(variable.shape[1:])))
    first = int(np.clip(_CHUNK_BYTES // per_first, 1, variable.shape[0]))
    return {
        "zlib": True,
        "complevel": 4,
        "shuffle": True,
        "fletcher32": True,
        "chunksizes": (first, *variable.shape[1:]),
        # an integer with a fill value would come back as float; none of ours can be missing
        "_FillValue": np.nan if variable.dtype.kind == "f" else None,
    }


def open_dataset(path: Path | str, chunks: Any = None) -> xr.Dataset:
    """Open a gathered dataset lazily: numbers are read when they are used.

    Parameters
    ----------
    path : Path or str
    chunks : optional
        As for ``xarray.open_dataset``; given, the variables become Dask arrays.

    Raises
    ------
    StoreError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise StoreError(str(path), "no such file; 'bpd gather' writes it")
    dataset = xr.open_dataset(path, engine="netcdf4", chunks=chunks, decode_times=False, decode_timedelta=False)
    texts = {name: variable for name, variable in dataset.variables.items() if variable.dtype.kind not in "biuf"}
    return dataset.assign_coords(
        {name: (text.dims, text.to_numpy().astype(np.str_), text.attrs) for name, text in texts.items()}
    )


def of_sample(dataset: xr.Dataset, index: int) -> xr.Dataset:
    """Return one sample with its own atoms and history: the ragged arrays cut to its rows.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :func:`gather` or :func:`open_dataset`.
    index : int
        Position along ``sample``.
    """
    cut = {}
    for dim, count in ROWS.values():
        if count in dataset.variables and dim in dataset.sizes:
            sizes = dataset[count].to_numpy()
            start = int(sizes[:index].sum())
            cut[dim] = slice(start, start + int(sizes[index]))
    return dataset.isel({"sample": index, **cut})
