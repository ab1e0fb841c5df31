# SPDX-License-Identifier: BSD-3-Clause
"""The whole step, in this process and as the child process that production starts."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bp_distributed.errors import ConfigError, Reason, ScienceError
from bp_distributed.physics.vibration import vibration_step
from bp_distributed.units import VARIABLES

EXACT = 1e-12

REQUEST = {
    "potential_file": "potential.eam.fs",
    "elements": ["Cu", "Zr"],
    "bin_width": 0.5,
    "omega_cut": 10.0,
    "all_vectors_below_atoms": 1100,
    "kernel_width": 0.4,
    "solver": "auto",
    "certificate": "auto",
    "store_vectors": "none",
    "memory_bytes": None,
    "threads": 1,
}

ORDER = list(VARIABLES)
VIBRATION = set(ORDER[ORDER.index("n_modes") :]) - {"vector"}


def inputs_of(sample):
    return {"position": sample.positions_ic, "cell": sample.cell_cc, "species": sample.species_i}


@pytest.fixture
def workdir(tmp_path, cuzr_path):
    shutil.copy(cuzr_path, tmp_path / "potential.eam.fs")
    return tmp_path


def test_step_returns_every_variable_with_its_dimensions(tiny_glass, workdir):
    notes = []
    outcome = vibration_step(REQUEST, inputs_of(tiny_glass), workdir, lambda *told: notes.append(told))
    assert set(outcome.arrays) == VIBRATION
    sizes = {"atom": tiny_glass.n_atoms, "mode": 3 * tiny_glass.n_atoms - 3, "low_omega_bin": 20}
    for name, array in outcome.arrays.items():
        dims = VARIABLES[name].dims
        assert np.ndim(array) == len(dims), name
        assert np.isfinite(array).all(), name
        for dim, size in zip(dims, np.shape(array), strict=True):
            assert sizes.setdefault(dim, size) == size, name
    arrays = outcome.arrays
    assert sizes["low_mode"] == outcome.facts["n_modes_below_cut"] == np.count_nonzero(arrays["frequency"] < 10.0)
    np.testing.assert_allclose(arrays["atomic_vdos"].sum(axis=0), arrays["vdos"][:20], atol=EXACT)
    assert arrays["vdos"].sum() * 0.5 == pytest.approx(1.0, abs=EXACT)
    assert arrays["residual"] < 1e-10
    assert 44.0 < arrays["frequency"][-1] < 50.0
    assert arrays["debye_level"] == pytest.approx(3 / arrays["debye_frequency"] ** 3)
    assert "324 degrees of freedom by lapack" in [note for _, _, note in notes][1]
    assert notes[-1][0] == notes[-1][1]
    assert set(outcome.evidence) >= {"criterion", "value", "threshold"}


def test_low_vectors_and_all_vectors_give_the_same(tiny_glass, workdir):
    few = vibration_step(REQUEST | {"all_vectors_below_atoms": 0}, inputs_of(tiny_glass), workdir, lambda *_: None)
    every = vibration_step(REQUEST, inputs_of(tiny_glass), workdir, lambda *_: None)
    for name in ("frequency", "participation_ratio", "atomic_intensity", "robust_intensity"):
        np.testing.assert_allclose(few.arrays[name], every.arrays[name], rtol=1e-8)


def test_child_process_leaves_arrays_and_a_verdict(tiny_glass, workdir):
    (workdir / "request.json").write_text(json.dumps(REQUEST))
    np.savez(workdir / "inputs.npz", **inputs_of(tiny_glass))
    command = [sys.executable, "-m", "bp_distributed.physics", "vibration"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=workdir, check=True, timeout=120, env=environment)
    verdict = json.loads((workdir / "verdict.json").read_text())
    here = vibration_step(REQUEST, inputs_of(tiny_glass), workdir, lambda *_: None)
    assert verdict["status"] == ("rejected" if here.rejected else "done")
    assert verdict["evidence"]["criterion"] == here.evidence["criterion"]
    with np.load(workdir / "arrays.npz") as arrays:
        assert set(arrays.files) == VIBRATION
        np.testing.assert_allclose(arrays["frequency"], here.arrays["frequency"], rtol=1e-10)


@pytest.mark.parametrize("solver", ["chebyshev", "slepc"])
def test_low_modes_by_another_solver_give_the_same_spectrum(small_glass, workdir, solver, built_slepc):
    settings = REQUEST | {"all_vectors_below_atoms": 0, "omega_cut": 14.0}
    every = vibration_step(settings | {"solver": "lapack"}, inputs_of(small_glass), workdir, lambda *_: None).arrays
    request = settings | {"solver": solver, "store_vectors": "float32"}
    outcome = vibration_step(request, inputs_of(small_glass), workdir, lambda *_: None)
    low = outcome.arrays
    n_low = np.count_nonzero(every["frequency"] < 14.0)
    np.testing.assert_allclose(low["frequency"], every["frequency"][:n_low], rtol=1e-10)
    assert low["n_modes"] == every["n_modes"] == len(every["frequency"])
    assert 14.0 <= low["certified_below"] < 15.0
    assert outcome.facts["solver"].startswith(solver)
    np.testing.assert_allclose(low["reduced_vdos"], every["reduced_vdos"][: len(low["reduced_vdos"])], rtol=1e-12)
    np.testing.assert_allclose(low["atomic_vdos"], every["atomic_vdos"], atol=1e-9)
    assert low["intensity"] == pytest.approx(every["intensity"])
    assert low["vector"].dtype == np.float32
    np.testing.assert_allclose(np.einsum("kic,kic->k", low["vector"], low["vector"]), 1.0, rtol=1e-5)


def test_density_of_states_at_all_frequencies(small_glass, workdir):
    """Kernel polynomials against all modes, broadened alike; the error holds noise and broadening."""
    arrays = vibration_step(REQUEST, inputs_of(small_glass), workdir, lambda *_: None).arrays
    omega, error, top = arrays["kpm_omega"], arrays["kpm_vdos_error"], arrays["kpm_omega"][-1]
    width = np.pi / 2 / 321 * np.sqrt((top + 0.2) ** 2 - omega**2)
    exact = np.exp(-0.5 * ((omega - arrays["frequency"][:, None]) / width) ** 2) / width
    exact = exact.sum(axis=0) / (np.sqrt(2 * np.pi) * arrays["n_modes"])
    inside = (omega > 5.0) & (omega < 40.0)
    assert (np.abs(arrays["kpm_vdos"] - exact) < 3 * error)[inside].mean() > 0.9
    assert error[inside].mean() < 0.15 * exact[inside].mean()


def test_no_minimum_and_no_number_are_the_samples_fault(tiny_glass, workdir):
    rng = np.random.default_rng(0)
    shaken = tiny_glass.moved(0.3 * rng.normal(size=(tiny_glass.n_atoms, 3)))
    with pytest.raises(ScienceError, match="not a minimum") as caught:
        vibration_step(REQUEST, inputs_of(shaken), workdir, lambda *_: None)
    assert caught.value.reason is Reason.UNSTABLE
    broken = inputs_of(tiny_glass)
    broken["position"] = broken["position"].copy()
    broken["position"][3, 1] = np.nan
    with pytest.raises(ScienceError, match="not finite") as caught:
        vibration_step(REQUEST, broken, workdir, lambda *_: None)
    assert caught.value.reason is Reason.NOT_FINITE


def test_missing_potential_is_the_users_fault(tiny_glass, workdir):
    with pytest.raises(ConfigError, match="cannot be read"):
        vibration_step(REQUEST | {"potential_file": "none.eam.fs"}, inputs_of(tiny_glass), workdir, lambda *_: None)
