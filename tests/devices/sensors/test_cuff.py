"""A blood-pressure cuff: its bytes, which readings count, and over the air."""

from __future__ import annotations

import math
import re
import struct
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket, Event, Refused
from innpar.devices.decode import decode
from innpar.devices.link.ble import sig
from innpar.devices.notices import NoticeCode
from innpar.devices.registry import create
from innpar.devices.sensors.cuff import (
    CHANNEL,
    CURRENT_TIME,
    MEASUREMENT,
    SERVICE,
    CuffDecoder,
    CuffDevice,
    Measurement,
    build,
    build_sfloat,
    parse,
    parse_sfloat,
)
from innpar.devices.timing.pace import SystemClock
from support.sensing import FUZZ, Heard, listen, survives

TAKEN = datetime(2026, 9, 21, 14, 13, 20)
NOW = int(TAKEN.timestamp()) * NS

# flags 1E: time, pulse, user, status | 128 79 95 | 2026-09-21 14:13:20 | 72 | user 1 | status 0
FULL = bytes.fromhex("1e 8000 4f00 5f00 ea07 09 15 0e 0d 14 4800 01 0000")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (0x0000, 0.0),
        (0x0080, 128.0),
        (0xF4FE, 127.8),
        (0xE064, 1.0),
        (0x1001, 10.0),
        (0x7001, 1e7),
        (0x8001, 1e-8),
        (0x0FFF, -1.0),
        (0xFFF6, -1.0),
        (0x07FD, 2045.0),
        (0x0803, -2045.0),
        (0x07FE, math.inf),
        (0x0802, -math.inf),
    ],
)
def test_sfloat(raw: int, value: float) -> None:
    assert parse_sfloat(raw) == value


@pytest.mark.parametrize("raw", [0x07FF, 0x0800, 0x0801])
def test_sfloats_that_are_no_number(raw: int) -> None:
    assert math.isnan(parse_sfloat(raw))


def test_every_sfloat_of_a_whole_number_comes_back() -> None:
    for value in range(-2045, 2046):
        for exponent in (-2, -1, 0, 1):
            raw = build_sfloat(value * 10.0**exponent, exponent)
            assert parse_sfloat(raw) == pytest.approx(value * 10.0**exponent, abs=1e-9)
    with pytest.raises(ValueError, match="does not fit"):
        build_sfloat(2046)


def test_a_full_reading() -> None:
    assert parse(FULL) == Measurement(128, 79, 95, TAKEN, 72, 1, 0)
    assert build(parse(FULL)) == FULL


def test_kilopascals() -> None:
    found = parse(bytes.fromhex("01 abf0 69f0 7ff0"))
    assert (found.sbp, found.dbp, found.map_) == pytest.approx((128.26, 78.76, 95.26), abs=0.01)
    assert parse(build(found, kpa=True)).sbp == found.sbp


readings = st.builds(
    Measurement,
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 300),
    st.none() | st.datetimes(datetime(1583, 1, 1), datetime(9999, 1, 1)),
    st.none() | st.integers(20, 250),
    st.none() | st.integers(0, 254),
    st.none() | st.integers(0, 63),
)


@given(readings)
def test_what_is_built_is_read_and_no_part_of_it_is(reading: Measurement) -> None:
    raw = build(reading)
    taken = reading.taken.replace(microsecond=0) if reading.taken else None
    assert parse(raw) == Measurement(
        reading.sbp,
        reading.dbp,
        reading.map_,
        taken,
        reading.pulse,
        reading.user,
        reading.status,
    )
    for n in range(len(raw)):
        with pytest.raises(BadPacket, match="bytes, not"):
            parse(raw[:n])
    with pytest.raises(BadPacket):
        parse(raw + b"\0")


def test_random_bytes() -> None:
    assert 0 < survives(CuffDecoder("cuff"), (CHANNEL,), 24) < FUZZ


def one(raw: bytes, arrival: int = NOW, user: int | None = None) -> Event:
    (event,) = CuffDecoder("cuff", user).push(CHANNEL, arrival, raw)
    assert isinstance(event, Event)
    return event


def test_a_reading_to_calibrate_with() -> None:
    event = one(FULL, NOW + 40 * NS)
    assert (event.kind, event.start, event.end) == ("cuff", NOW, NOW)
    assert event.detail == {
        "sbp": 128,
        "dbp": 79,
        "map": 95,
        "pulse": 72,
        "user": 1,
        "taken": "2026-09-21T14:13:20",
        "status": 0,
        "pulse_range": "within",
    }


@pytest.mark.parametrize(
    "raw",
    [
        build(Measurement(162, 97, math.nan)),  # no time at all
        # The clock was never set: year, month or day 0.
        bytes.fromhex("06 a200 6100 7600 0000 01 01 00 00 00 4000"),
        bytes.fromhex("06 a200 6100 7600 ea07 00 15 0e 0d 14 4000"),
        bytes.fromhex("06 a200 6100 7600 ea07 09 00 0e 0d 14 4000"),
    ],
)
def test_a_reading_without_a_time_is_never_of_now(raw: bytes) -> None:
    event = one(raw)
    assert event.kind == "notice"
    assert (event.detail["code"], event.detail["sbp"]) == (NoticeCode.READING_NOT_USED, 162)
    assert "its time is unknown" in event.detail["text"]
    assert event.detail["text"].endswith("innpar-stream calibrate 162/97")


@given(st.integers(-100_000, 100_000))
def test_a_reading_counts_at_its_own_time_or_not_at_all(ago: int) -> None:
    event = one(build(Measurement(128, 79, 95, TAKEN - timedelta(seconds=ago))))
    if -90 <= ago <= 600:
        assert (event.kind, event.start) == ("cuff", NOW - max(ago, 0) * NS)
    else:
        assert event.kind == "notice"


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (Measurement(128, 79, 95, status=1), "the body moved"),
        (Measurement(128, 79, 95, status=2), "the cuff was too loose"),
        (Measurement(128, 79, 95, status=4), "the pulse was irregular"),
        (Measurement(128, 79, 95, status=0x20), "wrong position"),
        (Measurement(math.nan, 79, 95), r"\?/79 not used: its pressures are not plausible"),
        (Measurement(79, 128, 95), "not plausible"),
        (Measurement(128, 79, 95, TAKEN - timedelta(hours=3)), "from the cuff.s memory"),
        (
            Measurement(128, 79, 95, TAKEN + timedelta(days=1)),
            "still to come: set the",
        ),
        (Measurement(128, 79, 95, user=2), "user 2, not to user 1"),
    ],
)
def test_readings_that_are_not_used_say_why(reading: Measurement, why: str) -> None:
    event = one(build(reading), user=1 if reading.user else None)
    assert event.kind == "notice"
    assert event.start == NOW
    assert re.search(why, event.detail["text"])


def test_a_fast_pulse_is_no_flaw() -> None:
    reading = Measurement(128, 79, 95, TAKEN, status=8)
    assert one(build(reading)).detail["pulse_range"] == "above"


def test_a_reading_sent_again_is_told_once() -> None:
    stream = CuffDecoder("cuff")
    assert len(stream.push(CHANNEL, NOW, FULL)) == 1
    stream.interrupted("link lost", relinked=True)
    assert stream.push(CHANNEL, NOW + 60 * NS, FULL) == []


def test_decode() -> None:
    found = list(decode("cuff", [FULL.hex(), "1790000000.0 00 8000 4f00 5f00", "1e 80"]))
    assert [r.get("event") for r in found] == ["cuff", "notice", None]
    assert (found[0]["sbp"], found[0]["start"]) == (128, NOW)
    assert found[2]["hex"] == "1e80"


def test_by_name() -> None:
    device = create("cuff:A0B1C2D3E4F5?for=polar-verity&user=2")
    assert isinstance(device, CuffDevice)
    assert (device.id, device.wearer, device.source) == (
        "cuff-11b336",
        "polar-verity",
        "live",
    )
    assert create("cuff").id == "cuff"
    with pytest.raises(Refused, match="user must be a number from 0 to 254"):
        create("cuff?user=999")


async def test_over_the_air_it_comes_and_goes() -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from innpar.devices.virtual.sensors.cuff import VirtualCuff
    from support.scaled import ScaledClock

    clock = ScaledClock(20)
    cuff = VirtualCuff()
    device = CuffDevice()

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now() // NS)

    stages = [(128, 79), (118, 69)]

    def live(heard: Heard) -> bool:
        if len(heard.told("connected")) == 3 - len(stages):
            cuff.indicate(Measurement(150, 79, 95, now(), status=1))
            cuff.indicate(Measurement(*stages.pop(0), 95, now()))
        elif len(heard.told("cuff")) == 1 and not heard.told("disconnected"):
            cuff.sleep()
        return len(heard.told("cuff")) == 2

    async with bumble([cuff]) as radio:
        device.radio = radio
        heard = await listen(device, clock, live)
    assert device.id == "cuff"
    assert [e.detail["sbp"] for e in heard.told("cuff")] == [128, 118]
    assert len(heard.told("connected")) == 2
    assert [e.detail["why"] for e in heard.told("disconnected")] == ["it went back to sleep"]
    notice = heard.told("notice")[0]
    assert "150/79 not used: the body moved" in notice.detail["text"]


async def test_its_clock_is_set_where_it_can_be_and_every_bad_reading_is_reported() -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from innpar.devices.virtual.radio.peripheral import Characteristic
    from innpar.devices.virtual.sensors.simple import Simple

    clock = SystemClock()
    services = {
        SERVICE: [Characteristic(MEASUREMENT, ("indicate",))],
        sig("1805"): [Characteristic(CURRENT_TIME, ("read", "write"))],
    }
    cuff, device = Simple("BP-2", services, advertised=("1810",)), CuffDevice()
    slow = timedelta(minutes=70)

    def live(heard: Heard) -> bool:
        if heard.told("connected") and not sent:
            sent.append(True)
            behind = timedelta() if cuff.written else slow
            for raw in (b"\x1e\x80", b"\x00", b"", build(Measurement(128, 81, 97))):
                cuff.post(MEASUREMENT, raw)
            taken = datetime.now() - behind
            cuff.post(MEASUREMENT, build(Measurement(128, 81, 97, taken)))
        return bool(heard.told("cuff"))

    sent: list[bool] = []
    async with bumble([cuff]) as radio:
        device.radio = radio
        heard = await listen(device, clock, live)
    ((uuid, data),) = cuff.written
    assert uuid == CURRENT_TIME
    year, *rest = struct.unpack("<H8B", data)
    written = datetime(year, *rest[:5])
    assert abs(datetime.now() - written) < timedelta(seconds=30)
    assert rest[5] == written.isoweekday()
    codes = [event.detail["code"] for event in heard.told("notice")]
    assert codes == [NoticeCode.UNDECODABLE] * 3 + [NoticeCode.READING_NOT_USED]
    assert [event.detail["sbp"] for event in heard.told("cuff")] == [128]
