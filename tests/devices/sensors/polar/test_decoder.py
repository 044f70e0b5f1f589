"""A virtual sensor's frames straight into the decoder: drift, jitter and hours, in seconds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.sensors.polar.decoder import BATTERY, CONTROL, DATA, HEART_RATE, PolarDecoder
from innpar.devices.sensors.polar.frames import PULSE, MeasurementKind
from innpar.devices.timing.pace import VirtualClock
from innpar.devices.virtual.sensors.polar import VirtualPolar
from innpar.devices.virtual.sensors.polar_stream import VirtualStream
from innpar.devices.virtual.world.faults import Faults
from innpar.devices.virtual.world.light import Ints

SMALLEST = 7_000_000
"""ns that every frame takes on its way."""

ROOM = 229


def played(
    rate: float, seconds: float, faults: Faults, seed: int = 0, jitter: float = 0.02
) -> Iterator[tuple[int, bytes]]:
    """Yield (arrival, frame) of a sensor whose light says, in 10 µs, when each sample was taken."""
    clock = VirtualClock()
    start = clock.now()

    def light(times: Ints) -> Ints:
        since = (times - start) // 10_000
        return np.stack([since % 2**20, since // 2**20, since * 0, since * 0], axis=1)

    sensor = VirtualPolar(clock, light, faults=faults, seed=seed)
    sensor._mtu = lambda: ROOM + 3
    stream = VirtualStream(sensor, MeasurementKind.PPG, rate, start)
    rng = np.random.default_rng(seed)
    last = 0
    while stream.due < start + seconds * NS:
        due = stream.due
        for frame in stream.take(due):
            last = max(last, due + SMALLEST + int(rng.uniform(0, jitter) * NS))
            yield last, frame


def instants(chunk: Chunk) -> Ints:
    """Return when the samples were taken, ns since the start."""
    found: Ints = ((chunk.data[:, 0] + chunk.data[:, 1] * 2**20) * 10_000).astype(np.int64)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "ppm"), [(55, 200), (55, -200), (176, 500), (28, -500)])
def test_host_times_skew_and_accounting(rate: float, ppm: float) -> None:
    stream = PolarDecoder("x", (rate,))
    start = VirtualClock().now()
    samples, first, last, lost = 0, 0, 0, 0
    skews: list[float] = []
    faults = Faults(ppm=ppm, drop=0.02)
    for arrival, frame in played(rate, 900, faults):
        for item in stream.push(DATA, arrival, frame):
            if isinstance(item, Event):
                if item.kind == "gap":
                    lost += item.detail["lost"]
                elif item.kind == "clock":
                    skews.append(item.detail["skew_ppm"])
                continue
            taken = instants(item)
            first = first or int(taken[0])
            assert item.times[0] > last
            assert (np.diff(item.times) > 0).all()
            if taken[0] > 61 * NS:
                assert np.abs(item.times - start - taken - SMALLEST).max() < 5_000_000
            samples += len(taken)
            last = int(item.times[-1])
            end = int(taken[-1])
    assert samples + lost == round((end - first) / NS * rate) + 1
    assert lost > 0
    assert (stream.samples, stream.lost) == (samples, lost)
    assert skews[-1] == pytest.approx(-ppm, abs=10)
    assert stream.rate == pytest.approx(rate, rel=1e-3)


def test_bad_frames_are_counted_and_become_gaps() -> None:
    stream = PolarDecoder("x", (55,))
    lost, bad, samples = 0, 0, 0
    ends: list[int] = []
    for k, (arrival, frame) in enumerate(played(55, 120, Faults(truncate_next=0))):
        raw = frame[: 50 + k] if k in (20, 40, 41) else frame
        try:
            items = stream.push(DATA, arrival, raw)
        except BadPacket:
            bad += 1
            continue
        for item in items:
            if isinstance(item, Chunk):
                samples += len(item)
                ends += [int(instants(item)[0]), int(instants(item)[-1])]
            elif item.kind == "gap":
                lost += item.detail["lost"]
    assert stream.bad == bad == 3
    assert samples + lost == round((ends[-1] - ends[0]) / NS * 55) + 1


def test_an_arm_that_moves_on_through_a_new_link_is_told_of_again() -> None:
    head = bytes([MeasurementKind.PPI, *(8 * [0]), 0])
    moving = head + PULSE.pack(60, 1000, 10, 1)

    arrivals = itertools.count(NS, NS)

    def told(stream: PolarDecoder) -> list[str]:
        items = stream.push(DATA, next(arrivals), moving)
        return [e.kind for e in items if isinstance(e, Event)]

    stream = PolarDecoder("x", (55,))
    assert told(stream) == ["motion", "intervals"]
    assert told(stream) == ["intervals"]
    stream.interrupted("stalled")
    assert told(stream) == ["intervals"]
    stream.interrupted("link lost", relinked=True)
    assert told(stream) == ["motion", "intervals"]


def test_one_core_decodes_a_thousand_devices() -> None:
    """Frames to chunks in host time, at 176 Hz; the exact figure is the benchmark's to print."""
    frames = list(played(176, 60, Faults()))
    stream = PolarDecoder("x", (176,))
    before = time.process_time()
    for arrival, frame in frames:
        stream.push(DATA, arrival, frame)
    assert 60 / (time.process_time() - before) > 1000


@pytest.mark.slow
def test_random_notifications_give_items_or_a_named_error() -> None:
    rng = np.random.default_rng(20_001)
    stream = PolarDecoder("x", (55.0, 135.0))
    good = [frame for _, frame in played(55, 120, Faults())]
    channels = (DATA, DATA, DATA, CONTROL, HEART_RATE, BATTERY)
    chunks, bad = 0, 0
    for i in range(20_000):
        raw = bytearray(good[i % len(good)][: int(rng.integers(0, 240))])
        for _ in range(int(rng.integers(0, 3)) if raw else 0):
            raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        try:
            items = stream.push(channels[i % 6], i * NS // 4, bytes(raw))
        except BadPacket:
            bad += 1
            continue
        chunks += sum(isinstance(item, Chunk) for item in items)
    assert stream.bad == bad > 1000
    assert chunks > 50
