# SPDX-License-Identifier: BSD-3-Clause
"""Normal modes: completeness, orthogonality, exact translations, and structures that are no minimum."""

import numpy as np
import pytest
from scipy import linalg
from small_systems import fcc, wheel_potential

from bp_distributed.errors import ConfigError, Reason, ScienceError
from bp_distributed.physics import lanczos
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import choose_solver, normal_modes, participation_ratio
from bp_distributed.physics.potential import read_potential
from bp_distributed.physics.solved import Solved
from bp_distributed.units import OMEGA_PER_SQRT_EIGENVALUE

ROUNDING = 1e-10  # residual, orthogonality (physics.md, 10.4)


@pytest.fixture(scope="module")
def masses_i(tiny_glass, cuzr):
    return cuzr.masses_e[tiny_glass.species_i]


@pytest.fixture(scope="module")
def hessian(tiny_glass, cuzr):
    return factored_hessian(tiny_glass, cuzr)


@pytest.mark.parametrize("all_vectors", [True, False])
def test_modes_against_plain_lapack(hessian, masses_i, all_vectors):
    found = normal_modes(hessian, masses_i, 12.0, all_vectors=all_vectors)
    plain = linalg.eigvalsh(hessian.mass_weighted(masses_i).dense())
    assert np.abs(plain[:3]).max() < 1e-12 * plain[-1]
    expected = OMEGA_PER_SQRT_EIGENVALUE * np.sqrt(plain[3:])
    np.testing.assert_allclose(found.frequency_k, expected, rtol=ROUNDING)
    assert found.residual < ROUNDING
    assert found.translation_residual < ROUNDING
    flat = found.vectors_kic.reshape(len(found.vectors_kic), -1)
    assert len(flat) == (len(expected) if all_vectors else np.count_nonzero(expected < 12.0))
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=ROUNDING)


def test_no_mode_moves_the_centre_of_mass(hessian, masses_i):
    vectors_kic = normal_modes(hessian, masses_i, 12.0).vectors_kic
    drift = np.einsum("i,kic->kc", np.sqrt(masses_i / masses_i.sum()), vectors_kic)
    assert np.abs(drift).max() < ROUNDING


def test_no_vector_below_the_cut(hessian, masses_i):
    assert normal_modes(hessian, masses_i, 0.5).vectors_kic.shape == (0, len(masses_i), 3)


def test_structure_that_is_no_minimum_is_refused(tiny_glass, cuzr, masses_i):
    rng = np.random.default_rng(0)
    shaken = tiny_glass.moved(0.3 * rng.normal(size=(tiny_glass.n_atoms, 3)))
    with pytest.raises(ScienceError, match=r"not a minimum: [1-9]") as caught:
        normal_modes(factored_hessian(shaken, cuzr), masses_i, 10.0)
    assert caught.value.reason is Reason.UNSTABLE


def test_hessian_with_nan_is_refused(hessian, masses_i):
    hessian.block_pcc[0, 0, 0], kept = np.nan, hessian.block_pcc[0, 0, 0]
    with pytest.raises(ScienceError, match="not finite") as caught:
        normal_modes(hessian, masses_i, 10.0)
    hessian.block_pcc[0, 0, 0] = kept
    assert caught.value.reason is Reason.NOT_FINITE


@pytest.fixture(scope="module")
def glass_of_500(small_glass, cuzr):
    masses_i = cuzr.masses_e[small_glass.species_i]
    hessian = factored_hessian(small_glass, cuzr)
    return hessian, masses_i, normal_modes(hessian, masses_i, 14.0, solver="lapack")


@pytest.mark.parametrize("refusing", [("stemr",), ("stemr", "stebz")])
def test_where_lapack_gives_up_a_slower_way_is_taken(hessian, masses_i, monkeypatch, refusing):
    """``stemr`` gave up on a crystal with info 22, once; refusals are made here, as its rounding cannot be."""
    expected, real = normal_modes(hessian, masses_i, 20.0, solver="lapack"), linalg.eigh_tridiagonal

    def moody(*arguments, **options):
        if options.get("lapack_driver") in refusing:
            raise linalg.LinAlgError("did not converge (LAPACK info=22)")
        return real(*arguments, **options)

    monkeypatch.setattr(linalg, "eigh_tridiagonal", moody)
    found = normal_modes(hessian, masses_i, 20.0, solver="lapack")
    np.testing.assert_array_equal(found.frequency_k, expected.frequency_k)
    assert found.residual < 1e-12
    assert found.orthogonality < 1e-12


@pytest.mark.parametrize("certificate", ["cholesky", "search"])
def test_filtered_modes_equal_lapack(glass_of_500, certificate):
    hessian, masses_i, lapack = glass_of_500
    notes = []
    found = normal_modes(hessian, masses_i, 14.0, solver="chebyshev", certificate=certificate, progress=notes.append)
    low = lapack.frequency_k[lapack.frequency_k < 14.0]
    assert len(low) > 100
    np.testing.assert_allclose(found.frequency_k, low, rtol=ROUNDING)
    assert found.residual < ROUNDING
    assert found.orthogonality < ROUNDING
    assert found.n_modes == len(lapack.frequency_k) == 1497
    overlap = np.einsum("kic,kic->k", found.vectors_kic, lapack.vectors_kic)
    np.testing.assert_allclose(np.abs(overlap), 1.0, atol=1e-7)
    assert 14.0 <= found.certified_below < 14.5
    assert ("Cholesky" if certificate == "cholesky" else "random start") in found.certificate
    assert "1500 degrees of freedom by chebyshev: asked for" in notes
    assert np.isinf(lapack.certified_below)


def test_degenerate_modes_are_all_found(monkeypatch):
    """A crystal repeats eigenvalues more often than one Krylov space of a small block can; fresh starts find them."""
    monkeypatch.setattr(lanczos, "BLOCK", 8)
    copper = fcc(3.64, 5)
    masses_i = np.full(500, 63.546)
    potential = read_potential(wheel_potential("CuZr_mm.eam.fs"), ["Cu"])
    hessian = factored_hessian(copper, potential)
    lapack = normal_modes(hessian, masses_i, 20.0, solver="lapack")
    found = normal_modes(hessian, masses_i, 20.0, solver="chebyshev", certificate="cholesky")
    low = lapack.frequency_k[lapack.frequency_k < 20.0]
    assert np.unique(np.round(low, 6), return_counts=True)[1].max() > 8
    np.testing.assert_allclose(found.frequency_k, low, rtol=ROUNDING)


def test_filter_that_would_take_in_too_much_says_so(glass_of_500):
    hessian, masses_i, _ = glass_of_500
    with pytest.raises(ScienceError, match="lower omega_cut, or give more memory or solver lapack"):
        normal_modes(hessian, masses_i, 40.0, solver="chebyshev")


def test_solver_is_chosen_by_size_memory_and_wish():
    assert choose_solver(1500)[0] == "lapack"
    assert choose_solver(12_000)[0] == "chebyshev"
    assert choose_solver(12_000, all_vectors=True) == ("lapack", "all vectors are wanted")
    with pytest.raises(ScienceError, match=r"do not fit: 16\.0 GiB of 51\.8"):
        choose_solver(58_956, all_vectors=True, memory_bytes=2**34)


@pytest.mark.parametrize("wrong", [{"solver": "shift_invert"}, {"certificate": "none"}])
def test_unknown_choice_is_refused_with_what_is_allowed(hessian, masses_i, wrong):
    with pytest.raises(ConfigError, match=r"got '(shift_invert|none)', expected auto, "):
        normal_modes(hessian, masses_i, 10.0, **wrong)


def test_participation_ratio_of_simple_modes():
    together = np.full((1, 50, 3), 1 / np.sqrt(150))
    alone = np.zeros((1, 50, 3))
    alone[0, 7, 1] = 1.0
    half = np.zeros((1, 50, 3))
    half[0, :25, 0] = 0.2
    ratios = participation_ratio(np.concatenate([together, alone, half]))
    np.testing.assert_allclose(ratios, [1.0, 1 / 50, 0.5], rtol=1e-12)


def test_another_attempt_goes_on_from_the_solved_modes(glass_of_500, tmp_path):
    hessian, masses_i, _ = glass_of_500
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    options = {"solver": "chebyshev", "certificate": "search"}
    before = normal_modes(hessian, masses_i, 12.0, solved=Solved(first), **options)
    notes = []
    again = normal_modes(hessian, masses_i, 12.0, solved=Solved(second, [first]), progress=notes.append, **options)
    np.testing.assert_array_equal(again.vectors_kic, before.vectors_kic)
    assert not any("Lanczos" in note for note in notes)
    other = normal_modes(hessian, masses_i, 11.0, solved=Solved(second, [first]), progress=notes.append, **options)
    assert any("Lanczos" in note for note in notes)
    assert len(other.frequency_k) < len(before.frequency_k)
    kept = next(first.iterdir())
    kept.write_bytes(kept.read_bytes()[:-1000])
    again = normal_modes(hessian, masses_i, 12.0, solved=Solved(tmp_path, [first]), **options)
    np.testing.assert_allclose(again.frequency_k, before.frequency_k, rtol=1e-12)
