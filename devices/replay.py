"""Recordings opened by content: the format is detected, whatever the file is called."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast

from innpar.devices.base import Device, Refused
from innpar.devices.files.containers.array_files import (
    open_arrow,
    open_hdf5,
    open_json_lines,
    open_mat,
    open_npy,
)
from innpar.devices.files.containers.npz_record import open_record
from innpar.devices.files.containers.wearables import open_acq, open_avro, open_vital
from innpar.devices.files.device import Replay
from innpar.devices.files.packed import opened
from innpar.devices.files.recording import PLAYS, Recording
from innpar.devices.files.signals.edf_file import BDF_MAGIC, EDF_MAGIC, open_edf
from innpar.devices.files.signals.wfdb_file import looks_like_wfdb, open_wfdb
from innpar.devices.files.signals.xdf_file import MAGIC as XDF_MAGIC
from innpar.devices.files.signals.xdf_file import open_xdf
from innpar.devices.files.tables.emotibit import looks_like_emotibit, open_emotibit_log
from innpar.devices.files.tables.empatica import looks_like_empatica, open_empatica
from innpar.devices.files.tables.polar_sensor_logger import HEADER, open_polar_log
from innpar.devices.files.tables.rows import BYTE_ORDER_MARK
from innpar.devices.files.tables.table import open_table
from innpar.devices.options import Options, slug
from innpar.devices.session.device import open_session
from innpar.devices.session.writer import MAGIC
from innpar.devices.timing.pace import REAL_TIME, Pace

_HEAD_BYTES = 1 << 16
_OPTIONS = {
    "from": "start, seconds into the recording",
    "to": "end, seconds into the recording",
    "polarity": "1 if a pulse makes the samples rise, -1 if it makes them fall",
    "site": "wrist, finger, head or unknown",
    "id": "device id to use instead of one from the file name",
}


CONTAINERS: Mapping[bytes, Callable[[Path, dict[str, str]], Recording]] = {
    b"\x93NUMPY": open_npy,
    b"MATLAB 5.0": open_mat,
    b"MATLAB 7.3": open_hdf5,
    b"\x89HDF": open_hdf5,
    b"PAR1": open_arrow,
    b"ARROW1": open_arrow,
    b"VITA": open_vital,
    b"Obj\x01": open_avro,
    b"{": open_json_lines,
}
"""First bytes → opener."""
LEFT_OUT: Mapping[bytes, str] = {
    b"GDF ": "a GDF file, which is not played; convert it to EDF, for example with BioSig",
    b"FEA1": "a Feather file of version 1, which is not played; save it as Parquet",
    b"SQLite format 3": "an SQLite database, which is not played; export its table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel or Office file, which is not played; save it as CSV",
    b"%PDF": "a PDF, which is not played; export the samples as CSV",
}
"""First bytes of formats that are not played → the remedy."""


def create_replay(argument: str, options: dict[str, str], pace: Pace) -> Device:
    """Open the recording ``replay:FILE[?key=value&…]``: a session or a third-party format.

    Raises:
        NotFound: No such file.
        Refused: It cannot be played with these options; the message says why.
        BadPacket: Its compressed data is damaged from the beginning.
    """
    if not argument:
        raise Refused("replay needs a file: --device replay:FILE")
    path = Path(argument).expanduser()
    if _is_session(path):
        return open_session(path, options, pace=pace)
    return open_recording(path, options, pace=pace)


def _is_session(path: Path) -> bool:
    with opened(path) as stream:
        return stream.read(len(MAGIC)) == MAGIC


def open_recording(path: Path, options: dict[str, str], *, pace: Pace = REAL_TIME) -> Replay:
    """Open a recording of a third-party format as a device.

    Args:
        path: The file, optionally gzip-compressed.
        options: ``from``, ``to``, ``polarity``, ``site``, ``id``, and those of its format.
        pace: Speed and chunk length.

    Raises:
        NotFound: No such file.
        Refused: It is not a supported recording, or cannot be played with these options; the
            message says why.
        BadPacket: Its compressed data is damaged from the beginning.
    """
    chosen = Options("replay", {k: v for k, v in options.items() if k in _OPTIONS}, _OPTIONS)
    begin, end = chosen.number("from", 0.0), chosen.number("to", 0.0)
    if end is not None and end <= (begin or 0.0):
        raise Refused(f"replay: to={end:g} must be greater than from={begin or 0:g}")
    polarity = chosen.choice("polarity", ("1", "-1"))
    site = chosen.choice("site", ("wrist", "finger", "head", "unknown"))
    recording = _open_by_content(path, {k: v for k, v in options.items() if k not in _OPTIONS})
    if begin is not None and recording.duration is not None and begin >= recording.duration:
        raise Refused(
            f"{path}: from={begin:g} is past its end; choose less than its "
            f"{recording.duration:.0f} s"
        )
    return Replay(
        id=chosen.identity(f"replay-{_stem(path)}"),
        recording=recording,
        polarity=recording.polarity if polarity is None else cast(Literal[-1, 1], int(polarity)),
        site=site or recording.site,
        begin=begin or 0.0,
        end=math.inf if end is None else end,
        pace=pace,
    )


def _open_by_content(path: Path, options: dict[str, str]) -> Recording:
    with opened(path) as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise Refused(f"{path}: the file is empty; record again")
    if head.startswith(b"PK"):
        return open_record(path, options)
    for magic, opener in CONTAINERS.items():
        if head.startswith(magic):
            return opener(path, options)
    for magic, remedy in LEFT_OUT.items():
        if head.startswith(magic):
            raise Refused(f"{path}: {remedy}")
    if path.suffix.lower() == ".acq":  # its first bytes are those of many files
        return open_acq(path, options)
    if head.startswith(XDF_MAGIC):
        return open_xdf(path, options)
    if head.startswith(BDF_MAGIC) or _is_edf(head):
        return open_edf(path, options, wide=head.startswith(BDF_MAGIC))
    lines = _lines(path, head)
    if lines[0].startswith(HEADER):
        return open_polar_log(path, lines, options)
    if looks_like_empatica(lines):
        return open_empatica(path, lines, options)
    if looks_like_emotibit(lines):
        return open_emotibit_log(path, lines, options)
    if looks_like_wfdb(lines):
        return open_wfdb(path, options)
    return open_table(path, lines, options)


def _is_edf(head: bytes) -> bool:
    # EDF begins with a version number only; the length of its header confirms it.
    return head.startswith(EDF_MAGIC) and head[184:192].strip().isdigit() and len(head) > 256


def _lines(path: Path, head: bytes) -> list[bytes]:
    """Return the complete lines at the beginning of the file.

    Raises:
        Refused: It is not text.
    """
    text = head.removeprefix(BYTE_ORDER_MARK).replace(b"\r", b"")
    if re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", text):
        raise Refused(f"{path}: this is neither text nor a .npz record; {PLAYS}")
    whole, newline, rest = text.rpartition(b"\n")
    lines = whole.split(b"\n") if newline else []
    return [*lines, rest] if len(head) < _HEAD_BYTES and rest else lines or [rest]


def _stem(path: Path) -> str:
    name = re.sub(
        r"(\.(gz|bz2|zip|txt|csv|tsv|np[yz]|dat|hea|edf|bdf|xdf|mat|h5|hdf5|parquet|feather|vital"
        r"|avro|acq|jsonl?|ndjson))+$",
        "",
        path.name,
        flags=re.IGNORECASE,
    )
    return slug(name.replace("_", "-"))
