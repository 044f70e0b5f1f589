"""Samples without timestamps: bursts tolerated, losses reported, a wrong rate corrected."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.timing.clock import COUNT
from innpar.devices.timing.counted import CountedTrack
from innpar.stream.windows.resample import Resampler

START = 1_790_000_000 * NS


class Line:
    """A sensor that sends its sample numbers four at a time, and the resulting items."""

    def __init__(self, rate: float, nominal: float = 100.0, jitter: float = 0.02) -> None:
        self.rate, self.jitter = rate, jitter
        self.track = CountedTrack("x", ("n",), nominal)
        self.rng = np.random.default_rng(1)
        self.chunks: list[Chunk] = []
        self.gaps: list[Event] = []
        self.notices: list[str] = []

    def true(self, number: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return START + np.rint(number * NS / self.rate).astype(np.int64)

    def run(self, first: int, last: int, late: int = 0) -> None:
        for k in range(first, last, 4):
            numbers = np.arange(k, k + 4)
            arrival = max(
                int(self.true(numbers)[-1]) + int(self.rng.exponential(self.jitter) * NS), late
            )
            rows = numbers[:, None].astype(np.float64)
            self.take(self.track.push(rows, arrival))

    def take(self, items: list[Chunk | Event]) -> None:
        for item in items:
            if isinstance(item, Chunk):
                self.chunks.append(item)
            elif item.kind == "gap":
                self.gaps.append(item)
            elif item.kind == "notice":
                self.notices.append(item.detail["text"])

    @property
    def error(self) -> np.ndarray:  # type: ignore[type-arg]
        """Difference of each time from the true one, s."""
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
    assert line.track.samples == 12_000
    assert line.chunks[-1].rate == pytest.approx(rate, rel=5e-3)


def test_a_burst_after_a_pause_is_no_loss() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2000, 2080, late=int(line.true(np.array([2080]))[0]) + NS // 2)
    line.run(2080, 4000)
    assert line.gaps == []
    assert line.track.samples == 4000
    assert np.abs(line.error).max() < 0.15


def test_a_loss_is_found_after_a_second_and_counted() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2100, 4000)
    (gap,) = line.gaps
    assert gap.detail["why"] == "samples did not arrive"
    assert gap.detail["lost"] == pytest.approx(100, abs=4)
    assert (gap.end - gap.start) / NS == pytest.approx(1.01, abs=0.1)
    assert line.track.samples == 3900
    assert line.track.lost == gap.detail["lost"]
    assert np.abs(line.error).max() < 0.15


def test_a_loss_at_the_end_is_reported_by_the_flush() -> None:
    line = Line(100.0)
    line.run(0, 2000)
    line.run(2100, 2140)
    assert line.gaps == []
    line.take(line.track.flush())
    assert len(line.gaps) == 1
    assert line.track.samples == 2040


def test_a_new_time_base_is_a_gap_of_unknown_size() -> None:
    line = Line(100.0)
    line.run(0, 400)
    line.track.interrupted("link lost")
    line.track.begin()
    line.run(900, 1300)
    (gap,) = line.gaps
    assert (gap.detail["lost"], gap.detail["why"]) == (None, "link lost")
    assert np.abs(line.error).max() < 0.15


def batches(
    track: CountedTrack, rate: float, batch: int, jitter: float, seed: int, seconds: float
) -> tuple[list[Chunk | Event], np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Push numbered samples in batches.

    Returns:
        The items, and for each sample its host time (ns), its true time (ns), and the delay of its
        batch (s).
    """
    rng = np.random.default_rng(seed)
    items: list[Chunk | Event] = []
    delays: list[float] = []
    last = 0
    for first in range(0, int(rate * seconds) - batch, batch):
        due = START + round((first + batch - 1) * NS / rate)
        last = max(last, due + int(rng.exponential(jitter) * NS))
        delays += [(last - due) / NS] * batch
        items += track.push(np.arange(first, first + batch)[:, None].astype(float), last)
    times = np.concatenate([i.times for i in items if isinstance(i, Chunk)])
    true = START + np.rint(np.arange(len(times)) * NS / rate).astype(np.int64)
    return items, times, true, np.array(delays[: len(times)])


def step_bound(off: float, rate: float, delays: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Return the largest relative error of each step; derived in `devices.timing.counted`."""
    since = np.arange(1, len(delays)) / rate
    spread = np.maximum.accumulate(delays) - np.minimum.accumulate(delays)
    placed = np.minimum(np.arange(1, len(delays)) + int(2 * rate), len(delays) - 1)  # may be held
    span = np.maximum(since - 1, 0)  # a fit is up to half a second old and starts in the first one
    unlearnt = abs(1 / off - 1) * COUNT.prior**2 / (span**2 + COUNT.prior**2)
    feigned = spread[placed] * np.where(span > 3, 2 / np.maximum(span - 1, 2), 1)
    bound: np.ndarray = off * (COUNT.slew + unlearnt + feigned) + 1e-6  # type: ignore[type-arg]
    return bound


@pytest.mark.slow
@example(off=1.0, kind=(60.0, 1), jitter=0.029296875, seed=98)
@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.94, 1.06),
    st.sampled_from([(60.0, 1), (100.0, 4), (125.0, 25)]),
    st.floats(0.001, 0.03),
    st.integers(0, 1000),
)
def test_a_rate_that_is_off_makes_no_gap_and_no_large_step(
    off: float, kind: tuple[float, int], jitter: float, seed: int
) -> None:
    nominal, batch = kind
    rate = nominal * off
    track, grid = CountedTrack("x", ("n",), nominal), Resampler(125.0)
    items, times, true, delays = batches(track, rate, batch, jitter, seed, 75)
    for item in items:
        grid.push(item)
    assert grid.tally.gaps == 0
    assert not [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    assert (np.abs(np.diff(times) * rate / NS - 1) < step_bound(off, rate, delays)).all()
    error = np.abs(times - true) / NS
    assert error.max() < 0.25
    assert error[int(60 * rate) :].max() < 0.006


@pytest.mark.parametrize("rate", [97.0, 102.5])
def test_another_rate_is_reported_once_and_stated(rate: float) -> None:
    track = CountedTrack("x", ("n",), 100.0)
    items, *_ = batches(track, rate, 4, 0.01, 1, 40)
    (notice,) = [i for i in items if isinstance(i, Event) and i.kind == "notice"]
    text = r"nominal rate 100 Hz, measured (\d+\.\d) Hz; using the measured rate"
    assert float(re.fullmatch(text, notice.detail["text"])[1]) == pytest.approx(rate, abs=0.3)
    rates = [i.rate for i in items if isinstance(i, Chunk)]
    assert rates[0] == 100.0
    assert rates[-1] == pytest.approx(rate, abs=0.5)
    assert len(set(rates)) == 2


def test_an_undocumented_rate_is_stated_without_a_notice() -> None:
    track = CountedTrack("x", ("n",), 100.0, promised=False)
    items, *_ = batches(track, 97.0, 4, 0.01, 1, 20)
    assert [i for i in items if isinstance(i, Event)] == []
    assert items[-1].rate == pytest.approx(97, abs=0.5)  # type: ignore[union-attr]


@settings(deadline=None, max_examples=20)
@given(
    st.floats(0.94, 1.06),
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 700)), min_size=1, max_size=5),
)
def test_numbered_samples_are_counted_exactly(off: float, losses: list[tuple[int, int]]) -> None:
    """Lose any number of samples, including whole cycles of the sample numbers."""
    track = CountedTrack("x", ("n",), 100.0, numbers=256)
    rng = np.random.default_rng(1)
    number, before, items = 0, -1, list[Chunk | Event]()
    for kept, lost in [(300, 0), *losses, (400, 0)]:
        for _ in range(kept):
            arrival = START + round(number * NS / (100 * off)) + int(rng.exponential(0.01) * NS)
            missing = (number - before - 1) % 256
            items += track.push(np.array([[float(number)]]), arrival, missing)
            before, number = number, number + 1
        number += lost
    items += track.flush()
    rows = np.concatenate([i.data[:, 0] for i in items if isinstance(i, Chunk)])
    assert len(rows) == 700 + sum(kept for kept, _ in losses)
    assert track.lost == sum(lost for _, lost in losses)
