"""Checkpoints of a training run, valid for its configuration and recordings only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from innpar.models.data.recordings import Windows
from innpar.models.errors import DataError, ModelError
from innpar.models.formats.pickled import read_pickled
from innpar.models.training.config import TrainConfig

NAME = "checkpoint.pt"
_STATE = {
    *("step", "config", "data", "model", "average", "optimiser", "generator", "losses", "seconds"),
}


def index_digest(*parts: Windows) -> str:
    """Return a hash of the index entries of the given windows' records."""
    rows = [[dataclasses.astuple(entry) for entry in part.entries] for part in parts]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def fingerprint(*parts: Windows) -> str:
    """Return a hash of recordings: their index entries, samples and window starts."""
    found = hashlib.sha256(index_digest(*parts).encode())
    for part in parts:
        for values in (part.ppg, part.abp, part.start):
            found.update(values.data)
    return found.hexdigest()


def config_json(config: TrainConfig) -> str:
    """Return a configuration as stored in a checkpoint."""
    return json.dumps(config.as_dict(), sort_keys=True)


def read_checkpoint(
    folder: Path, config: TrainConfig, data: str, device: str, *, longer: bool = True
) -> dict[str, Any]:
    """Read the state that `Trainer.save` wrote.

    Args:
        folder: Folder of the run.
        config: Configuration that the checkpoint must match.
        data: `fingerprint` of the recordings that the checkpoint must match.
        device: Torch device for the tensors.
        longer: Accept another number of steps.

    Raises:
        FileNotFoundError: There is no checkpoint.
        DataError: The checkpoint cannot be read, or belongs to another configuration or other
            recordings.
    """
    path = folder / NAME
    try:
        state = read_pickled(path, device)
    except ModelError as error:
        raise DataError(f"{error}; start again without --resume") from None
    if not _intact(path):
        raise DataError(f"{path} is damaged; start again without --resume")
    if not isinstance(state, dict) or _STATE - state.keys():
        raise DataError(f"{path} is not a checkpoint of this version; use another --out")
    stored, wanted = json.loads(state["config"]), config.as_dict()
    if longer:
        stored["run"]["steps"] = wanted["run"]["steps"] = None
    if stored != wanted:
        raise DataError(f"{path} has another configuration; use another --out")
    if state["data"] != data:
        raise DataError(f"{path} belongs to other recordings; use another --out")
    return state


def _intact(path: Path) -> bool:
    """Verify the checksums in the file, which torch does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
