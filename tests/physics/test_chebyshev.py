# SPDX-License-Identifier: BSD-3-Clause
"""The polynomial filter against the eigen-decomposition, and the upper bound of the spectrum."""

import numpy as np
import pytest
from scipy import linalg
from small_systems import random_start

from bp_distributed.physics.chebyshev import Filter, spectral_bound
from bp_distributed.physics.hessian import factored_hessian

EDGE = 0.03  # eV/Å²/amu; the spectrum ends near 0.24


@pytest.mark.parametrize(("n_steps", "closeness"), [(10, 1.5), (30, 1.06), (60, 1.01)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bound_lies_above_the_spectrum_and_close(tiny_dynamical, tiny_exact, n_steps, closeness, dtype):
    assert tiny_exact[0][-1] < spectral_bound(tiny_dynamical.astype(dtype), n_steps) < closeness * tiny_exact[0][-1]


def test_bound_of_a_tiny_system(cuzr):
    sample = random_start(9, ("Cu", "Zr"), 5.6, seed=2)
    hessian = factored_hessian(sample, cuzr)
    assert spectral_bound(hessian) == pytest.approx(linalg.eigvalsh(hessian.dense())[-1], rel=2e-6)


def test_filter_is_its_polynomial_of_every_eigenvalue(tiny_dynamical, tiny_exact):
    value_k, vector_xk = tiny_exact
    polynomial = Filter(tiny_dynamical, edge=EDGE, top=spectral_bound(tiny_dynamical), degree=24)
    filtered = vector_xk.T @ polynomial(np.ascontiguousarray(vector_xk))
    np.testing.assert_allclose(filtered, np.diag(filtered.diagonal()), atol=1e-12)
    low = value_k < EDGE
    assert 5 < np.count_nonzero(low) < 100
    np.testing.assert_allclose(filtered.diagonal()[low], polynomial.value(value_k[low]), rtol=1e-10)
    assert np.abs(filtered.diagonal()[~low]).max() <= polynomial.damping * (1 + 1e-9)
    assert polynomial.value(0.0) == pytest.approx(1.0)


def test_value_and_eigenvalue_are_inverse(tiny_dynamical):
    polynomial = Filter(tiny_dynamical, edge=EDGE, top=0.25, degree=24)
    for eigenvalue in (-0.005, 0.0, 0.007, 0.029):
        assert polynomial.eigenvalue(float(polynomial.value(eigenvalue))) == pytest.approx(eigenvalue, abs=1e-14)
    assert polynomial.eigenvalue(0.0) == pytest.approx(EDGE)
    assert polynomial.eigenvalue(np.inf) == -np.inf
