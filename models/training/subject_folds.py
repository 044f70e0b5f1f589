"""Cross-fit networks, each trained without some of the subjects; resumable."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from innpar.models.calibration.context import CONTEXT
from innpar.models.data.recordings import Windows
from innpar.models.data.sampling import Sampler
from innpar.models.errors import DataError
from innpar.models.network.innpar import InnPar
from innpar.models.training.checkpoint import fingerprint, read_checkpoint
from innpar.models.training.config import TrainConfig
from innpar.models.training.journal import make_folder
from innpar.models.training.trainer import Trainer, device_of

if TYPE_CHECKING:
    from rich.progress import Progress

log: logging.Logger = logging.getLogger(__name__)

FOLDS = 4
FIRST_SEED = 10


def deal(windows: Windows, folds: int) -> npt.NDArray[np.int64]:
    """Assign each subject a fold, balanced by data source and number of windows.

    Returns:
        (subjects,) fold numbers.

    Raises:
        DataError: There are fewer than two subjects.
    """
    if len(windows.subjects) < 2:
        raise DataError(
            "the cross-fit needs at least two training subjects; add recordings or train with "
            "--no-tables"
        )
    folds = min(folds, len(windows.subjects))
    count = np.bincount(windows.subject, minlength=len(windows.subjects))
    source = {e.subject: e.source.replace("50hz", "125hz") for e in windows.entries}
    order = sorted(range(len(count)), key=lambda s: (source[windows.subjects[s]], -count[s]))
    there_and_back = [*range(folds), *reversed(range(folds))]
    dealt = np.zeros(len(count), dtype=np.int64)
    for k, subject in enumerate(order):
        dealt[subject] = there_and_back[k % len(there_and_back)]
    return dealt


def left_out(
    config: TrainConfig,
    windows: Windows,
    fold_of: npt.NDArray[np.int64],
    matrix: npt.NDArray[np.float64],
    out: Path,
    progress: Progress,
) -> Iterator[InnPar]:
    """Yield for each fold the network trained without its subjects.

    Args:
        config: Configuration of every network, except for the seed.
        windows: Windows of all subjects.
        fold_of: (subjects,) fold of each subject.
        matrix: Conditioning, (buffer, window).
        out: Folder; a fold with the same configuration and recordings continues from its
            checkpoint there.
        progress: Display for the steps of all folds.

    Raises:
        ModelError: A file cannot be written, the device is not available, or a training diverged.
    """
    folds, steps = int(fold_of.max()) + 1, config.run.steps
    task = progress.add_task("cross-fit", total=folds * steps)
    for k in range(folds):
        included = fold_of[windows.subject] != k
        own = dataclasses.replace(config, run=dataclasses.replace(config.run, seed=FIRST_SEED + k))
        fold = _Fold(own, windows.of(included), matrix, out / f"fold{k}")
        progress.update(task, description=f"cross-fit, fold {k + 1} of {folds}")
        if fold.step:
            log.info("fold %d of %d continues after step %d", k + 1, folds, fold.step)
            progress.reset(
                task, completed=k * steps + fold.step
            )  # excludes earlier steps from the speed
        else:
            log.info("fold %d of %d starts", k + 1, folds)
        for step in fold.steps():
            progress.update(task, completed=k * steps + step)
        yield fold.network()


class _Fold:
    """Training of one fold's network, resumed from its checkpoint.

    Args:
        config: Configuration, seed included.
        windows: Windows of the fold's training subjects.
        matrix: Conditioning, (buffer, window).
        folder: Folder for checkpoints.

    Attributes:
        step: Steps taken according to the checkpoint.
    """

    def __init__(
        self,
        config: TrainConfig,
        windows: Windows,
        matrix: npt.NDArray[np.float64],
        folder: Path,
    ) -> None:
        make_folder(folder)
        self._config, self._windows, self._matrix, self._folder = config, windows, matrix, folder
        self._data = fingerprint(windows)
        device = device_of(config.run)
        try:
            self._state = read_checkpoint(folder, config, self._data, device, longer=False)
        except FileNotFoundError:
            self._state = {}
        except DataError as error:
            log.info("started again: %s", error)
            self._state = {}
        self.step = int(self._state.get("step", 0))

    def steps(self) -> Iterator[int]:
        """Take the remaining steps; yield the number of each."""
        if self.step == self._config.run.steps:
            return
        sampler = Sampler(self._windows, self._matrix, self._config.sampling)
        trainer = Trainer(self._config, sampler, self._data)
        if self._state:
            trainer.take(self._state)
        for _ in trainer.steps(self._config.run.steps, self._folder):
            yield trainer.step
        trainer.save(self._folder)
        self._state = {"average": trainer.average.state_dict()}

    def network(self) -> InnPar:
        """Return the averaged network on the CPU; call it after the last of `steps`."""
        model = InnPar(**dataclasses.asdict(self._config.network), context=len(CONTEXT))
        model.load_state_dict(self._state["average"])
        return model.eval()
