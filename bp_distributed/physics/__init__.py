# SPDX-License-Identifier: BSD-3-Clause
"""The science: arrays in, arrays out.  No Dask, xarray, Keras or network in here.

Array names end in one letter per axis:

====== ===============================================================
letter axis
====== ===============================================================
``i``  atom, ``n_atoms`` long
``n``  directed pair of neighbouring atoms (i sees j)
``c``  Cartesian component, 3 long (``cc``: row, column of a 3x3 matrix)
``k``  normal mode, in order of rising frequency
``w``  frequency bin
``r``  radial bin
``e``  chemical element, in the order of the potential's ``elements``
``p``  unordered pair of elements, CuCu, CuZr, ZrZr for two elements
``t``  row of a thermodynamic history
``b``  branch of a melt (start configuration of one quench)
====== ===============================================================

So ``forces_ic`` is ``(n_atoms, 3)`` and ``modes_kic`` is ``(n_modes, n_atoms, 3)``.
"""
