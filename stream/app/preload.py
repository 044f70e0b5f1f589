"""Import ahead of the streams what they would otherwise import in their midst.

An import on the event loop stops radio, recorder and broker for seconds.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

MODULES: tuple[str, ...] = (
    "numpy.fft",  # numpy imports these on first use
    "numpy.ma",
    "numpy.random",
    "innpar.models.calibration.wave_pressures",  # at the first cuff reading
    "innpar.stream.messages.fhir",
    "innpar.devices.session.writer",
    "mcap.data_stream",  # when a recording begins
    "mcap.records",
    "zstandard",
    "termios",  # for the keyboard
    "tty",
    "resource",
)


def preload() -> None:
    """Import them; to be called in a thread before the streams begin."""
    for name in MODULES:
        with suppress(ModuleNotFoundError):
            import_module(name)
