# SPDX-License-Identifier: BSD-3-Clause
"""``bpd``: the command line.  Thin: every command calls one method of :class:`bp_distributed.campaign.Campaign`.

Exit codes: 0 done, 1 internal error, 2 bad input or damage found, 3 another driver is at work, 4 superseded by
a newer driver, 5 the Dask scheduler died, 10 unfinished but healthy, 11 finished with tasks set aside.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bp_distributed.errors import CampaignError, ConfigError

if TYPE_CHECKING:
    from bp_distributed.campaign import Campaign

UNFINISHED, WITH_QUARANTINE, DAMAGE = 10, 11, 2

app = typer.Typer(
    name="bpd",
    help="Run a boson-peak campaign: melt, quench, diagonalise, gather, learn, report.\n\n"
    "Start with 'bpd init my-campaign', edit the campaign.yaml in it, look with 'bpd plan my-campaign', then "
    "'bpd run my-campaign'. Interrupt it as you like: the same command continues.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[Path, typer.Argument(help="campaign folder, or the campaign.yaml in it", show_default="this folder")]
Samples = Annotated[list[str] | None, typer.Argument(help="sample ids, their first 4+ characters, or labels")]
Sample = Annotated[str, typer.Argument(help="sample id, its first 4+ characters, label, or task key")]
In = Annotated[Path, typer.Option("--in", "-C", help="campaign folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for other programs")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-n", min=0, help="worker processes; 0 runs in this process", show_default="all cores"),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
Site = Annotated[str | None, typer.Option("--profile", help="site profile: a shipped name, or a file")]
Wait = Annotated[float, typer.Option("--wait", min=0, help="seconds to wait until the driver has ended")]
HERE = Path()


def main() -> None:
    """Run the command line; a wrong input is one line on stderr, never a traceback."""
    os.environ["PYTHONSAFEPATH"] = "1"  # workers import nothing from the folder that they are started in
    try:
        app()
    except CampaignError as error:
        sys.stderr.write(f"bpd: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(UNFINISHED)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full disk, a folder without permission: the machine's words say it best
        sys.stderr.write(f"bpd: {error.filename or 'the system'}: {error.strerror or error}\n")
        sys.exit(DAMAGE)


def _campaign(path: Path) -> Campaign:
    from bp_distributed.campaign import Campaign

    return Campaign(path)


def _say(text: str) -> None:
    typer.echo(text)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, default=str))


# ---- prepare --------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="prepare")
def init(
    folder: Annotated[Path, typer.Argument(help="folder to make")],
    preset: Annotated[str, typer.Option(help="demo, tao2023 or yang2022")] = "demo",
) -> None:
    """Make a campaign folder with a commented campaign.yaml to edit."""
    from bp_distributed.terminal import init_folder

    path = init_folder(folder, preset)
    _say(f"wrote {path}\nedit it, then look at what it asks for: bpd plan {folder}")


@app.command(rich_help_panel="prepare")
def plan(
    folder: Folder = HERE,
    samples: Annotated[bool, typer.Option("--samples", help="list every sample")] = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Show samples, stages, core-hours and storage before anything runs."""
    from bp_distributed import terminal

    campaign = _campaign(folder)
    planned = campaign.plan(allow_huge=yes)
    if json_:
        _print_json(terminal.plan_json(campaign, planned))
    else:
        terminal.print_plan(campaign, planned, list_samples=samples)


@app.command(rich_help_panel="prepare")
def amend(folder: Folder = HERE, yes: Yes = False) -> None:
    """Take a changed campaign.yaml over; results whose definition did not change are kept."""
    store = _campaign(folder).start(amend=True, allow_huge=yes)
    kept = sum(store.has_result(task) for task in store.plan.tasks)
    _say(
        f"plan amended: {len(store.plan.samples)} samples, {len(store.plan.tasks)} tasks, {kept} of them have results already"
    )


@app.command(rich_help_panel="prepare")
def script(
    lane: Annotated[str | None, typer.Argument(help="lane of the profile", show_default="the first")] = None,
    folder: In = HERE,
    profile: Site = None,
) -> None:
    """Print the job script of a lane as it would be submitted; --profile puts that profile in force."""
    campaign = _campaign(folder)
    if profile is not None:
        campaign.use_profile(profile)
    _say(campaign.job_script(lane))


@app.command(rich_help_panel="prepare")
def doctor(folder: Folder = HERE, profile: Site = None) -> None:
    """Check this machine: LAMMPS, potential, libraries, file system, memory; with --profile a cluster's nodes."""
    from bp_distributed import doctor

    raise typer.Exit(doctor.examine(folder) if profile is None else doctor.examine_profile(profile, folder))


@app.command(rich_help_panel="prepare")
def slepc_build() -> None:
    """Build PETSc and SLEPc, for solves over MPI, into your cache; once, about 8 minutes, without root."""
    from bp_distributed.slepc_build import build

    site = build(_say).site
    _say("SLEPc is in this environment" if site is None else f"SLEPc is in {site}")


# ---- run ------------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="run")
def run(
    folder: Folder = HERE,
    workers: Workers = None,
    profile: Site = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="start a driver that outlives this terminal")] = False,
    as_job: Annotated[
        str | None,
        typer.Option("--as-job", metavar="LANE", help="with --detach: the driver is a batch job of this lane"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no table, a line every few minutes")] = False,
    yes: Yes = False,
    steal_lock: Annotated[bool, typer.Option("--steal-lock", help="take over from a driver that seems alive")] = False,
) -> None:
    """Run the campaign until it has ended; the same command continues after any interruption."""
    from bp_distributed import terminal

    if as_job and not detach:
        raise ConfigError("bpd run", "--as-job", "is for a driver of its own; add --detach")
    if steal_lock and not yes:
        typer.confirm("Another driver may be alive; it will stop itself. Take the campaign over?", abort=True)
    campaign = _campaign(folder)
    options: dict[str, Any] = {"workers": workers, "profile": profile, "steal": steal_lock}
    if detach:
        raise typer.Exit(terminal.run_detached(campaign, as_job=as_job, **options))
    raise typer.Exit(terminal.run_with_display(campaign, quiet=quiet, **options))


@app.command(rich_help_panel="run")
def attach(folder: Folder = HERE) -> None:
    """Follow a campaign that is driven elsewhere; Ctrl-C leaves the driver running."""
    from bp_distributed import terminal

    raise typer.Exit(terminal.attach_with_display(_campaign(folder)))


@app.command(rich_help_panel="run")
def stop(folder: Folder = HERE, wait: Wait = 60.0) -> None:
    """Stop the driver: running steps end now and continue from their checkpoints with 'bpd run'."""
    over = _campaign(folder).stop(wait)
    _say("stopped; 'bpd run' continues" if over else "asked the driver to stop; running steps end now")


@app.command(rich_help_panel="run")
def drain(folder: Folder = HERE, wait: Wait = 0.0) -> None:
    """Start nothing new; the driver ends when what runs has ended or reached its next checkpoint."""
    over = _campaign(folder).drain(wait)
    _say("drained; 'bpd run' continues" if over else "nothing new starts; the driver ends when what runs has ended")


@app.command(rich_help_panel="run")
def step(folder: Folder = HERE) -> None:
    """See to it that an unfinished campaign is driven; for a crontab, which then heals a reboot."""
    code, sentence = _campaign(folder).step()
    _say(sentence)
    raise typer.Exit(code)


@app.command(rich_help_panel="run")
def cancel(samples: Samples = None, folder: In = HERE) -> None:
    """Set single SAMPLES aside; without any, stop the driver as 'bpd stop' does. Checkpoints stay."""
    if not samples:
        stop(folder)
    else:
        set_aside = _campaign(folder).cancel(samples)
        _say(f"{len(set_aside)} tasks set aside; 'bpd retry' releases them")


@app.command(rich_help_panel="run")
def dashboard(folder: Folder = HERE) -> None:
    """Say how to open the Dask dashboard of the driver at work."""
    _say(str(_campaign(folder).dashboard_link()))


# ---- look -----------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="look")
def status(
    folder: Folder = HERE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="refresh until it has ended")] = False,
    json_: AsJson = False,
) -> None:
    """Show where the campaign stands; read from disk, with or without a running driver."""
    from bp_distributed import terminal

    campaign = _campaign(folder)
    if json_:
        _print_json(campaign.status().to_json())
    else:
        terminal.print_status(campaign, watch=watch)


@app.command(rich_help_panel="look")
def efficiency(folder: Folder = HERE, json_: AsJson = False) -> None:
    """Show what the core-hours bought, what was lost to what, and what to ask for next time."""
    from bp_distributed import terminal

    found = _campaign(folder).efficiency()
    if json_:
        _print_json(found.to_json())
    else:
        terminal.console.print(terminal.efficiency_view(found))


@app.command(rich_help_panel="look")
def show(sample: Annotated[str | None, typer.Argument(help="sample id, beginning or label; none lists them")] = None,
         folder: In = HERE, json_: AsJson = False) -> None:  # fmt: skip
    """Show one sample: what defines it, its stages, results, attempts and failures."""
    from bp_distributed import terminal

    campaign = _campaign(folder)
    if sample is None:
        terminal.print_samples(campaign)
    elif json_:
        _print_json(terminal.sample_json(campaign, sample))
    else:
        terminal.print_sample(campaign, sample)


@app.command(rich_help_panel="look")
def logs(
    sample: Sample,
    folder: In = HERE,
    stage: Annotated[str | None, typer.Option(help="stage; by default the one that ran last")] = None,
    lines: Annotated[int, typer.Option("--lines", help="lines to show")] = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep showing what is added")] = False,
) -> None:
    """Show the end of a sample's newest log (LAMMPS log, stdout and stderr)."""
    from bp_distributed import terminal

    terminal.print_logs(_campaign(folder), sample, stage, lines, follow=follow)


# ---- repair ---------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="repair")
def retry(
    samples: Samples = None,
    folder: In = HERE,
    failed: Annotated[bool, typer.Option("--failed", help="all that failed or was set aside")] = False,
    cause: Annotated[
        str | None,
        typer.Option(help="only failures of this cause: a word of 'bpd status', or oom, walltime, node"),
    ] = None,
    memory: Annotated[float | None, typer.Option(help="GiB to ask for, instead of the usual step")] = None,
    walltime: Annotated[str | None, typer.Option(help="time to ask for, as [days-]hours:minutes:seconds")] = None,
) -> None:
    """Forgive failures and lift quarantines, so that the next run tries again."""
    if samples and failed:
        raise ConfigError("bpd retry", "--failed", "means all samples; name samples or give --failed, not both")
    released = _campaign(folder).retry(samples or (), cause=cause, memory=memory, walltime=walltime)
    _say(f"{len(released)} tasks released; 'bpd run' takes them up" if released else "nothing to release")


@app.command(rich_help_panel="repair")
def fsck(
    folder: Folder = HERE,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="commit intact results whose writer died before its marker")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Prove that every task is in one state and every committed result is intact."""
    from bp_distributed import terminal

    findings = terminal.fsck_with_display(_campaign(folder), adopt=adopt, quiet=json_)
    if json_:
        _print_json({**vars(findings), "clean": findings.clean})
    raise typer.Exit(0 if findings.clean else DAMAGE)


@app.command(rich_help_panel="repair")
def selftest(folder: Annotated[Path, typer.Argument(help="folder on the file system to try")]) -> None:
    """Try on a file system everything the store relies on."""
    from bp_distributed.durable import self_test

    for line in self_test(folder):
        _say(line)


# ---- results --------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel="results")
def gather(folder: Folder = HERE) -> None:
    """Gather all results into one netCDF dataset."""
    from bp_distributed import terminal

    terminal.gather_with_display(_campaign(folder))


@app.command(rich_help_panel="results")
def train(folder: Folder = HERE) -> None:
    """Train the network and its baselines on the gathered dataset."""
    from bp_distributed import terminal

    terminal.train_with_display(_campaign(folder))


@app.command(rich_help_panel="results")
def learn(folder: Folder = HERE, workers: Workers = None) -> None:
    """Learn as the papers did, and better: all fits of their protocol; what is fitted already stays."""
    from bp_distributed import terminal

    raise typer.Exit(terminal.learn_with_display(_campaign(folder), workers))


@app.command(rich_help_panel="results")
def report(folder: Folder = HERE) -> None:
    """Write the report: one self-contained HTML page and its figures as PNG."""
    path = _campaign(folder).report()
    _say(f"report: {path}")


@app.command(rich_help_panel="results")
def atlas(
    folder: Folder = HERE,
    out: Annotated[Path | None, typer.Option("--out", help="folder to write", show_default="products/atlas")] = None,
) -> None:
    """Write the atlas: every figure and claim of both papers beside these data, as page, PDFs, data and text."""
    from bp_distributed import terminal

    terminal.atlas_with_display(_campaign(folder), out)


@app.command(rich_help_panel="results")
def export(
    folder: Folder = HERE,
    samples: Annotated[list[str] | None, typer.Option("--samples", help="sample ids, their first 4+ characters, or labels; may be repeated", show_default="all")] = None,
    formats: Annotated[list[str], typer.Option("--format", help="xyz, dump, csv, parquet, with commas between; or package")] = ["xyz,dump,csv"],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", help="folder to write; a package may be a .zip file", show_default="products/export or products/package")] = None,
    metadata: Annotated[Path | None, typer.Option("--metadata", help="of a package: title, creators, licence, date", show_default="package.yaml of the campaign")] = None,
) -> None:  # fmt: skip
    """Write structures and tables that other programs open (OVITO, ASE, LAMMPS), or a data package for a repository."""
    from bp_distributed import terminal

    terminal.export_with_display(_campaign(folder), formats=formats, samples=samples or (), out=out, metadata=metadata)


@app.command(rich_help_panel="results")
def demo(folder: Folder = Path("demo-campaign"), workers: Workers = None) -> None:
    """Run a small real campaign from melt to report; again it does nothing, or finishes what was interrupted."""
    from bp_distributed import terminal

    raise typer.Exit(terminal.run_demo(folder, workers))


if __name__ == "__main__":
    main()
