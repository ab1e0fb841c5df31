# SPDX-License-Identifier: BSD-3-Clause
"""What the activation energies are for: how they go together with the atomic boson-peak intensity, and how surely.

One study of all samples that were made alike (composition and cooling rate), from the gathered dataset alone, for every
choice of "the" activation energy of an atom.  The same atoms enter both sides of every relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError
from bp_distributed.figures import MICRO_THZ, rate_text
from bp_distributed.physics.artn import Code
from bp_distributed.physics.autocorrelation import Decay, decay
from bp_distributed.physics.coarse_graining import KERNELS, coarse_grain, reach, tail
from bp_distributed.physics.correlation import (
    Contrast,
    Curve,
    Line,
    by_chance,
    contrast,
    curve,
    line,
    p_value,
    shuffled,
)
from bp_distributed.physics.sites import Sites, shifts

if TYPE_CHECKING:
    import xarray as xr

PAPER = "mean_activation_energy"
CHOICES = {
    PAPER: "all that converge (paper)",
    "connected_mean_activation_energy": "connected saddles",
    "unique_mean_activation_energy": "distinct connected saddles",
    "min_activation_energy": "lowest connected saddle",
}
"""Variables of the dataset that may be called the activation energy of an atom, and their names."""

REFERENCE_KERNEL = "gaussian"
"""Of the line, the map and the bins; all kernels are in the curves."""

LENGTHS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 5.9, 7.0, 8.0, 9.0, 10.0)
"""Å; 5.9 is the paper's best."""

MAX_TAIL = 0.25
"""A kernel with more of its weight beyond half the cell is not the kernel it claims to be."""

NEAREST_NEIGHBOUR = 2.2
"""Å; a top hat below this holds the atom alone."""

SHARE = 0.1
PER_GROUP = 100
"""Atoms per mean of the paper's bins."""

FEWEST_GROUPS = 10
FEWEST_ATOMS = 60
FEWEST_OF_A_SPECIES = 20
FEWEST_AT_AN_END = 5
"""Below these nothing is said."""

N_SHIFTS = 200
_N_FIELDS = 5


Averages = Mapping[str, tuple[NDArray[np.float64], NDArray[Any]]]
"""By kernel: lengths_l in Å, and fields coarse-grained by them, shape=(n_lengths, n_fields, n_atoms)."""


@dataclass(frozen=True)
class Glass:
    """Samples made alike, with what is known of each atom.

    Attributes
    ----------
    name : str
    composition : str
        Such as ``Cu50Zr50``.
    rate : float, K/s
        NaN if unknown.
    samples : ndarray of int
        Their places in the dataset.
    sites : Sites
    species_i : ndarray of int, shape=(n_atoms,)
    elements : tuple of str
    intensity_i : ndarray, shape=(n_atoms,), µTHz⁻³
    energy : dict of str to ndarray, shape=(n_atoms,), eV
        By choice; NaN where unknown.
    """

    name: str
    composition: str
    rate: float
    samples: NDArray[np.intp]
    sites: Sites
    species_i: NDArray[np.intp]
    elements: tuple[str, ...]
    intensity_i: NDArray[np.float64]
    energy: Mapping[str, NDArray[np.float64]]

    def known(self, choice: str) -> NDArray[np.bool_]:
        """Tell for each atom whether its intensity and its energy of this choice are known."""
        return np.isfinite(self.intensity_i) & (self.intensity_i > 0) & np.isfinite(self.energy[choice])

    def of(self, choice: str) -> Glass:
        """Return the atoms whose intensity and whose energy of this choice are known."""
        keep = self.known(choice)
        return replace(
            self, sites=self.sites.take(keep), species_i=self.species_i[keep], intensity_i=self.intensity_i[keep],
            energy={name: values[keep] for name, values in self.energy.items()},
        )  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """One choice of the activation energy against the intensity, in one glass.

    Attributes
    ----------
    n_atoms : int
    mean, deviation : float, eV
        Of the energy over atoms.
    inverse : dict of str to Curve
        By kernel: r of [1/I] and energy.
    direct : dict of str to Curve
        By kernel: r of [I] and energy.
    within : Curve
        As ``inverse`` by the reference kernel, with the mean of each element taken off both sides before.
    x_i, y_i : ndarray, shape=(n_atoms,)
        [1/I] and energy, coarse-grained by the reference kernel at its best length.
    line : Line
        Of these.
    element_lines : dict of str to Line
        The same at the atoms of one element.
    element_r : dict of str to Curve
        r at the atoms of one element, reference kernel.
    contrasts : dict of str to Contrast
        Energy of the atoms of an element with the largest and the smallest intensity, without coarse-graining.
    """

    n_atoms: int
    mean: float
    deviation: float
    inverse: Mapping[str, Curve]
    direct: Mapping[str, Curve]
    within: Curve
    x_i: NDArray[np.float64]
    y_i: NDArray[np.float64]
    line: Line
    element_lines: Mapping[str, Line]
    element_r: Mapping[str, Curve]
    contrasts: Mapping[str, Contrast]

    @property
    def reference(self) -> Curve:
        """The curve of the reference kernel."""
        return self.inverse[REFERENCE_KERNEL]

    @property
    def length(self) -> float:
        """Coarse-graining length of the line, Å."""
        return float(self.reference.lengths_l[self.reference.best])


@dataclass(frozen=True)
class GlassStudy:
    """All relations of one glass and the decay of the fields.

    Attributes
    ----------
    glass : Glass
    relations : dict of str to Relation
        By choice; those with too few atoms are missing.
    intensity_decay : Decay
        Of 1/I, over the atoms of the paper's choice.
    energy_decay : dict of str to Decay
        By choice.
    p_shuffled : float
        How often the paper's energies correlate as strongly, at the best length of the reference kernel, when they are
        dealt to other atoms before coarse-graining: chance for atoms that know nothing of their neighbours.
    """

    glass: Glass
    relations: Mapping[str, Relation]
    intensity_decay: Decay
    energy_decay: Mapping[str, Decay]
    p_shuffled: float


@dataclass(frozen=True)
class Tally:
    """How the searches ended.

    Attributes
    ----------
    codes : dict of int to int
        Searches by ``search_code``, those not tried left out.
    connected, repeated, unconnected, second_order, unknown : int
        The successes: new connected first-order saddles, the same again, not connected, of second order (or more), and
        those not validated.
    region_error : ndarray, eV
        Energy of each saddle in its active region minus the energy stated, for which its surroundings were free.
    boundary_error : ndarray, eV
        The energy stated minus that of the whole sample, of the saddles that were checked.
    checked, confirmed : int
        Saddles whose connection was judged again in the whole sample, and those judged as before.
    """

    codes: Mapping[int, int]
    connected: int
    repeated: int
    unconnected: int
    second_order: int
    unknown: int
    region_error: NDArray[np.float64]
    boundary_error: NDArray[np.float64]
    checked: int
    confirmed: int

    @property
    def searches(self) -> int:
        """Searches begun."""
        return sum(self.codes.values())

    @property
    def successes(self) -> int:
        """Searches that ended at a saddle."""
        return self.connected + self.repeated + self.unconnected + self.second_order + self.unknown


@dataclass(frozen=True)
class ActivationStudy:
    """Everything the report says about activation energies.

    Attributes
    ----------
    tally : Tally
    noise_share : float
        Part of the variance of the paper's mean over atoms that is scatter between the searches of an atom.
    glasses : sequence of GlassStudy
    """

    tally: Tally
    noise_share: float
    glasses: Sequence[GlassStudy]


def study(dataset: xr.Dataset, seed: int = 0) -> ActivationStudy:
    """Return what the activation energies of a gathered campaign say.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    seed : int
        Of blocks and shifts; errors and p-values move a little with it, values do not.

    Raises
    ------
    CampaignError
        If no atom was searched, or too few have an intensity too.
    """
    if PAPER not in dataset or not np.isfinite(dataset[PAPER].to_numpy()).any():
        raise CampaignError("no activation energies in the dataset: no search of the stage 'activation' has ended yet")
    if "atomic_intensity" not in dataset:
        raise CampaignError("activation energies, but no 'atomic_intensity' to hold against them; 'bpd run' continues")
    glasses = [glass for glass in glasses_of(dataset) if len(glass.of(PAPER).sites) >= FEWEST_ATOMS]
    if not glasses:
        raise CampaignError(f"fewer than {FEWEST_ATOMS} atoms have both an intensity and an activation energy so far")
    studies = [_of_glass(glass, np.random.default_rng(seed)) for glass in glasses]
    return ActivationStudy(tally_of(dataset), noise_share(dataset), studies)


# ---- from the dataset -------------------------------------------------------------------------------------------------


def glasses_of(dataset: xr.Dataset) -> list[Glass]:
    """Return the samples with activation energies, those of equal composition and rate together."""
    elements = tuple(str(element) for element in dataset["element"].to_numpy())
    shares_se = np.round(100.0 * dataset["composition"].to_numpy(), 1)
    rate_s = dataset["cooling_rate"].to_numpy()
    sizes = dataset["row_size"].to_numpy()
    owner_i = np.repeat(np.arange(len(sizes)), sizes)
    known_s = np.bincount(owner_i, np.isfinite(dataset[PAPER].to_numpy()), len(sizes)) > 0
    columns = {name: dataset[name].to_numpy() for name in (*CHOICES, "position", "species", "atomic_intensity")}
    cells_scc, groups = dataset["cell"].to_numpy(), np.unique(dataset["group"].to_numpy(), return_inverse=True)[1]
    found = []
    keys = [(tuple(shares_se[s]), rate_s[s] if np.isfinite(rate_s[s]) else -1.0) for s in range(len(sizes))]
    for shares, rate in sorted({key for key, known in zip(keys, known_s, strict=True) if known}):
        samples = np.array([s for s, key in enumerate(keys) if key == (shares, rate) and known_s[s]])
        keep = np.isin(owner_i, samples)
        composition = "".join(f"{element}{share:g}" for element, share in zip(elements, shares, strict=True) if share)
        sites = Sites(
            columns["position"][keep], cells_scc[samples], np.searchsorted(samples, owner_i[keep]), groups[samples]
        )
        found.append(
            Glass(
                name_of(composition, rate), composition, rate if rate > 0 else np.nan, samples, sites,
                columns["species"][keep].astype(np.intp), elements,
                columns["atomic_intensity"][keep].astype(np.float64) * MICRO_THZ,
                {choice: columns[choice][keep].astype(np.float64) for choice in CHOICES},
            )
        )  # fmt: skip
    return found


def name_of(composition: str, rate: float) -> str:
    """Return how people write a composition and a cooling rate."""
    written = composition.translate(str.maketrans("0123456789.", "₀₁₂₃₄₅₆₇₈₉."))
    return f"{written}, {rate_text(rate)}" if rate > 0 else written


def tally_of(dataset: xr.Dataset) -> Tally:
    """Return how all searches ended."""
    names = ("search_code", "saddle_connected", "saddle_index")
    code, linked, index = (dataset[name].to_numpy().ravel() for name in names)
    tried, counts = np.unique(code[code >= 0], return_counts=True)
    good, proper = code == 0, index == 1
    connected, distinct = int((good & proper & (linked == 1)).sum()), int(dataset["n_unique"].to_numpy().sum())
    unconnected, second_order = int((good & proper & (linked == 0)).sum()), int((good & (index > 1)).sum())
    region, boundary = (
        dataset[name].to_numpy().ravel().astype(np.float64) for name in ("region_error", "boundary_error")
    )
    again = dataset["boundary_connected"].to_numpy().ravel()
    return Tally(
        {int(value): int(count) for value, count in zip(tried, counts, strict=True)}, distinct, connected - distinct,
        unconnected, second_order, int(good.sum()) - connected - unconnected - second_order,
        region[np.isfinite(region)], boundary[np.isfinite(boundary)],
        int((again >= 0).sum()), int(((again >= 0) & (again == linked)).sum()),
    )  # fmt: skip


def noise_share(dataset: xr.Dataset) -> float:
    """Return which part of the variance of the paper's mean over atoms comes from the scatter between searches.

    From the atoms with two searches or more that count for it; NaN if there are none.
    """
    counts_st = dataset["search_code"].to_numpy() == Code.SUCCESS
    energy_st = np.where(counts_st, dataset["activation_energy"].to_numpy(), np.nan)
    count_s = np.isfinite(energy_st).sum(axis=1)
    energy_st = energy_st[count_s > 1].astype(np.float64)
    count_s = count_s[count_s > 1]
    if len(count_s) < 2:  # noqa: PLR2004 - a variance needs two
        return float("nan")
    of_means = float(np.nanmean(energy_st, axis=1).var())
    return float(np.mean(np.nanvar(energy_st, axis=1, ddof=1) / count_s)) / of_means if of_means > 0 else float("nan")


# ---- one glass --------------------------------------------------------------------------------------------------------


def _of_glass(glass: Glass, rng: np.random.Generator) -> GlassStudy:
    choices = [choice for choice in CHOICES if glass.known(choice).sum() >= FEWEST_ATOMS]
    fields_fi = np.concatenate([_fields(glass, choice) for choice in choices])
    averaged = averages(glass.sites, fields_fi)
    relations, decays = {}, {}
    for number, choice in enumerate(choices):
        part, keep_i = glass.of(choice), glass.known(choice)
        mine = slice(number * _N_FIELDS, (number + 1) * _N_FIELDS)
        fields = {
            kernel: (lengths_l, found[:, mine][:, :, keep_i].astype(np.float64))
            for kernel, (lengths_l, found) in averaged.items()
        }
        relations[choice] = _relation(part, part.energy[choice], fields, rng)
        decays[choice] = decay(part.sites, part.energy[choice], float(relations[choice].reference.edge_l[0]), rng)
    part, paper = glass.of(PAPER), relations[PAPER]
    intensity_decay = decay(part.sites, 1.0 / part.intensity_i, float(paper.reference.edge_l[0]), rng)
    return GlassStudy(glass, relations, intensity_decay, decays, _p_shuffled(part, paper, rng))


def _fields(glass: Glass, choice: str) -> NDArray[np.float64]:
    """Return 1/I, energy and I, then the first two without the elements' means, shape=(5, n_atoms); NaN if unknown."""
    keep_i, part = glass.known(choice), glass.of(choice)
    inverse_i, energy_i = 1.0 / part.intensity_i, part.energy[choice]
    fields_fi = np.full((_N_FIELDS, len(keep_i)), np.nan)
    fields_fi[:, keep_i] = (
        inverse_i, energy_i, part.intensity_i, _without_means(inverse_i, part), _without_means(energy_i, part)
    )  # fmt: skip
    return fields_fi


def lengths_for(kernel: str, farthest: float) -> NDArray[np.float64]:
    """Return the lengths at which a kernel fits into a cell, Å."""
    shortest = NEAREST_NEIGHBOUR if kernel == "top_hat" else 0.0
    return np.array([L for L in LENGTHS if L == 0.0 or (shortest < L and tail(kernel, L, farthest) <= MAX_TAIL)])


def _relation(glass: Glass, energy_i: NDArray[np.float64], fields: Averages, rng: np.random.Generator) -> Relation:
    """Return what the coarse-grained fields of :func:`_fields` say, given with their lengths by kernel."""
    sites = glass.sites
    moved_di = shifts(sites, N_SHIFTS, rng)
    inverse = {k: curve(sites, lengths_l, f[:, 0], f[:, 1], moved_di, rng) for k, (lengths_l, f) in fields.items()}
    direct = {k: curve(sites, lengths_l, f[:, 2], f[:, 1], moved_di, rng) for k, (lengths_l, f) in fields.items()}
    reference, (lengths_l, fields_lfi) = inverse[REFERENCE_KERNEL], fields[REFERENCE_KERNEL]
    within = curve(sites, lengths_l, fields_lfi[:, 3], fields_lfi[:, 4], moved_di, rng)
    x_i, y_i = fields_lfi[reference.best, 0], fields_lfi[reference.best, 1]
    edge, raw_edge = float(reference.edge_l[reference.best]), float(reference.edge_l[0])
    lines, curves, contrasts = {}, {}, {}
    for number, element in enumerate(glass.elements):
        mine_i = glass.species_i == number
        if mine_i.sum() < FEWEST_OF_A_SPECIES:
            continue
        part = sites.take(mine_i)
        moved_di = shifts(part, N_SHIFTS, rng)
        lines[element] = line(part, x_i[mine_i], y_i[mine_i], edge, _per_group(len(part)), rng)
        curves[element] = curve(part, lengths_l, fields_lfi[:, 0, mine_i], fields_lfi[:, 1, mine_i], moved_di, rng)
        if SHARE * len(part) >= FEWEST_AT_AN_END:
            ends = glass.intensity_i[mine_i], energy_i[mine_i]
            contrasts[element] = contrast(part, *ends, SHARE, raw_edge, moved_di, rng)
    return Relation(
        len(sites), float(energy_i.mean()), float(energy_i.std()), inverse, direct, within, x_i, y_i,
        line(sites, x_i, y_i, edge, _per_group(len(sites)), rng), lines, curves, contrasts,
    )  # fmt: skip


def _without_means(values_i: NDArray[np.float64], glass: Glass) -> NDArray[np.float64]:
    """Take the mean of each element off."""
    count_e = np.maximum(np.bincount(glass.species_i), 1)
    return np.asarray(values_i - (np.bincount(glass.species_i, values_i) / count_e)[glass.species_i])


def averages(sites: Sites, fields_fi: NDArray[np.float64]) -> Averages:
    """Return by kernel the lengths that fit into the smallest sample, and fields coarse-grained by them."""
    farthest = min(reach(sites.cells_scc[sample]) for sample in np.unique(sites.sample_i))
    lengths = {kernel: lengths_for(kernel, farthest) for kernel in KERNELS}
    windows_w = [(kernel, float(length)) for kernel in KERNELS for length in lengths[kernel]]
    averages_wfi = averaged_by(sites, fields_fi, windows_w)
    ends = np.cumsum([len(lengths[kernel]) for kernel in KERNELS])[:-1]
    parts = np.split(averages_wfi, ends)
    return {kernel: (lengths[kernel], part) for kernel, part in zip(KERNELS, parts, strict=True)}


def averaged_by(
    sites: Sites, fields_fi: NDArray[np.float64], windows_w: Sequence[tuple[str, float]]
) -> NDArray[np.float32]:
    """Return fields coarse-grained in each sample by itself, shape=(n_windows, n_fields, n_atoms)."""
    averages_wfi = np.empty((len(windows_w), *fields_fi.shape), dtype=np.float32)  # there are hundreds of them
    for sample in np.unique(sites.sample_i):
        mine_i = sites.sample_i == sample
        averages_wfi[:, :, mine_i] = coarse_grain(
            sites.positions_ic[mine_i], sites.cells_scc[sample], fields_fi[:, mine_i], windows_w
        )
    return averages_wfi


def _p_shuffled(glass: Glass, relation: Relation, rng: np.random.Generator) -> float:
    orders_di = shuffled(len(glass.sites), N_SHIFTS, rng)
    (averaged_di,) = averaged_by(glass.sites, glass.energy[PAPER][orders_di], [(REFERENCE_KERNEL, relation.length)])
    chance_d = np.abs(by_chance(relation.x_i, averaged_di.astype(np.float64)))
    return float(p_value(chance_d[:, None], np.abs(relation.reference.r_l[relation.reference.best, None]))[0])


def _per_group(n_atoms: int) -> int:
    return max(1, min(PER_GROUP, n_atoms // FEWEST_GROUPS))
