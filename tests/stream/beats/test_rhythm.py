"""Rhythm and trust in a rate, by the intervals of the beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from innpar.stream.beats.combine import JoinedWave
from innpar.stream.beats.detector import DetectedBeat
from innpar.stream.beats.rhythm import RhythmJudge, RhythmVerdict, judged

RATE = 125.0
NONE = np.empty(0)
PIECE = JoinedWave(0, 0, NONE, np.empty(0, np.float32), 1.0, (), 0, 0.0)


def beat(foot: int, rr: float, likeness: float = 1.0, **changes: object) -> DetectedBeat:
    """A beat of `rr` s that begins at a grid index."""
    end = foot + round(rr * RATE)
    known = {"score": 1.0, "light": 1.0, "reasons": ()} | changes
    return DetectedBeat(
        foot, foot + 15, end, end, 120.0, 80.0, 93.0, rr, likeness, NONE, PIECE, PIECE, **known
    )


def verdicts(intervals: Sequence[float], likeness: float = 1.0) -> list[RhythmVerdict]:
    """Judge consecutive beats of these intervals, s."""
    judge, foot, found = RhythmJudge(), 0, []
    for rr in intervals:
        one = beat(foot, rr, likeness)
        found.append(judge.push(one))
        foot = one.end
    return found


@pytest.mark.parametrize("rate", [39, 60, 72, 100, 135])
def test_a_regular_rhythm_has_no_reasons(rate: float) -> None:
    assert set(verdicts([60 / rate] * 12)) == {RhythmVerdict(True, (), ())}


@pytest.mark.parametrize(
    ("rate", "outside"), [(30, "slow"), (36, "slow"), (140, "fast"), (200, "fast")]
)
def test_a_rate_beyond_the_networks_range_is_plausible(rate: float, outside: str) -> None:
    assert all(one.plausible and one.outside == (outside,) for one in verdicts([60 / rate] * 9))


@pytest.mark.parametrize("rate", [10, 20, 240, 400])
def test_no_heart_beats_so(rate: float) -> None:
    assert not any(one.plausible for one in verdicts([60 / rate] * 9))


@pytest.mark.parametrize("every", [2, 3, 4])
def test_early_beats_with_a_pause_are_ectopic(every: int) -> None:
    intervals = ([0.8] * (every - 2) + [0.54, 1.06]) * 8
    found = verdicts(intervals)[7:]
    assert all(one.plausible for one in found)
    named = [one.unusual for one in found]
    assert named.count(("ectopic",)) >= 0.9 * len(named)


def test_intervals_without_order_are_irregular() -> None:
    rng = np.random.default_rng(4)
    found = verdicts((0.75 * np.exp(0.24 * rng.normal(size=60))).tolist())
    names = [one.unusual for one in found[8:]]
    assert names.count(("irregular",)) > 0.75 * len(names)
    assert np.mean([one.plausible for one in found]) > 0.9


def test_breathing_is_no_arrhythmia() -> None:
    at, intervals = 0.0, list[float]()
    while at < 60:
        intervals.append(60 / (66 * (1 + 0.15 * np.sin(2 * np.pi * 0.22 * at))))
        at += intervals[-1]
    assert not any("irregular" in one.unusual for one in verdicts(intervals))
    assert all(one.plausible for one in verdicts(intervals))


def test_a_missed_beat_gives_no_rate_and_the_next_does() -> None:
    found = verdicts([0.8, 0.8, 0.8, 0.8, 1.6, 0.8, 0.8])
    assert [one.plausible for one in found] == [True] * 4 + [False] + [True] * 2


def test_an_early_rise_unlike_the_others_gives_no_rate() -> None:
    intervals = [0.8] * 6 + [0.4]
    assert verdicts(intervals, likeness=0.95)[-1].plausible
    assert not verdicts(intervals, likeness=0.7)[-1].plausible


def test_a_gap_starts_anew() -> None:
    judge, foot = RhythmJudge(), 0
    for rr in [0.8] * 6:
        one = beat(foot, rr)
        judge.push(one)
        foot = one.end
    assert judge.push(beat(foot + 500, 1.6)) == RhythmVerdict(True, ("slow",), ())


GOOD, FAST = RhythmVerdict(True, (), ()), RhythmVerdict(True, ("fast",), ())
IRREGULAR, MISSED = RhythmVerdict(True, (), ("irregular",)), RhythmVerdict(False, (), ())
POOR = {"score": 0.2, "reasons": ("low_quality",)}


@pytest.mark.parametrize(
    ("changes", "likeness", "rhythm", "right", "reasons"),
    [
        ({}, 1.0, GOOD, True, ()),
        ({}, 1.0, FAST, True, ("fast",)),
        ({}, 1.0, MISSED, False, ()),
        ({}, 0.4, GOOD, False, ("low_quality",)),
        (POOR, 1.0, GOOD, True, ("low_quality",)),
        (POOR, 0.7, GOOD, False, ("low_quality",)),
        (POOR, 1.0, IRREGULAR, True, ("irregular",)),
        (POOR, 1.0, FAST, True, ("fast",)),
        (POOR | {"light": 0.2}, 1.0, IRREGULAR, False, ("low_quality",)),
        ({"score": 0.0, "light": 0.0, "reasons": ("rate",)}, 1.0, GOOD, False, ("rate",)),
        ({"score": 0.0, "reasons": ("rate",)}, 1.0, GOOD, True, ("rate",)),
    ],
)
def test_the_rate_and_the_pressures_are_judged_apart(
    changes: dict[str, object],
    likeness: float,
    rhythm: RhythmVerdict,
    right: bool,
    reasons: tuple[str, ...],
) -> None:
    assert judged(beat(0, 0.8, likeness, **changes), rhythm) == (right, reasons)
