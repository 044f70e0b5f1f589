"""A run's LSL streams, received by an independent inlet."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Event, NotFound
from innpar.devices.lsl.device import Lsl
from innpar.devices.registry import create
from innpar.devices.timing.pace import Pace, SystemClock
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, DeviceInfo, Item, Waveform
from innpar.stream.sinks.base import FanOut
from innpar.stream.sinks.lsl import LslSink
from support.harness import shipped
from support.loopback import lsl

Received = dict[str, tuple[Any, np.ndarray, np.ndarray]]


def listen(ready: threading.Event, over: threading.Event, received: Received) -> None:
    """Record like LabRecorder: resolve all streams, pull every sample with its time stamp."""
    inlets: dict[str, Any] = {}
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    resolver = lsl.ContinuousResolver()
    drained = False
    while not (over.is_set() and drained):
        drained = over.is_set()
        for info in resolver.results():
            if info.source_id().startswith("innpar-") and info.uid() not in inlets:
                inlets[info.uid()] = lsl.StreamInlet(info, recover=False, as_numpy=True)
                inlets[info.uid()].open_stream(5)
                parts[info.uid()] = []
        if len(inlets) >= 4:
            ready.set()
        for uid, inlet in inlets.items():
            data, stamps = inlet.pull_chunk(0.0, 4096)
            parts[uid].append((data, stamps))
        time.sleep(0.02)
    for uid, inlet in inlets.items():
        info = inlet.info(5)
        data = np.concatenate([data for data, _ in parts[uid]])
        received[info.type()] = info, data, np.concatenate([stamps for _, stamps in parts[uid]])


class Gate:
    """Sink that keeps every item, and ends the run once the receiver has enough after `ready`."""

    def __init__(self, ready: threading.Event) -> None:
        self.items: list[Item] = []
        self.heard: list[Item] = []
        self._ready = ready

    async def ready(self) -> None:
        await asyncio.sleep(0)

    async def send(self, item: Item) -> None:
        (self.heard if self._ready.is_set() else self.items).append(item)


@pytest.mark.slow
async def test_a_run_is_received_with_labels_units_and_times() -> None:
    ready, over = threading.Event(), threading.Event()
    received: Received = {}
    listener = threading.Thread(target=listen, args=(ready, over, received))
    listener.start()
    clock = SystemClock()
    shift = clock.now() - lsl.local_clock() * NS
    gate = Gate(ready)
    device = create("demo:3", pace=Pace(8.0))
    try:
        async with LslSink.open(clock) as sink:
            engine = Engine(shipped())
            wearer = enrol(device, engine, clock, duration=60)
            async with asyncio.timeout(60):
                await run([wearer], engine, FanOut([sink, gate]), clock)
            assert ready.is_set()
            await asyncio.sleep(0.5)
            over.set()
            await asyncio.to_thread(listener.join)
    finally:
        over.set()
        listener.join()
    info, data, stamps = received["ABP"]
    assert info.name() == "demo-3 ABP"
    assert info.nominal_srate() == 125
    assert info.get_channel_labels() == ["ABP"]
    assert info.get_channel_units() == ["mmHg"]
    assert info.desc().child_value("source") == "simulated"
    sent = [i for i in gate.heard if isinstance(i, Waveform) and i.kind == "abp"]
    assert len(sent) > 10
    values = np.concatenate([wave.samples for wave in sent])
    assert (data[-len(values) :, 0] == values).all()
    times = np.concatenate([w.start + np.arange(len(w.samples)) * NS / w.rate for w in sent])
    assert np.abs(stamps[-len(values) :] * NS + shift - times).max() < 1e6
    assert received["PPG"][0].nominal_srate() == 125
    info, data, stamps = received["BloodPressure"]
    assert info.get_channel_labels() == ["SBP", "DBP", "MAP", "HR", "quality", "valid"]
    beats = [item for item in gate.heard if isinstance(item, Beat)]
    assert len(beats) > 10
    for row, stamp, beat in zip(data[-len(beats) :], stamps[-len(beats) :], beats, strict=True):
        assert abs(stamp * NS + shift - beat.peak) < 1e6
        assert row[0] == pytest.approx(beat.sbp) if beat.valid else math.isnan(row[0])
        assert row[5] == beat.valid


async def test_events_are_received_as_json() -> None:
    clock = SystemClock()
    async with LslSink.open(clock) as sink:
        await sink.send(DeviceInfo("e", "live", "s", "m", 125.0, {}))
        inlet = lsl.StreamInlet(lsl.resolve_byprop("name", "e events", 1, 5)[0])
        inlet.open_stream(5)
        at = clock.now()
        shift = at - lsl.local_clock() * NS
        cuff = {"sbp": 128.0, "dbp": 79.0}
        await sink.send(Event("e", "cuff", at, at, cuff))
        await sink.send(Event("e", "gap", at - 2 * NS, at, {"why": "ü", "lost": None}))
        await sink.send(Event("unknown", "marker", at, at, {"text": "x"}))
        samples, stamps = inlet.pull_chunk(2.0, 2)
        assert inlet.info(5).type() == "Events"
        del inlet
    assert [json.loads(text) for (text,) in samples] == [
        {"kind": "cuff", "seconds": 0.0, "detail": cuff},
        {"kind": "gap", "seconds": 2.0, "detail": {"why": "ü", "lost": None}},
    ]
    assert abs(stamps[0] * NS + shift - at) < 1e6
    assert abs(stamps[1] * NS + shift - at + 2 * NS) < 1e6


async def test_our_own_streams_are_not_taken_for_a_sensor() -> None:
    clock = SystemClock()
    async with LslSink.open(clock) as sink:
        samples = np.zeros(128, np.float32)
        await sink.send(Waveform("d", "ppg", "simulated", "s", 0, clock.now(), 125.0, samples))
        with pytest.raises(NotFound, match="no LSL stream of type PPG or BVP"):
            async with Lsl(wait=1.5).open(clock=clock):
                pass
        async with asyncio.timeout(10), Lsl("name=d PPG").open(clock=clock) as items:
            connected, notice = await anext(items), await anext(items)
    assert connected.device == "lsl-d-ppg"
    assert connected.detail["origin"] == "simulated"
    assert "the sender states its source as simulated" in notice.detail["text"]


async def test_a_recording_is_sent_as_of_now() -> None:
    clock = SystemClock()
    async with LslSink.open(clock) as sink:
        samples = np.arange(128, dtype=np.float32)
        past = 1_500_000_000 * NS
        await sink.send(Waveform("old", "abp", "replay", "s", 0, past, 125.0, samples))
        inlet = lsl.StreamInlet(lsl.resolve_byprop("name", "old ABP", 1, 5)[0])
        inlet.open_stream(5)
        await sink.send(Waveform("old", "abp", "replay", "s", 1, past + NS, 125.0, samples))
        _, stamps = inlet.pull_chunk(2.0, 128)
        assert len(stamps) == 128
        assert abs(stamps[-1] - lsl.local_clock() - 1) < 0.5
        del inlet
