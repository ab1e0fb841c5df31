# SPDX-License-Identifier: BSD-3-Clause
"""Rows T13 to T15 on results of learning whose signs are planted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic_atlas import source_of, trended

from bp_distributed.atlas.panel import Missing, Verdict
from bp_distributed.atlas.tao_atoms import t13, t14, t15
from bp_distributed.errors import Reason, StoreError
from bp_distributed.learning.atom_candidates import AVERAGED_RIDGE, MEAN, MODERN, NETWORK, RIDGE

YES, NO, OPEN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
R = np.round((np.arange(100) + 20.5) * 0.1, 2)


def about(value, half=0.05):
    return [value, value - half, value + half]


def scored(r2):
    return {"r2": about(r2), "pearson": about(r2), "spearman": about(r2), "mae": about(0.2)}


def learned_atoms(sample_ids, sign=1, saturation=6.85):
    """Return what the job ``atoms`` leaves where atoms of high intensity differ as the paper says (sign 1), or oppositely."""
    names = (MEAN, RIDGE, AVERAGED_RIDGE, MODERN, NETWORK)
    models = {name: {part: scored(0.4 * sign) for part in ("all", "Cu", "Zr")} for name in names}
    cutoffs = np.arange(2.85, 12.0, 1.0).tolist()
    scan = {
        "cutoff_A": cutoffs, "mae": np.linspace(0.3, 0.2, len(cutoffs)).tolist(), "repeats": 1,
        "saturation": {"cutoff": saturation, "low": saturation - 0.5, "high": saturation + 0.5, "gain": 0.1},
    }  # fmt: skip
    marks = {"first_height": -0.5, "first_r": -0.05, "second_r": 0.1, "trough_width": 0.1, "trough_height": 0.3,
             "ratio": 0.2, "trough_r": 0.1, "second_height": -0.1}  # fmt: skip
    sort = {
        "high": np.ones((2, 2, len(R))).tolist(), "low": np.ones((2, 2, len(R))).tolist(),
        "differences": {name: np.transpose([about(sign * value, abs(value) / 2)] * 4).tolist() for name, value in marks.items()},
        "agreement": np.transpose([about(0.8 * sign)] * 4).tolist(),
    }  # fmt: skip
    edges = np.linspace(1.0, 4.0, 41).tolist()
    parity = {"edges": edges, "counts": np.eye(40, dtype=int).tolist(), "means": [[2.0, 2.1], [3.0, 2.5]]}
    importance = {f"{a}-{b} {n}": about(0.1) for a in ("Cu", "Zr") for b in ("Cu", "Zr") for n in (1, 2, 5)}
    return {
        "atoms": 900, "samples": sample_ids, "melts": 3, "folds": 3, "elements": ["Cu", "Zr"], "target": "log10(I / 1e-9 ps^3)",
        "target_sd": 0.3, "intensity_span_uTHz-3": [0.1, 3.0], "models": models, "recommended": RIDGE,
        "recommendation": "ridge: because", "orderings": [], "settings": {"network": {"hidden": [128, 64]}, "most_trained": 20000},
        "random_split": {name: {"r2_random": about(0.6), "r2_by_melt": about(0.3)} for name in (RIDGE, AVERAGED_RIDGE)},
        "back_transform": {name: {"ratio": 0.6, "corrected": 1.0} for name in (NETWORK, RIDGE)},
        "parity": {NETWORK: parity, RIDGE: parity},
        "linear": {"share": 0.891, "limit": 2.8, "slope_below": about(0.4 * sign), "slope_above": about(0.0),
                   "slope_difference": about(0.4 * sign)},
        "cutoff": {RIDGE: scan, MODERN: scan}, "importance": {RIDGE: importance, NETWORK: importance},
        "shells_A": {name: [2.0, 4.0] for name in importance},
        "profiles": {"share": 0.1, "r_A": R.tolist(), "sorts": dict.fromkeys(("real", NETWORK, RIDGE), sort)},
    }  # fmt: skip


def learned_samples(pearson=0.7, chance=0.3, melts=8, per_group=6):
    curve = 1.0 + 0.1 * np.cos(R)
    group = {
        "per_group": per_group, "mean_target_uTHz-3": {"high": 260.0, "low": 210.0}, "high": [(curve + 0.01).tolist()] * 4,
        "low": [curve.tolist()] * 4, "difference": [[(0.01 + shift + 0 * R).tolist()] * 4 for shift in (0.0, -0.02, 0.02)],
        "landmarks": {"first_height": np.transpose([about(0.01, 0.02)] * 4).tolist()},
    }  # fmt: skip
    importance = {f"Cu-Zr {n}": about(0.1) for n in (1, 2, 3)}
    return {
        "samples": 25, "melts": melts, "channels": ["total", "Cu-Cu", "Cu-Zr", "Zr-Zr"], "ratios": ["Cu-Zr / Cu-Cu"],
        "r_A": R.tolist(), "rate_correlation": 0.5, "groups": {share: {"real": group} for share in ("0.05", "0.1")},
        "neuron": {"weights": np.sin(R).tolist(), "bins": 90, "repeats": 9, "bootstraps": 30,
                   "pearson": {share: about(pearson, 0.1) for share in ("0.05", "0.1")},
                   "pearson_shuffled": {share: [0.1, chance] for share in ("0.05", "0.1")}},
        "models": {name: {"r2": -0.2, "mae_uTHz-3": about(5.0)} for name in ("ridge", "network")}, "importance": {"ridge": importance, "network": importance}, "shells_A": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def source():
    return source_of(trended())


@pytest.fixture
def learned(source, tmp_path):
    """Return a function that stores results of learning and returns a source that finds them."""

    def store(**results):
        for name, content in results.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return replace(source, learning=tmp_path)

    return store


def ids(source, count=25):
    return source.dataset["sample_id"].to_numpy()[:count].tolist()


def verdicts(panel):
    return [claim.verdict for claim in panel.claims]


def test_rows_of_atoms_support_what_the_paper_says_where_it_was_planted(source, learned):
    found = learned(atoms=learned_atoms(ids(source)))
    assert verdicts(t13(found)) == [YES] * 3
    assert verdicts(t14(found)) == [YES] * 7


def test_rows_of_atoms_contradict_the_paper_where_the_opposite_was_planted(source, learned):
    found = learned(atoms=learned_atoms(ids(source), sign=-1, saturation=3.85))
    assert verdicts(t13(found)) == [NO] * 3
    assert verdicts(t14(found)) == [NO] * 7


def test_few_samples_decide_nothing(source, learned):
    found = learned(atoms=learned_atoms(ids(source, 4)), interpretation=learned_samples(melts=3))
    assert set(verdicts(t13(found)) + verdicts(t14(found)) + verdicts(t15(found))) == {OPEN}
    assert "no interval" in t13(found).claims[0].ours


def test_one_uncertain_channel_leaves_a_claim_open_and_one_opposite_channel_contradicts_it(source, learned):
    content = learned_atoms(ids(source))
    height = content["profiles"]["sorts"]["real"]["differences"]["first_height"]
    height[2][3] = 0.1
    assert verdicts(t14(learned(atoms=content)))[0] == OPEN
    height[0][3], height[1][3], height[2][3] = 0.3, 0.2, 0.4
    assert verdicts(t14(learned(atoms=content)))[0] == NO


def test_ratios_are_of_unlike_over_like_neighbours_only(source, learned):
    content = learned_atoms(ids(source))
    ratio = content["profiles"]["sorts"]["real"]["differences"]["ratio"]
    for row in ratio:
        row[0] = row[3] = 0.0
    claim = t14(learned(atoms=content)).claims[5]
    assert claim.verdict == YES
    assert "Cu-Zr" in claim.ours
    assert "Cu-Cu" not in claim.ours


@pytest.mark.parametrize(
    ("pearson", "chance", "expected"), [(0.7, 0.3, YES), (0.7, 0.65, OPEN), (0.05, 0.0, OPEN), (-0.6, 0.3, NO)]
)
def test_a_neuron_must_do_better_than_shuffled_intensities(learned, pearson, chance, expected):
    panel = t15(learned(interpretation=learned_samples(pearson, chance)))
    assert verdicts(panel) == [expected, YES]
    assert panel.basis.samples == 25
    assert "ridge −0.20, network −0.20" in panel.caption


def test_groups_of_two_samples_decide_nothing(source, learned):
    panel = t15(learned(interpretation=learned_samples(per_group=2)))
    assert verdicts(panel) == [OPEN, OPEN]
    assert "fewer than 5 samples decide nothing" in panel.caption


@pytest.mark.parametrize(("rate", "confounded"), [(0.5, True), (-0.5, True), (-0.02, False)])
def test_groups_differ_in_rate_only_where_intensity_and_rate_go_together(source, learned, rate, confounded):
    caption = t15(learned(interpretation={**learned_samples(), "rate_correlation": rate})).caption
    assert ("groups differ in rate as well" in caption) is confounded


def test_the_single_neuron_is_shown_where_every_spectrum_was_rejected(learned):
    rejected = source_of(trended(rejected=Reason.NO_PEAK.value))
    panel = t15(replace(rejected, learning=learned(interpretation=learned_samples()).learning))
    assert panel.basis.atoms == "108"
    assert "robust_intensity" in panel.caption


def test_the_basis_names_the_samples_that_were_learned_from(source, learned):
    panel = t13(learned(atoms=learned_atoms(ids(source, 10))))
    assert panel.basis.samples == 10
    assert panel.basis.atoms == "108"
    assert "split by melt" in panel.basis.estimator


def test_without_results_the_rows_are_missing_and_say_what_to_do(source, learned):
    for row in (t13, t14, t15):
        found = row(source)
        assert isinstance(found, Missing)
        assert found.command == "bpd learn"
    refused = learned(learning={"left_out_jobs": {"atoms": "3 samples of 1 melt(s)"}, "failures": {}})
    assert "3 samples of 1 melt(s)" in t13(refused).what


def test_a_damaged_result_is_said_to_be(learned, tmp_path):
    found = learned()
    (tmp_path / "atoms.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"atoms\.json.*is damaged.*'bpd learn' writes it again"):
        t13(found)


@pytest.mark.parametrize("row", [t13, t14, t15])
def test_figures_are_drawn_and_values_are_plain(row, source, learned, tmp_path):
    panel = row(learned(atoms=learned_atoms(ids(source)), interpretation=learned_samples()))
    json.dumps(panel.values, allow_nan=False)
    panel.draw().savefig(tmp_path / "row.pdf")
    assert (tmp_path / "row.pdf").stat().st_size > 5000


def test_what_is_not_known_is_drawn_as_well(source, learned, tmp_path):
    content, samples = learned_atoms(ids(source)), learned_samples()
    content["cutoff"][MODERN]["saturation"] = dict.fromkeys(("cutoff", "low", "high"))
    samples["neuron"]["pearson"]["0.05"] = [0.3, None, None]
    found = learned(atoms=content, interpretation=samples)
    assert verdicts(t13(found))[2] == OPEN
    assert verdicts(t15(found))[0] == OPEN
    for row in (t13, t15):
        row(found).draw().savefig(tmp_path / "row.png")
