"""Trend: medians a bin at three resolutions, in memory that does not grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.stream.view.trend import PressureTrend


def beat(t: float, sbp: float | None, width: float = 10) -> dict[str, Any]:
    if sbp is None:
        return {"t": t, "valid": False, "sbp": None, "dbp": None, "map": None, "interval": None}
    values = {"sbp": sbp, "map": sbp - 30, "dbp": sbp - 45}
    interval = {name: [value - width, value + width] for name, value in values.items()}
    return {"t": t, "valid": True, **values, "interval": interval}


def filled(beats: list[dict[str, Any]]) -> PressureTrend:
    trend = PressureTrend()
    for n, one in enumerate(beats, 1):
        trend.push(one, n)
    return trend


def test_a_row_is_the_median_of_its_beats() -> None:
    trend = filled([beat(1000 + 0.8 * k, 100 + 10 * (k % 3)) for k in range(20)])
    rows = trend.after(0)["15 min"]["rows"]
    assert [row[0] for row in rows] == [1002, 1006, 1010]
    beats = [100 + 10 * (k % 3) for k in range(20) if 0.8 * k < 4]
    middle = float(np.median(beats))
    assert rows[0][1:4] == [middle, middle - 30, middle - 45]
    assert rows[0][4:6] == [middle - 10, middle + 10]


def test_time_without_a_usable_beat_has_no_number() -> None:
    beats = [beat(1000 + k, 120 if k < 8 or k > 15 else None) for k in range(24)]
    rows = filled(beats).after(0)["15 min"]["rows"]
    assert [row[1] for row in rows] == [120, 120, None, None, 120]


def test_a_viewer_gets_each_row_once() -> None:
    trend, got = PressureTrend(), []
    for n in range(1, 400):
        trend.push(beat(1000 + n, 120), n)
        if n % 7 == 0:
            got += trend.after(n - 7 or 1).get("15 min", {"rows": []})["rows"]
    assert [row[0] for row in got] == [row[0] for row in trend.after(0)["15 min"]["rows"]][
        : len(got)
    ]
    assert len(got) > 90


@pytest.mark.slow
def test_everything_stays_in_bounded_memory_at_a_coarser_step() -> None:
    trend = PressureTrend()
    before = trend.size
    for n in range(1, 20_000):
        trend.push(beat(10.0 * n, 120 if n % 5 else None), n)
    everything = trend.after(0)["all"]
    assert trend.size == before < 45_000
    assert everything["step"] > 60
    assert everything["rows"][0][0] < 1000
    assert everything["rows"][-1][0] > 199_000
    assert {row[1] for row in everything["rows"]} == {120}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 5000), st.none() | st.floats(20, 300)), max_size=60))
def test_rows_are_in_order_whatever_comes(beats: list[tuple[float, float | None]]) -> None:
    found = filled([beat(t, sbp) for t, sbp in beats]).after(0)
    for level in found.values():
        times = [row[0] for row in level["rows"]]
        assert times == sorted(set(times))
