"""BerryMed: packets of both protocols out of any cut of the bytes; over the air."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.registry import create
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.sensors.oximeters.bci import BciParser, BciReading, parse_long, parse_short
from innpar.devices.sensors.oximeters.berrymed import (
    CHANNEL,
    FAMILY,
    NOTIFY,
    SERVICE,
    BerryMedDecoder,
)
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.simple import Simple
from support.sensing import FUZZ, Heard, listen, survives

START = 1_790_000_000 * NS


def short(pleth: int, pulse: int = 72, spo2: int = 98, state: int = 4, bar: int = 5) -> bytes:
    return bytes([0x80 | state, pleth, bar | (pulse & 0x80) >> 1, pulse & 0x7F, spo2])


def long(
    pleth: int, adc: int, rate: int = 100, index: int = 0, wrong: int = 0, state: int = 0
) -> bytes:
    body = bytes([0xFF, 0xAA, index % 256, state, 98, 97, 72, 73, 0x52, 0x03, 30, 31, pleth])
    body += adc.to_bytes(4, "little", signed=True) + bytes([0x80 | 87, rate])
    return body + bytes([(sum(body) + wrong) & 0xFF])


def test_short_packets() -> None:
    assert parse_short(short(55)) == BciReading(55, None, None, 98, 72, True)
    assert parse_short(short(55, pulse=180)).pulse == 180
    assert parse_short(short(55, pulse=255, spo2=127)) == BciReading(
        55, None, None, None, None, True
    )
    assert math.isnan(parse_short(short(0)).pleth)
    assert math.isnan(parse_short(short(55, bar=0x10)).pleth)
    assert parse_short(short(55, bar=0x10)).worn is False
    assert parse_short(short(55, state=0x20)).worn is False


def test_long_packets() -> None:
    found = parse_long(long(55, -123_456, 200))
    assert found == BciReading(55, -123_456, 200, 97, 73, True, 87, 0)
    assert parse_long(long(55, 1, state=1)).worn is False  # type: ignore[union-attr]
    assert parse_long(long(55, 1, state=2)).worn is False  # type: ignore[union-attr]
    assert parse_long(long(55, 1, state=0x0C)).worn is True  # type: ignore[union-attr]


@pytest.mark.parametrize("letter", [b"S", b"H"])
def test_an_index_that_is_a_letter_is_no_version(letter: bytes) -> None:
    version = (b"\xff\xaa" + letter + b"V1.5.03").ljust(18, b"\0") + b"\0"
    assert parse_long(version + bytes([sum(version) & 0xFF])) is None
    for state in range(16):
        reading = parse_long(long(55, 1, index=letter[0], state=state))
        assert reading is not None
        assert reading.index == letter[0]


@given(
    st.lists(st.integers(1, 100), min_size=3, max_size=30),
    st.lists(st.integers(1, 9), min_size=1),
    st.integers(0, 4),
    st.booleans(),
)
def test_any_cut_gives_the_same_packets(
    values: list[int], cuts: list[int], missing: int, new: bool
) -> None:
    packets = [long(v, 1000 * v) if new else short(v) for v in values]
    data = b"".join(packets)[missing:]
    parser, found, at, k = BciParser(), [], 0, 0
    while at < len(data):
        step = cuts[k % len(cuts)] + 10 * new
        found += parser.push(data[at : at + step])
        at, k = at + step, k + 1
    told = [int(r.pleth) for r in found]
    assert told == (values[1:] if missing else values)


def test_a_torn_packet_that_sums_rightly_with_the_next_is_none() -> None:
    parser = BciParser()
    found = [
        r for v in (1, 77, 2, 3) for r in parser.push(long(v, 1000 * v)[: 13 if v == 77 else 20])
    ]
    assert [(r.pleth, r.adc) for r in found] == [(1, 1000), (2, 2000), (3, 3000)]


@given(st.lists(st.integers(1, 100), min_size=4, max_size=8, unique=True), st.booleans(), st.data())
def test_a_truncated_notification_gives_no_wrong_sample(
    values: list[int], new: bool, data: st.DataObject
) -> None:
    packets = [long(v, 1000 * v) if new else short(v) for v in values]
    size = len(packets[0])
    cut = data.draw(st.integers(0, size))
    parser = BciParser()
    found = parser.push(packets[0])
    found += parser.push(packets[1][:cut])
    for packet in packets[2:]:
        found += parser.push(packet)
    told = [int(r.pleth) for r in found]
    # The packet after the cut may go with it; nothing that was not sent may come.
    assert told == [v for v in values if v in told]
    assert set(values) - set(told) <= ({values[1], values[2]} if cut < size else set())
    if new:
        assert all(r.adc == 1000 * r.pleth for r in found)


def test_a_device_that_sums_wrongly_is_believed_by_whole_notifications() -> None:
    parser = BciParser()
    found = [r for v in (10, 20, 30) for r in parser.push(long(v, v, wrong=3))]
    assert [r.adc for r in found] == [10, 20, 30]
    assert parser.push(long(40, 40)) != []
    assert parser.push(long(50, 50, wrong=3)) == []


def test_random_bytes() -> None:
    assert 0 < survives(BerryMedDecoder("b"), (CHANNEL,), 40) < FUZZ


def notifications(values: list[int]) -> list[bytes]:
    """Return twenty bytes each, out of step with the packets."""
    data = b"".join(short(v) for v in values)[2:]
    return [data[i : i + 20] for i in range(0, len(data), 20)]


def test_the_stream() -> None:
    stream, heard = BerryMedDecoder("b"), Heard()
    values = [1 + k % 100 for k in range(4000)]
    for k, raw in enumerate(notifications(values)):
        heard.take(stream.push(CHANNEL, START + k * NS // 25, raw))
    assert heard.data[:, 0].tolist() == values[1:]
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("pleth",), 100.0)}
    assert [e.detail for e in heard.told("wear")] == [{"worn": True}]
    assert heard.told("gap") == []
    assert np.abs(np.diff(heard.times) - NS // 100).max() < 1_000_000


def test_a_long_loss_is_a_gap() -> None:
    stream, heard = BerryMedDecoder("b"), Heard()
    for k, raw in enumerate(notifications([1 + k % 100 for k in range(4000)])):
        if not 500 <= k < 525:
            heard.take(stream.push(CHANNEL, START + k * NS // 25, raw))
    (gap,) = heard.told("gap")
    assert gap.detail["lost"] == pytest.approx(100, abs=2)


def test_the_newer_protocol_tells_its_rate() -> None:
    stream, heard = BerryMedDecoder("b"), Heard()
    for k in range(600):
        heard.take(stream.push(CHANNEL, START + k * NS // 200, long(1 + k % 100, k, 200)))
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("adc", "pleth"), 200.0)}
    assert heard.data[:, 0].tolist() == list(range(600))
    heard.take(stream.push(CHANNEL, START + 4 * NS, long(50, 1, 1)))
    assert "1 packets a second" in heard.told("notice")[0].detail["text"]


@pytest.mark.parametrize("off", [0.97, 1.0, 1.03])
def test_what_the_index_skips_is_counted(off: float) -> None:
    stream, heard, lost = BerryMedDecoder("b"), Heard(), {*range(900, 907), *range(1500, 2200)}
    for k in range(3000):
        if k not in lost:
            arrival = START + round(k * NS / (200 * off))
            heard.take(stream.push(CHANNEL, arrival, long(1 + k % 100, k, 200, index=k)))
    heard.take(stream.flush())
    assert [e.detail["lost"] for e in heard.told("gap")] == [7, 700]
    assert heard.data[:, 0].tolist() == [k for k in range(3000) if k not in lost]
    assert [e.detail for e in heard.told("wear")] == [{"worn": True}]


def test_an_index_that_does_not_count_is_not_believed() -> None:
    stream, heard = BerryMedDecoder("b"), Heard()
    for k in range(2000):
        raw = long(1 + k % 100, k, 200, index=(k // 5) * 3 + (k == 1000))
        heard.take(stream.push(CHANNEL, START + k * NS // 200, raw))
    assert heard.told("gap") == []
    assert heard.samples == 2000


def test_decode() -> None:
    lines = [raw.hex() for raw in notifications([10, 20, 30, 40, 50, 60, 70, 80, 90])]
    found = list(decode("berrymed", [*lines, "00 01"]))
    assert [r["pleth"] for r in found if "time" in r] == [20, 30, 40, 50, 60, 70, 80, 90]
    assert np.diff([r["time"] for r in found if "time" in r]).tolist() == [NS // 100] * 7
    assert found[-1]["error"] == "not a packet of a BerryMed"
    with pytest.raises(BadPacket):
        BerryMedDecoder("b").push(CHANNEL, START, b"\0\1")


async def test_over_the_air_with_a_lost_link() -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from support.scaled import ScaledClock

    clock = ScaledClock(10)
    clip = Simple("BerryMed", {SERVICE: [Characteristic(NOTIFY, ("notify",))]})
    device = create("berrymed")
    assert isinstance(device, Gatt)
    hung_up = []

    async def send() -> None:
        sent = 0
        while True:
            await clock.sleep_until(clock.now() + NS // 25)
            due = (clock.now() - begun) // (NS // 25)
            for k in range(sent, due):
                clip.post(NOTIFY, b"".join(short(1 + (4 * k + i) % 100) for i in range(4)))
            sent = due

    def live(heard: Heard) -> bool:
        if heard.samples > 300 and not hung_up:
            hung_up.append(True)
            assert clip.air is not None
            clip.air.hang_up()
        return heard.samples > 900

    begun = clock.now()
    async with bumble([clip]) as radio:
        device.radio = radio
        sending = asyncio.ensure_future(send())
        heard = await listen(device, clock, live)
        sending.cancel()
    assert device.id == "berrymed-8beb5b"
    assert (device.site, device.polarity) == (FAMILY.site, 0)
    assert len(heard.told("connected")) == 2
    (gap,) = [e for e in heard.told("gap") if e.detail["lost"] is None]
    assert gap.detail["why"] == "link lost"
    assert (np.diff(heard.times) > 0).all()
