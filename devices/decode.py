"""Captured notifications, one a line in hex → samples, events and errors, one a JSON object.

A line is ``[TIME] [CHANNEL] HEX``: TIME when it was received, in seconds since 1970 with a decimal
point or as an ISO date and time; CHANNEL the characteristic, unless it is that of the samples.
Bytes may be separated by blanks, colons, commas or dashes and begin with ``0x``; a list in brackets
without ``0x`` and letters is decimal. A line of nRF Connect's log is read from its ``(0x)`` on.
Without a TIME the sensor's own clock is taken as the truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from innpar.devices.base import NS, BadPacket, Chunk, Event, NotFound
from innpar.devices.link.decoder import CaptureDecoder, Record
from innpar.devices.options import Options, did_you_mean
from innpar.devices.sensors.catalogue import SENSORS, Sensor, load

RESERVED = frozenset(("time", "signal", "event", "error", "line", "hex", "start", "end"))
"""Keys of our own in records, which no channel's label may take."""


def decode(spec: str, lines: Iterable[str]) -> Iterator[Record]:
    """Decode captured traffic.

    Args:
        spec: A sensor of the catalogue, with its options, e.g. ``polar-verity?rate=176``.
        lines: See the module; empty lines and those that begin with ``#`` are skipped.

    Yields:
        ``{"time": ns since 1970, "signal": …, channel: value, …}`` a sample, ``{"event": …}``,
        ``{"error": …, "line": …, "hex": …}`` for bytes that cannot be decoded, and a record of
        everything else in the frames.

    Raises:
        NotFound: There is no sensor of that name.
        Refused: An option is invalid.
    """
    name, _, tail = spec.partition("?")
    if name not in SENSORS:
        raise NotFound(
            f"there is no decoder for {name!r}{did_you_mean(name, SENSORS)}; choose from "
            f"{', '.join(SENSORS)}"
        )
    options = dict(pair.partition("=")[::2] for pair in tail.split("&")) if tail else {}
    decoder = _decoder(name, SENSORS[name], options)
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            channel, arrival, raw = parse_line(line, decoder.channels)
            when = decoder.arrival_of(channel, raw) if arrival is None else arrival
            yield from records(decoder.push(channel, when, raw))
        except BadPacket as bad:
            yield {"error": str(bad), "line": number, "hex": bad.raw.hex()}
    yield from records(decoder.flush())


def _decoder(name: str, sensor: Sensor, options: dict[str, str]) -> CaptureDecoder:
    """Return the decoder of a sensor; ``rate`` is its only option, where there is a choice."""
    keys = {"rate": "PPG sampling rate in Hz, where known"} if sensor.rates else {}
    given = Options(f"decode {name}", options, keys)
    make = load(sensor.decoder)
    decoder: CaptureDecoder = (
        make(name, given.number("rate", *sensor.rates)) if sensor.rates else make(name)
    )
    return decoder


def parse_line(line: str, channels: tuple[str, ...]) -> tuple[str, int | None, bytes]:
    """Split a line into channel, arrival (ns since the Unix epoch, or None) and bytes.

    Raises:
        BadPacket: The rest of the line is not hex.
    """
    _, logged, after = line.partition("(0x)")  # nRF Connect; its times have no date
    words = after.split() if logged else line.split()
    arrival = _time(words[0]) if words else None
    if arrival is not None:
        words = words[1:]
    channel = words.pop(0) if words and words[0] in channels else channels[0]
    return channel, arrival, _bytes(" ".join(words))


def _bytes(text: str) -> bytes:
    """Return the bytes of a line.

    Raises:
        BadPacket: They are written neither in hex nor as a list of decimal numbers.
    """
    listed = re.fullmatch(r"[\[(](?:\s*\d+\s*,)*\s*\d+\s*,?\s*[\])]", text)
    tokens = re.findall(r"[0-9a-zA-Z\ufffd]+", text)
    try:
        if listed:
            return bytes(map(int, tokens))
        if any(len(token) % 2 for token in tokens):
            raise ValueError
        return bytes.fromhex(re.sub(r"0[xX]", "", " ".join(tokens)))
    except ValueError:
        raise BadPacket(
            f"not hex: {text[:60]!r}; write two digits a byte, or decimal bytes as a list in "
            "brackets, [4, 128, 0]"
        ) from None


def _time(word: str) -> int | None:
    """Return ns since the Unix epoch; None for any other word (hex has neither point nor T)."""
    if re.fullmatch(r"\d+\.\d+", word):
        whole, _, part = word.partition(".")
        return int(whole) * NS + int(part[:9].ljust(9, "0"))
    if not re.match(r"\d{4}-\d\d-\d\dT", word):
        return None
    try:
        when = datetime.fromisoformat(word)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp()) * NS + when.microsecond * 1000


def records(items: Iterable[Chunk | Event | Record]) -> Iterator[Record]:
    """Turn chunks and events into records."""
    for item in items:
        if isinstance(item, Event):
            yield {"event": item.kind, "start": item.start, "end": item.end, **item.detail}
        elif isinstance(item, Chunk):
            for time, row in zip(item.times.tolist(), item.data.tolist(), strict=True):
                values = dict(zip(_keys(item.channels), row, strict=True))
                yield {"time": time, "signal": item.signal, **values}
        else:
            yield item


def _keys(labels: tuple[str, ...]) -> list[str]:
    """Return the key of each channel: its label, or another one where records use that key."""
    keys: list[str] = []
    for label in labels:
        key = f"channel_{label}" if label in RESERVED else label
        while key in keys or (key != label and key in labels):
            key += "_"
        keys.append(key)
    return keys
