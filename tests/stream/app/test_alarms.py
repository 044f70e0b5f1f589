"""Alarm rules that are replaced while a run goes on."""

from __future__ import annotations

from innpar.devices import Event
from innpar.stream.app.alarms import AlarmSink
from innpar.stream.beats.alarm import AlarmRule
from support.harness import Keep
from support.items import beat


def rules(*texts: str) -> list[AlarmRule]:
    return [AlarmRule.parse(text) for text in texts]


async def alarms_after(*texts: str) -> list[tuple[str, str]]:
    """Return state and rule of the alarm events of 60 low beats, and other rules half-way."""
    keep = Keep()
    sink = AlarmSink(keep, rules("map<95@5"))
    for seq in range(60):
        if seq == 30:
            await sink.replace(rules(*texts))
        await sink.send(beat(seq))
    events = [item for item in keep.items if isinstance(item, Event)]
    return [(str(event.detail["state"]), str(event.detail["rule"])) for event in events]


async def test_an_alarm_ends_with_its_rule() -> None:
    assert await alarms_after() == [("on", "map<95@5"), ("off", "map<95@5")]


async def test_an_alarm_whose_rule_stays_goes_on() -> None:
    assert await alarms_after("map<95@5") == [("on", "map<95@5")]


async def test_a_new_rule_begins_with_the_next_beat() -> None:
    expected = [("on", "map<95@5"), ("off", "map<95@5"), ("on", "map<92@5")]
    assert await alarms_after("map<92@5") == expected
