"""Filter, windows, quality, channel choice, combining."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.stream.beats.combine import Combiner, Reconstruction
from innpar.stream.windows.channel import ChannelPicker
from innpar.stream.windows.conditioning import condition, conditioning_matrix
from innpar.stream.windows.quality import ACCEPT, DOUBT, Quality, assess, confidence
from innpar.stream.windows.resample import GridSamples
from innpar.stream.windows.window import Windower

RATE, WINDOW, GUARD, BAND = 125.0, 640, 24, (0.5, 8.0)
SPAN = WINDOW + 2 * GUARD
MATRIX = conditioning_matrix(WINDOW, GUARD, RATE, BAND)
TIME = np.arange(SPAN) / RATE


def pulse(rate: float = 1.2, phase: float = 0.0) -> np.ndarray:
    """A pulse train with a steep rise, (SPAN,)."""
    at = (rate * TIME + phase) % 1.0
    return np.exp(-(((at - 0.2) / 0.08) ** 2)) + 0.5 * np.exp(-(((at - 0.45) / 0.16) ** 2))


@pytest.mark.parametrize("frequency", [0.05, 0.25, 0.5, 1.0, 4.0, 8.0, 20.0])
def test_the_filter_is_a_zero_phase_butterworth(frequency: float) -> None:
    wave = np.sin(2 * np.pi * frequency * TIME)
    middle = slice(200, 440)
    out = condition(wave, MATRIX)[middle]
    inner = TIME[GUARD : GUARD + WINDOW][middle]
    basis = np.stack([np.sin(2 * np.pi * frequency * inner), np.cos(2 * np.pi * frequency * inner)])
    sine, cosine = np.linalg.lstsq(basis.T, out, rcond=None)[0]

    def low(f: float, cutoff: float) -> float:
        ratio = np.sin(np.pi * f / RATE) / np.sin(np.pi * cutoff / RATE)
        return float(1 / (1 + ratio**4))

    gain = low(frequency, 8.0) * (1 - low(frequency, 0.5))
    assert sine == pytest.approx(gain, abs=0.03)
    assert abs(cosine) < 0.03


def test_lines_of_any_size_vanish() -> None:
    assert np.abs(condition(5e5 + 1e5 * TIME, MATRIX)).max() < 1e-2


def test_an_impossible_band_is_refused() -> None:
    with pytest.raises(ValueError, match="half of 125"):
        conditioning_matrix(WINDOW, GUARD, RATE, (0.5, 70.0))


@given(cuts=st.lists(st.integers(0, 3000), max_size=20), hop=st.sampled_from([64, 128, 124]))
def test_windows_do_not_depend_on_the_cut(cuts: list[int], hop: int) -> None:
    data = np.arange(3000.0)[:, None]
    bounds = [0, *sorted(cuts), 3000]
    windower = Windower(WINDOW, GUARD, hop)
    windows = [
        window
        for a, b in itertools.pairwise(bounds)
        for window in windower.push(GridSamples(0, 7 + a, data[a:b], 0))
    ]
    assert len(windows) == (3000 - SPAN) // hop + 1
    for k, window in enumerate(windows):
        assert window.index == 7 + k * hop + GUARD
        np.testing.assert_array_equal(window.raw, data[k * hop : k * hop + SPAN])


def test_no_window_spans_two_segments() -> None:
    windower = Windower(WINDOW, GUARD, 128)
    assert not windower.push(GridSamples(0, 0, np.zeros((SPAN - 1, 1)), 0))
    assert not windower.push(GridSamples(1, 9000, np.ones((SPAN - 1, 1)), 0))
    (window,) = windower.push(GridSamples(1, 9000 + SPAN - 1, np.ones((1, 1)), 0))
    assert window.index == 9000 + GUARD
    assert (window.raw == 1).all()


@pytest.mark.parametrize("hop", [0, 2, 125, 644])
def test_an_impossible_hop_is_refused(hop: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Windower(WINDOW, GUARD, hop)


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


def test_the_best_channel_is_taken_and_kept_until_the_next_gap() -> None:
    rng = np.random.default_rng(0)
    clean, noise = -1000 * pulse(), 3000 * rng.normal(size=SPAN)
    raw = np.stack([clean + 0.5 * noise, clean, noise], axis=1)
    channels = ("ppg0", "ppg1", "ambient")
    picker = ChannelPicker(-1, RATE, MATRIX)
    signal, _, quality = picker.push(0, channels, raw)
    assert picker.choice is not None
    assert picker.choice.label == "ppg1"
    assert quality.accepted
    np.testing.assert_array_equal(signal, -clean)
    swapped = raw[:, [1, 0, 2]]
    assert not picker.push(0, channels, swapped)[2].accepted
    assert picker.choice.label == "ppg1"
    picker.push(1, channels, swapped)
    assert picker.choice.label == "ppg0"


def test_ambient_light_is_subtracted_where_that_helps() -> None:
    rng = np.random.default_rng(0)
    ambient = 3000 * rng.normal(size=SPAN).cumsum() / 5
    raw = np.stack([ambient + 1000 * pulse(), ambient], axis=1)
    picker = ChannelPicker(1, RATE, MATRIX)
    picker.push(0, ("ppg0", "ambient"), raw)
    assert picker.choice is not None
    assert picker.choice.label == "ppg0-ambient"


@pytest.mark.parametrize("sign", [1, -1])
def test_an_undeclared_polarity_is_found_out(sign: int) -> None:
    picker = ChannelPicker(0, RATE, MATRIX)
    signal, _, quality = picker.push(0, ("ppg",), sign * 1000 * pulse()[:, None])
    assert quality.accepted
    np.testing.assert_array_equal(signal, 1000 * pulse())


def rebuilt(index: int, wave: np.ndarray, segment: int = 0) -> Reconstruction:
    part = wave[index : index + WINDOW].astype(np.float32)
    return Reconstruction(segment, index, part, part, Quality(1.0, (), 1.0), 0, 0.0)


def test_windows_that_agree_are_joined_without_a_seam() -> None:
    wave = np.random.default_rng(0).normal(90, 10, 4000)
    combiner = Combiner(60)
    pieces = [combiner.push(rebuilt(k * 128, wave)) for k in range(20)]
    joined = np.concatenate([piece.abp for piece in pieces])
    assert pieces[0].index == 60
    np.testing.assert_allclose(joined, wave[60 : 60 + len(joined)], rtol=1e-6)
    assert {piece.segment for piece in pieces} == {0}


def test_windows_that_disagree_fade_into_each_other() -> None:
    low, high = np.full(4000, 80.0), np.full(4000, 100.0)
    combiner = Combiner(60)
    combiner.push(rebuilt(0, low))
    piece = combiner.push(rebuilt(128, high))
    assert np.diff(piece.abp).max() < 20 / 30
    assert piece.abp[0] < 81
    assert piece.abp[-1] == 100


def test_a_skipped_window_interrupts_the_waveform() -> None:
    wave = np.full(4000, 90.0)
    combiner = Combiner(60)
    first = combiner.push(rebuilt(0, wave))
    after = combiner.push(rebuilt(5 * 128, wave))
    assert after.segment == first.segment + 1
    assert after.index >= first.index + len(first.abp)
    other = combiner.push(rebuilt(0, wave, segment=1))
    assert (other.segment, other.index) == (first.segment + 2, 60)


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
