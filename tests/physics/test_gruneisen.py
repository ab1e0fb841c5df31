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


def alloy_of_powers(path, powers, cutoff=4.75, n_knots=24000):
    """Return a disordered alloy on fcc sites, relaxed, with pair energies (σ/r)^n, no density and no embedding.

    The cutoff lies between the third and the fourth shell, so no pair comes near it.
    """
    r = np.arange(n_knots) * (cutoff + 0.1) / n_knots
    lines = ["inverse powers", "", "", "2 Cu Zr", f"10 1.0 {n_knots} {float(r[1])!r} {cutoff}"]
    for number, mass in ((29, 63.546), (40, 91.224)):
        lines += [f"{number} {mass} 0 fcc", *["0"] * 10, *["0"] * n_knots]
    for sigma, power in zip((2.4, 2.45, 2.5), powers, strict=True):
        lines += map(repr, (r * (sigma / np.maximum(r, 1.0)) ** power).tolist())
    path.write_text("\n".join(lines) + "\n")
    potential = read_potential(path, ("Cu", "Zr"))
    perfect = fcc(3.6, 2, ("Cu", "Zr"))
    species_i = np.random.default_rng(3).permutation(np.arange(perfect.n_atoms) % 2)
    start = Configuration(perfect.positions_ic, perfect.cell_cc, species_i, perfect.elements)
    return relaxed(start, potential), potential


def ranked(configuration, potential, h):
    """Frequencies at V₀(1 - h), V₀ and V₀(1 + h), minimised anew."""
    ends = [relaxed(scaled(configuration, ratio), potential) for ratio in (1 - h, 1.0, 1 + h)]
    return [modes_of(end, potential).frequency_k for end in ends]


@pytest.fixture(scope="module")
def power_alloy(tmp_path_factory):
    return alloy_of_powers(tmp_path_factory.mktemp("one") / "power.eam.alloy", (POWER,) * 3)


@pytest.fixture(scope="module")
def mixed_alloy(tmp_path_factory):
    """No closed form, but free of the noise that tables of few digits bring."""
    return alloy_of_powers(tmp_path_factory.mktemp("mixed") / "mixed.eam.alloy", (8, 12, 18))


# φ‴ of the table's cubics is off by some (n + 3) dr / r within a knot; a difference over several knots averages it.
TABLE = 2e-3


def test_inverse_power_gives_the_closed_form_for_every_mode(power_alloy):
    found = followed_of(*power_alloy)
    np.testing.assert_allclose(found.gruneisen_k, (POWER + 2) / 6, rtol=TABLE)
    assert len(found.gruneisen_k) == 3 * power_alloy[0].n_atoms - 3
    assert found.error_k.max() < 2 * TABLE * (POWER + 2) / 6


def test_inverse_power_needs_no_non_affine_displacement(power_alloy):
    configuration, potential = power_alloy
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    assert np.abs(response_ic).max() < 1e-3


def test_inverse_power_by_rank(power_alloy):
    h, gamma = 0.01, (POWER + 2) / 6
    frequencies = ranked(*power_alloy, h)
    # ω is V^(-γ), whose secant has a term in h².
    secant = ((1 - h) ** -gamma - (1 + h) ** -gamma) / (2 * h)
    np.testing.assert_allclose(rank_gruneisen(*frequencies, h), secant, rtol=1e-5)


def test_means_agree_where_single_modes_differ(mixed_alloy):
    h = 1e-3
    followed_k = followed_of(*mixed_alloy).gruneisen_k
    ranked_k = rank_gruneisen(*ranked(*mixed_alloy, h), h)
    assert ranked_k.mean() == pytest.approx(followed_k.mean(), rel=TABLE)
    assert np.ptp(followed_k) > 0.1


def test_means_agree_in_a_glass_that_stays_in_its_basin(tiny_glass, cuzr):
    h = 2e-3
    response_ic = volume_response(tiny_glass, cuzr, factored_hessian(tiny_glass, cuzr))
    ends = [relaxed(scaled(tiny_glass, 1 + step), cuzr) for step in (-h, h)]
    missed = [departure(tiny_glass, end, response_ic, step) for end, step in zip(ends, (-h, h), strict=True)]
    assert not any(found.is_jump for found in missed)
    modes = modes_of(tiny_glass, cuzr)
    below, above = (modes_of(end, cuzr).frequency_k for end in ends)
    ranked_k = rank_gruneisen(below, modes.frequency_k, above, h)
    followed = followed_of(tiny_glass, cuzr, modes)
    affine = followed_gruneisen(tiny_glass, cuzr, 0.0 * response_ic, modes.frequency_k, modes.vectors_kic)
    assert ranked_k.mean() == pytest.approx(followed.gruneisen_k.mean(), abs=followed.error_k.mean())
    assert abs(ranked_k.mean() - affine.gruneisen_k.mean()) > 5 * followed.error_k.mean()


def test_followed_is_the_slope_of_eigenvalues_matched_by_overlap(mixed_alloy):
    configuration, potential = mixed_alloy
    modes = modes_of(configuration, potential)
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    h, masses_i = 1e-3, potential.masses_e[configuration.species_i]
    vector_kx = modes.vectors_kic.reshape(len(modes.vectors_kic), -1)
    value, sure = [], np.ones(len(vector_kx), dtype=bool)
    for step in (-h, h):
        there = scaled(configuration, 1 + step).moved(step * response_ic)
        found_k, vector_xk = np.linalg.eigh(factored_hessian(there, potential, masses_i=masses_i).dense())
        overlap_kk = np.abs(vector_kx @ vector_xk)
        value.append(found_k[overlap_kk.argmax(axis=1)])
        sure &= overlap_kk.max(axis=1) > 0.999
    value_k = (modes.frequency_k / OMEGA_PER_SQRT_EIGENVALUE) ** 2
    brute_k = -(value[1] - value[0]) / (2 * h) / (2 * value_k)
    followed = followed_of(configuration, potential, modes)
    assert sure.sum() > 0.8 * len(sure)
    np.testing.assert_allclose(followed.gruneisen_k[sure], brute_k[sure], rtol=TABLE)


def test_a_minimum_off_the_linear_path_is_a_jump(mixed_alloy):
    configuration, potential = mixed_alloy
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    h = 0.01
    linear = scaled(configuration, 1 + h).moved(h * response_ic + np.array([0.3, -0.2, 0.1]))  # drift does not count
    assert departure(configuration, linear, response_ic, h).relative < 1e-9
    real = departure(configuration, relaxed(scaled(configuration, 1 + h), potential), response_ic, h)
    assert 0.0 < real.relative < 0.1
    assert not real.is_jump
    one_ic = np.zeros_like(response_ic)
    one_ic[5, 1] = 0.5
    moved = departure(configuration, linear.moved(one_ic), response_ic, h)
    assert moved.is_jump
    assert moved.largest == pytest.approx(0.5 * (1 - 1 / configuration.n_atoms))


def test_degenerate_modes_may_come_in_any_mixture(mixed_alloy):
    configuration, potential = mixed_alloy
    modes = modes_of(configuration, potential)
    response_ic = volume_response(configuration, potential, factored_hessian(configuration, potential))
    pair, turn_kk = slice(40, 42), np.array([[0.6, 0.8], [-0.8, 0.6]])
    frequency_k, mixed_kic = modes.frequency_k.copy(), modes.vectors_kic.copy()
    frequency_k[pair] = frequency_k[pair].mean()
    plain = followed_gruneisen(configuration, potential, response_ic, frequency_k, mixed_kic)
    mixed_kic[pair] = np.einsum("kl,lic->kic", turn_kk, mixed_kic[pair])
    mixed = followed_gruneisen(configuration, potential, response_ic, frequency_k, mixed_kic)
    np.testing.assert_allclose(mixed.gruneisen_k, plain.gruneisen_k, atol=1e-9)
    assert np.ptp(plain.gruneisen_k[pair]) > 0.01


def test_mean_of_fcc_copper_is_the_slope_of_the_whole_spectrum():
    copper = read_potential(shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs"), ("Cu",))
    crystal, h = fcc(A0, 3), 2e-3
    sums = [np.log(modes_of(scaled(crystal, ratio), copper).frequency_k).mean() for ratio in (1 - h, 1 + h)]
    slope = -(sums[1] - sums[0]) / (2 * h)
    found = followed_of(crystal, copper).gruneisen_k
    assert found.mean() == pytest.approx(slope, rel=TABLE)


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
