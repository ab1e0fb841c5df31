# SPDX-License-Identifier: BSD-3-Clause
"""Y1 and Y2: the glasses, and the boson peak above the Debye level."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import basis, groups_alike, known, lacking, largest_alike, melts_of, rates_text, why_not
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import UNCERTAINTY, as_values, mean, over_melts, verdict, wilson, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_inputs import mean_known
from bp_distributed.atlas.tao_samples import sample_map
from bp_distributed.atlas.tao_vibrations import reduced, scaled, widths, without_peak
from bp_distributed.captions import PAPER_ATOMS, spread
from bp_distributed.figures import MICRO_THZ, PAPER_DEBYE_LEVEL, new_figure, panel_letters, styled
from bp_distributed.physics.correlation import Estimate

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

NEARLY_FIVE = (4.0, 6.0)
"""rad/ps; what "nearly 5 THz" is read as."""

PHONON_REACH = 0.25
"""A peak nearer to the first phonons than this part of their frequency may be theirs."""


def y1(source: Source) -> Panel | Missing:
    """Return the row of the glasses: which compositions and cooling rates there are."""
    dataset = source.dataset
    made_s = known(dataset, "energy")
    if not made_s.any():
        return lacking(source, "Y1", "no sample has an inherent structure yet")
    groups = groups_alike(dataset, made_s)
    rate_s = dataset["cooling_rate"].to_numpy()
    values = {
        "groups": [
            {"name": one.name, "samples": len(one.samples), "cooling_rates": rates_text(rate_s[one.samples])} for one in groups
        ],
        "paper_atoms": 19652, "paper_copper_percent": [30, 40, 50, 60, 70], "paper_rates_K_per_s": [1e9, 1e14],
    }  # fmt: skip
    first = str(dataset["element"].to_numpy()[0])
    listed = "; ".join(f"{one.name}: {len(one.samples)}" for one in groups)
    caption = (
        f"Samples by composition and cooling rate (a) and their density (b). {listed}. The paper has CuₓZr₁₀₀₋ₓ, x = 30 to 70, 19 652 atoms, "
        "10⁹ to 10¹⁴ K/s; it makes no statement here that samples could contradict."
    )
    samples = np.flatnonzero(made_s)
    return Panel(
        "Y1", title_of("Y1"), caption, basis(source, samples, "as T1", "none: every sample is counted"), (),
        lambda: glasses_figure(dataset.isel(sample=samples), first), values,
    )  # fmt: skip


@styled
def glasses_figure(dataset: xr.Dataset, first: str) -> Figure:
    """Draw how many samples there are of each composition and cooling rate, and how dense they are."""
    figure = new_figure(7.0, 2.9)
    axes = figure.subplots(1, 2)
    share_s = 100.0 * dataset["composition"].to_numpy()[:, 0]
    sample_map(axes[0], dataset, share_s, f"{first} (atomic %)")
    axes[0].set(title="samples by composition", ylim=(0, 100))
    density_s = dataset["density"].to_numpy()
    size_s = dataset["n_atoms"].to_numpy()
    for size, marker, colour in zip(
        np.unique(size_s), "os^Dv", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"), strict=False
    ):
        mine = size_s == size
        axes[1].plot(share_s[mine], density_s[mine], marker, color=colour, mfc="none", label=f"{size} atoms")
    axes[1].set(xlabel=f"{first} (atomic %)", ylabel="density (g/cm$^3$)", title="density", xlim=(0, 100))
    axes[1].margins(y=0.2)
    axes[1].legend(loc="best")
    panel_letters(list(axes))
    return figure


# ---- Y2 ---------------------------------------------------------------------------------------------------------------


def y2(source: Source) -> Panel | Missing:
    """Return the row of the boson peak and the Debye level."""
    dataset = source.dataset
    chosen = largest_alike(dataset, known(dataset, "reduced_vdos", "debye_level"))
    if not len(chosen.samples):
        return lacking(source, "Y2", "no sample has a spectrum and a Debye level yet")
    samples, melt_s = chosen.samples, melts_of(dataset, chosen.samples)
    level_s = scaled(dataset, "debye_level", scale=MICRO_THZ)[samples]
    above_s = scaled(dataset, "robust_intensity", "robust_accepted", MICRO_THZ)[samples] / level_s
    peak_s = scaled(dataset, "peak_frequency", "accepted")[samples]
    ratio, peak, level = (_mean_known(values, melt_s) for values in (above_s, peak_s, level_s))
    phonon = mean_known(dataset["first_phonon"].to_numpy()[samples])
    claims = _claims(source, samples, ratio, peak, level, phonon)
    place = without_peak(dataset, samples)
    caption = (
        "Reduced density of states, mean over the samples of one cooling rate, with the Debye level of the samples' own moduli and the "
        f"paper's, {PAPER_DEBYE_LEVEL} µTHz⁻³, which it quotes from another work. Grey: where the first transverse phonons of these boxes "
        f"lie, {phonon:.3g} rad/ps. {chosen.sentence}.{f' Note: {place}.' if place else ''}"
    )
    values = {
        "intensity_over_debye_level": as_values(ratio), "peak_frequency_rad_per_ps": as_values(peak),
        "debye_level_muTHz-3": as_values(level), "paper_debye_level_muTHz-3": PAPER_DEBYE_LEVEL, "first_phonon_rad_per_ps": phonon,
    }  # fmt: skip
    return Panel(
        "Y2", title_of("Y2"), caption,
        basis(source, samples, f"{widths(dataset)}; Debye level from the non-affine moduli", UNCERTAINTY),
        claims, lambda: peak_figure(dataset, samples), values,
    )  # fmt: skip


def _mean_known(value_s: NDArray[np.float64], melt_s: NDArray[np.intp]) -> Estimate:
    there = np.isfinite(value_s)
    return over_melts(mean(value_s[there]), np.unique(melt_s[there], return_inverse=True)[1])


def _claims(
    source: Source, samples: NDArray[np.intp], ratio: Estimate, peak: Estimate, level: Estimate, phonon: float
) -> tuple[Claim, ...]:
    why = why_not(source, samples, tao=False)
    phononic = abs(peak.value - phonon) <= PHONON_REACH * phonon
    place = Verdict.UNDECIDED if phononic else verdict(peak, *NEARLY_FIVE)
    own = spread(scaled(source.dataset, "debye_level", scale=MICRO_THZ)[samples])
    return (
        Claim(
            "The reduced density of states exceeds the Debye level.", "-", f"robust intensity over the own Debye level: {with_interval(ratio)}", comparable=False,
            why="above 1 supports; the largest value lies above the mean level by chance too, which the kernel estimate damps but does "
            f"not remove; {why}", verdict=verdict(ratio, low=1.0),
        ),
        _has_peak(source, samples, why),
        Claim(
            "The boson peak lies at nearly 5 THz (rad/ps).", "nearly 5, elsewhere 2.5 to 5.5 rad/ps",
            with_interval(peak, "rad/ps") if math.isfinite(peak.value) else "not measured: no spectrum has a peak that the rule accepts", comparable=False,
            why=f"“nearly 5” read as {NEARLY_FIVE[0]:g} to {NEARLY_FIVE[1]:g}; the first phonons of this box lie at {phonon:.3g} rad/ps"
            f"{', too near to tell the two apart' if phononic else ''}; {why}", verdict=place,
        ),
        Claim(
            "The Debye level is 87.23 µTHz⁻³.", f"{PAPER_DEBYE_LEVEL} µTHz⁻³", f"{with_interval(level, 'µTHz⁻³')}; samples {own}",
            comparable=not why, why=f"a number, not a sign: only the same potential, size and cooling rate could decide; theirs is quoted from another work{'; ' + why if why else ''}",
            verdict=verdict(level, 0.97 * PAPER_DEBYE_LEVEL, 1.03 * PAPER_DEBYE_LEVEL) if not why else Verdict.UNDECIDED,
        ),
    )  # fmt: skip


def _has_peak(source: Source, samples: NDArray[np.intp], why: str) -> Claim:
    judged = source.dataset["accepted"].to_numpy()[samples]
    hits, count = int((judged == 1).sum()), int((judged >= 0).sum())
    low, high = wilson(hits, count)
    found = verdict(Estimate(hits / count if count else math.nan, math.nan, low, high), low=0.5)
    if found is Verdict.CONTRADICTED and (source.dataset["n_atoms"].to_numpy()[samples] < PAPER_ATOMS).any():
        found = Verdict.UNDECIDED
    return Claim(
        "The reduced density of states has a maximum, the boson peak.", "one spectrum, Fig. 1b",
        f"{hits} of {count} spectra [{100 * low:.0f} %, {100 * high:.0f} %]", comparable=False,
        why="supported if surely more than half of the spectra have a maximum by the rule of T5; spectra of samples smaller than Tao's lose it in "
        f"the noise of single modes; {why}",
        verdict=found,
    )  # fmt: skip


@styled
def peak_figure(dataset: xr.Dataset, samples: NDArray[np.intp]) -> Figure:
    """Draw the reduced density of states with both Debye levels and the first phonons."""
    figure = new_figure(3.5, 3.0)
    ax = figure.subplots()
    reduced(ax, dataset, samples)
    ax.set_title("")
    ax.axhline(PAPER_DEBYE_LEVEL, color="0.5", lw=0.9, ls=":", label=f"the paper's {PAPER_DEBYE_LEVEL:g}")
    phonon_s = dataset["first_phonon"].to_numpy()[samples]
    if np.isfinite(phonon_s).any():
        ax.axvspan(
            float(np.nanmin(phonon_s)) - 0.06,
            float(np.nanmax(phonon_s)) + 0.06,
            color="0.88",
            lw=0,
            zorder=0,
            label="first phonons",
        )
    ax.legend(loc="upper right", fontsize=7)
    return figure
