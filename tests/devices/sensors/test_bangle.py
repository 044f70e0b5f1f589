"""Bangle.js 2: the lines it prints, numbers that jump, and the script over the air."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.registry import create
from innpar.devices.sensors.bangle import (
    CHANNEL,
    NOTIFY,
    SERVICE,
    WRITE,
    BangleDecoder,
    build,
    parse,
    script,
)
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.simple import Simple
from support.sensing import FUZZ, Heard, listen, survives

START = 1_790_000_000 * NS
WATCH = 1_600_000_000_000  # ms; its clock is years off


def line(k: int, period: float = 20.3) -> bytes:
    return build(k, WATCH + round(k * period), 1000 + k, -k)


def test_a_line() -> None:
    assert line(7) == b"P,7,1600000000142,1007,-7,47978\r\n"
    assert parse("P,7,1600000000142,1007,-7,47978") == (7, WATCH + 142, (1007, -7))
    assert parse(">P,7,1600000000142,1007,-7,47978") is not None
    assert parse("Execution Interrupted") is None


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_line_that_lacks_a_piece_is_no_sample(start: int, length: int) -> None:
    whole = line(7).decode().strip()
    cut = whole[:start] + whole[start + length :]
    if cut == whole:
        return
    try:
        assert parse(cut) is None
    except BadPacket:
        return


@pytest.mark.slow
def test_random_bytes() -> None:
    assert survives(BangleDecoder("b"), (CHANNEL,)) < FUZZ
    stream, rng, bad = BangleDecoder("b"), np.random.default_rng(1), 0
    for k in range(FUZZ):
        values = [int(v) for v in rng.integers(-(10**6), 10**13, 4)]
        raw = build(*values) if k % 2 else line(k)
        try:
            stream.push(CHANNEL, START + k * NS // 50, raw[: int(rng.integers(1, 60))])
        except BadPacket:
            bad += 1
    assert bad == stream.bad > 0


def feed(skip: set[int], last: int = 1000, pieces: int = 20) -> Heard:
    stream, heard, data = BangleDecoder("b"), Heard(), b""
    for k in range(last):
        data += b"" if k in skip else line(k)
        while len(data) >= pieces:
            at = START + round(k * 20.3e6)
            heard.take(stream.push(CHANNEL, at, data[:pieces]))
            data = data[pieces:]
    heard.take(stream.push(CHANNEL, START + round(last * 20.3e6), data))
    return heard.take(stream.flush())


def test_the_stream_at_its_true_rate() -> None:
    heard = feed(set())
    assert heard.data.tolist() == [[1000 + k, -k] for k in range(1000)]
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("raw", "vcppg"), 50.0)}
    assert heard.told("gap") == []
    assert np.abs(np.diff(heard.times[100:]) - 20.3e6).max() < 3e6


@pytest.mark.slow
@given(st.sets(st.integers(1, 598), max_size=30))
def test_a_jump_of_the_number_is_a_gap_to_the_sample(skip: set[int]) -> None:
    heard = feed(skip, 600, 57)
    assert heard.samples == 600 - len(skip)
    assert sum(e.detail["lost"] for e in heard.told("gap")) == len(skip)
    assert (np.diff(heard.times) > 0).all()


def test_a_clock_that_is_set_is_a_gap_of_unknown_size() -> None:
    stream, heard = BangleDecoder("b"), Heard()
    for k in range(400):
        shift = 0 if k < 200 else 7_200_000
        raw = build(k, WATCH + 20 * k + shift, k, 0)
        heard.take(stream.push(CHANNEL, START + k * NS // 50, raw))
    heard.take(stream.flush())
    assert [e.detail["lost"] for e in heard.told("gap")] == [None]
    assert heard.samples == 400
    assert (heard.times[-1] - heard.times[0]) / NS == pytest.approx(8, abs=0.1)


def test_decode() -> None:
    found = list(decode("bangle", [line(k).hex() for k in range(60)]))
    assert [r["raw"] for r in found] == [1000 + k for k in range(60)]
    assert found[0]["time"] == pytest.approx(WATCH * 1_000_000, abs=30_000_000)


def test_the_script_is_within_what_the_watch_takes() -> None:
    interrupt, *lines = script(25)
    assert interrupt == b"\x03"
    assert all(re.fullmatch(rb"\x10[ -~]+\n", text) for text in lines)
    assert b"hrmPollInterval:40" in lines[0]


async def test_over_the_air() -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from support.scaled import ScaledClock

    clock = ScaledClock(10)
    uart = [Characteristic(WRITE, ("write",)), Characteristic(NOTIFY, ("notify",))]
    watch = Simple("Bangle.js 4a2b", {SERVICE: uart})
    told = bytearray()
    watch.obey = lambda uuid, data: told.extend(data)
    device = create("bangle?rate=50")
    assert isinstance(device, Gatt)

    async def send() -> None:
        sent, data = 0, b">"
        while True:
            await clock.sleep_until(clock.now() + NS // 25)
            on = bytes(told).endswith(b'setHRMPower(1,"innpar")\n')
            while on and sent * 20_300_000 + begun < clock.now():
                data += b"" if sent % 100 == 50 else line(sent)
                sent += 1
            while len(data) >= 20:
                watch.post(NOTIFY, data[:20])
                data = data[20:]

    begun = clock.now()
    async with bumble([watch]) as radio:
        device.radio = radio
        sending = asyncio.ensure_future(send())
        heard = await listen(device, clock, lambda h: h.samples > 500)
        sending.cancel()
    assert device.id == "bangle-4a2b"
    assert told.startswith(b"\x03\x10Bangle.setOptions({hrmPollInterval:20")
    assert told.endswith(b'\x10Bangle.setHRMPower(0,"innpar")\n')
    numbers = -heard.data[:, 1]
    lost = sum(e.detail["lost"] for e in heard.told("gap"))
    assert numbers[-1] - numbers[0] + 1 == heard.samples + lost
    assert lost >= 4
