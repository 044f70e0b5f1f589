"""Lines as boards print them: light is found by name and shape, times by their unit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import tty
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.link.serial_port import CHANNEL
from innpar.devices.registry import create
from innpar.devices.sensors.boards.line_format import parse, unit_of_time
from innpar.devices.sensors.boards.serial_lines import LineDecoder
from innpar.devices.timing.pace import SystemClock
from support.paths import SHARED
from support.sensing import Heard

START = 1_790_000_000 * NS
LIGHT = [round(90_000 - 900 * math.sin(2 * math.pi * 1.2 * k / 100)) for k in range(1200)]


def read(lines: list[str], end: str = "\n", stream: LineDecoder | None = None) -> Heard:
    """Decode lines that come at 100 Hz, five at a time."""
    stream, heard = stream or LineDecoder("s"), Heard()
    for k in range(0, len(lines), 5):
        raw = "".join(line + end for line in lines[k : k + 5]).encode()
        heard.take(stream.push(CHANNEL, START + (k + 5) * NS // 100, raw))
    return heard.take(stream.flush())


def steps(k: int) -> str:
    """Return the axes of an accelerometer at sample k, in mg; 108 steps a minute."""
    swing = 400 * math.sin(2 * math.pi * 1.8 * k / 100)
    return f"{swing:.0f},{8 + k % 3},{math.sqrt(1e6 - swing**2):.0f}"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("ir:{x},ax:{ax},ay:1,az:980,temp:36.5", ("ir",)),
        ("ax:{ax},red:{x},ir:{x},hr:72,spo2:98", ("red", "ir")),
        ("IR={x}, BPM={k}, Avg BPM={k}", ("ir",)),
        ("pulse:{x},n:{k},flag:1", ("pulse",)),
        ("raw:{x},bpm:72", ("raw",)),
        ('{{"t":{ms},"ir":{x},"red":{x},"ok":true,"id":"a"}}', ("ir", "red")),
        ("{k},{x}", ("ppg1",)),
        ("{x},1,0,{k}", ("ppg0",)),
        ("{steps},{x}", ("ppg3",)),
    ],
)
def test_light_is_found(line: str, kept: tuple[str, ...]) -> None:
    lines = [
        line.format(x=x, k=k, ms=12_000 + 10 * k, ax=100 + k % 50, steps=steps(k))
        for k, x in enumerate(LIGHT)
    ]
    heard = read(["", *lines])
    moved = [c for c in heard.chunks if c.signal == "acc"]
    assert bool(moved) == (("ay:1," in line and "temp" in line) or "{steps}" in line)
    heard.chunks = [c for c in heard.chunks if c.signal == "ppg"]
    assert {c.channels for c in heard.chunks} == {kept}
    assert heard.data[:, 0].tolist() == [
        float(x) for x in LIGHT[1:]
    ]  # the first line is a greeting
    assert heard.chunks[-1].rate == pytest.approx(100)
    assert not heard.told("gap")


@pytest.mark.parametrize("labels", [("ax:", "ay:", "az:", "ir:"), ("", "", "", "")])
@pytest.mark.parametrize("gravity", [1.0, 9.81, 1000.0])
def test_acceleration_comes_in_g_ahead_of_the_light(
    labels: tuple[str, ...], gravity: float
) -> None:
    lines, sent = [], []
    for k, x in enumerate(LIGHT):
        swing = 0.4 * math.sin(2 * math.pi * 1.8 * k / 100)
        axes = (swing, 0.01 * (k % 3), math.sqrt(1 - swing**2))
        sent.append(axes)
        values = [f"{gravity * axis:.5f}" for axis in axes] + [str(x)]
        lines.append(",".join(label + value for label, value in zip(labels, values, strict=True)))
    heard = read(["", *lines])
    moved = [c for c in heard.chunks if c.signal == "acc"]
    light = [c for c in heard.chunks if c.signal == "ppg"]
    assert heard.chunks[0].signal == "acc"
    assert np.concatenate([c.data for c in moved]) == pytest.approx(np.array(sent[1:]), abs=1e-4)
    assert np.concatenate([c.data[:, 0] for c in light]).tolist() == [float(x) for x in LIGHT[1:]]
    assert [c.times.tolist() for c in moved] == [c.times.tolist() for c in light]


@pytest.mark.parametrize(
    "value",
    [
        lambda k: k % 256,
        lambda k: k // 10 % 256,
        lambda k: 72 + k // 100 % 3,
        lambda k: 512,
        lambda k: 0.37 * (k % 83),
        lambda k: 36.5 + k // 150 / 10,
    ],
    ids=["counter", "packet counter", "heart rate", "constant", "sawtooth", "temperature"],
)
@pytest.mark.parametrize("label", ["", "x:"])
def test_a_lone_column_that_is_no_light_gives_no_sample(
    value: Callable[[int], float], label: str
) -> None:
    stream, heard, refused = LineDecoder("s"), Heard(), []
    for k in range(800):
        try:
            raw = f"{label}{value(k)}\n".encode()
            heard.take(stream.push(CHANNEL, START + k * NS // 100, raw))
        except BadPacket as error:
            refused.append(str(error))
    assert not heard.chunks
    assert all("?channel=" in text for text in refused)
    assert len(refused) >= 3


@pytest.mark.parametrize("count", [20, 190, 800])
def test_a_counter_unplugged_at_any_time_is_never_light(count: int) -> None:
    stream = LineDecoder("s")
    for begin in (START, START + 60 * NS):
        for k in range(count):
            with contextlib.suppress(BadPacket):
                assert stream.push(CHANNEL, begin + k * NS // 100, b"%d\n" % (k % 256)) == []
        assert stream.flush() == []
        stream.interrupted("unplugged", relinked=True)
    heard = read(["", *(str(x) for x in LIGHT)], stream=stream)
    assert heard.samples > 1000


@pytest.mark.parametrize("line", ["ax:{k},ay:1,az:980", "hr:72,spo2:98", "temp:{k},bpm:60"])
def test_lines_without_light_give_no_sample(line: str) -> None:
    stream = LineDecoder("s")
    raw = [(line.format(k=k) + "\n").encode() for k in range(10)]
    assert stream.push(CHANNEL, START, b"".join(raw[:2])) == []
    with pytest.raises(BadPacket, match=r"no column that may be light among .*\?channel="):
        stream.push(CHANNEL, START + NS, b"".join(raw[2:]))
    assert stream.flush() == []


def test_pulse_sensor_prints_one_sample_and_two_numerics() -> None:
    lines = [""]
    for k, x in enumerate(LIGHT):
        lines += [f"S{x % 1000}"] + (["B72", "Q833"] if k % 83 == 50 else [])
    heard = read(lines)
    assert heard.data[:, 0].tolist() == [float(x % 1000) for x in LIGHT[1:]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_end_of_line(end: str) -> None:
    heard = read(["", *(f"ir:{x}" for x in LIGHT), "ir:1"], end)
    assert heard.data[: len(LIGHT) - 1, 0].tolist() == [float(x) for x in LIGHT[1:]]


@pytest.mark.parametrize(
    ("label", "unit"),
    [
        ("t", ""), ("time", ""), ("timestamp", ""), ("Time[s]", "s"), ("time (ms)", "ms"),
        ("time_us", "us"), ("t_ms", "ms"), ("millis", "ms"), ("micros", "us"), ("ms", "ms"),
        ("temp", None), ("ir", None), ("s", None), ("times", None), ("signal", None),
    ],
)  # fmt: skip
def test_names_of_times(label: str, unit: str | None) -> None:
    assert unit_of_time(label) == unit


@pytest.mark.parametrize("scale", [1e-2, 10, 10_000])
@pytest.mark.parametrize("label", ["t", "time", "timestamp"])
def test_the_unit_of_a_time_without_one_is_measured(label: str, scale: float) -> None:
    times = [12 + k * scale for k in range(len(LIGHT))]
    sent = [k for k in range(len(LIGHT)) if k not in (500, 501)]
    lines = [f"{label}:{times[k]:.2f},ir:{LIGHT[k]}" for k in sent]
    heard = read(["", *lines])
    assert heard.samples == len(LIGHT) - 3
    assert heard.chunks[-1].rate == pytest.approx(100, rel=0.01)
    assert [e.detail["lost"] for e in heard.told("gap")] == [2]


@pytest.mark.parametrize("text", ["{", "{}", '{"a": "b"}', '{"a": [1]}', "[1]", "S", "Sx", "B"])
def test_other_lines(text: str) -> None:
    assert parse(text) is None


def test_json_numbers() -> None:
    text = json.dumps({"IR": 5, "red": 6.5, "worn": True, "name": "x"})
    assert parse(text) == (("ir", "red"), (5.0, 6.5))


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("acc100", 100, ("ir",)), ("json", 100, ("ir", "red")), ("sbq", 51, ("signal",))],
)
def test_lines_of_the_field(name: str, rate: float, channels: tuple[str, ...]) -> None:
    file = SHARED / "field" / f"wear-lines-{name}.txt"
    if not file.is_file():
        pytest.skip("the field inputs (../shared/field) are not on this machine")
    stream, heard = LineDecoder("s"), Heard()
    for k, line in enumerate(file.read_bytes().splitlines(keepends=True)):
        heard.take(stream.push(CHANNEL, START + round((k + 1) * NS / rate), line))
    heard.take(stream.flush())
    heard.chunks = [c for c in heard.chunks if c.signal == "ppg"]
    assert {c.channels for c in heard.chunks} == {channels}
    assert heard.chunks[-1].rate == pytest.approx(50 if name == "sbq" else rate, rel=0.03)
    assert not heard.told("gap")


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


async def test_bytes_of_another_speed_are_reported_within_seconds(
    port: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innpar.devices.link.reconnect.USELESS", NS // 2)
    master, path = port
    noise = np.random.default_rng(5)
    texts: list[str] = []
    async with (
        asyncio.timeout(10),
        create(f"serial:{path}").open(clock=SystemClock()) as items,
        asyncio.TaskGroup() as group,
    ):

        async def send() -> None:
            while True:
                os.write(master, bytes(noise.choice([0x80, 0xF8, 0x78, 0xE0], 25).tolist()))
                await asyncio.sleep(0.05)

        sending = group.create_task(send())
        async for item in items:
            assert not isinstance(item, Chunk)
            if isinstance(item, Event) and item.detail.get("code") == "unreadable":
                texts.append(item.detail["text"])
                break
        sending.cancel()
    assert "115200 baud (?baud=…)" in texts[0]
