"""The charts of a session's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.devices import NS
from innpar.devices.session.contents import running
from innpar.devices.session.reader import SessionFile
from innpar.stream.messages.hygiene import escape
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.events import WITHDRAWN
from innpar.stream.session.excerpt import stretch
from innpar.stream.session.index import DeviceIndex
from innpar.stream.session.pulse import PulseWave, conditioning_of, pulse
from innpar.stream.session.report.findings import RANGES, SessionTrend, in_range
from innpar.stream.session.report.svg import Chart, around, stacked

Floats = npt.NDArray[np.float64]

SBP, MAP, DBP, HR = "#b2182b", "#444444", "#2166ac", "#762a83"
GOOD, TRUE, FLAG, VOID = "#1b7837", "#9aa3ae", "#d9790c", "#b9bec6"
SHADES = {
    "sbp": ("#6d7f99", "#2f7d57", "#c9a227", "#d9790c", "#b2182b"),
    "dbp": ("#6d7f99", "#2f7d57", "#c9a227", "#d9790c", "#b2182b"),
    "map": ("#6d7f99", "#7fae97", "#2f7d57", "#d9790c", "#b2182b"),
    "hr": ("#6d7f99", "#7fae97", "#2f7d57", "#d9790c", "#b2182b"),
}
TICKS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400)
"""Seconds between two ticks of a time axis."""
MOST = 400
"""Largest number of gaps, markers or readings in one chart."""
NUMBERED = 20
"""Largest number of markers that are numbered."""
SHOWN = 6.0
"""Length of an example, s."""


@dataclass(frozen=True, slots=True)
class Course:
    """Time axis of the charts over the whole session.

    Attributes:
        first: Start, s since the Unix epoch.
        last: End, s since the Unix epoch.
        zone: Time zone of the times shown; None for this computer's.
    """

    first: float
    last: float
    zone: tzinfo | None

    def ticks(self) -> list[tuple[float, str]]:
        """Return round clock times, s since the Unix epoch, with their labels."""
        span = self.last - self.first
        step = next((s for s in TICKS if span / s <= 9), TICKS[-1])
        begin = datetime.fromtimestamp(self.first, self.zone)
        midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        at = midnight + timedelta(seconds=step * (int((begin - midnight).total_seconds()) // step))
        while (time := at.timestamp()) <= self.last:
            if time >= self.first:
                found.append((time, f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"))
            at += timedelta(seconds=step)
        return found


def trends(device: DeviceIndex, course: Course, found: SessionTrend) -> str:
    """Return the charts of pressure, heart rate and quality over the session."""
    x, v = (course.first, course.last), found.values
    cuffs = device.of("cuff")[:MOST]
    at = np.array([event.start / NS for event in cuffs])
    high = np.array([float(event.detail["sbp"]) for event in cuffs])
    low = np.array([float(event.detail["dbp"]) for event in cuffs])
    limits = around([v["sbp_high"], v["dbp_low"], v["sbp"], v["dbp"], high, low], 20, 40)
    pressure = Chart(x, limits, height=260, unit="mmHg", label="blood pressure over time")
    _holes(pressure, device, found)
    pressure.grid(course.ticks())
    for name, colour in (("sbp", SBP), ("map", MAP), ("dbp", DBP)):
        pressure.band(found.times, v[f"{name}_low"], v[f"{name}_high"], colour)
    for name, colour in (("sbp", SBP), ("map", MAP), ("dbp", DBP)):
        pressure.line(found.times, v[name], colour)
    void = np.array([WITHDRAWN in event.detail for event in cuffs], dtype=bool)
    pressure.bars(at[~void], low[~void], high[~void], "#111111")
    pressure.bars(at[void], low[void], high[void], VOID, "withdrawn")
    markers = device.of("marker")[:MOST]
    flagged = np.array([event.start / NS for event in markers])
    numbers = [str(n) if len(markers) <= NUMBERED else "" for n in range(1, len(markers) + 1)]
    pressure.flags(flagged, numbers, FLAG)
    heart = Chart(
        x, around([v["hr"]], 10, 30), height=110, unit="beats/min", label="heart rate over time"
    )
    quality = Chart(x, (0.0, 1.0), height=84, unit="quality", label="quality over time")
    for chart, name, colour in ((heart, "hr", HR), (quality, "quality", GOOD)):
        _holes(chart, device, found)
        chart.grid(course.ticks())
        chart.line(found.times, v[name], colour)
    return "".join(f"<figure>{chart.svg()}</figure>" for chart in (pressure, heart, quality))


def _holes(chart: Chart, device: DeviceIndex, found: SessionTrend) -> None:
    """Shade gaps, and lightly the times without usable beats."""
    blind = ~np.isfinite(found.values["sbp"])
    half = found.step / 2
    chart.spans(found.times[blind] - half, found.times[blind] + half, "none")
    holes = device.tracks["ppg"].holes
    longest = sorted(holes, key=lambda hole: hole[0] - hole[1])[:MOST]
    edges = np.array(longest, dtype=np.float64).reshape(-1, 2) / NS
    chart.spans(edges[:, 0], edges[:, 1], "gap")


def ranges(beats: BeatTable) -> str:
    """Return a bar for each column of `RANGES` with its shares of time."""
    rows = []
    for name in RANGES:
        shares = in_range(beats, name)
        if not shares:
            continue
        parts = [(n, s, c) for (n, s), c in zip(shares, SHADES[name], strict=True)]
        key = "".join(f'<i style="background:{c}"></i>{n} ({s:.0%})' for n, s, c in parts)
        rows.append(
            f"<tr><td>{name.upper()}</td><td>{stacked(parts)}<div class=key>{key}</div></td></tr>"
        )
    return f"<table class=ranges>{''.join(rows)}</table>" if rows else ""


def examples(file: SessionFile, device: DeviceIndex) -> str:
    """Return excerpts of PPG and pressure at typical, lowest and highest SBP."""
    figures = []
    polarity = device.about.get("polarity")
    known = polarity if polarity in (-1, 0, 1) else 0
    needs = conditioning_of(running(file))
    for title, at in _moments(device.beats):
        low = round((at - SHOWN / 2) * NS)
        found = stretch(file, device.id, low, low + round(SHOWN * NS))
        wave, zero = pulse(found, known, needs), low / NS
        light = _light(wave, zero)
        if not found.beats or not light:
            continue
        pressure = _pressure(found.beats, found.samples("abp"), zero)
        caption = f"{title}: PPG ({escape(wave.channel)}) above, reconstructed pressure below"
        caption += ", true pressure in grey" if "abp" in device.tracks else ""
        figures.append(f"<figure>{light}{pressure}<figcaption>{caption}</figcaption></figure>")
    return f"<div class=pair>{''.join(figures)}</div>" if figures else ""


def _moments(beats: BeatTable) -> list[tuple[str, float]]:
    """Return (title, time) of the excerpts: middles of runs of good beats, s since the epoch."""
    t, good = beats.column("t"), beats.usable & (beats.column("quality") >= 0.8)
    runs = np.array([good[max(0, n - 4) : n + 5].all() for n in range(len(t))])
    where = np.flatnonzero(runs & good)
    if len(where) < 9:
        return []
    sbp = beats.column("sbp")[where]
    smooth = np.convolve(sbp, np.ones(5) / 5, mode="same")[2:-2]
    place = where[2:-2]
    order = np.argsort(smooth)
    chosen = {
        "typical SBP": order[len(order) // 2],
        "lowest SBP": order[0],
        "highest SBP": order[-1],
        "a second typical stretch": order[len(order) // 2 + len(order) // 8],
    }
    return [(title, float(t[place[n]])) for title, n in chosen.items()]


def _light(wave: PulseWave, zero: float) -> str:
    """Return a chart of the pulse from `zero`, s since the Unix epoch; empty without samples."""
    pieces = list(wave.pieces(zero, zero + SHOWN))
    if not pieces:
        return ""
    low = min(float(values.min()) for _, values in pieces)
    high = max(float(values.max()) for _, values in pieces)
    chart = Chart((0.0, SHOWN), (low, high), width=352, height=84, label="pulse wave")
    for times, values in pieces:
        chart.line(times - zero, values, GOOD)
    return chart.svg()


def _pressure(beats: Sequence[dict[str, Any]], truth: Any, zero: float) -> str:
    waves = []
    for beat in beats:
        abp = beat["abp"]
        samples = np.array(abp.get("samples") or [], dtype=np.float64)
        waves.append((abp["start"] - zero + np.arange(len(samples)) / abp["rate"], samples))
    times, true = truth
    values = [samples for _, samples in waves] + ([true[:, 0]] if len(times) else [])
    limits = around(values, 10, 40)
    chart = Chart((0.0, SHOWN), limits, width=352, height=124, unit="mmHg", label="pressure wave")
    chart.grid([(second, f"{second:g} s") for second in (0.0, 2.0, 4.0, 6.0)])
    if len(times):
        chart.line(times / NS - zero, true[:, 0], TRUE, 1.2)
    for at, samples in waves:
        inside = (at >= 0) & (at <= SHOWN)
        chart.line(at[inside], samples[inside], SBP)
    return chart.svg()
