"""A session as CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from innpar.devices import NS
from innpar.stream.results import Item
from support.exports import exported
from support.harness import estimates


def test_csv_tells_everything_of_a_beat(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    path, live = session
    out = exported(path, "csv", tmp_path / "csv")
    beats = estimates(live)
    with (out / "demo-beats.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["seq"]) for row in rows] == [beat.seq for beat in beats]
    for row, beat in zip(rows, beats, strict=True):
        assert row["valid"] == str(beat.valid)
        assert row["reasons"].split() == list(beat.reasons)
        assert row["calibration"] == beat.calibration.state
        assert abs(float(row["time"]) - beat.peak / NS) <= 0.0005
        assert (row["sbp"] == "") == (beat.sbp is None)
        if beat.sbp is not None and beat.interval is not None:
            assert abs(float(row["sbp"]) - beat.sbp) <= 0.051
            assert abs(float(row["dbp_high"]) - beat.interval.dbp[1]) <= 0.051
    wave = np.concatenate([beat.abp for beat in beats])
    with (out / "demo-estimate.csv").open() as stream:
        told = [float(row["abp_estimate"]) for row in csv.DictReader(stream)]
    assert np.abs(np.array(told) - wave).max() <= 0.051
