# SPDX-License-Identifier: BSD-3-Clause
"""One result as a labelled netCDF file, and back.  The labels come from one table, ``units.VARIABLES``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bp_distributed.units import VARIABLES

VECTORS_PER_CHUNK = 64
"""One mode is read without the others, yet a chunk is large enough to compress."""

_FILL = "_FillValue"
_SINGLE_PRECISION = {"atomic_pdf", "atomic_vdos"}


def label(arrays: dict[str, NDArray[Any]], attributes: dict[str, Any]) -> xr.Dataset:
    """Return arrays with their dimensions, units and long names.

    Raises
    ------
    KeyError
        If a name is not in the table: a programming error.
    """
    variables = {}
    for name, values in arrays.items():
        known = VARIABLES[name]
        if name in _SINGLE_PRECISION:
            values = values.astype(np.float32)  # noqa: PLW2901
        variables[name] = (known.dims, values, {"units": known.units, "long_name": known.long_name})
    return xr.Dataset(variables, attrs={"Conventions": "CF-1.11", **attributes})


def write(dataset: xr.Dataset, path: Path) -> None:
    """Write a netCDF4 file whose every chunk carries a checksum."""
    encoding: dict[Any, dict[str, Any]] = {
        name: {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.dtype.kind in "fiu"
    }
    if "vector" in encoding and dataset["vector"].size:
        n_modes, *rest = dataset["vector"].shape
        encoding["vector"]["chunksizes"] = (min(n_modes, VECTORS_PER_CHUNK), *rest)
    dataset.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def read(path: Path, leave: Collection[str] = ()) -> xr.Dataset:
    """Return a result file, loaded and closed; variables named in ``leave`` stay where they are.

    It is read without xarray's layers of lazy arrays, which take as long as the numbers themselves.
    """
    import netCDF4  # noqa: PLC0415 - most commands read no result

    with netCDF4.Dataset(path) as stored:
        stored.set_auto_maskandscale(False)
        variables = {
            name: (found.dimensions, found[...], {key: found.getncattr(key) for key in found.ncattrs() if key != _FILL})
            for name, found in stored.variables.items()
            if name not in leave
        }
        return xr.Dataset(variables, attrs={key: stored.getncattr(key) for key in stored.ncattrs()})


def joined(batches: Iterable[xr.Dataset]) -> xr.Dataset:
    """Return batches of one stage of one sample as one result, in the order given.

    Every variable is joined along its first dimension; attributes are those that all batches have in common.
    """
    parts = list(batches)
    variables = {
        name: (known.dims, np.concatenate([part[name].to_numpy() for part in parts]), known.attrs)
        for name, known in parts[0].variables.items()
    }
    shared = {key: text for key, text in parts[0].attrs.items() if all(part.attrs.get(key) == text for part in parts)}
    return xr.Dataset(variables, attrs=shared)
