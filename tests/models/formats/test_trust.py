"""Foreign models: weights run, compiled files only where they are trusted, by their SHA-256."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from innpar.models import ModelError, Predictor
from innpar.models.formats import trust as trust_file
from innpar.models.formats.export import export
from innpar.models.formats.trust import code_files, is_trusted, trust
from innpar.models.formats.weights_file import open_model
from innpar.models.manifest import SHIPPED
from innpar.state import state_folder
from innpar.stream.cli.main import main
from support.networks import network

FIELDS = {"name": "test", "version": "1", "abp_offset": 90.0, "abp_scale": 25.0}
RECORD = "trusted-models.json"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A model folder as another computer wrote it: nothing is recorded here."""
    export(network(1, 4), tmp_path / "foreign", FIELDS)
    (state_folder() / RECORD).unlink()
    return tmp_path / "foreign"


def script(folder: Path) -> Path:
    return folder / (open_model(folder)[1].file("torchscript") or "")


def change(folder: Path) -> None:
    """Replace the script, and its hash in the manifest with it, as an attacker would."""
    path = script(folder)
    path.write_bytes(path.read_bytes() + b"\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("backend", [None, "native", "numpy", "eager"])
def test_the_weights_of_a_foreign_model_run(foreign: Path, backend: str | None) -> None:
    assert Predictor.load(foreign, backend=backend).backend == (backend or "native")


def test_a_foreign_script_is_refused_with_the_remedy(foreign: Path) -> None:
    with pytest.raises(ModelError, match=r"\.pt runs code and is not trusted: .*--trust-model"):
        Predictor.load(foreign, backend="torchscript")


@pytest.mark.parametrize("kind", [".pt2", ".inverse.pt2"])
def test_a_foreign_compiled_file_is_refused_before_it_is_opened(foreign: Path, kind: str) -> None:
    """Its content is no package at all: opening it would be another error."""
    manifest = json.loads((foreign / "manifest.json").read_text())
    names = {".pt2", kind}
    for suffix in names:
        (foreign / f"test{suffix}").write_bytes(b"code")
        manifest["files"][f"test{suffix}"] = hashlib.sha256(b"code").hexdigest()
    (foreign / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"test\.pt2 runs code and is not trusted"):
        Predictor.load(foreign, backend="aot")


def test_a_foreign_model_of_torch_alone_runs_eagerly(tmp_path: Path) -> None:
    export(network(1, 4, kernel=7), tmp_path, FIELDS)
    assert Predictor.load(tmp_path).backend == "torchscript"
    (state_folder() / RECORD).unlink()
    assert Predictor.load(tmp_path).backend == "eager"


def test_a_model_is_added_with_trust_and_a_later_change_is_refused(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "add", str(foreign)]) == 0
    assert f"not trusted to run code, hence not used: {script(foreign).name}" in (
        capsys.readouterr().out
    )
    assert not (state_folder() / RECORD).exists()
    assert main(["model", "add", str(foreign), "--trust-model"]) == 0
    assert script(foreign).name in capsys.readouterr().out
    assert Predictor.load(foreign, backend="torchscript").backend == "torchscript"
    change(foreign)
    with pytest.raises(ModelError, match="runs code and has changed since it was trusted") as it:
        Predictor.load(foreign, backend="torchscript")
    assert len(str(it.value).splitlines()) == 1
    assert Predictor.load(foreign).backend == "native"


def test_trust_is_of_the_content_not_of_the_place(foreign: Path, tmp_path: Path) -> None:
    trust(*open_model(foreign))
    shutil.copytree(foreign, tmp_path / "copy")
    assert Predictor.load(tmp_path / "copy", backend="torchscript").backend == "torchscript"


def test_what_came_with_the_package_or_was_exported_here_runs(tmp_path: Path) -> None:
    _, shipped = open_model(SHIPPED)
    assert code_files(shipped)
    assert all(is_trusted(shipped, name) for name in code_files(shipped))
    export(network(1, 4), tmp_path, FIELDS)
    assert Predictor.load(tmp_path, backend="torchscript").backend == "torchscript"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema":"innpar-trust/1"}', '{"schema":"innpar-trust/1","files":[1]}'],
)
def test_a_damaged_record_trusts_nothing(foreign: Path, content: str) -> None:
    (state_folder() / RECORD).write_text(content)
    with pytest.raises(ModelError, match="is not trusted"):
        Predictor.load(foreign, backend="torchscript")


def test_a_record_that_cannot_be_written_is_an_error_with_its_remedy(foreign: Path) -> None:
    shutil.rmtree(state_folder())
    state_folder().parent.mkdir(parents=True, exist_ok=True)
    state_folder().write_text("")
    with pytest.raises(ModelError, match="set XDG_STATE_HOME to a writable folder"):
        trust(*open_model(foreign))
    trust_file.trust_own_export(*open_model(foreign))


def test_options_of_the_other_actions_are_refused(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "add", str(foreign), "--target", "onnx"]) == 2
    assert main(["model", "export", str(foreign)]) == 2
    assert main(["model", "export", str(foreign), "out", "--trust-model"]) == 2
    assert all("model" in line for line in capsys.readouterr().err.splitlines())
