"""The counts of a run and its report."""

from __future__ import annotations

import pytest

from innpar.devices import NS, Event
from innpar.stream.pipeline.tally import RunTally
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
