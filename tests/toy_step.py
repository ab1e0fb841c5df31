# SPDX-License-Identifier: BSD-3-Clause
"""Stands in for a heavy step where only the machinery around it is tested: writes small, seeded results.

``toy.json`` in the campaign folder says how a stage misbehaves: {"quench": "abort"} or {"quench-<sid>": ["abort", "ok"]},
one behaviour per attempt, the last one repeated; "slow 3" takes three seconds; "slices 5 2" takes five slices of two
seconds, with a checkpoint after each, and stops before its deadline as a quench does.
"""

import ctypes
import errno
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from bp_distributed.child import die_with_parent
from bp_distributed.errors import Reason
from bp_distributed.physics.__main__ import _fail, _replace_json, _succeed, _verdict
from bp_distributed.physics.outcome import Outcome, Pause
from bp_distributed.physics.pace import Pace


def arrays(step, request):
    generator = np.random.default_rng(request.get("seed", 1))
    n_atoms = 4
    if step == "melt":
        shape = (request["branches"], n_atoms, 3)
        return {"branch_position": generator.normal(size=shape), "branch_velocity": generator.normal(size=shape),
                "branch_cell": np.tile(np.eye(3), (request["branches"], 1, 1)), "species": np.arange(n_atoms) % 2}  # fmt: skip
    if step in {"quench", "relax"}:
        return {"position": generator.normal(size=(n_atoms, 3)), "cell": np.eye(3), "species": np.arange(n_atoms) % 2,
                "energy": generator.normal(), "density": 7.0}  # fmt: skip
    if step == "activation":
        return searches(request)
    return {"r": np.arange(3.0), "total_pdf": generator.normal(size=3)} if step == "structure" else {"intensity": 2e-4}


def searches(request):
    """Saddles that depend on seed, atom and trial only, as real ones do; every fourth search fails."""
    shape = (len(request["atoms"]), request["max_trials"])
    code = np.full(shape, -1, np.int8)
    energy = np.full(shape, np.nan)
    for s, atom in enumerate(request["atoms"]):
        for trial in range(request["max_trials"]):
            if (code[s] == 0).sum() < request["events_per_atom"]:
                found = np.random.default_rng((request["seed"], atom, trial)).random(2)
                code[s, trial] = 0 if found[0] > 0.25 else 3
                energy[s, trial] = 1.0 + found[1] if found[0] > 0.25 else np.nan
    known = np.where(code == 0, 1, -1)
    ends = np.stack([0.0 * energy, energy / 2], axis=-1)
    counted = np.where(code >= 0, 100, 0).astype(np.int32)
    return {"searched_atom": np.array(request["atoms"], np.int32), "search_code": code, "activation_energy": energy + 0.002,
            "refined_activation_energy": energy, "saddle_eigenvalue": -energy, "saddle_index": known.astype(np.int8),
            "saddle_connected": known.astype(np.int8),
            "saddle_first_trial": np.where(code == 0, np.arange(shape[1]), -1).astype(np.int16),
            "saddle_displacement": energy, "end_energy": ends, "end_displacement": ends, "force_evaluations": counted,
            "hessian_products": counted, "boundary_error": np.full(shape, np.nan),
            "region_error": 0.01 * energy, "boundary_connected": np.full(shape, -1, np.int8)}  # fmt: skip


def facts(step, found):
    if step != "activation":
        return {}
    succeeded = found["search_code"] == 0
    return {"searches": int((found["search_code"] >= 0).sum()), "successes": int(succeeded.sum()),
            "connected": int((found["saddle_connected"] == 1).sum()),
            "energy_sum_eV": float(found["activation_energy"][succeeded].sum())}  # fmt: skip


def outcome_of(step, request, rejected=None):
    found = arrays(step, request)
    return Outcome(found, rejected=rejected, facts=facts(step, found))


def behaviour(step):
    attempt = Path.cwd()
    root = next(folder for folder in attempt.parents if (folder / "campaign.json").exists())
    plan = json.loads((root / "toy.json").read_text()) if (root / "toy.json").exists() else {}
    key = json.loads((attempt / "claim.json").read_text())["task"]
    wanted = plan.get(key, plan.get(step, "ok"))
    number = int(attempt.name.split("-")[0])
    return wanted if isinstance(wanted, str) else wanted[min(number, len(wanted)) - 1]


def slices(request, count, seconds):
    folders = [Path(), *(Path(name) for name in request["resume_from"])]
    done = max(
        (json.loads((folder / "A.json").read_text())["step"] for folder in folders if (folder / "A.json").exists()),
        default=0,
    )
    pace = Pace(request, seconds if done else 0.0)
    for number in range(done, count):
        if not pace.fits(1):
            return Pause(number, count, pace.slices)
        with pace.slice(1):
            time.sleep(seconds)
        _replace_json(Path("A.json"), {"step": number + 1})
    return None


def main(step):
    die_with_parent()
    request = json.loads(Path("request.json").read_text())
    wanted = behaviour(step)
    if wanted.startswith("slow "):
        time.sleep(float(wanted.split()[1]))
        wanted = "ok"
    if wanted.startswith("slices "):
        count, seconds = (float(word) for word in wanted.split()[1:])
        if pause := slices(request, int(count), seconds):
            _replace_json(Path("verdict.json"), _verdict(pause) | {"cpu_seconds": 0})
            return 0
        wanted = "ok"
    if wanted.startswith("broken node "):
        claim = json.loads(Path("claim.json").read_text())
        wanted = "no verdict" if claim["node"] == wanted.split()[2] else "ok"
    match wanted:
        case "abort":
            os.abort()
        case "killed":
            os.kill(os.getpid(), 9)
        case "no space":
            return errno.ENOSPC
        case "kill worker":
            os.kill(os.getppid(), 9)
            time.sleep(60)
        case "hold the GIL":
            ctypes.PyDLL(None).sleep(18)
            outcome = outcome_of(step, request)
        case "no memory":
            return errno.ENOMEM
        case "no verdict":
            return 0
        case "exception":
            raise RuntimeError("something nobody foresaw")
        case "config":
            _replace_json(
                Path("verdict.json"), _fail("configuration", "configuration", "potential lacks Xx") | {"cpu_seconds": 0}
            )
            return 0
        case "science":
            _replace_json(Path("verdict.json"), _fail("sample", "atoms_lost", "3 of 4 atoms left") | {"cpu_seconds": 0})
            return 0
        case "not finite":
            outcome = Outcome({"energy": float("nan")})
        case "sleep":
            time.sleep(120)
            return 0
        case "pause":
            for name in ("A.restart", "A.json"):
                Path(name).write_text("{}")
            _replace_json(Path("verdict.json"), _verdict(Pause(1, 2, 1)) | {"cpu_seconds": 0})
            return 0
        case "rejected":
            outcome = outcome_of(step, request, Reason.NO_PEAK)
        case _:
            outcome = outcome_of(step, request)
    _replace_json(Path("verdict.json"), {**_succeed(outcome), "cpu_seconds": time.process_time()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
