# SPDX-License-Identifier: BSD-3-Clause
"""Samples with planted trends for the atlas: what each row should find is known."""

import json
from pathlib import Path

import numpy as np
from synthetic import quench_stage, structure_stage, vibration_stage

from bp_distributed.atlas.source import Source
from bp_distributed.gather import GatherItem, gather

RATES = (1e12, 3.2e12, 1e13, 3.2e13, 1e14)
N_ATOMS = 108


def nothing_stored(sample_id, stage):
    """Return no result, as for a dataset without its campaign."""


def source_of(items, config=None):
    """Return what the rows of the atlas are made from, with Tao's potential."""
    dataset = gather(items, {"bp_config": json.dumps(config or {})})
    return Source(dataset, "Cu-Zr_4.eam.fs (0123456789ab)", Path("/there/is/none"), nothing_stored)


def sample(rng, index, rate, melt, *, rejected="", **vibration):
    """Return one sample; values of whole samples or arrays given by name replace those of its vibration stage."""
    stage = vibration_stage(rng, N_ATOMS, 1.5)
    for name, values in vibration.items():
        stage[name] = (stage[name].dims, np.asarray(values), stage[name].attrs)
    return GatherItem(
        sample_id=f"{index:020x}", label=f"planted-{index}", group=f"melt-{melt}", cooling_rate=rate,
        composition={"Cu": 0.5, "Zr": 0.5}, n_atoms=N_ATOMS, rejected=rejected,
        stages={"quench": quench_stage(rng, N_ATOMS, rate), "structure": structure_stage(rng, 0.0), "vibration": stage},
    )  # fmt: skip


def trended(sign=1, n_melts=5, rates=RATES, bend=0.0, seed=0, rejected=""):
    """Return samples whose boson peak rises (sign 1) and moves down with the rate, by 20 µTHz⁻³ and 0.3 rad/ps a decade.

    Above 1e13 K/s the slope of the intensity is larger by ``bend``.
    """
    rng = np.random.default_rng(seed)
    items = []
    for melt in range(n_melts):
        for rate in rates:
            decades = np.log10(rate / 1e13)
            level = 220.0 + sign * 20.0 * decades + bend * max(decades, 0.0) + rng.normal(scale=2.0)
            peak = 4.0 - 0.3 * sign * decades + rng.normal(scale=0.05)
            planted = {
                "intensity": 1e-6 * level, "robust_intensity": 0.9e-6 * level, "peak_frequency": peak,
                "robust_peak_frequency": peak, "first_phonon": 8.0,
            }  # fmt: skip
            item = sample(rng, len(items), rate, melt, rejected=rejected, **planted)
            frequency = item.stages["vibration"]["frequency"]
            frequency *= 1.0 - 0.02 * sign * decades
            items.append(item)
    return items
