"""Upstrokes of known rhythms, whatever the cut."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.stream.beats.upstrokes import UpstrokeFinder
from support.conditioned import conditioned, found_upstrokes, matched
from support.rhythms import RATE, Rhythm, rhythms

SECONDS = 40.0
LEAST = {"noise": (0.97, 0.8), "AF": (0.93, 0.97)}
"""Sensitivity and predictivity that a kind of rhythm needs; 0.98 where not listed."""


@pytest.mark.parametrize(
    "rhythm", rhythms(SECONDS, seed=1), ids=lambda one: f"{one.kind} {one.name}"
)
def test_each_beat_of_a_rhythm_is_found_once(rhythm: Rhythm) -> None:
    found = found_upstrokes(rhythm.light, RATE)
    hits, true, count, errors = matched(found, rhythm.beats, 4.5, SECONDS - 3)
    sensitivity, predictivity = LEAST.get(rhythm.kind, (0.98, 0.98))
    assert hits >= sensitivity * true
    assert hits >= predictivity * count
    if rhythm.kind not in ("noise", "dicrotic+noise"):
        assert np.median(np.abs(errors)) < 3


@pytest.mark.parametrize("step", [1, 37, 128])
def test_the_cut_of_the_signal_does_not_matter(step: int) -> None:
    for rhythm in rhythms(12.0)[::6]:
        _, wave = conditioned(rhythm.light, RATE)
        whole, cut = UpstrokeFinder(125.0), UpstrokeFinder(125.0)
        whole.begin(5)
        cut.begin(5)
        pieces = [wave[k : k + step] for k in range(0, len(wave), step)]
        assert [u for piece in pieces for u in cut.push(piece)] == whole.push(wave)


def test_a_segment_knows_nothing_of_the_one_before() -> None:
    wave = conditioned(rhythms(20.0)[4].light, RATE)[1]
    fresh, used = UpstrokeFinder(125.0), UpstrokeFinder(125.0)
    used.begin(0)
    used.push(50 * wave)
    for finder in (fresh, used):
        finder.begin(9)
    assert used.push(wave) == fresh.push(wave)
