# SPDX-License-Identifier: BSD-3-Clause
"""The outer iteration on the stress, on models whose answer is known; real glasses are in test_quench.py."""

import numpy as np
import pytest

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics import minimise
from bp_distributed.physics.minimise import broyden, deformation, typical_compliance


class ElasticModel:
    """Stands in for a session: a linear elastic body, possibly slightly anisotropic, whose atoms are always still."""

    def __init__(self, stiffness, strain, force=0.0):
        self.stiffness, self.strain, self.largest_force = stiffness, np.array(strain, dtype=float), force

    def command(self, *words):
        pass

    def newton(self, force_tolerance):
        pass

    @property
    def pressure_components(self):
        pressure = np.zeros(6)
        n = len(self.strain)
        pressure[:n] = -self.stiffness @ self.strain
        return pressure

    def deform(self, F):
        n = len(self.strain)
        change = np.array([*np.log(np.diag(F)), F[1, 0], F[2, 0], F[2, 1]])[:n]
        self.strain += change


def stiffness(n, lame, shear, seed):
    found = np.linalg.inv(typical_compliance(n)) * 0
    found[:3, :3] = lame
    found += np.diag([2 * shear] * 3 + [shear] * (n - 3))
    noise = np.random.default_rng(seed).normal(0, 0.05 * lame, (n, n))
    return found + (noise + noise.T) / 2


@pytest.mark.parametrize("mode", ["aniso", "tri"])
@pytest.mark.parametrize(("lame", "shear"), [(90, 30), (130, 20), (40, 60)])
def test_the_stress_vanishes_in_a_few_rounds_whatever_the_moduli(mode, lame, shear):
    n = 3 if mode == "aniso" else 6
    body = ElasticModel(stiffness(n, lame, shear, seed=3), 0.004 * np.arange(1, n + 1) / n)
    rounds = minimise.minimise(body, 1e-6, mode)
    assert np.abs(body.pressure_components).max() < minimise.PRESSURE_TOLERANCE_GPA * minimise.AIM
    assert rounds <= 2 * n + 3, "Broyden ends within 2 n steps on a linear problem (Gay 1979), plus clipped ones"


def test_a_fixed_cell_is_left_alone():
    body = ElasticModel(stiffness(3, 90, 30, 1), [0.01, 0.0, 0.0])
    assert minimise.minimise(body, 1e-6, "") == 1
    assert body.strain.tolist() == [0.01, 0.0, 0.0]


def test_what_does_not_converge_is_told():
    body = ElasticModel(stiffness(3, 90, 30, 1), [0.0, 0.0, 0.0], force=1e-3)
    with pytest.raises(ScienceError, match=r"largest force 1\.0e-03") as caught:
        minimise.minimise(body, 1e-6, "aniso")
    assert caught.value.reason == Reason.NOT_CONVERGED


def test_a_broyden_update_reproduces_the_last_step():
    rng = np.random.default_rng(4)
    compliance = typical_compliance(3)
    strain, change = rng.normal(size=3), rng.normal(size=3) * 100
    updated = broyden(compliance, strain, change)
    np.testing.assert_allclose(-updated @ change, strain, atol=1e-12)


def test_a_singular_update_is_left_out():
    compliance = typical_compliance(3)
    assert broyden(compliance, np.array([1e-3, 0, 0]), np.zeros(3)) is compliance


def test_typical_compliance_is_that_of_an_isotropic_body():
    compliance = typical_compliance(6)
    lame, shear = minimise.TYPICAL_LAME_GPA
    hydrostatic = compliance @ np.array([1.0, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(hydrostatic[:3], 1 / (3 * (lame + 2 / 3 * shear)))
    assert compliance[3, 3] == pytest.approx(1 / shear)


def test_deformations_are_lower_triangular():
    F = deformation(np.array([0.01, 0.02, 0.03, 0.1, 0.2, 0.3]))
    np.testing.assert_allclose(F, [[np.exp(0.01), 0, 0], [0.1, np.exp(0.02), 0], [0.2, 0.3, np.exp(0.03)]])
    assert deformation(np.zeros(3)).tolist() == np.eye(3).tolist()
