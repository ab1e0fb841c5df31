# SPDX-License-Identifier: BSD-3-Clause
"""A small given glass is warmed through ``bpd run``; its inherent structures go into the dataset."""

import numpy as np
import pytest
from given_glass import N_ATOMS, in_slices, moving_campaign

from bp_distributed.gather import open_dataset
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.quench import Dynamics
from bp_distributed.physics.temperatures import departure, warming_segments
from bp_distributed.units import VARIABLES

ORDER = list(VARIABLES)
TEMPERATURES = {*ORDER[ORDER.index("temperature") : ORDER.index("frame_time")], "low_omega"}
SERIES = (20.0, 1500.0)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return moving_campaign(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def results(campaign):
    """What the stages vibration and temperatures left, and the glass."""
    (sample,) = campaign.store.plan.samples
    return tuple(campaign.load(sample.sid, stage) for stage in ("vibration", "temperatures", "relax"))


def test_the_stage_leaves_every_variable(results):
    _, found, _ = results
    assert set(found.variables) == TEMPERATURES
    np.testing.assert_array_equal(found["temperature"], SERIES)
    np.testing.assert_allclose(found["thermal_volume"], 12.45**3 / N_ATOMS)  # constant volume
    assert float(found["thermal_temperature"][1]) == pytest.approx(1500, rel=0.3)  # fluctuations of 108 atoms: 8 %


def test_a_cold_glass_keeps_its_inherent_structure_and_spectrum(results):
    """20 K in 1 ps moves no atom to another place, so the minimum, and every number of it, is that of the glass."""
    glass, found, relaxed = results
    assert float(found["inherent_displacement"][0]) < 1e-4
    assert float(found["inherent_moved"][0]) == 0.0
    assert float(found["inherent_energy"][0]) * N_ATOMS == pytest.approx(float(relaxed["energy"]), abs=1e-6)
    for name in ("intensity", "peak_frequency", "robust_intensity", "robust_peak_frequency"):
        assert float(found[f"inherent_{name}"][0]) == pytest.approx(float(glass[name]), rel=1e-4)
    assert float(found["inherent_shear_modulus"][0]) == pytest.approx(float(glass["shear_modulus"]), rel=1e-4)
    n_low = found.sizes["low_omega_bin"]
    np.testing.assert_allclose(found["inherent_reduced_vdos"][0], glass["reduced_vdos"][:n_low], rtol=1e-6)
    np.testing.assert_allclose(found["thermal_omega"], glass["kpm_omega"])
    # The order of atoms, and with it the random vectors, is another.
    difference = np.abs(found["inherent_vdos"][0].to_numpy() - glass["kpm_vdos"].to_numpy())
    assert (difference < 6 * glass["kpm_vdos_error"].to_numpy()).all()


def test_a_hot_one_finds_another(results):
    _, found, _ = results
    assert float(found["inherent_displacement"][1]) > 0.1
    assert float(found["inherent_energy"][1]) != pytest.approx(float(found["inherent_energy"][0]), abs=1e-5)
    # Of a classical solid: kT / 2 of potential energy per degree of freedom above its inherent structure.
    above = (found["thermal_energy"] - found["inherent_energy"]).to_numpy()
    np.testing.assert_allclose(above[0], 1.5 * 8.617e-5 * float(found["thermal_temperature"][0]), rtol=0.35)


def test_cut_into_slices_it_comes_out_bit_for_bit(campaign, results, tmp_path):
    statuses, arrays = in_slices(campaign, "temperatures", tmp_path)
    assert statuses == ["paused"] * 3 + ["done"]  # one segment each
    _, found, _ = results
    for name in TEMPERATURES:
        np.testing.assert_array_equal(arrays[name], found[name], err_msg=name)


def test_it_is_gathered(campaign):
    campaign.gather()
    with open_dataset(campaign.root / "products" / "dataset.nc") as dataset:
        assert dataset["inherent_energy"].dims == ("sample", "temperature")
        assert dataset["inherent_vdos"].dims == ("sample", "temperature", "thermal_bin")
        np.testing.assert_array_equal(dataset["temperature"], SERIES)
        assert dataset["cooling_rate"].to_numpy().tolist() == [1e13]  # told of a structure made elsewhere


def test_ramps_and_holds_follow_each_other():
    request = {"series_K": [100, 300], "heating_ps": 1.0, "relaxation_ps": 2.0, "timestep_fs": 2.0, "barostat": "none",
               "thermostat_ps": 0.1, "barostat_ps": 1.0, "checkpoint_steps": 500, "history_steps": 50}  # fmt: skip
    segments = warming_segments(request, Dynamics.of(request))
    assert [(s.first, s.last, s.start_K, s.stop_K, s.branch) for s in segments] == [
        (0, 500, 10.0, 100.0, None), (500, 1500, 100.0, 100.0, 0), (1500, 2000, 100.0, 300.0, None),
        (2000, 3000, 300.0, 300.0, 1),
    ]  # fmt: skip


def test_departures_forget_drift_wrapping_and_the_volume():
    rng = np.random.default_rng(0)
    glass = Configuration(rng.uniform(0, 10, (50, 3)), 10 * np.eye(3), np.zeros(50, dtype=int), ("Cu",))
    moved_ic = np.zeros((50, 3))
    moved_ic[7] = [1.5, 0, 0]
    moved_ic[8] = [-1.5, 0, 0]
    other = Configuration((glass.positions_ic + moved_ic + 0.3) % 10 * 1.1, 11 * np.eye(3), glass.species_i, ("Cu",))
    found = departure(other, glass)
    assert found["inherent_displacement"] == pytest.approx(1.5 * np.sqrt(2 / 50))
    assert found["inherent_moved"] == pytest.approx(2 / 50)
