"""``innpar-stream bench --wearers``: trials with more and more wearers, until one is late."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from innpar.stream.errors import BrokerError, ConfigError
from innpar.stream.evaluation.capacity.trial import Trial, TrialSettings
from innpar.stream.mqtt.address import Address

LATE = 100.0
"""99th percentile of the compute latency up to which wearers are served, ms."""
STEPS = (1, 10, 25, 50, 100, 200, 400, 800, 1600, 3200)
CLOSE = 1.1
"""Ratio of the two numbers between which the limit is known well enough."""
PATIENCE = 900.0
"""s of wall time for a trial."""
HEADER = (
    f"{'wearers':>7} {'core':>5} {'CPU ms':>7} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7} "
    f"{'beats':>6} {'msg/s':>6} {'shed':>5} {'lost':>5} {'RSS MB':>7} {'kB each':>7} "
    f"{'gen ms':>7} {'broker ms':>9} {'wall/s':>6}"
)
LEGEND = """\
core: share of one core; CPU ms: a wearer and second of signal; p50 to p99: from the frame that
completed a beat to the beat on the socket, on a core of its own (this process's CPU time); shed:
windows left out; lost: messages dropped; kB each: memory a wearer above that of one; gen, broker:
CPU ms a wearer and second of the frames' generator and of the broker, not in the columns before;
wall/s: wall time a second of that clock"""


@dataclass(frozen=True, slots=True)
class CapacityRow:
    """A trial, with what only its starter knows.

    Attributes:
        trial: The trial.
        broker_ms: CPU time of the broker a wearer and second, ms; None if unknown.
        kb_each: Memory a wearer above the first, kB; None for the first.
    """

    trial: Trial
    broker_ms: float | None
    kb_each: float | None

    @property
    def served(self) -> bool:
        """Whether all were served in time, with nothing left out."""
        one = self.trial
        return one.p99_ms < LATE and not one.shed and not one.lost

    @property
    def line(self) -> str:
        """The printed line."""
        one = self.trial
        kb = "-" if self.kb_each is None else f"{self.kb_each:.0f}"
        broker = "-" if self.broker_ms is None else f"{self.broker_ms:.2f}"
        return (
            f"{one.wearers:7d} {one.core:5.2f} {one.cpu_ms:7.2f} {one.p50_ms:7.1f} "
            f"{one.p95_ms:7.1f} {one.p99_ms:7.1f} {one.beats:6d} {one.messages:6.0f} "
            f"{one.shed:5d} {one.lost:5d} {one.rss_mb:7.0f} {kb:>7} {one.generator_ms:7.2f} "
            f"{broker:>9} {one.wall / one.seconds:6.1f}"
        )


def bench_wearers(
    settings: TrialSettings, *, as_json: bool = False, picture: Path | None = None
) -> int:
    """Run the trials and print them.

    Args:
        settings: Of the trials; `wearers` 0 looks for the limit, `broker` empty starts a mosquitto.
        as_json: Print JSON instead of the table.
        picture: File of the plot, if any.

    Raises:
        ConfigError: matplotlib is not installed, or a trial ended by an error.
        BrokerError: There is no mosquitto to start.
    """
    if picture is not None:
        from innpar.stream.evaluation.capacity.picture import check_picture

        check_picture(picture)
    rows = list[CapacityRow]()
    if not as_json:
        print(f"{settings.seconds:g} s of 55 Hz Polar frames a wearer, a cuff reading each")
        print(HEADER, flush=True)
    with _broker(settings.broker) as (url, pid):
        for row in _rows(replace(settings, broker=url), pid):
            rows.append(row)
            if not as_json:
                print(row.line, flush=True)
    rows.sort(key=lambda row: row.trial.wearers)
    if as_json:
        print(json.dumps([_document(row) for row in rows], indent=1))
    else:
        print(LEGEND)
        if not settings.wearers:
            most = max((row.trial.wearers for row in rows if row.served), default=0)
            print(f"one process serves {most} wearers with p99 below {LATE:g} ms and nothing shed")
    if picture is not None:
        from innpar.stream.evaluation.capacity.picture import draw

        draw(picture, rows)
    return 0


def _document(row: CapacityRow) -> dict[str, object]:
    values = asdict(row.trial)
    numbers = {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
    return {**numbers, "kb_each": row.kb_each, "broker_ms": row.broker_ms, "served": row.served}


def _rows(settings: TrialSettings, broker: int | None) -> Iterator[CapacityRow]:
    """Yield the trials: one of a given size, or those that enclose the limit."""
    first: Trial | None = None

    def trial(count: int) -> CapacityRow:
        nonlocal first
        before = cpu_seconds(broker)
        found = run_trial(replace(settings, wearers=count))
        after = cpu_seconds(broker)
        each = None
        if first is None:
            first = found
        elif count > first.wearers:
            each = 1e3 * (found.rss_mb - first.rss_mb) / (count - first.wearers)
        spent = None
        if before is not None and after is not None:
            spent = 1e3 * (after - before) / (count * found.whole)
        return CapacityRow(found, spent, each)

    if settings.wearers:  # one wearer first: memory is counted above it
        yield from (trial(count) for count in sorted({1, settings.wearers}))
    else:
        yield from search(trial)


def search(trial: Callable[[int], CapacityRow]) -> Iterator[CapacityRow]:
    """Yield trials of growing size, then those between the last one served and the first one not.

    Args:
        trial: Function that runs one with so many wearers.
    """
    most, least = 0, 0
    for count in STEPS:
        row = trial(count)
        yield row
        if not row.served:
            least = count
            break
        most = count
    while most and least > CLOSE * most and least - most > 1:
        count = round(math.sqrt(most * least))
        row = trial(count)
        yield row
        most, least = (count, least) if row.served else (most, count)


def run_trial(settings: TrialSettings) -> Trial:
    """Run a trial in a process of its own.

    Raises:
        ConfigError: It ended by an error.
    """
    command = [sys.executable, "-P", "-m", f"{__package__}.trial", json.dumps(asdict(settings))]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, timeout=PATIENCE, env=environment, check=False
    )
    if done.returncode:
        raise ConfigError(
            f"the trial with {settings.wearers} wearers ended by an error (above): "
            "try fewer with --wearers N"
        )
    return Trial(**json.loads(done.stdout))


@contextmanager
def _broker(url: str) -> Iterator[tuple[str, int | None]]:
    """Yield a broker's URL, and its process if it is one of ours."""
    if url:
        Address.parse(url)
        yield url, None
        return
    program = shutil.which("mosquitto") or shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin"
    )
    if program is None:
        raise BrokerError("no mosquitto was found: install it, or name a broker with --broker URL")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([program, "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        _await_port(port)
        yield f"mqtt://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise BrokerError("mosquitto does not start: name a broker with --broker URL")


def cpu_seconds(process: int | None) -> float | None:
    """Return the CPU time of a process, s; None where it is not known."""
    if process is None or sys.platform != "linux":
        return None
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
