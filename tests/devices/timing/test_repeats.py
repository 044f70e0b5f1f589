"""Notifications that a link delivers twice: no sample is invented, none is timed after it came."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.link.decoder import TimedDecoder
from innpar.devices.sensors import bangle, muse
from innpar.devices.sensors.oximeters import berrymed, nonin, o2ring
from innpar.devices.sensors.polar import decoder as polar
from innpar.devices.sensors.polar.frames import MeasurementKind
from innpar.devices.timing.track import EARLY
from innpar.devices.virtual.sensors.polar_encoder import encode
from support.paths import SHARED
from support.sensing import Heard

START = 1_795_000_000 * NS
SECONDS = 12

Frame = tuple[int, str, bytes]
"""Arrival (ns), channel and bytes of a notification."""


def wave(k: int, rate: float) -> int:
    """Return sample k of a pulse of 72 a minute, 20 to 90."""
    return round(55 + 35 * math.sin(2 * math.pi * 1.2 * k / rate))


def bangle_frames() -> Iterator[Frame]:
    for k in range(50 * SECONDS):
        raw = bangle.build(k, 1_795_000_000_000 + 20 * k, 100 * wave(k, 50), 3000)
        yield START + (k + 1) * NS // 50, bangle.CHANNEL, raw


def long_frames() -> Iterator[Frame]:
    for k in range(100 * SECONDS):
        body = bytes([0xFF, 0xAA, k % 256, 0, 98, 97, 72, 73, 0x52, 3, 30, 31, wave(k, 100)])
        body += (1000 * wave(k, 100)).to_bytes(4, "little") + bytes([0x80 | 87, 100])
        yield START + (k + 1) * NS // 100, berrymed.CHANNEL, body + bytes([sum(body) & 0xFF])


def short_frames() -> Iterator[Frame]:
    for n in range(25 * SECONDS):
        packets = [bytes([0x84, wave(k, 100), 5, 72, 98]) for k in range(4 * n, 4 * n + 4)]
        yield START + (n + 1) * NS // 25, berrymed.CHANNEL, b"".join(packets)


def nonin_frames() -> Iterator[Frame]:
    for n in range(3 * SECONDS):
        samples = tuple(wave(k, 75) for k in range(25 * n, 25 * n + 25))
        yield START + (n + 1) * NS // 3, nonin.CHANNEL, nonin.build(n, samples)


def muse_frames() -> Iterator[Frame]:
    for n in range(int(64 / 6 * SECONDS)):
        samples = tuple(90_000 + wave(k, 64) for k in range(6 * n, 6 * n + 6))
        for channel in muse.CHANNELS:
            yield START + round((n + 1) * 6 * NS / 64), channel, muse.build(n, samples)


def ring_frames() -> Iterator[Frame]:
    for n in range(2 * SECONDS):
        begin, end = 125 * n // 2, 125 * (n + 1) // 2
        samples = bytes(wave(k, 125) for k in range(begin, end))
        if n % 5 == 4:  # a still stretch: equal notifications within an answer
            samples = bytes([55]) * len(samples)
        about = bytes([97, 66, 0, 88, 0, 5, 1, 0, 0, 0, len(samples), 0])
        raw = o2ring.build(0, about + samples, first=o2ring.ANSWER)
        for at in range(0, len(raw), 20):
            yield START + (n + 1) * NS // 2 + 30_000 * at, o2ring.CHANNEL, raw[at : at + 20]


def polar_frames() -> Iterator[Frame]:
    first = 799_443_547 * NS
    for n in range(SECONDS * 55 // 20):
        numbers = np.arange(20 * n, 20 * (n + 1))
        times = first + np.rint(numbers * NS / 55).astype(np.int64)
        rows = np.array([[1000 * wave(int(k), 55)] * 4 for k in numbers])
        raw, taken = encode(MeasurementKind.PPG, 0x80, times, rows, 229)
        assert taken == 20
        yield START + int(times[-1]) - first, polar.DATA, raw


SENSORS: dict[str, tuple[Callable[[], TimedDecoder], Callable[[], Iterator[Frame]]]] = {
    "bangle": (lambda: bangle.BangleDecoder("x"), bangle_frames),
    "berrymed-1.5": (lambda: berrymed.BerryMedDecoder("x"), long_frames),
    "berrymed-1.2": (lambda: berrymed.BerryMedDecoder("x"), short_frames),
    "nonin": (lambda: nonin.NoninDecoder("x"), nonin_frames),
    "muse": (lambda: muse.MuseDecoder("x"), muse_frames),
    "o2ring": (lambda: o2ring.O2RingDecoder("x"), ring_frames),
    "polar": (lambda: polar.PolarDecoder("x", (55.0,)), polar_frames),
}


def received(name: str, twice: Callable[[int], bool], after: int = 400_000) -> Heard:
    """Decode a sensor's notifications, of which some come twice; no sample is ahead of them."""
    make, frames = SENSORS[name]
    stream, heard = make(), Heard()
    for k, (arrival, channel, raw) in enumerate(frames()):
        for extra in range(1 + twice(k)):
            at = arrival + extra * after
            seen = len(heard.chunks)
            with suppress(BadPacket):
                heard.take(stream.push(channel, at, raw))
            for chunk in heard.chunks[seen:]:
                assert int(chunk.times[-1]) <= at + EARLY
    heard.take(stream.flush())
    assert (np.diff(heard.times) > 0).all()
    return heard


@pytest.mark.parametrize("name", SENSORS)
def test_every_notification_twice_gives_the_same_samples(name: str) -> None:
    once, doubled = received(name, lambda _: False), received(name, lambda _: True)
    np.testing.assert_array_equal(doubled.data, once.data)
    assert np.abs(doubled.times - once.times).max() <= 400_000
    assert not doubled.told("gap")
    codes = [e.detail["code"] for e in doubled.told("notice")]
    assert codes == ([] if name == "muse" else ["notifications_repeated"])
    assert not once.told("notice")


@pytest.mark.parametrize("name", [n for n in SENSORS if n != "o2ring"])
@settings(deadline=None, max_examples=10)
@given(twice=st.sets(st.integers(0, 200)), after=st.integers(0, 3_000_000))
def test_some_notifications_twice_give_the_same_samples(
    name: str, twice: set[int], after: int
) -> None:
    once, some = received(name, lambda _: False), received(name, twice.__contains__, after)
    np.testing.assert_array_equal(some.data, once.data)
    assert np.abs(some.times - once.times).max() <= after
    assert not some.told("gap")


@settings(deadline=None, max_examples=20)
@given(twice=st.sets(st.integers(0, 100)))
def test_some_parts_of_an_answer_twice_lose_samples_but_invent_none(twice: set[int]) -> None:
    once, some = received("o2ring", lambda _: False), received("o2ring", twice.__contains__)
    sent, kept = once.data[:, 0].tolist(), iter(some.data[:, 0].tolist())
    assert some.samples <= once.samples
    following = next(kept, None)
    for value in sent:
        if value == following:
            following = next(kept, None)
    assert following is None  # in order, and nothing else


@pytest.mark.parametrize(
    ("name", "samples", "rate"), [("bangle", 1000, 50), ("berrymed", 2000, 100)]
)
def test_captures_with_every_notification_twice(name: str, samples: int, rate: float) -> None:
    file = SHARED / "field" / f"wear-dup-{name}.txt"
    if not file.is_file():
        pytest.skip("the field inputs (../shared/field) are not on this machine")
    found = list(decode(name, file.read_text().splitlines()))
    times = np.array([r["time"] for r in found if "time" in r])
    assert len(times) == samples
    assert abs((times[-1] - times[0]) / NS - (samples - 1) / rate) < 0.01
    assert [r["code"] for r in found if r.get("event") == "notice"] == ["notifications_repeated"]
    assert not [r for r in found if r.get("event") == "gap"]
