# SPDX-License-Identifier: BSD-3-Clause
"""Rows Y8 to Y10 on samples with planted motion, planted temperatures and planted volumes."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import labelled
from synthetic_atlas import source_of, trended

from bp_distributed.atlas.cooling import coolings, glass_transition_text
from bp_distributed.atlas.panel import Missing, Panel, Verdict
from bp_distributed.atlas.yang_dynamics import y8, y9, y10

YES, NO, OPEN = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.UNDECIDED
N_ATOMS = 108
N_MELTS = 4
KELVINS = np.array([100.0, 300.0, 500.0, 800.0, 1000.0, 1200.0])
CHAIN = 8
"""Atoms of highest intensity that follow each other."""


def verdicts(panel):
    assert isinstance(panel, Panel), panel
    return [claim.verdict for claim in panel.claims]


def glasses():
    return trended(n_melts=N_MELTS, rates=(1e13,))


def samples(source):
    return [str(name) for name in source.dataset["sample_id"].to_numpy()]


# ---- Y8 ---------------------------------------------------------------------------------------------------------------


def trajectory(item, rng, sign, *, chain):
    """Return a stage in which σ and amplitude rise (sign 1) with the intensity, and the highest follow each other."""
    intensity_i = item.stages["vibration"]["atomic_intensity"].to_numpy()
    rank_i = np.argsort(np.argsort(intensity_i)) / N_ATOMS
    position_ic = item.stages["quench"]["position"].to_numpy()
    frames_fic = rng.normal(scale=0.05, size=(30, N_ATOMS, 3))
    if chain:
        high = np.argsort(intensity_i)[-CHAIN:]
        frames_fic[-1, high[:-1]] = position_ic[high[1:]] - position_ic[high[:-1]]
        frames_fic[-1, high[-1]] = frames_fic[0, high[-1]] + 1.2
    noise = rng.normal(scale=0.01, size=(2, N_ATOMS))
    return labelled(
        frame_time=0.01 * np.arange(30), frame_displacement=frames_fic, rest_position=position_ic,
        frame_energy=1.5 * np.square(frames_fic).sum(axis=2) - 5.0, rest_energy=np.full(N_ATOMS, -5.0), rest_moved=0.0,
        trajectory_temperature=100.0, trajectory_anharmonicity=0.2,
        atomic_anharmonicity=0.2 + 0.1 * sign * rank_i + noise[0], atomic_amplitude=0.1 + 0.04 * sign * rank_i + 0.1 * noise[1],
        atomic_farthest=np.full(N_ATOMS, 0.2), energy_r2=0.3 - 0.1 * sign * rank_i + noise[1],
        energy_curvature=np.full(N_ATOMS, 3.0),
    )  # fmt: skip


def moving(sign, *, chain=False):
    rng = np.random.default_rng(7)
    items = glasses()
    stages = {item.sample_id: trajectory(item, rng, sign, chain=chain) for item in items}
    for item in items:
        item.stages["trajectory"] = stages[item.sample_id]
    return replace(source_of(items), load=lambda sample_id, stage: stages[sample_id] if stage == "trajectory" else None)


def test_planted_anharmonicity_is_seen_with_its_sign():
    assert verdicts(y8(moving(1)))[:3] == [YES, YES, YES]
    assert verdicts(y8(moving(-1)))[:3] == [NO, NO, NO]
    flat = y8(moving(0))
    assert verdicts(flat)[:3] == [OPEN, OPEN, OPEN]
    assert flat.values["high_over_low"]["atomic_anharmonicity"]["value"] == pytest.approx(1.0, abs=0.1)


def test_atoms_that_hardly_move_say_nothing_of_strings():
    panel = y8(moving(1))
    assert verdicts(panel)[3:] == [OPEN, OPEN]
    assert panel.values["mobile_atoms"] == 0
    assert "too few to judge" in panel.claims[3].why


def test_planted_strings_of_atoms_of_high_intensity_are_seen():
    panel = y8(moving(1, chain=True))
    assert verdicts(panel)[3:] == [YES, YES]
    assert panel.values["string_lengths"] == [CHAIN] * N_MELTS
    assert panel.values["mobile_atoms_of_high_intensity"] == panel.values["mobile_atoms"] == CHAIN * N_MELTS


# ---- Y9 ---------------------------------------------------------------------------------------------------------------


def warmed(sign):
    """Glasses whose boson peak rises (sign 1) by 2 µTHz⁻³ per 100 K, twice as fast above 650 K, and whose g softens."""
    rng = np.random.default_rng(3)
    items = glasses()
    for item in items:
        slope_t = 0.02e-6 * (KELVINS + np.maximum(KELVINS - 650.0, 0.0))
        intensity_t = 200e-6 + sign * slope_t + rng.normal(scale=0.5e-6, size=len(KELVINS))
        omega_w = np.arange(1.0, 50.0, 0.25)
        centre_t = 25.0 - sign * 1e-3 * KELVINS + rng.normal(scale=0.02, size=len(KELVINS))
        each = {name: np.full(len(KELVINS), 1.0) for name in (
            "thermal_energy", "thermal_volume", "thermal_pressure", "inherent_energy", "inherent_shear_modulus", "inherent_moved",
            "inherent_intensity", "inherent_intensity_error", "inherent_peak_frequency", "inherent_robust_intensity_error")}  # fmt: skip
        item.stages["temperatures"] = labelled(
            **each, temperature=KELVINS, thermal_temperature=KELVINS, thermal_omega=omega_w,
            inherent_robust_intensity=intensity_t, inherent_robust_peak_frequency=np.full(len(KELVINS), 4.0),
            inherent_debye_level=np.full(len(KELVINS), 87e-6), inherent_displacement=np.where(KELVINS > 200, 0.3, 0.0),
            inherent_vdos=np.exp(-(((omega_w - centre_t[:, None]) / 8.0) ** 2)),
            low_omega=0.5 * (np.arange(20) + 0.5), inherent_reduced_vdos=np.outer(intensity_t, np.ones(20)),
        )  # fmt: skip
    return items


def with_volumes(items, curve, noise=0.01):
    """Replace volumes on cooling by a curve of the temperature and noise, at a thousand times."""
    rng = np.random.default_rng(5)
    for item in items:
        quench = item.stages["quench"]
        kelvin = np.linspace(2000.0, 0.1, 1000)
        rows = {name: np.zeros(1000) for name in quench.variables if str(name).startswith("history_")}
        rows |= {
            "history_time": (2000.0 - kelvin) / 10.0,
            "history_temperature": kelvin + rng.normal(scale=20.0, size=1000),
        }
        rows["history_volume"] = curve(kelvin) + rng.normal(scale=noise, size=1000)
        item.stages["quench"] = quench.drop_vars(list(rows)).merge(labelled(**rows))
        item.stages["quench"].attrs = quench.attrs
    return items


def kinked(kelvin):
    return 17.8 + 4e-4 * kelvin + 5e-4 * np.maximum(kelvin - 720.0, 0.0)


def bent(kelvin):
    return 17.8 + 4e-4 * kelvin + 1.5e-7 * kelvin**2


def test_planted_changes_with_temperature_are_seen_with_their_sign():
    panel = y9(source_of(warmed(1)))
    assert verdicts(panel)[:3] == [YES, YES, YES]
    assert panel.values["intensity_per_100_K_muTHz-3"]["value"] == pytest.approx(3.0, abs=0.3)  # 2 below, 4 above
    assert panel.values["slope_above_minus_below_650_K_muTHz-3_per_100_K"]["value"] == pytest.approx(2.0, abs=0.5)
    assert panel.values["mean_frequency_per_100_K_rad_per_ps"]["value"] == pytest.approx(-0.1, abs=0.02)
    assert panel.values["share_of_unchanged_inherent_structures"] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert verdicts(y9(source_of(warmed(-1))))[:3] == [NO, NO, NO]


def test_a_slope_that_hangs_on_one_temperature_decides_nothing():
    items = warmed(1)
    for item in items:
        stage = item.stages["temperatures"]
        value_t = stage["inherent_robust_intensity"].to_numpy()
        value_t[:-1] = 200e-6 - 1e-6 * np.arange(len(value_t) - 1) + 0.02 * (value_t[:-1] - 200e-6)
        value_t[-1] = 250e-6
    panel = y9(source_of(items))
    assert panel.values["intensity_per_100_K_muTHz-3"]["low"] > 0.0
    assert verdicts(panel)[0] is OPEN


def test_a_planted_kink_is_the_glass_transition_and_a_bend_is_none():
    source = source_of(with_volumes(warmed(1), kinked))
    (found,) = coolings(source.dataset)
    assert found.kink.low <= 720.0 <= found.kink.high
    assert len(found.samples) == N_MELTS
    assert f"T_g = {found.kink.temperature:.0f} K" in glass_transition_text(source)
    assert verdicts(y9(source))[-1] is YES
    source = source_of(with_volumes(warmed(1), bent))
    assert "No T_g for Cu50Zr50, 108 atoms at 10¹³ K/s: a parabola does as well" in glass_transition_text(source)
    assert verdicts(y9(source))[-1] is OPEN


def test_a_curve_that_is_two_lines_only_over_the_wider_window_is_refused():
    """With kinks at 400 and 1200 K, where the lines meet hangs on the window."""
    source = source_of(
        with_volumes(
            glasses(), lambda t: 18 + 4e-4 * t + 3e-4 * (np.maximum(t - 250, 0) + np.maximum(t - 1400, 0)), 0.002
        )
    )
    (found,) = coolings(source.dataset)
    assert found.kink.why_not


def test_without_warm_glasses_the_volumes_are_shown_and_the_section_is_named():
    panel = y9(source_of(with_volumes(glasses(), kinked)))
    assert verdicts(panel) == [YES]
    assert "a section 'temperatures:'" in panel.caption


# ---- Y10 --------------------------------------------------------------------------------------------------------------


def test_the_mean_force_of_a_glass_leaves_its_parabola_and_shows_nothing_by_that():
    panel = y10(source_of(glasses()))
    assert verdicts(panel) == [YES, NO]
    assert panel.values["pair"] == "CuZr"
    assert panel.values["departure"]["right"]["high"] < 0.0


def test_gaussian_pair_distributions_have_a_quadratic_mean_force():
    items = glasses()
    for item, place in zip(items, (2.70, 2.71, 2.72, 2.73), strict=True):
        structure = item.stages["structure"]
        gaussian = 3.0 * np.exp(-0.5 * ((structure["r"].to_numpy() - place) / 0.3) ** 2)
        structure["partial_pdf"][1] = gaussian
    panel = y10(source_of(items))
    assert panel.values["departure"]["right"]["value"] == pytest.approx(0.0, abs=0.03)  # bins of 0.1 Å
    assert panel.values["curvature_kT_per_angstrom2"] == pytest.approx(0.3**-2, rel=0.02)


# ---- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "section"), [(y8, "trajectory"), (y9, "temperatures")])
def test_what_is_missing_is_named_with_its_section(row, section):
    items = glasses()
    for item in items:
        quench = item.stages.pop("quench")
        item.stages["relax"] = quench.drop_vars([name for name in quench.variables if str(name).startswith("history")])
    found = row(source_of(items))
    assert isinstance(found, Missing)
    assert f"a section '{section}:'" in found.command


def test_figures_are_drawn():
    source = moving(1, chain=True)
    warm = source_of(with_volumes(warmed(1), kinked))
    cold = source_of(with_volumes(glasses(), kinked))
    axes = [len(panel.draw().axes) for panel in (y8(source), y9(warm), y9(cold), y10(source))]
    assert axes == [4, 5, 1, 2]  # one of Y9 has a second scale
