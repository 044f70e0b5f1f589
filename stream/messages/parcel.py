"""One MQTT message: bytes, topics and delivery properties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Parcel:
    """One encoded payload and its topics.

    Attributes:
        topics: Topics that receive these bytes.
        payload: Encoded content, UTF-8 if `text`.
        content_type: MIME type.
        qos: 0 or 1.
        retain: Whether the broker keeps it for later subscribers.
        durable: Whether it is queued while the broker is unreachable; waveforms are not.
        expiry: Message expiry interval, s; None for never.
        headers: MQTT 5 user properties.
        correlation: MQTT 5 correlation data of a request or its reply.
        response: MQTT 5 response topic of a request.
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
