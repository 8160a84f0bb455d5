"""Every export format, loaded by its own real consumer, and its card."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from convnas.experiments.cli import main
from convnas.search_space import Architecture, InputError, load_network
from convnas.search_space.network.build import Network

# One model in several tests: timm warns that it is registered again.
pytestmark = pytest.mark.filterwarnings("ignore:Overwriting convnas_:UserWarning")

FOLDS = pytest.mark.parametrize("fold", [[], ["--fold"]], ids=["as it is", "folded"])


@pytest.fixture(scope="module")
def trained(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its best architecture's weights; what is exported goes elsewhere."""
    run = Path(shutil.copytree(finished, tmp_path_factory.mktemp("trained") / "run"))
    assert main(["export", str(run), "--format", "pt"]) == 0
    return run


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def exported(run: Path, out: Path, form: str, *more: str) -> tuple[Path, Network]:
    """The exported file in the folder `out`, and the network of the weights it comes from."""
    path = out / f"best.{'py' if form in ('py', 'timm') else form}"
    assert main(["export", str(run), "--format", form, "-o", str(path), *more]) == 0
    best = Architecture.load(run / "best.yaml")
    return path, load_network(run / "weights" / f"{best.key}.pt")


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def imported(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as `import` does; timm looks there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@FOLDS
@torch.no_grad()
def test_pt2_in_torch_export(trained, tmp_path, images, fold) -> None:
    path, network = exported(trained, tmp_path, "pt2", *fold)
    extra = {"convnas.json": ""}
    program = torch.export.load(path, extra_files=extra)
    for batch in (images, images[:1]):
        close(program.module()(batch), network(batch))
    facts = json.loads(extra["convnas.json"])
    assert Architecture.from_dict(facts["architecture"]) == network.architecture
    with pytest.raises(InputError, match="this file"):
        load_network(path)


@FOLDS
@torch.no_grad()
def test_onnx_in_onnx_runtime(trained, tmp_path, images, fold) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path, network = exported(trained, tmp_path, "onnx", *fold)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        (logits,) = session.run(["logits"], {"images": batch.numpy()})
        close(torch.from_numpy(logits), network(batch))
    facts = json.loads(session.get_modelmeta().custom_metadata_map["convnas"])
    assert facts["data"]["name"] == "digits"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.onnx", "best.onnx.md"]


@FOLDS
@torch.no_grad()
def test_py_where_there_is_no_convnas(trained, tmp_path, images, fold) -> None:
    _, network = exported(trained, tmp_path, "py", *fold)
    torch.save(images, tmp_path / "images.pt")
    code = (
        "import sys; sys.modules['convnas'] = None; sys.path.insert(0, '.')\n"
        "import torch, best\nimages = torch.load('images.pt')\n"
        "with torch.no_grad(): torch.save(best.load()(images), 'logits.pt')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    close(torch.load(tmp_path / "logits.pt"), network(images))


@torch.no_grad()
def test_py_reads_an_exported_pt_too(trained, tmp_path, images) -> None:
    path, network = exported(trained, tmp_path, "py")
    module = imported(path, "best_and_pt")
    close(module.load(exported(trained, tmp_path, "pt")[0])(images), network(images))


@torch.no_grad()
def test_timm_makes_the_model_by_name(trained, tmp_path, images) -> None:
    timm = pytest.importorskip("timm")
    path, network = exported(trained, tmp_path, "timm")
    name = f"convnas_{network.architecture.key}"
    imported(path, "best_for_timm")
    assert timm.is_model(name)
    close(timm.create_model(name, pretrained=True)(images), network(images))
    assert timm.create_model(name, num_classes=3)(images).shape == (5, 3)
    with pytest.raises(ValueError, match="1 channels, not 3"):
        timm.create_model(name, in_chans=3)
    with pytest.raises(ValueError, match="takes no drop_rate"):
        timm.create_model(name, drop_rate=0.5)


@torch.no_grad()
def test_timm_knows_what_the_network_was_trained_on(trained, tmp_path, images) -> None:
    timm = pytest.importorskip("timm")
    path, network = exported(trained, tmp_path, "timm")
    name = f"convnas_{network.architecture.key}"
    imported(path, "best_for_timm_config")
    model = timm.create_model(name, pretrained=True)
    used = timm.data.resolve_model_data_config(model)
    assert used["input_size"] == (1, 8, 8)
    assert (used["crop_pct"], used["crop_mode"], used["interpolation"]) == (1, "squash", "bilinear")
    kept = torch.load(trained / "weights" / f"{network.architecture.key}.pt", weights_only=True)
    mean, std = (kept["info"]["data"][each][0] for each in ("mean", "std"))
    # Digits are dots of 16; timm's images are fractions.
    assert used["mean"] == pytest.approx((mean / 16,))
    assert used["std"] == pytest.approx((std / 16,))
    assert model.pretrained_cfg["num_classes"] == 10
    assert timm.get_pretrained_cfg(name).label_names == tuple("0123456789")
    other = timm.create_model(name, num_classes=3)
    assert other.pretrained_cfg["num_classes"] == 3
    assert model.get_submodule(model.pretrained_cfg["classifier"]).out_features == 10
    assert model.get_submodule(model.pretrained_cfg["first_conv"]).in_channels == 1


@torch.no_grad()
def test_timm_gives_feature_maps(trained, tmp_path, images) -> None:
    timm = pytest.importorskip("timm")
    path, network = exported(trained, tmp_path, "timm")
    name = f"convnas_{network.architecture.key}"
    imported(path, "best_for_timm_features")
    model = timm.create_model(name, pretrained=True, features_only=True)
    maps = model(images)
    assert [x.shape[1] for x in maps] == model.feature_info.channels()
    assert [8 // x.shape[2] for x in maps] == model.feature_info.reduction() == [1, 1, 2, 4]
    close(maps[0], network.stem(images))
    some = timm.create_model(name, pretrained=True, features_only=True, out_indices=(1, -1))
    assert len(some(images)) == 2
    close(some(images)[1], maps[3])
    assert some.feature_info.channels() == [maps[1].shape[1], maps[3].shape[1]]
    with pytest.raises(ValueError, match="out_indices must be from 0 to 3"):
        timm.create_model(name, features_only=True, out_indices=(4,))
    with pytest.raises(ValueError, match="needs features_only"):
        timm.create_model(name, out_indices=(1,))


def test_the_table_shows_what_the_exported_weights_reach(trained, tmp_path, capsys) -> None:
    out = str(tmp_path / "best.pt")
    assert main(["export", str(trained), "--format", "pt", "-o", out]) == 0
    head, row = capsys.readouterr().out.splitlines()[:2]
    kept = torch.load(out, weights_only=True)["info"]["metrics"]["test_accuracy"]
    assert "test" in head.split()
    assert f"{kept:.4f}" in row.split()
    assert main(["export", str(trained), "-o", str(tmp_path / "best.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test_accuracy"] is None
    assert main(["export", str(trained), "--format", "pt", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test_accuracy"] == kept


@pytest.mark.parametrize("form", ["yaml", "json", "pt", "pt2", "py"])
def test_a_card_lies_beside_it(trained, tmp_path, form) -> None:
    path, network = exported(trained, tmp_path, form)
    card = path.with_name(f"{path.name}.md").read_text()
    assert str(network.architecture) in card
    for word in ("multiply-adds", "search score", "digits", "seed 0", torch.__version__):
        assert word in card
    assert ("on the test split" in card) == (form not in ("yaml", "json"))
    for fact in ("grey, values 0 to 16", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9", "bilinear"):
        assert (fact in card) == (form not in ("yaml", "json"))


def test_several_modules_have_names_python_can_import(trained, tmp_path) -> None:
    out = tmp_path / "two"
    assert main(["export", str(trained), "--top", "2", "--format", "py", "-o", str(out)]) == 0
    modules = list(out.glob("*.py"))
    assert len(modules) == 2
    for path in modules:
        assert path.stem.isidentifier()
        assert imported(path, path.stem).load() is not None


def test_a_module_cannot_have_any_name(trained, tmp_path, capsys) -> None:
    assert main(["export", str(trained), "--format", "py", "-o", str(tmp_path / "my-best.py")]) == 2
    assert "letters, digits and _" in capsys.readouterr().err


def test_onnx_without_its_packages_says_what_to_install(
    trained, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    argv = ["export", str(trained), "--format", "onnx", "-o", str(tmp_path / "best.onnx")]
    assert main(argv) == 2
    assert "pip install 'convnas[onnx]'" in capsys.readouterr().err


def test_foreign_and_damaged_files_are_refused_with_a_reason(trained, tmp_path) -> None:
    module, _ = exported(trained, tmp_path, "py")
    with pytest.raises(InputError, match="not a file of weights"):
        load_network(module)
    with pytest.raises(InputError, match="not written by convnas"):
        load_network(tmp_path / "best_weights.pt")
    whole = exported(trained, tmp_path, "pt")[0].read_bytes()
    generator = torch.Generator().manual_seed(0)
    damaged = tmp_path / "damaged.pt"
    for share in (0.0, 0.01, 0.5, 0.99):
        damaged.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="damaged"):
            load_network(damaged)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for place in torch.randint(len(whole), (20,), generator=generator).tolist():
            content[place] ^= 0xFF
        damaged.write_bytes(content)
        try:
            load_network(damaged)
        except InputError:
            refused += 1
    # A flipped byte of a weight passes where torch does not look; nothing else is raised.
    assert refused > 0


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (os.environ["CONVNAS_TEST_BOMB"],))


def _pickled(thing: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(thing))


@pytest.mark.parametrize("save", [torch.save, _pickled])
def test_a_pickle_is_never_run(tmp_path, monkeypatch, save) -> None:
    went_off = tmp_path / "went off"
    monkeypatch.setenv("CONVNAS_TEST_BOMB", str(went_off))
    save({"convnas": 1, "state_dict": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match="not a file of weights"):
        load_network(tmp_path / "bomb.pt")
    assert not went_off.exists()
