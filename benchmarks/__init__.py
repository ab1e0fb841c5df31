# SPDX-License-Identifier: BSD-3-Clause
"""Benchmarks: see ``__main__``."""
