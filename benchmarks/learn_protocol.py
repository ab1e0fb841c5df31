# SPDX-License-Identifier: BSD-3-Clause
"""The papers' protocol, 4 inputs x 3 architectures x 9 repeats = 108 fits, on 1,600 samples of the paper's dimensions.

Two workers, one thread each, as ``bpd learn`` runs them.  The samples are made up: four latent numbers shape the pair
distributions, and the first of them the participation ratios; a seventh of the intensity is noise.  Wall time suffers
from whatever else runs on the machine, so the CPU time of the jobs is given beside it; the peer is the limit of 10
minutes.
"""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from bp_distributed.config import ProtocolConfig
from bp_distributed.learning.evaluate import evaluated
from bp_distributed.learning.fan_out import fan_out
from bp_distributed.learning.protocol import SCHEMES, network_jobs, parted
from bp_distributed.learning.samples import Samples

SAMPLES, MELTS, MODES, WORKERS, LIMIT_S = 1600, 80, 724, 2, 600.0
CORE = 2.1
"""Å; no pair is nearer."""


def made_up(seed: int = 0) -> Samples:
    """Return samples with the shapes of the paper's."""
    rng = np.random.default_rng(seed)
    melt_s = np.arange(SAMPLES) % MELTS
    rate_s = 10.0 ** rng.uniform(12.0, 14.0, SAMPLES)
    latent_sk = rng.normal(size=(SAMPLES, 4))
    latent_sk[:, 0] += 1.2 * (np.log10(rate_s) - 13.0) + 0.2 * rng.normal(size=MELTS)[melt_s]
    r = (np.arange(120) + 0.5) * 0.1
    pdf_spr = np.ones((SAMPLES, 3, 120)) * (r > CORE)
    for k in range(4):
        for pair in range(3):
            centre = 2.6 + 0.9 * k + 0.3 * pair
            shape_r = np.exp(-(((r - centre) / 0.3) ** 2)) - 0.5 * np.exp(-(((r - centre - 0.6) / 0.4) ** 2))
            pdf_spr[:, pair] += 0.1 * (-1) ** (pair * k) * latent_sk[:, k, None] * shape_r
    pdf_spr += rng.normal(scale=0.02, size=pdf_spr.shape) * (r > CORE)
    soft_k = 1.0 - np.arange(MODES) / MODES
    ratio_sk = 0.5 - 0.35 * soft_k**2 + 0.01 * latent_sk[:, :1] * soft_k + 0.06 * rng.normal(size=(SAMPLES, MODES))
    target_s = 235.0 + latent_sk @ [14.0, 8.0, 5.0, 0.0] + 1.5 * latent_sk[:, 0] ** 2 + 6.0 * rng.normal(size=SAMPLES)
    names = np.array([f"{index:020x}" for index in range(SAMPLES)])
    arrays = {
        "participation_ratio": np.clip(ratio_sk, 0.01, 0.7).astype(np.float32),
        "total_pdf": pdf_spr.mean(axis=1).astype(np.float32),
        "partial_pdf": pdf_spr.reshape(SAMPLES, -1).astype(np.float32),
        "r": r, "target": target_s, "rate": rate_s, "melt": np.array([f"melt-{melt:03d}" for melt in melt_s]),
    }  # fmt: skip
    unknown = np.full(SAMPLES, np.nan)
    return Samples(arrays, unknown, unknown, names, names, 4000, {"Cu": 0.5, "Zr": 0.5}, {})


def run() -> dict:
    samples, settings = made_up(), ProtocolConfig()
    jobs = network_jobs(samples, settings, SCHEMES[:1])
    folder = Path(tempfile.mkdtemp(prefix="bpd-bench-"))
    try:
        started = time.perf_counter()
        ended = fan_out(jobs, folder, WORKERS)
        seconds = time.perf_counter() - started
    finally:
        shutil.rmtree(folder)
    detail = {"failures": ended.failures, "cpu_seconds": sum(one.facts["cpu_seconds"] for one in ended.results.values()),
              "label_std": float(samples.target_s.std()), "workers": WORKERS,
              "limit": settings.updates, "jobs": {}}  # fmt: skip
    fits = 0
    for name, result in parted(ended.results).items():
        arrays = result.arrays
        model = evaluated("", "", arrays["predicted_vans"][0, 0], arrays["test_ns"], samples.target_s)
        fits += arrays["updates_van"].size
        detail["jobs"][name] = {
            "cpu_seconds": result.facts["cpu_seconds"], "median_updates": float(np.median(arrays["updates_van"])),
            "at_the_limit": int((arrays["updates_van"] >= settings.updates).sum()), "test_mae": float(model.mae_n.mean()),
        }  # fmt: skip
    detail |= {"fits": fits, "cpu_seconds_over_workers": detail["cpu_seconds"] / WORKERS,
               "target": "108 fits of 1,600 samples in 600 s on 2 cores"}  # fmt: skip
    return {"row": "learn_protocol", "ours": seconds, "peer": LIMIT_S, "ratio": LIMIT_S / seconds, "unit": "s for 108 fits",
            "detail": detail}  # fmt: skip
