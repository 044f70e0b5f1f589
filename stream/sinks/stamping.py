"""The measured delay of each beat: from its systolic peak to the moment it is published."""

from __future__ import annotations

from dataclasses import replace

from innpar.devices import HostClock
from innpar.stream.results import Beat, Item
from innpar.stream.sinks.base import Sink


class StampingSink:
    """Sink that measures the delay of beats on their way to another sink.

    Args:
        sink: The other one.
        clock: The host's, on which the times of the samples have been corrected.
        late: Delay beyond which a beat is late, s.

    Attributes:
        late: The same; may be changed.
    """

    def __init__(self, sink: Sink, clock: HostClock, late: float) -> None:
        self._sink = sink
        self._clock = clock
        self.late = late

    async def send(self, item: Item) -> None:
        if isinstance(item, Beat):
            delay = (self._clock.now() - item.peak) / 1e6
            item = replace(item, delay_ms=delay, late=delay > 1e3 * self.late)
        await self._sink.send(item)

    async def ready(self) -> None:
        await self._sink.ready()
