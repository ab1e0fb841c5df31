# SPDX-License-Identifier: BSD-3-Clause
"""Moduli of fcc Cu (closed figures), of a glass against matscipy, and the Debye level."""

import numpy as np
import pytest
from small_systems import fcc, shared_file

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import continuum, elastic_moduli, solve
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import read_potential

KNOTS = 2e-3  # relative; φ'' jumps at the knots of the table
A0 = 3.63909  # Å, fcc Cu of the 2019 file


@pytest.fixture(scope="module")
def copper():
    return read_potential(shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs"), ("Cu",))


def test_fcc_copper(copper):
    found = elastic_moduli(fcc(A0, 2), copper)
    np.testing.assert_allclose(found.relaxed_s[:3], 84.4, rtol=KNOTS)
    np.testing.assert_allclose(found.relaxed_s[3:5], (174.5 - 127.9) / 2, rtol=KNOTS)
    assert found.bulk == pytest.approx(143.4, rel=KNOTS)


def test_fcc_has_no_non_affine_part(copper):
    found = elastic_moduli(fcc(A0, 2), copper)
    np.testing.assert_allclose(found.relaxed_s, found.affine_s, rtol=1e-9)


def test_bulk_modulus_is_the_curvature_of_the_energy(copper):
    h = 1e-3
    pressures = [evaluate(fcc(A0 * (1 + s * h), 2), copper).pressure for s in (-1, 1)]
    slope = -(pressures[1] - pressures[0]) / (6 * h)
    # Third derivatives enter as h²; knots as above.
    assert elastic_moduli(fcc(A0, 2), copper).bulk == pytest.approx(slope, rel=5e-3)


def test_glass_is_softer_than_its_affine_response(tiny_glass, cuzr):
    found = elastic_moduli(tiny_glass, cuzr)
    assert (found.affine_s > found.relaxed_s).all()
    assert found.iterations > 10


def test_relaxed_modulus_is_that_of_a_really_strained_glass(tiny_glass, cuzr):
    """The same modulus from minimising at finite strain, the long way."""
    from small_systems import relaxed

    h, strain_cc = 5e-4, np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    stress = []
    for sign in (-1, 1):
        end = relaxed(tiny_glass.strained(sign * h * strain_cc), cuzr)
        stress.append(evaluate(end, cuzr).stress_cc[0, 1])
    slow = (stress[1] - stress[0]) / (2 * h) * 160.21766340
    # The soft 108-atom glass is anharmonic: the long way carries a term in h².
    assert elastic_moduli(tiny_glass, cuzr).relaxed_s[0] == pytest.approx(slow, rel=0.02)


def test_moduli_agree_with_matscipy(tiny_glass, cuzr, cuzr_path):
    ase = pytest.importorskip("ase")
    eam = pytest.importorskip("matscipy.calculators.eam")
    elasticity = pytest.importorskip("matscipy.elasticity")
    symbols = [tiny_glass.elements[s] for s in tiny_glass.species_i]
    atoms = ase.Atoms(symbols, positions=tiny_glass.positions_ic, cell=tiny_glass.cell_cc, pbc=True)
    atoms.calc = eam.EAM(str(cuzr_path), kind="eam/fs")
    C, _ = elasticity.fit_elastic_constants(
        atoms, symmetry="triclinic", delta=1e-4, N_steps=3, verbose=False, optimizer=None
    )
    born = elastic_moduli(tiny_glass, cuzr).affine_s * 1.0
    C = C * 160.21766340
    # Another spline: curvatures differ by up to 2 % near the knots.
    assert born[5] == pytest.approx(C[:3, :3].sum() / 9, rel=0.02)
    assert born[0] == pytest.approx(C[5, 5], rel=0.03)


def test_solver_inverts_the_hessian_without_translations(tiny_glass, cuzr):
    hessian = factored_hessian(tiny_glass, cuzr)
    rng = np.random.default_rng(0)
    wanted = rng.normal(size=(hessian.size, 2))
    wanted = (wanted.reshape(-1, 3, 2) - wanted.reshape(-1, 3, 2).mean(axis=0)).reshape(-1, 2)
    found, _ = solve(hessian, hessian.matmat(wanted))
    error = np.linalg.norm(hessian.matmat(found - wanted)) / np.linalg.norm(hessian.matmat(wanted))
    assert error < 1e-6


def test_solver_refuses_an_unstable_or_endless_case(tiny_glass, cuzr):
    force = np.random.default_rng(0).normal(size=(tiny_glass.n_atoms * 3, 1))
    with pytest.raises(ScienceError, match="did not converge in 2 iterations") as caught:
        solve(factored_hessian(tiny_glass, cuzr), force, max_iterations=2)
    assert caught.value.reason is Reason.NOT_CONVERGED
    swollen = tiny_glass.strained(0.25 * np.eye(3))
    with pytest.raises(ScienceError, match=r"negative curvature|no restoring force") as caught:
        elastic_moduli(swollen, cuzr)
    assert caught.value.reason is Reason.UNSTABLE


def test_debye_level_of_the_papers():
    """Y's 87.23 µTHz⁻³ needs G near 26.8 GPa at B = 115 GPa (physics.md, 8.2)."""
    found = continuum(26.8, 115.0, 7.3, 0.0570)
    assert found.debye_level == pytest.approx(87.23e-6, rel=0.01)
    assert found.debye_frequency == pytest.approx(32.52, rel=0.005)
    assert found.transverse_speed == pytest.approx(1.92, rel=0.005)
    assert found.first_phonon(41.25) == pytest.approx(2.92, rel=0.005)
    with pytest.raises(ScienceError, match="moduli must be positive"):
        continuum(-1.0, 100.0, 7.3, 0.057)
