# SPDX-License-Identifier: BSD-3-Clause
"""One sample as it leaves the house: its atoms, one column per quantity of an atom, and what is known of the whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import Evaluation, evaluate
from bp_distributed.physics.potential import EAMPotential
from bp_distributed.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    import xarray as xr

_UNLIKE_FILE_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")
_COUNTS_OF_ROWS = frozenset({"row_size", "history_row_size", "searched_row_size"})
STRESS = {f"stress_volume_{'xyz'[a]}{'xyz'[b]}": (a, b) for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))}
"""Name of a column of stress, and which component it is."""


@dataclass(frozen=True)
class Column:
    """One quantity of every atom.

    Attributes
    ----------
    name : str
        Without blanks; for quantities of the gathered dataset the name they have there.
    units, meaning : str
        As in the gathered dataset.
    values_i : ndarray, shape=(n_atoms,)
        Whole numbers, or floats with NaN where nothing is known.
    """

    name: str
    units: str
    meaning: str
    values_i: NDArray[np.number]

    def words(self) -> list[str]:
        """Return the shortest texts that read back as the same numbers; ``nan`` where nothing is known."""
        if self.values_i.dtype == np.float32:
            shortest: list[str] = self.values_i.astype(np.str_).tolist()  # repr would widen to 17 digits
            return shortest
        return [repr(value) for value in self.values_i.tolist()]


@dataclass(frozen=True)
class Frame:
    """One sample.

    Attributes
    ----------
    sample_id, label : str
    configuration : Configuration
        The inherent structure.
    columns : tuple of Column
        The same names in every frame of one dataset.
    facts : dict
        What is known of the whole sample, by the names of the gathered dataset.
    """

    sample_id: str
    label: str
    configuration: Configuration
    columns: tuple[Column, ...]
    facts: dict[str, float | int]

    @property
    def file_stem(self) -> str:
        """Name for a file of this sample: label and first digits of the id, without blanks."""
        return f"{_UNLIKE_FILE_NAMES.sub('_', self.label)}_{self.sample_id[:8]}"

    @property
    def symbols(self) -> list[str]:
        """Chemical symbol of each atom."""
        elements = self.configuration.elements
        return [elements[species] for species in self.configuration.species_i.tolist()]


def frames(dataset: xr.Dataset, potential: EAMPotential, chosen: Iterable[int]) -> Iterator[Frame]:
    """Yield samples that have a structure.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    potential : EAMPotential
        For the dataset's elements, in its order.  Energy and stress of each atom are computed with it.
    chosen : iterable of int
        Positions along ``sample``.
    """
    from bp_distributed.gather import of_sample  # noqa: PLC0415 - xarray takes half a second

    for index in chosen:
        sample = of_sample(dataset, index)
        if int(sample["row_size"]):
            yield _frame(sample, potential)


def _frame(sample: xr.Dataset, potential: EAMPotential) -> Frame:
    configuration = Configuration(
        sample["position"].to_numpy(),
        sample["cell"].to_numpy(),
        sample["species"].to_numpy().astype(np.int64),
        potential.elements,
    )
    columns = (*_known(sample), *evaluated(evaluate(configuration, potential)))
    return Frame(str(sample["sample_id"].item()), str(sample["label"].item()), configuration, columns, facts(sample))


def _known(sample: xr.Dataset) -> Iterator[Column]:
    """Yield the dataset's quantities of single atoms."""
    for name, found in sample.variables.items():
        if found.dims == ("row",) and name != "species":
            yield Column(str(name), found.attrs["units"], found.attrs["long_name"], found.to_numpy())


def facts(sample: xr.Dataset) -> dict[str, float | int]:
    """Return the numbers known of one whole sample, composition included, by name."""
    known = {
        str(name): found.to_numpy().item()
        for name, found in sample.variables.items()
        if not found.ndim and found.dtype.kind in "iuf" and name not in _COUNTS_OF_ROWS
    }
    fractions = zip(sample["element"].to_numpy().tolist(), sample["composition"].to_numpy().tolist(), strict=True)
    known |= {f"composition_{element}": fraction for element, fraction in fractions}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def evaluated(found: Evaluation) -> tuple[Column, ...]:
    """Return energy, stress and pressure of each atom.

    Parameters
    ----------
    found : Evaluation
        Of one configuration.

    Returns
    -------
    tuple of Column
        ``stress_volume_*`` is stress times volume in eV, tension positive, as LAMMPS's ``compute stress/atom``: its
        trace sums to minus three times pressure times volume.  ``atomic_pressure`` divides by the mean volume of an
        atom, so that its mean is the pressure of the sample.
    """
    per_atom_volume = found.volume / len(found.energies_i)
    pressure_i = -np.trace(found.virial_icc, axis1=1, axis2=2) / (3.0 * per_atom_volume) * GPA_PER_EV_PER_A3
    stress = (
        Column(name, "eV", f"stress times volume, component {name[-2:]}, tension positive", found.virial_icc[:, a, b])
        for name, (a, b) in STRESS.items()
    )
    return (
        Column("atomic_energy", "eV", "half of each pair energy plus the embedding energy", found.energies_i),
        Column("atomic_pressure", "GPa", "pressure of the atom in the mean volume of an atom", pressure_i),
        *stress,
    )
