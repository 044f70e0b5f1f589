"""Every device by name: sensors, other sources, and devices of other packages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from innpar.devices.base import Device, NotFound, Refused
from innpar.devices.options import did_you_mean
from innpar.devices.sensors.catalogue import SENSORS, Sensor
from innpar.devices.timing.pace import REAL_TIME, Pace

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "innpar.devices"
"""Entry-point group through which other packages add devices: each names an `Entry`."""

_FILE = re.compile(r"[/\\]|\.[A-Za-z][A-Za-z0-9]{1,7}(\.(gz|bz2|zip|xz))?$")
"""A path, or a name with the ending of a file."""

Factory = Callable[[str, dict[str, str], Pace], Device]
"""Makes a device from its argument, its options and the pace (which live devices ignore)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One device of another package, or a source that is not a sensor.

    Attributes:
        about: Its line in the list of devices.
        make: Makes the device; imports its file only when called.
    """

    about: str
    make: Factory


def _demo(argument: str, options: dict[str, str], pace: Pace) -> Device:
    from innpar.devices.simulated.device import create_simulated

    return create_simulated(argument, options, pace)


def _replay(argument: str, options: dict[str, str], pace: Pace) -> Device:
    from innpar.devices.replay import create_replay

    return create_replay(argument, options, pace)


def _lsl(argument: str, options: dict[str, str], pace: Pace) -> Device:
    from innpar.devices.lsl.device import create_lsl

    return create_lsl(argument, options, pace)


DEVICES: dict[str, Entry | Sensor] = {
    "demo": Entry("simulated wearer with a known blood pressure: demo[:SEED]", _demo),
    **SENSORS,
    "lsl": Entry("LSL stream of pulses: lsl[:name=… or type=… or source_id=…][?channel=…]", _lsl),
    "replay": Entry("recording of any supported format: replay:FILE[?rate=100&channel=…]", _replay),
}
"""Name in ``--device`` → built-in device."""


def parse(spec: str) -> tuple[str, str, dict[str, str]]:
    """Split ``NAME[:ARGUMENT][?key=value&…]``.

    Returns:
        Name, argument (empty where there is none) and options.

    Raises:
        Refused: An option lacks ``=`` or is given twice.
    """
    head, mark, tail = spec.partition("?")
    name, _, argument = head.partition(":")
    options: dict[str, str] = {}
    for pair in tail.split("&") if mark else ():
        key, equals, value = pair.partition("=")
        if not equals or not key or key in options:
            raise Refused(
                f"--device {spec}: options are key=value&key=value, each once, not {pair!r}"
            )
        options[key] = value
    return name, argument, options


def create(spec: str, *, pace: Pace = REAL_TIME) -> Device:
    """Return the device named by `spec`; nothing is connected yet.

    Args:
        spec: ``NAME[:ARGUMENT][?key=value&…]``.
        pace: For devices that simulate or replay their samples.

    Raises:
        NotFound: There is no device of that name, or its file is missing.
        Refused: The argument or an option is invalid.
    """
    name, argument, options = parse(spec)
    drive = len(name) == 1 and argument[:1] in ("/", "\\")
    if name not in DEVICES and (drive or _FILE.search(name)) and name not in _plugins():
        raise NotFound(
            f"{spec} looks like a file, not a device: innpar-stream replay {spec}, or "
            f"--device replay:{spec}"
        )
    entry = DEVICES.get(name) or _plugged(name)
    return entry.make(argument, options, pace)


def listed() -> dict[str, str]:
    """Return name → line of every device; for one that cannot be loaded, the reason."""
    lines = {name: entry.about for name, entry in DEVICES.items()}
    for name in _plugins():
        if name not in lines:
            try:
                lines[name] = _plugged(name).about
            except Refused as refused:
                lines[name] = str(refused)
    return lines


def _plugins() -> dict[str, list[EntryPoint]]:
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def _plugged(name: str) -> Entry:
    """Load a device of another package.

    Raises:
        NotFound: No package has a device of that name.
        Refused: Several packages have one, or it cannot be loaded.
    """
    plugins = _plugins()
    points = plugins.get(name)
    if points is None:
        known = dict.fromkeys([*DEVICES, *plugins])
        raise NotFound(
            f"no device is called {name!r}{did_you_mean(name, known)}; "
            f"choose from {', '.join(known)}"
        )
    if len(points) > 1:
        values = " and ".join(point.value for point in points)
        raise Refused(f"two packages call a device {name!r}: {values}; uninstall one of them")
    try:
        entry = points[0].load()
    except Exception as error:  # importing foreign code may raise anything
        raise Refused(
            f"{name}: {points[0].value} cannot be loaded ({error}); update or uninstall it"
        ) from error
    if not isinstance(entry, Entry):
        raise Refused(
            f"{name}: {points[0].value} is not an Entry of innpar.devices.registry; update it"
        )
    return entry
