"""Judging beats: pairing, figures, and the whole way through the live pipeline."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from innpar.models.data.index import of_split, read_index
from innpar.models.errors import DataError
from innpar.models.manifest import RATE
from innpar.models.predictor import SHIPPED
from innpar.stream.cli.main import main
from innpar.stream.evaluation.dataset import recordings
from innpar.stream.evaluation.evaluate import evaluate
from innpar.stream.evaluation.record_device import reference_readings
from innpar.stream.evaluation.score import score
from innpar.stream.evaluation.streaming import EvaluatedRecord
from innpar.stream.evaluation.tables import notes
from support.training_data import write_index, write_record

POPULATION = (115.0, 60.0, 80.0)


def judged(
    subject: str, error: float, source: str = "vitaldb_125hz", beats: int = 600
) -> EvaluatedRecord:
    rng = np.random.default_rng(len(subject))
    truth = np.array([120.0, 70.0, 90.0]) + rng.normal(0.0, 8.0, (beats, 1))
    found = truth + rng.normal(error, 2.0, truth.shape)
    hr = np.full(beats, 75.0)
    return EvaluatedRecord(
        subject,
        source,
        f"{source}/{subject}.npz",
        np.arange(beats),
        np.arange(beats) * 0.8,
        found,
        truth,
        hr,
        hr,
        found - 10.0,
        found + 10.0,
        np.tile([120.0, 70.0, 90.0], (beats, 1)),
        np.arange(beats) * 0.8 + 1.0,
        np.repeat([1, 2], beats // 2),
        np.tile([118.0, 69.0, 89.0], (beats, 1)),
        np.tile([3.0, 4.0, 50.0, 0.98], (beats, 1)),
        beats + 60,
        np.zeros((3, 0)),
    )


def test_figures_of_known_errors() -> None:
    group = score([judged("a", 3.0), judged("bb", 3.0)], POPULATION, 0.9)["vitaldb"]
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
    group = score([judged("a", 12.0)], POPULATION, 0.9)["vitaldb"]
    assert not group["standards"]["sbp"]["aami_numbers_met"]
    assert group["standards"]["sbp"]["ieee_1708"] == "D"
    assert group["standards"]["sbp"]["bhs"] == "D"
    assert group["intervals"]["sbp"]["coverage"] < 0.3


def test_sources_are_reported_apart_and_together() -> None:
    groups = score([judged("a", 0.0), judged("bb", 5.0, "mimic3_125hz")], POPULATION, 0.9)
    assert set(groups) == {"vitaldb", "mimic+bidmc", "all"}
    assert groups["all"]["subjects"] == 2
    apart = [groups[name]["per_beat"]["model"]["sbp"]["me"] for name in ("vitaldb", "mimic+bidmc")]
    assert apart[1] - apart[0] == pytest.approx(5.0, abs=0.4)


def test_every_source_is_in_a_group_of_its_own() -> None:
    sources = ("uci_125hz", "mimicdb_125hz", "mimic3_125hz", "new_100hz")
    groups = score([judged(s, float(k), s) for k, s in enumerate(sources)], POPULATION, 0.9)
    assert list(groups) == ["mimic+bidmc", "mimicdb", "uci", "new_100hz", "all"]
    errors = [groups[n]["per_beat"]["model"]["sbp"]["me"] for n in ("uci", "mimicdb", "new_100hz")]
    np.testing.assert_allclose(errors, [0.0, 1.0, 3.0], atol=0.4)
    assert groups["all"]["subjects"] == 4


def test_without_readings_only_the_population_is_compared() -> None:
    never = dataclasses.replace(
        judged("a", 0.0), age=np.full(600, np.nan), cuff=np.full((600, 3), np.nan)
    )
    group = score([never], POPULATION, 0.9)["vitaldb"]
    assert set(group["per_beat"]) == {"model", "population"}
    assert "by_minutes_since_cuff" not in group
    (line,) = [text for text in notes(group) if text.startswith("SBP 90 % interval")]
    assert "20.0 mmHg wide" in line
    assert "held" not in line


def test_intervals_are_told_at_their_level_where_some_beats_have_none() -> None:
    one = judged("a", 0.0)
    one.low[:100] = one.high[:100] = np.nan
    group = score([one], POPULATION, 0.75)["vitaldb"]
    assert group["intervals"]["level"] == 0.75
    assert group["intervals"]["sbp"]["mean_width"] == pytest.approx(20.0)
    assert any(line.startswith("SBP 75 % interval: covers 100.0%") for line in notes(group))


def test_half_minutes_are_those_of_each_record() -> None:
    early = dataclasses.replace(judged("a", 3.0), age=np.full(600, np.nan))
    group = score([early, judged("bb", -3.0), judged("ccc", 5.0)], POPULATION, 0.9)["vitaldb"]
    # The first record has no reading and is left out; each other's half minutes hold its own error.
    assert group["per_30_s"]["model"]["sbp"]["me"] == pytest.approx(1.0, abs=0.3)
    assert group["per_30_s"]["model"]["sbp"]["sd"] == pytest.approx(4.0, abs=0.3)
    assert group["per_30_s"]["population"]["sbp"]["sd"] < 4.0


def test_without_known_training_means_there_is_no_population_baseline() -> None:
    group = score([judged("a", 0.0)], None, 0.9)["vitaldb"]
    assert set(group["per_beat"]) == set(group["per_30_s"]) == {"model", "held", "kriging"}
    assert not any("population" in line for line in notes(group))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vitaldb_made").mkdir()
    write_record(tmp_path, "vitaldb_made/one.npz", 125.0, seconds=240)
    write_index(tmp_path, [("vitaldb_made/one.npz", "a", "val", 125.0)])
    return tmp_path


def test_readings_are_medians_of_the_beats_before_them(folder: Path) -> None:
    (recording,) = recordings(folder, of_split(read_index(folder), "val"), RATE)
    found = reference_readings(recording, RATE, 60.0)
    # The first was due in the stretch that is not good and was delayed.
    assert np.diff([r.seconds for r in found])[1:] == pytest.approx(60.0, abs=1.0)
    assert len(found) >= 3
    assert found[0].sbp == pytest.approx(120.0, abs=0.5)
    assert reference_readings(recording, RATE, None) == []
    assert len(reference_readings(recording, RATE, np.inf)) == 1


def test_a_record_goes_through_the_live_pipeline(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not (SHIPPED / "manifest.json").is_file():
        pytest.skip("no model is shipped")
    report = tmp_path / "report.html"
    groups = evaluate(folder, cuff_minutes=1.0, report=report)
    group = groups["vitaldb"]
    assert group["beats"] > 100
    assert group["heart_rate"]["mae"] < 1.0
    # The wave never changes, so after a reading the corrected output stays near it.
    assert group["per_beat"]["model"]["sbp"]["mae"] < 10.0
    assert "BHS" in capsys.readouterr().out
    assert "Bland–Altman" in report.read_text()
    assert "Waveforms" in report.read_text()


def test_two_models_are_compared_on_the_same_beats(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (SHIPPED / "manifest.json").is_file():
        pytest.skip("no model is shipped")
    evaluate(folder, cuff_minutes=1.0, against=SHIPPED)
    assert "mmHg, 1 subjects: SBP +0.00 (+0.00 to +0.00)" in capsys.readouterr().out


@pytest.mark.slow
def test_low_latency_is_evaluated_and_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", "--data", str(folder), "--cuff-every", "once", "--json"]
    figures = []
    for latency in ("normal", "low"):
        assert main([*given, "--latency", latency]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    normal, low = figures
    assert low["title"] == f"{normal['title']}, low latency"
    beats = [one["groups"]["vitaldb"]["beats"] for one in figures]
    assert beats[1] == pytest.approx(beats[0], rel=0.1)
    assert normal["groups"] != low["groups"]


def test_an_absent_split_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="no record in split 'test'"):
        evaluate(folder, split="test")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--every", "0"], "--every: a whole number from 1 up"),
        (["--every", "-1"], "--every: a whole number from 1 up"),
        (["--cuff-every", "0"], "--cuff-every: minutes above 0, once or never, not 0"),
        (["--cuff-every", "-5"], "--cuff-every: minutes above 0, once or never, not -5"),
        (["--cuff-every", "nan"], "--cuff-every: minutes above 0, once or never, not nan"),
        (["--report", "nowhere/out.html"], "nowhere/out.html cannot be written"),
        (["--report", "vitaldb_made"], "vitaldb_made cannot be written"),
        (["--report", "index.csv"], "index.csv is an input of the evaluation"),
        (["--report", "vitaldb_made/one.npz"], "one.npz is an input of the evaluation"),
        (["--report", "weights/manifest.json"], "manifest.json is an input of the evaluation"),
    ],
)
def test_what_cannot_work_is_reported_before_anything_is_streamed(
    folder: Path,
    flags: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = folder / "weights"
    shutil.copytree(SHIPPED, weights)
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    split = ["--data", ".", "--split", "val", "--model", "weights"]
    assert main(["evaluate", *split, *flags]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert "streaming" not in captured.err + captured.out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
