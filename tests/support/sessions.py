"""Recorded runs, for tests of session files."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices import Chunk, Device, Event, HostClock
from innpar.devices.session.device import open_session
from innpar.devices.session.items import EVENTS, Topic, pack_event, unpack_event
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.writer import Writer
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.sinks.base import FanOut
from innpar.stream.windows.timing import LatencyMode
from support.harness import Keep, shipped

MAX = Pace(float("inf"))


def record(
    path: Path,
    *devices: Device,
    clock: HostClock | None = None,
    duration: float | None = None,
    on: Callable[[Item], None] | None = None,
    require_calibration: bool = False,
    mode: LatencyMode | None = None,
) -> list[Item]:
    """Record a run of devices; return its items."""
    clock = clock or VirtualClock()
    engine, keep = Engine(shipped()), Listening(on)
    how: Any = {"duration": duration, "require_calibration": require_calibration, "mode": mode}
    wearers = [enrol(device, engine, clock, **how) for device in devices]
    recorder = Recorder(path, clock, {"software": "test"})

    async def main() -> None:
        async with recorder.running():
            await run(wearers, engine, FanOut([keep, recorder]), clock, recorder)

    asyncio.run(main())
    return keep.items


class Listening(Keep):
    """A sink that keeps every item and passes it to a callback."""

    def __init__(self, on: Callable[[Item], None] | None) -> None:
        super().__init__()
        self._on = on

    async def send(self, item: Item) -> None:
        await super().send(item)
        if self._on is not None:
            self._on(item)


def demo(seconds: float = 40, **changes: Any) -> Simulated:
    return Simulated(**{"seed": 1, "duration": seconds, "pace": MAX, **changes})


def played(path: Path, **options: str) -> list[Chunk | Event]:
    given = {key.rstrip("_"): value for key, value in options.items()}
    return list(open_session(path, given, pace=MAX).items())


def keys(items: list[Chunk | Event]) -> list[Any]:
    """Return items as comparable values, bit for bit."""
    return [
        (i.device, i.kind, i.start, i.end, json.dumps(i.detail))
        if isinstance(i, Event)
        else (i.device, i.signal, i.channels, i.rate, i.times.tobytes(), i.data.tobytes())
        for i in items
    ]


def uncoded(items: Sequence[Chunk | Event]) -> list[Chunk | Event]:
    """Return items as version 0.1 gave them: its notices had no code."""
    return [
        replace(i, detail={key: value for key, value in i.detail.items() if key != "code"})
        if isinstance(i, Event) and i.kind == "notice"
        else i
        for i in items
    ]


def without_codes(path: Path, out: Path) -> Path:
    """Write a session as version 0.1 would have written it."""
    with SessionFile(path) as file, out.open("xb", buffering=0) as target:
        writer = Writer(target, "innpar-stream 0.1")
        for message in file.messages():
            channel, data = file.channels[message.channel], message.data
            if Topic.of(channel.topic).what == EVENTS:
                (event,) = uncoded([unpack_event("", data)])
                assert isinstance(event, Event)
                data = pack_event(event)
            number = writer.channel(channel.topic, channel.encoding, channel.about)
            writer.add(number, message.time, message.written, data, message.sequence)
        writer.finish()
    return out


def samples(items: list[Chunk | Event], signal: str = "ppg") -> Any:
    """Return (times, data) of one signal."""
    chunks = [i for i in items if isinstance(i, Chunk) and i.signal == signal]
    if not chunks:
        return np.empty(0, np.int64), np.empty((0, 0))
    return np.concatenate([c.times for c in chunks]), np.concatenate([c.data for c in chunks])


def mount_small(folder: Path, kilobytes: int) -> str:
    """Mount a tiny file system; return the reason it failed, or an empty text."""
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    folder.mkdir()
    return re.sub(r"\s+", " ", _run(f"mount -t tmpfs -o size={kilobytes}k tmpfs {folder}"))


def unmount(folder: Path) -> None:
    _run(f"umount {folder}")


def _run(command: str) -> str:
    import subprocess

    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""
