"""Contents of a session file by device: entries, notes, time span, damage."""

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
"""Events that describe a lasting state and remain valid until the next of their kind."""

SIMULATED = "simulated"


def entry_of(
    file: SessionFile, message: Message, device: str | None = None
) -> Chunk | Event | Frame | None:
    """Decode a message of a device (None for any); return None if it is not part of a stream.

    Raises:
        BadPacket: Its content does not match its channel.
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
    """Describe the damage of a file for a person; empty if it is intact."""
    found = []
    if file.damaged:
        found.append(f"{len(file.damaged)} of {len(file.blocks)} blocks are damaged and left out")
    if not file.whole:
        found.append(
            f"the recording is still being written, or cut off ({file.ignored} bytes at its end "
            "are ignored)"
        )
    return "; ".join(found)


def devices_in(file: SessionFile) -> list[str]:
    """Return the ids of all devices with recorded PPG, in order of appearance."""
    topics = [Topic.of(channel.topic) for channel in file.channels.values()]
    return list(dict.fromkeys(topic.device for topic in topics if topic.what == "ppg"))


def about(file: SessionFile, device: str) -> dict[str, Any]:
    """Return the properties noted when a device was opened; empty if they are lost."""
    numbers = file.numbers(str(Topic(device, ABOUT)))
    known: dict[str, Any] = {}
    for message in file.messages(file.holding(numbers)):
        if message.channel in numbers:
            known = merge_notes(known, from_json(message.data))
    return known


def merge_notes(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Combine the notes of a device that was opened several times: the first, except its origin.

    A device that was simulated at any time counts as simulated.
    """
    if not known:
        return more
    return known | {"origin": SIMULATED} if origin_of(more) == SIMULATED else known


def source_of(known: Mapping[str, Any]) -> str:
    """Return the source to publish for recorded data, from the notes of their device.

    A replay of simulated data is simulated, however often it was recorded again.
    """
    origin, source = origin_of(known), str(known.get("source", "unknown"))
    return source if origin == "live" else origin


def origin_of(known: Mapping[str, Any]) -> str:
    """Return the first source of recorded data: ``live``, ``simulated`` or ``replay``."""
    return str(known.get("origin", known.get("source", "unknown")))


def running(file: SessionFile) -> dict[str, Any]:
    """Return the version, configuration and model of the recorded run; empty if they are lost."""
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
