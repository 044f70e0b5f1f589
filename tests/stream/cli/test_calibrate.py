"""``innpar-stream calibrate`` against runs that are really going on, over both brokers."""

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
from innpar.stream.cli.calibrate import OnlineDevices
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
    """Start a run and return what it said once it is streaming; ended with the test."""
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


def asked(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
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
    status, out, _ = asked(capfd, "--broker", url, "131/77")
    assert status == 0
    assert out.startswith("demo: cuff reading 131/77 mmHg")
    status, _, err = asked(capfd, "--broker", url, "40/30")
    assert status == 1
    assert "'sbp' lies within" in err
    status, _, err = asked(capfd, "--broker", url, "--device", "dmo", "131/77")
    assert status == 2
    assert "there is demo" in err


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_with_its_own_broker_takes_a_reading(
    started: Started, capfd: pytest.CaptureFixture[str]
) -> None:
    said = started("--device", "demo", "--broker", "embedded")
    match = re.search(r"broker on ([\d.]+:\d+)", said)
    assert match is not None
    url = f"mqtt://{match[1]}"
    status, out, _ = asked(capfd, "--broker", url, "--device", "demo", "131/77")
    assert (status, out.startswith("demo: cuff reading 131/77 mmHg")) == (0, True)
    status, _, err = asked(capfd, "--broker", url, "40/30")
    assert status == 1
    assert "'sbp' lies within" in err


async def test_whose_reading_it_is_must_be_said(
    mosquitto: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    url = mosquitto().url
    arguments = ("--broker", url, "128/79")
    status, _, err = await asyncio.to_thread(asked, capfd, *arguments)
    assert status == 2
    assert "no device is online" in err
    async with MqttSink.open(Address.parse(url), node="bed4") as sink:
        for name in ("left", "right"):
            await sink.send(State(name, "online"))
        await sink.send(State("gone", "offline"))
        await sink.flush()
        status, _, err = await asyncio.to_thread(asked, capfd, *arguments)
        assert status == 2
        assert err.strip().endswith("one of: left, right")


@pytest.mark.parametrize(
    ("detail", "refused"),
    [
        ({"text": "calibrate command refused: the sensor sleeps"}, True),  # by version 0.1
        ({"code": "calibrate_refused", "text": "asleep: the sensor sleeps"}, True),
        ({"code": "mark_refused", "text": "the sensor sleeps"}, False),
        ({"text": "mark command refused: the sensor sleeps"}, False),
    ],
)
async def test_a_refusal_of_any_version_is_understood(
    mosquitto: Broker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    detail: dict[str, str],
    refused: bool,
) -> None:
    """A run that answers with an event, not to the response topic."""
    monkeypatch.setattr("innpar.stream.cli.calibrate.ANSWER", 1.0)
    url = mosquitto().url
    async with MqttSink.open(Address.parse(url), node="bed4") as sink:
        await sink.send(State("demo", "online"))
        await sink.flush()
        commands = sink.commands()
        asking = asyncio.create_task(asyncio.to_thread(asked, capfd, "--broker", url, "131/77"))
        await asyncio.wait_for(anext(commands), 10)
        await sink.send(Event("demo", "notice", 0, 0, detail))
        status, out, err = await asking
    assert (status, out) == (1, "")
    assert ("the sensor sleeps" in err) == refused
    assert ("not answered" in err) != refused


@pytest.mark.parametrize("text", ["128", "79/128", "left=128/79", "128/79@5", ""])
def test_readings_that_are_none(capfd: pytest.CaptureFixture[str], text: str) -> None:
    status, out, err = asked(capfd, "--broker", "mqtt://127.0.0.1:9", text)
    assert (status, out) == (2, "")
    assert "128/79" in err


def test_a_crashed_run_leaves_nobody_online() -> None:
    present = OnlineDevices()
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
        present.take(levels.split("/"), payload)
    assert present.online == ["b"]
    present.take(["bridge", "two", "info"], b'{"devices":["a","b"]}')
    assert present.online == ["a", "b"]
