"""What is within reach of the radio, and which of it can be streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from innpar.devices.link.ble import Radio, Sighting, scan, sig


@dataclass(frozen=True, slots=True)
class KnownService:
    """How a kind of sensor is recognised.

    Attributes:
        names: What its advertised name begins with.
        services: Or what it advertises, UUIDs.
        device: What ``--device`` calls it; empty where it cannot be streamed.
        streams: What it can give.
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
        "PPG where its firmware has it (untested; bonds with one host)",
    ),
    KnownService(("Muse",), (sig("fe8d"),), "muse", "PPG 64 Hz of the forehead (not the Athena)"),
    KnownService(
        (), ("46a970e0-0d5f-11e2-8b5e-0002a5d5c51b",), "nonin", "PPG 75 Hz (3150; pair it first)"
    ),
    KnownService(("Bangle.js",), (), "bangle", "PPG 12 to 100 Hz of the wrist (Bangle.js 2)"),
    KnownService(("BerryMed",), (), "berrymed", "PPG 100 Hz of a finger"),
    KnownService(
        ("O2Ring", "Checkme O2"), (), "o2ring", "PPG 125 Hz of a finger (not the O2Ring-S)"
    ),
    KnownService(("Polar H",), (), "", "heart rate and ECG only: no PPG"),
    KnownService((), (sig("1810"),), "cuff", "cuff readings, to calibrate with"),
    KnownService((), (sig("180d"),), "", "heart rate only: no PPG that is documented"),
)


@dataclass(frozen=True, slots=True)
class DiscoveredSensor:
    """One line of the table: what was heard, and what it is good for."""

    sighting: Sighting
    device: str
    streams: str


def recognise(sighting: Sighting) -> DiscoveredSensor:
    """Say what a sighting is."""
    for known in KNOWN:
        named = bool(known.names) and sighting.name.startswith(known.names)
        if named or set(known.services) & set(sighting.services):
            name = known.device and f"{known.device}:{_part(sighting)}"
            return DiscoveredSensor(sighting, name, known.streams)
    return DiscoveredSensor(sighting, "", "")


def _part(sighting: Sighting) -> str:
    """Return what tells this one from its like: the number in its name, else its address."""
    last = sighting.name.split()[-1] if sighting.name else ""
    return last if len(last) == 8 else sighting.address


async def survey(seconds: float = 5.0, radio: Radio | None = None) -> list[DiscoveredSensor]:
    """Listen; return what was heard, what can be streamed first, then by strength.

    Raises:
        NotFound, Refused, Lost: There is no Bluetooth, or it may not be used.
    """
    found = [recognise(sighting) for sighting in await scan(seconds, radio or Radio())]
    return sorted(found, key=lambda f: (not f.device, not f.streams, -f.sighting.rssi))


def table(found: Sequence[DiscoveredSensor]) -> str:
    """Return what was heard as a table, or a sentence where there was nothing."""
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
