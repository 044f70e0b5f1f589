"""The stages ahead of the network: a device's samples become windows ready for the model.

There is no clock and no network here: the output depends on the content and order of the stream
alone, so that a replay repeats it bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.devices import Chunk, Event, NoticeCode, notice
from innpar.models.predictor import Manifest
from innpar.stream.calibration.tracker import CalibrationTracker
from innpar.stream.calibration.types import CuffReading, Guidance, Question
from innpar.stream.pipeline.overload import Backlog, ProcessLoad
from innpar.stream.pipeline.reports import SignalReports
from innpar.stream.results import Reason
from innpar.stream.windows.channel import ChannelPicker
from innpar.stream.windows.conditioning import conditioning_matrix
from innpar.stream.windows.motion import MotionJudge
from innpar.stream.windows.quality import Quality
from innpar.stream.windows.resample import GridSamples, Resampler, SampleCounts, period
from innpar.stream.windows.timing import HOP
from innpar.stream.windows.window import Window, Windower


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A window ready for the network.

    Attributes:
        window: Its place in the stream.
        ppg: (window,) float32, conditioned, pulse upward, in the sensor's unit.
        guidance: The state of the calibration.
        quality: Of the window.
        blank: Whether the signal is constant; it then does not go through the network, and the
            waveform is interrupted.
        prepare_ms: Duration of conditioning, ms.
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
        """Further inputs for the network once there is a reading: the window without it and, when
        it takes effect, the windows from before it, with it and without it. For a network without
        a context: those windows alone."""
        anchor = self.guidance.anchor
        if self.guidance.context is None:
            return anchor
        return (Question(self.ppg, None), *anchor, *(Question(one.ppg, None) for one in anchor))


@dataclass(frozen=True, slots=True)
class InfoChange:
    """New detail for a device's `DeviceInfo`."""

    detail: Mapping[str, object]


Ready = Prepared | Event | InfoChange
"""An output of the stages ahead of the network."""


@dataclass(slots=True)
class Preparer:
    """Resample, window, choose the channel, condition, assess, and attach the cuff reading.

    Attributes:
        polarity: See `Device`.
        manifest: Of the model: rate, window, band, context.
        check_fit: Report in the first seconds whether the signal is usable.
        hop: Samples from one window to the next; the pulse is described every `HOP`.
        windows: Number of windows so far.
        accepted: Those of them with sufficient quality.
        backlog: Decides which windows are left out when the computer is too slow.
        calibration: The readings, and the pulse that belongs to each.
    """

    polarity: int
    manifest: Manifest
    check_fit: bool = True
    hop: int = HOP
    windows: int = 0
    accepted: int = 0
    backlog: Backlog = field(default_factory=lambda: Backlog(ProcessLoad()))
    _period: int = field(init=False)
    _resampler: Resampler = field(init=False)
    _windower: Windower = field(init=False)
    _picker: ChannelPicker = field(init=False)
    calibration: CalibrationTracker = field(init=False)
    _device: str = field(init=False, default="")
    _channels: tuple[str, ...] = field(init=False, default=())
    _rate: float = field(init=False, default=0.0)
    _worn: bool = field(init=False, default=True)
    _moving: bool = field(init=False, default=False)
    _motion: MotionJudge = field(init=False, default_factory=MotionJudge)
    _cuffs: list[Event] = field(init=False, default_factory=list)
    _described: tuple[int, str, bool] = field(init=False, default=(-1, "", False))
    _next: int = field(init=False, default=0)
    _reports: SignalReports = field(init=False)

    def __post_init__(self) -> None:
        m = self.manifest
        matrix = conditioning_matrix(m.window, m.guard, m.rate, m.band)
        self._period = period(m.rate)
        self._resampler = Resampler(m.rate)
        self._windower = Windower(m.window, m.guard, self.hop)
        self._picker = ChannelPicker(self.polarity, m.rate, matrix)
        self.calibration = CalibrationTracker(m.architecture.context, m.rate)
        self._reports = SignalReports(self.hop, relative=m.relative, check_fit=self.check_fit)

    @property
    def tally(self) -> SampleCounts:
        """Counts of the samples dropped so far, and of the gaps."""
        return self._resampler.tally

    @property
    def waiting(self) -> list[CuffReading]:
        """Cuff readings that have arrived and have not taken effect yet."""
        ahead = [CuffReading.of(event) for event in self._cuffs if event.kind == "cuff"]
        return [*self.calibration.waiting, *(one for one in ahead if one.remembered is None)]

    @property
    def coming(self) -> tuple[Event, ...]:
        """Cuff readings and withdrawals that wait for their place in the stream."""
        return tuple(self._cuffs)

    def push(self, item: Chunk | Event) -> list[Ready]:
        """Take an item of the device (light, acceleration, an event); return what is ready."""
        self._device = item.device
        if isinstance(item, Chunk) and item.signal == "acc":
            self._motion.push(item)
            return []
        outputs: list[Ready] = []
        if isinstance(item, Chunk):
            self._channels, self._rate = item.channels, item.rate
        elif item.kind in ("cuff", "cuff_undone"):
            self._cuff(item)
            return []
        else:
            outputs += self._event(item)
        for output in self._resampler.push(item):
            outputs += [output] if isinstance(output, Event) else self._windows(output)
        return outputs

    def flush(self) -> list[Ready]:
        """Return what the end of the stream completes."""
        outputs: list[Ready] = []
        for output in self._resampler.flush():
            if isinstance(output, GridSamples):
                outputs += self._windows(output)
        cuffs, self._cuffs = self._cuffs, []
        return [*outputs, *cuffs]

    def _event(self, event: Event) -> list[InfoChange]:
        if event.kind == "wear":
            self._worn = bool(event.detail["worn"])
        elif event.kind == "motion":
            self._moving = bool(event.detail["moving"])
        elif event.kind == "posture":
            self.calibration.posture(event.start, float(event.detail["wrist_height"]))
        elif event.kind == "connected":
            self._moving = False
            return [InfoChange(event.detail)]
        elif event.kind == "notice" and "rate" in event.detail:
            return [InfoChange({"rate": event.detail["rate"]})]
        return []

    def _cuff(self, event: Event) -> None:
        """Take a reading or a withdrawal. A remembered reading is in force at once; one just taken
        waits for `_due`."""
        if event.kind == "cuff" and (reading := CuffReading.of(event)).remembered is not None:
            self.calibration.cuff(reading)
        self._cuffs.append(event)

    def _windows(self, samples: GridSamples) -> list[Ready]:
        outputs: list[Ready] = []
        for window in self._windower.push(samples):
            outputs += self._due(window)
            if self.backlog.leaves_out():
                outputs.append(self._left_out(window))
                continue
            before = self._picker.choice
            prepared = self._prepare(window)
            if self._picker.choice != before and self._picker.choice is not None:
                outputs.append(InfoChange({"channel": self._picker.choice.label}))
            at = window.index * self._period
            reports = self._reports.push(self._device, at, prepared.quality, prepared.guidance)
            outputs += [*reports, prepared]
        return outputs

    def _left_out(self, window: Window) -> Event:
        """Return the gap of a window that is left out: the samples that are new in it."""
        end = window.index + self.manifest.window
        start, end = (end - self.hop) * self._period, end * self._period
        # No sample is lost: a recording has them all.
        return Event(self._device, "gap", start, end, {"why": "overload", "lost": 0})

    def _due(self, window: Window) -> list[Event]:
        """Return the cuff readings that this window is the first to reach, and let them count.

        They arrive ahead of their samples, by how much depends on the chunks. Published in their
        place, a reading is compared with the same beats whatever the chunks. A withdrawal waits
        for its reading.
        """
        end = (window.index + self.manifest.window) * self._period
        due: list[Event] = []
        later: list[Event] = []
        for event in self._cuffs:
            ahead = event.kind == "cuff_undone" and any(
                one.kind == "cuff" and CuffReading.of(one).is_undone_by(event) for one in later
            )
            if event.start > end or ahead:
                later.append(event)
            else:
                due += [event, *self._counted(event)]
        self._cuffs = later
        return due

    def _counted(self, event: Event) -> list[Event]:
        """Let a reading or a withdrawal count; return a notice if it does not."""
        if event.kind == "cuff_undone":
            self.calibration.undo(event)
            return []
        reading = CuffReading.of(event)
        if reading.remembered is not None or self.calibration.cuff(reading):
            return []
        text = f"cuff reading {reading.sbp:g}/{reading.dbp:g} not used: a newer one is in force"
        return [notice(event.device, event.start, NoticeCode.READING_NOT_USED, text)]

    def _prepare(self, window: Window) -> Prepared:
        began = time.perf_counter()
        _, ppg, quality = self._picker.push(window.segment, self._channels, window.raw)
        end = window.index + self.manifest.window
        span = window.index * self._period, end * self._period
        quality = quality.at_rate(self._effective_rate(window.segment, span))
        quality = quality.bridged(self._resampler.bridged(*span))
        known: list[Reason] = [] if self._worn else ["not_worn"]
        if self._moving or self._motion.moving(window.index * self._period, end * self._period):
            known.append("motion")
        if known:
            reasons = tuple(dict.fromkeys([*known, *quality.reasons]))
            quality = Quality(0.0, reasons, quality.steepness)
        guidance = self._guided(window, ppg, quality.accepted)
        self.windows += 1
        self.accepted += quality.accepted
        blank = not float(ppg.std()) > 0
        took = 1e3 * (time.perf_counter() - began)
        return Prepared(window, ppg, guidance, quality, blank, took)

    def _effective_rate(self, segment: int, span: tuple[int, int]) -> float:
        """Return the rate at which the chosen channel was measured in a span, ns; Hz."""
        choice = self._picker.choice
        assert choice is not None
        return self._resampler.recent.effective(segment, span, choice.weights, self._rate)

    def _guided(self, window: Window, ppg: npt.NDArray[np.float32], accepted: bool) -> Guidance:
        """Return the state of the calibration; describe the pulse only every `HOP` samples, and
        where the signal becomes usable or stops being so."""
        end = (window.index + self.manifest.window) * self._period
        label = self._picker.choice.label if self._picker.choice is not None else ""
        place = window.segment, label, accepted
        if place == self._described and window.index < self._next:
            return self.calibration.between(end)
        self._described, self._next = place, window.index + HOP
        return self.calibration.push(end, ppg, accepted, window.segment, label)
