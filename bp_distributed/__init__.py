# SPDX-License-Identifier: BSD-3-Clause
"""Boson-peak campaigns in metallic glasses: melt-quench, normal modes and learning, fanned out with Dask."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bp_distributed.campaign import Campaign
    from bp_distributed.errors import CampaignError, ConfigError, StoreError
    from bp_distributed.gather import open_dataset
    from bp_distributed.plan import Plan
    from bp_distributed.store import Store

__all__ = ["Campaign", "CampaignError", "ConfigError", "Plan", "Store", "StoreError", "open_dataset"]

# Python imports this file before any submodule, in workers and children too: names are resolved on first use.
_HOME = {
    "Campaign": "campaign",
    "CampaignError": "errors",
    "ConfigError": "errors",
    "Plan": "plan",
    "Store": "store",
    "StoreError": "errors",
    "open_dataset": "gather",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"bp_distributed.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bp_distributed' has no attribute {name!r}")
