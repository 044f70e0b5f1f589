"""Create the devices of a run and check the settings against them; nothing is connected yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from innpar.devices import Device
from innpar.devices.link.addresses import Addresses
from innpar.devices.link.target import Target
from innpar.devices.options import UnknownOption
from innpar.devices.registry import create
from innpar.devices.registry import parse as parse_device
from innpar.devices.sensors.cuff import CuffDevice
from innpar.devices.timing.pace import Pace
from innpar.state import state_folder
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError
from innpar.stream.pipeline.sidecars import assign


def create_devices(settings: Settings) -> list[Device]:
    """Return the devices of a run, none of them connected.

    Raises:
        ConfigError: No device, two of the same name, a cuff reading for an unknown device, or a
            setting that does not apply to these devices.
        DeviceError: An unknown device, option or file.
    """
    if not settings.device:
        raise ConfigError(
            "no device given: add --device, e.g. --device demo (`innpar-stream devices` lists all)"
        )
    # At full speed long chunks let the network take many windows in one call.
    pace = Pace(settings.speed, 10.0 if math.isinf(settings.speed) else None)
    devices = _create_all(settings, pace)
    if settings.virtual:
        devices = _virtual(settings, devices)
    else:
        _refuse_virtual_settings(settings)
        if settings.remember:
            _remember_addresses(devices)
    _check_names([device.id for device in devices])
    _check_cuffs(settings, [device.id for device in devices])
    assign(devices)
    _check_speed(settings, devices)
    return devices


def _create_all(settings: Settings, pace: Pace) -> list[Device]:
    """Create the devices; ``--rate`` is for those that offer several and name none themselves.

    Raises:
        ConfigError: There is a rate, and no device offers several.
    """
    devices, is_rate_used = [], settings.rate is None
    for spec in settings.device:
        has_own_rate = "rate" in parse_device(spec)[2]
        is_rate_used |= has_own_rate
        if settings.rate is not None and not has_own_rate:
            with_rate = f"{spec}{'&' if '?' in spec else '?'}rate={settings.rate:g}"
            try:
                devices.append(create(with_rate, pace=pace))
            except UnknownOption as unknown:
                if unknown.key != "rate":
                    raise
            else:
                is_rate_used = True
                continue
        devices.append(create(spec, pace=pace))
    if not is_rate_used:
        names, offer = " and ".join(settings.device), "offers" if len(devices) == 1 else "offer"
        raise ConfigError(f"--rate: {names} {offer} no choice of rates; leave it out")
    return devices


def _virtual(settings: Settings, devices: Sequence[Device]) -> list[Device]:
    """Replace real sensors by virtual ones, and cuffs by virtual cuffs beside them."""
    from innpar.devices.virtual.cuff import VirtualCuffDevice
    from innpar.devices.virtual.device import VirtualDevice, virtual_device
    from innpar.devices.virtual.subject import recorded, simulated
    from innpar.devices.virtual.world.faults import parse

    wearer = simulated if settings.wearer is None else recorded(settings.wearer)
    replaced: list[CuffDevice | VirtualDevice] = [
        device
        if isinstance(device, CuffDevice)
        else virtual_device(device, wearer=wearer, faults=parse(settings.fault))
        for device in devices
    ]
    sensors = [device for device in replaced if isinstance(device, VirtualDevice)]
    return [
        VirtualCuffDevice(one, sensors) if isinstance(one, CuffDevice) else one for one in replaced
    ]


def _refuse_virtual_settings(settings: Settings) -> None:
    if settings.fault:
        raise ConfigError("--fault applies to virtual sensors only; add --virtual")
    if settings.wearer is not None:
        raise ConfigError(
            "--wearer applies to virtual sensors only; add --virtual, or replay the file: "
            f"--device replay:{settings.wearer}"
        )


def _remember_addresses(devices: Sequence[Device]) -> None:
    """Let Bluetooth devices load and save their sensors' addresses."""
    for device in devices:
        if isinstance(target := getattr(device, "sought", None), Target):
            target.addresses = Addresses(state_folder())


def _check_names(ids: Sequence[str]) -> None:
    for duplicate in {name for name in ids if ids.count(name) > 1}:
        raise ConfigError(
            f"--device: two devices are named {duplicate!r}; tell them apart by number, as in "
            f"{duplicate}:NUMBER, or with ?id=…"
        )


def _check_cuffs(settings: Settings, ids: Sequence[str]) -> None:
    for cuff in settings.cuff:
        if cuff.device is None and len(ids) > 1:
            example = f"{ids[0]}={cuff.sbp:g}/{cuff.dbp:g}"
            raise ConfigError(f"--cuff: there are several devices; name one, e.g. {example}")
        if cuff.device is not None and cuff.device not in ids:
            raise ConfigError(
                f"--cuff: no device is named {cuff.device!r}; choose from {', '.join(ids)}"
            )


def _check_speed(settings: Settings, devices: Sequence[Device]) -> None:
    if settings.speed == 1:
        return
    for device in devices:
        if device.source == "live":
            raise ConfigError(
                f"--speed applies to replays and the demo only; {device.id} is a live sensor: "
                "leave it out"
            )
    if settings.virtual:
        raise ConfigError("--speed: virtual radios run in real time; leave it out")
