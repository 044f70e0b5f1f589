"""The metrics of a run for Prometheus: one function for each part of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from innpar.devices import NS
from innpar.stream.app.operations.measurements import MeasurementSink
from innpar.stream.app.operations.prometheus import Exposition
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.tally import RunTally
from innpar.stream.pipeline.wearer import Wearer


@dataclass(frozen=True, slots=True)
class RunState:
    """The parts of a run that are measured.

    Attributes:
        files: Function that returns the recording of each device.
        began: When the run began, s since the Unix epoch.
    """

    wearers: Sequence[Wearer]
    engine: Engine
    mqtt: MqttSink
    outcomes: Mapping[str, RunTally]
    measured: MeasurementSink
    files: Callable[[], Mapping[str, Path]]
    began: float = field(default_factory=time.time)


def metrics(run: RunState) -> str:
    """Return the metrics in the text format."""
    out = Exposition()
    build = {
        "version": version("innpar-stream"),
        "model": run.engine.predictor.id,
        "backend": run.engine.predictor.runs_on,
    }
    out.add("innpar_build_info", "gauge", "Version, model and backend", (build, 1))
    _beats(out, run)
    _signal(out, run)
    _devices(out, run)
    _delays(out, run.measured)
    _network(out, run.engine)
    _broker(out, run.mqtt)
    _recordings(out, run)
    _process(out, run.began)
    return out.text()


def _beats(out: Exposition, run: RunState) -> None:
    of = run.outcomes.items()
    valid = [({"device": device, "valid": "true"}, one.valid) for device, one in of]
    other = [({"device": device, "valid": "false"}, one.beats - one.valid) for device, one in of]
    out.add("innpar_beats_total", "counter", "Beats, with and without pressures", *valid, *other)
    reasons = [
        ({"device": device, "reason": reason}, count)
        for device, one in of
        for reason, count in one.reasons.items()
    ]
    about = "Beats without pressures, by reason; a beat may have several"
    out.add("innpar_beats_withheld_total", "counter", about, *reasons)
    late = [({"device": device}, one.late) for device, one in run.measured.devices.items()]
    out.add("innpar_beats_late_total", "counter", "Beats beyond the limit of the delay", *late)
    gaps = [({"device": device}, one.gaps) for device, one in of]
    out.add("innpar_gaps_total", "counter", "Gaps in the PPG", *gaps)


def _signal(out: Exposition, run: RunState) -> None:
    def each(value: Callable[[Wearer], float], **labels: str) -> list[tuple[dict[str, str], float]]:
        return [({"device": one.device.id, **labels}, value(one)) for one in run.wearers]

    seconds = each(lambda one: one.seconds)
    out.add("innpar_signal_seconds_total", "counter", "PPG received, without gaps", *seconds)
    usable = each(lambda one: one.usable)
    out.add("innpar_signal_usable_ratio", "gauge", "Share of sufficient quality", *usable)
    good = each(lambda one: one.preparer.accepted, accepted="true")
    bad = each(lambda one: one.preparer.windows - one.preparer.accepted, accepted="false")
    out.add("innpar_windows_total", "counter", "Windows, by sufficient quality", *good, *bad)
    left_out = each(lambda one: one.preparer.backlog.left_out)
    about = "Windows left out because the computer was too slow"
    out.add("innpar_windows_left_out_total", "counter", about, *left_out)
    missing = each(lambda one: one.preparer.tally.missing, reason="without_value")
    disordered = each(lambda one: one.preparer.tally.disordered, reason="out_of_order")
    out.add("innpar_samples_dropped_total", "counter", "Samples dropped", *missing, *disordered)
    bridged = each(lambda one: one.preparer.tally.bridged)
    out.add("innpar_samples_filled_total", "counter", "Samples filled in short holes", *bridged)


def _devices(out: Exposition, run: RunState) -> None:
    of = [({"device": device}, one) for device, one in run.measured.devices.items()]
    up = [(labels, float(one.presence == "online")) for labels, one in of]
    out.add("innpar_device_online", "gauge", "Whether the device is connected and sends", *up)
    arrivals = [
        ({"device": one.device.id}, one.last_arrival / NS if one.last_arrival else None)
        for one in run.wearers
    ]
    about = "Arrival of the newest PPG"
    out.add("innpar_last_arrival_timestamp_seconds", "gauge", about, *arrivals)
    peaks = [(labels, one.peak / NS if one.peak else None) for labels, one in of]
    about = "Systolic peak of the newest beat"
    out.add("innpar_last_beat_timestamp_seconds", "gauge", about, *peaks)
    skews = [(labels, one.skew_ppm) for labels, one in of]
    about = "Rate of the device's clock relative to this computer's"
    out.add("innpar_clock_skew_ppm", "gauge", about, *skews)
    errors = [
        (labels, None if one.clock_error_ms is None else one.clock_error_ms / 1e3)
        for labels, one in of
    ]
    out.add("innpar_clock_error_seconds", "gauge", "Uncertainty of the device's time", *errors)
    ages = [(labels, one.calibration.age_s if one.calibration else None) for labels, one in of]
    out.add("innpar_calibration_age_seconds", "gauge", "Age of the cuff reading in force", *ages)
    stale = [
        (labels, float(one.calibration.state == "stale") if one.calibration else None)
        for labels, one in of
    ]
    about = "Whether the reading is too old or too much has changed"
    out.add("innpar_calibration_stale", "gauge", about, *stale)
    batteries = [(labels, one.battery) for labels, one in of]
    out.add("innpar_battery_percent", "gauge", "Last reported battery level", *batteries)


def _delays(out: Exposition, measured: MeasurementSink) -> None:
    stages = [({"stage": name}, one) for name, one in measured.stages.items()]
    about = "Latency of beats by stage; their sum is latency_ms.total"
    out.histogram("innpar_latency_seconds", about, *stages)
    about = "Time from systolic peak to publication; nothing in a replay"
    out.histogram("innpar_delay_seconds", about, ({}, measured.delay))
    about = "Time in outbox and spool, from queueing to acknowledgement"
    out.histogram("innpar_outbox_delay_seconds", about, ({}, measured.outbox))


def _network(out: Exposition, engine: Engine) -> None:
    out.add("innpar_network_inputs_total", "counter", "Inputs of the network", ({}, engine.windows))
    out.add("innpar_network_batches_total", "counter", "Calls of the network", ({}, engine.calls))
    about = "Duration of the network's calls"
    out.add("innpar_network_seconds_total", "counter", about, ({}, engine.seconds))
    out.add("innpar_network_waiting", "gauge", "Inputs that wait", ({}, engine.waiting))


MESSAGES = ("published", "refused", "set_aside", "dropped", "dropped_waveforms")
"""Counts of `MqttSink` that are outcomes of messages."""
COMMANDS = ("commands", "commands_done", "commands_refused", "commands_unanswered")
"""Counts of `MqttSink` about commands."""


def _broker(out: Exposition, mqtt: MqttSink) -> None:
    counts = mqtt.counts
    messages = [({"outcome": name}, counts[name]) for name in MESSAGES]
    out.add("innpar_messages_total", "counter", "Messages, by outcome", *messages)
    commands = [
        ({"outcome": name.partition("_")[2] or "received"}, counts[name])
        for name in COMMANDS
        if name in counts
    ]
    out.add("innpar_commands_total", "counter", "Commands on MQTT, by outcome", *commands)
    about = "Beats, events and states that wait for the broker"
    out.add("innpar_outbox_messages", "gauge", about, ({}, counts["queued"]))
    out.add("innpar_spool_messages", "gauge", "Those of them on disk", ({}, counts["spooled"]))
    about = "Wait of the oldest message handed over for its acknowledgement"
    out.add("innpar_broker_lag_seconds", "gauge", about, ({}, mqtt.lag))
    connected = float(mqtt.connected)
    out.add("innpar_broker_connected", "gauge", "Whether there is a connection", ({}, connected))
    about = "Connections to the broker after the first"
    out.add("innpar_broker_reconnects_total", "counter", about, ({}, mqtt.reconnects))
    about = "Longest delay of the event loop in the last 15 to 30 s"
    out.add("innpar_event_loop_lag_seconds", "gauge", about, ({}, mqtt.loop_lag))


def _recordings(out: Exposition, run: RunState) -> None:
    sizes = [
        ({"device": device}, path.stat().st_size if path.exists() else 0)
        for device, path in run.files().items()
    ]
    out.add("innpar_recording_bytes", "gauge", "Size of the recording", *sizes)


def _process(out: Exposition, began: float) -> None:
    cpu = time.process_time()
    out.add("process_cpu_seconds_total", "counter", "CPU time of this process", ({}, cpu))
    out.add("process_start_time_seconds", "gauge", "Start of the run", ({}, began))
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    out.add("process_resident_memory_bytes", "gauge", "Resident memory", ({}, resident))
    descriptors = len(os.listdir("/proc/self/fd"))
    out.add("process_open_fds", "gauge", "Open file descriptors", ({}, descriptors))
