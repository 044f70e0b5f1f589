"""Run devices through the real pipeline and keep its output."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from innpar.devices import Device, HostClock
from innpar.devices.timing.pace import VirtualClock
from innpar.models.predictor import Predictor
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Beat, Item, Latency
from innpar.stream.windows.timing import LatencyMode
from support.paths import SHARED
from support.sensing import uncoded

DATA = SHARED / "data"


def need_data() -> Path:
    """Return the folder of real recordings; skip where it is missing."""
    if not DATA.is_dir():
        pytest.skip("the real recordings (../shared/data) are not on this machine")
    return DATA


def need_dbus() -> None:
    """Skip where there is no D-Bus daemon; in CI that is a failure."""
    if shutil.which("dbus-daemon") is None:
        message = "dbus-daemon is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@functools.cache
def shipped() -> Predictor:
    return Predictor.load()


class Keep:
    """A sink that keeps every item."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def ready(self) -> None:
        await asyncio.sleep(0)

    async def send(self, item: Item) -> None:
        assert not uncoded(item)
        self.items.append(item)


def stream_all(
    devices: Sequence[Device],
    *,
    cuffs: Sequence[PlannedCuff] = (),
    duration: float | None = None,
    clock: HostClock | None = None,
    require_calibration: bool = False,
    mode: LatencyMode | None = None,
    predictor: Predictor | None = None,
    keep: Keep | None = None,
) -> tuple[list[Item], list[Wearer], Engine]:
    """Run devices; return their items, wearers and engine."""
    clock = clock or VirtualClock()
    engine, keep = Engine(predictor or shipped()), keep or Keep()
    wearers = [
        enrol(
            device,
            engine,
            clock,
            duration=duration,
            cuffs=cuffs,
            require_calibration=require_calibration,
            mode=mode,
        )
        for device in devices
    ]
    asyncio.run(run(wearers, engine, keep, clock))
    return keep.items, wearers, engine


def estimates(items: Sequence[Item], device: str | None = None) -> list[Beat]:
    return [item for item in items if isinstance(item, Beat) and device in (None, item.device)]


NO_LATENCY = Latency(0, 0, 0, 0, 0, 0)


def same(one: Sequence[Beat], other: Sequence[Beat]) -> bool:
    """Return whether two runs gave the same beats, bit for bit, session and latency aside."""

    def plain(beat: Beat) -> Beat:
        # repr of a float names it exactly; the waveform is compared as bytes.
        empty = np.empty(0, np.float32)
        return replace(beat, session="", source="replay", latency=NO_LATENCY, abp=empty)

    def key(beat: Beat) -> tuple[str, bytes]:
        return repr(plain(beat)), beat.abp.tobytes()

    return len(one) == len(other) and [key(a) for a in one] == [key(b) for b in other]
