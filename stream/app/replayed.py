"""The influence of replayed sessions on a run, and the lines that report it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from innpar.devices import Device
from innpar.devices.session.contents import running
from innpar.devices.session.device import ReplayedSession
from innpar.devices.session.reader import SessionFile
from innpar.stream.app.settings import Settings
from innpar.stream.windows.timing import LatencyMode


def other_model(devices: Sequence[Device], model: str) -> Iterator[str]:
    """Yield a line for every session that was recorded with another model."""
    for device in devices:
        if not isinstance(device, ReplayedSession):
            continue
        with SessionFile(device.path, device.seen) as file:
            entry = running(file).get("model")
        recorded = entry.get("id") if isinstance(entry, dict) else None
        if recorded not in (None, model):
            yield f"{device.id}: recorded with {recorded}, now estimated with {model}"


def required(settings: Settings, device: Device) -> bool:
    """Return whether pressures require a cuff reading: as in the settings, else as recorded."""
    if settings.require_calibration is not None:
        return settings.require_calibration
    return isinstance(device, ReplayedSession) and device.require_calibration


def latency_mode(settings: Settings, device: Device) -> LatencyMode:
    """Return the latency and early beats of a run: as in the settings, else as recorded."""
    return LatencyMode.chosen(device, settings.latency, settings.early)


def as_recorded(settings: Settings, devices: Sequence[Device]) -> Iterator[str]:
    """Yield a line for every session that is played with a setting of its recording."""
    for device in devices:
        if settings.require_calibration is None and required(settings, device):
            yield (
                f"{device.id}: no pressures before a cuff reading, as when it was recorded "
                "(change with --no-require-calibration)"
            )
        if settings.latency is None and latency_mode(settings, device).latency == "low":
            yield f"{device.id}: low latency, as it was recorded (change with --latency normal)"
