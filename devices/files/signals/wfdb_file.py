"""WFDB records (PhysioNet): a text header ``.hea`` with signal files beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import is_packed, unpack_first
from innpar.devices.files.recording import NO_DATE, Recording, moved_date, moved_text
from innpar.devices.files.signals.trace_choice import Trace, TraceContent
from innpar.devices.files.signals.traces import recording_of

_FIRST = re.compile(rb"^[\w/-]+ \d+ \d+(\.\d+)?(/\S+)?( \d+( \S+)*)?$")
_SIGNAL = re.compile(rb"^\S+ \d+(x\d+)?(:\d+)?(\+\d+)?( \S+)*")
OURS = "innpar-stream"
"""Word in the comments of records that we exported."""
_FIELDS = 8
"""Words of a complete signal line; in a truncated one, a truncated gain may look valid."""


def looks_like_wfdb(head: list[bytes]) -> bool:
    """Return whether the first lines look like the header of a WFDB record."""
    lines = [line.strip() for line in head[:20] if line.strip() and line[:1] != b"#"]
    if len(lines) < 2 or not _FIRST.match(lines[0]):
        return False
    words = lines[0].split()
    name, _, parts = words[0].partition(b"/")
    listed = int(parts) if parts.isdigit() else int(words[1])
    return bool(name) and 0 < listed < len(head) + 1 and bool(_SIGNAL.match(lines[1]))


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
        shift = moved_date(zero)
        since = np.rint(np.arange(len(values)) * (NS / float(record.fs))).astype(np.int64)
        comments = _comments(path, record)
        ours = OURS in comments
        traces = [
            Trace(
                *(str(name), since + (zero + shift), values[:, column], 0),
                *(str(record.units[column]), "", _content(str(name), ours)),
            )
            for column, name in enumerate(record.sig_name)
        ]
    except Exception as error:  # whatever wfdb raises, the record is at fault
        raise Refused(
            f"{path}: cannot be read as a WFDB record ({error}); copy its files again"
        ) from None
    origin = "simulated" if ours and "source: simulated" in comments else "live"
    notes = [moved_text(path.name)] if shift else []
    return recording_of(path, "WFDB", "unknown", traces, options, origin=origin, notes=notes)


def _content(name: str, ours: bool) -> TraceContent:
    if ours and name.lower().startswith("abp"):
        return "estimate" if "estimate" in name.lower() else "measured"
    return ""


def _comments(path: Path, record: Any) -> str:
    """Return the comments of a record, one a line; those of its header if it has several parts."""
    comments = list(record.comments or ())
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([*comments, *(line.lstrip("# ") for line in lines if line[:1] == "#")])


def _ns(moment: datetime) -> int:
    whole = round(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
    return whole * NS + moment.microsecond * 1000
