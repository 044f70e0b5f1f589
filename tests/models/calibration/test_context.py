"""Features of a window, and the context vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.models.calibration.context import CONTEXT, FEATURES, context, features
from innpar.models.manifest import RATE
from support.training_data import pulses

INDEX = {name: k for k, name in enumerate(FEATURES)}


def window(rate: float, gain: float = 1.0, samples: int = 640) -> np.ndarray:
    return gain * pulses(np.arange(samples) / RATE, 60.0 / rate)[None]


@pytest.mark.parametrize("rate", [45.0, 60.0, 75.0, 100.0, 140.0, 170.0])
def test_heart_rate_is_found_across_the_human_range(rate: float) -> None:
    assert features(window(rate), RATE)[0, INDEX["heart_rate"]] == pytest.approx(rate, rel=0.01)


def test_gain_moves_only_the_amplitude() -> None:
    one, four = features(window(72.0), RATE), features(window(72.0, gain=4.0), RATE)
    change = (four - one)[0]
    assert change[INDEX["log_amplitude"]] == pytest.approx(np.log(4.0))
    change[INDEX["log_amplitude"]] = 0.0
    assert np.abs(change).max() < 1e-9


def test_crest_time_follows_a_slower_rise() -> None:
    times = np.arange(640) / RATE
    phase = (times % 0.8) / 0.8
    slow = np.where(phase < 0.4, phase / 0.4, (1 - phase) / 0.6)[None]
    crest = INDEX["crest_time"]
    assert features(slow, RATE)[0, crest] > features(window(75.0), RATE)[0, crest] + 0.05


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e6))
def test_any_window_gives_finite_features(seed: int, size: float) -> None:
    noise = size * np.random.default_rng(seed).standard_normal((2, 640))
    assert np.isfinite(features(noise, RATE)).all()


@pytest.mark.filterwarnings("error")
def test_a_flat_window_gives_finite_features() -> None:
    assert np.isfinite(features(np.zeros((1, 640)), RATE)).all()


def test_features_do_not_depend_on_the_batch() -> None:
    windows = np.concatenate([window(rate) for rate in (55.0, 72.0, 110.0)])
    together = features(windows, RATE)
    for k, alone in enumerate(windows):
        assert np.allclose(features(alone[None], RATE)[0], together[k], rtol=1e-9, atol=1e-9)


def test_context_holds_the_reading_the_changes_and_the_time() -> None:
    at_cuff = features(window(60.0), RATE)[0]
    now = features(window(75.0, gain=2.0), RATE)
    entries = dict(zip(CONTEXT, context(now, at_cuff, 130.0, 80.0, 3600.0)[0], strict=True))
    assert entries["calibrated"] == 1.0
    assert entries["cuff_sbp"] > 0
    assert entries["change_heart_rate"] > 0
    assert entries["change_log_amplitude"] > 0
    same = dict(zip(CONTEXT, context(at_cuff[None], at_cuff, 130.0, 80.0, 0.0)[0], strict=True))
    assert all(same[name] == 0 for name in CONTEXT if name.startswith("change_"))
    assert same["log_time"] < entries["log_time"]
