# SPDX-License-Identifier: BSD-3-Clause
"""The picture of one search shows every step of it, and the saddle."""

import numpy as np
import pytest
from small_systems import fcc, relaxed

from bp_distributed.event_figure import event_figure
from bp_distributed.physics.activation import find_event
from bp_distributed.physics.artn import Code, SearchParameters
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.region import Landscape


@pytest.fixture(scope="module")
def event(cuzr):
    """A hop into a vacancy of copper."""
    crystal = fcc(3.63909, 3, ("Cu", "Zr"))
    holed = Configuration(crystal.positions_ic[1:], crystal.cell_cc, crystal.species_i[1:], crystal.elements)
    landscape = Landscape(relaxed(holed, cuzr), cuzr)
    found = (find_event(landscape, 0, trial, 1, SearchParameters(active_radius=6.0)) for trial in range(20))
    return next(event for event in found if event.code is Code.SUCCESS)


def test_the_picture_shows_the_whole_way(event):
    figure = event_figure(event, "Cu")
    energy_ax = figure.axes[0]
    stops = [*event.search.path, *event.saddle.path]
    np.testing.assert_allclose(energy_ax.lines[0].get_ydata(), [stop.energy for stop in stops])
    assert sum(len(line.get_xdata()) for line in energy_ax.lines[1:5]) == len(stops)
    assert f"saddle {event.refined_energy:.3f} eV" in [text.get_text() for text in energy_ax.texts]
    assert energy_ax.get_title(loc="right") == "Cu (success)"
