"""``innpar-stream decode``: decode captured Bluetooth notifications."""

from __future__ import annotations

import argparse

EXAMPLES = """\
Each line of the input is [TIME] [CHANNEL] HEX.

examples:
  innpar-stream decode polar-verity capture.txt
  cat capture.txt | innpar-stream decode 'polar-verity?rate=55'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("device", metavar="DEVICE", help="sensor, e.g. polar-verity?rate=55")
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=argparse.FileType("rb"),
        default="-",
        help="notifications in hex, one per line (default: standard input)",
    )


def run(options: argparse.Namespace) -> int:
    """Print a JSON line for each sample, event and error; 1 if nothing could be decoded."""
    from innpar.devices.decode import decode
    from innpar.devices.session.strict_json import strict_json

    with options.file as file:
        lines = (line.decode("utf-8", "replace") for line in file)
        decoded = failed = False
        for record in decode(options.device, lines):
            print(strict_json(record))
            failed |= "error" in record
            decoded |= "error" not in record
    return int(failed and not decoded)
