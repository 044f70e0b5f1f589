"""Captured notifications, one a line in hex → samples, events and errors, one a JSON object.

A line is ``[TIME] [CHANNEL] HEX``: TIME when it was received, in seconds since 1970 with a decimal
point or as an ISO date and time; CHANNEL the characteristic, unless it is that of the samples.
Bytes may be separated by blanks, colons, commas or dashes and begin with ``0x``. Without a TIME the
sensor's own clock is taken as the truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from innpar.devices.base import NS, BadPacket, Chunk, Event, NotFound
from innpar.devices.link.decoder import CaptureDecoder, Record
from innpar.devices.options import Options, did_you_mean
from innpar.devices.sensors.catalogue import SENSORS, Sensor, load


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
    words = line.split()
    arrival = _time(words[0])
    if arrival is not None:
        words = words[1:]
    channel = words.pop(0) if words and words[0] in channels else channels[0]
    text = re.sub(r"0[xX]|[^0-9a-zA-Z\ufffd]", "", " ".join(words))
    try:
        return channel, arrival, bytes.fromhex(text)
    except ValueError:
        raise BadPacket(f"not hex: {' '.join(words)[:60]!r}") from None


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
                values = dict(zip(item.channels, row, strict=True))
                yield {"time": time, "signal": item.signal, **values}
        else:
            yield item
