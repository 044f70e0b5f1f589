"""Placing jittery stamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS
from innpar.devices.even import REACH, Even, Run


def place(even: Even, stamps: np.ndarray, cuts: tuple[int, ...] = ()) -> list[Run]:
    runs = [run for part in np.split(stamps, sorted(cuts)) for run in even.push(part)]
    return runs + even.flush()


def grid(n: int, rate: float) -> np.ndarray:
    return 10**15 + np.rint(np.arange(n) * NS / rate).astype(np.int64)


def together(runs: list[Run]) -> np.ndarray:
    return np.concatenate([run.times for run in runs])


@pytest.mark.parametrize("nominal", [64.0, 0.0])
@pytest.mark.parametrize("skew", [0.0, 200e-6, -200e-6])
def test_exact_stamps_pass_unchanged(nominal: float, skew: float) -> None:
    stamps = grid(2000, 64 * (1 + skew))
    runs = place(Even(nominal), stamps)
    assert [run.lost for run in runs if run.lost] == []
    assert (together(runs) == stamps).all()


@pytest.mark.parametrize("nominal", [64.0, 0.0])
def test_bursts_are_spread(nominal: float) -> None:
    stamps = grid(4096, 64).reshape(-1, 8)
    stamps = np.repeat(stamps[:, -1], 8) + np.tile(np.arange(8) * 20_000, len(stamps))
    runs = place(Even(nominal), stamps)
    steps = np.diff(together(runs))
    assert not [run for run in runs if run.lost]
    assert steps.max() < 1.5 * NS / 64
    assert steps.min() > 0.5 * NS / 64


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([25.0, 64.0, 130.0]))
def test_late_stamps_make_no_hole_and_stay_near(seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    true = grid(1500, rate)
    stamps = np.maximum.accumulate(true + rng.exponential(3e6, len(true)).astype(np.int64))
    runs = place(Even(rate), stamps)
    assert not [run for run in runs if run.lost]
    assert (np.diff(together(runs)) < 1.5 * NS / rate).all()
    assert (np.diff(together(runs)) > 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 600), max_size=8))
def test_the_cut_does_not_matter(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    stamps = grid(600, 64) + rng.integers(0, 6_000_000, 600)
    stamps[400:] += 10**9
    whole, cut = place(Even(64), stamps), place(Even(64), stamps, tuple(cuts))
    assert (together(whole) == together(cut)).all()
    assert sum(run.lost for run in whole) == sum(run.lost for run in cut)


@pytest.mark.parametrize("missing", [1, 2, 17])
def test_missing_samples_are_counted(missing: int) -> None:
    stamps = np.delete(grid(1000, 64), range(500, 500 + missing))
    runs = place(Even(64), stamps)
    assert [run.lost for run in runs if run.lost] == [missing]
    assert (together(runs) == stamps).all()


def test_a_wrong_rate_is_measured() -> None:
    even = Even(100.0)
    stamps = grid(1000, 55)
    runs = place(even, stamps)
    assert even.rate == pytest.approx(55)
    assert not [run for run in runs if run.lost]
    assert np.abs(together(runs) - stamps).max() <= REACH * NS / 55


def test_a_slow_stream_is_not_kept_back_for_ever() -> None:
    even = Even(2.0)
    assert sum(len(run.times) for run in place(even, grid(5, 2))) == 5


def test_a_drifting_rate_is_followed() -> None:
    rates = np.linspace(64.0, 65.0, 4000)
    stamps = 10**15 + np.rint(np.cumsum(NS / rates)).astype(np.int64)
    runs = place(Even(64), stamps)
    assert not [run for run in runs if run.lost]
    assert (together(runs) == stamps).all()
