# SPDX-License-Identifier: BSD-3-Clause
"""A worker that is frozen, and a step that lets nobody else run (reliability.md, F07 and F08)."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from small_campaign import write_campaign

from bp_distributed import cluster
from bp_distributed.attempt import attempts_of
from bp_distributed.commit import committed
from bp_distributed.driver import Ending
from bp_distributed.store import Journal

pytestmark = [pytest.mark.slow, pytest.mark.fault]

TTL_S = 6.0


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A campaign of toy steps on two real Dask workers whose silence is noticed soon."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("toy_site")))
    monkeypatch.setitem(cluster.SETTINGS, "distributed.scheduler.worker-ttl", f"{TTL_S}s")
    return write_campaign(tmp_path / "campaign")


def toy_steps_of(campaign, stage):
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line, cwd = process.info["cmdline"] or [""], process.info["cwd"] or ""
        if cwd.startswith(str(campaign.root)) and line[-1] == stage:
            found.append(process)
    return found


def lost(campaign):
    return [
        line for line in Journal.read(campaign.root) if line["event"] == "end_of_attempt" and line["status"] == "lost"
    ]


def test_a_frozen_worker_is_replaced_and_its_late_result_changes_nothing(toys):
    (toys.root / "toy.json").write_text(json.dumps({"quench": ["slow 40", "ok"]}))
    answer = []
    driver = threading.Thread(target=lambda: answer.append(toys.run(workers=2)))
    driver.start()
    deadline = time.monotonic() + 60
    while not (quenches := toy_steps_of(toys, "quench")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = psutil.Process(quenches[0].ppid())
    frozen = time.time()
    worker.suspend()
    while not lost(toys):
        assert time.time() < frozen + 30, "the silence was not noticed"
        time.sleep(0.05)
    noticed = time.time() - frozen
    with suppress(ProcessLookupError):  # its nanny may have made an end of it
        os.kill(worker.pid, signal.SIGCONT)
    driver.join(timeout=120)
    assert answer == [Ending.FINISHED]
    assert noticed < 3 * TTL_S, "two times the limit (10 s when alone), and the rest of a machine busy with other tests"
    store = toys.store
    for task in store.plan.tasks:
        assert committed(store.folder(task)) is not None
        markers = [path for path in store.folder(task).iterdir() if path.name in {"DONE.json", "REJECTED.json"}]
        assert len(markers) == 1, "I4"
    causes = [a.failure["cause"] for t in store.plan.tasks for a in attempts_of(store.folder(t)) if a.failure]
    assert set(causes) == {"worker_lost"}
    assert toys.fsck().clean


def test_a_step_that_holds_the_interpreter_costs_no_worker(toys):
    (toys.root / "toy.json").write_text(json.dumps({"melt": "hold the GIL"}))
    assert toys.run(workers=2) is Ending.FINISHED
    assert not lost(toys)
    attempts = [attempts_of(toys.store.folder(task)) for task in toys.store.plan.tasks]
    assert {len(of_one) for of_one in attempts} == {1}
