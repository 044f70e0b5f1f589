"""The devices of a run as they are asked for together."""

from __future__ import annotations

from typing import Any

import pytest

from innpar.devices import Device, NotFound, Refused
from innpar.stream.app.devices import open_devices
from innpar.stream.app.settings import load
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.sidecars import assign


def opened(*specs: str, **flags: Any) -> list[Device]:
    """Return the devices of a command line."""
    return open_devices(load({"device": list(specs), **flags}, None, {}))


def test_a_rate_is_for_those_who_leave_a_choice() -> None:
    devices = opened("polar-verity", "bangle?rate=25", "cuff?for=polar-verity", rate="135")
    assert [getattr(device, "rate", None) for device in devices] == [135, None, None]
    (own,) = opened("polar-verity?wait=9&rate=55", rate="135")
    assert getattr(own, "rate", None) == 55


def test_a_rate_for_nobody() -> None:
    with pytest.raises(ConfigError, match="--rate: muse has no choice of rates; leave it out"):
        opened("muse", rate="176")
    with pytest.raises(ConfigError, match="--rate: muse and berrymed have no choice of rates"):
        opened("muse", "berrymed", rate="176")
    with pytest.raises(Refused, match="rate is one of 28, 44, 55, 135, 176, not 100"):
        opened("polar-verity", "muse", rate="100")
    with pytest.raises(Refused, match="muse has no option 'presets'"):
        opened("muse?presets=p50", rate="176")


def test_a_virtual_run() -> None:
    pytest.importorskip("bumble")
    devices = opened("cuff", "polar-verity", virtual=True, rate="55")
    assert [device.id for device in devices] == ["cuff", "polar-verity"]
    assert {device.source for device in devices} == {"simulated"}
    assert [device.id for device in assign(devices)[1]] == ["cuff"]
    with pytest.raises(ConfigError, match="--speed: a virtual radio goes at the speed of time"):
        opened("polar-verity", virtual=True, speed="2")
    with pytest.raises(ConfigError, match=r"--wearer: .* add --virtual, or play it: .*walk.txt"):
        opened("polar-verity", wearer="walk.txt")
    with pytest.raises(NotFound, match=r"nowhere.txt"):
        opened("polar-verity", virtual=True, wearer="nowhere.txt")
