# SPDX-License-Identifier: BSD-3-Clause
"""EAM tables: LAMMPS's interpolant, its conventions, and files that are refused (B09)."""

import hashlib

import numpy as np
import pytest
from small_systems import shared_file, wheel_potential

from bp_distributed.errors import ConfigError
from bp_distributed.physics.potential import hermite_tables, read_potential

CUBIC = 1e-12  # a cubic is its own interpolant away from the ends


def setfl(*, fs=True, n=8, elements=("Al", "Fe")):
    """A tiny file whose tables are constants: 100 a + 10 b for the density in block a, column b."""
    lines = ["c", "c", "c", f"{len(elements)} {' '.join(elements)}", f"{n} 0.5 {n} 0.25 1.75"]
    for a, _ in enumerate(elements):
        lines += [f"13 {20 + a} 4.0 fcc", " ".join([f"{a}"] * n)]
        lines += [" ".join([str(100 * a + 10 * b)] * n) for b in range(len(elements) if fs else 1)]
    for a in range(len(elements)):
        lines += [" ".join([str(a * 10 + b)] * n) for b in range(a + 1)]
    return "\n".join(lines) + "\n"


def test_interpolant_reproduces_cubics_and_their_derivatives():
    x = np.arange(20) * 0.3
    tables = hermite_tables(np.stack([x**3 - 2 * x, np.ones_like(x)]), 0.3)
    at = np.linspace(0.7, 5.0, 57)
    value, slope, curvature = tables.evaluate(np.zeros(57, dtype=int), at)
    np.testing.assert_allclose(value, at**3 - 2 * at, atol=1e3 * CUBIC)
    np.testing.assert_allclose(slope, 3 * at**2 - 2, atol=1e3 * CUBIC)
    np.testing.assert_allclose(curvature, 6 * at, atol=1e4 * CUBIC)


def test_slopes_near_the_ends_use_fewer_points():
    y = np.array([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 37.0])
    tables = hermite_tables(y[None], 1.0)
    slope = tables.coefficient_sm[:, 1]
    assert slope[0] == 1.0
    assert slope[1] == 2.0
    assert slope[2] == pytest.approx((0.0 - 16.0 + 8 * (9.0 - 1.0)) / 12)
    assert slope[-2] == 10.5
    assert slope[-1] == 12.0


def test_density_convention_is_that_of_lammps(tmp_path):
    path = tmp_path / "toy.eam.fs"
    path.write_text(setfl())
    toy = read_potential(path)
    one = np.array([0.6])
    al, fe = np.array([0]), np.array([1])
    assert toy.density_at(al, fe, one)[0] == 100.0  # at Al from Fe: block of Fe, column of Al
    assert toy.density_at(fe, al, one)[0] == 10.0
    assert toy.pair_energy(al, fe, one)[0] == pytest.approx(10 / 0.6)


def test_alloy_density_depends_on_the_source_only(tmp_path):
    path = tmp_path / "toy.eam.alloy"
    path.write_text(setfl(fs=False))
    toy = read_potential(path)
    one = np.array([0.6])
    for site in (0, 1):
        assert toy.density_at(np.array([site]), np.array([1]), one)[0] == 100.0


def test_elements_are_reordered_as_asked(cuzr_path):
    plain, swapped = read_potential(cuzr_path), read_potential(cuzr_path, ["Zr", "Cu"])
    assert plain.elements == ("Cu", "Zr")
    assert swapped.masses_e.tolist() == [91.224, 63.546]
    assert plain.sha256 == hashlib.sha256(cuzr_path.read_bytes()).hexdigest()
    r = np.array([2.7])
    for a, b in ((0, 0), (0, 1), (1, 1)):
        ours = plain.pair_energy(np.array([a]), np.array([b]), r)
        other = swapped.pair_energy(np.array([1 - a]), np.array([1 - b]), r)
        np.testing.assert_array_equal(ours, other)


def test_pair_derivatives_belong_together(cuzr):
    r = np.linspace(2.0, 7.5, 400)
    h = 1e-6
    zero, one = np.zeros(400, dtype=int), np.ones(400, dtype=int)
    for function in (cuzr.pair_energy, cuzr.density_at):
        low, middle, high = (function(zero, one, r + s) for s in (-h, 0.0, h))
        np.testing.assert_allclose((high[0] - low[0]) / (2 * h), middle[1], atol=1e-7)
        inside = np.abs((r / 7.6e-4) % 1.0 - 0.5) < 0.45  # the second derivative jumps at the knots
        np.testing.assert_allclose(((high[1] - low[1]) / (2 * h))[inside], middle[2][inside], atol=1e-5)


def test_embedding_is_linear_beyond_the_table(cuzr):
    rho = cuzr.rho_max + np.array([1.0, 3.0])
    energy, slope, curvature = cuzr.embedding_energy(np.zeros(2, dtype=int), rho)
    assert curvature.tolist() == [0.0, 0.0]
    assert slope[0] == slope[1]
    assert energy[1] - energy[0] == pytest.approx(2.0 * slope[0])


def test_sentinels_leave_the_rest_of_the_table_alone():
    potential = read_potential(shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs"))
    r = np.linspace(0.11, 7.5, 1000)
    zero = np.zeros(1000, dtype=int)
    value, slope, _ = potential.density_at(zero, zero, r)
    assert np.isfinite(value).all()
    assert np.abs(value).max() < 1e6
    assert np.abs(slope[r > 1.0]).max() < 1e4


def test_asymmetric_file_has_two_densities():
    # AlFe_mm and FeP_mm turn out to be symmetric, as Cu-Zr is; NiAlH_jea is not.
    nial = read_potential(wheel_potential("NiAlH_jea.eam.fs"), ["Ni", "Al"])
    ni, al, r = np.array([0]), np.array([1]), np.array([2.6])
    assert abs(nial.density_at(ni, al, r)[0] / nial.density_at(al, ni, r)[0] - 1.0) > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("2 Al Fe", "2 Al"), r":4: got '2 Al', expected a number and as many elements"),
        (("2 Al Fe", "two Al Fe"), "expected a number and as many elements"),
        (("8 0.5 8 0.25 1.75", "8 0.5 8 0.25"), "expected nrho drho nr dr cutoff"),
        (("8 0.5 8 0.25 1.75", "8 -0.5 8 0.25 1.75"), "expected positive nrho"),
        (("8 0.5 8 0.25 1.75", "900000 0.5 8 0.25 1.75"), "is truncated"),
        (("8 0.5 8 0.25 1.75", "7 0.5 8 0.25 1.75"), "got 8 values of F of Al, expected 7"),
        (("13 20 4.0 fcc", "13 heavy 4.0 fcc"), "expected the mass of Al"),
        (("10 10 10", "10 ten 10"), "'ten', expected rho of Al"),
        (("10 10 10", "10 nan 10"), "not finite in rho of Al"),
    ],
)
def test_malformed_file_is_refused(tmp_path, change, message):
    assert change[0] in setfl()
    path = tmp_path / "bad.eam.fs"
    path.write_text(setfl().replace(*change, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        read_potential(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.3, 0.7, 0.95])
def test_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "cut.eam.fs"
    path.write_text(setfl()[: int(keep * len(setfl()))])
    with pytest.raises(ConfigError, match=r"is empty|is truncated|expected"):
        read_potential(path)


def test_wrong_element_name_folder_and_binary_are_refused(tmp_path, cuzr_path):
    with pytest.raises(ConfigError, match="unknown element, got 'Al', expected one of Cu, Zr"):
        read_potential(cuzr_path, ["Cu", "Al"])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_potential(tmp_path / "none.eam.fs")
    (tmp_path / "folder.eam.fs").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_potential(tmp_path / "folder.eam.fs")
    (tmp_path / "zeros.eam.fs").write_bytes(bytes(100))
    with pytest.raises(ConfigError, match="is binary"):
        read_potential(tmp_path / "zeros.eam.fs")
    with pytest.raises(ConfigError, match=r"expected a file named \*.eam.fs"):
        read_potential(tmp_path / "potential.lj")
