# SPDX-License-Identifier: BSD-3-Clause
"""Draw ``docs/figures/another_alloy.png`` from a gathered campaign, and print the table of ``docs/another_alloy.md``.

``.venv/bin/python docs/another_alloy.py FOLDER`` after ``bpd gather FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bp_distributed.figures import (
    COLOURS,
    LINES,
    MICRO_THZ,
    MICRO_UNIT,
    figure_files,
    new_figure,
    panel_letters,
    series_of,
    styled,
)
from bp_distributed.gather import open_dataset

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
SHOWN_RAD_PER_PS = 40.0
SOFTEST_RAD_PER_PS = 4.0
"""Below, one mode of a small sample is a spike of g/ω²."""


@styled
def alloy_figure(dataset: xr.Dataset) -> Figure:
    """Return partial pair distributions (a) and g/ω² (b), means over samples."""
    figure = new_figure(7.0, 2.9)
    pairs_ax, modes_ax = figure.subplots(1, 2)
    mean_pr = dataset["partial_pdf"].mean("sample").to_numpy()
    for pair, colour, line, pdf_r in zip(dataset["element_pair"].to_numpy(), COLOURS, LINES, mean_pr, strict=False):
        pairs_ax.plot(dataset["r"], pdf_r, color=colour, ls=line, label=str(pair))
    pairs_ax.set(xlabel=r"$r$ ($\AA$)", ylabel=r"$g_{ab}(r)$", xlim=(1.5, 8), ylim=(0, None))
    pairs_ax.legend()
    omega = dataset["omega"].to_numpy()
    top = 0.0
    for series in series_of(dataset):
        mean = dataset["reduced_vdos"].to_numpy()[series.samples].mean(axis=0) * MICRO_THZ
        modes_ax.plot(omega, mean, color=series.colour, ls=series.line, marker=series.marker, label=series.name)
        top = max(top, float(np.nanmax(mean[omega > SOFTEST_RAD_PER_PS])))
    level = float(dataset["debye_level"].mean()) * MICRO_THZ
    modes_ax.axhline(level, color="k", lw=1.0, label=f"own Debye level {level:.1f}")
    modes_ax.axvline(float(dataset["first_phonon"].mean()), color="0.6", lw=1.0, ls=":", label="first phonons")
    modes_ax.set(
        xlabel=r"$\omega$ (rad/ps)", ylabel=rf"$g(\omega)/\omega^2$ ({MICRO_UNIT})", xlim=(0, SHOWN_RAD_PER_PS)
    )
    modes_ax.set_ylim(0, 1.3 * top)
    modes_ax.legend(loc="upper right")
    panel_letters([pairs_ax, modes_ax])
    return figure


def table(dataset: xr.Dataset) -> str:
    """Return one line per sample, in Markdown."""
    lines = [
        "| sample | density (g/cm³) | G (GPa) | Debye level (µTHz⁻³) | robust intensity (µTHz⁻³) | peak (rad/ps) | highest mode |"
    ]
    lines.append("|---" * 7 + "|")
    for index in range(dataset.sizes["sample"]):
        one = {
            str(name): found.to_numpy().item()
            for name, found in dataset.isel(sample=index).variables.items()
            if not found.ndim
        }
        level, intensity, error = (
            MICRO_THZ * one[name] for name in ("debye_level", "robust_intensity", "robust_intensity_error")
        )
        highest = float(dataset["frequency"][index].max())
        lines.append(
            f"| {one['label']} | {one['density']:.2f} | {one['shear_modulus']:.1f} | {level:.1f} | {intensity:.0f} ± {error:.0f} | "
            f"{one['robust_peak_frequency']:.1f} | {highest:.0f} rad/ps |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    gathered = open_dataset(Path(sys.argv[1]) / "products" / "dataset.nc")
    (HERE / "figures" / "another_alloy.png").write_bytes(figure_files(alloy_figure(gathered))[0])
    print(table(gathered))  # noqa: T201 - for the page
