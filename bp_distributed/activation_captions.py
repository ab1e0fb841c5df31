# SPDX-License-Identifier: BSD-3-Clause
"""The report's words and tables about activation energies: what was measured, how surely, and what stays open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bp_distributed.activation_figures import PAPER_LENGTH, SLAB, SMALLEST, p_text, with_error
from bp_distributed.activation_study import (
    CHOICES,
    FEWEST_GROUPS,
    MAX_TAIL,
    N_SHIFTS,
    PAPER,
    REFERENCE_KERNEL,
    ActivationStudy,
    GlassStudy,
    Relation,
    Tally,
)
from bp_distributed.captions import Comparison, Table, differences, number, who_text
from bp_distributed.figures import rate_text
from bp_distributed.physics.artn import Code
from bp_distributed.physics.coarse_graining import KERNELS, RMS_RADIUS
from bp_distributed.physics.correlation import LEAST_EFFECTIVE, Curve, Estimate
from bp_distributed.physics.sites import ENOUGH_GROUPS

if TYPE_CHECKING:
    import xarray as xr

    from bp_distributed.report import ReportContext

PAPER_DECAY = 1.97
"""Å: 5.9 / 3, from C(5.9 Å) ≈ exp(-3)."""

PAPER_SEARCHES = 20
NAMES = {"exponential": "exp(−r/L)", "gaussian": "exp(−r²/2L²)", "top_hat": "r < L"}
_ERRORS = (
    "Intervals are 95 %, from blocks of space drawn anew (whole melts where there are "
    f"{ENOUGH_GROUPS} or more); p-values from {N_SHIFTS} random shifts of one field against the other through the periodic cell."
)


def glass_text(dataset: xr.Dataset, study: GlassStudy, context: ReportContext) -> str:
    """Return who was measured, for the samples of one glass."""
    return who_text(dataset.isel(sample=study.glass.samples), context)


def interval(found: Estimate, digits: int = 2) -> str:
    """Return a value with its interval."""
    return f"{number(found.value, digits)} [{number(found.low, digits)}, {number(found.high, digits)}]"


def _at(curve: Curve, place: int) -> str:
    return interval(Estimate(curve.r_l[place], math.nan, curve.low_l[place], curve.high_l[place]))


def _best(curve: Curve) -> str:
    if curve.open_ended:
        return f"{curve.best_length.value:g} or more"
    return interval(curve.best_length)


# ---- captions ---------------------------------------------------------------------------------------------------------


def endings_caption(tally: Tally, who: str) -> str:
    """Return the caption of how searches ended."""
    connected = tally.connected + tally.repeated
    share = f"{100.0 * connected / tally.successes:.0f} %" if tally.successes else "none"
    return (
        f"(a) Endings of {tally.searches} searches; {share} of {tally.successes} saddles are of first order and connected to the "
        f"minimum the search left. “Found before”: by an earlier search of the same atom. At a shoulder the "
        f"forces fall below the paper's limit, but no saddle is there. Failed searches are kept and never tried again silently. (b) Change of "
        f"the energy when the surroundings of the active region are free to move, which is corrected for, and what is left of it where "
        f"the whole sample was relaxed; what is smaller is drawn at {SMALLEST:g} meV. {who}."
    )


def contrast_caption(relation: Relation, who: str) -> str:
    """Return the caption of the ends of the distribution."""
    rank = ", ".join(f"{found.p_rank:.1g} ({element})" for element, found in relation.contrasts.items())
    return (
        f"Activation energy (the paper's mean) of the 10 % of atoms with the largest (solid, hatched) and the "
        f"smallest (dashed) boson-peak intensity, by element, without coarse-graining; vertical lines: means. Numbers: largest minus "
        f"smallest, errors from blocks of space. A Mann-Whitney test, which takes all atoms as independent, gives p = {rank}. {who}."
    )


def curves_caption(relation: Relation, who: str) -> str:
    """Return the caption of r against length."""
    radii = ", ".join(f"{RMS_RADIUS[kernel]:.2f} L for {NAMES[kernel]}" for kernel in KERNELS)
    return (
        f"Pearson's r against the coarse-graining length, {relation.n_atoms} atoms, for 1/I (inverted first) (a) and I (b); bands: 95 % "
        f"intervals. Crosses: mean of each element taken off both sides first. Rings: best length among those that leave at least "
        f"{LEAST_EFFECTIVE} independent pairs (filled markers); (c) how many are left. Kernels with more than {100 * MAX_TAIL:.0f} % of their weight "
        f"beyond half the cell are left out; equal lengths are not equal sizes: the root mean square radius is {radii}. Dotted "
        f"line: the paper's {PAPER_LENGTH} Å. {_ERRORS} {who}."
    )


def line_caption(relation: Relation, who: str) -> str:
    """Return the caption of the line."""
    return (
        f"Coarse-grained activation energy against coarse-grained 1/I ({NAMES[REFERENCE_KERNEL]}, L = {relation.length:g} Å). (a) Number "
        f"of atoms (grey), means of groups in order of 1/I with standard errors as if atoms were independent, and the least-squares "
        f"line over all atoms with its error from blocks of space. (b) The same at the atoms of each element. The paper "
        f"averages 100 atoms; small samples average fewer, to have {FEWEST_GROUPS} groups. {who}."
    )


def map_caption(relation: Relation, who: str) -> str:
    """Return the caption of the maps."""
    return (
        f"Slice of {SLAB:g} Å through the middle of the first sample: 1/I (a) and activation energy (b) of each atom, and both "
        f"coarse-grained with {NAMES[REFERENCE_KERNEL]}, L = {relation.length:g} Å (c, d). Colour is the rank within the sample, dark "
        f"to light. {who}."
    )


def decay_caption(who: str) -> str:
    """Return the caption of the autocorrelations."""
    return (
        f"Spatial autocorrelation (Yang et al., Eq. 2) of 1/I and of the activation energy (paper's mean), linear and logarithmic. "
        f"Solid: exp(−r/ξ), the paper's form; dashed: A exp(−r/ξ), where A below 1 is scatter from atom to atom, such as noise of a "
        f"mean over few searches. Both are corrected for the mean being that of the same finite cell, which makes C negative far "
        f"out. {who}."
    )


def choices_caption(who: str) -> str:
    """Return the caption of the choices of the mean."""
    return (
        f"How the conclusion depends on what is called the activation energy of an atom: (a) r at the best length of each kernel, "
        f"(b) slope of the line, (c) mean difference between the ends of the intensity, by element. {_ERRORS} Atoms without "
        f"a saddle of the kind are left out of both fields. {who}."
    )


def robustness_caption(who: str) -> str:
    """Return the caption of compositions and rates."""
    return (
        f"Means in order of coarse-grained 1/I, by element, for each composition and cooling rate, with least-squares lines; last "
        f"panel: their slopes over all atoms with 95 % intervals. Coarse-graining lengths are each glass's own best. {who}."
    )


# ---- tables -----------------------------------------------------------------------------------------------------------


def choices_table(study: GlassStudy) -> Table:
    """Return one row per choice of the mean."""
    rows = []
    for choice, relation in study.relations.items():
        found = relation.reference
        rows.append(
            (
                CHOICES[choice], str(relation.n_atoms), f"{relation.mean:.2f} ± {relation.deviation:.2f}", _at(found, 0),
                _at(relation.within, 0), _at(found, found.best), _best(found),
                number(found.n_effective_l[found.best]), p_text(found.p_best), with_error(relation.line.slope),
            )
        )  # fmt: skip
    head = ("activation energy", "atoms", "mean ± s.d. (eV)", "r, no coarse-graining", "same, within elements",
            "r at the best L", "best L (Å)", "effective size", "p, any L",
            "slope (eV µTHz⁻³)")  # fmt: skip
    return Table(f"Choices of the mean, {study.glass.name}, {NAMES[REFERENCE_KERNEL]}", head, tuple(rows))


def kernels_table(study: GlassStudy) -> Table:
    """Return one row per kernel, for the paper's mean."""
    relation = study.relations[PAPER]
    rows = []
    for kernel in KERNELS:
        found, direct = relation.inverse[kernel], relation.direct[kernel]
        rows.append(
            (
                NAMES[kernel], _best(found), number(RMS_RADIUS[kernel] * found.best_length.value, 2),
                _at(found, found.best), _at(direct, direct.best), number(found.n_effective_l[found.best]),
                f"{found.n_blocks_l[found.best]} of {found.edge_l[found.best]:.1f} Å", p_text(found.p_l[found.best]), p_text(found.p_best),
            )
        )  # fmt: skip
    head = ("kernel", "best L (Å)", "r.m.s. radius (Å)", "r of [1/I] and ΔQ", "r of [I] and ΔQ", "effective sample size",
            "blocks, aimed edge", "p at this L", "p, any L")  # fmt: skip
    return Table("Kernels, the paper's mean", head, tuple(rows))


def line_table(study: GlassStudy) -> Table:
    """Return one row for all atoms and one per element, for the paper's mean."""
    relation = study.relations[PAPER]
    curves = {"all": relation.reference, **relation.element_r}
    place = relation.reference.best
    rows = [
        (
            name,
            with_error(line.slope),
            interval(line.slope),
            with_error(line.intercept),
            _at(curves[name], place),
            interval(line.spearman),
        )
        for name, line in {"all": relation.line, **relation.element_lines}.items()
    ]
    head = ("atoms", "slope (eV µTHz⁻³)", "95 % interval", "intercept (eV)", "r", "rank correlation")
    return Table(f"Lines, the paper's mean, {NAMES[REFERENCE_KERNEL]}, L = {relation.length:g} Å", head, tuple(rows))


def contrast_table(study: GlassStudy) -> Table:
    """Return one row per choice and element."""
    rows = [
        (
            CHOICES[choice], element, str(len(found.top_i)), number(float(found.top_i.mean())), number(float(found.bottom_i.mean())),
            interval(found.mean_difference), interval(found.median_difference), p_text(found.p_shift), f"{found.p_rank:.1g}",
        )
        for choice, relation in study.relations.items()
        for element, found in relation.contrasts.items()
    ]  # fmt: skip
    head = ("activation energy", "element", "atoms at each end", "mean, top 10 % of I (eV)", "mean, bottom 10 % (eV)",
            "difference of means (eV)", "of medians (eV)", "p, random shifts", "p, Mann-Whitney (too small)")  # fmt: skip
    return Table("Ends of the intensity", head, tuple(rows))


def decay_table(study: GlassStudy) -> Table:
    """Return one row per field."""
    fields = {
        "1/I": study.intensity_decay,
        **{f"ΔQ, {CHOICES[choice]}": found for choice, found in study.energy_decay.items()},
    }
    rows = [
        (
            name,
            with_error(found.length),
            interval(found.length),
            with_error(found.amplitude),
            with_error(found.free_length),
        )
        for name, found in fields.items()
    ]
    head = ("field", "ξ of exp(−r/ξ) (Å)", "95 % interval", "A", "ξ of A exp(−r/ξ) (Å)")
    return Table("Lengths of decay", head, tuple(rows))


def robustness_table(studies: Sequence[GlassStudy]) -> Table:
    """Return one row per glass."""
    rows = []
    for study in studies:
        relation = study.relations[PAPER]
        found = relation.reference
        rows.append(
            (
                study.glass.name, str(len(study.glass.samples)), str(relation.n_atoms), f"{relation.mean:.3f} ± {relation.deviation:.3f}",
                _at(found, 0), _at(found, found.best), number(relation.length, 2), number(found.n_effective_l[found.best]),
                with_error(relation.line.slope), p_text(found.p_best),
            )
        )  # fmt: skip
    head = ("glass", "samples", "atoms", "ΔQ, mean ± s.d. (eV)", "r, no coarse-graining", "r at the best L", "L (Å)",
            "effective sample size", "slope (eV µTHz⁻³)", "p, any L")  # fmt: skip
    return Table("Compositions and cooling rates, the paper's mean", head, tuple(rows))


# ---- paper, ours, because ---------------------------------------------------------------------------------------------


def contrast_comparisons(dataset: xr.Dataset, study: GlassStudy, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the sign of the paper's Fig. 2 beside ours."""
    because = _because(dataset, context, "the number of failed, unconnected and repeated searches is not published")
    return tuple(
        Comparison(
            f"{element}: ΔQ of the top 10 % of I against the bottom 10 %", "lower (Yang et al., Fig. 2, no number)",
            _verdict(found.mean_difference, "lower", "higher"), because,
        )
        for element, found in study.relations[PAPER].contrasts.items()
    )  # fmt: skip


def curves_comparisons(dataset: xr.Dataset, study: GlassStudy, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the paper's best length beside ours."""
    relation = study.relations[PAPER]
    ours = "; ".join(f"{NAMES[kernel]}: {_best(relation.inverse[kernel])}" for kernel in KERNELS)
    because = _because(dataset, context, "the paper's kernel is not published and its r has no error bars")
    return (Comparison("best coarse-graining length (Å)", f"{PAPER_LENGTH} (Yang et al.)", ours, because),)


def line_comparisons(dataset: xr.Dataset, study: GlassStudy, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the paper's law beside ours."""
    slope = study.relations[PAPER].line.slope
    ours = f"with 1/I it {_verdict(slope, 'falls', 'rises')} eV µTHz⁻³"
    because = _because(dataset, context, "any smooth rise looks straight over a range this short")
    return (Comparison("law", "ΔQ rises as 1/I (Yang et al., Fig. 4, no number)", ours, because),)


def decay_comparisons(dataset: xr.Dataset, study: GlassStudy, context: ReportContext) -> tuple[Comparison, ...]:
    """Return the paper's length of decay beside ours."""
    because = _because(
        dataset, context, "theirs is read from C(5.9 Å) ≈ exp(−3); the range of their fit is not published"
    )
    paper = f"{PAPER_DECAY} for both (Yang et al., Fig. 5)"
    return (
        Comparison("ξ of 1/I (Å)", paper, interval(study.intensity_decay.length), because),
        Comparison("ξ of ΔQ (Å)", paper, interval(study.energy_decay[PAPER].length), because),
    )


def _verdict(found: Estimate, negative: str, positive: str) -> str:
    """Return the sign in a word, where the interval knows it."""
    if found.high < 0:
        return f"{negative}: {interval(found)}"
    return f"{positive}: {interval(found)}" if found.low > 0 else f"not known: {interval(found)}"


def _because(dataset: xr.Dataset, context: ReportContext, more: str) -> str:
    return "; ".join(part for part in (differences(dataset, context, tao=False, binned=True), more) if part)


# ---- limits -----------------------------------------------------------------------------------------------------------


def activation_limits(study: ActivationStudy, shown: GlassStudy, dataset: xr.Dataset) -> tuple[str, ...]:
    """Return what the activation energies cannot show, in sentences."""
    return tuple(
        sentence
        for sentence in (
            _coverage(dataset), _independence(shown), _elements(shown), _few_modes(shown, dataset), _samples(shown),
            _rate(shown), _unconnected(study.tally), _searches(dataset, study.noise_share), _length(shown),
            _boundary(study.tally), _one_glass(study),
        )
        if sentence
    )  # fmt: skip


def _coverage(dataset: xr.Dataset) -> str:
    searched, planned = (
        int((dataset["n_tried"].to_numpy() > 0).sum()),
        int(dataset["searched_planned"].to_numpy().sum()),
    )
    known = int(dataset["row_size"].to_numpy()[dataset["searched_planned"].to_numpy() > 0].sum())
    parts = []
    if searched < planned:
        parts.append(f"{planned - searched} of {planned} atoms are still to be searched, so numbers will move.")
    if planned < known:
        parts.append(
            f"Only {planned} of {known} atoms are searched at all: coarse-grained fields average over few neighbours."
        )
    return " ".join(parts)


def _independence(shown: GlassStudy) -> str:
    found = shown.relations[PAPER].reference
    n_effective = found.n_effective_l[found.best]
    text = (
        f"{shown.relations[PAPER].n_atoms} atoms are not as many independent pairs: at L = {found.lengths_l[found.best]:g} Å they are "
        f"worth {n_effective:.0f}"
    )
    return (
        f"{text} ({found.n_effective_l[0]:.0f} without coarse-graining). As strong an r comes by chance with p "
        f"{_is(found.p_l[found.best])} if the fields keep their own order and are shifted against each other, and with p "
        f"{_is(shown.p_shuffled)} if energies are dealt to random atoms, which is the wrong question for atoms with neighbours."
    )


def _is(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("≤") else f"= {text}"


def _elements(shown: GlassStudy) -> str:
    relation = shown.relations[PAPER]
    raw, within = relation.reference, float(relation.within.r_l[0])
    if raw.low_l[0] <= within <= raw.high_l[0]:
        return ""
    return (
        f"r without coarse-graining is {number(float(raw.r_l[0]), 2)}, but {number(within, 2)} once the mean of each element is taken off: the "
        "difference is what the elements are, not what their surroundings do."
    )


def _few_modes(shown: GlassStudy, dataset: xr.Dataset) -> str:
    """Say how many modes stand behind an atomic intensity: 3 N g Δω = 3 N I ω² Δω in the highest bin."""
    part = dataset.isel(sample=shown.glass.samples)
    if not {"intensity", "peak_frequency", "low_omega"} <= set(part.variables):
        return ""
    low_omega = part["low_omega"].to_numpy()
    width = float(low_omega[1] - low_omega[0])
    modes = (
        3.0 * part["n_atoms"].to_numpy() * part["intensity"].to_numpy() * part["peak_frequency"].to_numpy() ** 2 * width
    )
    if not np.isfinite(modes).any():
        return ""
    return (
        f"The bin of {width:g} rad/ps that holds the boson peak of such a sample has about {np.nanmean(modes):.0f} modes. The intensity of an atom is "
        "the maximum over such bins of its share in them: with few modes it tells about these modes as much as about the atom, and "
        "their shapes alone make it smooth in space."
    )


def _samples(shown: GlassStudy) -> str:
    sites = shown.glass.of(PAPER).sites
    groups = len(np.unique(sites.group_s[np.unique(sites.sample_i)]))
    if groups >= ENOUGH_GROUPS:
        return ""
    return (
        f"{'One melt' if groups == 1 else f'{groups} melts'}: the error bars say how other regions of the same cell would differ, not how "
        "other glasses would."
    )


def _rate(shown: GlassStudy) -> str:
    if not shown.glass.rate > 1e10:  # noqa: PLR2004 - the papers' slow end
        return ""
    return (
        f"The glass was cooled at {rate_text(shown.glass.rate)}; the boson peak falls with slower cooling (Tao et al.), so neither the mean "
        "activation energy nor the slope carries over."
    )


def _unconnected(tally: Tally) -> str:
    counted = tally.successes
    if not counted:
        return ""
    shoulders = 100.0 * tally.codes.get(Code.SHOULDER, 0) / counted
    parts = (
        (tally.unconnected + tally.second_order, "do not belong to the minimum the search left or are of higher order"),
        (tally.unknown, "were not validated"),
        (tally.repeated, "repeat a saddle already found"),
    )
    shares = "; ".join(f"{100.0 * count / counted:.0f} % {what}" for count, what in parts if count)
    return (
        f"The paper's mean is over all searches whose forces fell below 0.05 eV/Å. Of these {shares or 'all found new connected saddles'}. Only the "
        "connected and distinct means describe barriers of the minimum. Slopes that flatten below that limit without a saddle, which the paper "
        f"would have counted, are left out: {shoulders:.0f} for every 100 saddles."
    )


def _searches(dataset: xr.Dataset, noise_share: float) -> str:
    succeeded = dataset["n_succeeded"].to_numpy()[dataset["n_tried"].to_numpy() > 0]
    typical = float(np.median(succeeded))
    text = f"An atom has a median of {typical:g} successful searches (the paper: {PAPER_SEARCHES}). "
    if math.isfinite(noise_share):
        text += (
            f"About {100.0 * noise_share:.0f} % of the variance of its mean over atoms is scatter between searches, so r without coarse-graining "
            f"could not exceed {math.sqrt(max(0.0, 1.0 - noise_share)):.2f} even for a perfect relation. "
        )
    return (
        text
        + "A mean over random searches is a property of the search as well as of the glass; it is not the barrier that thermal motion takes."
    )


def _length(shown: GlassStudy) -> str:
    relation = shown.relations[PAPER]
    at_the_end = [NAMES[kernel] for kernel in KERNELS if relation.inverse[kernel].open_ended]
    if not at_the_end:
        return ""
    return (
        f"For {', '.join(at_the_end)} r is largest at the longest length that this cell allows: averaging over more atoms raises r as long as "
        "noise is averaged away, so a best length is not determined."
    )


def _boundary(tally: Tally) -> str:
    if not tally.boundary_error.size:
        return (
            "Energies are those of saddles settled with their surroundings free. Whether a saddle belongs to the starting minimum was judged with "
            "surroundings held, and for none was it judged again in the whole sample."
        )
    error = 1e3 * np.abs(tally.boundary_error)
    text = (
        f"{error.size} saddles were relaxed again in the whole sample: their energies differ by {number(float(np.median(error)), 2)} meV (median) and "
        f"{number(float(np.percentile(error, 95)), 2)} meV (95th percentile)"
    )
    if not tally.checked:
        return text + "."
    return text + (
        f"; for {tally.confirmed} of {tally.checked} the judgement of connection is the same there as in the active region, where all are judged."
    )


def _one_glass(study: ActivationStudy) -> str:
    if len(study.glasses) > 1:
        return ""
    return "One composition and one cooling rate: the paper's robustness over both is not tested."
