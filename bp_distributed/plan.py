# SPDX-License-Identifier: BSD-3-Clause
"""Configuration in, samples and tasks out.  A sample *is* the hash of what defines it; nothing here writes.

Potential and structures enter by content, floats by their bits.  Paths, times and hosts do not enter, so the
same physics has the same id everywhere, and submitting it again does nothing.  A block's label enters through
the seeds only, so that two blocks of one kind hold different samples.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bp_distributed.config import (
    DEFAULT_POTENTIAL,
    STAGES,
    ActivationConfig,
    CampaignConfig,
    GivenBlock,
    MeltedBlock,
    Stage,
    StructureConfig,
    TemperaturesConfig,
    TrajectoryConfig,
    VibrationConfig,
    existing_file,
    find_potential,
)
from bp_distributed.errors import ConfigError

PROTOCOL_VERSION: dict[Stage, int] = {
    "melt": 1, "quench": 1, "relax": 1, "structure": 1, "vibration": 2, "gruneisen": 1,
    "temperatures": 1, "trajectory": 1, "activation": 3,
}  # fmt: skip
"""Raised when a stage's code gives other numbers for the same request; part of every id."""

HUGE = 1_000_000
LARGEST = 10_000_000
"""Samples in one plan, which is held in memory at about 4 kB each."""

PLAUSIBLE_RATES_K_PER_S = (1e8, 1e15)
DENSE_BYTES_PER_N2 = 20
"""Memory of a dense diagonalisation, per matrix element (measured at n = 12,000: 2.7 GiB)."""

PACKED_BYTES_PER_N2 = 4
"""Of the proof by Cholesky that no low mode is missing: half a matrix in double precision."""

FRAME_BYTES = 40
"""Of a trajectory, per atom and frame: what is recorded, a copy while it is saved, and energies."""

LOW_MODES_BYTES, LOW_MODES_BYTES_PER_N2 = 1e9, 1.6
"""Of low modes by products: the operator, and the vectors that span them (measured at n = 58,956: 6.0 GiB)."""

SECONDS_PER_SADDLE = 1.0
"""About the core-seconds until a search ends at a saddle, failures on the way included, on one core of 2026.

Batches are sized with it, and with nothing that was measured on the machine at hand: a plan is the same everywhere.
"""

_SEEDED = frozenset({"temperatures", "trajectory", "activation"})
"""Analyses that draw random numbers, so that each sample has a request of its own."""

_ID_LENGTH = 20
_SETFL = (".eam.fs", ".eam.alloy")
_HEADER_LINES = 5
_HEADER_BYTES = 100_000
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


# ---- identity -----------------------------------------------------------------------------------------------------


def canonical_json(value: Any) -> str:
    """Return one text per value: keys sorted, floats by ``float.hex``.

    Raises
    ------
    ValueError
        For NaN or infinity.
    """
    return _encode(_canonical(value))


def _canonical(value: Any) -> Any:
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no identity")
        return f"f:{(value + 0.0).hex()}"
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return value


def digest(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derived_seed(*parts: Any) -> int:
    """Return a seed in 1 .. 2^31 - 2 that depends on every part and on nothing else."""
    return 1 + int(digest(list(parts))[:15], 16) % (2**31 - 2)


# ---- what is planned ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Melted:
    """A sample quenched from a branch of a melt."""

    melt_id: str
    branch: int
    cooling_rate_K_per_s: float
    replica: int
    seed: int


@dataclass(frozen=True)
class Given:
    """A sample made elsewhere."""

    name: str
    structure_sha256: str
    group: str
    cooling_rate_K_per_s: float | None = None


@dataclass(frozen=True)
class SampleSpec:
    """One planned sample."""

    sid: str
    label: str
    block: str
    elements: tuple[str, ...]
    composition: dict[str, float]
    """Fractions by element."""
    n_atoms: int
    potential_sha256: str
    origin: Melted | Given

    @property
    def group(self) -> str:
        """Leakage group: samples of one group must not be split between training and test."""
        return self.origin.melt_id if isinstance(self.origin, Melted) else self.origin.group


@dataclass(frozen=True)
class MeltSpec:
    """One melt and the start configurations drawn from it."""

    melt_id: str
    label: str
    block: str
    composition: dict[str, float]
    n_atoms: int
    branches: int
    seed: int


@dataclass(frozen=True)
class TaskSpec:
    """One stage of one sample (or melt), or one batch of atoms of a stage that searches atom by atom."""

    stage: Stage
    owner: str
    digest: str
    needs: tuple[str, ...]
    """Task keys whose results it starts from."""
    request: dict[str, Any]
    """Parameters for :mod:`bp_distributed.physics`."""
    source: str = ""
    """Campaign-relative path of a structure file, for ``relax``."""
    part: str = ""
    """Number of the batch; empty where a stage is one task."""
    atoms: tuple[int, ...] = ()
    """Atoms of the batch."""

    @property
    def key(self) -> str:
        """Name of the task in the campaign: ``stage-owner``, or ``stage-owner-part``."""
        return f"{self.stage}-{self.owner}" + (f"-{self.part}" if self.part else "")

    @property
    def name(self) -> str:
        """What it is called beside its sample: the stage, and the number of a batch."""
        return f"{self.stage} {self.part}" if self.part else self.stage

    @property
    def folder(self) -> str:
        """Campaign-relative folder; other parameters, or other atoms, give another folder."""
        kind = "melts" if self.stage == "melt" else "samples"
        owner = f"{kind}/{self.owner[:2]}/{self.owner}"
        name = f"{self.stage}/{self.part}" if self.part else self.stage
        return f"{owner}/{name}-{self.digest[:8]}"

    @property
    def whole_request(self) -> dict[str, Any]:
        """The request with what is this batch's own."""
        return {**self.request, "atoms": list(self.atoms)} if self.part else self.request


@dataclass(frozen=True)
class PotentialRef:
    """The potential by content, and where it was found."""

    sha256: str
    suffix: str
    label: str
    elements: tuple[str, ...]
    path: Path = field(compare=False)

    @property
    def file(self) -> str:
        """Campaign-relative path of the campaign's own copy."""
        return f"potentials/{self.sha256[:16]}{self.suffix}"


@dataclass(frozen=True)
class Plan:
    """Everything a campaign consists of."""

    samples: tuple[SampleSpec, ...]
    melts: tuple[MeltSpec, ...]
    tasks: tuple[TaskSpec, ...]
    potential: PotentialRef
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """Advice on the configuration, for whoever looks at a plan before it runs; not part of it, and not stored."""

    @cached_property
    def sha256(self) -> str:
        """Checksum of samples, melts, tasks and potential."""
        return hashlib.sha256(self.to_jsonl().encode()).hexdigest()

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Stages that occur, in the order they run."""
        present = {task.stage for task in self.tasks}
        return tuple(stage for stage in STAGES if stage in present)

    @cached_property
    def _tasks_by_key(self) -> dict[str, TaskSpec]:
        return {task.key: task for task in self.tasks}

    @cached_property
    def _specs(self) -> dict[str, SampleSpec | MeltSpec]:
        return {m.melt_id: m for m in self.melts} | {s.sid: s for s in self.samples}

    @cached_property
    def _tasks_by_owner(self) -> dict[str, list[TaskSpec]]:
        found: dict[str, list[TaskSpec]] = {}
        for task in self.tasks:
            found.setdefault(task.owner, []).append(task)
        return found

    @property
    def owners(self) -> list[str]:
        """Ids of melts, then of samples."""
        return list(self._specs)

    def task(self, key: str) -> TaskSpec:
        """Return the task with this key."""
        return self._tasks_by_key[key]

    def spec(self, owner: str) -> SampleSpec | MeltSpec:
        """Return the sample or melt with this id."""
        return self._specs[owner]

    def label(self, owner: str) -> str:
        """Return the name people know a sample or melt by."""
        return self._specs[owner].label

    def tasks_of(self, owner: str) -> list[TaskSpec]:
        """Return the tasks of a sample or melt, in the order they run."""
        return self._tasks_by_owner.get(owner, [])

    def to_jsonl(self) -> str:
        """Return the plan as text, one object a line; its sha256 is that of the plan."""
        lines = [_encode({"potential": {**vars(self.potential), "path": ""}})]
        lines += [_encode({"melt": vars(melt)}) for melt in self.melts]
        for sample in self.samples:
            kind = "melted" if isinstance(sample.origin, Melted) else "given"
            origin = {name: value for name, value in vars(sample.origin).items() if value is not None}
            lines.append(_encode({"sample": {**vars(sample), "origin": {kind: origin}}}))
        lines += [line for _, alike in itertools.groupby(self.tasks, _line_of) for line in _task_lines(list(alike))]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_jsonl(cls, text: str) -> Plan:
        """Return the plan that :meth:`to_jsonl` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If the text was damaged.
        """
        samples, melts, tasks = [], [], []
        potential: PotentialRef | None = None
        for line in text.splitlines():
            ((kind, content),) = json.loads(line).items()
            if kind == "potential":
                potential = PotentialRef(**{**content, "elements": tuple(content["elements"]), "path": Path()})
            elif kind == "melt":
                melts.append(MeltSpec(**content))
            elif kind == "sample":
                samples.append(_sample_from(content))
            else:
                tasks += _tasks_from(content)
        if potential is None:
            raise ValueError("no potential line")
        plan = cls(tuple(samples), tuple(melts), tuple(tasks), potential)
        vars(plan)["sha256"] = hashlib.sha256(text.encode()).hexdigest()  # of what was read, damage included
        return plan


def _line_of(task: TaskSpec) -> tuple[str, ...]:
    """Return what the tasks on one line of a plan have in common."""
    return (task.stage, task.owner, "in parts" if task.part else "")


def _task_lines(tasks: list[TaskSpec]) -> list[str]:
    """Return one line per task, but one for all batches of a sample: they share all but atoms and digest."""
    names = [name for name in vars(tasks[0]) if name not in {"part", "atoms"}]
    if not tasks[0].part:
        return [_encode({"task": {name: getattr(task, name) for name in names}}) for task in tasks]
    shared = {name: getattr(tasks[0], name) for name in names if name != "digest"}
    return [_encode({"task": {**shared, "parts": [[task.part, task.digest, task.atoms] for task in tasks]}})]


def _tasks_from(content: dict[str, Any]) -> list[TaskSpec]:
    parts = content.pop("parts", None)
    shared = {**content, "needs": tuple(content["needs"])}
    if parts is None:
        return [TaskSpec(**shared)]
    return [TaskSpec(**shared, digest=digest, part=part, atoms=tuple(atoms)) for part, digest, atoms in parts]


def _sample_from(content: dict[str, Any]) -> SampleSpec:
    ((kind, origin),) = content["origin"].items()
    made = Melted(**origin) if kind == "melted" else Given(**origin)
    return SampleSpec(**{**content, "elements": tuple(content["elements"]), "origin": made})


# ---- making a plan ------------------------------------------------------------------------------------------------


def make_plan(config: CampaignConfig, base: Path, *, allow_huge: bool = False) -> Plan:
    """Return the plan of a configuration; reads the potential and the given structures, writes nothing.

    Parameters
    ----------
    config : CampaignConfig
    base : Path
        Folder that relative paths start from.
    allow_huge : bool
        Accept more than a million samples.

    Raises
    ------
    ConfigError
        If a file is missing or does not fit, or the plan is too large.
    """
    count = sum(block.count for block in config.samples)
    if count > LARGEST or (count > HUGE and not allow_huge):
        needs = f"at most {LARGEST}" if count > LARGEST else f"at most {HUGE} unless --yes is given"
        raise ConfigError(config.where("samples"), "samples", f"got {count} samples, expected {needs}")
    return _Maker(config, base, potential_reference(config, base)).plan()


def input_files(config: CampaignConfig, base: Path) -> list[Path]:
    """Return the files a campaign needs a copy of: the potential and the given structures.

    Raises
    ------
    ConfigError
        If one is missing.
    """
    found = [find_potential(config, base)]
    for index, block in enumerate(config.samples):
        if isinstance(block, GivenBlock):
            found += _structures(config, base, index, block)
    return found


def potential_reference(config: CampaignConfig, base: Path) -> PotentialRef:
    """Read a potential's header; its tables are checked by the dry run and by the physics that uses them.

    Raises
    ------
    ConfigError
        If the file is not a setfl table in metal units.
    """
    path = find_potential(config, base)
    suffix = next((ending for ending in _SETFL if path.name.endswith(ending)), None)
    if suffix is None:
        what = f"{path.name} is of no known format, expected a file ending in {' or '.join(_SETFL)}"
        raise ConfigError(config.where("potential"), "potential", what)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "potential", f"cannot be read: {error.strerror}") from error
    elements = _setfl_elements(path, raw)
    label = f"default ({DEFAULT_POTENTIAL} of LAMMPS)" if config.potential == "default" else path.name
    return PotentialRef(hashlib.sha256(raw).hexdigest(), suffix, label, elements, path)


def _setfl_elements(path: Path, raw: bytes) -> tuple[str, ...]:
    lines = raw[:_HEADER_BYTES].decode("utf-8", errors="replace").splitlines()
    if len(lines) <= _HEADER_LINES:
        raise ConfigError(str(path), "potential", f"got {len(raw)} bytes, expected a setfl table: empty or cut short")
    units = re.search(r"UNITS:\s*(\S+)", lines[0])
    if units and units[1] != "metal":
        raise ConfigError(f"{path}:1", "potential", f"is in {units[1]} units, expected metal")
    count, *elements = lines[3].split() or [""]
    if count != str(len(elements)) or not all(re.fullmatch("[A-Z][a-z]?", element) for element in elements):
        what = f"got {lines[3][:60]!r}, expected the number of elements and their symbols: not a setfl file"
        raise ConfigError(f"{path}:4", "potential", what)
    if not re.fullmatch(r"\s*\d+\s+[-+.\deE]+\s+\d+\s+[-+.\deE]+\s+[-+.\deE]+\s*", lines[4], re.ASCII):
        what = f"got {lines[4][:60]!r}, expected Nrho, drho, Nr, dr and cutoff: not a setfl file"
        raise ConfigError(f"{path}:5", "potential", what)
    return tuple(elements)


def _structures(config: CampaignConfig, base: Path, index: int, block: GivenBlock) -> Iterator[Path]:
    for position, name in enumerate(block.structures):
        path = existing_file(base, name)
        if isinstance(path, str):
            at = ("samples", index, "structures", position)
            raise ConfigError(config.where(*at), ".".join(map(str, at)), path)
        yield path


def modes_bytes(n_atoms: int, all_vectors_below_atoms: int, vibration: VibrationConfig) -> float:
    """Return the memory that the normal modes of a system take, in bytes."""
    squared = (3.0 * n_atoms) ** 2
    dense = DENSE_BYTES_PER_N2 * squared
    if vibration.solver == "lapack" or n_atoms <= all_vectors_below_atoms:
        return dense
    proof = PACKED_BYTES_PER_N2 * squared if vibration.certificate == "cholesky" else 0.0
    return min(dense, LOW_MODES_BYTES + LOW_MODES_BYTES_PER_N2 * squared + proof)


class _Maker:
    """Collects samples, melts and tasks block by block."""

    def __init__(self, config: CampaignConfig, base: Path, potential: PotentialRef) -> None:
        self.config, self.base, self.potential = config, base, potential
        self.samples: dict[str, SampleSpec] = {}
        self.melts: list[MeltSpec] = []
        self.tasks: list[TaskSpec] = []
        self.warnings: list[str] = []
        self._cooling = {
            "elements": list(potential.elements),
            "start_temperature_K": config.protocol.melt_temperature,
            "final_temperature_K": config.protocol.final_temperature,
            "force_tolerance": config.protocol.force_tolerance,
            **_dynamics(config),
        }
        self._cooling_fingerprint = digest(self._cooling)
        self._analysis = [self._prepared(stage) for stage in config.analyses if stage not in _SEEDED]

    def _prepared(self, stage: Stage) -> tuple[Stage, dict[str, Any], str]:
        request = {"elements": list(self.potential.elements), **self.config.analyses[stage].model_dump()}
        if stage == "gruneisen":
            request |= self._solver()
        return stage, self._complete(request), digest(request)

    def _solver(self) -> dict[str, str]:
        """Return how the modes of several structures are found in one process."""
        vibration = self.config.vibration
        return {
            "solver": "auto" if vibration.solver == "slepc" else vibration.solver,
            "certificate": vibration.certificate,
        }

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "potential_file": f"potential{self.potential.suffix}"}

    def plan(self) -> Plan:
        for index, block in enumerate(self.config.samples):
            if isinstance(block, MeltedBlock):
                self._check_elements(index, block.composition)
                self._add_melted(block)
            else:
                self._check_elements(index, block.elements)
                self._add_given(index, block)
        self._warn_of_memory()
        return Plan(
            tuple(self.samples.values()), tuple(self.melts), tuple(self.tasks), self.potential, tuple(self.warnings)
        )

    def _check_elements(self, index: int, wanted: Iterable[str]) -> None:
        for element in wanted:
            if element not in self.potential.elements:
                known = " and ".join(self.potential.elements)
                what = f"got {element}, but the potential {self.potential.path.name} is for {known}"
                raise ConfigError(self.config.where("samples", index), f"samples.{index}", what)

    # ---- melted blocks ----

    def _add_melted(self, block: MeltedBlock) -> None:
        self._warn_of_rates(block)
        definition = self._melt_definition(block)
        fingerprint = digest(definition)
        jobs: dict[tuple[Any, ...], list[_Quench]] = {}
        for job in _quenches(block):
            jobs.setdefault(job.melt, []).append(job)
        for number, (melt, shared_by) in enumerate(jobs.items(), start=1):
            seed = derived_seed("melt", self.config.seed, block.label, fingerprint, *melt)
            identity = ["melt", PROTOCOL_VERSION["melt"], self.potential.sha256, fingerprint, seed]
            melt_id = digest(identity)[:_ID_LENGTH]
            label = f"{block.label}-melt{number}"
            branches = len(shared_by)
            spec = MeltSpec(melt_id, label, block.label, definition["composition"], block.n_atoms, branches, seed)
            self.melts.append(spec)
            if "melt" in self.config.stages:
                self._task("melt", melt_id, (), {**definition, "seed": seed, "branches": branches}, changes=(branches,))
            for branch, job in enumerate(shared_by):
                self._add_quenched(spec, branch, job)

    def _melt_definition(self, block: MeltedBlock) -> dict[str, Any]:
        protocol = self.config.protocol
        return {
            "elements": list(self.potential.elements),
            "composition": {element: percent / 100 for element, percent in block.composition.items() if percent > 0},
            "n_atoms": block.n_atoms,
            "temperature_K": protocol.melt_temperature,
            "heating_ps": protocol.heating,
            "hold_ps": protocol.hold,
            "branch_spacing_ps": protocol.branch_spacing,
            **_dynamics(self.config),
        }

    def _add_quenched(self, melt: MeltSpec, branch: int, job: _Quench) -> None:
        seed = derived_seed("quench", melt.melt_id, branch, job.rate_K_per_s)
        identity = [
            "quench", PROTOCOL_VERSION["quench"], melt.melt_id, self._cooling_fingerprint, branch, job.rate_K_per_s, seed
        ]  # fmt: skip
        sid = digest(identity)[:_ID_LENGTH]
        origin = Melted(melt.melt_id, branch, job.rate_K_per_s, job.replica, seed)
        label = f"{melt.block}-{job.rate_K_per_s:.4g}-r{job.replica + 1}"
        self.samples[sid] = SampleSpec(
            sid,
            label,
            melt.block,
            self.potential.elements,
            melt.composition,
            melt.n_atoms,
            self.potential.sha256,
            origin,
        )
        if "quench" in self.config.stages:
            request = {**self._cooling, "branch": branch, "cooling_rate_K_per_s": job.rate_K_per_s, "seed": seed}
            self._task("quench", sid, (f"melt-{melt.melt_id}",), request)
            self._analyse(sid, f"quench-{sid}")

    def _warn_of_rates(self, block: MeltedBlock) -> None:
        low, high = PLAUSIBLE_RATES_K_PER_S
        if odd := [rate for rate in block.rates if not low <= rate <= high]:
            what = f"cooling rate {odd[0]:g} K/s is outside {low:g} to {high:g} K/s"
            self.warnings.append(f"{block.label}: {what}; is the unit meant?")

    def _warn_of_memory(self) -> None:
        largest = max((sample.n_atoms for sample in self.samples.values()), default=0)
        for stage, settings in self.config.analyses.items():
            if isinstance(settings, (StructureConfig, ActivationConfig)):
                continue
            if isinstance(settings, TrajectoryConfig):
                needed = FRAME_BYTES * largest * settings.duration / settings.sampling / 2**30
            else:
                all_below = getattr(settings, "all_vectors_below_atoms", 0)
                needed = modes_bytes(largest, all_below, self.config.vibration) / 2**30
            given = getattr(self.config.resources, stage).memory
            if needed > given:
                what = f"{stage} of {largest} atoms needs about {math.ceil(needed)} GiB, resources.{stage}.memory gives"
                self.warnings.append(f"{what} {given:g}")

    # ---- given blocks ----

    def _add_given(self, index: int, block: GivenBlock) -> None:
        for position, path in enumerate(_structures(self.config, self.base, index, block)):
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            request = {
                "elements": list(self.potential.elements),
                "type_elements": list(block.elements),
                "force_tolerance": self.config.protocol.force_tolerance,
                "relax_cell": block.relax_cell,
            }
            identity = {
                "kind": "given", "version": PROTOCOL_VERSION["relax"], "potential": self.potential.sha256,
                "structure": sha256, **request,
            }  # fmt: skip
            sid = digest(identity)[:_ID_LENGTH]
            if sid in self.samples:
                at = ("samples", index, "structures", position)
                what = f"{path.name} is the same structure as {self.samples[sid].label}, expected each once"
                raise ConfigError(self.config.where(*at), ".".join(map(str, at)), what)
            self.samples[sid] = self._given_sample(sid, position, path, sha256, block)
            if "relax" in self.config.stages:
                self._task("relax", sid, (), request, _copy_of(path, sha256))
                self._analyse(sid, f"relax-{sid}")

    def _given_sample(self, sid: str, position: int, path: Path, sha256: str, block: GivenBlock) -> SampleSpec:
        from bp_distributed.physics.configuration import read_configuration  # noqa: PLC0415 - NumPy only when needed

        given = read_configuration(path, block.elements)
        n_atoms = len(given.species_i)
        counts = {element: int((given.species_i == i).sum()) for i, element in enumerate(given.elements)}
        fractions = {element: count / n_atoms for element, count in counts.items() if count}
        label = f"{block.label}-{path.name.split('.')[0]}"
        rate = block.cooling_rates[position] if block.cooling_rates else None
        origin = Given(path.name, sha256, block.group or sid, rate)
        return SampleSpec(
            sid, label, block.label, self.potential.elements, fractions, n_atoms, self.potential.sha256, origin
        )

    # ---- tasks ----

    def _analyse(self, sid: str, start: str) -> None:
        for stage, request, fingerprint in self._analysis:
            self.tasks.append(TaskSpec(stage, sid, _task_digest(stage, sid, fingerprint), (start,), request))
        if "temperatures" in self.config.analyses and self.config.temperatures is not None:
            self._move("temperatures", sid, start, self._warming(self.config.temperatures))
        if "trajectory" in self.config.analyses and self.config.trajectory is not None:
            self._move("trajectory", sid, start, self._moving(self.config.trajectory))
        if "activation" in self.config.analyses and self.config.activation is not None:
            self._search(sid, start, self.config.activation)

    def _move(self, stage: Stage, sid: str, start: str, program: dict[str, Any]) -> None:
        """Add a stage of molecular dynamics that starts from an inherent structure."""
        seed = derived_seed(stage, self.config.seed, sid)
        request = {"elements": list(self.potential.elements), "seed": seed, **program}
        task_digest = _task_digest(stage, sid, digest(request))
        self.tasks.append(TaskSpec(stage, sid, task_digest, (start,), self._complete(request)))

    def _warming(self, settings: TemperaturesConfig) -> dict[str, Any]:
        dynamics, vibration = _dynamics(self.config), self.config.vibration
        if settings.ensemble == "nvt":
            dynamics["barostat"] = "none"
        return {
            "series_K": list(settings.series),
            "heating_ps": settings.heating,
            "relaxation_ps": settings.relaxation,
            "bin_width": vibration.bin_width,
            "omega_cut": vibration.omega_cut,
            "kernel_width": vibration.kernel_width,
            **self._solver(),
            **dynamics,
        }

    def _moving(self, settings: TrajectoryConfig) -> dict[str, Any]:
        return {
            "temperature_K": settings.temperature,
            "heating_ps": settings.heating,
            "equilibration_ps": settings.equilibration,
            "duration_ps": settings.duration,
            "sampling_ps": settings.sampling,
            **_dynamics(self.config),
            "barostat": "none",
        }

    def _search(self, sid: str, start: str, settings: ActivationConfig) -> None:
        """Add the batches of saddle searches of one sample.

        A batch is known by its atoms: where batches are cut otherwise, or more atoms are searched, those that hold the
        same atoms as before keep their results.
        """
        sought = settings.model_dump(exclude={"atoms", "batch_minutes"})
        seed = derived_seed("activation", self.config.seed, sid)
        request = {"elements": list(self.potential.elements), "seed": seed, **sought}
        fingerprint = digest(request)
        whole = self._complete(request)
        atoms = self._searched(sid, settings.atoms)
        step = max(1, int(60.0 * settings.batch_minutes / (SECONDS_PER_SADDLE * settings.events_per_atom)))
        for number, first in enumerate(range(0, len(atoms), step), start=1):
            batch = atoms[first : first + step]
            whole_digest = _task_digest("activation", sid, fingerprint, *batch)
            self.tasks.append(
                TaskSpec("activation", sid, whole_digest, (start,), whole, part=f"{number:04d}", atoms=batch)
            )

    def _searched(self, sid: str, wanted: str | int | tuple[int, ...]) -> tuple[int, ...]:
        """Return the atoms of a sample that are searched, rising."""
        sample = self.samples[sid]
        if isinstance(wanted, str):
            return tuple(range(sample.n_atoms))
        most = wanted if isinstance(wanted, int) else wanted[-1] + 1
        if most > sample.n_atoms:
            asked = f"{wanted}" if isinstance(wanted, int) else f"atom {wanted[-1]}"
            what = f"got {asked}, but {sample.label} has {sample.n_atoms} atoms"
            raise ConfigError(self.config.where("activation", "atoms"), "activation.atoms", what)
        if isinstance(wanted, tuple):
            return wanted
        draw = random.Random(derived_seed("searched atoms", self.config.seed, sid))  # noqa: S311 - not a secret
        lot = [draw.random() for _ in range(sample.n_atoms)]  # of all of Python's generator only this never changes
        return tuple(sorted(sorted(range(sample.n_atoms), key=lot.__getitem__)[:wanted]))

    def _task(
        self, stage: Stage, owner: str, needs: tuple[str, ...], request: dict[str, Any], source: str = "", *,
        changes: tuple[str | int, ...] = (),
    ) -> None:  # fmt: skip
        """Add a task; ``changes`` is what of its request its owner's id does not cover."""
        whole = _task_digest(stage, owner, *changes)
        self.tasks.append(TaskSpec(stage, owner, whole, needs, self._complete(request), source))


@dataclass(frozen=True)
class _Quench:
    """One quench still to be given a branch of a melt."""

    rate_K_per_s: float
    replica: int
    melt: tuple[Any, ...]
    """What tells its melt from others of the block."""


def _quenches(block: MeltedBlock) -> Iterator[_Quench]:
    """List the samples of a block, replica after replica.

    A sample without companions has a melt of its own, known by rate and replica: rates and replicas can be added
    without changing the others.  A shared melt takes one replica of every rate where there are enough replicas,
    so that melts (the groups of the training split) and rates are not confounded.
    """
    rates, shares = block.rates, block.melts
    again: dict[float, int] = {}
    numbers = []
    for rate in rates:
        numbers.append(again.get(rate, 0))
        again[rate] = numbers[-1] + 1
    for replica in range(block.replicas):
        for position, rate in enumerate(rates):
            number = numbers[position] * block.replicas + replica
            if shares is None:
                melt: tuple[Any, ...] = (rate, number)
            elif block.replicas >= shares:
                melt = (replica % shares,)
            else:
                melt = ((position * block.replicas + replica) % shares,)
            yield _Quench(rate, number, melt)


def _task_digest(stage: Stage, owner: str, *changes: str | int) -> str:
    parts = (stage, owner, PROTOCOL_VERSION[stage], *changes)
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _copy_of(path: Path, sha256: str) -> str:
    from bp_distributed.store import input_name  # noqa: PLC0415 - the store imports this module

    return f"structures/{input_name(path, sha256)}"


def _dynamics(config: CampaignConfig) -> dict[str, Any]:
    protocol = config.protocol
    return {
        "timestep_fs": protocol.timestep,
        "barostat": protocol.barostat,
        "thermostat_ps": protocol.thermostat_damping,
        "barostat_ps": protocol.barostat_damping,
        "checkpoint_steps": protocol.checkpoint_steps,
        "history_steps": protocol.history_steps,
    }
