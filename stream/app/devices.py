"""The devices that a run is asked for: made, and checked against each other; none is opened yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from innpar.devices import Device
from innpar.devices.link.addresses import Addresses
from innpar.devices.link.target import Target
from innpar.devices.options import UnknownOption
from innpar.devices.registry import create
from innpar.devices.registry import parse as parts
from innpar.devices.sensors.cuff import CuffDevice
from innpar.devices.timing.pace import Pace
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.sidecars import assign
from innpar.stream.state import state_folder


def open_devices(settings: Settings) -> list[Device]:
    """Return the devices that were asked for; nothing is connected yet.

    Raises:
        ConfigError: None, two of the same name, a cuff reading for one that is not there, or what
            only a virtual sensor can be told for one that is real.
        DeviceError: One that does not exist.
    """
    if not settings.device:
        raise ConfigError("which device? for example --device demo; see `innpar-stream devices`")
    # At full speed long chunks let the network take many windows in one call.
    pace = Pace(settings.speed, 10.0 if math.isinf(settings.speed) else None)
    devices = _created(settings, pace)
    if settings.virtual:
        devices = _virtual(settings, devices)
    elif settings.fault:
        raise ConfigError("--fault: only a virtual sensor can be told to fail; add --virtual")
    elif settings.wearer is not None:
        raise ConfigError(
            "--wearer: only a virtual sensor can be shown a recording; add --virtual, "
            f"or play it: --device replay:{settings.wearer}"
        )
    if settings.remember and not settings.virtual:
        for device in devices:
            if isinstance(sought := getattr(device, "sought", None), Target):
                sought.addresses = Addresses(state_folder())
    ids = [device.id for device in devices]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise ConfigError(
            f"--device: two are called {twice!r}; name which, as in {twice}:NUMBER, or add ?id=…"
        )
    for cuff in settings.cuff:
        if cuff.device is None and len(ids) > 1:
            reading = f"{cuff.sbp:g}/{cuff.dbp:g}"
            raise ConfigError(f"--cuff: whose reading is it? for example {ids[0]}={reading}")
        if cuff.device is not None and cuff.device not in ids:
            raise ConfigError(
                f"--cuff: no device is called {cuff.device!r}; there is {', '.join(ids)}"
            )
    assign(devices)
    if settings.speed != 1:
        for device in devices:
            if device.source == "live":
                raise ConfigError(f"--speed: {device.id} is worn by somebody; leave it at 1")
        if settings.virtual:
            raise ConfigError("--speed: a virtual radio goes at the speed of time; leave it at 1")
    return devices


def _virtual(settings: Settings, devices: Sequence[Device]) -> list[Device]:
    """Put virtual sensors in the place of the real ones, and cuffs beside them."""
    from innpar.devices.virtual.cuff import VirtualCuffDevice
    from innpar.devices.virtual.device import VirtualDevice, virtual_device
    from innpar.devices.virtual.subject import recorded, simulated
    from innpar.devices.virtual.world.faults import parse

    wearer = simulated if settings.wearer is None else recorded(settings.wearer)
    dressed: list[CuffDevice | VirtualDevice] = [
        device
        if isinstance(device, CuffDevice)
        else virtual_device(device, wearer=wearer, faults=parse(settings.fault))
        for device in devices
    ]
    sensors = [device for device in dressed if isinstance(device, VirtualDevice)]
    return [
        VirtualCuffDevice(one, sensors) if isinstance(one, CuffDevice) else one for one in dressed
    ]


def _created(settings: Settings, pace: Pace) -> list[Device]:
    """Make the devices; ``--rate`` goes to those that have a choice and whose spec says no rate.

    Raises:
        ConfigError: A rate was asked for, and none has a choice.
    """
    devices, rated = [], settings.rate is None
    for spec in settings.device:
        own = "rate" in parts(spec)[2]
        rated |= own
        if settings.rate is not None and not own:
            asked = f"{spec}{'&' if '?' in spec else '?'}rate={settings.rate:g}"
            try:
                devices.append(create(asked, pace=pace))
            except UnknownOption as unknown:
                if unknown.key != "rate":
                    raise
            else:
                rated = True
                continue
        devices.append(create(spec, pace=pace))
    if not rated:
        named, has = " and ".join(settings.device), "has" if len(devices) == 1 else "have"
        raise ConfigError(f"--rate: {named} {has} no choice of rates; leave it out")
    return devices
