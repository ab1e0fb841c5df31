# SPDX-License-Identifier: BSD-3-Clause
"""Learning at sample level: splits, scores, inputs, models and jobs, on relations that are planted."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic import melted_items
from synthetic_learning import SMALL, R, samples

from bp_distributed import terminal
from bp_distributed.cli import UNFINISHED
from bp_distributed.errors import CampaignError, LockedError, StoreError
from bp_distributed.gather import gather
from bp_distributed.learning import baselines
from bp_distributed.learning.evaluate import evaluated, in_bands
from bp_distributed.learning.fan_out import LearningJob, Result, _alone, committed, fan_out, load_result
from bp_distributed.learning.network import Recipe, Trainer, load_network
from bp_distributed.learning.noise import floors, replicate_spread
from bp_distributed.learning.protocol import MODEL_NAME, baselines_job, fits_job, parted, protocol_jobs, turns_of
from bp_distributed.learning.samples import features_of, learnable, samples_of
from bp_distributed.learning.saturation import saturation
from bp_distributed.learning.scores import drawn_counts, mae, mean_interval, paired_difference, r2, spearman
from bp_distributed.learning.splits import repeated_splits, single_samples, validation_folds
from bp_distributed.learning.study import Study, load_learning

QUICK = Recipe((16,), "adam", 3e-3, 0.0, 1e-5, 16, 1280, 640)
SPLITS = {"scheme": "splits", "by": "melt", "repeats": 5, "seed": 0}


@pytest.fixture(autouse=True, scope="module")
def jax_backend():
    from bp_distributed.learning.network import choose_backend

    choose_backend()


# ---- splits -----------------------------------------------------------------------------------------------------------


def test_no_melt_stands_on_both_sides_and_five_splits_test_all():
    melt_s = np.array([f"m{index % 7}" for index in range(60)])
    splits = repeated_splits(melt_s, 9, 3)
    assert len(splits) == 9
    for split in splits:
        assert not set(melt_s[split.train]) & set(melt_s[split.test])
        assert len(split.train) + len(split.test) == 60
    tested = np.concatenate([split.test for split in splits[:5]])
    assert sorted(tested) == list(range(60))
    assert {tuple(split.test) for split in splits[5:]} - {tuple(split.test) for split in splits[:5]}


def test_validation_parts_are_an_inner_cross_validation():
    unit_s = np.array([f"m{index % 10}" for index in range(50)])
    parts = validation_folds(unit_s, 9, 0)
    assert len(parts) == 9
    assert (np.sum(parts[:5], axis=0) == 1).all()
    for part in parts:
        assert not set(unit_s[part]) & set(unit_s[~part])


@pytest.mark.parametrize("scheme", ["fixed", "splits"])
@pytest.mark.parametrize("by", ["melt", "sample"])
def test_turns_share_nothing(scheme, by):
    melt_s = samples().melt_s
    turns = turns_of(melt_s, {"scheme": scheme, "by": by, "repeats": 9, "seed": 4})
    assert len({turn.seed for turn in turns}) == 9
    assert len({tuple(turn.test) for turn in turns}) == (1 if scheme == "fixed" else 9)
    for turn in turns:
        assert len({*turn.learn, *turn.check, *turn.test}) == len(turn.learn) + len(turn.check) + len(turn.test) == 120
        assert 0.7 < len(turn.train) / 120 < 0.85
        if by == "melt":
            assert not set(melt_s[turn.train]) & set(melt_s[turn.test])
            assert not set(melt_s[turn.learn]) & set(melt_s[turn.check])


# ---- scores -----------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    true_s, found_s = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 6.0])
    assert mae(found_s, true_s) == 0.5
    assert r2(found_s, true_s) == pytest.approx(1.0 - 4.0 / 5.0)
    assert spearman(np.exp(found_s), true_s) == pytest.approx(1.0)
    assert np.isnan(spearman(np.ones(4), true_s))


def test_an_interval_knows_that_samples_of_a_melt_are_not_independent():
    rng = np.random.default_rng(0)
    level_g = rng.normal(size=400)
    one = mean_interval(level_g, single_samples(400), 0)
    assert (one.high - one.low) / 2 == pytest.approx(1.96 / 20.0, rel=0.15)
    copied = mean_interval(np.repeat(level_g, 5), np.repeat(single_samples(400), 5), 0)
    assert copied.high - copied.low == pytest.approx(one.high - one.low, rel=1e-9)
    assert (drawn_counts(7, 0).sum(axis=1) == 7).all()


def test_a_paired_difference_is_sharper_than_its_parts():
    rng = np.random.default_rng(1)
    true_s, common_s = rng.normal(size=200), np.abs(rng.normal(scale=10.0, size=200))
    found = paired_difference(true_s + common_s + 0.5, true_s + common_s, true_s, single_samples(200), 0)
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low < 1e-9
    assert found.sign == 1
    few = paired_difference(true_s + common_s + 0.5, true_s + common_s, true_s, np.repeat(list("abcd"), 50), 0)
    assert few.sign == 0  # four groups decide nothing


def test_untested_samples_have_no_error():
    mask_ns = np.array([[True, True, False], [True, False, False]])
    predicted_ns = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    found = evaluated("m", "f", predicted_ns, mask_ns, np.array([2.0, 4.0, 0.0]))
    assert found.error_s[:2] == pytest.approx([1.0, 2.0])
    assert found.predicted_s[:2] == pytest.approx([2.0, 2.0])
    assert np.isnan(found.error_s[2])
    assert found.mae_n == pytest.approx([1.5, 1.0])


def test_a_model_of_the_rate_says_nothing_within_a_band():
    rng = np.random.default_rng(2)
    rate_s = np.repeat([1e12, 1e13, 1e14], 40) * 10.0 ** rng.uniform(0.0, 0.01, 120)
    target_s = 20.0 * np.log10(rate_s) + rng.normal(size=120)
    model = evaluated("line", "rate", (20.0 * np.log10(rate_s))[None], np.ones((1, 120), dtype=bool), target_s)
    assert r2(model.predicted_s, target_s) > 0.99
    bands = in_bands(model, target_s, rate_s)
    assert [band["samples"] for band in bands] == [40, 40, 40]
    assert all(abs(band["r2"]) < 0.15 for band in bands)


def test_noise_floors_by_hand():
    assert replicate_spread(np.array([1.0, 3.0, 10.0, 10.0, 7.0]), np.array([1.0, 1.0, 2.0, 2.0, np.nan])) == (1.0, 4)
    rows = floors(np.array([1.0, 3.0]), np.array([1.0, 1.0]), np.array([3.0, 4.0]), np.array([np.nan, np.nan]))
    assert [row["source"] for row in rows] == ["modes resampled (upper bound)", "samples of equal rate (upper bound)"]
    assert rows[0]["std"] == pytest.approx(np.sqrt(12.5))
    assert rows[0]["mae"] == pytest.approx(np.sqrt(12.5) * np.sqrt(2.0 / np.pi))


# ---- inputs -----------------------------------------------------------------------------------------------------------


def test_inputs_by_hand():
    arrays = {
        "participation_ratio": np.array([[0.1, 0.28, 0.5]]),
        "partial_pdf": np.arange(6.0)[None] + 1.0,
        "r": np.array([0.5, 1.5]),
    }
    binary = features_of(arrays, {"input": "binary_participation_ratio", "threshold": 0.28})
    assert binary.tolist() == [[0.0, 1.0, 1.0]]
    assert features_of(arrays, {"input": "participation_ratio"}).tolist() == [[0.1, 0.28, 0.5]]
    assert features_of(arrays, {"input": "partial_pdf", "cutoff": 0.5}).tolist() == [[1.0, 0.0, 3.0, 0.0, 5.0, 0.0]]
    assert arrays["partial_pdf"].min() == 1.0  # untouched


def test_samples_of_other_size_or_composition_are_left_out_and_counted():
    items = melted_items(n_melts=5, n_atoms=108)
    items[4] = replace(items[4], composition={"Cu": 0.3, "Zr": 0.7})
    found = samples_of(gather(items, {}))
    assert len(found) == 12
    assert found.left_out == {"of another size or composition": 1, "rejected": 1, "incomplete": 1}
    assert found.composition == {"Cu": 0.5, "Zr": 0.5}
    counts = [int((items[int(name, 16)].stages["vibration"]["frequency"] < 10.0).sum()) for name in found.sample_id_s]
    assert found.arrays["participation_ratio"].shape[1] == min(724, *counts)  # a fixed count
    assert np.isfinite(found.arrays["participation_ratio"]).all()
    assert found.arrays["partial_pdf"].shape[1] == 360
    assert (found.jitter_s > 0).all()
    assert found.arrays["energy"] == pytest.approx(-4.95, abs=0.05)  # eV per atom


def test_where_hardly_a_sample_has_a_peak_the_robust_intensity_is_learned_and_said():
    items = [replace(item, rejected="no_boson_peak") for item in melted_items(n_melts=4, n_atoms=108)]
    dataset = gather(items, {})
    found = learnable(dataset, "intensity")
    assert (found.label, len(found)) == ("robust_intensity", 11)
    assert "with 'intensity' too few samples are left" in found.note
    values = dataset["robust_intensity"].to_numpy()[:11] * 1e6
    assert found.target_s == pytest.approx(values)
    with pytest.raises(CampaignError, match="no sample has"):
        samples_of(dataset, "intensity")


def test_too_little_is_refused():
    with pytest.raises(CampaignError, match=r"4 usable samples from 2 melt.*at least 8 samples from 2 melts"):
        samples_of(gather(melted_items(n_melts=2, n_atoms=108), {}))
    with pytest.raises(CampaignError, match="holds no 'participation_ratio'; run the stage 'vibration'"):
        samples_of(gather(melted_items(n_melts=2, n_atoms=108), {}).drop_vars("participation_ratio"))


# ---- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["line", "ridge", "pls", "gaussian_process", "boosting"])
def test_baselines_find_a_planted_line(model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 5))
    y = 200.0 + 20.0 * x[:, 0] - 10.0 * x[:, 1] + rng.normal(size=150)
    units = np.array([f"m{index % 10}" for index in range(100)])
    found = baselines.MODELS[model](x[:100], y[:100], units, x[100:], 0)
    assert r2(found, y[100:]) > (0.8 if model == "boosting" else 0.99)
    shuffled = baselines.MODELS[model](x[:100], rng.permutation(y[:100]), units, x[100:], 0)
    assert r2(shuffled, y[100:]) < 0.15


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    found = samples(reach=3.5)
    variant = {"input": "partial_pdf", "cutoff": 3.5}
    request = {"variants": [variant], "recipes": [vars(QUICK)], "save": True, **SPLITS, "repeats": 3}
    return found, request, fits_job(request, dict(found.arrays), folder), folder


def test_a_planted_relation_is_found_by_the_network(planted):
    found, _, result, _ = planted
    model = evaluated("n", "f", result["predicted_vans"][0, 0], result["test_ns"], found.target_s)
    assert (model.r2_n > 0.6).all()
    assert (result["best_at_van"] <= result["updates_van"]).all()
    assert (result["updates_van"] <= 1280).all()


def test_targets_of_the_test_set_are_never_looked_at(planted, tmp_path):
    found, request, result, _ = planted
    turn = turns_of(found.melt_s, request)[0]
    target_s = found.target_s.copy()
    target_s[turn.test] = np.nan
    again = fits_job({**request, "repeats": 1}, {**found.arrays, "target": target_s}, tmp_path)
    assert np.array_equal(again["predicted_vans"][0, 0, 0], result["predicted_vans"][0, 0, 0])


def test_a_stored_model_predicts_the_same_and_holds_no_code(planted):
    found, _, result, folder = planted
    assert sorted(path.name for path in folder.iterdir()) == ["network.json", "network.weights.h5"]
    network = load_network(folder / MODEL_NAME, "bpd learn")
    best = int(result["check_van"][0, 0].argmin())
    predicted_s = network.predict(features_of(found.arrays, {"input": "partial_pdf", "cutoff": 3.5}))
    assert predicted_s == pytest.approx(result["predicted_vans"][0, 0, best], abs=1e-3)
    assert json.loads((folder / "network.json").read_text(encoding="utf-8"))["features"] == {
        "input": "partial_pdf",
        "cutoff": 3.5,
    }
    with pytest.raises(StoreError, match="'bpd learn' writes it"):
        load_network(folder / "nothing", "bpd learn")


def test_parts_of_a_job_are_what_each_would_be_alone(planted, tmp_path):
    found, request, alone, _ = planted
    shared = {**request, "parts": [{"name": "a", "repeats": 1}, {"name": "b"}], "save": False}
    arrays = fits_job(shared, dict(found.arrays), tmp_path)
    both = parted({"job": Result(shared, {}, arrays, tmp_path)})
    assert list(both) == ["a", "b"]
    assert both["a"].request["repeats"] == 1
    assert np.array_equal(both["b"].arrays["predicted_vans"], alone["predicted_vans"])
    assert np.array_equal(both["a"].arrays["predicted_vans"][0, 0, 0], alone["predicted_vans"][0, 0, 0])


def test_shuffled_labels_teach_the_network_nothing(planted, tmp_path):
    found, request, _, _ = planted
    shuffled = np.random.default_rng(5).permutation(found.target_s)
    result = fits_job({**request, "repeats": 2}, {**found.arrays, "target": shuffled}, tmp_path)
    model = evaluated("n", "f", result["predicted_vans"][0, 0], result["test_ns"], shuffled)
    assert (model.r2_n < 0.15).all()


def test_a_fingerprint_of_the_melt_is_exposed_by_the_split_by_melt():
    rng = np.random.default_rng(1)
    melt_s = np.repeat(np.arange(12), 10)
    found = samples(n_melts=12)
    fingerprint_sf = rng.normal(size=(12, 360))[melt_s] + rng.normal(scale=0.05, size=(120, 360))
    target_s = 235.0 + rng.normal(scale=20.0, size=12)[melt_s] + rng.normal(size=120)
    inputs = {**found.arrays, "partial_pdf": fingerprint_sf, "target": target_s,
              "melt": np.array([f"m{melt}" for melt in melt_s])}  # fmt: skip
    request = {"variants": [{"input": "partial_pdf"}], "models": ["ridge"], **SPLITS}
    scores = {}
    for by in ("melt", "sample"):
        result = baselines_job({**request, "by": by}, inputs, None)
        model = evaluated("r", "f", result["predicted_vans"][0, 0], result["test_ns"], target_s)
        scores[by] = r2(model.predicted_s, target_s)
    assert scores["sample"] > 0.95
    assert scores["melt"] < 0.2


def test_a_planted_length_is_recovered():
    found = samples(reach=6.85, noise=2.0)
    cutoffs = np.arange(2.35, 11.9, 0.5)
    request = {
        "variants": [{"input": "partial_pdf", "cutoff": cutoff} for cutoff in cutoffs],
        "models": ["ridge"],
        **SPLITS,
    }
    result = baselines_job(request, dict(found.arrays), None)
    error_cs = np.array([
        evaluated("r", "f", one[0], result["test_ns"], found.target_s).error_s for one in result["predicted_vans"]
    ])  # fmt: skip
    melt_of_s = np.unique(found.melt_s, return_inverse=True)[1]
    error_cu = np.array([np.bincount(melt_of_s, error_s) for error_s in error_cs]) / np.bincount(melt_of_s)
    length = saturation(cutoffs, error_cu, np.bincount(melt_of_s).astype(float), 0)
    assert length.low <= 6.86
    assert length.high >= 6.5
    assert length.high - length.low <= 1.0
    assert R[-1] > cutoffs[-1]


def test_early_stopping_ends_what_gains_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.normal(size=60)
    places = np.arange(60)
    recipe = replace(QUICK, hidden=(4,), updates=100_000, patience=128)
    fit = Trainer(4, recipe).fit(x, y, places[:40], places[40:], 0)
    assert fit.updates < 20_000
    assert fit.best_at <= fit.updates


# ---- jobs -------------------------------------------------------------------------------------------------------------


def small_jobs(count=4, **request):
    found = samples(n_samples=40, n_melts=5)
    asked = {"kind": "baselines", "variants": [{"input": "energy"}], "models": ["line"], **SPLITS, **request}
    return [LearningJob(f"job-{index}", {**asked, "seed": index}, found.arrays) for index in range(count)]


def test_a_job_is_done_once_and_again_when_its_question_changes(tmp_path):
    jobs = small_jobs(2)
    seen = []
    first = fan_out(jobs, tmp_path, 0, seen.append)
    assert (first.computed, first.failures, sorted(seen)) == (2, {}, ["job-0", "job-1"])
    assert first.results["job-0"].arrays["predicted_vans"].shape == (1, 1, 5, 40)
    assert fan_out(jobs, tmp_path, 0).computed == 0
    changed = [jobs[0], LearningJob("job-1", {**jobs[1].request, "repeats": 2}, jobs[1].inputs)]
    again = fan_out(changed, tmp_path, 0)
    assert again.computed == 1
    assert again.results["job-1"].arrays["test_ns"].shape == (2, 40)
    (tmp_path / "job-0" / "result.json").write_text("{", encoding="utf-8")
    assert not committed(jobs[0], tmp_path)


def test_on_dask_a_failure_is_said_and_the_others_go_on(tmp_path):
    jobs = [
        *small_jobs(1),
        LearningJob("bad", {**small_jobs(1)[0].request, "models": ["oracle"]}, small_jobs(1)[0].inputs),
    ]
    ended = fan_out(jobs, tmp_path, 2)
    assert list(ended.results) == ["job-0"]
    assert "KeyError: 'oracle'" in ended.failures["bad"]
    assert not (tmp_path / "bad").exists()
    assert load_result(tmp_path / "job-0").request["models"] == ["line"]


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_learning import small_jobs
from bp_distributed.learning.fan_out import fan_out
fan_out(small_jobs(), Path({folder!r}), 0, lambda name: print(name, flush=True))
"""


@pytest.mark.fault
def test_after_a_kill_only_missing_jobs_run(tmp_path):
    code = DRIVER.format(tests=os.path.dirname(__file__), folder=str(tmp_path))  # noqa: PTH120 - a path for sys.path
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "job-0\n"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    time.sleep(0.2)  # the kernel ends the child
    jobs = small_jobs()
    there = sum(committed(job, tmp_path) for job in jobs)
    assert 1 <= there < 4
    before = (tmp_path / "job-0" / "result.json").stat().st_mtime_ns
    ended = fan_out(jobs, tmp_path, 0)
    assert ended.computed == 4 - there
    assert len(ended.results) == 4
    assert (tmp_path / "job-0" / "result.json").stat().st_mtime_ns == before


def test_a_study_writes_what_it_learned_and_has_then_nothing_to_do(tmp_path):
    found = samples(n_samples=40, n_melts=8)
    names = ("mean-splits-melt", "ridge-splits-melt", "line-splits-melt")
    jobs = [job for job in protocol_jobs(found, SMALL) if job.name in names]
    study = Study(tmp_path, found, SMALL, jobs, ["a note"])
    assert (study.missing, study.is_current) == (3, False)
    with pytest.raises(StoreError, match="no such file; 'bpd learn' writes it"):
        load_learning(tmp_path)
    assert study.run(0).computed == 3
    content = load_learning(tmp_path)
    assert {row["model"] for row in content["models"]} == {"mean", "ridge", "line"}
    assert content["notes"] == ["a note"]
    assert content["samples"]["melts"] == 8
    assert (study.missing, study.is_current) == (0, True)
    assert study.run(0).computed == 0
    assert load_learning(tmp_path) == content
    (tmp_path / "learning.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="is damaged"):
        load_learning(tmp_path)


def test_the_command_says_what_failed_and_when_nothing_is_left(tmp_path, monkeypatch, capsys):
    found = samples(n_samples=40, n_melts=8)
    good = next(job for job in protocol_jobs(found, SMALL) if job.name == "mean-splits-melt")
    bad = LearningJob("bad", {**good.request, "models": ["oracle"]}, good.inputs)
    campaign = SimpleNamespace(study=lambda: Study(tmp_path, found, SMALL, [good, bad], ["a note"]))
    assert terminal.learn_with_display(campaign, 0) == UNFINISHED
    said = capsys.readouterr().out
    assert "failed: bad: KeyError: 'oracle'" in said
    assert "a note" in said
    assert "2 of 2 jobs had to run" in said
    campaign.study = lambda: Study(tmp_path, found, SMALL, [good])
    assert terminal.learn_with_display(campaign, 0) == 0
    assert "nothing to do: 1 jobs of learning are done" in capsys.readouterr().out


def test_two_do_not_work_in_one_folder(tmp_path):
    with _alone(tmp_path), pytest.raises(LockedError, match="another 'bpd learn' is at work here"):
        fan_out(small_jobs(1), tmp_path, 0)
