# SPDX-License-Identifier: BSD-3-Clause
"""The status page: private, self-contained, complete, and safe against whatever a message holds."""

import os
import re
from html.parser import HTMLParser

import pytest

from bp_distributed.errors import FailureClass
from bp_distributed.job_record import ENDED, PENDING, RUNNING, JobRecord
from bp_distributed.status import (
    LaneRow,
    Running,
    StageRow,
    Status,
    campaign_status,
    failure_groups,
    failure_rows,
    lane_rows,
)
from bp_distributed.status_page import duration, hours, resubmit_command, status_html, write_status_page
from bp_distributed.store import State
from bp_distributed.terminal import console, status_view


def row(stage, hours_used, hours_left, **counts):
    filled = {state.value: counts.get(state.value, 0) for state in State}
    return StageRow(stage, sum(filled.values()), filled, hours_used, hours_left)


def busy_status(root="/scratch/zoë/my campaign"):
    """A campaign in the middle of everything."""
    rows = [
        row("melt", 118.2, 0.0, done=40),
        row("quench", 2214.0, 1650.0, done=212, running=64, ready=110, failed=6, quarantined=8),
        row("structure", 3.1, 2.9, done=190, rejected=4, waiting=188, ready=10, blocked=8),
        row("vibration", 811.0, 960.0, done=160, rejected=9, running=16, waiting=200, failed=7, blocked=8),
    ]
    running = [Running(f"quench-{i}", f"quench glass-1e+12-r{i}", f"node{i % 4:03d}", 600.0 * i, 0.07 * i, "cooling at 812 K")
               for i in range(1, 7)]  # fmt: skip
    lanes = [LaneRow("md", 2, 4, 64, {"completed": 3, "timeout": 1}), LaneRow("mpi-m2", 1, 0, 0, {"out_of_memory": 2})]
    return Status("cu50zr50-rates", root, rows, running, {"out_of_memory": 13, "atoms_lost": 8},
                  "zoë on login1, pid 4711", 5.2 * 3600, lanes)  # fmt: skip


class Sources(HTMLParser):
    """Everything a page would load or run."""

    def __init__(self, page):
        super().__init__()
        self.found, self.tags = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [
            f"{name}={value}" for name, value in attrs if name in {"src", "href", "onload", "onerror", "onclick"}
        ]


@pytest.fixture
def failed(campaign):
    """A finished campaign: one quench lost its atoms, another ran out of memory, two samples are rejected."""
    quenches = [task for task in campaign.start().plan.tasks if task.stage == "quench"]
    (campaign.root / "toy.json").write_text(f'{{"{quenches[0].key}": "science", "vibration": "rejected"}}')
    campaign.run(workers=0)
    return campaign


def test_the_page_is_private_self_contained_and_whole(tmp_path):
    previous = os.umask(0)
    try:
        path = write_status_page(tmp_path / "products", busy_status(), [])
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o600
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    sources = Sources(page)
    assert sources.found == []
    assert "script" not in sources.tags
    assert [entry.name for entry in path.parent.iterdir()] == ["status.html"]


def test_it_refreshes_itself_until_the_campaign_has_ended(tmp_path):
    status = busy_status()
    assert 'http-equiv="refresh"' in write_status_page(tmp_path, status, []).read_text()
    status.rows = [row("melt", 1.0, 0.0, done=2)]
    assert 'http-equiv="refresh"' not in write_status_page(tmp_path, status, []).read_text()


def test_it_says_what_the_status_says():
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", status_html(busy_status())))
    for words in (
        "639 of 1240 tasks ended", "3,146 core-hours spent", "2,613 core-hours left", "5.2 h time left",
        "quench 400 212 · 64 · 110 6 8 · 2,214 1,650", "quench glass-1e+12-r6 42 % 60 min node002 cooling at 812 K",
        "md 2 4 64 3 completed, 1 timeout", "mpi-m2 1 0 0 2 out of memory", "driven by zoë on login1, pid 4711",
    ):  # fmt: skip
        assert words in page, words


def test_hostile_text_stays_text(tmp_path):
    """S08 for our own page: names and messages come from files that anybody may have written."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    status = busy_status(root=f"/scratch/{evil}")
    status.name = status.driver = evil
    status.running = [Running("k", evil, evil, 1.0, 0.5, evil)]
    page = write_status_page(tmp_path, status, failure_groups(failure_rows_of(evil))).read_text()
    sources = Sources(page)
    assert "script" not in sources.tags
    assert sources.found == []
    assert page.count("&lt;script&gt;alert(1)") >= 6


def failure_rows_of(text):
    from bp_distributed.status import FailureRow

    return [FailureRow("k", text, "quench", "quarantined", "sample", text, text, text)]


def test_failures_are_grouped_by_cause_with_the_command_that_resubmits_them(failed):
    groups = failure_groups(failed.failures())
    assert [(group.cause, group.count, group.stages, group.resubmit) for group in groups] == [
        ("atoms_lost", 1, ("quench",), True),
        ("no_boson_peak", 3, ("vibration",), False),
    ]
    page = failed.status_page().read_text()
    assert page.count("bpd retry --failed --cause atoms_lost") == 1
    assert "--cause no_boson_peak" not in page
    assert "3 of 4 atoms left" in page


def test_the_command_of_the_page_works(failed, monkeypatch):
    from test_cli import bpd

    command = resubmit_command(str(failed.root), failure_groups(failed.failures())[0]).split(" && ")[0].split()
    answer = bpd(*command[1:])
    assert "1 tasks released" in answer.stdout, answer


def test_what_a_person_set_aside_is_released_by_name(campaign):
    sample = campaign.start().plan.samples[0].label
    campaign.cancel([sample])
    (group,) = failure_groups(campaign.failures())
    assert (group.cause, group.message) == ("set aside", "cancelled by user")
    command = resubmit_command(str(campaign.root), group).split(" && ")[0].split()
    from test_cli import bpd

    assert "3 tasks released" in bpd(*command[1:]).stdout


def test_a_folder_with_spaces_and_quotes_is_quoted_in_the_command(failed):
    group = failure_groups(failed.failures())[0]
    assert "-C '/a b/it'\"'\"'s' && bpd run '/a b/it'\"'\"'s'" in resubmit_command("/a b/it's", group)


def test_batch_jobs_are_counted_by_lane(tmp_path):
    for number, (lane, state, cause) in enumerate(
        [("md", RUNNING, ""), ("md", RUNNING, ""), ("md", PENDING, ""), ("md", ENDED, "timeout"), ("mpi", ENDED, "")]
    ):
        JobRecord(str(number), "name", lane, epoch=1, cores=8, state=state, cause=cause).write(tmp_path)
    (tmp_path / "jobs" / "torn.json").write_text("{")
    assert lane_rows(tmp_path) == [
        LaneRow("md", pending=1, running=2, cores=16, ended={"timeout": 1}),
        LaneRow("mpi", ended={"unknown": 1}),
    ]


@pytest.mark.parametrize(("width", "head"), [(80, "quar."), (140, "quarantined")])
def test_the_terminal_shows_the_same_numbers_on_narrow_screens_too(monkeypatch, width, head):
    monkeypatch.setattr(console, "width", width)
    with console.capture() as captured:
        console.print(status_view(busy_status()))
    text = captured.get()
    assert "…" not in text, "something was cut off"
    for words in ("2,214", "1,650", head, "md", "3 completed, 1 timeout", "13 × out_of_memory", "about 5.2 h left"):
        assert words in text, words


def test_nobody_knows_when_it_ends_while_nothing_runs(campaign):
    store = campaign.start()
    seconds = {task.key: 3600.0 for task in store.plan.tasks}
    assert campaign_status(store, seconds, slots=0).eta_s is None
    assert campaign_status(store, seconds, slots=7).eta_s == pytest.approx(14 * 3600 / 7)


def test_numbers_read_at_a_glance():
    assert [duration(value) for value in (None, 0.4, 89, 91, 5400, 200000)] == [
        "–",
        "0 s",
        "89 s",
        "2 min",
        "1.5 h",
        "2.3 d",
    ]
    assert [hours(value) for value in (0.0, 0.00123456, 12.345, 99.99, 1234.5)] == [
        "0",
        "0.00123",
        "12.3",
        "100",
        "1,234",
    ]


def test_a_stage_without_failures_has_no_such_column(campaign):
    campaign.run(workers=0)
    page = status_html(campaign.status())
    assert ">quarantined<" not in page
    assert ">done<" in page
    assert FailureClass.SAMPLE not in page
    assert failure_rows(campaign.store) == []
