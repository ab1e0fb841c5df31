# SPDX-License-Identifier: BSD-3-Clause
"""From a gathered dataset to the study and its figures; the numbers are checked against what was planted."""

import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic_activation import LAW, searched_item, without

from bp_distributed import activation_figures as figures
from bp_distributed.activation_captions import activation_limits
from bp_distributed.activation_study import (
    CHOICES,
    MAX_TAIL,
    PAPER,
    glasses_of,
    lengths_for,
    noise_share,
    study,
    tally_of,
)
from bp_distributed.errors import CampaignError
from bp_distributed.gather import gather
from bp_distributed.physics.artn import Code
from bp_distributed.physics.coarse_graining import tail
from bp_distributed.report import ReportContext, write_report


@pytest.fixture(scope="module")
def dataset():
    return gather([searched_item(n_atoms=500)], {})


@pytest.fixture(scope="module")
def found(dataset):
    return study(dataset)


@pytest.fixture(scope="module")
def several():
    items = [searched_item(seed, 300, rate, copper=copper) for seed, (rate, copper) in enumerate(((1e12, 0.5), (1e13, 0.5), (1e12, 0.3)))]  # fmt: skip
    return gather([*items, without(searched_item(7, 300), "activation")], {})


def test_the_planted_law_is_found_by_every_choice(found):
    (glass,) = found.glasses
    assert list(glass.relations) == list(CHOICES)
    for choice, relation in glass.relations.items():
        assert relation.reference.r_l[relation.reference.best] > relation.reference.r_l[0] > 0.3
        assert relation.direct["gaussian"].r_l[0] < 0
        assert relation.reference.p_best < 0.02
        slack = 0.3 * LAW if choice == "min_activation_energy" else 0.0  # the lowest of several is lower
        assert relation.line.slope.low - slack < LAW < relation.line.slope.high + slack
        for ends in relation.contrasts.values():
            assert ends.mean_difference.high < 0  # much intensity, little energy
    assert glass.p_shuffled < 0.02


def test_raw_r_needs_no_coarse_graining_and_counts_the_atoms_of_the_choice(found, dataset):
    relation = found.glasses[0].relations["connected_mean_activation_energy"]
    inverse = 1.0 / dataset["atomic_intensity"].to_numpy()
    energy = dataset["connected_mean_activation_energy"].to_numpy()
    known = np.isfinite(energy)
    assert relation.n_atoms == known.sum() < 500
    expected = np.corrcoef(inverse[known], energy[known])[0, 1]
    for curve in relation.inverse.values():
        assert curve.r_l[0] == pytest.approx(expected, abs=1e-5)


def test_means_of_elements_alone_are_told_from_a_relation(dataset):
    split = dataset.copy()
    copper = split["species"].to_numpy() == 0
    rng = np.random.default_rng(3)
    split["atomic_intensity"] = ("row", 1e-6 * np.where(copper, 0.05, 0.03) * rng.gamma(50, 1 / 50, 500))
    for choice in CHOICES:
        split[choice] = ("row", np.where(copper, 1.0, 1.5) + 0.05 * rng.normal(size=500))
    relation = study(split).glasses[0].relations[PAPER]
    assert relation.reference.r_l[0] > 0.7
    assert abs(relation.within.r_l[0]) < 0.15


def test_the_tally_adds_up(found, dataset):
    tally = found.tally
    code = dataset["search_code"].to_numpy()
    assert tally.searches == (code >= 0).sum() == dataset["n_tried"].to_numpy().sum()
    assert tally.successes == (code == 0).sum() == tally.codes[0]
    assert tally.connected + tally.repeated == dataset["n_connected"].to_numpy().sum()
    assert tally.checked == tally.confirmed == tally.boundary_error.size > 0
    assert tally.region_error.size == tally.successes
    assert min(tally.repeated, tally.unconnected, tally.second_order) > 0
    assert tally.unknown == 0
    unknown = dataset.copy()
    unknown["saddle_connected"] = -np.abs(dataset["saddle_connected"])
    unknown["n_unique"] = 0 * dataset["n_unique"]
    assert tally_of(unknown).unknown == tally.connected + tally.repeated


def test_samples_made_alike_go_together(several):
    glasses = glasses_of(several)
    assert [(glass.composition, glass.rate) for glass in glasses] == [
        ("Cu30Zr70", 1e12), ("Cu50Zr50", 1e12), ("Cu50Zr50", 1e13)
    ]  # fmt: skip
    assert [glass.name for glass in glasses] == ["Cu₃₀Zr₇₀, 10¹² K/s", "Cu₅₀Zr₅₀, 10¹² K/s", "Cu₅₀Zr₅₀, 10¹³ K/s"]
    assert [glass.samples.tolist() for glass in glasses] == [[2], [0], [1]]
    again = gather([searched_item(1, 100), searched_item(2, 150)], {})
    (both,) = glasses_of(again)
    assert len(both.sites) == 250
    assert both.sites.sample_i.tolist() == [0] * 100 + [1] * 150


def test_lengths_are_those_that_fit_into_the_cell():
    assert lengths_for("top_hat", 10.0).tolist() == [0, 2.5, 3, 3.5, 4, 5, 5.9, 7, 8, 9, 10]
    longest = lengths_for("exponential", 10.0)[-1]
    assert tail("exponential", longest, 10.0) <= MAX_TAIL < tail("exponential", 1.25 * longest, 10.0)


def test_every_figure_is_drawn(found, tmp_path):
    glass = found.glasses[0]
    relation = glass.relations[PAPER]
    drawn = {
        "endings": figures.endings_figure(found.tally),
        "contrast": figures.contrast_figure(relation),
        "curves": figures.curves_figure(relation),
        "line": figures.line_figure(relation),
        "map": figures.map_figure(glass.glass, relation),
        "decay": figures.decay_figure(glass),
        "choices": figures.choices_figure(glass.relations),
        "robustness": figures.robustness_figure(replace(found, glasses=[glass, glass])),
    }
    for name, figure in drawn.items():
        figure.savefig(tmp_path / f"{name}.png", dpi=50)
        labelled = [ax for ax in figure.axes if ax.get_xlabel() or ax.get_ylabel()]
        assert len(labelled) >= 2, name


def test_curves_differ_without_colour(found):
    ax = figures.curves_figure(found.glasses[0].relations[PAPER]).axes[0]
    looks = {
        (line.get_marker(), str(line.get_linestyle()))
        for line in ax.get_lines()
        if not line.get_label().startswith("_")
    }
    assert len(looks) == 4


def test_a_tally_without_checks_is_drawn_as_such(found):
    none = np.array([])
    figure = figures.endings_figure(replace(found.tally, boundary_error=none, region_error=none))
    assert any("not measured" in text.get_text() for text in figure.axes[1].texts)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (("activation",), "no activation energies in the dataset: no search of the stage 'activation' has ended yet"),
        (("vibration",), "no 'atomic_intensity' to hold against them"),
    ],
)
def test_what_is_missing_is_said(missing, sentence):
    with pytest.raises(CampaignError, match=sentence):
        study(gather([without(searched_item(n_atoms=100), *missing)], {}))


def test_too_few_atoms_say_nothing():
    with pytest.raises(CampaignError, match="fewer than 60 atoms have both"):
        study(gather([searched_item(n_atoms=300, share=0.1)], {}))


def test_one_glass_says_nothing_of_others(found):
    with pytest.raises(CampaignError, match="one composition and one cooling rate"):
        figures.robustness_figure(found)


def test_the_report_shows_it_with_tables_reasons_and_limits(dataset, tmp_path):
    context = ReportContext(
        "demo", "/campaigns/demo", dataset, potential_label="CuZr_mm.eam.fs", potential_sha256="ab" * 32
    )
    page = write_report(tmp_path, context).read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "figures").glob("activation_*.png")}
    assert drawn == {f"activation_{name}" for name in ("endings", "ends", "lengths", "line", "choices", "map", "decay")}
    assert "one composition and one cooling rate: whether the relation holds for others is open" in page
    for text in (
        "5.9 (Yang et al.)", "1.97 for both", "500 atoms, not 19652", "Mendelev 2009", "What the activation energies cannot show",
        "distinct connected saddles", "not as many independent pairs", "One melt: the error bars", "effective sample size",
        "successful searches (the paper: 20)", "searches that succeed",
    ):  # fmt: skip
        assert text in page, text
    assert not re.search(r"\bnan\b", re.sub(r'src="data:[^"]+"', "", page))


def test_a_report_without_searches_has_no_such_section(tmp_path):
    none = gather([without(searched_item(n_atoms=100), "activation")], {}).drop_vars("searched_planned")
    page = write_report(tmp_path, ReportContext("demo", "/campaigns/demo", none)).read_text(encoding="utf-8")
    assert "ctivation energ" not in page


def test_a_report_of_searches_that_only_begin_says_so(tmp_path):
    begun = gather([without(searched_item(n_atoms=100), "activation")], {})
    page = write_report(tmp_path, ReportContext("demo", "/campaigns/demo", begun)).read_text(encoding="utf-8")
    assert "no search of the stage &#39;activation&#39; has ended yet" in page


def test_what_is_missing_of_a_map_is_said(dataset, found):
    fewer = dataset.copy()
    fewer["searched_planned"] = fewer["searched_planned"] + 40
    fewer = fewer.set_coords("searched_planned")
    limits = activation_limits(found, found.glasses[0], fewer)
    assert limits[0].startswith("40 of 540 atoms are still to be searched")
    assert not activation_limits(found, found.glasses[0], dataset)[0].startswith("40 of")


def test_the_noise_of_searches_is_that_of_the_planted_scatter(dataset):
    """Each energy scatters by a quarter of the atom's own; an atom has about 2.5 successes."""
    share = noise_share(dataset)
    known = dataset["n_succeeded"].to_numpy() > 1
    mean = dataset[PAPER].to_numpy()[known]
    expected = np.mean((0.25 * mean) ** 2 / dataset["n_succeeded"].to_numpy()[known]) / mean.var()
    assert share == pytest.approx(expected, rel=0.3)


def test_every_ending_has_a_name_and_a_bar(found):
    assert list(figures.ENDINGS) == [code for code in Code if code != Code.NOT_TRIED]
    bars = figures.endings_figure(found.tally).axes[0].patches
    assert {round(bar.get_y() + bar.get_height() / 2) for bar in bars} == set(range(len(figures.ENDINGS)))


def test_few_scattered_atoms_show_what_they_can(tmp_path):
    sparse = gather([searched_item(n_atoms=2000, share=0.04)], {})
    page = write_report(tmp_path, ReportContext("demo", "/campaigns/demo", sparse)).read_text(encoding="utf-8")
    assert "too few atoms of each element were searched" in page
    assert "atoms have an activation energy: too few for a map" in page
    assert "too few pairs of searched atoms are nearer than 4 Å" in page
    assert "Only 80 of 2000 atoms are searched at all" in page
    assert (tmp_path / "figures" / "activation_lengths.png").exists()
