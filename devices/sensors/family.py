"""The description of a kind of Bluetooth sensor that needs few commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from innpar.devices.link.ble import BleLink
from innpar.devices.link.decoder import TimedDecoder

Dialogue = Callable[[BleLink], Awaitable[None]]
"""A sequence of commands over a link."""


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of Bluetooth sensor.

    Attributes:
        name: Its name in ``--device``.
        names: Beginnings of its advertised names.
        services: UUIDs of services that it advertises instead.
        notify: UUID of each characteristic to subscribe to → channel name of its notifications.
        extras: Like `notify`, for optional characteristics; their notifications do not show that
            the sensor sends light.
        remedy: What the user can do when the sensor is not found; ends the message.
        decoder: Device id → its decoder.
        polarity, site: See `Device`.
        begin, end: Commands after subscribing, and before disconnecting.
        tick: Commands every `every` seconds.
        stall: Seconds of silence after which the sensor is restarted; None for sensors that are
            silent most of the time.
        sleeps: It is on the air only when it has something to send, so opening does not wait.
    """

    name: str
    names: tuple[str, ...]
    services: tuple[str, ...]
    notify: Mapping[str, str]
    remedy: str
    decoder: Callable[[str], TimedDecoder]
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"
    begin: Dialogue | None = None
    end: Dialogue | None = None
    tick: Dialogue | None = None
    every: float = 0.0
    stall: float | None = 6.0
    sleeps: bool = False
    extras: Mapping[str, str] = field(default_factory=dict)
