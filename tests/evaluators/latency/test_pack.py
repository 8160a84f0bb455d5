"""A pack, run where convnas is not, and its answer; whatever else is read is one line."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from convnas.evaluators.latency import onnxruntime_timer
from convnas.evaluators.latency.measure import LatencySettings
from convnas.evaluators.latency.pack import answered, packed
from convnas.search_space import InputError, SearchSpace

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SETTINGS = LatencySettings(runtime="onnxruntime", samples=3, batch=2)


@pytest.fixture(scope="module")
def space():
    """Two networks of seven pieces; stage 3 of one gets a pair of tensors."""
    plain = {"conv": ["vanilla"]}
    stages = [plain, {"conv": ["vanilla", "octave"], "alpha": [0.5]}, plain]
    base = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}
    return SearchSpace.from_config({**base, "stages": stages})


@pytest.fixture(scope="module")
def pieces(space):
    return [*space.parts().all(), *space.within(None)]


@pytest.fixture(scope="module")
def pack(pieces, tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "pack.pyz"
    path.write_bytes(packed(pieces, SETTINGS))
    return path


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder of packages that holds what onnxruntime brings, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    site = Path(onnxruntime.__file__).parents[1]
    for name in ("onnxruntime", "numpy", "numpy.libs"):
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


def run(pack, packages, folder, *argv):
    """python -I -S: no packages but those in `packages`."""
    code = (
        "import runpy, sys\n"
        f"sys.path.append({str(packages)!r})\n"
        f"sys.argv[1:] = {list(argv)!r}\n"
        f"runpy.run_path({str(pack)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def answer(pack, bare, tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    done = run(pack, bare, folder)
    assert done.returncode == 0, done.stderr
    return folder / "answer.json"


def test_a_pack_measures_where_convnas_and_torch_are_not(pack, bare, answer, pieces):
    there = run(pack, bare, answer.parent, "-h")
    assert "convnas latency CONFIG --read" in there.stdout
    code = "import sys; sys.path.append(sys.argv[1]); import torch"
    bare_python = [sys.executable, "-I", "-S", "-c", code, str(bare)]
    done = subprocess.run(bare_python, capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in done.stderr
    times, about = answered(answer, [piece.key for piece in pieces], SETTINGS)
    assert times.keys() == {piece.key for piece in pieces}
    assert all(time.median > 0 and time.low <= time.high for time in times.values())
    assert about["onnxruntime"] == onnxruntime.__version__
    assert (about["batch"], about["threads"], about["provider"]) == (2, 1, "CPUExecutionProvider")


def test_its_networks_take_what_the_pieces_take_for_the_batch_asked(pack, space):
    """The whole's graph has the batch, and the pair of an octave stage is two inputs."""
    with zipfile.ZipFile(pack) as content:
        names = [name for name in content.namelist() if name.endswith(".onnx")]
        sessions = {name: onnxruntime.InferenceSession(content.read(name)) for name in names}
    shapes = {name: [each.shape for each in s.get_inputs()] for name, s in sessions.items()}
    for arch in space.within(None):
        assert shapes[f"{arch.key}.onnx"] == [[2, 1, 8, 8]]
    for part in space.parts().all():
        assert shapes[f"{part.key}.onnx"] == [list(shape) for shape in part.input_shapes(2)]
    assert max(map(len, shapes.values())) == 2


def test_a_pack_without_onnxruntime_says_so(pack, tmp_path):
    done = run(pack, tmp_path / "nothing", tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "latency pack: onnxruntime is not installed; pip install onnxruntime"
    )
    assert not (tmp_path / "answer.json").exists()


def test_a_provider_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match=r"no NpuExecutionProvider here; there are .*CPU"):
        onnxruntime_timer.about({"provider": "NpuExecutionProvider"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda answer: [], "an answer that a latency pack wrote"),
        (lambda answer: {**answer, "times": 3}, "an answer that a latency pack wrote"),
        (lambda answer: {**answer, "times": {"a": [1, 2]}}, "an answer that a latency pack wrote"),
        (lambda answer: {**answer, "times": {"a": [0, 0, 0]}}, "an answer that a latency pack"),
        (lambda answer: {**answer, "times": {"a": [1, 2, 1]}}, "an answer that a latency pack"),
        (lambda answer: {**answer, "pack": "0" * 16}, "it answers another pack"),
        (lambda answer: {**answer, "times": dict(list(answer["times"].items())[2:])}, "2 of 9 tim"),
    ],
)
def test_no_other_file_passes_for_an_answer(answer, pieces, tmp_path, change, says):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(change(json.loads(answer.read_text()))))
    with pytest.raises(InputError, match=says):
        answered(other, [piece.key for piece in pieces], SETTINGS)


def test_half_a_file_and_none_are_refused(answer, pieces, tmp_path):
    half = tmp_path / "half.json"
    half.write_text(answer.read_text()[:200])
    for path in (half, tmp_path / "none.json"):
        with pytest.raises(InputError, match=path.name):
            answered(path, [piece.key for piece in pieces], SETTINGS)


def test_an_answer_is_of_its_settings(answer, pieces):
    keys = [piece.key for piece in pieces]
    with pytest.raises(InputError, match="another pack"):
        answered(answer, keys, LatencySettings(runtime="onnxruntime", batch=1))
    # More samples make the same number surer.
    answered(answer, keys, LatencySettings(runtime="onnxruntime", batch=2, samples=99))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"runtime": "onnxruntime", "compiled": True}, "compiled: True"),
        ({"runtime": "onnxruntime", "dtype": "float16"}, "dtype: 'float16'"),
        ({"provider": "CUDAExecutionProvider"}, "provider: 'CUDAExecutionProvider'"),
    ],
)
def test_settings_of_the_other_runtime_are_refused(settings, says):
    with pytest.raises(InputError, match=says):
        LatencySettings(**settings)
