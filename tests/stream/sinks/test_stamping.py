"""The measured delay of a beat."""

from __future__ import annotations

import json

import pytest

from innpar.devices.timing.pace import VirtualClock
from innpar.stream.messages.payload import parcel
from innpar.stream.results import Beat
from innpar.stream.sinks.stamping import StampingSink
from support.harness import Keep
from support.items import START, beat, summary
from support.schemas import schema


@pytest.mark.parametrize(("delay", "late"), [(3350, False), (10_000, False), (20_000, True)])
async def test_delay_is_measured_and_late_changes_no_pressure(delay: int, late: bool) -> None:
    keep, clock = Keep(), VirtualClock(START + delay * 1_000_000)
    sink = StampingSink(keep, clock, late=10)
    await sink.send(beat(0))
    await sink.send(summary())
    stamped, other = keep.items
    assert isinstance(stamped, Beat)
    assert (stamped.delay_ms, stamped.late) == (delay, late)
    assert (stamped.valid, stamped.sbp) == (True, 121.41)
    assert other == summary()
    message = json.loads(parcel(stamped).payload)
    schema("beat").validate(message)
    assert (message.pop("delay_ms"), message.pop("late")) == (delay, late)
    assert message == json.loads(parcel(beat(0)).payload)
