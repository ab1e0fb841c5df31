# SPDX-License-Identifier: BSD-3-Clause
"""The one door for YAML.  YAML 1.2 scalars, no tags, no aliases, no duplicate keys, and a line for every value.

PyYAML's own loader reads ``1e12`` as text, ``1:30:00`` as 5400, ``No`` as false, lets the last duplicate key
win, and can be made to build objects.  Here only its tokeniser is used: events in, plain data out.
"""

from __future__ import annotations

import math
import re
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bp_distributed.errors import ConfigError

SIZE_LIMIT_BYTES = 5 << 20
DEPTH_LIMIT = 50
VALUE_LIMIT = 100_000
"""Keys and values in one document; keeps the time and memory of the largest file within bounds."""

_INTEGER_DIGITS = 30
_KEY_LENGTH = 200

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_WORDS = {"null": None, "Null": None, "NULL": None, "~": None, "": None, "true": True, "True": True, "TRUE": True,
          "false": False, "False": False, "FALSE": False}  # fmt: skip
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times faster


@dataclass(frozen=True)
class Document:
    """Plain data, and where each value stands."""

    source: str
    content: Any
    lines: dict[KeyPath, int]
    """Line (from 1) by path of keys and list positions; of a key's value, the line of the key."""

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
    source = str(path)
    raw = _read(path, source)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(_byte_at(source, raw, error.start), "", "is not UTF-8 text") from error
    return parse_yaml(text, source)


def _read(path: Path, source: str) -> bytes:
    if "\x00" in source:
        raise ConfigError(repr(source), "", "is not a file name")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(source, "", "is not a file" if not stat.S_ISDIR(status.st_mode) else "is a folder")
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(source, "", f"cannot be read: {error.strerror}") from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ConfigError(source, "", f"is {status.st_size / 2**20:.0f} MiB, expected at most 5 MiB")
    return raw


def _byte_at(source: str, raw: bytes, position: int) -> str:
    line = raw.count(b"\n", 0, position) + 1
    column = position - raw.rfind(b"\n", 0, position)
    return f"{source}:{line}:{column}"


def parse_yaml(text: str, source: str) -> Document:
    """Return the one document in ``text``; ``source`` names it in errors.

    Raises
    ------
    ConfigError
    """
    _refuse_strange_characters(text, source)
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        raise ConfigError(_at(source, mark), "", f"is not YAML: {what}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an escape such as "\U00110000"
        raise ConfigError(source, "", f"is not YAML: {' '.join(str(error).split())[:200]}") from error
    if builder.documents != 1:
        found = "is empty" if builder.documents == 0 else f"holds {builder.documents} documents"
        raise ConfigError(f"{source}:1:1", "", f"{found}, expected one document")
    return Document(source, builder.root, builder.lines)


def _refuse_strange_characters(text: str, source: str) -> None:
    """Refuse what no text editor writes, and tabs at the start of a line, which YAML forbids in words few understand."""
    if text.startswith("\ufeff"):
        raise ConfigError(f"{source}:1:1", "", "starts with a byte-order mark; save it as plain UTF-8")
    found = re.search(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufeff\ufffe\uffff]|^[ ]*\t+(?=[^\s#])", text, re.MULTILINE
    )
    if found is None:
        return
    start = found.end() - 1
    line = text.count("\n", 0, start) + 1
    column = start - text.rfind("\n", 0, start)
    tab = found[0].endswith("\t")
    what = "starts with a tab; indent with spaces" if tab else f"holds the character {found[0]!r}: not a text file"
    raise ConfigError(f"{source}:{line}:{column}", "", what)


def _at(source: str, mark: Any) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def is_clean(text: str) -> bool:
    """Tell whether text can be shown in one line of a terminal: no control characters, no half of a character."""
    return not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


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
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._check(event)
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._check(event)
            self._begin(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._open.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
        elif isinstance(event, yaml.AliasEvent):
            self._check(event)

    def _check(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor:  # type: ignore[attr-defined]
            self._refuse(event, "uses an anchor or alias (& or *); write the value out")
        if tag := getattr(event, "tag", None):
            self._refuse(event, f"uses the tag {tag[:60]!r}; plain values only")
        self._values += 1
        if self._values > VALUE_LIMIT:
            self._refuse(event, f"holds more than {VALUE_LIMIT} keys and values")

    def _begin(self, event: yaml.Event, container: dict[str, Any] | list[Any]) -> None:
        if len(self._open) >= DEPTH_LIMIT:
            self._refuse(event, f"is nested deeper than {DEPTH_LIMIT} levels")
        if self._open and isinstance(self._open[-1].container, dict) and self._open[-1].key is None:
            self._refuse(event, "has a list or mapping for a key, expected plain text")
        self._open.append(_Level(container, self._place(event, container)))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        level = self._open[-1] if self._open else None
        if level and isinstance(level.container, dict) and level.key is None:
            self._key(event, level)
        else:
            self._place(event, self._value(event))

    def _key(self, event: yaml.ScalarEvent, level: _Level) -> None:
        key = str(event.value)
        if len(key) > _KEY_LENGTH or not is_clean(key):
            self._refuse(event, f"has the key {key[:40]!r}, expected one line of at most {_KEY_LENGTH} characters")
        if key in level.key_lines:
            self._refuse(event, f"the key {key!r} stands here and on line {level.key_lines[key]}; keep one")
        level.key, level.key_lines[key] = key, _line(event)

    def _place(self, event: yaml.Event, value: Any) -> KeyPath:
        if not self._open:
            self.root = value
            self.lines[()] = _line(event)
            return ()
        level = self._open[-1]
        step: str | int
        if isinstance(level.container, dict):
            step, level.key = str(level.key), None
            level.container[step] = value
            line = level.key_lines[step]
        else:
            step = len(level.container)
            level.container.append(value)
            line = _line(event)
        path = (*level.path, step)
        self.lines[path] = line
        return path

    def _value(self, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if event.style:  # quoted or block text stays text
            if _SURROGATE.search(text):
                self._refuse(event, "holds half of a character (an escape between ud800 and udfff)")
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_A_NUMBER.fullmatch(text):
            self._refuse(event, f"got {text}, expected a finite number")
        if _LEADING_ZERO.fullmatch(text):
            return text
        if _INT.fullmatch(text):
            if len(text) > _INTEGER_DIGITS:
                self._refuse(event, f"is a whole number of {len(text)} digits, expected at most {_INTEGER_DIGITS}")
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                self._refuse(event, f"got {text[:40]}, too large for a number")
            return number
        return text

    def _refuse(self, event: yaml.Event, what: str) -> NoReturn:
        steps: list[str | int] = list(self._open[-1].path) if self._open else []
        if self._open and self._open[-1].key is not None:
            steps.append(self._open[-1].key)
        raise ConfigError(_at(self.source, event.start_mark), ".".join(str(step) for step in steps), what)
