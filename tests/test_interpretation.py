# SPDX-License-Identifier: BSD-3-Clause
import json
import os
from itertools import pairwise

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "jax"

from bp_distributed.learning.fan_out import plain
from bp_distributed.learning.interpretation import (
    Glasses,
    Settings,
    fisher_interval,
    interpretation_job,
    top_and_bottom,
)
from bp_distributed.learning.network import read_network
from bp_distributed.learning.single_neuron import Neuron, correlation

R = (np.arange(60) + 0.5) * 0.2
SHELL = (3.4, 4.4)
"""Å; where the planted intensity leaves its trace: a fuller trough."""
REQUEST = {
    "elements": ["Cu", "Zr"], "repeats": 3, "neuron_bootstraps": 4, "shuffles": 2, "bootstraps": 100,
    "network": {"updates": 640, "patience": 320}, "neuron": {"updates": 1280, "patience": 640},
}  # fmt: skip


def base():
    peaks = ((2.8, 2.5, 0.3), (4.9, 1.2, 0.5), (7.2, 0.4, 0.5))
    troughs = 0.6 * np.exp(-(((R - 3.8) / 0.4) ** 2))
    return np.where(R > 2.2, 1.0 + sum(h * np.exp(-(((R - at) / w) ** 2)) for at, h, w in peaks) - troughs, 0.0)


def glasses(n_samples=64, n_melts=8, planted=0.05, seed=0):
    """Return inputs of the job; only Cu-Zr (and with it the total function) knows the intensity, by its first trough."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=n_samples)
    inside = np.abs(R - 3.9) < 0.5
    noise = 0.02 * rng.normal(size=(3, n_samples, len(R))) * (R > 2.2)
    partial = base() + noise
    partial[1] += planted * latent[:, None] * inside
    return {
        "total_pdf": (0.25 * partial[0] + 0.5 * partial[1] + 0.25 * partial[2]).astype(np.float32),
        "partial_pdf": np.moveaxis(partial, 0, 1).reshape(n_samples, -1).astype(np.float32),
        "r": R,
        "target": 240.0 + 15.0 * latent + 1.0 * rng.normal(size=n_samples),
        "melt": np.array([f"melt-{index % n_melts}" for index in range(n_samples)]),
        "rate": np.full(n_samples, 1e13),
    }


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interpretation")
    return interpretation_job(REQUEST, glasses(), folder), folder


def test_the_planted_shell_is_the_important_one(learned):
    found, _ = learned
    for model in ("ridge", "network"):
        importance = found["importance"][model]
        ordered = sorted(importance, key=lambda name: importance[name][0])
        first, last = found["shells_A"][ordered[-1]]
        assert ordered[-1].startswith("Cu-Zr")
        assert first < SHELL[1]
        assert last > SHELL[0]
        assert importance[ordered[-1]][1] > 0.3
    ridge = found["importance"]["ridge"]
    others = [value for name, (value, _, _) in ridge.items() if not name.startswith("Cu-Zr")]
    assert max(others) < 0.05


def test_models_that_saw_no_sample_of_the_melt_predict_it(learned):
    found, folder = learned
    assert found["models"]["ridge"]["r2"] > 0.75
    assert found["melts"] == 8
    assert read_network(folder / "network.json", folder / "network.weights.h5").inputs.mean_f.shape == (180,)


def test_groups_differ_by_the_trough_that_was_planted(learned):
    found, _ = learned
    assert found["channels"] == ["total", "Cu-Cu", "Cu-Zr", "Zr-Zr"]
    assert found["ratios"] == ["Cu-Zr / Cu-Cu", "Cu-Zr / Zr-Zr"]
    for share, count in (("0.05", 3), ("0.1", 6)):
        for sort in ("real", "ridge"):
            group = found["groups"][share][sort]
            assert group["per_group"] == count
            value, low, high = np.array(group["landmarks"]["trough_height"])
            assert low[2] > 0.03  # of Cu-Zr: planted 0.05 by the standard deviations between the groups, about 3.5
            assert low[2] < value[2] < high[2]
            assert abs(value[1]) < 0.05
            difference, below, above = np.array(group["difference"])
            assert ((below <= difference + 1e-6) & (difference <= above + 1e-6)).mean() > 0.9


def test_the_neuron_agrees_with_the_difference_more_than_where_intensities_are_shuffled(learned):
    found, _ = learned
    neuron = found["neuron"]
    assert neuron["bins"] == int((R > 2.2).sum())
    value, low, high = neuron["pearson"]["0.05"]
    assert low < value < high
    assert low > max(neuron["pearson_shuffled"]["0.05"])


def test_the_neuron_recovers_planted_weights_with_their_sign():
    rng = np.random.default_rng(1)
    weights = np.cos(R) * np.exp(-R / 6)
    pdf = 1.0 + 0.1 * rng.normal(size=(300, len(R)))
    pdf[:, R < 1.0] = 0.0
    melts = np.array([f"{index % 10}" for index in range(300)])
    for sign in (1.0, -1.0):
        neuron = Neuron(pdf, sign * (pdf @ weights))
        found = neuron.weights(np.arange(300), melts, range(3))
        assert not found[R < 1.0].any()
        assert correlation(found, sign * weights, neuron.varies_r) > 0.9


def test_shuffled_intensities_are_not_predicted(tmp_path):
    inputs = glasses(seed=2)
    inputs["target"] = np.random.default_rng(3).permutation(inputs["target"])
    found = interpretation_job(
        {**REQUEST, "repeats": 1, "neuron_bootstraps": 0, "shuffles": 0, "bootstraps": 20}, inputs, tmp_path
    )
    assert found["models"]["ridge"]["r2"] < 0.1
    assert all(low < 0.05 for _, low, _ in found["importance"]["ridge"].values())
    assert np.isnan(found["neuron"]["pearson"]["0.05"][1])
    assert json.dumps(plain(found), allow_nan=False)


def test_extreme_samples_are_at_least_two():
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    high, low = top_and_bottom(values, 0.05)
    assert values[high].tolist() == [4.0, 5.0]
    assert values[low].tolist() == [1.0, 2.0]


def test_melts_are_drawn_whole():
    sample = Glasses.of(REQUEST, glasses(n_samples=12, n_melts=3))
    for drawn in sample.draws(20, 0):
        counts = np.bincount(drawn, minlength=12)
        assert all(len(set(counts[sample.melt_s == melt])) == 1 for melt in np.unique(sample.melt_s))
        assert counts.sum() == 12


def test_the_interval_of_a_correlation_stays_within_its_bounds_and_widens_with_the_spread():
    widths = []
    for spread in (0.001, 0.01, 0.03):
        value, low, high = fisher_interval(0.95, 0.95 + spread * np.array([-1.0, 0.0, 1.0]))
        assert -1.0 < low < value < high < 1.0
        widths.append(high - low)
    assert all(narrow < wide for narrow, wide in pairwise(widths))


def test_settings_are_the_request_and_else_the_default():
    assert Settings.of({"elements": ["Cu"]}) == Settings()
    assert Settings.of(REQUEST).neuron.updates == 1280
    assert Settings.of(REQUEST).neuron.hidden == (1,)
