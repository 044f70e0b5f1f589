"""Checks common to every sensor: any bytes are survived, and samples arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from innpar.devices.base import BadPacket, Chunk, Device, Event, HostClock
from innpar.devices.link.decoder import TimedDecoder
from innpar.devices.notices import NoticeCode

FUZZ = 20_000


def uncoded(item: object) -> bool:
    """Return whether an item is a notice without a code, which no device of ours gives."""
    if not (isinstance(item, Event) and item.kind == "notice"):
        return False
    return item.detail.get("code") not in list(NoticeCode)


class Heard:
    """All items of a device."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.events: list[Event] = []

    def take(self, items: Iterable[Chunk | Event]) -> Heard:
        for item in items:
            assert not uncoded(item)
            (self.chunks if isinstance(item, Chunk) else self.events).append(item)  # type: ignore[attr-defined]
        return self

    def told(self, kind: str) -> list[Event]:
        return [e for e in self.events if e.kind == kind]

    @property
    def data(self) -> npt.NDArray[np.float64]:
        return np.concatenate([c.data for c in self.chunks])

    @property
    def times(self) -> npt.NDArray[np.int64]:
        return np.concatenate([c.times for c in self.chunks])

    @property
    def samples(self) -> int:
        return sum(map(len, self.chunks))


def survives(stream: TimedDecoder, channels: tuple[str, ...], longest: int = 64) -> int:
    """Push random bytes; return the number refused, by BadPacket and nothing else.

    Times of what comes out never run backward.
    """
    rng = np.random.default_rng(7)
    refused, last = 0, -(1 << 62)
    for k in range(FUZZ):
        raw = rng.bytes(int(rng.integers(0, longest)))
        channel = channels[int(rng.integers(len(channels)))]
        try:
            items = stream.push(channel, 1_790_000_000_000_000_000 + k * 20_000_000, raw)
        except BadPacket:
            refused += 1
            continue
        for item in items:
            if isinstance(item, Chunk):
                assert (np.diff(item.times) > 0).all()
                assert item.times[0] > last
                last = int(item.times[-1])
    stream.flush()
    assert refused == stream.bad
    return refused


async def listen(
    device: Device, clock: HostClock, done: Callable[[Heard], bool], seconds: float = 20
) -> Heard:
    """Open, take until `done`, close; no task may be left running."""
    before = asyncio.all_tasks()
    heard = Heard()
    async with asyncio.timeout(seconds), device.open(clock=clock) as items:
        async for item in items:
            heard.take([item])
            if done(heard):
                break
    await asyncio.sleep(0)
    left = {t for t in asyncio.all_tasks() - before if "innpar/devices/" in repr(t)}
    left = {t for t in left if "innpar/devices/virtual" not in repr(t)}
    assert not left
    return heard
