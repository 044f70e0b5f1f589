"""The devices of a run, created together."""

from __future__ import annotations

from typing import Any

import pytest

from innpar.devices import Device, NotFound, Refused
from innpar.stream.app.devices import create_devices
from innpar.stream.app.settings import load
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.sidecars import assign


def created(*specs: str, **flags: Any) -> list[Device]:
    """Return the devices of a command line."""
    return create_devices(load({"device": list(specs), **flags}, None, {}))


def test_a_rate_is_for_devices_that_offer_several() -> None:
    devices = created("polar-verity", "bangle?rate=25", "cuff?for=polar-verity", rate="135")
    assert [getattr(device, "rate", None) for device in devices] == [135, None, None]
    (own,) = created("polar-verity?wait=9&rate=55", rate="135")
    assert getattr(own, "rate", None) == 55


def test_a_rate_for_devices_without_a_choice() -> None:
    with pytest.raises(ConfigError, match="--rate: muse offers no choice of rates; leave it out"):
        created("muse", rate="176")
    with pytest.raises(ConfigError, match="--rate: muse and berrymed offer no choice of rates"):
        created("muse", "berrymed", rate="176")
    with pytest.raises(Refused, match="rate is one of 28, 44, 55, 135, 176, not 100"):
        created("polar-verity", "muse", rate="100")
    with pytest.raises(Refused, match="muse has no option 'presets'"):
        created("muse?presets=p50", rate="176")


def test_a_virtual_run() -> None:
    pytest.importorskip("bumble")
    devices = created("cuff", "polar-verity", virtual=True, rate="55")
    assert [device.id for device in devices] == ["cuff", "polar-verity"]
    assert {device.source for device in devices} == {"simulated"}
    assert [device.id for device in assign(devices)[1]] == ["cuff"]
    with pytest.raises(ConfigError, match="--speed: virtual radios run in real time"):
        created("polar-verity", virtual=True, speed="2")
    with pytest.raises(
        ConfigError, match=r"--wearer .* add --virtual, or replay the file: .*walk.txt"
    ):
        created("polar-verity", wearer="walk.txt")
    with pytest.raises(NotFound, match=r"nowhere.txt"):
        created("polar-verity", virtual=True, wearer="nowhere.txt")
