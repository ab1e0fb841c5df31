# SPDX-License-Identifier: BSD-3-Clause
"""The last digits of an energy minimum, by Newton steps with the exact Hessian.

Line searches on the energy end where its rounding hides the descent: 1e-16 of the total, which at 20 000 atoms
leaves forces of some 1e-6 eV/Å.  Newton steps need no energy.
"""

from __future__ import annotations

from bp_distributed.errors import Reason, ScienceError
from bp_distributed.physics.configuration import Configuration
from bp_distributed.physics.eam import evaluate
from bp_distributed.physics.elastic import solve
from bp_distributed.physics.hessian import factored_hessian
from bp_distributed.physics.potential import EAMPotential

LARGEST_STEP_A = 0.05
"""Per coordinate; a longer step leaves the region where the Hessian describes the energy."""

ROUNDS = 12


def newton_minimum(configuration: Configuration, potential: EAMPotential, force_tolerance: float) -> Configuration:
    """Return the minimum next to a configuration that lies in its basin, at fixed cell.

    Parameters
    ----------
    configuration : Configuration
        Where the Hessian is positive definite.
    potential : EAMPotential
        Tables for ``configuration.elements``.
    force_tolerance : float, eV/Å
        Largest force component accepted.

    Returns
    -------
    Configuration

    Raises
    ------
    ScienceError
        ``UNSTABLE`` where the Hessian is not positive definite, ``NOT_CONVERGED`` after ``ROUNDS`` steps.
    """
    for _ in range(ROUNDS):
        found = evaluate(configuration, potential)
        if found.max_force <= force_tolerance:
            return configuration
        hessian, force_xs = factored_hessian(configuration, potential), found.forces_ic.reshape(-1, 1)
        step_xs, _ = solve(hessian, force_xs, floor=0.01 * force_tolerance)
        shrink = min(1.0, LARGEST_STEP_A / abs(step_xs).max())
        configuration = configuration.moved(shrink * step_xs.reshape(-1, 3))
    what = f"forces of {found.max_force:.1e} eV/Å are left after {ROUNDS} Newton steps"
    raise ScienceError(Reason.NOT_CONVERGED, what)
