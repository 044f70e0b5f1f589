"""Pulse rate variability is NeuroKit2's."""

from __future__ import annotations

import numpy as np
import pytest

from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.report.hrv import variability
from support.beat_tables import beats


def test_variability_is_neurokits_of_the_same_intervals() -> None:
    nk = pytest.importorskip("neurokit2")
    rng = np.random.default_rng(0)
    intervals = 0.8 + 0.04 * np.sin(2 * np.pi * 0.25 * 0.8 * np.arange(450))
    intervals += 0.005 * rng.standard_normal(450)
    times = 1_700_000_000 + np.cumsum(intervals)
    found = variability(beats(times, 120.0))
    assert (found.segments, found.why) == (1, "")
    values = {name: middle for name, _, _, middle, _ in found.values}
    inside = times[1:] < times[0] + 300
    wanted = nk.hrv_time({"RRI": np.diff(times)[inside] * 1000}).iloc[0]
    assert values["SDNN"] == pytest.approx(wanted["HRV_SDNN"], abs=0.5)
    assert values["RMSSD"] == pytest.approx(wanted["HRV_RMSSD"], abs=0.5)
    assert values["HF"] > 5 * values["LF"]
    assert "no 5 minutes are covered" in variability(beats(times[:100], 120.0)).why
    assert "no 5 minutes are covered" in variability(BeatTable()).why


def test_nothing_is_computed_across_a_gap() -> None:
    pytest.importorskip("neurokit2")
    rng = np.random.default_rng(1)
    times = 1_700_000_000 + np.cumsum(0.9 + 0.02 * rng.standard_normal(1000))
    whole = variability(beats(times, 120.0))
    assert whole.segments >= 2
    kept = (np.arange(1000) % 300 < 293).nonzero()[0]  # gaps of 6 s, 264 s apart
    found = variability(beats(times[kept], 120.0))
    assert (found.segments, found.values) == (0, [])
    assert "without a gap" in found.why
    late = np.concatenate([times[:20], times[27:]])
    again = variability(beats(late, 120.0))
    by = {
        name: (middle, value)
        for (name, *_, middle, _), (*_, value, _) in zip(again.values, whole.values, strict=True)
    }
    assert all(a == pytest.approx(b, rel=0.5) for a, b in by.values())
