"""A withdrawn cuff reading is shown as withdrawn wherever a session is shown."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from innpar.devices import NS, Event
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import Pace, VirtualClock
from innpar.stream.calibration.types import CuffReading
from innpar.stream.session.events import WITHDRAWN, events_of, marked
from innpar.stream.session.excerpt import stretch
from innpar.stream.session.index import index_session
from innpar.stream.session.info import info
from innpar.stream.session.plot import plot
from innpar.stream.session.recorder import Recorder
from innpar.stream.session.report.figures import Course, trends
from innpar.stream.session.report.findings import trend
from innpar.stream.session.report.sections import calibration
from support.exports import START, exported
from support.sessions import demo

AT, UNDONE_AT, NEXT = (START + seconds * NS for seconds in (20, 41, 60))
WRONG = CuffReading(AT, 182, 79)


def cuff(sbp: float, at: int, age: float | None = None) -> Event:
    detail: dict[str, Any] = {"sbp": sbp, "dbp": 79.0}
    if age is not None:
        detail["remembered"] = {"age_s": age}
    return Event("demo", "cuff", at, at, detail)


def undone(sbp: float, at: int) -> Event:
    return Event("demo", "cuff_undone", at, at, {"sbp": sbp, "dbp": 79.0})


def voids(*events: Event) -> list[bool]:
    return [WITHDRAWN in e.detail for e in marked(events) if e.kind == "cuff"]


def test_the_newest_reading_of_those_pressures_is_withdrawn() -> None:
    a, b, other = cuff(128, 100 * NS), cuff(128, 200 * NS), cuff(140, 300 * NS)
    assert voids(a, b, other) == [False, False, False]
    assert voids(a, b, other, undone(128, 400 * NS)) == [False, True, False]
    assert voids(a, b, undone(128, 250 * NS), undone(128, 260 * NS)) == [True, True]
    assert voids(a, undone(128, 150 * NS), b) == [True, False]
    assert voids(undone(128, 50 * NS), a) == [False]
    assert voids(a, undone(99, 150 * NS)) == [False]
    (mark,) = (e.detail[WITHDRAWN] for e in marked([a, undone(128, 150 * NS)]) if e.kind == "cuff")
    assert mark == 150


def test_a_repeated_remembered_reading_is_the_same_reading() -> None:
    first, again = cuff(128, 100 * NS), cuff(128, 500 * NS, age=400.0)
    older = cuff(128, 550 * NS, age=9000.0)
    assert voids(first, again, older, undone(128, 600 * NS)) == [True, True, False]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream with a reading that was withdrawn and another one that was not."""
    path = tmp_path_factory.mktemp("session") / "undone.mcap"
    recorder = Recorder(path, VirtualClock(START), {"software": "test"})
    device = demo(90, seed=3, pace=Pace(float("inf"), 1.0))
    recorder.enrol(device, "s")
    steering = [WRONG.event("demo"), WRONG.undone("demo", UNDONE_AT), cuff(128.0, NEXT)]
    for item in device.items(START):
        end = item.end if isinstance(item, Event) else int(item.times[-1])
        while steering and steering[0].start <= end:
            recorder.take(steering.pop(0))
        if not (isinstance(item, Event) and item.kind == "cuff"):
            recorder.take(item)
    recorder.close()
    return path


def test_session_info(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert info(session) == 0
    text = capsys.readouterr().out
    (wrong,) = (line for line in text.splitlines() if "cuff 182" in line and "Z," in line)
    assert wrong.endswith("withdrawn later")
    (right,) = (line for line in text.splitlines() if "cuff 128" in line)
    assert "withdrawn" not in right


def test_the_index_and_an_excerpt(session: Path) -> None:
    found = [WITHDRAWN in e.detail for e in index_session(session).devices["demo"].of("cuff")]
    assert found == [True, False]
    with SessionFile(session) as file:
        assert [e.kind for e in events_of(file)["demo"]].count("cuff_undone") == 1
        part = stretch(file, "demo", AT - NS, AT + NS)  # ends before the withdrawal
    (only,) = (e for e in part.events if e.kind == "cuff")
    assert only.detail[WITHDRAWN] == UNDONE_AT / NS


def test_the_report(session: Path) -> None:
    device = index_session(session).devices["demo"]
    course = Course(START / NS, START / NS + 90, UTC)
    wrong, right = calibration(device, course).split("</tr>")[1:3]
    assert "182/79 mmHg" in wrong
    assert "withdrawn at 22:14:01; not in force since" in wrong
    assert "128" in right
    assert "withdrawn" not in right
    charts = trends(device, course, trend(device.beats, course.first, course.last))
    assert charts.count("<title>withdrawn</title>") == 1


def test_the_plot(session: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert plot(session, tmp_path / "all.svg") == 0
    assert "cuff, withdrawn" in (tmp_path / "all.svg").read_text()
    assert plot(session, tmp_path / "part.svg", at="15", seconds=10.0) == 0
    assert "(withdrawn)" in (tmp_path / "part.svg").read_text()
    assert plot(session, tmp_path / "right.svg", at="55", seconds=10.0) == 0
    assert "withdrawn" not in (tmp_path / "right.svg").read_text()


def test_fhir(session: Path, tmp_path: Path) -> None:
    bundle = json.loads((exported(session, "fhir", tmp_path / "fhir") / "demo.json").read_text())
    readings = [
        entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"].get("method", {}).get("text") == "cuff reading"
    ]
    assert [one["status"] for one in readings] == ["entered-in-error", "preliminary"]
    assert "withdrawn at" in readings[0]["note"][0]["text"]
    assert "note" not in readings[1]
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    bundles.Bundle.model_validate(bundle)


@pytest.mark.parametrize(
    ("format_", "needs"), [("csv", ""), ("edf", "edfio"), ("wfdb", "wfdb"), ("xdf", "pyxdf")]
)
def test_other_exports(session: Path, format_: str, needs: str, tmp_path: Path) -> None:
    if needs:
        pytest.importorskip(needs)
    out = exported(session, format_, tmp_path / ("s.xdf" if format_ == "xdf" else "out"))
    if format_ == "csv":
        with (out / "demo-events.csv").open(newline="") as file:
            details = [r["detail"] for r in csv.DictReader(file) if r["kind"] == "cuff"]
        assert [WITHDRAWN in json.loads(one) for one in details] == [True, False]
        return
    files = [out] if out.is_file() else sorted(out.rglob("*"))
    content = b"".join(file.read_bytes() for file in files if file.is_file())
    found = re.findall(rb'(cuff_undone )?(\{[^{}]*"sbp"[^{}]*\})', content)
    readings = [
        json.loads(one) for undone, one in found if not undone and b"cuff_undone" not in one
    ]
    assert {one["sbp"] for one in readings} == {182, 128}
    assert all((WITHDRAWN in one) == (one["sbp"] == 182) for one in readings)
