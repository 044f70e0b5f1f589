"""`run`: devices into sinks of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from innpar.devices import Device
from innpar.devices.timing.pace import SystemClock
from innpar.stream.app.settings import parse_cuff
from innpar.stream.library.parts import predictor_beside, sensor_from
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run as run_wearers
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.sinks.base import FanOut, Sink

if TYPE_CHECKING:
    from innpar.models.predictor import Predictor


async def run(
    devices: str | Device | list[str | Device] | tuple[str | Device, ...],
    sinks: Sink | list[Sink] | tuple[Sink, ...],
    *,
    cuffs: str | Sequence[str] = (),
    duration: float | None = None,
    model: str | Path | Predictor | None = None,
) -> None:
    """Stream devices into sinks until the sources end, the duration is over, or it is cancelled.

    ::

        class Printer(Sink):
            async def send(self, item):
                if isinstance(item, Beat):
                    print(item.device, item.sbp, item.dbp)

        asyncio.run(run("demo", Printer(), cuffs="128/79", duration=60))

    Nothing goes to MQTT and nothing is recorded or remembered but by your sinks. All devices share
    one network. With ``torch.set_num_threads(1)`` a busy neighbour does not delay it.

    Args:
        devices: One or more: names as ``--device`` takes them, or devices of your own.
        sinks: One or more. Each gets every item, in order; `send` must return at once.
        cuffs: Cuff readings, ``[DEVICE=]SBP/DBP[@SECONDS]``, in mmHg and seconds of signal after
            the device's first sample.
        duration: Seconds of signal of each device after which to stop; None for no limit.
        model: A ``manifest.json``, its folder or a `Predictor`; the network of this package where
            not given.

    Raises:
        DeviceError: A device is not there, or failed later; then the others first run to their own
            ends.
        ModelError: There is no such model.
        ValueError: Two devices of one name, or a reading of none of them.
    """
    several = devices if isinstance(devices, list | tuple) else [devices]
    sensors = [sensor_from(device) for device in several]
    ids = [sensor.id for sensor in sensors]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two devices have one name: {', '.join(ids)}; add ?id=… to one of them")
    readings = [parse_cuff(one) for one in ([cuffs] if isinstance(cuffs, str) else cuffs)]
    for reading in readings:
        if reading.device not in ([None, *ids] if len(ids) == 1 else ids):
            raise ValueError(f"whose cuff reading? write DEVICE=SBP/DBP; there is {', '.join(ids)}")
    clock, engine = SystemClock(), Engine(await predictor_beside(model))
    wearers = [
        enrol(sensor, engine, clock, cuffs=readings, duration=duration) for sensor in sensors
    ]
    out = FanOut(sinks) if isinstance(sinks, list | tuple) else sinks
    await run_wearers(wearers, engine, out, clock)
