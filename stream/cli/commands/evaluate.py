"""``innpar-stream evaluate``: measure accuracy through the live pipeline."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream evaluate --data recordings --split val
  innpar-stream evaluate --data recordings --split val --cuff-every once --report val.html
  innpar-stream evaluate --data recordings --split val --cuff-every once --latency low
  innpar-stream evaluate --data recordings --awake
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with recordings and their index.csv",
    )
    parser.add_argument(
        "--split", default="val", metavar="NAME", help="train, val, test or rejects (val)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="model manifest or its folder (default: shipped model)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="another model, to be compared on the same beats",
    )
    parser.add_argument(
        "--cuff-every",
        default="30",
        metavar="MINUTES",
        help="interval of the cuff readings, or once (at the start) or never (30)",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="use every N-th record, for a quick look"
    )
    parser.add_argument(
        "--latency",
        choices=("low", "normal"),
        default="normal",
        help="of the pipeline, as in a run (normal)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="OUT.html", help="also write a page with plots"
    )
    parser.add_argument(
        "--awake",
        action="store_true",
        help="awake people with cuff readings, without calibration (folder cuff)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(options: argparse.Namespace) -> int:
    """Evaluate, and print the figures."""
    minutes = _minutes(options.cuff_every)
    if options.awake:
        from innpar.stream.evaluation.level import evaluate_awake

        evaluate_awake(options.data, model=options.model, as_json=options.json)
        return 0
    from innpar.stream.evaluation.evaluate import evaluate
    from innpar.stream.windows.timing import LatencyMode

    evaluate(
        options.data,
        split=options.split,
        model=options.model,
        against=options.against,
        cuff_minutes=minutes,
        thin=options.every,
        mode=LatencyMode(options.latency),
        report=options.report,
        as_json=options.json,
    )
    return 0


def _minutes(text: str) -> float | None:
    """Return minutes between cuff readings; infinity for ``once``, None for ``never``.

    Raises:
        ConfigError: Not a number either.
    """
    from innpar.stream.errors import ConfigError

    words = {"once": math.inf, "never": None}
    try:
        return words[text] if text in words else float(text)
    except ValueError:
        raise ConfigError(f"--cuff-every: give minutes, once or never, not {text!r}") from None
