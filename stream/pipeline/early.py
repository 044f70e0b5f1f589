"""Early beats: SBP and DBP as soon as they are final, most of a beat ahead of the `Beat`.

The systolic maximum and the foot before it are final with the sample that confirms the upstroke:
the waveform up to there has been joined and never changes. The rest of the beat decides about its
mean, its rate and its end, and may still refuse it. So every early beat comes again as a `Beat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from innpar.stream.beats.detector import DetectedBeat, OpenBeat
from innpar.stream.beats.plausibility import Plausibility
from innpar.stream.beats.rhythm import UNLIKE, RhythmJudge
from innpar.stream.results import Beat, DeviceInfo, EarlyBeat, Latency
from innpar.stream.windows.quality import ACCEPT


@dataclass(slots=True)
class EarlyBeats:
    """Announce beats that have not ended; each announced beat is completed, or interrupted.

    Attributes:
        wanted: Whether early beats are published.
    """

    wanted: bool
    _announced: OpenBeat | None = field(init=False, default=None)

    def due(
        self, beat: OpenBeat | None, rhythm: RhythmJudge, plausibility: Plausibility
    ) -> OpenBeat | None:
        """Return the open beat if it is to be published now: new, and valid as far as is known."""
        if not self.wanted or beat is None or beat.is_same(self._announced):
            return None
        seen = beat.score >= ACCEPT and beat.likeness >= UNLIKE
        if not (seen and rhythm.possible(beat) and plausibility.possible(beat)):
            return None
        self._announced = beat
        return beat

    def interrupted(
        self, beats: Sequence[DetectedBeat], still_open: OpenBeat | None
    ) -> OpenBeat | None:
        """Return the announced beat if it will never end; forget it where it has ended.

        Args:
            beats: Completed since the last call, in order.
            still_open: The open beat after these; None at the end of the stream.
        """
        announced = self._announced
        if announced is None or announced.is_same(still_open):
            return None
        self._announced = None
        return None if any(announced.is_same(beat) for beat in beats) else announced


def interrupted_beat(
    beat: OpenBeat,
    info: DeviceInfo,
    seq: int,
    period: int,
    latency: Latency,
    clock: tuple[float | None, float | None],
) -> Beat:
    """Return the `Beat` of an announced beat whose waveform has been interrupted.

    Args:
        beat: The announced beat.
        info: Of its device.
        seq: As announced.
        period: Of the grid, ns.
        latency: When it was announced.
        clock: Skew of the device's clock, ppm, and its error, ms.
    """
    return Beat(
        device=info.device,
        source=info.source,
        session=info.session,
        seq=seq,
        peak=beat.peak * period,
        sbp=None,
        dbp=None,
        map_=None,
        hr=None,
        interval=None,
        quality=beat.score,
        valid=False,
        reasons=("gap",),
        calibration=beat.oldest.calibration,
        latency=latency,
        skew_ppm=clock[0],
        clock_error_ms=clock[1],
        abp_start=beat.foot * period,
        rate=info.rate,
        abp=np.empty(0, np.float32),
        reference=None,
        model=info.model,
    )


def early_beat(
    beat: OpenBeat, info: DeviceInfo, seq: int, period: int, level: float, latency: Latency
) -> EarlyBeat:
    """Return an open beat as it is published.

    Args:
        beat: To publish.
        info: Of its device.
        seq: Sequence number that its `Beat` will have.
        period: Of the grid, ns.
        level: Probability of the intervals.
        latency: Delay so far.
    """
    half = beat.oldest.half_widths
    interval = None
    if half is not None:
        sbp, dbp, _ = half.tolist()
        interval = (level, (beat.sbp - sbp, beat.sbp + sbp), (beat.dbp - dbp, beat.dbp + dbp))
    return EarlyBeat(
        device=info.device,
        source=info.source,
        session=info.session,
        seq=seq,
        peak=beat.peak * period,
        sbp=beat.sbp,
        dbp=beat.dbp,
        interval=interval,
        quality=beat.score,
        calibration=beat.oldest.calibration,
        latency=latency,
        model=info.model,
    )
