"""Samples without a time of their own: bursts are borne, losses named, a wrong rate corrected."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.counted import Counted
from innpar.devices.lane import Lane, stated

START = 1_790_000_000 * NS


class Line:
    """A sensor that sends its sample numbers four at a time, and what comes of it."""

    def __init__(self, rate: float, nominal: float = 100.0, jitter: float = 0.02) -> None:
        self.rate, self.jitter = rate, jitter
        self.lane = Lane("x", ("n",))
        self.places = Counted(nominal, self.lane.clock.reset)
        self.rng = np.random.default_rng(1)
        self.chunks: list[Chunk] = []
        self.gaps: list[Event] = []

    def true(self, number: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return START + np.rint(number * NS / self.rate).astype(np.int64)

    def run(self, first: int, last: int, late: int = 0) -> None:
        for k in range(first, last, 4):
            numbers = np.arange(k, k + 4)
            arrival = max(
                int(self.true(numbers)[-1]) + int(self.rng.exponential(self.jitter) * NS), late
            )
            rows = numbers[:, None].astype(np.float64)
            self.take(self.places.push(rows, arrival))

    def take(self, placed: list) -> None:  # type: ignore[type-arg]
        for item in self.lane.give(placed, stated(self.places.rate, (100.0,))):
            if isinstance(item, Chunk):
                self.chunks.append(item)
            elif item.kind == "gap":
                self.gaps.append(item)

    @property
    def error(self) -> np.ndarray:  # type: ignore[type-arg]
        """Seconds that each time lies off the true one."""
        times = np.concatenate([c.times for c in self.chunks])
        numbers = np.concatenate([c.data[:, 0] for c in self.chunks])
        assert (np.diff(times) > 0).all()
        off: np.ndarray = (times - self.true(numbers)) / NS  # type: ignore[type-arg]
        return off


@pytest.mark.parametrize("rate", [100.0, 100.05, 99.95, 98.0, 102.0, 97.5])
def test_times_follow_the_true_rate(rate: float) -> None:
    line = Line(rate)
    line.run(0, 12_000)
    assert line.gaps == []
    assert np.abs(line.error[-4000:]).max() < 0.03
    assert line.lane.samples == 12_000
    assert line.places.rate == pytest.approx(rate, rel=2e-3)


def test_a_burst_after_a_pause_is_no_loss() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2000, 2080, late=int(line.true(np.array([2080]))[0]) + NS // 2)
    line.run(2080, 4000)
    assert line.gaps == []
    assert line.lane.samples == 4000
    assert np.abs(line.error).max() < 0.15


def test_a_loss_is_found_after_a_second_and_counted() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2100, 4000)
    (gap,) = line.gaps
    assert gap.detail["why"] == "samples did not arrive"
    assert gap.detail["lost"] == pytest.approx(100, abs=4)
    assert (gap.end - gap.start) / NS == pytest.approx(1.01, abs=0.1)
    assert line.lane.samples == 3900
    assert line.lane.lost == gap.detail["lost"]
    assert np.abs(line.error).max() < 0.15


def test_a_loss_at_the_end_is_told_by_the_flush() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2100, 2140)
    assert line.gaps == []
    line.take(line.places.flush())
    assert len(line.gaps) == 1
    assert line.lane.samples == 2040


def test_a_new_time_base_is_a_gap_of_unknown_size() -> None:
    line = Line(100.0)
    line.run(0, 400)
    line.lane.interrupted("link lost")
    line.lane.anew()
    line.places = Counted(100.0, line.lane.clock.reset)
    line.run(900, 1300)
    (gap,) = line.gaps
    assert (gap.detail["lost"], gap.detail["why"]) == (None, "link lost")
    assert np.abs(line.error).max() < 0.15
