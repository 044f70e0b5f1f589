"""Real brokers and listeners for the tests, on loopback, each ended by its process id."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.brokers import Broker, Mosquitto
from support.listening import Listener
from support.radios import RADIOS, Serve

# A shell that runs the tests in the background ignores SIGINT, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, so that a failure is of the change and not of chance;
# `scripts/soak laws` looks for new ones. No deadline: other processes share the computer.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a test file that imports torch where torch is not installed."""
    report = yield
    if report.failed and "No module named 'torch'" in str(report.longrepr):
        why = "Skipped: torch is not installed: scripts/test --torch"
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, why)
    return report


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """Start a broker with these lines of configuration; without any, it is open to all."""
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
    """Subscribe with mosquitto_sub, which is independent of our code."""
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


@pytest.fixture(scope="session", autouse=True)
def _state_of_wider_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep fixtures of a module or session out of the user's state folder, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
