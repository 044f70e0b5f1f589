"""Beats, on any light and pressure and however the waveform is cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.stream.beats.combine import JoinedWave
from innpar.stream.beats.detector import BeatFinder, DetectedBeat, OpenBeat
from support.training_data import pulses

RATE = 125.0


def beats_cut_at(abp: np.ndarray, ppg: np.ndarray, cuts: Iterable[int]) -> list[DetectedBeat]:
    finder, beats = BeatFinder(RATE), list[DetectedBeat]()
    for a, b in itertools.pairwise([0, *cuts, len(abp)]):
        piece = JoinedWave(0, 7 + a, abp[a:b], ppg[a:b].astype(np.float32), 1.0, (), 0, 0.0)
        beats += finder.push(piece)
    return beats


def found_beats(abp: np.ndarray, ppg: np.ndarray, step: int = 128) -> list[DetectedBeat]:
    return beats_cut_at(abp, ppg, range(step, len(abp), step))


def train(at: Iterable[float], height: Iterable[float], seconds: float) -> np.ndarray:
    """Return pulses at those times (s), of those heights."""
    time = np.arange(round(seconds * RATE)) / RATE
    each = [h * np.exp(-(((time - t) / 0.06) ** 2)) for t, h in zip(at, height, strict=True)]
    return np.sum(each, axis=0) if each else np.zeros(len(time))


# The first pulse is too small to be a beat, the next comes where two seconds without one are over.
@pytest.mark.parametrize("gap", np.arange(1.4, 1.64, 0.02))
@pytest.mark.parametrize("step", [1, 128])
def test_a_segment_may_begin_with_two_seconds_without_a_beat(gap: float, step: int) -> None:
    at = [0.6, *np.arange(0.6 + gap, 9.5, 0.8)]
    light = train(at, [0.2] + [1.0] * (len(at) - 1), 10.0)
    beats = found_beats(80 + 40 * light, light, step)
    assert [b.rr for b in beats] == pytest.approx([0.8] * (len(at) - 2), abs=0.01)


def test_what_is_no_beat_at_the_start_does_not_hide_what_comes_later() -> None:
    # Nothing at all for so long that learning is over, then a weak pulse.
    at = np.arange(4.0, 14.0, 0.8)
    light = train([0.1, *at], [1.0] + [0.2] * len(at), 15.0)
    assert len(found_beats(80 + 40 * light, light)) == len(at) - 1


@st.composite
def trains(draw: st.DrawFn) -> np.ndarray:
    """Pulses of any spacing and height, with noise or without, or nothing but that."""
    gaps = st.sampled_from([0.1, 0.3, 0.6, 0.8, 1.0]) | st.floats(1.3, 1.7) | st.floats(1.9, 4.0)
    times = np.cumsum(draw(st.lists(gaps | st.floats(18.0, 22.0), max_size=12)))
    heights = [draw(st.sampled_from([0.02, 0.2, 1.0, 5.0])) for _ in times]
    wave = train(times, heights, draw(st.floats(0.0, 3.0)) + max(times, default=0.0))
    noise = draw(st.sampled_from([0.0, 0.0, 0.01, 1.0]))
    return wave + noise * np.random.default_rng(draw(st.integers(0, 99))).normal(size=len(wave))


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(light=trains(), data=st.data())
def test_any_waveform_has_the_same_beats_however_it_is_cut(
    light: np.ndarray, data: st.DataObject
) -> None:
    own = data.draw(st.sampled_from(["light", "pressure", "noise"]))
    abp = 80 + 40 * light
    if own == "noise":
        abp = np.random.default_rng(0).normal(90.0, 20.0, len(light))
    shown = np.empty(0) if own == "pressure" else light
    cuts = data.draw(st.lists(st.integers(0, len(light)), max_size=8).map(sorted))
    whole = beats_cut_at(abp, shown, [])
    for beats in (beats_cut_at(abp, shown, cuts), found_beats(abp, shown)):
        assert [key(beat) for beat in beats] == [key(beat) for beat in whole]
    for beat in whole:
        assert 7 <= beat.foot < beat.peak <= beat.end < beat.confirmed < 7 + len(abp)
        np.testing.assert_array_equal(beat.abp, abp[beat.foot - 7 : beat.end - 7])
        assert (beat.dbp, beat.sbp) == (beat.abp[0], abp[beat.peak - 7])
        assert beat.rr > 0
    for one, other in itertools.pairwise(whole):
        assert one.end <= other.foot


def key(beat: DetectedBeat) -> tuple[float, ...]:
    pressures = beat.sbp, beat.dbp, beat.map_
    return beat.foot, beat.peak, beat.end, beat.confirmed, *pressures, beat.rr


def test_beats_are_those_of_the_light_whatever_the_pressure_looks_like() -> None:
    time = np.arange(30 * int(RATE)) / RATE
    light = pulses(time, 0.8)
    rng = np.random.default_rng(0)
    # Every third beat of the pressure is missing, and what is there comes 50 ms late.
    missing = np.floor((time - 0.05) / 0.8) % 3 == 0
    abp = 80 + 40 * pulses(time - 0.05, 0.8) * ~missing + rng.normal(0, 0.5, len(time))
    beats = found_beats(abp, light)
    assert len(beats) == pytest.approx(30 / 0.8, abs=4)
    assert [beat.rr for beat in beats] == pytest.approx([0.8] * len(beats), abs=0.02)
    whole = found_beats(80 + 40 * pulses(time, 0.8), light)
    alone = found_beats(80 + 40 * pulses(time, 0.8), np.empty(0))
    assert [beat.peak for beat in whole] == [beat.peak for beat in alone]
    assert max(beat.sbp for beat in whole) == pytest.approx(120, abs=1)
    for step in (1, 50, 1000):
        again = found_beats(abp, light, step)
        assert [(b.foot, b.peak, b.end, b.rr) for b in again] == [
            (b.foot, b.peak, b.end, b.rr) for b in beats
        ]


@settings(deadline=None, max_examples=60)
@given(light=trains(), step=st.sampled_from([5, 32, 128]))
def test_an_open_beat_has_the_values_of_the_ended_one(light: np.ndarray, step: int) -> None:
    abp, finder = 80 + 40 * light, BeatFinder(RATE)
    opened: dict[int, OpenBeat] = {}
    for a in range(0, len(light), step):
        part = slice(a, a + step)
        piece = JoinedWave(0, a, abp[part], light[part].astype(np.float32), 1.0, (), 0, 0.0)
        for beat in finder.push(piece):
            early = opened.get(beat.peak)
            if early is not None:  # else it began and ended in one piece
                assert (early.foot, early.sbp, early.dbp) == (beat.foot, beat.sbp, beat.dbp)
                assert early.oldest is beat.oldest
                assert early.score >= beat.score
                assert early.is_same(beat)
        if (newest := finder.open) is not None:
            opened.setdefault(newest.peak, newest)
            assert newest.confirmed < a + len(piece.abp)
