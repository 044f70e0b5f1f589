"""The catalogue of sensors: every row leads to code that fits together."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from innpar.devices.base import NS, BadPacket
from innpar.devices.link.reconnect import LiveDevice
from innpar.devices.registry import DEVICES, create
from innpar.devices.sensors.catalogue import SENSORS, load
from innpar.devices.sensors.gatt import Gatt
from innpar.devices.timing.pace import VirtualClock
from innpar.devices.virtual.device import virtual_device
from innpar.devices.virtual.world.light import pulse
from support.paths import ROOT

PORTS = ("serial", "contec")


def sensor(name: str) -> LiveDevice:
    device = create(f"{name}:/dev/ttyUSB0" if name in PORTS else name)
    assert isinstance(device, LiveDevice)
    return device


@pytest.mark.parametrize("name", SENSORS)
def test_a_driver_knows_its_row(name: str) -> None:
    assert DEVICES[name] is SENSORS[name]
    device = sensor(name)
    assert (device.kind, device.source) == (name, "live")


@pytest.mark.parametrize("name", SENSORS)
def test_a_decoder_takes_bytes_of_each_of_its_channels(name: str) -> None:
    row = SENSORS[name]
    make = load(row.decoder)
    decoder = make(name, None) if row.rates else make(name)
    assert len(set(decoder.channels)) == len(decoder.channels) > 0
    for channel in decoder.channels:
        with suppress(BadPacket):
            decoder.push(channel, NS, b"\xff")
    device = sensor(name)
    if isinstance(device, Gatt):
        family = device.family
        assert {*family.notify.values(), *family.extras.values()} == set(decoder.channels)


@pytest.mark.parametrize("name", [name for name, row in SENSORS.items() if row.twin])
async def test_a_twin_answers_to_the_name_that_the_driver_looks_for(name: str) -> None:
    device = virtual_device(sensor(name))
    assert device.id == sensor(name).id
    twin = load(SENSORS[name].twin)(VirtualClock(NS), pulse, faults=None)
    before = twin.name if hasattr(twin, "name") else twin.serial
    twin.answer_to("1A2B3C4D")
    after = twin.name if hasattr(twin, "name") else twin.serial
    assert after != before
    assert after.endswith("1A2B3C4D")


def test_the_page_lists_every_sensor_and_its_twin() -> None:
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|[^|]+\|[^|]+\| (yes|no) \| not yet \|$", page, re.M)
    # A cuff's twin belongs to the virtual world of the other sensors, not to its row.
    twins = {name: name == "cuff" or bool(row.twin) for name, row in SENSORS.items()}
    assert {name: twin == "yes" for name, twin in rows} == twins


def test_only_the_row_named_in_recordings_decodes_frames_anew() -> None:
    assert [name for name, row in SENSORS.items() if row.redecoder] == ["polar"]
    with pytest.raises(KeyError):
        load(SENSORS["polar"].redecoder)("x", {"rates": [55.0]})
