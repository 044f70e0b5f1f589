"""Alarm events: when they begin and end, and their evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import Event
from innpar.stream.app.alarms import AlarmSink
from innpar.stream.beats.alarm import Alarm, AlarmRule
from innpar.stream.messages.payload import parcel
from innpar.stream.results import Beat, Interval, State
from support.harness import Keep
from support.items import START, beat, rejected
from support.schemas import schema

LOW = AlarmRule.parse("map<65@30")


def course(values: Iterable[float | None], rule: AlarmRule = LOW) -> list[tuple[int, str]]:
    """Return (beat, state) of each event for beats with these MAPs; None is no valid beat."""
    alarm = Alarm(rule)
    return [
        (seq, event.detail["state"])
        for seq, value in enumerate(values)
        for event in alarm.push(rejected(seq) if value is None else low(seq, value))
    ]


def low(seq: int, value: float, half: float = 4.0) -> Beat:
    around = (value - half, value + half)
    return beat(seq, map_=value, interval=Interval(0.9, (90, 110), (50, 60), around))


def test_an_alarm_has_dwell_and_hysteresis() -> None:
    assert course([60.0] * 34) == []  # 33 intervals of 0.9 s
    assert course([60.0] * 35) == [(34, "on")]
    assert course([*[60.0] * 30, 66.0, *[60.0] * 30]) == []
    between = [*[60.0] * 40, *[66.0] * 100]
    assert course(between) == [(34, "on")]
    assert course([*[60.0] * 40, *[68.5] * 40]) == [(34, "on"), (52, "off")]


def test_beats_that_are_not_valid_neither_raise_nor_clear() -> None:
    assert course([None] * 100) == []
    assert course([60.0 if seq % 3 == 0 else None for seq in range(50)]) == [(36, "on")]
    assert course([*[60.0] * 20, *[None] * 12, *[60.0] * 30]) == []  # a hole of 11 s
    assert course([*[60.0] * 36, *[None] * 40, *[60.0] * 10]) == [(34, "on"), (69, "off")]


@given(st.lists(st.one_of(st.none(), st.floats(40, 90)), max_size=200))
def test_on_and_off_alternate_whatever_comes(values: list[float | None]) -> None:
    states = [state for _, state in course(values, AlarmRule.parse("map<65/70@5"))]
    assert states == ["on" if index % 2 == 0 else "off" for index in range(len(states))]
    if not any(value is not None and value < 65 for value in values):
        assert states == []


@pytest.mark.parametrize(("half", "sure"), [(2.0, 1.0), (20.0, 0.0)])
async def test_an_alarm_says_how_sure_it_is(half: float, sure: float) -> None:
    keep = Keep()
    sink = AlarmSink(keep, [LOW, AlarmRule.parse("sbp>200@5")])
    for seq in range(40):
        await sink.send(low(seq, 60.0, half))
    await sink.send(State("demo", "offline"))
    on, off = [item for item in keep.items if isinstance(item, Event)]
    for event in (on, off):
        schema("event").validate(json.loads(parcel(event).payload))
    assert on.detail["evidence"] == {
        "beats": 35,
        "median": 60.0,
        "extreme": 60.0,
        "interval": [60 - half, 60 + half],
        "sure": sure,
        "calibration": "ok",
    }
    assert on.detail["start"] == off.detail["start"] == START / 1e9
    assert (off.detail["state"], off.detail["why"]) == ("off", "the stream ended")
    assert isinstance(keep.items[-1], State)


@pytest.mark.parametrize(
    "text", ["", "map", "map<65", "map<65@", "map=65@3", "map<65/60@30", "x<1@1"]
)
def test_a_rule_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"map<65@60|wrong side"):
        AlarmRule.parse(text)
