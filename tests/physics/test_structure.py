# SPDX-License-Identifier: BSD-3-Clause
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from bp_distributed.errors import ConfigError
from bp_distributed.physics import structure
from bp_distributed.physics.outcome import silent
from bp_distributed.physics.structure import RadialGrid, count_pairs, find_pairs, structure_step

GRID = RadialGrid(12.0, 0.1)
REQUEST = {
    "elements": ["Cu", "Zr"],
    "r_max": 12.0,
    "bin_width": 0.1,
    "gaussian_sigma": 0.2,
    "atomic_cutoff": 12.0,
    "atomic": True,
}
SUM_TOLERANCE = 1e-12  # two orders of summing the same integers and weights


def random_cell(n_atoms, length, seed=1):
    rng = np.random.default_rng(seed)
    cell_cc = np.diag([length, 1.1 * length, 0.9 * length])
    cell_cc[1, 0] = 0.2 * length
    species_i = (np.arange(n_atoms) >= n_atoms // 3).astype(np.int64)
    return rng.random((n_atoms, 3)) @ cell_cc, cell_cc, species_i


def run(positions_ic, cell_cc, species_i, **changes):
    inputs = {"position": positions_ic, "cell": cell_cc, "species": species_i}
    return structure_step({**REQUEST, **changes}, inputs, Path(), silent).arrays


def brute_force_distances(positions_ic, cell_cc, cutoff):
    """Return (i, j, r) of all directed pairs, by walking over enough images."""
    heights = abs(np.linalg.det(cell_cc)) / np.linalg.norm(np.cross(cell_cc[[1, 2, 0]], cell_cc[[2, 0, 1]]), axis=1)
    reach = [range(-int(n) - 1, int(n) + 2) for n in np.ceil(cutoff / heights)]
    found = []
    for shift in itertools.product(*reach):
        dr = positions_ic[None] - positions_ic[:, None] + np.array(shift) @ cell_cc
        r = np.linalg.norm(dr, axis=2)
        if shift == (0, 0, 0):
            np.fill_diagonal(r, np.inf)
        i, j = np.nonzero(r < cutoff)
        found.append((i, j, r[i, j]))
    return [np.concatenate(part) for part in zip(*found, strict=True)]


def fcc(repeats, lattice):
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    corners = np.array(list(itertools.product(range(repeats), repeat=3)))
    return ((corners[:, None] + basis).reshape(-1, 3)) * lattice, np.eye(3) * repeats * lattice


def test_fcc_shells_are_counted_exactly():
    lattice = 3.61
    positions_ic, cell_cc = fcc(2, lattice)
    counts = count_pairs(find_pairs(positions_ic, cell_cc, 12.0), np.zeros(len(positions_ic), int), 1, GRID)[0, 0]
    # shell s lies at lattice * sqrt(s / 2); multiplicities of the fcc lattice
    multiplicity = [12, 6, 24, 12, 24, 8, 48, 6, 36, 24, 24, 24, 72, 0, 48, 12, 48, 30, 72, 24, 48, 24]
    expected = np.zeros(GRID.n_bins, dtype=int)
    for shell, neighbours in enumerate(multiplicity, start=1):
        radius = lattice * np.sqrt(shell / 2)
        if radius < 12.0:
            expected[int(radius / 0.1)] += neighbours
    np.testing.assert_array_equal(counts, expected * len(positions_ic))


def test_an_atom_alone_sees_its_images():
    counts = count_pairs(find_pairs(np.zeros((1, 3)), np.eye(3) * 2.55, 12.0), np.zeros(1, int), 1, GRID)
    assert counts[0, 0, 25] == 6
    assert counts[0, 0, :25].sum() == 0


def test_small_triclinic_cell_equals_brute_force():
    positions_ic, cell_cc, species_i = random_cell(9, 5.0)
    counts = count_pairs(find_pairs(positions_ic, cell_cc, 12.0), species_i, 2, GRID)
    i, j, r = brute_force_distances(positions_ic, cell_cc, 12.0)
    for a, b in itertools.product(range(2), repeat=2):
        of_channel = (species_i[i] == a) & (species_i[j] == b)
        np.testing.assert_array_equal(counts[a, b], np.histogram(r[of_channel], GRID.edges)[0])


def test_partials_sum_to_the_total():
    positions_ic, cell_cc, species_i = random_cell(60, 9.0)
    found = run(positions_ic, cell_cc, species_i, atomic=False)
    first, second = np.bincount(species_i) / len(species_i)
    cu_cu, cu_zr, zr_zr = found["partial_pdf"]
    total = first**2 * cu_cu + 2 * first * second * cu_zr + second**2 * zr_zr
    np.testing.assert_allclose(total, found["total_pdf"], rtol=SUM_TOLERANCE, atol=SUM_TOLERANCE)


def test_ideal_gas_tends_to_one():
    positions_ic, cell_cc, species_i = random_cell(1500, 30.0)
    found = run(positions_ic, cell_cc, species_i, atomic=False)
    far = found["r"] > 5.0
    # Poisson: a mean over 70 bins of about 2e3 to 1e4 pairs in all is good to half a percent; five sigma
    assert found["total_pdf"][far].mean() == pytest.approx(1.0, abs=0.01)
    assert np.abs(found["partial_pdf"][:, far].mean(axis=1) - 1.0).max() < 0.03


def test_equals_ase():
    rdf = pytest.importorskip("ase.geometry.rdf")
    atoms = pytest.importorskip("ase").Atoms
    positions_ic, cell_cc, species_i = random_cell(200, 14.0, seed=3)
    grid = RadialGrid(6.0, 0.1)
    found = run(positions_ic, cell_cc, species_i, r_max=6.0, atomic=False)
    elements = np.array(["Cu", "Zr"])[species_i]
    peer, r = rdf.get_rdf(atoms(elements, positions=positions_ic, cell=cell_cc, pbc=True), 6.0, 60)
    np.testing.assert_allclose(r, grid.centres_r, rtol=1e-12)
    # ASE divides by the shell 4π/3 (r₂³ - r₁³) = 4πr²Δr + πΔr³/3 and counts n - 1 partners in the density
    exact = 4.0 * np.pi / 3.0 * np.diff(grid.edges**3)
    scale = found["total_pdf"] * grid.shells_r
    np.testing.assert_allclose(scale, peer * exact, rtol=6e-3, atol=1e-12)


def test_atomic_functions_equal_their_formula():
    positions_ic, cell_cc, species_i = random_cell(12, 6.0)
    found = run(positions_ic, cell_cc, species_i, r_max=8.0, atomic_cutoff=7.0, gaussian_sigma=0.3)
    i, j, r = brute_force_distances(positions_ic, cell_cc, 7.0)
    volume = abs(np.linalg.det(cell_cc))
    for atom, element in itertools.product(range(12), range(2)):
        r_ij = r[(i == atom) & (species_i[j] == element)]
        density = np.count_nonzero(species_i == element) / volume
        smeared = np.exp(-(((found["r"][:, None] - r_ij) / 0.3) ** 2)).sum(axis=1)
        expected = smeared / (density * 4 * np.pi * found["r"] ** 2 * 0.1)
        np.testing.assert_allclose(found["atomic_pdf"][atom, element], expected, rtol=1e-10, atol=1e-12)


def test_atomic_functions_average_to_the_smeared_partial():
    positions_ic, cell_cc, species_i = random_cell(40, 8.0)
    found = run(positions_ic, cell_cc, species_i, bin_width=0.02, r_max=10.0, atomic_cutoff=14.0, gaussian_sigma=0.3)
    mean = found["atomic_pdf"][species_i == 0, 1].mean(axis=0)
    r = found["r"]
    kernel = np.exp(-(((r[:, None] - r) / 0.3) ** 2))
    smeared = kernel @ (found["partial_pdf"][1] * r**2) / r**2
    inner = (r > 3.0) & (r < 8.5)
    # positions inside a bin are forgotten by the histogram: (Δr/σ)² / 12 of a curvature of order one per σ²
    np.testing.assert_allclose(mean[inner], smeared[inner], rtol=5e-3)


def test_slices_of_pairs_change_nothing(monkeypatch):
    positions_ic, cell_cc, species_i = random_cell(30, 7.0)
    whole = run(positions_ic, cell_cc, species_i)
    monkeypatch.setattr(structure, "_PAIRS_AT_ONCE", 997)
    sliced = run(positions_ic, cell_cc, species_i)
    np.testing.assert_array_equal(whole["partial_pdf"], sliced["partial_pdf"])
    np.testing.assert_allclose(whole["atomic_pdf"], sliced["atomic_pdf"], rtol=SUM_TOLERANCE, atol=SUM_TOLERANCE)


def test_an_absent_element_gives_zeros():
    positions_ic, cell_cc = fcc(2, 3.61)
    found = run(positions_ic, cell_cc, np.zeros(len(positions_ic), dtype=int))
    assert found["partial_pdf"].shape == (3, 120)
    assert not found["partial_pdf"][1:].any()
    assert not found["atomic_pdf"][:, 1].any()
    assert all(np.isfinite(values).all() for values in found.values())


def test_crooked_bins_are_refused():
    with pytest.raises(ConfigError, match=r"12 Å is not a whole number of bins of 0\.7 Å"):
        RadialGrid(12.0, 0.7)


def test_glass_of_paper_size_has_its_first_peaks_where_they_belong():
    here = Path(os.environ.get("BPD_GLASSES", Path(__file__).parents[2].parent / "shared" / "glasses"))
    path = here / "cu50zr50_n4000_melt1_branch00.data"
    if not path.is_file():
        pytest.skip(f"{path} is not here; set BPD_GLASSES to the folder of the reference glasses")
    from bp_distributed.physics.configuration import read_configuration

    glass = read_configuration(path, ("Cu", "Zr"))
    found = run(glass.positions_ic, glass.cell_cc, glass.species_i, atomic=False)
    cu_cu, cu_zr, zr_zr = found["r"][found["partial_pdf"].argmax(axis=1)]
    assert cu_cu == pytest.approx(2.55, abs=0.15)
    assert cu_zr == pytest.approx(2.75, abs=0.15)
    assert 3.0 < zr_zr < 3.5  # a plateau: 3.1 to 3.4 at 3.1 to 3.5 Å
    assert found["total_pdf"][found["r"] < 1.9].max() == 0.0
