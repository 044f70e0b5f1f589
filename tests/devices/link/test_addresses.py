"""Last-known addresses: stored on disk, tried first, and replaced if wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from innpar.devices.atomic import write_whole
from innpar.devices.link.addresses import Addresses
from innpar.devices.sensors.polar.driver import Polar
from innpar.devices.virtual.radio.bumble_radio import bumble
from innpar.devices.virtual.sensors.muse import VirtualMuse
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.state import state_folder
from innpar.stream.app.devices import create_devices
from innpar.stream.app.settings import load
from support.radios import Serve
from support.scaled import ScaledClock
from support.sensing import Heard

pytest.importorskip("bumble")
pytest.importorskip("dbus_fast")


class Deaf:
    """A scanner that fails when used."""

    def __init__(self, *_: object, **__: object) -> None:
        raise AssertionError("it scanned")


async def stream(polar: Polar, clock: ScaledClock, folder: Path) -> Heard:
    """Stream a little with addresses stored in `folder`."""
    polar.sought.addresses = Addresses(folder)
    heard = Heard()
    async with polar.open(clock=clock) as items:
        async for item in items:
            heard.take([item])
            if heard.samples > 200:
                return heard
    raise AssertionError("a live device never ends by itself")


async def test_the_next_run_connects_without_scanning(tmp_path: Path) -> None:
    clock = ScaledClock(20)
    async with bumble([VirtualPolar(clock)]) as radio:
        first = await stream(Polar(radio=radio), clock, tmp_path)
        deaf = replace(radio, scanner=Deaf)  # type: ignore[arg-type]
        again = Polar(radio=deaf)
        second = await stream(again, clock, tmp_path)
        with pytest.raises(AssertionError, match="it scanned"):
            await stream(Polar("polar", radio=deaf), clock, tmp_path)  # another name: not known
    details = [h.told("connected")[0].detail for h in (first, second)]
    assert again.id == "polar-verity-8a3f1b2c"
    assert details[0]["address"] == details[1]["address"] == "A0:9E:8A:3F:1B:2C"
    assert details[0]["name"] == details[1]["name"] == "Polar Sense 8A3F1B2C"


async def test_over_both_radios(air: Serve, tmp_path: Path) -> None:
    clock = ScaledClock(20)
    async with air([VirtualPolar(clock)]) as radio:
        for _ in range(2):
            assert (await stream(Polar(radio=radio), clock, tmp_path)).samples > 200


async def test_a_sensor_not_at_its_last_address_is_scanned_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innpar.devices.virtual.radio.bumble_backend.CONNECT_SECONDS", 0.5)
    Addresses(tmp_path).keep("polar-verity", "A0:9E:00:00:00:01", "Polar Sense 00000001")
    clock = ScaledClock(20)
    async with bumble([VirtualPolar(clock)]) as radio:
        heard = await stream(Polar(radio=radio), clock, tmp_path)
    assert heard.told("connected")[0].detail["address"] == "A0:9E:8A:3F:1B:2C"
    kept = Addresses(tmp_path).recall("polar-verity")
    assert kept == ("A0:9E:8A:3F:1B:2C", "Polar Sense 8A3F1B2C")


async def test_an_address_is_stored_only_once_the_sensor_is_verified(tmp_path: Path) -> None:
    clock = ScaledClock(20)
    async with bumble([VirtualMuse(clock)]) as radio:
        polar = Polar("polar-verity", "00:55:DA:B0:4A:2B", radio=radio)
        with pytest.raises(Exception, match="cannot stream"):
            await stream(polar, clock, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        '{"schema": "innpar-address/1"}',
        '{"schema": "innpar-address/1", "device": "x", "address": "A0:9E:8A:3F:1B:2C", "name": ""}',
        '{"schema": "innpar-address/1", "device": "a", "address": "; rm -r", "name": ""}',
        '{"schema": "innpar-address/1", "device": "a", "address": "A0:9E:8A:3F:1B:2C", "name": 1}',
        '{"schema": "innpar-address/2", "device": "a", "address": "A0:9E:8A:3F:1B:2C", "name": ""}',
    ],
)
def test_an_invalid_file_is_ignored(text: str, tmp_path: Path) -> None:
    (tmp_path / "address").mkdir()
    (tmp_path / "address/a.json").write_text(text)
    assert Addresses(tmp_path).recall("a") is None


def test_files_are_private_and_written_atomically(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    addresses.keep("a", "A0:9E:8A:3F:1B:2C", "Polar Sense 8A3F1B2C")
    (file,) = tmp_path.rglob("*.json")
    assert file.stat().st_mode & 0o077 == 0
    before = file.stat().st_ino
    addresses.keep("a", "A0:9E:8A:3F:1B:2C", "Polar Sense 8A3F1B2C")
    assert file.stat().st_ino == before  # the same is not written twice
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\udcff")
    assert json.loads(file.read_text())["address"] == "A0:9E:8A:3F:1B:2C"
    assert os.listdir(file.parent) == ["a.json"]


def test_addresses_are_stored_unless_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def sought(**flags: object) -> object:
        (device,) = create_devices(load({"device": ["polar-verity"], **flags}, None))
        return device.sought.addresses if hasattr(device, "sought") else None

    kept = sought()
    assert isinstance(kept, Addresses)
    kept.keep("a", "A0:9E:8A:3F:1B:2C", "")
    assert list(state_folder().rglob("a.json"))
    assert sought(remember=False) is None
    assert sought(virtual=True) is None
