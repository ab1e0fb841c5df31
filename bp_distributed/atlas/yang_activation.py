# SPDX-License-Identifier: BSD-3-Clause
"""Y3 to Y7: activation energies against the boson peak, from the same study as the report's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bp_distributed.activation_captions import NAMES, PAPER_DECAY, interval
from bp_distributed.activation_figures import (
    PAPER_LENGTH,
    SLAB,
    can_be_mapped,
    contrast_figure,
    curves_figure,
    draw_decay,
    draw_maps,
    line_figure,
    p_text,
    robustness_figure,
)
from bp_distributed.activation_study import PAPER, REFERENCE_KERNEL, ActivationStudy, GlassStudy, Relation, study
from bp_distributed.atlas.basis import basis, lacking, part, why_not
from bp_distributed.atlas.panel import Basis, Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import as_values, verdict
from bp_distributed.atlas.rows import title_of
from bp_distributed.captions import number
from bp_distributed.errors import CampaignError
from bp_distributed.figures import new_figure, panel_letters, styled
from bp_distributed.physics.coarse_graining import KERNELS
from bp_distributed.physics.correlation import Curve, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bp_distributed.atlas.source import Source

NEAR_THE_PAPER = 1.0
"""Å; best lengths all within this of the paper's support it."""

ALMOST_ZERO = 0.2
"""An intercept surely smaller than this part of the mean energy is none."""

SAME_LENGTH = 0.5
"""Å; lengths of decay that surely differ by less are the same."""

CHANCE = 0.05
_UNCERTAINTY = (
    "95 % intervals from blocks of space drawn anew (melts, where there are eight or more); p-values from random shifts of one "
    "field against the other through the periodic cell"
)
_SEARCHES = "how many searches failed or repeated a saddle is not published"


@dataclass(frozen=True)
class _Studied:
    """The study of the samples of one size, and where these lie in the dataset."""

    found: ActivationStudy
    samples: NDArray[np.intp]

    @property
    def shown(self) -> GlassStudy:
        """The glass with most atoms."""
        return max(self.found.glasses, key=lambda one: one.relations[PAPER].n_atoms)


class _Asked:
    """A dataset that equals itself only, so that five rows share one study."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset

    def __hash__(self) -> int:
        return id(self.dataset)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.dataset is self.dataset


@lru_cache(maxsize=1)
def _study_of(asked: _Asked) -> _Studied:
    """Study the size that has most searched atoms; sizes are never put together."""
    dataset = asked.dataset
    if PAPER not in dataset:
        raise CampaignError("no atom was searched for saddles yet")
    size_s = dataset["n_atoms"].to_numpy()
    owner_i = np.repeat(np.arange(len(size_s)), dataset["row_size"].to_numpy())
    count_s = np.bincount(owner_i, np.isfinite(dataset[PAPER].to_numpy()), len(size_s))
    sizes = np.unique(size_s)
    best = sizes[int(np.argmax([count_s[size_s == size].sum() for size in sizes]))]
    samples = np.flatnonzero((size_s == best) & (count_s > 0))
    return _Studied(study(part(dataset, samples)), samples)


def _row(source: Source, row: str, make: Callable[[Source, _Studied], Panel]) -> Panel | Missing:
    try:
        studied = _study_of(_Asked(source.dataset))
    except CampaignError as error:
        return lacking(source, row, str(error), "activation")
    return make(source, studied)


def _basis(source: Source, studied: _Studied, more: str = "") -> Basis:
    samples = studied.samples[studied.shown.glass.samples]
    estimator = f"mean over all searches that converge (the paper's){more}"
    return basis(source, samples, estimator, _UNCERTAINTY)


def _why(source: Source, studied: _Studied, more: str = "") -> str:
    samples = studied.samples[studied.shown.glass.samples]
    return "; ".join(text for text in (more, why_not(source, samples, tao=False, binned=True), _SEARCHES) if text)


def _who(studied: _Studied) -> str:
    shown = studied.shown
    return f"{shown.glass.name}: {shown.relations[PAPER].n_atoms} atoms in {len(shown.glass.samples)} samples"


# ---- Y3 ---------------------------------------------------------------------------------------------------------------


def y3(source: Source) -> Panel | Missing:
    """Return the row of the ends of the intensity."""
    return _row(source, "Y3", _ends)


def _ends(source: Source, studied: _Studied) -> Panel:
    relation = studied.shown.relations[PAPER]
    if not relation.contrasts:
        raise CampaignError("too few atoms of each element were searched to compare the ends of the intensity")
    claims = tuple(
        Claim(
            f"{element} atoms of the 10 % highest intensity have lower activation energies than those of the 10 % lowest.", "-",
            f"highest minus lowest {interval(found.mean_difference)} eV; {len(found.top_i)} atoms at each end",
            comparable=False, why=_why(source, studied, f"the sign decides, unless chance does as well (p {p_text(found.p_shift)})"),
            verdict=_unless_chance(verdict(found.mean_difference, high=0.0), found.p_shift),
        )
        for element, found in relation.contrasts.items()
    )  # fmt: skip
    values = {
        element: {"top_minus_bottom_eV": as_values(found.mean_difference), "median_eV": as_values(found.median_difference),
                  "p_shift": found.p_shift, "atoms_at_each_end": len(found.top_i)}
        for element, found in relation.contrasts.items()
    }  # fmt: skip
    caption = (
        "Activation energies of the 10 % of atoms with the largest (solid, hatched) and the smallest (dashed) intensity, by element, "
        f"without coarse-graining; vertical lines: means. {_who(studied)}. {_below_zero(studied)}"
    ).rstrip()
    return Panel(
        "Y3", title_of("Y3"), caption, _basis(source, studied), claims, lambda: contrast_figure(relation), values
    )


def _below_zero(studied: _Studied) -> str:
    """Return why an activation energy may be below zero, where one is."""
    energy_i = studied.shown.glass.of(PAPER).energy[PAPER]
    count = int((energy_i <= 0).sum())
    if not count:
        return ""
    atoms = "atom has" if count == 1 else "atoms have"
    return (
        f"{count} {atoms} a mean that is not above 0: the paper's mean takes every search that converges, and a saddle that is not connected "
        "with the glass's minimum may lie below it."
    )


def _unless_chance(found: Verdict, p: float) -> Verdict:
    return found if p < CHANCE else Verdict.UNDECIDED


# ---- Y4 ---------------------------------------------------------------------------------------------------------------


def y4(source: Source) -> Panel | Missing:
    """Return the row of the correlation against the coarse-graining length."""
    return _row(source, "Y4", _lengths)


def _at_best(found: Curve) -> Estimate:
    place = found.best
    return Estimate(float(found.r_l[place]), math.nan, float(found.low_l[place]), float(found.high_l[place]))


def _lengths(source: Source, studied: _Studied) -> Panel:
    relation = studied.shown.relations[PAPER]
    strength = _at_best(relation.reference)
    claims = (
        Claim(
            "Inverse intensity and activation energy, coarse-grained, are correlated positively.", "-",
            f"r = {interval(strength)} at L = {relation.length:g} Å, {NAMES[REFERENCE_KERNEL]}, worth "
            f"{relation.reference.n_effective_l[relation.reference.best]:.0f} independent pairs; {_who(studied)}",
            comparable=False, why=_why(source, studied, f"the sign decides, unless chance does as well at any length (p {p_text(relation.reference.p_best)})"),
            verdict=_unless_chance(verdict(strength, low=0.0), relation.reference.p_best),
        ),
        Claim(
            f"The correlation is best at L = {PAPER_LENGTH} Å.", f"{PAPER_LENGTH} Å",
            "; ".join(f"{NAMES[kernel]}: {_length_text(relation.inverse[kernel])}" for kernel in KERNELS) + " Å",
            comparable=False, why=_why(source, studied, f"supported if the intervals of all kernels lie within {NEAR_THE_PAPER:g} Å of it, contradicted if all "
            "exclude it; the paper's kernel is not published, and the same L means other volumes for other kernels"),
            verdict=_length_verdict(relation),
        ),
    )  # fmt: skip
    values = {
        kernel: {"best_length_A": as_values(found.best_length), "open_ended": found.open_ended, "r": as_values(_at_best(found)),
                 "r_without": float(found.r_l[0]), "effective_pairs": float(found.n_effective_l[found.best]), "p_any_length": found.p_best}
        for kernel, found in relation.inverse.items()
    }  # fmt: skip
    caption = (
        "Pearson's r against the coarse-graining length for 1/I, inverted first (a), and I (b), with 95 % bands; independent pairs that "
        f"are left (c). Crosses: mean of each element taken off first. Dotted: the paper's length. {_who(studied)}."
    )
    return Panel("Y4", title_of("Y4"), caption, _basis(source, studied, "; kernels " + ", ".join(NAMES.values())), claims,
                 lambda: curves_figure(relation), values)  # fmt: skip


def _length_text(found: Curve) -> str:
    return f"{found.best_length.value:g} or more" if found.open_ended else interval(found.best_length)


def _length_verdict(relation: Relation) -> Verdict:
    curves = list(relation.inverse.values())
    if any(found.open_ended or not math.isfinite(found.best_length.low) for found in curves):
        return Verdict.UNDECIDED
    found_k = [
        verdict(found.best_length, PAPER_LENGTH - NEAR_THE_PAPER, PAPER_LENGTH + NEAR_THE_PAPER) for found in curves
    ]
    if all(found is Verdict.SUPPORTED for found in found_k):
        return Verdict.SUPPORTED
    excluded = [not found.best_length.low <= PAPER_LENGTH <= found.best_length.high for found in curves]
    return Verdict.CONTRADICTED if all(excluded) else Verdict.UNDECIDED


# ---- Y5 ---------------------------------------------------------------------------------------------------------------


def y5(source: Source) -> Panel | Missing:
    """Return the row of the line."""
    return _row(source, "Y5", _line)


def _line(source: Source, studied: _Studied) -> Panel:
    relation = studied.shown.relations[PAPER]
    line, p = relation.line, relation.reference.p_best
    chance = f"(p {p_text(p)} for the correlation of all atoms at any length, since the length is chosen by it)"
    rises = _unless_chance(verdict(line.slope, low=0.0), p)
    limit = ALMOST_ZERO * relation.mean
    none = Verdict.CONTRADICTED if line.intercept.low > 0 or line.intercept.high < 0 else Verdict.UNDECIDED
    if abs(line.intercept.low) < limit and abs(line.intercept.high) < limit:
        none = Verdict.SUPPORTED
    claims = (
        Claim(
            "The activation energy rises with the inverse intensity.", "-", f"slope {interval(line.slope)} eV µTHz⁻³; {_who(studied)}",
            comparable=False, why=_why(source, studied, f"the sign decides, unless chance does as well {chance}; any smooth rise looks straight over a "
            "range this short"),
            verdict=rises,
        ),
        Claim(
            "The activation energy is proportional to the inverse intensity.", "ΔQ ~ 1/I", f"intercept {interval(line.intercept)} eV beside a mean of "
            f"{number(relation.mean)} eV",
            comparable=False, why=_why(source, studied, f"proportional means no intercept: contradicted if its interval leaves out zero, supported if it lies "
            f"within {100 * ALMOST_ZERO:g} % of the mean"),
            verdict=none if rises is Verdict.SUPPORTED else Verdict.UNDECIDED,
        ),
        *(
            Claim(
                f"The same rise at the {element} atoms (Fig. S1).", "-", f"slope {interval(one.slope)} eV µTHz⁻³", comparable=False,
                why=_why(source, studied, f"the sign decides, unless chance does as well {chance}"),
                verdict=_unless_chance(verdict(one.slope, low=0.0), p),
            )
            for element, one in relation.element_lines.items()
        ),
    )  # fmt: skip
    values = {
        "slope_eV_muTHz-3": as_values(line.slope), "intercept_eV": as_values(line.intercept), "spearman": as_values(line.spearman),
        "length_A": relation.length, "per_mean": line.per_group,
        "elements": {element: {"slope_eV_muTHz-3": as_values(one.slope)} for element, one in relation.element_lines.items()},
    }  # fmt: skip
    caption = (
        f"Coarse-grained activation energy against coarse-grained 1/I, {NAMES[REFERENCE_KERNEL]}, L = {relation.length:g} Å: atoms, means of groups "
        f"in order of 1/I with standard errors as if atoms were independent, and least-squares lines (a); by element (b). {_who(studied)}. {_below_zero(studied)}"
    ).rstrip()
    return Panel("Y5", title_of("Y5"), caption, _basis(source, studied), claims, lambda: line_figure(relation), values)


# ---- Y6 ---------------------------------------------------------------------------------------------------------------


def y6(source: Source) -> Panel | Missing:
    """Return the row of the lengths of decay."""
    return _row(source, "Y6", _decay)


def _decay(source: Source, studied: _Studied) -> Panel:
    shown = studied.shown
    decays = {"1/I": shown.intensity_decay, "ΔQ": shown.energy_decay[PAPER]}
    lengths = {name: (found.length, found.free_length) for name, found in decays.items()}
    apart = [_difference(a, b) for a, b in zip(lengths["1/I"], lengths["ΔQ"], strict=True)]
    claims = (
        *(
            Claim(
                f"The autocorrelation of {name} decays as exp(−r/ξ) with ξ ≈ {PAPER_DECAY} Å.", f"{PAPER_DECAY} Å", f"{_both(found)}; {_who(studied)}",
                comparable=False, why=_why(source, studied, f"supported if both intervals lie within {SAME_LENGTH:g} Å of it; theirs is read from C(5.9 Å) ≈ exp(−3), the "
                f"range of their fit is not published; {_NOISE}"),
                verdict=_agreed([verdict(length, PAPER_DECAY - SAME_LENGTH, PAPER_DECAY + SAME_LENGTH) for length in found]),
            )
            for name, found in lengths.items()
        ),
        Claim(
            "Both decay with the same length.", "exactly the same", f"ξ of 1/I minus ξ of ΔQ: {_both(apart)}", comparable=False,
            why=_why(source, studied, f"supported if both intervals lie within ±{SAME_LENGTH:g} Å, contradicted if both leave out zero; the errors are taken as independent; {_NOISE}"),
            verdict=_agreed([_same(one) for one in apart]),
        ),
    )  # fmt: skip
    values = {
        f"{form}_A_of_{name}": as_values(length)
        for name, found in lengths.items()
        for form, length in zip(("decay_length", "free_decay_length"), found, strict=True)
    }
    mapped = can_be_mapped(shown.glass)
    slice_text = (
        f"Slice of {SLAB:g} Å through the first sample, colour by rank: 1/I and ΔQ, and both coarse-grained at the best length (top). "
        if mapped
        else "Too few atoms were searched for a map. "
    )
    caption = (
        f"{slice_text}Spatial autocorrelation (Eq. 2) of 1/I and of the activation energy, linear and logarithmic. Solid: exp(−r/ξ), the "
        f"paper's form; dashed: A exp(−r/ξ), where A exceeds its error. Both are corrected for the finite cell. {_who(studied)}."
    )
    drawn = math.isfinite(shown.intensity_decay.length.value)
    return Panel(
        "Y6",
        title_of("Y6"),
        caption,
        _basis(source, studied),
        claims,
        (lambda: maps_and_decay(shown)) if drawn else None,
        values,
    )


@styled
def maps_and_decay(shown: GlassStudy) -> Figure:
    """Draw a slice of the first sample, where enough atoms were searched, and the autocorrelations."""
    if not can_be_mapped(shown.glass):
        figure = new_figure(9.2, 3.6)
        panel_letters(draw_decay(figure, shown))
        return figure
    figure = new_figure(9.2, 6.4)
    halves: Any = figure.subfigures(2, 1, height_ratios=[2.9, 3.5])
    top, bottom = halves
    panel_letters([*draw_maps(top, shown.glass, shown.relations[PAPER]), *draw_decay(bottom, shown)])
    return figure


def _difference(a: Estimate, b: Estimate) -> Estimate:
    below, above = math.hypot(a.value - a.low, b.high - b.value), math.hypot(a.high - a.value, b.value - b.low)
    value = a.value - b.value
    return Estimate(value, math.hypot(a.error, b.error), value - below, value + above)


_NOISE = "scatter between the searches of an atom shortens ξ of the paper's form, which starts at C(0) = 1"


def _both(lengths: Sequence[Estimate]) -> str:
    """Return what the paper's form and the one with a free amplitude give."""
    return f"{interval(lengths[0])} Å, with an amplitude {interval(lengths[1])} Å"


def _agreed(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that all have in common."""
    return verdicts[0] if len(set(verdicts)) == 1 else Verdict.UNDECIDED


def _same(apart: Estimate) -> Verdict:
    if abs(apart.low) < SAME_LENGTH and abs(apart.high) < SAME_LENGTH:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if apart.low > 0 or apart.high < 0 else Verdict.UNDECIDED


# ---- Y7 ---------------------------------------------------------------------------------------------------------------


def y7(source: Source) -> Panel | Missing:
    """Return the row of other compositions and cooling rates."""
    return _row(source, "Y7", _robust)


def _robust(source: Source, studied: _Studied) -> Panel:
    glasses = studied.found.glasses
    claims = (
        _same_sign(source, studied, "composition", len({one.glass.composition for one in glasses})),
        _same_sign(source, studied, "cooling rate", len({one.glass.rate for one in glasses if math.isfinite(one.glass.rate)})),
    )  # fmt: skip
    values = {
        one.glass.name: {"slope_eV_muTHz-3": as_values(one.relations[PAPER].line.slope), "atoms": one.relations[PAPER].n_atoms,
                         "elements": {name: as_values(line.slope) for name, line in one.relations[PAPER].element_lines.items()}}
        for one in glasses
    }  # fmt: skip
    caption = (
        "Means of the activation energy in order of coarse-grained 1/I, by element, for each composition and cooling rate, with least-squares "
        "lines; last panel: their slopes over all atoms with 95 % intervals."
    )
    everyone = basis(source, studied.samples, "mean over all searches that converge (the paper's)", _UNCERTAINTY)
    return Panel("Y7", title_of("Y7"), caption, everyone, claims,
                 (lambda: robustness_figure(studied.found)) if len(glasses) > 1 else None, values)  # fmt: skip


def _same_sign(source: Source, studied: _Studied, what: str, count: int) -> Claim:
    relations = {one.glass.name: one.relations[PAPER] for one in studied.found.glasses}
    decided = _all_positive(list(relations.values())) if count > 1 else Verdict.UNDECIDED
    return Claim(
        f"The activation energy rises with the inverse intensity whatever the {what}.", "-",
        "; ".join(f"{name}: slope {interval(one.line.slope)}" for name, one in relations.items()) + " eV µTHz⁻³",
        comparable=False, why=_why(source, studied, f"supported if the slope is positive in each of several glasses, contradicted if it is surely negative in one, unless chance does as well; {count} of this kind"),
        verdict=decided,
    )  # fmt: skip


def _all_positive(relations: Sequence[Relation]) -> Verdict:
    verdicts = [_unless_chance(verdict(one.line.slope, low=0.0), one.reference.p_best) for one in relations]
    if any(found is Verdict.CONTRADICTED for found in verdicts):
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if all(found is Verdict.SUPPORTED for found in verdicts) else Verdict.UNDECIDED
