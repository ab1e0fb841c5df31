# SPDX-License-Identifier: BSD-3-Clause
"""Make ``docs/estimator_study.md``: boson-peak labels of seven glasses by every estimator, and what they are worth.

``.venv/bin/python docs/estimator_study.py`` solves each glass once (about two minutes) and keeps the frequencies in
the folder given by ``--cache``; every number and figure of the page is made anew from them.  The text is in
``estimator_study.in.md``.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bp_distributed.physics import spectrum
from bp_distributed.physics.configuration import read_configuration
from bp_distributed.physics.elastic import continuum_of, elastic_moduli
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.modes import normal_modes
from bp_distributed.physics.potential import read_potential

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
GLASSES = Path(os.environ.get("BPD_GLASSES", SHARED / "glasses"))
POTENTIAL = Path(os.environ.get("BPD_POTENTIALS", SHARED / "potentials")) / "Cu-Zr_4.eam.fs"

N_ATOMS = "4000"
SETTINGS = spectrum.Settings()
BIN_WIDTHS = (0.25, 0.5, 1.0)  # rad/ps
SOLVED_BELOW = 14.0  # rad/ps; above the cut by enough for the kernel
MICRO = 1e6  # µTHz⁻³ per ps³
PAPER_MAE = 7.98  # µTHz⁻³; Tao et al. (2023), their error of prediction
SHAPES = ("quadratic", "lorentzian")

ESTIMATORS = {
    **{f"H {width:g}": f"highest bin of {width:g} rad/ps" for width in BIN_WIDTHS},
    "K": "kernel, above the first multiplet (robust)",
    "F2": "top of a fitted parabola",
    "FL": "top of a fitted Lorentzian",
    "C": "mean excess over Debye in the window",
    "C + D": "the same, Debye level not subtracted",
}
MELT_LOOK = {1: ("#0072B2", "o"), 2: ("#D55E00", "s")}
FIRST, SECOND = r"$\omega_{T1}$", r"$\sqrt{2}\,\omega_{T1}$"
GREYS = ("#000000", "#606060", "#909090")


@dataclass(frozen=True)
class Sample:
    """One glass: where it comes from, its low modes and its elasticity.

    Attributes
    ----------
    name : str
        Melt and branch.
    melt : int
    rate : float, K/s
    frequency_k : ndarray, shape=(n_known,), rad/ps
        Modes below ``SOLVED_BELOW``.
    n_modes : int
        Of the whole spectrum.
    shear : float, GPa
    debye_frequency, first_phonon : float, rad/ps
    """

    name: str
    melt: int
    rate: float
    frequency_k: NDArray[np.float64]
    n_modes: int
    shear: float
    debye_frequency: float
    first_phonon: float

    @property
    def debye_level(self) -> float:
        """3/ω_D³ in ps³."""
        return 3.0 / self.debye_frequency**3

    @property
    def window(self) -> tuple[float, float]:
        """Where a peak may lie, rad/ps."""
        return spectrum.peak_window(self.first_phonon, SETTINGS.bin_width)

    def histogram(self, width: float) -> spectrum.Histogram:
        """Return the binned spectrum."""
        return spectrum.histogram(self.frequency_k, width, n_modes=self.n_modes, known_below=SOLVED_BELOW)

    @cached_property
    def labels(self) -> dict[str, spectrum.Label]:
        """Every label by the name of its estimator."""
        omega_k, first, n = self.frequency_k, self.first_phonon, self.n_modes
        return {
            "paper": spectrum.paper_label(omega_k, SETTINGS, n_modes=n),
            "robust": spectrum.robust_label(omega_k, first, SETTINGS, n_modes=n),
            **{shape: spectrum.fitted_label(omega_k, first, SETTINGS, shape=shape, n_modes=n) for shape in SHAPES},
            "excess": spectrum.excess_label(omega_k, first, self.debye_frequency, SETTINGS, n_modes=n),
        }

    @cached_property
    def values(self) -> dict[str, tuple[float, float]]:
        """Label and standard error in µTHz⁻³ by the names of ``ESTIMATORS``; NaN where no error is made."""
        found = {f"H {width:g}": (float(self.histogram(width).reduced_w.max()), np.nan) for width in BIN_WIDTHS}
        found[f"H {SETTINGS.bin_width:g}"] = (self.labels["paper"].intensity, self.labels["paper"].error)
        for name, label in (("K", "robust"), ("F2", "quadratic"), ("FL", "lorentzian"), ("C", "excess")):
            found[name] = (self.labels[label].intensity, self.labels[label].error)
        found["C + D"] = (found["C"][0] + self.debye_level, found["C"][1])
        return {name: (MICRO * value, MICRO * error) for name, (value, error) in found.items()}

    @cached_property
    def jitter(self) -> spectrum.Jitter:
        """Labels by bins shifted and stretched."""
        return spectrum.jitter(self.frequency_k, self.window, SETTINGS, n_modes=self.n_modes)

    @cached_property
    def finite_size(self) -> spectrum.FiniteSize:
        """Indicators of finite size, for the paper-style label."""
        intensity = self.labels["paper"].intensity
        return spectrum.finite_size(self.frequency_k, self.first_phonon, intensity, SETTINGS, n_modes=self.n_modes)

    @cached_property
    def verdict(self) -> spectrum.Verdict:
        """Outcome of the rejection rule."""
        return spectrum.judge(self.frequency_k, self.first_phonon, SETTINGS, n_modes=self.n_modes)


# ---------------------------------------------------------------------------------------- samples


def solved(path: Path, cache: Path) -> dict[str, Any]:
    """Return frequencies and elasticity of a glass, from the cache if they are there."""
    stored = cache / f"{path.stem}.npz"
    if not stored.exists():
        potential = read_potential(POTENTIAL)
        glass = read_configuration(path, potential.elements)
        hessian = factored_hessian(glass, potential)
        moduli = elastic_moduli(glass, potential, hessian)
        continuum = continuum_of(glass, potential, moduli)
        modes = normal_modes(hessian, potential.masses_e[glass.species_i], SOLVED_BELOW)
        np.savez(
            stored,
            frequency_k=modes.frequency_k,
            n_modes=modes.n_modes,
            shear=moduli.shear,
            debye_frequency=continuum.debye_frequency,
            first_phonon=continuum.first_phonon(float(np.linalg.norm(glass.cell_cc, axis=1).max())),
        )
    with np.load(stored) as found:
        frequency_k = found["frequency_k"]
        numbers = {name: found[name].item() for name in ("n_modes", "shear", "debye_frequency", "first_phonon")}
    return numbers | {"frequency_k": frequency_k[frequency_k < SOLVED_BELOW]}


def samples(cache: Path) -> list[Sample]:
    """Return the glasses of 4000 atoms in the order of their index."""
    cache.mkdir(parents=True, exist_ok=True)
    with (GLASSES / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["n_atoms"] == N_ATOMS]
    return [
        Sample(
            name=f"melt {row['melt']}, branch {row['branch']}",
            melt=int(row["melt"]),
            rate=float(row["cooling_rate_K_per_s"]),
            **solved(GLASSES / row["file"], cache),
        )
        for row in rows
    ]


# ----------------------------------------------------------------------------------------- tables


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    rows = list(rows)
    sides = ["---:" if cell[:1] in "+-0123456789" else "---" for cell in rows[0]]
    lines = [head, sides, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sample_table(glasses: Sequence[Sample]) -> str:
    """Return what the samples are."""
    head = ["sample", "rate, 1e13 K/s", "G, GPa", "ω_D, rad/ps", "Debye level, µTHz⁻³", "ω_T1, rad/ps",
            f"modes below {SETTINGS.omega_cut:g}", "lowest four, rad/ps"]  # fmt: skip
    return table(
        head,
        [
            [
                glass.name,
                f"{glass.rate / 1e13:.2f}",
                f"{glass.shear:.1f}",
                f"{glass.debye_frequency:.2f}",
                f"{MICRO * glass.debye_level:.1f}",
                f"{glass.first_phonon:.2f}",
                f"{np.count_nonzero(glass.frequency_k < SETTINGS.omega_cut)}",
                ", ".join(f"{omega:.2f}" for omega in glass.frequency_k[:4]),
            ]
            for glass in glasses
        ],
    )


def label_table(glasses: Sequence[Sample]) -> str:
    """Return every label of every sample."""
    rows = []
    for glass in glasses:
        cells = [
            f"{value:.0f}" + ("" if np.isnan(error) else f" ± {error:.0f}") for value, error in glass.values.values()
        ]
        rows.append([glass.name, *cells])
    return table(["sample", *ESTIMATORS], rows)


def jitter_table(glasses: Sequence[Sample]) -> str:
    """Return how labels move with position and width of the bins."""
    head = ["sample", "least", "greatest", "σ by position", "σ by width"]
    rows = []
    for glass in glasses:
        found = glass.jitter
        numbers = (found.intensity_vo.min(), found.intensity_vo.max(), found.offset_noise, found.width_noise)
        rows.append([glass.name, *(f"{MICRO * number:.0f}" for number in numbers)])
    return table(head, rows)


def spread_table(glasses: Sequence[Sample]) -> str:
    """Return mean, spread, difference of the melts and slope with the rate for every estimator."""
    head = ["estimator", "what", "mean", "σ between samples", "in %", "mean bootstrap error", "melt 2 - melt 1",
            "slope per decade of rate"]  # fmt: skip
    rows = []
    for name, what in ESTIMATORS.items():
        value_s, error_s = np.array([glass.values[name] for glass in glasses]).T
        spread = value_s.std(ddof=1)
        error = "" if np.isnan(error_s).any() else f"{error_s.mean():.0f}"
        rows.append([name, what, f"{value_s.mean():.0f}", f"{spread:.1f}", f"{100 * spread / value_s.mean():.1f}", error,
                     melt_difference(glasses, value_s), rate_slope(glasses, value_s)])  # fmt: skip
    return table(head, rows)


def melt_difference(glasses: Sequence[Sample], value_s: NDArray[np.float64]) -> str:
    """Return the difference of the means of the two melts with its standard error."""
    melt_s = np.array([glass.melt for glass in glasses])
    one, two = value_s[melt_s == 1], value_s[melt_s == 2]  # noqa: PLR2004 - the name of the melt
    return f"{two.mean() - one.mean():+.1f} ± {np.hypot(stats.sem(one), stats.sem(two)):.1f}"


def rate_slope(glasses: Sequence[Sample], value_s: NDArray[np.float64]) -> str:
    """Return the slope of a label with log10 of the cooling rate, with its standard error."""
    line = stats.linregress(np.log10([glass.rate for glass in glasses]), value_s)
    return f"{line.slope:+.0f} ± {line.stderr:.0f}"


def size_table(glasses: Sequence[Sample]) -> str:
    """Return where the peaks lie and where the phonons."""
    head = ["sample", "ω_T1", "√2 ω_T1", "modes near (expected)", "level of 12 modes in a bin", "H", "K", "F2", "FL",
            "(H - ω_T1) / bin", "ω*"]  # fmt: skip
    rows = []
    for glass in glasses:
        found, labels = glass.finite_size, glass.labels
        near = ", ".join(f"{n} ({m})" for n, m in zip(found.found_m, found.expected_m, strict=True))
        peaks = [labels[name].frequency for name in ("paper", "robust", *SHAPES)]
        rows.append([glass.name, *(f"{omega:.2f}" for omega in found.multiplet_m), near, f"{MICRO * found.level:.0f}",
                     *(f"{omega:.2f}" for omega in peaks),
                     f"{(peaks[0] - glass.first_phonon) / SETTINGS.bin_width:+.1f}", f"{found.soft_mode:.2f}"])  # fmt: skip
    return table(head, rows)


def verdict_table(glasses: Sequence[Sample]) -> str:
    """Return what the rule says."""
    head = ["sample", "accepted", "criterion", "value", "threshold"]
    rows = []
    for glass in glasses:
        found = glass.verdict
        unit = MICRO if found.criterion.endswith("ps3") else 1.0
        digits = 0 if unit == MICRO else 2
        criterion = found.criterion.replace("ps3", "µTHz⁻³")
        rows.append([glass.name, "no" if found.reason else "yes", criterion, f"{unit * found.value:.{digits}f}",
                     f"{unit * found.threshold:.{digits}f}"])  # fmt: skip
    return table(head, rows)


# ---------------------------------------------------------------------------------------- figures


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure made without pyplot, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(1, columns)


def multiplets(axes: Axes, glass: Sample) -> None:
    """Mark the first two multiplets of transverse phonons."""
    for omega, name, side in zip(glass.finite_size.multiplet_m, (FIRST, SECOND), ("right", "left"), strict=True):
        axes.axvline(omega, color="#009E73", linestyle=(0, (4, 2)), linewidth=1.0, zorder=0)
        axes.annotate(name, (omega, 0.97), xycoords=("data", "axes fraction"), va="top", ha=side,
                      fontsize=9, color="#00664b")  # fmt: skip


def spectrum_figure(glass: Sample) -> Figure:
    """Draw one spectrum as every estimator sees it, and its label by position of the bins."""
    made, (left, right) = figure(9.0, 3.6, 2)
    for width, grey, line in zip(BIN_WIDTHS, reversed(GREYS), (":", "-", "--"), strict=True):
        found = glass.histogram(width)
        edge_w = width * np.arange(len(found.omega_w) + 1)
        left.stairs(MICRO * found.reduced_w, edge_w, color=grey, linestyle=line, label=f"bins of {width:g}")
    for name, marker, text in (
        ("robust", "o", "kernel"),
        ("quadratic", "^", "parabola"),
        ("lorentzian", "v", "Lorentzian"),
    ):
        label = glass.labels[name]
        left.errorbar(label.frequency, MICRO * label.intensity, MICRO * label.error, marker=marker, color="#D55E00",
                      markersize=6, capsize=3, linestyle="none", markeredgecolor="black", label=text)  # fmt: skip
    left.axhline(MICRO * glass.debye_level, color="#0072B2", linestyle="-.", linewidth=1.0, label="Debye level")
    multiplets(left, glass)
    left.set(xlim=(0, SETTINGS.omega_cut), xlabel="ω (rad/ps)", ylabel="g/ω² (µTHz⁻³)", title=glass.name)
    left.set_ylim(0, 1.1 * left.get_ylim()[1])
    left.legend(frameon=False, fontsize=7.5, loc="upper right")
    shift_o = np.arange(spectrum.JITTER_OFFSETS) / spectrum.JITTER_OFFSETS
    for factor, intensity_o, marker in zip(spectrum.JITTER_WIDTHS, glass.jitter.intensity_vo, "v<os^", strict=True):
        width = factor * SETTINGS.bin_width
        right.plot(shift_o, MICRO * intensity_o, marker=marker, markersize=4, linewidth=0.8, label=f"bins of {width:.3g}",
                   color="black" if factor == 1.0 else "#909090", zorder=3 if factor == 1.0 else 2)  # fmt: skip
    right.set(
        xlabel="shift of the bins / bin width",
        ylabel="highest bin of g/ω² (µTHz⁻³)",
        title="position and width of the bins",
    )
    right.set_ylim(top=1.08 * right.get_ylim()[1])
    right.legend(frameon=False, fontsize=7.5, ncols=3, loc="upper center")
    return made


def label_figure(glasses: Sequence[Sample]) -> Figure:
    """Draw every label of every sample."""
    made, axes = figure(8.0, 3.8)
    for column, name in enumerate(ESTIMATORS):
        for row, glass in enumerate(glasses):
            colour, marker = MELT_LOOK[glass.melt]
            value, error = glass.values[name]
            place = column + 0.1 * (row - 0.5 * (len(glasses) - 1))
            axes.errorbar(place, value, 0.0 if np.isnan(error) else error, marker=marker, color=colour, markersize=4.5,
                          linewidth=0.7, markerfacecolor="white" if glass.verdict.reason else colour,
                          label=f"melt {glass.melt}" if column == 0 and glass.name.endswith("branch 0") else None)  # fmt: skip
    axes.set_xticks(range(len(ESTIMATORS)), list(ESTIMATORS))
    for column in range(1, len(ESTIMATORS)):
        axes.axvline(column - 0.5, color="#d0d0d0", linewidth=0.6)
    axes.set(xlabel="estimator", ylabel="label (µTHz⁻³)", title="filled: accepted by the rule; open: rejected")
    axes.set_ylim(0)
    axes.legend(frameon=False, loc="lower left")
    return made


def place_figure(glasses: Sequence[Sample]) -> Figure:
    """Draw where the maxima lie against where the first phonons lie."""
    made, axes = figure(5.2, 4.2)
    phonon = np.array([glass.first_phonon for glass in glasses])
    ends = np.array([phonon.min() - 0.05, phonon.max() + 0.05])
    axes.plot(ends, ends, color="#009E73", linestyle=(0, (4, 2)), label=FIRST)
    axes.plot(ends, np.sqrt(2) * ends, color="#009E73", linestyle=":", label=SECOND)
    axes.plot(ends, spectrum.PHONON_MARGIN * ends, color="black", linewidth=0.7, label="start of the robust window")
    looks = {"paper": ("H", "s", "black"), "robust": ("K", "o", "#D55E00"), "quadratic": ("F2", "^", "#0072B2"),
             "lorentzian": ("FL", "v", "#CC79A7")}  # fmt: skip
    for name, (text, marker, colour) in looks.items():
        place = [glass.labels[name].frequency for glass in glasses]
        axes.plot(phonon, place, marker=marker, color=colour, linestyle="none", markersize=6, label=text,
                  markerfacecolor="white")  # fmt: skip
    axes.set(xlabel=f"{FIRST} (rad/ps)", ylabel="position of the maximum (rad/ps)")
    axes.set_ylim(0)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
    return made


def excess_figure(glasses: Sequence[Sample]) -> Figure:
    """Draw the cumulative excess of every sample."""
    made, axes = figure(6.4, 3.8)
    omega_w = np.linspace(0.0, SETTINGS.omega_cut, 500)
    for glass in glasses:
        excess_w = spectrum.cumulative_excess(glass.frequency_k, glass.debye_frequency, omega_w, n_modes=glass.n_modes)
        colour, marker = MELT_LOOK[glass.melt]
        line = "--" if glass.verdict.reason else "-"
        axes.plot(omega_w, 100.0 * excess_w, color=colour, linestyle=line, linewidth=1.1, marker=marker, markevery=50, markersize=4,
                  label=f"{glass.name}, G = {glass.shear:.1f} GPa")  # fmt: skip
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set(xlabel="ω (rad/ps)", ylabel=r"$N(\omega)/n - (\omega/\omega_D)^3$ (% of all modes)", title="dashed: rejected by the rule",
             xlim=(0, SETTINGS.omega_cut))  # fmt: skip
    axes.legend(frameon=False, fontsize=7.5, handlelength=4)
    return made


# ------------------------------------------------------------------------------------------- page


def facts(glasses: Sequence[Sample]) -> dict[str, str]:
    """Return every number the text quotes."""
    value = {name: np.array([glass.values[name][0] for glass in glasses]) for name in ESTIMATORS}
    error = {name: np.array([glass.values[name][1] for glass in glasses]) for name in ESTIMATORS}
    usual = f"H {SETTINGS.bin_width:g}"
    accepted = [glass for glass in glasses if not glass.verdict.reason]
    (slope_name, slope_chance), (accepted_name, accepted_chance) = map(strongest_slope, (glasses, accepted))
    near = sum(_at_phonons(glass) for glass in glasses)
    at_edge = sum("edge" in glass.labels["robust"].note for glass in glasses)
    shear = np.array([glass.shear for glass in glasses])
    lowest = np.array([glass.frequency_k[0] for glass in glasses])
    count = np.array([np.count_nonzero(glass.frequency_k < SETTINGS.omega_cut) for glass in glasses])
    return {
        "n_samples": str(len(glasses)),
        "n_atoms": str(glasses[0].n_modes // 3 + 1),
        "potential": POTENTIAL.name.split(".")[0],
        "n_melts": str(len({glass.melt for glass in glasses})),
        "least_rate": f"{min(glass.rate for glass in glasses) / 1e13:.1f}e13",
        "greatest_rate": f"{max(glass.rate for glass in glasses) / 1e13:.1f}e13",
        "decades": f"{np.log10(max(glass.rate for glass in glasses) / min(glass.rate for glass in glasses)):.1f}",
        "bin_width": f"{SETTINGS.bin_width:g}",
        "narrow": f"{BIN_WIDTHS[0]:g}",
        "wide": f"{BIN_WIDTHS[-1]:g}",
        "cut": f"{SETTINGS.omega_cut:g}",
        "kernel_width": f"{SETTINGS.kernel_width:g}",
        "solved_below": f"{SOLVED_BELOW:g}",
        "margin": f"{spectrum.PHONON_MARGIN:g}",
        "ceiling": f"{spectrum.PEAK_CEILING:g}",
        "reach": f"{100 * spectrum.MULTIPLET_REACH:.0f}",
        "n_bootstrap": str(spectrum.N_BOOTSTRAP),
        "fit_bins": f"{spectrum.FIT_BINS:g}",
        "quadratic_window": " to ".join(f"{factor:.2f}" for factor in spectrum.FIT_WINDOWS["quadratic"]),
        "lorentzian_window": " to ".join(f"{factor:.2f}" for factor in spectrum.FIT_WINDOWS["lorentzian"]),
        "mae": f"{PAPER_MAE:g}",
        "narrow_over_wide": f"{(value[f'H {BIN_WIDTHS[0]:g}'] - value[f'H {BIN_WIDTHS[-1]:g}']).mean():.0f}",
        "offset_noise": f"{MICRO * np.mean([glass.jitter.offset_noise for glass in glasses]):.0f}",
        "width_noise": f"{MICRO * np.mean([glass.jitter.width_noise for glass in glasses]):.0f}",
        "noise_over_mae": f"{MICRO * np.mean([glass.jitter.offset_noise for glass in glasses]) / PAPER_MAE:.1f}",
        "paper_spread": f"{value[usual].std(ddof=1):.0f}",
        "robust_spread": f"{value['K'].std(ddof=1):.1f}",
        "robust_error": f"{error['K'].mean():.0f}",
        "robust_ratio": f"{error['K'].mean() / value['K'].std(ddof=1):.1f}",
        "mean_spread": f"{value['C + D'].std(ddof=1):.1f}",
        "mean_percent": f"{100 * value['C + D'].std(ddof=1) / value['C + D'].mean():.1f}",
        "mean_poisson": f"{error['C + D'].mean():.1f}",
        "count_mean": f"{count.mean():.0f}",
        "count_spread": f"{count.std(ddof=1):.1f}",
        "count_poisson": f"{np.sqrt(count.mean()):.0f}",
        "excess_spread": f"{value['C'].std(ddof=1):.1f}",
        "excess_shear": f"{stats.pearsonr(shear, value['C']).statistic:.3f}",
        "near": str(near),
        "at_edge": str(at_edge),
        "multiplet_least": f"{MICRO * min(glass.finite_size.level for glass in glasses):.0f}",
        "multiplet_greatest": f"{MICRO * max(glass.finite_size.level for glass in glasses):.0f}",
        "found_first": ", ".join(str(glass.finite_size.found_m[0]) for glass in glasses),
        "expected_first": str(glasses[0].finite_size.expected_m[0]),
        "n_accepted": str(len(accepted)),
        "accepted_near": str(sum(_at_phonons(glass) for glass in accepted)),
        "slope_name": slope_name,
        "slope_chance": f"{slope_chance:.2f}",
        "n_estimators": str(len(ESTIMATORS)),
        "any_chance": f"{_of_any(slope_chance):.2f}",
        "accepted_name": accepted_name,
        "accepted_chance": f"{accepted_chance:.2f}",
        "accepted_any": f"{_of_any(accepted_chance):.2f}",
        "rejected": "; ".join(glass.name for glass in glasses if glass.verdict.reason) or "none",
        "shear_lowest": f"{stats.spearmanr(shear, lowest).statistic:.2f}",
        "rank_limit": f"{rank_limit(len(glasses)):.2f}",
        "paper_robust": f"{stats.spearmanr(value[usual], value['K']).statistic:.2f}",
    }


def _at_phonons(glass: Sample) -> bool:
    return abs(glass.labels["paper"].frequency - glass.first_phonon) < SETTINGS.bin_width


def _of_any(chance: float) -> float:
    return 1.0 - (1.0 - chance) ** len(ESTIMATORS)


def rank_limit(n: int) -> float:
    """Return the least rank correlation that chance reaches in one case of twenty or fewer, by all orders of ``n``."""
    order_on = np.array(list(itertools.permutations(range(n))))
    size_o = np.sort(np.abs(1.0 - 6.0 * ((order_on - np.arange(n)) ** 2).sum(axis=1) / (n * (n**2 - 1))))
    reached_o = 1.0 - np.searchsorted(size_o, size_o) / len(size_o)
    return float(size_o[reached_o <= 0.05][0])  # noqa: PLR2004 - one of twenty


def strongest_slope(glasses: Sequence[Sample]) -> tuple[str, float]:
    """Return which estimator depends on the rate most clearly, and the probability that chance does as well."""
    rate = np.log10([glass.rate for glass in glasses])
    chance = {name: stats.linregress(rate, [glass.values[name][0] for glass in glasses]).pvalue for name in ESTIMATORS}
    name = min(chance, key=lambda key: chance[key])
    return name, float(chance[name])


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=HERE.parent / "build" / "estimator_study")
    glasses = samples(parser.parse_args().cache)
    drawn = {
        "spectrum": spectrum_figure(glasses[0]),
        "labels": label_figure(glasses),
        "places": place_figure(glasses),
        "excess": excess_figure(glasses),
    }
    (HERE / "figures").mkdir(exist_ok=True)
    for name, made in drawn.items():
        made.savefig(HERE / "figures" / f"estimator_{name}.png")
    tables = {
        "sample_table": sample_table(glasses),
        "label_table": label_table(glasses),
        "jitter_table": jitter_table(glasses),
        "spread_table": spread_table(glasses),
        "size_table": size_table(glasses),
        "verdict_table": verdict_table(glasses),
    }
    text = (HERE / "estimator_study.in.md").read_text(encoding="utf-8")
    (HERE / "estimator_study.md").write_text(text.format(**tables, **facts(glasses)), encoding="utf-8")


if __name__ == "__main__":
    main()
