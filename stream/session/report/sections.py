"""Sections of the report below its charts: tables with notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np

from innpar.devices import NS
from innpar.stream.messages.hygiene import escape
from innpar.stream.session.events import WITHDRAWN
from innpar.stream.session.index import DeviceIndex, SessionIndex
from innpar.stream.session.report.figures import Course
from innpar.stream.session.report.findings import Extreme, dips, night, sustained, trend, weights
from innpar.stream.session.report.hrv import variability

MOST = 12
"""Rows of a table; the rest is only counted."""

Row = Sequence[Any]


def key(device: DeviceIndex) -> str:
    """Return the legend of the charts."""
    level = np.nanmax(device.beats.column("level"), initial=0)
    interval = f", shaded their {level:.0%} intervals" if level > 0 else ""
    return (
        f"<p class=soft>Medians of SBP (red), MAP (black) and DBP (blue){interval}. Bars: cuff "
        "readings, dashed once withdrawn. Dark grey: not recorded. Light grey: no usable beats. "
        "Orange: markers.</p>"
    )


def markers(device: DeviceIndex, course: Course) -> str:
    """Return the markers, numbered as in the chart."""
    events = device.of("marker")
    rows = [
        (number, clock(e.start / NS, course), str(e.detail.get("text", "")))
        for number, e in enumerate(events, 1)
    ]
    return table("Markers", ("", "time", "text"), rows)


def lows(device: DeviceIndex, course: Course) -> str:
    """Return the lowest and highest minute, the dips, and the comparison of night and day."""
    rows: list[Row] = []
    for title, highest in (("lowest minute", False), ("highest minute", True)):
        if (found := sustained(device.beats, highest=highest)) is not None:
            rows.append(_extreme(title, found, course))
    found_dips = dips(trend(device.beats, course.first, course.last))
    rows += [_extreme("dip", dip, course) for dip in found_dips]
    listed = table(
        "Lowest, highest, and dips",
        ("", "from", "lasting", "SBP", "DBP", "MAP"),
        rows,
        "Dip: at least a minute with the SBP a tenth below the session's median.",
    )
    dark = night(device.beats, course.zone)
    if dark is None:
        return listed + (
            "<p class=soft>Night and day are not compared: this needs half an hour of beats of "
            "each (night: 23:00 to 7:00).</p>"
        )
    by_day, by_night = (f"{side[0]:.0f}/{side[1]:.0f} mmHg" for side in (dark.day, dark.night))
    way = "lower" if dark.fall >= 0 else "higher"
    return listed + (
        f"<p>At night (23:00 to 7:00) {by_night}, by day {by_day}: "
        f"the SBP at night is {abs(dark.fall):.0%} {way}.</p>"
    )


def _extreme(title: str, found: Extreme, course: Course) -> Row:
    lasts = span(found.end - found.start)
    pressures = (f"{value:.0f}" for value in (found.sbp, found.dbp, found.map_))
    return (title, clock(found.start, course), lasts, *pressures)


def share(device: DeviceIndex) -> str:
    """Return the note on the shares of time."""
    ppg = device.tracks["ppg"]
    covered = float(weights(device.beats)[device.beats.usable].sum()) / max(ppg.seconds, 1e-9)
    return (
        f"<p class=soft>Shares of the time covered by usable beats, {min(covered, 1):.0%} of the "
        "session. The limits are round numbers, not a diagnosis.</p>"
    )


def heart(device: DeviceIndex) -> str:
    """Return the pulse rate variability, or the reason for its absence."""
    found = variability(device.beats)
    title = "<h2>Pulse rate variability</h2>"
    if found.why:
        return f"{title}<p class=soft>Not computed: {escape(found.why)}.</p>"
    rows = [
        (name, _figures(middle), f"{_figures(low)} to {_figures(high)}", unit)
        for name, unit, low, middle, high in found.values
    ]
    note = (
        f"Computed by NeuroKit2 from the peaks of the reconstructed pressure, in {found.segments} "
        "segments of five minutes. Pulse rate variability differs slightly from that of an ECG."
    )
    return table("Pulse rate variability", ("", "median", "range", ""), rows, note)


def _figures(value: float) -> str:
    """Return three significant figures, or all digits before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def calibration(device: DeviceIndex, course: Course) -> str:
    """Return the cuff readings with the errors of the pressures before them."""
    rows: list[Row] = []
    for event in device.of("cuff"):
        detail = event.detail
        note = "from an earlier run" if detail.get("remembered") else ""
        if WITHDRAWN in detail:
            note = f"withdrawn at {clock(detail[WITHDRAWN], course)}; not in force since"
        error = device.beats.check(event.start / NS, detail["sbp"], detail["dbp"])
        if error is not None and not note:
            note = f"error before it {error[0]:+.1f}/{error[1]:+.1f} mmHg"
        reading = f"{detail.get('sbp')}/{detail.get('dbp')} mmHg"
        rows.append((clock(event.start / NS, course), reading, note))
    states = device.beats.states
    total = max(1, sum(states.values()))
    shares = ", ".join(f"{state} {n / total:.0%}" for state, n in states.most_common())
    note = f"Beats by state of the calibration: {shares}." if states else ""
    if not rows:
        note = f"There was no cuff reading: do not rely on the level of the pressures. {note}"
    return table("Calibration", ("time", "cuff", ""), rows, note)


def quality(device: DeviceIndex, course: Course) -> str:
    """Return the longest gaps, and the reasons for withholding pressures."""
    ppg = device.tracks["ppg"]
    why = {(event.start, event.end): event for event in device.of("gap") if event.concerns_ppg}
    rows = []
    for hole in sorted(ppg.holes, key=lambda hole: hole[0] - hole[1]):
        event = why.get(hole)
        detail = event.detail if event is not None else {}
        lost = "" if detail.get("lost") is None else str(detail["lost"])
        seconds = (hole[1] - hole[0]) / NS
        rows.append(
            (clock(hole[0] / NS, course), f"{seconds:.2f} s", lost, str(detail.get("why", "")))
        )
    note = f"{len(ppg.holes)} gaps, {span(ppg.lost)} in all" if ppg.holes else "No gaps"
    quality = device.beats.column("quality")
    if len(quality):
        note += f"; median quality {np.nanmedian(quality):.2f}"
    reasons = device.beats.reasons
    if reasons:
        note += "; beats without pressures: "
        note += ", ".join(f"{why.replace('_', ' ')} {n}" for why, n in reasons.most_common())
    return table("Quality and gaps", ("longest gaps", "length", "lost", "reason"), rows, f"{note}.")


def signals(found: SessionIndex, device: DeviceIndex) -> str:
    """Return the recorded signals and the dropped data."""
    rows: list[Row] = [
        (name.upper(), f"{track.rate:g} Hz", ", ".join(track.channels), f"{track.samples}")
        for name, track in device.tracks.items()
    ]
    if device.frames:
        rows.append(("raw frames", "", f"{device.frame_bytes / 1e6:.2f} MB", f"{device.frames}"))
    notes = [
        f"drops: {'; '.join(device.dropped[-3:])}" if device.dropped else "no data were dropped"
    ]
    clocks = [float(event.detail["skew_ppm"]) for event in device.of("clock")]
    if clocks:
        notes.append(f"the sensor's clock ran {median(clocks):+.1f} ppm against this computer's")
    if found.trouble:
        notes.append(found.trouble)
    return table("Signals", ("", "rate", "channels", "samples"), rows, f"{'; '.join(notes)}.")


def table(title: str, head: Row, rows: Sequence[Row], note: str = "") -> str:
    """Return a section with a table; empty where there is neither a row nor a note."""
    if not rows and not note:
        return ""
    parts = [f"<h2>{escape(title)}</h2>"]
    if rows:
        parts.append(f"<table><tr>{''.join(_cells(head, 'th'))}</tr>")
        parts += [f"<tr>{''.join(_cells(row, 'td'))}</tr>" for row in rows[:MOST]]
        parts.append("</table>")
    if len(rows) > MOST:
        parts.append(f"<p class=soft>… and {len(rows) - MOST} more.</p>")
    if note:
        parts.append(f"<p class=soft>{escape(note)}</p>")
    return "".join(parts)


def _cells(row: Row, tag: str) -> Iterator[str]:
    for cell in row:
        yield f"<{tag}>{escape(str(cell))}</{tag}>"


def clock(time: float, course: Course) -> str:
    """Return a clock time, with its day where the session spans several."""
    moment = datetime.fromtimestamp(time, course.zone)
    days = course.last - course.first > 86_400 / 2
    return f"{moment:%a %H:%M:%S}" if days else f"{moment:%H:%M:%S}"


def span(seconds: float) -> str:
    """Return a duration as text."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
