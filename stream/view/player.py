"""Play a recording for the page: pause, speed and seek."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from typing import Any

from innpar.devices import NS, Device, DeviceError
from innpar.devices.files.device import Replay
from innpar.devices.registry import create
from innpar.devices.session.device import ReplayedSession
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.view.board import Board

SPEEDS = (0.25, 20.0)
"""Slowest and fastest playback, multiples of real time."""


class PlayerClock:
    """Clock that can be paused and runs at a speed that can be changed."""

    def __init__(self) -> None:
        self.playing = True
        self.speed = 1.0
        self._time = time.time_ns()
        self._since = time.monotonic_ns()
        self._changed = asyncio.Event()

    def now(self) -> int:
        """Return ns since the Unix epoch, by this clock."""
        passed = time.monotonic_ns() - self._since if self.playing else 0
        return self._time + round(passed * self.speed)

    async def sleep_until(self, time: int) -> None:
        """Wait until `time`, ns since the Unix epoch, by this clock."""
        while (left := time - self.now()) > 0:
            self._changed.clear()
            wait = left / NS / self.speed if self.playing else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def change(self, *, playing: bool, speed: float) -> None:
        """Go on from now, or stop."""
        self._time, self._since = self.now(), time.monotonic_ns()
        self.playing, self.speed = playing, speed
        self._changed.set()


class Player:
    """A recording that the page plays.

    Args:
        spec: Recording, as after ``replay:``.
        board: Destination of its waveforms and beats.
        engine: The network.
    """

    def __init__(self, spec: str, board: Board, engine: Engine) -> None:
        self._spec = spec
        self._board = board
        self._engine = engine
        self._clock = PlayerClock()
        self._begin = 0.0
        self._sought = asyncio.Event()
        self._over = False
        self.length: float | None = length_of(self._device())

    def _device(self) -> Device:
        mark = "&" if "?" in self._spec else "?"
        begin = f"{mark}from={self._begin:g}" if self._begin else ""
        return create(f"replay:{self._spec}{begin}")

    async def play(self) -> None:
        """Play for ever: to the end, and again from wherever a viewer seeks."""
        async with self._engine.running():
            while True:
                self._sought.clear()
                self._over = False
                playing = asyncio.create_task(self._once())
                seeking = asyncio.create_task(self._sought.wait())
                await asyncio.wait((playing, seeking), return_when=asyncio.FIRST_COMPLETED)
                if playing.done():
                    if (error := playing.exception()) is not None and not self._begin:
                        raise error
                    self._over = True  # or sought past the end of a recording of unknown length
                    await seeking
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
                self._board.clear()

    async def _once(self) -> None:
        wearer = enrol(self._device(), self._engine, self._clock)
        await run([wearer], self._engine, self._board, self._clock)

    async def execute(self, name: str, device: str, payload: bytes) -> str | None:
        """Execute a request of a viewer; return why it failed, None on success.

        Args:
            name: ``player``; a recording takes no other command.
            device: Not used.
            payload: Untrusted JSON: ``playing``, ``speed`` and ``seek``, s from the beginning.
        """
        if name != "player":
            return "this is a recording: it takes no readings, marks or recordings"
        body = json.loads(payload)
        if not isinstance(body, dict):
            return "send an object with 'playing', 'speed' or 'seek'"
        playing, speed = (
            body.get("playing", self._clock.playing),
            body.get("speed", self._clock.speed),
        )
        seek = body.get("seek")
        if not isinstance(playing, bool) or not _number(speed, *SPEEDS):
            return f"'playing' is true or false, 'speed' from {SPEEDS[0]:g} to {SPEEDS[1]:g}"
        if seek is not None and not _number(seek, 0, self.length or math.inf):
            return "'seek' is a number of seconds within the recording"
        if seek is not None:
            self._begin = max(0.0, min(float(seek), (self.length or math.inf) - 1))
            self._sought.set()
        self._clock.change(playing=playing, speed=float(speed))
        return None

    def status(self) -> dict[str, Any]:
        """Return the state of the playback for the page."""
        return {
            "player": {
                "playing": self._clock.playing,
                "speed": self._clock.speed,
                "begin": self._begin,
                "length": self.length,
                "over": self._over,
            }
        }


def length_of(device: Device) -> float | None:
    """Return the length of a recording, s; None where it is not known.

    Raises:
        DeviceError: It has no samples.
    """
    if isinstance(device, ReplayedSession):
        return (device.last - device.first) / NS
    if isinstance(device, Replay):
        return device.recording.duration
    raise DeviceError("this is not a recording; name a file")


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
