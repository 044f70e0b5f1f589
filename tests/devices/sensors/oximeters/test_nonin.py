"""Nonin 3150: packets, and what its counter tells whatever it counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket
from innpar.devices.decode import decode
from innpar.devices.sensors.oximeters.nonin import CHANNEL, NoninDecoder, build, parse
from support.sensing import FUZZ, Heard, survives

START = 1_790_000_000 * NS


def packet(k: int, step: int = 1, origin: int = 0) -> bytes:
    return build(origin + k * step, tuple(range(25 * k, 25 * k + 25)))


def test_a_packet_is_big_endian() -> None:
    raw = bytes([53, 0x12, 0x34]) + bytes(46) + bytes.fromhex("fffe 0102")
    counter, samples = parse(raw)
    assert (counter, samples[0], samples[-1], len(samples)) == (0x0102, 0x1234, 0xFFFE, 25)
    assert build(counter, samples) == raw


@pytest.mark.parametrize("size", [*range(53), 54])
def test_every_truncation_is_refused(size: int) -> None:
    with pytest.raises(BadPacket, match="53 bytes and states so"):
        parse((packet(3) + b"\0")[:size])


@pytest.mark.slow
def test_random_bytes() -> None:
    assert 0 < survives(NoninDecoder("n"), (CHANNEL, "oximetry"), 54) <= FUZZ
    stream, rng = NoninDecoder("n"), np.random.default_rng(2)
    for k in range(FUZZ):
        stream.push(CHANNEL, START + k * NS // 3, b"\x35" + rng.bytes(52))


@given(
    st.sets(st.integers(2, 98), max_size=60),
    st.sampled_from([(1, 0), (1, 65_500), (25, 0), (3, 65_000)]),
)
def test_a_jump_of_the_counter_is_a_gap_to_the_sample(
    missing: set[int], counting: tuple[int, int]
) -> None:
    stream, heard = NoninDecoder("n"), Heard()
    kept = [k for k in range(100) if k not in missing]
    for k in kept:
        heard.take(stream.push(CHANNEL, START + k * NS // 3, packet(k, *counting)))
    heard.take(stream.flush())
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("pleth",), 75.0)}
    assert heard.data[:, 0].tolist() == [25 * k + i for k in kept for i in range(25)]
    assert sum(e.detail["lost"] for e in heard.told("gap")) == 25 * len(missing)
    assert (np.diff(heard.times) > 0).all()


def test_a_counter_that_begins_anew_is_a_gap_of_unknown_size() -> None:
    stream, heard = NoninDecoder("n"), Heard()
    for n, k in enumerate([*range(50), *range(40)]):
        heard.take(stream.push(CHANNEL, START + n * NS // 3, packet(k)))
    heard.take(stream.flush())
    assert [e.detail["lost"] for e in heard.told("gap")] == [None]
    assert heard.samples == 90 * 25


def reading(state: int, spo2: int = 98, pulse: int = 61) -> bytes:
    return bytes([10, state, 29, 3, 0xE8, 0, 7, spo2, *pulse.to_bytes(2, "big")])


def test_what_it_tells_beside_the_light() -> None:
    stream, heard = NoninDecoder("n"), Heard()
    for k, raw in enumerate([reading(0x08, 127, 511), reading(0x10), reading(0x30), reading(0x30)]):
        heard.take(stream.push("oximetry", START + 6 * k * NS, raw))
    assert [e.detail["worn"] for e in heard.told("wear")] == [False, True]
    assert [e.detail for e in heard.told("vitals")] == [{"hr": 61, "spo2": 98}]
    (notice,) = heard.told("notice")
    assert "batteries are low" in notice.detail["text"]
    for raw in (b"", reading(0x10)[:-1], reading(0x10) + b"\0"):
        with pytest.raises(BadPacket, match="10 bytes and states so"):
            stream.push("oximetry", START, raw)
    assert stream.bad == 3


def test_decode() -> None:
    found = list(decode("nonin", [packet(k).hex() for k in (0, 1, 3)] + ["35"]))
    assert len([r for r in found if "pleth" in r]) == 75
    assert [r["lost"] for r in found if r.get("event") == "gap"] == [25]
    assert next(decode("nonin", ["oximetry " + reading(0x10).hex()]))["worn"] is True
    assert "states so" in next(r["error"] for r in found if "error" in r)
