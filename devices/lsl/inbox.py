"""Queue from the thread that reads LSL to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass, replace

from innpar.devices.lsl.decoder import LslBlock
from innpar.devices.lsl.library import LslInfo

MOST_BLOCKS = 4096
"""Most blocks queued: half a minute of single samples at the highest usual rate."""


@dataclass(frozen=True, slots=True)
class StreamGone:
    """Loss or silence of the stream, which is being searched for again."""

    why: str


LslItem = LslInfo | LslBlock | StreamGone


class LslInbox:
    """Bounded queue from the thread to the event loop; the oldest samples are dropped first.

    Args:
        most: Most items queued.

    Attributes:
        dropped: Samples discarded because the reader was too slow.
    """

    def __init__(self, most: int = MOST_BLOCKS) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[LslItem | Exception] = deque()
        self._lock = threading.Lock()
        self._news = asyncio.Event()
        self._most = most
        self.dropped: int = 0

    def put(self, item: LslItem | Exception) -> None:
        """Add an item; called from the thread."""
        with self._lock:
            if len(self._items) >= self._most:
                item = self._drop(item)
            self._items.append(item)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def _drop(self, newest: LslItem | Exception) -> LslItem | Exception:
        """Discard the oldest block and count its samples in the block after it."""
        blocks = [k for k, item in enumerate(self._items) if isinstance(item, LslBlock)][:2]
        if not blocks:
            return newest
        oldest = self._items[blocks[0]]
        assert isinstance(oldest, LslBlock)
        self.dropped += len(oldest.stamps)
        lost = oldest.dropped + len(oldest.stamps)
        heir = self._items[blocks[1]] if len(blocks) > 1 else newest
        if isinstance(heir, LslBlock):
            heir = replace(heir, dropped=heir.dropped + lost)
            if len(blocks) > 1:
                self._items[blocks[1]] = heir
            else:
                newest = heir
        del self._items[blocks[0]]
        return newest

    async def next(self) -> LslItem:
        """Return the oldest item, waiting for one if necessary.

        Raises:
            DeviceError: The thread could not find or select the stream.
        """
        while True:
            with self._lock:
                item = self._items.popleft() if self._items else None
                if item is None:
                    self._news.clear()
            if isinstance(item, Exception):
                raise item
            if item is not None:
                return item
            await self._news.wait()
