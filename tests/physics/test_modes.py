# SPDX-License-Identifier: BSD-3-Clause
"""Normal modes: completeness, orthogonality, exact translations, and structures that are no minimum."""

import numpy as np
import pytest
from scipy import linalg

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import normal_modes, participation_ratio
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

ROUNDING = 1e-10  # residual, orthogonality (physics.md, 10.4)


@pytest.fixture(scope="module")
def masses_i(tiny_glass, cuzr):
    return cuzr.masses_e[tiny_glass.species_i]


@pytest.fixture(scope="module")
def hessian(tiny_glass, cuzr):
    return factored_hessian(tiny_glass, cuzr)


@pytest.mark.parametrize("all_vectors", [True, False])
def test_modes_against_plain_lapack(hessian, masses_i, all_vectors):
    found = normal_modes(hessian, masses_i, 12.0, all_vectors=all_vectors)
    plain = linalg.eigvalsh(hessian.mass_weighted(masses_i).dense())
    assert np.abs(plain[:3]).max() < 1e-12 * plain[-1]
    expected = OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(plain[3:])
    np.testing.assert_allclose(found.frequency_k, expected, rtol=ROUNDING)
    assert found.residual < ROUNDING
    assert found.translation_residual < ROUNDING
    flat = found.vectors_kic.reshape(len(found.vectors_kic), -1)
    assert len(flat) == (len(expected) if all_vectors else np.count_nonzero(expected < 12.0))
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=ROUNDING)


def test_no_mode_moves_the_centre_of_mass(hessian, masses_i):
    vectors_kic = normal_modes(hessian, masses_i, 12.0).vectors_kic
    drift = np.einsum("i,kic->kc", np.sqrt(masses_i / masses_i.sum()), vectors_kic)
    assert np.abs(drift).max() < ROUNDING


def test_no_vector_below_the_cut(hessian, masses_i):
    assert normal_modes(hessian, masses_i, 0.5).vectors_kic.shape == (0, len(masses_i), 3)


def test_structure_that_is_no_minimum_is_refused(tiny_glass, cuzr, masses_i):
    rng = np.random.default_rng(0)
    shaken = tiny_glass.moved(0.3 * rng.normal(size=(tiny_glass.n_atoms, 3)))
    with pytest.raises(ScienceError, match=r"not a minimum: [1-9]") as caught:
        normal_modes(factored_hessian(shaken, cuzr), masses_i, 10.0)
    assert caught.value.reason is Reason.UNSTABLE


def test_hessian_with_nan_is_refused(hessian, masses_i):
    hessian.P.data[0, 0, 0], kept = np.nan, hessian.P.data[0, 0, 0]
    with pytest.raises(ScienceError, match="not finite") as caught:
        normal_modes(hessian, masses_i, 10.0)
    hessian.P.data[0, 0, 0] = kept
    assert caught.value.reason is Reason.NOT_FINITE


def test_participation_ratio_of_simple_modes():
    together = np.full((1, 50, 3), 1 / np.sqrt(150))
    alone = np.zeros((1, 50, 3))
    alone[0, 7, 1] = 1.0
    half = np.zeros((1, 50, 3))
    half[0, :25, 0] = 0.2
    ratios = participation_ratio(np.concatenate([together, alone, half]))
    np.testing.assert_allclose(ratios, [1.0, 1 / 50, 0.5], rtol=1e-12)
