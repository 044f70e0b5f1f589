"""Synthetic blocks of an inlet: samples stamped late were not taken late."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS, Chunk, Event
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.timing.bound import ERROR, Bound
from innpar.stream.windows.resample import Resampler

Numbers = npt.NDArray[np.int64]
START = 1_790_000_000 * NS
"""Host time at which the sender's clock was at `UP`."""
UP = 5000 * NS


class Fed:
    """A stream that receives the samples sent, every `every` ns, and checks each chunk."""

    def __init__(self, nominal: float) -> None:
        self.stream = LslDecoder("x", ("n",), (0,), nominal)
        self.grid = Resampler(125.0)
        self.gaps: list[Event] = []
        self.times: list[Numbers] = []

    def feed(self, sent: Numbers, every: int = 10_000_000) -> Fed:
        """Push samples that were sent and stamped at these times."""
        pulls = -(-sent // every)
        for pull in np.unique(pulls):
            own = sent[pulls == pull]
            arrival = START + int(pull) * every
            rows = np.zeros((len(own), 1))
            self.take(
                self.stream.push(LslBlock((UP + own) / NS, rows, START - UP, arrival)), arrival
            )
        self.take(self.stream.interrupted("over"), 1 << 62)
        return self

    def take(self, items: list[Chunk | Event], arrival: int) -> None:
        for item in items:
            self.grid.push(item)
            if isinstance(item, Event):
                self.gaps += [item] if item.kind == "gap" else []
                continue
            assert item.times[-1] <= arrival + ERROR
            assert (np.diff(item.times) > 0).all()
            assert not self.times or item.times[0] > self.times[-1][-1]
            self.times.append(item.times)

    @property
    def late(self) -> Numbers:
        """Times since `START`, ns."""
        return np.concatenate(self.times) - START


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([64.0, 100.0]),
    st.lists(st.tuples(st.floats(4, 25), st.floats(0.5, 1.5)), min_size=1, max_size=3),
)
def test_a_sender_that_froze_loses_and_delays_no_samples(
    seed: int, rate: float, freezes: list[tuple[float, float]]
) -> None:
    rng = np.random.default_rng(seed)
    true = np.rint(np.arange(30 * rate) * NS / rate).astype(np.int64)
    sent = true + rng.exponential(300_000, len(true)).astype(np.int64)
    for at, length in sorted(freezes):
        begin, end = int(at * NS), int((at + length) * NS)
        sent = np.where((sent >= begin) & (sent < end), end, sent)
    sent = np.maximum.accumulate(sent)
    held = np.concatenate([[False], np.diff(sent) < 1000])
    sent = sent + np.cumsum(held) * 20_000 * held
    sent = np.maximum.accumulate(sent)
    fed = Fed(rate).feed(sent)
    assert fed.gaps == []
    assert fed.grid.tally.gaps == 0
    assert len(fed.late) == len(true)
    assert np.abs(fed.late - true).max() < 0.5 * NS


@pytest.mark.parametrize("burst", [4, 16, 32])
@pytest.mark.parametrize("nominal", [64.0, 0.0])
def test_the_end_of_a_burst_is_not_in_the_future(burst: int, nominal: float) -> None:
    true = np.rint(np.arange(64 * 40) * NS / 64).astype(np.int64)
    sent = true.reshape(-1, burst)[:, -1:] + np.arange(burst) * 20_000
    fed = Fed(nominal).feed(sent.ravel(), 1_000_000)
    assert fed.gaps == []
    assert fed.grid.tally.gaps == 0
    assert np.abs(np.diff(fed.late[-1000:]) - NS / 64).max() < 0.5 * NS / 64
    assert np.abs(fed.late - true)[-1000:].max() < 0.04 * NS


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(-100, 300)), min_size=1, max_size=20))
def test_the_bound_preserves_order(blocks: list[tuple[int, int]]) -> None:
    bound, last, at, arrival = Bound(), -(10**12), 0, 0
    for n, ahead in blocks:
        times = (at + np.arange(1, n + 1) * 10) * 1_000_000
        at += 10 * n
        arrival = max(arrival, (at - ahead) * 1_000_000)
        out = bound.hold(times, np.full(n, arrival))
        assert out[0] > last
        assert (np.diff(out) > 0).all()
        assert out[-1] <= max(arrival + ERROR, last + n)
        last = int(out[-1])
