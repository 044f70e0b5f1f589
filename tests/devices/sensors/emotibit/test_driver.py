"""EmotiBit: its lines in any order, and the device end to end on loopback."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, BadPacket, Chunk, NotFound, Refused
from innpar.devices.conformance import faults as flaws
from innpar.devices.decode import decode
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.registry import create
from innpar.devices.replay import open_recording
from innpar.devices.sensors.emotibit.driver import (
    CHANNEL,
    REACH,
    RESET,
    EmotiBit,
    EmotiBitDecoder,
    PacketOrder,
)
from innpar.devices.sensors.emotibit.link import UdpLink
from innpar.devices.sensors.emotibit.packet import NUMBERS, Packet, build, parse, split
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.sensors.emotibit import VirtualEmotiBit
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints
from support.harness import need_data
from support.scaled import ScaledClock
from support.sensing import Heard, listen, survives

START = 1_790_000_000 * NS
MS = NS // 1000
SPEED = 10.0


def test_a_line() -> None:
    assert parse(b"21440,821,2,PI,1,100,145539,145488") == Packet(
        21440, 821, "PI", (145539.0, 145488.0)
    )
    assert parse(b"21452,830,3,AZ,1,100,0.722,0.729,-0.730").values == (0.722, 0.729, -0.73)
    assert parse(b"25524,1534,1,B%,1,100,91").values == (91.0,)
    assert parse(b"21363,815,4,EM,1,100,RS,RB,2025.csv,PS,MN").values == ()
    assert build(7, NUMBERS + 5, "PG", [1, 2]) == b"7,5,2,PG,1,100,1,2\n"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"21440,821,2,PI,1,100",
        b"21440,821,2,PI,1,100,145539",
        b"21440,821,2,PI,1,100,145539,145488,1",
        b"21440,821,2,PI,1,100,145539,nan",
        b"21440,821,2,PI,1,100,1_0,5",
        b"21440,821,2,PI,1,100,1e3,5",
        b"21440,65536,1,PI,1,100,5",
        b"-1,821,1,PI,1,100,5",
        b"21440,821,0,PI,1,100,",
        b"21440,821,1,pi,1,100,5",
    ],
)
def test_what_is_no_line(line: bytes) -> None:
    with pytest.raises(BadPacket):
        parse(line)


def test_random_bytes() -> None:
    assert survives(EmotiBitDecoder("x"), (CHANNEL,)) > 19_000


def datagrams(batches: int, first: int = 0, number: int = 65_500) -> list[bytes]:
    """Return datagrams of three samples each; sample k of infrared is k, 25 Hz from 1000 ms."""
    out = []
    for b in range(first, first + batches):
        k = [3 * b, 3 * b + 1, 3 * b + 2]
        at, n = 1000 + 40 * k[-1], number + 7 * b
        cells: list[list[Any]] = [k, [i + 1000 for i in k], [-i for i in k]]
        cells += [[i / 1000, 0.5, 1] for i in k[:1]] * 3
        lines = zip(("PI", "PR", "PG", "AX", "AY", "AZ"), cells, strict=True)
        text = [build(at, n + i, tag, values) for i, (tag, values) in enumerate(lines)]
        out.append(b"".join([*text, build(at, n + 6, "T1", [31.7])]))
    return out


def fed(sent: list[bytes], stream: EmotiBitDecoder | None = None) -> tuple[Heard, EmotiBitDecoder]:
    """Push datagrams as they would arrive; return what came out."""
    stream = stream or EmotiBitDecoder("x")
    heard = Heard()
    for raw in sent:
        heard.take(stream.push(CHANNEL, START + stream.arrival_of(CHANNEL, raw), raw))
    return heard.take(stream.flush()), stream


def light(heard: Heard) -> np.ndarray:
    return np.concatenate([c.data for c in heard.chunks if c.signal == "ppg"])


def test_the_stream() -> None:
    heard, stream = fed(datagrams(40))
    assert light(heard)[:, 0].tolist() == list(range(120))
    assert light(heard)[:, 1].tolist() == list(range(1000, 1120))
    assert light(heard)[:, 2].tolist() == [-k for k in range(120)]
    chunks = [c for c in heard.chunks if c.signal == "ppg"]
    assert {c.channels for c in chunks} == {("infrared", "red", "green")}
    assert {c.rate for c in chunks} == {25.0}
    times = np.concatenate([c.times for c in chunks])
    assert np.abs(times - START - (1000 + 40 * np.arange(120)) * MS).max() < 100_000
    acc = [c for c in heard.chunks if c.signal == "acc"]
    assert {c.channels for c in acc} == {("x", "y", "z")}
    assert sum(map(len, acc)) == 120
    assert acc[0].data[0].tolist() == [0.0, 0.0, 0.0]
    assert heard.told("gap") == []
    assert (stream.bad, stream.late, stream.skipped) == (0, 0, 0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_repeated_and_overtaken_datagrams_change_nothing(data: st.DataObject) -> None:
    sent = datagrams(30)
    delays = st.integers(0, REACH // 7 - 1)  # in datagrams: by more it is given up
    late = [
        (k + data.draw(delays), raw)
        for k, raw in enumerate(sent[1:])
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    mixed = [raw for _, raw in sorted(late, key=lambda one: one[0])]
    heard, _ = fed([sent[0], *mixed])
    assert light(heard)[:, 0].tolist() == list(range(90))
    assert heard.told("gap") == []


@pytest.mark.parametrize("missing", [{10}, {10, 11, 12}, set(range(5, 25)), {3, 9, 10, 20}])
def test_a_lost_datagram_is_a_gap_to_the_sample(missing: set[int]) -> None:
    sent = [raw for b, raw in enumerate(datagrams(60)) if b not in missing]
    heard, stream = fed(sent)
    taken = [k for b in range(60) if b not in missing for k in (3 * b, 3 * b + 1, 3 * b + 2)]
    assert light(heard)[:, 0].tolist() == taken
    gaps = [e.detail for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    assert sum(gap["lost"] for gap in gaps) == 3 * len(missing) == stream.lost
    assert {gap["why"] for gap in gaps} == {"samples did not arrive"}


def test_one_lost_colour_is_not_a_number() -> None:
    sent = datagrams(30)
    sent[10] = b"".join(line + b"\n" for line in split(sent[10]) if b",PR," not in line)
    heard, _ = fed(sent)
    assert np.flatnonzero(np.isnan(light(heard)[:, 1])).tolist() == [30, 31, 32]
    assert not np.isnan(light(heard)[:, [0, 2]]).any()
    assert heard.told("gap") == []


def test_switched_off_and_on_is_a_gap_of_unknown_size() -> None:
    _, stream = fed(datagrams(200))
    again = EmotiBitDecoder("x")
    heard = Heard()
    for k, raw in enumerate([*datagrams(200), *datagrams(40, number=3)]):
        heard.take(again.push(CHANNEL, START + k * 120 * MS, raw))
    heard.take(again.flush())
    lost = [e.detail["lost"] for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    assert lost == [None]
    assert stream.late == 0
    times = np.concatenate([c.times for c in heard.chunks if c.signal == "ppg"])
    assert (np.diff(times) > 0).all()
    assert len(times) == 720


@pytest.mark.parametrize("size", range(0, 200, 3))
def test_a_datagram_that_was_cut_gives_a_prefix(size: int) -> None:
    before, cut = datagrams(20)[:19], datagrams(20)[19][:size]
    stream = EmotiBitDecoder("x")
    heard = Heard()
    for raw in before:
        heard.take(stream.push(CHANNEL, START, raw))
    try:
        heard.take(stream.push(CHANNEL, START, cut))
    except BadPacket:
        assert b"\n" not in cut
    heard.take(stream.flush())
    seen = light(heard)[:, 0]
    whole = 60 if cut.count(b"\n") else 57
    assert seen.tolist() == list(range(whole))


def test_the_order_holds_a_bounded_number() -> None:
    order = PacketOrder()

    def push(number: int) -> list[int]:
        packet = Packet(0, number % NUMBERS, "T1", ())
        return [packet.number for packet, arrival in order.push(packet, 7 * number)]

    assert push(5) == [5]
    for number in range(7, 5 + REACH):
        assert push(number) == []
    assert push(6 + REACH) == list(range(7, 5 + REACH))
    assert push(6) == []
    assert order.late == 1
    assert push(5 + REACH) == [5 + REACH, 6 + REACH]
    assert push(7 + REACH - RESET) == []
    assert push(6 + REACH - RESET) == [(6 + REACH - RESET) % NUMBERS]
    assert order.late == 2


def test_decode() -> None:
    lines = [raw.hex() for raw in datagrams(3)]
    found = [r for r in decode("emotibit", lines) if r.get("signal") == "ppg"]
    assert [r["infrared"] for r in found] == list(range(9))
    assert found[1]["time"] - found[0]["time"] == 40 * MS


@pytest.mark.real
def test_a_recording_as_if_it_came_over_the_network() -> None:
    """The same samples as the reader of the file finds, and the accelerometer's."""
    path = need_data() / "wearable/emotibit/emotibit_raw.csv.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines()
    sent = [b"".join(line + b"\n" for line in lines[i : i + 9]) for i in range(0, len(lines), 9)]
    heard, stream = fed(sent)
    recording = open_recording(path, {}).recording
    expected = np.concatenate([block.data for block in recording.read([])])
    assert np.array_equal(light(heard), expected)
    assert heard.told("gap") == []
    acc = np.concatenate([c.data for c in heard.chunks if c.signal == "acc"])
    assert abs(len(acc) - len(expected)) < 10
    assert 0.9 < float(np.median(np.linalg.norm(acc, axis=1))) < 1.1
    assert [e.detail["percent"] for e in heard.told("battery")][:1] == [91]
    assert (stream.bad, stream.skipped) == (0, 0)


# On loopback


class Numbered:
    """Light that says when it was seen, in milliseconds since `zero`."""

    zero = 0

    def __call__(self, times: Ints) -> Ints:
        seen = (times - self.zero + MS // 2) // MS
        return np.stack([seen, seen % 1000, -seen, seen * 0], axis=1)


def virtual(clock: ScaledClock, **options: Any) -> VirtualEmotiBit:
    seen = Numbered()
    sensor = VirtualEmotiBit(clock, seen, **options)
    seen.zero = sensor.on_at
    return sensor


async def heard_of(
    sensor: VirtualEmotiBit, clock: ScaledClock, done: Callable[[Heard], bool], **options: Any
) -> Heard:
    device = EmotiBit("127.0.0.1", port=sensor.port, **options)
    return await listen(device, clock, done)


def ppg(heard: Heard) -> list[Chunk]:
    return [c for c in heard.chunks if c.signal == "ppg"]


def account(heard: Heard) -> None:
    """Taken is received plus declared lost, to the sample; times are those of the light."""
    places = np.concatenate([np.rint(c.data[:, 0] / 40) for c in ppg(heard)]).astype(int)
    times = np.concatenate([c.times for c in ppg(heard)])
    assert (np.diff(places) > 0).all()
    assert (np.diff(times) > 0).all()
    gaps = [e for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    lost = [e.detail["lost"] for e in gaps]
    assert None not in lost
    assert places[-1] - places[0] + 1 == len(places) + sum(lost)


async def test_it_streams() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:
        heard = await heard_of(sensor, clock, lambda h: len(ppg(h)) > 60)
        assert sensor.commands == ["MN", "ED"]
    account(heard)
    assert heard.told("gap") == []
    told = heard.told("connected")[0].detail
    assert (told["model"], told["serial"]) == ("EmotiBit", "MD-V6-0000042")
    assert heard.told("connected")[0].device == "emotibit-127.0.0.1"
    assert {c.signal for c in heard.chunks} == {"ppg", "acc"}


async def test_by_serial_number() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:
        device = EmotiBit("127.0.0.1", serial="0000042", port=sensor.port)
        assert device.id == "emotibit-0000042"
        await listen(device, clock, lambda h: h.samples > 20)
        other = EmotiBit("127.0.0.1", serial="0000043", port=sensor.port, wait=1)
        with pytest.raises(NotFound, match=r"no EmotiBit 0000043 answers at 127.0.0.1: switch it"):
            await listen(other, clock, lambda h: True)


@pytest.mark.parametrize(
    ("faults", "copies"),
    [
        (Faults(drop=0.1), 1),
        (Faults(), 3),
        (Faults(swap=0.3), 2),
        (Faults(truncate=0.1), 1),
        (Faults(drop=0.1, swap=0.2, ppm=400), 2),
    ],
)
async def test_lost_overtaken_repeated_and_cut_datagrams(faults: Faults, copies: int) -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock, faults=faults, copies=copies, seed=5).serving() as sensor:
        heard = await heard_of(sensor, clock, lambda h: len(ppg(h)) > 80)
    whole = [c for c in ppg(heard) if not np.isnan(c.data).any()]
    heard.chunks = whole if faults.truncate else heard.chunks
    if faults.truncate:
        assert len(whole) > 60  # a cut one may give some of its colours
    else:
        account(heard)
    gaps = [e for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    assert bool(gaps) == bool(faults.drop or faults.truncate)


async def test_a_link_that_is_lost_and_a_silence_are_survived_and_counted() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:

        def stir(heard: Heard) -> bool:
            n = len(ppg(heard))
            if n == 15 and not heard.told("disconnected"):
                sensor.hang_up()
            if n == 40 and not sensor.faults.stall and not heard.told("notice"):
                sensor.faults.stall = True
            if heard.told("notice"):
                sensor.faults.stall = False
            return n > 70

        heard = await heard_of(sensor, clock, stir)
    account(heard)
    assert len(heard.told("connected")) == 2
    assert "hung up" in heard.told("disconnected")[0].detail["why"]
    assert code_of(heard.told("notice")[0]) is NoticeCode.NO_SAMPLES
    whys = [e.detail["why"] for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    assert whys == ["link lost", "stalled"]


async def test_told_again_to_send_it_skips_nothing() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:

        async def nag() -> None:
            while True:
                sensor.obey("MN")
                await asyncio.sleep(0.001)

        nagging = asyncio.create_task(nag())
        heard = await heard_of(sensor, clock, lambda h: len(ppg(h)) > 30)
        nagging.cancel()
    assert heard.told("gap") == []


@pytest.mark.parametrize("turns", range(8))
async def test_whoever_comes_as_the_link_is_given_up_is_closed_too(turns: int) -> None:
    link = UdpLink("127.0.0.1", 9, CHANNEL, ScaledClock(SPEED))

    async def use() -> None:
        async with link.connected("127.0.0.1"):
            await asyncio.Event().wait()

    using = asyncio.create_task(use())
    while not link.ports[0]:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0)
    with socket.create_connection(("127.0.0.1", link.ports[0])) as end:
        end.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        using.cancel()
        await asyncio.gather(using, return_exceptions=True)
        with suppress(ConnectionResetError):
            while await asyncio.wait_for(asyncio.get_running_loop().sock_recv(end, 64), 20):
                pass  # goodbye


async def test_switched_off_and_on_again() -> None:
    clock = ScaledClock(SPEED)
    tasks: list[asyncio.Future[None]] = []
    async with virtual(clock).serving() as sensor:

        async def off_and_on() -> None:
            sensor.power(False)
            await asyncio.sleep(0.5)
            sensor.power(True)

        def stir(heard: Heard) -> bool:
            if len(ppg(heard)) == 20 and not tasks:
                tasks.append(asyncio.ensure_future(off_and_on()))
            return len(ppg(heard)) > 40

        heard = await heard_of(sensor, clock, stir)
    lost = [e.detail["lost"] for e in heard.told("gap") if e.detail["signal"] == "ppg"]
    assert lost == [None]
    assert len(heard.told("connected")) == 2


async def test_it_is_told_the_time_when_it_asks() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:

        def stir(heard: Heard) -> bool:
            if len(heard.chunks) == 20:
                sensor.ask_for_the_time()
            return sensor.answers_time > 0

        await heard_of(sensor, clock, stir)


async def test_one_that_sends_to_somebody_else() -> None:
    clock = ScaledClock(SPEED)
    async with virtual(clock).serving() as sensor:
        first = EmotiBit("127.0.0.1", port=sensor.port)
        async with first.open(clock=clock) as items:
            assert await anext(items)
            with pytest.raises(
                NotFound, match=r"MD-V6-0000042 at 127.0.0.1 is connected elsewhere"
            ):
                await heard_of(sensor, clock, lambda h: True, wait=1)


async def test_not_there() -> None:
    clock = ScaledClock(SPEED)
    device = EmotiBit("127.0.0.1", port=9, wait=1)
    with pytest.raises(NotFound, match=r"no EmotiBit answers at 127.0.0.1: switch it on"):
        await listen(device, clock, lambda h: True)
    nobody = EmotiBit("no-such-host.invalid", wait=1)
    with pytest.raises(NotFound, match="no host is called"):
        await listen(nobody, clock, lambda h: True)
    with pytest.raises(NotFound, match=r"no host is called 'a\.\.b'"):
        await listen(EmotiBit("a..b", wait=1), clock, lambda h: True)
    with pytest.raises(NotFound, match="::1 is not an IPv4 address"):
        await listen(EmotiBit("::1", wait=1), clock, lambda h: True)


async def test_no_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(host: str, port: int) -> str:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("innpar.devices.sensors.emotibit.link.local_address", unreachable)
    with pytest.raises(NotFound, match=r"no network reaches 10\.1\.2\.3"):
        await listen(EmotiBit("10.1.2.3", wait=1), ScaledClock(SPEED), lambda h: True)


@pytest.mark.slow
async def test_it_conforms() -> None:
    assert await flaws(virtual_device(create("emotibit")), seconds=3.0) == []


def test_making_one() -> None:
    device = create("emotibit:192.168.1.20?serial=42&port=4000")
    assert isinstance(device, EmotiBit)
    assert (device.host, device.who, device.port) == ("192.168.1.20", "42", 4000)
    assert create("emotibit").id == "emotibit"
    with pytest.raises(Refused, match="no option 'rate'"):
        create("emotibit?rate=25")
