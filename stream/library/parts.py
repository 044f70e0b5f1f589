"""The parts of a run from plain arguments: a device, a network, a cuff reading."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from innpar.devices import Device, Refused
from innpar.devices.registry import create, parse
from innpar.devices.sensors.cuff import CuffDevice
from innpar.stream.app.settings import parse_cuff
from innpar.stream.calibration.types import PlannedCuff

if TYPE_CHECKING:
    from innpar.models.predictor import Predictor

LONG = 600.0
"""Seconds of signal from which on a terminal shows progress."""


def sensor_from(device: str | Device, rate: float | None = None) -> Device:
    """Return a device that pressures can be reconstructed of; nothing is connected yet.

    Args:
        device: A device, or its name as ``--device`` takes it.
        rate: Hz, for names whose device has a choice of rates; None for the device's own.

    Raises:
        DeviceError: No such device, or it is a cuff.
        ValueError: A rate for a device that exists already.
    """
    if isinstance(device, str):
        if rate is not None and "rate" not in parse(device)[2]:
            device = f"{device}{'&' if '?' in device else '?'}rate={rate:g}"
        device = create(device)
    elif rate is not None:
        raise ValueError(f"{device.id} has its rate already; leave `rate` out")
    if isinstance(device, CuffDevice):
        raise Refused(f"{device.id} measures no pulse wave; give its readings as `cuff`")
    return device


def predictor_from(model: str | Path | Predictor | None) -> Predictor:
    """Return the network: as given, from a manifest or its folder, or the one of this package.

    Raises:
        ModelError: There is none there.
    """
    from innpar.models.predictor import Predictor

    if isinstance(model, Predictor):
        return model
    return _shipped() if model is None else Predictor.load(Path(model))


async def predictor_beside(model: str | Path | Predictor | None) -> Predictor:
    """Return `predictor_from`, loaded without holding up the event loop."""
    return await asyncio.to_thread(predictor_from, model)


@functools.cache
def _shipped() -> Predictor:
    from innpar.models.predictor import Predictor

    return Predictor.load()


def reading_from(cuff: str | tuple[float, float]) -> PlannedCuff:
    """Return a cuff reading from ``"SBP/DBP[@SECONDS]"`` or (sbp, dbp), mmHg.

    Raises:
        ValueError: Something else, or no possible pressures.
    """
    if isinstance(cuff, str):
        planned = parse_cuff(cuff)
        if planned.device is not None:
            raise ValueError(f"{cuff!r}: there is one device; leave {planned.device}= out")
        return planned
    try:
        sbp, dbp = cuff
        return PlannedCuff(float(sbp), float(dbp))
    except TypeError:
        raise ValueError(f"a cuff reading is (sbp, dbp) or 'SBP/DBP', not {cuff!r}") from None


@contextmanager
def progress(text: str, total: float) -> Iterator[Callable[[float], None]]:
    """Yield a function that counts seconds of signal; a terminal shows them where there are many.

    Args:
        text: Ahead of the bar.
        total: Seconds of signal in all.
    """
    if total < LONG or math.isinf(total) or not sys.stderr.isatty():
        yield lambda seconds: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda seconds: bar.advance(task, seconds)
