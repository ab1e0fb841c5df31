# SPDX-License-Identifier: BSD-3-Clause
"""Planted fields: what was put in must come out, with errors that hold as often as they claim."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bp_distributed.physics.autocorrelation import decay, decaying, fit
from bp_distributed.physics.coarse_graining import coarse_grain, distance_rows
from bp_distributed.physics.correlation import LEAST_EFFECTIVE, contrast, curve, line, pearson, shuffled
from bp_distributed.physics.sites import ENOUGH_GROUPS, Sites, blocks, n_blocks, shifts

N_ATOMS = 700
DENSITY = 0.057
EDGE = (N_ATOMS / DENSITY) ** (1 / 3)
CELL = EDGE * np.eye(3)
XI = 2.0
SIGMA = 2.5
"""Of a field with correlation exp(-r²/2σ²), Å."""


@pytest.fixture(scope="module")
def sites():
    return Sites.of_one(np.random.default_rng(0).random((N_ATOMS, 3)) * EDGE, CELL)


def windows(lengths):
    return [("gaussian", length) for length in lengths]


def maker_of(sites, correlation):
    """Return a function that makes Gaussian fields of unit variance with a known correlation."""
    r_ij = np.concatenate([r for _, r in distance_rows(sites.positions_ic, sites.cells_scc[0])])
    values, vectors = np.linalg.eigh(correlation(r_ij))
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    return lambda rng: factor @ rng.normal(size=len(factor))


@pytest.fixture(scope="module")
def smooth(sites):
    return maker_of(sites, lambda r: np.exp(-(r**2) / (2 * SIGMA**2)))


@pytest.fixture(scope="module")
def moved(sites):
    return shifts(sites, 200, np.random.default_rng(1))


def r_of_one(sites, x, y, moved, seed=0):
    return curve(sites, np.zeros(1), x[None], y[None], moved, np.random.default_rng(seed))


# ---- r and its interval -----------------------------------------------------------------------------------------------


def test_r_is_pearsons_whatever_the_offset():
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    y = 0.4 * x + rng.normal(size=300)
    assert pearson(x + 1e7, 3e5 * y - 1e8) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    assert np.isnan(pearson(np.ones(5), np.arange(5.0)))


def test_blocks_cover_the_truth_about_as_often_as_they_claim_and_independent_pairs_do_not(sites, smooth, moved):
    rng = np.random.default_rng(3)
    truth, runs, covered, naive = 0.5, 60, 0, 0
    for run in range(runs):
        x = smooth(rng)
        y = truth * x + np.sqrt(1 - truth**2) * smooth(rng)
        found = r_of_one(sites, x, y, moved, run)
        covered += found.low_l[0] < truth < found.high_l[0]
        naive += abs(np.arctanh(found.r_l[0]) - np.arctanh(truth)) < 1.96 / np.sqrt(N_ATOMS - 3)
    assert covered >= 0.83 * runs  # 57 of 60 are claimed; fewer than 50 would come by chance once in 3000
    assert naive <= 0.75 * runs


def test_p_values_of_unrelated_fields_are_spread_evenly(sites, smooth, moved):
    rng = np.random.default_rng(4)
    p = np.array([r_of_one(sites, smooth(rng), smooth(rng), moved, run).p_l[0] for run in range(60)])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    naive = [stats.pearsonr(smooth(rng), smooth(rng)).pvalue for _ in range(60)]
    assert np.mean(np.array(naive) < 0.05) > 0.25


def test_the_effective_number_is_that_of_the_correlation(sites, smooth, moved):
    rng = np.random.default_rng(5)
    found = np.mean([1.0 / r_of_one(sites, smooth(rng), smooth(rng), moved).n_effective_l[0] for _ in range(30)])
    r_ij = np.concatenate([r for _, r in distance_rows(sites.positions_ic, CELL)])
    both = np.exp(-(r_ij**2) / SIGMA**2)  # the product of both autocorrelations
    assert found == pytest.approx(both.sum() / N_ATOMS**2, rel=0.15)
    noise = rng.normal(size=(2, N_ATOMS))
    assert r_of_one(sites, *noise, moved).n_effective_l[0] > 0.8 * N_ATOMS


def test_shuffled_values_have_no_correlation_and_even_p_values(sites):
    rng = np.random.default_rng(6)
    orders = shuffled(N_ATOMS, 200, rng)
    p, r = [], []
    x = rng.gamma(2.0, size=N_ATOMS)
    for order in shuffled(N_ATOMS, 80, rng):
        found = r_of_one(sites, x, (2.0 * x)[order], orders)
        p.append(found.p_l[0])
        r.append(found.r_l[0])
    assert abs(np.mean(r)) < 4.0 / np.sqrt(80 * N_ATOMS)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert sorted(orders[0]) == list(range(N_ATOMS))


# ---- lengths ----------------------------------------------------------------------------------------------------------


def test_the_best_length_is_where_noise_is_averaged_but_the_signal_is_not(sites, smooth, moved):
    rng = np.random.default_rng(7)
    lengths = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
    signal = smooth(rng)
    x, y = signal + rng.normal(size=(2, N_ATOMS))
    averaged = coarse_grain(sites.positions_ic, CELL, np.array([x, y]), windows(lengths))
    found = curve(sites, lengths, averaged[:, 0], averaged[:, 1], moved, rng)
    assert found.r_l[0] == pytest.approx(0.5, abs=0.12)
    assert found.r_l[found.best] > 0.75
    assert lengths[found.best] >= 1.5
    assert found.best_length.low <= lengths[found.best] <= found.best_length.high
    assert found.p_best < 0.02
    assert (np.diff(found.n_effective_l) < 0).all()  # longer lengths leave less that is independent

    local = rng.normal(size=N_ATOMS)
    averaged = coarse_grain(
        sites.positions_ic, CELL, np.array([local + smooth(rng), local + smooth(rng)]), windows(lengths)
    )
    assert curve(sites, lengths, averaged[:, 0], averaged[:, 1], moved, rng).best == 0


def test_lengths_that_leave_too_few_independent_values_are_shown_but_not_chosen(sites, moved):
    rng = np.random.default_rng(19)
    lengths = np.array([0.0, 1.0, 6.0])
    wave = np.cos(2.0 * np.pi * sites.positions_ic[:, 0] / EDGE)
    averaged = coarse_grain(sites.positions_ic, CELL, wave + 2.0 * rng.normal(size=(2, N_ATOMS)), windows(lengths))
    found = curve(sites, lengths, averaged[:, 0], averaged[:, 1], moved, rng)
    assert found.n_effective_l[2] < LEAST_EFFECTIVE < found.n_effective_l[1]
    assert found.r_l[2] > found.r_l[1]
    assert found.best == 1


def test_the_p_value_of_the_best_length_pays_for_the_choice(sites, smooth, moved):
    rng = np.random.default_rng(8)
    lengths = np.array([0.0, 1.0, 2.0, 3.0])
    best, p = [], []
    for _ in range(30):
        fields = rng.normal(size=(2, N_ATOMS))
        averaged = coarse_grain(sites.positions_ic, CELL, fields, windows(lengths))
        found = curve(sites, lengths, averaged[:, 0], averaged[:, 1], moved, rng)
        best.append(found.p_l.min())
        p.append(found.p_best)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(best) < np.mean(p)


# ---- the line and the ends --------------------------------------------------------------------------------------------


def test_a_planted_inverse_law_returns_its_slope(sites, smooth):
    rng = np.random.default_rng(9)
    slope, inside, errors = 0.04, 0, []
    for _ in range(20):
        inverse = 30.0 + 5.0 * smooth(rng)
        energy = 1.2 + slope * inverse + 0.15 * smooth(rng)
        found = line(sites, inverse, energy, 8.0, 100, rng)
        inside += found.slope.low < slope < found.slope.high
        errors.append(found.slope.error)
        assert found.intercept.value == pytest.approx(np.mean(energy) - found.slope.value * np.mean(inverse))
    assert inside >= 15
    assert found.per_group == 100
    np.testing.assert_allclose(np.diff(found.x_g) > 0, True)
    assert found.y_g.mean() == pytest.approx(energy.mean())
    assert np.mean(errors) > 1.5 * 0.15 / (5.0 * np.sqrt(N_ATOMS))  # independent pairs would claim less


def test_rank_correlation_is_spearmans_and_blind_to_a_monotonic_change(sites, smooth):
    rng = np.random.default_rng(10)
    x = smooth(rng)
    y = np.exp(2.0 * x) + 0.1 * smooth(rng)
    found = line(sites, x, y, 8.0, 100, rng).spearman
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.low < found.value < found.high


def test_the_ends_differ_by_what_was_planted(sites, smooth, moved):
    rng = np.random.default_rng(11)
    x = smooth(rng)
    y = 2.0 - 0.3 * x + 0.1 * rng.normal(size=N_ATOMS)
    found = contrast(sites, x, y, 0.1, 8.0, moved, rng)
    assert len(found.top_i) == len(found.bottom_i) == N_ATOMS // 10
    expected = -0.3 * (np.sort(x)[-70:].mean() - np.sort(x)[:70].mean())
    assert found.mean_difference.value == pytest.approx(expected, abs=0.06)
    assert found.mean_difference.low < expected < found.mean_difference.high
    assert found.median_difference.value == pytest.approx(np.median(found.top_i) - np.median(found.bottom_i))
    assert found.p_shift < 0.02
    assert found.p_rank == stats.mannwhitneyu(found.top_i, found.bottom_i).pvalue


def test_ends_of_unrelated_fields_differ_by_chance_alone(sites, smooth, moved):
    rng = np.random.default_rng(12)
    tests = [contrast(sites, smooth(rng), smooth(rng), 0.1, 8.0, moved, rng) for _ in range(25)]
    assert stats.kstest([one.p_shift for one in tests], "uniform").pvalue > 0.01
    assert np.mean([one.p_rank < 0.05 for one in tests]) > 0.3  # the test for independent atoms is fooled


# ---- blocks and shifts ------------------------------------------------------------------------------------------------


def test_blocks_are_cubes_of_at_least_the_edge_in_any_cell():
    cell = np.array([[30.0, 0.0, 0.0], [6.0, 24.0, 0.0], [-4.0, 5.0, 40.0]])
    rng = np.random.default_rng(13)
    skewed = Sites.of_one(rng.random((4000, 3)) @ cell, cell)
    assert n_blocks(skewed, 10.0) == 2 * 2 * 4
    assert n_blocks(skewed, 100.0) == 8
    for cut in itertools.islice(blocks(skewed, 10.0, 40, rng), 3):
        sizes = np.bincount(cut.block_i)
        assert len(sizes) == 16
        assert sizes.min() > 0.7 * 250
        assert (cut.counts_db.sum(axis=1) == 16).all()


def test_many_independent_samples_are_blocks_themselves_and_samples_of_one_melt_stay_together():
    rng = np.random.default_rng(14)
    n_samples = ENOUGH_GROUPS + 3
    sample = np.repeat(np.arange(n_samples), 5)
    group = np.minimum(np.arange(n_samples), ENOUGH_GROUPS - 1)
    many = Sites(rng.random((5 * n_samples, 3)) * 10, np.tile(10.0 * np.eye(3), (n_samples, 1, 1)), sample, group)
    (cut,) = blocks(many, 2.0, 50, rng)
    assert n_blocks(many, 2.0) == ENOUGH_GROUPS
    np.testing.assert_array_equal(cut.block_i, group[sample])
    few = many.take(sample < 3)
    assert n_blocks(few, 5.0) == 3 * 8
    assert few.volume == pytest.approx(3000.0)


def test_a_shift_moves_a_sample_rigidly_and_mixes_no_samples():
    rng = np.random.default_rng(15)
    side = np.stack(np.meshgrid(*[np.arange(6)] * 3), -1).reshape(-1, 3)
    cells = np.array([np.diag([12.0, 18.0, 24.0]), [[12.0, 0, 0], [6.0, 12.0, 0], [0, 0, 12.0]]])
    positions = np.concatenate([(side + 0.5) / 6 @ cell for cell in cells])
    sample = np.repeat([0, 1], len(side))
    both = Sites(positions, cells, sample, np.array([0, 1]))
    found = shifts(both, 8, rng)
    np.testing.assert_array_equal(sample[found], np.tile(sample, (8, 1)))
    for draw, which in itertools.product(range(8), (0, 1)):
        mine = sample == which
        vector = (side[found[draw, mine] - which * len(side)] - side) % 6
        assert len(np.unique(vector, axis=0)) == 1  # a crystal moves by one lattice vector
    assert len({tuple(row) for row in found}) > 1


# ---- autocorrelation --------------------------------------------------------------------------------------------------


def test_a_planted_length_returns_within_its_error(sites):
    make = maker_of(sites, lambda r: np.exp(-r / XI))
    rng = np.random.default_rng(16)
    found = [decay(sites, 5.0 + 3.0 * make(rng), 8.0, rng) for _ in range(25)]
    lengths = np.array([one.length.value for one in found])
    assert lengths.mean() == pytest.approx(XI, abs=3.0 * lengths.std() / np.sqrt(25))
    assert np.mean([one.length.error for one in found]) == pytest.approx(lengths.std(), rel=0.6)
    assert sum(one.length.low < XI < one.length.high for one in found) >= 19
    assert sum(one.free_length.low < XI < one.free_length.high for one in found) >= 19


def test_noise_from_atom_to_atom_is_told_from_a_short_length(sites):
    make = maker_of(sites, lambda r: np.exp(-r / 3.0))
    rng = np.random.default_rng(17)
    found = [decay(sites, make(rng) + rng.normal(size=N_ATOMS), 8.0, rng) for _ in range(12)]
    assert np.mean([one.amplitude.value for one in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([one.length.value for one in found]) < 2.3  # the paper's form alone would mislead


def test_autocorrelation_equals_a_slow_count(sites):
    few = sites.take(np.arange(N_ATOMS) < 150)
    rng = np.random.default_rng(18)
    values = rng.normal(size=150)
    found = decay(few, values, 8.0, rng)
    delta = values - values.mean()
    r_ij = np.concatenate([r for _, r in distance_rows(few.positions_ic, CELL)])
    for r, c in list(zip(found.r_b, found.c_b, strict=True))[::4]:
        near = (np.floor(r_ij / 0.5) == np.floor(r / 0.5)) & ~np.eye(150, dtype=bool)
        assert r == pytest.approx(r_ij[near].mean(), rel=1e-5)
        assert c == pytest.approx(np.outer(delta, delta)[near].mean() / np.mean(delta**2), abs=1e-5)


def test_the_fit_finds_exact_curves_and_knows_a_finite_cell():
    r = np.arange(2.25, 10.0, 0.5)
    for volume in (1e9, 8772.0):
        exact = np.array([decaying(r, length, volume) for length in (1.0, 1.97, 4.0)])
        length, amplitude = fit(r, exact, np.ones_like(r), volume, free=False)
        np.testing.assert_allclose(length, [1.0, 1.97, 4.0], rtol=1e-3)
        np.testing.assert_array_equal(amplitude, 1.0)
        length, amplitude = fit(r, 0.6 * exact, np.ones_like(r), volume, free=True)
        np.testing.assert_allclose(length, [1.0, 1.97, 4.0], rtol=2e-3)
        np.testing.assert_allclose(amplitude, 0.6, rtol=1e-2)
