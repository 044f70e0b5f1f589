"""Captured notifications, one a line in hex → samples, events and errors, one a JSON object.

A line is ``[TIME] [CHANNEL] HEX``: TIME when it was received, in seconds since 1970 with a decimal
point or as an ISO date and time; CHANNEL the characteristic, where it is not the samples'. Bytes
may be separated by blanks, colons, commas or dashes and begin with ``0x``. Without a TIME the
sensor's own clock is taken for the truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from innpar.devices.base import NS, BadPacket, Chunk, Event, NotFound
from innpar.devices.link import reconnect as life
from innpar.devices.options import Options, did_you_mean
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.control_frames import (
    FEATURES,
    RESPONSE,
    parse_answer,
    parse_features,
    parse_settings,
)
from innpar.devices.sensors.polar.decoder import BATTERY, CONTROL, DATA, HEART_RATE, PolarDecoder
from innpar.devices.sensors.polar.frames import Metadata, Pulses

Record = dict[str, Any]
"""What becomes one line of JSON."""


class HexDecoder(Protocol):
    """Decodes what one sensor sent.

    Attributes:
        channels: Names a line may give, the one of the samples first.
    """

    channels: tuple[str, ...]

    def push(self, channel: str, arrival: int | None, raw: bytes) -> list[Record]:
        """Take one notification.

        Raises:
            BadPacket: It cannot be decoded.
        """
        ...

    def flush(self) -> list[Record]:
        """Return what was still held back."""
        ...


def decode(spec: str, lines: Iterable[str]) -> Iterator[Record]:
    """Decode captured traffic.

    Args:
        spec: A device that `DECODERS` has, with its options, e.g. ``polar-verity?rate=176``.
        lines: As the module says; empty ones and those that begin with ``#`` are skipped.

    Yields:
        ``{"time": ns since 1970, "signal": …, channel: value, …}`` a sample, ``{"event": …}``,
        ``{"error": …, "line": …, "hex": …}`` for what cannot be decoded, and whatever else the
        frames told.

    Raises:
        NotFound: No decoder of that name.
        Refused: An option makes no sense.
    """
    name, _, tail = spec.partition("?")
    if name not in DECODERS:
        raise NotFound(
            f"there is no decoder for {name!r}{did_you_mean(name, DECODERS)}; there is one for: "
            f"{', '.join(DECODERS)}"
        )
    options = dict(pair.partition("=")[::2] for pair in tail.split("&")) if tail else {}
    decoder = DECODERS[name](name, options)
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield from decoder.push(*parse_line(line, decoder.channels))
        except BadPacket as bad:
            yield {"error": str(bad), "line": number, "hex": bad.raw.hex()}
    yield from decoder.flush()


def parse_line(line: str, channels: tuple[str, ...]) -> tuple[str, int | None, bytes]:
    """Split a line into channel, arrival (ns since the Unix epoch, or None) and bytes.

    Raises:
        BadPacket: What should be hex is not.
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
    """Return ns since the Unix epoch; None for what is no time: hex never has a point or a T."""
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


def records(items: Iterable[Chunk | Event]) -> Iterator[Record]:
    """Turn chunks and events into records."""
    for item in items:
        if isinstance(item, Event):
            record = {"event": item.kind, "start": item.start, "end": item.end, **item.detail}
            yield record
            continue
        for time, row in zip(item.times.tolist(), item.data.tolist(), strict=True):
            values = dict(zip(item.channels, row, strict=True))
            yield {"time": time, "signal": item.signal, **values}


class _PolarHex:
    """Polar's measurement service; see `HexDecoder`."""

    channels: tuple[str, ...] = (DATA, CONTROL, HEART_RATE, BATTERY)

    def __init__(self, name: str, options: dict[str, str]) -> None:
        given = Options(f"decode {name}", options, {"rate": "Hz of the PPG, where it is known"})
        rate = given.number("rate", 1, 1000)
        rates = (rate,) if rate else (55.0, 135.0, 176.0, 44.0, 28.0, 22.0)
        self._stream = PolarDecoder(name, rates)

    def push(self, channel: str, arrival: int | None, raw: bytes) -> list[Record]:
        if channel == DATA and raw[:1] in (bytes([RESPONSE]), bytes([FEATURES])):
            channel = CONTROL  # no measurement has these numbers
        if channel == CONTROL:
            told = records(self._stream.push(channel, arrival or 0, raw))
            return [_control(raw), *told]
        out: list[Record] = []
        if channel == DATA:
            frame = pmd.decode(raw)
            if isinstance(frame, Pulses):
                out = [{"signal": "ppi", **_fields(p)} for p in frame.pulses]
            elif isinstance(frame, Metadata):
                out = [{"metadata": f"0x{frame.frame_type:02x}", "values": list(frame.values)}]
            arrival = frame.time + pmd.EPOCH_2000 if arrival is None else arrival
        return out + list(records(self._stream.push(channel, arrival or 0, raw)))

    def flush(self) -> list[Record]:
        return list(records(self._stream.flush()))


def _fields(pulse: pmd.Pulse) -> Record:
    return {name: getattr(pulse, name) for name in pulse.__slots__}


def _control(raw: bytes) -> Record:
    """Say what an indication of the control point means."""
    if raw[:1] == bytes([FEATURES]):
        return {"control": "features", "kinds": sorted(parse_features(raw))}
    if raw[:1] != bytes([RESPONSE]):
        return {"control": "other", "hex": raw.hex()}
    answer = parse_answer(raw)
    told: Record = {"control": "answer", "op": answer.op, "kind": answer.kind}
    told["error"] = answer.error
    settings = {} if answer.error or answer.more else parse_settings(answer.params)
    return {**told, **{s.name.lower(): list(values) for s, values in settings.items()}}


class _Plain:
    """Whatever needs no more than its stream; see `HexDecoder`."""

    def __init__(self, stream: life.TimedDecoder, channels: tuple[str, ...]) -> None:
        self._stream = stream
        self.channels = channels

    def push(self, channel: str, arrival: int | None, raw: bytes) -> list[Record]:
        when = self._stream.arrival_of(channel, raw) if arrival is None else arrival
        return list(records(self._stream.push(channel, when, raw)))

    def flush(self) -> list[Record]:
        return list(records(self._stream.flush()))


def _cuff(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.cuff import CHANNEL, CuffDecoder

    Options(f"decode {name}", options, {})
    return _Plain(CuffDecoder(name), (CHANNEL,))


def _muse(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.muse import CHANNELS, TELEMETRY, MuseDecoder

    Options(f"decode {name}", options, {})
    return _Plain(MuseDecoder(name), (*CHANNELS, *TELEMETRY.values()))


def _contec(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.link.serial_port import CHANNEL
    from innpar.devices.sensors.oximeters.contec import ContecDecoder

    Options(f"decode {name}", options, {})
    return _Plain(ContecDecoder(name), (CHANNEL,))


def _serial(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.link.serial_port import CHANNEL
    from innpar.devices.sensors.boards.serial_lines import LineDecoder

    given = Options(f"decode {name}", options, {"rate": "Hz, where it is known"})
    return _Plain(LineDecoder(name, given.number("rate", 5, 2000), joined=False), (CHANNEL,))


def _bangle(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.bangle import CHANNEL, BangleDecoder

    Options(f"decode {name}", options, {})
    return _Plain(BangleDecoder(name), (CHANNEL,))


def _nonin(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.oximeters.nonin import CHANNEL, OXIMETRY, NoninDecoder

    Options(f"decode {name}", options, {})
    return _Plain(NoninDecoder(name), (CHANNEL, *OXIMETRY.values()))


def _berrymed(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.oximeters.berrymed import CHANNEL, BerryMedDecoder

    Options(f"decode {name}", options, {})
    return _Plain(BerryMedDecoder(name), (CHANNEL,))


def _o2ring(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.oximeters.o2ring import CHANNEL, O2RingDecoder

    Options(f"decode {name}", options, {})
    return _Plain(O2RingDecoder(name), (CHANNEL,))


def _emotibit(name: str, options: dict[str, str]) -> HexDecoder:
    from innpar.devices.sensors.emotibit.driver import CHANNEL, EmotiBitDecoder

    Options(f"decode {name}", options, {})
    return _Plain(EmotiBitDecoder(name), (CHANNEL,))


DECODERS: dict[str, Callable[[str, dict[str, str]], HexDecoder]] = {
    "polar-verity": _PolarHex,
    "polar-oh1": _PolarHex,
    "polar": _PolarHex,
    "cuff": _cuff,
    "muse": _muse,
    "serial": _serial,
    "contec": _contec,
    "bangle": _bangle,
    "nonin": _nonin,
    "berrymed": _berrymed,
    "o2ring": _o2ring,
    "emotibit": _emotibit,
}
"""Device → what decodes it."""
