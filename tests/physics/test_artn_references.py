# SPDX-License-Identifier: BSD-3-Clause
"""Searches against saddles that others know: in a plane, of clusters, of a vacancy; by a nudged elastic band and a dimer."""

import numpy as np
import pytest
from small_systems import fcc, relaxed, shared_file

from bp_distributed.physics.artn import Code, Search, SearchParameters, push_direction, search
from bp_distributed.physics.configuration import Configuration, read_configuration
from bp_distributed.physics.descent import Place, descend
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.potential import read_potential
from bp_distributed.physics.region import Landscape
from bp_distributed.physics.saddle import RELAXED_FORCE, explore

MULLER_BROWN = 1e-5  # of its lengths, and of its energies in thousandths
CLUSTER = 1e-4  # ε
VACANCY = 1e-3  # eV
PEER = 2e-3  # eV
INVARIANCE = 1e-7  # eV


def is_start(ends):
    """Return whether the nearer end is the minimum that the search began with."""
    return abs(ends.energy_e[0]) < 1e-3 and ends.displacement_e[0] < 0.2


class MullerBrown:
    """The surface of Müller and Brown in the plane of one atom, in thousandths of its energy; free along z."""

    A_k = np.array([-200.0, -100.0, -170.0, 15.0])
    a_k = np.array([-1.0, -1.0, -6.5, 0.7])
    b_k = np.array([0.0, 0.0, 11.0, 0.6])
    c_k = np.array([-10.0, -10.0, -6.5, 0.7])
    x_k = np.array([1.0, 0.0, -0.5, -1.0])
    y_k = np.array([0.0, 0.5, 1.5, 1.0])

    def __init__(self, x, y):
        self.start_mc, self.rigid_kx = np.array([[x, y, 0.0]]), np.array([[0.0, 0.0, 1.0]])
        self.evaluations = self.n_products = 0
        self.start_energy = self.terms(self.start_mc)[0].sum()

    def terms(self, x_mc):
        u_k, v_k = x_mc[0, 0] - self.x_k, x_mc[0, 1] - self.y_k
        e_k = 1e-3 * self.A_k * np.exp(self.a_k * u_k**2 + self.b_k * u_k * v_k + self.c_k * v_k**2)
        return e_k, 2 * self.a_k * u_k + self.b_k * v_k, self.b_k * u_k + 2 * self.c_k * v_k

    def evaluate(self, x_mc):
        self.evaluations += 1
        e_k, p_k, q_k = self.terms(x_mc)
        return e_k.sum() - self.start_energy, np.array([[-(e_k * p_k).sum(), -(e_k * q_k).sum(), 0.0]])

    def products(self, x_mc):
        e_k, p_k, q_k = self.terms(x_mc)
        xy = (e_k * (p_k * q_k + self.b_k)).sum()
        hessian = np.zeros((3, 3))
        hessian[:2, :2] = [
            [(e_k * (p_k**2 + 2 * self.a_k)).sum(), xy],
            [xy, (e_k * (q_k**2 + 2 * self.c_k)).sum()],
        ]
        return lambda v_mc: v_mc @ hessian


@pytest.mark.parametrize(
    ("start", "push", "place", "energy", "eigenvalues"),
    [
        ((-0.558224, 1.441726), (-0.3, -1), (-0.822002, 0.624313), -40.66484, (-750.863, 490.241)),
        ((0.623499, 0.028038), (-1, 1), (0.212487, 0.292988), -72.24894, (-735.247, 510.887)),
    ],
    ids=["A-C", "B-C"],
)
def test_muller_brown(start, push, place, energy, eigenvalues):
    surface = MullerBrown(*start)
    parameters = SearchParameters(force_converged=1e-3, force_refined=1e-9)
    found = search(surface, np.array([[*push, 0.0]]), parameters)
    assert found.code is Code.SUCCESS
    np.testing.assert_allclose(found.saddle_mc[0, :2], place, atol=MULLER_BROWN)
    above = 1e-3 * energy - surface.start_energy
    assert found.refined_energy == pytest.approx(above, abs=1e-3 * MULLER_BROWN)
    assert found.mode.eigenvalue == pytest.approx(1e-3 * eigenvalues[0], abs=1e-5)
    ends = explore(surface, found.saddle_mc, found.mode, 0.1)
    assert ends.index == 1
    assert ends.displacement_e[0] < RELAXED_FORCE / 0.4  # the softest of its curvatures, eV/Å²


class LennardJones:
    """A cluster with ε = 0.4 eV and σ = 2.5 Å, about as stiff as a metal; summed pair by pair."""

    epsilon, sigma = 0.4, 2.5

    def __init__(self, start_mc):
        self.start_mc = start_mc
        arm_mc = start_mc - start_mc.mean(axis=0)
        motions = [np.tile(axis, (len(start_mc), 1)) for axis in np.eye(3)]
        motions += [np.cross(axis, arm_mc) for axis in np.eye(3)]
        self.rigid_kx = np.linalg.qr(np.reshape(motions, (6, -1)).T)[0].T
        self.evaluations = self.n_products = 0
        self.start_energy = 0.0
        self.start_energy = self.evaluate(start_mc)[0]

    def pairs(self, x_mc):
        i_n, j_n = np.triu_indices(len(x_mc), 1)
        d_nc = x_mc[i_n] - x_mc[j_n]
        r_n = np.linalg.norm(d_nc, axis=1)
        s_n = (self.sigma / r_n) ** 6
        return i_n, j_n, d_nc / r_n[:, None], r_n, s_n

    def evaluate(self, x_mc):
        self.evaluations += 1
        i_n, j_n, unit_nc, r_n, s_n = self.pairs(x_mc)
        pull_nc = (4 * self.epsilon * (6 * s_n - 12 * s_n**2) / r_n)[:, None] * unit_nc
        forces_mc = np.zeros_like(x_mc)
        np.add.at(forces_mc, i_n, -pull_nc)
        np.add.at(forces_mc, j_n, pull_nc)
        return float((4 * self.epsilon * (s_n**2 - s_n)).sum()) - self.start_energy, forces_mc

    def products(self, x_mc):
        i_n, j_n, unit_nc, r_n, s_n = self.pairs(x_mc)
        across_n = 4 * self.epsilon * (6 * s_n - 12 * s_n**2) / r_n**2
        along_n = 4 * self.epsilon * (156 * s_n**2 - 42 * s_n) / r_n**2

        def product(v_mc):
            self.n_products += 1
            d_nc = v_mc[i_n] - v_mc[j_n]
            stretch_n = (unit_nc * d_nc).sum(axis=1)
            change_nc = ((along_n - across_n) * stretch_n)[:, None] * unit_nc + across_n[:, None] * d_nc
            out_mc = np.zeros_like(v_mc)
            np.add.at(out_mc, i_n, change_nc)
            np.add.at(out_mc, j_n, -change_nc)
            return out_mc

        return product


def pentagonal_bipyramid():
    angle_k = 2 * np.pi / 5 * np.arange(5)
    ring = 0.95 * np.stack([np.cos(angle_k), np.sin(angle_k), 0 * angle_k], axis=1)
    return np.concatenate([ring, [[0, 0, 0.55], [0, 0, -0.55]]])


def icosahedron():
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0, a, b * golden) for a in (1, -1) for b in (1, -1)]
    shell = np.concatenate([np.roll(corners, turn, axis=1) for turn in range(3)]) / np.hypot(1, golden)
    return np.concatenate([np.zeros((1, 3)), 1.08 * shell])


@pytest.mark.parametrize(
    ("shape", "minimum", "lowest", "known", "searches"),
    [
        (pentagonal_bipyramid, -16.505384, -15.4447, (-15.0334, -15.0264, -14.5969), 16),
        (
            icosahedron,
            -44.326801,
            -41.5552,
            (-40.9215, -40.9063, -40.8845, -40.6306, -40.4627, -40.4189, -40.2378),
            100,
        ),
    ],
    ids=["LJ7", "LJ13"],
)
def test_lennard_jones_clusters(shape, minimum, lowest, known, searches):
    rough = LennardJones(LennardJones.sigma * shape())
    start_mc = descend(rough, Place.on(rough, rough.start_mc), rough.rigid_kx, 1e-9, 200).x_mc
    surface, rng, found = LennardJones(start_mc), np.random.default_rng(0), set()
    assert surface.start_energy / surface.epsilon == pytest.approx(minimum, abs=2e-6)
    for _ in range(searches):
        one = search(surface, rng.standard_normal(start_mc.shape), SearchParameters(force_refined=1e-7))
        if not np.isfinite(one.refined_energy):
            continue
        ends = explore(surface, one.saddle_mc, one.mode, 0.15)
        if ends.index == 1 and is_start(ends):
            found.add(round((one.refined_energy + surface.start_energy) / surface.epsilon, 6))
    assert min(found) == pytest.approx(lowest, abs=CLUSTER)
    others = [energy for energy in found if abs(energy - lowest) > CLUSTER]
    assert sum(np.abs(np.subtract(known, energy)).min() < CLUSTER for energy in others) >= 2


@pytest.fixture(scope="module")
def vacancy(cuzr):
    """499 atoms of fcc Cu around a hole at the origin."""
    perfect = fcc(3.63909, 5, ("Cu", "Zr"))
    return relaxed(Configuration(perfect.positions_ic[1:], perfect.cell_cc, perfect.species_i[1:], ("Cu", "Zr")), cuzr)


@pytest.mark.parametrize("seed", range(3))
def test_vacancy_in_copper(vacancy, cuzr, seed):
    region = Landscape(vacancy, cuzr).region(0, None)  # a neighbour of the hole
    push_mc = np.zeros_like(region.start_mc)
    push_mc[region.centre] = -vacancy.positions_ic[0] + 0.3 * np.random.default_rng(seed).standard_normal(3)
    found = search(region, push_mc)
    assert found.code is Code.SUCCESS
    assert found.refined_energy == pytest.approx(0.98671, abs=VACANCY)
    assert found.energy == pytest.approx(0.98671, abs=5 * VACANCY)  # what 0.05 eV/Å leaves, as the paper has it
    assert found.mode.eigenvalue == pytest.approx(-2.00, abs=0.01)
    ends = explore(region, found.saddle_mc, found.mode, 0.15)
    assert ends.index == 1
    np.testing.assert_allclose(ends.energy_e, 0.0, atol=VACANCY)  # the hop leads to an equal place
    np.testing.assert_allclose(ends.displacement_e, [0.0, 2.526], atol=0.01)
    whole_ic = vacancy.positions_ic.copy()
    whole_ic[region.atoms_m] += found.saddle_mc - region.start_mc
    saddle = Configuration(whole_ic, vacancy.cell_cc, vacancy.species_i, vacancy.elements)
    assert evaluate(saddle, cuzr).energy - evaluate(vacancy, cuzr).energy == pytest.approx(
        found.refined_energy, abs=1e-9
    )


TURN = np.linalg.qr(np.random.default_rng(6).normal(size=(3, 3)))[0]
TURN_CC = TURN * np.sign(np.linalg.det(TURN))
ORDER_I = np.random.default_rng(7).permutation(500)


def turned(sample):
    return Configuration(sample.positions_ic @ TURN_CC, sample.cell_cc @ TURN_CC, sample.species_i, sample.elements)


def wrapped_elsewhere(sample):
    images_ic = np.random.default_rng(8).integers(-2, 3, size=(sample.n_atoms, 3))
    return sample.moved(images_ic @ sample.cell_cc)


CHANGES = {
    "shifted": lambda sample: sample.moved(np.array([3.3, -7.1, 12.9])),
    "wrapped": wrapped_elsewhere,
    "turned": turned,
    "relabelled": lambda sample: sample.reordered(ORDER_I),
}


def search_from(sample, potential, centre, push_ic, radius=8.0):
    """Search with a push given for the atoms of the whole sample."""
    region = Landscape(sample, potential).region(centre, radius)
    return search(region, push_ic[region.atoms_m], SearchParameters(force_refined=1e-6))


SHORT = 30
"""Stops: rounding, which another frame changes, grows along the way to where it decides which step is the last."""


@pytest.fixture(scope="module")
def some_success(small_glass, cuzr) -> tuple[int, np.ndarray, Search]:
    for centre in range(0, 500, 7):
        push_ic = np.zeros((500, 3))
        push_ic[centre] = np.random.default_rng(centre).standard_normal(3)
        found = search_from(small_glass, cuzr, centre, push_ic)
        if found.code is Code.SUCCESS and found.refined_energy > 0.01 and len(found.path) < SHORT:
            return centre, push_ic, found
    raise AssertionError("no search succeeded")


@pytest.mark.parametrize("change", CHANGES)
def test_barriers_do_not_depend_on_the_frame(small_glass, cuzr, some_success, change):
    centre, push_ic, expected = some_success
    place = int(np.flatnonzero(centre == ORDER_I)[0]) if change == "relabelled" else centre
    push_ic = {"turned": push_ic @ TURN_CC, "relabelled": push_ic[ORDER_I]}.get(change, push_ic)
    found = search_from(CHANGES[change](small_glass), cuzr, place, push_ic)
    assert found.code is Code.SUCCESS
    assert found.refined_energy == pytest.approx(expected.refined_energy, abs=INVARIANCE)
    assert found.energy == pytest.approx(expected.energy, abs=INVARIANCE)


@pytest.fixture(scope="module")
def glass():
    """4000 atoms of Cu50Zr50, and their potential."""
    potential = read_potential(shared_file("BPD_POTENTIALS", "potentials", "Cu-Zr_4.eam.fs"))
    path = shared_file("BPD_GLASSES", "glasses", "cu50zr50_n4000_melt1_branch00.data")
    return read_configuration(path, potential.elements), potential


@pytest.fixture(scope="module")
def events(glass):
    """Three connected saddles of random atoms, with their regions and relaxed ends."""
    landscape, rng, found = Landscape(*glass), np.random.default_rng(12), []
    while len(found) < 3:
        region = landscape.region(int(rng.integers(4000)), 9.0)
        distance_m = np.linalg.norm(region.start_mc - region.start_mc[region.centre], axis=1)
        one = search(region, push_direction(distance_m, SearchParameters(), rng))
        if not np.isfinite(one.refined_energy):
            continue
        ends = explore(region, one.saddle_mc, one.mode, 0.15)
        is_exchange = abs(ends.energy_e[1]) < 1e-3  # of equal atoms, over several saddles
        if ends.index == 1 and is_start(ends) and not is_exchange:
            found.append((region, one, ends))
    return found


def atoms_in(region, x_mc):
    """Return the mobile atoms for ASE, with a region of their own as calculator."""
    ase, calculators = pytest.importorskip("ase"), pytest.importorskip("ase.calculators.calculator")
    own = region._landscape.region(int(region.atoms_m[region.centre]), 9.0)

    class InRegion(calculators.Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results = dict(zip(("energy", "forces"), own.evaluate(atoms.positions), strict=True))

    atoms = ase.Atoms(f"X{region.n_mobile}", positions=x_mc)
    atoms.calc = InRegion()
    return atoms


@pytest.mark.parametrize("number", range(3))
def test_nudged_elastic_band_finds_the_same_barrier(glass, events, number):
    mep, optimize = pytest.importorskip("ase.mep"), pytest.importorskip("ase.optimize")
    sample, potential = glass
    region, found, ends = events[number]
    # Ends of glass events are joined by many paths: the band starts on ours, but rough, its middle some eV too high.
    middle_mc = found.saddle_mc + np.random.default_rng(number).normal(scale=0.04, size=found.saddle_mc.shape)
    rise = [ends.x_emc[0] + share * (middle_mc - ends.x_emc[0]) for share in np.linspace(0, 1, 5)]
    fall = [middle_mc + share * (ends.x_emc[1] - middle_mc) for share in np.linspace(0, 1, 5)[1:]]
    images = [atoms_in(region, x_mc) for x_mc in rise + fall]
    assert images[4].get_potential_energy() > found.refined_energy + 1.0
    for climb, force in ((False, 0.5), (True, 0.02)):  # at once, a climbing image may run away
        band = mep.NEB(images, climb=climb, k=3.0, method="improvedtangent")
        has_converged = optimize.FIRE(band, logfile=None, maxstep=0.05).run(fmax=force, steps=300)
    assert has_converged
    top = max(images, key=lambda image: image.get_potential_energy())
    whole_ic = sample.positions_ic.copy()
    whole_ic[region.atoms_m] += top.positions - region.start_mc
    over = evaluate(Configuration(whole_ic, sample.cell_cc, sample.species_i, sample.elements), potential).energy
    assert over - evaluate(sample, potential).energy == pytest.approx(found.refined_energy, abs=PEER)


@pytest.mark.parametrize("number", range(3))
def test_dimer_finds_the_same_saddle(events, number):
    dimer = pytest.importorskip("ase.mep.dimer")
    region, found, _ = events[number]
    off_mc = np.random.default_rng(number).normal(scale=0.02, size=found.saddle_mc.shape)
    control = dimer.DimerControl(
        logfile=None, eigenmode_logfile=None, initial_eigenmode_method="displacement", displacement_method="vector",
        max_num_rot=3, mask=[True] * region.n_mobile,
    )  # fmt: skip
    atoms = dimer.MinModeAtoms(atoms_in(region, found.saddle_mc + off_mc), control, random_seed=number)
    atoms.displace(displacement_vector=0.02 * found.mode.vector_mc)
    assert dimer.MinModeTranslate(atoms, logfile=None, trajectory=None).run(fmax=0.005, steps=300)
    assert atoms.get_potential_energy() == pytest.approx(found.refined_energy, abs=PEER)
