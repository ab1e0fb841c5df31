# SPDX-License-Identifier: BSD-3-Clause
"""States, retries by cause, quarantine, resumption, in one process with toy steps (reliability.md F05, F06, section 4)."""

import json

import numpy as np
import pytest

from bp_distributed import driver as driver_module
from bp_distributed.attempt import attempts_of
from bp_distributed.commit import committed
from bp_distributed.config import Budget
from bp_distributed.driver import Ending, next_try
from bp_distributed.errors import ConfigError, DamagedResultError, FailureClass
from bp_distributed.store import State, TaskState
from bp_distributed.tasks import run_job

TASKS = 14  # 2 melts + 4 samples x 3 stages


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(driver_module, "TICK_S", 0.01)


def misbehave(campaign, **how):
    (campaign.root / "toy.json").write_text(json.dumps({key.replace("__", "-"): value for key, value in how.items()}))


def counts(campaign):
    states = campaign.store.states()
    assert len(states) == TASKS, "I1: one state per task"
    found = {}
    for state in states.values():
        found[state.state.value] = found.get(state.state.value, 0) + 1
    return found


def markers(campaign):
    return {path: path.read_bytes() for path in campaign.root.rglob("DONE.json")}


def task_of(campaign, stage, number=0):
    return [task for task in campaign.store.plan.tasks if task.stage == stage][number]


def test_a_campaign_runs_to_the_end_and_a_second_run_does_nothing(campaign):
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}
    before = markers(campaign)
    assert campaign.run(workers=0) is Ending.FINISHED
    assert markers(campaign) == before
    assert campaign.fsck().clean
    for task in campaign.store.plan.tasks:
        assert len(attempts_of(campaign.store.folder(task))) == 1


def test_results_carry_names_units_and_provenance(campaign):
    campaign.run(workers=0)
    task = task_of(campaign, "quench")
    result = campaign.store.load(task)
    assert result["energy"].attrs["units"] == "eV"
    assert result["position"].dims == ("atom", "cart")
    assert result.attrs["bp_owner"] == task.owner
    assert result.attrs["elements"] == "Cu Zr"
    assert len(result.attrs["bp_potential_sha256"]) == 64


def test_the_same_campaign_elsewhere_gives_the_same_bytes(campaign, tmp_path):
    """I7: nothing of time, host or path enters a result."""
    from small_campaign import write_campaign

    campaign.run(workers=0)
    other = write_campaign(tmp_path / "ein anderer Ordner ü")
    other.run(workers=0)
    for task in campaign.store.plan.tasks:
        mine, theirs = (committed(c.store.folder(task)) for c in (campaign, other))
        assert mine["sha256"] == theirs["sha256"]


def test_f05_a_crashing_step_is_tried_once_more_then_set_aside(campaign):
    misbehave(campaign, quench=["abort", "ok"])
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}
    first = attempts_of(campaign.store.folder(task_of(campaign, "quench")))[0].failure
    assert (first["class"], first["cause"]) == ("sample", "crashed")
    assert "SIGABRT" in first["message"]


def test_f06_one_poison_sample_is_quarantined_and_no_other_is_touched(campaign):
    campaign.start()
    poison = task_of(campaign, "quench", 2)
    (campaign.root / "toy.json").write_text(json.dumps({poison.key: "abort"}))
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS - 3, "quarantined": 1, "blocked": 2}
    assert len(attempts_of(campaign.store.folder(poison))) == 2  # one try and one retry
    (failure,) = [row for row in campaign.failures() if row.state == "quarantined"]
    assert (failure.task, failure.reason) == (poison.key, "crashed")
    innocent = [
        a for task in campaign.store.plan.tasks if task != poison for a in attempts_of(campaign.store.folder(task))
    ]
    assert all(attempt.failure is None for attempt in innocent)


def test_released_tasks_run_again_and_their_evidence_stays(campaign):
    campaign.start()
    poison = task_of(campaign, "quench")
    (campaign.root / "toy.json").write_text(json.dumps({poison.key: ["abort", "abort", "ok"]}))
    campaign.run(workers=0)
    assert campaign.retry(cause="killed") == []
    assert campaign.retry(cause="crashed") == [poison.key]
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}
    assert len(attempts_of(campaign.store.folder(poison))) == 3
    assert list(campaign.store.folder(poison).glob("quarantine-*.json"))


@pytest.mark.parametrize(
    ("how", "failure_class", "cause", "tries"),
    [
        ("killed", "infrastructure", "killed", 6),
        ("no verdict", "infrastructure", "no_verdict", 6),
        ("exception", "sample", "error", 2),
        ("science", "sample", "atoms_lost", 2),
        ("config", "configuration", "configuration", 1),
        ("not finite", "infrastructure", "unsound_result", 6),
    ],
)
def test_each_failure_has_its_class_and_budget(campaign, how, failure_class, cause, tries):
    campaign.start()
    task = task_of(campaign, "quench")
    (campaign.root / "toy.json").write_text(json.dumps({task.key: how}))
    assert campaign.run(workers=0) is Ending.FINISHED
    failures = [attempt.failure for attempt in attempts_of(campaign.store.folder(task))]
    assert {(failure["class"], failure["cause"]) for failure in failures} == {(failure_class, cause)}
    assert len(failures) == tries
    assert campaign.store.state(task).state is State.QUARANTINED


def test_a_rejected_sample_keeps_its_numbers_and_is_not_tried_again(campaign):
    misbehave(campaign, vibration="rejected")
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS - 4, "rejected": 4}
    task = task_of(campaign, "vibration")
    assert float(campaign.store.load(task)["intensity"]) == 2e-4
    assert [row.reason for row in campaign.failures()] == ["no_boson_peak"] * 4


def test_the_same_configuration_error_everywhere_stops_the_campaign(campaign, monkeypatch):
    monkeypatch.setattr(driver_module, "CONFIG_ERRORS_THAT_STOP", 2)
    misbehave(campaign, melt="config")
    assert campaign.run(workers=0) is Ending.FINISHED  # two melts only: nothing is left to stop
    assert counts(campaign) == {"quarantined": 2, "blocked": TASKS - 2}


def test_f21_a_full_disk_pauses_and_charges_nobody(campaign):
    misbehave(campaign, quench="no space")
    assert campaign.run(workers=0) is Ending.DISK_FULL
    assert all(not state.failures for state in campaign.store.states().values())
    misbehave(campaign)
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}
    assert campaign.fsck().clean


def test_too_little_room_stops_before_anything_starts(campaign):
    from bp_distributed.cluster import InlinePool
    from bp_distributed.driver import Driver
    from bp_distributed.lock import DriverLock

    store = campaign.start()
    with DriverLock(campaign.root) as lock:
        driver = Driver(store, InlinePool(), lock, {}, bytes_needed=1e18)
        assert driver.conduct() is Ending.DISK_FULL
    assert "make room" in driver.message
    assert not list(campaign.root.rglob("claim.json"))


def test_a_stop_file_ends_the_run_and_the_next_one_continues(campaign):
    def stop_after_three(driver):
        if sum(state.state is State.DONE for state in driver.states.values()) >= 3:
            driver.stop_requested = True

    assert campaign.run(workers=0, on_tick=stop_after_three) is Ending.STOPPED
    done = markers(campaign)
    assert 3 <= len(done) < TASKS
    assert campaign.run(workers=0) is Ending.FINISHED
    after = markers(campaign)
    assert {path: after[path] for path in done} == done, "I3: what was committed stays as it was"


def test_single_samples_can_be_set_aside_and_come_back(campaign):
    store = campaign.start()
    sample = store.plan.samples[0]
    assert len(campaign.cancel([sample.label])) == 3
    campaign.run(workers=0)
    assert counts(campaign)["quarantined"] == 3
    assert len(campaign.retry([sample.sid[:6]])) == 3
    campaign.run(workers=0)
    assert counts(campaign) == {"done": TASKS}


def test_a_name_that_fits_nothing_is_refused_with_a_hint(campaign):
    campaign.start()
    with pytest.raises(ConfigError, match=r"fits no sample; did you mean 'glass-5e\+14-r1'"):
        campaign.tasks_of(["glass-5e14-r1"])


def test_a_damaged_result_is_found_set_aside_and_computed_again(campaign):
    campaign.run(workers=0)
    task = task_of(campaign, "structure")
    path = campaign.store.folder(task) / committed(campaign.store.folder(task))["file"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedResultError, match="differs from its marker"):
        campaign.store.load(task)
    findings = campaign.fsck()
    assert not findings.clean
    assert findings.damage[0].startswith(task.key)
    assert campaign.store.state(task).state is State.QUARANTINED
    assert campaign.retry() == [task.key]
    assert campaign.run(workers=0) is Ending.FINISHED
    assert campaign.fsck().clean


def test_the_index_free_store_survives_the_loss_of_journal_and_lock(campaign):
    import shutil

    campaign.run(workers=0)
    for name in ("journal", "lock", "products"):
        shutil.rmtree(campaign.root / name)
    campaign.start()
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}


def test_a_task_committed_meanwhile_is_not_run_again(campaign):
    campaign.run(workers=0)
    store = campaign.store
    report = run_job(store.job(task_of(campaign, "melt")))
    assert (report.status, report.message) == ("done", "committed before")
    assert len(attempts_of(store.folder(task_of(campaign, "melt")))) == 1


def failures(*kinds):
    return TaskState(State.FAILED, None, tuple({"class": kind, "charged": True} for kind in kinds))


def test_next_try_grows_for_infrastructure_and_ends():
    infra = FailureClass.INFRASTRUCTURE
    waits = [next_try(failures(*[infra] * count), Budget()) for count in range(1, 6)]
    base = driver_module.BACKOFF_FIRST_S
    np.testing.assert_allclose(waits, [base * 2**n for n in range(5)], rtol=0.21)  # jitter of 20 %
    assert next_try(failures(*[infra] * 6), Budget()) is None
    assert next_try(failures(FailureClass.SAMPLE), Budget()) == 0.0
    assert next_try(failures(FailureClass.SAMPLE, FailureClass.SAMPLE), Budget()) is None
    assert next_try(failures(FailureClass.CONFIGURATION), Budget()) is None


@pytest.mark.parametrize("equal", [True, False])
def test_f07_a_duplicate_execution_is_recorded_and_the_first_commit_stands(campaign, monkeypatch, equal):
    """Two attempts pass the check for a result before either has one; the second loses the race to the marker."""
    from bp_distributed import tasks
    from bp_distributed.commit import Commit, commit

    store = campaign.start()
    job = store.job(task_of(campaign, "melt"))

    def rival_was_first(folder, result, marker, facts):
        with monkeypatch.context() as patch:
            patch.setattr(tasks, "commit", commit)
            assert run_job(job).status == "done"
        answer = commit(folder, result, marker, facts)
        return answer if equal else Commit(answer.manifest, won=False, sha256="f" * 64)

    monkeypatch.setattr(tasks, "commit", rival_was_first)
    assert run_job(job).status == "duplicate"
    folder = store.folder(task_of(campaign, "melt"))
    assert len(list(folder.glob("DONE.json"))) == 1
    (record,) = [json.loads(path.read_text()) for path in folder.rglob("DUPLICATE.json")]
    assert record["equal"] is equal
    assert bool(campaign.fsck().notes) is not equal
    assert bool(list(folder.glob("attempts/*/result.nc"))) is not equal, "evidence of a difference stays"


@pytest.mark.parametrize("level", [0, 1], ids=["task", "sample"])
def test_s14_nothing_is_written_through_a_symbolic_link(campaign, tmp_path, level):
    """A folder of the campaign that leads elsewhere stops the driver; what lies there stays as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter").write_text("private")
    campaign.start()
    task = task_of(campaign, "quench")
    link = [campaign.store.folder(task), campaign.store.folder(task).parent][level]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    assert campaign.run(workers=0) is Ending.CONFIGURATION
    assert sorted(path.name for path in outside.rglob("*")) == ["letter"]
    link.unlink()
    assert campaign.run(workers=0) is Ending.FINISHED
    assert counts(campaign) == {"done": TASKS}
