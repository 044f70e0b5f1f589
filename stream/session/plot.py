"""Plot a session: pressures and intervals, heart rate, quality and gaps; or a detail.

The suffix of the output file selects the format: ``.png``, ``.svg``, ``.pdf`` or ``.html``.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices import NS, Event
from innpar.devices.session.contents import about, devices_in, extent, running, source_of
from innpar.devices.session.reader import SessionFile
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.messages.encoding import iso
from innpar.stream.messages.hygiene import escape
from innpar.stream.session.events import WITHDRAWN
from innpar.stream.session.excerpt import Excerpt, stretch
from innpar.stream.session.index import DeviceIndex, index_session
from innpar.stream.session.new_file import fresh
from innpar.stream.session.pulse import Conditioning, conditioning_of, pulse

COLOURS = {"sbp": "#b2182b", "map": "#444444", "dbp": "#2166ac"}
PULSE, HEART, GOOD, TRUE, VOID = "#1b7837", "#762a83", "#1b7837", "#999999", "#b9bec6"
MOST_POINTS = 20_000
LONGEST = 120.0
"""Longest detail, s."""
KINDS = (".png", ".svg", ".pdf", ".html")
NOTE = "Research software: not a medical device, not for diagnosis or treatment."


def plot(path: Path, out: Path | None, at: str | None = None, seconds: float = 10.0) -> int:
    """Draw a session's overview, or some seconds of it in detail; return the exit status.

    Args:
        path: The session.
        out: The plot; beside the session where None.
        at: Start of the detail: seconds or H:MM:SS after the first sample, or a time in ISO-8601
            with a time zone; None for the overview.
        seconds: Length of the detail, s.

    Raises:
        SessionError: matplotlib is not installed, the session has no PPG, or the plot exists
            already or cannot be written.
        ConfigError: `at`, `seconds` or the suffix of `out` is invalid.
        DeviceError: The file does not exist or is not a session.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SessionError("a plot needs matplotlib: scripts/setup report") from None
    out = out or path.with_suffix(".png")
    if out.suffix.lower() not in KINDS:
        raise ConfigError(f"{out}: the name of a plot ends with {', '.join(KINDS)}")
    if at is not None and not 0 < seconds <= LONGEST:
        raise ConfigError(
            f"--seconds: must be more than 0 and at most {LONGEST:g}, not {seconds:g}"
        )
    with fresh(out) as target:
        drawn = _overview(path, Figure) if at is None else _detail(path, Figure, at, seconds)
        figure, summary = drawn
        _save(figure, target, out.suffix.lower(), path.name)
    print(f"{out}: {summary}")
    return 0


def _overview(path: Path, figure_of: Any) -> tuple[Any, str]:
    found = index_session(path)
    devices = [device for device in found.devices.values() if "ppg" in device.tracks]
    if not devices:
        raise SessionError(f"{path}: no PPG was recorded in it; there is nothing to plot")
    figure = figure_of(figsize=(12, 7 * len(devices)), dpi=110, layout="constrained")
    parts = figure.subfigures(len(devices), 1, squeeze=False)
    for rows, device in zip(parts, devices, strict=True):
        _draw(rows[0], device)
    return figure, f"{sum(len(device.beats) for device in devices)} beats"


def _detail(path: Path, figure_of: Any, at: str, seconds: float) -> tuple[Any, str]:
    with SessionFile(path) as file:
        devices, needs = devices_in(file), conditioning_of(running(file))
        if not devices:
            raise SessionError(f"{path}: no PPG was recorded in it; there is nothing to plot")
        shown = []
        for device in devices:
            first, last = extent(file, device)
            low = moment(at, first)
            if low < last and low + seconds * NS > first:
                found = stretch(file, device, low, low + round(seconds * NS))
                shown.append((device, about(file, device), found))
    if not shown:
        raise ConfigError(f"--at {at}: nothing was recorded then; see `session info {path}`")
    figure = figure_of(figsize=(12, 5.5 * len(shown)), dpi=110, layout="constrained")
    parts = figure.subfigures(len(shown), 1, squeeze=False)
    for rows, (device, known, found) in zip(parts, shown, strict=True):
        _draw_detail(rows[0], device, known, found, needs)
    return figure, f"{seconds:g} s, {sum(len(found.beats) for _, _, found in shown)} beats"


def moment(text: str, first: int) -> int:
    """Parse a time; return ns since the Unix epoch.

    Args:
        text: Seconds or H:MM:SS after the first sample, or ISO-8601 with a time zone.
        first: Time of the first sample, ns since the Unix epoch.

    Raises:
        ConfigError: `text` is none of these.
    """
    if re.fullmatch(r"(\d+:)?\d+:\d+(\.\d+)?|\d+(\.\d+)?", text):
        parts = [float(part) for part in reversed(text.split(":"))]
        return first + round(sum(part * 60.0**n for n, part in enumerate(parts)) * NS)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = datetime.min
    if when.tzinfo is None:
        raise ConfigError(
            f"--at: use seconds or H:MM:SS from the start, or 2026-11-23T14:02:11Z, not {text!r}"
        )
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1000


def _save(figure: Any, target: io.FileIO, kind: str, title: str) -> None:
    figure.supxlabel(NOTE, fontsize=8, color="#666666")
    page = kind == ".html"
    image = io.BytesIO()
    figure.savefig(image, format="svg" if page else kind[1:])
    content = image.getvalue()
    if page:
        drawn = content[content.index(b"<svg") :].decode()
        head = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>"
        content = f"{head}<style>svg{{max-width:100%;height:auto}}</style>{drawn}".encode()
    with io.BufferedWriter(target) as written:
        written.write(content)


def _draw(figure: Any, device: DeviceIndex) -> None:
    """Draw the overview of one device."""
    ppg = device.tracks["ppg"]
    zero = (ppg.first or 0) / NS
    figure.suptitle(
        f"{device.id}  ({device.source.upper()})  {ppg.seconds / 60:.1f} min at {ppg.rate:g} Hz"
    )
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    pressure, heart, quality = axes
    # Beyond the resolution of the plot every n-th beat is enough.
    every = max(1, len(device.beats) // MOST_POINTS)

    def column(name: str) -> Any:
        return device.beats.column(name)[::every]

    minutes = (column("t") - zero) / 60
    for name, colour in COLOURS.items():
        pressure.plot(minutes, column(name), color=colour, lw=1, label=name.upper())
        low, high = column(f"{name}_low"), column(f"{name}_high")
        pressure.fill_between(minutes, low, high, color=colour, alpha=0.12, lw=0)
    for cuff in device.of("cuff"):
        at = (cuff.start / NS - zero) / 60
        pressures = [cuff.detail["sbp"], cuff.detail["dbp"]]
        if WITHDRAWN in cuff.detail:
            how = {"color": VOID, "ls": ":", "label": "cuff, withdrawn"}
        else:
            how = {"color": "k", "ls": "-", "label": "cuff"}
        pressure.plot([at, at], pressures, marker="_", ms=10, **how)
    pressure.set_ylabel("mmHg")
    handles = dict(zip(*reversed(pressure.get_legend_handles_labels()), strict=True))
    pressure.legend(handles.values(), handles.keys(), loc="upper right", ncols=4)
    heart.plot(minutes, column("hr"), color=HEART, lw=1)
    heart.set_ylabel("beats/min")
    quality.plot(minutes, column("quality"), color=GOOD, lw=1)
    quality.set(ylim=(0, 1.05), ylabel="quality", xlabel="minutes")
    for event in device.of("marker")[:1000]:
        pressure.axvline((event.start / NS - zero) / 60, color="#e08214", lw=0.8)
    for axis in axes:
        axis.grid(alpha=0.3)
        for start, end in ppg.holes[:1000]:
            axis.axvspan((start / NS - zero) / 60, (end / NS - zero) / 60, color=TRUE, lw=0.5)


def _draw_detail(
    figure: Any, device: str, known: dict[str, Any], found: Excerpt, needs: Conditioning
) -> None:
    """Draw some seconds of one device: PPG, pressure and beats."""
    zero, length = found.low / NS, (found.high - found.low) / NS
    figure.suptitle(f"{device}  ({source_of(known).upper()})  {length:g} s from {iso(found.low)}")
    light, pressure = figure.subplots(2, 1, sharex=True)
    polarity = known.get("polarity")
    wave = pulse(found, polarity if polarity in (-1, 0, 1) else 0, needs)
    for times, values in wave.pieces(zero, zero + length):
        light.plot(times - zero, values, color=PULSE, lw=1.2)
    light.set_ylabel(f"PPG {wave.channel}, upright".replace("  ", " "))
    true_times, true = found.samples("abp")
    if len(true_times):
        true_seconds = true_times / NS - zero
        pressure.plot(true_seconds, true[:, 0], color=TRUE, lw=1, label="true")
    for beat in found.beats:
        abp = beat["abp"]
        samples = abp.get("samples") or []
        at = abp.get("start", beat["t"]) - zero + np.arange(len(samples)) / abp["rate"]
        pressure.plot(at, samples, color=COLOURS["sbp"], lw=1.2, label="reconstructed")
        mark = {"color": COLOURS["sbp"]} if beat.get("valid") else {"color": TRUE, "ls": ":"}
        for axis in (light, pressure):
            axis.axvline(beat["t"] - zero, lw=0.6, alpha=0.6, **mark)
        if beat.get("valid"):
            pressures = [beat["sbp"], beat["dbp"]]
            pressure.plot([at[0], beat["t"] - zero], pressures[::-1], "o", color="k", ms=3)
    for event in found.events:
        _note(light, event, zero)
    if not found.beats:
        pressure.text(0.5, 0.5, "no beat was published here", transform=pressure.transAxes)
    handles = dict(zip(*reversed(pressure.get_legend_handles_labels()), strict=True))
    if handles:
        pressure.legend(handles.values(), handles.keys(), loc="upper right")
    pressure.set(ylabel="mmHg", xlabel="seconds", xlim=(0, length))
    for axis in (light, pressure):
        axis.grid(alpha=0.3)


def _note(axis: Any, event: Event, zero: float) -> None:
    """Draw a gap, or a marker or cuff reading with its text."""
    at = event.start / NS - zero
    if event.kind == "gap" and event.concerns_ppg:
        axis.axvspan(at, event.end / NS - zero, color=TRUE, alpha=0.4, lw=0)
    elif event.kind in ("marker", "cuff"):
        text = event.detail.get("text") or f"{event.detail.get('sbp')}/{event.detail.get('dbp')}"
        text = f"{text} (withdrawn)" if WITHDRAWN in event.detail else text
        axis.axvline(at, color="#e08214", lw=1.5)
        axis.annotate(str(text), (at, 0.02), xycoords=("data", "axes fraction"), fontsize=8)
