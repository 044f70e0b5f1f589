"""Longest callback of the event loop, by its thread's CPU time, while much happens: callbacks [S]

Four simulated wearers stream in real time to a mosquitto: each gets a cuff reading, a recording
begins, is exported and reported on while it grows, and the broker is killed and started again. S is
the time in seconds for each of these, 20 by default. Prints the longest callback of each phase. The
exit status is 1 where one took more than 100 ms of CPU time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.brokers import Mosquitto
from support.listening import Heard, Listener

SHORT = ("2",)
LIMIT = 0.1
"""s of CPU time."""
WEARERS = tuple(f"demo-{number}" for number in range(1, 5))
EXPORTS = ("csv", "parquet", "fhir")

PROGRAM = """
import asyncio, json, sys, time

out = open(sys.argv.pop(1), "w", buffering=1)
run = asyncio.events.Handle._run

def timed(handle):
    began, at = time.thread_time(), time.time()
    run(handle)
    spent = time.thread_time() - began
    if spent > 0.002:
        out.write(json.dumps([at, spent, repr(handle)]) + "\\n")

asyncio.events.Handle._run = timed
from innpar.stream.cli.main import main
sys.exit(main())
"""
"""The command, with each callback of the loop of more than 2 ms in a file."""


class Phases:
    """The beginning of each phase, s since the Unix epoch."""

    def __init__(self) -> None:
        self._began: list[tuple[float, str]] = []

    def begin(self, name: str) -> None:
        self._began.append((time.time(), name))

    def longest(self, file: Path) -> Iterator[tuple[str, float, str]]:
        """Yield each phase, its longest callback in s of CPU time, and that callback."""
        calls = [json.loads(line) for line in file.read_text().splitlines()]
        ends = [at for at, _ in self._began[1:]] + [float("inf")]
        for (begin, name), end in zip(self._began, ends, strict=True):
            within = [(spent, what) for at, spent, what in calls if begin <= at < end]
            yield name, *max(within, default=(0.0, ""))


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process; kill it if the context fails."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=environment, stdout=quiet, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ours(environment: dict[str, str], *words: str) -> None:
    """Run another command beside the run."""
    program = [sys.executable, "-m", "innpar.stream.cli.main", *words]
    subprocess.run(program, check=True, env=environment, timeout=120, capture_output=True)


def commands(port: int, name: str, body: str) -> None:
    """Send a command to every wearer."""
    for device in WEARERS:
        where = ["-h", "127.0.0.1", "-p", str(port), "-q", "1"]
        words = ["mosquitto_pub", *where, "-t", f"bp/cmd/{device}/{name}", "-m", body]
        subprocess.run(words, check=True, timeout=10)


def kinds(messages: list[Heard], kind: str) -> set[str]:
    """Return the wearers with an event of a kind."""
    events = [message.json for message in messages if message.topic.endswith("/events")]
    return {event["device"] for event in events if event["kind"] == kind}


def steps(seconds: float, folder: Path, broker: Mosquitto, state: Path) -> Iterator[str]:
    """Yield the name of each phase ahead of it; the last one ends with the run."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    topics = ("bp/devices/+/events", "bp/estimates")
    listener = Listener(broker.port, topics, folder / "heard")
    everyone = set(WEARERS)

    def beats() -> int:
        return len(listener.heard("bp/estimates"))

    try:
        yield "start"
        listener.wait(lambda found: len(found) >= 60, within=60)
        yield "cuff reading"
        commands(broker.port, "calibrate", '{"sbp":128,"dbp":79,"confirm":true}')
        listener.wait(lambda found: kinds(found, "cuff") == everyone, within=60)
        yield "recording start"
        commands(broker.port, "record", '{"record":true}')
        time.sleep(4 + seconds)
        (recording, *_) = sorted((state / "innpar-stream/recordings").glob("*.mcap"))
        for format_ in EXPORTS:
            yield f"export to {format_}"
            out = str(folder / f"export-{format_}")
            ours(environment, "session", "export", str(recording), out, "--format", format_)
        yield "report"
        ours(environment, "report", str(recording), str(folder / "report.html"))
        yield "broker loss"
        broker.kill()
        time.sleep(2 + seconds)
        so_far = beats()
        yield "broker back"
        broker.start()
        listener.wait(lambda _: beats() > so_far + 40, within=60)
        time.sleep(seconds)
        yield "recording end"
        commands(broker.port, "record", '{"record":false}')
        time.sleep(1 + seconds)
        yield "end"
    finally:
        listener.stop()


def soak(seconds: float, folder: Path) -> list[tuple[str, float, str]]:
    """Run through the phases; return each with its longest callback.

    Raises:
        RuntimeError: The run failed.
    """
    calls, state, phases = folder / "calls", folder / "state", Phases()
    broker = Mosquitto(folder, ())
    broker.start()
    command = [sys.executable, "-c", PROGRAM, str(calls), "--broker", broker.url]
    command += ["--metrics", "--broker-wait", "retry"]
    for number, name in enumerate(WEARERS, 1):
        command += ["--device", f"demo:{number}?id={name}&cuff=off"]
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    try:
        with running(command, environment) as process:
            for name in steps(seconds, folder, broker, state):
                phases.begin(name)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
    finally:
        broker.kill()
    if process.returncode or "Traceback" in errors:
        raise RuntimeError(errors)
    return list(phases.longest(calls))


def main(arguments: list[str]) -> int:
    """Run; return 1 where a callback took longer than the limit."""
    seconds = float(arguments[0]) if arguments else 20.0
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = soak(seconds, Path(folder))
        except (AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"callbacks: {error}", file=sys.stderr)
            return 1
    for name, spent, what in found:
        print(f"{name:<20} {1e3 * spent:6.1f} ms of CPU time  {what if spent > LIMIT / 4 else ''}")
    longest = max(spent for _, spent, _ in found)
    print(f"longest callback: {1e3 * longest:.1f} ms of CPU time, limit {1e3 * LIMIT:.0f} ms")
    return int(longest > LIMIT)
