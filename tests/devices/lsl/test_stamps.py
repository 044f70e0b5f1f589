"""Stamps that are not seconds of LSL's clock, or that jump: times follow the arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.timing.bound import ERROR

START = 1_795_000_000 * NS
UP = 5000.0
"""Reading of the sender's clock at `START`, s."""
RATE = 64.0


class Received:
    """A stream of `RATE` that receives a block every 50 ms."""

    def __init__(self, nominal: float = RATE) -> None:
        self.stream = LslDecoder("x", ("n",), (0,), nominal)
        self.chunks: list[Chunk] = []
        self.events: list[Event] = []

    def feed(self, stamps: np.ndarray, kept: np.ndarray | None = None) -> Received:
        """Push samples taken at k / `RATE` with these stamps; only those `kept`, if given."""
        taken = np.arange(len(stamps)) / RATE
        pulls = np.ceil((taken + 0.001) / 0.05).astype(int)
        for pull in np.unique(pulls):
            own = (pulls == pull) & (kept if kept is not None else True)
            if own.any():
                arrival = START + round(pull * 0.05 * NS)
                rows = np.arange(len(stamps))[own, None].astype(float)
                block = LslBlock(stamps[own], rows, START - round(UP * NS), arrival)
                self.take(self.stream.push(block), arrival)
        self.take(self.stream.interrupted("over"), arrival)
        return self

    def take(self, items: list[Chunk | Event], arrival: int) -> None:
        for item in items:
            if isinstance(item, Event):
                self.events.append(item)
                continue
            assert int(item.times[-1]) <= arrival + ERROR
            self.chunks.append(item)

    @property
    def error(self) -> np.ndarray:
        """(samples,) s by which each sample is timed after it was taken."""
        times = np.concatenate([c.times for c in self.chunks])
        numbers = np.concatenate([c.data[:, 0] for c in self.chunks])
        return np.asarray((times - START) / NS - numbers / RATE)

    @property
    def lost(self) -> int:
        return sum(e.detail["lost"] or 0 for e in self.events if e.kind == "gap")

    @property
    def gaps(self) -> list[Event]:
        return [e for e in self.events if e.kind == "gap"]


TAKEN = np.arange(64 * 30) / RATE
CLOCKS = {
    "milliseconds": (UP + TAKEN) * 1e3,
    "microseconds": (UP + TAKEN) * 1e6,
    "nanoseconds": (UP + TAKEN) * 1e9,
    "Unix": 1_795_000_000 + TAKEN,
    "Unix ms": (1_795_000_000 + TAKEN) * 1e3,
    "Unix µs": (1_795_000_000 + TAKEN) * 1e6,
    "Unix ns": (1_795_000_000 + TAKEN) * 1e9,
    "own s": 77_000_000 + TAKEN,
    "own ms": np.round(12_345_678 + TAKEN * 1e3),
    "own µs": 98_765_432_100 + TAKEN * 1e6,
    "zero": np.zeros(len(TAKEN)),
    "samples": np.arange(len(TAKEN)) * 1.0,
    "nothing": np.full(len(TAKEN), np.nan),
    "infinite": np.full(len(TAKEN), np.inf),
}


@pytest.mark.parametrize("nominal", [RATE, 0.0])
@pytest.mark.parametrize("clock", CLOCKS)
def test_any_clock_gives_the_rate_and_times_of_arrival(clock: str, nominal: float) -> None:
    heard = Received(nominal).feed(CLOCKS[clock])
    assert sum(map(len, heard.chunks)) == len(TAKEN)
    assert not heard.gaps
    assert heard.chunks[-1].rate == pytest.approx(RATE, rel=0.05)
    assert np.abs(heard.error[200:]).max() < 0.15
    codes = {e.detail["code"] for e in heard.events if e.kind == "notice"}
    assert "foreign_clock" in codes


@pytest.mark.parametrize("jump", [4.0, 0.5, 60.0, 3600.0, -0.5, -4.0, -3600.0])
def test_stamps_that_jump_while_nothing_is_lost(jump: float) -> None:
    heard = Received().feed(UP + TAKEN + jump * (TAKEN > 15))
    assert sum(map(len, heard.chunks)) == len(TAKEN)
    assert heard.lost == 0
    assert not heard.gaps
    assert np.abs(heard.error).max() < 0.2
    texts = [e.detail["text"] for e in heard.events if e.kind == "notice"]
    assert len(texts) == 1
    assert "jumped by" in texts[0]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    jumps=st.lists(
        st.tuples(st.floats(3, 28), st.one_of(st.floats(0.4, 100), st.floats(-100, -0.4))),
        max_size=4,
    ),
    pause=st.tuples(st.floats(5, 25), st.floats(0.3, 4)),
    seed=st.integers(0, 1000),
)
@example([(5.0, -9.0)], (5.0, 1.0), 0)
@example([(5.0, 9.0)], (5.0, 1.0), 0)
def test_jumps_and_losses_of_any_kind_invent_nothing(
    jumps: list[tuple[float, float]], pause: tuple[float, float], seed: int
) -> None:
    stamps = UP + TAKEN + np.random.default_rng(seed).exponential(1e-3, len(TAKEN))
    offset = sum((size * (at < TAKEN) for at, size in jumps), np.zeros(len(TAKEN)))
    stamps = stamps + offset
    kept = ~((pause[0] < TAKEN) & (sum(pause) > TAKEN))
    before, after = np.argmin(kept) - 1, len(kept) - np.argmin(kept[::-1])
    step = float(offset[after] - offset[before])
    assume(not -pause[1] - 0.4 < step < 0)  # else it looks like a shorter pause
    heard = Received().feed(stamps, kept)
    times = np.concatenate([c.times for c in heard.chunks])
    assert len(times) == kept.sum()
    assert (np.diff(times) > 0).all()
    assert np.abs(heard.error).max() < 0.4
    for gap in heard.gaps:  # never more missing than fits
        assert (gap.end - gap.start) * RATE / NS > gap.detail["lost"] - 0.5
