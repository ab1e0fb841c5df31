# SPDX-License-Identifier: BSD-3-Clause
"""Block Lanczos and its probabilistic statement, on operators whose spectrum is known."""

import numpy as np
import pytest
from scipy import linalg

from bp_distributed.errors import ScienceError
from bp_distributed.physics.lanczos import BLOCK, block_lanczos, overlooked_above

N = 1200


def operator_with(value_k, seed=3):
    """Return a symmetric operator with these eigenvalues in a random basis, and its eigenvectors."""
    vector_xk = linalg.qr(np.random.default_rng(seed).normal(size=(len(value_k), len(value_k))))[0]
    return (lambda u: vector_xk @ (value_k[:, None] * (vector_xk.T @ u))), vector_xk


@pytest.fixture(scope="module")
def planted():
    value_k = np.concatenate([np.geomspace(1.0, 0.05, 150), np.linspace(-0.01, 0.01, N - 150)])
    return value_k, *operator_with(value_k)


def run(operator, locked_xk, limit, **options):
    return block_lanczos(operator, locked_xk, limit, seed=0, **{"max_vectors": N, "min_steps": 6} | options)


def test_everything_above_the_limit_is_found(planted):
    value_k, operator, vector_xk = planted
    found = run(operator, np.empty((N, 0)), 0.1)
    expected = vector_xk[:, value_k > 0.1]
    assert found.vector_xk.shape == expected.shape
    np.testing.assert_allclose(np.abs(np.einsum("xk,xk->k", found.vector_xk, expected)), 1.0, atol=1e-9)
    assert found.largest == pytest.approx(1.0, rel=1e-12)
    assert found.n_products == found.n_steps * BLOCK < N


def test_locked_vectors_are_left_out(planted):
    value_k, operator, vector_xk = planted
    locked = vector_xk[:, :40]
    found = run(operator, locked, 0.1)
    assert found.vector_xk.shape[1] == np.count_nonzero(value_k[40:] > 0.1)
    assert np.abs(locked.T @ found.vector_xk).max() < 1e-12


def test_too_little_memory_is_said(planted):
    _, operator, _ = planted
    with pytest.raises(ScienceError, match="did not converge with 160 Lanczos vectors"):
        run(operator, np.empty((N, 0)), 0.1, max_vectors=160)
    with pytest.raises(ScienceError, match="too few for Lanczos"):
        run(operator, np.empty((N, 0)), 0.1, max_vectors=20)


def test_a_short_run_bounds_what_it_may_have_overlooked(planted):
    """The bound is true, and gets sharper with every step."""
    value_k, operator, vector_xk = planted
    before = np.inf
    for steps in (3, 6, 12):
        short = run(operator, vector_xk[:, :150], 0.5, min_steps=steps)
        assert short.vector_xk.shape[1] == 0
        bound = overlooked_above(short, N, 0.01, 1e-9)
        assert value_k[150:].max() < bound < before
        before = bound
    assert bound < 0.02
    one_step = run(operator, vector_xk[:, :150], 0.5, min_steps=1)
    assert np.isinf(overlooked_above(one_step, N, 0.01, 1e-9))


def test_a_planted_omission_is_found(planted):
    value_k, operator, vector_xk = planted
    known = np.delete(vector_xk[:, :150], 77, axis=1)
    found = run(operator, known, 0.1)
    assert found.vector_xk.shape[1] == 1
    assert abs(found.vector_xk[:, 0] @ vector_xk[:, 77]) == pytest.approx(1.0, abs=1e-12)
    assert found.largest == pytest.approx(value_k[77], rel=1e-12)
