"""A parcel's MQTT 5 properties, as bytes.

paho builds a property list name by name, which costs more than the rest of a message; the
properties here always have the same form. MQTT 5.0 (OASIS, 2019), section 2.2.2.
"""

from __future__ import annotations

import struct

from paho.mqtt.properties import Properties

from innpar.stream.messages.parcel import Parcel

_UTF8 = b"\x01\x01"  # payload format indicator
_EXPIRY, _CONTENT_TYPE, _RESPONSE, _CORRELATION, _USER = b"\x02", b"\x03", b"\x08", b"\x09", b"\x26"


class PackedProperties(Properties):
    """Properties in the form that paho publishes: bytes."""

    def __init__(self, body: bytes) -> None:
        object.__setattr__(self, "_packed", _length(len(body)) + body)

    def pack(self) -> bytes:
        """Return the bytes, preceded by their length."""
        packed: bytes = object.__getattribute__(self, "_packed")
        return packed

    def __str__(self) -> str:
        return f"[{len(self.pack())} bytes of properties]"


def packed(parcel: Parcel, *more: tuple[str, str]) -> PackedProperties:
    """Return the properties of a message.

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
    return PackedProperties(b"".join(parts))


def packet_size(parcel: Parcel, topic: str, properties: PackedProperties | None) -> int:
    """Return the bytes of a message's PUBLISH packet; MQTT 5.0, section 3.3."""
    length = 2 + len(topic.encode()) + len(parcel.payload) + (2 if parcel.qos else 0)
    if properties is not None:
        length += len(properties.pack())
    return 1 + len(_length(length)) + length


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
