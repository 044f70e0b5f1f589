"""``innpar-stream bench --latency``: delay from the systolic peak to the message, part by part.

The demo and a virtual Polar sensor at its slowest usual and its fastest rate, in real time, with
normal latency and with low. Medians over the valid beats; `measured` is by the clock, from the
peak to the moment at which the beat is handed to the sinks.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from innpar.devices import Device, HostClock
from innpar.devices.registry import create
from innpar.devices.timing.pace import SystemClock
from innpar.models.predictor import Predictor
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, EarlyBeat, Item
from innpar.stream.windows.timing import NORMAL, LatencyMode

PARTS = ("sensor", "guard", "lookahead", "hop", "beat", "compute")
MODES = (NORMAL, LatencyMode("low", early=True))
VIRTUAL = ("polar-verity:1?rate=55&id=polar-55", "polar-verity:2?rate=176&id=polar-176")
SHORTEST = 20.0
"""Seconds below which too few beats are complete for a median."""
HEADER = (
    f"{'device':10} {'latency':8} {'message':8} {'count':>5} "
    + " ".join(f"{part:>9}" for part in PARTS)
    + f" {'total':>7} {'measured':>8} {'p90':>6}"
)

Make = Callable[[], Sequence[Device]]


@dataclass(slots=True)
class DelayLog:
    """Sink that keeps valid beats and early beats, each with its measured delay, ms."""

    clock: HostClock
    beats: dict[str, list[tuple[Beat, float]]] = field(default_factory=lambda: defaultdict(list))
    early: dict[str, list[tuple[EarlyBeat, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    async def send(self, item: Item) -> None:
        if isinstance(item, Beat) and item.valid:
            self.beats[item.device].append((item, (self.clock.now() - item.peak) / 1e6))
        elif isinstance(item, EarlyBeat):
            self.early[item.device].append((item, (self.clock.now() - item.peak) / 1e6))

    async def ready(self) -> None:
        """Return at once: memory always has room."""


def bench_latency(seconds: float) -> int:
    """Measure both modes and print the table.

    Args:
        seconds: Of signal of each mode.

    Raises:
        ConfigError: `seconds` is too short for a median.
        DeviceError: The virtual sensors cannot run here.
    """
    if seconds < SHORTEST:
        raise ConfigError(f"--latency: at least {SHORTEST:g} seconds, not {seconds:g}")
    predictor = Predictor.load()
    print(f"{predictor.id}, {predictor.runs_on}: medians, ms from the systolic peak", flush=True)
    print(f"load of this computer {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    print(HEADER, flush=True)
    for line in asyncio.run(measured(predictor, seconds, _devices)):
        print(line, flush=True)
    return 0


def _devices() -> list[Device]:
    from innpar.devices.virtual.device import virtual_device

    return [create("demo"), *(virtual_device(create(name)) for name in VIRTUAL)]


async def measured(predictor: Predictor, seconds: float, make: Make) -> list[str]:
    """Return the lines of the table.

    Args:
        predictor: The model.
        seconds: Of signal of each mode.
        make: Function that creates the devices of one mode.
    """
    lines: list[str] = []
    for mode in MODES:
        clock = SystemClock()
        engine, log, devices = Engine(predictor), DelayLog(clock), make()
        wearers = [enrol(one, engine, clock, duration=seconds, mode=mode) for one in devices]
        await run(wearers, engine, log, clock)
        for device in devices:
            lines += _rows(device.id, mode, log)
    return lines


def _rows(device: str, mode: LatencyMode, log: DelayLog) -> Iterator[str]:
    messages: tuple[tuple[str, Sequence[tuple[Beat | EarlyBeat, float]]], ...] = (
        ("beat", log.beats[device]),
        ("early", log.early[device]),
    )
    for name, found in messages:
        start = f"{device:10} {mode.latency:8} {name:8} {len(found):5d}"
        if found:
            parts = [median(getattr(beat.latency, part) for beat, _ in found) for part in PARTS]
            delays = sorted(delay for _, delay in found)
            total = median(beat.latency.total for beat, _ in found)
            high = delays[min(len(delays) - 1, round(0.9 * len(delays)))]
            yield (
                f"{start} {' '.join(f'{part:9.0f}' for part in parts)} {total:7.0f} "
                f"{median(delays):8.0f} {high:6.0f}"
            )
        elif name == "beat":
            yield f"{start} no valid beat: measure longer"
