"""The predictor: a loaded model as a function of arrays; no torch."""

from __future__ import annotations

import doctest
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.models import ModelError, Predictor
from innpar.models import predictor as predictor_module
from support.pulses import windows

PPG = windows(32)
Floats = npt.NDArray[np.float32]


def contexts(predictor: Predictor) -> Floats:
    shape = (32, predictor.manifest.context_entries)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_the_example_of_the_docstring() -> None:
    results = doctest.testmod(predictor_module)
    assert results.attempted == 6
    assert results.failed == 0


@pytest.fixture(scope="module", params=["native", "numpy"])
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor.load(backend=request.param)


class Scaled:
    """A network that multiplies each channel."""

    def __init__(self, forward: tuple[float, float], inverse: tuple[float, float]) -> None:
        self.gains = [np.array(gains, np.float32)[:, None] for gains in (forward, inverse)]

    def forward(self, x: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return np.asarray(x, np.float32) * self.gains[0]

    def inverse(self, y: npt.ArrayLike, context: npt.ArrayLike | None = None) -> Floats:
        return np.asarray(y, np.float32) * self.gains[1]


@pytest.mark.parametrize("gain", [1e-6, 1.0, 1e6])
def test_the_unit_of_the_input_does_not_matter(predictor: Predictor, gain: float) -> None:
    found, expected = predictor(gain * PPG[:2]).abp, predictor(PPG[:2]).abp
    assert np.abs(found - expected).max() < 0.01


def test_no_context_is_a_context_of_zeros(predictor: Predictor) -> None:
    given_ = contexts(predictor)[:2]
    plain = predictor(PPG[:2]).abp
    np.testing.assert_array_equal(plain, predictor(PPG[:2], 0 * given_).abp)
    assert not np.array_equal(plain, predictor(PPG[:2], given_).abp)


@given(st.integers(0, 31), st.integers(1, 32), st.integers(0, 31))
@settings(max_examples=30)
def test_a_window_gives_the_same_bits_in_any_batch(
    shared: tuple[Predictor, Any], window: int, batch: int, place: int
) -> None:
    predictor, alone = shared
    order = np.arange(window - place % batch, window - place % batch + batch) % 32
    found = predictor(PPG[order], contexts(predictor)[order], reverse=True)
    for name, value in alone(window).items():
        np.testing.assert_array_equal(getattr(found, name)[place % batch], value)


@pytest.fixture(scope="module")
def shared(predictor: Predictor) -> tuple[Predictor, Any]:
    """The predictor, and its prediction of a single window."""

    def alone(window: int) -> dict[str, Any]:
        rows = slice(window, window + 1)
        found = predictor(PPG[rows], contexts(predictor)[rows], reverse=True)
        return {
            name: getattr(found, name)[0] for name in ("abp", "gradient", "consistency", "reverse")
        }

    return predictor, alone


def test_the_kernel_agrees_with_numpy() -> None:
    kernel, plain = Predictor.load(backend="native"), Predictor.load(backend="numpy")
    one, other = (p(PPG, contexts(p), reverse=True) for p in (kernel, plain))
    assert np.abs(one.abp - other.abp).max() <= 0.01
    np.testing.assert_allclose(one.consistency, other.consistency, atol=1e-4)
    np.testing.assert_allclose(one.reverse, other.reverse, atol=1e-4)


def test_the_choice_is_named() -> None:
    assert Predictor.load().runs_on.split()[0] == "native"
    assert Predictor.load(backend="numpy").runs_on.startswith("numpy ")
    with pytest.raises(ModelError, match=r"unknown backend 'fast'; choose one of native, "):
        Predictor.load(backend="fast")
    with pytest.raises(ModelError, match="has no onnx file; export the model for onnx"):
        Predictor.load(backend="onnx")


def test_loading_and_running_needs_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, numpy as np; from innpar.models import Predictor; p = Predictor.load(); "
        "p(np.sin(np.arange(640.0))[None] ** 3, reverse=True); "
        "print({'torch', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_residuals_are_zero_for_a_consistent_network_and_grow_otherwise(
    predictor: Predictor,
) -> None:
    same, bent = Scaled((1, 1), (1, 1)), Scaled((1, 1.5), (1, 1))
    clean = Predictor(predictor.manifest, same, "eager")(PPG[:3], reverse=True)
    assert np.abs(clean.consistency).max() < 1e-6
    assert np.abs(clean.reverse).max() < 1e-6
    odd = Predictor(predictor.manifest, bent, "eager")(PPG[:3])
    assert not odd.reverse.any()
    np.testing.assert_allclose(odd.consistency, 0.5, atol=1e-6)


def test_the_inverse_runs_only_for_the_selected_windows(predictor: Predictor) -> None:
    wanted = np.arange(5) % 2 == 1
    some = predictor(PPG[:5], contexts(predictor)[:5], reverse=wanted)
    every = predictor(PPG[:5], contexts(predictor)[:5], reverse=True)
    np.testing.assert_array_equal(some.reverse, np.where(wanted, every.reverse, 0))
    np.testing.assert_array_equal(some.abp, every.abp)


def test_an_empty_batch_gives_an_empty_prediction(predictor: Predictor) -> None:
    found = predictor(np.empty((0, 640)), contexts(predictor)[:0], reverse=True)
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
    with pytest.raises(ValueError, match=r"expected a context of \(3, \d+\)"):
        predictor(PPG[:3], contexts(predictor)[:2])
    with pytest.raises(ValueError, match="the context holds NaN"):
        predictor(PPG[:1], np.full_like(contexts(predictor)[:1], np.inf))
