"""One radio shared by those who listen and those who connect.

A process may have one scan a radio, and none while it connects (BlueZ answers InProgress). So
whoever gets the radio listens for all who want to, and stops for as long as somebody connects:
a sensor that is never heard keeps nobody from one that is there.
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
"""Is shown what was heard; returns True for what was listened for, which nobody else is shown."""

STEP = 0.05
"""Least seconds between two looks at whether it was listened for long enough."""


@dataclass(slots=True, eq=False)
class _Listener:
    take: Take
    news: asyncio.Event = field(default_factory=asyncio.Event)
    heard: bool = False
    failed: Exception | None = None


class SharedScanner:
    """See the module; `ear_of` gives the one of a radio."""

    def __init__(self) -> None:
        self._radio = asyncio.Lock()
        self._listeners: list[_Listener] = []
        self._callers = 0
        self._called = asyncio.Event()
        self._before = 0.0
        self._since: float | None = None

    @property
    def _listened(self) -> float:
        """Seconds that the radio has listened so far, for whomever."""
        now = time.monotonic()
        return self._before + (now - self._since if self._since is not None else 0.0)

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Have the radio to oneself."""
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
        """Show what is heard to `take` until it returns True.

        Args:
            take: Called in the order in which they came, if there are others.
            seconds: To listen; those in which somebody connects do not count.
            options: Of bleak's scanner.

        Returns:
            Whether it has returned True.

        Raises:
            BleakError, OSError, EOFError: The radio failed.
        """
        mine = _Listener(take)
        until = self._listened + seconds

        async def serve() -> None:
            try:
                await self._serve(options)
            except Exception as error:  # one of the radio's; the next who listens tries anew
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
        if mine.failed is not None and not mine.heard:
            raise mine.failed
        return mine.heard

    async def _serve(self, options: dict[str, Any]) -> None:
        """Listen for everybody whenever the radio is free, until cancelled."""
        from bleak import BleakScanner

        while True:
            async with self._radio:
                if self._callers:
                    continue  # they wait for the radio ahead of whoever asks for it now
                async with scanning(BleakScanner(self._heard, **options)):
                    self._since = time.monotonic()
                    try:
                        await self._called.wait()
                    finally:
                        self._before, self._since = self._listened, None

    def _heard(self, device: BLEDevice, heard: AdvertisementData) -> None:
        for one in self._listeners:
            if not one.news.is_set() and one.take(device, heard):
                one.heard = True
                one.news.set()
                return


async def _set(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


@asynccontextmanager
async def scanning(scanner: BleakScanner) -> AsyncIterator[BleakScanner]:
    """Scan; one that is cancelled while it begins would otherwise go on, unknown to anybody."""
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


_ears: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakValueDictionary[Hashable, SharedScanner]
] = WeakKeyDictionary()


def ear_of(radio: Hashable) -> SharedScanner:
    """Return the ear of a radio in the running loop."""
    ears = _ears.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return ears.setdefault(radio, SharedScanner())
