# SPDX-License-Identifier: BSD-3-Clause
"""A made-up campaign with the shapes, units and orders of magnitude of a real one, for tests of what follows physics."""

import numpy as np
import xarray as xr

from bp_distributed.gather import GatherItem
from bp_distributed.units import VARIABLES

RATES = (2e12, 1e13, 5e13)


def labelled(**arrays):
    variables = {
        name: (VARIABLES[name].dims, np.asarray(values), {"units": VARIABLES[name].units})
        for name, values in arrays.items()
    }
    return xr.Dataset(variables, attrs={"elements": "Cu Zr"})


def quench_stage(rng, n_atoms, rate, stage="quench"):
    length = (n_atoms / 0.057) ** (1 / 3)
    species = np.sort(rng.integers(0, 2, n_atoms))
    arrays = {
        "position": rng.random((n_atoms, 3)) * length,
        "cell": np.eye(3) * length,
        "species": species,
        "energy": n_atoms * (-4.95 + 0.01 * np.log10(rate / 1e12)),
        "max_force": 8e-7,
        "pressure": rng.normal(scale=0.01),
        "density": 7.25 - 0.01 * np.log10(rate / 1e12),
    }
    if stage == "quench":
        temperature = np.linspace(2000.0, 0.1, 80 + int(rng.integers(0, 20)))
        kink = 700.0 + 40.0 * np.log10(rate / 1e12)
        slope = np.where(temperature > kink, 1.35e-4, 1.3e-4 * 0.98)
        arrays |= {
            "history_time": (2000.0 - temperature) / rate * 1e12,
            "history_temperature": temperature + rng.normal(scale=15.0, size=temperature.shape),
            "history_energy": -4.95 + slope * temperature + (temperature > kink) * 6e-5 * (temperature - kink),
            "history_volume": 17.3
            + 9e-4 * temperature / 2
            + (temperature > kink) * 5e-4 * (temperature - kink)
            + rng.normal(scale=0.01, size=temperature.shape),
            "history_pressure": rng.normal(scale=0.4, size=temperature.shape),
        }
    return labelled(**arrays)


def structure_stage(rng, contrast):
    r = (np.arange(120) + 0.5) * 0.1
    pdf = []
    for peak, height in ((2.55, 3.0), (2.75, 4.0), (3.2, 2.6)):
        first = (height - contrast) * np.exp(-(((r - peak) / 0.25) ** 2))
        rest = (
            1.0
            / (1.0 + np.exp(-(r - peak - 0.9) / 0.12))
            * (1.0 + 0.4 * np.cos(2.6 * (r - 1.75 * peak)) * np.exp(-r / 6))
        )
        pdf.append(first + rest + rng.normal(scale=0.02, size=r.shape) * (r > 2.2))
    pdf = np.maximum(pdf, 0.0)
    return labelled(r=r, partial_pdf=pdf, total_pdf=0.25 * pdf[0] + 0.5 * pdf[1] + 0.25 * pdf[2])


def vibration_stage(rng, n_atoms, excess):
    fine = np.linspace(0.01, 47.0, 4000)
    density = fine**2 * (87e-6 * (1.0 + excess * np.exp(-(((fine - 3.5) / 3.0) ** 2))) * np.exp(-((fine / 27.0) ** 4)))
    density += 0.028 * np.exp(-(((fine - 23.0) / 10.0) ** 2))
    cumulative = np.cumsum(density) / density.sum()
    n_modes = 3 * n_atoms - 3
    frequency = np.interp((np.arange(n_modes) + rng.random(n_modes)) / n_modes, cumulative, fine)
    frequency = np.sort(np.maximum(frequency, 1.2))
    width = 0.5
    n_bins = int(np.ceil(frequency.max() / width))
    omega = (np.arange(n_bins) + 0.5) * width
    vdos = np.histogram(frequency, n_bins, (0, n_bins * width))[0] / (3 * n_atoms * width)
    reduced = vdos / omega**2
    share = rng.dirichlet(np.ones(n_atoms), 20).T
    atomic = share * vdos[:20]
    low = int((frequency < 10).sum())
    kpm_omega = np.arange(1.0, 50.0, 0.25)
    kpm = np.interp(kpm_omega, omega, vdos, right=0.0)
    search = (omega > 1.46 * (4000 / n_atoms) ** (1 / 3)) & (omega < 8.0)
    return labelled(
        frequency=frequency, participation_ratio=rng.beta(4, 6, low), omega=omega, vdos=vdos, reduced_vdos=reduced,
        low_omega=omega[:20], atomic_vdos=atomic, atomic_intensity=(atomic / omega[:20] ** 2).max(axis=1),
        atomic_window_intensity=(atomic / omega[:20] ** 2).sum(axis=1) * width,
        intensity=reduced[search].max(), intensity_error=1.4e-5, peak_frequency=omega[search][reduced[search].argmax()],
        robust_intensity=0.9 * reduced[search].max(), robust_intensity_error=1.0e-5, robust_peak_frequency=3.9,
        shear_modulus=26.5, shear_modulus_spread=1.5, bulk_modulus=115.0, debye_frequency=32.5,
        debye_level=3.0 / 32.5**3, first_phonon=2.92 * (4000 / n_atoms) ** (1 / 3),
        hessian_asymmetry=1e-16, residual=1e-13, orthogonality=1e-13, translation_residual=1e-12,
        fitted_intensity=reduced[search].max(), fitted_intensity_error=1.2e-5, excess_intensity=1.5e-4,
        excess_intensity_error=1e-5, multiplet_modes=14, multiplet_level=2e-4, soft_mode_limit=0.9,
        transverse_speed=1.9, longitudinal_speed=4.5, n_modes=n_modes, certified_below=1.8e308, kpm_omega=kpm_omega, kpm_vdos=kpm, kpm_vdos_error=0.02 * kpm,
        kpm_reduced_vdos=kpm / kpm_omega**2, kpm_reduced_vdos_error=0.02 * kpm / kpm_omega**2,
    )  # fmt: skip


def melted_items(n_melts=4, rates=RATES, n_atoms=256, seed=0):
    """Return one sample per melt and rate; the second is rejected, the last has no vibration yet."""
    rng = np.random.default_rng(seed)
    items = []
    for melt in range(n_melts):
        for rate in rates:
            index = len(items)
            excess = 1.2 + 0.35 * np.log10(rate / 1e12) + rng.normal(scale=0.1)
            stages = {
                "quench": quench_stage(rng, n_atoms, rate),
                "structure": structure_stage(rng, 0.2 * (excess - 1.2)),
                "vibration": vibration_stage(rng, n_atoms, excess),
            }
            items.append(
                GatherItem(
                    sample_id=f"{index:020x}", label=f"cu50zr50-{rate:.0e}-{melt}", group=f"melt-{melt}", cooling_rate=rate,
                    composition={"Cu": 0.5, "Zr": 0.5}, n_atoms=n_atoms, seed=1000 + index, replica=melt,
                    rejected="no_boson_peak" if index == 1 else "", stages=stages,
                )
            )  # fmt: skip
    last = items[-1]
    items[-1] = GatherItem(**{**vars(last), "stages": {"quench": last.stages["quench"]}})
    return items


def given_items(sizes=(108, 256), seed=5):
    """Return samples of different sizes that were made elsewhere."""
    rng = np.random.default_rng(seed)
    return [
        GatherItem(
            sample_id=f"f{index:019x}", label=f"given-{index}", group=f"given-{index}", cooling_rate=float("nan"),
            composition={"Cu": 0.5, "Zr": 0.5}, n_atoms=n_atoms,
            stages={
                "relax": quench_stage(rng, n_atoms, 1e13, "relax"),
                "structure": structure_stage(rng, 0.0),
                "vibration": vibration_stage(rng, n_atoms, 1.3),
            },
        )
        for index, n_atoms in enumerate(sizes)
    ]  # fmt: skip
