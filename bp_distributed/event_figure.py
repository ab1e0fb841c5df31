# SPDX-License-Identifier: BSD-3-Clause
"""One search for a saddle as a picture: how it climbed, and the path from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bp_distributed.figures import COLOURS, LINES, MARKERS, new_figure, panel_letters, styled
from bp_distributed.physics.activation import Event
from bp_distributed.physics.artn import Waypoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = {"basin": "pushed", "saddle": "climbing", "refined": "settling"}


@styled
def event_figure(event: Event, name: str = "") -> Figure:
    """Draw energy and lowest eigenvalue along a search, and then how its surroundings gave way.

    Parameters
    ----------
    event : Event
        From ``activation.find_event``.
    name : str
        Of sample and atom, for the title.
    """
    figure = new_figure(8.6, 3.2)
    energy_ax, mode_ax = figure.subplots(1, 2)
    path = [*event.search.path, *(event.saddle.path if event.saddle else ())]
    first = len(event.search.path)
    _draw(energy_ax, path, first, [stop.energy for stop in path])
    _draw(mode_ax, path, first, [stop.eigenvalue for stop in path])
    mode_ax.axhline(0.0, color="0.6", linewidth=0.8)
    energy_ax.set(xlabel="step", ylabel="energy above the minimum (eV)")
    mode_ax.set(xlabel="step", ylabel=r"lowest eigenvalue (eV/$\mathrm{\AA}^2$)")
    if np.isfinite(event.refined_energy):
        energy_ax.axhline(event.refined_energy, color=COLOURS[1], linestyle=":")
        energy_ax.annotate(
            f"saddle {event.refined_energy:.3f} eV", (0, event.refined_energy), (3, 4), textcoords="offset points"
        )
    energy_ax.legend(loc="best", fontsize="small")
    energy_ax.set_title(" ".join([name, f"({event.code.name.lower()})"]).strip(), loc="right", fontsize="medium")
    panel_letters([energy_ax, mode_ax])
    return figure


def _draw(ax: Axes, path: list[Waypoint], first: int, values: list[float]) -> None:
    """Draw one quantity step by step, by stage; from ``first`` on the surroundings are free."""
    step = np.arange(len(path))
    ax.plot(step, values, color="0.75", linewidth=1.0, zorder=1)
    for number, (stage, label) in enumerate(STAGES.items()):
        held = [k for k in step[:first] if path[k].stage == stage]
        ax.plot(step[held], np.take(values, held), MARKERS[number], color=COLOURS[number], markersize=4, label=label)
    free = step[first:]
    if len(free):
        ax.plot(
            free, np.take(values, free), MARKERS[3], linestyle=LINES[1], color=COLOURS[3], markersize=4,
            label="surroundings free",
        )  # fmt: skip
