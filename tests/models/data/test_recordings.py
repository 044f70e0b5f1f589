"""Reading the shared layout: splits, alignment, windows, and every way it can be wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.index import IndexEntry, check_splits, of_split, read_index
from innpar.models.data.recordings import load, windows_of
from innpar.models.data.reference import local_lag, plateaus
from innpar.models.errors import DataError
from innpar.models.manifest import GUARD, RATE, WINDOW
from innpar.stream.evaluation.dataset import resample_uniform, split_windows
from support.paths import SHARED
from support.training_data import LAG, pulses, write_index, write_record

DATA = SHARED / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    write_record(tmp_path, "made/one.npz", 125.0)
    write_record(tmp_path, "made/two.npz", 50.0, lag=0.46)
    write_index(
        tmp_path, [("made/one.npz", "a", "train", 125.0), ("made/two.npz", "b", "val", 50.0)]
    )
    return tmp_path


def test_subject_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path, [("x.npz", "a", "train", 125.0), ("y.npz", "a", "val", 125.0)])
    with pytest.raises(DataError, match="subject a is in train and in val"):
        read_index(tmp_path)


def test_rejects_may_share_a_subject(tmp_path: Path) -> None:
    write_index(tmp_path, [("x.npz", "a", "train", 125.0), ("y.npz", "a", "rejects", 125.0)])
    check_splits(read_index(tmp_path))


def test_empty_split_missing_index_and_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no index\.csv"):
        read_index(tmp_path)
    write_index(tmp_path, [("x.npz", "a", "train", 125.0)])
    with pytest.raises(DataError, match="no record in split 'test'"):
        of_split(read_index(tmp_path), "test")
    (tmp_path / "index.csv").write_text("file,split\nx.npz,train\n")
    with pytest.raises(DataError, match="lacks the columns fs, lag_s, subject"):
        read_index(tmp_path)


def test_a_file_that_is_no_record_is_named(folder: Path) -> None:
    (folder / "made/one.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"one\.npz cannot be read"):
        split_windows(folder, "train")


def test_a_damaged_file_is_named_wherever_the_damage_is(folder: Path) -> None:
    path = folder / "made/one.npz"
    write_record(folder, "made/one.npz", 125.0, seconds=40)
    content, entry = path.read_bytes(), read_index(folder)[0]
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged if at % 3 else content[:at])
        with contextlib.suppress(DataError):  # some bits do not matter
            load(folder, entry, RATE, resample_uniform)
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"one\.npz cannot be read as a record: File is not a zip"):
        split_windows(folder, "train")


@pytest.mark.parametrize(
    "change",
    [
        {"abp": np.zeros(10, np.int16)},
        {"ppg": np.zeros((2, 100), np.int16), "abp": np.zeros((2, 100), np.int16)},
        {"win_hr": np.zeros(1)},
        {"win_hr": np.array(["75"] * 12)},
        {"ppg_scale": np.zeros(2)},
        {"win_good": np.array(["yes"])},
    ],
)
def test_arrays_that_do_not_fit_are_named(folder: Path, change: dict[str, np.ndarray]) -> None:
    with np.load(folder / "made/one.npz") as record:
        arrays = dict(record)
    np.savez(folder / "made/one.npz", **{**arrays, **change})
    with pytest.raises(DataError, match=r"one\.npz cannot be read as a record"):
        split_windows(folder, "train")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a.npz,s,train,125,0.4\nb.npz,t,val\n", "record 2 has no fs"),
        (b"a.npz,,train,125,0.4\n", "record 1 has no subject"),
        (b"a.npz,s,train,fast,0.4\n", "record 1: could not convert string to float: 'fast'"),
        (b"a.npz,s,train,0,0.4\n", "record 1: fs is 0 Hz"),
        (b"a.npz,Ren\xe9,train,125,0.4\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_damaged_index_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "index.csv").write_bytes(b"file,subject,split,fs,lag_s\n" + content)
    with pytest.raises(DataError, match=r"index\.csv") as caught:
        read_index(tmp_path)
    assert says in str(caught.value)


@pytest.mark.parametrize(("split", "lag"), [("train", LAG), ("val", 0.46)])
def test_pressure_is_moved_onto_the_time_of_the_ppg(folder: Path, split: str, lag: float) -> None:
    entry = of_split(read_index(folder), split)[0]
    recording = load(folder, entry, RATE, resample_uniform)
    times = np.arange(len(recording.abp)) / RATE
    inside = recording.good
    expected = 80.0 + 40.0 * pulses(times - lag)
    assert np.abs(recording.abp - expected)[inside].mean() < 1.5
    assert np.median(recording.beats.sbp) == pytest.approx(120.0, abs=1.0)
    assert np.median(recording.beats.dbp) == pytest.approx(80.0 + 40.0 * np.exp(-3.2), abs=1.5)


def test_windows_lie_in_good_stretches_and_carry_their_pressures(folder: Path) -> None:
    windows = split_windows(folder, "train")
    buffer = WINDOW + 2 * GUARD
    bad = (30 * int(RATE), 40 * int(RATE))
    assert len(windows) > 10
    for start in windows.start:
        assert start + buffer <= bad[0] or start >= bad[1]
    assert np.allclose(windows.sbp, 120.0, atol=1.0)
    assert (windows.map_ > windows.dbp).all()
    assert (windows.map_ < windows.sbp).all()


def test_no_good_window_is_an_error() -> None:
    with pytest.raises(DataError, match="no good window"):
        windows_of([], 688, 640, (84, 604), RATE)


def test_lag_follows_a_drift_and_never_jumps_a_beat() -> None:
    times = np.arange(int(600 * RATE)) / RATE
    drift = np.where(times < 300, 0.48, 0.40)
    found = local_lag(pulses(times - drift), pulses(times), np.ones(60, bool), lag=0.44, rate=RATE)
    assert found[int(60 * RATE)] == pytest.approx(0.48 * RATE, abs=1)
    assert found[int(540 * RATE)] == pytest.approx(0.40 * RATE, abs=1)


@pytest.mark.parametrize("lag", [-0.3, -0.18, -0.04, 0.0, 0.06, 0.16, 0.46])
def test_pressure_may_come_before_or_after_the_light(tmp_path: Path, lag: float) -> None:
    (tmp_path / "made").mkdir()
    write_record(tmp_path, "made/one.npz", RATE, lag=lag)
    write_index(tmp_path, [("made/one.npz", "a", "val", RATE)])
    entry = IndexEntry("made/one.npz", "a", "val", RATE, lag + 0.05)
    recording = load(tmp_path, entry, RATE, resample_uniform)
    times = np.arange(len(recording.abp)) / RATE
    assert recording.good.mean() > 0.8
    expected = 80.0 + 40.0 * pulses(times - lag)
    assert np.abs(recording.abp - expected)[recording.good].mean() < 1.5
    assert np.median(recording.beats.sbp) == pytest.approx(120.0, abs=1.0)


def test_plateaus_are_only_those_at_the_extremes() -> None:
    values = np.array([0.0, 1, 1, 1, 1, 2, 5, 5, 5, 3, 0])
    assert np.flatnonzero(plateaus(values, 3)).tolist() == [6, 7, 8]


def test_resampling_keeps_a_pulse_and_spreads_a_hole_no_further_than_its_tangents() -> None:
    times = np.arange(500) / 50.0
    values = np.sin(2 * np.pi * 1.5 * times)
    found = resample_uniform(values, 50.0, 125.0)
    at = np.arange(len(found)) / 125.0
    assert np.abs(found - np.sin(2 * np.pi * 1.5 * at))[10:-10].max() < 2e-3
    values[100] = np.nan
    missing = np.flatnonzero(np.isnan(resample_uniform(values, 50.0, 125.0)))
    assert missing[0] >= 98 * 2.5
    assert missing[-1] <= 102 * 2.5


def test_pressures_of_a_wave_follow_its_beats() -> None:
    wave = 70.0 + 50.0 * pulses(np.arange(520) / RATE)
    (found,) = wave_pressures(wave[None], np.array([75.0]), RATE)
    assert found[0] == pytest.approx(120.0, abs=0.5)
    assert found[1] == pytest.approx(wave.min(), abs=0.5)
    assert found[2] == pytest.approx(wave[:500].mean(), abs=0.5)


@pytest.mark.slow
@pytest.mark.real
def test_real_validation_windows_agree_with_the_recordings_own_verdicts() -> None:
    if not DATA.is_dir():
        pytest.skip("the real recordings (../shared/data) are not on this machine")
    entries = of_split(read_index(DATA), "val")
    windows = split_windows(DATA, "val")
    assert windows.entries == tuple(entries)
    assert set(windows.subjects) == {entry.subject for entry in entries}
    differences = []
    for record, entry in enumerate(entries):
        with np.load(DATA / "abp" / entry.file) as z:
            expected = np.median(z["win_sbp"][z["win_good"]])
        differences.append(np.median(windows.sbp[windows.record == record]) - expected)
    assert np.median(np.abs(differences)) < 0.5
    assert np.abs(differences).max() < 3.0
