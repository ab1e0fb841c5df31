# SPDX-License-Identifier: BSD-3-Clause
"""A real 4000-atom glass of the papers' size, given as a file, goes through ``bpd run`` to its boson peak.

The reference values are those of ``physics.md`` 2.2 for the very same sample, made there with other code.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from small_campaign import SHARED, write_campaign

from bp_distributed.driver import Ending
from bp_distributed.physics.spectrum import histogram

NAME = "cu50zr50_n4000_melt1_branch00.data"
GLASSES = Path(os.environ.get("BPD_GLASSES", SHARED / "glasses"))
POTENTIALS = Path(os.environ.get("BPD_TEST_POTENTIALS", SHARED / "potentials"))
MICRO_THZ = 1e6
LOWEST_RAD_PS = [1.82, 2.10, 2.12, 2.27]  # as printed there
INTENSITIES = {0.25: 339, 0.5: 287, 1.0: 253}  # µTHz⁻³, by bin width


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    if not (GLASSES / NAME).is_file() or not (POTENTIALS / "Cu-Zr_4.eam.fs").is_file():
        pytest.skip("needs shared/glasses and shared/potentials, which are not ours to redistribute")
    text = (
        f"name: glass\npotential: {POTENTIALS / 'Cu-Zr_4.eam.fs'}\n"
        f"samples: [{{label: given, structures: [{GLASSES / NAME}], elements: [Cu, Zr]}}]\n"
        "resources: {vibration: {cores: 2, memory: 4}}\nvibration: {store_vectors: float32}\n"
    )
    campaign = write_campaign(tmp_path_factory.mktemp("glass") / "campaign", text)
    assert campaign.run(workers=0) is Ending.FINISHED
    return campaign


@pytest.mark.slow
def test_energy_and_density_are_those_of_the_sample(campaign):
    with (GLASSES / "index.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["file"] == NAME)
    energy_key, density_key = (next(key for key in row if part in key) for part in ("energy", "density"))
    result = campaign.load(campaign.store.plan.samples[0].sid, "relax")
    assert float(result["energy"]) / 4000 == pytest.approx(float(row[energy_key]), abs=1e-8)
    assert float(result["density"]) == pytest.approx(float(row[density_key]), abs=1e-4)
    assert float(result["max_force"]) < 1e-6


@pytest.mark.slow
def test_the_spectrum_is_the_reference_spectrum(campaign):
    result = campaign.load(campaign.store.plan.samples[0].sid, "vibration")
    frequency_k = result["frequency"].to_numpy()
    assert len(frequency_k) == 724  # Tao et al. count 724 too
    assert int(result["n_modes"]) == 3 * 4000 - 3
    assert 10.0 <= float(result["certified_below"]) < 10.3
    assert float(result["orthogonality"]) < 1e-10
    np.testing.assert_allclose(frequency_k[:4], LOWEST_RAD_PS, atol=0.005)
    found = {
        width: round(histogram(frequency_k, width, n_modes=11997, known_below=10.0).reduced_w.max() * MICRO_THZ)
        for width in INTENSITIES
    }
    assert found == pytest.approx(INTENSITIES, abs=1)
    assert float(result["intensity"]) * MICRO_THZ == pytest.approx(INTENSITIES[0.5], abs=1)
    assert 95 < float(result["debye_level"]) * MICRO_THZ < 101
    assert float(result["residual"]) < 1e-10
    assert result.sizes["low_mode"] == 724


@pytest.mark.slow
def test_density_of_states_at_all_frequencies_joins_the_low_modes(campaign):
    result = campaign.load(campaign.store.plan.samples[0].sid, "vibration")
    omega, vdos, error = (result[name].to_numpy() for name in ("kpm_omega", "kpm_vdos", "kpm_vdos_error"))
    assert 49.0 < omega[-1] < 50.0  # the highest frequency is 49.3
    assert np.trapezoid(vdos, omega) == pytest.approx(1.0, abs=0.01)
    low = (omega > 2.0) & (omega < 9.0)
    spread = 0.25 * np.sqrt(1 - (omega[low] / omega[-1]) ** 2)
    exact = np.exp(-0.5 * ((omega[low] - result["frequency"].to_numpy()[:, None]) / spread) ** 2)
    exact = exact.sum(axis=0) / (np.sqrt(2 * np.pi) * spread * int(result["n_modes"]))
    assert (np.abs(vdos[low] - exact) < 4 * error[low]).mean() > 0.9


@pytest.mark.slow
def test_atomic_spectra_sum_to_the_whole(campaign):
    result = campaign.load(campaign.store.plan.samples[0].sid, "vibration")
    low = result.sizes["low_omega_bin"]
    total = result["atomic_vdos"].to_numpy().astype(float).sum(axis=0)
    np.testing.assert_allclose(total, result["vdos"].to_numpy()[:low], rtol=1e-5)  # stored in single precision
    assert (result["atomic_intensity"].to_numpy() > 0).all()


@pytest.mark.slow
def test_the_first_peaks_stand_where_they_should(campaign):
    result = campaign.load(campaign.store.plan.samples[0].sid, "structure")
    peaks = result["r"].to_numpy()[result["partial_pdf"].to_numpy().argmax(axis=1)]
    assert dict(zip(("CuCu", "CuZr", "ZrZr"), peaks, strict=True)) == pytest.approx(
        {"CuCu": 2.55, "CuZr": 2.75, "ZrZr": 3.25}, abs=0.11
    )
