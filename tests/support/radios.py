"""Radios between the driver and the virtual sensors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from innpar.devices.link.ble import Radio
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.radio.peripheral import Peripheral

Serve = Callable[[list[Peripheral]], AbstractAsyncContextManager[Radio]]


@asynccontextmanager
async def over_bluez(peripherals: list[Peripheral]) -> AsyncIterator[Radio]:
    """Connect unmodified bleak to a fake BlueZ on its own D-Bus."""
    async with bluez(peripherals):
        yield Radio()


RADIOS: dict[str, Serve] = {"bumble": bumble, "bluez": over_bluez}
