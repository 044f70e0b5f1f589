"""Ten seconds of a device in one message."""

from __future__ import annotations

import json

from innpar.devices import NS, Event
from innpar.stream.beats.summary import Summaries
from innpar.stream.messages.payload import parcel
from support.items import START, beat, birth, rejected
from support.schemas import schema


def test_a_summary_is_the_median_of_ten_seconds() -> None:
    summaries, first = Summaries(), START // (10 * NS) * 10 * NS
    assert summaries.event(Event("demo", "battery", first, first, {"percent": 81}), birth()) == []
    values = [110.0, 140.0, 120.0]
    for index, sbp in enumerate(values):
        assert summaries.beat(beat(index, peak=first + index * NS, sbp=sbp), birth()) == []
    summaries.beat(rejected(3, peak=first + 9 * NS), birth())
    (summary,) = summaries.beat(beat(4, peak=first + 10 * NS), birth())
    payload = json.loads(parcel(summary).payload)
    schema("summary").validate(payload)
    assert (payload["sbp"], payload["beats"], payload["valid"]) == (120.0, 4, 3)
    assert (payload["reasons"], payload["battery"]) == ({"motion": 1}, 81)
    assert payload["t"] - payload["start"] == 10
    assert [one.beats for one in summaries.flush(birth())] == [1]
    assert summaries.flush(birth()) == []


def test_a_summary_of_rejected_beats_has_no_pressures() -> None:
    summaries = Summaries()
    summaries.beat(rejected(), birth())
    (summary,) = summaries.flush(birth())
    payload = json.loads(parcel(summary).payload)
    schema("summary").validate(payload)
    assert payload["sbp"] is None


def test_summaries_come_without_beats_and_say_what_the_device_told() -> None:
    summaries, t = Summaries(), START // (10 * NS) * 10 * NS
    told = {"model": "Polar Sense", "battery": 87}
    summaries.event(Event("demo", "connected", t, t, told), birth())
    summaries.begin(t)
    summaries.beat(beat(peak=t + NS), birth())
    ahead = Event("demo", "disconnected", t + 12 * NS, t + 12 * NS, {"why": "out of reach"})
    summaries.event(ahead, birth())
    assert summaries.reached(t + 10 * NS, birth()) == []  # a beat may still come
    found = summaries.reached(t + 36 * NS, birth())
    back = Event("demo", "connected", t + 33 * NS, t + 33 * NS, told | {"battery": 86})
    assert summaries.event(back, birth()) == []
    gap = Event("demo", "gap", t + 12 * NS, t + 41 * NS, {"why": "out of reach", "lost": None})
    found += summaries.event(gap, birth())
    late = beat(peak=t + 5 * NS)
    assert summaries.beat(late, birth()) == []
    found += summaries.flush(birth())
    payloads = [json.loads(parcel(one).payload) for one in found]
    for payload in payloads:
        schema("summary").validate(payload)
    assert [(p["start"] * NS - t) / NS for p in payloads] == [0, 10, 20, 30, 40]
    assert [p["beats"] for p in payloads] == [1, 0, 0, 0, 1]
    assert [p["battery"] for p in payloads] == [87, 87, 87, 86, 86]
    assert [p["link"] for p in payloads] == ["online", "offline", "offline", "online", "online"]
    ages = [p["calibration"]["age_s"] for p in payloads[:3]]
    assert (ages[1] - ages[0], ages[2] - ages[1]) == (19, 10)


def test_a_long_hole_is_not_told_ten_seconds_at_a_time() -> None:
    summaries, t = Summaries(), START // (10 * NS) * 10 * NS
    summaries.begin(t)
    hour = Event("demo", "gap", t + NS, t + 3601 * NS, {"why": "samples missing", "lost": None})
    (before,) = summaries.event(hour, birth())
    assert before.start == t
    (after,) = summaries.flush(birth())
    assert after.start == t + 3600 * NS
    back = Event("demo", "gap", t, t - 3600 * NS, {"why": "clock set back", "lost": None})
    summaries.begin(t)
    summaries.event(back, birth())
    (earlier,) = summaries.reached(t - 3584 * NS, birth())
    assert earlier.start == t - 3600 * NS


def test_a_window_left_out_takes_no_beat_from_its_ten_seconds() -> None:
    """The next window covers it, so that its beats come after its gap."""
    summaries, t = Summaries(), START // (10 * NS) * 10 * NS
    summaries.begin(t)
    left_out = Event("demo", "gap", t + 9 * NS, t + 10 * NS, {"why": "overload", "lost": 0})
    done = summaries.event(left_out, birth())
    done += summaries.beat(beat(0, peak=t + 9 * NS + NS // 2), birth())
    done += summaries.beat(beat(1, peak=t + 10 * NS + NS // 2), birth())
    done += summaries.flush(birth())
    assert [(one.start - t, one.beats) for one in done] == [(0, 1), (10 * NS, 1)]
