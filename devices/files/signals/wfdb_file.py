"""WFDB records (PhysioNet): a text header ``.hea`` with signal files beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import is_packed, unpack_first
from innpar.devices.files.recording import NO_DATE, Recording
from innpar.devices.files.signals.traces import Trace, recording_of

_FIRST = re.compile(rb"^[\w/-]+ \d+ \d+(\.\d+)?(/\S+)?( \d+( \S+)*)?$")
_SIGNAL = re.compile(rb"^\S+ \d+(x\d+)?(:\d+)?(\+\d+)?( \S+)*")
_FIELDS = 8
"""Words of a complete signal line; in a truncated one, a truncated gain may look valid."""


def looks_like_wfdb(head: list[bytes]) -> bool:
    """Return whether the first lines look like the header of a WFDB record."""
    lines = [line.strip() for line in head[:20] if line.strip() and line[:1] != b"#"]
    if len(lines) < 2 or not _FIRST.match(lines[0]):
        return False
    words = lines[0].split()
    return 0 < int(words[1]) < len(head) + 1 and bool(_SIGNAL.match(lines[1]))


def open_wfdb(path: Path, options: dict[str, str]) -> Recording:
    """Open a record by its header.

    Args:
        path: The header ``.hea``.
        options: See `traces.OPTIONS`.

    Raises:
        Refused: It is damaged, contains no PPG, or wfdb is not installed.
    """
    try:
        import wfdb  # type: ignore[import-untyped]  # it ships none
    except ImportError:
        raise Refused(f"{path}: WFDB needs wfdb; run scripts/setup import") from None
    if is_packed(path):
        raise unpack_first(path)
    text = path.read_bytes()
    if not text.endswith(b"\n") and len(text.splitlines()[-1].split()) < _FIELDS:
        raise Refused(f"{path}: the record's header is cut short; copy it again")
    try:
        record = wfdb.rdrecord(str(path.with_suffix("")))
        values = np.asarray(record.p_signal, np.float64)
        began = record.base_datetime
        zero = NO_DATE if began is None else _ns(began)
        since = np.rint(np.arange(len(values)) * (NS / float(record.fs))).astype(np.int64)
        traces = [
            Trace(str(name), since + zero, values[:, column])
            for column, name in enumerate(record.sig_name)
        ]
    except Exception as error:  # whatever wfdb raises, the record is at fault
        raise Refused(
            f"{path}: cannot be read as a WFDB record ({error}); copy its files again"
        ) from None
    return recording_of(path, "WFDB", "unknown", traces, options)


def _ns(moment: datetime) -> int:
    whole = round(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
    return whole * NS + moment.microsecond * 1000
