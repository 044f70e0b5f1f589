"""Lines of JSON over UDP, WebSocket and MQTT."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from innpar.devices.base import NS, BadPacket, Chunk, Event, NotFound, Refused
from innpar.devices.conformance import check
from innpar.devices.link.udp_listener import CHANNEL
from innpar.devices.registry import create
from innpar.devices.sensors.boards.message_decoder import MessageDecoder
from innpar.devices.timing.pace import SystemClock
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.world.faults import Faults
from support.brokers import Mosquitto, free_port

Item = Chunk | Event
Send = Callable[[str], Awaitable[None]]
START = 1_790_000_000 * NS


def line(n: int, **more: float) -> str:
    """Return sample `n` at 100 Hz; its number is the infrared value."""
    return json.dumps({"t": 10 * n + 5, "ir": n, "red": -n, **more})


def light(items: Sequence[Item]) -> list[int]:
    return [int(v) for i in items if isinstance(i, Chunk) for v in i.data[:, 0]]


def kinds(items: Sequence[Item], kind: str) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == kind]


class Fed:
    """A decoder that receives messages at their times."""

    def __init__(self) -> None:
        self.decoder = MessageDecoder("d")
        self.items: list[Item] = []
        self.bad = 0

    def push(self, message: str | bytes, seconds: float) -> None:
        raw = message.encode() if isinstance(message, str) else message
        arrival = START + round(seconds * NS)
        try:
            new = self.decoder.push(CHANNEL, arrival, raw)
        except BadPacket:
            self.bad += 1
            return
        for item in new:
            assert not isinstance(item, Chunk) or item.times[-1] <= arrival + 50_000_000
        self.items += new

    def end(self) -> list[Item]:
        self.items += self.decoder.flush()
        times = [int(t) for item in self.items if isinstance(item, Chunk) for t in item.times]
        assert times == sorted(set(times))
        return self.items


@settings(deadline=None, max_examples=12)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0, 0.2),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.integers(1, 5),
)
def test_sent_is_received_or_declared_lost(
    seed: int, drop: float, double: float, swap: float, batch: int
) -> None:
    rng, fed = np.random.default_rng(seed), Fed()
    messages = [range(k, k + batch) for k in range(0, 600, batch)]
    edge = {*range(3), *range(len(messages) - 3, len(messages))}
    order = [k for k in range(len(messages)) if k in edge or rng.random() >= drop]
    for k in range(4, len(order) - 4):
        if rng.random() < swap:
            order[k], order[k + 1] = order[k + 1], order[k]
    copies = [k for k in order for _ in range(1 + (rng.random() < double))]
    latest = 0.0
    for k in copies:
        latest = max(latest, messages[k][-1] / 100 + rng.uniform(0, 0.004))
        fed.push("\n".join(map(line, messages[k])), latest)
    items = fed.end()
    got = light(items)
    assert got == sorted(set(got))
    lost = sum(gap.detail["lost"] for gap in kinds(items, "gap"))
    assert len(got) + lost == got[-1] - got[0] + 1
    assert got[0] <= 1
    assert got[-1] == messages[-1][-1]


def test_a_sender_that_begins_anew_is_followed() -> None:
    fed = Fed()
    for n in range(500):
        fed.push(line(n), n / 100)
    for n in range(500):
        fed.push(line(n), 7 + n / 100)
    got = light(fed.end())
    assert got[:499] == list(range(1, 500))
    assert got[499:] == list(range(500))
    (gap,) = kinds(fed.items, "gap")
    assert gap.detail["lost"] is None


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1.79e12])
def test_the_unit_of_the_time_is_measured(unit: float, offset: float) -> None:
    fed = Fed()
    for n in range(400):
        fed.push(json.dumps({"t": (offset + 10 * n + 3) * unit, "ir": n}), n / 100)
    chunks = [item for item in fed.end() if isinstance(item, Chunk)]
    assert {c.rate for c in chunks} == {100.0}
    assert light(chunks) == list(range(1, 400))


@pytest.mark.parametrize("time", [0, 17.5, 1e300])
def test_a_time_that_stands_still_is_replaced_by_a_count(time: float) -> None:
    fed = Fed()
    for n in range(2000):
        fed.push(json.dumps({"t": time, "ir": n}), n / 100)
    got = light(fed.end())
    assert len(got) > 1000
    assert {c.rate for c in fed.items if isinstance(c, Chunk)} == {100.0}


def test_keys_in_another_order_and_additional_columns() -> None:
    fed = Fed()
    for n in range(300):
        record = {"t": 10 * n + 5, "ir": n, "hr": 70.0, "counter": n % 256}
        keys = [*record] if n % 2 else [*reversed(record)]
        fed.push(json.dumps({key: record[key] for key in keys}), n / 100)
    assert light(fed.end()) == list(range(1, 300))
    assert {c.channels for c in fed.items if isinstance(c, Chunk)} == {("ir",)}


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"\xff\xfe\x00", b"{", b"[]", b"null", b'{"t": 1}'[:-1], b'{"ir": 1' + b"0" * 900,
        b"{" * 5000, b'{"a":' * 180, b"5," * 40_000, b"a " * 30_000, b'{"other": 5}',
    ],
)  # fmt: skip
def test_bad_messages_are_no_samples(bad: bytes) -> None:
    fed = Fed()
    for n in range(300):
        fed.push(line(n), n / 100)
        if n % 10 == 5:
            fed.push(bad, n / 100)
    assert light(fed.end()) == list(range(1, 300))
    assert fed.bad == (0 if bad == b"" else 30)


@pytest.mark.parametrize("value", ["1e999", "NaN", "Infinity", "1" + "0" * 400])
def test_numbers_beyond_any_are_missing(value: str) -> None:
    fed = Fed()
    for n in range(300):
        fed.push(f'{{"t":{10 * n + 5},"ir":{value if n == 200 else n}}}', n / 100)
    data = np.concatenate([c.data[:, 0] for c in fed.end() if isinstance(c, Chunk)])
    assert np.isnan(data[199])
    assert np.isfinite(np.delete(data, 199)).all()


@asynccontextmanager
async def udp(port: int) -> AsyncIterator[Send]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        async def send(text: str) -> None:
            sender.sendto(text.encode(), ("127.0.0.1", port))

        yield send


@asynccontextmanager
async def websocket(port: int) -> AsyncIterator[Send]:
    async with connect(f"ws://127.0.0.1:{port}") as client:
        yield client.send


@asynccontextmanager
async def mqtt(port: int) -> AsyncIterator[Send]:
    async with aiomqtt.Client("127.0.0.1", port) as client:

        async def send(text: str) -> None:
            await client.publish("ward/ppg", text)

        yield send


async def collect(
    spec: str,
    opened: Callable[[], AbstractAsyncContextManager[Send]],
    done: Callable[[list[Item]], bool],
) -> list[Item]:
    """Collect what a device yields while lines are sent at 100 Hz."""
    items: list[Item] = []
    clock = SystemClock()
    async with (
        asyncio.timeout(20),
        create(spec).open(clock=clock) as stream,
        opened() as send,
    ):

        async def run() -> None:
            began = clock.now()
            for n in range(5000):
                await clock.sleep_until(began + n * NS // 100)
                await send(line(n))
                if n == 150:
                    await send("not a sample")

        sending = asyncio.ensure_future(run())
        try:
            async for item in stream:
                items.append(item)
                if done(items):
                    break
        finally:
            sending.cancel()
            await asyncio.wait({sending})
    return items


@pytest.fixture
def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    running = Mosquitto(tmp_path, ())
    running.start()
    yield running
    running.kill()


def arrived(items: list[Item]) -> bool:
    return len(light(items)) > 250


def proper(items: list[Item]) -> None:
    got = light(items)
    assert got == list(range(got[0], got[0] + len(got)))
    assert kinds(items, "gap") == []
    (notice,) = kinds(items, "notice")
    assert notice.detail["code"] == "undecodable"
    assert "not a sample" in notice.detail["text"]
    times = np.concatenate([c.times for c in items if isinstance(c, Chunk)])
    assert (np.diff(times) > 0).all()
    assert abs(np.median(np.diff(times)) - NS / 100) < 1e6
    assert SystemClock().now() - 60 * NS < times[-1] <= SystemClock().now()


async def test_over_udp_on_loopback() -> None:
    port = free_port()
    proper(await collect(f"json-udp:{port}", lambda: udp(port), arrived))


async def test_over_a_websocket_on_loopback() -> None:
    port = free_port()
    proper(await collect(f"json-ws:{port}", lambda: websocket(port), arrived))


async def test_over_mqtt_on_loopback(broker: Mosquitto) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("ward/ppg", "stale", qos=1, retain=True)
    spec = f"json-mqtt:ward/ppg?broker=127.0.0.1:{broker.port}"
    proper(await collect(spec, lambda: mqtt(broker.port), arrived))


async def test_a_second_sender_is_not_mixed_in() -> None:
    port = free_port()

    @asynccontextmanager
    async def both() -> AsyncIterator[Send]:
        async with udp(port) as send, udp(port) as other:

            async def send_both(text: str) -> None:
                await send(text)
                await other('{"t":77,"ir":-5,"red":0}')

            yield send_both

    items = await collect(f"json-udp:{port}", both, arrived)
    assert min(light(items)) >= 0
    assert kinds(items, "gap") == []


async def test_a_websocket_client_that_comes_back() -> None:
    port = free_port()
    items: list[Item] = []
    async with asyncio.timeout(20), create(f"json-ws:{port}").open(clock=SystemClock()) as stream:

        async def run() -> None:
            first = 0
            while True:
                try:
                    async with websocket(port) as send:
                        for n in range(first, first + 260):
                            await asyncio.sleep(0.01)
                            await send(line(n))
                    first += 1000
                except (OSError, WebSocketException):
                    await asyncio.sleep(0.05)

        sending = asyncio.ensure_future(run())
        async for item in stream:
            items.append(item)
            if len(kinds(items, "connected")) == 2 and light(items)[-1:] > [1000]:
                break
        sending.cancel()
        await asyncio.wait({sending})
    assert "hung up" in kinds(items, "disconnected")[0].detail["why"]
    got = light(items)
    assert got == sorted(set(got))


async def test_scripts_of_web_pages_and_second_clients_are_refused() -> None:
    port = free_port()
    async with create(f"json-ws:{port}").open(clock=SystemClock()):
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{port}", origin="http://evil.example"):
                pass
        async with websocket(port), connect(f"ws://127.0.0.1:{port}") as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.reason == "another sender is connected"


async def test_silence_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innpar.devices.sensors.boards.messages.STALL", 0.2)
    port = free_port()
    async with asyncio.timeout(5), create(f"json-udp:{port}").open(clock=SystemClock()) as stream:
        notice = [item async for item in _first(stream, 2)][1]
    assert isinstance(notice, Event)
    assert f"json-udp:0.0.0.0:{port}" in notice.detail["text"]


async def _first(stream: AsyncIterator[Item], count: int) -> AsyncIterator[Item]:
    for _ in range(count):
        yield await anext(stream)


@pytest.mark.parametrize("kind", ["json-udp", "json-ws"])
async def test_a_port_in_use(kind: str) -> None:
    taken = socket.SOCK_DGRAM if kind == "json-udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, taken) as other:
        other.bind(("127.0.0.1", 0))
        if kind == "json-ws":
            other.listen()
        device = create(f"{kind}:{other.getsockname()[1]}")
        with pytest.raises(NotFound, match="end the program that uses it"):
            async with device.open(clock=SystemClock()):
                pass


async def test_no_broker() -> None:
    device = create(f"json-mqtt:x?broker=127.0.0.1:{free_port()}")
    with pytest.raises(NotFound, match="cannot be used"):
        async with device.open(clock=SystemClock()):
            pass


async def test_a_broker_that_answers_too_late_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("innpar.devices.link.mqtt_subscriber.SECONDS", 0.2)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        await asyncio.sleep(0.4)
        with suppress(ConnectionError):
            writer.write(b"\x20\x02\x00\x00")  # accepted
            while await reader.read(100):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        device = create(f"json-mqtt:x?broker=127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(NotFound, match="cannot be used"):
            async with device.open(clock=SystemClock()):
                pass
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("json-udp:x", "write json-udp:PORT"),
        ("json-udp:0", "write json-udp:PORT"),
        ("json-udp:70000", "write json-udp:PORT"),
        ("json-udp:1.2.3.4", "write json-udp:PORT"),
        ("json-udp:5005?unit=min", "unit must be one of"),
        ("json-ws:5006?orign=x", "did you mean origin"),
        ("json-mqtt:a/#", "one topic"),
        ("json-mqtt:a?password_file=/nowhere", "cannot be read"),
        ("json-mqtt:a?broker=b:c", "write json-mqtt:PORT"),
    ],
)
def test_invalid_options(spec: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        create(spec)


def test_a_password_stays_off_the_network(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    options = f"broker=10.0.0.5:1883&user=me&password_file={file}"
    with pytest.raises(Refused, match=r"unencrypted: add \?tls=on"):
        create(f"json-mqtt:a?{options}")
    create(f"json-mqtt:a?{options}&tls=on")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json-udp", "json-ws"])
def test_the_virtual_senders_conform(kind: str) -> None:
    check(virtual_device(create(f"{kind}:{free_port()}")), seconds=3)


@pytest.mark.slow
async def test_a_virtual_sender_with_losses_and_repeats() -> None:
    faults = Faults(drop=0.1, swap=0.1)
    device = virtual_device(create(f"json-udp:{free_port()}"), faults=faults)
    items: list[Item] = []
    async with asyncio.timeout(30), device.open(clock=SystemClock()) as stream:
        async for item in stream:
            items.append(item)
            if sum(len(i) for i in items if isinstance(i, Chunk) and i.signal == "ppg") > 400:
                break
    ppg = [i for i in items if isinstance(i, Chunk) and i.signal == "ppg"]
    lost = sum(gap.detail["lost"] for gap in kinds(items, "gap"))
    times = np.concatenate([c.times for c in ppg])
    assert lost > 10
    assert len(times) + lost == pytest.approx((times[-1] - times[0]) / NS * 50 + 1, abs=1.5)
