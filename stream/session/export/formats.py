"""``innpar-stream session export``: the table of formats, and one folder per session and format.

The command line reads the table for its help, so this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from innpar.stream.errors import SessionError

if TYPE_CHECKING:
    from innpar.stream.session.index import SessionIndex


class ExportFormat(NamedTuple):
    """One value of ``--format``.

    Attributes:
        about: Description for the help text.
        writer: ``module:function``, the module beside this one; the function takes the open
            session and an empty folder, writes its files there and returns how many.
        package: Package that the function imports, one of the extra ``export``; empty without.
        limit: ``module:function`` like `edf.limit`; empty where the format holds any session.
    """

    about: str
    writer: str
    package: str = ""
    limit: str = ""


FORMATS: Mapping[str, ExportFormat] = {
    "csv": ExportFormat("tables as text", "tables:to_csv"),
    "parquet": ExportFormat("the same tables, typed", "parquet:to_parquet", "pyarrow"),
    "edf": ExportFormat(
        "EDF+ or BDF+, one file per gap-free segment", "edf:to_edf", "edfio", "edf:limit"
    ),
    "wfdb": ExportFormat("PhysioNet records with annotations", "wfdb:to_wfdb", "wfdb"),
    "xdf": ExportFormat("one file of LSL streams, as from LabRecorder", "xdf:to_xdf"),
    "fhir": ExportFormat("one R4 bundle per device", "fhir:to_fhir"),
}
"""Export formats by name. A new one is a file beside this one and a row here."""


def export(path: Path, out: Path | None, format_: str) -> int:
    """Write a session's contents into a folder; return the exit status.

    Args:
        path: The session.
        out: A folder that does not exist yet; beside the session where None.
        format_: Name in `FORMATS`.

    Raises:
        SessionError: The folder cannot be written, or the format's package is not installed.
        DeviceError: The file does not exist or is not a session.
    """
    from innpar.devices.session.contents import damage_of
    from innpar.devices.session.reader import SessionFile
    from innpar.stream.session.new_file import fresh_folder

    chosen = FORMATS[format_]
    if chosen.package:
        require(chosen.package, f"--format {format_}")
    write = _function(chosen.writer)
    with SessionFile(path) as file:
        with fresh_folder(out or path.with_name(f"{path.stem}-{format_}")) as folder:
            files = write(file, folder)
        print(f"{folder}: {files} {'file' if files == 1 else 'files'}")
        if trouble := damage_of(file):
            print(f"{path}: {trouble}")
    return 0


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f".{module}", __package__), function)
    return found


def limits(found: SessionIndex) -> Iterator[str]:
    """Yield a line for each signal that a format cannot hold."""
    for name, format_ in FORMATS.items():
        check = _function(format_.limit) if format_.limit else None
        for device in found.devices.values():
            for signal, track in device.tracks.items():
                if check is None or track.first is None or track.low > track.high:
                    continue
                if why := check(track.first, track.last, track.low, track.high):
                    yield f"{device.id}: {signal} cannot be exported as {name}: {why}"


def require(package: str, feature: str) -> None:
    """Check that a package of the extra ``export`` can be imported.

    Raises:
        SessionError: It is not installed.
    """
    try:
        import_module(package)
    except ImportError:
        raise SessionError(f"{feature} needs {package}: scripts/setup export") from None
