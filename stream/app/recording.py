"""The recording of a run, from its settings: what it describes, whose it is, where it goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from innpar.devices import HostClock
from innpar.models.manifest import Manifest
from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError, SessionError
from innpar.stream.session.recorder import Recorder, place
from innpar.stream.session.recorders import Recorders
from innpar.stream.state import state_folder


def deck_for(
    settings: Settings, manifest: Manifest, devices: Sequence[str], clock: HostClock
) -> Recorders:
    """Return what records a run of these devices.

    Raises:
        ConfigError: Nobody can tell whose a subject's name is.
    """

    told = describe(settings, manifest)
    subjects = named(settings.subject, devices)

    def begin(path: Path | None, tag: str) -> Recorder:
        return Recorder(
            path or recordings(place(settings.record) if settings.record else None),
            clock,
            told,
            keep_address=settings.keep_address,
            subjects=subjects,
            tag=tag,
        )

    return Recorders(begin)


def recordings(path: Path | None) -> Path:
    """Return the folder of recordings that a command begins: that of `path`, else our own.

    Raises:
        SessionError: There can be none.
    """
    if path is not None:
        return path if path.is_dir() else path.parent
    folder = state_folder() / "recordings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def named(given: Sequence[str], devices: Sequence[str]) -> dict[str, str]:
    """Return who wears what, of ``[DEVICE=]NAME``; the name under "" is everybody's.

    Raises:
        ConfigError: Nobody can tell whose name it is.
    """
    found: dict[str, str] = {}
    for text in given:
        device, equals, name = text.rpartition("=")
        if not equals and len(devices) > 1:
            raise ConfigError(f"--subject: who is {name!r}? for example {devices[0]}={name}")
        if not name.strip() or (equals and device not in devices):
            raise ConfigError(f"--subject: {text!r} is not [DEVICE=]NAME; there is {list(devices)}")
        found[device] = name.strip()
    return found


def describe(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """Return what was running, as far as it bears upon the numbers; no broker, no password."""
    told = asdict(manifest)
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), default=str).encode()
    return {
        "format": "innpar-session/1",
        "software": f"innpar-stream {version('innpar-stream')}",
        "configuration": {
            "device": settings.device,
            "cuff": [asdict(cuff) for cuff in settings.cuff],
            "require_calibration": settings.require_calibration,
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
        },
    }
