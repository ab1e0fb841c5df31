# SPDX-License-Identifier: BSD-3-Clause
"""The calibration measures something, and what it says is of the right size."""

import os
import subprocess
import sys


def test_costs_are_positive_and_plausible(tmp_path, cuzr_path):
    (tmp_path / "potential.eam.fs").write_bytes(cuzr_path.read_bytes())
    code = """if True:
        from pathlib import Path
        from bp_distributed.physics.calibrate import calibrate_step
        from bp_distributed.physics.outcome import silent
        request = {"potential_file": "potential.eam.fs", "elements": ["Cu", "Zr"], "seconds": 0.5}
        outcome = calibrate_step(request, {}, Path(), silent)
        assert outcome.arrays == {}
        for name in ("md_seconds_per_atom_step", "eigh_seconds_per_n3", "pdf_seconds_per_atom"):
            print(outcome.facts[name])
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    md, eigh, pdf = (float(line) for line in found.stdout.split())
    # From a fast core to a slow, busy one; a factor 1000 would be a wrong unit.
    assert 1e-7 < md < 1e-4
    assert 1e-11 < eigh < 1e-7
    assert 1e-7 < pdf < 1e-1
