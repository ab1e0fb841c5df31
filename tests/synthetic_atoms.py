# SPDX-License-Identifier: BSD-3-Clause
"""Made-up glasses whose atoms have an intensity that one known shell decides, and what jobs of learning leave."""

import numpy as np
import xarray as xr

from bp_distributed.physics.structure import Gaussian, RadialGrid, atomic_pdf, find_pairs

GRID = RadialGrid(8.0, 0.2)
WINDOW = (4.9, 5.7)
"""Å; the planted shell: zirconium around any atom."""


def glass(rng, n_cells=4, edge=4.1, displacement=0.3):
    """Return positions, cell and species of a disordered fcc crystal."""
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    cells = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    positions = ((cells + corners).reshape(-1, 3)) * edge
    positions = positions + rng.normal(scale=displacement, size=positions.shape)
    species = rng.permutation(np.arange(len(positions)) % 2)
    return positions, np.eye(3) * n_cells * edge, species


def planted(pdf_inr, r):
    """Return the standardised sum over the planted shell."""
    inside = (r > WINDOW[0]) & (r < WINDOW[1])
    total = pdf_inr[:, 1, inside].sum(axis=1)
    return (total - total.mean()) / total.std()


def atoms(n_samples=8, n_melts=4, noise=0.1, offset=0.0, seed=0):
    """Return inputs of the job ``atoms``; log10 I = 2.5 + 0.3 planted + offset of the sample + noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for sample in range(n_samples):
        positions, cell, species = glass(rng)
        volume = float(np.linalg.det(cell))
        pairs = find_pairs(positions, cell, GRID.r_max)
        pdf = atomic_pdf(
            pairs, species, np.bincount(species), volume, grid=GRID, gaussian=Gaussian(0.3, GRID.r_max)
        ).astype(np.float32)
        target = 2.5 + 0.3 * planted(pdf, GRID.centres_r) + noise * rng.normal(size=len(species))
        target += offset * rng.normal()
        parts.append((positions, cell, species, pdf, 1e-9 * 10.0**target, np.full(len(species), sample)))
    positions, cells, species, pdf, intensity, sample_i = zip(*parts, strict=True)
    return {
        "position": np.concatenate(positions), "cell": np.array(cells), "species": np.concatenate(species),
        "pdf": np.concatenate(pdf), "intensity": np.concatenate(intensity), "sample": np.concatenate(sample_i),
        "r": GRID.centres_r, "group": np.array([f"melt-{sample % n_melts}" for sample in range(n_samples)]),
        "sample_id": np.array([f"{sample:020x}" for sample in range(n_samples)]),
        "cooling_rate": np.full(n_samples, 1e13),
    }  # fmt: skip


def dataset_of(inputs):
    """Return what ``gather`` makes of these samples, and how their atomic functions are loaded."""
    n_samples, sizes = len(inputs["group"]), np.bincount(inputs["sample"])
    dataset = xr.Dataset(
        {
            "position": (("row", "cart"), inputs["position"]),
            "species": ("row", inputs["species"].astype(np.int8)),
            "atomic_intensity": ("row", inputs["intensity"].astype(np.float32)),
            "cell": (("sample", "cell_vector", "cart"), inputs["cell"]),
            "n_atoms": ("sample", sizes),
            "row_size": ("sample", sizes),
            "cooling_rate": ("sample", inputs["cooling_rate"]),
            "composition": (("sample", "element"), np.full((n_samples, 2), 0.5)),
        },
        coords={
            "sample_id": ("sample", inputs["sample_id"]),
            "group": ("sample", inputs["group"]),
            "label": ("sample", inputs["sample_id"]),
            "element": ["Cu", "Zr"],
        },
    )

    def load(sample_id, stage):
        assert stage == "structure"
        sample = inputs["sample_id"].tolist().index(sample_id)
        pdf = inputs["pdf"][inputs["sample"] == sample]
        return xr.Dataset({"atomic_pdf": (("atom", "element", "r_bin"), pdf), "r": ("r_bin", inputs["r"])})

    return dataset, load
