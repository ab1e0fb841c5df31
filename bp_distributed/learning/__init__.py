# SPDX-License-Identifier: BSD-3-Clause
"""Learning the boson peak from structure: the papers' protocol, models that may beat it, and what they look at."""
