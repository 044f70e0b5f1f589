"""Memory, descriptors, threads and tasks over a day of signal with faults: days [HOURS] [KILLS]

Four simulated wearers with movement, lost packets, cuff readings and changes of their circulation
stream at full speed to a mosquitto, 24 hours of signal by default; the broker is killed 48 times,
and valid and malformed commands arrive all the time. Prints the growth an hour of signal, from the
second quarter to the last. The exit status is 1 where something grew, a beat is missing, or an
exception was not handled.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from support.brokers import Mosquitto

SHORT = ("0.25", "4")
WEARERS = tuple(f"demo-{number}" for number in range(1, 5))
SAMPLES = 96
"""Measurements in a run."""
LIMITS = {"memory, MB": 10.0, "descriptors": 1.0, "threads": 1.0, "tasks": 1.0}
"""Largest growth from the second quarter of a run to its last."""
TYPICAL = {"memory, MB": median, "descriptors": min, "threads": min, "tasks": min}
"""Value of a quarter: the least of a number that also depends on the moment."""
COMMANDS = (
    ("mark", '{"text":"stood up"}'),
    ("mark", '{"text":"\\ud800"}'),
    ("calibrate", '{"sbp":128,"dbp":79,"confirm":true}'),
    ("calibrate", '{"sbp":128,"sbp":79}'),
    ("record", "[" * 5000),
)

PROGRAM = """
import asyncio, sys, threading, time

out = open(sys.argv.pop(1), "w", buffering=1)
make = asyncio.new_event_loop

def watched():
    loop = make()
    def count():
        while True:
            time.sleep(0.2)
            try:
                print(len(asyncio.all_tasks(loop)), file=out)
            except RuntimeError:
                continue  # the set has changed meanwhile
    threading.Thread(target=count, daemon=True).start()
    return loop

asyncio.new_event_loop = asyncio.events.new_event_loop = watched
from innpar.stream.cli.main import main
sys.exit(main())
"""
"""The command, with the number of its tasks in a file."""

Measured = dict[str, float]


def measure(pid: int, tasks: Path) -> Measured:
    """Return the resources of a process, by the keys of `LIMITS`."""
    status = Path(f"/proc/{pid}/status").read_text()
    number = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+)", status, re.M)}
    return {
        "memory, MB": number["VmRSS"] / 1024,
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": number["Threads"],
        "tasks": float(tasks.read_text().split()[-1]),
    }


def send(port: int, turn: int) -> None:
    """Send one of `COMMANDS` to one of the wearers; the broker may be away."""
    name, body = COMMANDS[turn % len(COMMANDS)]
    topic = f"bp/cmd/{WEARERS[turn % len(WEARERS)]}/{name}"
    words = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-m", body]
    subprocess.run(words, check=False, timeout=10, capture_output=True)


class Watch:
    """The beats of a run as they arrive, and its resources at even steps of signal.

    Args:
        seconds: Of signal in the whole run.

    Attributes:
        measured: Resources, in order.
        beats: Number of beats.
    """

    def __init__(self, seconds: float) -> None:
        self._step = seconds / SAMPLES
        self._begin: float | None = None
        self._next: dict[str, int] = {}
        self.measured: list[Measured] = []
        self.beats = 0

    def take(self, line: str) -> bool:
        """Take a beat; return whether a measurement is due.

        Raises:
            RuntimeError: It is not the next one of its wearer.
        """
        beat = json.loads(line)
        device, seq = beat["device"], beat["seq"]
        if seq != self._next.get(device, 0):
            raise RuntimeError(f"{device}: beat {seq}, not {self._next.get(device, 0)}")
        self._next[device] = seq + 1
        self.beats += 1
        self._begin = self._begin or beat["t"]
        return bool(beat["t"] - self._begin >= self._step * len(self.measured))

    def growth(self) -> Measured:
        """Return the growth of each resource from the second quarter to the last."""
        quarter = len(self.measured) // 4
        early, late = self.measured[quarter : 2 * quarter], self.measured[-quarter:]
        typical = [
            {key: usual(one[key] for one in part) for key, usual in TYPICAL.items()}
            for part in (early, late)
        ]
        return {key: typical[1][key] - typical[0][key] for key in LIMITS}


def soak(hours: float, kills: int, folder: Path) -> Watch:
    """Stream for some hours of signal.

    Raises:
        RuntimeError: A beat is missing, or the run failed.
    """
    broker, tasks, watch = Mosquitto(folder, ()), folder / "tasks", Watch(3600 * hours)
    broker.start()
    command = [sys.executable, "-c", PROGRAM, str(tasks), "--broker", broker.url, "--json"]
    command += ["--speed", "max", "--duration", str(3600 * hours), "--metrics"]
    for number, name in enumerate(WEARERS, 1):
        command += ["--device", f"demo:{number}?id={name}"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with (folder / "errors").open("w+") as errors:
        pipe = subprocess.PIPE
        run = subprocess.Popen(command, stdout=pipe, stderr=errors, env=environment, text=True)
        try:
            assert run.stdout is not None
            for line in run.stdout:
                if watch.take(line) and run.poll() is None:
                    watch.measured.append(measure(run.pid, tasks))
                    turn = len(watch.measured)
                    if turn % max(1, SAMPLES // kills) == 0:
                        broker.kill()
                        broker.start()
                    send(broker.port, turn)
            run.wait(60)
        finally:
            run.kill()
            run.communicate()
            broker.kill()
        errors.seek(0)
        said = errors.read()
    if run.returncode or "Traceback" in said:
        raise RuntimeError(said[-4000:])
    return watch


def main(arguments: list[str]) -> int:
    """Run; return 1 where something grew or failed."""
    hours = float(arguments[0]) if arguments else 24.0
    kills = int(arguments[1]) if len(arguments) > 1 else 48
    with tempfile.TemporaryDirectory() as folder:
        try:
            watch = soak(hours, kills, Path(folder))
        except (AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"days: {error}", file=sys.stderr)
            return 1
    if len(watch.measured) < SAMPLES // 2:
        print(f"days: only {len(watch.measured)} measurements", file=sys.stderr)
        return 1
    print(f"{len(WEARERS)} wearers, {hours:g} h of signal, {kills} broker kills")
    print(f"{watch.beats} beats, none missing; no exception")
    for key, value in watch.growth().items():
        slope = value / (hours * 0.625)  # from the middle of the second quarter to that of the last
        print(
            f"{key:<12} {watch.measured[-1][key]:8.1f} at the end, {slope:+.3f} an hour of signal"
        )
    return int(any(value > LIMITS[key] for key, value in watch.growth().items()))
