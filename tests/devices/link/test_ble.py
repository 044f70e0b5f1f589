"""Sensors that want to be paired first say so, whatever the system calls it."""

from __future__ import annotations

import asyncio

import pytest
from bleak.exc import BleakDBusError, BleakError

from innpar.devices.base import DeviceError, Event, Lost, Refused
from innpar.devices.link.ble import PAIR_FIRST, _remedies
from innpar.devices.registry import create
from innpar.devices.sensors import cuff
from innpar.devices.sensors.oximeters import nonin
from innpar.devices.timing.pace import SystemClock
from innpar.devices.virtual.radio import bluez_device
from innpar.devices.virtual.radio.bluez import bluez
from innpar.devices.virtual.radio.peripheral import Characteristic
from innpar.devices.virtual.sensors.simple import Simple
from support.harness import need_dbus

ERRORS = [
    BleakDBusError("org.bluez.Error.NotPermitted", ["Not paired"]),
    BleakDBusError("org.bluez.Error.Failed", ["Operation failed with ATT error: 0x05"]),
    BleakDBusError("org.bluez.Error.Failed", ["Operation failed with ATT error: 0x0f"]),
    BleakDBusError("org.bluez.Error.AuthenticationFailed", ["Authentication Failed"]),
    BleakError('Error Domain=CBATTErrorDomain Code=15 "Encryption is insufficient."'),
    BleakError("Could not start notify on 0012: Protocol Error 0x05: Insufficient Authentication"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_want_of_a_bond(error: BleakError) -> None:
    with pytest.raises(Refused, match="pair it in the system's Bluetooth settings"), _remedies():
        raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", ["x"]), "group bluetooth"),
        (BleakDBusError("org.bluez.Error.Failed", ["ATT error: 0x0e"]), "BlueZ failed"),
        (BleakDBusError("org.bluez.Error.Failed", ["ATT error: 0x50"]), "BlueZ failed"),
        (BleakError("Code=150"), "the radio failed"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BleakError, message: str) -> None:
    with pytest.raises((Refused, Lost), match=message) as caught, _remedies():
        raise error
    assert PAIR_FIRST not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuff", "nonin"])
async def test_subscribing_to_a_sensor_that_is_not_paired(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_dbus()

    def refuse(self: object, path: str, on: bool) -> None:
        raise bluez_device.BluezError("org.bluez.Error.NotPermitted", "Not paired")

    monkeypatch.setattr(bluez_device.Remote, "notify", refuse)
    notify = {nonin.SERVICE: [Characteristic(nonin.LIGHT, ("notify",))]}
    indicate = {cuff.SERVICE: [Characteristic(cuff.MEASUREMENT, ("indicate",))]}
    sensor = {
        "cuff": Simple("BLEsmart_0000TEST", indicate, advertised=("1810",)),
        "nonin": Simple("Nonin3150_502", notify),
    }[kind]
    spec = {"cuff": "cuff", "nonin": "nonin:C0:FF:EE:00:00:01"}[kind]
    texts: list[str] = []
    try:
        async with (
            bluez([sensor]),
            asyncio.timeout(8),
            create(spec).open(clock=SystemClock()) as items,
        ):
            async for item in items:
                if isinstance(item, Event) and item.kind == "notice":
                    texts.append(item.detail["text"])
    except DeviceError as error:
        texts.append(str(error))
    except TimeoutError:
        pass
    assert texts == [PAIR_FIRST]
