# SPDX-License-Identifier: BSD-3-Clause
"""Activation energies: saddles are what they claim to be, results depend on nothing else, every failure has its code."""

from dataclasses import replace

import numpy as np
import pytest
from small_systems import fcc, relaxed

from bp_distributed.errors import ScienceError
from bp_distributed.physics import activation
from bp_distributed.physics.activation import activation_step, find_event, in_whole_sample
from bp_distributed.physics.artn import Code, SearchParameters, push_direction, search
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.descent import Place, descend, largest
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.region import Landscape

SMALL = SearchParameters(active_radius=5.0, outer_atoms=40)  # of 108 atoms
WHOLE = SearchParameters(active_radius=5.0)


@pytest.fixture(scope="module")
def landscape(tiny_glass, cuzr):
    return Landscape(tiny_glass, cuzr)


@pytest.fixture(scope="module")
def events(landscape):
    """Two trials of some atoms, settled with the whole glass free."""
    return [find_event(landscape, atom, trial, 3, WHOLE) for atom in range(0, 48, 3) for trial in range(2)]


def saddles(events):
    return [event for event in events if event.code is Code.SUCCESS]


def test_a_saddle_is_one_of_the_whole_sample(events, tiny_glass, cuzr):
    event = saddles(events)[0]
    moved_ic = np.zeros_like(tiny_glass.positions_ic)
    moved_ic[event.surroundings.atoms_m] = event.saddle.saddle_mc - event.surroundings.start_mc
    there = tiny_glass.moved(moved_ic)
    found, start = evaluate(there, cuzr), evaluate(tiny_glass, cuzr)
    assert event.refined_energy == pytest.approx(found.energy - start.energy, abs=1e-9)
    assert np.linalg.norm(found.forces_ic, axis=1).max() < WHOLE.force_refined + 1e-9
    value_k = np.linalg.eigvalsh(factored_hessian(there, cuzr).dense())
    assert (value_k < -1e-6).sum() == 1
    assert event.saddle.mode.eigenvalue == pytest.approx(value_k[0], abs=0.02)


def test_most_saddles_are_connected_and_their_ends_lie_below(events):
    good = saddles(events)
    assert len(good) >= len(events) // 4
    connected = [event for event in good if event.connected(WHOLE) == 1]
    assert len(connected) >= len(good) // 2
    for event in good:
        assert (event.ends.energy_e < event.search.refined_energy).all()
        assert event.ends.displacement_e[0] <= event.ends.displacement_e[1]
    for event in connected:
        assert abs(event.ends.energy_e[0]) < WHOLE.connected_energy


def test_held_surroundings_cost_energy_and_free_ones_none(landscape, events):
    for event in saddles(events)[:3]:
        error, _ = in_whole_sample(landscape, event, WHOLE)
        assert error == pytest.approx(0.0, abs=1e-6)  # all atoms moved anyway
    errors = []
    for atom in range(0, 48, 3):
        event = find_event(landscape, atom, 0, 3, SMALL)
        if event.code is Code.SUCCESS:
            errors.append(in_whole_sample(landscape, event, SMALL)[0])
    assert np.nanmax(errors) > 1e-3


def request_of(atoms, **more):
    return {
        "potential_file": "CuZr_mm.eam.fs", "elements": ["Cu", "Zr"], "atoms": atoms, "events_per_atom": 2,
        "max_trials": 3, "seed": 3, "boundary_stride": 2, "active_radius": 5.0, **more,
    }  # fmt: skip


def inputs_of(sample):
    return {"position": sample.positions_ic, "cell": sample.cell_cc, "species": sample.species_i}


def test_a_batch_changes_nothing_and_stops_when_it_has_enough(tiny_glass, cuzr_path, tmp_path):
    (tmp_path / "CuZr_mm.eam.fs").symlink_to(cuzr_path)
    both, one = (
        activation_step(request_of(atoms), inputs_of(tiny_glass), tmp_path, lambda *_: None) for atoms in ([3, 9], [9])
    )
    assert set(both.arrays) == set(one.arrays)
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(np.asarray(both.arrays[name])[1:], values, err_msg=name)
    code_st = both.arrays["search_code"]
    assert ((code_st == Code.SUCCESS).sum(axis=1) <= 2).all()
    for row in code_st:
        done = np.flatnonzero(row == Code.SUCCESS)[1:2]
        assert (row[: done[0] + 1] if len(done) else row).min() > Code.NOT_TRIED
        assert (row[done[0] + 1 :] == Code.NOT_TRIED).all() if len(done) else True
    assert both.facts["searches"] == (code_st != Code.NOT_TRIED).sum()
    assert both.facts["successes"] == np.isfinite(both.arrays["refined_activation_energy"]).sum()


def test_the_same_saddle_is_recognised(cuzr, tmp_path, cuzr_path):
    """From a neighbour of a vacancy there is one easy way."""
    (tmp_path / "CuZr_mm.eam.fs").symlink_to(cuzr_path)
    crystal = fcc(3.63909, 3, ("Cu", "Zr"))
    keep = np.arange(1, 108)
    holed = relaxed(
        Configuration(crystal.positions_ic[keep], crystal.cell_cc, crystal.species_i[keep], ("Cu", "Zr")), cuzr
    )
    request = request_of([0], events_per_atom=8, max_trials=12, boundary_stride=0)
    arrays = activation_step(request, inputs_of(holed), tmp_path, lambda *_: None).arrays
    energy_t, first_t = arrays["refined_activation_energy"][0], arrays["saddle_first_trial"][0]
    for trial in np.flatnonzero(first_t >= 0):
        first = first_t[trial]
        assert first <= trial
        assert first_t[first] == first
        assert abs(energy_t[first] - energy_t[trial]) < 1e-3
    assert len(np.unique(first_t[first_t >= 0])) < (first_t >= 0).sum(), "no saddle was found twice"


def test_a_free_cluster_is_searched_with_its_rotations_left_out(cuzr):
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    ball_ic = 1.82 * grid[(grid.sum(axis=1) % 2 == 0) & (np.linalg.norm(grid, axis=1) < 3.3)]
    rough = Landscape(cluster(ball_ic), cuzr, isolated=True).region(0, None)
    still = descend(rough, Place.on(rough, rough.start_mc), rough.rigid_kx, 1e-5, 300)
    still_ic = np.empty_like(ball_ic)
    still_ic[rough.atoms_m] = still.x_mc
    landscape = Landscape(cluster(still_ic), cuzr, isolated=True)
    events = [find_event(landscape, len(ball_ic) - 1, trial, 1) for trial in range(3)]
    assert len(events[0].surroundings.rigid_kx) == 6
    good = saddles(events)
    assert good
    for event in good:
        pull_mc = event.surroundings.evaluate(event.saddle.saddle_mc)[1]
        assert np.linalg.norm(pull_mc, axis=1).max() < SearchParameters().force_refined


def cluster(positions_ic):
    return Configuration(positions_ic + 30.0, 60.0 * np.eye(3), np.zeros(len(positions_ic), dtype=int), ("Cu", "Zr"))


def test_no_minimum_no_searches(tiny_glass, cuzr_path, tmp_path):
    (tmp_path / "CuZr_mm.eam.fs").symlink_to(cuzr_path)
    shaken = tiny_glass.moved(0.01 * np.random.default_rng(0).standard_normal(tiny_glass.positions_ic.shape))
    with pytest.raises(ScienceError, match="the structure is no minimum"):
        activation_step(request_of([3]), inputs_of(shaken), tmp_path, lambda *_: None)


# ---- every code ----


def ends_of(landscape, parameters, atoms=range(0, 108, 6)):
    codes = set()
    for atom in atoms:
        region = landscape.region(atom, parameters.active_radius)
        distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
        push_mc = push_direction(distance_m, parameters, np.random.default_rng(atom))
        found = search(region, push_mc, parameters)
        assert np.isfinite(found.energy) == (found.code in {Code.SUCCESS, Code.SHOULDER, Code.NEG, Code.COLLAPSED})
        codes.add(found.code)
    return codes


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        (Code.BASIN, {"max_basin_iter": 1}),
        (Code.EIG_LOST, {"max_lost": 0}),
        (Code.MAXITER, {"max_saddle_iter": 1}),
        (Code.ENERGY, {"max_energy": 0.05}),
        (Code.DISP, {"max_displacement": 0.15}),
    ],
    ids=lambda value: value.name if isinstance(value, Code) else "",
)
def test_limits_have_codes(landscape, code, limits):
    assert code in ends_of(landscape, replace(WHOLE, **limits))


def test_a_saddle_may_be_gone_when_its_surroundings_are_free(landscape):
    tight = replace(WHOLE, active_radius=3.5)
    assert any(find_event(landscape, atom, 0, 3, tight).code is Code.RELAXED_AWAY for atom in range(108))


def test_saddles_set_free_in_stages_are_those_of_the_whole_sample(tiny_glass, cuzr, monkeypatch):
    landscape, parameters = Landscape(tiny_glass, cuzr), replace(WHOLE, active_radius=4.0)
    at_once = [find_event(landscape, atom, 0, 3, parameters) for atom in range(0, 108, 6)]
    monkeypatch.setattr(activation, "STAGE_RADIUS_A", 5.0)  # smaller than the cell, as 17 Å are in a sample of 4000
    make, radii, lost_early, kept, same = landscape.region, [], 0, 0, 0
    monkeypatch.setattr(landscape, "region", lambda centre, radius: radii.append(radius) or make(centre, radius))
    for direct in at_once:
        radii.clear()
        event = find_event(landscape, int(direct.region.atoms_m[direct.region.centre]), 0, 3, parameters)
        assert event.search.code == direct.search.code
        if event.code is Code.SUCCESS:
            assert radii == [4.0, 5.0, None]
            assert largest(event.surroundings.evaluate(event.saddle.saddle_mc)[1]) < WHOLE.force_refined
            assert event.saddle.evaluations >= event.surroundings.evaluations  # those of the stage count too
            kept += 1
            same += abs(event.refined_energy - direct.refined_energy) < 1e-4  # or NaN where that one was lost
        lost_early += event.code is Code.RELAXED_AWAY and radii == [4.0, 5.0]
    assert kept >= 4
    assert same >= kept / 2
    assert lost_early


class Track:
    """One atom on a line whose slope is given; stiff across."""

    def __init__(self, slope, curvature, start=0.0):
        self.slope, self.curvature = slope, curvature
        self.start_mc, self.rigid_kx = np.array([[start, 0.0, 0.0]]), np.empty((0, 3))
        self.evaluations = self.n_products = 0

    def evaluate(self, x_mc):
        x, y, z = x_mc[0]
        grid = np.linspace(self.start_mc[0, 0], x, 2001)
        energy = np.trapezoid([self.slope(s) for s in grid], grid) + 2.0 * (y * y + z * z)
        return float(energy), -np.array([[self.slope(x), 4.0 * y, 4.0 * z]])

    def products(self, x_mc):
        return lambda v_mc: v_mc * np.array([self.curvature(x_mc[0, 0]), 4.0, 4.0])


ALONG = np.array([[1.0, 0.0, 0.0]])


def test_a_shoulder_is_no_saddle():
    """The slope falls to 0.02 eV/Å and rises again."""
    track = Track(lambda x: 2 * x * np.exp(-x * x) + 0.02 + 0.1 * max(x - 2.5, 0) ** 2,
                  lambda x: (2 - 4 * x * x) * np.exp(-x * x) + 0.2 * max(x - 2.5, 0))  # fmt: skip
    found = search(track, ALONG)
    assert found.code is Code.SHOULDER
    assert np.isfinite(found.energy)
    assert np.isnan(found.refined_energy)


def test_a_saddle_below_the_start_and_one_at_the_start_are_refused():
    sine = Track(np.sin, np.cos)
    assert search(sine, ALONG).refined_energy == pytest.approx(2.0, abs=1e-5)
    tilted = Track(lambda x: np.sin(x) - 0.6, np.cos, start=-1.2)  # far up the slope, no minimum
    assert search(tilted, ALONG).code is Code.NEG
    at_the_top = Track(np.sin, np.cos, start=np.pi - 0.05)
    assert search(at_the_top, ALONG).code is Code.COLLAPSED
