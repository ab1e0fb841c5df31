# SPDX-License-Identifier: BSD-3-Clause
"""The report's words: captions that say what was measured, comparisons that say why they are none, limits of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed import figures
from bp_distributed.figures import MICRO_THZ, PAPER_DEBYE_LEVEL, PAPER_INTENSITY, rate_text

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.report import ReportContext
    from bp_distributed.train import TrainingResult

FEW_SAMPLES = 3
"""Below this many samples a standard deviation is not shown."""

SAME = 1e-9
"""Relative; a spread below this is rounding."""

PAPER_PEAK = (2.5, 5.5)
"""rad/ps; boson-peak frequencies in Yang et al. (2022)."""

PAPER_ATOMS = 4000
TARGETS = {
    "intensity": "paper-style estimator, accepted samples",
    "robust_intensity": "robust estimator, samples without a boson peak included",
}


@dataclass(frozen=True)
class Comparison:
    """One line of "paper value, ours, not comparable because"."""

    quantity: str
    paper: str
    ours: str
    because: str


@dataclass(frozen=True)
class Table:
    """A table of the report; all but the first column are numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """Return a number for people: significant digits, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:  # noqa: PLR2004 - beyond, powers of ten read better
        text = f"{value:.{digits - 1}e}"
    else:
        places = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:.{places}f}"
    return f"{text.replace('-', '−')} {unit}".strip()


# ---- numbers ----------------------------------------------------------------------------------------------------------


def values_of(dataset: xr.Dataset, name: str, scale: float = 1.0) -> Any:
    """Return what is known of a variable of whole samples, accepted and rejected alike."""
    if name not in dataset:
        return np.array([])
    values = dataset[name].to_numpy() * scale
    return values[np.isfinite(values)]


def accepted_of(dataset: xr.Dataset, name: str, scale: float = 1.0) -> Any:
    """Return what is known of a variable of accepted samples; robust quantities need no boson peak."""
    if name not in dataset:
        return np.array([])
    accepted = dataset["robust_accepted" if name.startswith("robust") else "accepted"].to_numpy() == 1
    values = dataset[name].to_numpy()[accepted] * scale
    return values[np.isfinite(values)]


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def spread(values: Any, digits: int = 3, unit: str = "") -> str:
    """Return mean ± standard deviation over samples, or what there is of it."""
    if not len(values):
        return "–"
    if len(values) < FEW_SAMPLES:
        return number(_mean(values), digits, unit)
    deviation = float(np.std(values, ddof=1))
    if deviation < SAME * abs(_mean(values)):
        return number(_mean(values), digits, unit)
    return f"{number(_mean(values), digits)} ± {number(deviation, 2)} {unit}".strip()


def span(values: Any, digits: int = 3, unit: str = "") -> str:
    """Return the lowest and the highest value, or the one there is."""
    if not len(values):
        return "–"
    low, high = number(float(np.min(values)), digits), number(float(np.max(values)), digits)
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip()


def atoms_text(dataset: xr.Dataset) -> str:
    """Return the number of atoms, or its range."""
    atoms = np.unique(dataset["n_atoms"].to_numpy())
    return str(atoms[0]) if len(atoms) == 1 else f"{atoms[0]} to {atoms[-1]}"


def first_peak_of(dataset: xr.Dataset, pair: str) -> float:
    """Return the first peak of the mean partial function of a pair in Å; NaN where there is none."""
    if "partial_pdf" not in dataset or pair not in dataset["element_pair"].to_numpy():
        return math.nan
    pdf = (
        dataset["partial_pdf"].sel(element_pair=pair).to_numpy() if dataset["element_pair"].dtype.kind == "U" else None
    )
    if pdf is None or not np.isfinite(pdf).any():
        return math.nan
    return figures.first_peak(dataset["r"].to_numpy(), np.nanmean(pdf[np.isfinite(pdf).all(axis=1)], axis=0))


# ---- captions ---------------------------------------------------------------------------------------------------------


def who_text(dataset: xr.Dataset, context: ReportContext) -> str:
    """Return who was measured: samples, atoms, composition, rates, potential."""
    rate_s = dataset["cooling_rate"].to_numpy()
    known = np.unique(rate_s[np.isfinite(rate_s)])
    rates = "no known cooling rate"
    if len(known) == 1:
        rates = f"cooled at {rate_text(known[0])}"
    elif len(known):
        rates = f"{len(known)} cooling rates from {rate_text(known[0])} to {rate_text(known[-1])}"
    return (
        f"{dataset.sizes['sample']} sample{'s' if dataset.sizes['sample'] > 1 else ''} of {atoms_text(dataset)} atoms ({_composition(dataset)}) from {_melts(dataset)}, {rates}, potential "
        f"{context.potential_label} (sha256 {context.potential_sha256[:12]})"
    )


def _melts(dataset: xr.Dataset) -> str:
    count = len(np.unique(dataset["group"].to_numpy()))
    word = "melt" if np.isfinite(dataset["cooling_rate"].to_numpy()).any() else "leakage group"
    return f"{count} {word}" + ("s" if count > 1 else "")


def _composition(dataset: xr.Dataset) -> str:
    shares = np.unique(np.round(dataset["composition"].to_numpy() * 100.0, 3), axis=0)
    if len(shares) > 1:
        return f"{len(shares)} compositions"
    subscript = str.maketrans("0123456789.", "₀₁₂₃₄₅₆₇₈₉.")
    elements = dataset["element"].to_numpy()
    return "".join(
        f"{e}{f'{share:g}'.translate(subscript)}" for e, share in zip(elements, shares[0], strict=True) if share
    )


def quench_caption(who: str) -> str:
    """Return the caption of energy and volume."""
    return (
        f"Potential energy (a) and volume (b) per atom while cooling at zero pressure, averaged over the samples of one rate and "
        f"over 50 bins of temperature; the bend is the glass transition. (c) Energy of the inherent structures. {who}."
    )


def pdf_caption(dataset: xr.Dataset, who: str) -> str:
    """Return the caption of the pair distribution functions."""
    r = dataset["r"].to_numpy()
    return (
        f"Partial pair distribution functions of the inherent structures, mean over samples, bins of {r[1] - r[0]:.3g} Å, normalised "
        f"with 4πr²Δr (Tao et al., Eq. 1). The dotted line marks the first peak. {who}."
    )


def vdos_caption(dataset: xr.Dataset, who: str) -> str:
    """Return the caption of the densities of states."""
    omega = dataset["omega"].to_numpy()
    return (
        f"Vibrational density of states (a) and its reduced form (b), mean over all samples with a spectrum, rejected ones included. "
        f"(a) and the thin lines of (b): kernel polynomial method, broadened by 0.25 rad/ps; (b): histogram of the modes with bins of "
        f"{omega[1] - omega[0]:.3g} rad/ps from 0. Solid line: Debye level of the samples' own elastic moduli. "
        f"Grey band: where the first transverse phonons of these boxes lie. {who}."
    )


def intensity_caption(dataset: xr.Dataset, who: str) -> str:
    """Return the caption of the intensities."""
    omega = dataset["omega"].to_numpy()
    return (
        f"Boson-peak intensity against cooling rate: (a) maximum of the histogram with bins of {omega[1] - omega[0]:.3g} rad/ps "
        f"(paper style; the papers do not give their bins), (b) kernel estimate on the robust window. Crosses: "
        f"rejected; a missing peak rejects in (a) only. Error bars: standard error within a sample; samples of equal rate are set side by side. {who}."
    )


def _layers(hidden: Sequence[int]) -> str:
    return "-".join(str(width) for width in hidden) or "none"


def parity_caption(training: TrainingResult, context: ReportContext) -> str:
    """Return the caption of the predictions."""
    facts = training.facts
    settings = facts["settings"]
    return (
        f"Predicted against true intensity ({TARGETS[settings['target']]}). Each point was predicted by models that never saw its melt: "
        f"{facts['folds']} folds over {facts['groups']} melts, {facts['samples']} samples, network with hidden layers {_layers(settings['hidden'])} on "
        f"{facts['n_features']} values of {settings['features']}, mean of {settings['repeats']} networks; in brackets 95 % intervals "
        f"with melts resampled. Potential {context.potential_label} (sha256 {context.potential_sha256[:12]})."
    )


# ---- paper, ours, because ---------------------------------------------------------------------------------------------


def differences(dataset: xr.Dataset, context: ReportContext, *, tao: bool, binned: bool = True) -> str:
    """Return why a number of ours is not that of a paper: Tao et al., or Yang et al."""
    reasons = []
    atoms = dataset["n_atoms"].to_numpy()
    size = PAPER_ATOMS if tao else 19652
    if (atoms != size).any():
        reasons.append(f"{atoms_text(dataset)} atoms, not {size}")
    rate_s = dataset["cooling_rate"].to_numpy()
    if not np.isfinite(rate_s).all() or np.nanmin(rate_s) > 1e10:  # noqa: PLR2004 - the papers' slow end
        reasons.append("other cooling rates" if np.isfinite(rate_s).any() else "unknown cooling rates")
    named = "Cu-Zr_4" if tao else "Cu-Zr_2"
    if named not in context.potential_label:
        reasons.append(f"another potential (the paper's is Mendelev {'2019' if tao else '2009'})")
    if binned:
        reasons.append("their bin width and smoothing are not published")
    return "; ".join(reasons)


def vdos_comparisons(dataset: xr.Dataset, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the papers' spectral numbers beside ours."""
    rows = [
        Comparison(
            "Debye level (µTHz⁻³)", f"{PAPER_DEBYE_LEVEL} (Yang et al.)", spread(values_of(dataset, "debye_level", MICRO_THZ)),
            "; ".join(["theirs is quoted from another work", differences(dataset, context, tao=False, binned=False)]),
        ),
        Comparison(
            "boson-peak frequency (rad/ps)", f"{PAPER_PEAK[0]} to {PAPER_PEAK[1]} (Yang et al.)",
            span(accepted_of(dataset, "peak_frequency")), differences(dataset, context, tao=False),
        ),
    ]  # fmt: skip
    if "frequency" in dataset:
        frequency, certified = dataset["frequency"].to_numpy(), dataset["certified_below"].to_numpy()
        known = certified >= 10.0  # noqa: PLR2004 - Tao's cut in rad/ps
        share = (frequency < 10.0).sum(axis=1)[known] / (dataset["n_modes"].to_numpy()[known] + 3)  # noqa: PLR2004
        because = differences(dataset, context, tao=True, binned=False)
        rows.append(
            Comparison("modes below 10 rad/ps (%)", "6.03 (Tao et al., 724 of 12 000)", spread(100.0 * share), because)
        )
    return tuple(rows)


def intensity_comparisons(dataset: xr.Dataset, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the papers' intensities beside ours."""
    accepted = dataset["accepted"].to_numpy()
    judged = int((accepted >= 0).sum())
    share = f"{100.0 * (accepted == 0).sum() / judged:.1f} % of {judged}" if judged else "–"
    because = differences(dataset, context, tao=True)
    return (
        Comparison(
            "intensity (µTHz⁻³)", f"{PAPER_INTENSITY[0]:.0f} to {PAPER_INTENSITY[1]:.0f} (Tao et al.)",
            span(accepted_of(dataset, "intensity", MICRO_THZ)), because,
        ),
        Comparison("rejected samples", "9.5 % of 1800 (Tao et al.)", share, f"their rule is not published; {because}"),
    )  # fmt: skip


def parity_comparisons(training: TrainingResult) -> tuple[Comparison, ...]:
    """Return the paper's error beside ours."""
    facts, network = training.facts, training.metrics["network"]
    because = (
        f"another estimator and label noise; {facts['samples']} samples instead of 1629; split by melt instead of at random; an MAE scales "
        f"with the spread of the label, here {facts['target_std']:.1f} µTHz⁻³"
    )
    ours = f"{network['mae']:.2f} [{network['mae_low']:.2f}, {network['mae_high']:.2f}]"
    return (Comparison("MAE, partial PDF (µTHz⁻³)", "7.98 (Tao et al.)", ours, because),)


# ---- limits -----------------------------------------------------------------------------------------------------------


def limits_of(context: ReportContext) -> list[str]:
    """Return what these data cannot show, in sentences."""
    dataset = context.dataset
    limits: list[str] = []
    if dataset is None:
        return limits
    if "first_phonon" in dataset and "omega" in dataset and len(values_of(dataset, "first_phonon")):
        limits += _size_limits(dataset)
    rate_s = dataset["cooling_rate"].to_numpy()
    known = rate_s[np.isfinite(rate_s)]
    if len(known) and known.min() > 1e12:  # noqa: PLR2004 - below it the paper's curve is flat
        limits.append(
            f"The slowest cooling rate is {rate_text(float(known.min()))}; laboratory metallic glasses cool about ten orders of magnitude "
            "more slowly, and the paper's plateau below 10¹³ K/s is hardly reached."
        )
    melts = len(np.unique(dataset["group"].to_numpy()))
    if melts < min(10, dataset.sizes["sample"]):
        limits.append(
            f"All samples descend from {_melts(dataset)}. Samples of one are not independent, so error bars over "
            "samples are too small."
        )
    return limits


def _size_limits(dataset: xr.Dataset) -> list[str]:
    limits = []
    atoms = int(np.min(dataset["n_atoms"].to_numpy()))
    phonon = _mean(values_of(dataset, "first_phonon"))
    omega = dataset["omega"].to_numpy()
    width = float(omega[1] - omega[0])
    peak = _mean(accepted_of(dataset, "peak_frequency"))
    at = peak if math.isfinite(peak) else sum(PAPER_PEAK) / 2
    one_mode = MICRO_THZ / (3.0 * atoms * width * at**2)
    limits.append(
        f"Finite size: with {atoms} atoms a single mode at {at:.1f} rad/ps adds {one_mode:.0f} µTHz⁻³ to its bin of {width:g} rad/ps"
        + (f" (with 4000 atoms: {one_mode * atoms / PAPER_ATOMS:.0f}). " if atoms < PAPER_ATOMS else ". ")
        + "Intensities therefore scatter from sample to sample by about that much."
    )
    if phonon > PAPER_PEAK[0]:
        limits.append(
            f"The first transverse phonons of the smallest boxes lie at 2πc_t/L = {phonon:.1f} rad/ps on average, "
            + (
                "above the papers' boson-peak window of 2.5 to 5.5 rad/ps: below it there are quasi-localised modes only, and the "
                "phonons add a maximum of their own. "
                if phonon > PAPER_PEAK[1]
                else "inside the papers' boson-peak window of 2.5 to 5.5 rad/ps, so a maximum there is at least partly phononic. "
            )
            + "Only a scan over sizes tells the two apart: a phononic maximum moves as 1/L."
        )
    return limits
