"""A board with a simulated stream, served to Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from innpar.stream.messages.commands import Command
from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.server import serving
from innpar.stream.view.steering import PageCommands
from support.browsers import Watched, chromium, need_chromium

RATE = 125.0
HOP = 128


class Ward:
    """A board with a simulated stream: one hop and one beat a call."""

    def __init__(self) -> None:
        self.board = Board()
        self.commands = PageCommands()
        self.got: list[Command] = []
        self.refuse: str | None = None
        self.doubts = False
        self.url = ""
        self.t: dict[str, float] = {}
        self.sent: dict[str, list[tuple[float, np.ndarray[Any, Any]]]] = {}

    def hop(
        self,
        device: str = "demo",
        valid: bool = True,
        wave: bool = True,
        sbp: float = 121.4,
        **fields: Any,
    ) -> None:
        """Send a hop of both waveforms and a beat in its middle, with other `fields`."""
        start = self.t.setdefault(device, 1_795_000_000.0)
        self.t[device] = start + HOP / RATE
        phase = np.arange(HOP) / HOP
        abp = 75 + (sbp - 75) * np.exp(-(((phase - 0.3) / 0.12) ** 2))
        common = {"session": "A", "source": "simulated", "t": start, "rate": RATE, "seq": 1}
        self.sent.setdefault(device, []).append((start, abp))
        self.board.take(device, "ppg", {**common, "samples": list(np.round(abp / 40 - 2.4, 3))})
        if wave:
            self.board.take(device, "abp", {**common, "samples": list(np.round(abp, 1))})
        values = {"sbp": sbp, "dbp": 75.2, "map": 91.0}
        around = {name: [value - 9, value + 9] for name, value in values.items()}
        beat = {
            **common,
            "t": start + 0.3 * HOP / RATE,
            **(values if valid else dict.fromkeys(values)),
            "hr": 58.6,
            "interval": {"level": 0.9, **around} if valid else None,
            "quality": 0.93 if valid else 0.2,
            "valid": valid,
            "reasons": [] if valid else ["motion"],
            "calibration": {"state": "ok", "age_s": 60, "sbp": 128, "dbp": 79},
            "latency_ms": {"total": 2600},
            "abp": {"start": start, "rate": RATE, "samples": list(abp) if valid else []},
        }
        self.board.take(device, "beats", beat | fields)

    def event(self, kind: str, device: str = "demo", ago: float = 0.0, **detail: Any) -> None:
        """Send an event, `ago` seconds before the end of the stream."""
        at = self.t[device] - ago
        payload = {"kind": kind, "t": at, "end": at, "detail": detail}
        self.board.take(device, "events", payload)

    async def stream(self, seconds: float, **options: Any) -> None:
        """Send in real time."""
        for _ in range(round(seconds * RATE / HOP)):
            self.hop(**options)
            await asyncio.sleep(HOP / RATE)

    async def obey(self) -> None:
        """Answer every command."""
        async for command in self.commands.commands():
            self.got.append(command)
            self.commands.answer(command, self.refuse, confirm=self.doubts)


@asynccontextmanager
async def ward(**size: int) -> AsyncIterator[tuple[Ward, Watched]]:
    need_chromium()
    ours = Ward()
    answering = asyncio.create_task(ours.obey())
    address = PageAddress(port=0, fixed=True)
    try:
        async with (
            serving(address, ours.board, ours.commands) as ours.url,
            chromium(ours.url, **size) as watched,
        ):
            yield ours, watched
            assert watched.troubles == []
    finally:
        answering.cancel()


async def text(watched: Watched, name: str) -> str:
    return await watched.page.inner_text(f"#{name}")


OVERFLOW = """() => [...document.querySelectorAll('output, .interval, .tile .numbers span, button')]
    .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1
        && getComputedStyle(one).display !== 'inline' && !one.classList.contains('tile'))
    .map(one => one.id || one.className || one.textContent)"""
"""Elements whose text is cut off."""
