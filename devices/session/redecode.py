"""Decode recorded frames anew, with the decoder of today.

Items that the decoder did not make (cuff readings, markers, lost links) keep their places in the
stream; those that it made are replaced one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from innpar.devices.base import BadPacket, Chunk, Event, Refused
from innpar.devices.link.decoder import Decoder
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.sensors.catalogue import SENSORS, load
from innpar.devices.session.items import Frame

MADE = ("gap", "battery", "wear", "motion", "vitals", "intervals", "clock")
"""Kinds of events that a decoder makes. Its notices are kept as recorded: drivers make some too."""

WHY = {NoticeCode.STALLED_RESTARTED: "stalled", NoticeCode.NOTIFICATIONS_DROPPED: "too slow"}
"""Code of a driver's notice → reason of the gap that may follow."""


def redecoded(items: Iterable[Chunk | Event | Frame], device: str) -> Iterator[Chunk | Event]:
    """Yield a recorded stream with the items of its decoder replaced.

    Args:
        items: The recorded stream, with its frames.
        device: Its id.

    Raises:
        Refused: It has no frames, or there is no decoder for them.
    """
    decoder: Redecoder | None = None
    ready: deque[Chunk | Event] = deque()
    for item in items:
        if isinstance(item, Event) and item.kind == "connected":
            decoder = decoder or _redecoder(device, item.detail)
        if decoder is None:
            continue
        if isinstance(item, Frame):
            yield from ready
            ready = deque(decoder.push(item))
        elif decoder.produces(item):
            if ready:
                yield _as_far_as(item, ready.popleft())
        else:
            if isinstance(item, Event):
                decoder.steer(item)
            yield item
    if decoder is None:
        raise Refused(f"{device}: no frames of it can be decoded anew; leave out redecode")


def _as_far_as(recorded: Chunk | Event, item: Chunk | Event) -> Chunk | Event:
    """Cut the last chunk of a run where the run ended."""
    if isinstance(recorded, Event) or isinstance(item, Event) or len(recorded) >= len(item):
        return item
    ended = (item.times[: len(recorded)] == recorded.times).all()
    return item[: len(recorded)] if ended else item


class Redecoder:
    """Decoder of the recorded frames of one device, in the order in which they came.

    Args:
        decoder: As it was when the recording began.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def push(self, frame: Frame) -> list[Chunk | Event]:
        """Decode a frame; one that cannot be decoded gives nothing, as it did then."""
        try:
            made = self._decoder.push(frame.channel, frame.arrival, frame.raw)
        except BadPacket:
            return []
        return [item for item in made if self.produces(item)]

    def steer(self, event: Event) -> None:
        """Pass on a lost link, a restart or a full queue, which the decoder learnt from outside."""
        if event.kind == "disconnected":
            self._decoder.interrupted("link lost", relinked=True)
        elif (code := code_of(event)) is not None and code in WHY:
            self._decoder.interrupted(WHY[code])

    def produces(self, item: Chunk | Event) -> bool:
        """Return whether the decoder makes such items."""
        if isinstance(item, Chunk):
            return item.signal in ("ppg", "acc")
        return item.kind in MADE


def _redecoder(device: str, detail: Mapping[str, Any]) -> Redecoder:
    """Return the redecoder for the detail of a ``connected`` event."""
    how = detail.get("decoder")
    sensor = SENSORS.get(str(how.get("name"))) if isinstance(how, Mapping) else None
    if sensor is None or not sensor.redecoder:
        raise Refused(f"{device}: no raw frames were recorded; leave out redecode")
    try:
        return Redecoder(load(sensor.redecoder)(device, how))
    except (KeyError, TypeError, ValueError):
        raise Refused(
            f"{device}: its recorded decoder settings are invalid; leave out redecode"
        ) from None
