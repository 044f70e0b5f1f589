"""A session as a pandas DataFrame, ready for NeuroKit2.

::

    import neurokit2 as nk
    from innpar.stream.session.export.dataframe import dataframe

    frame = dataframe("night.mcap", begin=600, end=900)
    rate = frame.attrs["sampling_rate"]
    signals, info = nk.ppg_process(frame["PPG"].to_numpy(), sampling_rate=rate)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from innpar.devices import Event
from innpar.devices.session.device import ReplayedSession, open_session
from innpar.devices.session.published import published
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import Pace
from innpar.stream.session.export.content import PlacedBeat, estimate
from innpar.stream.session.export.formats import require
from innpar.stream.session.pulse import best_channel, shipped
from innpar.stream.windows.channel import Choice
from innpar.stream.windows.resample import GridSamples, Resampler, period

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

Grid = dict[str, list[tuple[int, npt.NDArray[np.float64]]]]
"""Column → pieces of it: index of the first sample on the grid, and samples."""


def dataframe(
    path: str | Path,
    *,
    device: str | None = None,
    rate: float | None = None,
    begin: float = 0.0,
    end: float = math.inf,
) -> pd.DataFrame:
    """Return a session's signals on one even grid.

    Args:
        path: The session.
        device: Id of the device; None for the only one.
        rate: Sampling rate of the grid, Hz, with a whole number of nanoseconds per sample; None
            for the shipped model's.
        begin: Start of the excerpt, seconds after the first sample.
        end: End of the excerpt, seconds after the first sample.

    Returns:
        One row per sample, indexed by its time (UTC). ``PPG``: the channel with the best signal,
        pulse upward, in the sensor's unit; ``PPG_<label>``: each channel as recorded; ``ABP``: the
        reconstructed pressure, mmHg; ``ABP_true``: the true pressure, where recorded, mmHg;
        ``Marker``: the text of a marker at its sample, empty elsewhere. NaN where nothing was
        recorded or reconstructed. ``attrs``: sampling_rate (Hz), device, channel, source.

    Raises:
        SessionError: pandas is not installed.
        DeviceError: The file does not exist or is not a session, or has no such device.
        ValueError: The grid of `rate` is not possible.
    """
    require("pandas", "a DataFrame")
    import pandas as pd

    rate = shipped().rate if rate is None else rate
    options = {"from": str(begin)} | ({} if math.isinf(end) else {"to": str(end)})
    options |= {} if device is None else {"device": device}
    session = open_session(Path(path), options, pace=Pace(math.inf))
    columns, choice, events = _signals(session, rate)
    columns["ABP"] = list(_estimates(session, rate))
    ends = [at + len(samples) for pieces in columns.values() for at, samples in pieces]
    first = min((at for pieces in columns.values() for at, _ in pieces), default=0)
    filled = {name: _column(columns[name], first, max(ends, default=0)) for name in columns}
    step = period(rate)
    index = pd.to_datetime((first + np.arange(max(ends, default=0) - first)) * step, utc=True)
    frame = pd.DataFrame(filled, index=index)
    frame["Marker"] = ""
    for event in events:
        row = round(event.start / step) - first
        if event.kind == "marker" and 0 <= row < len(frame):
            frame.iloc[row, -1] = str(event.detail.get("text", ""))
    frame.attrs.update(
        sampling_rate=rate,
        device=session.recorded,
        channel=choice.label if choice else "",
        source="simulated" if session.simulated else "recorded",
    )
    return frame


def _signals(session: ReplayedSession, rate: float) -> tuple[Grid, Choice | None, list[Event]]:
    """Return the recorded signals on the grid, the chosen PPG channel, and the events."""
    columns: Grid = {"PPG": []}
    grids = {"ppg": Resampler(rate), "abp": Resampler(rate)}
    labels: tuple[str, ...] = ()
    events: list[Event] = []
    stretches: list[GridSamples] = []

    def put(signal: str, outputs: list[GridSamples | Event]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                continue
            names = ["ABP_true"] if signal == "abp" else [f"PPG_{label}" for label in labels]
            for name, column in zip(names, output.data.T, strict=True):
                columns.setdefault(name, []).append((output.index, column))
            if signal == "ppg":
                stretches.append(output)

    with closing(session.items()) as items:
        for item in items:
            if isinstance(item, Event):
                events.append(item)
                put("ppg", grids["ppg"].push(item))
            elif item.signal in grids:
                if item.signal == "ppg" and item.channels != labels:
                    put("ppg", grids["ppg"].flush())
                    labels = item.channels
                put(item.signal, grids[item.signal].push(item))
    for signal, grid in grids.items():
        put(signal, grid.flush())
    choice = best_channel(session.polarity, labels, stretches, shipped().at(rate))
    if choice is not None:
        weights = np.array(choice.weights)
        fitting = [s for s in stretches if s.data.shape[1] == len(weights)]
        columns["PPG"] = [(stretch.index, stretch.data @ weights) for stretch in fitting]
    return columns, choice, events


def _estimates(
    session: ReplayedSession, rate: float
) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """Yield the reconstructed pressure on the grid."""
    grid = Resampler(rate)
    low, high = max(session.begin, session.first), min(session.end, session.last + 1)
    with SessionFile(session.path, session.seen) as file:
        for beat in published(file, session.recorded):
            if not low <= beat.written < high:
                continue
            wave = estimate(PlacedBeat(beat.device, beat.payload))
            yield from _placed(grid.push(wave) if wave is not None else [])
    yield from _placed(grid.flush())


def _placed(outputs: list[Any]) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    yield from ((o.index, o.data[:, 0]) for o in outputs if isinstance(o, GridSamples))


def _column(
    pieces: list[tuple[int, npt.NDArray[np.float64]]], first: int, end: int
) -> npt.NDArray[np.float64]:
    values = np.full(end - first, np.nan)
    for at, samples in pieces:
        values[at - first : at - first + len(samples)] = samples
    return values
