"""Backends: the same pressures from each, the same bits in any batch, refusals with a remedy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from innpar.models import ModelError, Predictor
from innpar.models.calibration.context import CONTEXT
from innpar.models.formats import torchscript as script
from innpar.models.formats.backends import load_backend
from innpar.models.formats.batches import ExactBatches
from innpar.models.formats.export import export
from innpar.models.formats.golden import check_golden
from innpar.models.formats.trust import trust
from innpar.models.formats.weights_file import open_model, read_weights
from innpar.models.network import kernel
from innpar.models.network.folding import fold_weights
from innpar.models.network.innpar import joint
from innpar.models.network.kernel import NumpyNetwork
from support.networks import network, windows

FIELDS = {"name": "test", "version": "1", "abp_offset": 90.0, "abp_scale": 25.0}
PPG = windows(32)
CONTEXTS = np.random.default_rng(1).standard_normal((32, 3)).astype(np.float32)
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export(network(4, context=3), folder, FIELDS, context=CONTEXT[:3], windows=PPG[:4])
    return folder


@pytest.fixture(scope="module")
def predictor(exported: Path) -> Predictor:
    return Predictor.load(exported, backend="torchscript")


@pytest.fixture
def folder(exported: Path) -> Path:
    """The exported model, trusted in the state folder of this test as well."""
    trust(*open_model(exported))
    return exported


@pytest.mark.parametrize("backend", ["native", "numpy", "torchscript", "eager"])
def test_the_output_is_the_networks_in_mmhg(folder: Path, backend: str) -> None:
    x = joint(torch.from_numpy(PPG[:4] / PPG[:4].std(axis=1, keepdims=True)))
    with torch.inference_mode():
        y = network(4, context=3)(x, torch.from_numpy(CONTEXTS[:4])).numpy()
    predictor = Predictor.load(folder, backend=backend)
    found = predictor(PPG[:4], CONTEXTS[:4])
    assert found.abp.dtype == found.gradient.dtype == np.float32
    assert np.abs(found.abp - (25 * y[:, 0] + 90)).max() <= 1e-4 * np.abs(25 * y).max()
    assert np.abs(found.gradient - 25 * y[:, 1]).max() <= 1e-4 * np.abs(25 * y).max()
    assert predictor.backend == backend
    assert predictor.manifest.context_entries == 3


@pytest.mark.parametrize("backend", ["native", "numpy", "eager"])
def test_backends_agree(folder: Path, predictor: Predictor, backend: str) -> None:
    other = Predictor.load(folder, backend=backend)
    found = other(PPG, CONTEXTS, reverse=True)
    expected = predictor(PPG, CONTEXTS, reverse=True)
    assert np.abs(found.abp - expected.abp).max() <= 1e-5 * np.abs(expected.abp).max()
    np.testing.assert_allclose(found.reverse, expected.reverse, rtol=1e-3, atol=1e-6)


class Careless:
    """A network whose rounding depends on the batch."""

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        values = np.asarray(x, np.float32)
        return np.asarray(values * np.float32(1.0 + 1e-7 * len(values)), np.float32)

    inverse = forward


def test_batches_that_round_differently_run_one_window_at_a_time(predictor: Predictor) -> None:
    single = Predictor(predictor.manifest, ExactBatches(Careless(), predictor.manifest), "eager")
    together = single(PPG[:4], CONTEXTS[:4], reverse=True)
    for i in range(4):
        alone = single(PPG[i : i + 1], CONTEXTS[i : i + 1], reverse=True)
        np.testing.assert_array_equal(together.abp[i], alone.abp[0])
        assert together.reverse[i] == alone.reverse[0]


class Off(NumpyNetwork):
    """A network whose forward or inverse is off by a constant."""

    shift: float = 0.0
    back: float = 0.0

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return super().forward(x, context) + np.float32(self.shift)

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return super().inverse(y, context) + np.float32(self.back)


@pytest.mark.parametrize(("shift", "back"), [(0.02 / 25, 0.0), (0.0, 0.02 / 25)])
def test_more_than_a_hundredth_of_a_mmhg_is_refused(
    folder: Path, predictor: Predictor, shift: float, back: float
) -> None:
    manifest = predictor.manifest
    weights = fold_weights(read_weights(folder, manifest), manifest.architecture.clamp)
    off = Off(weights)
    check_golden(off, NumpyNetwork(weights), manifest, "off")
    off.shift, off.back = shift, back
    with pytest.raises(ModelError, match=r"off deviates by 0\.02 mmHg on the golden windows"):
        check_golden(off, NumpyNetwork(weights), manifest, "off")


def test_without_a_kernel_numpy_runs_the_network(
    folder: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "EXTENSION_SUFFIXES", [])
    kernel._library.cache_clear()
    try:
        assert load_backend(folder, predictor.manifest, None).backend == "numpy"
        with pytest.raises(ModelError, match=r"install g\+\+ .* or use --backend numpy"):
            Predictor.load(folder, backend="native")
    finally:
        kernel._library.cache_clear()


def test_without_torch_its_backends_name_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("innpar.models.formats.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("innpar.models.formats.torch_networks")
    monkeypatch.delattr("innpar.models.formats.torchscript")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert Predictor.load(folder).backend == "native"
    with pytest.raises(ModelError, match="torch, which is not installed: scripts/setup torch"):
        Predictor.load(folder, backend="torchscript")


def test_a_long_kernel_runs_in_torch(tmp_path: Path) -> None:
    export(network(1, 4, kernel=7), tmp_path, FIELDS)
    assert Predictor.load(tmp_path).backend == "torchscript"
    with pytest.raises(ModelError, match="native does not run kernels of 7 taps"):
        Predictor.load(tmp_path, backend="native")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("backend", ["torchscript", "eager"])
def test_a_gpu_agrees(folder: Path, predictor: Predictor, backend: Any) -> None:
    there = Predictor.load(folder, backend=backend, compute="cuda")
    found, expected = there(PPG, CONTEXTS, reverse=True), predictor(PPG, CONTEXTS, reverse=True)
    assert np.abs(found.abp - expected.abp).max() <= 1e-4 * np.abs(expected.abp).max()
    np.testing.assert_allclose(found.reverse, expected.reverse, rtol=1e-2)


def test_a_gpu_that_cannot_be_had_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"CUDA is not available.*--compute cpu"):
        Predictor.load(folder, compute="cuda")
    with pytest.raises(ModelError, match="auto, cpu, cuda or cuda:N"):
        Predictor.load(folder, compute="tpu")
    assert Predictor.load(folder, compute="auto").device == "cpu"
    assert not caplog.records


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is here")
def test_a_gpu_that_fails_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # torch itself knows better
    with pytest.raises(ModelError, match=r"cuda cannot be used .*--compute cpu"):
        Predictor.load(folder, compute="cuda")
    assert Predictor.load(folder, compute="auto").device == "cpu"
    assert "the GPU is not used" in caplog.text


def test_where_python_has_no_torchscript_it_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "SUPPORTED", False)
    with pytest.raises(ModelError, match="this Python has no TorchScript; use --backend eager"):
        Predictor.load(folder, backend="torchscript")


@pytest.mark.slow
def test_onnx_agrees(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    check_target(tmp_path, "onnx")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_compiled_agrees_and_is_bound_to_its_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path, "aot")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "ALTIVEC")
    with pytest.raises(
        ModelError, match=r"was compiled for .*, this is .* ALTIVEC; export the model here"
    ):
        Predictor.load(tmp_path, backend="aot")


def check_target(folder: Path, target: Any) -> None:
    """Export a small network for `target` and compare it with the weights' own code."""
    kind: Any = f"{target}_inverse"
    manifest = export(
        network(1, 8, context=3), folder, FIELDS, context=CONTEXT[:3], targets=[target]
    )
    assert manifest.verified[target] <= 1e-5
    assert manifest.file(kind) is not None
    other, eager = (Predictor.load(folder, backend=b) for b in (target, "eager"))
    for batch in (1, 3, 16):
        found = other(PPG[:batch], CONTEXTS[:batch], reverse=True)
        expected = eager(PPG[:batch], CONTEXTS[:batch], reverse=True)
        assert np.abs(found.abp - expected.abp).max() <= 1e-5 * np.abs(expected.abp).max()
        np.testing.assert_allclose(found.reverse, expected.reverse, rtol=1e-3, atol=1e-6)
