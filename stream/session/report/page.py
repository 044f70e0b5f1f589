"""Page of the report: frame, and head of each device's section."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from importlib.resources import files

from innpar.devices import NS
from innpar.devices.session.reader import SessionFile
from innpar.stream.messages.hygiene import escape
from innpar.stream.session.index import DeviceIndex, SessionIndex
from innpar.stream.session.report.figures import Course, examples, ranges, trends
from innpar.stream.session.report.findings import percentiles, trend, weights
from innpar.stream.session.report.sections import (
    calibration,
    heart,
    key,
    lows,
    markers,
    quality,
    share,
    signals,
    span,
)

NOTE = (
    "Research software. Not a medical device: not for diagnosis, treatment or monitoring. "
    "Pressures are reconstructed from a light sensor's pulse wave by a network that was trained on "
    "fingertip signals of patients; without a cuff reading they carry little of the absolute level."
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: the page loads nothing."""

SOURCES = {
    "live": "LIVE RECORDING",
    "replay": "RECORDED FROM A REPLAY",
    "simulated": "SIMULATED, NOT A PERSON",
}


def page(found: SessionIndex, file: SessionFile, zone: tzinfo | None) -> str:
    """Return the whole page.

    Args:
        found: Contents of the session.
        file: The same session, open.
        zone: Time zone of the times shown; None for this computer's.
    """
    devices = [device for device in found.devices.values() if "ppg" in device.tracks]
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    sections = "".join(_device(found, device, file, zone) for device in devices)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>Session report: {escape(found.path.name)}</title><style>{style}</style></head>"
        f"<body>{sections}{_foot(found)}</body></html>\n"
    )


def _device(
    found: SessionIndex, device: DeviceIndex, file: SessionFile, zone: tzinfo | None
) -> str:
    ppg = device.tracks["ppg"]
    course = Course((ppg.first or 0) / NS, ppg.last / NS, zone)
    parts = [_head(device, course), f"<div class=note><b>{escape(NOTE)}</b></div>"]
    if len(device.beats):
        medians = trend(device.beats, course.first, course.last)
        parts += [_tiles(device), "<h2>Course</h2>", trends(device, course, medians), key(device)]
        parts.append(lows(device, course))
        parts += ["<h2>Time in range</h2>", ranges(device.beats), share(device)]
        parts += ["<h2>Pulse waves</h2>", examples(file, device), heart(device)]
    else:
        parts.append("<p>No beat was published in this session; only the signal was recorded.</p>")
    parts += [
        markers(device, course),
        calibration(device, course),
        quality(device, course),
        signals(found, device),
    ]
    return f"<section class=device>{''.join(parts)}</section>"


def _head(device: DeviceIndex, course: Course) -> str:
    shown = SOURCES.get(device.source, "SOURCE UNKNOWN")
    subject = f"{escape(str(device.about['subject']))} · " if device.about.get("subject") else ""
    begins, ends = (datetime.fromtimestamp(t, course.zone) for t in (course.first, course.last))
    zone = begins.astimezone(course.zone).strftime("%Z") or "UTC"
    return (
        f"<div class=head><div><h1>Blood pressure session</h1><p class=soft>{subject}"
        f"{escape(device.id)}, worn at {escape(str(device.about.get('site', 'an unknown place')))}"
        f" · {begins:%d %B %Y, %H:%M:%S} to {ends:%H:%M:%S} {escape(zone)} · "
        f"{span(course.last - course.first)}</p></div>"
        f"<span class='badge {escape(device.source)}'>{escape(shown)}</span></div>"
    )


def _tiles(device: DeviceIndex) -> str:
    beats = device.beats
    tiles = []
    for name, title in (("sbp", "SBP"), ("dbp", "DBP"), ("map", "MAP"), ("hr", "Heart rate")):
        low, middle, high = percentiles(beats, name)
        unit = "beats/min" if name == "hr" else "mmHg"
        value = "–" if math.isnan(middle) else f"{middle:.0f}"
        spread = "" if math.isnan(middle) else f"90 % of beats {low:.0f} to {high:.0f}"
        tiles.append(
            f"<div class=tile><span>{title}, median</span><b>{value}</b><span>{unit}</span>"
            f"<span>{spread}</span></div>"
        )
    usable = int(beats.usable.sum())
    covered = span(float(weights(beats)[beats.usable].sum()))
    return (
        f"<div class=tiles>{''.join(tiles)}</div><p>{len(beats)} beats, {usable} with pressures "
        f"({usable / len(beats):.0%}); usable beats cover {covered}</p>"
    )


def _foot(found: SessionIndex) -> str:
    model = found.run.get("model")
    parts = [f"{found.path.name}, {found.size / 1e6:.1f} MB"]
    parts.append(f"recorded by {found.run.get('software', 'an unknown version')}")
    if isinstance(model, dict):
        parts.append(f"model {model.get('id')}")
    return f"<footer>{escape(' · '.join(parts))}<br>{escape(NOTE)}</footer>"
