"""``innpar-stream session``: inspect a recording, repair it, export it."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
actions:
  info FILE                  devices, rates, duration, gaps, quality, cuff readings, markers
  verify FILE                check checksums, time order, completeness and content
  repair FILE [OUT]          write an intact copy of a damaged file
  cut FILE OUT               write the part between --from and --to
  merge FILE FILE… OUT       join several recordings
  redact FILE OUT            remove subject, ids, addresses, names and marker texts
  plot FILE [OUT.png]        overview, or a detail with --at; .png, .svg, .pdf or .html
  export FILE [FOLDER]       write the contents in another --format

examples:
  innpar-stream session info night.mcap
  innpar-stream session cut night.mcap part.mcap --from 600 --to 900
  innpar-stream session plot night.mcap --at 1:30:00 --seconds 10
  innpar-stream session export night.mcap --format edf
"""

NEEDS_OUT = ("cut", "merge", "redact")
READS_ONLY = ("info", "verify")
ACTIONS = ("info", "verify", "repair", "cut", "merge", "redact", "plot", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from innpar.stream.session.export.formats import FORMATS

    formats = "; ".join(f"{name}: {one.about}" for name, one in FORMATS.items())
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help=" | ".join(ACTIONS))
    parser.add_argument("file", type=Path, metavar="FILE", help="recording")
    parser.add_argument(
        "more",
        type=Path,
        nargs="*",
        metavar="OUT",
        help="file or folder to write; for merge, further recordings first",
    )
    parser.add_argument(
        "--from", dest="from_", type=float, default=0.0, metavar="SECONDS", help="start of a cut"
    )
    parser.add_argument(
        "--to", type=float, default=float("inf"), metavar="SECONDS", help="end of a cut"
    )
    parser.add_argument(
        "--at", metavar="TIME", help="start of a plotted detail: seconds, H:MM:SS or ISO 8601"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="SECONDS", help="duration of a plotted detail (10)"
    )
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="csv",
        help=f"format of an export, csv by default. {formats}",
    )


def run(options: argparse.Namespace) -> int:
    """Run the action."""
    from innpar.stream.session import edit, info

    _check(options)
    file, more = options.file, options.more
    out = more[0] if more else None
    match options.action:
        case "info":
            return info.info(file)
        case "verify":
            from innpar.stream.session.verify import verify

            return verify(file)
        case "repair":
            return info.repair(file, out)
        case "cut":
            return edit.cut(file, more[0], options.from_, options.to)
        case "merge":
            return edit.merge([file, *more[:-1]], more[-1])
        case "redact":
            return edit.redact(file, more[0])
        case "plot":
            from innpar.stream.session.plot import plot

            seconds = 10.0 if options.seconds is None else options.seconds
            return plot(file, out, options.at, seconds)
        case _:
            from innpar.stream.session.export.formats import export

            return export(file, out, options.format)


def _check(options: argparse.Namespace) -> None:
    """Check the arguments against each other.

    Raises:
        ConfigError: The action takes other files, or another flag.
    """
    from innpar.stream.errors import ConfigError

    action, more = options.action, options.more
    if action in NEEDS_OUT and not more:
        raise ConfigError(f"session {action}: add the name of the file to write")
    if action in READS_ONLY and more:
        raise ConfigError(f"session {action}: writes no file; give one recording only")
    if action != "merge" and len(more) > 1:
        raise ConfigError(f"session {action}: writes one file; give one name, not {len(more)}")
    if action == "plot" and options.seconds is not None and options.at is None:
        raise ConfigError("session plot: --seconds needs --at, the start of the detail")
