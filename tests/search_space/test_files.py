"""Files of people's own: what is read from them, and what is refused, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from convnas.search_space.errors import InputError, shortened, unknown_key
from convnas.search_space.files import read_json, read_yaml

Reader = Callable[[str], Any]


@pytest.fixture
def reading(tmp_path: Path) -> Reader:
    def read(text: str) -> Any:
        path = tmp_path / "input.yaml"
        path.write_text(text, encoding="utf-8")
        return read_yaml(path)

    return read


def multiplying(levels: int, of: int = 10) -> str:
    """A mapping whose last value stands for of^levels texts."""
    lines = [f"k0: &a0 [{', '.join(['x'] * of)}]"]
    lines += [f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * of)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_plain_yaml_and_json_are_read_as_pyyaml_reads_them(reading: Reader) -> None:
    for text in (
        "a: {b: [1, 2.5, null, true, 'x', 2020-01-01]}\nc: |\n  two\n  lines\n",
        "one: &one {a: 1}\ntwo: {<<: *one, b: 2}\nthree: *one\n",
        "base: &b {a: 1, c: 2}\nboth: &d {<<: *b, a: 3}\nmore: {<<: *d, a: 4}\n",
        json.dumps({"a": {"b": [1, 1e3, None]}}),
        "",
    ):
        assert reading(text) == yaml.safe_load(text)


def test_aliases_that_multiply_are_refused_however_deep(reading: Reader) -> None:
    assert len(reading(multiplying(3))["k2"]) == 10
    for levels in (5, 12, 200):
        with pytest.raises(InputError, match="aliases repeat more than 10,000 values") as caught:
            reading(multiplying(levels))
        assert len(str(caught.value).splitlines()) == 1


def test_merged_mappings_that_multiply_are_refused(reading: Reader) -> None:
    lines = ["k0: &a0 {a: 1}"]
    lines += [f"k{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 9)]
    with pytest.raises(InputError, match="aliases repeat"):
        reading("\n".join(lines))


def test_a_value_that_holds_itself_is_refused(reading: Reader) -> None:
    for text in ("a: &a [1, *a]", "a: &a {b: {c: *a}}"):
        with pytest.raises(InputError, match="line 1 holds itself"):
            reading(text)


def test_a_key_given_twice_is_refused_with_both_lines(reading: Reader) -> None:
    with pytest.raises(InputError, match="'trials' is there twice, in lines 1 and 3"):
        reading("trials: 40\nname: x\ntrials: 3\n")
    with pytest.raises(InputError, match="'flops' is there twice, in lines 3 and 4"):
        reading("name: x\nbudget:\n  flops: 1M\n  flops: 2M\n")
    with pytest.raises(InputError, match="'a' is there twice, in lines 1 and 1"):
        reading('{"a": 1, "a": 2}')
    assert reading("a: {x: 1}\nb: {x: 2}") == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(
    "number", ["9" * 5000, "-" + "9" * 1001, "0x" + "f" * 9000, "1" + ":9" * 999]
)
def test_a_whole_number_of_very_many_digits_is_refused(reading: Reader, number: str) -> None:
    with pytest.raises(InputError, match=r"line 2 has a whole number of .* digits"):
        reading(f"name: x\ntrials: {number}\n")


def test_a_nul_in_a_text_is_refused(reading: Reader) -> None:
    with pytest.raises(InputError, match="line 1 has a text with the character NUL"):
        reading('data: {name: npz, path: "a\\0b"}')


@pytest.mark.parametrize(
    "text",
    [
        "a: !!int ''",
        "a: !!bool maybe",
        "a: !!timestamp never",
        "a: !!float ''",
        "\x07",
        "[" * 3000,
        "? {a: 1}",
    ],
)
def test_what_pyyaml_trips_over_is_refused_in_one_line(reading: Reader, text: str) -> None:
    with pytest.raises(InputError) as caught:
        reading(text)
    assert "\n" not in str(caught.value)


def test_a_device_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(InputError, match="more than 16 MiB"):
        read_yaml("/dev/zero")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a\0b", "a" * 300):
        with pytest.raises(InputError, match="cannot be read"):
            read_yaml(name)


def test_a_file_that_is_too_large_is_called_so_whatever_its_characters(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    # Of two bytes each: what is read ends inside one.
    path.write_text("\u00e9" * (8 * 2**20 + 1), encoding="utf-8")
    with pytest.raises(InputError, match="more than 16 MiB"):
        read_yaml(path)


def test_json_is_read_and_refused_as_yaml_is(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text('{"a": [1, {"b": 2}]}')
    assert read_json(path) == {"a": [1, {"b": 2}]}
    for text, words in (
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("{", "not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_json(path)


def test_values_are_shown_as_python_writes_them_while_they_are_short() -> None:
    value: object
    for value in ({"a": [1, (2,), ()], "b": {}}, [], (1, 2), "text", 1.5, None, {1, 2}, b"x"):
        assert shortened(value) == repr(value)


def test_nothing_of_a_large_value_is_written_out_but_its_beginning() -> None:
    vast: Any = "x"
    for _ in range(60):
        vast = [vast] * 10  # 10^60 texts
    deep: Any = 1
    for _ in range(5000):
        deep = {"a": deep}
    for value in (vast, deep, {"k": vast}, list(range(10**6)), 10**6000, -(10**6000), "a" * 10**6):
        assert len(str(InputError("key", value, "something else"))) < 200
        assert "\n" not in shortened(value)
    assert len(str(unknown_key("", "k" * 10**6, ["name"]))) < 300
    assert len(str(unknown_key("", 10**6000, ["name"]))) < 300
