# SPDX-License-Identifier: BSD-3-Clause
"""The one door for YAML: what comes in, what is refused and where."""

from pathlib import Path

import pytest
import yaml

from bp_distributed import strict_yaml
from bp_distributed.errors import ConfigError
from bp_distributed.strict_yaml import DEPTH_LIMIT, VALUE_LIMIT, parse_yaml, read_yaml


def content(text):
    return parse_yaml(text, "f.yaml").content


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def loader(request, monkeypatch):
    if request.param == "pure Python":
        monkeypatch.setattr(strict_yaml, "_LOADER", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e12", 1e12),
        ("1E+12", 1e12),
        (".5", 0.5),
        ("2.", 2.0),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("No", "No"),
        ("yes", "yes"),
        ("1:30:00", "1:30:00"),
        ("017", "017"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2026-11-21", "2026-11-21"),
        ("=", "="),
        ("'1e12'", "1e12"),
        ('"true"', "true"),
        ("1e12 K/s", "1e12 K/s"),
        ("ü 😀", "ü 😀"),
    ],
)
def test_plain_scalars_follow_yaml_1_2_and_quoted_ones_are_text(text, value):
    found = content(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_nested_content_and_the_line_of_every_value():
    document = parse_yaml("a:\n  - {x: 1}\n  - y:\n      - 2.5\nb: |\n  two\n  lines\n", "f.yaml")
    assert document.content == {"a": [{"x": 1}, {"y": [2.5]}], "b": "two\nlines\n"}
    assert document.lines[("a", 1, "y", 0)] == 4
    assert document.where(("b",)) == "f.yaml:5"
    assert document.where(("a", 7, "no such")) == "f.yaml:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"f.yaml:1:1: is empty, expected one document"),
        ("# only a comment\n", r"f.yaml:1:1: is empty"),
        ("a: 1\n---\nb: 2\n", r"f.yaml:1:1: holds 2 documents"),
        ("a: 1\na: 2\n", r"f.yaml:2:1: the key 'a' stands here and on line 1"),
        ("a: {b: 1, c: 2, b: 3}\n", r"f.yaml:1:17: a: the key 'b'"),
        ("a:\n\tb: 1\n", r"f.yaml:2:1: starts with a tab"),
        ("a: [1, 2\n", r"f.yaml:\d:\d: is not YAML"),
        ("a: b: c\n", r"f.yaml:1:5: is not YAML"),
        ("a: @b\n", r"f.yaml:1:4: is not YAML"),
        ("a: &x 1\nb: *x\n", r"f.yaml:1:4: a: uses an anchor"),
        ("b: *x\n", r"f.yaml:1:4: b: uses an anchor or alias"),
        ("a: {<<: *x}\n", r"f.yaml:1:9: a.<<: uses an anchor or alias"),
        ("a: ! b\n", r"f.yaml:1:4: a: uses the tag"),
        ("a: !!float 1\n", r"f.yaml:1:4: a: uses the tag"),
        ("? [1]\n: 2\n", r"f.yaml:1:3: has a list or mapping for a key"),
        ("a: .nan\n", r"f.yaml:1:4: a: got .nan, expected a finite number"),
        ("a: [1, -.inf]\n", r"f.yaml:1:8: a: got -.inf"),
        ("a: 1e999\n", r"f.yaml:1:4: a: got 1e999, too large"),
        ("a: 1" + "0" * 40 + "\n", r"f.yaml:1:4: a: is a whole number of 41 digits"),
        ("a: \x00\n", r"f.yaml:1:4: holds the character '\\x00'"),
        ("\ufeffa: 1\n", r"f.yaml:1:1: starts with a byte-order mark"),
        ('"a\\e[31m": 1\n', r"f.yaml:1:1: has the key 'a\\x1b\[31m'"),
        ("x" * 300 + ": 1\n", r"f.yaml:1:1: has the key"),
        ("[" * 1000 + "]" * 1000, r"is nested deeper than 50 levels"),
        ("%YAML 9.9\n---\na: 1\n", r"f.yaml:1:\d: is not YAML"),
    ],
)
def test_everything_else_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        content(text)


@pytest.mark.parametrize("text", [r'a: "\ud800"', r'a: "\U00110000"'])
def test_escapes_that_are_no_characters_are_refused(text):
    with pytest.raises(ConfigError, match=r"f\.yaml"):
        content(text)


def test_limits_of_depth_and_number_are_where_they_say():
    assert content("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT)
    with pytest.raises(ConfigError, match="nested deeper"):
        content("[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1))
    with pytest.raises(ConfigError, match=f"holds more than {VALUE_LIMIT} keys and values"):
        content("- 1\n" * VALUE_LIMIT)


def test_files_that_are_no_yaml_files(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.yaml:2:4: is not UTF-8 text"):
        read_yaml(binary)
    with pytest.raises(ConfigError, match="is a folder"):
        read_yaml(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="File name too long"):
        read_yaml(tmp_path / ("x" * 5000))
    with pytest.raises(ConfigError, match="is not a file name"):
        read_yaml(tmp_path / "a\x00b")
    with pytest.raises(ConfigError, match="is not a file"):
        read_yaml(Path("/dev/zero"))


def test_a_file_over_five_mebibytes_is_refused(tmp_path):
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(ConfigError, match="is 100 MiB, expected at most 5 MiB"):
        read_yaml(large)
