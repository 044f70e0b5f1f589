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
