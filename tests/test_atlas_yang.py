# SPDX-License-Identifier: BSD-3-Clause
"""Rows Y3 to Y7 and Y11 to Y13 on samples with planted relations."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic import labelled
from synthetic_activation import searched_item, without
from synthetic_atlas import source_of, trended

from bp_distributed.atlas import yang_activation
from bp_distributed.atlas.panel import Missing, Panel, Verdict
from bp_distributed.atlas.yang_activation import y3, y4, y5, y6, y7
from bp_distributed.atlas.yang_atoms import _of_samples, _ranked, y13
from bp_distributed.atlas.yang_gruneisen import KINDS, y11, y12
from bp_distributed.errors import Reason
from bp_distributed.physics.correlation import Estimate
from bp_distributed.physics.sites import Sites

YES, NO, OPEN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
N_ATOMS = 220


def verdicts(panel):
    assert isinstance(panel, Panel), panel
    return [claim.verdict for claim in panel.claims]


# ---- activation energies ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def related():
    """Two glasses whose activation energies rise with 1/I."""
    return source_of([searched_item(seed=1, n_atoms=N_ATOMS), searched_item(seed=2, n_atoms=N_ATOMS, copper=0.3)])


@pytest.fixture(scope="module")
def reversed_relation():
    """A glass whose activation energies fall with 1/I: its intensities are those of the inverse."""
    item = searched_item(seed=1, n_atoms=N_ATOMS)
    stage = item.stages["vibration"]
    stage["atomic_intensity"] = ("atom", 1e-15 / stage["atomic_intensity"].to_numpy(), {"units": "ps3"})
    return source_of([item])


def test_a_planted_law_is_supported_at_its_ends_in_r_and_as_a_line(related):
    assert verdicts(y3(related)) == [YES, YES]
    assert verdicts(y4(related))[0] is YES
    rises, proportional, *elements = verdicts(y5(related))
    assert rises is YES
    assert proportional is NO  # the plant has an intercept of 1 eV
    assert elements == [YES, YES]


def test_a_line_at_a_length_that_chance_finds_as_well_decides_nothing(related):
    studied = yang_activation._study_of(yang_activation._Asked(related.dataset))
    relation = studied.shown.relations[yang_activation.PAPER]
    by_chance = replace(relation, inverse={
        kernel: replace(one, p_best=0.4) for kernel, one in relation.inverse.items()
    })  # fmt: skip
    shown = replace(studied.shown, relations={yang_activation.PAPER: by_chance})
    alone = replace(studied, found=replace(studied.found, glasses=[shown]))
    panel = yang_activation._line(related, alone)
    assert set(verdicts(panel)) == {OPEN}
    assert "p 0.4" in panel.claims[0].why


def test_two_compositions_agree_and_one_rate_says_nothing_of_rates(related):
    composition, rate = verdicts(y7(related))
    assert composition is YES
    assert rate is OPEN


def test_rows_share_one_study(related, monkeypatch):
    y3(related)

    def again(*_):
        raise AssertionError("studied twice")

    monkeypatch.setattr(yang_activation, "study", again)
    assert isinstance(y6(related), Panel)


def test_figures_of_activation_energies_are_drawn(related):
    for row in (y3, y4, y5, y6, y7):
        assert row(related).draw().get_axes()


def test_a_reversed_law_is_contradicted(reversed_relation):
    assert verdicts(y3(reversed_relation)) == [NO, NO]
    assert verdicts(y4(reversed_relation))[0] is NO
    assert verdicts(y5(reversed_relation))[:2] == [NO, OPEN]
    assert verdicts(y7(reversed_relation)) == [OPEN, OPEN]


def test_samples_of_another_size_are_not_studied_with_them():
    items = [searched_item(seed=3, n_atoms=130), searched_item(seed=4, n_atoms=108)]
    panel = y5(source_of(items))
    assert panel.basis.atoms == "130"
    assert panel.basis.samples == 1


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [((2.0, 0.1), (2.1, 0.1), YES), ((2.0, 0.1), (3.5, 0.1), NO), ((2.0, 0.5), (2.5, 0.5), OPEN)],
)
def test_lengths_are_the_same_within_their_errors(a, b, expected):
    one, other = (Estimate(value, half / 2, value - half, value + half) for value, half in (a, b))
    apart = yang_activation._difference(one, other)
    assert apart.high - apart.low == pytest.approx(2 * math.hypot(a[1], b[1]))
    assert yang_activation._same(apart) is expected


@pytest.mark.parametrize("row", [y3, y4, y5, y6, y7])
def test_without_searches_the_section_is_named(row):
    bare = [without(searched_item(seed=1, n_atoms=108), "activation")]
    found = row(source_of(bare, {"activation": None}))
    assert isinstance(found, Missing)
    assert "'activation:'" in found.command
    assert row(source_of(bare, {"activation": {"atoms": 40}})).command == "bpd run"


# ---- Grüneisen parameters ---------------------------------------------------------------------------------------------


def with_gruneisen(items, low=20.0, mean=1.5, sign=1, exponential=True, seed=0):
    """Add Grüneisen parameters: of size ``low`` below 4.5 rad/ps, of this mean elsewhere; atoms by sign and form."""
    rng = np.random.default_rng(seed)
    for item in items:
        stage = item.stages["vibration"]
        omega = stage["frequency"].to_numpy()
        gamma = mean + 0.1 * rng.normal(size=omega.shape)
        gamma = np.where(omega < 4.5, low * rng.choice([-1.0, 1.0], omega.shape), gamma)
        atom = rng.normal(5.0, 1.5, item.n_atoms)
        level = np.exp(0.6 * sign * (atom - 5.0)) if exponential else np.maximum(5.0 + sign * (atom - 5.0), 0.05)
        value = 1e-7 * level * np.exp(0.05 * rng.normal(size=item.n_atoms))
        stage["atomic_intensity"] = ("atom", value, {"units": "ps3"})
        item.stages["gruneisen"] = labelled(
            gruneisen_frequency=omega, gruneisen=gamma, gruneisen_error=0.1 + 0 * omega, rank_gruneisen=gamma,
            mean_gruneisen=gamma.mean(), mean_rank_gruneisen=gamma.mean(), atomic_gruneisen=atom,
            low_atomic_gruneisen=atom, volume_departure=0.1, volume_departure_distance=0.1, volume_jump=0.0,
        )  # fmt: skip
    return items


@pytest.mark.parametrize(("low", "expected"), [(20.0, YES), (0.1, NO)])
def test_low_modes_are_compared_with_high_ones(low, expected):
    source = source_of(with_gruneisen(trended(n_melts=4, rates=(1e13,)), low=low))
    panel = y11(source)
    assert verdicts(panel)[:2] == [expected] * 2
    ratio = panel.values["low_over_high"]["rank_gruneisen"]["value"]
    assert ratio == pytest.approx(low / 1.5, rel=0.05)


def test_a_little_larger_is_not_huge():
    assert verdicts(y11(source_of(with_gruneisen(trended(n_melts=4, rates=(1e13,)), low=2.2))))[:2] == [OPEN] * 2


@pytest.mark.parametrize("row", [y11, y12, y13])
def test_without_a_boson_peak_nothing_is_said_of_its_place(row):
    items = with_gruneisen(trended(n_melts=4, rates=(1e13,), rejected=Reason.NO_PEAK.value))
    panel = row(source_of(items))
    panel.draw()
    if row is y11:
        assert verdicts(panel)[2] is OPEN
        assert "has a boson peak by the rule" in panel.claims[2].why


@pytest.mark.parametrize(("mean", "expected"), [(1.5, YES), (2.6, NO), (0.4, NO)])
def test_the_running_mean_is_inside_the_papers_range_or_not(mean, expected):
    items = with_gruneisen(trended(n_melts=4, rates=(1e13,)), low=mean, mean=mean)
    for item in items:  # no sign on the low modes: the mean is what was planted
        stage = item.stages["gruneisen"]
        for kind in KINDS:
            stage[kind] = abs(stage[kind])
    panel = y12(source_of(items))
    assert verdicts(panel)[:2] == [expected] * 2
    assert panel.values["mean_below_10_rad_per_ps"]["gruneisen"]["value"] == pytest.approx(mean, rel=0.05)
    assert verdicts(panel)[2] is OPEN  # 108 atoms have hardly a mode below 2.5 rad/ps


@pytest.mark.parametrize(
    ("sign", "exponential", "expected"), [(1, True, [YES, YES]), (-1, True, [NO, OPEN]), (1, False, [YES, NO])]
)
def test_atoms_follow_sign_and_form_of_the_plant(sign, exponential, expected):
    items = with_gruneisen(trended(n_melts=2, rates=(1e13, 1e14)), sign=sign, exponential=exponential)
    assert verdicts(y13(source_of(items))) == expected


def test_one_melt_decides_nothing_about_atoms():
    items = with_gruneisen(trended(n_melts=1, rates=(1e13, 1e14)))
    assert verdicts(y13(source_of(items))) == [OPEN, OPEN]


def test_ranks_within_elements_forget_what_the_elements_are():
    rng = np.random.default_rng(0)
    species = rng.integers(0, 2, 4000)
    gamma, log = rng.normal(size=(2, 4000)) - 5.0 * species
    sites = Sites(rng.random((4000, 3)), np.eye(3)[None].repeat(2, 0), np.arange(4000) // 2000, np.arange(2))
    everyone, within = (_of_samples(sites, *ranks)(np.arange(2)) for ranks in _ranked(gamma, log, species))
    assert everyone == pytest.approx(spearmanr(gamma, log).statistic)
    assert everyone > 0.5
    assert abs(within) < 0.05


def test_figures_of_gruneisen_parameters_are_drawn():
    source = source_of(with_gruneisen(trended(n_melts=2, rates=(1e13,))))
    for row in (y11, y12, y13):
        assert row(source).draw().get_axes()


@pytest.mark.parametrize("row", [y11, y12, y13])
def test_without_gruneisen_parameters_the_section_is_named(row):
    found = row(source_of(trended(n_melts=1)))
    assert isinstance(found, Missing)
    assert "'gruneisen:'" in found.command
