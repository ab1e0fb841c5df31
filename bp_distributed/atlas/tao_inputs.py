# SPDX-License-Identifier: BSD-3-Clause
"""T6 and T7: pair distributions and participation ratios."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import (
    alike,
    basis,
    known,
    lacking,
    largest_alike,
    melts_of,
    part,
    why_not,
)
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import (
    FEWEST_MELTS,
    UNCERTAINTY,
    Draws,
    as_values,
    mean,
    over_melts,
    verdict,
    with_interval,
)
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_vibrations import CUT, share_below, without_peak
from bp_distributed.captions import number, span
from bp_distributed.figures import (
    COLOURS,
    new_figure,
    panel_letters,
    pdf_figure,
    styled,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

# ---- T6 ---------------------------------------------------------------------------------------------------------------

LENGTH = 6.85
"""Å; where the paper's error saturates."""

PAPER_SHELLS = {"CuCu": 4, "CuZr": 4, "ZrZr": 3}
PROMINENCES = (0.02, 0.05)
"""Of a maximum of g(r) that counts as a shell; what depends on the choice is not decided."""

SURE = 0.975
"""Share of the draws that must agree."""

CLEAR = 2.0
"""A shell's prominence must exceed so many standard errors of g(r), else what is counted may be noise all draws share."""


def t6(source: Source) -> Panel | Missing:
    """Return the row of the partial pair distribution functions and their shells."""
    chosen = alike(source.dataset, known(source.dataset, "partial_pdf"))
    if not len(chosen.samples):
        return lacking(source, "T6", "no sample has a pair distribution function yet")
    dataset = source.dataset
    r = dataset["r"].to_numpy()
    pairs = [str(pair) for pair in dataset["element_pair"].to_numpy()]
    pdf_spr = dataset["partial_pdf"].to_numpy()[chosen.samples]
    melt_s = melts_of(dataset, chosen.samples)
    shells = {
        pair: _shells(r, pdf_spr[:, index], melt_s) for index, pair in enumerate(pairs) if pdf_spr[:, index].any()
    }
    noise = {pair: _noise(r, pdf_spr[:, pairs.index(pair)], melt_s) for pair in shells}
    why = why_not(source, chosen.samples, tao=True)
    claims = tuple(
        Claim(
            f"{LENGTH} Å lies in the {_ordinal(shell)} coordination shell of {pair}.", str(shell), _shell_text(shells[pair], noise[pair]),
            comparable=not why,
            why=f"shells end at minima of the mean g(r), maxima count from a prominence of {PROMINENCES[0]:g} and of {PROMINENCES[1]:g}; the "
            f"paper's rule is not given; decided only where the smaller prominence is above {CLEAR:g} standard errors of g(r)"
            f"{'; ' + why if why else ''}",
            verdict=_shell_verdict(shells[pair], shell, noise[pair]),
        )
        for pair, shell in PAPER_SHELLS.items() if pair in shells
    )  # fmt: skip
    caption = (
        f"Partial pair distribution functions of the inherent structures, bins of {r[1] - r[0]:.3g} Å up to {r[-1] + 0.5 * (r[1] - r[0]):.3g} Å: "
        f"{len(r)} values of each pair, {len(r) * len(pairs)} inputs (paper: 120 and 360), 4πr²Δr normalisation. {chosen.sentence}."
    )
    values = {
        "bins": len(r), "inputs": len(r) * len(pairs), "bin_width_A": float(r[1] - r[0]), "shell_at_6.85_A": {
            pair: {f"prominence_{p:g}": count for p, (count, _) in found.items()} for pair, found in shells.items()
        },
    }  # fmt: skip
    return Panel(
        "T6", title_of("T6"), caption,
        basis(source, chosen.samples, "histogram of distances, mean over samples, smoothed by (1, 2, 1)/4 to count shells",
              "share of 1000 draws of melts that agree"),
        claims, lambda: pdf_figure(part(dataset[[*_PDF]], chosen.samples)), values,
    )  # fmt: skip


_PDF = ("partial_pdf", "cooling_rate", "label")
_Shells = dict[float, tuple[int, dict[int, float]]]
"""By prominence: the shell, and the share of the draws that find each shell."""


def _ordinal(count: int) -> str:
    return {1: "first", 2: "second", 3: "third", 4: "fourth"}.get(count, f"{count}th")


def shell_at(r: NDArray[np.float64], pdf_r: NDArray[np.float64], length: float, prominence: float) -> int:
    """Return in which shell, counted from 1, a distance lies: one more than the minima between maxima below it."""
    from scipy.signal import find_peaks  # noqa: PLC0415 - heavy for those who only import

    smooth_r = np.convolve(np.pad(pdf_r, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    tops = find_peaks(smooth_r, prominence=prominence)[0]
    valleys = [a + int(smooth_r[a:b].argmin()) for a, b in itertools.pairwise(tops)]
    return 1 + int(sum(r[valley] < length for valley in valleys))


def _shells(r: NDArray[np.float64], pdf_sr: NDArray[np.float64], melt_s: NDArray[np.intp]) -> _Shells:
    found: _Shells = {}
    draws = Draws(melt_s)
    for prominence in PROMINENCES:
        counts = [shell_at(r, pdf_sr[drawn].mean(axis=0), LENGTH, prominence) for drawn in draws]
        shares = {int(shell): counts.count(shell) / len(counts) for shell in sorted(set(counts))}
        found[prominence] = shell_at(r, pdf_sr.mean(axis=0), LENGTH, prominence), shares
    return found


def _noise(r: NDArray[np.float64], pdf_sr: NDArray[np.float64], melt_s: NDArray[np.intp]) -> float:
    """Return the standard error over melts of the mean g(r), smoothed as shells are counted, up to the length; NaN for one melt."""
    melts = np.unique(melt_s)
    if len(melts) < FEWEST_MELTS:
        return math.nan
    of_melt_mr = np.array([pdf_sr[melt_s == melt].mean(axis=0) for melt in melts])
    error_r = of_melt_mr.std(axis=0, ddof=1) / math.sqrt(len(melts))
    smooth = math.sqrt(0.25**2 + 0.5**2 + 0.25**2)
    mean_r = pdf_sr.mean(axis=0)
    inside_r = (r > r[int((mean_r > 0.5 * mean_r.max()).argmax())]) & (r < LENGTH)
    return float(smooth * np.median(error_r[inside_r])) if inside_r.any() else math.nan


def _shell_text(found: _Shells, noise: float) -> str:
    parts = []
    for prominence, (shell, shares) in found.items():
        agree = f" in {100 * shares[shell]:.0f} % of the draws" if shares else ", too few melts to draw"
        parts.append(f"{shell} (prominence {prominence:g}{agree})")
    error = f"; standard error of g(r) {number(noise, 2)}" if math.isfinite(noise) else ""
    return ", ".join(parts) + error


def _shell_verdict(found: _Shells, claimed: int, noise: float) -> Verdict:
    if not all(shares for _, shares in found.values()) or not CLEAR * noise < min(PROMINENCES):
        return Verdict.UNDECIDED
    shares = [shares.get(claimed, 0.0) for _, shares in found.values()]
    if min(shares) >= SURE:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if max(shares) <= 1.0 - SURE else Verdict.UNDECIDED


# ---- T7 ---------------------------------------------------------------------------------------------------------------

THRESHOLD = 0.28
"""The paper's P0."""

PAPER_SHARE = 100.0 * 724 / 12000
"""% of the modes that are the 724 lowest."""

FEW_SAMPLES = 3


def t7(source: Source) -> Panel | Missing:
    """Return the row of the participation ratios."""
    dataset = source.dataset
    chosen = largest_alike(dataset, known(dataset, "participation_ratio", "frequency"))
    if not len(chosen.samples):
        return lacking(source, "T7", "no sample has participation ratios yet")
    share_s = 100.0 * share_below(dataset, CUT)[chosen.samples]
    border = mean_known(dataset["robust_peak_frequency"].to_numpy()[chosen.samples])
    apart_s = _localised_below(dataset, chosen.samples, border)
    usable = np.isfinite(apart_s)
    localised = over_melts(mean(apart_s[usable]), melts_of(dataset, chosen.samples[usable]))
    count_s = (dataset["frequency"].to_numpy()[chosen.samples] < CUT).sum(axis=1)
    why = why_not(source, chosen.samples, tao=True)
    place = without_peak(dataset, chosen.samples)
    claims = (
        _fixed_count(share_s[np.isfinite(share_s)], count_s, why),
        Claim(
            f"Modes below the boson peak are more often quasi-localised (participation ratio below {THRESHOLD:g}) than those above.", "-",
            f"share below {number(border, 2)} rad/ps minus share from there to {CUT:g}: {with_interval(localised, '%')}; {int(usable.sum())} samples",
            comparable=False,
            why=f"the sign decides; participation ratios depend on the size of the sample; {place + '; ' if place else ''}{why}",
            verdict=verdict(localised, low=0.0),
        ),
    )  # fmt: skip
    first = int(chosen.samples[0])
    caption = (
        f"Participation ratio of the modes of one sample ({dataset['label'].to_numpy()[first]}) with the paper's threshold {THRESHOLD:g} "
        f"(a), and share of modes below the threshold by frequency, all samples, with standard deviations over samples (b). Dotted: mean "
        f"frequency of the boson peak, kernel estimate{f' ({place})' if place else ''}. {chosen.sentence}; {_counts(count_s)} of their modes lie "
        f"below {CUT:g} rad/ps, translations left out."
    )
    values = {
        "modes_below_10_rad_per_ps": count_s.tolist(), "share_percent": share_s.tolist(), "paper_share_percent": PAPER_SHARE,
        "localised_below_minus_above_percent": as_values(localised), "border_rad_per_ps": border,
    }  # fmt: skip
    return Panel(
        "T7", title_of("T7"), caption,
        basis(source, chosen.samples, "Eq. 3 with eigenvectors of the mass-weighted Hessian", UNCERTAINTY),
        claims, lambda: participation_figure(dataset, chosen.samples, border), values,
    )  # fmt: skip


def mean_known(value_s: NDArray[np.float64]) -> float:
    """Return the mean of the values that are known; NaN if none is."""
    known_s = value_s[np.isfinite(value_s)]
    return float(known_s.mean()) if len(known_s) else math.nan


def _counts(count_s: NDArray[np.intp]) -> str:
    """Return the smallest and the largest of several counts."""
    low, high = int(count_s.min()), int(count_s.max())
    return str(low) if low == high else f"{low} to {high}"


def _fixed_count(share_s: NDArray[np.float64], count_s: NDArray[np.intp], why: str) -> Claim:
    """Return whether the paper's fixed count is what a sample like ours may have below the cut."""
    from scipy.stats import t  # noqa: PLC0415 - heavy for those who only import

    decided, ours = Verdict.UNDECIDED, span(share_s, unit="%")
    if len(share_s) >= FEW_SAMPLES:
        half = float(t.ppf(0.975, len(share_s) - 1)) * share_s.std(ddof=1) * math.sqrt(1.0 + 1.0 / len(share_s))
        centre = float(share_s.mean())
        ours = f"{number(centre)} %, one sample in 95 % of cases within {number(half, 2)} %; {len(share_s)} samples ({_counts(count_s)} modes)"
        if not why or "potential" not in why:
            decided = Verdict.SUPPORTED if abs(centre - PAPER_SHARE) < half else Verdict.CONTRADICTED
    return Claim(
        f"The modes below {CUT:g} rad/ps are the 724 lowest of 12 000.", f"{PAPER_SHARE:.2f} %", ours, comparable=not why,
        why="supported if the paper's share is within what a single sample may have; the paper does not say whether the three "
        f"translations count{'; ' + why if why else ''}",
        verdict=decided,
    )  # fmt: skip


def _low_modes(dataset: xr.Dataset, sample: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies and participation ratios of the modes that have one."""
    ratio_k = dataset["participation_ratio"].to_numpy()[sample]
    ratio_k = ratio_k[np.isfinite(ratio_k)]
    return dataset["frequency"].to_numpy()[sample, : len(ratio_k)], ratio_k


def _localised_below(dataset: xr.Dataset, samples: NDArray[np.intp], border: float) -> NDArray[np.float64]:
    """Return by how much the share of localised modes (%) below a frequency exceeds that above, for each sample."""
    apart = []
    for sample in samples:
        omega_k, ratio_k = _low_modes(dataset, sample)
        below, above = ratio_k[omega_k < border], ratio_k[(omega_k >= border) & (omega_k < CUT)]
        both = len(below) and len(above)
        apart.append(100.0 * ((below < THRESHOLD).mean() - (above < THRESHOLD).mean()) if both else math.nan)
    return np.array(apart)


@styled
def participation_figure(dataset: xr.Dataset, samples: NDArray[np.intp], border: float) -> Figure:
    """Draw the participation ratios of one sample, and how many are localised by frequency."""
    figure = new_figure(7.0, 2.9)
    one_ax, share_ax = figure.subplots(1, 2)
    omega_k, ratio_k = _low_modes(dataset, int(samples[0]))
    one_ax.plot(omega_k, ratio_k, ".", color=COLOURS[0], ms=3)
    one_ax.axhline(THRESHOLD, color=COLOURS[1], ls="--", lw=1.0)
    one_ax.annotate(f"$P_0$ = {THRESHOLD:g}", (0, THRESHOLD), (4, 3), textcoords="offset points", fontsize=8)
    one_ax.set(
        xlabel=r"$\omega$ (rad/ps)", ylabel="participation ratio", title="one sample", xlim=(0, None), ylim=(0, None)
    )
    edges = np.arange(0.0, CUT + 0.5, 1.0)
    share_sb = np.full((len(samples), len(edges) - 1), np.nan)
    for row, sample in enumerate(samples):
        omega_k, ratio_k = _low_modes(dataset, sample)
        place_k = np.searchsorted(edges, omega_k, side="right") - 1
        for place in np.unique(place_k[place_k < len(edges) - 1]):
            share_sb[row, place] = 100.0 * (ratio_k[place_k == place] < THRESHOLD).mean()
    filled = np.isfinite(share_sb).any(axis=0)
    centre = 0.5 * (edges[1:] + edges[:-1])[filled]
    mean_b, spread_b = np.nanmean(share_sb[:, filled], axis=0), np.nanstd(share_sb[:, filled], axis=0)
    share_ax.errorbar(
        centre,
        mean_b,
        np.minimum(spread_b, [mean_b, 100.0 - mean_b]),  # a share ends at 0 and at 100
        fmt="s-",
        color=COLOURS[0],
        capsize=2,
        lw=1.0,
    )
    share_ax.set(
        xlabel=r"$\omega$ (rad/ps)",
        ylabel=rf"modes with $P$ < {THRESHOLD:g} (%)",
        title="quasi-localised modes",
        xlim=(0, CUT),
        ylim=(0, None),
    )
    for ax in (one_ax, share_ax):
        ax.axvline(border, color="0.5", lw=0.9, ls=":")
    panel_letters([one_ax, share_ax])
    return figure
