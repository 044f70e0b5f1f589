"""The description of a kind of Bluetooth sensor that needs little dialogue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from innpar.devices.link.ble import BleLink
from innpar.devices.link.reconnect import TimedDecoder

Talk = Callable[[BleLink], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Family:
    """What is particular to a kind of sensor.

    Attributes:
        name: What ``--device`` calls it.
        names: What its advertised name begins with.
        services: Or what it advertises, UUIDs.
        notify: UUID of each characteristic to subscribe to → what its arrivals are called.
        extras: As `notify`, of those that it need not have: what comes there is no sign that it
            sends light.
        remedy: What to do when it is not to be found; ends the sentence.
        stream: Device id → its decoder.
        polarity, site: As of `Device`.
        begin, end: What is said to it after subscribing, and before leaving.
        tick: What is said to it every `every` seconds.
        stall: Seconds of silence after which it is begun again; None where silence is its nature.
        sleeps: It is on the air only when it has something to tell, so nobody waits for it.
    """

    name: str
    names: tuple[str, ...]
    services: tuple[str, ...]
    notify: Mapping[str, str]
    remedy: str
    stream: Callable[[str], TimedDecoder]
    polarity: Literal[-1, 0, 1] = 0
    site: str = "unknown"
    begin: Talk | None = None
    end: Talk | None = None
    tick: Talk | None = None
    every: float = 0.0
    stall: float | None = 6.0
    sleeps: bool = False
    extras: Mapping[str, str] = field(default_factory=dict)
