"""One message: its bytes, its topics, and how the broker treats it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Parcel:
    """One payload, encoded once, and where it goes.

    Attributes:
        topics: Every topic that gets these bytes.
        payload: UTF-8, where `text` says so.
        content_type: MIME type.
        qos: 0 or 1.
        retain: Whether the broker keeps it for later subscribers.
        durable: Whether it is kept while the broker is away; a waveform is not.
        expiry: Seconds, or None for never.
        headers: MQTT 5 user properties.
        correlation: MQTT 5 correlation data, of a request or its reply.
        response: Topic on which a request wants its reply (MQTT 5).
        text: Whether the payload is UTF-8.
    """

    topics: tuple[str, ...]
    payload: bytes
    content_type: str = "application/json"
    qos: Literal[0, 1] = 1
    retain: bool = False
    durable: bool = True
    expiry: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    correlation: bytes | None = None
    response: str | None = None
    text: bool = True
