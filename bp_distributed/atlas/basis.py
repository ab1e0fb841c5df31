# SPDX-License-Identifier: BSD-3-Clause
"""Which samples a row may put together, and what its numbers stand on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.panel import Basis, Missing
from bp_distributed.atlas.rows import title_of
from bp_distributed.captions import atoms_text, differences
from bp_distributed.figures import rate_text
from bp_distributed.gather import ROWS
from bp_distributed.report import ReportContext

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.atlas.source import Source


@dataclass(frozen=True)
class Alike:
    """Samples of one size and one composition (a campaign has one potential).

    Attributes
    ----------
    samples : ndarray of int
        Their places in the dataset, rising.
    name : str
        Such as ``Cu50Zr50, 864 atoms``.
    left_out : int
        Samples that could have been used but are of another size or composition.
    choice : str
        Which group this is.
    """

    samples: NDArray[np.intp]
    name: str
    left_out: int
    choice: str = "the largest group alike"

    @property
    def sentence(self) -> str:
        """Who was chosen, and what was left out, in one sentence."""
        rest = f"; {self.left_out} of other size or composition left out" if self.left_out else ""
        return f"{counted(len(self.samples))} of {self.name}, {self.choice}{rest}"


def basis(source: Source, samples: NDArray[np.intp], estimator: str, uncertainty: str) -> Basis:
    """Return what the numbers of a panel stand on.

    Parameters
    ----------
    source : Source
    samples : ndarray of int
        Places of the samples in the dataset.
    estimator, uncertainty : str
        As in :class:`~bp_distributed.atlas.panel.Basis`.
    """
    part = source.dataset[["n_atoms", "cooling_rate"]].isel(sample=samples)
    rates = rates_text(part["cooling_rate"].to_numpy())
    atoms = atoms_text(part) if len(samples) else "-"
    return Basis(len(samples), atoms, rates, source.potential, estimator, uncertainty)


def counted(samples: int) -> str:
    """Return a number of samples in words."""
    return f"{samples} sample" if samples == 1 else f"{samples} samples"


def rates_text(rate_s: NDArray[np.float64]) -> str:
    """Return cooling rates as people write them, and how many are not known."""
    known = np.unique(rate_s[np.isfinite(rate_s)])
    unknown = int((~np.isfinite(rate_s)).sum())
    if not len(rate_s):
        return "-"
    if not len(known):
        return "not known: made elsewhere"
    text = rate_text(known[0]) if len(known) == 1 else f"{rate_text(known[0])} to {rate_text(known[-1])} ({len(known)})"
    return f"{text}; not known of {counted(unknown)}" if unknown else text


def known(dataset: xr.Dataset, *names: str) -> NDArray[np.bool_]:
    """Tell for each sample whether all these variables have a value; a variable that is not there has none."""
    known_s = np.ones(dataset.sizes["sample"], dtype=bool)
    for name in names:
        if name not in dataset.variables:
            return np.zeros_like(known_s)
        finite = np.isfinite(dataset[name].to_numpy())
        known_s &= finite.reshape(len(known_s), -1).any(axis=1)
    return known_s


def known_atoms(dataset: xr.Dataset, name: str) -> NDArray[np.bool_]:
    """Tell for each sample whether any of its atoms has a value of a variable."""
    if name not in dataset:
        return np.zeros(dataset.sizes["sample"], dtype=bool)
    sizes = dataset["row_size"].to_numpy()
    owner_i = np.repeat(np.arange(len(sizes)), sizes)
    return np.bincount(owner_i, np.isfinite(dataset[name].to_numpy()), len(sizes)) > 0


def alike(dataset: xr.Dataset, usable_s: NDArray[np.bool_]) -> Alike:
    """Return the largest group of usable samples of one size and one composition.

    Of equally large groups the one of larger samples is taken.

    Parameters
    ----------
    dataset : xarray.Dataset
    usable_s : ndarray of bool, shape=(n_samples,)
    """
    groups = groups_alike(dataset, usable_s)
    if not groups:
        return Alike(np.zeros(0, dtype=np.intp), "nothing", 0)
    return max(groups, key=lambda one: (len(one.samples), int(dataset["n_atoms"][one.samples[0]])))


def largest_alike(dataset: xr.Dataset, usable_s: NDArray[np.bool_]) -> Alike:
    """Return the group alike whose samples have most atoms and come from two melts or more, for what needs size.

    Where no group has two melts it is that of :func:`alike`.
    """
    groups = [one for one in groups_alike(dataset, usable_s) if len(set(melts_of(dataset, one.samples))) > 1]
    if not groups:
        return alike(dataset, usable_s)
    found = max(groups, key=lambda one: (int(dataset["n_atoms"][one.samples[0]]), len(one.samples)))
    return replace(found, choice="the largest samples of which there are two melts")


def groups_alike(dataset: xr.Dataset, usable_s: NDArray[np.bool_]) -> list[Alike]:
    """Return all groups of usable samples of one size and one composition."""
    percent_se = np.round(100.0 * dataset["composition"].to_numpy(), 2)
    keys_sk = np.column_stack([dataset["n_atoms"].to_numpy(), percent_se])
    elements = [str(element) for element in dataset["element"].to_numpy()]
    found = []
    for key in np.unique(keys_sk[usable_s], axis=0):
        samples = np.flatnonzero(usable_s & (keys_sk == key).all(axis=1))
        composition = "".join(f"{e}{share:g}" for e, share in zip(elements, key[1:], strict=True) if share)
        found.append(Alike(samples, f"{composition}, {key[0]:.0f} atoms", int(usable_s.sum()) - len(samples)))
    return found


def part(dataset: xr.Dataset, samples: NDArray[np.intp]) -> xr.Dataset:
    """Return some samples, with their own rows of every ragged array."""
    kept: dict[str, NDArray[np.intp]] = {"sample": samples}
    for dim, (ragged, count) in ROWS.items():
        if count in dataset.variables and ragged in dataset.sizes:
            pieces = [np.arange(place.start, place.stop) for place in (entries(dataset, s, dim) for s in samples)]
            kept[ragged] = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.intp)
    return dataset.isel(kept)


def lacking(source: Source, row: str, what: str, section: str = "") -> Missing:
    """Return a row whose data are not there.

    Parameters
    ----------
    source : Source
    row : str
    what : str
        What is missing.
    section : str
        Of ``campaign.yaml``, that asks for it; without one every campaign has it.
    """
    asked = json.loads(source.dataset.attrs.get("bp_config", "{}"))
    command = "bpd run"
    if section and not asked.get(section):
        command = f"add a section '{section}:' to campaign.yaml ('bpd init' explains it), then bpd amend and bpd run"
    return Missing(row, title_of(row), what, command)


def melts_of(dataset: xr.Dataset, samples: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the melt (or leakage group) of each of these samples, from 0."""
    numbers: NDArray[np.intp] = np.unique(dataset["group"].to_numpy()[samples], return_inverse=True)[1]
    return numbers


def entries(dataset: xr.Dataset, sample: int, dim: str = "atom") -> slice:
    """Return where one sample's ragged entries lie.

    Parameters
    ----------
    dataset : xarray.Dataset
    sample : int
    dim : str
        ``atom``, ``history`` or ``searched``.
    """
    sizes = dataset[ROWS[dim][1]].to_numpy()
    start = int(sizes[:sample].sum())
    return slice(start, start + int(sizes[sample]))


def why_not(source: Source, samples: NDArray[np.intp], *, tao: bool, binned: bool = False) -> str:
    """Return why numbers of these samples are not those of a paper, Tao et al. or Yang et al.; empty if they may be.

    ``binned`` adds that the papers do not give their bins.
    """
    if not len(samples):
        return "none of these samples is in the dataset"
    part = source.dataset[["n_atoms", "cooling_rate"]].isel(sample=samples)
    return differences(part, ReportContext("", "", potential_label=source.potential), tao=tao, binned=binned)
