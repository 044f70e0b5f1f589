"""`reconstruct`: an array of PPG becomes arterial pressure, by the very stages of a live run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from innpar.devices import Event
from innpar.devices.timing.pace import VirtualClock
from innpar.models.manifest import Manifest
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.library.parts import predictor_from, progress, reading_from
from innpar.stream.library.samples import START, SampleArray
from innpar.stream.library.trace import PressureTrace, placed, qualities
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.wearer import enrol
from innpar.stream.results import Beat, Item, Waveform

if TYPE_CHECKING:
    from innpar.models.predictor import Predictor

HIGHEST_RATE = 10_000.0
"""Hz."""


def reconstruct(
    ppg: npt.ArrayLike,
    rate: float,
    *,
    cuff: str | tuple[float, float] | npt.ArrayLike | None = None,
    at: float | Sequence[float] | None = None,
    polarity: Literal[-1, 0, 1] = 0,
    model: str | Path | Predictor | None = None,
) -> PressureTrace:
    """Reconstruct the arterial pressure of a recorded PPG.

    The samples go through the stages of a live run, so the result equals a streamed replay of
    them, bit for bit. An hour of signal takes about 15 s on one CPU core, and a batch as much for
    each hour of each row (measured: 14.3 CPU-seconds for 3600 s at 55 Hz, one thread of a 2-core
    x86 server, 0.4 GB of memory); the first call also loads the network, which takes seconds.
    ``result.seconds`` says how long it took, and a terminal shows the progress of 10 minutes or
    more. With ``torch.set_num_threads(1)`` it is fastest beside other work.

    Args:
        ppg: (samples,), or (n, samples) for n wearers at once; any unit. NaN marks missing
            samples: nothing is computed across a gap of more than one. At least 6 s.
        rate: Of the samples, Hz; at least twice the upper edge of the network's band (8 Hz).
        cuff: A cuff reading of the wearer: (sbp, dbp) in mmHg or ``"128/79"``. For a batch, one
            for all or (n, 2), with NaN in the rows without a reading. It needs about 13 s of
            accepted signal before it takes effect, and holds from then on. Without one the
            pressures carry little of the absolute level.
        at: Seconds after the first sample at which `cuff` was read; for a batch, one for all or
            one a row. At the start where not given.
        polarity: 1 where a pulse makes the samples rise, -1 where it makes them fall (reflected
            light), 0 to find out.
        model: A ``manifest.json``, its folder or a `Predictor`; the network of this package where
            not given.

    Raises:
        ValueError: The array, its rate or a reading is not as above.
        ModelError: There is no such model.
    """
    began = time.perf_counter()
    rows = _checked(ppg)
    predictor = predictor_from(model)
    manifest = predictor.manifest
    _check_rate(rate, manifest)
    samples = rows.shape[-1]
    shortest = (manifest.window + 2 * manifest.guard) / manifest.rate
    if samples / rate < shortest + 2 / rate:
        raise ValueError(
            f"{samples} samples at {rate:g} Hz are {samples / rate:.1f} s; the network needs at "
            f"least {shortest + 0.1:.1f} s: give a longer signal, one wearer a row"
        )
    if polarity not in (-1, 0, 1):
        raise ValueError(f"polarity is 1, -1 or 0, not {polarity!r}")
    batch = np.atleast_2d(rows)
    cuffs = _readings(cuff, at, len(batch), samples / rate)
    kept, took = _streamed(batch, rate, polarity, cuffs, predictor), time.perf_counter() - began
    count = int((samples - 1) / rate * manifest.rate) + 1
    traces = [one.trace(count, manifest.rate, took, predictor.id) for one in kept]
    return traces[0] if rows.ndim == 1 else PressureTrace.stacked(traces)


def _checked(ppg: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (samples,) or (n, samples) float64.

    Raises:
        ValueError: It is something else, or holds infinity or nothing but NaN.
    """
    try:
        rows = np.asarray(ppg)
        if np.iscomplexobj(rows):
            raise TypeError("complex numbers")
        rows = rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"ppg is an array of numbers, (samples,) or (n, samples): {error}"
        ) from None
    if rows.ndim not in (1, 2) or not rows.size:
        raise ValueError(f"ppg is (samples,) or (n, samples), not {rows.shape}")
    if np.isinf(rows).any():
        raise ValueError("ppg holds infinity; write NaN where a sample is missing")
    empty = np.flatnonzero(np.isnan(np.atleast_2d(rows)).all(axis=1))
    if len(empty):
        raise ValueError(f"row {empty[0]} of ppg holds nothing but NaN; leave it out")
    return rows


def _check_rate(rate: float, manifest: Manifest) -> None:
    lowest = 2 * manifest.band[1]
    if not lowest <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"rate is in samples a second, {lowest:g} to {HIGHEST_RATE:g} Hz, not {rate:g}"
        )


def _readings(
    cuff: str | tuple[float, float] | npt.ArrayLike | None,
    at: float | Sequence[float] | None,
    rows: int,
    duration: float,
) -> list[list[PlannedCuff]]:
    """Return the cuff readings of each row.

    Raises:
        ValueError: A reading is none, or lies outside of the signal.
    """
    if cuff is None:
        if at is not None:
            raise ValueError("`at` is the time of a cuff reading; give `cuff` as well")
        return [[] for _ in range(rows)]
    if isinstance(cuff, str):
        planned = reading_from(cuff)
        cuff, at = (planned.sbp, planned.dbp), planned.seconds if at is None else at
    pressures = np.asarray(cuff, dtype=np.float64)
    if pressures.shape not in ((2,), (rows, 2)):
        raise ValueError(
            f"cuff is (sbp, dbp), or ({rows}, 2) with a reading a row, not {pressures.shape}"
        )
    times = np.asarray(0.0 if at is None else at, dtype=np.float64)
    if times.shape not in ((), (rows,)):
        raise ValueError(f"`at` is a number of seconds, or {rows} of them, not {times.shape}")
    if not ((times >= 0) & (times < duration)).all():
        raise ValueError(f"`at` is from 0 to the end of the signal, {duration:g} s, not {at}")
    spread = zip(
        np.broadcast_to(pressures, (rows, 2)).tolist(),
        np.broadcast_to(times, (rows,)).tolist(),
        strict=True,
    )
    return [
        [] if np.isnan(pair).all() else [replace(reading_from(tuple(pair)), seconds=second)]
        for pair, second in spread
    ]


@dataclass(slots=True)
class _Kept:
    """The results of one row."""

    beats: list[Beat] = field(default_factory=list)
    waves: list[Waveform] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def trace(self, count: int, rate: float, took: float, model: str) -> PressureTrace:
        """Return them on the grid, with times that count from the first sample."""
        return PressureTrace(
            time=np.arange(count) / rate,
            abp=placed(self.waves, "abp", START, count),
            ppg=placed(self.waves, "ppg", START, count),
            quality=qualities(self.beats, START, count, rate),
            beats=tuple(
                replace(beat, peak=beat.peak - START, abp_start=beat.abp_start - START)
                for beat in self.beats
            ),
            events=tuple(
                replace(event, start=event.start - START, end=event.end - START)
                for event in self.events
            ),
            rate=rate,
            seconds=took,
            model=model,
        )


class _Sorting:
    """A sink that keeps each row's results."""

    def __init__(self, rows: dict[str, _Kept]) -> None:
        self._rows = rows

    async def send(self, item: Item) -> None:
        kept = self._rows[item.device]
        if isinstance(item, Beat):
            kept.beats.append(item)
        elif isinstance(item, Waveform):
            kept.waves.append(item)
        elif isinstance(item, Event):
            kept.events.append(item)

    async def ready(self) -> None:
        """Return at once: there is always room."""


def _streamed(
    batch: npt.NDArray[np.float64],
    rate: float,
    polarity: Literal[-1, 0, 1],
    cuffs: Sequence[Sequence[PlannedCuff]],
    predictor: Predictor,
) -> list[_Kept]:
    """Run every row through the pipeline, all at once."""
    with progress("reconstructing", batch.size / rate) as advance:
        devices = [
            SampleArray(f"row-{row}", samples, rate, polarity, advance=advance)
            for row, samples in enumerate(batch)
        ]
        kept = {device.id: _Kept() for device in devices}

        async def main() -> None:
            clock, engine = VirtualClock(), Engine(predictor)
            wearers = [
                enrol(device, engine, clock, cuffs=readings)
                for device, readings in zip(devices, cuffs, strict=True)
            ]
            await run(wearers, engine, _Sorting(kept), clock)

        # In a thread of its own, where an event loop may already be running (a notebook's).
        with ThreadPoolExecutor(1, thread_name_prefix="reconstruct") as pool:
            try:
                pool.submit(asyncio.run, main()).result()
            finally:
                for device in devices:
                    device.halted = True
    return list(kept.values())
