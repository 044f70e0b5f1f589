"""Decoder of captured Polar traffic: samples and events, and records of everything else."""

from __future__ import annotations

from innpar.devices.base import Chunk, Event
from innpar.devices.link.decoder import Record
from innpar.devices.sensors.polar.control_frames import (
    FEATURES,
    RESPONSE,
    parse_answer,
    parse_features,
    parse_settings,
)
from innpar.devices.sensors.polar.decoder import BATTERY, CONTROL, DATA, HEART_RATE, PolarDecoder
from innpar.devices.sensors.polar.frames import EPOCH_2000, Metadata, Pulse, Pulses, decode

RATES = (55.0, 135.0, 176.0, 44.0, 28.0, 22.0)
"""Hz, of every firmware, where the rate is not given."""


class PolarCapture:
    """Decoder of captured traffic of Polar's measurement service; see `CaptureDecoder`.

    Args:
        device: Id to put on everything.
        rate: PPG sampling rate, Hz; None to recognise it.
    """

    channels = (DATA, CONTROL, HEART_RATE, BATTERY)

    def __init__(self, device: str, rate: float | None = None) -> None:
        self._decoder = PolarDecoder(device, (rate,) if rate else RATES)

    def arrival_of(self, channel: str, raw: bytes) -> int:
        """Return the sensor's time of a data frame, ns since the Unix epoch; 0 for others.

        Raises:
            BadPacket: It cannot be decoded.
        """
        return decode(raw).time + EPOCH_2000 if _true_channel(channel, raw) == DATA else 0

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event | Record]:
        """Decode one notification.

        Raises:
            BadPacket: It cannot be decoded.
        """
        channel = _true_channel(channel, raw)
        if channel == CONTROL:
            return [_control(raw), *self._decoder.push(channel, arrival, raw)]
        out: list[Chunk | Event | Record] = []
        if channel == DATA:
            frame = decode(raw)
            if isinstance(frame, Pulses):
                out += [{"signal": "ppi", **_fields(pulse)} for pulse in frame.pulses]
            elif isinstance(frame, Metadata):
                out += [{"metadata": f"0x{frame.frame_type:02x}", "values": list(frame.values)}]
        return [*out, *self._decoder.push(channel, arrival, raw)]

    def flush(self) -> list[Chunk | Event]:
        """Return the samples still held back."""
        return self._decoder.flush()


def _true_channel(channel: str, raw: bytes) -> str:
    """Return `CONTROL` for bytes of the control point that were captured without a channel."""
    from_control = raw[:1] in (bytes([RESPONSE]), bytes([FEATURES]))  # not a measurement's number
    return CONTROL if channel == DATA and from_control else channel


def _fields(pulse: Pulse) -> Record:
    return {name: getattr(pulse, name) for name in pulse.__slots__}


def _control(raw: bytes) -> Record:
    """Return the record of an indication of the control point."""
    if raw[:1] == bytes([FEATURES]):
        return {"control": "features", "kinds": sorted(parse_features(raw))}
    if raw[:1] != bytes([RESPONSE]):
        return {"control": "other", "hex": raw.hex()}
    answer = parse_answer(raw)
    settings = {} if answer.error or answer.more else parse_settings(answer.params)
    return {
        "control": "answer",
        "op": answer.op,
        "kind": answer.kind,
        "error": answer.error,
        **{setting.name.lower(): list(values) for setting, values in settings.items()},
    }
