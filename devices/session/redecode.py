"""Decoding of recorded frames by the current decoder.

Items that did not come from the decoder (cuff readings, markers, disconnections) keep their place
in the stream; those that did are replaced one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from innpar.devices.base import BadPacket, Chunk, Event, Refused
from innpar.devices.notices import NoticeCode, code_of
from innpar.devices.session.items import Frame


class Redecoder(Protocol):
    """Decoder of one device's recorded frames, in order of arrival."""

    def push(self, frame: Frame) -> list[Chunk | Event]:
        """Decode a frame; return nothing for an undecodable one, as in the live run."""
        ...

    def observe(self, event: Event) -> None:
        """Take an event that affected the decoder from outside, such as a disconnection."""
        ...

    def produces(self, item: Chunk | Event) -> bool:
        """Return whether an item is of a kind that the decoder produces."""
        ...


def redecoded(items: Iterable[Chunk | Event | Frame], device: str) -> Iterator[Chunk | Event]:
    """Yield a recorded stream with its decoder's items replaced by newly decoded ones.

    Args:
        items: The recorded stream, with its frames.
        device: Device id.

    Raises:
        Refused: It has no frames, or there is no decoder for them.
    """
    decoder: Redecoder | None = None
    ready: deque[Chunk | Event] = deque()
    for item in items:
        if isinstance(item, Event) and item.kind == "connected":
            decoder = decoder or _decoder(device, item.detail)
        if decoder is None:
            continue
        if isinstance(item, Frame):
            yield from ready
            ready = deque(decoder.push(item))
        elif decoder.produces(item):
            if ready:
                yield _cut_like(item, ready.popleft())
        else:
            if isinstance(item, Event):
                decoder.observe(item)
            yield item
    if decoder is None:
        raise Refused(f"{device}: no frames were recorded to decode again; leave out redecode")


def _cut_like(recorded: Chunk | Event, item: Chunk | Event) -> Chunk | Event:
    """Cut the chunk during which the run ended at the same sample."""
    if isinstance(recorded, Event) or isinstance(item, Event) or len(recorded) >= len(item):
        return item
    ended = (item.times[: len(recorded)] == recorded.times).all()
    return item[: len(recorded)] if ended else item


WHY = {NoticeCode.STALLED_RESTARTED: "stalled", NoticeCode.NOTIFICATIONS_DROPPED: "too slow"}
"""Code of a driver's notice → reason of a gap after it."""


class _PolarRedecoder:
    """`Redecoder` for Polar's measurement service."""

    def __init__(self, device: str, how: Mapping[str, Any]) -> None:
        from innpar.devices.sensors.polar.decoder import PolarDecoder

        self._stream = PolarDecoder(
            device, how["rates"], acc_rate=how["acc_rate"], acc_factor=how["acc_factor"]
        )

    def push(self, frame: Frame) -> list[Chunk | Event]:
        try:
            decoded = self._stream.push(frame.channel, frame.arrival, frame.raw)
        except BadPacket:
            return []
        return [item for item in decoded if self.produces(item)]

    def observe(self, event: Event) -> None:
        if event.kind == "disconnected":
            self._stream.interrupted("link lost", relinked=True)
        elif (code := code_of(event)) is not None and code in WHY:
            self._stream.interrupted(WHY[code])

    def produces(self, item: Chunk | Event) -> bool:
        # Notices also come from the driver; the recorded ones are kept.
        if isinstance(item, Chunk):
            return item.signal in ("ppg", "acc")
        return item.kind in PRODUCED


PRODUCED = ("gap", "battery", "wear", "motion", "vitals", "intervals", "clock")

DECODERS: dict[str, Callable[[str, Mapping[str, Any]], Redecoder]] = {"polar": _PolarRedecoder}
"""Name of a decoder in a ``connected`` event → that decoder."""


def _decoder(device: str, detail: Mapping[str, Any]) -> Redecoder:
    how = detail.get("decoder")
    if not isinstance(how, Mapping) or how.get("name") not in DECODERS:
        raise Refused(f"{device}: no raw frames were recorded; leave out redecode")
    try:
        return DECODERS[how["name"]](device, how)
    except (KeyError, TypeError, ValueError):
        raise Refused(
            f"{device}: the recorded decoder settings are invalid; leave out redecode"
        ) from None
