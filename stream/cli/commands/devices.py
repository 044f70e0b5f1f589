"""``innpar-stream devices``: list the devices."""

from __future__ import annotations

import argparse

EXAMPLES = """\
example:
  innpar-stream devices
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run(_: argparse.Namespace) -> int:
    """Print each device's name and description."""
    from innpar.devices.registry import listed

    lines = listed()
    width = max(map(len, lines))
    for name, about in lines.items():
        print(f"{name:<{width}}  {about}")
    return 0
