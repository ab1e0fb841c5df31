# SPDX-License-Identifier: BSD-3-Clause
"""Y8, Y9 and Y10: atoms in motion, inherent structures of a warm glass, and the potential of mean force."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.atlas.basis import Alike, alike, basis, entries, known, known_atoms, lacking, melts_of, why_not
from bp_distributed.atlas.cooling import (
    PAPER_TG,
    WINDOWS,
    Cooling,
    coolings,
    draw_volumes,
    kink_values,
    transition_claim,
    transition_text,
)
from bp_distributed.atlas.panel import Claim, Missing, Panel, Verdict
from bp_distributed.atlas.resampling import (
    UNCERTAINTY,
    as_values,
    difference_of_shares,
    mean,
    over_melts,
    verdict,
    wilson,
    with_interval,
)
from bp_distributed.atlas.rows import title_of
from bp_distributed.captions import number
from bp_distributed.figures import (
    COLOURS,
    LINES,
    MARKERS,
    MICRO_THZ,
    MICRO_UNIT,
    first_peak,
    new_figure,
    panel_letters,
    styled,
)
from bp_distributed.gather import of_sample
from bp_distributed.physics.mean_force import OUTSIDE, MeanForce, harmonic_crystal, mean_force
from bp_distributed.physics.string_motion import MOBILE_A, find_strings
from bp_distributed.physics.structure import element_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bp_distributed.atlas.source import Source
    from bp_distributed.physics.correlation import Estimate

EXTREME_SHARE = 0.1
"""Atoms of highest and of lowest intensity that are compared, element by element."""

FEWEST_ATOMS = 30
"""Of an element, below which its extremes are not compared."""

FEWEST_MOBILE = 10
"""Atoms that moved, below which nothing is said of strings."""

MICRO_UNIT_TEXT = "µTHz⁻³"

CRYSTAL_BIN = 0.02
"""Å; its distances are known without counting."""

PLACES = {"left": -OUTSIDE, "right": OUTSIDE, "right_twice": 2.0 * OUTSIDE}
"""Half-widths of the fit from its bottom at which the mean force is held against its parabola."""

REARRANGED_A = 0.35
"""Distance of one atom from its place in the glass beyond which a basin is another one, as of Grüneisen parameters."""

UNMOVED_A = 1e-3
"""Root mean square displacement below which an inherent structure is the same one."""


# ---- Y8 ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moved:
    """Atoms that moved far in the recorded time, over all samples."""

    mobile: int
    mobile_high: int
    """Of these, among the tenth of highest intensity."""
    atoms: int
    lengths: tuple[int, ...]
    """Atoms of each string, those of length one included."""

    @property
    def in_strings(self) -> int:
        """Mobile atoms that follow another one."""
        return sum(length for length in self.lengths if length > 1)


def y8(source: Source) -> Panel | Missing:
    """Return the row of the trajectories: whether atoms of high intensity move in anharmonic basins, and in strings."""
    dataset = source.dataset
    followed_s = known_atoms(dataset, "atomic_anharmonicity") & known_atoms(dataset, "atomic_intensity")
    chosen = alike(dataset, followed_s & known(dataset, "total_pdf"))
    if not len(chosen.samples):
        return lacking(source, "Y8", "the atoms of no sample were followed at a temperature yet", "trajectory")
    names = ("atomic_anharmonicity", "atomic_amplitude", "energy_r2")
    found = {name: _extremes(source, chosen, name, ratio=name != "energy_r2") for name in names}
    moved = _moved(source, chosen)
    kelvin = float(np.nanmean(dataset["trajectory_temperature"].to_numpy()[chosen.samples]))
    elsewhere = int((dataset["rest_moved"].to_numpy()[chosen.samples] > REARRANGED_A).sum())
    everyone = float(np.nanmean(dataset["trajectory_anharmonicity"].to_numpy()[chosen.samples]))
    caption = (
        f"Motion at {kelvin:.0f} K, constant volume. Potential energy of the atom of lowest (a) and highest (b) intensity of the most common element "
        "against its distance from the inherent structure in which the recording began, with a parabola through all points; the symbols follow time. "
        "(c) Their paths, seen along z. (d) Force beyond the harmonic one over the whole force (σ, 0 in a harmonic solid) by tenths of the atomic "
        f"intensity; median over atoms, bars from the lowest to the highest sample. All atoms together: σ = {number(everyone)}. {chosen.sentence}; {elsewhere} of them had left the inherent structure whose intensities are "
        "used before the recording began."
    )
    values: dict[str, Any] = {
        "temperature_K": kelvin, "samples_that_had_left_their_basin": elsewhere, "anharmonicity_of_all_atoms": everyone,
        "high_over_low": {name: as_values(found[name]) for name in names[:2]},
        "high_minus_low_energy_r2": as_values(found["energy_r2"]),
        "median_energy_r2": float(np.nanmedian(dataset["energy_r2"].to_numpy())),
        "mobile_atoms": moved.mobile, "atoms": moved.atoms, "mobile_atoms_of_high_intensity": moved.mobile_high,
        "string_lengths": list(moved.lengths), "mobile_beyond_angstrom": MOBILE_A,
    }  # fmt: skip
    return Panel(
        "Y8", title_of("Y8"), caption,
        basis(source, chosen.samples, f"highest against lowest {EXTREME_SHARE:.0%} of the atomic intensity within each element, medians; strings after "
              "Donati et al. (1998)", UNCERTAINTY),
        (*_basin_claims(source, chosen, found, elsewhere), *_string_claims(moved)),
        lambda: motion_figure(source, chosen), values,
    )  # fmt: skip


def _extremes(source: Source, chosen: Alike, name: str, *, ratio: bool) -> Estimate:
    """Return how a quantity differs between atoms of highest and lowest intensity, with its interval over melts."""
    value_s = np.array([_high_against_low(_atoms(source.dataset, s), name, ratio=ratio) for s in chosen.samples])
    there = np.isfinite(value_s)
    return over_melts(mean(value_s[there]), melts_of(source.dataset, chosen.samples[there]))


def _atoms(dataset: xr.Dataset, sample: int) -> dict[str, NDArray[np.float64]]:
    """Return what is known of the atoms of a sample."""
    names = ("species", "atomic_intensity", "atomic_anharmonicity", "atomic_amplitude", "energy_r2")
    rows = entries(dataset, sample)
    return {name: dataset[name][rows].to_numpy().astype(np.float64) for name in names}


def _high_against_low(atoms: dict[str, NDArray[np.float64]], name: str, *, ratio: bool) -> float:
    """Return the median of the highest tenth over (or minus) that of the lowest, the mean over the elements."""
    found = []
    for element in np.unique(atoms["species"]):
        mine = np.flatnonzero(atoms["species"] == element)
        if len(mine) < FEWEST_ATOMS:
            continue
        order = mine[np.argsort(atoms["atomic_intensity"][mine], kind="stable")]
        count = max(1, round(EXTREME_SHARE * len(order)))
        low, high = (float(np.median(atoms[name][part])) for part in (order[:count], order[-count:]))
        found.append(high / low if ratio else high - low)
    return float(np.mean(found)) if found else math.nan


def _basin_claims(source: Source, chosen: Alike, found: dict[str, Estimate], elsewhere: int) -> tuple[Claim, ...]:
    why = why_not(source, chosen.samples, tao=False)
    if elsewhere:
        why = f"intensities are those of the glass, whose inherent structure {elsewhere} of {len(chosen.samples)} samples had left; {why}"
    return (
        Claim(
            "Atoms of high boson-peak intensity explore a more anharmonic part of the energy landscape than those of low intensity.",
            "two atoms of 19652 are shown",
            f"σ of the highest tenth over that of the lowest: {with_interval(found['atomic_anharmonicity'])}", comparable=False,
            why=f"the paper gives no number; σ compares forces with those of the Hessian (Knoop et al. 2020); above 1 supports; {why}",
            verdict=verdict(found["atomic_anharmonicity"], low=1.0),
        ),
        Claim(
            "The energy of an atom of low intensity follows a parabola in its displacement, that of one of high intensity deviates.",
            "two atoms of 19652 are shown",
            f"R² of the highest tenth minus that of the lowest: {with_interval(found['energy_r2'], digits=2)}", comparable=False,
            why="below 0 supports; but an atom's energy hangs on its neighbours too, so R² is a few per cent in a perfectly harmonic solid as well, "
                f"and hardly tells anharmonicity; {why}",
            verdict=verdict(found["energy_r2"], high=0.0),
        ),
        Claim(
            "Atoms of high intensity move far from their equilibrium positions.", "two atoms of 19652 are shown",
            f"rms distance from the mean position, highest tenth over lowest: {with_interval(found['atomic_amplitude'])}", comparable=False,
            why="above 1 supports; harmonic theory says the same, as amplitude and intensity both sum |e|²/ω² over soft modes; " + why,
            verdict=verdict(found["atomic_amplitude"], low=1.0),
        ),
    )  # fmt: skip


def _moved(source: Source, chosen: Alike) -> Moved:
    """Return the atoms that moved between the first and the last frame, and the strings they form."""
    mobile = high = atoms = 0
    lengths: list[int] = []
    for sample in chosen.samples:
        found = source.load(str(source.dataset["sample_id"].to_numpy()[sample]), "trajectory")
        if found is None:
            continue
        one = of_sample(source.dataset, int(sample))
        frames_fic = found["frame_displacement"].to_numpy().astype(np.float64)
        strings = find_strings(
            found["rest_position"].to_numpy() + frames_fic[0], frames_fic[-1] - frames_fic[0], one["cell"].to_numpy(),
            first_peak(one["r"].to_numpy(), one["total_pdf"].to_numpy()),
        )  # fmt: skip
        intensity_i = one["atomic_intensity"].to_numpy()
        mobile += len(strings.mobile_m)
        high += int((intensity_i[strings.mobile_m] > np.quantile(intensity_i, 1.0 - EXTREME_SHARE)).sum())
        atoms += len(intensity_i)
        lengths += strings.length_s.tolist()
    return Moved(mobile, high, atoms, tuple(sorted(lengths, reverse=True)))


def _string_claims(moved: Moved) -> tuple[Claim, ...]:
    n_high = round(EXTREME_SHARE * moved.atoms)
    more = difference_of_shares(moved.mobile_high, n_high, moved.mobile - moved.mobile_high, moved.atoms - n_high)
    few = moved.mobile < FEWEST_MOBILE
    scarce = f"; fewer than {FEWEST_MOBILE} atoms moved, too few to judge" if few else ""
    counts = f"{moved.mobile} of {moved.atoms} atoms moved farther than {MOBILE_A:g} Å"
    low, high = wilson(moved.in_strings, moved.mobile)
    follow = Verdict.SUPPORTED if low > 0.5 else Verdict.CONTRADICTED if high < 0.5 else Verdict.UNDECIDED  # noqa: PLR2004 - most
    return (
        Claim(
            f"Atoms that move farther than {MOBILE_A:g} Å are those of high intensity.", "-",
            f"{counts}, {moved.mobile_high} of them in the tenth of highest intensity", comparable=False,
            why="the interval of the difference of the shares that moved (Newcombe) decides; the paper draws one event" + scarce,
            verdict=Verdict.UNDECIDED if few else verdict(more, low=0.0),
        ),
        Claim(
            "Atoms of high intensity experience string-like motion.", "-",
            f"{counts}, {moved.in_strings} of them in strings of two or more; longest {max(moved.lengths, default=0)}", comparable=False,
            why="supported if most atoms that moved follow another one (Wilson's interval of their share)" + scarce,
            verdict=Verdict.UNDECIDED if few else follow,
        ),
    )  # fmt: skip


@styled
def motion_figure(source: Source, chosen: Alike) -> Figure:
    """Draw two atoms of extreme intensity in motion, and the anharmonicity against the intensity."""
    fig = new_figure(7.0, 5.4)
    axes = fig.subplots(2, 2)
    sample = int(chosen.samples[0])
    found = source.load(str(source.dataset["sample_id"].to_numpy()[sample]), "trajectory")
    if found is not None:
        atoms = _atoms(source.dataset, sample)
        common = np.flatnonzero(atoms["species"] == np.bincount(atoms["species"].astype(int)).argmax())
        order = common[np.argsort(atoms["atomic_intensity"][common], kind="stable")]
        for number_, (atom, name) in enumerate(((order[0], "lowest"), (order[-1], "highest"))):
            _basin(axes[0, number_], found, int(atom), number_)
            element = str(source.dataset["element"].to_numpy()[int(atoms["species"][atom])])
            axes[0, number_].set_title(f"{element} atom {atom}, {name} intensity")
            _path(axes[1, 0], found, int(atom), number_, name)
        for axis in ("x", "y"):
            _share_limits(list(axes[0]), axis)
        axes[1, 0].set(
            xlabel="displacement along x (Å)", ylabel="displacement along y (Å)", title="paths", aspect="equal"
        )
        axes[1, 0].legend(loc="best")
    _deciles(axes[1, 1], source.dataset, chosen)
    panel_letters(list(axes.flat))
    return fig


def _share_limits(axes: list[Axes], axis: str) -> None:
    """Give panels of the same kind one scale."""
    limits = [getattr(ax, f"get_{axis}lim")() for ax in axes]
    for ax in axes:
        ax.set(**{f"{axis}lim": (min(low for low, _ in limits), max(high for _, high in limits))})


def _basin(ax: Axes, found: xr.Dataset, atom: int, place: int) -> None:
    distance_f = np.linalg.norm(found["frame_displacement"].to_numpy()[:, atom].astype(np.float64), axis=1)
    energy_f = found["frame_energy"].to_numpy()[:, atom] - float(found["rest_energy"][atom])
    time_f = found["frame_time"].to_numpy()
    ax.plot(distance_f, energy_f, color="0.75", lw=0.6)
    for part in range(3):  # size and shade tell the third of the time
        third_f = slice(part * len(time_f) // 3, (part + 1) * len(time_f) // 3)
        ax.plot(
            distance_f[third_f], energy_f[third_f], ls="", marker=MARKERS[part], ms=3.2, mfc=("white", "0.65", COLOURS[place])[part],
            mec=COLOURS[place], mew=0.7, label=f"{time_f[third_f][0]:.2g} to {time_f[third_f][-1]:.2g} ps",
        )  # fmt: skip
    bend, height = np.polyfit(distance_f**2, energy_f, 1)
    grid = np.linspace(0.0, distance_f.max(), 60)
    ax.plot(grid, bend * grid**2 + height, color="black", ls="--", lw=1.0, label="parabola")
    ax.set(xlabel="distance from rest (Å)", ylabel="energy above rest (eV)")
    ax.legend(loc="best", fontsize=7)


def _path(ax: Axes, found: xr.Dataset, atom: int, place: int, name: str) -> None:
    path_fc = found["frame_displacement"].to_numpy()[:, atom]
    ax.plot(path_fc[:, 0], path_fc[:, 1], color=COLOURS[place], ls=LINES[place], lw=1.0, label=name)
    ax.plot(path_fc[-1, 0], path_fc[-1, 1], marker=MARKERS[place], color=COLOURS[place])


def _deciles(ax: Axes, dataset: xr.Dataset, chosen: Alike) -> None:
    """Draw medians of σ by tenths of the intensity."""
    median_sd = []
    for sample in chosen.samples:
        atoms = _atoms(dataset, sample)
        rank_i = np.argsort(np.argsort(atoms["atomic_intensity"], kind="stable"))
        tenth_i = rank_i * 10 // len(rank_i)
        median_sd.append([np.median(atoms["atomic_anharmonicity"][tenth_i == tenth]) for tenth in range(10)])
    middle_d, values_sd = np.mean(median_sd, axis=0), np.array(median_sd)
    spread = np.stack([middle_d - values_sd.min(axis=0), values_sd.max(axis=0) - middle_d])
    ax.errorbar(np.arange(5, 100, 10), middle_d, spread, color=COLOURS[0], marker="o", ls="-", capsize=2)
    ax.set(
        xlabel="percentile of atomic intensity",
        ylabel="anharmonicity σ of the force",
        title="all atoms",
        ylim=(0, None),
    )


# ---- Y9 ---------------------------------------------------------------------------------------------------------------


def y9(source: Source) -> Panel | Missing:
    """Return the row of the warm glass: spectra of inherent structures against temperature, and the glass transition."""
    dataset = source.dataset
    warmed = alike(dataset, known(dataset, "inherent_intensity"))
    cooled = coolings(dataset)
    if not len(warmed.samples) and not cooled:
        return lacking(source, "Y9", "no sample was warmed yet, nor was one cooled here", "temperatures")
    everyone = warmed.samples if len(warmed.samples) else np.unique(np.concatenate([one.samples for one in cooled]))
    claims: tuple[Claim, ...] = (transition_claim(cooled),)
    on_cooling = transition_text(cooled)
    values: dict[str, Any] = {"glass_transition": [kink_values(one) for one in cooled]}
    if len(warmed.samples):
        found, facts = _warming(source, warmed)
        claims, values = (*found, *claims), {**facts, **values}
        caption = (
            "Density of states (a) and its reduced form (b) of the inherent structures of glasses warmed step by step; the dotted line is the mean "
            "Debye level of the first. (c) Boson-peak intensity (kernel estimate) of the inherent structures, single samples and mean, and the share "
            f"of samples whose inherent structure is no longer that of the glass; dotted: the paper's {PAPER_TG:g} K. An inherent structure that has not changed has the very same "
            "spectrum: what is seen here is not the anharmonicity of a basin but a walk to other ones. (d) Volume on cooling. "
            f"{warmed.sentence}. {on_cooling}"
        )
    else:
        caption = f"Volume on cooling. No sample was warmed: that needs a section 'temperatures:'. {on_cooling}"
    return Panel(
        "Y9", title_of("Y9"), caption,
        basis(source, everyone, "inherent structures by conjugate gradients at the volume of the moment, kernel polynomial and kernel estimates; two "
              f"lines through V(T) from {WINDOWS[0][0]:g} to {WINDOWS[0][1]:g} K, held against a parabola", UNCERTAINTY
              + "; of the glass transition: blocks of the volume's history drawn anew"),
        claims, lambda: warming_figure(source, warmed, cooled), values,
    )  # fmt: skip


def _warming(source: Source, warmed: Alike) -> tuple[tuple[Claim, ...], dict[str, Any]]:
    """Return what the paper claims of spectra against temperature, judged, and the numbers."""
    dataset = source.dataset.isel(sample=warmed.samples)
    kelvin_t = dataset["temperature"].to_numpy()
    intensity_st = dataset["inherent_robust_intensity"].to_numpy() * MICRO_THZ
    omega_w, vdos_stw = dataset["thermal_omega"].to_numpy(), np.nan_to_num(dataset["inherent_vdos"].to_numpy())
    centre_st = vdos_stw @ omega_w / vdos_stw.sum(axis=2)
    melts = melts_of(source.dataset, warmed.samples)
    per_100 = (
        100.0 * (kelvin_t - kelvin_t.mean()) / np.sum((kelvin_t - kelvin_t.mean()) ** 2)
        if len(kelvin_t) > 1
        else np.full(1, np.nan)
    )
    rise, shift = (over_melts(mean(value_st @ per_100), melts) for value_st in (intensity_st, centre_st))
    change = [float(one) for one in _slope_change(kelvin_t, intensity_st)]
    bend = over_melts(mean(np.array(change)), melts)
    same_st = dataset["inherent_displacement"].to_numpy() < UNMOVED_A
    peak_st = dataset["inherent_robust_peak_frequency"].to_numpy()
    every = "if its sign does not hang on a single temperature"
    why = why_not(source, warmed.samples, tao=False)
    span = f"{kelvin_t[0]:g} to {kelvin_t[-1]:g} K"
    claims = (
        Claim(
            "The intensity of the boson peak of inherent structures rises with temperature.", "-",
            f"{with_interval(rise, MICRO_UNIT_TEXT)} per 100 K ({span})", comparable=False, why=f"above 0 supports, {every}; {why}",
            verdict=_of_all(kelvin_t, intensity_st, verdict(rise, low=0.0)),
        ),
        Claim(
            "The density of states shifts to lower frequency as the temperature rises.", "-",
            f"mean frequency: {with_interval(shift, 'rad/ps')} per 100 K ({span})", comparable=False, why=f"below 0 supports, {every}; {why}",
            verdict=_of_all(kelvin_t, centre_st, verdict(shift, high=0.0)),
        ),
        Claim(
            f"The changes are more conspicuous across the glass transition ({PAPER_TG:g} K).", "-",
            f"slope of the intensity above minus below: {with_interval(bend, MICRO_UNIT_TEXT)} per 100 K", comparable=False,
            why=f"above 0 supports; needs two temperatures on either side; {why}", verdict=verdict(bend, low=0.0),
        ),
        Claim(
            "The boson peak of inherent structures lies at 2.5 to 5.5 (printed as THz; rad/ps).", "2.5 to 5.5 rad/ps",
            f"{number(float(np.nanmin(peak_st)))} to {number(float(np.nanmax(peak_st)))} rad/ps, kernel estimate above the first phonons",
            comparable=False, why=f"small cells have no phonons below their first multiplet, and the peak is sought above it; {why}",
            verdict=Verdict.UNDECIDED,
        ),
    )  # fmt: skip
    values = {
        "temperatures_K": kelvin_t.tolist(), "robust_intensity_muTHz-3": intensity_st.tolist(),
        "intensity_per_100_K_muTHz-3": as_values(rise), "mean_frequency_per_100_K_rad_per_ps": as_values(shift),
        "slope_above_minus_below_650_K_muTHz-3_per_100_K": as_values(bend),
        "share_of_unchanged_inherent_structures": same_st.mean(axis=0).tolist(),
        "inherent_energy_eV_per_atom": dataset["inherent_energy"].to_numpy().tolist(),
    }  # fmt: skip
    return claims, values


def _of_all(kelvin_t: NDArray[np.float64], value_st: NDArray[np.float64], found: Verdict) -> Verdict:
    """Return the verdict on a slope, but none where a single temperature decides its sign."""
    mean_t = np.nanmean(value_st, axis=0)
    signs = set()
    for t in range(len(kelvin_t)):
        rest = np.arange(len(kelvin_t)) != t
        signs.add(np.sign(np.polyfit(kelvin_t[rest], mean_t[rest], 1)[0]) if rest.sum() > 1 else 0.0)
    return found if len(signs) == 1 else Verdict.UNDECIDED


def _slope_change(kelvin_t: NDArray[np.float64], value_st: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slope above the paper's transition minus that below, per 100 K; NaN with too few temperatures."""
    parts = [kelvin_t < PAPER_TG, kelvin_t > PAPER_TG]
    if min(int(part.sum()) for part in parts) < 2:  # noqa: PLR2004 - two points make a line
        return np.full(len(value_st), math.nan)
    below_s, above_s = (np.polyfit(kelvin_t[part], value_st[:, part].T, 1)[0] for part in parts)
    return 100.0 * np.asarray(above_s - below_s)


@styled
def warming_figure(source: Source, warmed: Alike, cooled: list[Cooling]) -> Figure:
    """Draw spectra and intensities against temperature, and volumes on cooling."""
    if not len(warmed.samples):
        fig = new_figure(3.6, 3.0)
        draw_volumes(fig.subplots(), cooled)
        return fig
    fig = new_figure(7.0, 5.6)
    axes = fig.subplots(2, 2)
    dataset = source.dataset.isel(sample=warmed.samples)
    _spectra(axes[0, 0], axes[0, 1], dataset)
    _intensities(axes[1, 0], dataset)
    draw_volumes(axes[1, 1], cooled)
    panel_letters(list(axes.flat))
    return fig


def _spectra(whole: Axes, reduced: Axes, dataset: xr.Dataset) -> None:
    kelvin_t = dataset["temperature"].to_numpy()
    shown = np.unique(np.linspace(0, len(kelvin_t) - 1, 4).round().astype(int))
    for place, t in enumerate(shown):
        look: dict[str, Any] = {"color": COLOURS[place], "ls": LINES[place], "label": f"{kelvin_t[t]:g} K", "lw": 1.0}
        whole.plot(dataset["thermal_omega"], dataset["inherent_vdos"].isel(temperature=t).mean("sample") * 1e3, **look)
        low = dataset["inherent_reduced_vdos"].isel(temperature=t).mean("sample") * MICRO_THZ
        reduced.plot(dataset["low_omega"], low, marker=MARKERS[place], **look)
    level = float(dataset["inherent_debye_level"].isel(temperature=0).mean()) * MICRO_THZ
    reduced.axhline(level, color="black", ls=":", lw=1.0)
    whole.set(xlabel="ω (rad/ps)", ylabel="g (10⁻³ ps)", title="density of states", xlim=(0, None), ylim=(0, None))
    reduced.set(xlabel="ω (rad/ps)", ylabel=f"g/ω² ({MICRO_UNIT})", title="reduced", ylim=(0, None), xlim=(0, None))
    whole.legend()
    reduced.legend()


def _intensities(ax: Axes, dataset: xr.Dataset) -> None:
    kelvin_t = dataset["temperature"].to_numpy()
    value_st = dataset["inherent_robust_intensity"].to_numpy() * MICRO_THZ
    ax.plot(kelvin_t, value_st.T, color="0.7", lw=0.7, marker=".", ms=3)
    ax.plot(kelvin_t, np.nanmean(value_st, axis=0), color=COLOURS[0], marker="o", label="mean intensity")
    ax.axvline(PAPER_TG, color="black", ls=":", lw=1.0)
    ax.set(
        xlabel="temperature (K)",
        ylabel=f"intensity ({MICRO_UNIT})",
        title="boson peak",
        ylim=(0, 1.5 * np.nanmax(value_st)),
    )
    other = ax.twinx()
    moved_t = 100.0 * np.mean(dataset["inherent_displacement"].to_numpy() >= UNMOVED_A, axis=0)
    other.plot(kelvin_t, moved_t, color=COLOURS[1], ls="--", marker="s", mfc="white", label="samples in another basin")
    other.set(ylabel="samples in another basin (%)", ylim=(0, 105))
    handles = [*ax.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    names = [str(handle.get_label()) for handle in handles]
    ax.legend(handles, names, loc="lower right", frameon=True, framealpha=1.0, edgecolor="none")
    other.tick_params(right=True)


# ---- Y10 --------------------------------------------------------------------------------------------------------------


def y10(source: Source) -> Panel | Missing:
    """Return the row of the mean force: how far from a parabola it is, and how far that of a harmonic crystal is."""
    dataset = source.dataset
    chosen = alike(dataset, known(dataset, "partial_pdf"))
    if not len(chosen.samples):
        return lacking(source, "Y10", "no sample has pair distribution functions yet")
    r_b, pair = dataset["r"].to_numpy(), _most_frequent(dataset, int(chosen.samples[0]))
    pdf_sb = dataset["partial_pdf"].to_numpy()[chosen.samples, pair].astype(np.float64)
    name = str(dataset["element_pair"].to_numpy()[pair])
    mine = mean_force(r_b, pdf_sb.mean(axis=0))
    if mine is None:
        what = f"the first peak of g(r) of {name} has too few bins to fit; choose a smaller 'structure.bin_width'"
        return lacking(source, "Y10", what)
    fine_b = np.arange(2.0, 6.0, CRYSTAL_BIN)
    crystal = mean_force(fine_b, harmonic_crystal(fine_b, mine.bottom, mine.curvature**-0.5))
    melts = melts_of(dataset, chosen.samples)
    found = {side: over_melts(_departure(r_b, pdf_sb, place), melts) for side, place in PLACES.items()}
    same = {
        side: math.nan if crystal is None else crystal.departure(place * mine.half_width / crystal.half_width)
        for side, place in PLACES.items()
    }
    caption = (
        f"Potential of mean force w(r) = −k_BT ln g(r) of the inherent structures, in units of k_BT, and the parabola through its valley: (a) {name}, "
        f"the most frequent pair ({mine.n_fitted} bins, {mine.fitted[0]:.2f} to {mine.fitted[1]:.2f} Å); (b) every pair of elements, and all together, without a parabola where the peak has none. "
        "Grey: an fcc crystal of the same nearest distance whose distances scatter as Gaussians of the width of that parabola, as in a harmonic solid. "
        f"An inherent structure has no temperature, so the scale of w is arbitrary. {chosen.sentence}."
    )
    values = {
        "pair": name, "bottom_angstrom": mine.bottom, "curvature_kT_per_angstrom2": mine.curvature, "fitted_angstrom": list(mine.fitted),
        "departure": {side: as_values(one) for side, one in found.items()}, "departure_of_a_harmonic_crystal": same,
    }  # fmt: skip
    return Panel(
        "Y10", title_of("Y10"), caption,
        basis(source, chosen.samples, "parabola by least squares where g exceeds half its maximum, or less where that is too few bins; departure: (w − parabola)/(rise of the parabola) "
              f"{OUTSIDE:g} half-widths of the fit away from its bottom", UNCERTAINTY),
        _mean_force_claims(name, found, same), lambda: mean_force_figure(dataset, chosen, mine, name, crystal), values,
    )  # fmt: skip


def _most_frequent(dataset: xr.Dataset, sample: int) -> int:
    """Return the place of the pair of elements of which a sample has most."""
    share_e = dataset["composition"].to_numpy()[sample]
    pairs = element_pairs(len(share_e))
    return int(np.argmax([share_e[a] * share_e[b] * (1 if a == b else 2) for a, b in pairs]))


def _departure(
    r_b: NDArray[np.float64], pdf_sb: NDArray[np.float64], half_widths: float
) -> Callable[[NDArray[np.intp]], float]:
    """Return the departure from the parabola of the mean g of samples, as a statistic of the samples."""

    def of(samples: NDArray[np.intp]) -> float:
        one = mean_force(r_b, pdf_sb[samples].mean(axis=0))
        return math.nan if one is None else one.departure(half_widths)

    return of


def _mean_force_claims(name: str, found: dict[str, Estimate], same: dict[str, float]) -> tuple[Claim, ...]:
    departs = {verdict(found["right"], high=0.0), verdict(found["right"], low=0.0)}
    return (
        Claim(
            "The potential of mean force leaves the parabola through its valley.", "-",
            f"{name}, departure on the right {with_interval(found['right'])}, on the left {with_interval(found['left'])}", comparable=False,
            why="0 for a parabola; the paper gives no number; the right side decides; on the left g soon is 0, since atoms are hard",
            verdict=Verdict.SUPPORTED if Verdict.SUPPORTED in departs else Verdict.UNDECIDED,
        ),
        Claim(
            "That it leaves the parabola shows that the interactions are anharmonic.", "-",
            f"at {OUTSIDE:g} half-widths the glass departs by {with_interval(found['right'])}, a harmonic crystal by {number(same['right'], 2)}; at twice "
            f"that by {with_interval(found['right_twice'])} and {number(same['right_twice'], 2)}", comparable=False,
            why="by argument, not by measurement: the energy expanded to second order about an inherent structure has the same inherent structure, "
                "hence the same g(r) and the same w(r), which here tell how distances are spread; farther out every g(r) with a second shell leaves its parabola",
            verdict=Verdict.CONTRADICTED,
        ),
    )  # fmt: skip


@styled
def mean_force_figure(
    dataset: xr.Dataset, chosen: Alike, mine: MeanForce, name: str, crystal: MeanForce | None
) -> Figure:
    """Draw the potential of mean force of one pair of elements beside a crystal's, and that of all pairs."""
    fig = new_figure(7.0, 3.1)
    left, right = fig.subplots(1, 2, sharey=True)
    if crystal is not None:
        left.plot(crystal.r_b, crystal.w_b - crystal.depth + mine.depth, color="0.6", lw=2.2, label="harmonic crystal")
    r_b, part = dataset["r"].to_numpy(), dataset.isel(sample=chosen.samples)
    names = [str(pair) for pair in dataset["element_pair"].to_numpy()]
    one = part["partial_pdf"].isel(element_pair=names.index(name)).mean("sample")
    _valley(left, r_b, one.to_numpy().astype(np.float64), 0, name)
    curves = {pair: part["partial_pdf"].isel(element_pair=place) for place, pair in enumerate(names)}
    for place, (pair, pdf) in enumerate({**curves, "all": part["total_pdf"]}.items()):
        _valley(right, r_b, pdf.mean("sample").to_numpy().astype(np.float64), place, pair)
    for ax, title in ((left, f"{name} and a harmonic crystal"), (right, "all pairs")):
        ax.set(xlim=(2.0, 6.0), ylim=(mine.depth - 1.0, mine.depth + 5.0), xlabel="r (Å)", title=title)
        ax.legend(loc="lower right", ncols=2, columnspacing=1.0, handletextpad=0.4)
    left.set_ylabel("w / k$_B$T")
    panel_letters([left, right])
    return fig


def _valley(ax: Axes, r_b: NDArray[np.float64], g_b: NDArray[np.float64], place: int, name: str) -> None:
    """Draw the potential of mean force, and the parabola through its valley if it has one."""
    there_b = g_b > 0
    if not there_b.any():
        ax.plot([], [], ls="", marker=MARKERS[place], ms=3, mfc="white", color=COLOURS[place], label=f"{name}: none")
        return
    ax.plot(
        r_b[there_b], -np.log(g_b[there_b]), ls="", marker=MARKERS[place], ms=3, mfc="white", color=COLOURS[place], label=name
    )  # fmt: skip
    if one := mean_force(r_b, g_b):
        grid = np.linspace(one.bottom - 4 * one.half_width, one.bottom + 4 * one.half_width, 100)
        ax.plot(grid, one.parabola(grid), color=COLOURS[place], ls=LINES[place])
