"""The predictor: a loaded model as a function of arrays."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.models import ModelError, Predictor
from innpar.models import predictor as predictor_module
from innpar.models.calibration.context import CONTEXT
from innpar.models.formats import torchscript as script
from innpar.models.formats.export import export
from innpar.models.network.innpar import joint
from support.networks import network, windows

FIELDS = {"name": "test", "version": "1", "abp_offset": 90.0, "abp_scale": 25.0}
PPG = windows(32)
CONTEXTS = np.random.default_rng(1).standard_normal((32, 3)).astype(np.float32)


def test_the_example_of_the_docstring() -> None:
    results = doctest.testmod(predictor_module)
    assert results.attempted == 6
    assert results.failed == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export(network(4, context=3), folder, FIELDS, context=CONTEXT[:3], windows=PPG[:4])
    return folder


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.load(folder)


def test_the_output_is_the_networks_in_mmhg(predictor: Predictor) -> None:
    x = joint(torch.from_numpy(PPG[:4] / PPG[:4].std(axis=1, keepdims=True)))
    with torch.inference_mode():
        y = network(4, context=3)(x, torch.from_numpy(CONTEXTS[:4])).numpy()
    found = predictor(PPG[:4], CONTEXTS[:4])
    assert found.abp.dtype == found.gradient.dtype == np.float32
    assert np.abs(found.abp - (25 * y[:, 0] + 90)).max() <= 1e-4 * np.abs(25 * y).max()
    assert np.abs(found.gradient - 25 * y[:, 1]).max() <= 1e-4 * np.abs(25 * y).max()
    assert predictor.backend == "torchscript"
    assert predictor.manifest.context_entries == 3


@pytest.mark.parametrize("gain", [1e-6, 1.0, 1e6])
def test_the_unit_of_the_input_does_not_matter(predictor: Predictor, gain: float) -> None:
    found, expected = predictor(gain * PPG[:2]).abp, predictor(PPG[:2]).abp
    assert np.abs(found - expected).max() < 0.01


def test_no_context_is_a_context_of_zeros(predictor: Predictor) -> None:
    zeros = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(predictor(PPG[:2]).abp, predictor(PPG[:2], zeros).abp)
    assert not np.array_equal(predictor(PPG[:2]).abp, predictor(PPG[:2], CONTEXTS[:2]).abp)


@given(st.integers(0, 31), st.integers(1, 32), st.integers(0, 31))
@settings(deadline=None, max_examples=40)
def test_a_window_gives_the_same_bits_in_any_batch(
    shared: tuple[Predictor, Any], window: int, batch: int, place: int
) -> None:
    predictor, alone = shared
    order = np.arange(window - place % batch, window - place % batch + batch) % 32
    found = predictor(PPG[order], CONTEXTS[order], reverse=True)
    for name, value in alone(window).items():
        np.testing.assert_array_equal(getattr(found, name)[place % batch], value)


@pytest.fixture(scope="module")
def shared(predictor: Predictor) -> tuple[Predictor, Any]:
    """The predictor, and its prediction of a single window."""

    def alone(window: int) -> dict[str, Any]:
        rows = slice(window, window + 1)
        found = predictor(PPG[rows], CONTEXTS[rows], reverse=True)
        return {
            "abp": found.abp[0],
            "gradient": found.gradient[0],
            "consistency": found.consistency[0],
            "reverse": found.reverse[0],
        }

    return predictor, alone


def test_batches_that_round_differently_run_one_window_at_a_time(predictor: Predictor) -> None:
    def careless(x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        return x * (1.0 + 1e-7 * x.shape[0])

    single = Predictor(predictor.manifest, careless, careless, "eager")
    together = single(PPG[:4], CONTEXTS[:4]).abp
    each = [single(PPG[i : i + 1], CONTEXTS[i : i + 1]).abp[0] for i in range(4)]
    np.testing.assert_array_equal(together, np.stack(each))

    def careful(x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        return x * 1.0

    back = Predictor(predictor.manifest, careful, careless, "eager")
    found = back(PPG[:4], CONTEXTS[:4], reverse=True).reverse
    for i in range(4):
        assert found[i] == back(PPG[i : i + 1], CONTEXTS[i : i + 1], reverse=True).reverse[0]


def test_the_residuals_are_zero_for_a_consistent_network_and_grow_otherwise(
    predictor: Predictor,
) -> None:
    def identity(x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        return x.clone()

    def bent(x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        return x * torch.tensor([[1.0], [1.5]])

    clean = Predictor(predictor.manifest, identity, identity, "eager")(PPG[:3], reverse=True)
    assert np.abs(clean.consistency).max() < 1e-6
    assert np.abs(clean.reverse).max() < 1e-6
    odd = Predictor(predictor.manifest, bent, identity, "eager")(PPG[:3])
    assert not odd.reverse.any()
    np.testing.assert_allclose(odd.consistency, 0.5, atol=1e-6)


def test_the_inverse_runs_only_for_the_selected_windows(predictor: Predictor) -> None:
    wanted = np.arange(5) % 2 == 1
    some = predictor(PPG[:5], CONTEXTS[:5], reverse=wanted)
    every = predictor(PPG[:5], CONTEXTS[:5], reverse=True)
    np.testing.assert_array_equal(some.reverse, np.where(wanted, every.reverse, 0))
    np.testing.assert_array_equal(some.abp, every.abp)


def test_an_empty_batch_gives_an_empty_prediction(predictor: Predictor) -> None:
    found = predictor(np.empty((0, 640)), np.empty((0, 3)), reverse=True)
    assert found.abp.shape == (0, 640)
    assert found.consistency.shape == found.reverse.shape == (0,)


def test_a_flat_window_gives_finite_results(predictor: Predictor) -> None:
    found = predictor(np.full((1, 640), 3.0), reverse=True)
    assert np.isfinite(found.abp).all()
    assert np.isfinite(found.consistency).all()


def test_wrong_input_is_refused(predictor: Predictor) -> None:
    gap = PPG[:3].copy()
    gap[1, 100] = np.nan
    with pytest.raises(ValueError, match="window 1 holds NaN"):
        predictor(gap)
    for shape in ((640,), (2, 628), (2, 640, 1)):
        with pytest.raises(ValueError, match=r"expected windows of \(batch, 640\)"):
            predictor(np.zeros(shape))
    with pytest.raises(ValueError, match=r"expected a context of \(3, 3\)"):
        predictor(PPG[:3], CONTEXTS[:2])
    with pytest.raises(ValueError, match="the context holds NaN"):
        predictor(PPG[:1], np.full((1, 3), np.inf))


def test_backends_agree(folder: Path, predictor: Predictor) -> None:
    eager = Predictor.load(folder, backend="eager")
    found = eager(PPG, CONTEXTS, reverse=True)
    expected = predictor(PPG, CONTEXTS, reverse=True)
    assert np.abs(found.abp - expected.abp).max() <= 1e-5 * np.abs(expected.abp).max()
    np.testing.assert_allclose(found.reverse, expected.reverse, rtol=1e-4)


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


def test_where_python_has_no_torchscript_the_weights_are_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "SUPPORTED", False)
    assert Predictor.load(folder).backend == "eager"
    with pytest.raises(ModelError, match="this Python has no TorchScript; use the eager backend"):
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
    manifest = export(
        network(1, 8, context=3), folder, FIELDS, context=CONTEXT[:3], targets=[target]
    )
    assert manifest.verified[target] <= 1e-5
    other, eager = (Predictor.load(folder, backend=b) for b in (target, "eager"))
    for batch in (1, 3, 16):
        found = other(PPG[:batch], CONTEXTS[:batch], reverse=True)
        expected = eager(PPG[:batch], CONTEXTS[:batch], reverse=True)
        assert np.abs(found.abp - expected.abp).max() <= 1e-5 * np.abs(expected.abp).max()
