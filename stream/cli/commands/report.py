"""``innpar-stream report``: write an HTML report of a recording."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
example:
  innpar-stream report night.mcap night.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="recorded session")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        metavar="OUT.html",
        help="page to write (default: next to the session)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the report."""
    from innpar.stream.session.report.command import report

    return report(options.file, options.out)
