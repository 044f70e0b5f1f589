"""Latency that LSL input adds, from sending a sample to its chunk: lsl [SECONDS]"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from innpar.devices.base import NS, Chunk
from innpar.devices.lsl.device import Lsl
from innpar.devices.timing.pace import SystemClock

RATE = 135.0
SHORT = ("3",)

SETTINGS = """\
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
[lab]
KnownPeers = {127.0.0.1}
SessionID = bench
[log]
level = -3
"""


def send(over: threading.Event) -> None:
    """Send the moment of sending (s on the monotonic clock) as the sample's value."""
    import pylsl

    info = pylsl.StreamInfo("bench", "PPG", 1, RATE, "double64", "bench")
    channel = info.desc().append_child("channels").append_child("channel")
    channel.append_child_value("label", "ppg")  # the values count, so a label must say it
    outlet = pylsl.StreamOutlet(info)
    due = time.monotonic()
    while not over.is_set():
        due += 1 / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        outlet.push_sample([time.monotonic()])


def bare(seconds: float) -> list[float]:
    """Return the latencies of an inlet that does nothing but pull, s."""
    import pylsl

    inlet = pylsl.StreamInlet(pylsl.resolve_byprop("source_id", "bench", 1, 5)[0])
    taken: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sample, _ = inlet.pull_sample(1.0)
        if sample is not None:
            taken.append(time.monotonic() - sample[0])
    return taken


async def ours(seconds: float) -> tuple[list[float], list[float]]:
    """Return our latencies, and how far our times lie from the moment of sending, s."""
    clock = SystemClock()
    shift = clock.now() - time.monotonic_ns()
    taken: list[float] = []
    off: list[float] = []
    until = time.monotonic() + seconds + 3
    async with Lsl("source_id=bench").open(clock=clock) as items:
        async for item in items:
            if isinstance(item, Chunk) and len(item) == 1:  # the first are kept back for the rate
                now = time.monotonic()
                sent = float(item.data[-1, 0])
                taken.append(now - sent)
                off.append((int(item.times[-1]) - shift) / NS - sent)
            if time.monotonic() > until:
                break
    return taken, off


def line(name: str, seconds: list[float]) -> str:
    """Return a line of quantiles, ms."""
    q = np.quantile(np.array(seconds) * 1e3, [0.5, 0.9, 0.99])
    return f"{name:<30} median {q[0]:6.3f} ms, 90 % {q[1]:6.3f} ms, 99 % {q[2]:6.3f} ms"


def main(arguments: list[str]) -> int:
    """Measure a bare inlet and ours, one after the other, on the same outlet, 20 s by default."""
    seconds = float(arguments[0]) if arguments else 20.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lsl_api.cfg"
        file.write_text(SETTINGS)
        os.environ["LSLAPICFG"] = str(file)
        over = threading.Event()
        sender = threading.Thread(target=send, args=(over,))
        sender.start()
        time.sleep(1)
        try:
            plain = bare(seconds)
            taken, off = asyncio.run(ours(seconds))
        finally:
            over.set()
            sender.join()
    print(f"{RATE:g} Hz on loopback, {len(taken)} samples, from sending to the event loop:")
    print(line("a bare inlet's pull_sample", plain))
    print(line("ours", taken))
    print(f"added by us: median {1e3 * (np.median(taken) - np.median(plain)):.3f} ms")
    print(line("our times less the true ones", off))
    return int(np.median(taken) - np.median(plain) > 0.02)
