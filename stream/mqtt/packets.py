"""PUBLISH packets as bytes, and the acknowledgements among the packets of a broker.

paho builds and keeps a message at several times the cost of the message itself; the packets here
always have the same form. MQTT 5.0 (OASIS, 2019), sections 2.2.2, 3.3 and 3.4.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

from innpar.stream.messages.parcel import Parcel

_UTF8 = b"\x01\x01"  # payload format indicator
_EXPIRY, _CONTENT_TYPE, _RESPONSE, _CORRELATION, _USER = b"\x02", b"\x03", b"\x08", b"\x09", b"\x26"
_PUBLISH, _PUBACK = 0x30, 0x40


def properties(parcel: Parcel, *more: tuple[str, str]) -> bytes:
    """Return the MQTT 5 properties of a message, preceded by their length.

    Args:
        parcel: The message.
        more: User properties beside its own.

    Raises:
        ValueError: A text of more than 65535 bytes.
    """
    parts = [_UTF8] if parcel.text else []
    parts += [_CONTENT_TYPE, _text(parcel.content_type)]
    if parcel.expiry is not None:
        parts += [_EXPIRY, parcel.expiry.to_bytes(4)]
    if parcel.response is not None:
        parts += [_RESPONSE, _text(parcel.response)]
    if parcel.correlation is not None:
        parts += [_CORRELATION, _data(parcel.correlation)]
    for name, value in (*parcel.headers, *more):
        parts += [_USER, _text(name), _text(value)]
    body = b"".join(parts)
    return _length(len(body)) + body


def publish(parcel: Parcel, topic: str, number: int, properties: bytes = b"") -> bytes:
    """Return a PUBLISH packet.

    Args:
        parcel: The message.
        topic: One of its topics.
        number: Its packet identifier; not sent with QoS 0.
        properties: As made by `properties`; empty for MQTT 3.1.1, which has none.
    """
    name, identifier = _text(topic), struct.pack(">H", number) if parcel.qos else b""
    length = len(name) + len(identifier) + len(properties) + len(parcel.payload)
    first = _PUBLISH | parcel.qos << 1 | parcel.retain
    return b"".join(
        (bytes((first,)), _length(length), name, identifier, properties, parcel.payload)
    )


def whole_packets(data: bytes) -> Iterator[bytes]:
    """Yield the complete packets at the beginning of a stream of bytes."""
    start = 0
    while (end := _end(data, start)) is not None and end <= len(data):
        yield data[start:end]
        start = end


def acknowledged(packet: bytes) -> tuple[int, int] | None:
    """Return packet identifier and reason code of a PUBACK; None for any other packet.

    A PUBACK of two bytes, which is also the form of MQTT 3.1.1, means success.
    """
    if packet[0] & 0xF0 != _PUBACK or len(packet) < 4 or packet[1] > 0x7F:
        return None
    return int.from_bytes(packet[2:4]), packet[4] if len(packet) > 4 else 0


def _end(data: bytes, start: int) -> int | None:
    """Return the end of the packet at `start`; None while its length is not complete."""
    length = 0
    for k, byte in enumerate(data[start + 1 : start + 5]):
        length |= (byte & 0x7F) << 7 * k
        if not byte & 0x80:
            return start + 2 + k + length
    # Four bytes that all continue are an error, which paho reports when it reads them.
    return len(data) if len(data) - start >= 5 else None


@functools.lru_cache(4096)
def _text(text: str) -> bytes:
    return _data(text.encode())


def _data(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"a property of {len(data)} bytes is too long: MQTT allows 65535")
    return struct.pack(">H", len(data)) + data


def _length(value: int) -> bytes:
    """Return `value` as a variable byte integer: seven bits per byte, the lowest first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
