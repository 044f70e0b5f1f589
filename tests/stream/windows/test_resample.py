"""The grid, gaps, and the law that the cut of the input does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, Chunk, Event
from innpar.stream.windows.resample import GridSamples, Resampler, period

START = 1_700_000_000 * NS


def chunk(times: np.ndarray, data: np.ndarray, rate: float = 55.0) -> Chunk:
    data = data[:, None] if data.ndim == 1 else data
    names = tuple(f"ppg{k}" for k in range(data.shape[1]))
    return Chunk("d", "ppg", names, rate, times.astype(np.int64), data.astype(float))


def uniform(samples: int, rate: float = 55.0, start: int = START) -> np.ndarray:
    return start + np.round(np.arange(samples) * NS / rate).astype(np.int64)


def feed(whole: Chunk, cuts: list[int]) -> list[GridSamples | Event]:
    resampler = Resampler(125.0)
    outputs: list[GridSamples | Event] = []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        outputs += resampler.push(whole[start:stop])
    return outputs + resampler.flush()


def flatten(outputs: list[GridSamples | Event]) -> list[object]:
    rows: list[object] = []
    for output in outputs:
        if isinstance(output, Event):
            rows.append((output.kind, output.start, output.end, dict(output.detail)))
        else:
            rows += [
                (output.segment, output.index + k, tuple(row))
                for k, row in enumerate(output.data.tolist())
            ]
    return rows


def test_a_jittered_drifting_clock_is_followed() -> None:
    rng = np.random.default_rng(0)
    times = START + np.round(np.arange(3300) * NS / (55 * 0.995) + rng.normal(0, 1e6, 3300))

    def wave(t: np.ndarray) -> np.ndarray:
        s = (t - START) / NS
        return np.sin(2 * np.pi * 1.2 * s) + 0.3 * np.sin(2 * np.pi * 3.6 * s)

    stretches = [o for o in feed(chunk(times, wave(times)), []) if isinstance(o, GridSamples)]
    data = np.concatenate([stretch.data[:, 0] for stretch in stretches])
    grid = (stretches[0].index + np.arange(len(data))) * period(125.0)
    error = data - wave(grid.astype(float))
    assert np.abs(error).max() < 2e-3
    assert grid[0] - times[0] < period(125.0)
    assert times[-1] - grid[-1] < period(125.0)


def test_samples_on_the_grid_pass_unchanged() -> None:
    times = uniform(500, 125.0)
    data = np.random.default_rng(1).normal(size=500)
    (stretch,) = feed(chunk(times, data, 125.0), [100, 101])[:1]
    assert isinstance(stretch, GridSamples)
    assert stretch.index * period(125.0) == times[0]
    np.testing.assert_array_equal(stretch.data[:, 0], data[: len(stretch.data)])


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_cut_gives_the_same_on_the_grid_itself(cuts: list[int]) -> None:
    values = np.random.default_rng(2).normal(size=400).round(3)
    whole = chunk(uniform(400, 125.0), values, 125.0)
    assert flatten(feed(whole, sorted(cuts))) == flatten(feed(whole, []))


@given(data=st.data())
def test_any_cut_gives_the_same(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    times = uniform(200) + rng.integers(-2_000_000, 2_000_000, 200)
    for _ in range(data.draw(st.integers(0, 4))):
        row, step = int(rng.integers(1, 200)), int(rng.integers(-3 * NS, 3 * NS))
        times[row:] += step
    if data.draw(st.booleans()):
        times[100] = times[99]
    values = rng.normal(size=(200, 2))
    values[rng.random((200, 2)) < 0.01] = np.nan
    whole = chunk(times, values)
    cuts = sorted(data.draw(st.lists(st.integers(0, 200), max_size=12)))
    assert flatten(feed(whole, cuts)) == flatten(feed(whole, []))


def test_a_hole_is_a_gap_and_starts_a_segment() -> None:
    times = uniform(200)
    times[100:] += 2 * NS
    resampler = Resampler(125.0)
    outputs = resampler.push(chunk(times, np.ones(200))) + resampler.flush()
    (gap,) = [o for o in outputs if isinstance(o, Event)]
    stretches = [o for o in outputs if isinstance(o, GridSamples)]
    first, second = [stretches[k] for k in (outputs.index(gap) - 1, -2)]
    assert (gap.start, gap.end) == (times[99], times[100])
    assert gap.detail == {"why": "samples missing", "lost": 110}
    assert second.segment == first.segment + 1
    assert (first.index + len(first.data) - 1) * period(125.0) <= times[99]
    assert second.index * period(125.0) >= times[100]
    assert resampler.tally.gaps == 1


@pytest.mark.parametrize(("rate", "bound"), [(20, 75), (25, 60), (55, 60), (250, 60)])
def test_a_gap_is_longer_than_the_bridge_and_one_and_a_half_periods(
    rate: float, bound: float
) -> None:
    for step, gaps in ((bound - 0.5, 0), (bound + 0.5, 1)):
        times = uniform(100, rate)
        times[50:] += int(step * 1e6 - NS / rate)
        resampler = Resampler(125.0)
        resampler.push(chunk(times, np.ones(100), rate))
        assert resampler.tally.gaps == gaps


def pulses(times: np.ndarray) -> np.ndarray:
    seconds = (times - START) / NS
    return np.sin(2 * np.pi * 1.2 * seconds) + 0.4 * np.sin(2 * np.pi * 2.4 * seconds + 1)


def test_short_holes_are_filled_and_counted() -> None:
    times = uniform(1000, 64.0)
    kept = np.arange(1000) % 100 != 50
    kept[451] = False
    resampler = Resampler(125.0)
    outputs = resampler.push(chunk(times[kept], pulses(times[kept]), 64.0)) + resampler.flush()
    assert {o.segment for o in outputs if isinstance(o, GridSamples)} == {0}
    assert (resampler.tally.bridged, resampler.tally.gaps) == (11, 0)
    data = np.concatenate([o.data[:, 0] for o in outputs if isinstance(o, GridSamples)])
    grid = (outputs[0].index + np.arange(len(data))) * period(125.0)
    assert np.abs(data - pulses(grid.astype(float))).max() < 0.03
    assert resampler.bridged(int(times[0]), int(times[-1])) == pytest.approx(
        (9 * 2 + 3) / 999, rel=0.01
    )
    assert resampler.bridged(int(times[452]), int(times[549])) == 0


def test_a_devices_own_short_gap_is_passed_on_and_filled() -> None:
    times = uniform(200)
    kept = np.delete(times, 100)
    lost = Event("d", "gap", int(times[99]), int(times[101]), {"why": "lost", "lost": 1})
    resampler = Resampler(125.0)
    outputs = [
        *resampler.push(chunk(kept[:100], np.ones(100))),
        *resampler.push(lost),
        *resampler.push(chunk(kept[100:], np.ones(99))),
        *resampler.flush(),
    ]
    assert [o for o in outputs if isinstance(o, Event)] == [lost]
    assert {o.segment for o in outputs if isinstance(o, GridSamples)} == {0}
    assert (resampler.tally.bridged, resampler.tally.gaps) == (1, 0)


def test_bad_rows_are_counted() -> None:
    times, data = uniform(200), np.ones(200)
    data[48:52] = np.nan
    times[120] = times[119]
    times[150:152] -= NS // 2
    resampler = Resampler(125.0)
    outputs = resampler.push(chunk(times, data)) + resampler.flush()
    assert (resampler.tally.missing, resampler.tally.disordered) == (4, 3)
    # Only the missing values leave a hole too long to fill; the others are two or three periods.
    expected = [times[47]]
    assert [o.start for o in outputs if isinstance(o, Event)] == expected


def test_a_clock_set_back_starts_afresh() -> None:
    times = np.concatenate([uniform(100), uniform(100, start=START - 3600 * NS)])
    resampler = Resampler(125.0)
    outputs = resampler.push(chunk(times, np.ones(200))) + resampler.flush()
    (gap,) = [o for o in outputs if isinstance(o, Event)]
    assert gap.detail == {"why": "clock set back", "lost": None}
    assert resampler.tally.disordered == 0


def test_the_devices_own_gap_is_not_reported_twice() -> None:
    resampler = Resampler(125.0)
    one, two = uniform(100), uniform(100, start=START + 10 * NS)
    said = Event("d", "gap", int(one[-1]), int(two[0]), {"why": "link lost", "lost": 449})
    outputs = [
        *resampler.push(chunk(one, np.ones(100))),
        *resampler.push(said),
        *resampler.push(chunk(two, np.ones(100))),
    ]
    assert [o for o in outputs if isinstance(o, Event)] == [said]
    assert resampler.tally.gaps == 1


def test_a_change_of_channels_is_a_gap() -> None:
    resampler = Resampler(125.0)
    resampler.push(chunk(uniform(100), np.ones((100, 4))))
    later = uniform(100, start=START + 2 * NS)
    outputs = resampler.push(chunk(later, np.ones((100, 2))))
    assert [o.detail["why"] for o in outputs if isinstance(o, Event)] == ["channels changed"]


def test_a_grid_needs_whole_nanoseconds() -> None:
    with pytest.raises(ValueError, match="whole number of nanoseconds"):
        Resampler(60.0)
