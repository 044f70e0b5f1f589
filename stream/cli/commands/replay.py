"""``innpar-stream replay``: play a recording through the pipeline."""

from __future__ import annotations

import argparse
from pathlib import Path

from innpar.stream.cli import run as stream

EXAMPLES = """\
examples:
  innpar-stream replay night.mcap                     the recorded beats again, bit for bit
  innpar-stream replay night.mcap --from 600 --to 900 --speed max --json
  innpar-stream replay walk.csv --rate 100 --channel green
  innpar-stream replay 'walk.csv?rate=100&polarity=-1'
"""

SESSION_FLAGS = {
    "loop": "--loop",
    "redecode": "--redecode",
    "cuffs": "--no-cuffs",
    "device": "--only",
}
"""Option of the replayed device that only sessions have → its flag."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, those of a run included."""
    parser.add_argument(
        "file",
        metavar="FILE[?key=value&…]",
        help="recording, optionally with options of its format",
    )
    part = parser.add_argument_group("part to play")
    part.add_argument("--from", dest="from_", metavar="SECONDS", help="start of the part (0)")
    part.add_argument("--to", metavar="SECONDS", help="end of the part (end of the recording)")
    part.add_argument(
        "--loop",
        nargs="?",
        const="on",
        metavar="TIMES",
        help="repeat a session for ever, or this many times",
    )
    part.add_argument("--only", metavar="DEVICE", help="play only this device of a session")
    _add_session(parser.add_argument_group("sessions"))
    _add_tables(parser.add_argument_group("third-party recordings"))
    stream.add_stream_arguments(parser)


def _add_session(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--redecode",
        action="store_const",
        const="on",
        help="decode the recorded frames again with the current decoder",
    )
    group.add_argument(
        "--no-cuffs",
        dest="cuffs",
        action="store_const",
        const="off",
        help="ignore the recorded cuff readings, e.g. to give others with --cuff",
    )


def _add_tables(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rate", metavar="HZ", help="sampling rate in Hz of a table without a time column"
    )
    group.add_argument("--channel", metavar="NAME", help="column or trace with the PPG")
    group.add_argument("--unit", metavar="s|ms|us|ns", help="unit of a table's time column")


def run(options: argparse.Namespace) -> int:
    """Play a recording as the device ``replay:FILE?…``."""
    from innpar.devices.options import UnknownOption
    from innpar.stream.errors import ConfigError

    file = options.file.partition("?")[0]
    options.device = [_device(options)]
    try:
        return stream.run(options)
    except UnknownOption as error:
        flag = SESSION_FLAGS.get(error.key)
        if flag is None:
            raise
        raise ConfigError(
            f"{flag} needs a session recorded with --record; {file} is not one: leave it out"
        ) from None


def _device(options: argparse.Namespace) -> str:
    """Return the device's specification.

    Raises:
        ConfigError: The file's name has a question mark.
    """
    from innpar.stream.errors import ConfigError

    chosen = {
        "from": options.from_,
        "to": options.to,
        "loop": options.loop,
        "redecode": options.redecode,
        "cuffs": options.cuffs,
        "device": options.only,
        "channel": options.channel,
        "unit": options.unit,
    }
    file, _, query = options.file.partition("?")
    if query and Path(options.file).exists():
        raise ConfigError(f"{options.file}: file names must not contain a question mark; rename it")
    pairs = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    tail = "&".join([query, *pairs] if query else pairs)
    return f"replay:{file}" + (f"?{tail}" if tail else "")
