"""``innpar-stream report``: a session as one HTML page to read and print."""

from __future__ import annotations

import io
from datetime import tzinfo
from pathlib import Path

from innpar.devices.session.reader import SessionFile
from innpar.stream.errors import SessionError
from innpar.stream.session.index import index_session
from innpar.stream.session.new_file import fresh
from innpar.stream.session.report.page import page


def report(path: Path, out: Path | None, zone: tzinfo | None = None) -> int:
    """Write a session's report; return the exit status.

    Args:
        path: The session.
        out: The page; beside the session where None.
        zone: Time zone of the times shown; None for this computer's.

    Raises:
        SessionError: The session has no PPG, or the page exists already or cannot be written.
        DeviceError: The file does not exist or is not a session.
    """
    out = out or path.with_suffix(".html")
    with fresh(out) as target:
        found = index_session(path)
        if not any("ppg" in device.tracks for device in found.devices.values()):
            raise SessionError(f"{path}: no PPG was recorded in it; there is nothing to report")
        with SessionFile(path) as file, io.BufferedWriter(target) as written:
            written.write(page(found, file, zone).encode())
    print(f"{out}: {sum(len(device.beats) for device in found.devices.values())} beats")
    return 0
