# SPDX-License-Identifier: BSD-3-Clause
"""The samples that a study of learning stands on: alike in size and composition, each with all four inputs.

Array names: letter ``s`` is a sample, ``f`` a feature, ``k`` a mode.

References
----------
Tao, Yang and Wang, Phys. Rev. Research 5, 023113 (2023), section II B and appendix A.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bp_distributed.errors import CampaignError

if TYPE_CHECKING:
    import xarray as xr

MICRO_THZ = 1e6
"""µTHz⁻³ per ps³."""
LOWEST_MODES = 724
"""Modes whose participation ratios are the paper's input, lowest first."""
PAPER_THRESHOLD = 0.28
"""Participation ratio above which a mode counts as extended, as the paper chose it."""
INPUTS = ("participation_ratio", "binary_participation_ratio", "total_pdf", "partial_pdf")
"""The paper's four inputs."""
PROPERTIES = {"energy": "energy per atom (eV)", "density": "density (g cm⁻³)", "shear_modulus": "shear modulus (GPa)"}
MIN_SAMPLES = 8
MIN_MELTS = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Samples of one size and composition that can be learned from.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        ``participation_ratio``, shape=(n_samples, n_modes); ``total_pdf``, shape=(n_samples, n_bins); ``partial_pdf``,
        shape=(n_samples, n_pairs n_bins), dimensionless; ``r``, shape=(n_bins,), Å; ``target``, shape=(n_samples,),
        µTHz⁻³; ``rate``, K/s; ``melt``, names; and the ``PROPERTIES``.
    error_s : ndarray, shape=(n_samples,), µTHz⁻³
        Standard error of the target; NaN where unknown.
    jitter_s : ndarray, shape=(n_samples,), µTHz⁻³
        Standard deviation of the target over the position of the bins; NaN where unknown.
    sample_id_s, label_s : ndarray of str, shape=(n_samples,)
    n_atoms : int
    composition : mapping of str to float
    left_out : mapping of str to int
        Samples that are not used, by reason.
    label : {"intensity", "robust_intensity"}
        What the target is.
    note : str
        Why it is not what was asked for; empty if it is.
    """

    arrays: Mapping[str, NDArray[Any]]
    error_s: Floats
    jitter_s: Floats
    sample_id_s: NDArray[np.str_]
    label_s: NDArray[np.str_]
    n_atoms: int
    composition: Mapping[str, float]
    left_out: Mapping[str, int]
    label: str = "intensity"
    note: str = ""

    def __len__(self) -> int:
        return len(self.target_s)

    @property
    def target_s(self) -> Floats:
        """Intensities, µTHz⁻³."""
        return self.arrays["target"]

    @property
    def melt_s(self) -> NDArray[np.str_]:
        """Melt of each sample."""
        return self.arrays["melt"]

    @property
    def rate_s(self) -> Floats:
        """Cooling rates, K/s; NaN for structures made elsewhere."""
        return self.arrays["rate"]


def learnable(dataset: xr.Dataset, target: str) -> Samples:
    """Return the samples to learn from; if too few have a paper-style peak, with the robust intensity instead.

    Small cells hold too few modes for the paper's peak to stand out of its noise, so most are rejected; the robust
    estimate exists for them too.

    Raises
    ------
    CampaignError
        As :func:`samples_of`.
    """
    try:
        return samples_of(dataset, target)
    except CampaignError:
        if target != "intensity" or "robust_intensity" not in dataset:
            raise
        why = "which rejects no sample for lack of a peak: with 'intensity' too few samples are left"
        return replace(samples_of(dataset, "robust_intensity"), note=f"learned from 'robust_intensity', {why}")


def samples_of(dataset: xr.Dataset, target: str = "intensity") -> Samples:
    """Return the largest set of samples alike in size and composition that have everything.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :mod:`bp_distributed.gather`.
    target : {"intensity", "robust_intensity"}

    Raises
    ------
    CampaignError
        If a stage is missing altogether, or too few samples or melts are left.
    """
    for name, stage in (("partial_pdf", "structure"), ("participation_ratio", "vibration"), (target, "vibration")):
        if name not in dataset:
            raise CampaignError(f"the dataset holds no {name!r}; run the stage {stage!r}, then 'bpd gather'")
    accepted_s = dataset["accepted" if target == "intensity" else "robust_accepted"].to_numpy()
    complete_s = _complete(dataset, target)
    usable_s = complete_s & (accepted_s == 1)
    kind_s = [*zip(dataset["n_atoms"].to_numpy().tolist(), map(tuple, dataset["composition"].to_numpy()), strict=True)]
    kinds = Counter(kind for kind, usable in zip(kind_s, usable_s, strict=True) if usable)
    if not kinds:
        raise CampaignError(
            "no sample has pair distributions, participation ratios and an intensity; wait for 'bpd run'"
        )
    # of equally many the larger glasses, so that the choice does not depend on the order of samples
    kind = max(kinds, key=lambda kind: (kinds[kind], kind))
    use_s = usable_s & np.array([one == kind for one in kind_s])
    _check(dataset, use_s, kinds)
    left_out = {
        "of another size or composition": int(usable_s.sum() - use_s.sum()),
        "rejected": int((complete_s & (accepted_s == 0)).sum()),
        "incomplete": int((~complete_s).sum()),
    }
    elements = [str(name) for name in dataset["element"].to_numpy()]
    return _table(dataset.isel(sample=np.flatnonzero(use_s)), target, kind, elements, left_out)


def _complete(dataset: xr.Dataset, target: str) -> NDArray[np.bool_]:
    count = dataset.sizes["sample"]
    pdf_sf = dataset["partial_pdf"].to_numpy().reshape(count, -1)
    known_s = np.isfinite(dataset["participation_ratio"].to_numpy()).any(axis=1)
    return np.asarray(np.isfinite(pdf_sf).all(axis=1) & known_s & np.isfinite(dataset[target].to_numpy()))


def _check(dataset: xr.Dataset, use_s: NDArray[np.bool_], kinds: Counter[Any]) -> None:
    n_melts = len(np.unique(dataset["group"].to_numpy()[use_s]))
    if use_s.sum() < MIN_SAMPLES or n_melts < MIN_MELTS:
        others = "" if len(kinds) == 1 else f", the largest of {len(kinds)} sets alike in size and composition"
        raise CampaignError(
            f"{use_s.sum()} usable samples from {n_melts} melt(s){others}; learning needs at least {MIN_SAMPLES} samples "
            f"from {MIN_MELTS} melts: plan more, or wait for more samples"
        )


def _table(dataset: xr.Dataset, target: str, kind: Any, elements: list[str], left_out: dict[str, int]) -> Samples:
    n_samples, n_atoms = dataset.sizes["sample"], int(kind[0])
    ratio_sk = dataset["participation_ratio"].to_numpy()
    n_modes = min(LOWEST_MODES, int(np.isfinite(ratio_sk).sum(axis=1).min()))
    error = f"{target}_error"
    arrays: dict[str, NDArray[Any]] = {
        "participation_ratio": ratio_sk[:, :n_modes].astype(np.float32),
        "total_pdf": dataset["total_pdf"].to_numpy().astype(np.float32),
        "partial_pdf": dataset["partial_pdf"].to_numpy().reshape(n_samples, -1).astype(np.float32),
        "r": dataset["r"].to_numpy().astype(np.float64),
        "target": dataset[target].to_numpy() * MICRO_THZ,
        "rate": dataset["cooling_rate"].to_numpy().astype(np.float64),
        "melt": dataset["group"].to_numpy().astype(np.str_),
    }
    for name in PROPERTIES:
        if name in dataset and np.isfinite(values := dataset[name].to_numpy()).all():
            arrays[name] = values / n_atoms if name == "energy" else values
    return Samples(
        arrays,
        dataset[error].to_numpy() * MICRO_THZ if error in dataset else np.full(n_samples, np.nan),
        _jitter(dataset) * MICRO_THZ if target == "intensity" else np.full(n_samples, np.nan),
        dataset["sample_id"].to_numpy().astype(np.str_),
        dataset["label"].to_numpy().astype(np.str_),
        n_atoms,
        {name: float(share) for name, share in zip(elements, kind[1], strict=True)},
        left_out,
        target,
    )


def _jitter(dataset: xr.Dataset) -> Floats:
    """Return how much each paper-style intensity changes as its bins are shifted, ps³."""
    from bp_distributed.physics.spectrum import Settings, jitter, peak_window  # noqa: PLC0415 - SciPy takes a moment

    noise_s = np.full(dataset.sizes["sample"], np.nan)
    if "frequency" not in dataset or "first_phonon" not in dataset or dataset.sizes.get("omega_bin", 0) < 2:  # noqa: PLR2004
        return noise_s
    omega_w = dataset["omega"].to_numpy()
    settings = Settings(bin_width=float(omega_w[1] - omega_w[0]))
    for index, frequency_k in enumerate(dataset["frequency"].to_numpy()):
        known_k = frequency_k[np.isfinite(frequency_k)]
        first, n_modes = float(dataset["first_phonon"][index]), int(dataset["n_modes"][index])
        window = peak_window(first, settings.bin_width)
        noise_s[index] = jitter(known_k, window, settings, n_modes=n_modes).offset_noise
    return noise_s


def features_of(arrays: Mapping[str, NDArray[Any]], variant: Mapping[str, Any]) -> Floats:
    """Return what a model is given, shape=(n_samples, n_features).

    Parameters
    ----------
    arrays : mapping
        As in :class:`Samples`.
    variant : mapping
        ``input``, one of ``INPUTS``; ``threshold`` of the binary participation ratio; ``cutoff``, Å: bins beyond it are
        held at zero, so that all cutoffs have the same number of inputs.

    Notes
    -----
    The binary participation ratio is 1 where P >= threshold, an extended mode, else 0.
    """
    name = str(variant["input"])
    if name == "binary_participation_ratio":
        return np.asarray(arrays["participation_ratio"] >= variant["threshold"], dtype=np.float64)
    features_sf = arrays[name].astype(np.float64)
    if "cutoff" in variant:
        r_f = np.tile(arrays["r"], features_sf.shape[1] // len(arrays["r"]))
        features_sf[:, r_f > variant["cutoff"] + 1e-9] = 0.0
    return features_sf
