# SPDX-License-Identifier: BSD-3-Clause
"""``package.yaml``: who made a data package, what it is called and how it may be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from bp_distributed.config import Model, _first
from bp_distributed.errors import ConfigError
from bp_distributed.strict_yaml import Document, KeyPath, is_clean, read_yaml

METADATA_NAME = "package.yaml"
LICENCES = {
    "CC-BY-4.0": ("Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/"),
    "CC-BY-SA-4.0": (
        "Creative Commons Attribution-ShareAlike 4.0 International",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    ),
    "CC0-1.0": ("Creative Commons Zero 1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "ODC-By-1.0": ("Open Data Commons Attribution 1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    "BSD-3-Clause": ("BSD 3-Clause", "https://opensource.org/license/bsd-3-clause"),
    "MIT": ("MIT", "https://opensource.org/license/mit"),
}
"""Title and address by SPDX identifier."""
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_ORCID = re.compile(r"([0-9]{4}-){3}[0-9]{3}[0-9X]")


def _line(text: str) -> str:
    if not text.strip() or not is_clean(text):
        raise ValueError("expected a line of text")
    return text.strip()


def _date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise ValueError("expected a date such as 2026-11-21")
    return text


def _orcid(text: str) -> str:
    """Check form and check digit (ISO 7064, mod 11-2)."""
    if not _ORCID.fullmatch(text):
        raise ValueError("expected an ORCID such as 0000-0002-1825-0097")
    total = 0
    for digit in text.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    if text[-1] != "0123456789X"[(12 - total % 11) % 11]:
        raise ValueError("expected an ORCID, whose last digit does not fit")
    return text


Line = Annotated[str, AfterValidator(_line)]


class Creator(Model):
    """One author of the data."""

    name: Line
    """``Family, Given``, or the name of an organisation."""
    affiliation: Line | None = None
    orcid: Annotated[str, AfterValidator(_orcid)] | None = None


class Metadata(Model):
    """A whole ``package.yaml``."""

    title: Line
    creators: Annotated[tuple[Creator, ...], Field(min_length=1)]
    licence: Literal["CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ODC-By-1.0", "BSD-3-Clause", "MIT"]
    """SPDX identifier."""
    date: Annotated[str, AfterValidator(_date)]
    """Day of publication."""
    description: str = ""
    version: Line = "1.0"
    keywords: tuple[Line, ...] = ("boson peak", "metallic glass", "molecular dynamics")


def read_metadata(path: Path) -> Metadata:
    """Read and check a ``package.yaml``.

    Raises
    ------
    ConfigError
        ``file:line: key: what, got, expected`` for the first thing that is wrong; how to begin if there is no file.
    """
    if not path.exists():
        what = "no such file; write one with title, creators, licence and date, or name another with --metadata"
        raise ConfigError(str(path), "", what)
    document = read_yaml(path)
    content = document.content
    if not isinstance(content, dict):
        raise ConfigError(document.where(()), "", "expected keys and values, such as 'title: My glasses'")
    _refuse_unknown_keys(document, content, (), Metadata)
    creators = content.get("creators")
    for index, creator in enumerate(creators if isinstance(creators, list) else ()):
        _refuse_unknown_keys(document, creator, ("creators", index), Creator)
    try:
        return Metadata.model_validate(content)
    except ValidationError as error:
        raise _first(error, document) from None


def _refuse_unknown_keys(document: Document, section: object, at: KeyPath, model: type[Model]) -> None:
    for key in section if isinstance(section, dict) else ():
        if key not in model.model_fields:
            what = f"unknown key, expected {', '.join(model.model_fields)}"
            raise ConfigError(document.where((*at, key)), ".".join(map(str, (*at, key))), what)
