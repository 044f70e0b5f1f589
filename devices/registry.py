"""Every device by name: one file and one line here each, or a package with an entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from innpar.devices.base import Device, NotFound, Refused
from innpar.devices.options import did_you_mean
from innpar.devices.timing.pace import REAL_TIME, Pace

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "innpar.devices"
"""Entry points by which other packages add devices: each names an `Entry`."""

Factory = Callable[[str, dict[str, str], Pace], Device]
"""Makes a device of its argument, its options and the pace (which a live device leaves aside)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One device.

    Attributes:
        about: One line for a person choosing.
        make: Imports the device's file only when called.
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


def _polar(model: str) -> Factory:
    def make(argument: str, options: dict[str, str], pace: Pace) -> Device:
        from innpar.devices.sensors.polar.driver import create_polar

        return create_polar(model, argument, options, pace)

    return make


def _late(module: str, name: str) -> Factory:
    """Return the ``create_…`` of a device's file, imported when it is called."""

    def make(argument: str, options: dict[str, str], pace: Pace) -> Device:
        factory: Factory = getattr(import_module(f".{module}", __package__), f"create_{name}")
        return factory(argument, options, pace)

    return make


DEVICES: dict[str, Entry] = {
    "demo": Entry("a simulated wearer with a known blood pressure: demo[:SEED]", _demo),
    "polar-verity": Entry(
        "Polar Verity Sense: polar-verity[:NUMBER or ADDRESS][?rate=55]", _polar("polar-verity")
    ),
    "polar-oh1": Entry("Polar OH1: polar-oh1[:NUMBER or ADDRESS]", _polar("polar-oh1")),
    "polar": Entry(
        "whichever Polar with an optical sensor is near (360, Loop and watches: pairing untested)",
        _polar("polar"),
    ),
    "lsl": Entry(
        "an LSL stream of pulses: lsl[:name=… or type=… or source_id=…][?channel=…]", _lsl
    ),
    "cuff": Entry(
        "a Bluetooth blood-pressure cuff, to calibrate with: cuff[:NAME or ADDRESS][?for=DEVICE]",
        _late("sensors.cuff", "cuff"),
    ),
    "muse": Entry(
        "Muse 2 or Muse S headband: muse[:NAME or ADDRESS][?preset=p50]",
        _late("sensors.muse", "muse"),
    ),
    "bangle": Entry(
        "Bangle.js 2 watch: bangle[:NAME or ADDRESS][?rate=25]", _late("sensors.bangle", "bangle")
    ),
    "nonin": Entry(
        "Nonin 3150 oximeter, paired beforehand: nonin[:ADDRESS]",
        _late("sensors.oximeters.nonin", "nonin"),
    ),
    "serial": Entry(
        "a sensor that prints lines of numbers (MAX3010x, ESP32, Arduino): serial:PORT[?rate=100]",
        _late("sensors.boards.serial_lines", "lines"),
    ),
    "contec": Entry(
        "Contec CMS50D+ finger clip on USB: contec:PORT",
        _late("sensors.oximeters.contec", "contec"),
    ),
    "berrymed": Entry(
        "BerryMed finger clip (BM1000): berrymed[:ADDRESS]",
        _late("sensors.oximeters.berrymed", "berrymed"),
    ),
    "o2ring": Entry(
        "Wellue O2Ring or Checkme O2, not the O2Ring-S: o2ring[:ADDRESS]",
        _late("sensors.oximeters.o2ring", "o2ring"),
    ),
    "emotibit": Entry(
        "EmotiBit in the same network: emotibit[:ADDRESS][?serial=…]",
        _late("sensors.emotibit.driver", "emotibit"),
    ),
    "replay": Entry("a recording, whatever its format: replay:FILE[?rate=100&channel=…]", _replay),
}


def parse(spec: str) -> tuple[str, str, dict[str, str]]:
    """Split ``NAME[:ARGUMENT][?key=value&…]``.

    Returns:
        Name, argument (empty where there is none) and options.

    Raises:
        Refused: An option without ``=``, or given twice.
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
    """Return the device that `spec` names; nothing is connected yet.

    Args:
        spec: ``NAME[:ARGUMENT][?key=value&…]``.
        pace: For devices that make or replay their samples.

    Raises:
        NotFound: No device of that name, or what it names is not there.
        Refused: The argument or an option makes no sense to it.
    """
    name, argument, options = parse(spec)
    entry = DEVICES.get(name) or _plugged(name)
    return entry.make(argument, options, pace)


def listed() -> dict[str, str]:
    """Return every device's name and the line about it; one that is broken says how."""
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
    """Load another package's device.

    Raises:
        NotFound: No package has one of that name.
        Refused: Several have, or it cannot be loaded.
    """
    plugins = _plugins()
    points = plugins.get(name)
    if points is None:
        known = dict.fromkeys([*DEVICES, *plugins])
        raise NotFound(
            f"no device is called {name!r}{did_you_mean(name, known)}; "
            f"there are: {', '.join(known)}"
        )
    if len(points) > 1:
        values = " and ".join(point.value for point in points)
        raise Refused(f"two packages call a device {name!r}: {values}; uninstall one of them")
    try:
        entry = points[0].load()
    except Exception as error:  # whatever another's code raises while it is imported
        raise Refused(
            f"{name}: {points[0].value} cannot be loaded ({error}); update or uninstall it"
        ) from error
    if not isinstance(entry, Entry):
        raise Refused(f"{name}: {points[0].value} is no Entry of innpar.devices.registry")
    return entry
