# SPDX-License-Identifier: BSD-3-Clause
"""From a campaign's results to what the job on single atoms starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError

if TYPE_CHECKING:
    import xarray as xr

MOST_ATOMS = 60_000
"""Of whole samples; their functions take 1 kB an atom."""
MIN_SAMPLES, MIN_MELTS = 4, 2

Indices = NDArray[np.intp]
Load = Callable[[str, str], "xr.Dataset | None"]


def atom_inputs(
    dataset: xr.Dataset, samples: Indices, load: Load, most_atoms: int = MOST_ATOMS
) -> dict[str, NDArray[Any]]:
    """Return atoms with their surroundings and intensities, whole samples one after the other.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    samples : ndarray of int
        Places of samples of one size and one composition.
    load : callable
        ``load(sample_id, "structure")`` yields the result that holds ``atomic_pdf``, or nothing.
    most_atoms : int
        Where there are more, samples are left out one by one from the melt that has most.

    Returns
    -------
    dict of str to ndarray
        ``pdf`` (atom, element, bin) dimensionless, ``r`` (bin) Å, ``species`` and ``sample`` (atom), ``position``
        (atom, 3) and ``cell`` (sample, 3, 3) in Å, ``intensity`` (atom) in ps³, ``group`` and ``sample_id`` (sample),
        ``cooling_rate`` (sample) in K/s.

    Raises
    ------
    CampaignError
        If fewer than four samples, or than two melts, have what is needed.
    """
    names = ("position", "cell", "species", "atomic_intensity")
    lacking = [name for name in names if name not in dataset]
    if lacking:
        raise CampaignError(f"the dataset holds no {lacking[0]!r}; run the stage 'vibration', then 'bpd gather'")
    kept = []
    for sample in _thinned(dataset, _usable(dataset, samples), most_atoms):
        structure = load(str(dataset["sample_id"][sample].item()), "structure")
        if structure is not None and "atomic_pdf" in structure:
            kept.append(_sample(dataset, int(sample), structure))
    melts = len({str(one["group"]) for one in kept})
    if len(kept) < MIN_SAMPLES or melts < MIN_MELTS:
        raise CampaignError(
            f"{len(kept)} samples of {melts} melt(s) have atomic pair distributions and intensities; learning from "
            f"atoms needs at least {MIN_SAMPLES} samples of {MIN_MELTS} melts: keep 'structure: {{atomic: true}}', "
            "run more samples"
        )
    joined = {name: np.concatenate([one[name] for one in kept]) for name in ("pdf", "species", "position", "intensity")}
    sizes = [len(one["species"]) for one in kept]
    return joined | {
        "sample": np.repeat(np.arange(len(kept)), sizes),
        "r": kept[0]["r"],
        **{name: np.array([one[name] for one in kept]) for name in ("cell", "group", "sample_id", "cooling_rate")},
    }


def _first_rows(dataset: xr.Dataset) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(dataset["row_size"].to_numpy())])


def _usable(dataset: xr.Dataset, samples: Indices) -> Indices:
    """Return the samples all whose atoms have a positive intensity; a rejected spectrum has them as well."""
    first = _first_rows(dataset)
    intensity = dataset["atomic_intensity"].to_numpy()
    good = [s for s in samples if first[s + 1] > first[s] and np.all(intensity[first[s] : first[s + 1]] > 0.0)]
    return np.array(good, dtype=np.intp)


def _thinned(dataset: xr.Dataset, samples: Indices, most_atoms: int) -> Indices:
    """Return as many samples as hold ``most_atoms``: first one of each melt, then a second, and so on."""
    group_s = dataset["group"].to_numpy()[samples]
    turn_s = np.zeros(len(samples), dtype=np.intp)
    for group in np.unique(group_s):
        mine = np.flatnonzero(group_s == group)
        turn_s[mine] = np.arange(len(mine))
    in_turn = samples[np.argsort(turn_s, kind="stable")]
    fits = np.cumsum(dataset["n_atoms"].to_numpy()[in_turn]) <= most_atoms
    return np.sort(in_turn[fits])


def _sample(dataset: xr.Dataset, sample: int, structure: xr.Dataset) -> dict[str, Any]:
    first = _first_rows(dataset)
    rows = slice(int(first[sample]), int(first[sample + 1]))
    found: dict[str, Any] = {name: dataset[name][rows].to_numpy() for name in ("species", "position")}
    return found | {
        "intensity": dataset["atomic_intensity"][rows].to_numpy().astype(np.float64),
        "pdf": structure["atomic_pdf"].to_numpy().astype(np.float32),
        "r": structure["r"].to_numpy(),
        "cell": dataset["cell"][sample].to_numpy(),
        "group": str(dataset["group"][sample].item()),
        "sample_id": str(dataset["sample_id"][sample].item()),
        "cooling_rate": float(dataset["cooling_rate"][sample].item()),
    }
