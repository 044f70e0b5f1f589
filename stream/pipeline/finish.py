"""One wearer's way from the network: reconstructed windows become waveforms and beats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from innpar.devices import Chunk, Event
from innpar.models.predictor import Manifest
from innpar.stream.beats.combine import Combiner, JoinedWave, Reconstruction
from innpar.stream.beats.detector import BeatFinder, DetectedBeat
from innpar.stream.beats.plausibility import Plausibility
from innpar.stream.beats.reference import ReferenceTrack
from innpar.stream.beats.summary import Summaries
from innpar.stream.calibration.apply import Corrector
from innpar.stream.calibration.check import Checker
from innpar.stream.calibration.store import StoredCalibration
from innpar.stream.calibration.types import Guidance
from innpar.stream.pipeline.engine import Reconstructed
from innpar.stream.pipeline.prepare import Prepared
from innpar.stream.results import (
    Beat,
    DeviceInfo,
    Interval,
    Item,
    Latency,
    Reason,
    Summary,
    Waveform,
)
from innpar.stream.windows.quality import ACCEPT, confidence
from innpar.stream.windows.resample import period


@dataclass(slots=True)
class Finisher:
    """Join windows, find beats, gate them, and number them.

    Attributes:
        birth: Of the device: names, session and model go into every result.
        manifest: Of the model.
        require_calibration: Give no pressures before a cuff reading; never are there any before it
            of a model whose output has no unit.
        reference: Pairs each beat with the true pressures, where the device carries them.
        seconds: Of waveform given out so far.
        good_seconds: Of those, accepted.
        kept: The newest reading that has taken effect in this run.
        summaries: Ten seconds in one message each.
    """

    birth: DeviceInfo
    manifest: Manifest
    require_calibration: bool = False
    reference: ReferenceTrack = field(init=False)
    seconds: float = 0.0
    good_seconds: float = 0.0
    kept: StoredCalibration | None = None
    summaries: Summaries = field(init=False, default_factory=Summaries)
    _period: int = field(init=False)
    _combiner: Combiner = field(init=False)
    _beats: BeatFinder = field(init=False)
    _corrector: Corrector = field(init=False)
    _plausibility: Plausibility = field(init=False, default_factory=Plausibility)
    _checker: Checker = field(init=False, default_factory=Checker)
    _skew: float | None = field(init=False, default=None)
    _error: float | None = field(init=False, default=None)
    _seq: int = field(init=False, default=0)
    _hops: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.require_calibration |= self.manifest.relative
        self._period = period(self.manifest.rate)
        self.reference = ReferenceTrack(self.manifest.rate)
        self._combiner = Combiner(self.manifest.drop)
        self._beats = BeatFinder(self.manifest.rate)
        self._corrector = Corrector(self.manifest)

    def told(self, item: Event | DeviceInfo) -> list[Item]:
        """Pass on what the device told, and remember what belongs into every beat."""
        if isinstance(item, DeviceInfo):
            self.birth = item
            self.reference.expected |= bool(item.detail.get("reference"))
        elif item.kind == "clock":
            self._skew = item.detail.get("skew_ppm")
            self._error = item.detail.get("error_ms")
        elif item.kind == "cuff":
            return [self._checker.told(item)]
        if isinstance(item, DeviceInfo):
            return [item]
        return [item, *self.summaries.told(item, self.birth)]

    def truth(self, chunk: Chunk) -> list[Item]:
        """Take true arterial pressure."""
        return [*self.reference.chunk(chunk)]

    def push(self, prepared: Prepared, reconstructed: Reconstructed) -> list[Item]:
        """Take a window and its reconstruction and return what is ready to publish."""
        answer = reconstructed.answer
        found = {"consistency": answer.consistency, "reverse": answer.reverse}
        own = confidence(self.manifest.confidence, found)
        prepared = replace(prepared, quality=prepared.quality.at_most(own))
        window = prepared.window
        abp = self._corrector.push(
            answer.abp,
            reconstructed.asides,
            prepared.guidance,
            accepted=prepared.quality.accepted,
            segment=window.segment,
            index=window.index,
        )
        if prepared.guidance.lift:
            abp = abp + np.float32(prepared.guidance.lift)
        self._keep(prepared.guidance)
        scaled = prepared.ppg / prepared.ppg.std()
        piece = self._combiner.push(
            Reconstruction(
                window.segment,
                window.index,
                scaled,
                abp,
                prepared.quality,
                window.delivered,
                prepared.prepare_ms + answer.ms,
                prepared.guidance.status,
                self._corrector.half_widths,
            )
        )
        length = len(piece.abp) / self.manifest.rate
        self.seconds += length
        self.good_seconds += length if piece.score >= ACCEPT else 0.0
        outputs: list[Item] = [*self._waveforms(piece)]
        for beat in self._beats.push(piece):
            estimate = self._estimate(beat)
            self._checker.push(estimate)
            outputs += self.summaries.beat(estimate, self.birth)
            outputs += self.reference.push(estimate)
        return outputs

    def passed(self, prepared: Prepared) -> list[Summary]:
        """Return what is over now that a window has been pushed, or had nothing to show."""
        start = prepared.window.index
        self.summaries.begin(self._time(start))
        return self.summaries.reached(self._time(start + self.manifest.window), self.birth)

    def flush(self) -> list[Item]:
        """Return what the end of the stream settles."""
        return [*self.reference.flush()]

    def _keep(self, guidance: Guidance) -> None:
        if guidance.anchor and guidance.reading is not None:
            calibration = self._corrector.calibration or guidance.calibration
            if calibration is not None:
                self.kept = StoredCalibration(
                    guidance.reading, calibration, guidance.height, guidance.channel
                )

    def _time(self, index: int) -> int:
        return index * self._period

    def _waveforms(self, piece: JoinedWave) -> list[Waveform]:
        start, born = self._time(piece.index), self.birth
        number, self._hops = self._hops, self._hops + 1
        ppg = Waveform(
            born.device, "ppg", born.source, born.session, number, start, born.rate, piece.ppg
        )
        if piece.score < ACCEPT or self._without_unit(piece):
            return [ppg]
        abp = piece.abp.astype(np.float32)
        return [
            Waveform(born.device, "abp", born.source, born.session, number, start, born.rate, abp),
            ppg,
        ]

    def _without_unit(self, piece: JoinedWave) -> bool:
        return self.manifest.relative and piece.calibration.state == "none"

    def _estimate(self, beat: DetectedBeat) -> Beat:
        seen = beat.score >= ACCEPT
        reasons: tuple[Reason, ...] = () if seen else beat.reasons
        pressures, rhythm = self._plausibility.push(beat)
        calibration = beat.oldest.calibration
        if not ((pressures or self._without_unit(beat.oldest)) and rhythm):
            reasons = (*reasons, "implausible")
        if self.require_calibration and calibration.state == "none":
            reasons = (*reasons, "uncalibrated")
        valid, born = not reasons, self.birth
        seq, self._seq = self._seq, self._seq + 1
        return Beat(
            device=born.device,
            source=born.source,
            session=born.session,
            seq=seq,
            peak=self._time(beat.peak),
            sbp=beat.sbp if valid else None,
            dbp=beat.dbp if valid else None,
            map_=beat.map_ if valid else None,
            hr=60.0 / beat.rr if seen and rhythm else None,
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
            model=born.model,
        )

    def _latency(self, beat: DetectedBeat) -> Latency:
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
