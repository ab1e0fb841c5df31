# SPDX-License-Identifier: BSD-3-Clause
"""γ of inverse powers (closed form), both ways against each other, against followed eigenvalues, and symmetry."""

import numpy as np
import pytest
from small_systems import fcc, relaxed, shared_file

from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.gruneisen import (
    atomic_gruneisen,
    departure,
    followed_gruneisen,
    rank_gruneisen,
    scaled,
    volume_response,
)
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import normal_modes
from bp_distributed.physics.potential import read_potential
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

A0 = 3.63909  # Å, fcc Cu of the 2019 file
POWER = 12


def modes_of(configuration, potential, *, omega_cut=10.0, all_vectors=True):
    hessian = factored_hessian(configuration, potential)
    return normal_modes(hessian, potential.masses_e[configuration.species_i], omega_cut, all_vectors=all_vectors)


def followed_of(configuration, potential, modes=None):
    modes = modes or modes_of(configuration, potential)
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    known = modes.frequency_k[: len(modes.vectors_kic)]
    return followed_gruneisen(configuration, potential, response_ic, known, modes.vectors_kic)


def setfl_of_inverse_powers(path, cutoff, n_knots=24000):
    """(σ/r)^n between two species that differ, no density, no embedding."""
    r = np.arange(n_knots) * (cutoff + 0.1) / n_knots
    lines = ["inverse powers", "", "", "2 Cu Zr", f"10 1.0 {n_knots} {float(r[1])!r} {cutoff}"]
    for number, mass in ((29, 63.546), (40, 91.224)):
        lines += [f"{number} {mass} 0 fcc", *["0"] * 10, *["0"] * n_knots]
    for sigma in (2.4, 2.45, 2.5):
        lines += map(repr, (r * (sigma / np.maximum(r, 1.0)) ** POWER).tolist())
    path.write_text("\n".join(lines) + "\n")
    return read_potential(path, ("Cu", "Zr"))


@pytest.fixture(scope="module")
def power_crystal(tmp_path_factory):
    """A disordered alloy on fcc sites; the cutoff lies between its third and fourth shell, so no pair comes near."""
    potential = setfl_of_inverse_powers(tmp_path_factory.mktemp("power") / "power.eam.alloy", 4.75)
    perfect = fcc(3.6, 2, ("Cu", "Zr"))
    species_i = np.random.default_rng(3).permutation(np.arange(perfect.n_atoms) % 2)
    start = Configuration(perfect.positions_ic, perfect.cell_cc, species_i, perfect.elements)
    return relaxed(start, potential), potential


# φ‴ of the table's cubics is off by some (n + 3) dr / r within a knot; a difference over several knots averages it.
TABLE = 2e-3


def test_inverse_power_gives_the_closed_form_for_every_mode(power_crystal):
    found = followed_of(*power_crystal)
    np.testing.assert_allclose(found.gruneisen_k, (POWER + 2) / 6, rtol=TABLE)
    assert len(found.gruneisen_k) == 3 * power_crystal[0].n_atoms - 3
    assert found.error_k.max() < 2 * TABLE * (POWER + 2) / 6


def test_inverse_power_needs_no_non_affine_displacement(power_crystal):
    configuration, potential = power_crystal
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    assert np.abs(response_ic).max() < 1e-3


def test_inverse_power_by_rank(power_crystal):
    configuration, potential = power_crystal
    h = 0.01
    ends = [relaxed(scaled(configuration, ratio), potential) for ratio in (1 - h, 1.0, 1 + h)]
    frequencies = [modes_of(end, potential).frequency_k for end in ends]
    gamma = (POWER + 2) / 6
    # ω is V^(-γ), whose secant has a term in h².
    secant = ((1 - h) ** -gamma - (1 + h) ** -gamma) / (2 * h)
    np.testing.assert_allclose(rank_gruneisen(*frequencies, h), secant, rtol=1e-5)


def test_mean_of_followed_and_of_ranked_agree_in_a_glass(tiny_glass, cuzr):
    h = 2e-3
    modes = modes_of(tiny_glass, cuzr)
    ends = [relaxed(scaled(tiny_glass, ratio), cuzr) for ratio in (1 - h, 1 + h)]
    response_ic = volume_response(tiny_glass, cuzr, factored_hessian(tiny_glass, cuzr))
    missed = [departure(tiny_glass, end, response_ic, step) for end, step in zip(ends, (-h, h), strict=True)]
    assert not any(found.is_jump for found in missed)
    below, above = (modes_of(end, cuzr).frequency_k for end in ends)
    ranked_k = rank_gruneisen(below, modes.frequency_k, above, h)
    followed_k = followed_of(tiny_glass, cuzr, modes).gruneisen_k
    assert ranked_k.mean() == pytest.approx(followed_k.mean(), rel=2e-2)


def test_followed_is_the_slope_of_eigenvalues_matched_by_overlap(tiny_glass, cuzr):
    modes = modes_of(tiny_glass, cuzr)
    response_ic = volume_response(tiny_glass, cuzr, factored_hessian(tiny_glass, cuzr))
    h, masses_i = 5e-4, cuzr.masses_e[tiny_glass.species_i]
    vector_kx = modes.vectors_kic.reshape(len(modes.vectors_kic), -1)
    value, sure = [], np.ones(len(vector_kx), dtype=bool)
    for step in (-h, h):
        there = scaled(tiny_glass, 1 + step).moved(step * response_ic)
        found_k, vector_xk = np.linalg.eigh(factored_hessian(there, cuzr, masses_i=masses_i).dense())
        overlap_kk = np.abs(vector_kx @ vector_xk)
        value.append(found_k[overlap_kk.argmax(axis=1)])
        sure &= overlap_kk.max(axis=1) > 0.98
    value_k = (modes.frequency_k / OMEGA_PER_SQRT_EIGENVALUE) ** 2
    brute_k = -(value[1] - value[0]) / (2 * h) / (2 * value_k)
    followed = followed_of(tiny_glass, cuzr, modes)
    assert sure.sum() > 100
    np.testing.assert_allclose(followed.gruneisen_k[sure], brute_k[sure], atol=2.0)


def test_mean_of_fcc_copper_is_the_slope_of_the_whole_spectrum():
    copper = read_potential(shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs"), ("Cu",))
    crystal, h = fcc(A0, 3), 2e-3
    sums = [np.log(modes_of(scaled(crystal, ratio), copper).frequency_k).mean() for ratio in (1 - h, 1 + h)]
    slope = -(sums[1] - sums[0]) / (2 * h)
    found = followed_of(crystal, copper).gruneisen_k
    assert found.mean() == pytest.approx(slope, rel=2e-2)


def test_relabelled_atoms_have_the_same_parameters(tiny_glass, cuzr):
    order_i = np.random.default_rng(5).permutation(tiny_glass.n_atoms)
    shuffled = Configuration(
        tiny_glass.positions_ic[order_i], tiny_glass.cell_cc, tiny_glass.species_i[order_i], tiny_glass.elements
    )
    here, there = modes_of(tiny_glass, cuzr), modes_of(shuffled, cuzr)
    here_k, there_k = (followed_of(s, cuzr, m).gruneisen_k for s, m in ((tiny_glass, here), (shuffled, there)))
    np.testing.assert_allclose(there_k, here_k, atol=1e-4)
    here_i, there_i = atomic_gruneisen(here_k, here.vectors_kic), atomic_gruneisen(there_k, there.vectors_kic)
    np.testing.assert_allclose(there_i, here_i[order_i], atol=1e-4)
    assert here_i.sum() == pytest.approx(here_k.sum())
