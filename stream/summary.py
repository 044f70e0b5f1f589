"""Ten seconds of a device in one message: for those who need a number, not every beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from ..devices import NS, Event
from ..devices.base import Source
from .estimate import CalibrationStatus, Estimate, Item, State

PERIOD = 10 * NS
"""ns of signal in a summary. Signal, not wall time: a replay gives the same at any speed."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The beats of one device whose peaks lie in ``[start, end)``.

    Attributes:
        start: ns since the Unix epoch, a multiple of `PERIOD`.
        end: ns since the Unix epoch.
        medians: ``sbp``, ``dbp``, ``map``, ``pp`` in mmHg and ``hr`` in beats a minute over the
            valid beats; None where there was none.
        quality: Median over all beats, 0 to 1.
        beats: How many were found.
        valid: How many of them carry pressures.
        reasons: How often each reason was given.
        calibration: Of the last beat.
        battery: Percent as last told, None when never.
        link: The device's state as last told.
    """

    device: str
    source: Source
    session: str
    start: int
    end: int
    medians: dict[str, float | None]
    quality: float
    beats: int
    valid: int
    reasons: dict[str, int]
    calibration: CalibrationStatus
    battery: float | None
    link: str


@dataclass(slots=True)
class _Wearer:
    beats: list[Estimate] = field(default_factory=list)
    battery: float | None = None
    link: str = "online"


class Summaries:
    """Collects items and gives out a `Summary` once its ten seconds are over."""

    def __init__(self) -> None:
        self._wearers: dict[str, _Wearer] = {}

    def push(self, item: Item) -> list[Summary]:
        wearer = self._wearers.setdefault(item.device, _Wearer())
        if isinstance(item, Estimate):
            done = []
            if wearer.beats and wearer.beats[-1].peak // PERIOD != item.peak // PERIOD:
                done = [_summarise(wearer)]
                wearer.beats = []
            wearer.beats.append(item)
            return done
        if isinstance(item, State):
            wearer.link = item.state
        elif isinstance(item, Event) and item.kind == "battery":
            wearer.battery = item.detail.get("percent")
        return []

    def flush(self) -> list[Summary]:
        """Return the summaries of what has not filled its ten seconds."""
        rest = [_summarise(wearer) for wearer in self._wearers.values() if wearer.beats]
        self._wearers.clear()
        return rest


def _summarise(wearer: _Wearer) -> Summary:
    beats = wearer.beats
    last = beats[-1]
    valid = [beat for beat in beats if beat.valid]
    columns = {
        "sbp": [beat.sbp for beat in valid],
        "dbp": [beat.dbp for beat in valid],
        "map": [beat.map_ for beat in valid],
        "pp": [beat.pulse_pressure for beat in valid],
        "hr": [beat.hr for beat in valid],
    }
    start = last.peak // PERIOD * PERIOD
    return Summary(
        device=last.device,
        source=last.source,
        session=last.session,
        start=start,
        end=start + PERIOD,
        medians={name: _median(values) for name, values in columns.items()},
        quality=median(beat.quality for beat in beats),
        beats=len(beats),
        valid=len(valid),
        reasons=dict(Counter(reason for beat in beats for reason in beat.reasons)),
        calibration=last.calibration,
        battery=wearer.battery,
        link=wearer.link,
    )


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
