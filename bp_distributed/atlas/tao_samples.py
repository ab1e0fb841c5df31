# SPDX-License-Identifier: BSD-3-Clause
"""T1 and T2: the samples themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import alike, basis, counted, known, lacking, part, rates_text
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_vibrations import rate_axis
from bp_distributed.captions import atoms_text, number, span
from bp_distributed.figures import (
    COLOURS,
    MARKERS,
    MICRO_THZ,
    MICRO_UNIT,
    new_figure,
    panel_letters,
    quench_figure,
    styled,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

LARGE = 19652
"""Atoms of the large samples of both papers."""

MAX_FORCE = 1e-4
"""eV/Å; a sample above it is no inherent structure."""

ASIDE = 0.7
"""Decades below the slowest rate where samples of unknown rate are drawn."""

MAX_PRESSURE = 0.1
"""GPa; the papers ask for zero."""


_COOLING = ("energy", "n_atoms", "history_temperature", "history_energy", "history_volume", "history_row_size")


def t1(source: Source) -> Panel | Missing:
    """Return the row of the samples: how they were made, and whether they are local minima at zero pressure."""
    dataset = source.dataset
    made_s = known(dataset, "energy", "max_force")
    if not made_s.any():
        return lacking(source, "T1", "no sample has an inherent structure yet")
    samples = np.flatnonzero(made_s)
    cooled = alike(dataset, made_s & known(dataset, "cooling_rate"))
    drawn = "history_energy" in dataset and len(cooled.samples) > 0
    values = _facts(dataset, samples)
    caption = f"{len(samples)} inherent structures of {values['atoms']} atoms; cooling rates: {values['rates']}. " + (
        "Potential energy and volume per atom on cooling, averaged over the samples of one rate, and energies of the inherent "
        f"structures: {cooled.sentence}."
        if drawn
        else "None was cooled here, so there is no history to draw."
    )
    return Panel(
        "T1", title_of("T1"), caption,
        basis(source, samples, "melt, quench at zero pressure and minimisation of positions and cell, or structures made elsewhere "
              "and minimised", "none: every sample is counted"),
        (_minima(dataset, samples),),
        (lambda: quench_figure(part(dataset[[*_COOLING]], cooled.samples))) if drawn else None,
        values,
    )  # fmt: skip


def _facts(dataset: xr.Dataset, samples: NDArray[np.intp]) -> dict[str, object]:
    rate_s = dataset["cooling_rate"].to_numpy()[samples]
    return {
        "samples": len(samples),
        "atoms": atoms_text(dataset[["n_atoms"]].isel(sample=samples)),
        "rates": rates_text(rate_s),
        "melts": len(np.unique(dataset["group"].to_numpy()[samples])),
        "paper_samples": 1800,
        "paper_atoms": 4000,
        "paper_rates_K_per_s": [1e10, 1e14],
    }


def _minima(dataset: xr.Dataset, samples: NDArray[np.intp]) -> Claim:
    force_s = dataset["max_force"].to_numpy()[samples]
    pressure_s = np.abs(dataset["pressure"].to_numpy()[samples])
    lowest = dataset["frequency"].to_numpy()[samples, 0] if "frequency" in dataset else np.zeros(0)
    lowest = lowest[np.isfinite(lowest)]
    sound = bool((force_s < MAX_FORCE).all() and (pressure_s < MAX_PRESSURE).all() and (lowest > 0).all())
    return Claim(
        "Minimisation leaves every sample in a local minimum of the potential energy, at zero pressure.",
        "-",
        f"largest force {number(float(force_s.max()), 2)} eV/Å, largest pressure {number(float(pressure_s.max()), 2)} GPa, "
        f"lowest mode {span(lowest, unit='rad/ps')} ({len(samples)} samples)",
        comparable=False,
        why=f"the paper gives no tolerance; ours: forces below {MAX_FORCE:g} eV/Å, pressure below {MAX_PRESSURE:g} GPa, and no "
        f"unstable mode in {len(lowest)} spectra",
        verdict=Verdict.SUPPORTED if sound and len(lowest) else Verdict.CONTRADICTED if not sound else Verdict.UNDECIDED,
    )  # fmt: skip


def t2(source: Source) -> Panel | Missing:
    """Return the row of the large samples: how much one of them differs from another."""
    dataset = source.dataset
    known_s = known(dataset, "robust_intensity")
    if not known_s.any():
        return lacking(source, "T2", "no sample has a spectrum yet")
    largest = dataset["n_atoms"].to_numpy()[known_s].max()
    chosen = alike(dataset, known_s & (dataset["n_atoms"].to_numpy() == largest))
    mean_s, spread = _atomic_means(dataset, chosen.samples)
    caption = (
        f"Sizes and cooling rates of the campaign (a), and the boson-peak intensity of its largest samples "
        f"({chosen.name}, {counted(len(chosen.samples))}) (b). {_no_large(int(largest))}The paper trains on nine samples of {LARGE} atoms at 10¹⁰ K/s and tests on "
        "one, which leaves no variance between samples to judge the test by; it makes no statement that other samples could "
        "contradict."
    )
    values = {
        "largest_atoms": int(largest),
        "samples": len(chosen.samples),
        "paper_samples": 10,
        "paper_atoms": LARGE,
        "robust_intensity_muTHz-3": (dataset["robust_intensity"].to_numpy()[chosen.samples] * MICRO_THZ).tolist(),
        "mean_log10_atomic_intensity": mean_s.tolist(),
        "deviation_log10_atomic_intensity_over_atoms": spread,
    }
    return Panel(
        "T2", title_of("T2"), caption,
        basis(source, chosen.samples, "kernel estimate of g/ω² on the robust window", "standard errors within a sample"),
        (), lambda: large_figure(dataset, chosen.samples), values,
    )  # fmt: skip


def _no_large(largest: int) -> str:
    return f"None of ours is as large as the paper's {LARGE} atoms. " if largest < LARGE else ""


def _atomic_means(dataset: xr.Dataset, samples: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
    """Return the mean of log10 of the atomic intensities of each sample, and their spread over atoms."""
    if "atomic_intensity" not in dataset:
        return np.zeros(0), float("nan")
    rows = part(dataset[["atomic_intensity", "row_size"]], samples)
    log_i = np.log10(np.maximum(rows["atomic_intensity"].to_numpy() * MICRO_THZ, 1e-9))
    owner_i = np.repeat(np.arange(len(samples)), rows["row_size"].to_numpy())
    return np.bincount(owner_i, log_i, len(samples)) / rows["row_size"].to_numpy(), float(np.nanstd(log_i))


# ---- figures ----------------------------------------------------------------------------------------------------------


@styled
def large_figure(dataset: xr.Dataset, samples: NDArray[np.intp]) -> Figure:
    """Draw sizes against cooling rates, and the intensities of the largest samples."""
    figure = new_figure(7.0, 2.9)
    map_ax, intensity_ax = figure.subplots(1, 2)
    sample_map(map_ax, dataset, dataset["n_atoms"].to_numpy().astype(float), "atoms per sample")
    map_ax.set_yscale("log")
    map_ax.set_title("samples by size")
    value_s = dataset["robust_intensity"].to_numpy()[samples] * MICRO_THZ
    error_s = dataset["robust_intensity_error"].to_numpy()[samples] * MICRO_THZ
    groups = dataset["group"].to_numpy()[samples]
    place_s = np.arange(1, len(samples) + 1)
    for index, group in enumerate(dict.fromkeys(groups)):
        mine = groups == group
        look = MARKERS[index % len(MARKERS)]
        intensity_ax.errorbar(
            place_s[mine], value_s[mine], error_s[mine], fmt=look, color=COLOURS[index % 6], lw=0.9, capsize=2
        )
    intensity_ax.set(
        xlabel="sample (one marker per melt)", ylabel=f"robust intensity ({MICRO_UNIT})", title="the largest samples",
        ylim=(0, 1.15 * float(np.nanmax(value_s + np.nan_to_num(error_s)))),
    )  # fmt: skip
    intensity_ax.xaxis.get_major_locator().set_params(integer=True)
    panel_letters([map_ax, intensity_ax])
    return figure


def sample_map(ax: Axes, dataset: xr.Dataset, y_s: NDArray[np.float64], y_name: str) -> None:
    """Draw how many samples there are at each cooling rate and each value of something else."""
    rate_s = dataset["cooling_rate"].to_numpy()
    known_s = np.isfinite(rate_s)
    aside = float(np.nanmin(rate_s) / 10.0**ASIDE) if known_s.any() else 1.0
    x_s = np.where(known_s, rate_s, aside)
    points, counts = np.unique(np.stack([x_s, y_s], axis=1), axis=0, return_counts=True)
    for given, colour, marker in ((False, COLOURS[0], "o"), (True, COLOURS[1], "s")):
        mine = (points[:, 0] == aside) == given
        ax.plot(points[mine, 0], points[mine, 1], marker, color=colour, mfc="none", ms=7)
    for (x, y), count in zip(points, counts, strict=True):
        ax.annotate(str(count), (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=7.5)
    rate_axis(ax, rate_s[known_s], 0.0 if known_s.all() else ASIDE)
    ax.set_ylabel(y_name)
    ax.margins(0.15, 0.2)
    if not known_s.all():
        ax.annotate("rate\nnot known", (aside, 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=7.5)
