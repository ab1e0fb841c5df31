# SPDX-License-Identifier: BSD-3-Clause
"""What leaves the house: structures that other programs open coloured, tables, and a package for a repository."""
