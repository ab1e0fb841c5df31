# SPDX-License-Identifier: BSD-3-Clause
import csv
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from synthetic import melted_items

from bp_distributed.config import TrainingConfig
from bp_distributed.errors import CampaignError, StoreError
from bp_distributed.gather import gather
from bp_distributed.train import group_folds, load_network, load_result, table_of, train


@dataclass(frozen=True)
class Small:
    target: str = "intensity"
    features: str = "partial_pdf"
    hidden: tuple[int, ...] = (8,)
    epochs: int = 150
    patience: int = 30
    dropout: float = 0.0
    l2: float = 1e-4
    learning_rate: float = 0.02
    optimizer: str = "adam"
    repeats: int = 1
    folds: int = 3
    seed: int = 0


def campaign(features_sf, target_s, group_s, rate_s=None):
    """Return a dataset as ``gather`` gives it, with the numbers wanted; target in µTHz⁻³."""
    n_samples = len(target_s)
    rate_s = np.logspace(12, 14, n_samples) if rate_s is None else rate_s
    names = [f"{index:020x}" for index in range(n_samples)]
    return xr.Dataset(
        {
            "partial_pdf": (("sample", "element_pair", "r_bin"), np.asarray(features_sf, dtype=np.float32)[:, None, :]),
            "intensity": ("sample", np.asarray(target_s) * 1e-6),
            "intensity_error": ("sample", np.full(n_samples, 2e-6)),
            "accepted": ("sample", np.ones(n_samples, dtype=np.int8)),
        },
        coords={
            "cooling_rate": ("sample", rate_s),
            "group": ("sample", np.array(group_s, dtype=np.str_)),
            "sample_id": ("sample", np.array(names)),
            "label": ("sample", np.array(names)),
        },
    )


def linear_campaign(seed=0, n_samples=60, n_groups=12):
    rng = np.random.default_rng(seed)
    features_sf = rng.normal(size=(n_samples, 6))
    target_s = 240.0 + 20.0 * features_sf[:, 0] - 10.0 * features_sf[:, 1] + rng.normal(scale=1.0, size=n_samples)
    return campaign(features_sf, target_s, [f"melt-{index % n_groups}" for index in range(n_samples)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return train(linear_campaign(), Small(), folder), folder


def test_a_linear_law_is_recovered(trained):
    result, _ = trained
    assert result.metrics["ridge"]["r2"] > 0.99  # noise 1 of a spread of 22
    assert result.metrics["network"]["r2"] > 0.85
    assert result.metrics["mean"]["r2"] < 0.05
    assert result.metrics["rate"]["r2"] < 0.2
    network = result.metrics["network"]
    assert network["mae_low"] < network["mae"] < network["mae_high"]
    assert network["mae_over_std"] == pytest.approx(network["mae"] / np.std(result.truth))
    assert network["mae_over_noise"] == pytest.approx(network["mae"] / 2.0)
    assert network["spearman"] > 0.9


def test_shuffled_labels_teach_nothing(tmp_path):
    dataset = linear_campaign()
    shuffled = np.random.default_rng(3).permutation(dataset["intensity"].to_numpy())
    result = train(dataset.assign(intensity=("sample", shuffled)), Small(epochs=40, folds=2), tmp_path)
    assert result.metrics["network"]["r2"] < 0.15
    assert result.metrics["ridge"]["r2"] < 0.15
    assert not any("network is better" in remark for remark in result.remarks)


def test_leakage_through_melts_is_seen(tmp_path):
    rng = np.random.default_rng(1)
    n_melts, each = 10, 5
    melt_s = np.repeat(np.arange(n_melts), each)
    fingerprint = rng.normal(size=(n_melts, 20))  # says which melt it is, and nothing about its intensity
    level = rng.normal(scale=20.0, size=n_melts)
    features_sf = fingerprint[melt_s] + rng.normal(scale=0.05, size=(n_melts * each, 20))
    target_s = 240.0 + level[melt_s] + rng.normal(scale=1.0, size=n_melts * each)
    dataset = campaign(features_sf, target_s, [f"melt-{melt}" for melt in melt_s])
    result = train(dataset, Small(epochs=30, folds=2), tmp_path)
    split = result.facts["random_split"]
    assert split["ridge_mae_random"] < 0.25 * split["ridge_mae_by_melt"]
    assert result.metrics["ridge"]["r2"] < 0.3
    assert any(remark.startswith("leakage check") for remark in result.remarks)


def test_no_melt_stands_on_both_sides(trained):
    result, _ = trained
    pairs = set(zip(result.group, result.fold, strict=True))
    assert len(pairs) == len(set(result.group)) == 12
    assert set(result.fold) == {0, 1, 2}
    assert all(np.isfinite(values).all() for values in result.predictions.values())


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_balanced(seed):
    group_s = np.repeat([f"g{index}" for index in range(9)], [1, 2, 3, 4, 5, 6, 7, 8, 9])
    sizes = np.bincount(group_folds(group_s, 3, seed), minlength=3)
    assert sizes.max() - sizes.min() <= 3


def test_the_seed_fixes_every_number(trained, tmp_path):
    first, _ = trained
    again = train(linear_campaign(), Small(), tmp_path)
    assert again.predictions == first.predictions
    assert again.metrics["network"] == first.metrics["network"]


def test_what_was_written_comes_back(trained):
    result, folder = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "architecture.json", "network.weights.h5", "predictions.csv", "training.json",
    ]  # fmt: skip
    back = load_result(folder)
    assert back.predictions == result.predictions
    assert back.metrics["network"] == result.metrics["network"]
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["network_uTHz-3"]) for row in rows] == result.predictions["network"]
    assert json.loads((folder / "training.json").read_text(encoding="utf-8"))["facts"]["versions"]["backend"]
    network = load_network(folder)
    table = table_of(linear_campaign(), "partial_pdf")
    assert np.corrcoef(network.predict(table.features_sf), table.target_s)[0, 1] > 0.95


def test_a_small_campaign_is_told_so(tmp_path):
    dataset = gather(melted_items(n_melts=3, n_atoms=108), {})
    result = train(dataset, TrainingConfig(epochs=3, repeats=1, folds=4, hidden=(4,)), tmp_path)
    assert result.facts["samples"] == 7
    assert result.facts["left_out"] == {"rejected": 1, "incomplete": 1}
    assert result.facts["n_features"] == 360
    text = "\n".join(result.remarks)
    assert "7 samples in 3 melts" in text
    assert "too little to conclude" in text
    assert "left out: 1 rejected and 1 incomplete" in text
    assert "4 folds were asked for; 3 melts allow 3" in text
    assert 150 < result.facts["target_mean"] < 400  # µTHz⁻³


def test_the_robust_target_takes_samples_without_a_peak_but_no_others():
    items = melted_items(n_melts=3, n_atoms=108)
    items[3] = replace(items[3], rejected="not_melted")
    dataset = gather(items, {})
    assert len(table_of(dataset, "partial_pdf", "intensity")) == 6
    table = table_of(dataset, "partial_pdf", "robust_intensity")
    assert len(table) == 7
    assert table.left_out == {"rejected": 1, "incomplete": 1}
    assert items[1].sample_id in table.sample_id_s
    assert items[3].sample_id not in table.sample_id_s


def test_without_rates_there_is_no_rate_baseline(tmp_path):
    dataset = linear_campaign(n_samples=12, n_groups=4)
    dataset["cooling_rate"][:] = np.nan
    result = train(dataset, Small(epochs=2, folds=2), tmp_path)
    assert "rate" not in result.metrics
    assert any("no cooling-rate baseline" in remark for remark in result.remarks)


def test_too_few_melts_or_samples_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    one_melt = campaign(rng.normal(size=(8, 3)), rng.normal(size=8), ["melt-0"] * 8)
    with pytest.raises(CampaignError, match=r"8 usable samples come from 1 melt.*needs at least 2"):
        train(one_melt, Small(), tmp_path)
    with pytest.raises(CampaignError, match="3 usable samples; training needs at least 4"):
        train(campaign(rng.normal(size=(3, 3)), rng.normal(size=3), ["a", "b", "c"]), Small(), tmp_path)
    with pytest.raises(CampaignError, match="all samples have the same intensity"):
        train(campaign(rng.normal(size=(6, 3)), np.ones(6), list("aabbcc")), Small(), tmp_path)
    with pytest.raises(CampaignError, match="holds no 'partial_pdf'; run the stage 'structure'"):
        train(one_melt.drop_vars("partial_pdf"), Small(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_trained_names_the_command(tmp_path):
    with pytest.raises(StoreError, match="'bpd train' writes it"):
        load_result(tmp_path)
    with pytest.raises(StoreError, match="'bpd train' writes it"):
        load_network(tmp_path)
    (tmp_path / "training.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="is damaged"):
        load_result(tmp_path)
