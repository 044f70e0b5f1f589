"""From recordings to a model folder: train, cross-fit the calibration's tables, release."""

from __future__ import annotations

import logging
from pathlib import Path

from .dataset import BAND, GUARD, RATE, WINDOW, split_windows
from .filter import conditioning_matrix

CONFIG = Path(__file__).parent.parent / "configs" / "train.toml"


def train(
    data: Path, config: Path | None, out: Path, *, resume: bool = False, tables: bool = True
) -> int:
    """Train on a data folder and write a usable model to ``out/model``; return the exit status.

    Args:
        data: Holds index.csv.
        config: TOML, see `models.settings`; None for the one that comes with the package.
        out: For checkpoints, the log and the model.
        resume: Continue what was interrupted: the run, and the folds of the cross-fit.
        tables: Also cross-fit the calibration's tables, which takes about as long again; without
            them cuff readings only reach the network, and there are no intervals.

    Raises:
        ModelError: Data or configuration cannot be used, or a file cannot be written.
    """
    from ..models.crossfit import crossfit
    from ..models.release import release
    from ..models.settings import read_config
    from ..models.train import train as run

    logging.getLogger("innpar").setLevel(logging.INFO)
    settings = read_config(config or CONFIG)
    matrix = conditioning_matrix(WINDOW, GUARD, RATE, BAND)
    windows, check = split_windows(data, "train"), split_windows(data, "val")
    run(settings, windows, check, matrix, out, resume=resume)
    made = crossfit(settings, windows, matrix, out / "crossfit") if tables else {}
    manifest = release(
        out,
        out / "model",
        settings,
        windows,
        check,
        matrix,
        calibration=made.get("calibration"),
        intervals=made.get("intervals"),
    )
    print(f"{manifest.id}: use it with: innpar-stream --model {out / 'model'}")
    return 0
