"""``innpar-stream train``: train the network."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXAMPLES = """\
examples:
  innpar-stream train --data recordings --out model
  innpar-stream train --data recordings --out model --resume
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
        "--config", type=Path, metavar="FILE", help="TOML configuration (configs/train.toml)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the model"
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training")
    parser.add_argument(
        "--no-tables",
        action="store_true",
        help="skip the cross-fit for calibration and intervals, which takes four times as long "
        "as the training itself",
    )


def run(options: argparse.Namespace) -> int:
    """Train, and write the model."""
    # Read once, when numpy is imported; with more threads its products depend on the core count.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from innpar.stream.evaluation.train import train

    return train(
        options.data,
        options.config,
        options.out,
        resume=options.resume,
        tables=not options.no_tables,
    )
