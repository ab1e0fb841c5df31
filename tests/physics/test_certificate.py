# SPDX-License-Identifier: BSD-3-Clause
"""The proof by Cholesky: true where the list is complete, refused where a mode is withheld."""

import numpy as np
import pytest

from bp_distributed.physics import certificate
from bp_distributed.physics.certificate import nothing_below


@pytest.mark.parametrize("panel", [5, 36, 256])
def test_complete_list_is_proved_and_every_omission_noticed(tiny_dynamical, tiny_exact, panel, monkeypatch):
    monkeypatch.setattr(certificate, "PANEL_ATOMS", panel)
    value_k, vector_xk = tiny_exact
    n_known = 20
    shift = 0.5 * (value_k[n_known - 1] + value_k[n_known])
    told = []
    assert nothing_below(tiny_dynamical, shift, vector_xk[:, :n_known], 2 * shift, lambda *at: told.append(at))
    assert told[-1][0] == told[-1][1] == -(-108 // panel)
    for missing in (0, 3, n_known - 1):
        known = np.delete(vector_xk[:, :n_known], missing, axis=1)
        assert not nothing_below(tiny_dynamical, shift, known, 2 * shift)


@pytest.mark.parametrize(("beyond", "provable"), [(-1e-6, True), (1e-6, False)])
def test_shift_just_below_and_just_above_an_eigenvalue(tiny_dynamical, tiny_exact, beyond, provable):
    value_k, vector_xk = tiny_exact
    shift = value_k[20] * (1 + beyond)
    assert nothing_below(tiny_dynamical, shift, vector_xk[:, :20], 2 * shift) is provable
