"""Events about the signal: usable or not, how well the sensor fits, advice to measure again."""

from __future__ import annotations

from innpar.devices import Event, NoticeCode, notice
from innpar.stream.calibration.tracker import STALE_SECONDS
from innpar.stream.calibration.types import Guidance
from innpar.stream.windows.quality import Quality
from innpar.stream.windows.timing import HOP

FIT_WINDOWS = 8
"""Windows of a whole hop after which a run reports whether the signal is usable."""
ADVISE = 30
"""Accepted whole hops with a stale reading in a row before the advice to measure again."""

REMEDIES = {
    "flat": "the sensor sends a constant: check that its light is on and touches the skin",
    "clipped": "the sensor is at its limit: loosen the strap a little and keep sunlight off",
    "motion": "the signal is unsteady: hold the arm still and rest it at heart height",
    "low_quality": "the pulse is hard to see: tighten the strap, move up the forearm, hold still",
    "rate": "too few samples a second for pressures, or interpolated from too few: set the sensor "
    "to 25 Hz or more",
    "not_worn": "the device reports that it is not worn: put it on",
    "gap": "samples are missing: bring the sensor closer to this computer",
}
"""Reason for rejecting a window → what the wearer can do."""
NO_LEVEL = (
    "not calibrated: without a cuff reading these pressures say little about the absolute level; "
    "measure with a cuff and enter the reading: innpar-stream calibrate 128/79"
)
NO_UNIT = (
    "not calibrated: this model's output has no unit, so there are no pressures before a cuff "
    "reading; measure and enter it: innpar-stream calibrate 128/79"
)


class SignalReports:
    """Report on the windows of one stream.

    Args:
        hop: Samples from one window to the next.
        relative: Whether the model's waveform has no unit before a cuff reading.
        check_fit: Report in the first seconds whether the signal is usable.
    """

    def __init__(self, hop: int, *, relative: bool, check_fit: bool) -> None:
        self._hop = hop
        self._relative = relative
        self._check_fit = check_fit
        self._windows = 0
        self._accepted = 0
        self._usable: bool | None = None
        self._stale = 0  # accepted samples
        self._advised: tuple[int, float, float] | None = None

    def push(self, device: str, at: int, quality: Quality, guidance: Guidance) -> list[Event]:
        """Take a window; return what there is to report.

        Args:
            device: Of the stream.
            at: Time of the window's first sample, ns since the Unix epoch.
            quality: Of the window.
            guidance: The state of the calibration.
        """
        self._windows += 1
        self._accepted += quality.accepted
        events: list[Event] = []
        if quality.accepted != self._usable:
            self._usable = quality.accepted
            detail = {"usable": quality.accepted, "reasons": list(quality.reasons)}
            events.append(Event(device, "quality", at, at, detail))
        if self._check_fit and self._windows == FIT_WINDOWS * HOP // self._hop:
            text = fit(self._accepted / self._windows, quality.reasons)
            events.append(notice(device, at, NoticeCode.FIT_CHECK, text))
            if guidance.calibration is None:
                text = NO_UNIT if self._relative else NO_LEVEL
                events.append(notice(device, at, NoticeCode.NOT_CALIBRATED, text))
        if (why := self._to_measure_again(quality.accepted, guidance)) is not None:
            text = f"{why}: rest, and measure again"
            events.append(notice(device, at, NoticeCode.RECALIBRATE, text))
        return events

    def _to_measure_again(self, accepted: bool, guidance: Guidance) -> str | None:
        """Return, once per reading, why it no longer serves when it has been stale for long."""
        reading, status = guidance.reading, guidance.status
        if reading is None or status.state != "stale":
            self._stale = 0
            return None
        self._stale += self._hop * accepted
        if self._stale < ADVISE * HOP or reading.key == self._advised:
            return None
        self._advised = reading.key
        pressures, age = f"{reading.sbp:g}/{reading.dbp:g}", status.age_s or 0.0
        if age > STALE_SECONDS:
            return f"the cuff reading {pressures} is {age / 3600:.1f} h old"
        return f"the pulse is far from that at the cuff reading {pressures}"


def fit(share: float, reasons: tuple[str, ...]) -> str:
    """Return one sentence for the wearer: the signal is usable, or a remedy."""
    if share >= 0.5:
        return f"fit check: the signal is usable ({share:.0%} of the first seconds)"
    remedy = REMEDIES.get(reasons[0] if reasons else "", REMEDIES["low_quality"])
    return f"fit check: only {share:.0%} of the first seconds is usable; {remedy}"
