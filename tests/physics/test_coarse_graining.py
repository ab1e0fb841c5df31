# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from bp_distributed.physics.coarse_graining import KERNELS, RMS_RADIUS, coarse_grain, distance_rows, reach, tail

SKEWED = np.array([[14.0, 0.0, 0.0], [3.0, 13.0, 0.0], [-2.0, 1.5, 15.0]])
EXACT = 1e-12
SINGLE = 1e-6
"""Of fields of order one, averaged in single precision."""
WEIGHT = {
    "exponential": lambda r, length: np.exp(-r / length),
    "gaussian": lambda r, length: np.exp(-(r**2) / (2 * length**2)),
    "top_hat": lambda r, length: float(r < length),
}


def windows(kernel, *lengths):
    return [(kernel, length) for length in lengths]


def atoms(n_atoms=120, cell=SKEWED, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 2.0, (n_atoms, 3)) @ cell, rng.normal(size=(2, n_atoms))


def over_images(positions, cell, values, kernel, length, farthest, images=1):
    """Return the sums of the definition, one pair and image after the other."""
    steps = np.stack(np.meshgrid(*[np.arange(-images, images + 1)] * 3), -1).reshape(-1, 3) @ cell
    known = np.flatnonzero(np.isfinite(values))
    fractional = positions @ np.linalg.inv(cell)
    inside = (fractional - np.floor(fractional)) @ cell
    averages = []
    for here in inside:
        top = bottom = 0.0
        for j in known:
            for r in np.linalg.norm(inside[j] + steps - here, axis=1):
                weight = WEIGHT[kernel](r, length) if r < farthest else 0.0
                top, bottom = top + weight * values[j], bottom + weight
        averages.append(top / bottom)
    return np.array(averages)


@pytest.mark.parametrize(("kernel", "length"), [("exponential", 0.3), ("gaussian", 1.0), ("top_hat", 4.9)])
def test_short_kernels_equal_the_definition_pair_by_pair(kernel, length):
    positions, values = atoms(60)
    values[1, ::3] = np.nan
    found = coarse_grain(positions, SKEWED, values, windows(kernel, length))[0]
    for field in range(2):
        expected = over_images(positions, SKEWED, values[field], kernel, length, reach(SKEWED))
        np.testing.assert_allclose(found[field], expected, atol=3e-5)  # what lies beyond the reach is below this


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_constant_stays_the_constant(kernel):
    positions, _ = atoms()
    values = np.full((1, len(positions)), 3.25)
    values[0, 5:60] = np.nan
    found = coarse_grain(positions, SKEWED, values, windows(kernel, 0.5, 2.0, 5.0, 10.0))
    if kernel == "top_hat":  # too short to see a known atom from every unknown one
        assert np.isnan(found[0, 0, 5:60]).any()
        found = found[np.isfinite(found)]
    np.testing.assert_allclose(found, 3.25, rtol=EXACT)


@pytest.mark.parametrize("kernel", KERNELS)
def test_wrapping_translation_order_and_chunks_change_nothing(kernel, monkeypatch):
    positions, values = atoms()
    rng = np.random.default_rng(1)
    expected = coarse_grain(positions, SKEWED, values, windows(kernel, 1.0, 3.0))
    moved = positions + rng.integers(-2, 3, positions.shape) @ SKEWED + [0.3, -7.0, 2.2]
    order = rng.permutation(len(positions))
    monkeypatch.setattr("bp_distributed.physics.coarse_graining._CHUNK", 1000)
    found = coarse_grain(moved[order], SKEWED, values[:, order], windows(kernel, 1.0, 3.0))
    np.testing.assert_allclose(found, expected[:, :, order], atol=SINGLE)


def test_no_length_no_change():
    positions, values = atoms()
    values[0, 3] = np.nan
    np.testing.assert_array_equal(coarse_grain(positions, SKEWED, values, windows("gaussian", 0.0))[0], values)


def test_long_lengths_end_at_the_mean():
    positions, values = atoms(300)
    for kernel in ("exponential", "gaussian"):
        found = coarse_grain(positions, SKEWED, values, windows(kernel, 200.0))[0]
        np.testing.assert_allclose(found, values.mean(axis=1)[:, None] + np.zeros_like(found), atol=2e-4)


def test_an_unknown_field_stays_unknown_and_does_not_disturb_the_others():
    positions, values = atoms()
    alone = coarse_grain(positions, SKEWED, values[:1], windows("gaussian", 2.0))
    values[1] = np.nan
    both = coarse_grain(positions, SKEWED, values, windows("gaussian", 2.0))
    np.testing.assert_allclose(both[:, 0], alone[:, 0], rtol=EXACT)
    assert np.isnan(both[:, 1]).all()


@pytest.mark.parametrize("length", [1.5, 2.5])
def test_truncation_costs_less_of_the_field_than_of_the_kernel(length):
    """Against the sum over images up to ten lengths, for waves as long as the cell, the hardest there are."""
    cell = 20.0 * np.eye(3)
    positions, _ = atoms(260, cell, seed=3)
    wave = 2 * np.pi * positions @ np.linalg.inv(cell)
    values = np.cos(wave[:, 0] + 1.0) + np.sin(2 * wave[:, 1]) + np.cos(wave[:, 2])
    some = np.random.default_rng(0).choice(260, 25, replace=False)
    found = coarse_grain(positions, cell, values[None], windows("exponential", length))[0, 0][some]
    images = int(np.ceil(10.0 * length / 20.0))
    inside = positions - np.floor(positions / 20.0) * 20.0
    steps = 20.0 * np.stack(np.meshgrid(*[np.arange(-images - 1, images + 2)] * 3), -1).reshape(-1, 3)
    exact = []
    for i in some:
        r = np.linalg.norm(inside[None] + steps[:, None] - inside[i], axis=2)
        weight = np.exp(-r / length)
        exact.append((weight * values).sum() / weight.sum())
    error = np.abs(found - exact).max() / np.std(exact)
    assert error < tail("exponential", length, 10.0)
    cut = np.array([np.exp(-row[row < 10.0] / length) @ values[row < 10.0] / np.exp(-row[row < 10.0] / length).sum()
                    for _, r in distance_rows(positions, cell) for row in r])[some]  # fmt: skip
    assert np.abs(cut - exact).max() / np.std(exact) > error  # without the even tail it would be worse


@pytest.mark.parametrize("kernel", KERNELS)
def test_tails_and_radii_against_numbers_integrated(kernel):
    r = np.linspace(0.0, 60.0, 60_001)
    shell = np.vectorize(WEIGHT[kernel])(r, 1.5) * r**2
    assert tail(kernel, 1.5, 1.2) == pytest.approx(shell[r >= 1.2].sum() / shell.sum(), rel=2e-3)
    assert RMS_RADIUS[kernel] * 1.5 == pytest.approx(np.sqrt((shell * r**2).sum() / shell.sum()), rel=1e-3)
    assert tail(kernel, 1.5, 0.0) == 1.0


def test_distances_are_those_of_nearest_images():
    positions, _ = atoms(40)
    steps = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ SKEWED
    found = np.concatenate([r for _, r in distance_rows(positions, SKEWED)])
    for i, j in np.random.default_rng(2).integers(0, 40, (60, 2)):
        nearest = np.linalg.norm(positions[j] - positions[i] + steps, axis=1).min()
        if nearest < reach(SKEWED):
            assert found[i, j] == pytest.approx(nearest, abs=1e-12)
        else:
            assert found[i, j] >= reach(SKEWED) - 1e-12


def test_the_reach_is_half_the_thinnest_direction():
    assert reach(np.diag([10.0, 12.0, 30.0])) == pytest.approx(5.0)
    thin = np.array([[10.0, 0.0, 0.0], [9.0, 8.0, 0.0], [0.0, 0.0, 20.0]])
    assert reach(thin) == pytest.approx(0.5 * 80.0 / np.hypot(9.0, 8.0))


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="no kernel 'box'; there are exponential, gaussian, top_hat"):
        coarse_grain(np.zeros((1, 3)), np.eye(3), np.ones((1, 1)), windows("box", 1.0))
