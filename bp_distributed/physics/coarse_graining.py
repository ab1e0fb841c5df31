# SPDX-License-Identifier: BSD-3-Clause
r"""Averages of an atomic quantity over its surroundings, by three kernels and any length.

.. math:: X_{CG}(i) = \sum_j w(r_{ij}) X_j \Big/ \sum_j w(r_{ij})

with the atom itself included and atoms of unknown X left out of both sums.  The paper gives a length, not its kernel.

Every atom counts once, at its nearest image, and only within ``reach``, half the smallest width of the cell.  What a long
kernel has beyond that is spread evenly over all known atoms, as those at such a distance are: a constant stays that
constant, and ``tail`` says how much of the kernel was treated so.

Letters of axes: ``i`` atom averaged around, ``j`` atom averaged over, ``f`` field, ``m`` set of known atoms, ``g`` column,
fields then sets, ``w`` window, a kernel with its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

KERNELS = ("exponential", "gaussian", "top_hat")
"""exp(-r/L), exp(-r²/2L²), and 1 for r < L."""

RMS_RADIUS = {"exponential": math.sqrt(12.0), "gaussian": math.sqrt(3.0), "top_hat": math.sqrt(0.6)}
"""Root of the mean square distance over L, which makes lengths of different kernels comparable."""

_CHUNK = 1 << 21
"""Distances held at once; 16 MiB."""


def reach(cell_cc: NDArray[np.float64]) -> float:
    """Return half the smallest distance between opposite faces of a cell in Å: no atom is nearer to its own image."""
    return 0.5 / float(np.linalg.norm(np.linalg.inv(cell_cc), axis=0).max())


def tail(kernel: str, length: float, reach: float) -> float:
    """Return which part of a kernel's weight lies farther away than ``reach`` in a uniform material, 0 to 1."""
    return _volume_beyond(kernel, length, reach) / _volume_beyond(kernel, length, 0.0)


def _volume_beyond(kernel: str, length: float, distance: float) -> float:
    """Return the integral of the kernel over all space beyond a distance, Å³."""
    x = distance / length
    if kernel == "exponential":
        part = math.exp(-x) * (x * x + 2.0 * x + 2.0)
    elif kernel == "gaussian":
        part = x * math.exp(-0.5 * x * x) + math.sqrt(0.5 * math.pi) * math.erfc(x / math.sqrt(2.0))
    else:
        part = max(0.0, 1.0 - x**3) / 3.0
    return 4.0 * math.pi * length**3 * part


def _weight(kernel: str, length: float, r_ij: NDArray[np.float32]) -> NDArray[np.float32]:
    if kernel == "exponential":
        weight_ij: NDArray[np.float32] = np.exp(r_ij * np.float32(-1.0 / length))
    elif kernel == "gaussian":
        weight_ij = np.exp(np.square(r_ij) * np.float32(-0.5 / length**2))
    else:
        weight_ij = (r_ij < length).astype(np.float32)
    return weight_ij


def distance_rows(
    positions_ic: NDArray[np.float64], cell_cc: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield distances between nearest images, some rows of the square matrix at a time.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows.

    Yields
    ------
    rows : slice
        Atoms i.
    r_ij : ndarray, shape=(n_rows, n_atoms), Å
        Exact below :func:`reach`; beyond it, in a skewed cell, an image may be nearer.
    """
    fractional_ic = positions_ic @ np.linalg.inv(cell_cc)
    n_rows = max(1, _CHUNK // len(positions_ic))
    for start in range(0, len(positions_ic), n_rows):
        rows = slice(start, min(start + n_rows, len(positions_ic)))
        square_ij = np.zeros((rows.stop - start, len(positions_ic)))
        apart_cij = [np.subtract.outer(fractional_ic[rows, c], fractional_ic[:, c]) for c in range(3)]
        apart_cij = [apart_ij - np.rint(apart_ij) for apart_ij in apart_cij]
        for c in range(3):
            square_ij += np.square(sum(apart_cij[d] * cell_cc[d, c] for d in range(3) if cell_cc[d, c] != 0.0))
        yield rows, np.sqrt(square_ij)


def coarse_grain(
    positions_ic: NDArray[np.float64],
    cell_cc: NDArray[np.float64],
    values_fi: NDArray[np.float64],
    windows_w: Sequence[tuple[str, float]],
) -> NDArray[np.float64]:
    """Return fields averaged over the surroundings of each atom.

    Parameters
    ----------
    positions_ic : ndarray, shape=(n_atoms, 3), Å
    cell_cc : ndarray, shape=(3, 3), Å
        Lattice vectors are rows; periodic in all three directions.
    values_fi : ndarray, shape=(n_fields, n_atoms)
        NaN where unknown.
    windows_w : sequence of (str, float)
        Kernel, one of ``KERNELS``, and length in Å; length 0 leaves the values as they are.

    Returns
    -------
    ndarray, shape=(n_windows, n_fields, n_atoms)
        At atoms of unknown value too; NaN where a top hat covers no known atom, and at length 0.

    Raises
    ------
    ValueError
        If there is no such kernel.
    """
    for kernel, _ in windows_w:
        if kernel not in KERNELS:
            raise ValueError(f"no kernel {kernel!r}; there are {', '.join(KERNELS)}")
    known_fi = np.isfinite(values_fi)
    masks_mi, mask_f = np.unique(known_fi, axis=0, return_inverse=True)
    centre_f = np.array(
        [row[known].mean() if known.any() else np.nan for row, known in zip(values_fi, known_fi, strict=True)]
    )
    # single precision: a third of the time, and an error of a millionth of what the field varies by
    columns_jg = np.concatenate([np.where(known_fi, values_fi - centre_f[:, None], 0.0), masks_mi]).T.astype(np.float32)
    farthest = reach(cell_cc)
    per_volume_m = masks_mi.sum(axis=1) / abs(np.linalg.det(cell_cc))
    averages_wfi = np.empty((len(windows_w), *values_fi.shape))
    for rows, exact_ij in distance_rows(positions_ic, cell_cc):
        inside_ij, r_ij = exact_ij < farthest, exact_ij.astype(np.float32)
        for place, (kernel, length) in enumerate(windows_w):
            if length == 0.0:
                averages_wfi[place, :, rows] = values_fi[:, rows]
                continue
            sums_gi = ((_weight(kernel, length, r_ij) * inside_ij) @ columns_jg).T
            total_mi = sums_gi[len(values_fi) :] + (per_volume_m * _volume_beyond(kernel, length, farthest))[:, None]
            with np.errstate(invalid="ignore"):
                averages_wfi[place, :, rows] = centre_f[:, None] + sums_gi[: len(values_fi)] / total_mi[mask_f.ravel()]
    return averages_wfi
