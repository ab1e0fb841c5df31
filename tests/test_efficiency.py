# SPDX-License-Identifier: BSD-3-Clause
"""What core-hours bought: numbers against records laid out by hand, and advice only where it helps."""

import json
import time

import pytest
from test_cli import bpd

from bp_distributed import durable
from bp_distributed.attempt import attempts_of, claim
from bp_distributed.commit import Marker, committed
from bp_distributed.efficiency import Efficiency, StageEfficiency, efficiency
from bp_distributed.errors import FailureClass

GIB = 2**30


def rewrite(store, task, **facts):
    """Give a committed task other facts, as another machine would have recorded them."""
    folder = store.folder(task)
    content = committed(folder)
    content.pop("marker")
    (folder / Marker.DONE).write_bytes(durable.sealed_json({**content, **facts}))


@pytest.fixture
def spent(campaign):
    """A finished campaign whose 4 vibrations took 1, 2, 3 and 10 hours on 4 cores, half of them idle."""
    campaign.run(workers=0)
    store = campaign.store
    tasks = [task for task in store.plan.tasks if task.stage == "vibration"]
    for task, hours in zip(tasks, (1, 2, 3, 10), strict=True):
        rewrite(
            store,
            task,
            seconds=3600.0 * hours,
            cpu_seconds=2 * 3600.0 * hours,
            threads=4,
            max_rss_bytes=hours * GIB // 4,
        )
    return campaign, tasks


def vibration(campaign):
    return {row.stage: row for row in campaign.efficiency().rows}["vibration"]


def test_what_was_used(spent):
    campaign, _ = spent
    row = vibration(campaign)
    assert row.tasks == 4
    assert (row.median_s, row.longest_s) == (2.5 * 3600, 10 * 3600)
    assert row.cpu_efficiency == pytest.approx(0.5)
    assert row.memory_peak == 2.5
    assert row.useful_core_hours == pytest.approx(4 * 16)
    assert row.lost_core_hours == {}


def test_what_was_given_is_what_the_lane_gave(spent):
    """On a cluster a task gets its share of the lane, not what the stage asked for."""
    campaign, tasks = spent
    assert (vibration(campaign).cores, vibration(campaign).memory) == (4, 6.0)
    request = attempts_of(campaign.store.folder(tasks[-1]))[0].folder / "request.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "memory_bytes": 48 * GIB}))
    row = vibration(campaign)
    assert (row.memory_peak, row.memory) == (2.5, 48.0)
    assert row.advice.startswith("vibration used 2.5 of 48 GiB: ask for 4")


def test_what_was_lost_to_what(spent):
    campaign, tasks = spent
    folder = campaign.store.folder(tasks[0])
    for hours, cause in ((2.0, "out_of_memory"), (0.5, "timeout"), (1.0, "out_of_memory")):
        attempt = claim(folder, 1, threads=4)
        attempt.fail(FailureClass.INFRASTRUCTURE, cause, "gone", seconds=3600 * hours)
    row = vibration(campaign)
    assert row.lost_core_hours == {"out_of_memory": 12.0, "timeout": 2.0}
    assert row.lost == 14.0
    assert row.useful_core_hours == pytest.approx(64)


def test_a_paused_attempt_is_not_lost(spent):
    campaign, tasks = spent
    attempt = claim(campaign.store.folder(tasks[0]), 1, threads=4)
    durable.publish(attempt.folder / "PAUSED.json", durable.sealed_json({"seconds": 5400.0}))
    row = vibration(campaign)
    assert row.lost_core_hours == {}
    assert row.useful_core_hours == pytest.approx(64 + 6)


def test_an_attempt_without_an_obituary_is_measured_by_its_last_heartbeat(spent):
    campaign, tasks = spent
    attempt = claim(campaign.store.folder(tasks[0]), 1, threads=4, opened=time.time() - 1800)
    (attempt.folder / "hb").touch()
    attempt.fail(FailureClass.INFRASTRUCTURE, "worker_lost", "its worker process died")
    assert vibration(campaign).lost_core_hours == {"worker_lost": pytest.approx(2.0, abs=0.01)}


def test_a_running_attempt_counts_nowhere_yet(spent):
    campaign, tasks = spent
    before = vibration(campaign)
    claim(campaign.store.folder(tasks[0]), 1, threads=4)
    assert vibration(campaign) == before


def advice(**facts):
    row = StageEfficiency(
        "vibration", **{"cores": 1, "memory": 16.0, "tasks": 10, "memory_peak": 3.1, "cpu_efficiency": 1.0, **facts}
    )
    return Efficiency([row]).advice


def test_advice_is_one_sentence():
    assert advice() == ["vibration used 3.1 of 16 GiB: ask for 4"]
    assert advice(cores=8, cpu_efficiency=0.25) == [
        "vibration used 3.1 of 16 GiB: ask for 4, and kept 2.0 of 8 cores busy: ask for 2"
    ]


@pytest.mark.parametrize(
    "facts",
    [{"memory_peak": 7.0}, {"memory": 4.0}, {"tasks": 2}, {"memory": 4.0, "cpu_efficiency": 0.1}],
    ids=["half used", "fits", "too few tasks to tell", "one core cannot become fewer"],
)
def test_no_advice_where_it_would_not_help(facts):
    assert advice(**facts) == []


def test_nothing_ran_yet(campaign):
    rows = efficiency(campaign.start()).rows
    assert [row.tasks for row in rows] == [0] * 4
    assert all(row.cpu_efficiency == row.median_s == 0.0 for row in rows)


def test_the_command_prints_table_json_and_advice(spent):
    campaign, _ = spent
    table = bpd("efficiency", campaign.root, COLUMNS="140").stdout
    assert "vibration" in table
    assert "10.0 h" in table
    answer = json.loads(bpd("efficiency", campaign.root, "--json").stdout)
    assert {row["stage"] for row in answer["stages"]} == {"melt", "quench", "structure", "vibration"}
    assert answer["advice"] == campaign.efficiency().advice
    assert len(attempts_of(campaign.store.folder(campaign.store.plan.tasks[0]))) == 1
