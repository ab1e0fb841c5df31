# SPDX-License-Identifier: BSD-3-Clause
"""Saddle searches as a stage: batches of atoms through plan, store, retry, status and dataset, with toy searches."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from small_campaign import write_campaign

from bp_distributed import deadline, terminal
from bp_distributed.campaign import Campaign
from bp_distributed.config import ActivationConfig, CampaignConfig
from bp_distributed.cost import task_bytes, task_seconds
from bp_distributed.dataset import joined
from bp_distributed.driver import Ending
from bp_distributed.errors import ConfigError, StoreError
from bp_distributed.gather import of_sample, open_dataset
from bp_distributed.physics.artn import SearchParameters
from bp_distributed.physics.configuration import Configuration, write_lammps_data
from bp_distributed.plan import SECONDS_PER_SADDLE, Plan, make_plan
from bp_distributed.status_page import status_html
from bp_distributed.store import State
from bp_distributed.tasks import run_job
from bp_distributed.units import VARIABLES

HEADER = "first\nsecond\nthird\n2 Cu Zr\n5 0.1 5 0.1 6.5\n29 63.546 3.61 fcc\n"
STEP = Path(__file__).with_name("toy_step.py")
BPD = str(Path(sys.executable).with_name("bpd"))
SEARCHED = {name for name, variable in VARIABLES.items() if variable.dims[:1] == ("searched",)}
TRIALS = 4
PATIENCE_S = 120.0  # of a starved machine

TOY = """\
name: toys
samples: [{label: glass, composition: {Cu: 50, Zr: 50}, n_atoms: 4, cooling_rates: [1e14, 5e13], melts: 1}]
stages: [melt, quench, structure, activation]
activation: {atoms: [0, 1, 3], events_per_atom: 2, max_trials: 4, batch_minutes: 0.04, boundary_stride: 0}
"""
"""One atom to a batch, three batches to each of two samples."""


def plan_of(folder, n_atoms=4000, **settings):
    (folder / "p.eam.fs").write_text(HEADER)
    block = {"label": "a", "composition": {"Cu": 50, "Zr": 50}, "n_atoms": n_atoms, "cooling_rates": [1e14, 1e13]}
    content = {"name": "x", "potential": "p.eam.fs", "samples": [block], "activation": settings}
    return make_plan(CampaignConfig.model_validate(content), folder)


def batches(plan):
    return [task for task in plan.tasks if task.stage == "activation"]


@pytest.fixture
def toys(tmp_path, toy_steps):
    return write_campaign(tmp_path / "campaign", TOY)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One that has run; it is only looked at."""
    campaign = write_campaign(tmp_path_factory.mktemp("done") / "campaign", TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bp_distributed.tasks.step_command", lambda step: [sys.executable, str(STEP), step])
        assert campaign.run(workers=0) is Ending.FINISHED
    return campaign


# ---- plan ----


def test_every_atom_is_in_one_batch_of_its_sample(tmp_path):
    plan = plan_of(tmp_path)
    for sample in plan.samples:
        found = [task for task in plan.tasks_of(sample.sid) if task.part]
        assert sum((task.atoms for task in found), ()) == tuple(range(4000))
        assert [task.part for task in found] == [f"{number:04d}" for number in range(1, len(found) + 1)]
        expected_s = [20 * SECONDS_PER_SADDLE * len(task.atoms) for task in found]
        assert max(expected_s) == 300.0
        assert {task.needs for task in found} == {(f"quench-{sample.sid}",)}
    assert len({task.key for task in plan.tasks}) == len({task.folder for task in plan.tasks}) == len(plan.tasks)
    first = batches(plan)[0]
    assert first.key == f"activation-{first.owner}-0001"
    assert plan.task(first.key) is first
    assert first.folder == f"samples/{first.owner[:2]}/{first.owner}/activation/0001-{first.digest[:8]}"


def test_the_stage_runs_where_its_section_is_given(tmp_path):
    asked = plan_of(tmp_path)
    assert asked.stages[-1] == "activation"
    content = {"name": "x", "potential": "p.eam.fs", "samples": [], "stages": ["activation"], "activation": {}}
    assert make_plan(CampaignConfig.model_validate(content), tmp_path).tasks == ()
    plain = make_plan(CampaignConfig.model_validate({**content, "stages": ["melt"], "samples": []}), tmp_path)
    assert plain.tasks == ()
    assert "activation" not in CampaignConfig(name="x", samples=()).analyses


def test_a_plan_comes_back_from_its_text(tmp_path):
    plan = plan_of(tmp_path, batch_minutes=0.2)  # one atom to a batch: 4000 of them, with five digits in sight
    again = Plan.from_jsonl(plan.to_jsonl())
    assert again == plan
    assert again.sha256 == plan.sha256
    one, other = batches(again)[:2]
    assert one.request is other.request
    assert one.whole_request == {**one.request, "atoms": [0]}


def test_a_plan_of_the_papers_size_stays_small(tmp_path):
    plan = plan_of(tmp_path, n_atoms=19652)
    text = plan.to_jsonl()
    assert len(text) < 250_000 * len(plan.samples)
    assert text.count("lambda_exit") == len(plan.samples)


def test_what_a_search_finds_does_not_depend_on_the_batch(tmp_path):
    short, long = plan_of(tmp_path, batch_minutes=1), plan_of(tmp_path, batch_minutes=60)
    assert len(batches(short)) > len(batches(long))
    for sample in short.samples:
        requests = [p.tasks_of(sample.sid)[-1].request for p in (short, long)]
        assert requests[0] == requests[1]
    seeds = {task.owner: task.request["seed"] for task in batches(short)}
    assert len(set(seeds.values())) == len(seeds) == 2
    more = plan_of(tmp_path, max_trials=99)
    assert {task.owner: task.request["seed"] for task in batches(more)} == seeds, "more trials add to those made before"


def test_batches_that_hold_the_same_atoms_keep_their_results(tmp_path):
    part, all_ = plan_of(tmp_path, atoms=list(range(100))), plan_of(tmp_path)
    assert len({task.folder for task in batches(part)} & {task.folder for task in batches(all_)}) == 2 * 6
    other = plan_of(tmp_path, lambda_exit=-0.2)
    assert not {task.folder for task in batches(other)} & {task.folder for task in batches(all_)}
    kept = [{t.folder for t in p.tasks if not t.part} for p in (other, all_)]
    assert kept[0] == kept[1]


def test_atoms_are_drawn_from_each_sample_and_more_of_them_include_the_first(tmp_path):
    few, many = plan_of(tmp_path, atoms=50), plan_of(tmp_path, atoms=400)
    drawn = {}
    for sample in few.samples:
        drawn[sample.sid], more = (
            {atom for task in p.tasks_of(sample.sid) for atom in task.atoms} for p in (few, many)
        )
        assert (len(drawn[sample.sid]), len(more)) == (50, 400)
        assert drawn[sample.sid] < more
    one, other = drawn.values()
    assert len(one & other) < 10
    mean = np.mean([atom for task in batches(many) for atom in task.atoms])
    assert mean == pytest.approx(2000, abs=4 * 4000 / np.sqrt(12 * 800))
    for task in batches(many):
        assert list(task.atoms) == sorted(task.atoms)


@pytest.mark.parametrize(("atoms", "words"), [(4001, "got 4001, but"), ([3, 4000], "got atom 4000, but")])
def test_atoms_that_a_sample_lacks_are_refused(tmp_path, atoms, words):
    with pytest.raises(ConfigError, match=rf"activation\.atoms: {words} a-1e\+14-r1 has 4000 atoms"):
        plan_of(tmp_path, atoms=atoms)


def test_cost_follows_the_atoms_not_the_size_of_the_sample(tmp_path):
    one, ten = plan_of(tmp_path, atoms=[5], boundary_stride=0), plan_of(tmp_path, atoms=10, boundary_stride=0)
    seconds = [task_seconds(p, batches(p)[0]) - 1.0 for p in (one, ten)]
    assert seconds == pytest.approx([20 * SECONDS_PER_SADDLE, 200 * SECONDS_PER_SADDLE])
    large = plan_of(tmp_path, n_atoms=19652, atoms=10, boundary_stride=0)
    assert task_seconds(large, batches(large)[0]) == task_seconds(ten, batches(ten)[0])
    checked = plan_of(tmp_path, atoms=10, boundary_stride=50)
    whole_s = task_seconds(checked, batches(checked)[0]) - task_seconds(ten, batches(ten)[0])
    assert 0 < whole_s < 0.2 * seconds[1]
    thirty = plan_of(tmp_path, atoms=30, batch_minutes=10)
    assert task_bytes(thirty, batches(thirty)[0]) == pytest.approx(104_603, rel=0.1)  # written on 2026-11-21
    assert task_bytes(one, batches(one)[0]) == pytest.approx(59_209, rel=0.1)


# ---- run ----


def test_each_batch_has_a_result_of_its_own(done):
    store = done.store
    made = batches(store.plan)
    assert len(made) == 6
    assert set(store.load(made[0]).variables) == SEARCHED
    one = store.load(made[0])
    assert one.sizes == {"searched": 1, "trial": TRIALS, "end": 2}
    assert one.attrs["title"] == f"activation 0001 of {store.plan.samples[0].label}"
    assert json.loads(one.attrs["bp_request"])["lambda_exit"] == -0.3
    whole = done.load(store.plan.samples[0].label, "activation")
    assert whole["searched_atom"].to_numpy().tolist() == [0, 1, 3]
    assert done.load(made[1].key, "activation")["searched_atom"].to_numpy().tolist() == [1]
    assert done.fsck().clean


def test_status_tells_what_was_found_so_far(done, capsys):
    found = done.status().searches
    assert found.planned == 2 * 3 * 2
    every = [done.load(sample.sid, "activation") for sample in done.store.plan.samples]
    code, energy = (
        np.concatenate([d[name].to_numpy() for d in every]) for name in ("search_code", "activation_energy")
    )
    assert found.searches == (code >= 0).sum()
    assert found.success_rate == pytest.approx((code == 0).sum() / (code >= 0).sum())
    assert found.mean_energy_eV == pytest.approx(np.nanmean(energy))
    written = json.loads(json.dumps(done.status().to_json()))["searches"]
    assert written["mean_energy_eV"] == found.mean_energy_eV
    for text in (status_html(done.status()), terminal.one_line(done.status())):
        assert found.sentence in text
    label = done.store.plan.samples[0].label
    terminal.print_sample(done, label)
    shown = capsys.readouterr().out
    assert "3 done" in shown
    assert "0002" not in shown
    assert len(terminal.sample_json(done, label)["stages"]) == 2 + 3
    terminal.print_samples(done)
    assert "3 done" in capsys.readouterr().out


def test_a_campaign_without_searches_says_nothing_of_them(campaign):
    campaign.start()
    assert campaign.status().searches is None
    assert "saddle" not in status_html(campaign.status())


def test_one_batch_fails_and_is_tried_again_alone(toys):
    store = toys.start()
    bad = batches(store.plan)[1]
    (toys.root / "toy.json").write_text(json.dumps({bad.key: ["config", "ok"]}))
    assert toys.run(workers=0) is Ending.FINISHED
    states = {task.key: store.state(task).state for task in batches(store.plan)}
    assert [key for key, state in states.items() if state is not State.DONE] == [bad.key]
    (row,) = toys.failures()
    assert (row.task, row.stage) == (bad.key, "activation")
    assert toys.retry([bad.key]) == [bad.key]
    assert toys.run(workers=0) is Ending.FINISHED
    assert toys.status().finished
    assert toys.cancel([bad.key]) == []


def test_batches_only_fill_what_other_stages_leave(toys):
    toys.start()
    (toys.root / "toy.json").write_text('{"quench": "slow 0.05"}')
    toys.run(workers=0)
    ended = [toys.store.state(task).manifest["committed"] for task in toys.store.plan.tasks if not task.part]
    begun = [toys.store.state(task).manifest["opened"] for task in batches(toys.store.plan)]
    assert min(begun) > max(ended)


def test_a_batch_that_would_not_end_in_time_is_not_begun(toys, monkeypatch):
    store = toys.start()
    monkeypatch.setenv(deadline.VARIABLE, str(time.time() + 60))
    job = replace(store.job(batches(store.plan)[0]), seconds=300.0)
    report = run_job(job)
    assert (report.status, report.key) == ("declined", job.key)


def test_other_batches_need_an_amended_plan_and_lose_nothing_else(toys):
    toys.run(workers=0)
    (toys.root / "campaign.yaml").write_text(TOY.replace("batch_minutes: 0.04", "batch_minutes: 0.08"))
    with pytest.raises(ConfigError, match=r"differs from the plan in force \(-batch_minutes: 0.04"):
        toys.run(workers=0)
    before = {sample.sid: toys.load(sample.sid, "activation") for sample in toys.store.plan.samples}
    toys.start(amend=True)
    assert {task.stage for task in toys.store.unfinished()} == {"activation"}
    toys.run(workers=0)
    for sid, searched in before.items():
        again = toys.load(sid, "activation")
        for name in searched.variables:
            np.testing.assert_array_equal(again[name], searched[name])


# ---- dataset ----


def test_searches_are_gathered_beside_the_atoms(done):
    done.gather()
    with open_dataset(done.dataset_path) as dataset:
        assert dataset["refined_activation_energy"].dims == ("searched_row", "trial")
        assert dataset["end_energy"].dims == ("searched_row", "trial", "end")
        assert dataset["search_code"].dtype == np.int8
        assert dataset["search_code"].attrs["flag_meanings"].split()[:3] == ["not_tried", "success", "basin"]
        assert dataset["search_code"].attrs["flag_values"].tolist()[:3] == [-1, 0, 1]
        assert dataset["mean_activation_energy"].dims == dataset["species"].dims == ("row",)
        for index, sample in enumerate(done.store.plan.samples):
            own, searched = of_sample(dataset, index), done.load(sample.sid, "activation")
            for name in searched.variables:
                np.testing.assert_allclose(own[name], searched[name], rtol=1e-6)
                assert own[name].attrs["units"] == VARIABLES[name].units
            assert own["n_tried"].to_numpy()[2] == 0
            assert np.isnan(own["mean_activation_energy"][2])
            mean = np.nanmean(searched["activation_energy"], axis=1)
            np.testing.assert_allclose(own["mean_activation_energy"].to_numpy()[[0, 1, 3]], mean)


def test_what_is_missing_is_counted(toys, capsys):
    store = toys.start()
    missing = batches(store.plan)[2]
    (toys.root / "toy.json").write_text(json.dumps({missing.key: "config"}))
    toys.run(workers=0)
    terminal.gather_with_display(toys)
    assert "saddle searches of 5 of 6 atoms; 'bpd run' continues" in capsys.readouterr().out
    with open_dataset(toys.dataset_path) as dataset:
        assert dataset["searched_planned"].to_numpy().tolist() == [3, 3]
        assert dataset["searched_row_size"].to_numpy().tolist() == [2, 3]
        assert dataset["n_tried"].to_numpy()[:4].tolist()[3] == 0


def test_nothing_searched_yet_is_no_error(toys):
    store = toys.start()
    assert toys.status().searches.sentence == "0 searches, no saddle yet"
    (toys.root / "toy.json").write_text('{"activation": "config"}')
    toys.run(workers=0)
    dataset = toys.gather()
    assert "search_code" not in dataset
    with pytest.raises(StoreError, match="holds no committed result yet"):
        toys.load(store.plan.samples[0].sid, "activation")


def test_batches_are_joined_in_order_with_what_they_have_in_common(done):
    first, second = (done.store.load(task) for task in batches(done.store.plan)[:2])
    both = joined([second, first])
    assert both["searched_atom"].to_numpy().tolist() == [1, 0]
    np.testing.assert_array_equal(both["end_energy"][1], first["end_energy"][0])
    assert "bp_task_digest" not in both.attrs
    assert both.attrs["elements"] == "Cu Zr"


# ---- a driver that dies ----


def wait_for_a_batch(campaign):
    begun = time.monotonic()
    while not committed(campaign) and time.monotonic() - begun < PATIENCE_S:
        time.sleep(0.05)


def drive(campaign):
    return subprocess.Popen(
        [BPD, "run", "-n", "2", str(campaign.root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def committed(campaign):
    """Return the checksum of each committed batch."""
    states = [(task.key, campaign.store.state(task).manifest) for task in batches(campaign.store.plan)]
    return {key: manifest["sha256"] for key, manifest in states if manifest}


@pytest.mark.fault
def test_a_killed_driver_loses_no_batch(tmp_path, done, monkeypatch):
    campaign = write_campaign(tmp_path / "campaign", TOY)
    campaign.start()
    (campaign.root / "toy.json").write_text('{"activation": "slow 0.5"}')
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("toy_site")))
    driver = drive(campaign)
    wait_for_a_batch(campaign)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = committed(campaign)
    assert 0 < len(before) < 6
    output = drive(campaign).communicate(timeout=120)[0]
    after = committed(campaign)
    assert after == committed(done), output
    assert before.items() <= after.items()
    assert Campaign(campaign.root).fsck().clean


# ---- real searches ----

REAL = """\
name: vacancy
samples: [{label: given, structures: [vacancy.data], elements: [Cu, Zr]}]
stages: [relax, activation]
activation: {atoms: [0, 1, 2, 40], events_per_atom: 2, max_trials: 2, batch_minutes: 0.02, boundary_stride: 1,
  active_radius: 6}
"""


def write_vacancy(folder):
    """Write 107 atoms of copper around a vacancy, whose neighbours come first."""
    corner = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    sites = (corner + np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])).reshape(-1, 3)
    apart = sites - 3 * np.rint(sites / 3)  # from the site that is left empty
    order = np.argsort((apart**2).sum(axis=1), kind="stable")[1:]
    cell = 3 * 3.639 * np.eye(3)
    crystal = Configuration(3.639 * sites[order], cell, np.zeros(len(order), dtype=np.int64), ("Cu", "Zr"))
    folder.mkdir()
    write_lammps_data(folder / "vacancy.data", crystal, np.array([63.546, 91.224]))


@pytest.mark.fault
@pytest.mark.slow
def test_real_searches_survive_the_death_of_their_driver(tmp_path):
    for name in ("undisturbed", "killed"):
        write_vacancy(tmp_path / name)
    reference = write_campaign(tmp_path / "undisturbed", REAL)
    assert reference.run(workers=0) is Ending.FINISHED
    (sample,) = reference.store.plan.samples
    found = reference.load(sample.sid, "activation")
    assert found["searched_atom"].to_numpy().tolist() == [0, 1, 2, 40]
    assert set(found.variables) == SEARCHED
    succeeded = found["search_code"].to_numpy() == 0
    assert succeeded.any()
    energy = found["refined_activation_energy"].to_numpy()
    assert (energy[np.isfinite(energy)] > 0).all()
    assert np.isfinite(found["activation_energy"].to_numpy()[succeeded]).all()
    assert np.isnan(energy[~succeeded]).all()
    assert reference.status().searches.successes == succeeded.sum()

    campaign = write_campaign(tmp_path / "killed", REAL)
    campaign.start()
    killed = drive(campaign)
    wait_for_a_batch(campaign)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = committed(campaign)
    output = drive(campaign).communicate(timeout=170)[0]
    assert committed(campaign) == committed(reference), output
    assert before.items() <= committed(campaign).items()


# ---- settings ----


def test_the_keys_are_the_parameters_of_a_search_with_the_same_defaults():
    how_much = {"atoms", "events_per_atom", "max_trials", "batch_minutes", "boundary_stride"}
    assert ActivationConfig().model_dump(exclude=how_much) == asdict(SearchParameters())
