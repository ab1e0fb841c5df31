# SPDX-License-Identifier: BSD-3-Clause
"""Newton's last steps: to the rounding of the forces, back to the same minimum, and never uphill."""

import numpy as np
import pytest

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.newton import newton_minimum


def test_returns_to_the_minimum_from_nearby(small_glass, cuzr):
    step_ic = 0.004 * np.random.default_rng(0).normal(size=small_glass.positions_ic.shape)
    step_ic -= step_ic.mean(axis=0)
    found = newton_minimum(small_glass.moved(step_ic), cuzr, 1e-11)
    assert evaluate(found, cuzr).max_force <= 1e-11
    np.testing.assert_allclose(found.positions_ic, small_glass.positions_ic, atol=1e-9)


def test_minimum_is_left_alone(small_glass, cuzr):
    assert newton_minimum(small_glass, cuzr, 1e-8) is small_glass


def test_refuses_where_the_energy_is_no_bowl(small_glass, cuzr):
    shaken = small_glass.moved(0.5 * np.random.default_rng(1).normal(size=small_glass.positions_ic.shape))
    with pytest.raises(ScienceError) as caught:
        newton_minimum(shaken, cuzr, 1e-8)
    assert caught.value.reason is Reason.UNSTABLE
