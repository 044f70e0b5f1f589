"""The stages after the network: reconstructed windows become waveforms and beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from innpar.devices import Chunk, Event
from innpar.models.predictor import Manifest
from innpar.stream.beats.combine import Combiner, JoinedWave, Reconstruction
from innpar.stream.beats.detector import BeatFinder, DetectedBeat, OpenBeat
from innpar.stream.beats.plausibility import Plausibility
from innpar.stream.beats.reference import ReferenceTrack
from innpar.stream.beats.rhythm import RhythmJudge, judged
from innpar.stream.beats.summary import Summaries
from innpar.stream.calibration.apply import Corrector
from innpar.stream.calibration.check import Checker
from innpar.stream.calibration.types import CuffReading, Guidance
from innpar.stream.pipeline.early import EarlyBeats, early_beat, interrupted_beat
from innpar.stream.pipeline.engine import Reconstructed
from innpar.stream.pipeline.prepare import Prepared
from innpar.stream.results import (
    Beat,
    DeviceInfo,
    EarlyBeat,
    Interval,
    Item,
    Latency,
    Summary,
    Waveform,
)
from innpar.stream.windows.quality import ACCEPT, confidence
from innpar.stream.windows.resample import period


@dataclass(slots=True)
class Finisher:
    """Correct and join windows, find beats, check and number them.

    Every result carries the names, session and model of the `DeviceInfo` that is passed in.

    Attributes:
        manifest: Of the model.
        require_calibration: Publish no pressures before a cuff reading; always so for a model
            whose output has no unit.
        early: Publish SBP and DBP of a beat as soon as they are final.
        reference: Pairs each beat with the true pressures, if the device carries them.
        seconds: Of waveform published so far.
        good_seconds: Of those, accepted.
        in_force: The newest reading that has taken effect in this run, or is in force again.
        withdrawals: Number of readings in force that have been withdrawn.
        summaries: Ten seconds in one message each.
    """

    manifest: Manifest
    require_calibration: bool = False
    early: bool = False
    reference: ReferenceTrack = field(init=False)
    seconds: float = 0.0
    good_seconds: float = 0.0
    in_force: CuffReading | None = None
    withdrawals: int = 0
    summaries: Summaries = field(init=False, default_factory=Summaries)
    _period: int = field(init=False)
    _combiner: Combiner = field(init=False)
    _beats: BeatFinder = field(init=False)
    _corrector: Corrector = field(init=False)
    _plausibility: Plausibility = field(init=False, default_factory=Plausibility)
    _rhythm: RhythmJudge = field(init=False, default_factory=RhythmJudge)
    _early: EarlyBeats = field(init=False)
    _checker: Checker = field(init=False, default_factory=Checker)
    _skew: float | None = field(init=False, default=None)
    _error: float | None = field(init=False, default=None)
    _key: tuple[int, float, float] | None = field(init=False, default=None)
    _seq: int = field(init=False, default=0)
    _hops: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.require_calibration |= self.manifest.relative
        self._period = period(self.manifest.rate)
        self.reference = ReferenceTrack(self.manifest.rate)
        self._combiner = Combiner(self.manifest.drop)
        self._beats = BeatFinder(self.manifest.rate)
        self._corrector = Corrector(self.manifest)
        self._early = EarlyBeats(self.early)

    def event(self, event: Event, info: DeviceInfo) -> list[Item]:
        """Take an event of the device, and pass it on with what it completes."""
        if event.kind == "cuff":
            return [self._checker.checked(event)]
        if event.kind == "clock":
            self._skew = event.detail.get("skew_ppm")
            self._error = event.detail.get("error_ms")
        return [event, *self.summaries.event(event, info)]

    def truth(self, chunk: Chunk) -> list[Item]:
        """Take a chunk of true arterial pressure, mmHg."""
        return [*self.reference.chunk(chunk)]

    def push(self, prepared: Prepared, found: Reconstructed, info: DeviceInfo) -> list[Item]:
        """Take a window and its reconstruction; return the results that are complete.

        In this order: correct by the cuff reading, join the windows, find beats, check them, and
        compare them with true pressures.
        """
        piece = self._joined(prepared, found)
        length = len(piece.abp) / self.manifest.rate
        self.seconds += length
        self.good_seconds += length if piece.score >= ACCEPT else 0.0
        outputs: list[Item] = [*self._waveforms(piece, info)]
        beats = self._beats.push(piece)
        open_beat = self._beats.open if self.early else None
        outputs += self._interrupted(beats, open_beat, info)
        for detected in beats:
            outputs += self._completed(self._beat(detected, info), info)
        return [*outputs, *self._ahead(open_beat, info)]

    def _completed(self, beat: Beat, info: DeviceInfo) -> list[Item]:
        """Take a beat into the checks and summaries; return what is to be published."""
        self._checker.push(beat)
        return [*self.summaries.beat(beat, info), *self.reference.push(beat)]

    def _ahead(self, beat: OpenBeat | None, info: DeviceInfo) -> list[EarlyBeat]:
        """Return the early beat of an open one, which will be the next to have a number."""
        if beat is None or (self.require_calibration and beat.oldest.calibration.state == "none"):
            return []
        due = self._early.due(beat, self._rhythm, self._plausibility)
        if due is None:
            return []
        level, latency = self._corrector.level, self._latency(due)
        return [early_beat(due, info, self._seq, self._period, level, latency)]

    def _interrupted(
        self, beats: Sequence[DetectedBeat], open_beat: OpenBeat | None, info: DeviceInfo
    ) -> list[Item]:
        """Return the beat that had an early one and will not end."""
        lost = self._early.interrupted(beats, open_beat)
        if lost is None:
            return []
        seq, self._seq = self._seq, self._seq + 1
        clock = self._skew, self._error
        beat = interrupted_beat(lost, info, seq, self._period, self._latency(lost), clock)
        return self._completed(beat, info)

    def _joined(self, prepared: Prepared, found: Reconstructed) -> JoinedWave:
        """Return the next piece of the waveform, with its quality and its calibration."""
        output = found.output
        measures = {"consistency": output.consistency, "reverse": output.reverse}
        own = confidence(self.manifest.confidence, measures)
        prepared = replace(prepared, quality=prepared.quality.at_most(own))
        window = prepared.window
        abp = self._corrector.push(
            output.abp,
            found.asides,
            prepared.guidance,
            accepted=prepared.quality.accepted,
            segment=window.segment,
            index=window.index,
        )
        if prepared.guidance.lift:
            abp = abp + np.float32(prepared.guidance.lift)
        self._keep(prepared.guidance)
        deviation = prepared.ppg.std()
        return self._combiner.push(
            Reconstruction(
                window.segment,
                window.index,
                prepared.ppg / deviation,
                abp,
                prepared.quality,
                window.delivered,
                prepared.prepare_ms + output.ms,
                prepared.guidance.status,
                self._corrector.half_widths,
                float(deviation),
            )
        )

    def passed(self, prepared: Prepared, info: DeviceInfo) -> list[Summary]:
        """Return the summaries that end with a window, whether it had a waveform or not."""
        start = prepared.window.index
        self.summaries.begin(self._time(start))
        return self.summaries.reached(self._time(start + self.manifest.window), info)

    def flush(self, info: DeviceInfo) -> list[Item]:
        """Return what the end of the stream completes."""
        return [*self._interrupted((), None, info), *self.reference.flush()]

    def anchored(self, reading: CuffReading) -> CuffReading:
        """Return a reading with the calibration that its taking effect gave."""
        calibration = self._corrector.anchored(reading.key)
        if calibration is None or reading.remembered is None:
            return reading
        return replace(reading, remembered=replace(reading.remembered, calibration=calibration))

    def awaits(self, reading: CuffReading) -> bool:
        """Whether a reading in force takes effect with a window that is still in the network."""
        stored = reading.remembered
        known = stored is None or stored.calibration.level is not None
        known = known or self._corrector.anchored(reading.key) is not None
        return not known and self._key != reading.key

    def _keep(self, guidance: Guidance) -> None:
        reading = guidance.reading
        key = None if reading is None else reading.key
        before, self._key = self._key, key
        if reading is not None and guidance.anchor:
            self.in_force = self.anchored(reading)
        elif before is not None and before != key:
            self.withdrawals += 1
            self.in_force = None if reading is None else self.anchored(reading)

    def _time(self, index: int) -> int:
        return index * self._period

    def _waveforms(self, piece: JoinedWave, info: DeviceInfo) -> list[Waveform]:
        start = self._time(piece.index)
        number, self._hops = self._hops, self._hops + 1
        ppg = Waveform(
            info.device, "ppg", info.source, info.session, number, start, info.rate, piece.ppg
        )
        if piece.score < ACCEPT or self._without_unit(piece):
            return [ppg]
        abp = piece.abp.astype(np.float32)
        return [
            Waveform(info.device, "abp", info.source, info.session, number, start, info.rate, abp),
            ppg,
        ]

    def _without_unit(self, piece: JoinedWave) -> bool:
        return self.manifest.relative and piece.calibration.state == "none"

    def _beat(self, beat: DetectedBeat, info: DeviceInfo) -> Beat:
        rhythm = self._rhythm.push(beat)
        counted, reasons = judged(beat, rhythm)
        pressures = self._plausibility.push(beat)
        calibration = beat.oldest.calibration
        if not ((pressures or self._without_unit(beat.oldest)) and rhythm.plausible):
            reasons = (*reasons, "implausible")
        if self.require_calibration and calibration.state == "none":
            reasons = (*reasons, "uncalibrated")
        valid = not reasons
        seq, self._seq = self._seq, self._seq + 1
        return Beat(
            device=info.device,
            source=info.source,
            session=info.session,
            seq=seq,
            peak=self._time(beat.peak),
            sbp=beat.sbp if valid else None,
            dbp=beat.dbp if valid else None,
            map_=beat.map_ if valid else None,
            hr=60.0 / beat.rr if counted else None,
            interval=_interval(beat, self._corrector.level) if valid else None,
            quality=beat.score,
            valid=valid,
            reasons=reasons,
            calibration=calibration,
            latency=self._latency(beat),
            skew_ppm=self._skew,
            clock_error_ms=self._error,
            abp_start=self._time(beat.foot),
            rate=self.manifest.rate,
            abp=beat.abp.astype(np.float32) if valid else np.empty(0, np.float32),
            reference=None,
            model=info.model,
        )

    def _latency(self, beat: DetectedBeat | OpenBeat) -> Latency:
        m, piece = self.manifest, beat.piece
        published = piece.index + len(piece.abp) - 1
        needed = published + m.drop + m.guard
        ms = 1e3 / m.rate
        return Latency(
            sensor=(piece.delivered - self._time(needed)) / 1e6,
            guard=m.guard * ms,
            lookahead=m.drop * ms,
            hop=(published - beat.confirmed) * ms,
            beat=(beat.confirmed - beat.peak) * ms,
            compute=piece.compute_ms,
        )


def _interval(beat: DetectedBeat, level: float) -> Interval | None:
    half = beat.oldest.half_widths
    if half is None:
        return None
    sbp, dbp, map_ = half.tolist()
    return Interval(
        level,
        (beat.sbp - sbp, beat.sbp + sbp),
        (beat.dbp - dbp, beat.dbp + dbp),
        (beat.map_ - map_, beat.map_ + map_),
    )
