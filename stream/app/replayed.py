"""How replayed sessions bear upon a run, and the lines that say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from innpar.devices import Device
from innpar.devices.session.contents import running
from innpar.devices.session.device import ReplayedSession
from innpar.devices.session.reader import SessionFile
from innpar.stream.app.settings import Settings


def other_model(devices: Sequence[Device], model: str) -> Iterator[str]:
    """Yield, of every session that is replayed with another model than its own, that it is."""
    for device in devices:
        if not isinstance(device, ReplayedSession):
            continue
        with SessionFile(device.path, device.seen) as file:
            told = running(file).get("model")
        recorded = told.get("id") if isinstance(told, dict) else None
        if recorded not in (None, model):
            yield f"{device.id}: recorded with {recorded}, estimated anew with {model}"


def required(settings: Settings, device: Device) -> bool:
    """Return whether a device gives no pressures before a reading: as asked, else as recorded."""
    if settings.require_calibration is not None:
        return settings.require_calibration
    return isinstance(device, ReplayedSession) and device.require_calibration


def as_recorded(settings: Settings, devices: Sequence[Device]) -> Iterator[str]:
    """Yield, of every session whose recording says how it is to be replayed, that it does."""
    for device in devices:
        if settings.require_calibration is None and required(settings, device):
            yield (
                f"{device.id}: no pressures before a cuff reading, as it was recorded "
                "(--no-require-calibration gives them)"
            )
