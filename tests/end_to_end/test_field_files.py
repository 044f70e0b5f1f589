"""Recordings like those that people complain about, with the right value of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.devices.replay import open_recording
from innpar.stream.messages.payload import parcel
from innpar.stream.results import Beat
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.report.hrv import variability
from support.harness import stream_all
from support.paths import SHARED
from support.sessions import MAX

FIELD = SHARED / "field"
pytestmark = pytest.mark.skipif(
    not FIELD.is_dir(), reason="the field inputs (../shared/field) are not on this machine"
)


class Played(NamedTuple):
    """Outcome of playing a file: heart rates of its valid beats, gaps in s, texts of notices."""

    beats: int
    hr: float
    gaps: list[float]
    notices: list[str]
    reference: object


def play(path: Path, **options: str) -> Played:
    device = open_recording(path, options, pace=MAX)
    items, _, _ = stream_all([device])
    rates = [i.hr for i in items if isinstance(i, Beat) and i.valid and i.hr is not None]
    events = [i for i in items if isinstance(i, Event)]
    return Played(
        len(rates),
        float(np.median(rates)) if rates else float("nan"),
        [(e.end - e.start) / NS for e in events if e.kind == "gap"],
        [str(e.detail["text"]) for e in events if e.kind == "notice"],
        device.recording.detail.get("reference", False),
    )


@pytest.mark.parametrize(
    ("name", "hr", "beats"),
    [
        ("file-csv-activity-column.csv", 73, 44),
        ("file-csv-date-time-us.csv", 73, 44),
        ("file-csv-elapsed-minutes.csv", 70, 130),
        ("file-csv-epoch-whole-seconds.csv", 66, 44),
        ("file-csv-jitter-6ms-50hz.csv", 76, 58),
        ("file-csv-na-cells.csv", 70, 65),
        ("file-csv-nan-column.csv", 78, 52),
        ("file-csv-quoted-semicolon.csv", 73, 44),
        ("file-csv-semicolon-whole-values.csv", 73, 44),
        ("file-csv-update-header.csv", 74, 44),
        ("file-csv-utf16be.csv", 73, 44),
        ("file-csv-year-2689.csv", 75, 44),
        ("file-zip-csv.zip", 73, 44),
    ],
)
def test_tables(name: str, hr: float, beats: int) -> None:
    played = play(FIELD / name)
    assert played.hr == pytest.approx(hr, abs=1)
    assert played.beats >= beats
    assert played.gaps == []


def test_assumptions_about_dates_are_reported() -> None:
    (text,) = (t for t in play(FIELD / "file-csv-date-time-us.csv").notices if "unclear" in t)
    assert "?dates=day" in text
    assert any("moved" in t for t in play(FIELD / "file-csv-year-2689.csv").notices)


def test_a_pause_between_the_records_of_an_edf_file() -> None:
    pytest.importorskip("edfio")
    played = play(FIELD / "file-edfD-pause.edf")
    assert played.hr == pytest.approx(66, abs=1)
    assert played.beats >= 75
    assert played.gaps == [pytest.approx(45.5, abs=0.05)]


def test_losses_in_an_xdf_file() -> None:
    pytest.importorskip("pyxdf")
    played = play(FIELD / "file-xdf-gaps-3s.xdf")
    assert played.hr == pytest.approx(80, abs=1)
    assert played.gaps == [pytest.approx(3.0, abs=0.05)] * 4


def test_a_pulse_rate_before_the_wave() -> None:
    pytest.importorskip("edfio")
    assert play(FIELD / "file-edf-rate-then-wave.edf").hr == pytest.approx(64, abs=1)


def test_a_wfdb_record_with_a_layout() -> None:
    pytest.importorskip("wfdb")
    played = play(FIELD / "file-wfdb-b.hea")
    assert played.hr == pytest.approx(68, abs=1)
    assert played.reference is True


@pytest.mark.parametrize("name", ["file-hrv-two-gaps.csv.gz", "file-hrv-no-gap.csv.gz"])
def test_variability_with_gaps_is_that_without_or_absent(name: str) -> None:
    pytest.importorskip("neurokit2")
    items, _, _ = stream_all([open_recording(FIELD / name, {}, pace=MAX)])
    table = BeatTable()
    for item in items:
        if isinstance(item, Beat):
            table.add(json.loads(parcel(item).payload))
    found = variability(table)
    values = {label: middle for label, _, _, middle, _ in found.values}
    if "no-gap" in name:
        assert values["LF"] == pytest.approx(61, rel=0.5)
    else:
        assert (values, "without a gap" in found.why) == ({}, True)


@pytest.mark.parametrize(
    ("name", "hr", "margin", "beats"),
    [
        ("file-dicrotic97-57bpm.csv", 57, 2, 78),
        ("file-noise30-66bpm.csv", 66, 6, 60),
        ("file-brady33.csv", 33, 2, 40),
        ("file-tachy155.csv", 155, 5, 120),
    ],
)
def test_every_published_heart_rate_is_right(
    name: str, hr: float, margin: float, beats: int
) -> None:
    items, _, _ = stream_all([open_recording(FIELD / name, {}, pace=MAX)])
    found = [item for item in items if isinstance(item, Beat)]
    rates = np.array([beat.hr for beat in found if beat.hr is not None])
    assert len(rates) >= beats
    assert np.abs(rates - hr).max() <= margin
    assert not any("motion" in beat.reasons for beat in found)


def test_a_pulse_of_few_counts_is_not_clipped() -> None:
    items, _, _ = stream_all([open_recording(FIELD / "file-coarse50-125hz.csv", {}, pace=MAX)])
    beats = [item for item in items if isinstance(item, Beat)]
    assert not any("clipped" in beat.reasons for beat in beats)
    assert sum(beat.valid for beat in beats) >= 75


def test_trigeminy_has_its_rate_and_its_reason() -> None:
    items, _, _ = stream_all([open_recording(FIELD / "file-trigeminy.csv", {}, pace=MAX)])
    beats = [item for item in items if isinstance(item, Beat)]
    rates = np.array([beat.hr for beat in beats if beat.hr is not None])
    assert len(rates) / np.sum(1 / rates) == pytest.approx(77, abs=2)
    named = {"ectopic", "irregular"}
    assert sum(bool(named & set(beat.reasons)) for beat in beats) > len(beats) / 2


def test_a_slow_table_has_no_pressures_and_a_fast_one_has() -> None:
    slow, fast = (
        [
            i
            for i in stream_all([open_recording(FIELD / name, {}, pace=MAX)])[0]
            if isinstance(i, Beat)
        ]
        for name in ("wear-rate8-hr72.csv", "wear-rate25-hr72.csv")
    )
    assert all(beat.sbp is beat.hr is None and "rate" in beat.reasons for beat in slow)
    assert all(beat.valid and beat.hr == pytest.approx(72, abs=1) for beat in fast)
    assert len(fast) >= 60
