"""Bluetooth devices within range, and which of them can be streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from innpar.devices.link.ble import Radio, Sighting, scan, sig


@dataclass(frozen=True, slots=True)
class KnownService:
    """Kind of sensor, recognised by its advertised name or services.

    Attributes:
        names: Prefixes of its advertised name.
        services: UUIDs it advertises.
        device: Its name for ``--device``; empty if it cannot be streamed.
        streams: Signals it provides, for the table.
    """

    names: tuple[str, ...]
    services: tuple[str, ...]
    device: str
    streams: str


KNOWN = (
    KnownService(
        ("Polar Sense",), (), "polar-verity", "PPG 28 to 176 Hz, acceleration, pulse intervals"
    ),
    KnownService(("Polar OH1",), (), "polar-oh1", "PPG 135 Hz, acceleration, pulse intervals"),
    KnownService(
        ("Polar 360", "Polar Loop", "Polar Vantage", "Polar Grit"),
        (),
        "polar",
        "PPG if its firmware has it (untested; bonds with one host)",
    ),
    KnownService(("Muse",), (sig("fe8d"),), "muse", "PPG 64 Hz of the forehead (not the Athena)"),
    KnownService(
        (), ("46a970e0-0d5f-11e2-8b5e-0002a5d5c51b",), "nonin", "PPG 75 Hz (3150; pair it first)"
    ),
    KnownService(("Bangle.js",), (), "bangle", "PPG 12 to 100 Hz of the wrist (Bangle.js 2)"),
    KnownService(("BerryMed",), (), "berrymed", "PPG 100 Hz of a finger"),
    KnownService(
        ("O2Ring", "Checkme O2", "CheckO2", "SleepU", "SleepO2", "WearO2", "KidsO2", "BabyO2"),
        ("14839ac4-7d7e-415c-9a42-167340cf2339",),
        "o2ring",
        "PPG 125 Hz of a finger (not the O2Ring-S)",
    ),
    KnownService(("Polar H",), (), "", "heart rate and ECG only: no PPG"),
    KnownService((), (sig("1810"),), "cuff", "cuff readings, to calibrate with"),
    KnownService((), (sig("180d"),), "", "heart rate only: no PPG that is documented"),
)


@dataclass(frozen=True, slots=True)
class DiscoveredSensor:
    """Row of the table: a sighting, its ``--device`` name, and the signals it provides."""

    sighting: Sighting
    device: str
    streams: str


def recognise(sighting: Sighting) -> DiscoveredSensor:
    """Identify the kind of sensor of a sighting."""
    for known in KNOWN:
        named = bool(known.names) and sighting.name.startswith(known.names)
        if named or set(known.services) & set(sighting.services):
            name = known.device and f"{known.device}:{_part(sighting)}"
            return DiscoveredSensor(sighting, name, known.streams)
    return DiscoveredSensor(sighting, "", "")


def _part(sighting: Sighting) -> str:
    """Return the part that identifies one of several: the number in its name, else its address."""
    last = sighting.name.split()[-1] if sighting.name else ""
    return last if len(last) == 8 else sighting.address


async def survey(seconds: float = 5.0, radio: Radio | None = None) -> list[DiscoveredSensor]:
    """Scan; return what was found, streamable sensors first, then by signal strength.

    Args:
        seconds: Scanning time.
        radio: Adapter to use; by default the computer's first one.

    Raises:
        NotFound, Refused, Lost: There is no Bluetooth, or it may not be used.
    """
    found = [recognise(sighting) for sighting in await scan(seconds, radio or Radio())]
    return sorted(found, key=lambda f: (not f.device, not f.streams, -f.sighting.rssi))


def table(found: Sequence[DiscoveredSensor]) -> str:
    """Format the devices found as a table, or explain what to do if there are none."""
    if not found:
        return (
            "nothing is advertising: switch the sensor on, bring it closer, and close every app "
            "that may be connected to it"
        )
    rows = [("NAME", "ADDRESS", "dBm", "--device", "STREAMS")]
    rows += [
        (
            f.sighting.name or "-",
            f.sighting.address,
            str(f.sighting.rssi),
            f.device or "-",
            f.streams,
        )
        for f in found
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
