"""Sent is received plus declared lost, over LSL, serial lines and files.

Polar, EmotiBit and messages over the network have the same test beside their decoders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.link.serial_port import CHANNEL
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.registry import create
from innpar.devices.sensors.boards.serial_lines import LineDecoder
from innpar.devices.timing.bound import ERROR
from innpar.devices.timing.pace import Pace, SystemClock
from innpar.devices.timing.track import EARLY
from innpar.stream.windows.resample import Resampler

Item = Chunk | Event
START = 1_790_000_000 * NS
N = 900
EDGE = 4
"""Samples at either end of a segment that are never lost: what is missing there shows nowhere."""


@dataclass(frozen=True)
class Journey:
    """Samples of one segment that arrive.

    Attributes:
        numbers: (samples,) numbers of those that arrive, ascending.
        arrivals: (samples,) s after the beginning of the segment.
    """

    numbers: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.float64]


def journey(
    rng: np.random.Generator, rate: float, loss: float, hole: int, jitter: float
) -> Journey:
    """Return a segment of N samples of which single ones, and `hole` in a row, are lost."""
    numbers = np.arange(N)
    kept = rng.random(N) >= loss
    at = int(rng.integers(200, N - 200 - hole))
    kept[at : at + hole] = False
    kept[:EDGE] = kept[-EDGE:] = True
    delays = rng.exponential(jitter, N) if jitter else np.zeros(N)
    arrivals = np.maximum.accumulate((numbers + 1) / rate + delays)
    return Journey(numbers[kept], arrivals[kept])


def segments(items: Sequence[Item]) -> tuple[list[list[int]], list[int]]:
    """Return the numbers received and the samples declared lost between restarts."""
    got: list[list[int]] = [[]]
    lost = [0]
    for item in items:
        if isinstance(item, Chunk):
            got[-1] += [int(v) for v in item.data[:, 0]]
        elif item.kind == "gap" and item.detail["lost"] is None:
            got.append([])
            lost.append(0)
        elif item.kind == "gap":
            lost[-1] += item.detail["lost"]
    return got, lost


def accounted(items: Sequence[Item], sent: Sequence[Journey], first: int = 0) -> None:
    times = np.concatenate([item.times for item in items if isinstance(item, Chunk)])
    assert (np.diff(times) > 0).all()
    got, lost = segments(items)
    assert len(got) == len(sent)
    for one, missing, was in zip(got, lost, sent, strict=True):
        assert one == was.numbers[first:].tolist()
        assert len(one) + missing == N - first
        first = 0


SOME = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from([50.0, 64.0, 100.0, 128.0]),
    st.sampled_from([0.0, 0.01, 0.05, 0.15]),
    st.sampled_from([0, 1, 7, 60, 200]),
    st.sampled_from([0.0, 0.0005, 0.004]),
    st.integers(1, 2),
)
"""Seed, rate (Hz), share of lost samples, lost in a row, jitter of arrivals (s), segments."""

Some = tuple[int, float, float, int, float, int]


@settings(max_examples=15)
@given(SOME)
def test_over_lsl(some: Some) -> None:
    seed, rate, loss, hole, jitter, count = some
    rng = np.random.default_rng(seed)
    decoder, items, sent = LslDecoder("x", ("n",), (0,), rate), [], []
    for part in range(count):
        one = journey(rng, rate, loss, hole, jitter)
        sent.append(one)
        if part:
            items += decoder.interrupted("closed")
            decoder.relinked(("n",), (0,), rate)
        began = 100.0 + 60 * part
        for number, arrival in zip(one.numbers, one.arrivals, strict=True):
            at = START + round((began + float(arrival)) * NS)
            stamps = np.array([began + (number + 1) / rate])
            new = decoder.push(LslBlock(stamps, np.array([[float(number)]]), START, at))
            assert all(i.times[-1] <= at + ERROR for i in new if isinstance(i, Chunk))
            items += new
    accounted(items + decoder.interrupted("over"), sent)


@settings(max_examples=15)
@given(SOME)
def test_over_serial_lines_with_a_time(some: Some) -> None:
    seed, rate, loss, hole, jitter, count = some
    rng = np.random.default_rng(seed)
    decoder, items, sent = LineDecoder("x", joined=False), [], []
    for part in range(count):
        one = journey(rng, rate, loss, hole, jitter)
        sent.append(one)
        if part:
            items += decoder.flush()
            decoder.interrupted("unplugged", relinked=True)
        for number, arrival in zip(one.numbers, one.arrivals, strict=True):
            at = START + round((60 * part + float(arrival)) * NS)
            text = f"t:{1000 * (number + 1) / rate:.0f},ir:{number}\n"
            new = decoder.push(CHANNEL, at, text.encode())
            assert all(i.times[-1] <= at + EARLY for i in new if isinstance(i, Chunk))
            items += new
    accounted(items + decoder.flush(), sent, first=1)  # a first line may be a greeting


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SOME, st.booleans(), st.booleans())
def test_in_a_table(tmp_path: Path, some: Some, double: bool, swapped: bool) -> None:
    seed, rate, loss, hole, _, _ = some
    rng = np.random.default_rng(seed)
    one = journey(rng, rate, loss, hole, 0.0)
    order = one.numbers.tolist()
    late = int(rng.integers(EDGE, len(order) - EDGE)) if swapped else None
    if late is not None:
        order[late], order[late + 1] = order[late + 1], order[late]
    copies = [n for n in order for _ in range(1 + (double and rng.random() < 0.1))]
    file = tmp_path / "walk.csv"
    file.write_text("time,ppg\n" + "".join(f"{n / rate:.6f},{n}\n" for n in copies))

    async def play() -> list[Item]:
        device = create(f"replay:{file}", pace=Pace(float("inf")))
        async with device.open(clock=SystemClock()) as stream:
            return [item async for item in stream]

    grid = Resampler(125.0)
    lost = got = 0
    for item in asyncio.run(play()):
        got += len(item) if isinstance(item, Chunk) else 0
        for out in grid.push(item):
            lost += out.detail["lost"] if isinstance(out, Event) and out.kind == "gap" else 0
    assert got == len(copies)
    received = got - grid.tally.disordered
    assert len(one.numbers) - swapped <= received <= len(one.numbers)
    assert received + grid.tally.bridged + lost == N
