"""Polar sensors that one core decodes in real time, from frame to host time: decoding [SECONDS]"""

from __future__ import annotations

import time

import numpy as np

from innpar.devices.base import NS
from innpar.devices.sensors.polar.decoder import DATA, PolarDecoder
from innpar.devices.sensors.polar.frames import MeasurementKind, decode
from innpar.devices.virtual.sensors.polar_encoder import encode

SHORT = ("20",)
ROOM = 229


def frames(rate: int, seconds: float) -> list[tuple[int, bytes]]:
    """Return (time, frame) of a noisy pulse."""
    times = np.rint(np.arange(round(seconds * rate)) * NS / rate).astype(np.int64)
    beat = 2000 * np.cos(times / NS * 2 * np.pi * 1.2)
    noise = np.random.default_rng(0).normal(0, 30, (len(times), 4))
    samples = (400_000 + beat[:, None] + noise).astype(np.int64)
    out, k = [], 0
    while k < len(times) - 100:
        raw, taken = encode(
            MeasurementKind.PPG, 0x80, times[k : k + 100], samples[k : k + 100], ROOM
        )
        k += taken
        out.append((int(times[k - 1]), raw))
    return out


def main(arguments: list[str]) -> int:
    """Time each rate, on 120 s of signal by default; return 1 below 1000 sensors."""
    seconds = float(arguments[0]) if arguments else 120.0
    fewest = float("inf")
    for rate in (55, 176):
        sent = frames(rate, seconds)
        start = time.process_time()
        for _, raw in sent:
            decode(raw)
        decoded = time.process_time() - start
        stream = PolarDecoder("bench", (rate,))
        start = time.process_time()
        for arrival, raw in sent:
            stream.push(DATA, arrival, raw)
        whole = time.process_time() - start
        per_frame = 1e6 / len(sent)
        print(
            f"{rate:3d} Hz, {len(sent[0][1])}-byte frames: "
            f"decode {decoded * per_frame:5.1f} us a frame = {seconds / decoded:8,.0f} devices; "
            f"to host time {whole * per_frame:5.1f} us a frame = {seconds / whole:8,.0f} devices"
        )
        fewest = min(fewest, seconds / whole)
    return int(fewest < 1000)
