"""Real brokers and listeners for the tests, on loopback, each ended by its process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.listening import Listener
from support.radios import RADIOS, Serve

# A shell that runs the tests in the background ignores SIGINT, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mosquitto:
    """A mosquitto that can be killed, stopped and started again on the same port."""

    def __init__(self, folder: Path, lines: tuple[str, ...]) -> None:
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        lines = lines or ("allow_anonymous true",)
        self._config.write_text(
            f"user {os.environ.get('USER', 'root')}\nlistener {self.port} 127.0.0.1\n"
            "max_queued_messages 100000\n" + "\n".join(lines) + "\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["mosquitto", "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, self._config.read_text()
            time.sleep(0.02)
        raise TimeoutError("mosquitto does not listen")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


Broker = Callable[..., Mosquitto]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """Start a broker with the given lines of configuration; without any, everybody may enter."""
    if shutil.which("mosquitto") is None or shutil.which("mosquitto_sub") is None:
        message = "mosquitto and mosquitto-clients are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    running: list[Mosquitto] = []

    def start(*lines: str) -> Mosquitto:
        broker = Mosquitto(tmp_path, lines)
        running.append(broker)
        broker.start()
        return broker

    yield start
    for broker in running:
        broker.kill()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    """Subscribe with mosquitto_sub, which knows nothing of our code."""
    running: list[Listener] = []

    def start(port: int, *topics: str) -> Listener:
        listener = Listener(port, topics, tmp_path / f"heard-{len(running)}")
        running.append(listener)
        return listener

    yield start
    for listener in running:
        listener.stop()


@pytest.fixture(params=RADIOS)
def air(request: pytest.FixtureRequest) -> Serve:
    """Serve virtual sensors over a Bumble virtual radio, then over a fake BlueZ."""
    return RADIOS[request.param]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or leaves a spool in the user's folders."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
