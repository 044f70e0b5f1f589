"""Sessions in other people's formats, each read again by somebody else's library."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.devices.replay import open_recording
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.results import Beat, Item
from innpar.stream.session.export.content import PlacedSignal, Segment
from innpar.stream.session.export.edf import edf, settle
from innpar.stream.session.export.fhir import _told
from innpar.stream.session.recorder import Recorder
from support.harness import estimates
from support.sessions import MAX, demo, played, record, samples

START = 1_700_000_000 * NS
WORDS = 'stood up <"&ü>'


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    """A session with gaps, a cuff reading, its beats, and markers."""
    path = tmp_path_factory.mktemp("session") / "demo.mcap"
    device = demo(150, seed=3)
    return path, record(path, device)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Chunk | Event]]:
    """The stream alone, with a marker among its samples that was given late."""
    path = tmp_path_factory.mktemp("marked") / "marked.mcap"
    recorder = Recorder(path, VirtualClock(START), {"software": "test"})
    device = demo(150, seed=3, pace=Pace(float("inf"), 1.0))
    recorder.enrol(device, "s")
    items = list(device.items(START))
    where = next(n for n, i in enumerate(items) if isinstance(i, Event) and i.kind == "gap") + 2
    at = START + 20 * NS
    items.insert(where, Event("demo", "marker", at, at, {"text": WORDS}))
    for item in items:
        recorder.take(item)
    recorder.close()
    return path, items


def exported(path: Path, format_: str, out: Path) -> Path:
    assert main(["session", "export", str(path), str(out), "--format", format_]) == 0
    return out


def stretches(items: list[Any], signal: str) -> list[tuple[Any, Any]]:
    """Return (times, data) of every gap-free stretch."""
    times, data = samples(items, signal)
    rate = next(i.rate for i in items if isinstance(i, Chunk) and i.signal == signal)
    ends = np.flatnonzero(np.diff(times) > 1.5 * NS / rate) + 1
    parts = np.split(np.arange(len(times)), ends)
    return [(times[part], data[part]) for part in parts]


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
        told = [float(row["abp"]) for row in csv.DictReader(stream)]
    assert np.abs(np.array(told) - wave).max() <= 0.051


@pytest.mark.parametrize("format_", ["csv", "parquet", "edf", "wfdb", "xdf", "fhir"])
def test_a_marker_is_in_every_export(
    format_: str, marked: tuple[Path, list[Chunk | Event]], tmp_path: Path
) -> None:
    out = exported(marked[0], format_, tmp_path / format_)
    told = {"csv": _csv, "parquet": _parquet, "edf": _edf, "wfdb": _wfdb, "xdf": _xdf}
    found = told[format_](out) if format_ in told else _fhir(out)
    wanted = [
        (i.start / NS, str(i.detail["text"]))
        for i in marked[1]
        if isinstance(i, Event) and i.kind == "marker"
    ]
    assert (START / NS + 20, WORDS) in wanted
    assert sorted(text for _, text in found) == sorted(text for _, text in wanted)
    for (at, text), (when, words) in zip(sorted(found), sorted(wanted), strict=True):
        assert text == words
        assert abs(at - when) < 0.02


def _csv(out: Path) -> list[tuple[float, str]]:
    with (out / "demo-markers.csv").open() as stream:
        return [(float(row["time"]), row["text"]) for row in csv.DictReader(stream)]


def _parquet(out: Path) -> list[tuple[float, str]]:
    pd = pytest.importorskip("pandas")
    frame = pd.read_parquet(out / "demo-markers.parquet")
    return [(t.timestamp(), text) for t, text in zip(frame["time"], frame["text"], strict=True)]


def _edf(out: Path) -> list[tuple[float, str]]:
    edfio = pytest.importorskip("edfio")
    found = []
    for path in sorted(out.glob("demo-ppg-*")):
        read = edfio.read_bdf if path.suffix == ".bdf" else edfio.read_edf
        file = read(path)
        second = START // NS % 86400
        begins = file.starttime.hour * 3600 + file.starttime.minute * 60 + file.starttime.second
        begins = begins - second + file.starttime.microsecond / 1e6
        for note in file.annotations:
            if note.text.startswith("marker"):
                text = json.loads(note.text.removeprefix("marker "))["text"]
                found.append((START / NS + begins + note.onset, text))
    return found


def _wfdb(out: Path) -> list[tuple[float, str]]:
    wfdb = pytest.importorskip("wfdb")
    found = []
    for path in sorted(out.glob("demo-ppg-*.atr")):
        head = wfdb.rdheader(str(path.with_suffix("")))
        notes = wfdb.rdann(str(path.with_suffix("")), "atr")
        for at, text in zip(notes.sample, notes.aux_note, strict=True):
            if text.startswith("marker: "):
                since = (head.base_datetime - _epoch()).total_seconds()
                text = text.removeprefix("marker: ").encode().decode("unicode_escape")
                found.append((since + at / head.fs, text))
    return found


def _epoch() -> Any:
    from datetime import datetime

    return datetime(1970, 1, 1)


def _xdf(out: Path) -> list[tuple[float, str]]:
    pyxdf = pytest.importorskip("pyxdf")
    streams, header = pyxdf.load_xdf(str(out / "session.xdf"))
    from datetime import datetime

    zero = datetime.strptime(header["info"]["datetime"][0], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    (markers,) = (s for s in streams if s["info"]["type"] == ["Markers"])
    return [
        (zero + at, row[0])
        for at, row in zip(markers["time_stamps"], markers["time_series"], strict=True)
    ]


def _fhir(out: Path) -> list[tuple[float, str]]:
    from datetime import datetime

    bundle = json.loads((out / "demo.json").read_text())
    told = [e["resource"] for e in bundle["entry"] if "valueString" in e["resource"]]
    return [
        (datetime.fromisoformat(one["effectiveDateTime"]).timestamp(), one["valueString"])
        for one in told
    ]


def test_parquet_holds_every_number(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    path, live = session
    out = exported(path, "parquet", tmp_path / "parquet")
    for signal in ("ppg", "acc", "abp"):
        times, data = samples(played(path), signal)
        frame = pd.read_parquet(out / f"demo-{signal}.parquet")
        assert (frame["time"].astype("int64").to_numpy() == times).all()
        assert (frame.drop(columns="time").to_numpy() == data).all()
    frame = pd.read_parquet(out / "demo-beats.parquet")
    assert frame["seq"].tolist() == [beat.seq for beat in estimates(live)]
    assert frame["valid"].dtype == bool
    assert str(frame["time"].dtype) == "datetime64[ns, UTC]"


@pytest.mark.parametrize("signal", ["ppg", "acc", "abp"])
def test_wfdb_holds_the_samples_within_what_it_states(
    signal: str, marked: tuple[Path, list[Chunk | Event]], tmp_path: Path
) -> None:
    wfdb = pytest.importorskip("wfdb")
    path, items = marked
    out = exported(path, "wfdb", tmp_path / "wfdb")
    parts = stretches(items, signal)
    assert len(list(out.glob(f"demo-{signal}-0*.hea"))) == len(parts)
    for number, (times, data) in enumerate(parts, 1):
        told = wfdb.rdrecord(str(out / f"demo-{signal}-{number:04d}"))
        stated = {c.partition(": ")[0]: c.partition(": ")[2] for c in told.comments}
        steps = [float(s.split()[-1]) for s in stated["resolution of a value"].split(", ")]
        assert (np.abs(told.p_signal - data) <= np.array(steps) * 0.51).all()
        if signal == "ppg":
            assert (told.p_signal == data).all()
        began = round((told.base_datetime - _epoch()).total_seconds() * 1e6) * 1000
        grid = began + np.arange(len(times)) * (NS / told.fs)
        late = float(stated["resolution of a time"].split()[0])
        assert np.abs(grid - times).max() <= (late + 0.002) * 1e6
    if len(parts) > 1:
        whole = wfdb.rdrecord(str(out / f"demo-{signal}"))
        assert np.isfinite(whole.p_signal[:, 0]).sum() == sum(len(t) for t, _ in parts)
        assert not np.isfinite(whole.p_signal[:, 0]).all()


def test_edflib_reads_every_edf(tmp_path: Path) -> None:
    """Whatever the fraction of a second at which a recording begins."""
    edflib = pytest.importorskip("pyedflib")
    chance = np.random.default_rng(1)
    for number in range(100):
        start = START + int(chance.integers(86_400 * NS))
        rate = float(chance.choice([28, 55, 125, 176]))
        times = start + np.rint(np.arange(900) * (NS / rate)).astype(np.int64)
        data = np.rint(chance.normal(size=(900, 1)) * 1000)
        segment = Segment("demo", "ppg", ("ppg0",), rate, 1, times, data)
        at = int(times[chance.integers(900)]) + 7
        note = Event("demo", "marker", at, at, {"text": WORDS})
        path = tmp_path / f"{number}.edf"
        edf(PlacedSignal(segment, 0, 2**63 - 1), [note]).write(path)
        settle(path, 2)
        with edflib.EdfReader(str(path)) as file:
            assert (file.readSignal(0)[:900] == data[:, 0]).all()
            assert file.starttime_subsecond == start % NS // 1000 * 10
            onsets, _, texts = file.readAnnotations()
            (told,) = (t for t, text in zip(onsets, texts, strict=True) if "marker" in text)
            assert abs(told * NS + start - at) < 2000


def test_wfdb_annotates_the_beats(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    wfdb = pytest.importorskip("wfdb")
    out = exported(session[0], "wfdb", tmp_path / "wfdb")
    symbols = []
    for path in sorted(out.glob("demo-abp-*.atr")):
        symbols += wfdb.rdann(str(path.with_suffix("")), "atr").symbol
    beats = estimates(session[1])
    assert abs(symbols.count("N") - sum(beat.valid for beat in beats)) <= 1
    assert symbols.count("Q") <= sum(not beat.valid for beat in beats)


def test_xdf_is_read_by_pyxdf_sample_for_sample(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    pyxdf = pytest.importorskip("pyxdf")
    path, live = session
    out = exported(path, "xdf", tmp_path / "xdf")
    # As everybody reads it: with the clocks made one, and samples evened out.
    streams, header = pyxdf.load_xdf(str(out / "session.xdf"))
    by = {stream["info"]["name"][0]: stream for stream in streams}
    items = played(path)
    gaps = [i for i in items if isinstance(i, Event) and i.kind == "gap"]
    assert gaps
    for signal in ("ppg", "acc", "abp"):
        times, data = samples(items, signal)
        got = by[f"demo {signal}"]
        assert (got["time_series"] == data).all()
        zero = round((times[0] / NS - got["time_stamps"][0]) * 1e6) * 1000
        allowed = 2_000 if signal == "ppg" else 2_000_000
        assert np.abs(np.rint(got["time_stamps"] * NS) + zero - times).max() <= allowed
        stated = float(got["info"]["nominal_srate"][0])
        assert stated == (0 if signal != "abp" else next(_rates(items, "abp")))
    beats = estimates(live)
    told = by["demo beats"]["time_series"]
    assert len(told) == len(beats)
    sbp = np.array([np.nan if b.sbp is None else b.sbp for b in beats])
    assert np.nanmax(np.abs(told[:, 0] - sbp)) <= 0.051
    assert len(by["demo estimate"]["time_series"]) == sum(len(b.abp) for b in beats)
    labels = by["demo ppg"]["info"]["desc"][0]["channels"][0]["channel"]
    assert [label["label"][0] for label in labels] == ["ppg0", "ppg1", "ppg2", "ambient"]
    assert by["demo ppg"]["footer"]["info"]["sample_count"] == [str(len(samples(items)[0]))]
    assert header["info"]["version"] == ["1.0"]


def _rates(items: list[Any], signal: str) -> Any:
    return (i.rate for i in items if isinstance(i, Chunk) and i.signal == signal)


@pytest.mark.parametrize(
    ("format_", "name"), [("xdf", "session.xdf"), ("wfdb", "demo-ppg-0001.hea")]
)
def test_an_export_can_be_replayed(
    format_: str, name: str, marked: tuple[Path, list[Chunk | Event]], tmp_path: Path
) -> None:
    pytest.importorskip("pyxdf")
    pytest.importorskip("wfdb")
    out = exported(marked[0], format_, tmp_path / format_)
    device = open_recording(out / name, {"channel": "ppg1", "polarity": "-1"}, pace=MAX)
    times, data = stretches(list(device.items()), "ppg")[0]
    wanted, full = stretches(marked[1], "ppg")[0]
    assert (data[:, 0] == full[: len(data), 1]).all()
    assert len(data) == len(full)
    assert np.abs(times - wanted).max() < 3_000_000


def test_a_fhir_bundle_is_valid_and_says_what_was_published(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    path, live = session
    out = exported(path, "fhir", tmp_path / "fhir")
    text = (out / "demo.json").read_text()
    bundle = bundles.Bundle.model_validate_json(text)
    told = [entry.resource for entry in bundle.entry]
    links = {entry.fullUrl for entry in bundle.entry}
    assert len(links) == len(told)
    observations = [one for one in told if one.__class__.__name__ == "Observation"]
    assert all(one.status == "preliminary" for one in observations)
    assert all(one.subject.reference in links for one in observations)
    by: dict[str, list[Any]] = {}
    for one in observations:
        key = one.code.coding[0].code if one.code.coding else one.code.text
        by.setdefault(key, []).append(one)
    valid = [beat for beat in estimates(live) if beat.valid and beat.sbp is not None]
    minutes: dict[int, list[Beat]] = {}
    for beat in valid:
        minutes.setdefault(round(beat.peak / 1e6) // 60_000, []).append(beat)
    ours = [one for one in by["85354-9"] if "estimated" in one.method.text]
    assert len(ours) == len(by["8867-4"]) == len(minutes)
    for one, beats in zip(ours, minutes.values(), strict=True):
        codes = [[c.code for c in part.code.coding] for part in one.component]
        assert codes == [["8480-6", "75997-7"], ["8462-4", "75995-1"], ["8478-0"]]
        quantity = one.component[0].valueQuantity
        assert (quantity.code, quantity.system) == ("mm[Hg]", "http://unitsofmeasure.org")
        middle = np.median([beat.sbp for beat in beats])
        assert abs(float(quantity.value) - middle) <= 0.11
        assert "source: simulated" in one.method.text
    waves = [one.valueSampledData for one in by["Reconstructed arterial pressure waveform"]]
    assert {float(wave.period) for wave in waves} == {8.0}
    count = sum(len(wave.data.split()) for wave in waves)
    assert count == sum(len(beat.abp) for beat in estimates(live))


def test_a_remembered_reading_is_of_when_it_was_taken() -> None:
    at = 1_700_000_000 * NS
    detail = {"sbp": 128.0, "dbp": 79.0}
    (now,) = _told(Event("x", "cuff", at, at, detail))
    assert now["effectiveDateTime"] == "2023-11-14T22:13:20.000Z"
    detail |= {"remembered": {"age_s": 3600.5}}
    codes = [part["code"]["coding"] for part in now["component"]]
    assert [[one["code"] for one in code] for code in codes] == [["8480-6"], ["8462-4"]]
    (earlier,) = _told(Event("x", "cuff", at, at, detail))
    assert earlier["effectiveDateTime"] == "2023-11-14T21:13:19.500Z"


def test_a_frame_is_what_neurokit_takes(session: tuple[Path, list[Item]]) -> None:
    nk = pytest.importorskip("neurokit2")
    from innpar.stream.session.export.dataframe import dataframe

    path, live = session
    frame = dataframe(path, begin=0, end=60)
    rate = frame.attrs["sampling_rate"]
    assert (rate, frame.attrs["source"], frame.attrs["device"]) == (125.0, "simulated", "demo")
    assert {"PPG", "PPG_ppg0", "PPG_ambient", "ABP", "ABP_true", "Marker"} == {*frame.columns} - {
        "PPG_ppg1",
        "PPG_ppg2",
    }
    steps = np.diff(frame.index.as_unit("ns").asi8)
    assert (steps == 8_000_000).all()
    piece = frame["PPG"].dropna().iloc[: int(20 * rate)].to_numpy()
    signals, info = nk.ppg_process(piece, sampling_rate=rate)
    found = float(np.median(signals["PPG_Rate"]))
    begin = frame.index[0].value
    wanted = [b.hr for b in estimates(live) if b.hr and b.peak < begin + 25 * NS]
    assert abs(found - float(np.median(wanted))) < 4
    assert len(info["PPG_Peaks"]) > 15
    # Upright: the rising edge of a pulse is the steep one.
    slope = np.diff(piece)
    assert np.mean((slope - slope.mean()) ** 3) > 0
    beat = next(b for b in estimates(live) if b.valid and b.abp_start > begin)
    rows = frame.loc[frame.index.as_unit("ns").asi8 >= beat.abp_start - 1, "ABP"]
    assert np.abs(rows.to_numpy()[: len(beat.abp) - 1] - beat.abp[:-1]).max() <= 0.051
