# SPDX-License-Identifier: BSD-3-Clause
"""Rows T1 to T7, T12, Y1 and Y2, and what decides them, on samples whose trends are planted."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from synthetic import given_items
from synthetic_atlas import N_ATOMS, sample, source_of, trended

from bp_distributed.atlas.basis import alike, basis, groups_alike, known, largest_alike, part, rates_text, why_not
from bp_distributed.atlas.panel import Missing, Verdict
from bp_distributed.atlas.resampling import difference_of_shares, mean, over_melts, slope, verdict, wilson
from bp_distributed.atlas.tao_atomic import t12
from bp_distributed.atlas.tao_inputs import shell_at, t6, t7
from bp_distributed.atlas.tao_rejections import t5
from bp_distributed.atlas.tao_samples import t1, t2
from bp_distributed.atlas.tao_vibrations import t3, t4
from bp_distributed.atlas.yang_dynamics import y10
from bp_distributed.atlas.yang_samples import y1, y2
from bp_distributed.errors import Reason
from bp_distributed.figures import figure_files
from bp_distributed.physics.correlation import UNKNOWN, Estimate

YES, NO, OPEN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
R = (np.arange(120) + 0.5) * 0.1


@pytest.fixture(scope="module")
def rising():
    return source_of(trended())


@pytest.fixture(scope="module")
def falling():
    return source_of(trended(sign=-1))


@pytest.fixture(scope="module")
def one_melt():
    return source_of(trended(n_melts=1))


def verdicts(panel):
    return [claim.verdict for claim in panel.claims]


# ---- errors over melts ------------------------------------------------------------------------------------------------


def test_the_error_over_melts_is_that_of_a_mean_of_melts():
    rng = np.random.default_rng(1)
    melt_s = np.repeat(np.arange(6), 10)
    level_m = rng.normal(scale=3.0, size=6)
    value_s = level_m[melt_s] + rng.normal(scale=0.1, size=60)
    means = np.array([value_s[melt_s == melt].mean() for melt in range(6)])
    found = over_melts(mean(value_s), melt_s)
    assert found.value == pytest.approx(means.mean())
    assert found.error == pytest.approx(means.std(ddof=1) / math.sqrt(6), rel=0.1)
    assert found.high - found.value == pytest.approx(student.ppf(0.975, 5) * found.error)


def test_samples_of_one_melt_do_not_narrow_the_interval():
    few = over_melts(mean(np.array([1.0, 2.0, 4.0])), np.arange(3))
    many = over_melts(mean(np.repeat([1.0, 2.0, 4.0], 50)), np.repeat(np.arange(3), 50))
    assert many.error == pytest.approx(few.error)


def test_a_slope_is_the_least_squares_one_and_unknown_at_one_rate():
    x_s, y_s = np.array([1.0, 2.0, 4.0, 7.0]), np.array([1.0, 0.0, 5.0, 6.0])
    assert slope(x_s, y_s)(np.arange(4)) == pytest.approx(np.polyfit(x_s, y_s, 1)[0])
    assert math.isnan(slope(np.ones(4), y_s)(np.arange(4)))


@pytest.mark.parametrize(("value_s", "melt_s"), [([], []), ([1.0, 3.0], [0, 0]), ([2.0, 2.0, 2.0], [0, 1, 2])])
def test_nothing_is_decided_by_one_melt_or_without_scatter(value_s, melt_s):
    found = over_melts(mean(np.array(value_s)), np.array(melt_s, dtype=int))
    assert verdict(found, low=0.0) is OPEN


@pytest.mark.parametrize(
    ("low", "high", "limits", "expected"),
    [
        (0.1, 2.0, (0.0, math.inf), YES), (-0.1, 2.0, (0.0, math.inf), OPEN), (-2.0, -0.1, (0.0, math.inf), NO),
        (-2.0, -0.1, (-math.inf, 0.0), YES), (1.2, 1.8, (1.0, 2.0), YES), (0.8, 1.8, (1.0, 2.0), OPEN),
        (2.1, 3.0, (1.0, 2.0), NO), (math.nan, math.nan, (0.0, 1.0), OPEN),
    ],
)  # fmt: skip
def test_an_interval_decides(low, high, limits, expected):
    assert verdict(Estimate(0.5 * (low + high), 1.0, low, high), *limits) is expected


def test_shares_have_the_published_intervals():
    """Newcombe, Stat. Med. 17, 857 and 873 (1998): 81 of 263, and 56 of 70 against 48 of 80."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    found = difference_of_shares(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert difference_of_shares(0, 0, 1, 2) == UNKNOWN


# ---- who is put together ----------------------------------------------------------------------------------------------


def test_samples_of_other_size_or_composition_are_left_out_and_counted():
    items = trended(n_melts=2)
    items[3] = replace(items[3], composition={"Cu": 0.3, "Zr": 0.7})
    dataset = source_of([*items, *given_items()]).dataset
    chosen = alike(dataset, known(dataset, "intensity"))
    assert chosen.samples.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]  # the one made elsewhere is of the same size
    assert chosen.left_out == 2
    assert chosen.sentence == (
        "10 samples of Cu50Zr50, 108 atoms, the largest group alike; 2 of other size or composition left out"
    )
    assert len(groups_alike(dataset, known(dataset, "intensity"))) == 3
    assert len(alike(dataset, known(dataset, "nothing_of_this_name")).samples) == 0


def test_what_needs_size_takes_the_largest_samples_of_two_melts():
    dataset = source_of([*trended(n_melts=2), *given_items((256,), seed=1)]).dataset
    assert len(largest_alike(dataset, known(dataset, "intensity")).samples) == 10
    other = [replace(item, sample_id="e" * 20, group="other") for item in given_items((256,), seed=2)]
    dataset = source_of([*trended(n_melts=2), *given_items((256,), seed=1), *other]).dataset
    chosen = largest_alike(dataset, known(dataset, "intensity"))
    assert chosen.sentence.startswith(
        "2 samples of Cu50Zr50, 256 atoms, the largest samples of which there are two melts"
    )


def test_the_basis_counts_samples_atoms_and_rates(rising):
    found = basis(rising, np.array([0, 1, 2]), "how", "how surely")
    assert (found.samples, found.atoms) == (3, "108")
    assert found.rates == "10¹² K/s to 10¹³ K/s (3)"
    assert "0123456789ab" in found.potential
    assert rates_text(np.array([np.nan, 1e13])) == "10¹³ K/s; not known of 1 sample"


def test_samples_that_are_no_longer_there_are_said_to_be_gone(rising):
    none = np.zeros(0, dtype=int)
    assert basis(rising, none, "how", "how surely").rates == "-"
    assert why_not(rising, none, tao=True) == "none of these samples is in the dataset"


def test_a_part_keeps_each_samples_own_atoms(rising):
    few = part(rising.dataset, np.array([2, 7]))
    whole = rising.dataset["position"].to_numpy()
    np.testing.assert_array_equal(few["position"][:N_ATOMS], whole[2 * N_ATOMS : 3 * N_ATOMS])
    np.testing.assert_array_equal(few["position"][N_ATOMS:], whole[7 * N_ATOMS : 8 * N_ATOMS])


# ---- rows of Tao et al. -----------------------------------------------------------------------------------------------


def test_samples_are_minima_or_not(rising):
    assert verdicts(t1(rising)) == [YES]
    items = trended(n_melts=2)
    items[0].stages["quench"]["max_force"] = ((), 0.01, {"units": "eV angstrom-1"})
    assert verdicts(t1(source_of(items))) == [NO]


def test_cooling_is_drawn_of_samples_alike_only():
    items = trended(n_melts=2)
    items[0] = replace(items[0], composition={"Cu": 0.3, "Zr": 0.7})
    panel = t1(source_of([*items, *given_items()]))
    assert "9 samples of Cu50Zr50, 108 atoms, the largest group alike; 1 of other size or composition" in panel.caption
    assert panel.draw is not None
    made_elsewhere = t1(source_of(given_items()))
    assert made_elsewhere.draw is None
    assert "no history to draw" in made_elsewhere.caption


def test_large_samples_claim_nothing_and_show_the_largest():
    panel = t2(source_of([*trended(n_melts=1), *given_items()]))
    assert panel.claims == ()
    assert panel.values["largest_atoms"] == 256


def test_soft_modes_follow_the_sign_of_the_plant(rising, falling, one_melt):
    assert verdicts(t3(rising)) == [YES]
    assert verdicts(t3(falling)) == [NO]
    assert verdicts(t3(one_melt)) == [OPEN]


def test_intensity_and_frequency_follow_the_sign_of_the_plant(rising, falling, one_melt):
    assert verdicts(t4(rising))[:4] == [YES] * 4
    assert verdicts(t4(falling))[:4] == [NO] * 4
    assert verdicts(t4(one_melt)) == [OPEN] * 5
    found = t4(rising).values["intensity_slope_muTHz-3_per_decade"]
    assert found["low"] < 20.0 < found["high"]


@pytest.mark.parametrize(("sign", "bend", "expected"), [(0, 30.0, YES), (1, -40.0, NO), (1, 0.0, OPEN)])
def test_a_plateau_is_a_change_of_slope(sign, bend, expected):
    assert verdicts(t4(source_of(trended(sign=sign, bend=bend))))[4] is expected


def test_rates_on_one_side_decide_nothing_about_the_plateau():
    assert verdicts(t4(source_of(trended(rates=(2e13, 5e13, 1e14)))))[4] is OPEN


def without_accepted():
    return source_of(trended(n_melts=2, rejected=Reason.NO_PEAK.value))


def without_rates():
    return source_of([replace(item, cooling_rate=math.nan) for item in trended(n_melts=2)])


def without_moduli():
    names = ("debye_level", "first_phonon", "robust_peak_frequency")
    rng = np.random.default_rng(0)
    return source_of([sample(rng, melt, 1e13, melt, **dict.fromkeys(names, math.nan)) for melt in range(3)])


def without_zirconium():
    items = trended(n_melts=2)
    for item in items[1:]:
        pdf = item.stages["structure"]["partial_pdf"]
        pdf[1:] = 0.0
        item.stages["quench"]["species"][:] = 0
    return source_of([items[0], *(replace(item, composition={"Cu": 1.0}) for item in items[1:])])


@pytest.mark.parametrize("row", [t1, t2, t3, t4, t5, t6, t7, t12, y1, y2, y10])
@pytest.mark.parametrize("make", [without_accepted, without_rates, without_moduli, without_zirconium])
def test_what_no_sample_has_is_said_and_the_rest_is_drawn(row, make):
    made = row(make())
    if isinstance(made, Missing):
        assert make is without_rates or (make is without_moduli and row is y2)
        return
    if made.draw:
        figure_files(made.draw())
    for claim in made.claims:
        assert "nan" not in claim.ours


def test_a_kind_of_label_without_samples_has_its_sentence():
    panel = t4(without_accepted())
    paper_style = [claim for claim in panel.claims if "paper style" in claim.text]
    assert [claim.ours for claim in paper_style] == ["not measured: no sample has a value that counts"] * 2
    assert "none of these 10 spectra has a boson peak by the rule" in panel.caption
    height, place = panel.draw().axes[1:]
    for ax in (height, place):
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["paper style:\nno sample", "robust"]
    assert "accepted: none" in [
        text.get_text() for text in t5(without_accepted()).draw().axes[0].get_legend().get_texts()
    ]


def test_modes_whose_count_is_not_certain_have_their_sentence():
    items = trended(n_melts=2)
    for item in items:
        item.stages["vibration"]["certified_below"] = ((), 5.0, {"units": "rad/ps"})
    panel = t3(source_of(items))
    assert "not measured: no sample" in panel.claims[0].ours
    assert "no sample" in panel.draw().axes[1].get_legend().get_texts()[0].get_text()


@pytest.mark.parametrize(("rejected_above", "expected"), [(True, YES), (False, NO)])
def test_rejected_spectra_are_counted_on_either_side(rejected_above, expected):
    items = [
        replace(item, rejected="no_boson_peak" if (item.cooling_rate > 1e13) == rejected_above else "")
        for item in trended()
    ]
    panel = t5(source_of(items))
    assert verdicts(panel)[0] is expected
    assert panel.values["rejected"] == (10 if rejected_above else 15)
    assert verdicts(panel)[1:] == [OPEN, OPEN]  # 15 samples are too few for "none", 108 atoms too few for the rest


def test_another_reason_is_not_lack_of_a_peak():
    items = [replace(item, rejected="negative_mode") for item in trended(n_melts=2)]
    assert t5(source_of(items)).values["rejected"] == 0


@pytest.mark.parametrize(
    ("tops", "shell"), [((2.5, 4.2, 5.2, 6.6, 8.8), 4), ((2.5, 4.4, 6.5, 8.8), 3), ((2.7, 9.0), 2)]
)
def test_the_shell_of_a_distance_is_counted(tops, shell):
    pdf = 1.0 + sum(np.exp(-(((R - top) / 0.3) ** 2)) for top in tops)
    assert shell_at(R, pdf, 6.85, 0.02) == shell


def planted_shells(tops_of_pair, rng):
    pdf = [1.0 + sum(np.exp(-(((R - top) / 0.3) ** 2)) for top in tops) for tops in tops_of_pair]
    return np.array(pdf) + rng.normal(scale=1e-4, size=(3, 120))


@pytest.mark.parametrize(
    ("zirconium", "expected"), [((2.9, 4.8, 6.7, 9.0), [YES, YES, YES]), ((2.9, 6.7, 9.0), [YES, YES, NO])]
)
def test_shells_of_the_paper_are_found_or_not(zirconium, expected):
    copper, rng = (2.5, 4.2, 5.2, 6.6, 8.8), np.random.default_rng(0)
    items = trended(n_melts=3, rates=(1e13,))
    for item in items:
        pdf = planted_shells((copper, copper, zirconium), rng)
        item.stages["structure"]["partial_pdf"] = (("element_pair", "r_bin"), pdf, {"units": "1"})
    panel = t6(source_of(items))
    assert verdicts(panel) == expected
    assert (panel.values["bins"], panel.values["inputs"]) == (120, 360)
    for item in items:  # as noisy as shells are prominent
        pdf, noise = item.stages["structure"]["partial_pdf"], rng.normal(scale=0.04, size=(3, 120))
        item.stages["structure"]["partial_pdf"] = (pdf.dims, pdf.to_numpy() + noise, pdf.attrs)
    assert verdicts(t6(source_of(items))) == [OPEN] * 3
    assert verdicts(t6(source_of(items[:1]))) == [OPEN] * 3


@pytest.mark.parametrize(("localised_below", "expected"), [(True, YES), (False, NO)])
def test_localised_modes_are_looked_for_below_the_peak(localised_below, expected):
    items = trended(n_melts=4)
    rng = np.random.default_rng(0)
    for item in items:
        stage = item.stages["vibration"]
        low = stage["frequency"].to_numpy()[: stage.sizes["low_mode"]] < 4.0
        often = np.where(low == localised_below, 0.8, 0.1)
        ratio = np.where(rng.random(low.shape) < often, 0.1, 0.5)
        stage["participation_ratio"] = ("low_mode", ratio, {"units": "1"})
    assert verdicts(t7(source_of(items)))[1] is expected


def test_the_fixed_count_of_modes_is_compared_as_a_share():
    items = trended(n_melts=4, rates=(1e13,))
    share = [(item.stages["vibration"]["frequency"].to_numpy() < 10.0).mean() for item in items]
    panel = t7(source_of(items))
    np.testing.assert_allclose(panel.values["share_percent"], 100 * np.array(share))
    for item in items:  # twice as many modes as the paper has below its cut
        item.stages["vibration"]["frequency"] *= 10.0 / np.quantile(item.stages["vibration"]["frequency"], 0.12)
    assert verdicts(t7(source_of(items)))[0] is NO


def test_atomic_intensities_their_tail_and_their_sum(rising):
    items = trended(n_melts=4, rates=(1e13,))
    rng = np.random.default_rng(0)
    for item in items:
        stage = item.stages["vibration"]
        stage["atomic_intensity"] = ("atom", 1e-8 * np.exp(rng.gamma(1.0, 0.6, N_ATOMS)), {"units": "ps3"})
    assert verdicts(t12(source_of(items))) == [OPEN, YES, YES]
    for item in items:
        stage = item.stages["vibration"]
        stage["atomic_intensity"] = ("atom", 1e-16 / stage["atomic_intensity"].to_numpy(), {"units": "ps3"})
        stage["atomic_vdos"] *= 1.01
    assert verdicts(t12(source_of(items))) == [OPEN, NO, NO]


# ---- rows of Yang et al. ----------------------------------------------------------------------------------------------


def test_glasses_are_listed():
    panel = y1(source_of([*trended(n_melts=2), *given_items()]))
    assert [group["samples"] for group in panel.values["groups"]] == [11, 1]


def test_the_boson_peak_against_the_debye_level(rising):
    exceeds, exists, place, level = verdicts(y2(rising))
    assert (exceeds, exists, level) == (YES, YES, OPEN)
    assert place is OPEN  # 3.4 to 4.6: on both sides of what "nearly 5" is read as


@pytest.mark.parametrize(
    ("peak", "phonon", "expected"), [(5.0, 8.0, YES), (3.0, 8.0, NO), (5.0, 5.2, OPEN), (3.0, 3.1, OPEN)]
)
def test_a_peak_where_the_first_phonons_lie_decides_nothing(peak, phonon, expected):
    rng = np.random.default_rng(0)
    items = [
        sample(rng, melt, 1e13, melt, peak_frequency=peak + rng.normal(scale=0.1), first_phonon=phonon)
        for melt in range(4)
    ]
    assert verdicts(y2(source_of(items)))[2] is expected


def test_a_level_below_debyes_contradicts():
    rng = np.random.default_rng(0)
    items = [sample(rng, melt, 1e13, melt, robust_intensity=5e-5 + rng.normal(scale=1e-6)) for melt in range(4)]
    assert verdicts(y2(source_of(items)))[0] is NO


@pytest.mark.parametrize("row", [t1, t2, t3, t4, t5, t6, t7, t12, y1, y2])
def test_without_results_the_row_is_missing_and_says_how_to_get_it(row):
    bare = [replace(item, stages={}) for item in trended(n_melts=1)]
    found = row(source_of(bare))
    assert isinstance(found, Missing)
    assert found.row == row.__name__.upper()
    assert found.command == "bpd run"
