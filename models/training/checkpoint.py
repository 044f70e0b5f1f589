"""A training run between two steps, on disk, for its own configuration and recordings only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from innpar.models.data.recordings import DataError, Windows
from innpar.models.errors import ModelError
from innpar.models.formats.pickled import read_pickled
from innpar.models.training.config import TrainConfig

NAME = "checkpoint.pt"
_STATE = {
    *("step", "config", "data", "model", "average", "optimiser", "generator", "losses", "seconds"),
}


def index_digest(*parts: Windows) -> str:
    """Return a hash of what the index says of the records of some splits."""
    rows = [[dataclasses.astuple(entry) for entry in part.entries] for part in parts]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def fingerprint(*parts: Windows) -> str:
    """Return a hash of recordings: of their index, their samples and where windows start."""
    found = hashlib.sha256(index_digest(*parts).encode())
    for part in parts:
        for values in (part.ppg, part.abp, part.start):
            found.update(values.data)
    return found.hexdigest()


def written(config: TrainConfig) -> str:
    """Return a configuration as a checkpoint holds it."""
    return json.dumps(config.plain(), sort_keys=True)


def read_checkpoint(
    folder: Path, config: TrainConfig, data: str, device: str, *, longer: bool = True
) -> dict[str, Any]:
    """Return the state that `Trainer.save` wrote to `folder`.

    Args:
        folder: Of the run.
        config: What it must have been made with.
        data: `fingerprint` of the recordings that it must have been made of.
        device: For its tensors.
        longer: Whether the run's length alone may be another.

    Raises:
        FileNotFoundError: There is none.
        DataError: It cannot be read, or belongs to another configuration or other recordings.
    """
    path = folder / NAME
    try:
        state = read_pickled(path, device)
    except ModelError as error:
        raise DataError(f"{error}; begin again without --resume") from None
    if not _intact(path):
        raise DataError(f"{path} is damaged; begin again without --resume")
    if not isinstance(state, dict) or _STATE - state.keys():
        raise DataError(f"{path} is no checkpoint of this version; use another --out")
    made, wanted = json.loads(state["config"]), config.plain()
    if longer:
        made["run"]["steps"] = wanted["run"]["steps"] = None
    if made != wanted:
        raise DataError(f"{path} was made with another configuration; use another --out")
    if state["data"] != data:
        raise DataError(f"{path} was made of other recordings; use another --out")
    return state


def _intact(path: Path) -> bool:
    """Whether the checksums in the file are right; torch does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
