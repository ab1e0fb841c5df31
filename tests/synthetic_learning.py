# SPDX-License-Identifier: BSD-3-Clause
"""Samples with a planted relation between structure and intensity, and results of fits whose errors are planted."""

from pathlib import Path

import numpy as np

from bp_distributed.config import ProtocolConfig
from bp_distributed.learning.fan_out import Result
from bp_distributed.learning.protocol import protocol_jobs, requests_of, turns_of
from bp_distributed.learning.samples import Samples

R = (np.arange(120) + 0.5) * 0.1
SMALL = ProtocolConfig(repeats=5, scan_repeats=5, updates=640, patience=640)


def samples(n_samples=120, n_melts=12, seed=0, noise=1.0, reach=6.85, modes=20):
    """Return samples whose intensity is a linear function of the partial pair distribution out to ``reach`` Å.

    One latent number per half angstrom shapes the three functions; those within reach make the intensity.
    """
    rng = np.random.default_rng(seed)
    melt_s = np.arange(n_samples) % n_melts
    centres = np.arange(2.6, 11.9, 0.5)
    latent_sk = rng.normal(size=(n_samples, len(centres)))
    bumps_kr = np.exp(-(((R - centres[:, None]) / 0.12) ** 2))
    pdf_spr = 1.0 + 0.1 * np.einsum("sk,pk,kr->spr", latent_sk, np.ones((3, len(centres))), bumps_kr)
    pdf_spr += rng.normal(scale=0.002, size=pdf_spr.shape)
    weight_k = np.where(centres < reach, 8.0, 0.0)
    target_s = 235.0 + latent_sk @ weight_k + rng.normal(scale=noise, size=n_samples)
    arrays = {
        "participation_ratio": rng.uniform(0.05, 0.6, (n_samples, modes)).astype(np.float32),
        "total_pdf": pdf_spr.mean(axis=1).astype(np.float32),
        "partial_pdf": pdf_spr.reshape(n_samples, -1).astype(np.float32),
        "r": R,
        "target": target_s,
        "rate": 10.0 ** rng.uniform(12.0, 14.0, n_samples),
        "melt": np.array([f"melt-{melt:02d}" for melt in melt_s]),
        "energy": -5.0 + 0.001 * rng.normal(size=n_samples),
    }
    names = np.array([f"{index:020x}" for index in range(n_samples)])
    return Samples(
        arrays,
        np.full(n_samples, 4.0),
        np.full(n_samples, 3.0),
        names,
        names,
        108,
        {"Cu": 0.5, "Zr": 0.5},
        {"rejected": 2},
    )


def planted_results(found, sigma_of, seed=1, settings=SMALL):
    """Return results of all jobs as if the fits had errors of this size, without fitting anything.

    ``sigma_of(name, variant)`` is the standard deviation of the error, µTHz⁻³; a sample's error is the same in all fits
    but for a hundredth, so that pairs are compared as they should be.
    """
    rng = np.random.default_rng(seed)
    shape_s = rng.normal(size=len(found))
    results = {}
    jobs = protocol_jobs(found, settings)
    for name, request in (item for job in jobs for item in requests_of(job.name, job.request).items()):
        turns = turns_of(found.melt_s, request)
        variants = request["variants"]
        models = request.get("recipes") or request["models"]
        shape = (len(variants), len(models), len(turns))
        predicted = np.empty((*shape, len(found)))
        for v, variant in enumerate(variants):
            sigma = sigma_of(name, variant)
            predicted[v] = found.target_s + sigma * (shape_s + 0.01 * rng.normal(size=(*shape[1:], len(found))))
        test_ns, check_ns = np.zeros((2, len(turns), len(found)), dtype=bool)
        for n, turn in enumerate(turns):
            test_ns[n, turn.test], check_ns[n, turn.check] = True, True
        arrays = {"predicted_vans": predicted, "test_ns": test_ns, "check_ns": check_ns,
                  "check_van": rng.normal(10.0, 0.01, shape), "updates_van": np.full(shape, 640)}  # fmt: skip
        results[name] = Result(request, {}, arrays, Path(name))
    return results
