"""From recordings to a model folder: train, cross-fit the calibration's tables, release."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from innpar.stream.evaluation.dataset import BAND, GUARD, RATE, WINDOW, split_windows
from innpar.stream.windows.conditioning import conditioning_matrix

CONFIG = Path(__file__).parents[2] / "configs" / "train.toml"


def train(
    data: Path, config: Path | None, out: Path, *, resume: bool = False, tables: bool = True
) -> int:
    """Train on a data folder and write a usable model to ``out/model``; return the exit status.

    Args:
        data: Holds index.csv.
        config: TOML, see `models.settings`; None for the one that comes with the package.
        out: For checkpoints, the log and the model.
        resume: Continue the run that was interrupted. The folds of the cross-fit go on by
            themselves.
        tables: Also cross-fit the calibration's tables, which takes four more runs of the same
            length; without them cuff readings only reach the network, and there are no intervals.

    Raises:
        ModelError: Data or configuration cannot be used, or a file cannot be written.
    """
    from innpar.models.training.config import read_config
    from innpar.models.training.crossfit import crossfit
    from innpar.models.training.journal import make_folder
    from innpar.models.training.release import release
    from innpar.models.training.subject_folds import FOLDS, deal
    from innpar.models.training.train import device_of
    from innpar.models.training.train import train as run

    settings = read_config(config or CONFIG)
    device_of(settings.run)
    make_folder(out)
    matrix = conditioning_matrix(WINDOW, GUARD, RATE, BAND)
    with _told():
        windows, check = split_windows(data, "train"), split_windows(data, "val")
        if tables:
            deal(windows, FOLDS)  # what cannot be dealt is said before the training
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


class _Lines(logging.Handler):
    """Log lines on what standard error is at the time: a progress bar stands in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def _told() -> Iterator[None]:
    """Tell of a run's progress in lines on standard error."""
    log, lines = logging.getLogger("innpar"), _Lines()
    lines.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    before = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.setLevel(before)
