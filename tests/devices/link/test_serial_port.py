"""Sensors on a cable: lines of numbers, the Contec clip, and a port that comes and goes."""

from __future__ import annotations

import asyncio
import math
import os
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket, Chunk, NotFound, Refused
from innpar.devices.conformance import faults
from innpar.devices.decode import decode
from innpar.devices.link.serial_port import CHANNEL, Wired
from innpar.devices.registry import create
from innpar.devices.sensors.boards.line_format import parse
from innpar.devices.sensors.boards.serial_lines import LineDecoder
from innpar.devices.sensors.oximeters import contec
from innpar.devices.sensors.oximeters.contec import ContecDecoder
from innpar.devices.timing.pace import SystemClock
from support.sensing import FUZZ, Heard, survives

START = 1_790_000_000 * NS


@pytest.mark.parametrize(
    ("text", "labels", "values"),
    [
        ("52310", ("",), (52310,)),
        ("52310,48211", ("", ""), (52310, 48211)),
        ("-1.5; +2e3\t.5", ("", "", ""), (-1.5, 2000, 0.5)),
        ("IR:52310,Red:48211", ("ir", "red"), (52310, 48211)),
        (" R[48211] IR[52310] G[7]", ("r", "ir", "g"), (48211, 52310, 7)),
        ("red=1, ir=2", ("red", "ir"), (1, 2)),
    ],
)
def test_lines(text: str, labels: tuple[str, ...], values: tuple[float, ...]) -> None:
    assert parse(text) == (labels, values)


@pytest.mark.parametrize(
    "text", ["", "Initializing...", "ets Jun  8 2016 00:22:57", "1,,2", "12 apples", "0x10", "1,a"]
)
def test_what_is_no_line_of_numbers(text: str) -> None:
    assert parse(text) is None


def read(stream: LineDecoder, lines: list[str], every: int = NS // 100, burst: int = 1) -> Heard:
    """Push lines as a port gives them: cut anyhow, `burst` lines at a time."""
    heard = Heard()
    for k in range(0, len(lines), burst):
        raw = "".join(lines[k : k + burst]).encode()
        for part in (raw[:3], raw[3:]):
            heard.take(stream.push(CHANNEL, START + (k + burst) * every, part))
    return heard.take(stream.flush())


def test_the_rate_is_measured_and_the_first_piece_thrown_away() -> None:
    lines = ["11\n", *(f"ir:{k},red:{-k}\r\n" for k in range(2000))]
    heard = read(LineDecoder("s"), lines, burst=5)
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("ir", "red"), 100.0)}
    assert heard.data[:, 0].tolist() == list(range(1, 2000))
    assert np.abs(np.diff(heard.times) - NS // 100).max() < 300_000
    assert heard.told("gap") == []


def test_a_header_names_the_columns_and_greetings_are_passed_over() -> None:
    lines = ["x\n", "MAX30105 ready\n", "millis,ir,red\n"]
    stream = LineDecoder("s")
    with pytest.raises(BadPacket, match="MAX30105 ready"):
        stream.push(CHANNEL, START, "".join(lines[:2]).encode())
    heard = read(stream, [lines[2], *(f"{1000 + 20 * k},{k},5\n" for k in range(400))], NS // 50)
    assert {c.channels for c in heard.chunks} == {("ir", "red")}
    assert heard.chunks[-1].rate == pytest.approx(50)
    assert heard.data[:, 0].tolist() == list(range(1, 400))


def test_the_senders_time_tells_a_loss_to_the_sample() -> None:
    missing = {*range(300, 337), 400}
    wrap = (1 << 32) - 2_000_000
    lines = ["\n"] + [
        f"us:{(wrap + 10_000 * k + k % 3) % (1 << 32)},ir:{k}\n"
        for k in range(1000)
        if k not in missing
    ]
    heard = read(LineDecoder("s"), lines, burst=3)
    assert [e.detail["lost"] for e in heard.told("gap")] == [37, 1]
    assert heard.samples == 1000 - 38 - 1
    assert (np.diff(heard.times) > 0).all()


def test_a_sender_that_restarts_is_a_gap_of_unknown_size() -> None:
    stream, heard = LineDecoder("s"), Heard()
    for k in range(600):
        time = 5_000_000 + 10 * k if k < 300 else 10 * (k - 300)
        raw = f"{time},{k}\n".encode()
        pause = 2 * NS if k >= 300 else 0
        heard.take(stream.push(CHANNEL, START + k * NS // 100 + pause, b"ms,ir\n" + raw))
    (gap,) = heard.told("gap")
    assert (gap.detail["lost"], gap.detail["why"]) == (None, "the sender began anew")
    assert (gap.end - gap.start) / NS == pytest.approx(2, abs=0.1)
    assert heard.data[:, 0].tolist() == list(range(1, 600))
    assert (np.diff(heard.times) > 0).all()


def test_columns_to_keep() -> None:
    lines = ["\n"] + [f"{k},{2 * k},{3 * k}\n" for k in range(300)]
    heard = read(LineDecoder("s", 100, keep=("2",)), lines)
    assert heard.data[:, 0].tolist() == [3 * k for k in range(1, 300)]
    assert heard.data.shape[1] == 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_any_cut_of_the_bytes_gives_the_same_samples(cuts: list[int]) -> None:
    raw = b"\n" + b"".join(b"ir:%d,red:%d\n" % (1000 + k, k) for k in range(50))
    stream, heard, at, k = LineDecoder("s", 100), Heard(), 0, 0
    while at < len(raw):
        step = cuts[k % len(cuts)]
        heard.take(stream.push(CHANNEL, START + at * NS // 1000, raw[at : at + step]))
        at, k = at + step, k + 1
    heard.take(stream.flush())
    assert heard.data[:, 1].tolist() == list(range(1, 50))


def test_random_bytes() -> None:
    assert 0 < survives(LineDecoder("s"), (CHANNEL,)) < FUZZ
    assert 0 < survives(ContecDecoder("c"), (CHANNEL,)) < FUZZ


def test_random_lines() -> None:
    stream, rng = LineDecoder("s"), np.random.default_rng(3)
    alphabet = np.frombuffer(b"0123456789,,..--eE:[] \n\nausmil", np.uint8)
    for k in range(FUZZ):
        raw = rng.choice(alphabet, 30).tobytes()
        try:
            stream.push(CHANNEL, START + k * NS // 100, raw)
        except BadPacket:
            continue


def frame(pleth: int, state: int = 0xE0, pulse: int = 72, spo2: int = 98) -> bytes:
    return bytes([1, state, 0x80, 0x80 | pleth, 0x85, 0x80 | pulse, 0x80 | spo2, 0xFF, 0xFF])


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=30),
    st.lists(st.integers(1, 25), min_size=1, max_size=8),
    st.integers(0, 8),
)
def test_contec_frames_out_of_any_cut(values: list[int], cuts: list[int], missing: int) -> None:
    data = b"".join(map(frame, values))[missing:]
    parser, found, at, k = contec.ContecParser(), [], 0, 0
    while at < len(data):
        step = cuts[k % len(cuts)]
        found += parser.push(data[at : at + step])
        at, k = at + step, k + 1
    assert [r.pleth for r in found] == values[missing > 0 :]
    assert {(r.pulse, r.spo2) for r in found} == {(72, 98)}


def test_contec_without_a_pulse() -> None:
    parser = contec.ContecParser()
    assert math.isnan(parser.push(frame(50, 0xE1))[0].pleth)
    assert parser.push(frame(50)[:5] + frame(60)) == [contec.ContecReading(60.0, 72, 98)]
    assert parser.skipped == 5


def test_contec_tells_of_the_finger_and_its_numbers() -> None:
    stream, heard = ContecDecoder("c"), Heard()
    for k in range(1200):
        state = 0xE2 if k < 60 else 0xE1 if k < 120 else 0xE0
        raw = frame(k % 100, state, 70 + k // 600, 97 if k < 1100 else 127)
        heard.take(stream.push(CHANNEL, START + k * NS // 60, raw))
    assert [e.detail for e in heard.told("wear")] == [{"worn": False}, {"worn": True}]
    assert [e.detail["hr"] for e in heard.told("vitals")] == [70, 71, 71]
    assert [e.detail["spo2"] for e in heard.told("vitals")] == [97, 97, None]
    assert contec.parse(frame(50, pulse=2)).pulse is None
    assert contec.parse(frame(50, 0xE1, 72)) == contec.parse(frame(9, 0xE1, 80))


def test_contec_stream_and_decode() -> None:
    stream, heard = ContecDecoder("c"), Heard()
    for k in range(600):
        heard.take(stream.push(CHANNEL, START + k * NS // 60, frame(k % 100)))
    assert heard.data[:, 0].tolist() == [k % 100 for k in range(600)]
    assert {(c.channels, c.rate) for c in heard.chunks} == {(("pleth",), 60.0)}
    found = list(decode("contec", [frame(10).hex(), frame(20).hex(), "ff"]))
    assert [r.get("pleth") for r in found if "event" not in r] == [10, 20, None]
    found = list(decode("serial?rate=100", [f"{k}\n".encode().hex() for k in range(5)]))
    assert [r["ppg0"] for r in found] == [1, 2, 3, 4]


class Cable:
    """A pseudo-terminal with a stable name, so that it can be unplugged and plugged in again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ttyUSB0"
        self.ours = -1

    def plug(self) -> None:
        self.ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.path.symlink_to(os.ttyname(theirs))
        self._theirs = theirs

    def unplug(self) -> None:
        if self.ours >= 0:
            self.path.unlink()
            os.close(self._theirs)
            os.close(self.ours)
            self.ours = -1


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    pytest.importorskip("serial")
    cable = Cable(tmp_path)
    cable.plug()
    yield cable
    cable.unplug()


async def test_a_port_that_is_unplugged_and_comes_back(cable: Cable) -> None:
    device = create(f"serial:{cable.path}?rate=200")
    assert isinstance(device, Wired)
    assert device.id == "serial-ttyusb0"
    heard, k = Heard(), 0

    async def talk() -> None:
        nonlocal k
        while True:
            await asyncio.sleep(0.005)
            if cable.ours >= 0:
                os.write(cable.ours, b"ir:%d,red:%d\n" % (k, 7))
            k += 1

    before = asyncio.all_tasks()
    talking = asyncio.ensure_future(talk())
    async with asyncio.timeout(20), device.open(clock=SystemClock()) as items:
        async for item in items:
            heard.take([item])
            if heard.samples > 60 and not heard.told("disconnected"):
                cable.unplug()
            if heard.told("disconnected") and cable.ours < 0:
                cable.plug()
            if (
                len(heard.told("connected")) == 2
                and isinstance(item, Chunk)
                and item.data[0, 0] > k - 9
            ):
                break
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert len(heard.told("connected")) == 2
    assert "plug it in again" in heard.told("disconnected")[0].detail["why"]
    (gap,) = [e for e in heard.told("gap") if e.detail["lost"] is None]
    assert gap.detail["why"] == "unplugged"
    assert (np.diff(heard.data[:, 0]) > 0).all()
    assert (np.diff(heard.times) > 0).all()


@pytest.mark.slow
async def test_it_conforms(cable: Cable) -> None:
    async def talk() -> None:
        k = 0
        while True:
            await asyncio.sleep(0.01)
            os.write(cable.ours, b"ir:%d\n" % k)
            k += 1

    talking = asyncio.ensure_future(talk())
    assert await faults(create(f"serial:{cable.path}?rate=100"), seconds=2.0) == []
    talking.cancel()


async def test_contec_is_told_to_begin(cable: Cable) -> None:
    device = create(f"contec:{cable.path}")
    heard = Heard()
    async with asyncio.timeout(10), device.open(clock=SystemClock()) as items:
        assert os.read(cable.ours, 9) == contec.START
        for k in range(20):
            os.write(cable.ours, frame(k))
        async for item in items:
            heard.take([item])
            if heard.samples == 20:
                break
    assert heard.data[:, 0].tolist() == list(range(20))


async def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("serial")
    with pytest.raises(NotFound, match="plug it in; existing ports"):
        async with create(f"serial:{tmp_path}/nothing").open(clock=SystemClock()):
            pass
    with pytest.raises(Refused, match=r"serial needs a port, for example serial:/dev/ttyUSB0"):
        create("serial")
    with pytest.raises(Refused, match="unit must be one of"):
        create("serial:/dev/null?unit=hours")
