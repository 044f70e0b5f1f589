"""``innpar-stream calibrate`` with real runs, over both brokers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innpar.devices import Event
from innpar.stream.cli.commands.calibrate import OnlineDevices
from innpar.stream.cli.main import main
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.results import State
from support.brokers import Broker
from support.waiting import wait_for

PROGRAM = [sys.executable, "-m", "innpar.stream.cli.main"]
Started = Callable[..., str]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Start runs, stopped after the test; returns the output up to the first beats."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> str:
        said = tmp_path / f"run-{len(running)}.txt"
        with said.open("w") as out:
            process = subprocess.Popen(
                [*PROGRAM, *arguments], stdout=out, stderr=out, text=True, env={**os.environ}
            )
        running.append(process)
        wait_for(lambda: "HR" in said.read_text() or process.poll() is not None, said.read_text)
        assert process.poll() is None, said.read_text()
        return said.read_text()

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def calibrate(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["calibrate", *arguments])
    out, err = capfd.readouterr()
    assert len((out + err).strip().splitlines()) == 1
    return status, out, err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_over_mosquitto_takes_a_reading(
    mosquitto: Broker, started: Started, capfd: pytest.CaptureFixture[str]
) -> None:
    url = mosquitto().url
    started("--device", "demo", "--broker", url)
    status, out, _ = calibrate(capfd, "--broker", url, "131/77")
    assert status == 0
    assert out.startswith("demo: cuff reading 131/77 mmHg")
    status, _, err = calibrate(capfd, "--broker", url, "40/30")
    assert status == 1
    assert "'sbp' lies within" in err
    status, _, err = calibrate(capfd, "--broker", url, "182/40")
    assert status == 1
    assert err.strip().endswith("send it again with confirm, or use --confirm")
    status, out, _ = calibrate(capfd, "--broker", url, "--confirm", "182/40")
    assert (status, out.startswith("demo: cuff reading 182/40 mmHg")) == (0, True)
    for _ in range(2):  # the wearer's own reading may have come between
        status, out, _ = calibrate(capfd, "--broker", url, "--undo")
        assert (status, out.endswith("mmHg withdrawn\n")) == (0, True)
    status, _, err = calibrate(capfd, "--broker", url, "--device", "dmo", "131/77")
    assert status == 2
    assert "choose from demo" in err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_with_its_own_broker_takes_a_reading(
    started: Started, capfd: pytest.CaptureFixture[str]
) -> None:
    output = started("--device", "demo", "--broker", "embedded")
    match = re.search(r"broker on ([\d.]+:\d+)", output)
    assert match is not None
    url = f"mqtt://{match[1]}"
    status, out, _ = calibrate(capfd, "--broker", url, "--device", "demo", "131/77")
    assert (status, out.startswith("demo: cuff reading 131/77 mmHg")) == (0, True)
    status, _, err = calibrate(capfd, "--broker", url, "182/40")  # answered by an event
    assert status == 1
    assert err.strip().endswith("or use --confirm")
    status, out, _ = calibrate(capfd, "--broker", url, "--undo")
    assert (status, out.endswith("mmHg withdrawn\n")) == (0, True)
    status, _, err = calibrate(capfd, "--broker", url, "40/30")
    assert status == 1
    assert "'sbp' lies within" in err


async def test_the_device_must_be_clear(
    mosquitto: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    url = mosquitto().url
    arguments = ("--broker", url, "128/79")
    status, _, err = await asyncio.to_thread(calibrate, capfd, *arguments)
    assert status == 2
    assert "no device is online" in err
    async with MqttSink.open(Address.parse(url), node="bed4") as sink:
        for name in ("left", "right"):
            await sink.send(State(name, "online"))
        await sink.send(State("gone", "offline"))
        await sink.flush()
        status, _, err = await asyncio.to_thread(calibrate, capfd, *arguments)
        assert status == 2
        assert err.strip().endswith("one of left, right")


@pytest.mark.parametrize(
    ("detail", "refused"),
    [
        ({"text": "calibrate command refused: the sensor sleeps"}, True),  # by version 0.1
        ({"code": "calibrate_refused", "text": "asleep: the sensor sleeps"}, True),
        ({"code": "mark_refused", "text": "the sensor sleeps"}, False),
        ({"text": "mark command refused: the sensor sleeps"}, False),
    ],
)
async def test_a_refusal_by_any_version_is_recognised(
    mosquitto: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    detail: dict[str, str],
    refused: bool,
) -> None:
    """The run answers with an event, not on the response topic."""
    monkeypatch.setattr("innpar.stream.cli.commands.calibrate.ANSWER", 1.0)
    url = mosquitto().url
    async with MqttSink.open(Address.parse(url), node="bed4") as sink:
        await sink.send(State("demo", "online"))
        await sink.flush()
        commands = sink.commands()
        asking = asyncio.create_task(asyncio.to_thread(calibrate, capfd, "--broker", url, "131/77"))
        await asyncio.wait_for(anext(commands), 10)
        await sink.send(Event("demo", "notice", 0, 0, detail))
        status, out, err = await asking
    assert (status, out) == (1, "")
    assert ("the sensor sleeps" in err) == refused
    assert ("not answered" in err) != refused


def test_a_reading_or_an_undo(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--undo", "128/79")):
        status, _, err = calibrate(capfd, *arguments)
        assert status == 2
        assert err.strip().endswith("--undo to withdraw the newest")


@pytest.mark.parametrize("text", ["128", "79/128", "left=128/79", "128/79@5", ""])
def test_invalid_readings(capfd: pytest.CaptureFixture[str], text: str) -> None:
    status, out, err = calibrate(capfd, "--broker", "mqtt://127.0.0.1:9", text)
    assert (status, out) == (2, "")
    assert "128/79" in err


def test_the_devices_of_a_crashed_run_are_not_online() -> None:
    devices = OnlineDevices()
    for levels, payload in (
        ("devices/a/state", b"online"),
        ("devices/b/state", b"online"),
        ("devices/c/state", b"offline"),
        ("bridge/one/state", b"offline"),
        ("bridge/one/info", b'{"devices":["a"]}'),
        ("bridge/two/state", b"online"),
        ("bridge/two/info", b'{"devices":["b",7]}'),
        ("bridge/three/info", b"nonsense"),
    ):
        devices.update(levels.split("/"), payload)
    assert devices.online == ["b"]
    devices.update(["bridge", "two", "info"], b'{"devices":["a","b"]}')
    assert devices.online == ["a", "b"]
