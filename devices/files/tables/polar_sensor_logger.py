"""Text files of the Polar Sensor Logger app.

A header ``Phone timestamp;sensor timestamp [ns];channel 0;…;ambient``, then rows that end in ``;``.
The sensor's clock gives the intervals. As it may be years off, the phone's time in the first row
gives the date (taken as UTC, as the file names no time zone).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import (
    Notices,
    Recording,
    RecordingBlock,
    iso_time,
    measured_rate,
)
from innpar.devices.files.tables.rows import RowParser, blocks_of_lines, skipped
from innpar.devices.options import Options

_SENSOR_EPOCH = 946_684_800 * NS
"""Epoch of the sensor's clock, 2000-01-01, ns since the Unix epoch."""

HEADER = b"Phone timestamp;sensor timestamp [ns];"


def open_polar_log(path: Path, head: list[bytes], options: dict[str, str]) -> Recording:
    """Open a Polar log.

    Args:
        path: The file, optionally gzip-compressed.
        head: Its first complete lines.
        options: ``channel``.

    Raises:
        Refused: It contains no PPG.
    """
    chosen = Options(str(path), options, {"channel": "name or number from 0"})
    names = [cell.strip() for cell in head[0].decode("utf-8", "replace").split(";")[2:] if cell]
    if not any(name.startswith("channel") for name in names):
        raise Refused(
            f"{path}: a Polar log of {', '.join(names)}; choose the file whose name ends in PPG"
        )
    labels = [name.replace("channel ", "ppg") for name in names]
    kept = chosen.column("channel", labels, names)
    columns = range(len(labels)) if kept is None else (kept,)

    def parser() -> RowParser:
        width = head[1].count(b";") + 1 if len(head) > 1 else len(names) + 3
        return RowParser(b";", width, 1, int, tuple(2 + c for c in columns))

    times, _ = parser().parse(head[1:])
    if len(times) < 2:
        raise Refused(f"{path}: a Polar log without samples; record again")
    if not measured_rate(times) > 0:
        raise Refused(f"{path}: a Polar log whose sensor time does not advance; record again")
    shift = _anchor(head[1:])

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        rows = parser()
        with opened(path) as stream:
            stream.readline()
            for lines in blocks_of_lines(stream):
                times, data = rows.parse(lines)
                yield RecordingBlock(times + shift, data)
        notices.extend(skipped(path, rows))

    return Recording(
        format="Polar Sensor Logger",
        model="Polar optical sensor",
        channels=tuple(labels[c] for c in columns),
        rate=measured_rate(times),
        polarity=-1,
        site="wrist",
        start=int(times[0]) + shift,
        duration=None,
        read=read,
    )


def _anchor(rows: list[bytes]) -> int:
    """Return the phone's time minus the sensor's, ns, from the first row with both."""
    for row in rows:
        phone, _, rest = row.partition(b";")
        try:
            return iso_time(phone) - int(rest.partition(b";")[0])
        except ValueError:
            continue
    return _SENSOR_EPOCH
