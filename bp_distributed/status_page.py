# SPDX-License-Identifier: BSD-3-Clause
"""The status as HTML: one page that refreshes itself and needs nothing else, and the same table for a notebook."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_distributed import durable
from bp_distributed.status import SET_ASIDE, FailureGroup, StageRow, Status
from bp_distributed.store import State

if TYPE_CHECKING:
    import jinja2

PAGE_NAME = "status.html"
REFRESH_S = 30
TEMPLATES = Path(__file__).parent / "templates"
MAX_RUNNING = 30
"""Lines of running tasks; the rest is counted."""
_SEGMENTS = (State.DONE, State.REJECTED, State.RUNNING, State.FAILED, State.QUARANTINED, State.BLOCKED)
"""Parts of a stage's bar, in order; what is left is still to do."""


def write_status_page(folder: Path, status: Status, failures: Sequence[FailureGroup]) -> Path:
    """Write ``status.html`` into a folder, whole and readable by its owner alone.

    Parameters
    ----------
    folder : Path
        Usually ``products`` of the campaign.
    status : Status
    failures : sequence of FailureGroup

    Returns
    -------
    Path
    """
    page = (
        _environment()
        .get_template("status_page.html")
        .render(**_content(status, failures), refresh_s=0 if status.finished else REFRESH_S)
    )
    path = durable.make_private_dir(folder) / PAGE_NAME
    durable.replace_text(path, page)
    return path


def status_html(status: Status, failures: Sequence[FailureGroup] = ()) -> str:
    """Return the body of the page alone, for a notebook."""
    return _environment().get_template("status_body.html").render(**_content(status, failures))


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - most commands write no page

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"duration": duration, "hours": hours}
    return environment


def _content(status: Status, failures: Sequence[FailureGroup]) -> dict[str, Any]:
    return {
        "status": status,
        "rows": [row for row in status.rows if row.tasks],
        "columns": shown_states(status.rows),
        "segments": _segments,
        "running": status.running[:MAX_RUNNING],
        "more_running": max(0, len(status.running) - MAX_RUNNING),
        "failures": failures,
        "command": lambda group: resubmit_command(status.root, group),
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "share": 100 * status.ended / max(status.tasks, 1),
    }


def shown_states(rows: Sequence[StageRow]) -> list[State]:
    """Return the states that some task is in, and ``done``: columns of nothing but zeros are left out."""
    return [state for state in State if state is State.DONE or any(row.counts[state] for row in rows)]


def _segments(row: StageRow) -> list[tuple[str, int, float]]:
    """Return name, count and share (%) of each part of a stage's bar."""
    parts = [(state.value, row.counts[state]) for state in _SEGMENTS]
    return [(name, count, 100 * count / max(row.tasks, 1)) for name, count in parts if count]


def resubmit_command(root: str, group: FailureGroup) -> str:
    """Return the command line that tries the failures of one cause again."""
    folder = shlex.quote(root)
    which = shlex.join(group.samples) if group.cause == SET_ASIDE else f"--failed --cause {shlex.quote(group.cause)}"
    return f"bpd retry {which} -C {folder} && bpd run {folder}"


class NotebookView:
    """Shows a status in a notebook's cell and keeps it up to date there: ``campaign.attach(NotebookView())``."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, status: Status) -> None:
        """Show a status in the place of the one before."""
        from IPython.display import DisplayHandle  # noqa: PLC0415 - it is there where there is a notebook

        content = {"text/html": status_html(status), "text/plain": f"{status.ended} of {status.tasks} tasks ended"}
        if self._handle is None:
            self._handle = DisplayHandle()  # type: ignore[no-untyped-call]
            self._handle.display(content, raw=True)
        else:
            self._handle.update(content, raw=True)


def duration(seconds: float | None) -> str:
    """Return a time people read at a glance."""
    if seconds is None:
        return "–"
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 5400:  # noqa: PLR2004
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"  # noqa: PLR2004


def hours(value: float) -> str:
    """Return core-hours with three digits, however many there are."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
