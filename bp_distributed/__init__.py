# SPDX-License-Identifier: BSD-3-Clause
"""Boson-peak campaigns in metallic glasses: melt-quench, normal modes and learning, fanned out with Dask."""
