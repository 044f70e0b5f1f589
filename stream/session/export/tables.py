"""A session as tables: samples, reconstructed pressure, beats, events and markers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from innpar.devices import NS, Chunk, Event
from innpar.devices.session.contents import SIMULATED, source_of
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.strict_json import strict_json
from innpar.stream.messages.hygiene import cell
from innpar.stream.session.export.content import ESTIMATE, PlacedBeat, contents, estimate, known_of

TIMES = ("time", "start", "end")
"""Columns of int64, ns since the Unix epoch."""

_PRESSURES = ("sbp", "dbp", "map")
_NUMBERS = (
    *_PRESSURES,
    *("pp", "hr", "quality"),
    *(f"{name}_{edge}" for name in _PRESSURES for edge in ("low", "high")),
    *("level", "calibration_age_s", "calibration_sbp", "calibration_dbp"),
    *("skew_ppm", "clock_error_ms"),
    *(
        f"latency_{part}_ms"
        for part in ("sensor", "guard", "lookahead", "hop", "beat", "compute", "total")
    ),
    *(f"reference_{name}" for name in _PRESSURES),
)
BEAT_COLUMNS: Mapping[str, type] = {
    "time": int,
    "seq": int,
    **dict.fromkeys(_NUMBERS, float),
    "valid": bool,
    **dict.fromkeys(("reasons", "calibration", "source", "session", "model"), str),
}
"""Columns of the table of beats: mmHg, beats per minute, s, ms; ``reasons`` separated by spaces."""

EVENT_COLUMNS: Mapping[str, type] = {"start": int, "end": int, "kind": str, "detail": str}
MARKER_COLUMNS: Mapping[str, type] = {"time": int, "text": str}


class TableRow(NamedTuple):
    """Some rows of one table.

    Attributes:
        table: Name of the table.
        kinds: Column → type: int, float, bool or str.
        columns: Column → values, all of one length; None where there is no value.
    """

    table: str
    kinds: Mapping[str, type]
    columns: Mapping[str, list[Any]]


def pieces(file: SessionFile) -> Iterator[TableRow]:
    """Yield the contents of a session as rows of tables.

    Samples of a simulation have a column ``source``, so that they say so wherever they are taken.
    """
    sources = {device: source_of(noted) for device, noted in known_of(file).items()}
    for item in contents(file):
        if isinstance(item, Chunk):
            yield _samples(f"{item.device}-{item.signal}", item, sources.get(item.device))
        elif isinstance(item, Event):
            detail = strict_json(item.detail, ensure_ascii=False)
            row = (item.start, item.end, item.kind, detail)
            yield _row(f"{item.device}-events", EVENT_COLUMNS, row)
            if item.kind == "marker":
                text = str(item.detail.get("text", ""))
                yield _row(f"{item.device}-markers", MARKER_COLUMNS, (item.start, text))
        else:
            yield _row(f"{item.device}-beats", BEAT_COLUMNS, tuple(beat_row(item).values()))
            wave = estimate(item)
            if wave is not None:
                yield _samples(f"{item.device}-{ESTIMATE}", wave, sources.get(item.device))


def _samples(table: str, chunk: Chunk, source: str | None) -> TableRow:
    taken = (*TIMES, "source")
    names = [f"{label}-channel" if label in taken else label for label in chunk.channels]
    kinds: dict[str, type] = {"time": int, **dict.fromkeys(names, float)}
    values: dict[str, list[Any]] = dict(zip(names, chunk.data.T.tolist(), strict=True))
    if source == SIMULATED:
        kinds["source"], values["source"] = str, [source] * len(chunk)
    return TableRow(table, kinds, {"time": chunk.times.tolist(), **values})


def _row(table: str, kinds: Mapping[str, type], values: tuple[Any, ...]) -> TableRow:
    return TableRow(table, kinds, {k: [v] for k, v in zip(kinds, values, strict=True)})


def beat_row(beat: PlacedBeat) -> dict[str, Any]:
    """Return a beat as one row, by column; None where the message has null."""
    payload = beat.payload
    interval, reference = payload.get("interval") or {}, payload.get("reference") or {}
    calibration, clock = payload.get("calibration") or {}, payload.get("clock") or {}
    latency = payload.get("latency_ms") or {}
    found: dict[str, Any] = {"time": beat.time, **payload, "level": interval.get("level")}
    for name in _PRESSURES:
        low, high = interval.get(name) or (None, None)
        found |= {f"{name}_low": low, f"{name}_high": high}
        found[f"reference_{name}"] = reference.get(name)
    found |= {f"latency_{part}_ms": value for part, value in latency.items()}
    found |= {f"calibration_{key}": calibration.get(key) for key in ("age_s", "sbp", "dbp")}
    found |= {"skew_ppm": clock.get("skew_ppm"), "clock_error_ms": clock.get("error_ms")}
    found |= {"time": beat.time, "calibration": calibration.get("state")}
    found["reasons"] = " ".join(payload.get("reasons") or ())
    return {column: found.get(column) for column in BEAT_COLUMNS}


def to_csv(file: SessionFile, folder: Path) -> int:
    """Write one CSV file per table; return the number of files.

    Times are seconds since the Unix epoch, to the nanosecond; numbers are exact. An empty cell is
    a missing value. Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    tables: dict[str, tuple[Any, tuple[str, ...]]] = {}
    with ExitStack() as stack:
        for piece in pieces(file):
            name, columns = piece.table, tuple(piece.columns)
            while name in tables and tables[name][1] != columns:
                name += "-more"  # a sensor that reconnected with other channels
            if name not in tables:
                stream = (folder / f"{name}.csv").open("w", encoding="utf-8", newline="")
                writer = csv.writer(stack.enter_context(stream), lineterminator="\n")
                writer.writerow(map(cell, columns))
                tables[name] = writer, columns
            cells = [map(_TEXT.get(column, _cell), piece.columns[column]) for column in columns]
            tables[name][0].writerows(zip(*cells, strict=True))
    return len(tables)


def _seconds(time: int) -> str:
    whole, part = divmod(time, NS)
    return f"{whole}.{part:09d}"


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return cell(value)
    if not isinstance(value, float):
        return value
    return str(int(value)) if value.is_integer() else repr(value)


_TEXT = dict.fromkeys(TIMES, _seconds)
