"""Trust in model files that run code: TorchScript (``.pt``) and AOTInductor (``.pt2``).

Such a file runs where it came with the package, was exported on this computer, or was added with
``innpar-stream model add FOLDER --trust-model``. Each is known by its SHA-256, so a changed file is
another file. Weights (``.safetensors``) and ONNX describe computations only and need no trust.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from innpar.models.atomic import write_whole
from innpar.models.errors import ModelError
from innpar.models.manifest import NAME, SHIPPED, Kind, Manifest, kind_of, read_manifest
from innpar.state import state_folder

log: logging.Logger = logging.getLogger(__name__)

SCHEMA = "innpar-trust/1"
RUNS_CODE: tuple[Kind, ...] = ("torchscript", "aot", "aot_inverse")


def code_files(manifest: Manifest) -> list[str]:
    """Return the names of a model's files that run code."""
    return [name for name in manifest.files if kind_of(name) in RUNS_CODE]


def is_trusted(manifest: Manifest, name: str) -> bool:
    """Return whether a file of a model may run its code."""
    digest = manifest.files[name]
    return digest in _shipped() or digest in _recorded()


def check_trusted(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Check that files of a model may run their code.

    Raises:
        ModelError: One may not.
    """
    for name in names:
        if is_trusted(manifest, name):
            continue
        path = (folder / name).resolve()
        changed = "has changed since it was trusted" if path in _paths() else "is not trusted"
        raise ModelError(
            f"{path} runs code and {changed}: leave --backend out to run the weights, or, if you "
            f"trust its source, innpar-stream model add {folder} --trust-model"
        )


def trust(folder: Path, manifest: Manifest) -> list[str]:
    """Record every file of a model that runs code as trusted; return their names.

    Raises:
        ModelError: The record cannot be written.
    """
    names = code_files(manifest)
    if not names:
        return names
    time = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    fresh = {
        manifest.files[name]: {"path": str((folder / name).resolve()), "time": time}
        for name in names
    }
    content = json.dumps({"schema": SCHEMA, "files": {**_recorded(), **fresh}}, indent=1)
    try:
        _record().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(_record(), content.encode())
    except OSError as error:
        raise ModelError(
            f"{_record()} cannot be written ({error.strerror}): give this user write permission, "
            "or set XDG_STATE_HOME to a writable folder"
        ) from None
    return names


def trust_own_export(folder: Path, manifest: Manifest) -> None:
    """Record the files of a model exported here; without a record it still runs its weights."""
    try:
        trust(folder, manifest)
    except ModelError as error:
        log.warning("the exported files run only after `model add --trust-model`: %s", error)


def _record() -> Path:
    return state_folder() / "trusted-models.json"


def _recorded() -> Mapping[str, Mapping[str, str]]:
    """Return SHA-256 → path and time of each trusted file; none where the record is damaged."""
    try:
        content = json.loads(_record().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s): no model in it is trusted", _record(), error)
        return {}
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return {}
    files = content.get("files")
    known = files.items() if isinstance(files, dict) else ()
    return {digest: entry for digest, entry in known if isinstance(entry, dict)}


def _paths() -> set[Path]:
    return {Path(str(entry.get("path"))) for entry in _recorded().values()}


@cache
def _shipped() -> frozenset[str]:
    """Return the SHA-256 of every file that came with the package."""
    return frozenset(read_manifest(SHIPPED / NAME).files.values())
