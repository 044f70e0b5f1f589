"""``innpar-stream train``: train, cross-fit the calibration tables, release a model folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from innpar.stream.evaluation.dataset import split_windows, training_matrix

CONFIG = Path(__file__).parents[2] / "configs" / "train.toml"


def train(
    data: Path, config: Path | None, out: Path, *, resume: bool = False, tables: bool = True
) -> int:
    """Train on a data folder and write a model to ``out/model``; return the exit status.

    Args:
        data: Folder with index.csv.
        config: TOML file, see `innpar.models.training.config`; None for ``configs/train.toml``.
        out: Folder for checkpoints, training log and model.
        resume: Continue an interrupted run. (The folds of the cross-fit always continue.)
        tables: Also cross-fit the calibration tables, which takes four more runs of the same
            length. Without them a cuff reading only enters the network's context, and there are
            no intervals.

    Raises:
        ModelError: Data or configuration cannot be used, or a file cannot be written.
    """
    from innpar.models.training.config import read_config
    from innpar.models.training.crossfit import crossfit
    from innpar.models.training.journal import make_folder
    from innpar.models.training.release import release
    from innpar.models.training.subject_folds import FOLDS, deal
    from innpar.models.training.train import train as run
    from innpar.models.training.trainer import device_of

    settings = read_config(config or CONFIG)
    device_of(settings.run)
    make_folder(out)
    matrix = training_matrix()
    with _progress_log():
        windows, check = split_windows(data, "train"), split_windows(data, "val")
        if tables:
            deal(windows, FOLDS)  # raises an error before the training rather than after it
        run(settings, windows, check, matrix, out, resume=resume)
        fitted = crossfit(settings, windows, matrix, out / "crossfit") if tables else {}
        manifest = release(
            out,
            out / "model",
            settings,
            windows,
            check,
            matrix,
            calibration=fitted.get("calibration"),
            intervals=fitted.get("intervals"),
        )
    print(f"{manifest.id}: use it with: innpar-stream --model {out / 'model'}")
    return 0


class _StderrHandler(logging.Handler):
    """Log handler for the current `sys.stderr`, which a progress bar replaces at times."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def _progress_log() -> Iterator[None]:
    """Print the log of a run on standard error."""
    log, handler = logging.getLogger("innpar"), _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
