"""The broker of our own: on this computer only, silent, and gone when we are."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from innpar.stream.errors import BrokerError
from innpar.stream.mqtt import broker as module
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.broker import BrokerSettings, broker_for, embedded_broker, listening
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.results import State
from support.brokers import Broker, free_port
from support.items import beat, birth
from support.listening import Listener

OWNER = """
import asyncio, sys, time
from innpar.stream.mqtt.broker import embedded_broker

async def main():
    async with embedded_broker() as address:
        print(address.port, file=sys.stderr, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def first_port_is_taken() -> Iterator[None]:
    """Have something else listen on 1883, if nothing does already."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", 1883))
            taken.listen()
        yield


@pytest.fixture(params=["mosquitto", "amqtt"])
def own(request: pytest.FixtureRequest) -> BrokerSettings:
    """An embedded broker of either program."""
    if request.param == "amqtt":
        pytest.importorskip("amqtt")
        return BrokerSettings()
    if (program := shutil.which("mosquitto")) is None:
        pytest.skip("mosquitto is not installed")
    return BrokerSettings(program)


def brokers() -> list[psutil.Process]:
    children = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in children if "innpar.stream.mqtt.embedded" in p.cmdline()]


async def test_it_serves_until_we_leave_and_says_offline_to_the_last(own: BrokerSettings) -> None:
    async with embedded_broker(own) as address:
        (process,) = brokers()
        heard = await asyncio.create_subprocess_exec(
            *("mosquitto_sub", "-h", address.host, "-p", str(address.port), "-t", "bp/#", "-v"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with MqttSink.open(address) as sink:
            await sink.send(State("demo", "online"))
            await sink.send(beat(0))
            await sink.flush()
            assert heard.stdout is not None
            lines = [await heard.stdout.readline()]
            while not lines[-1].startswith(b"bp/devices/demo/beats"):
                lines.append(await asyncio.wait_for(heard.stdout.readline(), 5))
        began = time.monotonic()
    assert time.monotonic() - began < 1
    with contextlib.suppress(ProcessLookupError):
        heard.terminate()
    rest, _ = await heard.communicate()
    assert b"bp/devices/demo/state offline\n" in rest
    assert rest.endswith(b"/state offline\n")
    assert not process.is_running()
    assert brokers() == []


@pytest.mark.slow
async def test_a_subscriber_gets_its_topics_and_nothing_else(
    own: BrokerSettings,
) -> None:
    async with embedded_broker(own) as address, MqttSink.open(address) as sink:
        await sink.send(State("demo", "online"))
        where = ("-h", address.host, "-p", str(address.port), "-W", "5", "-v")
        heard = await asyncio.create_subprocess_exec(
            *("mosquitto_sub", *where, "-t", "bp/estimates", "-t", "bp/devices/demo/state"),
            stdout=asyncio.subprocess.PIPE,
        )
        await asyncio.sleep(1)
        await sink.send(beat())
        out, _ = await heard.communicate()
    topics = {line.split()[0] for line in out.decode().splitlines()}
    assert topics == {"bp/devices/demo/state", "bp/estimates"}


async def test_a_killed_one_starts_again_with_what_was_retained(
    own: BrokerSettings,
) -> None:
    async with embedded_broker(own) as address, MqttSink.open(address) as sink:
        await sink.send(birth())
        await sink.send(State("demo", "online"))
        await sink.flush()
        (process,) = brokers()
        process.kill()
        await asyncio.to_thread(gone, [process], 5)
        for seq in range(20):
            await sink.send(beat(seq))
        async with asyncio.timeout(40):
            await sink.flush()
        (again,) = brokers()
        assert again.pid != process.pid
        assert sink.counts["dropped"] == 0
        where = ("-h", address.host, "-p", str(address.port), "-C", "2", "-W", "10", "-v")
        late = await asyncio.create_subprocess_exec(
            *("mosquitto_sub", *where, "-t", "bp/devices/#"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await late.communicate()
        kept = {line.split()[0] for line in out.decode().splitlines()}
        assert kept == {"bp/devices/demo/meta", "bp/devices/demo/state"}
    assert brokers() == []


async def test_it_listens_on_this_computer_only(own: BrokerSettings) -> None:
    async with embedded_broker(own) as address:
        (process,) = brokers()
        everyone = [process, *process.children()]
        found = [c for p in everyone for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
        assert [(c.laddr.ip, c.laddr.port) for c in found] == [("127.0.0.1", address.port)]


@pytest.mark.usefixtures("first_port_is_taken")
async def test_it_takes_the_next_free_port() -> None:
    async with embedded_broker() as first, embedded_broker() as second:
        assert 1883 < first.port < second.port


def owner() -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    return process, int(process.stderr.readline())


def gone(processes: list[psutil.Process], within: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=within)
    return alive == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_owner_however_that_ends(how: signal.Signals) -> None:
    process, port = owner()
    children = psutil.Process(process.pid).children()
    assert len(children) == 1
    process.send_signal(how)
    out, error = process.communicate(timeout=10)
    assert gone(children, 3)
    assert out == b""
    assert b"amqtt" not in error
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_stopped_broker_does_not_hold_us_up() -> None:
    async with embedded_broker():
        (process,) = brokers()
        process.suspend()
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    assert not process.is_running()


async def test_without_a_url_whatever_answers_on_this_computer_is_used(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = mosquitto()
    monkeypatch.setattr(module, "FIRST_PORT", running.port)
    async with broker_for(None) as address:
        assert address == Address("localhost", running.port)
        assert brokers() == []
        async with MqttSink.open(address) as sink:
            await sink.send(beat(0))
            await sink.flush()
    async with broker_for(None, embedded=True) as own:
        assert own.embedded
        assert own.port != running.port
    running.kill()
    async with broker_for(None) as own:
        assert own.embedded


async def test_a_url_is_taken_at_its_word() -> None:
    async with broker_for("mqtts://somewhere:8884") as address:
        assert address == Address("somewhere", 8884, tls=True)
    with pytest.raises(BrokerError, match="not an MQTT URL"):
        async with broker_for("somewhere"):
            pytest.fail("it is no URL")


def watching(port: int, *more: str) -> subprocess.Popen[str]:
    code = "import sys; from innpar.stream.cli.main import main; sys.exit(main())"
    url = f"mqtt://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "watch", "--broker", url, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process


async def publish_until(process: subprocess.Popen[str], port: int, lines: int) -> list[str]:
    """Publish beats until `process` has written `lines`, and return them."""
    assert process.stdout is not None
    out = process.stdout
    async with MqttSink.open(Address("127.0.0.1", port)) as sink:
        first = asyncio.to_thread(lambda: [out.readline() for _ in range(lines)])
        reading = asyncio.create_task(first)
        for seq in range(200):
            await sink.send(beat(seq))
            await asyncio.sleep(0.1)
            if reading.done():
                break
        return await asyncio.wait_for(reading, 1)


async def test_watch_shows_a_line_a_beat_and_ends_with_ctrl_c(mosquitto: Broker) -> None:
    running = mosquitto()
    process = watching(running.port)
    lines = await publish_until(process, running.port, 2)
    process.send_signal(signal.SIGINT)
    _, error = await asyncio.to_thread(process.communicate, timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in error
    for word in ("demo", "SIMULATED", "121/75 mmHg", "MAP  91", "HR  66", "quality  93%"):
        assert word in lines[0]
    assert "cuff 128/79 31 min ago" in lines[0]
    assert "latency 3.4 s" in lines[0]


async def test_watch_hands_on_payloads_and_stands_a_closed_pipe(
    mosquitto: Broker, tmp_path: Path, listen: Callable[..., Listener]
) -> None:
    running = mosquitto()
    process = watching(running.port, "--json", "--topic", "bp/devices/+/beats")
    listener = await asyncio.to_thread(listen, running.port, "bp/estimates")
    lines = await publish_until(process, running.port, 2)
    texts = [message.payload for message in listener.heard()]
    assert {line.rstrip("\n") for line in lines} <= set(texts)
    assert process.stdout is not None
    process.stdout.close()
    async with MqttSink.open(Address("127.0.0.1", running.port)) as sink:
        for seq in range(50):
            await sink.send(beat(seq))
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(process.wait, 10) == 0
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == ""


def test_watch_without_a_broker_is_one_line_and_status_2() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        process = watching(unused.getsockname()[1])
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert error.count("\n") == 1
    assert "nothing listens at mqtt://127.0.0.1" in error


def users(folder: Path) -> Path:
    """Return a password file with the user ``nurse``."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    file = folder / "users"
    subprocess.run(["mosquitto_passwd", "-c", "-b", file, "nurse", "secret"], check=True)
    return file


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.20:1884", "ward3"])
def test_other_computers_need_a_password(host: str, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="other computers need a password: make a file"):
        listening(host, None)
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(BrokerError, match="has no user of `mosquitto_passwd`"):
        listening(host, empty)
    with pytest.raises(BrokerError, match="missing"):
        listening(host, tmp_path / "missing")
    with pytest.raises(BrokerError, match="needs --embedded-broker-listen"):
        listening(None, empty)


async def test_a_broker_for_other_computers_asks_for_their_password(tmp_path: Path) -> None:
    port = free_port()
    settings = listening(f"0.0.0.0:{port}", users(tmp_path))
    words = ["mosquitto_pub", "-h", "127.0.0.1", "-t", "x", "-m", "1"]

    async def sends(*more: str) -> bool:
        process = await asyncio.create_subprocess_exec(*words, *more, stderr=subprocess.DEVNULL)
        return await process.wait() == 0

    async with embedded_broker(settings) as address:
        assert address.port != port
        assert await sends("-p", str(address.port))
        assert await sends("-p", str(port), "-u", "nurse", "-P", "secret")
        assert not await sends("-p", str(port), "-u", "nurse", "-P", "wrong")
        assert not await sends("-p", str(port))
