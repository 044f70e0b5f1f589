"""``innpar-stream bench``: speed of the network, latency, live page, wearers served."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream bench --model
  innpar-stream bench --model my-model
  innpar-stream bench --latency
  innpar-stream bench --view
  innpar-stream bench --wearers
  innpar-stream bench --wearers 100 --json
"""
_SECONDS = {"latency": 45.0, "view": 10.0, "wearers": 20.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--model",
        nargs="?",
        const="",
        metavar="FILE",
        help="time the network: model manifest or its folder (default: shipped model)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--latency",
        action="store_true",
        help="measure the delay of beats part by part, normal and low, in real time",
    )
    instead.add_argument(
        "--view", action="store_true", help="time the live page in Chromium (extra dev)"
    )
    instead.add_argument(
        "--wearers",
        nargs="?",
        const=0,
        type=_count,
        metavar="N",
        help="serve N wearers at once, from Polar frames to MQTT, or as many as this computer can",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        help="length of each measurement (latency 45, page 10, wearers 20)",
    )
    parser.add_argument(
        "--hidden",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time for which the page is hidden (60); with --view",
    )
    parser.add_argument(
        "--broker", metavar="URL", help="instead of a mosquitto of its own; with --wearers"
    )
    parser.add_argument("--backend", help="of the network, as in a run; with --wearers")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="plot, such as wearers.png; with --wearers"
    )
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
    """Time the network's backends, as ratios within one run, or what was named instead.

    Raises:
        ConfigError: playwright or Chromium is missing for the page.
    """
    # Read once, when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if options.latency:
        from innpar.stream.evaluation.latency import bench_latency

        return bench_latency(options.seconds or _SECONDS["latency"])
    if options.view:
        from innpar.stream.view.bench import bench_view

        return bench_view(options.seconds or _SECONDS["view"], options.hidden)
    if options.wearers is not None:
        return _serve(options)
    from innpar.stream.evaluation.bench import bench_model

    return bench_model(Path(options.model) if options.model else None)


def _serve(options: argparse.Namespace) -> int:
    """Serve simulated wearers."""
    from innpar.stream.evaluation.capacity.bench import bench_wearers
    from innpar.stream.evaluation.capacity.trial import TrialSettings

    settings = TrialSettings(
        options.wearers,
        options.broker or "",
        options.seconds or _SECONDS["wearers"],
        options.model or None,
        options.backend,
    )
    return bench_wearers(settings, as_json=options.json, picture=options.picture)
