# SPDX-License-Identifier: BSD-3-Clause
"""``python -m bp_distributed.physics STEP``: one heavy step, alone in its process.

The current directory is the attempt's folder.  In it lie ``request.json`` (parameters) and, where the
step starts from arrays, ``inputs.npz``.  The step leaves ``arrays.npz`` and, last, ``verdict.json``;
``progress.json`` is replaced as it goes.  No verdict means the step died.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bp_distributed.child import die_with_parent
from bp_distributed.errors import ConfigError, FailureClass, InfrastructureError, ScienceError
from bp_distributed.mpi_segments import sweep_mpi_segments
from bp_distributed.physics.outcome import Outcome, Pause

STEPS = {
    "melt": "quench:melt_step",
    "quench": "quench:quench_step",
    "relax": "quench:relax_step",
    "structure": "structure:structure_step",
    "vibration": "vibration:vibration_step",
    "gruneisen": "gruneisen:gruneisen_step",
    "temperatures": "temperatures:temperatures_step",
    "trajectory": "trajectory:trajectory_step",
    "activation": "activation:activation_step",
    "calibrate": "calibrate:calibrate_step",
    "dry_run": "quench:dry_run_step",
}


class _Reporter:
    """Replaces ``progress.json``, at most once a second unless the note changes."""

    def __init__(self) -> None:
        self._last, self._note = float("-inf"), ""

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if note == self._note and now - self._last < 1.0 and done < total:
            return
        self._last, self._note = now, note
        _replace_json(Path("progress.json"), {"done": done, "total": total, "note": note})


def _replace_json(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(path)


def _succeed(outcome: Outcome) -> dict[str, Any]:
    with Path("arrays.npz").open("wb") as file:
        arrays: Any = {name: np.asarray(value) for name, value in outcome.arrays.items()}
        np.savez(file, **arrays)
    with Path("arrays.npz").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "status": "rejected" if outcome.rejected else "done",
        "reason": outcome.rejected.value if outcome.rejected else None,
        "evidence": outcome.evidence,
        "facts": outcome.facts,
        "arrays_sha256": digest,
    }


def _verdict(result: Outcome | Pause) -> dict[str, Any]:
    return {"status": "paused", **asdict(result)} if isinstance(result, Pause) else _succeed(result)


def _fail(kind: FailureClass, reason: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "class": kind, "reason": reason, "message": message}


def main(step: str) -> int:
    """Run one step; return the exit code, 0 when a verdict (good or bad) was left."""
    die_with_parent()
    sweep_mpi_segments()
    module, function = STEPS[step].split(":")
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    inputs: dict[str, Any] = {}
    if Path("inputs.npz").exists():
        with np.load("inputs.npz", allow_pickle=False) as stored:
            inputs = {name: stored[name] for name in stored.files}
    run = getattr(importlib.import_module(f"bp_distributed.physics.{module}"), function)
    started = time.time()
    try:
        verdict = _verdict(run(request, inputs, Path(), _Reporter()))
    except ScienceError as error:
        traceback.print_exc()
        verdict = _fail(FailureClass.SAMPLE, error.reason.value, error.what)
    except ConfigError as error:
        traceback.print_exc()
        verdict = _fail(FailureClass.CONFIGURATION, "configuration", str(error))
    except InfrastructureError as error:
        traceback.print_exc()
        verdict = _fail(FailureClass.INFRASTRUCTURE, error.cause, error.what)
    except MemoryError:
        traceback.print_exc()
        return errno.ENOMEM
    except OSError as error:
        traceback.print_exc()
        return errno.ENOSPC if error.errno in {errno.ENOSPC, errno.EDQUOT} else errno.EIO
    verdict["seconds"] = time.time() - started
    verdict["cpu_seconds"] = time.process_time()
    _replace_json(Path("verdict.json"), verdict)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
