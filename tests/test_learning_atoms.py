# SPDX-License-Identifier: BSD-3-Clause
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic_atoms import WINDOW, atoms, dataset_of, glass

os.environ["KERAS_BACKEND"] = "jax"

from bp_distributed.config import default_potential
from bp_distributed.errors import CampaignError
from bp_distributed.learning import atom_scores, groups
from bp_distributed.learning.atom_candidates import (
    AVERAGED_RIDGE,
    MEAN,
    MODERN,
    NETWORK,
    RIDGE,
    STIFFNESS,
    Settings,
    crossed,
    fits_of,
)
from bp_distributed.learning.atom_inputs import atom_inputs
from bp_distributed.learning.atom_models import PENALTIES, fit_ridge
from bp_distributed.learning.atom_network import RECIPE, Networks, forward
from bp_distributed.learning.atom_table import Atoms
from bp_distributed.learning.atoms import atoms_job
from bp_distributed.learning.descriptors import four_channels, neighbour_weights, rebinned, recursive_averages
from bp_distributed.learning.fan_out import plain
from bp_distributed.learning.importance import losses, shuffled_within
from bp_distributed.learning.landmarks import landmarks, shells
from bp_distributed.learning.network import Recipe, quiet_keras, read_network
from bp_distributed.learning.parts import split_at_random, split_by_melt
from bp_distributed.learning.saturation import saturation
from bp_distributed.learning.stiffness import local_stiffness
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.potential import read_potential

TINY = {"hidden": [16], "optimizer": "adam", "learning_rate": 3e-3, "updates": 640, "patience": 320}
REQUEST = {
    "elements": ["Cu", "Zr"], "folds": 2, "network": TINY, "modern": TINY, "scan": TINY, "network_repeats": 1,
    "cutoffs": [2.9, 4.1, 4.9, 5.7, 6.5, 7.3], "network_cutoffs": [4.1, 7.3], "factor": 1, "rounds": 1,
}  # fmt: skip
ROUNDING = 1e-5
"""Of single precision."""


@pytest.fixture(scope="module")
def inputs():
    return atoms()


@pytest.fixture(scope="module")
def learned(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("atoms")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bp_distributed.learning.atom_models.TREES", 20)
        patched.setattr(
            "bp_distributed.learning.atoms.local_stiffness", lambda *_: 5.0 * (inputs["intensity"] / 1e-9) ** -0.5
        )
        found = atoms_job({**REQUEST, "potential_file": "given"}, inputs, folder)
    return found, folder


# ---- descriptors ------------------------------------------------------------------------------------------------------


def test_channels_of_the_other_element_are_zero():
    pdf = np.random.default_rng(0).random((5, 2, 4))
    species = np.array([0, 1, 1, 0, 1])
    channels = four_channels(pdf, species)
    for atom, element in enumerate(species):
        assert np.allclose(channels[atom, 2 * element : 2 * element + 2], pdf[atom])
        assert not channels[atom, 2 * (1 - element) : 2 * (1 - element) + 2].any()


def test_recursive_averages_equal_a_naive_loop():
    rng = np.random.default_rng(1)
    positions, cell, _ = glass(rng, n_cells=2)
    features = rng.random((len(positions), 3)).astype(np.float32)
    cutoff, edge = 5.0, cell[0, 0]
    expected = features.astype(float)
    for found in recursive_averages(features, neighbour_weights(positions, cell, cutoff), 2):
        last, expected = expected, np.zeros_like(expected)
        for i in range(len(positions)):
            total = 0.0
            for j in range(len(positions)):
                for shift in np.ndindex(5, 5, 5):
                    r = np.linalg.norm(positions[j] + (np.array(shift) - 2) * edge - positions[i])
                    if r < cutoff:
                        weight = 0.5 * (1 + np.cos(np.pi * r / cutoff))
                        expected[i] += weight * last[j]
                        total += weight
            expected[i] /= total
        assert np.allclose(found, expected, rtol=ROUNDING)


def test_rebinning_takes_means_and_drops_the_rest():
    assert rebinned(np.arange(7.0).reshape(1, 1, 7), 3).ravel().tolist() == [1.0, 4.0]


def test_stiffness_is_the_trace_of_the_hessian_by_finite_differences():
    path = default_potential()
    inputs = atoms(n_samples=1, n_melts=1)
    table = Atoms.of(REQUEST, inputs)
    found = local_stiffness(table, path)
    potential = read_potential(path, ["Cu", "Zr"])
    for atom in (3, 200):
        trace = 0.0
        for axis in range(3):
            forces = []
            for step in (-1e-4, 1e-4):
                moved = inputs["position"].copy()
                moved[atom, axis] += step
                configuration = Configuration(moved, inputs["cell"][0], inputs["species"], ("Cu", "Zr"))
                forces.append(evaluate(configuration, potential).forces_ic[atom, axis])
            trace -= (forces[1] - forces[0]) / 2e-4
        assert found[atom] == pytest.approx(trace / potential.masses_e[inputs["species"][atom]], rel=1e-4)


# ---- models and scores ------------------------------------------------------------------------------------------------


def test_the_ridge_solves_its_normal_equations_with_the_best_penalty_of_the_list():
    rng = np.random.default_rng(2)
    features, check = rng.normal(size=(80, 5)), np.arange(80) % 4 == 0
    target = features @ [1.0, -2.0, 0.0, 0.5, 0.0] + 3.0 + 0.3 * rng.normal(size=80)
    ridge = fit_ridge(features, target, check)
    scaled, centred = ridge.scaler.forward(features), target - target.mean()
    residual = scaled.T @ (centred - scaled @ ridge.weights_f) - 80 * ridge.penalty * ridge.weights_f
    assert np.abs(residual).max() < 1e-8

    def error(penalty):
        learn = scaled[~check]
        weights = np.linalg.solve(learn.T @ learn + 60 * penalty * np.eye(5), learn.T @ centred[~check])
        return ((scaled[check] @ weights - centred[check]) ** 2).mean()

    assert ridge.penalty == min(PENALTIES, key=error)


def test_plain_arithmetic_is_what_keras_does(learned):
    _, folder = learned
    stored = read_network(folder / "network.json", folder / "network.weights.h5")
    rng = np.random.default_rng(3)
    told = rng.random((50, len(stored.inputs.mean_f)))
    with quiet_keras():
        weights = stored.model.get_weights()
    fit = type("Fit", (), {"weights": weights, "inputs": stored.inputs, "output": stored.output})
    assert np.allclose(forward(fit, told), stored.predict(told), atol=1e-4)


def test_scores_are_those_of_scipy():
    rng = np.random.default_rng(4)
    true = rng.normal(size=200)
    predicted, sample = 0.6 * true + 0.5 * rng.normal(size=200), np.repeat(np.arange(10) * 7, 20)
    found = atom_scores.scores(predicted, true, sample, 0)
    assert found["pearson"][0] == pytest.approx(stats.pearsonr(predicted, true)[0])
    assert found["spearman"][0] == pytest.approx(stats.spearmanr(predicted, true)[0])
    assert found["mae"][0] == pytest.approx(np.abs(predicted - true).mean())
    assert found["r2"][0] == pytest.approx(1 - ((predicted - true) ** 2).sum() / ((true - true.mean()) ** 2).sum())
    assert all(low < value < high for value, low, high in found.values())


def test_samples_are_drawn_not_atoms():
    """An offset that all atoms of a sample share does not average out with more atoms."""
    rng = np.random.default_rng(5)
    offset, true = rng.normal(size=10), rng.normal(size=10_000)
    predicted = true + np.repeat(offset, 1000)
    error, low, high = atom_scores.scores(predicted, true, np.repeat(np.arange(10), 1000), 0)["mae"]
    assert error == pytest.approx(np.abs(offset).mean())
    assert high - low > 2.0 * np.abs(offset).std() / np.sqrt(10)


# ---- splits -----------------------------------------------------------------------------------------------------------


def test_no_melt_stands_on_both_sides():
    group, sample = np.array(["a", "a", "b", "b", "c", "c"]), np.repeat(np.arange(6), 50)
    parts = split_by_melt(group, sample, 3, 120, 0)
    assert np.array_equal(np.sort(np.concatenate([part.test for part in parts])), np.arange(300))
    for part in parts:
        assert not set(group[sample[part.train]]) & set(group[sample[part.test]])
        held, taught = set(group[sample[part.train[part.check_i]]]), set(group[sample[part.train[~part.check_i]]])
        assert held
        assert taught
        assert not held & taught
        assert len(part.train) == 120


def test_an_offset_of_the_sample_leaks_at_random_and_not_by_melt():
    inputs = atoms(noise=0.3, offset=1.0, seed=6)
    inputs["pdf"][:, :, 0] = np.random.default_rng(0).random(8)[inputs["sample"], None]  # what betrays the sample
    table = Atoms.of(REQUEST, inputs)
    fits = fits_of(Networks(RECIPE), Networks(RECIPE))

    def told(parts):
        fingerprint = (inputs["pdf"][:, 0, 0][:, None] == np.unique(inputs["pdf"][:, 0, 0])).astype(np.float32)
        features = np.concatenate([table.own_if, fingerprint], axis=1)
        found, _ = crossed(fits[RIDGE], features, table, parts)
        return atom_scores.scores(found, table.target_i, table.sample_i, 0)["r2"][0]

    assert told(split_at_random(len(table.target_i), 4, 10_000, 0)) > 0.8
    assert told(split_by_melt(table.group_s, table.sample_i, 4, 10_000, 0)) < 0.3


def test_shuffled_targets_cannot_be_learned(inputs):
    senseless = {**inputs, "intensity": np.random.default_rng(7).permutation(inputs["intensity"])}
    table = Atoms.of(REQUEST, senseless)
    parts = split_by_melt(table.group_s, table.sample_i, 4, 10_000, 0)
    tiny = Networks(Recipe(**{**TINY, "hidden": (8,)}))
    fits = fits_of(tiny, tiny)
    for name, features in ((RIDGE, table.own_if), (NETWORK, table.channels_if)):
        found, _ = crossed(fits[name], features, table, parts)
        assert -0.15 < atom_scores.scores(found, table.target_i, table.sample_i, 0)["r2"][0] < 0.05


# ---- the job ----------------------------------------------------------------------------------------------------------


def test_the_planted_relation_is_learned(learned):
    found, _ = learned
    r2 = {name: score["all"]["r2"][0] for name, score in found["models"].items()}
    assert r2[RIDGE] > 0.85  # noise alone leaves 1 - 0.1² / (0.3² + 0.1²) = 0.9
    assert abs(r2[MEAN]) < 0.05
    assert r2[MODERN] > 0.6
    assert r2[STIFFNESS] > 0.9
    assert found["recommended"] in {RIDGE, AVERAGED_RIDGE}
    assert found["melts"] == 4
    ridge_worse = next(one["excess_mae"] for one in found["orderings"] if one["first"] == RIDGE)
    assert ridge_worse[2] < 0.0


def test_the_cutoff_stops_helping_at_the_end_of_the_planted_shell(learned):
    found, _ = learned
    end = found["cutoff"][RIDGE]["saturation"]
    assert end["cutoff"] == WINDOW[1]
    assert end["low"] >= WINDOW[0]
    network = found["cutoff"][MODERN]
    assert network["mae"][1] < 0.8 * network["mae"][0]


def test_the_planted_shell_is_the_important_one(learned):
    found, _ = learned
    for model in (RIDGE, NETWORK):
        importance = found["importance"][model]
        for centre in ("Cu", "Zr"):
            mine = [name for name in importance if name.startswith(f"{centre}-")]
            best = max(mine, key=lambda name: importance[name][0])
            first, last = found["shells_A"][best]
            assert best.startswith(f"{centre}-Zr")
            assert first < WINDOW[1]
            assert last > WINDOW[0]
            assert importance[best][1] > 0.1
        others = [value for name, (value, _, _) in importance.items() if "-Cu " in name]
        assert max(others) < 0.15


def test_groups_differ_where_it_was_planted(learned, inputs):
    found, _ = learned
    sorts = found["profiles"]["sorts"]
    r = np.array(found["profiles"]["r_A"])
    assert np.array_equal(r, inputs["r"][inputs["r"] > 2.0])
    inside = (r > WINDOW[0]) & (r < WINDOW[1])
    difference = np.array(sorts["real"]["high"]) - np.array(sorts["real"]["low"])
    assert (difference[:, 1][:, inside] > 0.5).all()
    assert (difference[:, 0][:, inside] < 0.0).all()  # where there is more zirconium, there is less copper
    assert np.array(sorts[NETWORK]["agreement"])[1][[1, 3]].min() > 0.8


def test_a_log_target_is_biased_low_and_corrected(learned):
    found, _ = learned
    bias = found["back_transform"][RIDGE if RIDGE in found["back_transform"] else AVERAGED_RIDGE]
    lost = np.exp(-0.5 * (0.1 * np.log(10)) ** 2)  # mean of 10**x for the planted noise
    assert bias["ratio"] == pytest.approx(lost, abs=0.03)
    assert bias["corrected"] == pytest.approx(1.0, abs=0.03)


def test_the_result_is_plain_and_counts_everything(learned, inputs):
    found, _ = learned
    assert found["predicted"].shape == (8, 2048)
    text = json.dumps(
        plain({name: value for name, value in found.items() if not isinstance(value, np.ndarray)}), allow_nan=False
    )
    assert "NaN" not in text
    assert found["atoms"] == np.array(found["parity"][NETWORK]["counts"]).sum() == 2048
    assert found["samples"] == inputs["sample_id"].tolist()


def test_the_stored_ridge_predicts_what_was_predicted(learned, inputs):
    found, _ = learned
    table = Atoms.of(REQUEST, inputs)
    test = split_by_melt(table.group_s, table.sample_i, 2, 20_000, 0)[0].test
    element = table.species_i[test]
    scaled = (table.own_if[test] - found["ridge_mean"][element]) / found["ridge_scale"][element]
    expected = found["ridge_level"][element] + (scaled * found["ridge_weight"][element]).sum(axis=1)
    names = list(found["models"])
    assert np.allclose(found["predicted"][names.index(RIDGE)][test], expected, atol=1e-4)


def test_settings_are_the_request_and_else_the_default():
    assert Settings.of({"elements": []}) == Settings()
    assert Settings.of({"network": {"updates": 3}, "cutoffs": [1.0]}) == Settings(
        network=replace(RECIPE, updates=3), cutoffs=(1.0,)
    )


# ---- inputs -----------------------------------------------------------------------------------------------------------


def test_inputs_come_from_whole_samples_of_all_melts(inputs):
    dataset, load = dataset_of(inputs)
    every = atom_inputs(dataset, np.arange(8), load)
    assert np.array_equal(every["pdf"], inputs["pdf"])
    assert np.allclose(every["intensity"], inputs["intensity"])
    few = atom_inputs(dataset, np.arange(8), load, most_atoms=1100)
    assert sorted(few["group"]) == ["melt-0", "melt-1", "melt-2", "melt-3"]
    assert len(few["species"]) == 1024


def test_too_few_samples_are_refused(inputs):
    dataset, load = dataset_of(inputs)
    with pytest.raises(CampaignError, match="3 samples of 3 melt"):
        atom_inputs(dataset, np.arange(3), load)
    with pytest.raises(CampaignError, match="0 samples of 0 melt"):
        atom_inputs(dataset, np.arange(8), lambda *_: None)
    with pytest.raises(CampaignError, match="'atomic_intensity'; run the stage 'vibration'"):
        atom_inputs(dataset.drop_vars("atomic_intensity"), np.arange(8), load)


# ---- lengths, landmarks, groups ---------------------------------------------------------------------------------------


def test_saturation_of_an_exponential_and_of_nothing():
    cutoff = np.arange(2.0, 10.0, 0.5)
    rng = np.random.default_rng(8)
    fall = np.where(cutoff < 6.0, (6.0 - cutoff) / 4.0, 0.0)[:, None] * np.ones(12)
    found = saturation(cutoff, 0.2 + 0.1 * fall + 0.01 * rng.random(12), np.ones(12), 0)
    assert found.cutoff == found.low == found.high == 6.0
    assert found.gain == pytest.approx(0.1)
    nothing = saturation(cutoff, 0.2 + 0.01 * rng.normal(size=(len(cutoff), 12)), np.ones(12), 0)
    assert np.isnan(nothing.cutoff) or nothing.gain < 0.02


def bumps(r, *peaks):
    return sum(height * np.exp(-(((r - at) / width) ** 2)) for at, height, width in peaks)


def test_landmarks_are_where_the_bumps_are():
    r = (np.arange(120) + 0.5) * 0.1
    found = landmarks(r, bumps(r, (2.73, 4.0, 0.3), (4.62, 2.0, 0.5)))
    assert found.first_r == pytest.approx(2.73, abs=0.01)
    assert found.first_height == pytest.approx(4.0, abs=0.05)
    assert found.second_r == pytest.approx(4.62, abs=0.03)
    assert 3.3 < found.trough_r < 3.7
    assert np.isnan(landmarks(r, np.zeros(120)).first_r)


def test_shells_end_at_minima():
    r = (np.arange(120) + 0.5) * 0.1
    ends = [r[part][-1] for part in shells(r, 1.0 + np.cos(2 * np.pi * (r - 2.75) / 2.5) * (r > 1.5))]
    assert ends == pytest.approx([3.95, 6.45, 8.95, 11.45, 11.95], abs=0.11)


def test_extremes_are_taken_within_each_stratum():
    value, stratum = np.array([5.0, 1, 2, 3, 4, 50, 10, 20, 30, 40]), np.repeat([3, 8], 5)
    high, low = groups.extremes(value, stratum, 0.2)
    assert np.flatnonzero(high).tolist() == [0, 5]
    assert np.flatnonzero(low).tolist() == [1, 6]


def test_a_planted_shift_of_the_first_peak_is_found_with_its_sign():
    r, rng = (np.arange(100) + 0.5) * 0.1, np.random.default_rng(9)
    species, sample = np.tile([0, 1], 200), np.repeat(np.arange(8), 50)
    is_high = rng.random(400) < 0.5
    at = 2.8 - 0.05 * is_high + 0.02 * rng.normal(size=400)
    pdf = np.array(
        [
            [bumps(r, (x, 3.0 - 0.4 * up, 0.3), (5.0 + 0.1 * up, 1.5, 0.6))] * 2
            for x, up in zip(at, is_high, strict=True)
        ]
    )
    pair = [groups.Profiles.of(pdf, mask, species, sample) for mask in (is_high, ~is_high)]
    found = {name: np.array(value) for name, value in groups.bootstrapped(r, *pair, 0).items()}
    assert found["first_r"][0] == pytest.approx(np.full(4, -0.05), abs=0.01)
    assert found["first_height"][0] == pytest.approx(np.full(4, -0.4), abs=0.05)
    assert (found["first_r"][2] < 0).all()
    assert (found["trough_width"][1] > 0.1).all()
    assert found["ratio"][0] == pytest.approx(np.zeros(4), abs=1e-9)


def test_shuffling_keeps_to_the_stratum_and_hurts_only_what_is_used():
    rng = np.random.default_rng(10)
    stratum = rng.integers(0, 3, 60)
    assert np.array_equal(stratum[shuffled_within(stratum, rng)], stratum)
    features = rng.normal(size=(500, 4))
    found = losses(
        lambda told: 2.0 * told[:, 1], features, 2.0 * features[:, 1], {"used": [1], "not": [0, 2, 3]}, np.zeros(500), 0
    )
    assert found["used"].mean() == pytest.approx(8.0, rel=0.15)  # twice the variance of 2 x
    assert not found["not"].any()
