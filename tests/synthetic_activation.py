# SPDX-License-Identifier: BSD-3-Clause
"""A made-up glass whose activation energies follow 1/I, with searches that fail as real ones do."""

import numpy as np
from synthetic import labelled, quench_stage, structure_stage, vibration_stage

from bp_distributed.gather import GatherItem

LAW = 0.02
"""eV per (µTHz⁻³)⁻¹: the planted slope."""


def field_on(rng, position, length, sigma=3.0, n_waves=400):
    """Return a smooth random field of unit variance, periodic in a cube."""
    wave = np.rint(rng.normal(size=(n_waves, 3)) * length / (2 * np.pi * sigma))
    wave = wave[np.abs(wave).sum(axis=1) > 0]
    angle = 2 * np.pi / length * position @ wave.T + 2 * np.pi * rng.random(len(wave))
    return np.cos(angle).sum(axis=1) * np.sqrt(2 / len(wave))


def activation_stage(rng, mean_energy, searched, n_trials=6):
    """Return searches of some atoms: half end at a connected saddle near the mean energy, the others as they may."""
    shape = (len(searched), n_trials)
    code = rng.choice([0, 0, 0, 0, 1, 2, 3, 5, 7, 8, 9], shape)
    code[:, -1] = np.where(rng.random(len(searched)) < 0.5, -1, code[:, -1])
    good = code == 0
    energy = np.where(good, mean_energy[searched, None] * rng.gamma(16.0, 1 / 16.0, shape), np.nan)
    first = np.where(good, np.arange(n_trials), -1)
    again = good & good[:, :1] & (rng.random(shape) < 0.2)
    again[:, 0] = False
    first[again] = 0
    energy = np.where(again, energy[:, :1], energy)
    connected = np.where(good, (rng.random(shape) < 0.8).astype(int), -1)
    connected = np.where(again, connected[:, :1], connected)
    ends = np.stack([np.where(connected == 1, 0.0, 0.1), 0.5 * energy], axis=-1)
    checked = good & (rng.random(shape) < 0.02)
    return labelled(
        searched_atom=searched.astype(np.int32), search_code=code.astype(np.int8), activation_energy=np.where(code == 8, 0.8 * mean_energy[searched, None], energy + 0.01),
        refined_activation_energy=energy, saddle_eigenvalue=np.where(good, -1.5, np.nan),
        saddle_index=np.where(good, 1 + (rng.random(shape) < 0.05), -1).astype(np.int8),
        saddle_connected=connected.astype(np.int8), saddle_first_trial=first.astype(np.int16),
        saddle_displacement=np.where(good, 1.0, np.nan), end_energy=np.where(good[..., None], ends, np.nan),
        end_displacement=np.where(good[..., None], ends, np.nan), force_evaluations=np.full(shape, 100, np.int32),
        hessian_products=np.full(shape, 80, np.int32),
        region_error=np.where(good, np.abs(rng.normal(scale=5e-3, size=shape)), np.nan),
        boundary_error=np.where(checked, rng.normal(scale=1e-3, size=shape), np.nan),
        boundary_connected=np.where(checked, connected, -1).astype(np.int8),
    )  # fmt: skip


def searched_item(seed=0, n_atoms=600, rate=1e12, share=1.0, copper=0.5, replica=0, n_trials=6):
    """Return one sample with vibration and activation stages and a planted law between them."""
    rng = np.random.default_rng(seed)
    quench = quench_stage(rng, n_atoms, rate)
    quench["species"] = ("atom", np.sort((rng.random(n_atoms) > copper).astype(np.int64)), {"units": "1"})
    length = float(quench["cell"][0, 0])
    shared = field_on(rng, quench["position"].to_numpy(), length)
    inverse = 30.0 * np.exp(0.3 * shared + 0.3 * rng.normal(size=n_atoms))
    mean_energy = 1.0 + LAW * inverse + 0.3 * np.abs(rng.normal(size=n_atoms))
    vibration = vibration_stage(rng, n_atoms, 1.3)
    vibration["atomic_intensity"] = ("atom", 1e-6 / inverse, {"units": "ps3"})
    searched = np.sort(rng.choice(n_atoms, int(share * n_atoms), replace=False))
    return GatherItem(
        sample_id=f"a{seed:019x}", label=f"searched-{seed}", group=f"melt-{seed}", cooling_rate=rate,
        composition={"Cu": copper, "Zr": 1.0 - copper}, n_atoms=n_atoms, seed=seed, replica=replica,
        searched_planned=len(searched), stages={
            "quench": quench, "structure": structure_stage(rng, 0.0), "vibration": vibration,
            "activation": activation_stage(rng, mean_energy, searched, n_trials),
        },
    )  # fmt: skip


def without(item, *stages):
    """Return the sample as it is before some stages ran."""
    kept = {name: found for name, found in item.stages.items() if name not in stages}
    return GatherItem(**{**vars(item), "stages": kept})
