"""O2Ring: its frames, and the device that is polled over both virtual radios."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.registry import create
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.sensors.oximeters.o2ring import (
    ANSWER,
    ASK,
    CHANNEL,
    INFO,
    PARAMETERS,
    RATE,
    WAVE,
    Frames,
    O2RingDecoder,
    O2RingReading,
    build,
    crc8,
    family,
    parse,
)
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.sensors.o2ring import VirtualO2Ring
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints
from support.radios import Serve
from support.scaled import ScaledClock
from support.sensing import Heard, listen, survives

START = 1_790_000_000 * NS


@pytest.mark.parametrize(
    ("frame", "hexed"),
    [
        (build(PARAMETERS), "AA 17 E8 00 00 00 00 1B"),
        (build(INFO), "AA 14 EB 00 00 00 00 C6"),
        (ASK, "AA 1B E4 00 00 01 00 00 5E"),
    ],
)
def test_questions_as_others_send_them(frame: bytes, hexed: str) -> None:
    assert frame == bytes.fromhex(hexed)
    assert crc8(frame[:-1]) == frame[-1]
    assert build(WAVE, b"\0") == ASK


def answer(samples: bytes, *, worn: int = 1, battery: int = 88, status: int = 0) -> bytes:
    about = bytes([97, 66, 0, battery, 0, 5, worn, 0, 0, 0, len(samples) & 255, len(samples) >> 8])
    return build(status, about + samples, first=ANSWER)


def test_an_answer() -> None:
    raw = answer(bytes(range(62)))
    assert raw[:7].hex() == "5500ff00004a00"
    (payload,) = Frames().push(raw)
    assert parse(payload) == O2RingReading(97, 66, 88, True, bytes(range(62)))
    assert parse(b'{"SN":"1234567890"}') is None
    assert parse(bytes(13)) is None  # of the parameters
    with pytest.raises(BadPacket, match="62 samples announced, 61 present"):
        parse(payload[:-1])


@given(st.lists(st.integers(0, 90), min_size=1, max_size=6), st.lists(st.integers(1, 40)))
@settings(max_examples=60)
def test_any_cut_gives_the_same_answers(sizes: list[int], cuts: list[int]) -> None:
    raw = b"".join(answer(bytes([k] * size)) for k, size in enumerate(sizes))
    frames, found, at = Frames(), [], 0
    for step in [*cuts, len(raw)]:
        found += frames.push(raw[at : at + step])
        at += step
    readings = [parse(payload) for payload in found]
    assert [len(r.samples) for r in readings if r is not None] == sizes
    assert frames.skipped == 0


@pytest.mark.parametrize("lost", range(1, 82))
def test_a_lost_piece_gives_no_wrong_sample(lost: int) -> None:
    """Whatever part of an answer is missing, those before and after it are whole."""
    one, two, three = (answer(bytes([k] * 62)) for k in (1, 2, 3))
    frames = Frames()
    found = frames.push(one + two[:-lost] + 16 * three)
    samples = []
    for payload in found:
        with suppress(BadPacket):  # one checksum in 256 is right by chance; its length is not
            samples += [r.samples for r in [parse(payload)] if r is not None]
    assert samples[0] == bytes([1] * 62)
    assert set(samples[1:]) == {bytes([3] * 62)}
    assert frames.skipped > 0 or lost == len(two)


def test_an_answer_that_is_a_refusal_gives_nothing() -> None:
    assert Frames().push(answer(b"123", status=1)) == []


def test_random_bytes() -> None:
    assert survives(O2RingDecoder("x"), (CHANNEL,)) > 0


def test_the_stream() -> None:
    stream, heard = O2RingDecoder("x"), Heard()
    for k in range(40):
        samples = bytes((62 * k + i) % 140 for i in range(62))
        heard.take(stream.push(CHANNEL, START + round((k + 1) * 62 / RATE * NS), answer(samples)))
    assert heard.data[:, 0].tolist() == [k % 140 for k in range(40 * 62)]
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("pleth",), 125.0)}
    truth = START + np.arange(1, 40 * 62 + 1) * (NS / RATE)
    assert np.abs(heard.times - truth).max() < 1e6
    assert [e.detail for e in heard.told("wear")] == [{"worn": True}]
    assert [e.detail for e in heard.told("battery")] == [{"percent": 88}]
    assert heard.told("gap") == []


def test_marks_of_beats_are_no_samples() -> None:
    stream, heard = O2RingDecoder("x"), Heard()
    for k, samples in enumerate([[156, 246, 40, 41], [156, 42, 246], [43, 43]]):
        heard.take(stream.push(CHANNEL, START + k * NS // 40, answer(bytes(samples))))
    assert heard.data[:, 0].tolist() == [40, 40, 40, 41, 41, 42, 42, 43, 43]


def test_an_answer_that_never_came_is_a_gap() -> None:
    stream, heard = O2RingDecoder("x"), Heard()
    for k in range(60):
        at = START + round((k + 1) * 62 / RATE * NS)
        if not 20 <= k < 24:
            heard.take(stream.push(CHANNEL, at, answer(bytes([k] * 62))))
    (gap,) = heard.told("gap")
    assert abs(gap.detail["lost"] - 4 * 62) <= 2
    assert heard.samples == 56 * 62


def test_decode() -> None:
    found = list(decode("o2ring", [answer(bytes(range(20))).hex(), answer(bytes(20)).hex()]))
    assert [r["pleth"] for r in found if "pleth" in r] == [*range(20), *[0] * 20]


# Over the air


def ring(clock: ScaledClock, **options: object) -> VirtualO2Ring:
    """Return a ring whose samples are their places on its grid, modulo 140."""
    zero = clock.now()

    def light(times: Ints) -> Ints:
        return np.rint((times - zero) * RATE / NS).astype(np.int64)[:, None].repeat(4, axis=1)

    def level(counts: Ints) -> list[int]:
        return [int(c) % 140 for c in counts]

    return VirtualO2Ring(clock, light, level=level, **options)  # type: ignore[arg-type]


async def test_it_is_polled(air: Serve) -> None:
    clock = ScaledClock(5)
    sensor = ring(clock)
    async with air([sensor]) as radio:
        device = Gatt(family(), radio=radio)
        before: list[int] = []

        def stir(heard: Heard) -> bool:
            if heard.samples:
                before.append(sensor.lost)  # while nobody asked yet
            return heard.samples > 1500

        heard = await listen(device, clock, stir)
    assert device.id == "o2ring-0042"
    steps = np.diff(heard.data[:, 0]) % 140
    assert set(steps.tolist()) == {1}
    assert heard.told("gap") == []
    assert sensor.lost == before[0]
    assert {data for _, data in sensor.written} == {ASK}
    assert heard.told("battery")[0].detail == {"percent": 88}


async def test_taken_off_and_an_empty_battery_are_told() -> None:
    clock = ScaledClock(5)
    sensor = ring(clock)
    async with bumble([sensor]) as radio:

        def stir(heard: Heard) -> bool:
            if heard.samples > 200:
                sensor.worn, sensor.battery = False, 3
            return len(heard.told("battery")) > 1

        heard = await listen(Gatt(family(), radio=radio), clock, stir)
    assert [e.detail["worn"] for e in heard.told("wear")] == [True, False]
    assert [e.detail["percent"] for e in heard.told("battery")] == [88, 3]


async def test_a_lost_link_and_a_silence_are_survived() -> None:
    clock = ScaledClock(5)
    sensor = ring(clock)
    async with bumble([sensor]) as radio:
        done: list[str] = []

        def stir(heard: Heard) -> bool:
            if heard.samples > 300 and not done:
                done.append("hung up")
                assert sensor.air is not None
                sensor.air.hang_up()
            if heard.samples > 800 and len(done) == 1:
                done.append("silent")
                sensor.faults.stall = True
            if heard.told("notice"):
                sensor.faults.stall = False
            return heard.samples > 1500

        heard = await listen(Gatt(family(), radio=radio), clock, stir)
    assert len(heard.told("connected")) == 2
    assert code_of(heard.told("notice")[0]) is NoticeCode.NO_SAMPLES
    gaps = [(e.detail["why"], e.detail["lost"]) for e in heard.told("gap")]
    assert gaps[0] == ("link lost", None)
    assert gaps[1][0] == "stalled"
    assert (np.diff(heard.times) > 0).all()


async def test_answers_cut_short_give_no_wrong_sample() -> None:
    clock = ScaledClock(5)
    sensor = ring(clock, faults=Faults(truncate=0.3))
    async with bumble([sensor]) as radio:
        heard = await listen(Gatt(family(), radio=radio), clock, lambda h: h.samples > 1000)
    for chunk in heard.chunks:
        assert set((np.diff(chunk.data[:, 0]) % 140).tolist()) <= {1}
    assert heard.told("gap")


def test_making_one() -> None:
    assert create("o2ring:0042").id == "o2ring-0042"
