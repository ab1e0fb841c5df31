# SPDX-License-Identifier: BSD-3-Clause
"""The atoms of a small given glass move through ``bpd run``, and are judged by how harmonic that was."""

import numpy as np
import pytest
from given_glass import N_ATOMS, in_slices, moving_campaign
from scipy import linalg

from bp_distributed.gather import open_dataset
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential
from bp_distributed.physics.trajectory import judge_motion
from bp_distributed.units import VARIABLES

ORDER = list(VARIABLES)
TRAJECTORY = set(ORDER[ORDER.index("frame_time") : ORDER.index("searched_atom")])
KEPT_APART = {"frame_time", "frame_displacement", "frame_energy", "rest_position"}
BOLTZMANN = 8.617333e-5


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return moving_campaign(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def found(campaign):
    (sample,) = campaign.store.plan.samples
    return campaign.load(sample.sid, "trajectory")


@pytest.fixture(scope="module")
def glass(campaign):
    """The glass, and its potential."""
    (sample,) = campaign.store.plan.samples
    stored = campaign.load(sample.sid, "relax")
    potential = read_potential(campaign.root / campaign.store.plan.potential.file, ["Cu", "Zr"])
    arrays = [stored[name].to_numpy() for name in ("position", "cell", "species")]
    return Configuration(arrays[0], arrays[1], arrays[2].astype(int), potential.elements), potential


def test_the_stage_leaves_every_variable(found):
    assert set(found.variables) == TRAJECTORY
    assert found["frame_displacement"].shape == (41, N_ATOMS, 3)
    np.testing.assert_allclose(found["frame_time"], 0.08 * np.arange(41))
    assert float(found["trajectory_temperature"]) == pytest.approx(50, rel=0.5)  # after half a picosecond


def test_the_centre_of_mass_stays(found, glass):
    configuration, potential = glass
    mass_i = potential.masses_e[configuration.species_i]
    centre_fc = np.einsum("i,fic->fc", mass_i, found["frame_displacement"].to_numpy()) / mass_i.sum()
    np.testing.assert_allclose(centre_fc - centre_fc[0], 0.0, atol=1e-5)


def test_energies_are_those_of_the_frames(found, glass):
    """The basin is the glass itself here; each frame's energy is that of the glass with its displacement added."""
    configuration, potential = glass
    assert float(found["rest_moved"]) < 1e-3
    for frame in (0, 17, 40):
        moved = configuration.moved(found["frame_displacement"].to_numpy()[frame].astype(float))
        np.testing.assert_allclose(found["frame_energy"][frame], evaluate(moved, potential).energies_i, atol=2e-3)
    np.testing.assert_allclose(found["rest_energy"], evaluate(configuration, potential).energies_i, atol=1e-3)


def test_cut_into_slices_it_comes_out_bit_for_bit(campaign, found, tmp_path):
    statuses, arrays = in_slices(campaign, "trajectory", tmp_path)
    assert statuses == ["paused"] * 3 + ["done"]  # heating, equilibration, and two slices of what is recorded
    for name in TRAJECTORY:
        np.testing.assert_array_equal(arrays[name], found[name], err_msg=name)


def test_what_is_of_single_atoms_is_gathered_and_frames_are_not(campaign):
    campaign.gather()
    with open_dataset(campaign.root / "products" / "dataset.nc") as dataset:
        assert not KEPT_APART & set(dataset.variables)
        assert set(dataset.variables) >= TRAJECTORY - KEPT_APART
        assert dataset["atomic_anharmonicity"].sizes == {"row": N_ATOMS}


def thermal_frames(glass, temperature, n_frames=60):
    """Return displacements drawn from the harmonic ensemble of the glass at a temperature."""
    configuration, potential = glass
    value_k, vector_xk = linalg.eigh(factored_hessian(configuration, potential).dense())
    rng = np.random.default_rng(1)
    weight_kf = np.zeros((len(value_k), n_frames))
    weight_kf[3:] = rng.normal(size=(len(value_k) - 3, n_frames)) * np.sqrt(BOLTZMANN * temperature / value_k[3:, None])
    return (vector_xk @ weight_kf).T.reshape(n_frames, -1, 3)


def test_anharmonicity_vanishes_with_the_amplitude_and_grows_with_it(glass):
    """Cubic forces over linear ones go as the amplitude, that is, as the root of the temperature."""
    tiny, small, large = (judge_motion(*glass, thermal_frames(glass, kelvin))[1] for kelvin in (0.01, 10.0, 90.0))
    assert tiny.anharmonicity < 0.01  # what is left is the noise of the tables
    assert large.anharmonicity / small.anharmonicity == pytest.approx(3, rel=0.1)
    np.testing.assert_allclose(large.amplitude_i / small.amplitude_i, 3.0, rtol=1e-6)


def test_one_atom_on_its_own_follows_a_parabola(glass):
    """All others held, an atom that is pushed to and fro has the energy ½ k d², k from its own block of the Hessian."""
    configuration, potential = glass
    push_f = np.linspace(-0.01, 0.01, 21)
    displacement_fic = np.zeros((21, N_ATOMS, 3))
    displacement_fic[:, 5, 0] = push_f
    energy_fi, motion = judge_motion(configuration, potential, displacement_fic)
    dense = factored_hessian(configuration, potential).dense()
    total_f = energy_fi.sum(axis=1)
    assert 2 * np.polyfit(push_f, total_f, 2)[0] == pytest.approx(dense[15, 15], rel=1e-3)
    own = np.polyfit(push_f**2, energy_fi[:, 5], 1)[0]
    assert motion.curvature_i[5] == pytest.approx(2 * own, rel=1e-9)
    assert motion.farthest_i[5] == pytest.approx(0.02)
    assert motion.amplitude_i[5] == pytest.approx(np.sqrt(np.mean(push_f**2)))
    assert (motion.r2_i[:5] == 0).all()  # they stood still


def test_r2_is_the_squared_correlation(glass):
    frames = thermal_frames(glass, 50.0)
    energy_fi, motion = judge_motion(*glass, frames)
    square_f = np.square(frames[:, 3] - frames[:, 3].mean(axis=0)).sum(axis=1)
    assert motion.r2_i[3] == pytest.approx(np.corrcoef(square_f, energy_fi[:, 3])[0, 1] ** 2)
