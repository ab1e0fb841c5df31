# SPDX-License-Identifier: BSD-3-Clause
"""What the command line prints: tables and bars.  No decision is made here."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.box import HEAVY_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bp_distributed import durable
from bp_distributed.campaign import CONFIG_NAME, Campaign
from bp_distributed.cli import UNFINISHED, WITH_QUARANTINE
from bp_distributed.detach import Parting
from bp_distributed.efficiency import Efficiency
from bp_distributed.errors import CampaignError, ConfigError
from bp_distributed.plan import Plan
from bp_distributed.presets import preset_text
from bp_distributed.status import Searches, StageRow, Status, campaign_status, states_now
from bp_distributed.status_page import duration, hours, shown_states
from bp_distributed.store import State, Store

if TYPE_CHECKING:
    from bp_distributed.driver import Driver
    from bp_distributed.fsck import Findings

REFRESH_S = 1.0
QUIET_LINE_S, VERY_QUIET_LINE_S = 15.0, 600.0
"""Without a terminal, and with ``--quiet``, a line is printed this often."""
WIDE, FEW_COLUMNS = 110, 4
"""Columns of a terminal for whole words; number of states beside which a narrow one has room for bars."""
MAX_RUNNING = 12
"""Lines of running tasks; the rest is counted."""

console = Console(highlight=False)


def init_folder(folder: Path, preset: str) -> Path:
    """Write a commented ``campaign.yaml``; an existing one is never replaced.

    Raises
    ------
    ConfigError
        If there is one, or the preset is unknown.
    """
    text = preset_text(preset)
    path = folder / CONFIG_NAME
    durable.make_private_dir(folder)
    if not durable.publish(path, text.encode()):
        raise ConfigError(str(path), "", "exists already; edit it, or choose another folder")
    return path


def size(count: float) -> str:
    """Return bytes in a unit people read at a glance."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:  # noqa: PLR2004
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


# ---- plan -----------------------------------------------------------------------------------------------------------


def plan_json(campaign: Campaign, plan: Plan) -> dict[str, Any]:
    """Return the plan and its cost as plain data."""
    table = campaign.cost(plan)
    samples = [{**asdict(sample), "group": sample.group} for sample in plan.samples]
    return {
        "name": campaign.config.name,
        "potential": asdict(plan.potential) | {"path": str(plan.potential.path)},
        "samples": samples,
        "melts": len(plan.melts),
        "tasks": len(plan.tasks),
        "cost": [asdict(row) for row in table.rows],
        "warnings": list(plan.warnings),
    }


def print_plan(campaign: Campaign, plan: Plan, *, list_samples: bool) -> None:
    """Print samples, stages, core-hours and storage."""
    if not plan.samples:
        console.print("nothing to do: the configuration asks for no samples")
        return
    console.print(f"[bold]{campaign.config.name}[/bold]: {len(plan.samples)} samples from {len(plan.melts)} melts")
    console.print(f"potential: {plan.potential.label} (sha256 {plan.potential.sha256[:12]})")
    console.print(_block_table(plan))
    if list_samples:
        console.print(_sample_table(plan.samples, plan))
    with console.status("measuring how fast this machine is (once, a few seconds)"):
        cost = campaign.cost(plan)
    console.print(_cost_table(cost))
    for warning in plan.warnings:
        console.print(f"[yellow]note[/yellow]: {warning}")


def _block_table(plan: Plan) -> Table:
    table = Table("block", "composition", "atoms", "samples", "cooling rates (K/s)", "melts")
    blocks: dict[str, list[Any]] = {}
    for sample in plan.samples:
        blocks.setdefault(sample.block, []).append(sample)
    for name, samples in blocks.items():
        rates = sorted({s.origin.cooling_rate_K_per_s for s in samples if hasattr(s.origin, "cooling_rate_K_per_s")})
        groups = {s.group for s in samples}
        compositions = {composition_text(s.composition) for s in samples}
        atoms = sorted({s.n_atoms for s in samples})
        table.add_row(
            name, ", ".join(sorted(compositions)), ", ".join(map(str, atoms)), str(len(samples)),
            _rates_text(rates), str(len(groups)) if rates else "given",
        )  # fmt: skip
    return table


def composition_text(composition: dict[str, float]) -> str:
    """Return ``Cu50Zr50`` for fractions by element."""
    return "".join(f"{element}{100 * fraction:g}" for element, fraction in composition.items())


def _rates_text(rates: Sequence[float]) -> str:
    if not rates:
        return "–"
    if len(rates) <= 6:  # noqa: PLR2004
        return ", ".join(f"{rate:.3g}" for rate in rates)
    return f"{len(rates)} from {rates[0]:.3g} to {rates[-1]:.3g}"


def _sample_table(samples: Iterable[Any], plan: Plan) -> Table:
    table = Table("id", "label", "composition", "atoms", "cooling rate (K/s)", "group")
    for sample in samples:
        rate = getattr(sample.origin, "cooling_rate_K_per_s", None)
        table.add_row(
            sample.sid[:8], plan.label(sample.sid), composition_text(sample.composition), str(sample.n_atoms),
            f"{rate:.4g}" if rate else "given", sample.group[:8],
        )  # fmt: skip
    return table


def _cost_table(cost: Any) -> Table:
    table = Table("stage", "tasks", "core-hours", "storage", title="expected cost", title_justify="left")
    for row in cost.rows:
        table.add_row(row.stage, str(row.tasks), f"{row.core_hours:.3g}", size(row.storage_bytes))
    table.add_section()
    total = sum(row.core_hours for row in cost.rows)
    table.add_row(
        "all", str(sum(r.tasks for r in cost.rows)), f"{total:.3g}", size(sum(r.storage_bytes for r in cost.rows))
    )
    return table


# ---- run ------------------------------------------------------------------------------------------------------------


def run_with_display(campaign: Campaign, *, quiet: bool = False, **options: Any) -> int:
    """Run the campaign behind a live table; return the exit code.

    Parameters
    ----------
    campaign : Campaign
    quiet : bool
        No table, only a line every few minutes: for a driver nobody looks at.
    **options
        Those of ``Campaign.run``.
    """
    from bp_distributed.driver import Ending  # noqa: PLC0415 - pulls Dask in

    store = campaign.start()
    if not store.plan.tasks:
        console.print("nothing to do: the configuration asks for no samples")
        return 0
    if not store.unfinished():
        return _nothing_to_do(campaign)
    console.print(
        f"[bold]{store.record['config']['name']}[/bold]: {len(store.unfinished())} of {len(store.plan.tasks)} tasks to do"
    )
    view = _View(store, quiet=quiet)
    with _orderly_stop(view), view:
        ending = campaign.run(on_tick=view.tick, **options)
    status = campaign.status()
    console.print(status_view(status))
    console.print(efficiency_view(campaign.efficiency()))
    console.print(f"status page: {campaign.status_page()}", soft_wrap=True)
    console.print(view.message or _last_words(status, ending, campaign))
    if ending is not Ending.FINISHED:
        return UNFINISHED
    return WITH_QUARANTINE if status.quarantined else 0


def run_detached(campaign: Campaign, **options: Any) -> int:
    """Start a driver that goes on when this terminal closes; return the exit code.

    Parameters
    ----------
    campaign : Campaign
    **options
        Those of ``Campaign.detach``.
    """
    if not campaign.start().unfinished():
        return _nothing_to_do(campaign)
    console.print(
        f"driver started, {campaign.detach(**options)}; it goes on when this terminal closes\n"
        f"  bpd attach {campaign.root}   follows it\n  bpd stop {campaign.root}     ends it, checkpoints stay",
        soft_wrap=True,
    )
    return 0


def _nothing_to_do(campaign: Campaign) -> int:
    status = campaign.status()
    console.print(f"nothing to do: all {status.tasks} tasks of {status.name} have ended")
    if not status.quarantined:
        return 0
    console.print(f"{status.quarantined} of them are set aside; 'bpd status' says why, 'bpd retry' releases them")
    return WITH_QUARANTINE


def _last_words(status: Status, ending: str, campaign: Campaign) -> str:
    if ending in {"stopped", "drained"}:
        return f"{ending}; 'bpd run {campaign.root}' continues, nothing is lost"
    if status.quarantined:
        return f"finished; {status.quarantined} tasks are set aside: 'bpd show' and 'bpd logs' say why, 'bpd retry' releases them"
    return "finished"


class _View:
    """The live table of a run; on a pipe or in CI one line now and then instead."""

    def __init__(self, store: Store, *, quiet: bool) -> None:
        self._store, self._last, self._said = store, 0.0, 0.0
        self._between_s = VERY_QUIET_LINE_S if quiet else QUIET_LINE_S
        table = console.is_terminal and not quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if table else None
        self.driver: Driver | None = None

    def __enter__(self) -> _View:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.__exit__(*error)

    @property
    def message(self) -> str:
        return self.driver.message if self.driver else ""

    def tick(self, driver: Driver) -> None:
        first, self.driver = self.driver is None, driver
        if first and driver.pool.dashboard:
            console.print(f"dashboard: {driver.pool.dashboard}")
        now = time.monotonic()
        if now - self._last < REFRESH_S:
            return
        self._last = now
        states = states_now(self._store, driver.states, driver.in_flight)
        status = campaign_status(self._store, driver.seconds, states, driver.pool.slots)
        if self._live:
            self._live.update(status_view(status), refresh=True)
        elif now - self._said > self._between_s:
            self._said = now
            console.print(one_line(status), soft_wrap=True)


@contextmanager
def _orderly_stop(view: _View) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a stop that ends the running steps at once; the second one is for real."""

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if view.driver is None or view.driver.stop_requested:
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        view.driver.stop_requested = True
        console.print("stopping: ending the running steps; their checkpoints stay")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# ---- status ---------------------------------------------------------------------------------------------------------


def one_line(status: Status) -> str:
    """Return the status as one line for logs."""
    running = ", ".join(
        f"{running.name} {running.fraction:.0%}" if running.fraction is not None else running.name
        for running in status.running
    )
    eta = f", about {duration(status.eta_s)} left" if status.eta_s else ""
    eta += f"; {status.searches.sentence}" if status.searches and status.searches.searches else ""
    return f"{status.ended}/{status.tasks} tasks ended{eta}" + (f"; running: {running}" if running else "")


def status_view(status: Status) -> RenderableType:
    """Return the status table with bars, and the running tasks, batch jobs and failures under it."""
    lines: list[RenderableType] = [_stage_table(status, wide=console.width >= WIDE)]
    if status.searches:
        lines.append(f"saddle searches: {status.searches.sentence}")
    if status.running:
        lines.append(_running_table(status))
    if status.lanes:
        lines.append(_lane_table(status))
    if status.causes:
        causes = ", ".join(f"{count} × {cause}" for cause, count in status.causes.items())
        lines.append(f"[red]failures[/red]: {causes}")
    if not status.finished:
        driver = f"driver: {status.driver}" if status.driver else "no driver at work; 'bpd run' continues"
        lines.append(f"[dim]{driver}  ·  about {duration(status.eta_s)} left[/dim]")
    return Group(*lines)


def _stage_table(status: Status, *, wide: bool) -> Table:
    columns = shown_states(status.rows)
    title = f"{status.name}  ·  {status.ended} of {status.tasks} tasks ended"
    table = Table(title=title, title_justify="left", box=HEAVY_HEAD if wide else None, padding=(0, 1))
    table.add_column("stage", no_wrap=True)
    bars = wide or len(columns) <= FEW_COLUMNS
    if bars:
        table.add_column("", no_wrap=True)
    heads = (state.value if wide else _SHORT.get(state, state.value) for state in columns)
    for head in (*(["tasks"] if bars else []), *heads, "core-h", "left"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in status.rows:
        if row.tasks:
            table.add_row(row.stage, *_stage_cells(row, columns, bars=bars))
    counts = {state.value: sum(row.counts[state] for row in status.rows) for state in State}
    total = StageRow("all", status.tasks, counts, status.core_hours_used, status.core_hours_remaining)
    table.add_section()
    table.add_row("all", *_stage_cells(total, columns, bars=bars), style="bold")
    return table


def _running_table(status: Status) -> Table:
    table = Table("running", "host", "for", "at", "doing", box=None, padding=(0, 1))
    for task in status.running[:MAX_RUNNING]:
        at = f"{task.fraction:.0%}" if task.fraction is not None else ""
        table.add_row(task.name, task.host, duration(task.seconds), at, task.note)
    if len(status.running) > MAX_RUNNING:
        table.add_row(f"and {len(status.running) - MAX_RUNNING} more", "", "", "", "")
    return table


def _lane_table(status: Status) -> Table:
    table = Table("batch jobs", "pending", "running", "cores", "ended", box=None, padding=(0, 1))
    for lane in status.lanes:
        ended = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in lane.ended.items())
        table.add_row(lane.lane, str(lane.pending), str(lane.running), str(lane.cores), ended)
    return table


_COLOURS = {
    State.DONE: "green",
    State.FAILED: "red",
    State.QUARANTINED: "red",
    State.RUNNING: "cyan",
    State.REJECTED: "yellow",
}


_SHORT = {
    State.REJECTED: "rej.",
    State.RUNNING: "run",
    State.WAITING: "wait",
    State.FAILED: "fail",
    State.QUARANTINED: "quar.",
    State.BLOCKED: "block",
}
"""Heads of columns on a narrow terminal."""


def _stage_cells(row: StageRow, columns: Sequence[State], *, bars: bool) -> list[RenderableType]:
    bar: list[RenderableType] = (
        [ProgressBar(total=row.tasks, completed=row.ended, width=12), str(row.tasks)] if bars else []
    )
    counts: list[RenderableType] = [Text(str(row.counts[state] or "·"), _COLOURS.get(state, "") if row.counts[state] else "dim")
              for state in columns]  # fmt: skip
    return [*bar, *counts, hours(row.core_hours_used), hours(row.core_hours_remaining)]


def print_status(campaign: Campaign, *, watch: bool) -> None:
    """Print the status once, or keep it up to date until the campaign has ended."""
    status = campaign.status()
    if not watch:
        console.print(status_view(status))
        return
    with Live(status_view(status), console=console, auto_refresh=False) as live:
        while not status.finished:
            time.sleep(2 * REFRESH_S)
            status = campaign.status()
            live.update(status_view(status), refresh=True)


def attach_with_display(campaign: Campaign) -> int:
    """Follow a campaign that a driver elsewhere conducts; return the exit code."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        parting = campaign.attach(lambda status: live.update(status_view(status), refresh=True))
    status = campaign.status()
    console.print(status_view(status))
    if parting is Parting.LEFT:
        console.print(
            f"the driver goes on; 'bpd attach {campaign.root}' looks again, 'bpd stop {campaign.root}' ends it"
        )
    if parting is not Parting.FINISHED:
        return UNFINISHED
    return WITH_QUARANTINE if status.quarantined else 0


def efficiency_view(found: Efficiency) -> RenderableType:
    """Return what the core-hours bought, with advice under the table."""
    table = Table(title="efficiency", title_justify="left")
    table.add_column("stage")
    for head in ("tasks", "median", "longest", "cpu", "memory peak", "asked", "core-h useful", "lost"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("lost to")
    for row in found.rows:
        lost = ", ".join(f"{cause.replace('_', ' ')} {hours(spent)}" for cause, spent in row.lost_core_hours.items())
        table.add_row(
            row.stage, str(row.tasks), duration(row.median_s), duration(row.longest_s), f"{row.cpu_efficiency:.0%}",
            f"{row.memory_peak:.2g} GiB", f"{row.memory:g} GiB", hours(row.useful_core_hours), hours(row.lost), lost,
        )  # fmt: skip
    return Group(table, *(f"[yellow]advice[/yellow]: {sentence}" for sentence in found.advice))


# ---- one sample -----------------------------------------------------------------------------------------------------


def print_samples(campaign: Campaign) -> None:
    """List every sample with the state of its stages."""
    store = campaign.store
    states = store.states()
    table = Table("id", "label", *store.plan.stages)
    for owner in store.plan.owners:
        found: dict[str, list[str]] = {}
        for task in store.plan.tasks_of(owner):
            found.setdefault(task.stage, []).append(states[task.key].state.value)
        cells = {stage: _counted(words) for stage, words in found.items()}
        table.add_row(owner[:8], store.plan.label(owner), *(cells.get(stage, "·") for stage in store.plan.stages))
    console.print(table)


def _counted(states: Sequence[str]) -> str:
    """Return the state of a stage, or the states of its batches with their numbers."""
    if len(states) == 1:
        return states[0]
    return ", ".join(f"{count} {state}" for state, count in Counter(states).most_common())


def sample_json(campaign: Campaign, name: str) -> dict[str, Any]:
    """Return one sample as plain data."""
    store = campaign.store
    tasks = campaign.tasks_of([name])
    stages = {}
    for task in tasks:
        state = store.state(task)
        attempts = [
            {"folder": str(a.folder), "claim": a.claim, "failure": a.failure, "running": a.is_running}
            for a in campaign.attempts(task)
        ]
        stages[task.name] = {"state": state.state.value, "manifest": state.manifest, "attempts": attempts,
                             "folder": str(store.folder(task)), "request": task.whole_request}  # fmt: skip
    owner = tasks[0].owner
    sample = store.plan.spec(owner)
    return {"id": owner, "label": store.plan.label(owner), "spec": asdict(sample), "stages": stages}


def print_sample(campaign: Campaign, name: str) -> None:
    """Print what defines a sample, and what became of each stage."""
    content = sample_json(campaign, name)
    console.print(f"[bold]{content['label']}[/bold]  {content['id']}")
    for key, value in content["spec"].items():
        console.print(f"  {key}: {value}", style="dim")
    table = Table("stage", "state", "attempts", "seconds", "scalars, or what went wrong")
    store = campaign.store
    tasks = campaign.tasks_of([name])
    for task in tasks:
        if task.part and len(tasks) > 1:
            continue
        stage = content["stages"][task.name]
        seconds = (stage["manifest"] or {}).get("seconds")
        table.add_row(
            task.name, stage["state"], str(len(stage["attempts"])), f"{seconds:.1f}" if seconds else "–",
            _stage_words(store, task, stage),
        )  # fmt: skip
    if len(tasks) > 1 and any(task.part for task in tasks):
        table.add_row("activation", *_batch_cells([content["stages"][task.name] for task in tasks if task.part]))
    console.print(table)
    console.print(f"[dim]{store.root / 'samples'}[/dim]")


def _batch_cells(batches: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line for all batches of a sample: thousands of lines would bury the rest."""
    manifests = [batch["manifest"] for batch in batches if batch["state"] in {State.DONE, State.REJECTED}]
    found = Searches()
    for manifest in manifests:
        found.add(manifest["facts"])
    mean = f", mean barrier {found.mean_energy_eV:.5g} eV" if found.mean_energy_eV is not None else ""
    words = [f"{found.searches} searches, {found.successes} saddles, {found.connected} connected{mean}"]
    words += [
        f"[red]{attempt['failure']['cause']}[/red]: {attempt['failure']['message']}"
        for batch in batches
        for attempt in batch["attempts"]
        if attempt["failure"]
    ][:MAX_RUNNING]
    seconds = sum(manifest["seconds"] for manifest in manifests)
    attempts = sum(len(batch["attempts"]) for batch in batches)
    states = _counted([batch["state"] for batch in batches])
    return [states, str(attempts), f"{seconds:.1f}" if seconds else "–", "\n".join(words)]


def _stage_words(store: Store, task: Any, stage: dict[str, Any]) -> str:
    words = []
    if stage["state"] in {State.DONE, State.REJECTED}:
        result = store.load(task)
        words = [f"{n} {float(v):.5g} {v.attrs['units']}" for n, v in result.data_vars.items() if v.ndim == 0]
    if reason := (stage["manifest"] or {}).get("reason"):
        words.insert(0, f"[yellow]{reason}[/yellow]")
    words += [
        f"[red]{a['failure']['cause']}[/red]: {a['failure']['message']}" for a in stage["attempts"] if a["failure"]
    ]
    return "\n".join(words)


LOG_FILES = ("log.lammps", "stdout", "stderr")


def print_logs(campaign: Campaign, name: str, stage: str | None, lines: int, *, follow: bool) -> None:
    """Print the end of the logs of a sample's newest attempt.

    Raises
    ------
    ConfigError
        If it has no attempt yet.
    """
    newest = [
        (attempt.folder.stat().st_mtime, attempt)
        for task in campaign.tasks_of([name])
        if stage in {None, task.stage}
        for attempt in campaign.attempts(task)
    ]
    if not newest:
        raise ConfigError(
            str(campaign.root), name, "has not been attempted yet" + (f" in stage {stage}" if stage else "")
        )
    attempt = max(newest, key=lambda pair: pair[0])[1]
    for file in LOG_FILES:
        path = attempt.folder / file
        if path.exists() and path.stat().st_size:
            console.rule(f"{path.relative_to(campaign.root)}", align="left")
            text = path.read_text(encoding="utf-8", errors="replace").splitlines()
            console.print("\n".join(text[-lines:]), markup=False)
    if follow:
        _follow(attempt.folder, attempt)


def _follow(folder: Path, attempt: Any) -> None:
    sizes = {file: (folder / file).stat().st_size if (folder / file).exists() else 0 for file in LOG_FILES}
    while attempt.is_running:
        time.sleep(REFRESH_S)
        for file, seen in sizes.items():
            path = folder / file
            if path.exists() and path.stat().st_size > seen:
                with path.open(encoding="utf-8", errors="replace") as stream:
                    stream.seek(seen)
                    console.print(stream.read(), end="", markup=False)
                    sizes[file] = stream.tell()


# ---- results --------------------------------------------------------------------------------------------------------


def fsck_with_display(campaign: Campaign, *, adopt: bool, quiet: bool) -> Findings:
    """Verify the folder behind a bar and print what was found."""

    def bar(tasks: Sequence[Any]) -> Iterable[Any]:
        return track(tasks, description="verifying", console=console, transient=True)

    findings = campaign.fsck(adopt=adopt, progress=iter if quiet else bar)
    if quiet:
        return findings
    counts = ", ".join(f"{count} {state}" for state, count in findings.states.items() if count)
    console.print(f"{findings.verified} committed results verified; tasks: {counts}")
    for line in findings.damage:
        console.print(f"[red]damage[/red]: {line}")
    if findings.adopted:
        console.print(f"adopted {len(findings.adopted)} finished results that lacked their marker")
    if findings.adoptable:
        console.print(f"{len(findings.adoptable)} finished results lack their marker; 'bpd fsck --adopt' commits them")
    for line in findings.notes:
        console.print(f"[dim]note: {line}[/dim]")
    if findings.damage:
        console.print("damaged tasks are set aside; 'bpd retry' and 'bpd run' compute them again")
    else:
        console.print("[green]clean[/green]")
    return findings


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count=1: progress.advance(task, count)


def gather_with_display(campaign: Campaign) -> None:
    """Gather behind a bar and print what is in the dataset."""
    with _bar("gathering", len(campaign.store.plan.samples)) as advance:
        dataset = campaign.gather(advance)
    path = campaign.dataset_path
    sizes = ", ".join(f"{name} {length}" for name, length in dataset.sizes.items())
    console.print(f"gathered {dataset.sizes['sample']} samples: {path} ({size(path.stat().st_size)})\n{sizes}")
    if "searched_planned" in dataset.coords:
        planned = int(dataset["searched_planned"].sum())
        found = int(dataset["searched_row_size"].sum()) if "searched_row_size" in dataset.coords else 0
        missing = "" if found == planned else "; 'bpd run' continues with the rest"
        console.print(f"saddle searches of {found} of {planned} atoms{missing}")


def export_with_display(campaign: Campaign, **options: Any) -> None:
    """Export behind a bar and print where to; ``options`` are those of ``Campaign.export``."""
    with _bar("exporting", len(campaign.store.plan.samples)) as advance:
        path = campaign.export(**options, advance=advance)
    console.print(f"exported: {path}", soft_wrap=True)


def atlas_with_display(campaign: Campaign, out: Path | None) -> None:
    """Write the atlas behind a bar and print where it is and what it says."""
    from bp_distributed.atlas.rows import ROWS  # noqa: PLC0415 - only here

    with _bar("atlas", len(ROWS)) as advance:
        path = campaign.atlas(out, advance)
    found = json.loads(path.with_name("atlas.json").read_text(encoding="utf-8"))
    missing = [row["row"] for row in found["rows"] if row["status"] == "missing"]
    console.print(", ".join(f"{count} {verdict}" for verdict, count in found["verdicts"].items()))
    if missing:
        console.print(f"missing: {', '.join(missing)}; the page says which command would produce them")
    console.print(f"atlas: {path}", soft_wrap=True)


def train_with_display(campaign: Campaign) -> None:
    """Train and print the errors beside the baselines'."""
    with console.status("training, fold by fold"):
        result = campaign.train()
    table = Table(
        "model", "MAE (µTHz⁻³)", "R²", title="errors on samples of melts the model never saw", title_justify="left"
    )
    for name, metric in result.metrics.items():
        table.add_row(name, f"{metric['mae']:.2f}", f"{metric['r2']:.2f}")
    console.print(table)
    for line in result.remarks:
        console.print(f"[yellow]note[/yellow]: {line}")


def learn_with_display(campaign: Campaign, workers: int | None) -> int:
    """Run the fits that are missing behind a bar and print what was learned; return the exit code."""
    study = campaign.study()
    if study.is_current:
        console.print(f"nothing to do: {len(study.jobs)} jobs of learning are done")
        return 0
    with _bar("learning", len(study.jobs)) as advance:
        ended = study.run(workers, lambda name: advance())  # noqa: ARG005 - the bar counts
    for name, words in ended.failures.items():
        console.print(f"[red]failed[/red]: {name}: {(words.splitlines() or ['?'])[-1]}", soft_wrap=True)
    for note in study.notes:
        console.print(f"[yellow]note[/yellow]: {note}")
    console.print(
        f"{ended.computed} of {len(study.jobs)} jobs had to run: {study.folder / 'learning.json'}", soft_wrap=True
    )
    return UNFINISHED if ended.failures else 0


def run_demo(folder: Path, workers: int | None) -> int:
    """Run the demo preset from melt to report."""
    campaign = Campaign(folder)
    if not campaign.config_path.exists():
        init_folder(folder, "demo")
    if not Store.exists(campaign.root):
        print_plan(campaign, campaign.plan(), list_samples=False)
    code = run_with_display(campaign, workers=workers)
    if code == UNFINISHED:
        return code
    if campaign.products_are_current():
        console.print(f"report: {campaign.report_path} (up to date)", soft_wrap=True)
        return code
    gather_with_display(campaign)
    try:
        train_with_display(campaign)
    except CampaignError as error:  # too few samples survived: the report still shows everything else
        console.print(f"[yellow]note[/yellow]: nothing was learned: {error}")
    console.print(f"report: {campaign.report()}", soft_wrap=True)
    return code
