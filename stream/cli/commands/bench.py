"""``innpar-stream bench``: measure the network's speed on this computer."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream bench --model
  innpar-stream bench --model my-model
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


def run(options: argparse.Namespace) -> int:
    """Time the network's backends, as ratios within one run."""
    # Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from innpar.stream.evaluation.bench import bench_model

    return bench_model(Path(options.model) if options.model else None)
