"""Life under a service manager: start, signs of life, reload and end of a real run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from innpar.stream.app.operations.service import NetworkProgress, ServiceManager
from support.brokers import Broker
from support.paths import ROOT
from support.waiting import wait_for

UNIT = ROOT / "examples/deploy/innpar-stream.service"


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address[0] == "@" else address)
        self._socket.setblocking(False)

    def received(self, *wanted: str) -> bool:
        """Return whether each of these lines was in some message."""
        while True:
            try:
                self.messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                break
        lines = {line for message in self.messages for line in message.split("\n")}
        return all(any(line.startswith(one) for line in lines) for one in wanted)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@innpar-{os.getpid()}-{tmp_path.name}"
    found = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield found
    found.close()


@contextmanager
def running(
    *arguments: str, manager: Manager | None = None, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Run under a service manager; end the run on leaving."""
    environment = {**os.environ, **variables}
    if manager is not None:
        environment["NOTIFY_SOCKET"] = manager.address
    command = [sys.executable, "-m", "innpar.stream.cli.main", "--node", "bed4", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit status and standard error, well before the wait for a broker would be over."""
    _, errors = run.communicate(timeout=15)
    return run.returncode, errors


@pytest.mark.slow
def test_the_service_manager_follows_the_run(manager: Manager, mosquitto: Broker) -> None:
    arguments = ("--device", "demo", "--broker", mosquitto().url)
    with running(*arguments, manager=manager, WATCHDOG_USEC="600000") as run:
        wait_for(lambda: manager.received("READY=1", "WATCHDOG=1", "STATUS=ok"))
        assert not manager.received("STOPPING=1")
        run.send_signal(signal.SIGTERM)
        assert ended(run)[0] == 0
    assert manager.received("STOPPING=1")


@pytest.mark.slow
@pytest.mark.parametrize("away", ["never there", "killed", "frozen"])
def test_sigterm_does_not_wait_for_a_broker(away: str, mosquitto: Broker, tmp_path: Path) -> None:
    broker = mosquitto()
    if away == "never there":
        broker.kill()
    manager = Manager(str(tmp_path / "notify"))
    arguments = ("--device", "demo", "--broker", broker.url, "--broker-wait", "retry")
    with running(*arguments, "--record", f"{tmp_path}/night.mcap", manager=manager) as run:
        wait_for(lambda: manager.received("READY=1"))
        if away == "killed":
            broker.kill()
        elif away == "frozen":
            broker.signal(signal.SIGSTOP)
        if away != "never there":
            wait_for(lambda: manager.received("STATUS="))
        run.send_signal(signal.SIGTERM)
        status, errors = ended(run)
    manager.close()
    assert status in (0, 1)  # 1: not one sample, for a simulated wearer waits for the broker
    assert "Traceback" not in errors
    assert (tmp_path / "night.mcap").exists()


@pytest.mark.slow
def test_sighup_reloads_what_can_change_and_names_the_rest(
    mosquitto: Broker, tmp_path: Path
) -> None:
    broker, manager = mosquitto(), Manager(str(tmp_path / "notify"))
    file = tmp_path / "run.toml"
    fixed = f'device = ["demo"]\nbroker = "{broker.url}"\n'
    file.write_text(fixed)
    with running("--config", str(file), manager=manager) as run:
        assert run.stderr is not None

        def reload(text: str) -> None:
            file.write_text(fixed + text)
            run.send_signal(signal.SIGHUP)

        wait_for(lambda: manager.received("READY=1"))
        reload('alarm = ["map<65@60"]\nlate = 3\ntopic = "ward"\n')
        assert run.stderr.readline() == "reloaded: alarm, late\n"
        assert run.stderr.readline() == "not reloaded: topic; restart the run for it\n"
        reload('alarm = ["map<65"]\n')
        assert "nothing was reloaded: " in run.stderr.readline()
        reload('alarm = ["map<65@60"]\nlate = 3\n')
        assert run.stderr.readline() == "reloaded: nothing has changed\n"
        assert manager.received("RELOADING=1", "MONOTONIC_USEC=")
        run.send_signal(signal.SIGTERM)
        assert ended(run) == (0, "")
    manager.close()


@pytest.mark.slow
def test_sighup_without_a_configuration_ends_the_run_in_order(mosquitto: Broker) -> None:
    manager = Manager(f"@innpar-hangup-{os.getpid()}")
    with running("--device", "demo", "--broker", mosquitto().url, manager=manager) as run:
        wait_for(lambda: manager.received("READY=1"))
        run.send_signal(signal.SIGHUP)
        assert ended(run) == (0, "")
    manager.close()


def test_the_watchdog_is_fed_while_the_network_works() -> None:
    calls, waiting = 0, 0
    works = NetworkProgress(lambda: calls, lambda: waiting)
    assert works()
    assert works()  # nothing to do
    waiting = 3
    assert not works()
    calls = 1
    assert works()
    assert not works()
    waiting = 0
    assert works()


@pytest.mark.parametrize(
    ("variables", "address", "every"),
    [
        ({}, None, 10.0),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None, 10.0),
        ({"NOTIFY_SOCKET": "/run/n"}, "/run/n", 10.0),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000"}, "/run/n", 1.0),
        (
            {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
            "/run/n",
            10,
        ),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, "/run/n", 10.0),
    ],
)
def test_the_environment_names_the_manager(
    variables: dict[str, str], address: str | None, every: float
) -> None:
    assert ServiceManager.found(variables) == ServiceManager(address, every)


def test_a_manager_that_is_gone_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager("/nonexistent/notify").send(READY=1)
    assert "the service manager cannot be reached" in caplog.text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    program = "/opt/innpar-stream/bin/innpar-stream"
    assert program in UNIT.read_text()
    unit.write_text(UNIT.read_text().replace(program, sys.executable))
    for arguments in (("verify", "--man=no"), ("security", "--offline=yes", "--threshold=20")):
        done = subprocess.run(
            ["systemd-analyze", *arguments, str(unit)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert unit.name not in done.stderr
