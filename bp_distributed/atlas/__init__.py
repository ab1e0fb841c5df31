# SPDX-License-Identifier: BSD-3-Clause
"""Every figure and table of both papers, from a campaign's data."""
