# SPDX-License-Identifier: BSD-3-Clause
"""Configuration in, samples and tasks out.  A sample *is* the hash of what defines it; nothing here writes.

Potential and structures enter by content, floats by their bits.  Paths, times, labels and hosts do not
enter, so the same physics has the same id everywhere, and submitting it again does nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bp_distributed.config import STAGES, CampaignConfig, GivenBlock, MeltedBlock, find_potential
from bp_distributed.errors import ConfigError

PROTOCOL_VERSION = {"melt": 1, "quench": 1, "relax": 1, "structure": 1, "vibration": 1}
"""Raised when a stage's code gives other numbers for the same request; part of every id."""

HUGE = 1_000_000
PLAUSIBLE_RATES_K_PER_S = (1e8, 1e15)
_ID_LENGTH = 20
_SETFL = (".eam.fs", ".eam.alloy")


# ---- identity -----------------------------------------------------------------------------------------------------


def canonical_json(value: Any) -> str:
    """Return one text per value: keys sorted, floats by ``float.hex``.

    Raises
    ------
    ValueError
        For NaN or infinity.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _canonical(value: Any) -> Any:
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
    """One stage of one sample (or melt)."""

    stage: str
    owner: str
    digest: str
    needs: tuple[str, ...]
    """Task keys whose results it starts from."""
    request: dict[str, Any]
    """Parameters for :mod:`bp_distributed.physics`."""
    source: str = ""
    """Campaign-relative path of a structure file, for ``relax``."""

    @property
    def key(self) -> str:
        """Name of the task in the campaign: ``stage-owner``."""
        return f"{self.stage}-{self.owner}"

    @property
    def folder(self) -> str:
        """Campaign-relative folder; other parameters give another folder."""
        kind = "melts" if self.stage == "melt" else "samples"
        return f"{kind}/{self.owner[:2]}/{self.owner}/{self.stage}-{self.digest[:8]}"


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
    warnings: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Checksum of samples, melts, tasks and potential."""
        return hashlib.sha256("\n".join(self._lines()).encode()).hexdigest()

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

    def _lines(self) -> Iterator[str]:
        potential = {**asdict(self.potential), "path": ""}
        yield json.dumps({"potential": potential}, sort_keys=True)
        for melt in self.melts:
            yield json.dumps({"melt": asdict(melt)}, sort_keys=True)
        for sample in self.samples:
            kind = "melted" if isinstance(sample.origin, Melted) else "given"
            yield json.dumps({"sample": {**asdict(sample), "origin": {kind: asdict(sample.origin)}}}, sort_keys=True)
        for task in self.tasks:
            yield json.dumps({"task": asdict(task)}, sort_keys=True)

    def to_jsonl(self) -> str:
        """Return the plan as text, one object a line."""
        return "\n".join(self._lines()) + "\n"

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
                tasks.append(TaskSpec(**{**content, "needs": tuple(content["needs"])}))
        if potential is None:
            raise ValueError("no potential line")
        return cls(tuple(samples), tuple(melts), tuple(tasks), potential)


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
    count = sum(
        len(b.rates_K_per_s) * b.replicas if isinstance(b, MeltedBlock) else len(b.structures) for b in config.samples
    )
    if count > HUGE and not allow_huge:
        raise ConfigError("campaign.yaml", "samples", f"asks for {count} samples; more than {HUGE} need --yes")
    maker = _Maker(config, base, potential_reference(config, base))
    for block in config.samples:
        maker.add(block)
    return maker.plan()


def input_files(config: CampaignConfig, base: Path) -> list[Path]:
    """Return the files a campaign needs a copy of: the potential and the given structures."""
    structures = [
        structure_path(base, name) for b in config.samples if isinstance(b, GivenBlock) for name in b.structures
    ]
    return [find_potential(config, base), *structures]


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
        raise ConfigError(str(path), "potential", f"expected a file ending in {' or '.join(_SETFL)}")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "potential", f"cannot be read: {error.strerror}") from error
    lines = raw[:100_000].decode("utf-8", errors="replace").splitlines()
    words = lines[3].split() if len(lines) > 5 else []  # noqa: PLR2004
    if not words or not words[0].isdigit() or len(words) != int(words[0]) + 1:
        raise ConfigError(
            f"{path}:4", "potential", "expected '<number of elements> <element> ...': not a setfl file, or cut short"
        )
    for word in lines[0].split():
        if word.startswith("UNITS:") and word != "UNITS:metal" and "UNITS: metal" not in lines[0]:
            raise ConfigError(f"{path}:1", "potential", f"is in {word.removeprefix('UNITS:')} units, expected metal")
    label = "default (CuZr_mm.eam.fs of LAMMPS)" if config.potential == "default" else path.name
    return PotentialRef(hashlib.sha256(raw).hexdigest(), suffix, label, tuple(words[1:]), path)


def structure_path(base: Path, name: str) -> Path:
    """Return the path of a given structure.

    Raises
    ------
    ConfigError
        If there is no such file.
    """
    path = (base / Path(name).expanduser()).absolute()
    if not path.is_file():
        raise ConfigError(str(path), "samples.structures", "is a folder" if path.is_dir() else "no such file")
    return path


class _Maker:
    """Collects samples, melts and tasks block by block."""

    def __init__(self, config: CampaignConfig, base: Path, potential: PotentialRef) -> None:
        self.config, self.base, self.potential = config, base, potential
        self.samples: list[SampleSpec] = []
        self.melts: list[MeltSpec] = []
        self.tasks: list[TaskSpec] = []
        self.warnings: list[str] = []

    def plan(self) -> Plan:
        seen: dict[str, str] = {}
        for sample in self.samples:
            if sample.sid in seen:
                what = f"{sample.label} and {seen[sample.sid]} are the same sample"
                raise ConfigError("campaign.yaml", "samples", what + "; list each structure once")
            seen[sample.sid] = sample.label
        return Plan(tuple(self.samples), tuple(self.melts), tuple(self.tasks), self.potential, tuple(self.warnings))

    def add(self, block: MeltedBlock | GivenBlock) -> None:
        self._check_elements(block)
        if isinstance(block, MeltedBlock):
            self._add_melted(block)
        else:
            self._add_given(block)

    def _check_elements(self, block: MeltedBlock | GivenBlock) -> None:
        wanted = block.composition if isinstance(block, MeltedBlock) else block.elements
        for element in wanted:
            if element not in self.potential.elements:
                known = ", ".join(self.potential.elements)
                raise ConfigError(str(self.potential.path), f"samples.{block.label}", f"knows {known}, not {element}")

    # ---- melted blocks ----

    def _melt_definition(self, block: MeltedBlock, index: int) -> dict[str, Any]:
        protocol = self.config.protocol
        fractions = {element: percent / 100 for element, percent in block.composition.items() if percent > 0}
        definition = {
            "composition": fractions,
            "n_atoms": block.n_atoms,
            "temperature_K": protocol.melt_temperature,
            "heating_ps": protocol.heating,
            "hold_ps": protocol.hold,
            "branch_spacing_ps": protocol.branch_spacing,
            **_dynamics(self.config),
        }
        seed = derived_seed("melt", self.config.seed, block.label, definition, index)
        return {**definition, "elements": list(self.potential.elements), "seed": seed}

    def _add_melted(self, block: MeltedBlock) -> None:
        rates = block.rates_K_per_s
        self._warn_of_rates(block, rates)
        jobs = [(rate, replica) for rate in rates for replica in range(block.replicas)]
        count = min(block.melts or len(jobs), len(jobs))
        for index in range(count):
            branches = len(range(index, len(jobs), count))
            definition = self._melt_definition(block, index)
            identity = {
                "kind": "melt",
                "version": PROTOCOL_VERSION["melt"],
                "potential": self.potential.sha256,
                **definition,
            }
            melt_id = digest(identity)[:_ID_LENGTH]
            label = f"{block.label}-melt{index + 1}"
            spec = MeltSpec(
                melt_id, label, block.label, definition["composition"], block.n_atoms, branches, definition["seed"]
            )
            self.melts.append(spec)
            if "melt" in self.config.stages:
                self._task("melt", melt_id, (), {**definition, "branches": branches})
            for branch, position in enumerate(range(index, len(jobs), count)):
                self._add_quenched(block, spec, branch, jobs[position])

    def _warn_of_rates(self, block: MeltedBlock, rates: list[float]) -> None:
        low, high = PLAUSIBLE_RATES_K_PER_S
        if odd := [rate for rate in rates if not low <= rate <= high]:
            self.warnings.append(
                f"{block.label}: cooling rate {odd[0]:g} K/s is outside {low:g} to {high:g}; is the unit K/s?"
            )

    def _add_quenched(self, block: MeltedBlock, melt: MeltSpec, branch: int, job: tuple[float, int]) -> None:
        rate, replica = job
        protocol = self.config.protocol
        request = {
            "elements": list(self.potential.elements),
            "branch": branch,
            "start_temperature_K": protocol.melt_temperature,
            "final_temperature_K": protocol.final_temperature,
            "cooling_rate_K_per_s": rate,
            "force_tolerance": protocol.force_tolerance,
            **_dynamics(self.config),
            "seed": derived_seed("quench", melt.melt_id, branch, rate),
        }
        identity = {"kind": "quench", "version": PROTOCOL_VERSION["quench"], "potential": self.potential.sha256,
                    "melt": melt.melt_id, **request}  # fmt: skip
        sid = digest(identity)[:_ID_LENGTH]
        origin = Melted(melt.melt_id, branch, rate, replica, request["seed"])
        label = f"{block.label}-{rate:.4g}-r{replica + 1}"
        self._sample(SampleSpec(sid, label, block.label, self.potential.elements, melt.composition, block.n_atoms,
                                self.potential.sha256, origin))  # fmt: skip
        if "quench" in self.config.stages:
            self._task("quench", sid, (f"melt-{melt.melt_id}",), request)
            self._analyses(sid, f"quench-{sid}")

    # ---- given blocks ----

    def _add_given(self, block: GivenBlock) -> None:
        from bp_distributed.physics.configuration import read_configuration  # noqa: PLC0415 - NumPy only when needed
        from bp_distributed.store import input_name  # noqa: PLC0415 - the name of the campaign's own copy

        for name in block.structures:
            path = structure_path(self.base, name)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            given = read_configuration(path, block.elements)
            counts = {element: int((given.species_i == i).sum()) for i, element in enumerate(given.elements)}
            n_atoms = len(given.species_i)
            request = {
                "elements": list(self.potential.elements),
                "type_elements": list(block.elements),
                "force_tolerance": self.config.protocol.force_tolerance,
                "relax_cell": block.relax_cell,
            }
            identity = {"kind": "given", "version": PROTOCOL_VERSION["relax"], "potential": self.potential.sha256,
                        "structure": sha256, **request}  # fmt: skip
            sid = digest(identity)[:_ID_LENGTH]
            origin = Given(path.name, sha256, block.group or sid)
            fractions = {element: count / n_atoms for element, count in counts.items() if count}
            label = f"{block.label}-{path.name.split('.')[0]}"
            self._sample(SampleSpec(sid, label, block.label, self.potential.elements, fractions, n_atoms,
                                    self.potential.sha256, origin))  # fmt: skip
            if "relax" in self.config.stages:
                self._task("relax", sid, (), request, f"structures/{input_name(path, sha256)}")
                self._analyses(sid, f"relax-{sid}")

    # ---- common ----

    def _sample(self, sample: SampleSpec) -> None:
        self.samples.append(sample)

    def _analyses(self, sid: str, origin: str) -> None:
        elements = {"elements": list(self.potential.elements)}
        for stage in ("structure", "vibration"):
            if stage in self.config.stages:
                self._task(stage, sid, (origin,), {**elements, **getattr(self.config, stage).model_dump()})

    def _task(self, stage: str, owner: str, needs: tuple[str, ...], request: dict[str, Any], source: str = "") -> None:
        request = {**request, "potential_file": f"potential{self.potential.suffix}"}
        identity = [stage, owner, PROTOCOL_VERSION[stage], request]
        self.tasks.append(TaskSpec(stage, owner, digest(identity), needs, request, source))


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
