"""``innpar-stream bench``: measure the network's speed, or the latency, on this computer."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream bench --model
  innpar-stream bench --model my-model
  innpar-stream bench --latency
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
        "--latency",
        nargs="?",
        type=float,
        const=45.0,
        metavar="SECONDS",
        help="instead: the delay of beats part by part, with normal and low latency, each for so "
        "many seconds in real time (45)",
    )


def run(options: argparse.Namespace) -> int:
    """Time the network's backends, as ratios within one run; or measure the latency."""
    # Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.latency is not None:
        from innpar.stream.evaluation.latency import bench_latency

        return bench_latency(options.latency)
    from innpar.stream.evaluation.bench import bench_model

    return bench_model(Path(options.model) if options.model else None)
