"""Summary statistics of a session's beats."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.report.findings import dips, in_range, night, sustained, trend
from support.beat_tables import beats


def test_shares_of_time_are_weighted_by_how_long_a_beat_lasts() -> None:
    table = beats(np.arange(60.0), 100.0)
    for n in range(60):
        told = {"t": 60 + n / 2, "valid": True, "hr": 120.0, "sbp": 150.0, "dbp": 95.0, "map": 120}
        table.add(told)
    shares = dict(in_range(table, "sbp"))
    assert shares["90 to 120"] == pytest.approx(2 / 3)
    assert shares["140 to 160"] == pytest.approx(1 / 3)
    assert sum(shares.values()) == pytest.approx(1)
    assert in_range(BeatTable(), "sbp") == []
    assert in_range(beats([0.0, 1.0], 100.0, valid=False), "sbp") == []


def test_the_lowest_minute_and_the_dips() -> None:
    times = np.arange(1200.0)
    sbp = np.where((times >= 300) & (times < 420), 90.0, 120.0)
    sbp[times >= 900] += 10
    table = beats(times, sbp)
    low, high = sustained(table, highest=False), sustained(table, highest=True)
    assert low is not None
    assert high is not None
    assert (low.sbp, low.map_) == (90, 45)
    assert 300 <= low.start <= 360
    assert (high.sbp, high.start >= 899) == (130, True)
    (dip,) = dips(trend(table, 0, 1200))
    assert (dip.start, dip.end, dip.sbp) == (300, 420, 90)
    assert sustained(beats(np.arange(20.0), 100), highest=True) is None
    assert sustained(BeatTable(), highest=True) is None
    assert dips(trend(BeatTable(), 0, 100)) == []
    assert dips(trend(beats(times, 120), 0, 1200)) == []


def test_night_beside_day() -> None:
    start = datetime(2026, 3, 1, 22, 0, tzinfo=UTC).timestamp()
    times = start + np.arange(0, 7200.0)
    sbp = np.where(times < start + 3600, 130.0, 104.0)
    found = night(beats(times, sbp), UTC)
    assert found is not None
    assert found.fall == pytest.approx(0.2)
    assert found.day[0] == pytest.approx(130)
    # Elsewhere it is noon.
    assert night(beats(times, sbp), ZoneInfo("Asia/Tokyo")) is None
    assert night(BeatTable(), UTC) is None
