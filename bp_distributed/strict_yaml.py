# SPDX-License-Identifier: BSD-3-Clause
"""The one door for YAML.  YAML 1.2 scalars, no tags, no aliases, no duplicate keys, and a line for every value.

PyYAML's own loader reads ``1e12`` as text, ``1:30:00`` as 5400, ``No`` as false, lets the last duplicate key
win, and can be made to build objects.  Here only its tokeniser is used: events in, plain data out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bp_distributed.errors import ConfigError

SIZE_LIMIT_BYTES = 5 << 20
DEPTH_LIMIT = 50

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"null": None, "Null": None, "NULL": None, "~": None, "": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """Plain data, and where each value stands."""

    source: str
    content: Any
    lines: dict[KeyPath, int]
    """Line (from 1) by path of keys and list positions."""

    def where(self, path: KeyPath) -> str:
        """Return ``file:line`` of the value at ``path``, or of the nearest parent that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.source}:{self.lines.get(path, 1)}"


def read_yaml(path: Path) -> Document:
    """Return the one document in a YAML file.

    Raises
    ------
    ConfigError
        With ``file:line:column`` and one sentence, whatever is wrong with it.
    """
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT_BYTES:
            raise ConfigError(str(path), "", f"is {size / 2**20:.0f} MiB; a configuration is at most 5 MiB")
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"is not UTF-8 text (byte {error.start})") from error
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}:1:1", "", "starts with a byte-order mark; save it as plain UTF-8")
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Document:
    """Return the one document in ``text``; ``source`` names it in errors.

    Raises
    ------
    ConfigError
    """
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "is not YAML"
        raise ConfigError(_at(source, mark), "", f"is not YAML: {what}") from error
    except yaml.YAMLError as error:
        raise ConfigError(source, "", f"is not YAML: {' '.join(str(error).split())}") from error
    if builder.documents != 1:
        found = "is empty" if builder.documents == 0 else f"holds {builder.documents} documents"
        raise ConfigError(source, "", f"{found}; expected one")
    return Document(source, builder.root, builder.lines)


def _at(source: str, mark: Any) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source


@dataclass
class _Level:
    """One open mapping or sequence."""

    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None
    key_lines: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Turns the flat stream of events into data, without recursion."""

    def __init__(self, source: str) -> None:
        self.source, self.root, self.documents = source, None, 0
        self.lines: dict[KeyPath, int] = {}
        self._open: list[_Level] = []

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse(event, "uses an anchor or alias (& or *); write the value out")
        elif getattr(event, "tag", None):
            self._refuse(event, f"uses the tag {event.tag!r}; plain values only")
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)

    def _begin(self, event: yaml.Event, container: dict[str, Any] | list[Any]) -> None:
        if len(self._open) >= DEPTH_LIMIT:
            self._refuse(event, f"is nested deeper than {DEPTH_LIMIT} levels")
        if self._open and isinstance(self._open[-1].container, dict) and self._open[-1].key is None:
            self._refuse(event, "a key must be plain text")
        self._open.append(_Level(container, self._place(event, container)))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        level = self._open[-1] if self._open else None
        if level and isinstance(level.container, dict) and level.key is None:
            first = level.key_lines.setdefault(event.value, event.start_mark.line + 1)
            if event.value in level.container:
                self._refuse(event, f"the key {event.value!r} stands here and on line {first}; keep one")
            level.key = event.value
            return
        self._place(event, self._value(event))

    def _place(self, event: yaml.Event, value: Any) -> KeyPath:
        if not self._open:
            self.root = value
            self.lines[()] = event.start_mark.line + 1
            return ()
        level = self._open[-1]
        step: str | int
        if isinstance(level.container, dict):
            step, level.key = str(level.key), None
            level.container[step] = value
        else:
            step = len(level.container)
            level.container.append(value)
        path = (*level.path, step)
        self.lines[path] = event.start_mark.line + 1
        return path

    def _value(self, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if event.style is not None:  # quoted or block text stays text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_A_NUMBER.fullmatch(text):
            self._refuse(event, f"{text} is not a finite number")
        if _LEADING_ZERO.fullmatch(text):
            return text
        if _INT.fullmatch(text):
            return self._integer(event)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                self._refuse(event, f"{text} is too large for a number")
            return number
        return text

    def _integer(self, event: yaml.ScalarEvent) -> int:
        if len(event.value) > 30:  # noqa: PLR2004 - no quantity of ours has thirty digits
            self._refuse(event, "is too large for a whole number")
        return int(event.value)

    def _refuse(self, event: yaml.Event, what: str) -> None:
        path = ".".join(str(step) for step in (self._open[-1].path if self._open else ()))
        raise ConfigError(_at(self.source, event.start_mark), path, what)
