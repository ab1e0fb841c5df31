# SPDX-License-Identifier: BSD-3-Clause
"""Melt, quench, relax: exact continuation, exact rates, seeds, and refusals (reliability.md F28, F29)."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bp_distributed.config import default_potential
from bp_distributed.errors import ScienceError
from bp_distributed.physics import quench
from bp_distributed.physics.checkpoint import newest
from bp_distributed.physics.minimise import PRESSURE_TOLERANCE_GPA
from bp_distributed.physics.pace import Pace

DYNAMICS = {"timestep_fs": 2.0, "barostat": "iso", "thermostat_ps": 0.1, "barostat_ps": 1.0, "checkpoint_steps": 500,
            "history_steps": 50, "elements": ["Cu", "Zr"], "potential_file": "potential.eam.fs", "seed": 11}  # fmt: skip
MELT = {**DYNAMICS, "composition": {"Cu": 0.5, "Zr": 0.5}, "n_atoms": 108, "temperature_K": 2000.0, "heating_ps": 1.0,
        "hold_ps": 4.0, "branches": 2, "branch_spacing_ps": 1.0}  # fmt: skip
QUENCH = {**DYNAMICS, "start_temperature_K": 2000.0, "final_temperature_K": 0.1, "cooling_rate_K_per_s": 2.5e14,
          "force_tolerance": 1e-6}  # fmt: skip


class Step:
    """One physics step in a folder of its own, as the task layer runs it."""

    def __init__(self, folder, name, request, inputs=None):
        folder.mkdir()
        self.folder, self.name = folder, name
        shutil.copyfile(default_potential(), folder / "potential.eam.fs")
        (folder / "request.json").write_text(json.dumps(request))
        if inputs is not None:
            with (folder / "inputs.npz").open("wb") as file:
                np.savez(file, **inputs)

    def start(self):
        command = [sys.executable, "-m", "bp_distributed.physics", self.name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / "stderr").open("wb") as err:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=err)

    def run(self):
        assert self.start().wait() == 0, (self.folder / "stderr").read_text()
        return self

    @property
    def verdict(self):
        return json.loads((self.folder / "verdict.json").read_text())

    @property
    def arrays(self):
        with np.load(self.folder / "arrays.npz") as stored:
            return {name: stored[name] for name in stored.files}

    def kill_after(self, checkpoints):
        """SIGKILL the step once that many checkpoints were vouched for."""
        process = self.start()
        seen = set()
        while len(seen) < checkpoints:
            assert process.poll() is None, "it ended before it could be killed"
            for name in ("A", "B"):
                if (self.folder / f"{name}.json").exists():
                    try:
                        seen.add(json.loads((self.folder / f"{name}.json").read_text())["step"])
                    except (ValueError, OSError):
                        continue
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (self.folder / "verdict.json").exists()
        return self


def start_of(melt, branch):
    arrays = melt.arrays
    names = {"position": "branch_position", "velocity": "branch_velocity", "cell": "branch_cell"}
    return {name: arrays[stored][branch] for name, stored in names.items()} | {"species": arrays["species"]}


@pytest.fixture(scope="module")
def melt(tmp_path_factory):
    return Step(tmp_path_factory.mktemp("melt") / "a", "melt", MELT).run()


@pytest.fixture(scope="module")
def glass(tmp_path_factory, melt):
    return Step(tmp_path_factory.mktemp("quench") / "a", "quench", QUENCH, start_of(melt, 0)).run()


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_the_melt_is_a_liquid_of_exact_composition(melt):
    arrays = melt.arrays
    assert np.bincount(arrays["species"]).tolist() == [54, 54]
    assert (arrays["mean_square_displacement"] > quench.MELTED_MSD_A2).all()
    tail = arrays["history_temperature"][arrays["history_time"] > 3.0]
    assert tail.mean() == pytest.approx(2000.0, rel=0.1)  # fluctuation of 108 atoms: 2000 K sqrt(2/324) = 8 %
    assert np.abs(arrays["branch_position"][1] - arrays["branch_position"][0]).max() > 0.1


def test_the_quench_ends_in_a_minimum_at_zero_pressure(glass):
    arrays = glass.arrays
    assert arrays["max_force"] < QUENCH["force_tolerance"]
    assert abs(arrays["pressure"]) < PRESSURE_TOLERANCE_GPA
    assert 6.9 < arrays["density"] < 7.4, "physics.md 3.3 expects 7.2 to 7.35 for large samples"


def test_the_rate_is_exact(glass):
    steps = round((2000.0 - 0.1) / (2.5e14 * 1e-12 * 0.002))
    assert glass.verdict["facts"]["steps"] == steps
    arrays = glass.arrays
    time_ps, temperature = arrays["history_time"], arrays["history_temperature"]
    assert time_ps[-1] == pytest.approx(steps * 0.002)
    assert np.polyfit(time_ps, temperature, 1)[0] == pytest.approx(-250.0, rel=0.1)  # K/ps; thermal noise of 108 atoms
    assert temperature[-1] < 30.0


def test_the_history_is_complete_and_each_step_stands_once(glass):
    step = np.rint(glass.arrays["history_time"] / 0.002).astype(int)
    last = glass.verdict["facts"]["steps"]
    cuts = [*range(500, last, 500), last]
    assert sorted({*range(0, last, 50), *cuts}) == step.tolist()


@pytest.mark.fault
@pytest.mark.parametrize("checkpoints", [1, 3, 6])
def test_f29_a_killed_and_resumed_quench_equals_an_unkilled_one_bit_for_bit(tmp_path, melt, glass, checkpoints):
    killed = Step(tmp_path / "1", "quench", QUENCH, start_of(melt, 0)).kill_after(checkpoints)
    request = {**QUENCH, "resume_from": [str(killed.folder)]}
    resumed = Step(tmp_path / "2", "quench", request, start_of(melt, 0)).run()
    assert resumed.verdict["facts"]["resumed_at"] >= 500 * checkpoints, "it lost more than one checkpoint interval"
    assert_same(resumed.arrays, glass.arrays)


def run_in_pieces(tmp_path, name, request, inputs=None):
    """Run a step under deadlines that leave each process no more than a few slices; return all its pieces."""
    pieces = []
    for number in range(1, 40):
        earlier = [str(piece.folder) for piece in reversed(pieces)]
        limited = {**request, "resume_from": earlier, "deadline": time.time(), "fresh": True}
        pieces.append(Step(tmp_path / str(number), name, limited, inputs).run())
        if pieces[-1].verdict["status"] != "paused":
            return pieces
    pytest.fail("it never ended")


@pytest.mark.fault
def test_f29_holds_for_a_quench_cut_into_slices_by_deadlines(tmp_path, melt, glass):
    """A worker that never has time enough runs one slice each time, so this is the harshest cutting there is."""
    pieces = run_in_pieces(tmp_path, "quench", QUENCH, start_of(melt, 0))
    steps = glass.verdict["facts"]["steps"]
    pauses = [piece.verdict for piece in pieces[:-1]]
    assert [pause["done"] for pause in pauses] == [*range(500, steps, 500), steps]
    assert {(pause["slices"], pause["total"]) for pause in pauses} == {(1, steps)}
    assert_same(pieces[-1].arrays, glass.arrays)


@pytest.mark.fault
def test_f29_holds_for_a_melt_cut_into_slices_by_deadlines(tmp_path, melt):
    pieces = run_in_pieces(tmp_path, "melt", MELT)
    assert [piece.verdict["status"] for piece in pieces] == ["paused"] * 5 + ["done"]
    assert_same(pieces[-1].arrays, melt.arrays)


def test_a_worker_with_too_little_time_begins_nothing(tmp_path, melt):
    begun = Step(tmp_path / "1", "quench", {**QUENCH, "deadline": time.time(), "fresh": True}, start_of(melt, 0)).run()
    late = {**QUENCH, "resume_from": [str(begun.folder)], "deadline": time.time()}
    verdict = Step(tmp_path / "2", "quench", late, start_of(melt, 0)).run().verdict
    assert (verdict["status"], verdict["done"], verdict["slices"]) == ("paused", 500, 0)


def test_a_drained_campaign_stops_a_quench_at_its_next_checkpoint(tmp_path, melt):
    drain = tmp_path / "DRAIN"
    drain.touch()
    verdict = Step(tmp_path / "1", "quench", {**QUENCH, "drain_file": str(drain)}, start_of(melt, 0)).run().verdict
    assert (verdict["status"], verdict["done"], verdict["slices"]) == ("paused", 500, 1)


def test_a_far_deadline_changes_nothing(tmp_path, melt, glass):
    request = {**QUENCH, "deadline": time.time() + 3600, "fresh": True}
    assert_same(Step(tmp_path / "1", "quench", request, start_of(melt, 0)).run().arrays, glass.arrays)


def test_the_pace_of_an_earlier_attempt_decides_what_fits():
    pace = Pace({"deadline": time.time() + 10.0}, seconds_per_step=0.01)
    assert pace.fits(700)  # 9.1 s with the margin of 1.3
    assert not pace.fits(800)  # 10.4 s
    with pace.slice(1):
        time.sleep(0.1)
    assert not pace.fits(700), "the newest slice was slower"
    assert Pace({"deadline": time.time() + 10.0, "fresh": True}, 0.01).fits(800), "nobody has more time"


@pytest.mark.fault
def test_f29_holds_when_only_the_minimisation_was_lost(tmp_path, melt, glass):
    request = {**QUENCH, "resume_from": [str(glass.folder)]}
    resumed = Step(tmp_path / "1", "quench", request, start_of(melt, 0)).run()
    assert resumed.verdict["facts"]["resumed_at"] == glass.verdict["facts"]["steps"]
    assert_same(resumed.arrays, glass.arrays)


@pytest.mark.fault
def test_f29_holds_for_the_melt_with_its_branches(tmp_path, melt):
    killed = Step(tmp_path / "1", "melt", MELT).kill_after(4)
    resumed = Step(tmp_path / "2", "melt", {**MELT, "resume_from": [str(killed.folder)]}).run()
    assert_same(resumed.arrays, melt.arrays)


@pytest.mark.fault
def test_other_slices_are_another_trajectory(tmp_path, melt, glass):
    """The reason why slices are fixed, and part of a sample's identity."""
    other = Step(tmp_path / "1", "quench", {**QUENCH, "checkpoint_steps": 700}, start_of(melt, 0)).run()
    assert np.abs(other.arrays["position"] - glass.arrays["position"]).max() > 1e-6


@pytest.mark.fault
@pytest.mark.parametrize("damage", ["truncate newest", "flip a bit", "both gone"])
def test_f28_a_torn_checkpoint_is_passed_over(tmp_path, melt, glass, damage):
    killed = Step(tmp_path / "1", "quench", QUENCH, start_of(melt, 0)).kill_after(4)
    facts = {"lammps": glass.verdict["facts"]["lammps"], "ranks": 1, "elements": ["Cu", "Zr"]}
    best = newest([killed.folder], facts)
    if damage == "truncate newest":
        os.truncate(best.restart, best.restart.stat().st_size // 2)
    elif damage == "flip a bit":
        data = bytearray(best.restart.read_bytes())
        data[len(data) // 2] ^= 4
        best.restart.write_bytes(data)
    else:
        for path in killed.folder.glob("*.restart"):
            path.write_bytes(b"")
    found = newest([killed.folder], facts)
    assert found is None if damage == "both gone" else found.step < best.step
    request = {**QUENCH, "resume_from": [str(killed.folder)]}
    resumed = Step(tmp_path / "2", "quench", request, start_of(melt, 0)).run()
    assert_same(resumed.arrays, glass.arrays)


def test_seeds_make_a_melt_reproducible_and_different(tmp_path, melt):
    again = Step(tmp_path / "1", "melt", MELT).run()
    other = Step(tmp_path / "2", "melt", {**MELT, "seed": 12}).run()
    assert_same(again.arrays, melt.arrays)
    assert not np.array_equal(other.arrays["species"], melt.arrays["species"])


def test_a_crystal_that_survives_is_reported(tmp_path):
    cold = {**MELT, "temperature_K": 300.0, "composition": {"Cu": 1.0}, "hold_ps": 1.0, "branches": 1}
    verdict = Step(tmp_path / "1", "melt", cold).run().verdict
    assert (verdict["status"], verdict["class"], verdict["reason"]) == ("failed", "sample", "not_melted")


def test_a_minimisation_that_cannot_converge_is_the_samples_own_failure(tmp_path, melt):
    inputs = {name: value for name, value in start_of(melt, 0).items() if name != "velocity"}
    request = {**DYNAMICS, "force_tolerance": 1e-30, "relax_cell": False}
    verdict = Step(tmp_path / "1", "relax", request, inputs).run().verdict
    assert (verdict["status"], verdict["class"]) == ("failed", "sample")
    assert verdict["reason"] == "minimisation_not_converged"
    assert "wanted 1e-30" in verdict["message"]


def test_an_exploding_start_is_the_samples_own_failure(tmp_path, melt):
    """All atoms on a heap: LAMMPS loses them, and says so."""
    inputs = start_of(melt, 0)
    inputs["position"] = inputs["position"][0] + 0.02 * np.random.default_rng(1).normal(size=(108, 3))
    verdict = Step(tmp_path / "1", "quench", {**QUENCH, "timestep_fs": 10.0}, inputs).run().verdict
    assert (verdict["status"], verdict["class"]) == ("failed", "sample")
    assert verdict["reason"] in {"atoms_lost", "not_finite"}, verdict["message"]


@pytest.mark.parametrize("edges", [(10.0, 10.0, 16.1), (8.0, 20.0, 12.0)])
def test_a_needle_is_refused(edges):
    with pytest.raises(ScienceError, match="barostat: iso"):
        quench._check_cell(np.diag(edges))
    quench._check_cell(np.diag([10.0, 12.0, 15.9]))


def test_a_cell_free_to_tilt_is_melted_and_quenched_to_no_shear_stress(tmp_path):
    free = {**MELT, "barostat": "tri", "branches": 1}
    melt = Step(tmp_path / "1", "melt", free).run()
    assert np.abs(np.tril(melt.arrays["branch_cell"][0], -1)).max() > 0
    fast = {**QUENCH, "barostat": "tri", "cooling_rate_K_per_s": 1e15}
    glass = Step(tmp_path / "2", "quench", fast, start_of(melt, 0)).run().arrays
    assert glass["max_force"] < fast["force_tolerance"]
    assert abs(glass["pressure"]) < PRESSURE_TOLERANCE_GPA
    assert np.abs(np.tril(glass["cell"], -1)).max() > 0


@pytest.mark.fault
def test_f29_holds_for_a_tilted_cell_resumed_in_its_own_folder(tmp_path, melt):
    fast = {**QUENCH, "barostat": "tri", "cooling_rate_K_per_s": 5e14}
    whole = Step(tmp_path / "1", "quench", fast, start_of(melt, 1)).run()
    killed = Step(tmp_path / "2", "quench", fast, start_of(melt, 1)).kill_after(2)
    resumed = killed.run()
    assert resumed.verdict["facts"]["resumed_at"] >= 1000
    assert_same(resumed.arrays, whole.arrays)


def test_relaxing_an_inherent_structure_changes_nothing(tmp_path, glass):
    arrays = glass.arrays
    inputs = {name: arrays[name] for name in ("position", "cell", "species")}
    again = (
        Step(tmp_path / "1", "relax", {**DYNAMICS, "force_tolerance": 1e-6, "relax_cell": False}, inputs).run().arrays
    )
    assert again["energy"] == pytest.approx(float(arrays["energy"]), abs=1e-9)


def test_a_turned_and_tilted_cell_has_the_same_energy(tmp_path, glass):
    """Rotate the glass, and describe its lattice by other vectors: E and density must not notice."""
    arrays = glass.arrays
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    cell = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]]) @ arrays["cell"]
    inputs = {"position": arrays["position"] @ turn, "cell": cell @ turn, "species": arrays["species"]}
    turned = (
        Step(tmp_path / "1", "relax", {**DYNAMICS, "force_tolerance": 1e-6, "relax_cell": False}, inputs).run().arrays
    )
    assert turned["energy"] == pytest.approx(float(arrays["energy"]), abs=1e-7)  # 1e-9 eV per atom
    assert turned["density"] == pytest.approx(float(arrays["density"]), rel=1e-12)


def test_composition_counts_are_exact_and_sum():
    request = {"n_atoms": 108, "elements": ["Cu", "Zr"], "composition": {"Cu": 1 / 3, "Zr": 2 / 3}}
    assert quench.species_counts(request).tolist() == [36, 72]
    request["composition"] = {"Cu": 0.305, "Zr": 0.695}
    assert quench.species_counts(request).tolist() == [33, 75]


@pytest.mark.parametrize(("rate", "steps"), [(1e14, 9999), (1e13, 99995)])
def test_steps_of_a_ramp(rate, steps):
    dynamics = quench.Dynamics.of(DYNAMICS)
    segment = quench.quench_segment({**QUENCH, "cooling_rate_K_per_s": rate}, dynamics)
    assert segment.last == pytest.approx(steps, abs=1)


def test_dry_run_of_the_default_potential(tmp_path):
    request = {"elements": ["Cu", "Zr"], "potential_file": "potential.eam.fs"}
    assert Step(tmp_path / "1", "dry_run", request).run().verdict["facts"]["energy_eV"] < 0
