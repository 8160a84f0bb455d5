"""Whatever is put in, the answer is an exit status of 0, 1 or 2, and one line of complaint."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convnas.tests.experiments.commands.fuzzing import ARCHITECTURE, CONFIG, changed, fuzz, text_of


@fuzz
@given(data=changed(CONFIG))
def test_any_config(room, capsys, data) -> None:
    room.file.write_text(text_of(data), encoding="utf-8", errors="replace")
    room.check("config", ["space", str(room.file), "--json"], capsys)


@fuzz
@given(data=changed(ARCHITECTURE))
def test_any_architecture(room, capsys, data) -> None:
    room.file.write_text(text_of(data), encoding="utf-8", errors="replace")
    room.check("architecture", ["cost", str(room.file), "--json"], capsys)


@fuzz
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode(errors="replace"))
    ),
    command=st.sampled_from(["space", "cost", "launch", "train"]),
)
def test_any_file(room, capsys, content, command) -> None:
    room.file.write_bytes(content)
    assert room.check("bytes", [command, str(room.file)], capsys) == 2


WORDS = st.one_of(
    st.sampled_from(
        ["space", "cost", "status", "export", "report", "backbones", "tabulate", "nope"]
    ),
    st.sampled_from(
        ["--json", "--top", "--front", "--trial", "--fold", "--format", "--budget", "--convention"]
    ),
    st.sampled_from(["--help", "--version", "-h", "--", "-", "--png", "--seed", "--device"]),
    st.sampled_from(["run", "run/config.yaml", "run/best.yaml", "run/study.db", ".", "none"]),
    st.sampled_from(["0", "-1", "2", "99999999999999999999", "1M", "nan", "paper", "yaml", "json"]),
    st.text(max_size=10).filter(lambda word: "-o" not in word and word[:1] != "-"),
)


@fuzz
@given(
    command=st.sampled_from(["space", "cost", "status", "export", "backbones"]),
    words=st.lists(WORDS, max_size=6),
)
def test_any_command_line(room, capsys, command, words) -> None:
    room.check("command line", [command, *words], capsys)
