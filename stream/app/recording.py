"""The recording of a run: its description, subjects and folder, from the settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from innpar.devices import HostClock
from innpar.models.predictor import Predictor
from innpar.state import state_folder
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.session.recorder import Recorder, place
from innpar.stream.session.recorders import Recorders


def recorders_for(
    settings: Settings, predictor: Predictor, devices: Sequence[str], clock: HostClock
) -> Recorders:
    """Return the recorders of a run.

    Args:
        devices: Ids of the wearers' devices.

    Raises:
        ConfigError: It is not clear which device a subject wears.
    """
    description = describe(settings, predictor)
    subjects = subject_names(settings.subject, devices)

    def begin(path: Path | None, tag: str) -> Recorder:
        return Recorder(
            path or recordings_folder(place(settings.record) if settings.record else None),
            clock,
            description,
            keep_address=settings.keep_address,
            subjects=subjects,
            tag=tag,
        )

    return Recorders(begin)


def recordings_folder(path: Path | None) -> Path:
    """Return the folder for recordings started by an MQTT command.

    Args:
        path: File or folder of ``--record``; None for a folder below the user's state folder.

    Raises:
        SessionError: It cannot be created.
    """
    if path is not None:
        return path if path.is_dir() else path.parent
    folder = state_folder() / "recordings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(
            f"{folder}: cannot be created ({error.strerror}); name another with --record"
        ) from None
    return folder


def subject_names(given: Sequence[str], devices: Sequence[str]) -> dict[str, str]:
    """Parse ``[DEVICE=]NAME``; return device → subject, with "" for all devices.

    Raises:
        ConfigError: It is not clear which device a subject wears.
    """
    names: dict[str, str] = {}
    for text in given:
        device, equals, name = text.rpartition("=")
        if not equals and len(devices) > 1:
            raise ConfigError(
                f"--subject: there are several devices; name one, e.g. {devices[0]}={name}"
            )
        if not name.strip() or (equals and device not in devices):
            raise ConfigError(
                f"--subject: {text!r} is not [DEVICE=]NAME; the devices are {', '.join(devices)}"
            )
        names[device] = name.strip()
    return names


def describe(settings: Settings, predictor: Predictor) -> dict[str, Any]:
    """Return software, settings and model that determine the results; no broker, no password."""
    manifest = predictor.manifest
    canonical = json.dumps(
        asdict(manifest), sort_keys=True, separators=(",", ":"), default=str
    ).encode()
    return {
        "format": "innpar-session/1",
        "software": f"innpar-stream {version('innpar-stream')}",
        "configuration": {
            "device": settings.device,
            "cuff": [asdict(cuff) for cuff in settings.cuff],
            "require_calibration": settings.require_calibration,
            **({} if settings.latency is None else {"latency": settings.latency}),
            **({} if settings.early is None else {"early": settings.early}),
            "speed": str(settings.speed),
            "duration": settings.duration,
            "virtual": settings.virtual,
            "fault": settings.fault,
            "rate": settings.rate,
            "compute": settings.compute,
            "wrist_height": settings.wrist_height,
        },
        "model": {
            "id": manifest.id,
            "manifest_sha256": hashlib.sha256(canonical).hexdigest(),
            "files": dict(manifest.files),
            "rate": manifest.rate,
            "window": manifest.window,
            "backend": predictor.backend,
            "instructions": predictor.instructions,
        },
    }
