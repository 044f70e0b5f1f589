"""Messages about a device."""

from __future__ import annotations

import json

import pytest

from innpar.devices import NS, Event
from innpar.stream.messages.payload import parcel
from innpar.stream.results import State
from support.items import START, birth
from support.schemas import schema


def test_meta_and_state_are_retained() -> None:
    sent = parcel(birth())
    schema("meta").validate(json.loads(sent.payload))
    assert (sent.topics, sent.retain) == (("bp/devices/demo/meta",), True)
    for word in ("online", "offline", "stale"):
        state = parcel(State("demo", word))
        assert (state.topics, state.retain, state.qos) == (("bp/devices/demo/state",), True, 1)
        assert state.payload.decode() == word
        assert state.content_type == "text/plain"
        schema("state").validate(word)


def test_an_event_tells_when_and_why() -> None:
    event = Event("demo", "gap", START, START + 2 * NS, {"why": "silence", "lost": 110})
    payload = json.loads(parcel(event).payload)
    schema("event").validate(payload)
    assert payload["end"] - payload["t"] == pytest.approx(2.0)
    assert not schema("event").is_valid({**payload, "detail": {}})


def test_the_event_of_a_reading_has_no_earlier_readings() -> None:
    """64 of them fill 35 kB, and are for the session alone."""
    remembered = {"age_s": 5.0, "level": 95.0, "history": [{"s": 0.0}] * 64}
    event = Event("demo", "cuff", START, START, {"sbp": 128, "dbp": 79, "remembered": remembered})
    payload = json.loads(parcel(event).payload)
    schema("event").validate(payload)
    assert payload["detail"]["remembered"] == {"age_s": 5.0, "level": 95.0}
    assert "history" in remembered
