"""A session's beats as columns."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path

import numpy as np

from innpar.devices import NS, Event
from innpar.stream.messages.beat import beat_payload
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.index import DeviceIndex, index_session
from innpar.stream.session.report.figures import Course
from innpar.stream.session.report.sections import calibration
from support.harness import estimates
from support.sessions import demo, record


def test_columns_of_beats() -> None:
    table = BeatTable()
    wave = {"start": 100.0, "rate": 125, "samples": [80.0, 100.0, 119.0, 120.0, 100.0, 80.0]}
    table.add({"seq": 4, "t": 100.024, "abp": wave, "valid": True, "reasons": ["motion"]})
    table.add({"seq": 5, "t": 101.0})
    table.add({"seq": 7, "t": 102.0, "interval": {"level": 0.9, "sbp": [1, 2]}})
    assert (len(table), table.breaks) == (3, 1)
    peak = table.column("peak")
    assert 100.020 <= peak[0] < 100.024
    assert peak[1] == 101.0
    assert table.column("sbp_high")[2] == 2
    assert np.isnan(table.column("sbp")[0])
    assert dict(table.reasons) == {"motion": 1}


def test_how_far_off_a_reading_found_the_beats_before_it() -> None:
    table = BeatTable()
    for k in range(30):
        state = "none" if k < 10 else "ok"
        beat = {"seq": k, "t": 100.0 + k, "valid": True, "sbp": 120.0 + k, "dbp": 80.0}
        table.add({**beat, "calibration": {"state": state}})
    assert table.check(109.0, 120, 80) is None
    assert table.check(112.0, 130, 82) == (1.0, -2.0)
    assert table.check(125.5, 130, 82) == (10.5, -2.0)
    device = DeviceIndex("x", beats=table)
    device.events = [
        Event("x", "cuff", 112 * NS, 112 * NS, {"sbp": 130, "dbp": 82}),
        Event("x", "cuff", 125 * NS, 125 * NS, {"sbp": 130, "dbp": 82, "remembered": {"age_s": 9}}),
    ]
    shown = calibration(device, Course(100.0, 130.0, UTC))
    assert "error before it +1.0/-2.0 mmHg" in shown
    assert "from an earlier run" in shown


def test_the_beats_survive_the_way_to_json(tmp_path: Path) -> None:
    path = tmp_path / "demo.mcap"
    live = record(path, demo(60, seed=3))
    table = index_session(path).devices["demo"].beats
    told = [json.loads(json.dumps(beat_payload(beat))) for beat in estimates(live)]
    assert table.column("t").tolist() == [beat["t"] for beat in told]
    assert np.abs(table.column("peak") - table.column("t")).max() <= 0.0041
