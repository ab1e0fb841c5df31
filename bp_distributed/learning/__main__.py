# SPDX-License-Identifier: BSD-3-Clause
"""``python -m bp_distributed.learning``: one job of learning, alone in its process.

The current directory is the job's folder.  In it lie ``request.json``, whose ``kind`` names the job, and
``inputs.npz``.  The job leaves ``result.npz`` (the arrays of what it returns) and, last, ``result.json`` (the rest).
No ``result.json`` means that it died; its last words are in ``stderr``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bp_distributed import durable
from bp_distributed.child import die_with_parent
from bp_distributed.learning.fan_out import ARRAYS, INPUTS, REQUEST, RESULT, plain

KINDS = {
    "fits": "protocol:fits_job",
    "baselines": "protocol:baselines_job",
    "atoms": "atoms:atoms_job",
    "interpretation": "interpretation:interpretation_job",
}
"""Function of each kind, ``(request, inputs, folder) -> dict`` of arrays and plain data."""


def main() -> int:
    """Run the job of this folder; return the exit code."""
    die_with_parent()
    os.environ["KERAS_BACKEND"] = "jax"  # the compiled training loop is JAX's
    request = json.loads(Path(REQUEST).read_text(encoding="utf-8"))
    with np.load(INPUTS, allow_pickle=False) as stored:
        inputs = {name: stored[name] for name in stored.files}
    module, function = KINDS[request["kind"]].split(":")
    run = getattr(importlib.import_module(f"bp_distributed.learning.{module}"), function)
    started = time.time()
    found: dict[str, Any] = run(request, inputs, Path())
    arrays: Any = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    with Path(ARRAYS).open("wb") as file:
        np.savez(file, **arrays)
    facts = {name: plain(value) for name, value in found.items() if name not in arrays}
    facts |= {"seconds": time.time() - started, "cpu_seconds": time.process_time()}
    durable.replace_json(Path(RESULT), facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
