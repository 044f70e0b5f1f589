"""Scanner of one radio, shared by all who search for devices and paused while one connects.

A process may run one scan per radio, and none while it connects (BlueZ answers InProgress). The
task that gets the radio therefore scans for all others, and stops while any of them connects: the
search for an absent sensor does not delay a connection to a present one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

if TYPE_CHECKING:
    from bleak import BleakScanner
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

Take = Callable[["BLEDevice", "AdvertisementData"], bool]
"""Called with each advertisement; returns True to claim it, so that no other search receives it."""

STEP = 0.05
"""Shortest interval, s, between two checks of the remaining scanning time."""


@dataclass(slots=True, eq=False)
class _Listener:
    take: Take
    news: asyncio.Event = field(default_factory=asyncio.Event)
    found: bool = False
    failed: Exception | None = None


class SharedScanner:
    """Scanner shared by all searches on one radio; `shared_scanner_of` returns it."""

    def __init__(self) -> None:
        self._radio = asyncio.Lock()
        self._listeners: list[_Listener] = []
        self._callers = 0
        self._called = asyncio.Event()
        self._before = 0.0
        self._since: float | None = None

    @property
    def _listened(self) -> float:
        """Seconds that the radio has scanned so far, for any search."""
        now = time.monotonic()
        return self._before + (now - self._since if self._since is not None else 0.0)

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Pause scanning while inside, to connect or to scan separately."""
        self._callers += 1
        self._called.set()
        try:
            async with self._radio:
                yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._called.clear()

    async def listen(self, take: Take, seconds: float, options: dict[str, Any]) -> bool:
        """Scan until `take` claims an advertisement.

        Args:
            take: Called with each advertisement; earlier searches have precedence.
            seconds: Scanning time, not counting the time during which others connect.
            options: Keyword arguments of bleak's scanner.

        Returns:
            Whether `take` claimed one.

        Raises:
            BleakError, OSError, EOFError: The radio failed.
        """
        mine = _Listener(take)
        until = self._listened + seconds

        async def serve() -> None:
            try:
                await self._serve(options)
            except Exception as error:  # of the radio; the next search tries again
                mine.failed = error
                mine.news.set()

        self._listeners.append(mine)
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(serve(), name="listening")
                while not mine.news.is_set() and (left := until - self._listened) > 0:
                    await _set(mine.news, max(left, STEP))
                serving.cancel()
        finally:
            self._listeners.remove(mine)
        if mine.failed is not None and not mine.found:
            raise mine.failed
        return mine.found

    async def _serve(self, options: dict[str, Any]) -> None:
        """Scan for all searches whenever the radio is free, until cancelled."""
        from bleak import BleakScanner

        while True:
            async with self._radio:
                if self._callers:
                    continue  # they are queued for the radio and go first
                async with scanning(BleakScanner(self._on_advertisement, **options)):
                    self._since = time.monotonic()
                    try:
                        await self._called.wait()
                    finally:
                        self._before, self._since = self._listened, None

    def _on_advertisement(self, device: BLEDevice, advertised: AdvertisementData) -> None:
        for listener in self._listeners:
            if not listener.news.is_set() and listener.take(device, advertised):
                listener.found = True
                listener.news.set()
                return


async def _set(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


@asynccontextmanager
async def scanning(scanner: BleakScanner) -> AsyncIterator[BleakScanner]:
    """Scan while inside; a scan cancelled while starting is stopped, not left running."""
    starting = asyncio.ensure_future(scanner.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await scanner.stop()
        raise
    try:
        yield scanner
    finally:
        await scanner.stop()


_scanners: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, SharedScanner]
] = WeakKeyDictionary()


def shared_scanner_of(radio: Hashable) -> SharedScanner:
    """Return the scanner of a radio in the running loop."""
    scanners = _scanners.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return scanners.setdefault(radio, SharedScanner())
