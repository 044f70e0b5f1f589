"""The table of export formats, and what every export holds."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event
from innpar.devices.replay import open_recording
from innpar.stream.errors import SessionError
from innpar.stream.session.export.formats import FORMATS, require
from support.exports import START, WORDS, epoch, exported, stretches
from support.sessions import MAX


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_its_writer(name: str) -> None:
    row = FORMATS[name]
    module, _, function = row.writer.partition(":")
    assert callable(getattr(import_module(f"innpar.stream.session.export.{module}"), function))
    assert row.about


def test_the_table_is_cheap_to_read() -> None:
    code = "import sys, innpar.stream.session.export.formats as f; print(*f.FORMATS, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded >= set(FORMATS)
    assert not loaded & {"numpy", "mcap", "asyncio", "edfio", "pyarrow"}


def test_a_missing_package_is_named() -> None:
    with pytest.raises(SessionError, match="--format x needs no_such_package: scripts/setup"):
        require("no_such_package", "--format x")


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
                since = (head.base_datetime - epoch()).total_seconds()
                text = text.removeprefix("marker: ").encode().decode("unicode_escape")
                found.append((since + at / head.fs, text))
    return found


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
