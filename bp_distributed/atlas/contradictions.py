# SPDX-License-Identifier: BSD-3-Clause
"""What the papers contradict in themselves, and what they do not say: recorded, not papered over.

Every number that follows from others is recomputed by ``tests/test_atlas.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contradiction:
    """One finding about a paper's text."""

    paper: str
    """``T`` or ``Y``."""
    statement: str
    finding: str


CONTRADICTIONS = (
    Contradiction(
        "T", "The prediction is linear for atomic intensities below 0.00186 µTHz⁻³, which are 89.10 % of the atoms.",
        "That lies below the smallest value the paper states, 0.004657. The sum of all atomic maxima is at least the maximum of the sum, so "
        "the mean is at least about 190/19 652 = 0.0097; 0.0186 would fit.",
    ),
    Contradiction("T", "The atomic intensity spans four orders of magnitude.", "0.004657 to 2.8310 µTHz⁻³ are 2.8 decades."),
    Contradiction("T", "Fig. 3b averages 10 samples (caption).", "The text says 100 atoms."),
    Contradiction("T", "Thresholds P₀ were tried up to 0.42 (text).", "The appendix says 0.40."),
    Contradiction(
        "T", "800 cooling rates from 10¹⁰ to 10¹⁴ K/s at a step of 0.005; further ones at an “interval of 0.001 K/s”.",
        "With both ends there are 801. 0.001 is a step of the exponent, not a rate.",
    ),
    Contradiction(
        "T", "A higher boson peak goes with lower peaks and shallower basins of the pair distribution (abstract).",
        "The text on Fig. 4 has atoms with higher peaks and shallower basins show a lower intensity: one of the two signs of the basins is reversed.",
    ),
    Contradiction(
        "T", "Threshold, architecture and stopping are chosen, then errors are reported.",
        "The choice uses the errors on the test samples themselves, which makes these errors too small.",
    ),
    Contradiction("T", "Eq. 4 sums over N modes.", "N atoms have 3N modes; with N the atomic densities do not add up to the whole."),
    Contradiction(
        "T", "The largest atomic intensity is 2.83 µTHz⁻³.",
        "One mode near 0.8 rad/ps with a tenth of its weight on one atom gives that for bins of about 1 rad/ps, and ten times as much for bins of 0.1: "
        "the bins are probably 0.5 to 1 rad/ps wide (our estimate).",
    ),
    Contradiction(
        "Y", "The boson peak at nearly 5 THz agrees with about 5 meV in experiments.",
        "Its THz are rad/ps: 5 rad/ps are 3.3 meV, and 5 meV are 7.6 rad/ps.",
    ),
    Contradiction(
        "Y", "The potential is that of Philos. Mag. 89, 109 (2009).",
        "That is a study of diffusion by the same group; the potential file names Philos. Mag. 89, 967 (2009). Both very likely mean the same "
        "potential, which is not proven.",
    ),
    Contradiction(
        "Y", "The state is pulled along the weakest direction of the Hessian before the threshold is reached.",
        "The method pushes along the fixed random direction until the threshold, and follows the eigenvector only then.",
    ),
)  # fmt: skip

NOT_SAID = {
    "T": (
        "width of the bins of the density of states, and any smoothing", "whether the three translations count among the modes",
        "the architectures (its Table I is not in the text)", "σ of the Gaussian pair distribution (Eq. 2)",
        "loss and standardisation of the training", "the rule that rejects a spectrum", "tolerance of the minimisation and rate of heating",
    ),
    "Y": (
        "width of the bins of the density of states, and any smoothing",
        "number of failed searches, whether saddles are connected, and what becomes of those found twice", "the kernel of the coarse-graining", "the list of temperatures", "tolerance of the minimisation and rate of heating",
    ),
}  # fmt: skip
