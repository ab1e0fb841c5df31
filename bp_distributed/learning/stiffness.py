# SPDX-License-Identifier: BSD-3-Clause
r"""How stiffly an atom sits: the trace of its own block of the Hessian over its mass.

.. math:: \Omega_i^2 = \frac{1}{m_i} \sum_c \frac{\partial^2 U}{\partial r_{ic}^2}

It needs the potential, so a model of it is none from structure alone.  On seven 4000-atom glasses it explains a third of
what the pair distribution does, so it bounds nothing either.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bp_distributed.learning.atom_table import Atoms


def local_stiffness(atoms: Atoms, potential_file: Path) -> NDArray[np.float64]:
    """Return the stiffness of every atom.

    Parameters
    ----------
    atoms : Atoms
    potential_file : Path
        The EAM file that the samples were made with.

    Returns
    -------
    ndarray, shape=(n_atoms,), eV/Å²/amu

    Raises
    ------
    ConfigError
        If the potential cannot be read or lacks an element.
    """
    from bp_distributed.physics.configuration import Configuration  # noqa: PLC0415 - compiled engines, only here
    from bp_distributed.physics.hessian import factored_hessian  # noqa: PLC0415
    from bp_distributed.physics.potential import read_potential  # noqa: PLC0415

    potential = read_potential(potential_file, atoms.elements)
    stiffness_i = np.empty(len(atoms.species_i))
    for sample, mine_i in atoms.samples():
        species_i = atoms.species_i[mine_i]
        configuration = Configuration(atoms.positions_ic[mine_i], atoms.cell_scc[sample], species_i, potential.elements)
        trace_i = factored_hessian(configuration, potential).diagonal().reshape(-1, 3).sum(axis=1)
        stiffness_i[mine_i] = trace_i / potential.masses_e[species_i]
    return stiffness_i
