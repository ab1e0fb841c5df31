# SPDX-License-Identifier: BSD-3-Clause
"""What a plan costs: steps counted, scaling, and the cache of measured speeds."""

import math
from dataclasses import replace

import pytest

from bp_distributed.config import CampaignConfig
from bp_distributed.cost import (
    TYPICAL,
    estimate,
    load_calibration,
    md_steps,
    save_calibration,
    task_bytes,
    task_seconds,
)
from bp_distributed.plan import make_plan

SPEED = {"md_seconds_per_atom_step": 5e-6, "eigh_seconds_per_n3": 1e-10, "pdf_seconds_per_atom": 1e-3}


@pytest.fixture
def planned(tmp_path):
    """Return a function: keys of the block, and sections of the configuration -> plan."""
    (tmp_path / "p.eam.fs").write_text("first\nsecond\nthird\n2 Cu Zr\n5 0.1 5 0.1 6.5\n29 63.546 3.61 fcc\n")

    def plan(sections=None, **keys):
        block = {"label": "a", "composition": {"Cu": 50, "Zr": 50}, "n_atoms": 4000, "cooling_rates": [1e13], **keys}
        content = {"name": "x", "potential": "p.eam.fs", "samples": [block], **(sections or {})}
        return make_plan(CampaignConfig.model_validate(content), tmp_path)

    return plan


def of_stage(plan, stage):
    return next(task for task in plan.tasks if task.stage == stage)


def test_steps_are_counted(planned):
    plan = planned(replicas=3, melts=1)
    melt, *others = plan.tasks
    assert md_steps(plan, melt) == round((20 + 2000 + 2 * 10) / 0.002)  # heating, hold, two spacings; 2 fs
    quench = next(task for task in others if task.stage == "quench")
    assert md_steps(plan, quench) == math.ceil(1999.9 / 10 / 0.002)  # 10 K/ps


def test_core_hours_of_a_quench_agree_with_the_papers_sizes(planned):
    """physics.md T1: 37 core-minutes at 1e13 K/s for 4000 atoms at 5.5 microseconds per atom-step."""
    plan = planned()
    quench = next(task for task in plan.tasks if task.stage == "quench")
    minutes = task_seconds(plan, quench, {"md_seconds_per_atom_step": 5.5e-6}) / 60
    assert minutes == pytest.approx(37, rel=0.05)  # minimisation and start-up are ours


def test_time_scales_as_physics_says(planned):
    small, large = planned(n_atoms=4000), planned(n_atoms=32000)
    ratio = {}
    for stage in ("quench", "vibration", "structure"):
        of = [task_seconds(p, next(t for t in p.tasks if t.stage == stage), SPEED) for p in (small, large)]
        ratio[stage] = of[1] / of[0]
    assert ratio["quench"] == pytest.approx(8, rel=0.05)  # linear but for the start
    assert 70 < ratio["vibration"] < 8**2.3  # of the low modes, but for assembly
    slow = {t.stage: md_steps(p, t) for p in (planned(cooling_rates=[1e12]),) for t in p.tasks if t.stage == "quench"}
    fast = {t.stage: md_steps(p, t) for p in (planned(),) for t in p.tasks if t.stage == "quench"}
    assert slow["quench"] == pytest.approx(10 * fast["quench"], rel=1e-4)  # whole steps


def test_table_adds_up(planned):
    plan = planned(replicas=5)
    table = estimate(plan, SPEED)
    assert [(row.stage, row.tasks) for row in table.rows] == [(stage, 5) for stage in plan.stages]
    assert table.core_hours == pytest.approx(sum(task_seconds(plan, t, SPEED) for t in plan.tasks) / 3600)
    assert sum(r.storage_bytes for r in table.rows) == pytest.approx(sum(task_bytes(plan, t) for t in plan.tasks))
    assert table.calibration == SPEED


def test_sizes_agree_with_results_on_disk(planned):
    """Bytes of committed results of a campaign of 256 and one of 4000 atoms, written on 2026-11-21."""
    plan = planned(n_atoms=4000)
    of_4000 = {task.stage: task_bytes(plan, task) for task in plan.tasks}
    assert of_4000["structure"] == pytest.approx(2_827_906, rel=0.2)
    assert of_4000["vibration"] == pytest.approx(413_840, rel=0.2)
    plan = planned(n_atoms=256)
    of_256 = {task.stage: task_bytes(plan, task) for task in plan.tasks}
    assert of_256["structure"] == pytest.approx(204_148, rel=0.2)
    assert of_256["vibration"] == pytest.approx(64_187, rel=0.2)


def test_a_diagonalisation_agrees_with_one_that_was_timed(planned):
    """4000 atoms took 203 core-seconds by LAPACK on the machine of ``TYPICAL``, 37 by products; 19,652 took 1430."""
    for n_atoms, solver, seconds in ((4000, "lapack", 203), (4000, "auto", 37), (19_652, "auto", 1430)):
        plan = planned({"vibration": {"solver": solver}}, n_atoms=4000)
        plan = replace(plan, samples=(replace(plan.samples[0], n_atoms=n_atoms),), melts=())
        assert task_seconds(plan, of_stage(plan, "vibration")) == pytest.approx(seconds, rel=0.2)


def test_vectors_are_most_of_a_result_that_keeps_them(planned):
    """727 of 4000 atoms, 12 bytes per atom and mode."""
    without, kept = (planned({"vibration": {"store_vectors": kind}}) for kind in ("none", "float32"))
    vectors = task_bytes(kept, of_stage(kept, "vibration")) - task_bytes(without, of_stage(without, "vibration"))
    assert vectors == pytest.approx(12 * 4000 * 727, rel=0.02)


def test_grueneisen_parameters_cost_three_solves(planned):
    plan = planned({"gruneisen": {}})
    assert plan.stages[-1] == "gruneisen"
    one, three = (task_seconds(plan, of_stage(plan, stage), SPEED) for stage in ("vibration", "gruneisen"))
    assert 3 * one - 10 < three < 3 * (one + 1500 * 4000 * SPEED["md_seconds_per_atom_step"])
    assert task_bytes(plan, of_stage(plan, "gruneisen")) > 8 * 4000


def test_warming_costs_its_steps_and_a_solve_at_each_temperature(planned):
    plan = planned({"temperatures": {"series": [100.0, 200.0, 300.0], "heating": 2.0, "relaxation": 8.0}})
    task = of_stage(plan, "temperatures")
    assert md_steps(plan, task) == 3 * 5000
    dynamics = 15_000 * 4000 * SPEED["md_seconds_per_atom_step"]
    relax = 1500 * 4000 * SPEED["md_seconds_per_atom_step"]
    solve = task_seconds(plan, of_stage(plan, "vibration"), SPEED)
    assert task_seconds(plan, task, SPEED) == pytest.approx(dynamics + 3 * (relax + solve), rel=0.01)
    assert task_bytes(plan, task) < 100_000


def test_a_trajectory_costs_its_steps_and_its_frames(planned):
    plan = planned({"trajectory": {"heating": 1.0, "equilibration": 3.0, "duration": 2.0, "sampling": 0.02}})
    task = of_stage(plan, "trajectory")
    assert md_steps(plan, task) == 3000
    least = 3000 * 4000 * SPEED["md_seconds_per_atom_step"]
    assert least < task_seconds(plan, task, SPEED) < 2 * least
    frames = 16 * 4000 * 100  # single precision: place and energy
    assert 0.8 * frames < task_bytes(plan, task) < 1.1 * frames


def test_sizes_of_motion_agree_with_results_on_disk(planned):
    """Bytes of committed results of 256 atoms at four temperatures, and in 101 frames, written on 2026-11-21."""
    plan = planned({"temperatures": {"series": [100.0, 400.0, 800.0, 1200.0]}, "trajectory": {}}, n_atoms=256)
    assert task_bytes(plan, of_stage(plan, "temperatures")) == pytest.approx(72_667, rel=0.2)
    assert task_bytes(plan, of_stage(plan, "trajectory")) == pytest.approx(387_000, rel=0.2)


def test_an_empty_plan_costs_nothing(planned):
    assert estimate(planned(replicas=0), {}).rows == ()


def test_atomic_functions_are_most_of_the_disk(planned):
    plan = planned()
    size = {task.stage: task_bytes(plan, task) for task in plan.tasks}
    assert size["structure"] > size["quench"] + size["vibration"]


def test_a_calibration_is_remembered_by_host_and_potential(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_calibration("a" * 64, "host") is None
    save_calibration("a" * 64, "host", {**SPEED, "host": "host"})
    assert load_calibration("a" * 64, "host") == {**SPEED, "host": "host"}
    assert load_calibration("b" * 64, "host") is None
    assert load_calibration("a" * 64, "other") is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"md_seconds_per_atom_step": 0.0}', '{"a": NaN}'])
def test_a_damaged_cache_is_measured_again(tmp_path, monkeypatch, content):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save_calibration("a" * 64, "host", SPEED)
    (kept,) = (tmp_path / "bp_distributed").iterdir()
    kept.write_text(content)
    assert load_calibration("a" * 64, "host") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    save_calibration("a" * 64, "host", SPEED)
    assert load_calibration("a" * 64, "host") is None


def test_typical_speeds_stand_in_for_what_was_not_measured(planned):
    plan = planned()
    for task in plan.tasks:
        assert task_seconds(plan, task) == task_seconds(plan, task, TYPICAL)
