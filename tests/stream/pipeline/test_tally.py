"""The counts of a run and its report."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.stream.pipeline.tally import MOST_BEATS, ErrorTally, RunTally, comparison
from innpar.stream.sinks.terminal import event_text


@pytest.mark.parametrize(
    ("signal", "counts"), [({}, 1), ({"signal": "ppg"}, 1), ({"signal": "acc"}, 0)]
)
def test_only_a_gap_in_the_light_is_shown_and_counted(signal: dict[str, str], counts: int) -> None:
    """A lost datagram of an EmotiBit tears a hole into its acceleration, too."""
    gap = Event("d", "gap", NS, 3 * NS, {"why": "samples did not arrive", "lost": 49, **signal})
    outcome = RunTally()
    outcome.add(gap)
    assert outcome.gaps == counts
    assert (event_text(gap) is not None) == bool(counts)


def test_the_columns_of_the_comparison_are_aligned() -> None:
    """With a cuff reading for some of the beats, the longest names of all."""
    rows = np.tile([121.0, 75, 91, 120, 74, 90, 128, 79], (4, 1))
    rows[:2, 6:] = np.nan
    lines = comparison(rows, {"sbp": 121, "dbp": 62, "map": 83})
    assert {len(line) for line in lines} == {80}
    assert [line[:26].strip() for line in lines[1:]] == [
        "this model, MAE (ME±SD)",
        "population mean",
        "since cuff: this model",
        "… cuff reading held",
    ]


def test_a_long_run_keeps_an_even_sample() -> None:
    errors = ErrorTally()
    for beat in range(4 * MOST_BEATS):
        errors.add((float(beat), *[0.0] * 7))
    kept = errors.rows[:, 0]
    assert MOST_BEATS / 2 <= len(kept) <= MOST_BEATS
    assert kept[0] == 0
    assert len(set(np.diff(kept))) == 1
    assert kept[-1] > 3.9 * MOST_BEATS
