"""Edit sessions: cut a part, merge several, or remove personal data."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from innpar.devices import NS, Chunk, Event, NoticeCode, code_of
from innpar.devices.session.contents import devices_in, entry_of, extent
from innpar.devices.session.items import (
    ABOUT,
    BEATS,
    EVENTS,
    RUN,
    Topic,
    from_json,
    pack_chunk,
    pack_event,
    to_json,
)
from innpar.devices.session.reader import Message, SessionFile
from innpar.devices.session.state_at import StateAt, calibration_at
from innpar.devices.session.writer import Writer
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.session.index import progress
from innpar.stream.session.new_file import fresh

PRIVATE = ("address", "name", "serial", "subject", "user")
"""Keys of a device's ``connected`` event that may identify a person."""


KEPT: Mapping[NoticeCode | None, str] = {
    NoticeCode.STALLED_RESTARTED: "the stream was started again",
    NoticeCode.NOTIFICATIONS_DROPPED: "too slow: ",
}
"""Texts of notices that `redact` keeps: decoding recordings of version 0.1, which have no codes,
depends on them.

Other notices may contain an address, and markers anything.
"""

LATEST = 1e9
"""Longest session, s."""


class SessionPart(NamedTuple):
    """A message for another file: topic, content, and time in ns since the Unix epoch."""

    topic: Topic
    data: bytes
    time: int


Edit = Callable[[SessionFile, Message, SessionPart], list[SessionPart]]
"""Function from a message to the messages that replace it."""


def cut(path: Path, out: Path, begin: float, end: float) -> int:
    """Write the part of a session from `begin` to `end`, seconds after each device's first sample.

    Earlier events that still apply are copied to its beginning. Raw frames are copied, too, but
    decoding them again starts from scratch at the beginning of the part.

    Raises:
        ConfigError: The limits are invalid.
        SessionError: `out` cannot be written, or the part contains no samples.
        DeviceError: The file does not exist or is not a session.
    """
    if not (math.isfinite(begin) and begin >= 0):
        raise ConfigError(f"--from: must be 0 or more seconds, not {begin:g}")
    if not end > begin:
        raise ConfigError(f"--to: must be later than --from={begin:g}, not {end:g}")
    begin, end = min(begin, LATEST), min(end, LATEST)
    with SessionFile(path) as file:
        spans = {device: extent(file, device) for device in devices_in(file)}
        windows = {
            device: (first + round(begin * NS), first + round(end * NS))
            for device, (first, _) in spans.items()
        }
        if all(last < windows[device][0] for device, (_, last) in spans.items()):
            raise SessionError(
                f"{path}: there are no samples after {begin:g} s; choose an earlier part"
            )
        standing = {
            device: StateAt(
                low, calibration_at(file, device, low) if low > spans[device][0] else None
            )
            for device, (low, _) in windows.items()
        }

        def part(file: SessionFile, message: Message, piece: SessionPart) -> list[SessionPart]:
            topic = piece.topic
            if topic.what in (RUN, ABOUT) or topic.device not in windows:
                return [piece]
            low, high = windows[topic.device]
            entry = entry_of(file, message)
            if isinstance(entry, Event) and standing[topic.device].takes(entry):
                return []
            if isinstance(entry, Chunk):
                inside = (entry.times >= low) & (entry.times < high)
                if not inside.any():
                    return []
                entry = replace(entry, times=entry.times[inside], data=entry.data[inside])
                piece = SessionPart(topic, pack_chunk(entry), int(entry.times[-1]))
            elif not low <= piece.time < high:
                return []
            events = Topic(topic.device, EVENTS)
            before = standing[topic.device].due()
            return [*(SessionPart(events, pack_event(one), one.start) for one in before), piece]

        kept = _write([file], out, part)
    print(f"{out}: {kept} messages")
    return 0


def merge(paths: Sequence[Path], out: Path) -> int:
    """Merge several sessions into one, in order of time.

    Raises:
        SessionError: `out` cannot be written, or sessions of one device overlap in time.
        DeviceError: A file does not exist or is not a session.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(SessionFile(path)) for path in paths]
        spans = [
            (device, *extent(file, device), number)
            for number, file in enumerate(files)
            for device in devices_in(file)
        ]
        for device, first, last, one in spans:
            for other, start, stop, two in spans:
                if device == other and one != two and first <= stop and start <= last:
                    raise SessionError(
                        f"{paths[one]} and {paths[two]} overlap in time for {device}; "
                        "cut one of them first"
                    )
        begins = {number: first for _, first, _, number in reversed(spans)}
        files = [files[number] for number in sorted(begins, key=begins.__getitem__)]
        kept = _write(files, out, lambda _file, _message, piece: [piece])
    print(f"{out}: {kept} messages of {len(files)} sessions")
    return 0


def redact(path: Path, out: Path) -> int:
    """Write a session without ids, addresses, names and the texts of markers.

    Times and signals are unchanged.

    Raises:
        SessionError: `out` cannot be written.
        DeviceError: The file does not exist or is not a session.
    """
    names: dict[str, str] = {}

    def nameless(file: SessionFile, message: Message, piece: SessionPart) -> list[SessionPart]:
        topic, data, time = piece
        if topic.what == RUN:
            run = from_json(data)
            run.pop("configuration", None)
            return [SessionPart(topic, to_json(run), time)]
        name = names.setdefault(topic.device, f"wearer-{len(names) + 1}")
        if topic.what == ABOUT:
            known = from_json(data)
            data = to_json({key: value for key, value in known.items() if key not in PRIVATE})
        entry = entry_of(file, message)
        if isinstance(entry, Event):
            detail = {key: v for key, v in entry.detail.items() if key not in PRIVATE}
            if "text" in detail:
                detail["text"] = KEPT.get(code_of(entry), "(redacted)")
            if entry.kind == "notice" and code_of(entry) is None:
                detail.pop("code", None)  # from another program: it may contain anything
            data = pack_event(replace(entry, detail=detail))
        elif topic.what == BEATS:
            data = to_json({**from_json(data), "device": name})
        text = Topic(name, topic.what, topic.rest)
        return [SessionPart(text, data, time)]

    with SessionFile(path) as file:
        kept = _write([file], out, nameless)
    key = json.dumps(names, ensure_ascii=False)
    print(f"{out}: {kept} messages; new ids, for your own records: {key}")
    return 0


def _write(files: Sequence[SessionFile], out: Path, edit: Edit) -> int:
    """Write every message as edited; return their number.

    Raises:
        SessionError: `out` cannot be written.
    """
    kept = 0
    with fresh(out) as target:
        writer = Writer(target, "innpar-stream session")
        for file in files:
            for message in progress(file.messages(), len(file.blocks), file):
                channel = file.channels.get(message.channel)
                if channel is None:
                    continue
                piece = SessionPart(Topic.of(channel.topic), message.data, message.time)
                for topic, data, time in edit(file, message, piece):
                    # An event copied from before the part has the encoding of events.
                    about = channel.about if topic.what == piece.topic.what else {}
                    encoding = "json" if topic.what in ("events", RUN) else channel.encoding
                    number = writer.channel(str(topic), encoding, about)
                    writer.add(number, time, message.written, data)
                    kept += 1
        writer.finish()
        os.fsync(target.fileno())
    return kept
