# SPDX-License-Identifier: BSD-3-Clause
"""A kink planted in noisy volumes is found where it is, and none is seen where there is none."""

import dataclasses

import numpy as np
import pytest
from scipy.signal import lfilter

from bp_distributed.physics.glass_transition import find_kink, rate_dependence

WINDOW = (100.0, 1500.0)
TEMPERATURE = np.linspace(2000.0, 0.1, 1000)
BLOCK = 10


def noise(seed, n_samples, size=0.02):
    """Volumes that remember each other for a few rows and fluctuate as the root of the temperature."""
    white = np.random.default_rng(seed).normal(size=(n_samples, len(TEMPERATURE)))
    return size * np.sqrt(TEMPERATURE / 1000.0) * lfilter([np.sqrt(1 - 0.6**2)], [1.0, -0.6], white)


def kinked(at):
    above = TEMPERATURE - at
    return 18.0 + np.where(above < 0, 4e-4, 9e-4) * above


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_kink_is_found(seed):
    found = find_kink(TEMPERATURE, kinked(700.0) + noise(seed, 3), BLOCK, WINDOW)
    assert found.why_not == ""
    assert found.low <= 700.0 <= found.high
    assert found.high - found.low < 100.0
    assert found.p_value < 0.01
    assert (found.glass_slope, found.liquid_slope) == (pytest.approx(4e-4, rel=0.1), pytest.approx(9e-4, rel=0.1))
    np.testing.assert_allclose(found(TEMPERATURE), kinked(700.0), atol=0.05)


def test_the_interval_means_95_per_cent():
    held = sum(
        found.low <= 700.0 <= found.high
        for found in (find_kink(TEMPERATURE, kinked(700.0) + noise(seed, 1), BLOCK, WINDOW) for seed in range(20))
    )
    assert held >= 16  # 19 expected, fewer than 16 with a chance of 0.3 %


@pytest.mark.parametrize(
    "curve", [18.0 + 5e-4 * TEMPERATURE, 18.0 + 2e-4 * TEMPERATURE + 2e-7 * TEMPERATURE**2], ids=["line", "parabola"]
)
def test_what_has_no_kink_is_refused(curve):
    refused = [find_kink(TEMPERATURE, curve + noise(seed, 3), BLOCK, WINDOW).why_not for seed in range(6)]
    assert sum(map(bool, refused)) >= 5  # 5.7 expected


def test_a_bend_the_other_way_is_no_glass_transition():
    found = find_kink(TEMPERATURE, 2 * 18.0 - kinked(700.0) + noise(1, 3), BLOCK, WINDOW)
    assert "bends the other way" in found.why_not


def test_a_kink_at_the_end_of_the_window_cannot_be_placed():
    found = find_kink(TEMPERATURE, kinked(250.0) + noise(1, 3), BLOCK, WINDOW)
    assert found.why_not


def test_a_quench_too_fast_for_its_noise_is_refused():
    found = find_kink(TEMPERATURE[::20], (kinked(700.0) + noise(1, 3))[:, ::20], BLOCK, WINDOW)
    assert "independent stretches" in found.why_not
    assert np.isnan(found.temperature)


def test_a_planted_dependence_on_the_rate_is_found():
    kinks = [
        find_kink(TEMPERATURE, kinked(at) + noise(seed, 3), BLOCK, WINDOW) for seed, at in enumerate((650, 700, 750))
    ]
    found = rate_dependence([1e11, 1e12, 1e13], kinks)
    assert found.low < 50.0 < found.high
    assert found.low > 0.0
    unseen = [dataclasses.replace(kink, why_not="no") for kink in kinks]
    assert rate_dependence([1e11, 1e12, 1e13], [kinks[0], *unseen[1:]]) is None
