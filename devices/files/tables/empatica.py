"""Empatica E4 exports: the time of the first sample, the rate, then one sample per row.

According to the manufacturer the BVP is upright: diastole is a local minimum, systole a maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import Notices, Recording, RecordingBlock
from innpar.devices.files.tables.rows import RowParser, blocks_of_lines, skipped
from innpar.devices.options import Options


def looks_like_empatica(head: list[bytes]) -> bool:
    """Return whether the first two lines are a date in seconds and a rate in Hz only."""
    try:
        starts, rates = ({float(cell) for cell in line.split(b",")} for line in head[:2])
    except ValueError:
        return False
    return len(starts) == len(rates) == 1 and 1e9 < min(starts) < 5e9 and 0.5 < min(rates) <= 1000


def open_empatica(path: Path, head: list[bytes], options: dict[str, str]) -> Recording:
    """Open an Empatica export.

    Args:
        path: The file, optionally gzip-compressed.
        head: Its first complete lines.
        options: Must be empty.

    Raises:
        Refused: It is not the BVP.
    """
    Options(str(path), options, {})
    rate = float(head[1].split(b",")[0])
    if b"," in head[0] or rate < 20:
        raise Refused(f"{path}: an Empatica export, but not of the PPG; choose BVP.csv")
    start = round(float(head[0]) * NS)

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        rows = RowParser(b",", 1, None, int, (0,))
        with opened(path) as stream:
            stream.readline()
            stream.readline()
            for lines in blocks_of_lines(stream):
                index, data = rows.parse(lines)
                yield RecordingBlock(np.rint(index * (NS / rate)).astype(np.int64) + start, data)
        notices.extend(skipped(path, rows))

    return Recording(
        format="Empatica export",
        model="Empatica E4",
        channels=("bvp",),
        rate=rate,
        polarity=1,
        site="wrist",
        start=start,
        duration=None,
        read=read,
    )
