"""``innpar-stream session export``: one folder a session and format."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from innpar.devices.session.contents import damage_of
from innpar.devices.session.reader import SessionFile
from innpar.stream.errors import SessionError
from innpar.stream.session.new_file import fresh_folder

FORMATS = {
    "csv": "tables.to_csv",
    "parquet": "parquet.to_parquet",
    "edf": "edf.to_edf",
    "wfdb": "wfdb.to_wfdb",
    "xdf": "xdf.to_xdf",
    "fhir": "fhir.to_fhir",
}
"""What ``--format`` may say → what writes a session into a folder and returns how many files."""


def export(path: Path, out: Path | None, format_: str) -> int:
    """Write a session's contents into a folder; return the exit status.

    Raises:
        SessionError: The folder cannot be written to, or the format needs what is not installed.
        DeviceError: There is no such file, or it is no session.
    """
    module, _, name = FORMATS[format_].partition(".")
    write: Callable[[SessionFile, Path], int]
    write = getattr(import_module(f".{module}", __package__), name)
    with SessionFile(path) as file:
        with fresh_folder(out or path.with_name(f"{path.stem}-{format_}")) as folder:
            files = write(file, folder)
        print(f"{folder}: {files} files")
        if trouble := damage_of(file):
            print(f"{path}: {trouble}")
    return 0


def missing(what: str, package: str) -> SessionError:
    """Return the error of a format whose package is not installed."""
    return SessionError(f"{what} needs {package}: scripts/setup export")
