# SPDX-License-Identifier: BSD-3-Clause
"""Strings planted in a crystal are found, whole and apart, and agree with a naive search."""

import itertools

import numpy as np
import pytest

from bp_distributed.physics.string_motion import REPLACED, find_strings

D = 2.8


def lattice(n=6):
    """A simple cubic lattice of edge ``D``, and its cell."""
    place = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    return D * place.astype(float), D * n * np.eye(3)


def planted(*strings, n=6):
    """Return displacements in which each atom of a string takes the place of the next; the last goes half way on."""
    before_ic, cell_cc = lattice(n)
    moved_ic = np.zeros_like(before_ic)
    for string in strings:
        for atom, following in itertools.pairwise(string):
            step = (before_ic[following] - before_ic[atom]) / (D * n)
            moved_ic[atom] = (step - np.round(step)) * D * n
        moved_ic[string[-1]] = [0.45 * D, 0.45 * D, 0.0]
    return before_ic, moved_ic, cell_cc


def naive(before_ic, moved_ic, cell_cc, mobile):
    """Return the sets of connected atoms by joining pairs one after the other."""
    atoms = [i for i in range(len(before_ic)) if np.linalg.norm(moved_ic[i]) > mobile]
    home = {i: {i} for i in atoms}
    for i in atoms:
        for j in atoms:
            gap = np.linalg.solve(cell_cc.T, before_ic[i] + moved_ic[i] - before_ic[j])
            near = np.linalg.norm((gap - np.round(gap)) @ cell_cc) < REPLACED * D
            if i != j and near and home[i] is not home[j]:
                joined = home[i] | home[j]
                for k in joined:
                    home[k] = joined
    return {frozenset(members) for members in home.values()}


def test_planted_strings_come_out_with_their_lengths():
    """A straight string of four, one of three across the boundary (atoms 5 and 0 of a row are neighbours), a loner."""
    before_ic, moved_ic, cell_cc = planted([0, 1, 2, 3], [106, 107, 102], [200])
    found = find_strings(before_ic, moved_ic, cell_cc, D)
    assert found.mobile_m.tolist() == [0, 1, 2, 3, 102, 106, 107, 200]
    assert sorted(found.length_s.tolist()) == [1, 3, 4]
    assert len(set(found.string_m[:4])) == 1
    assert len(set(found.string_m[4:7])) == 1
    assert found.mean_length == pytest.approx(8 / 3)


def test_a_ring_is_one_string():
    before_ic, moved_ic, cell_cc = lattice()[0], np.zeros((216, 3)), lattice()[1]
    ring = [0, 1, 7, 6]
    for atom, following in zip(ring, ring[1:] + ring[:1], strict=True):
        moved_ic[atom] = before_ic[following] - before_ic[atom]
    assert find_strings(before_ic, moved_ic, cell_cc, D).length_s.tolist() == [4]


def test_vibrations_make_no_strings():
    before_ic, cell_cc = lattice()
    moved_ic = np.random.default_rng(0).normal(scale=0.1, size=before_ic.shape)
    found = find_strings(before_ic, moved_ic, cell_cc, D)
    assert found.length_s.size == 0
    assert np.isnan(found.mean_length)


def test_neighbours_that_move_side_by_side_are_no_string():
    """They keep their distance: neither comes to where the other was."""
    before_ic, cell_cc = lattice()
    moved_ic = np.zeros_like(before_ic)
    moved_ic[[0, 1]] = [1.2, 0.0, 0.0]  # along the first axis; they are neighbours along the third
    assert find_strings(before_ic, moved_ic, cell_cc, D).length_s.tolist() == [1, 1]


@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_it_agrees_with_joining_pairs_one_by_one(tilt):
    before_ic, cell_cc = lattice()
    shear = np.eye(3)
    shear[1, 0] = tilt
    before_ic, cell_cc = before_ic @ shear, cell_cc @ shear
    moved_ic = np.random.default_rng(3).normal(scale=0.8, size=before_ic.shape)
    found = find_strings(before_ic, moved_ic, cell_cc, D, mobile=1.6)
    groups = {frozenset(found.mobile_m[found.string_m == s].tolist()) for s in range(len(found.length_s))}
    assert groups == naive(before_ic, moved_ic, cell_cc, 1.6)
    assert len(groups) > 3
    assert max(map(len, groups)) > 2
