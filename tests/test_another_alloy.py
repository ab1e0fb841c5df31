# SPDX-License-Identifier: BSD-3-Clause
"""Nothing is tied to copper and zirconium: another alloy from melt to spectrum (docs/another_alloy.md at a larger size)."""

import numpy as np
import pytest
from small_campaign import write_campaign

from bp_distributed.config import default_potential
from bp_distributed.units import G_CM3_PER_AMU_A3

FE_P = """\
name: other
potential: {name: FeP_mm.eam.fs}
samples:
  - {label: glass, composition: {Fe: 75, P: 25}, n_atoms: 108, cooling_rates: 1e15}
protocol: {melt_temperature: 2500, heating: 1, hold: 3, branch_spacing: 1, barostat: iso}
vibration: {bin_width: 2.0, omega_cut: 30}
"""


@pytest.fixture(scope="module")
def glass(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BPD_POTENTIALS", str(default_potential().parent))
        campaign = write_campaign(tmp_path_factory.mktemp("other") / "c", FE_P)
        assert campaign.run(workers=0) == "finished"
        return campaign.gather().load()


def test_elements_masses_and_pairs_are_those_of_the_potential(glass):
    assert glass["element"].to_numpy().tolist() == ["Fe", "P"]
    assert glass["element_pair"].to_numpy().tolist() == ["FeFe", "FeP", "PP"]
    assert np.bincount(glass["species"]).tolist() == [81, 27]
    mass = 81 * 55.845 + 27 * 30.973762
    volume = abs(np.linalg.det(glass["cell"].to_numpy()[0]))
    assert glass["density"].item() == pytest.approx(mass / volume * G_CM3_PER_AMU_A3, rel=1e-3)
    assert glass["n_modes"].item() == 3 * 108 - 3


def test_light_atoms_vibrate_fast_and_the_spectrum_still_begins_at_1_rad_per_ps(glass):
    highest = glass["frequency"].max().item()
    assert highest > 60.0  # Cu-Zr ends near 47: a fixed number of moments would not resolve 1 rad/ps here
    assert glass["kpm_omega"].to_numpy()[0] == 1.0
    reduced = glass["kpm_reduced_vdos"].to_numpy()[0]
    assert np.isfinite(reduced).all()
    assert np.all(reduced != 0.0)  # where nothing is known the gathered spectrum would read zero
    assert glass["vdos"].sum().item() * 2.0 == pytest.approx(1.0, rel=1e-9)
