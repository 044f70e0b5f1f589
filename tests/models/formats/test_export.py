"""Model folders: what is written is checked, what is read is checked, nothing is half there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from innpar.models import ModelError, Predictor, from_published
from innpar.models.formats import export as export_module
from innpar.models.formats.checkpoint_import import import_checkpoint
from innpar.models.formats.export import export, export_again
from innpar.models.formats.network_file import load_network
from innpar.models.manifest import read_manifest
from innpar.models.network.collapse import coupling_blocks
from innpar.stream.cli.main import main
from support.checkpoints import renamed
from support.networks import golden, golden_state, network, windows

FIELDS = {"name": "test", "version": "1", "abp_offset": 90.0, "abp_scale": 25.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    export(network(1, 4), folder, FIELDS, windows=windows(2))
    return folder


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(made, tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_comes_back_as_the_network_it_was(model: Path) -> None:
    found, manifest = load_network(model)
    expected = network(1, 4).state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert manifest.id.startswith("test-1@sha256:")
    assert set(manifest.verified) == {"inverse", "folded", "torchscript"}
    assert {p.name for p in model.iterdir()} == {"manifest.json", *manifest.files}


@pytest.mark.slow
def test_a_model_is_exported_again_for_another_runtime(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    again = export_again(made, tmp_path / "again", ["onnx"])
    before = read_manifest(made / "manifest.json")
    assert again.id == before.id
    assert again.file("onnx") is not None
    assert (tmp_path / "again" / (before.file("torchscript") or "")).is_file()
    assert again.architecture == before.architecture


def test_an_inverse_that_rounds_too_much_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loud = network(1, 4)
    with torch.no_grad():
        coupling_blocks(loud)[0].mixing.log_s += torch.tensor([12.0, -12.0])
    manifest = export(loud, tmp_path, FIELDS)
    assert manifest.verified["inverse"] > 1e-4
    assert "the inverse reproduces random windows only to" in caplog.text


def test_a_manifest_survives_its_own_text(model: Path) -> None:
    _, manifest = load_network(model / "manifest.json")
    edit(model, lambda raw: raw.update(json.loads(manifest.to_json())))
    assert load_network(model)[1] == manifest


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
@pytest.mark.parametrize("kind", ["weights", "torchscript"])
def test_a_changed_file_is_refused_by_its_hash(model: Path, kind: Any, backend: Any) -> None:
    name = load_network(model)[1].file(kind)
    assert name is not None
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} does not match its manifest: SHA-256"):
        Predictor.load(model, backend=backend)
    (model / name).unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        Predictor.load(model, backend=backend)


def test_a_script_that_the_manifest_does_not_name_is_never_opened(model: Path) -> None:
    def forget(raw: dict[str, Any]) -> None:
        raw["files"] = {k: v for k, v in raw["files"].items() if not k.endswith(".pt")}

    edit(model, forget)
    with pytest.raises(ModelError, match="has no torchscript file"):
        Predictor.load(model, backend="torchscript")
    assert Predictor.load(model).backend == "native"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw.update(schema="innpar-model/9"), "schema 'innpar-model/9'"),
        (lambda raw: raw.pop("schema"), "schema None"),
        (lambda raw: raw.update(files={}), "no weights with their SHA-256"),
        (lambda raw: raw.pop("files"), "no weights with their SHA-256"),
        (lambda raw: raw.update(files={"a.safetensors": ""}), "a file has no valid SHA-256"),
        (lambda raw: raw.update(files={"../a.safetensors": "0" * 64}), "other characters"),
        (lambda raw: raw.update(colour="red"), "unknown colour"),
        (lambda raw: raw.pop("architecture"), "architecture is missing"),
        (lambda raw: raw["architecture"].update(depth=3), "unknown depth"),
        (lambda raw: raw.pop("abp_scale"), "abp_scale"),
        (lambda raw: raw.update(abp_scale="wide"), "abp_scale is 'wide'"),
        (lambda raw: raw.update(abp_scale=0), "the pressure scale"),
        (lambda raw: raw.update(window=626), "window 626 is not a positive multiple of 4"),
        (lambda raw: raw.update(drop=320), "drop 320 leaves no sample"),
        (lambda raw: raw.update(band=[8.0, 0.5]), "band 8.0 to 0.5"),
        (lambda raw: raw.update(filter="butterworth"), "filter 'butterworth' is unknown"),
        (lambda raw: raw.update(normalisation="minmax"), "normalisation 'minmax' is unknown"),
        (lambda raw: raw.update(confidence={"gradient": 1.0}), "a confidence limit"),
        (lambda raw: raw.update(confidence={"reverse": 0.0}), "a confidence limit"),
        (lambda raw: raw["architecture"].update(context=["x"]), "unknown context entry x"),
        (
            lambda raw: raw["architecture"].update(context=["now_area"] * 2),
            "a context entry occurs twice",
        ),
        (lambda raw: raw["architecture"].update(blocks=0), "at least one block"),
        (lambda raw: raw["architecture"].update(blocks=2), "lack blocks.1"),
        (lambda raw: raw["architecture"].update(features=8), "has shape"),
    ],
)
def test_a_wrong_manifest_is_refused(
    model: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(model, change)
    with pytest.raises(ModelError) as caught:
        Predictor.load(model, backend="eager")
    assert says in str(caught.value)


def test_no_model_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        Predictor.load(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read as a manifest"):
        Predictor.load(tmp_path)


def test_an_unknown_backend_is_refused(model: Path) -> None:
    with pytest.raises(ModelError, match="unknown backend 'gpu'"):
        Predictor.load(model, backend="gpu")  # type: ignore[arg-type]


def test_a_new_export_replaces_the_old_one_and_nothing_else(model: Path) -> None:
    (model / "README.md").write_text("kept")
    before = set(load_network(model)[1].files)
    manifest = export(network(2, 4), model, FIELDS)
    assert {p.name for p in model.iterdir()} == {"README.md", "manifest.json", *manifest.files}
    assert not before & manifest.files.keys()
    assert len(load_network(model)[0].blocks) == 2


@pytest.mark.parametrize("renames", range(3))
def test_a_full_disk_leaves_the_old_model_intact(
    model: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, left = contents(model), iter(range(renames))

    def fsync(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ModelError, match=r"No space left on device.* intact"):
        export(network(2, 4), model, FIELDS)
    assert contents(model) == before


def test_a_network_whose_fold_is_off_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "FOLD_TOLERANCE", 1e-9)
    with pytest.raises(ModelError, match=r"folded network is off by .* nothing was written"):
        export(network(1, 4), tmp_path / "model", FIELDS)
    assert not (tmp_path / "model").exists()


def test_a_network_that_diverged_or_does_not_fit_its_context_is_not_exported(
    tmp_path: Path,
) -> None:
    broken = network(1, 4)
    with torch.no_grad():
        broken.blocks[0].f.entry.weight[0, 0, 0] = torch.nan  # type: ignore[union-attr,index,operator]
    with pytest.raises(ModelError, match="NaN or infinity; the training diverged"):
        export(broken, tmp_path, FIELDS)
    with pytest.raises(ModelError, match="takes 2 context entries, but 1 names are given"):
        export(network(1, 4, context=2), tmp_path, FIELDS, context=["age"])
    with pytest.raises(ModelError, match=r"expected windows of \(n, 640\)"):
        export(network(1, 4), tmp_path, FIELDS, windows=windows(1, 628))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_published_checkpoint_becomes_a_model(tmp_path: Path, wrapped: bool) -> None:
    vectors, state = golden(), golden_state()
    whole = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}
    torch.save(whole if wrapped else state, tmp_path / "net.pth")
    import_checkpoint(tmp_path / "net.pth", tmp_path / "out", pressures=(40.0, 200.0))
    predictor = Predictor.load(tmp_path / "out")
    ppg = np.pad(vectors["ppg"], [(0, 0), (0, 3)])
    x = (ppg - ppg.mean(axis=1, keepdims=True)) / ppg.std(axis=1, keepdims=True)
    with torch.inference_mode():
        y = from_published(state)(torch.from_numpy(joined(x)))[:, 0].numpy()
    found = predictor(ppg).abp
    assert np.abs(found - (160 * y + 40)).max() <= 1e-4 * np.abs(160 * y).max()


@pytest.mark.slow
def test_a_checkpoint_is_imported_for_another_runtime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    torch.save(renamed(network(1, 4)), tmp_path / "net.pth")
    arguments = ["model", "import", str(tmp_path / "net.pth"), str(tmp_path / "out")]
    assert main([*arguments, "--target", "onnx"]) == 0
    assert read_manifest(tmp_path / "out" / "manifest.json").file("onnx") is not None
    again = ["model", "export", str(tmp_path / "out"), str(tmp_path / "again")]
    assert main([*again, "--abp-range", "40", "200"]) == 2
    assert "--abp-range: only for imports" in capsys.readouterr().err


def joined(x: np.ndarray) -> np.ndarray:
    slope = np.pad(x[:, 2:] - x[:, :-2], [(0, 0), (1, 1)])
    slope[:, 0], slope[:, -1] = x[:, 1], -x[:, -2]
    return np.stack([x, slope], axis=1).astype(np.float32)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "net.pth"
    with pytest.raises(ModelError, match="no checkpoint at"):
        import_checkpoint(path, out)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="cannot be read as a PyTorch checkpoint"):
        import_checkpoint(path, out)
    torch.save({"weights": "none"}, path)
    with pytest.raises(ModelError, match="contains no state dict"):
        import_checkpoint(path, out)
    torch.save({"layer.weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=r"unknown layer\.weight"):
        import_checkpoint(path, out)
    for whole in (Unsafe(), torch.nn.Linear(2, 2)):
        torch.save(whole, path)
        with pytest.raises(ModelError, match=r"cannot be read as .* state_dict") as caught:
            import_checkpoint(path, out)
        assert str(caught.value).isprintable()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="it is damaged or another kind of file"):
        import_checkpoint(path, out)
    assert not out.exists()


class Unsafe:
    """Would run code when unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("exit 1",))
