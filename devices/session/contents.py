"""What a session file holds of each device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innpar.devices.base import Chunk, Event, Refused
from innpar.devices.session.items import (
    ABOUT,
    EVENTS,
    RAW,
    RUN,
    SIGNALS,
    Frame,
    Topic,
    from_json,
    unpack_chunk,
    unpack_event,
)
from innpar.devices.session.reader import Message, SessionFile

LASTING = ("connected", "wear", "motion", "posture")
"""Events that still hold for what comes long after them, in the order in which they were told."""


SIMULATED = "simulated"


def entry_of(
    file: SessionFile, message: Message, device: str | None = None
) -> Chunk | Event | Frame | None:
    """Return what a message of a device (None for any) holds; None for what is no part of a stream.

    Raises:
        BadPacket: It is not what its channel says.
    """
    channel = file.channels.get(message.channel)
    if channel is None:
        return None
    topic = Topic.of(channel.topic)
    if device not in (None, topic.device):
        return None
    if topic.what in SIGNALS:
        labels = tuple(channel.about.get("channels", "").split("\t"))
        return unpack_chunk(topic.device, topic.what, labels, message.data)
    if topic.what == EVENTS:
        return unpack_event(topic.device, message.data)
    if topic.what == RAW:
        return Frame(topic.device, topic.rest, message.time, message.data)
    return None


def damage_of(file: SessionFile) -> str:
    """Return what a person should know of a file's state; empty where it is sound."""
    said = []
    if file.damaged:
        said.append(f"{len(file.damaged)} of {len(file.blocks)} blocks are damaged and left out")
    if not file.whole:
        said.append(f"the recording ends abruptly ({file.ignored} bytes at its end are ignored)")
    return "; ".join(said)


def devices_in(file: SessionFile) -> list[str]:
    """Return the ids of the devices of which samples were recorded, in order of appearance."""
    topics = [Topic.of(channel.topic) for channel in file.channels.values()]
    return list(dict.fromkeys(topic.device for topic in topics if topic.what == "ppg"))


def about(file: SessionFile, device: str) -> dict[str, Any]:
    """Return what was noted of a device when it was opened; empty where that is lost."""
    numbers = file.numbers(str(Topic(device, ABOUT)))
    known: dict[str, Any] = {}
    for message in file.messages(file.holding(numbers)):
        if message.channel in numbers:
            known = together(known, from_json(message.data))
    return known


def together(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a device that was opened again: the first, but who wore it.

    What is simulated in part is taken for nobody's.
    """
    if not known:
        return more
    return known | {"origin": SIMULATED} if origin_of(more) == SIMULATED else known


def source_of(known: Mapping[str, Any]) -> str:
    """Return what to call the source of what was recorded, by what was noted of the device.

    A replay of a simulated wearer is simulated, however often it was recorded again.
    """
    origin, source = origin_of(known), str(known.get("source", "unknown"))
    return source if origin == "live" else origin


def origin_of(known: Mapping[str, Any]) -> str:
    """Return what was recorded in the first place: ``live``, ``simulated`` or another's file."""
    return str(known.get("origin", known.get("source", "unknown")))


def running(file: SessionFile) -> dict[str, Any]:
    """Return what was running when it was recorded; empty where that is lost."""
    numbers = file.numbers(RUN)
    for message in file.messages(file.holding(numbers)[:1]):
        if message.channel in numbers:
            return from_json(message.data)
    return {}


def extent(file: SessionFile, device: str) -> tuple[int, int]:
    """Return the times of the first and the last PPG sample, ns since the Unix epoch.

    Raises:
        Refused: There is none.
    """
    numbers = file.numbers(str(Topic(device, "ppg")))
    places = file.holding(numbers)
    first = last = None
    for message in file.messages(places):
        chunk = entry_of(file, message, device) if message.channel in numbers else None
        if isinstance(chunk, Chunk) and len(chunk):
            first = int(chunk.times[0])
            break
    for place in reversed(places):
        ends = [
            int(chunk.times[-1])
            for message in file.messages([place])
            if message.channel in numbers
            and isinstance(chunk := entry_of(file, message, device), Chunk)
            and len(chunk)
        ]
        if ends:
            last = ends[-1]
            break
    if first is None or last is None:
        raise Refused(f"{file.path}: no PPG of {device} was recorded in it")
    return first, last
