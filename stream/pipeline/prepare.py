"""One wearer's way to the network: what a device yields becomes windows ready for the model.

Nothing here knows a clock or a network; what comes out depends on the stream's own content and
order alone, so a replay repeats it bit for bit.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.devices import Chunk, Event, NoticeCode, notice
from innpar.devices.base import Source
from innpar.models.predictor import Manifest
from innpar.stream.calibration.store import StoredCalibration
from innpar.stream.calibration.tracker import CalibrationTracker
from innpar.stream.calibration.types import CuffReading, Guidance, Question
from innpar.stream.results import DeviceInfo, Reason
from innpar.stream.windows.channel import ChannelPicker
from innpar.stream.windows.conditioning import conditioning_matrix
from innpar.stream.windows.motion import MotionJudge
from innpar.stream.windows.quality import Quality
from innpar.stream.windows.resample import GridSamples, Resampler, SampleCounts, period
from innpar.stream.windows.window import Window, Windower

HOP = 128
"""Samples from one window to the next: 1.024 s at 125 Hz, a multiple of the network's four."""
FIT_WINDOWS = 8
"""Windows after which a run says whether the signal is usable."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A window ready for the network.

    Attributes:
        window: Where it lies.
        ppg: (window,) float32, conditioned, pulse upward, the sensor's unit.
        guidance: What a cuff reading adds.
        quality: Of the window.
        blank: There is nothing to scale by; the network is not asked, the waveform is interrupted.
        prepare_ms: What conditioning cost.
    """

    window: Window
    ppg: npt.NDArray[np.float32]
    guidance: Guidance
    quality: Quality
    blank: bool
    prepare_ms: float

    @property
    def context(self) -> npt.NDArray[np.float32] | None:
        """(entries,) float32 for the network; None without a cuff reading, and for a network that
        takes none."""
        return self.guidance.context

    @property
    def asides(self) -> tuple[Question, ...]:
        """What else the network is asked once there is a reading: the window without it, and when
        it takes effect the windows from before it, with it and without. A network that takes no
        context is asked about those alone."""
        anchor = self.guidance.anchor
        if self.guidance.context is None:
            return anchor
        return (Question(self.ppg, None), *anchor, *(Question(one.ppg, None) for one in anchor))


@dataclass(slots=True)
class Preparer:
    """Resample, window, choose the channel, condition, judge, and attach the cuff reading.

    Attributes:
        birth: What is known of the device so far; published when it changes.
        polarity: As of `Device`.
        manifest: What the model needs.
        check_fit: Say in the first seconds whether the signal is usable.
        resumed: The newest reading of before, with which the stream goes on.
    """

    birth: DeviceInfo
    polarity: int
    manifest: Manifest
    check_fit: bool = True
    windows: int = 0
    accepted: int = 0
    resumed: StoredCalibration | None = None
    _period: int = field(init=False)
    _resampler: Resampler = field(init=False)
    _windower: Windower = field(init=False)
    _picker: ChannelPicker = field(init=False)
    _calibration: CalibrationTracker = field(init=False)
    _channels: tuple[str, ...] = field(init=False, default=())
    _worn: bool = field(init=False, default=True)
    _moving: bool = field(init=False, default=False)
    _motion: MotionJudge = field(init=False, default_factory=MotionJudge)
    _usable: bool | None = field(init=False, default=None)
    _cuffs: list[Event] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        m = self.manifest
        matrix = conditioning_matrix(m.window, m.guard, m.rate, m.band)
        self._period = period(m.rate)
        self._resampler = Resampler(m.rate)
        self._windower = Windower(m.window, m.guard, HOP)
        self._picker = ChannelPicker(self.polarity, m.rate, matrix)
        self._calibration = CalibrationTracker(m.architecture.context, m.rate)

    @property
    def tally(self) -> SampleCounts:
        """What was wrong with the samples so far."""
        return self._resampler.tally

    @property
    def waiting(self) -> list[Event]:
        """Cuff readings that have been told and have not taken effect yet."""
        device = self.birth.device
        return [
            Event(device, "cuff", one.time, one.time, {"sbp": one.sbp, "dbp": one.dbp})
            for one in self._calibration.waiting
        ]

    def push(self, item: Chunk | Event) -> list[Prepared | Event | DeviceInfo]:
        """Take what the device yields (light, acceleration, an event); return what is ready."""
        outputs: list[Prepared | Event | DeviceInfo] = []
        if isinstance(item, Chunk) and item.signal == "acc":
            self._motion.push(item)
            return []
        if isinstance(item, Event):
            outputs += self._told(item)
        else:
            self._channels = item.channels
        for output in self._resampler.push(item):
            if output is item and output.kind == "cuff":
                self._cuffs.append(output)
            elif isinstance(output, Event):
                outputs.append(output)
            else:
                outputs += self._windows(output)
        return outputs

    def flush(self) -> list[Prepared | Event | DeviceInfo]:
        """Return what the end of the stream completes."""
        outputs: list[Prepared | Event | DeviceInfo] = []
        for output in self._resampler.flush():
            if isinstance(output, GridSamples):
                outputs += self._windows(output)
        cuffs, self._cuffs = self._cuffs, []
        return [*outputs, *cuffs]

    def _told(self, event: Event) -> list[Prepared | Event | DeviceInfo]:
        if event.kind == "wear":
            self._worn = bool(event.detail["worn"])
        elif event.kind == "motion":
            self._moving = bool(event.detail["moving"])
        elif event.kind == "cuff":
            kept = StoredCalibration.of(event)
            if kept is not None:
                self.resumed = kept
                self._calibration.resume(kept.reading, kept.calibration, kept.height, kept.channel)
                return []
            reading = CuffReading(
                event.start, float(event.detail["sbp"]), float(event.detail["dbp"])
            )
            self._calibration.cuff(reading)
        elif event.kind == "posture":
            self._calibration.posture(event.start, float(event.detail["wrist_height"]))
        elif event.kind == "connected":
            self._moving = False
            return [self._bear(**event.detail)]
        elif event.kind == "notice" and "rate" in event.detail:
            return [self._bear(rate=event.detail["rate"])]
        return []

    def _bear(self, **detail: object) -> DeviceInfo:
        old = self.birth
        source: Source = "simulated" if detail.get("origin") == "simulated" else old.source
        self.birth = DeviceInfo(
            old.device, source, old.session, old.model, old.rate, {**old.detail, **detail}
        )
        return self.birth

    def _windows(self, stretch: GridSamples) -> list[Prepared | Event | DeviceInfo]:
        outputs: list[Prepared | Event | DeviceInfo] = []
        for window in self._windower.push(stretch):
            outputs += self._due(window)
            before = self._picker.choice
            prepared = self._prepare(window)
            if self._picker.choice != before and self._picker.choice is not None:
                outputs.append(self._bear(channel=self._picker.choice.label))
            outputs += [*self._speak(prepared), prepared]
        return outputs

    def _due(self, window: Window) -> list[Event]:
        """Return the cuff readings that this window is the first to know of.

        They come ahead of their samples, by how much depends on the chunks; told in their place, a
        reading finds the same beats before it whatever the chunks.
        """
        end = (window.index + self.manifest.window) * self._period
        due = [cuff for cuff in self._cuffs if cuff.start <= end]
        self._cuffs = [cuff for cuff in self._cuffs if cuff.start > end]
        return due

    def _prepare(self, window: Window) -> Prepared:
        began = time.perf_counter()
        _, ppg, quality = self._picker.push(window.segment, self._channels, window.raw)
        end = window.index + self.manifest.window
        told: list[Reason] = [] if self._worn else ["not_worn"]
        if self._moving or self._motion.moving(window.index * self._period, end * self._period):
            told.append("motion")
        if told:
            reasons = tuple(dict.fromkeys([*told, *quality.reasons]))
            quality = Quality(0.0, reasons, quality.steepness)
        label = self._picker.choice.label if self._picker.choice is not None else ""
        guidance = self._calibration.push(
            end * self._period, ppg, quality.accepted, window.segment, label
        )
        self.windows += 1
        self.accepted += quality.accepted
        blank = not float(ppg.std()) > 0
        took = 1e3 * (time.perf_counter() - began)
        return Prepared(window, ppg, guidance, quality, blank, took)

    def _speak(self, prepared: Prepared) -> list[Event]:
        """Say when the signal becomes usable or stops being so, and once how well it fits."""
        at = prepared.window.index * self._period
        events: list[Event] = []
        usable = prepared.quality.accepted
        if usable != self._usable:
            self._usable = usable
            detail = {"usable": usable, "reasons": list(prepared.quality.reasons)}
            events.append(Event(self.birth.device, "quality", at, at, detail))
        if self.check_fit and self.windows == FIT_WINDOWS:
            text = fit(self.accepted / self.windows, prepared.quality.reasons)
            events.append(notice(self.birth.device, at, NoticeCode.FIT_CHECK, text))
            if prepared.guidance.calibration is None:
                text = NO_UNIT if self.manifest.relative else NO_LEVEL
                events.append(notice(self.birth.device, at, NoticeCode.NOT_CALIBRATED, text))
        return events


REMEDIES = {
    "flat": "the sensor sends a constant: check that its light is on and touches the skin",
    "clipped": "the sensor is at its limit: loosen the strap a little and keep sunlight off",
    "motion": "the signal is unsteady: hold the arm still and rest it at heart height",
    "low_quality": "the pulse is hard to see: tighten the strap, move up the forearm, hold still",
    "not_worn": "the device says that it is not worn: put it on",
}


NO_LEVEL = (
    "not calibrated: these pressures carry little of the absolute level; measure with a cuff and "
    "tell it: innpar-stream calibrate 128/79"
)
NO_UNIT = (
    "not calibrated: this model's output has no unit, so there are no pressures before a cuff "
    "reading; measure and tell it: innpar-stream calibrate 128/79"
)


def fit(share: float, reasons: tuple[str, ...]) -> str:
    """Return one sentence for the wearer: usable, or what to do."""
    if share >= 0.5:
        return f"fit check: the signal is usable ({share:.0%} of the first seconds)"
    remedy = REMEDIES[reasons[0] if reasons else "low_quality"]
    return f"fit check: only {share:.0%} of the first seconds is usable; {remedy}"
