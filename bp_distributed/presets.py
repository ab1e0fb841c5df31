# SPDX-License-Identifier: BSD-3-Clause
"""Configurations to start from: a demo, and the sample lists of both papers."""

from __future__ import annotations

from importlib.resources import files

from bp_distributed.errors import ConfigError

PRESETS = ("demo", "tao2023", "yang2022")


def preset_text(name: str) -> str:
    """Return the commented YAML of a preset.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"--preset {name}", "", f"is not a preset; expected one of {', '.join(PRESETS)}")
    return (files("bp_distributed") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
