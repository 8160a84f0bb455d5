from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from convnas import Architecture, Choice, InputError

NUMBER: dict[str, dict[str, st.SearchStrategy[float]]] = {
    "octave": {"alpha": st.floats(0.001, 1)},
    "hetconv": {"p": st.integers(1, 64)},
    "res2net": {"scales": st.integers(1, 16)},
    "vanilla": {},
}
CHOICES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(sorted(NUMBER)).flatmap(
    lambda conv: st.fixed_dictionaries(
        {"conv": st.just(conv), **NUMBER[conv]},
        optional={
            "depth": st.integers(1, 9),
            "width": st.floats(0.25, 4),
            "kernel": st.sampled_from([3, 5, 7]),
            **({"base_width": st.integers(1, 64)} if conv == "res2net" else {}),
        },
    )
)


@given(CHOICES)
def test_a_choice_survives_text_and_mapping(settings) -> None:
    choice = Choice(**settings)
    assert Choice.parse(str(choice)) == choice
    assert Choice.from_dict(json.loads(json.dumps(choice.to_dict()))) == choice


@given(st.lists(CHOICES, min_size=1, max_size=4))
def test_an_architecture_survives_yaml_and_json(stages) -> None:
    arch = Architecture("resnet50", (3, 32, 32), 10, tuple(Choice(**s) for s in stages))
    for text in (yaml.safe_dump(arch.to_dict()), json.dumps(arch.to_dict())):
        again = Architecture.from_dict(yaml.safe_load(text))
        assert again == arch
        assert again.key == arch.key
    assert Architecture.parse(str(arch)) == arch


def test_blocks_survive_text() -> None:
    blocks = (Choice("res2net", scales=4, base_width=26), Choice("octave", alpha=0.5))
    arch = Architecture("resnet50", (3, 32, 32), 10, (blocks, Choice("vanilla", depth=2)))
    assert Architecture.parse(str(arch)) == arch


@pytest.mark.parametrize("text", ["", "resnet50", "resnet50 3x32x32 10: ", "a b c: vanilla"])
def test_text_that_is_no_architecture_is_refused(text) -> None:
    with pytest.raises(InputError):
        Architecture.parse(text)


def test_files_of_either_kind_hold_the_same(tmp_path) -> None:
    blocks = (Choice("vanilla"), Choice("octave", alpha=0.25))
    arch = Architecture("resnet50", (3, 224, 224), 1000, (Choice("res2net", scales=4), blocks))
    for name in ("a.yaml", "a.json"):
        arch.save(tmp_path / name, comment="the best of run 1")
        assert Architecture.load(tmp_path / name) == arch
    assert (tmp_path / "a.yaml").read_text().startswith("# the best of run 1\n")


def test_texts_a_person_reads() -> None:
    choice = Choice("octave", alpha=0.25, depth=2)
    assert choice.text == "octave(alpha=0.25)"
    assert str(choice) == "octave(alpha=0.25, depth=2)"
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, (choice, (Choice("vanilla"),)))
    assert str(arch) == "resnet-cifar 1x8x8 10: octave(alpha=0.25, depth=2) | [vanilla]"


def test_the_key_is_stable_between_processes_and_tells_architectures_apart() -> None:
    """sha256 of the text, worked out by the sha256sum program."""
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)
    assert str(arch) == "resnet-cifar 1x8x8 10: vanilla | vanilla | vanilla"
    assert arch.key == "8d848e94da7ad540"
    assert arch.key != Architecture("resnet-cifar", (1, 8, 8), 11, arch.stages).key


GOOD = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": [{"conv": "octave", "alpha": 1.5}]}, "stages[1].alpha: 1.5 is not allowed"),
        ({"stages": [{"conv": "octave"}]}, "stages[1].alpha: None is not allowed; octave needs"),
        ({"stages": [{"conv": "octav"}]}, "did you mean 'octave'?"),
        ({"stages": [{"conv": "vanilla", "p": 2}]}, "p belongs to hetconv, not vanilla"),
        ({"stages": [{"conv": "hetconv", "p": 2.5}]}, "stages[1].p: 2.5 is not allowed"),
        ({"stages": [{"conv": "hetconv", "p": True}]}, "stages[1].p: True is not allowed"),
        ({"stages": [{"conv": "hetconv", "p": 10**400}]}, "a whole number from 1 to 65536"),
        ({"stages": [{"conv": "vanilla", "depth": 10**9}]}, "a whole number from 1 to 1000"),
        ({"stages": [{"conv": "vanilla", "width": 1e306}]}, "a number above 0 and at most 1000"),
        ({"stages": [{"conv": "vanilla", "width": float("nan")}]}, "a number above 0 and at most"),
        ({"stages": [{"conv": "vanilla", "kernel": 4}]}, "an odd whole number"),
        ({"stages": [{"conv": "vanilla", "detph": 1}]}, "did you mean 'depth'?"),
        ({"stages": "vanilla"}, "it must be a list of choices"),
        ({"stages": [3]}, "stages[1].choice: 3 is not allowed"),
        ({"stages": []}, "give one choice for each stage"),
        ({"stages": [[{"conv": "vanilla", "depth": 2}]]}, "a list of blocks is its own depth"),
        ({"input": [8, 8]}, "[channels, height, width]"),
        ({"input": [1, 0, 8]}, "[channels, height, width]"),
        ({"classes": "ten"}, "classes: 'ten' is not allowed"),
        ({"clases": 3}, "did you mean 'classes'?"),
    ],
)
def test_wrong_files_name_key_value_and_what_is_allowed(tmp_path, change, message) -> None:
    mapping = {**GOOD, "stages": [{"conv": "vanilla"}] * 3, **change}
    path = tmp_path / "arch.yaml"
    path.write_text(yaml.safe_dump(mapping))
    with pytest.raises(InputError) as caught:
        Architecture.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: [1", b"", b"- 1", b"!!python/object:os.x"]
)
def test_unreadable_files_are_refused_in_one_line(tmp_path, content) -> None:
    path = tmp_path / "arch.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Architecture.load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}")
    assert str(caught.value).count(str(path)) == 1


def test_numbers_of_numpy_are_those_of_python() -> None:
    choices = (
        (Choice("hetconv", p=np.int64(4), depth=np.int32(2)), Choice("hetconv", p=4, depth=2)),
        (Choice("octave", alpha=np.float64(0.25)), Choice("octave", alpha=0.25)),
        (
            Choice("res2net", scales=np.int16(4), kernel=np.uint8(5)),
            Choice("res2net", scales=4, kernel=5),
        ),
    )
    for mine, plain in choices:
        assert mine == plain
        assert str(mine) == str(plain)
        assert yaml.safe_dump(mine.to_dict()) == yaml.safe_dump(plain.to_dict())
