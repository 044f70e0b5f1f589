"""The queue ahead of a wearer's stream."""

from __future__ import annotations

import pytest

from innpar.devices import NS, Event
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.errors import SessionError
from innpar.stream.pipeline.injection import FULL, ROOM, InjectionQueue


def marker(number: int) -> Event:
    return Event("w", "marker", number, number, {"text": str(number)})


def test_planned_readings_follow_the_events_once_the_signal_reaches_them() -> None:
    queue = InjectionQueue([PlannedCuff(140, 90, None, 2.0), PlannedCuff(128, 79, None, 1.0)])
    first = 1_700_000_000 * NS
    queue.put(marker(1))
    assert queue.take("w", first, first) == [marker(1)]
    queue.put(marker(2))
    taken = queue.take("w", first, first + NS)
    assert taken == [marker(2), Event("w", "cuff", first + NS, first + NS, {"sbp": 128, "dbp": 79})]
    assert [cuff.seconds for cuff in queue.planned] == [2.0]
    (late,) = queue.take("w", first, first + 10 * NS)
    assert late.start == first + 2 * NS
    assert queue.take("w", first, first + 10 * NS) == []


def test_it_is_bounded_and_refuses_the_event_beyond() -> None:
    queue = InjectionQueue([PlannedCuff(128, 79)])
    for number in range(ROOM):
        assert queue.room == ROOM - number
        queue.put(marker(number))
    with pytest.raises(SessionError, match=FULL):
        queue.put(marker(ROOM))
    assert [event.start for event in queue.take("w", 0, -1)] == list(range(ROOM))
    assert not len(queue)
