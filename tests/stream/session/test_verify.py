"""Whatever an export leaves out, verify names; and every export bears whatever a file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import NS, BadPacket, Chunk
from innpar.devices.session.items import BEATS, EVENTS, JSON, SAMPLES, pack_chunk, to_json
from innpar.devices.session.published import unpack_beat
from innpar.devices.session.writer import Writer
from innpar.stream.cli.main import main
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.export.content import PlacedBeat, estimate
from innpar.stream.session.export.formats import FORMATS
from innpar.stream.session.export.tables import BEAT_COLUMNS, beat_row

START = 1_700_000_000 * NS
NO_NUMBERS: list[Any] = ["x", [1, "x"], {"a": 1}, float("nan"), 10**30, True]
BEAT: dict[str, Any] = {
    "schema": "bp-beat/1",
    "device": "d",
    "source": "live",
    "session": "s",
    "seq": 0,
    "t": START / NS + 1.2,
    **{"sbp": 120.0, "dbp": 80.0, "map": 95.0, "pp": 40.0, "hr": 60.0, "quality": 0.9},
    "interval": {"level": 0.9, "sbp": [110, 130], "dbp": [70, 90], "map": [80, 100]},
    "valid": True,
    "reasons": [],
    "calibration": {"state": "ok", "age_s": 3, "sbp": 120, "dbp": 80},
    "latency_ms": {"total": 3},
    "clock": {"skew_ppm": 1, "error_ms": 1},
    "abp": {"start": START / NS + 1.0, "rate": 125, "samples": [80, 90, 120, 100, 85]},
    "model": "m",
}


def wrong_beats() -> list[dict[str, Any]]:
    """Return beats of which each has one wrong value."""
    numbers = [key for key, value in BEAT.items() if type(value) in (int, float)]
    found = [BEAT | {key: bad} for key in numbers for bad in NO_NUMBERS]
    found += [BEAT | {key: bad} for key in ("source", "session", "model") for bad in (1, [], None)]
    found += [BEAT | {"reasons": bad} for bad in ("x", 1, [1], {"a": 1})]
    found += [BEAT | {"valid": bad} for bad in ("x", 1, [1], {"a": 1}, None)]
    found += [BEAT | {key: None} for key in ("t", "sbp", "dbp", "map")]
    for key in ("interval", "calibration", "clock", "latency_ms", "abp"):
        found += [BEAT | {key: bad} for bad in ("x", 1, [1], True)]
        for inside in BEAT[key]:
            bads = [["x"], {"a": 1}, float("inf"), *([] if inside == "state" else ["x", True])]
            found += [BEAT | {key: BEAT[key] | {inside: bad}} for bad in bads]
    found += [BEAT | {"abp": BEAT["abp"] | {"rate": bad}} for bad in (0, -1, 1e-300, None)]
    return [*found, {}]


def wrong_events() -> list[dict[str, Any]]:
    """Return events of which each has one wrong value."""
    at = {"start": START + NS, "end": START + NS}
    readings: list[Any] = [{}, {"sbp": "a", "dbp": "b"}, {"sbp": None, "dbp": 80}]
    readings += [{"sbp": 120, "dbp": 80, "remembered": bad} for bad in (5, {}, {"age_s": "x"})]
    found = [{"kind": "cuff", **at, "detail": detail} for detail in readings]
    found += [{"kind": "cuff_undone", **at, "detail": detail} for detail in readings[:3]]
    found += [{"kind": "clock", **at, "detail": detail} for detail in ({}, {"skew_ppm": "x"})]
    found += [{"kind": "gap", **at, "detail": {"lost": "x"}}, {"kind": "no", **at, "detail": {}}]
    times: list[Any] = [10**30, -(10**19), True, 1.5, "x", None]
    found += [{"kind": "marker", **at, "start": bad, "detail": {"text": "x"}} for bad in times]
    found += [{"kind": "marker", **at, "end": bad, "detail": {"text": "x"}} for bad in times]
    return [*found, {"kind": "marker", **at, "detail": "x"}, {}]


def wave(rate: float = 55.0, start: int = START, size: float = 100.0, *labels: str) -> Chunk:
    names = labels or ("ppg0",)
    times = start + np.arange(200) * int(NS / rate)
    column = np.sin(np.arange(200) / 9)[:, None] * size
    return Chunk("d", "ppg", names, rate, times, np.repeat(column, len(names), axis=1))


def write(path: Path, chunk: Chunk, beats: list[Any], events: list[Any], subject: str = "p") -> int:
    """Write a session; return the number of its messages."""
    sent = 0
    with path.open("xb", buffering=0) as target:
        writer = Writer(target, "test")

        def add(topic: str, kind: str, data: bytes, about: dict[str, str] | None = None) -> None:
            nonlocal sent
            time = max(0, int(chunk.times[0]))
            writer.add(writer.channel(topic, kind, about or {}), time, time, data, sent)
            sent += 1

        add("run", JSON, to_json({"software": "test"}))
        add("d/about", JSON, to_json({"source": "live", "site": "wrist", "subject": subject}))
        labels = {"channels": "\t".join(chunk.channels)}
        add("d/ppg", SAMPLES, pack_chunk(chunk), labels)
        for what, messages in ((BEATS, beats), (EVENTS, events)):
            for message in messages:
                add(f"d/{what}", JSON, json.dumps(message).encode())
        writer.finish()
    return sent


def need(format_: str) -> None:
    if FORMATS[format_].package:
        pytest.importorskip(FORMATS[format_].package)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A session, and the same with every wrong message among its own."""
    folder = tmp_path_factory.mktemp("wrong")
    marker = {"kind": "marker", "start": START, "end": START, "detail": {"text": "x"}}
    write(folder / "right.mcap", wave(), [BEAT], [marker])
    beats, events = [*wrong_beats(), BEAT], [*wrong_events(), marker]
    write(folder / "wrong.mcap", wave(), beats, events)
    return folder / "right.mcap", folder / "wrong.mcap"


def test_verify_counts_every_wrong_message(
    sessions: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = sessions
    assert main(["session", "verify", str(right)]) == 0
    capsys.readouterr()
    assert main(["session", "verify", str(wrong)]) == 1
    count = len(wrong_beats()) + len(wrong_events())
    assert f"{count} messages do not match their channel's format" in capsys.readouterr().out


@pytest.mark.parametrize("format_", [name for name in FORMATS if name not in ("edf", "parquet")])
def test_an_export_leaves_the_wrong_messages_out(
    format_: str, sessions: tuple[Path, Path], tmp_path: Path
) -> None:
    need(format_)
    for name, path in zip(("right", "wrong"), sessions, strict=True):
        out = str(tmp_path / name)
        assert main(["session", "export", str(path), out, "--format", format_]) == 0
    assert contents(tmp_path / "right") == contents(tmp_path / "wrong")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("chunk", "subject"),
    [
        (wave(size=1e-300), "p"),
        (wave(54.98765), "p"),
        (wave(1e5), "p"),
        (wave(55.0, START, 1.0, "ü\n=1", "x" * 200), "ü" * 200),
        (wave(55.0, START, 1.0, "a", "a", "time", "source", ""), "p\n"),
        (wave(55.0, START, 1.0, *(f"c{n}" for n in range(300))), "p"),
    ],
    ids=["tiny", "odd rate", "fast", "odd labels", "labels twice", "many"],
)
def test_every_export_bears_any_samples(
    chunk: Chunk, subject: str, format_: str, tmp_path: Path
) -> None:
    need(format_)
    path = tmp_path / "s.mcap"
    write(path, chunk, [BEAT], [], subject)
    assert main(["session", "verify", str(path)]) == 0
    assert main(["session", "export", str(path), str(tmp_path / "o"), "--format", format_]) == 0


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (wave(start=0), "EDF holds dates from 1985 to 2084, not 1970"),
        (wave(start=7_258_118_400 * NS), "EDF holds dates from 1985 to 2084, not 2200"),
        (wave(size=1e12), "EDF holds values from -9999998 to 99999998"),
    ],
)
def test_a_limit_of_a_format_is_named_by_verify_and_export(
    chunk: Chunk, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need("edf")
    path = tmp_path / "s.mcap"
    write(path, chunk, [], [])
    assert main(["session", "verify", str(path)]) == 0
    assert f"d: ppg cannot be exported as edf: {why}" in capsys.readouterr().out
    words = ["session", "export", str(path), str(tmp_path / "o")]
    assert main([*words, "--format", "edf"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert why in error
    assert main([*words, "--format", "csv"]) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*BEAT]), inner),
    max_leaves=6,
)


@given(st.data())
def test_a_beat_that_is_read_can_be_written_anywhere(data: st.DataObject) -> None:
    beat = dict(BEAT)
    for key in data.draw(st.lists(st.sampled_from([*BEAT]), min_size=1, max_size=3)):
        inside = isinstance(beat[key], dict) and data.draw(st.booleans())
        value = data.draw(VALUES)
        beat[key] = (
            beat[key] | {data.draw(st.sampled_from([*beat[key]])): value}
            if inside and beat[key]
            else value
        )
    try:
        read = unpack_beat(json.dumps(beat).encode("utf-8", "replace"))
    except BadPacket:
        return
    placed = PlacedBeat("d", read)
    row = beat_row(placed)
    for column, kind in BEAT_COLUMNS.items():
        allowed = (int, float) if kind is float else (kind,)
        assert row[column] is None or type(row[column]) in allowed
    estimate(placed)
    BeatTable().add(read)
