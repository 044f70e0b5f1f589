"""``innpar-stream session verify``: faults of a session, and formats that cannot hold it."""

from __future__ import annotations

from pathlib import Path

from innpar.stream.messages.hygiene import printable
from innpar.stream.session.export.formats import limits
from innpar.stream.session.index import index_session
from innpar.stream.session.info import LONGEST_LINE, faults_of


def verify(path: Path) -> int:
    """Print the faults of a session, and the limits of exports; return 0 without faults, else 1.

    Whatever an export leaves out is a fault: every message that is not as it was recorded.
    """
    found = index_session(path)
    faults = [*faults_of(found)]
    for line in (*faults, *limits(found)):
        print(printable(f"{path}: {line}", LONGEST_LINE))
    if not faults:
        print(f"{path}: intact; {found.messages} messages in {found.blocks} blocks, none missing")
    return 1 if faults else 0
