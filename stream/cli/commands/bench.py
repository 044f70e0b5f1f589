"""``innpar-stream bench``: measure the speed of the network or of the live page."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream bench --model
  innpar-stream bench --model my-model
  innpar-stream bench --view
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--model",
        nargs="?",
        const="",
        metavar="FILE",
        help="model manifest or its folder (default: shipped model)",
    )
    parser.add_argument(
        "--view", action="store_true", help="time the live page in Chromium instead (extra dev)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of each measurement of the page (10)"
    )
    parser.add_argument(
        "--hidden", type=float, default=60.0, help="seconds for which the page is hidden (60)"
    )


def run(options: argparse.Namespace) -> int:
    """Time the network's backends, as ratios within one run, or the live page.

    Raises:
        ConfigError: playwright or Chromium is missing for the page.
    """
    if options.view:
        from innpar.stream.view.bench import bench_view

        return bench_view(options.seconds, options.hidden)
    # Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from innpar.stream.evaluation.bench import bench_model

    return bench_model(Path(options.model) if options.model else None)
