# SPDX-License-Identifier: BSD-3-Clause
"""T13 to T15: learning from single atoms, and what tells high and low intensity apart."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import basis, why_not
from bp_distributed.atlas.panel import Basis, Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import verdict, with_interval
from bp_distributed.atlas.rows import title_of
from bp_distributed.atlas.tao_atoms_figures import atoms_figure, neuron_figure, surroundings_figure
from bp_distributed.captions import number
from bp_distributed.errors import StoreError
from bp_distributed.learning.atom_candidates import AVERAGED_RIDGE, MODERN, NETWORK
from bp_distributed.learning.scores import FEW_GROUPS
from bp_distributed.physics.correlation import Estimate

if TYPE_CHECKING:
    from bp_distributed.atlas.source import Source

COMMAND = "bpd learn"
PAPER_LENGTH = 6.85
"""Å; where the paper's error saturates, for samples and for atoms."""
FEWEST_EXTREME = 5
"""Samples of highest and of lowest intensity, below which their means decide nothing."""
CONFOUNDED = 0.3
"""Correlation of intensity and cooling rate from which on the groups of extreme intensity are groups of rate as well."""
LENGTH_REACH = 1.0
"""Å; one step of the network's cutoffs: lengths nearer than this are the same."""
OTHER_ATOMS = "the paper's are atoms of 10 samples of 19 652 at 10¹⁰ K/s, Mendelev 2019; its bins and the width of its Gaussian are not published"
OVER_SAMPLES = "95 % intervals: samples drawn anew with all their atoms, {} draws; fewer than {} samples decide nothing"
OVER_MELTS = "95 % intervals: melts drawn anew with all their samples, {} draws; fewer than {} melts decide nothing"

Learned = Mapping[str, Any]


def t13(source: Source) -> Panel | Missing:
    """Return the row of learning from atoms."""
    learned = _learned(source, "atoms")
    if learned is None:
        return _missing(source, "T13", "atoms", "atomic intensities have not been learned")
    estimator = (
        "log10(I / 1e-9 ps³) from four channels of the Gaussian atomic pair distribution; network n-"
        f"{'-'.join(map(str, learned['settings']['network']['hidden']))}-1, Adadelta 0.01, {learned['folds']} folds split by melt, at "
        f"most {learned['settings']['most_trained']} atoms of each training part, drawn at random"
    )
    stands = _stands(source, learned, estimator, OVER_SAMPLES.format(2000, FEW_GROUPS))
    n = len(learned["samples"])
    claims = (_positive(learned, n), _linear(learned, n), _length(learned, n))
    return Panel(
        "T13",
        title_of("T13"),
        _t13_caption(learned),
        stands,
        claims,
        lambda: atoms_figure(learned),
        _t13_values(learned),
    )


def t14(source: Source) -> Panel | Missing:
    """Return the row of the surroundings of atoms with high and low intensity."""
    learned = _learned(source, "atoms")
    if learned is None:
        return _missing(source, "T14", "atoms", "atoms have not been sorted by real and predicted intensity")
    profiles = learned["profiles"]
    share = 100.0 * profiles["share"]
    stands = _stands(
        source, learned, f"mean Gaussian atomic pair distribution of the {share:g} % of atoms of highest and of lowest intensity, taken "
        "within each element of each sample; peaks by parabolas, the second after smearing by 0.4 Å",
        OVER_SAMPLES.format(500, FEW_GROUPS),
    )  # fmt: skip
    names = channels(learned["elements"])
    real, n = profiles["sorts"]["real"]["differences"], len(learned["samples"])
    claims = tuple(_shift(text, sign, unit, _triples(real[name], _where(name, names), n))
                   for text, name, sign, unit in _SHIFTS)  # fmt: skip
    overlap = _triples(profiles["sorts"][NETWORK]["agreement"], dict(enumerate(names)), n)
    claims += (_overlap(overlap),)
    caption = (
        f"Surroundings of the {share:g} % of atoms of highest (solid) and lowest (dashed) atomic intensity, by channel; lines: sorted by "
        f"the real intensity, markers: by the network's prediction, melts never seen. Groups are taken within each sample and element. "
        "The paper contradicts itself on the troughs: shallow ones go with low intensity in one sentence on its Fig. 4 and with high "
        "intensity three sentences on; the claim here is the latter, which its own figure is described by. "
        + _who(learned)
    )
    values = {
        "share": profiles["share"], "channels": names,
        **{f"{sort}_high_minus_low": found["differences"] for sort, found in profiles["sorts"].items()},
        **{f"{sort}_agreement_pearson": found["agreement"] for sort, found in profiles["sorts"].items() if sort != "real"},
    }  # fmt: skip
    return Panel("T14", title_of("T14"), caption, stands, claims, lambda: surroundings_figure(learned), values)


def t15(source: Source) -> Panel | Missing:
    """Return the row of the single neuron and of the extreme samples."""
    learned = _learned(source, "interpretation")
    if learned is None:
        return _missing(source, "T15", "interpretation", "no single neuron has been trained")
    samples, label = _samples_of(source)
    stands = basis(
        source, samples, f"network n-1-1 of the {learned['neuron']['bins']} bins that vary, standardised, Adam, L2 penalty, mean weights of "
        f"{learned['neuron']['repeats']} trainings; groups of highest and lowest intensity",
        OVER_MELTS.format(learned["neuron"]["bootstraps"], FEW_GROUPS) + ", Fisher's transform",
    )  # fmt: skip
    group = learned["groups"]["0.05"]["real"]
    found = {share: _estimate(triple, learned["melts"]) for share, triple in learned["neuron"]["pearson"].items()}
    why = why_not(source, samples, tao=True, binned=True)
    ours = "; ".join(f"groups of {100 * float(share):g} %: r = {with_interval(one)}" for share, one in found.items())
    claims = (
        Claim(
            "The weights of a single neuron correlate with the difference of the total pair distributions of the 5 % of samples of highest and "
            "of lowest intensity.", "no number given", f"{ours}; {learned['samples']} samples, {learned['melts']} melts", comparable=False,
            why="supported if the interval (groups of 5 %) lies above what intensities shuffled among the samples give, "
            f"{_range(learned['neuron']['pearson_shuffled']['0.05'])}: some correlation is built in; contradicted if it lies below 0; groups of "
            f"{FEWEST_EXTREME} samples or more; {why}",
            verdict=_of_enough(group, _beyond_chance(found["0.05"], learned["neuron"]["pearson_shuffled"]["0.05"])),
        ),
        _trivial(learned),
    )  # fmt: skip
    rate, few = learned["rate_correlation"], group["per_group"] < FEWEST_EXTREME
    caption = (
        f"(a) Total pair distribution of the {group['per_group']} samples of highest and the {group['per_group']} of lowest intensity (5 %, "
        f"at least 2) and their difference with its 95 % interval. (b) Weights of the neuron beside that difference. (c) Growth of the "
        f"squared error when one shell of a partial function is shuffled among samples the model never saw; R² of the models: {_goodness(learned)}, and "
        f"what is not above 0 has learned nothing that could be important. {learned['samples']} samples of {learned['melts']} melts"
        f"{'; ' + label if label else ''}.{_with_rate(rate)}"
        + (f" Groups of fewer than {FEWEST_EXTREME} samples decide nothing." if few else "")
    )
    values = {
        "pearson_r_weights_difference": learned["neuron"]["pearson"],
        "pearson_r_intensities_shuffled": learned["neuron"]["pearson_shuffled"], "models": learned["models"], "importance": learned["importance"],
        "shells_A": learned["shells_A"], "rate_correlation": rate, "channels": learned["channels"], "ratios": learned["ratios"],
        "landmarks_high_minus_low": {
            share: {sort: one["landmarks"] for sort, one in sorts.items()} for share, sorts in learned["groups"].items()
        },
        "samples_per_group": {share: sorts["real"]["per_group"] for share, sorts in learned["groups"].items()},
    }  # fmt: skip
    stands = replace(stands, samples=learned["samples"])  # as many as there were when it was learned
    return Panel("T15", title_of("T15"), caption, stands, claims, lambda: neuron_figure(learned), values)


# ---- what was learned -------------------------------------------------------------------------------------------------


def _learned(source: Source, name: str) -> Learned | None:
    try:
        content: Learned = json.loads((source.learning / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise StoreError(
            str(source.learning / f"{name}.json"), f"is damaged ({error}); '{COMMAND}' writes it again"
        ) from error
    return content


def _missing(source: Source, row: str, job: str, what: str) -> Missing:
    """Return the row as missing, with the reason that 'bpd learn' gave, if it did."""
    found = _learned(source, "learning") or {}
    reason = found.get("left_out_jobs", {}).get(job) or found.get("failures", {}).get(job)
    return Missing(row, title_of(row), f"{what}: {reason}" if reason else what, COMMAND)


def _places(source: Source, sample_ids: Sequence[str]) -> NDArray[np.intp]:
    return np.flatnonzero(np.isin(source.dataset["sample_id"].to_numpy().astype(np.str_), list(sample_ids)))


def _samples_of(source: Source) -> tuple[NDArray[np.intp], str]:
    """Return the places of the samples that 'bpd learn' learns from, and what its label is, if not what was asked for."""
    from bp_distributed.learning.samples import learnable  # noqa: PLC0415 - needed by this row alone

    config = json.loads(source.dataset.attrs.get("bp_config", "{}"))
    target = (config.get("training") or {}).get("target", "intensity")
    found = learnable(source.dataset, target)  # as learning itself: where few have a peak, another label is taken
    return _places(source, found.sample_id_s.tolist()), found.note


def _stands(source: Source, learned: Learned, estimator: str, uncertainty: str) -> Basis:
    return basis(source, _places(source, learned["samples"]), estimator, uncertainty)


def _who(learned: Learned) -> str:
    return f"{learned['atoms']} atoms of {len(learned['samples'])} samples of {learned['melts']} melts."


def channels(elements: Sequence[str]) -> list[str]:
    """Return the names of the channels, centre first."""
    return [f"{centre}-{neighbour}" for centre in elements for neighbour in elements]


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _estimate(triple: Sequence[float | None], count: int) -> Estimate:
    """Return value and interval; no interval where too few things were drawn."""
    value, low, high = (math.nan if one is None else float(one) for one in triple)
    if count < FEW_GROUPS:
        low = high = math.nan
    return Estimate(value, (high - low) / 3.92, low, high)


def _triples(found: Sequence[Sequence[float | None]], names: Mapping[int, str], count: int) -> dict[str, Estimate]:
    """Return the estimates of channels: ``found`` has the shape (3, n_channels)."""
    return {name: _estimate([row[place] for row in found], count) for place, name in names.items()}


def _listed(found: Mapping[str, Estimate], unit: str) -> str:
    return "; ".join(f"{name} {with_interval(one, unit)}" for name, one in found.items())


def _joint(found: Mapping[str, Estimate], sign: int) -> Verdict:
    """Return what several estimates say of the claim that all have this sign."""
    limits = {"low": 0.0} if sign > 0 else {"high": 0.0}
    verdicts = {verdict(one, **limits) for one in found.values()}
    if Verdict.CONTRADICTED in verdicts:
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if verdicts == {Verdict.SUPPORTED} else Verdict.UNDECIDED


# ---- T13 --------------------------------------------------------------------------------------------------------------


def _positive(learned: Learned, count: int) -> Claim:
    score = {name: _estimate(learned["models"][NETWORK]["all"][name], count) for name in ("pearson", "spearman", "r2")}
    return Claim(
        "Predicted and true atomic intensities correlate positively.", "shown without a number (Fig. 3d)",
        f"Pearson's r {with_interval(score['pearson'])}, Spearman's {with_interval(score['spearman'])}, R² {with_interval(score['r2'])} of "
        f"log10 I; {learned['atoms']} atoms, {count} samples, melts never seen", comparable=False,
        why=f"the sign of Pearson's r decides; the paper tests on one sample, so it has no variance over samples; {OTHER_ATOMS}",
        verdict=verdict(score["pearson"], low=0.0),
    )  # fmt: skip


def _linear(learned: Learned, count: int) -> Claim:
    found = learned["linear"]
    below, above, apart = (_estimate(found[name], count) for name in ("slope_below", "slope_above", "slope_difference"))
    limit = 10.0 ** (found["limit"] - 3.0)
    return Claim(
        "Prediction and truth are about linear for the 89.10 % of atoms of lowest intensity, and depart above.",
        "below 0.00186 µTHz⁻³ as printed, which is less than its own minimum 0.004657; 0.0186 fits",
        f"slope of prediction against truth (log10) below {number(limit)} µTHz⁻³, our 89.10 %: {with_interval(below)}; above: "
        f"{with_interval(above)}; difference {with_interval(apart)}", comparable=False,
        why="supported if the slope is positive below and smaller above; a threshold in µTHz⁻³ scales as 1/N and with the bins; slopes "
        f"below 1 are regression to the mean; {OTHER_ATOMS}",
        verdict=_joint({"below": below, "difference": apart}, 1),
    )  # fmt: skip


def _length(learned: Learned, count: int) -> Claim:
    found = {}
    for name, scan in learned["cutoff"].items():
        end = scan["saturation"]
        found[name] = _estimate([end["cutoff"], end["low"], end["high"]], count)
    step = np.diff(learned["cutoff"][MODERN]["cutoff_A"])
    return Claim(
        "The error of log10 I stops falling at a cutoff of 6.85 Å.", f"{PAPER_LENGTH} Å",
        f"95 % of the gain is reached at {_listed(found, 'Å')}", comparable=True,
        why=f"a length; what counts as saturated is ours. Supported if the network's interval lies within {LENGTH_REACH:g} Å, contradicted if "
        f"it lies outside; cutoffs in steps of {number(float(step.max()), 2) if len(step) else '–'} Å, networks trained by Adam, since by Adadelta "
        "at 0.01 each would take tens of thousands of updates",
        verdict=verdict(found[MODERN], low=PAPER_LENGTH - LENGTH_REACH, high=PAPER_LENGTH + LENGTH_REACH),
    )  # fmt: skip


def _t13_caption(learned: Learned) -> str:
    leak = learned["random_split"][AVERAGED_RIDGE]
    back, best = learned["back_transform"][NETWORK], learned["recommended"]
    return (
        "(a) Predicted against true atomic intensity, network on melts it never saw; dots: means of equally many atoms. (b) R² of the models "
        "by element; open diamonds: atoms split at random, which leaks. (c) Mean absolute error of log10 I against the farthest bin told. "
        "(d) Growth of the squared error, in parts of the variance, when one shell of a channel is shuffled. "
        f"{_who(learned)} Recommended: {learned['recommendation']}. "
        f"Split at random instead of by melt, the ridge on neighbour-averaged functions would seem to have R² {number(leak['r2_random'][0], 2)} "
        f"instead of {number(leak['r2_by_melt'][0], 2)}. Ten to the network's prediction gives {number(back['ratio'], 2)} of the true mean "
        f"intensity, {number(back['corrected'], 2)} after Duan's correction: a log target is biased low. "
        + ("" if best == NETWORK else "The paper's network is not the best model here.")
    )


def _t13_values(learned: Learned) -> dict[str, Any]:
    names = ("atoms", "melts", "target", "target_sd", "intensity_span_uTHz-3", "models", "recommended", "recommendation",
             "orderings", "random_split", "back_transform", "linear", "cutoff", "importance", "shells_A", "settings")  # fmt: skip
    return {name: learned[name] for name in names}


# ---- T14 --------------------------------------------------------------------------------------------------------------

_SHIFTS = (
    ("Atoms of high intensity have lower first peaks in all channels.", "first_height", -1, ""),
    ("Their first peaks lie closer to the central atom.", "first_r", -1, "Å"),
    ("Their second peaks lie farther away.", "second_r", 1, "Å"),
    ("The trough between first and second peak is wider.", "trough_width", 1, "Å"),
    ("The trough is less deep (the paper says the opposite as well).", "trough_height", 1, ""),
    ("The first peak of unlike over that of like neighbours is larger.", "ratio", 1, ""),
)


def _where(name: str, names: Sequence[str]) -> dict[int, str]:
    """Return the channels that a difference has: ratios are of unlike elements over like ones."""
    every = dict(enumerate(names))
    return {place: one for place, one in every.items() if name != "ratio" or len(set(one.split("-"))) > 1}


def _shift(text: str, sign: int, unit: str, found: Mapping[str, Estimate]) -> Claim:
    return Claim(
        text, "shown without numbers (Fig. 4)", f"high − low: {_listed(found, unit)}", comparable=False,
        why=f"the signs decide: supported if all channels agree with it, contradicted if one is certain of the opposite; {OTHER_ATOMS}",
        verdict=_joint(found, sign),
    )  # fmt: skip


def _overlap(found: Mapping[str, Estimate]) -> Claim:
    return Claim(
        "Groups by predicted intensity show the surroundings of groups by real intensity.", "good overlap, but for Zr of low intensity",
        f"Pearson's r of both differences high − low as functions of r: {_listed(found, '')}", comparable=False,
        why=f"the sign decides, in all channels; {OTHER_ATOMS}", verdict=_joint(found, 1),
    )  # fmt: skip


# ---- T15 --------------------------------------------------------------------------------------------------------------


def _goodness(learned: Learned) -> str:
    return ", ".join(f"{name} {number(judged['r2'], 2)}" for name, judged in learned["models"].items())


def _beyond_chance(found: Estimate, shuffled: Sequence[float | None]) -> Verdict:
    """Return what a correlation says that is positive where there is nothing to correlate."""
    chance = max((value for value in shuffled if value is not None), default=math.inf)
    if found.low > max(chance, 0.0):
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if found.high < 0.0 else Verdict.UNDECIDED


def _of_enough(group: Mapping[str, Any], found: Verdict) -> Verdict:
    """Return the verdict on groups of extreme samples; none on groups of a few."""
    return found if group["per_group"] >= FEWEST_EXTREME else Verdict.UNDECIDED


def _with_rate(rate: float | None) -> str:
    """Return how intensity and cooling rate go together, and what that means for the groups."""
    if rate is None:
        return ""
    so = ", so the groups differ in rate as well" if abs(rate) > CONFOUNDED else ""
    return f" Intensity and cooling rate correlate with r = {number(rate, 2)}{so}."


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{number(min(known), 2)} to {number(max(known), 2)} ({len(known)} shuffles)" if known else "not known"


def _trivial(learned: Learned) -> Claim:
    """Return whether the groups' total functions differ in the first peak, which the paper calls trivial to see."""
    group = learned["groups"]["0.05"]["real"]
    found = _estimate([row[0] for row in group["landmarks"]["first_height"]], learned["melts"])
    height = max(group["low"][0])
    return Claim(
        "The total pair distributions of samples of highest and lowest intensity hardly differ.", "trivial difference (Fig. 5a)",
        f"first peak, high − low: {with_interval(found)} of {number(height)}; groups of {group['per_group']} samples", comparable=False,
        why=f"supported if the first peaks of groups of {FEWEST_EXTREME} samples or more differ by less than a tenth of their height, interval "
        "included",
        verdict=_of_enough(group, verdict(found, low=-0.1 * height, high=0.1 * height)),
    )  # fmt: skip
