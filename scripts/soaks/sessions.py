"""A long session written, sought, exported and reported within limits: sessions [HOURS]

The session is of a 176 Hz sensor of four channels, with raw frames, a beat a second and a gap an
hour; 24 hours by default. The exit status is 1 where a limit is missed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from innpar.devices import NS, Chunk, Event
from innpar.devices.session.device import open_session
from innpar.devices.session.items import (
    BEATS,
    BYTES,
    JSON,
    RAW,
    SAMPLES,
    Topic,
    pack_chunk,
    pack_event,
    to_json,
)
from innpar.devices.session.writer import Writer
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.session.export.formats import export
from innpar.stream.session.report.command import report

SHORT = ("0.5",)
RATE, CHANNELS = 176, ("ppg0", "ppg1", "ppg2", "ambient")
ROWS = 72
"""Samples in a notification of a Verity Sense, about."""
GRID = 8_000_000
"""ns between two samples of the reconstructed pressure."""
START = 1_700_000_000 * NS


def write(path: Path, hours: float) -> tuple[float, int]:
    """Write a session with a block every 0.4 s of signal, as live.

    Returns:
        CPU seconds, and bytes of the raw frames.
    """
    rng = np.random.default_rng(0)
    clock = VirtualClock(START)
    wave = 4e5 + 2e3 * np.sin(2 * np.pi * 1.1 * np.arange(RATE * 600) / RATE)[:, None]
    counts = np.rint(wave + rng.normal(0, 30, (RATE * 600, 4)))
    frame = rng.bytes(ROWS * 4 * 10 // 8)
    beat = {"schema": "bp-beat/1", "sbp": 121.5, "dbp": 74.9, "map": 91.2, "quality": 0.93}
    beat |= {"dbp": 74.9, "hr": 70.0, "valid": True, "reasons": [], "source": "simulated"}
    sides = {key: [60.1, 130.2] for key in ("sbp", "dbp", "map")}
    beat |= {"interval": {"level": 0.9, **sides}}
    waves = np.round(80 + 20 * rng.random((64, 110)), 1).tolist()
    foot = START // GRID
    raw, row = 0, 0
    began = time.process_time()
    with path.open("xb", buffering=0) as file:
        writer = Writer(file)
        ppg = writer.channel("bench/ppg", SAMPLES, {"channels": "\t".join(CHANNELS)})
        frames = writer.channel(str(Topic("bench", RAW, "pmd")), BYTES)
        events = writer.channel("bench/events", JSON)
        beats = writer.channel(str(Topic("bench", BEATS)), JSON)
        about = writer.channel("bench/about", JSON)
        writer.add(about, START, START, to_json({"source": "simulated", "polarity": -1}))
        connected = pack_event(Event("bench", "connected", START, START, {"rate": RATE}))
        writer.add(events, START, START, connected)
        while row < hours * 3600 * RATE:
            at = START + (row + np.arange(ROWS)) * NS // RATE + row // (3600 * RATE) * NS
            data = counts[row % len(counts) :][:ROWS]
            data = data if len(data) == ROWS else counts[:ROWS]
            now = int(at[-1])
            writer.add(frames, now, now, frame)
            chunk = Chunk("bench", "ppg", CHANNELS, RATE, at, data)
            writer.add(ppg, now, clock.now(), pack_chunk(chunk))
            if row // ROWS % 2:
                length = now // GRID - foot
                samples = waves[row // ROWS % 64][:length]
                wave = {"start": foot * GRID / NS, "rate": 125, "samples": samples}
                foot += length
                this = {**beat, "seq": row // ROWS // 2, "t": round(now / NS, 3), "abp": wave}
                writer.add(beats, now, now, to_json(this))
            writer.flush()
            raw += len(frame)
            row += ROWS
        writer.finish()
    return time.process_time() - began, raw


def peak_memory() -> float:
    """Return MB. Not ru_maxrss: that begins with the memory of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(arguments: list[str]) -> int:
    """Write a session and use it; return 1 where a limit is missed."""
    hours = float(arguments[0]) if arguments else 24.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mcap"
        cpu, raw = write(path, hours)
        size = path.stat().st_size
        share = cpu / (hours * 3600)
        print(
            f"{size / 1e6 / hours:.1f} MB an hour beside {raw / 1e6 / hours:.1f} MB of raw frames"
        )
        print(f"writing: {share:.2%} of a core")
        slowest = 0.0
        rng = np.random.default_rng(1)
        for begin in rng.uniform(0, hours * 3600 - 60, 10):
            before = time.perf_counter()
            session = open_session(path, {"from": f"{begin:.0f}"}, pace=Pace(float("inf")))
            items = session.items()
            while not isinstance(item := next(items), Chunk):
                pass
            items.close()
            slowest = max(slowest, time.perf_counter() - before)
            due = session.first + round(float(f"{begin:.0f}") * NS)
            assert 0 <= int(item.times[0]) - due <= 1.1 * NS
        print(f"opening and seeking to any minute: {slowest:.2f} s at most")
        before = time.perf_counter()
        export(path, Path(folder) / "edf", "edf")
        took = time.perf_counter() - before
        print(f"export to EDF+: {took:.1f} s")
        before = time.perf_counter()
        report(path, Path(folder) / "report.html")
        print(f"report: {time.perf_counter() - before:.1f} s")
        memory = peak_memory()
        print(f"{memory:.0f} MB of memory at most")
    return 0 if slowest < 1 and took < 60 and memory < 1024 and share < 0.05 else 1
