"""Muse: packets, optodes brought together, numbers that jump and wrap, and over the air."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.registry import create
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.sensors.muse import (
    CHANNELS,
    CONTROL,
    OPTODES,
    SERVICE,
    TELEMETRY,
    MuseDecoder,
    Optodes,
    build,
    command,
    parse,
)
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.simple import Simple
from support.sensing import FUZZ, Heard, listen, survives

START = 1_790_000_000 * NS
BATCH = 6 * NS // 64

# Number 0x0102; samples 1, 256, 65536, 0x7fffff, 0x800000, 0xffffff
RAW = bytes.fromhex("0102 000001 000100 010000 7fffff 800000 ffffff")


def test_a_packet() -> None:
    assert parse(RAW) == (258, (1, 256, 65536, 0x7FFFFF, 0x800000, 0xFFFFFF))
    assert build(*parse(RAW)) == RAW


@pytest.mark.parametrize("size", [*range(20), 21])
def test_every_truncation_is_refused(size: int) -> None:
    with pytest.raises(BadPacket, match=f"20 bytes, not {size}"):
        parse((RAW + b"\0")[:size])


def test_commands() -> None:
    assert command("d") == bytes.fromhex("02640a")
    assert command("p50") == bytes.fromhex("047035300a")
    assert command("v1") == bytes.fromhex("0376310a")


def test_the_battery_is_told() -> None:
    stream, heard = MuseDecoder("m"), Heard()
    for k, level in enumerate((0xA6B4, 0xA6B0, 0xA400, 0xFFFF)):
        raw = bytes([0, k]) + level.to_bytes(2, "big") + bytes.fromhex("06b0 0fff 001c") + bytes(10)
        heard.take(stream.push("telemetry", START + k * 10 * NS, raw))
    assert [e.detail for e in heard.told("battery")] == [{"percent": p} for p in (83, 82, 100)]
    with pytest.raises(BadPacket, match="telemetry has at least 10 bytes, not 9"):
        stream.push("telemetry", START, bytes(9))


def test_random_bytes() -> None:
    stream = MuseDecoder("m")
    assert 0 < survives(stream, (*CHANNELS, "telemetry"), 22) < FUZZ
    rng = np.random.default_rng(5)
    for k in range(FUZZ):
        channel = CHANNELS[int(rng.integers(3))]
        stream.push(channel, START + (FUZZ + k) * BATCH, rng.bytes(20))


def six(number: int, column: int) -> tuple[int, ...]:
    """Return samples that tell where they belong."""
    return tuple((6 * number + i) * 4 + column for i in range(6))


def feed(
    stream: MuseDecoder,
    numbers: list[int],
    columns: tuple[int, ...] = (0, 1, 2),
    skip: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
    origin: int = 0,
) -> Heard:
    heard = Heard()
    for n in numbers:
        for column in columns:
            if (n, column) not in skip:
                raw = build(n, six(n - origin, column))
                heard.take(stream.push(CHANNELS[column], START + (n - origin) * BATCH, raw))
    return heard.take(stream.flush())


def test_three_optodes() -> None:
    heard = feed(MuseDecoder("m"), list(range(50)))
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("infrared", "red", "ambient"), 64.0)}
    expected = np.arange(300)[:, None] * 4 + np.arange(3)
    np.testing.assert_array_equal(heard.data, expected)
    assert np.abs(heard.times - heard.times[0] - np.arange(300) * NS / 64).max() < 1000
    assert heard.events == []


def test_an_optode_that_is_silent() -> None:
    stream, heard = MuseDecoder("m"), Heard()
    for n in range(50):
        for column in (0, 2):
            raw = build(n, six(n, column))
            heard.take(stream.push(CHANNELS[column], START + n * BATCH, raw))
        if n > 6:
            assert heard.samples == 6 * (n + 1)  # no longer waited for
    assert np.isnan(heard.data[:, 1]).all()
    np.testing.assert_array_equal(heard.data[:, 0], np.arange(300) * 4)


def test_one_packet_of_one_optode_is_lost() -> None:
    heard = feed(MuseDecoder("m"), list(range(50)), skip={(20, 1)})
    assert heard.samples == 300
    assert np.flatnonzero(np.isnan(heard.data[:, 1])).tolist() == list(range(120, 126))
    assert not np.isnan(heard.data[:, [0, 2]]).any()


@given(st.sets(st.integers(3, 95), max_size=60), st.sampled_from([0, 100, 65_500]))
def test_a_jump_of_the_numbers_is_a_gap_to_the_sample(missing: set[int], origin: int) -> None:
    numbers = [origin + n for n in range(100) if n not in missing]
    stream = MuseDecoder("m")
    heard = feed(stream, numbers, origin=origin)
    assert heard.samples + sum(e.detail["lost"] for e in heard.told("gap")) == 600
    assert stream.lost == 6 * len(missing)
    np.testing.assert_array_equal(
        heard.data[:, 0], np.concatenate([six(n - origin, 0) for n in numbers])
    )
    assert (np.diff(heard.times) > 0).all()


def test_numbers_that_begin_anew_are_a_gap_of_unknown_size() -> None:
    stream = MuseDecoder("m")
    heard = feed(stream, list(range(1000, 1060)), origin=1000)
    for n in range(60):
        for column in range(3):
            raw = build(n, six(n, column))
            heard.take(stream.push(CHANNELS[column], START + (n + 100) * BATCH, raw))
    (gap,) = heard.told("gap")
    assert gap.detail["lost"] is None
    assert heard.samples == 720
    assert (np.diff(heard.times) > 0).all()


def test_packets_out_of_order() -> None:
    optodes = Optodes()
    out = [
        *optodes.push(0, 5, six(5, 0)),
        *optodes.push(0, 6, six(6, 0)),
        *optodes.push(1, 5, six(5, 1)),
        *optodes.push(2, 5, six(5, 2)),
        *optodes.push(1, 5, six(5, 1)),
    ]
    assert [at for at, _ in out] == [5]
    assert optodes.late == 1


def test_decode() -> None:
    lines = [
        f"{c} {build(n, six(n, k)).hex()}" for n in (0, 1, 4, 5) for k, c in enumerate(CHANNELS)
    ]
    found = list(decode("muse", [*lines, "red 00"]))
    assert len([r for r in found if "time" in r]) == 24
    assert [r["lost"] for r in found if r.get("event") == "gap"] == [12]
    assert any("20 bytes, not 1" in r.get("error", "") for r in found)


class Headband(Simple):
    """Sends light once it has been given a preset that it knows, and started."""

    def __init__(self, knows: str) -> None:
        light = [Characteristic(uuid, ("notify",)) for uuid in (*OPTODES, *TELEMETRY)]
        control = Characteristic(CONTROL, ("write-without-response", "notify"))
        super().__init__("Muse-4A2B", {SERVICE: [control, *light]}, advertised=("fe8d",))
        self.knows, self.chosen, self.on, self.number = knows, "", False, 0

    def write(self, uuid: str, data: bytes) -> None:
        super().write(uuid, data)
        text = data[1:-1].decode()
        assert data[0] == len(data) - 1
        if text.startswith("p"):
            self.chosen = text
        self.on = (text == "d" and self.chosen == self.knows) or (self.on and text == "k")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["p50", "p60"])
async def test_over_the_air_with_lost_notifications(preset: str) -> None:
    pytest.importorskip("bumble")
    from innpar.devices.virtual.radio.bumble_radio import bumble
    from support.scaled import ScaledClock

    clock = ScaledClock(5)
    headband = Headband(preset)
    device = create("muse:4A2B")
    assert isinstance(device, Gatt)
    lost = {40, 41, 70}

    async def send() -> None:
        while True:
            await clock.sleep_until(clock.now() + BATCH)
            for uuid in TELEMETRY:  # which is no sign of light
                headband.post(uuid, bytes([0, 1, 0x80, 0]) + bytes(16))
            while headband.on and begun + headband.number * BATCH < clock.now():
                n = headband.number
                headband.number += 1
                for column, uuid in enumerate(OPTODES):
                    if n - first not in lost:
                        headband.post(uuid, build(n, six(n, column)))

    begun = clock.now()
    first = headband.number = 65_500
    begun -= first * BATCH
    async with bumble([headband]) as radio:
        device.radio = radio
        sending = asyncio.ensure_future(send())
        heard = await listen(device, clock, lambda h: h.samples > 1200)
        sending.cancel()
    assert device.id == "muse-4a2b"
    assert sum(e.detail["lost"] for e in heard.told("gap")) == 18
    numbers = heard.data[:, 0] / 4
    assert numbers[-1] - numbers[0] + 1 == heard.samples + 18 or preset == "p60"
    assert len(heard.told("notice")) == (preset == "p60")
    assert [e.detail for e in heard.told("battery")] == [{"percent": 64}]
    texts = [data[1:-1].decode() for _, data in headband.written]
    assert texts[:3] == ["h", "p50", "d"]
    assert "k" in texts
    assert texts[-1] == "h"
