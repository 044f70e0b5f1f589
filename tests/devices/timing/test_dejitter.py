"""De-jittering of timestamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.base import NS
from innpar.devices.timing.dejitter import REACH, Dejitter, StampRun


def place(dejitter: Dejitter, stamps: np.ndarray, cuts: tuple[int, ...] = ()) -> list[StampRun]:
    runs = [run for part in np.split(stamps, sorted(cuts)) for run in dejitter.push(part)]
    return runs + dejitter.flush()


def grid(n: int, rate: float) -> np.ndarray:
    return 10**15 + np.rint(np.arange(n) * NS / rate).astype(np.int64)


def together(runs: list[StampRun]) -> np.ndarray:
    return np.concatenate([run.times for run in runs])


@pytest.mark.parametrize("nominal", [64.0, 0.0])
@pytest.mark.parametrize("skew", [0.0, 200e-6, -200e-6])
def test_exact_stamps_pass_unchanged(nominal: float, skew: float) -> None:
    stamps = grid(2000, 64 * (1 + skew))
    runs = place(Dejitter(nominal), stamps)
    assert [run.lost for run in runs if run.lost] == []
    assert (together(runs) == stamps).all()


@pytest.mark.parametrize("nominal", [64.0, 0.0])
def test_bursts_are_spread(nominal: float) -> None:
    stamps = grid(4096, 64).reshape(-1, 8)
    stamps = np.repeat(stamps[:, -1], 8) + np.tile(np.arange(8) * 20_000, len(stamps))
    runs = place(Dejitter(nominal), stamps)
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
    runs = place(Dejitter(rate), stamps)
    assert not [run for run in runs if run.lost]
    assert (np.diff(together(runs)) < 1.5 * NS / rate).all()
    assert (np.diff(together(runs)) > 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 600), max_size=8))
def test_the_cut_does_not_matter(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    stamps = grid(600, 64) + rng.integers(0, 6_000_000, 600)
    stamps[400:] += 10**9
    whole, cut = place(Dejitter(64), stamps), place(Dejitter(64), stamps, tuple(cuts))
    assert (together(whole) == together(cut)).all()
    assert sum(run.lost for run in whole) == sum(run.lost for run in cut)


@pytest.mark.parametrize("missing", [1, 2, 17])
def test_missing_samples_are_counted(missing: int) -> None:
    stamps = np.delete(grid(1000, 64), range(500, 500 + missing))
    runs = place(Dejitter(64), stamps)
    assert [run.lost for run in runs if run.lost] == [missing]
    assert (together(runs) == stamps).all()


def test_a_wrong_rate_is_measured() -> None:
    dejitter = Dejitter(100.0)
    stamps = grid(1000, 55)
    runs = place(dejitter, stamps)
    assert dejitter.rate == pytest.approx(55)
    assert not [run for run in runs if run.lost]
    assert np.abs(together(runs) - stamps).max() <= REACH * NS / 55


def test_a_slow_stream_is_not_held_back_endlessly() -> None:
    dejitter = Dejitter(2.0)
    assert sum(len(run.times) for run in place(dejitter, grid(5, 2))) == 5


def test_a_drifting_rate_is_followed() -> None:
    rates = np.linspace(64.0, 65.0, 4000)
    stamps = 10**15 + np.rint(np.cumsum(NS / rates)).astype(np.int64)
    runs = place(Dejitter(64), stamps)
    assert not [run for run in runs if run.lost]
    assert (together(runs) == stamps).all()


def fives(stamps: np.ndarray) -> tuple[int, ...]:
    """Return the cuts that divide the stamps into groups of five."""
    return tuple(range(5, len(stamps), 5))


def gaps(dejitter: Dejitter, stamps: np.ndarray) -> int:
    """Return the number of steps beyond 1.5 periods of the stated rate."""
    found, last = 0, None
    for part in np.split(stamps, fives(stamps)):
        for run in dejitter.push(part):
            times = run.times if last is None else np.concatenate([[last], run.times])
            found += int((np.diff(times) > 1.5 * NS / dejitter.rate).sum())
            last = int(run.times[-1])
    return found


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([25.0, 64.0, 130.0]),
    st.floats(0, 0.4),
    st.sampled_from(["normal", "uniform", "late"]),
)
def test_regular_samples_of_no_stated_rate_may_jitter(
    seed: int, rate: float, size: float, law: str
) -> None:
    rng, n = np.random.default_rng(seed), int(40 * rate)
    noise = {
        "normal": rng.normal(0, size, n),
        "uniform": rng.uniform(-size, size, n),
        "late": rng.exponential(size, n),
    }[law]
    dejitter, stamps = Dejitter(0.0), grid(n, rate) + np.rint(noise * NS / rate).astype(np.int64)
    if law == "late":
        stamps = np.maximum.accumulate(stamps)
    assert gaps(dejitter, stamps) == 0
    assert dejitter.rate <= rate * 1.1


def test_their_missing_samples_are_counted_too() -> None:
    rng = np.random.default_rng(5)
    whole = grid(2000, 64) + rng.normal(0, 3e5, 2000).astype(np.int64)
    stamps = np.delete(whole, [200, 700, *range(1200, 1230)])
    runs = place(Dejitter(0.0), stamps, fives(stamps))
    assert [run.lost for run in runs if run.lost] == [1, 1, 30]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([25.0, 64.0]),
    st.floats(0.2, 0.5),
    st.sampled_from([0, 3, 40]),
)
def test_truly_irregular_stamps_are_kept(seed: int, rate: float, size: float, missing: int) -> None:
    rng, n = np.random.default_rng(seed), int(30 * rate)
    steps = rng.uniform(1 - size, 1 + size, n)
    stamps = 10**15 + np.rint(np.cumsum(steps) * NS / rate).astype(np.int64)
    stamps = np.delete(stamps, range(300, 300 + missing))
    dejitter = Dejitter(0.0)
    runs = place(dejitter, stamps, fives(stamps))
    if not (together(runs) == stamps).all():
        return  # once in a while such a walk looks like jitter
    lost = [run.lost for run in runs if run.lost]
    assert len(lost) == (1 if missing else 0)
    assert not missing or lost[0] == pytest.approx(missing, abs=2 + 0.3 * missing)


def test_irregular_stamps_rarely_pass_for_regular_ones() -> None:
    rng = np.random.default_rng(2)
    passed = 0
    for _ in range(100):
        stamps = 10**15 + np.rint(np.cumsum(rng.uniform(0.5, 1.5, 200)) * NS / 64).astype(np.int64)
        passed += int((together(place(Dejitter(0.0), stamps)) == stamps).all())
    assert passed > 90


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(20, 100),
    st.integers(0, 30),
    st.lists(st.integers(0, 1500), max_size=6),
)
def test_a_backlog_is_spaced_evenly_and_its_loss_counted(
    seed: int, frozen: int, lost: int, cuts: list[int]
) -> None:
    """A sender stalls, then sends its backlog, stamped when sent."""
    rng = np.random.default_rng(seed)
    true = grid(1500, 64)
    stamps = true + rng.normal(0, 2e5, 1500).astype(np.int64)
    stamps[800 : 800 + frozen] = stamps[800 + frozen] - np.arange(frozen, 0, -1) * 20_000
    kept = np.delete(np.arange(1500), range(800, 800 + min(lost, frozen - 1)))
    more = tuple(min(c, len(kept)) for c in cuts)
    runs = place(Dejitter(64.0), stamps[kept], fives(kept) + more)
    assert sum(run.lost for run in runs) == 1500 - len(kept)
    assert np.abs(together(runs) - true[kept]).max() < 0.5 * NS / 64


@pytest.mark.parametrize("nominal", [0.0, 90.0, 100.0, 128.0])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_losses_from_the_first_second_on_are_declared(nominal: float, share: float) -> None:
    rng = np.random.default_rng(8)
    sent = np.arange(3000)
    kept = sent[(rng.random(3000) > share) | (sent < 2) | (sent > 2997)]
    stamps = kept * NS // 100 + rng.integers(0, NS // 1000, len(kept))
    dejitter = Dejitter(nominal)
    runs: list[StampRun] = []
    for k in range(0, len(stamps), 7):
        runs += dejitter.push(stamps[k : k + 7])
    runs += dejitter.flush()
    assert sum(len(run.times) for run in runs) == len(kept)
    assert sum(run.lost for run in runs) == 3000 - len(kept)
    assert dejitter.rate == pytest.approx(100, rel=0.01)
