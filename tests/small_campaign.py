# SPDX-License-Identifier: BSD-3-Clause
"""A campaign small enough for tests."""

from pathlib import Path

from bp_distributed.campaign import Campaign

SHARED = Path(__file__).parents[2] / "shared"

SMALL = """\
name: small
potential: default
samples:
  - label: glass
    composition: {Cu: 50, Zr: 50}
    n_atoms: 108
    cooling_rates: [5e14, 2.5e14]
    replicas: 2
    melts: 2
protocol: {heating: 1, hold: 6, branch_spacing: 1, barostat: iso, checkpoint_steps: 500, history_steps: 50}
vibration: {bin_width: 1.0, omega_cut: 15}
training: {hidden: [4], epochs: 10, patience: 5, repeats: 1, folds: 2}
"""


def write_campaign(folder: Path, text: str = SMALL) -> Campaign:
    folder.mkdir(exist_ok=True)
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    return Campaign(folder)
