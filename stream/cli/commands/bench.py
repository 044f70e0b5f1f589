"""``innpar-stream bench``: speed of the network, and the wearers that this computer serves."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream bench --model
  innpar-stream bench --model my-model
  innpar-stream bench --wearers
  innpar-stream bench --wearers 100 --json
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
        "--wearers",
        nargs="?",
        const=0,
        type=_count,
        metavar="N",
        help="serve N wearers at once, from Polar frames to MQTT, or as many as this computer can",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=20.0, help="of signal measured (20); with --wearers"
    )
    parser.add_argument("--broker", metavar="URL", help="instead of a mosquitto of its own")
    parser.add_argument("--backend", help="of the network, as in a run; with --wearers")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="plot, such as wearers.png")
    parser.add_argument("--json", action="store_true", help="print JSON; with --wearers")


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 10_000:
        raise argparse.ArgumentTypeError("must be 1 to 10000 wearers")
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 5 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("must be 5 to 3600 seconds")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Time the network's backends, as ratios within one run, or serve wearers."""
    # Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.wearers is None:
        from innpar.stream.evaluation.bench import bench_model

        return bench_model(Path(options.model) if options.model else None)
    from innpar.stream.evaluation.capacity.bench import bench_wearers
    from innpar.stream.evaluation.capacity.trial import TrialSettings

    settings = TrialSettings(
        options.wearers,
        options.broker or "",
        options.seconds,
        options.model or None,
        options.backend,
    )
    return bench_wearers(settings, as_json=options.json, picture=options.picture)
