# SPDX-License-Identifier: BSD-3-Clause
"""Foreign structures: read exactly, or refused in one sentence (B10)."""

import numpy as np
import pytest

from bp_distributed.errors import ConfigError
from bp_distributed.physics.configuration import (
    Configuration,
    read_configuration,
    restricted_cell,
    write_extended_xyz,
    write_lammps_data,
)

ROUNDING = 1e-12  # Å; one rotation or wrap of coordinates of order 10

DATA = """# made by hand

3 atoms
2 atom types

-1.0 7.0 xlo xhi
0.0 6.0 ylo yhi
0.0 9.0 zlo zhi
1.0 -0.5 2.0 xy xz yz

Masses

1 63.546
2 91.224

Atoms # atomic

2 2 3.0 1.0 1.0
1 1 0.5 0.5 0.5
3 1 1.0 4.0 7.0

Velocities

1 0 0 0
2 0 0 0
3 0 0 0
"""

XYZ = """2
Lattice="5 0 0 0 6 0 0.5 0 7" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"
Cu 1.0 1.0 1.0 0 0 0
Zr 3.0 3.0 3.0 0 0 0
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="in.data"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_lammps_data_is_read(write):
    found = read_configuration(write(DATA), ["Cu", "Zr"])
    assert found.n_atoms == 3
    assert found.species_i.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(found.cell_cc, [[8, 0, 0], [1, 6, 0], [-0.5, 2, 9]])
    np.testing.assert_allclose(found.positions_ic[1], [3, 1, 1], atol=ROUNDING)


def test_masses_and_labels_overrule_the_order_of_types(write):
    swapped = DATA.replace("1 63.546", "1 91.22").replace("2 91.224", "2 63.55")
    assert read_configuration(write(swapped), ["Cu", "Zr"]).species_i.tolist() == [1, 0, 1]
    labels = DATA.replace("Masses\n\n1 63.546\n2 91.224", "Atom Type Labels\n\n1 Zr\n2 Cu")
    assert read_configuration(write(labels), ["Cu", "Zr"]).species_i.tolist() == [1, 0, 1]
    assert read_configuration(write(DATA), ["Zr", "Cu"]).species_i.tolist() == [1, 0, 1]


def test_extended_xyz_is_read(write):
    found = read_configuration(write(XYZ, "in.xyz"), ["Zr", "Cu"])
    assert found.species_i.tolist() == [1, 0]
    np.testing.assert_array_equal(found.cell_cc, [[5, 0, 0], [0, 6, 0], [0.5, 0, 7]])


def test_atoms_outside_the_box_are_wrapped(write):
    found = read_configuration(write(XYZ.replace("Cu 1.0 1.0 1.0", "Cu 11.0 -5.0 1.0")), ["Cu", "Zr"])
    np.testing.assert_allclose(found.positions_ic[0], [1, 1, 1], atol=ROUNDING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("0.5 0.5 0.5", "nan 0.5 0.5"), r":19: atom 1: got nan .* finite"),
        (("0.5 0.5 0.5", "0.5 -inf 0.5"), "atom 1: got .*-inf.* finite"),
        (("0.5 0.5 0.5", "3.1 1.0 1.0"), r"atoms 1 and 2: lie 0.1 angstrom apart"),
        (("0.5 0.5 0.5", "11.1 1.0 1.0"), r"atoms 1 and 2: lie 0.1 angstrom apart"),
        (("3 atoms", "4 atoms"), "wrong count or truncated file, got 3 atoms, expected 4"),
        (("3 atoms", "0 atoms"), "expected 0"),
        (("3 atoms", "3.5 atoms"), "expected a whole number"),
        (("3 1 1.0", "3 7 1.0"), "atom 3: unknown element, got type '7'"),
        (("3 1 1.0", "2 1 1.0"), "got atom id 2, expected each of 1 to 3 once"),
        (("2 91.224", "2 107.87"), "type 2: unknown element of mass 107.87"),
        (("3 1 1.0 4.0 7.0", "3 1 1.0 4.0"), "expected id type x y z"),
        (("3 1 1.0 4.0 7.0", "3 1 1.0 4.0 x"), "expected numbers"),
        (("-1.0 7.0 xlo", "7.0 -1.0 xlo"), "expected low < high"),
        (("zlo zhi", "zlo"), "zlo zhi: is missing"),
        (("Atoms # atomic", "Atoms # full"), "atom style 'full', expected atomic"),
    ],
)
def test_bad_data_file_is_refused(write, change, message):
    assert change[0] in DATA
    with pytest.raises(ConfigError, match=message):
        read_configuration(write(DATA.replace(*change)), ["Cu", "Zr"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n\x00\xff", "is binary"),
        (b"3\n\0\0\0", "is binary"),
        ('0\nLattice="5 0 0 0 5 0 0 0 5"\n', "has 0 atoms"),
        ("2\nno lattice\nCu 1 1 1\nCu 3 3 3\n", ":2: Lattice: is missing"),
        (XYZ.replace("0.5 0 7", "0.5 0"), "got 8 numbers, expected 9"),
        (XYZ.replace("0.5 0 7", "5 6 0"), "three finite lattice vectors that span a volume"),
        (XYZ.replace("Zr 3.0 3.0 3.0 0 0 0\n", ""), ":3: atoms: is truncated, got 1, expected 2"),
        (XYZ.replace("Zr 3.0", "Xx 3.0"), r":4: atom 2: unknown element, got 'Xx', expected one of Cu, Zr"),
        (XYZ.replace("Zr 3.0 3.0 3.0 0 0 0", "Zr 3.0"), ":4: atom 2: is truncated"),
        (XYZ.replace("pos:R:3", "place:R:3"), "expected species:S:1 and pos:R:3"),
        (DATA[: DATA.index("3 1 1.0")], "got 2 atoms, expected 3"),
    ],
)
def test_bad_file_is_refused(write, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_configuration(write(text), ["Cu", "Zr"])
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.data", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_configuration(path, ["Cu"])


def rotated_sample():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    cell_cc = np.array([[9, 0, 0], [2.0, 8, 0], [-1, 1.5, 10]]) @ turn
    fractions = np.stack(np.meshgrid(*[[0.1, 0.6]] * 3), -1).reshape(-1, 3)
    return Configuration(fractions @ cell_cc, cell_cc, np.arange(8) % 2, ("Cu", "Zr"))


def test_xyz_survives_the_trip_bit_for_bit(tmp_path):
    sample = rotated_sample()
    write_extended_xyz(tmp_path / "out.xyz", sample)
    found = read_configuration(tmp_path / "out.xyz", ("Cu", "Zr"))
    np.testing.assert_array_equal(found.cell_cc, sample.cell_cc)
    np.testing.assert_array_equal(found.positions_ic, sample.positions_ic)
    np.testing.assert_array_equal(found.species_i, sample.species_i)


def test_data_file_keeps_all_distances_of_a_rotated_cell(tmp_path):
    sample = rotated_sample()
    write_lammps_data(tmp_path / "out.data", sample, [63.546, 91.224])
    found = read_configuration(tmp_path / "out.data", ("Cu", "Zr"))
    np.testing.assert_allclose(found.cell_cc @ found.cell_cc.T, sample.cell_cc @ sample.cell_cc.T, atol=1e-10)
    fractions = [x.positions_ic @ np.linalg.inv(x.cell_cc) for x in (found, sample)]
    np.testing.assert_allclose(*fractions, atol=ROUNDING)


def test_left_handed_cell_is_refused():
    with pytest.raises(ConfigError, match="left-handed"):
        restricted_cell(np.diag([1.0, 1.0, -1.0]))


def test_a_left_handed_file_is_refused_at_the_door(tmp_path):
    path = tmp_path / "mirror.xyz"
    path.write_text('1\nLattice="5 0 0 0 0 5 0 5 0" Properties=species:S:1:pos:R:3\nCu 1 1 1\n')
    with pytest.raises(ConfigError, match="exchange two of them"):
        read_configuration(path, ("Cu", "Zr"))
