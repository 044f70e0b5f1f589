"""A sink that measures what the metrics show: delays by stage, clocks, presence."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from innpar.stream.app.operations.prometheus import Histogram
from innpar.stream.results import Beat, CalibrationStatus, Item, Latency, Presence, State, Summary

STAGES = tuple(part.name for part in fields(Latency))
"""Parts of the latency of a beat, in the order of the signal's way."""


@dataclass(slots=True)
class DeviceReadings:
    """The newest values of one device.

    Attributes:
        presence: Its connection; None before it was opened.
        peak: Time of the newest beat's systolic peak, ns since the Unix epoch; 0 before any.
        skew_ppm: Rate of its clock relative to this computer's; None where it has none.
        clock_error_ms: Uncertainty of its time, ms; None where it has no clock of its own.
        calibration: Cuff reading behind the newest beat; None before any.
        battery: Percent; None before the first report.
        late: Beats beyond the limit of the delay.
    """

    presence: Presence | None = None
    peak: int = 0
    skew_ppm: float | None = None
    clock_error_ms: float | None = None
    calibration: CalibrationStatus | None = None
    battery: float | None = None
    late: int = 0


@dataclass(slots=True)
class MeasurementSink:
    """Histograms over all devices, and the newest values of each.

    Attributes:
        stages: Part of the latency → its histogram, s.
        delay: From systolic peak to publication, s.
        outbox: From queueing to the broker's acknowledgement, s.
        devices: Id → its values.
    """

    stages: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram() for name in STAGES}
    )
    delay: Histogram = field(default_factory=Histogram)
    outbox: Histogram = field(default_factory=Histogram)
    devices: dict[str, DeviceReadings] = field(default_factory=dict)

    async def ready(self) -> None:
        """Return at once: measuring needs no room."""

    async def send(self, item: Item) -> None:
        """Measure an item."""
        device = self.devices.setdefault(item.device, DeviceReadings())
        if isinstance(item, Beat):
            self._beat(item, device)
        elif isinstance(item, State):
            device.presence = item.state
        elif isinstance(item, Summary):
            device.battery = item.battery

    def _beat(self, beat: Beat, device: DeviceReadings) -> None:
        for name, histogram in self.stages.items():
            histogram.add(getattr(beat.latency, name) / 1e3)
        if beat.delay_ms is not None:
            self.delay.add(beat.delay_ms / 1e3)
        device.late += beat.late
        device.peak = beat.peak
        device.skew_ppm, device.clock_error_ms = beat.skew_ppm, beat.clock_error_ms
        device.calibration = beat.calibration
