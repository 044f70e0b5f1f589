"""The quality of a window and its reasons."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.stream.windows.conditioning import condition
from innpar.stream.windows.quality import ACCEPT, DOUBT, Quality, assess, confidence
from support.rhythms import pulse_wave, regular
from support.windows import MATRIX, RATE, SPAN, TIME, pulse


def judged(raw: np.ndarray) -> Quality:
    return assess(raw, condition(raw, MATRIX), RATE)


def test_a_clean_pulse_is_accepted_at_any_heart_rate() -> None:
    for rate in (0.7, 1.0, 1.5, 2.5, 3.0):
        quality = judged(1000 * pulse(rate))
        assert quality.accepted, (rate, quality)
        assert quality.reasons == ()


def test_each_fault_has_its_reason() -> None:
    rng = np.random.default_rng(0)
    good = 1000 * pulse()
    flat = good.copy()
    flat[300:450] = flat[300]
    burst = good.copy()
    burst[200:330] += 40_000 * rng.normal(size=130).cumsum() / 10
    assert "flat" in judged(np.full(SPAN, 3.0)).reasons
    assert "flat" in judged(flat).reasons
    assert "clipped" in judged(np.clip(good, 100, 350)).reasons
    assert "motion" in judged(burst).reasons
    assert judged(rng.normal(size=SPAN)).reasons == ("low_quality",)
    assert judged(-good).reasons == ("low_quality",)


def test_the_network_contradicting_itself_lowers_the_quality_and_never_raises_it() -> None:
    usual = {"consistency": 0.6, "reverse": 2.0}
    assert confidence({}, {"consistency": 9.0, "reverse": 9.0}) == 1.0
    assert confidence(usual, {"consistency": 0.6, "reverse": 1.0}) == 1.0
    assert 0.5 < confidence(usual, {"consistency": 0.9, "reverse": 1.0}) < 1.0
    assert confidence(usual, {"consistency": 0.1, "reverse": DOUBT * 2.0}) == 0.0
    good = Quality(0.8, (), 1.0)
    assert good.at_most(1.0) == good
    doubted = good.at_most(0.3)
    assert (doubted.score, doubted.reasons, doubted.accepted) == (0.3, ("low_quality",), False)
    poor = Quality(0.2, ("motion",), 1.0)
    assert poor.at_most(0.9) == poor
    assert poor.at_most(ACCEPT / 2).reasons == ("motion", "low_quality")


def test_too_few_samples_a_second_withhold_first_the_pressures_and_then_the_heart_rate() -> None:
    good = judged(1000 * pulse())
    assert good.at_rate(25.0) == good
    slow, slower = good.at_rate(20.0), good.at_rate(8.0)
    assert slow.reasons == slower.reasons == ("rate",)
    assert not slow.accepted
    assert slow.light >= ACCEPT > slower.light


def test_a_slow_heart_is_no_motion() -> None:
    for rate in (0.5, 0.55, 0.62):
        assert "motion" not in judged(1000 * pulse(rate, 0.3)).reasons


@pytest.mark.parametrize("counts", [40, 50, 80, 120])
@pytest.mark.parametrize("beats", [50, 64, 90])
def test_a_coarse_pulse_is_clipped_only_at_a_limit(counts: int, beats: float) -> None:
    onsets = regular(beats, 9.0, np.random.default_rng(3)) - 1.0
    wave = pulse_wave(onsets, np.ones(len(onsets)), 8.0, rate=RATE)[:SPAN]
    wave += 0.05 * np.sin(2 * np.pi * 0.25 * TIME)
    coarse = np.round(counts * wave)
    assert "clipped" not in judged(coarse).reasons
    for limited in (np.minimum(coarse, 0.6 * counts // 1), np.maximum(coarse, 0.4 * counts // 1)):
        assert "clipped" in judged(limited).reasons
