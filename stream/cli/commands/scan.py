"""``innpar-stream scan``: list the Bluetooth sensors in range."""

from __future__ import annotations

import argparse

EXAMPLES = """\
example:
  innpar-stream scan --seconds 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="SECONDS", help="duration of the scan (5)"
    )


def run(options: argparse.Namespace) -> int:
    """Scan and print a table of the sensors."""
    import asyncio

    from innpar.devices.link.discover import survey, table

    print(table(asyncio.run(survey(options.seconds))))
    return 0
