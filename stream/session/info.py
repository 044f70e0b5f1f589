"""``innpar-stream session``: describe, verify and repair sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from innpar.devices import NS
from innpar.devices.session.contents import damage_of
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.writer import Writer
from innpar.stream.calibration.types import MOVED
from innpar.stream.messages.encoding import iso
from innpar.stream.messages.hygiene import printable
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.events import WITHDRAWN
from innpar.stream.session.index import DeviceIndex, SessionIndex, SignalIndex, index_session, shown
from innpar.stream.session.new_file import fresh

LONGEST_LINE = 1000
"""Characters of a line about a file."""
MOST_LINES = 10
"""Gaps or markers that are listed; the rest is only counted."""


def info(path: Path) -> int:
    """Print the contents of a session; return the exit status."""
    for line in describe(index_session(path)):
        print(printable(line, LONGEST_LINE))
    return 0


def faults_of(found: SessionIndex) -> Iterator[str]:
    """Yield the faults of a session, one line each."""
    if found.trouble:
        remedy = f"`innpar-stream session repair {found.path}` writes a repaired copy"
        yield f"{found.trouble}; {remedy}"
    if found.absent:
        yield f"{found.absent} messages are missing between the readable ones"
    if found.unknown:
        yield f"{found.unknown} messages belong to channels whose definition is lost"
    if found.faults:
        yield f"{found.faults} messages do not match their channel's format"
    for device in found.devices.values():
        for signal, track in device.tracks.items():
            if track.disordered:
                yield f"{device.id}: {track.disordered} {signal} samples are out of order"
        if device.beats.breaks:
            yield f"{device.id}: beats are missing in {device.beats.breaks} places"


def describe(found: SessionIndex) -> Iterator[str]:
    """Yield the contents of a session, line by line."""
    model = found.run.get("model")
    yield f"{found.path}: {found.size / 1e6:.1f} MB, {found.blocks} blocks"
    yield f"  recorded by {found.run.get('software', 'an unknown version')}"
    if isinstance(model, dict):
        yield f"  model {model.get('id')}, manifest sha256 {str(model.get('manifest_sha256'))[:16]}"
    for device in found.devices.values():
        yield from _device(device)
    if found.trouble:
        yield f"  {found.trouble}"


def _device(device: DeviceIndex) -> Iterator[str]:
    about = device.about
    subject = f", subject {about['subject']}" if about.get("subject") else ""
    yield f"{device.id}: {device.source}, worn at {about.get('site', '?')}{subject}"
    for signal, track in device.tracks.items():
        yield f"  {_signal(signal, track)}"
    if device.frames:
        yield f"  raw: {device.frames} frames, {device.frame_bytes / 1e6:.2f} MB"
    ppg = device.tracks.get("ppg")
    if ppg is not None:
        yield from _gaps(device, ppg)
    for event in device.of("cuff"):
        withdrawn = ", withdrawn later" if WITHDRAWN in event.detail else ""
        reading = f"{event.detail.get('sbp')}/{event.detail.get('dbp')}"
        yield f"  cuff {reading} at {iso(event.start)}{withdrawn}"
    for event in device.of("cuff_undone"):
        reading = f"{event.detail.get('sbp')}/{event.detail.get('dbp')}"
        how = "no longer applied" if event.detail.get("why") == MOVED else "withdrawn"
        yield f"  cuff {reading} {how} at {iso(event.start)}"
    markers = device.of("marker")
    for event in markers[:MOST_LINES]:
        yield f"  marker at {iso(event.start)}: {event.detail.get('text')}"
    if len(markers) > MOST_LINES:
        yield f"  … and {len(markers) - MOST_LINES} more markers"
    dropped = device.dropped
    yield f"  drops: {'; '.join(dropped[-MOST_LINES:]) if dropped else 'none'}"
    clocks = device.of("clock")
    if clocks:
        skews = [float(event.detail["skew_ppm"]) for event in clocks]
        yield f"  clock: {skews[-1]:+.1f} ppm at the end ({min(skews):+.1f} to {max(skews):+.1f})"
    if device.beats:
        yield from _beats(device.beats)


def _signal(signal: str, track: SignalIndex) -> str:
    text = (
        f"{signal}: {track.samples} samples of {', '.join(track.channels)} at {track.rate:g} Hz, "
        f"{track.seconds:.1f} s from {iso(track.first or 0)}"
    )
    for number, what in ((track.missing, "without a value"), (track.disordered, "out of order")):
        text += f"; {number} {what}" if number else ""
    return text


def _gaps(device: DeviceIndex, ppg: SignalIndex) -> Iterator[str]:
    if not ppg.holes:
        yield "  no gaps"
        return
    gaps = [event for event in device.of("gap") if event.concerns_ppg]
    why = {(event.start, event.end): event.detail.get("why") for event in gaps}
    lost = sum(int(event.detail.get("lost") or 0) for event in gaps)
    yield f"  {len(ppg.holes)} gaps, {ppg.lost:.2f} s in all; {lost} samples declared lost"
    for start, end in ppg.holes[:MOST_LINES]:
        text = f"    {iso(start)}  {(end - start) / NS:8.3f} s  {why.get((start, end)) or ''}"
        yield text.rstrip()
    if len(ppg.holes) > MOST_LINES:
        yield f"    … and {len(ppg.holes) - MOST_LINES} more"


def _beats(beats: BeatTable) -> Iterator[str]:
    quality, usable = beats.column("quality"), beats.usable
    yield (
        f"  {len(beats)} beats, {int(usable.sum())} with pressures; "
        f"median quality {np.nanmedian(quality):.2f}"
    )
    if beats.reasons:
        counted = (f"{why} {n}" for why, n in beats.reasons.most_common())
        yield f"    without: {', '.join(counted)}"
    if usable.any():
        sbp, dbp, map_, hr = (
            np.nanmedian(beats.column(name)[usable]) for name in ("sbp", "dbp", "map", "hr")
        )
        yield f"    median {sbp:.0f}/{dbp:.0f} mmHg, MAP {map_:.0f}, heart rate {hr:.0f}"
    states = (f"{state} {n}" for state, n in beats.states.most_common())
    yield f"    calibration: {', '.join(states)}"


def repair(path: Path, out: Path | None) -> int:
    """Write a repaired copy of a damaged session.

    Raises:
        SessionError: The copy exists already or cannot be written.
        DeviceError: The file does not exist or is not a session.
    """
    out = out or path.with_name(f"{path.stem}.repaired{path.suffix}")
    with SessionFile(path) as file:
        kept = _copy(file, out)
        trouble = damage_of(file) or "the original was intact"
    print(f"{out}: intact, {kept} messages; {trouble}")
    return 0


def _copy(file: SessionFile, out: Path) -> int:
    """Write the readable messages, block by block; return their number."""
    kept = 0
    with fresh(out) as target:
        writer = Writer(target, "innpar-stream session repair")
        count = len(file.blocks)
        for place in shown(range(count), f"repairing {file.path.name}", count, int):
            for message in file.messages([place]):
                channel = file.channels.get(message.channel)
                if channel is None:
                    continue
                number = writer.channel(channel.topic, channel.encoding, channel.about)
                writer.add(number, message.time, message.written, message.data, message.sequence)
                kept += 1
            writer.flush()
        writer.finish()
        os.fsync(target.fileno())
    return kept
