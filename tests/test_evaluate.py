"""Judging beats: pairing, figures, and the whole way through the live pipeline."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from test_data import write_index, write_record

from innpar.models.data import DataError, of_split, read_index
from innpar.models.predictor import SHIPPED
from innpar.stream.dataset import RATE, recordings
from innpar.stream.evaluate import evaluate
from innpar.stream.judged import Judged, readings
from innpar.stream.score import score

POPULATION = (115.0, 60.0, 80.0)


def judged(subject: str, error: float, source: str = "vitaldb_125hz", beats: int = 600) -> Judged:
    rng = np.random.default_rng(len(subject))
    truth = np.array([120.0, 70.0, 90.0]) + rng.normal(0.0, 8.0, (beats, 1))
    found = truth + rng.normal(error, 2.0, truth.shape)
    hr = np.full(beats, 75.0)
    return Judged(
        subject,
        source,
        np.arange(beats) * 0.8,
        found,
        truth,
        hr,
        hr,
        found - 10.0,
        found + 10.0,
        np.tile([120.0, 70.0, 90.0], (beats, 1)),
        np.arange(beats) * 0.8 + 1.0,
        np.tile([3.0, 4.0, 50.0, 0.98], (beats, 1)),
        beats + 60,
        np.zeros((3, 0)),
    )


def test_figures_of_known_errors() -> None:
    group = score([judged("a", 3.0), judged("bb", 3.0)], POPULATION)["vitaldb"]
    assert group["subjects"] == 2
    assert group["per_beat"]["model"]["sbp"]["me"] == pytest.approx(3.0, abs=0.2)
    assert group["per_beat"]["model"]["sbp"]["sd"] == pytest.approx(2.0, abs=0.2)
    assert group["per_beat"]["held"]["dbp"]["sd"] == pytest.approx(8.0, abs=0.6)
    assert group["per_30_s"]["model"]["map"]["sd"] < 1.0
    assert group["hours"] == pytest.approx(2 * 600 * 0.8 / 3600, abs=0.01)
    assert group["rejected"] == pytest.approx(120 / 1320, abs=1e-3)
    assert group["standards"]["sbp"]["aami_numbers_met"]
    assert group["standards"]["sbp"]["ieee_1708"] == "A"
    assert group["intervals"]["sbp"]["coverage"] > 0.99
    assert json.loads(json.dumps(group)) == group


def test_an_error_beyond_the_limits_fails_the_standards() -> None:
    group = score([judged("a", 12.0)], POPULATION)["vitaldb"]
    assert not group["standards"]["sbp"]["aami_numbers_met"]
    assert group["standards"]["sbp"]["ieee_1708"] == "D"
    assert group["standards"]["sbp"]["bhs"] == "D"
    assert group["intervals"]["sbp"]["coverage"] < 0.3


def test_sources_are_reported_apart_and_together() -> None:
    groups = score([judged("a", 0.0), judged("bb", 5.0, "mimic3_125hz")], POPULATION)
    assert set(groups) == {"vitaldb", "mimic+bidmc", "all"}
    assert groups["all"]["subjects"] == 2
    apart = [groups[name]["per_beat"]["model"]["sbp"]["me"] for name in ("vitaldb", "mimic+bidmc")]
    assert apart[1] - apart[0] == pytest.approx(5.0, abs=0.4)


def test_without_readings_only_the_population_is_compared() -> None:
    never = dataclasses.replace(
        judged("a", 0.0), age=np.full(600, np.nan), cuff=np.full((600, 3), np.nan)
    )
    group = score([never], POPULATION)["vitaldb"]
    assert set(group["per_beat"]) == {"model", "population"}
    assert "by_minutes_since_cuff" not in group


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vitaldb_made").mkdir()
    write_record(tmp_path, "vitaldb_made/one.npz", 125.0, seconds=240)
    write_index(tmp_path, [("vitaldb_made/one.npz", "a", "val", 125.0)])
    return tmp_path


def test_readings_are_medians_of_the_beats_before_them(folder: Path) -> None:
    (recording,) = recordings(folder, of_split(read_index(folder), "val"))
    found = readings(recording, RATE, 60.0)
    # The first was due in the stretch that is not good and had to wait.
    assert np.diff([r.seconds for r in found])[1:] == pytest.approx(60.0, abs=1.0)
    assert len(found) >= 3
    assert found[0].sbp == pytest.approx(120.0, abs=0.5)
    assert readings(recording, RATE, None) == []
    assert len(readings(recording, RATE, np.inf)) == 1


def test_a_record_goes_through_the_live_pipeline(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not (SHIPPED / "manifest.json").is_file():
        pytest.skip("no model is shipped")
    report = tmp_path / "report.html"
    groups = evaluate(folder, split="val", cuff_minutes=1.0, report=report)
    group = groups["vitaldb"]
    assert group["beats"] > 100
    assert group["heart_rate"]["mae"] < 1.0
    # The wave never changes, so after a reading the corrected output stays near it.
    assert group["per_beat"]["model"]["sbp"]["mae"] < 10.0
    assert "BHS" in capsys.readouterr().out
    assert "Bland–Altman" in report.read_text()
    assert "Waveforms" in report.read_text()


def test_an_absent_split_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no record in split 'test'"):
        evaluate(folder, split="test")
