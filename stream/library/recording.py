"""`open_session`: a recorded session as arrays, beats, events, a table, or a device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from innpar.devices import NS, Chunk, Event
from innpar.devices.base import Signal
from innpar.devices.session.contents import devices_in, running
from innpar.devices.session.device import ReplayedSession
from innpar.devices.session.device import open_session as open_recorded
from innpar.devices.session.published import published
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import Pace
from innpar.stream.errors import SessionError
from innpar.stream.results import (
    NOT_CALIBRATED,
    Beat,
    CalibrationStatus,
    Interval,
    Latency,
    Reference,
)

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own

PARTS = ("sensor", "guard", "lookahead", "hop", "beat", "compute")


class Session:
    """A recorded session, open for reading; made by `open_session`.

    `device` may be left out where only one was recorded. `begin` and `end` are seconds after the
    device's first PPG sample.

    Attributes:
        path: The file.
        devices: Ids of the devices whose samples were recorded, in order of appearance.
        configuration: The settings and the model of the recorded run; empty where that is lost.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        self._file = SessionFile(self.path)
        self.devices: tuple[str, ...] = tuple(devices_in(self._file))
        self.configuration: Mapping[str, Any] = running(self._file)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<Session {self.path}: {', '.join(self.devices)}>"

    def samples(
        self,
        device: str | None = None,
        signal: Signal = "ppg",
        *,
        begin: float = 0.0,
        end: float = math.inf,
    ) -> Chunk:
        """Return the samples of one signal as they were recorded, in one chunk.

        Args:
            device: Its id.
            signal: ``ppg`` in the sensor's unit, ``acc`` in g, or ``abp``, a true arterial
                pressure, in mmHg.
            begin: Seconds.
            end: Seconds.

        Returns:
            ``.times`` (samples,) int64, ns since the Unix epoch, ``.data`` (samples, channels)
            float64, ``.channels`` and ``.rate`` in Hz. Gaps are steps in the times.

        Raises:
            DeviceError: No such device.
            SessionError: Nothing of the signal was recorded then, or its channels changed.
        """
        session = self._device(device, begin, end)
        with closing(session.items()) as items:
            found = [i for i in items if isinstance(i, Chunk) and i.signal == signal and len(i)]
        if not found:
            raise SessionError(f"{self.path}: no {signal} of {session.recorded} was recorded then")
        if len({chunk.channels for chunk in found}) > 1:
            raise SessionError(
                f"{self.path}: the channels of {signal} changed; choose a part with begin and end"
            )
        times = np.concatenate([chunk.times for chunk in found])
        data = np.concatenate([chunk.data for chunk in found])
        first = found[0]
        return Chunk(first.device, first.signal, first.channels, first.rate, times, data)

    def events(
        self, device: str | None = None, *, begin: float = 0.0, end: float = math.inf
    ) -> list[Event]:
        """Return the events of a device in order; those that still held at `begin` come first.

        Raises:
            DeviceError: No such device.
        """
        with closing(self._device(device, begin, end).items()) as items:
            return [item for item in items if isinstance(item, Event)]

    def beats(
        self, device: str | None = None, *, begin: float = 0.0, end: float = math.inf
    ) -> list[Beat]:
        """Return the beats of a device as they were published: to 0.1 mmHg and to the millisecond.

        Raises:
            DeviceError: No such device.
        """
        session = self._device(device, begin, end)
        low, high = max(session.begin, session.first), session.end
        found = (_beat(one.payload) for one in published(self._file, session.recorded))
        return [beat for beat in found if low <= beat.peak < high]

    def to_pandas(
        self,
        device: str | None = None,
        *,
        rate: float = 125.0,
        begin: float = 0.0,
        end: float = math.inf,
    ) -> pd.DataFrame:
        """Return a device's signals as a DataFrame on one even grid.

        Returns:
            One row a sample, indexed by its time (UTC). ``PPG`` is the channel with the best
            signal, turned so that a pulse rises, in the sensor's unit; ``PPG_<label>`` each channel
            as it is; ``ABP`` the reconstructed pressure, mmHg; ``ABP_true`` a true one where there
            is one; ``Marker`` the text of a marker at its sample, empty elsewhere. NaN where
            nothing was recorded or reconstructed. ``attrs``: sampling_rate (Hz), device, channel,
            source.

        Raises:
            SessionError: pandas is not installed.
            DeviceError: No such device.
            ValueError: `rate` (Hz) is no whole number of nanoseconds a sample.
        """
        from innpar.stream.session.export.dataframe import dataframe

        return dataframe(self.path, device=device, rate=rate, begin=begin, end=end)

    def replay(
        self,
        device: str | None = None,
        *,
        speed: float = math.inf,
        begin: float = 0.0,
        end: float = math.inf,
    ) -> ReplayedSession:
        """Return a device that plays itself, for `innpar.live` and `innpar.stream.run`.

        Args:
            device: Its id.
            speed: Seconds of signal a second; infinity for as fast as it is taken.
            begin: Seconds.
            end: Seconds.

        Raises:
            DeviceError: No such device.
        """
        return self._device(device, begin, end, speed)

    def _device(
        self, device: str | None, begin: float, end: float, speed: float = math.inf
    ) -> ReplayedSession:
        options = {"from": str(begin)} | ({} if math.isinf(end) else {"to": str(end)})
        options |= {} if device is None else {"device": device}
        return open_recorded(self.path, options, pace=Pace(speed))


def open_session(path: str | Path) -> Session:
    """Open a recorded session, torn or whole; a context manager.

    ::

        with innpar.open_session("night.mcap") as night:
            print(night.devices, len(night.beats()))
            ppg = night.samples(signal="ppg", begin=600, end=900)
            frame = night.to_pandas(begin=600, end=900)

    Raises:
        NotFound: No such file.
        Refused: It is there and is no session.
    """
    return Session(path)


def _beat(told: Mapping[str, Any]) -> Beat:
    """Return a ``bp-beat/1`` message as a beat; numbers that it does not have are None."""
    abp, clock = told.get("abp") or {}, told.get("clock") or {}
    held, took = told.get("calibration") or {}, told.get("latency_ms") or {}
    interval, true = told.get("interval"), told.get("reference")
    return Beat(
        device=str(told["device"]),
        source=told["source"],
        session=str(told["session"]),
        seq=int(told["seq"]),
        peak=_ns(told["t"]),
        sbp=told.get("sbp"),
        dbp=told.get("dbp"),
        map_=told.get("map"),
        hr=told.get("hr"),
        interval=Interval(interval["level"], *_pairs(interval)) if interval else None,
        quality=float(told["quality"]),
        valid=bool(told["valid"]),
        reasons=tuple(told["reasons"]),
        calibration=CalibrationStatus(**held) if held else NOT_CALIBRATED,
        latency=Latency(*(float(took.get(part, math.nan)) for part in PARTS)),
        skew_ppm=clock.get("skew_ppm"),
        clock_error_ms=clock.get("error_ms"),
        abp_start=_ns(abp.get("start", told["t"])),
        rate=float(abp.get("rate", math.nan)),
        abp=np.array(abp.get("samples") or (), dtype=np.float32),
        reference=Reference(true["sbp"], true["dbp"], true["map"]) if true else None,
        model=str(told.get("model", "")),
        delay_ms=told.get("delay_ms"),
        late=bool(told.get("late")),
    )


def _pairs(interval: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    for name in ("sbp", "dbp", "map"):
        low, high = interval[name]
        yield cast(float, low), cast(float, high)


def _ns(seconds: float) -> int:
    """Return s with milliseconds as ns."""
    return round(seconds * 1000) * (NS // 1000)
