# SPDX-License-Identifier: BSD-3-Clause
"""T8 to T11: what networks learn from whole samples, which input serves best, and how far they need to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import basis, why_not
from bp_distributed.atlas.panel import Basis, Claim, Missing, Panel, Verdict
from bp_distributed.atlas.rows import title_of
from bp_distributed.errors import StoreError
from bp_distributed.figures import COLOURS, LINES, MARKERS, MICRO_UNIT, new_figure, panel_letters, styled
from bp_distributed.learning.scores import FEW_GROUPS
from bp_distributed.learning.study import load_learning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source

PAPER_BEST = (0.24, 0.30)
"""Thresholds that the paper finds best."""
PAPER_CUTOFF = 6.85
"""Å."""
PAPER_GAIN = 0.126
"""The paper calls this relative difference of errors a clear one, so it is our margin for "alike"."""
FEWEST_TOP = 5
"""Samples at the top of the true values, below which nothing is said of how they deviate."""
UNFINISHED = 0.1
"""Of all fits; where more were ended while still improving, architectures may differ by their training alone."""
PER_MEAN = 10
"""Samples of one mean in the figure of predicted against true values."""
WIDEST = 3.0
"""Å; an interval of the length that is wider than this names no length."""
NAMES = {"participation_ratio": "PR", "binary_participation_ratio": "binary PR", "total_pdf": "total PDF",
         "partial_pdf": "partial PDF", "energy": "energy", "density": "density", "shear_modulus": "shear modulus",
         "rate": "cooling rate"}  # fmt: skip
FROM_MODES = (
    "participation ratios come from the eigenvectors that the intensity itself comes from, so they are not structure"
)
COMMAND = "bpd learn"
_BY_MELT = "splits_by_melt"
_UNCERTAINTY = "95 % intervals: melts drawn again, 2000 times, pairs of models on the same samples"

Learned = Mapping[str, Any]


def learned(source: Source, row: str) -> Learned | Missing:
    """Return what ``learning.json`` says, or the row that lacks it."""
    try:
        return load_learning(source.learning)
    except StoreError as error:
        return Missing(row, title_of(row), f"nothing was learned from these samples yet ({error.what})", COMMAND)


def _places(source: Source, found: Learned) -> NDArray[np.intp]:
    """Return where the samples learned from stand in the dataset."""
    return np.flatnonzero(
        np.isin(source.dataset["sample_id"].to_numpy().astype(np.str_), found["samples"]["sample_id"])
    )


def _basis(source: Source, found: Learned, estimator: str) -> Basis:
    return basis(source, _places(source, found), estimator, _UNCERTAINTY)


def _who(found: Learned) -> str:
    """Return in one sentence what was learned from."""
    facts = found["samples"]
    left_out = "; ".join(f"{count} {reason}" for reason, count in facts["left_out"].items() if count)
    counted = f"{facts['samples']} samples of {facts['melts']} melts" + (f" (left out: {left_out})" if left_out else "")
    return f"{counted}; {facts['note']}" if facts["note"] else counted


def _why_not(source: Source, found: Learned) -> str:
    """Return why errors are not the paper's."""
    why = why_not(source, _places(source, found), tao=True, binned=True)
    return why if found["samples"]["label"] == "intensity" else f"{why}; the label is another estimate of the intensity"


def _interval(found: Mapping[str, Any], unit: str = "µTHz⁻³", sign: str = "+") -> str:
    """Return value and interval in words; of few melts an interval says nothing and is not shown."""
    if found.get("groups", FEW_GROUPS) < FEW_GROUPS:
        return f"{found['value']:{sign}.2f} {unit} ({found['groups']} melts, no interval)".replace("-", "−")
    value, low, high = (f"{found[key]:{sign}.2f}".replace("-", "−") for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}] {unit}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _by_sign(found: Mapping[str, Any], expected: int) -> Verdict:
    """Return the verdict on a claim about the sign of a difference."""
    if found["sign"] == 0:
        return Verdict.UNDECIDED
    return Verdict.SUPPORTED if found["sign"] == expected else Verdict.CONTRADICTED


def _alike(found: Mapping[str, Any], margin: float) -> Verdict:
    """Return the verdict on a claim that a difference is small: its interval lies within the margin, or beyond it."""
    if found["groups"] < FEW_GROUPS:
        return Verdict.UNDECIDED
    if -margin < found["low"] and found["high"] < margin:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if found["low"] > margin or found["high"] < -margin else Verdict.UNDECIDED


def _network(features: str) -> str:
    return f"network on {features}"


def _compared(rows: Sequence[Mapping[str, Any]], first: str, second: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["first"] == first and row["second"] == second), None)


def _incomplete(row: str, what: str) -> Missing:
    return Missing(row, title_of(row), f"{what}: some fits failed; 'learning.json' names them", COMMAND)


# ---- T8 ---------------------------------------------------------------------------------------------------------------


def t8(source: Source) -> Panel | Missing:
    """Return the row of the threshold that tells extended from quasi-localised modes."""
    found = learned(source, "T8")
    if isinstance(found, Missing):
        return found
    scan = found["threshold_scan"]
    if not scan:
        return _incomplete("T8", "the scan over the threshold is not complete")
    inside, on_test = scan["best_inside"], scan["best_on_test"]
    why = _why_not(source, found)
    by_width = ", ".join(f"{best:.2f}" for best in scan["best_on_test_by_architecture"])
    claims = (
        Claim(
            "All three architectures are best with a threshold of 0.24 to 0.30.", "0.24 to 0.30",
            f"{_best(inside)}, chosen inside the training set, on the {inside['samples']} samples that stood in a validation "
            f"part; {_best(on_test)} if chosen on the test set of {on_test['samples']} samples, as the paper does (by architecture {by_width})",
            comparable=not why,
            why="participation ratios depend on the size of the sample; the interval inside the training set decides: within 0.24 to "
            f"0.30, outside, or neither; worst minus best threshold {_interval(inside['worst_minus_best'])}{'; ' + why if why else ''}",
            verdict=_threshold_verdict(inside),
        ),
    )  # fmt: skip
    caption = (
        f"Mean absolute error of networks on the binary participation ratio of the {found['samples']['modes']} lowest modes "
        f"against the threshold P0: (a) on the test set, mean of the fits, as the paper selects; (b) inside the training set, "
        f"each sample by fits whose validation part it was in, which is how P0 should be selected. Diamond: best threshold, with "
        f"its 95 % interval where there are {FEW_GROUPS} melts or more; shaded: the paper's. {_who(found)}. Note that {FROM_MODES}."
    )
    estimator = f"networks {', '.join(scan['architectures'])}, Adadelta 0.01, split by melt 80/20"
    return Panel("T8", title_of("T8"), caption, _basis(source, found, estimator), claims,
                 lambda: threshold_figure(scan), {"threshold_scan": scan})  # fmt: skip


def _best(found: Mapping[str, Any]) -> str:
    """Return the best threshold with its interval, which few melts do not give."""
    if found["melts"] < FEW_GROUPS:
        return f"{found['best']:.2f} ({found['melts']} melts, no interval)"
    return f"{found['best']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _threshold_verdict(best: Mapping[str, Any]) -> Verdict:
    if best["melts"] < FEW_GROUPS:
        return Verdict.UNDECIDED
    low, high = PAPER_BEST
    if best["high"] < low - 1e-9 or best["low"] > high + 1e-9:
        return Verdict.CONTRADICTED
    within = best["low"] >= low - 1e-9 and best["high"] <= high + 1e-9
    return Verdict.SUPPORTED if within else Verdict.UNDECIDED


@styled
def threshold_figure(scan: Mapping[str, Any]) -> Figure:
    """Draw the error against the threshold, on the test set and inside the training set."""
    figure = new_figure(7.0, 3.1)
    axes = figure.subplots(1, 2)
    for ax, key, best, title in (
        (axes[0], "mae", "best_on_test", "test set"), (axes[1], "inner_mae", "best_inside", "inside the training set"),
    ):  # fmt: skip
        curves = np.array(scan[key])
        ax.axvspan(*PAPER_BEST, color="0.9", zorder=0)
        for a, width in enumerate(scan["architectures"]):
            ax.plot(
                scan["threshold"], curves[:, a], ls=LINES[a], marker=MARKERS[a], ms=3, color=COLOURS[a], label=width
            )
        _span_bar(ax, scan[best], f"best {scan[best]['best']:.2f}", curves, COLOURS[3])
        ax.set(xlabel=r"threshold $P_0$", title=title)
    axes[0].set_ylabel(f"MAE ({MICRO_UNIT})")
    figure.legend(*axes[0].get_legend_handles_labels(), handlelength=2.6, loc="outside upper center", ncols=3)
    panel_letters(list(axes))
    return figure


def _span_bar(ax: Axes, found: Mapping[str, Any], text: str, curves: NDArray[np.float64], colour: str) -> None:
    """Draw a value with its interval as a bar below the curves."""
    low, high = float(np.nanmin(curves)), float(np.nanmax(curves))
    level = low - 0.12 * (high - low)
    if found["melts"] >= FEW_GROUPS:
        ax.plot([found["low"], found["high"]], [level, level], color=colour, lw=2.5, solid_capstyle="butt")
    ax.plot([found["best"]], [level], "D", color=colour, ms=4.5)
    ax.annotate(
        text, (found["best"], level), xytext=(0, -4), textcoords="offset points", ha="center", va="top", fontsize=7.5
    )
    ax.set_ylim(low - 0.32 * (high - low), high + 0.08 * (high - low))


# ---- T9 ---------------------------------------------------------------------------------------------------------------


def t9(source: Source) -> Panel | Missing:
    """Return the row of the four inputs, and of the models beside the network."""
    found = learned(source, "T9")
    if isinstance(found, Missing):
        return found
    scheme = found["networks"][_BY_MELT]
    if len(scheme["inputs"]) < 4:  # noqa: PLR2004 - the paper's
        return _incomplete("T9", "not all of the four inputs were learned from")
    why = _why_not(source, found)
    recommended = found["recommendation"]
    caption = (
        "(a) Mean absolute error and (b) R² of the paper's networks on its four inputs, architecture chosen inside the "
        "training data: filled, split by melt; open, split at random, where samples of one melt stand on both sides. "
        f"(c) All models on structure or simple properties, split by melt, lowest error first, with 95 % intervals. {_who(found)}; "
        f"each predicted by fits that never saw its melt. Note that {FROM_MODES}. {_remarks(found)}{recommended.get('text', '')}"
    )
    values = {key: found[key] for key in ("networks", "models", "leakage", "noise", "bands", "orderings",
                                          "convergence", "recommendation")}  # fmt: skip
    estimator = "repeated splits 80/20, networks of three architectures trained with Adadelta 0.01"
    return Panel("T9", title_of("T9"), caption, _basis(source, found, estimator), _t9_claims(found, scheme, why),
                 lambda: inputs_figure(found), values)  # fmt: skip


def _remarks(found: Learned) -> str:
    """Return what the rate alone explains, what a split at random hides, and which fits did not converge."""
    network, sentences = _network("partial_pdf"), []
    if rate := _compared(found["orderings"], network, "line on rate"):
        sentences.append(f"MAE of the network on the partial PDF minus that of a line in log rate: {_interval(rate)}.")
    if leak := _compared(found["leakage"], network, network):
        sentences.append(f"Its MAE split by melt minus that split at random: {_interval(leak)}.")
    bands = [
        f"{band['r2']:.2f}".replace("-", "−") for band in found["bands"].get(network, ()) if band["r2"] is not None
    ]
    if bands:
        sentences.append(f"Its R² within single decades of the cooling rate: {', '.join(bands)}.")
    ran = found["convergence"]
    sentences.append(_noise(found))
    if ran and ran["at_the_limit"]:
        sentences.append(
            f"{ran['at_the_limit']} of {ran['fits']} fits were ended at {ran['limit']} updates, still improving."
        )
    return "".join(f"{sentence} " for sentence in sentences if sentence)


def _noise(found: Learned) -> str:
    """Return how noisy the label may be beside how much it varies."""
    floors = {one["source"]: one["mae"] for one in found["noise"]}
    if not floors:
        return ""
    listed = ", ".join(f"{value:.2f} ({name})" for name, value in floors.items())
    mean = next((row["mae"] for row in found["models"] if row["model"] == "mean"), None)
    if mean is None:
        return f"Noise of the label as a MAE: {listed} µTHz⁻³."
    beside = "so it is not known whether there is anything to learn" if max(floors.values()) > mean else "which is less"
    return f"Noise of the label as a MAE: {listed} µTHz⁻³; predicting the mean errs by {mean:.2f}, {beside}."


def _t9_claims(found: Learned, scheme: Mapping[str, Any], why: str) -> tuple[Claim, ...]:
    mae = {name: row["chosen_inside"]["mae"] for name, row in scheme["inputs"].items()}
    partial = _compared(scheme["orderings"], _network("partial_pdf"), _network("total_pdf"))
    binary = _compared(scheme["orderings"], _network("binary_participation_ratio"), _network("total_pdf"))
    sizes = scheme["architectures"]["partial_pdf"]
    fixed = found["networks"]["fixed_by_melt"]
    once = _compared(fixed["orderings"], _network("partial_pdf"), _network("total_pdf"))
    on_fixed = f"; on one fixed test set {_interval(once)}" if once else ""
    claims = []
    if partial:
        claims.append(Claim(
            "The partial PDF predicts better than the total PDF.", "7.98 against 9.13 µTHz⁻³ (12.6 % better)",
            f"{mae['partial_pdf']:.2f} against {mae['total_pdf']:.2f} µTHz⁻³, difference {_interval(partial)}{on_fixed}",
            comparable=False, why=f"the sign of the paired difference decides; values differ because {why}",
            verdict=_by_sign(partial, -1),
        ))  # fmt: skip
    if binary:
        claims.append(Claim(
            "The binary participation ratio does about as well as the total PDF.", "-",
            f"{mae['binary_participation_ratio']:.2f} against {mae['total_pdf']:.2f} µTHz⁻³, difference {_interval(binary)}",
            comparable=False, verdict=_alike(binary, PAPER_GAIN * mae["total_pdf"]),
            why=f"alike if the interval lies within ±{100 * PAPER_GAIN:.1f} % of the error, different if beyond; {why}",
        ))  # fmt: skip
    unfinished = _unfinished(found)
    apart = _alike(sizes, PAPER_GAIN * mae["partial_pdf"])
    claims.append(Claim(
        "The three architectures differ little.", "-",
        f"partial PDF: {sizes['first'].split()[0]} minus {sizes['second'].split()[0]} {_interval(sizes)}", comparable=False,
        why=f"alike if the interval of worst minus best lies within ±{100 * PAPER_GAIN:.1f} % of the error; the paper's "
        f"Table I is absent, so the architectures are ours{'; ' + unfinished if unfinished else ''}",
        verdict=Verdict.UNDECIDED if unfinished and apart is Verdict.CONTRADICTED else apart,
    ))  # fmt: skip
    return tuple(claims)


def _unfinished(found: Learned) -> str:
    """Return in words that many fits were ended before they had converged; empty if few were."""
    ran = found["convergence"]
    if not ran or ran["at_the_limit"] <= UNFINISHED * ran["fits"]:
        return ""
    return f"{ran['at_the_limit']} of {ran['fits']} fits were ended while still improving, so a difference may be one of training"


def _model_name(row: Mapping[str, Any]) -> str:
    features = NAMES.get(row["features"], row["features"])
    if row["model"] == "mean":
        return "mean"
    return f"line, {features}" if row["model"] == "line" else f"{row['model']}, {features}"


@styled
def inputs_figure(found: Learned) -> Figure:
    """Draw the errors of four inputs, and of every honest model."""
    rows = sorted(
        (row for row in found["models"] if not row["features"].endswith("participation_ratio")),
        key=lambda row: row["mae"],
    )
    figure = new_figure(7.0, 2.6 + 0.17 * len(rows))
    grid = figure.add_gridspec(2, 2, height_ratios=[2.2, 0.4 + 0.17 * len(rows)])
    axes = [figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, :])]
    for ax, key, label in zip(axes, ("mae", "r2"), (f"MAE ({MICRO_UNIT})", r"$R^2$"), strict=False):
        _inputs_axis(ax, found, key, label)
    _models_axis(axes[2], rows, found["noise"])
    panel_letters(axes)
    return figure


def _inputs_axis(ax: Axes, found: Learned, key: str, label: str) -> None:
    for place, (scheme, name, fill) in enumerate(
        ((_BY_MELT, "by melt", True), ("splits_by_sample", "at random", False))
    ):
        inputs = found["networks"][scheme]["inputs"]
        rows = [row["chosen_inside"] for row in inputs.values()]
        x = np.arange(len(rows)) + 0.2 * (2 * place - 1)
        value = np.array([row[key] for row in rows], dtype=np.float64)
        error = None
        if key == "mae":
            error = [value - [row["mae_low"] for row in rows], np.array([row["mae_high"] for row in rows]) - value]
        ax.errorbar(x, value, error, fmt=MARKERS[place], color=COLOURS[place], mfc=COLOURS[place] if fill else "white",
                    capsize=2, lw=1.0, label=name)  # fmt: skip
        ax.set_xticks(range(len(rows)), [NAMES[name] for name in inputs], rotation=20)
    ax.set(ylabel=label, xlim=(-0.6, 3.6), title="the paper's networks")
    if key == "mae":
        ax.set_ylim(0.0, 1.35 * ax.get_ylim()[1])
        ax.legend(loc="upper center", ncols=2)
    else:
        ax.axhline(0.0, color="0.6", lw=0.8)


def _models_axis(ax: Axes, rows: Sequence[Mapping[str, Any]], noise: Sequence[Mapping[str, Any]]) -> None:
    y = np.arange(len(rows))[::-1]
    for place, row in zip(y, rows, strict=True):
        paper = row["model"] == "network"
        ax.plot([row["mae_low"], row["mae_high"]], [place, place], color="0.45", lw=1.0)
        ax.plot([row["mae"]], [place], "s" if paper else "o", color=COLOURS[1] if paper else COLOURS[0], ms=4.5)
    ax.set_yticks(y, [_model_name(row) for row in rows], fontsize=7.5)
    ax.set(
        xlabel=f"MAE ({MICRO_UNIT})", ylim=(-0.8, len(rows) - 0.2), xlim=(0.0, None), title="all models, split by melt"
    )
    shown = [floor for floor in noise if floor["mae"] < ax.get_xlim()[1]]
    for index, floor in enumerate(shown):
        ax.axvline(
            floor["mae"], color="0.55", ls=LINES[index + 1], lw=1.0, label=f"noise of the label: {floor['source']}"
        )
    if shown:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=7)
    ax.grid(axis="y", color="0.93", lw=0.6)
    ax.set_axisbelow(True)


# ---- T10 --------------------------------------------------------------------------------------------------------------


def t10(source: Source) -> Panel | Missing:
    """Return the row of predicted against true intensity."""
    found = learned(source, "T10")
    if isinstance(found, Missing):
        return found
    parity = found["parity"]
    if set(parity) != {"fixed", "splits"}:
        return _incomplete("T10", "the networks on the partial PDF are not complete")
    each = parity["splits"]
    why = _why_not(source, found)
    above_mean = _compared(found["orderings"], _network("partial_pdf"), "mean on total_pdf")
    top = {**each["top_minus_rest"], "groups": each["melts"]}
    top["sign"] = (
        0 if top["groups"] < FEW_GROUPS or top["low"] is None else int(np.sign(top["low"]) + np.sign(top["high"])) // 2
    )
    claims = []
    if above_mean:
        claims.append(Claim(
            "Predictions follow the true intensities.", "MAE 7.98 µTHz⁻³, 8.67 % of the span of the test set",
            f"MAE {each['mae']:.2f} µTHz⁻³, {100 * each['mae_over_span']:.1f} % of the span, R² {_signed(each['r2'])}; minus that of "
            f"predicting the mean {_interval(above_mean)}",
            comparable=False, why=f"better than predicting the mean decides; {why}", verdict=_by_sign(above_mean, -1),
        ))  # fmt: skip
    few = each["top_samples"] < FEWEST_TOP
    if top["low"] is not None:
        claims.append(Claim(
            "The 12.31 % of samples with the highest intensities deviate more than average.", "above 249.34 µTHz⁻³",
            f"error of the highest {each['top_samples']} of {each['tested']} samples ({each['top_above']:.1f} µTHz⁻³ and above) minus that "
            f"of the rest {_interval(top)}; their mean bias {each['mean_bias_of_top']:+.2f} µTHz⁻³".replace("-", "−"),
            comparable=False, why=f"the sign decides, of {FEWEST_TOP} samples or more at the top; {why}",
            verdict=Verdict.UNDECIDED if few else _by_sign(top, 1),
        ))  # fmt: skip
    caption = (
        f"Predicted against true intensity, network on the partial PDF, split by melt: (a) on the one fixed test set, mean of the "
        f"repeated fits, as in the paper; (b) every sample, by fits that never saw its melt. {_squares(each)}{_who(found)}."
    )
    return Panel("T10", title_of("T10"), caption, _basis(source, found, "networks, Adadelta 0.01, architecture chosen inside"),
                 tuple(claims), lambda: parity_figure(parity), {"parity": parity})  # fmt: skip


def _squares(one: Mapping[str, Any]) -> str:
    return f"Squares: means of {PER_MEAN} samples in order of the true value. " if one["tested"] >= 2 * PER_MEAN else ""


@styled
def parity_figure(parity: Mapping[str, Any]) -> Figure:
    """Draw predicted against true intensities."""
    figure = new_figure(7.0, 3.5)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    both = np.concatenate([np.array(one[key]) for one in parity.values() for key in ("true", "predicted")])
    margin = 0.05 * float(np.ptp(both))
    ends = (float(both.min()) - margin, float(both.max()) + margin)
    for ax, key, title in zip(axes, ("fixed", "splits"), ("fixed test set", "all test sets"), strict=True):
        one = parity[key]
        truth, predicted = np.array(one["true"]), np.array(one["predicted"])
        ax.plot(ends, ends, color="0.5", lw=0.9)
        ax.plot(truth, predicted, "o", color=COLOURS[0], mfc="none", mew=0.7, ms=3.5)
        order = np.argsort(truth)
        parts = np.array_split(order, len(order) // PER_MEAN) if len(order) >= 2 * PER_MEAN else []
        ax.plot(
            [truth[part].mean() for part in parts],
            [predicted[part].mean() for part in parts],
            "s",
            color=COLOURS[1],
            ms=5,
        )
        text = f"{title}: {len(truth)} samples\nMAE {one['mae']:.1f} {MICRO_UNIT}, $R^2$ {one['r2']:.2f}".replace(
            "-", "−"
        )
        ax.set(xlabel=f"true intensity ({MICRO_UNIT})", xlim=ends, ylim=ends, aspect="equal", title=text)
    axes[0].set_ylabel(f"predicted intensity ({MICRO_UNIT})")
    panel_letters(list(axes))
    return figure


# ---- T11 --------------------------------------------------------------------------------------------------------------


def t11(source: Source) -> Panel | Missing:
    """Return the row of the cutoff of the pair distribution."""
    found = learned(source, "T11")
    if isinstance(found, Missing):
        return found
    scan = found["cutoff_scan"]
    if not scan:
        return _incomplete("T11", "the scan over the cutoff is not complete")
    inside = scan["saturation"]["network, inside the training set"]
    others = "; ".join(
        f"{name} {_length(one)}"
        for name, one in scan["saturation"].items()
        if name != "network, inside the training set"
    )
    claims = (
        Claim(
            "The error falls with the cutoff of the partial PDF and settles at 6.85 Å.", "6.85 Å",
            f"{_length(inside)}, networks inside the training set, on the {inside['samples']} samples that stood in a validation part; {others}", comparable=True,
            why=f"a length may be compared; the interval decides: it holds 6.85 Å and is at most {WIDEST:g} Å wide, leaves it "
            f"out, or neither; gain from the shortest to the best cutoff "
            f"{_interval({'value': inside['gain'], 'low': inside['gain_low'], 'high': inside['gain_high'], 'groups': inside['melts']})}",
            verdict=_length_verdict(inside),
        ),
    )  # fmt: skip
    caption = (
        "Mean absolute error against the cutoff of the partial PDF, same hyperparameters at all cutoffs: network n-64-1 on the test "
        "set (bars: standard deviation of the fits), the same inside the training set, and ridge regression on all "
        "samples; bins beyond the cutoff are held at zero. Single markers with bars, below: first cutoff that reaches 95 % of the whole "
        f"gain, 95 % interval, melts drawn again; where no gain is certain, or there are fewer than {FEW_GROUPS} melts, there is none. {_who(found)}."
    )
    return Panel("T11", title_of("T11"), caption, _basis(source, found, "network n-64-1, Adadelta 0.01; ridge; split by melt"),
                 claims, lambda: cutoff_figure(scan), {"cutoff_scan": scan})  # fmt: skip


def _length(one: Mapping[str, Any]) -> str:
    if one["cutoff"] is None:
        return "no certain gain"
    if one["melts"] < FEW_GROUPS:
        return f"{one['cutoff']:.2f} Å ({one['melts']} melts, no interval)"
    return f"{one['cutoff']:.2f} [{one['low']:.2f}, {one['high']:.2f}] Å"


def _length_verdict(one: Mapping[str, Any]) -> Verdict:
    if one["cutoff"] is None or one["melts"] < FEW_GROUPS:
        return Verdict.UNDECIDED
    if not one["low"] - 1e-9 <= PAPER_CUTOFF <= one["high"] + 1e-9:
        return Verdict.CONTRADICTED
    return Verdict.SUPPORTED if one["high"] - one["low"] <= WIDEST else Verdict.UNDECIDED


@styled
def cutoff_figure(scan: Mapping[str, Any]) -> Figure:
    """Draw the error against the cutoff, and where it saturates."""
    figure = new_figure(4.6, 3.9)
    ax = figure.subplots()
    r = scan["cutoff_angstrom"]
    curves = {"network, test set": (r, scan["mae"]), "network, inside the training set": (r, scan["inner_mae"]),
              "ridge, all samples": (scan["ridge_cutoff_angstrom"], scan["ridge_mae"])}  # fmt: skip
    ends = [*(np.array(mae) for _, mae in curves.values())]
    ends += [np.array(scan["mae"]) + sign * np.array(scan["mae_sd"]) for sign in (-1, 1)]
    low, high = float(min(part.min() for part in ends)), float(max(part.max() for part in ends))
    for index, (name, (x, mae)) in enumerate(curves.items()):
        error = scan["mae_sd"] if index == 0 else None
        look: Any = {"ls": LINES[index], "marker": MARKERS[index], "color": COLOURS[index]}
        ax.errorbar(x, mae, error, ms=3.5, capsize=2, elinewidth=0.8, label=name, **look)
        one, level = scan["saturation"][name], low - (0.1 + 0.07 * index) * (high - low)
        if one["cutoff"] is not None and one["melts"] >= FEW_GROUPS:
            ax.plot([one["low"], one["high"]], [level, level], color=COLOURS[index], lw=1.6)
            ax.plot([one["cutoff"]], [level], MARKERS[index], color=COLOURS[index], ms=6)
    ax.axvline(PAPER_CUTOFF, color="0.5", lw=0.9, zorder=0)
    ax.annotate("6.85 Å (paper)", (PAPER_CUTOFF, 0.98), xycoords=("data", "axes fraction"), fontsize=7.5, rotation=90,
                ha="right", va="top", color="0.35", xytext=(-2, 0), textcoords="offset points")  # fmt: skip
    below = 0.32 if any(one["melts"] >= FEW_GROUPS and one["cutoff"] for one in scan["saturation"].values()) else 0.06
    ax.set(
        xlabel="cutoff (Å)", ylabel=f"MAE ({MICRO_UNIT})", ylim=(low - below * (high - low), high + 0.06 * (high - low))
    )
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=1)
    return figure
