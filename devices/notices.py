"""Notices: events with a text for people and a code for programs.

Texts may be reworded at any time; codes are permanent, as recordings and MQTT payloads hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from innpar.devices.base import Event


class NoticeCode(StrEnum):
    """Kind of a notice."""

    # from a sensor's driver
    NOTIFICATIONS_DROPPED = "notifications_dropped"  # arrived faster than they were processed
    SAMPLES_DROPPED = "samples_dropped"  # the same, for devices of other packages
    NOTIFICATIONS_REPEATED = "notifications_repeated"  # delivered more than once
    UNDECODABLE = "undecodable"
    UNREADABLE = "unreadable"  # bytes come, but no sample
    COLUMNS_LEFT_OUT = "columns_left_out"  # no light by their shape
    STREAM_CHANGED = "stream_changed"  # came back with other channels or another rate
    NO_SAMPLES = "no_samples"  # the sensor fell silent and was polled again
    STALLED_RESTARTED = "stalled_restarted"  # the same, and its stream was restarted
    RESTART_REFUSED = "restart_refused"
    RECONNECT_FAILED = "reconnect_failed"
    NO_NEWS = "no_news"  # an hour without data from a sensor that sends only now and then
    STOPPED_BY_SENSOR = "stopped_by_sensor"
    RATE_CORRECTED = "rate_corrected"  # the measured rate differs from the stated one
    RATE_UNUSABLE = "rate_unusable"
    BATTERY_LOW = "battery_low"
    FOREIGN_CLOCK = "foreign_clock"  # samples are timed by their arrival
    SENDER_NOT_LIVE = "sender_not_live"  # an LSL stream of a simulation or a replay
    READING_NOT_USED = "reading_not_used"
    # from a replay
    SIMULATED_SOURCE = "simulated_source"
    RECORDING_INCOMPLETE = "recording_incomplete"  # parts of the file cannot be read
    EARLIER_READING = "earlier_reading"  # a cuff reading from before the excerpt
    # from the pipeline
    FIT_CHECK = "fit_check"
    NOT_CALIBRATED = "not_calibrated"
    RECALIBRATE = "recalibrate"  # the wearer is far from the cuff reading in force
    CALIBRATION_NOT_RESUMED = "calibration_not_resumed"
    CUFF_UNAVAILABLE = "cuff_unavailable"
    MARKERS_UNAVAILABLE = "markers_unavailable"
    DURATION_OVER = "duration_over"  # with less signal than requested
    RECORDING_STARTED = "recording_started"
    RECORDING_ENDED = "recording_ended"
    RECORDING_FAILED = "recording_failed"
    CALIBRATE_REFUSED = "calibrate_refused"
    MARK_REFUSED = "mark_refused"
    RECORD_REFUSED = "record_refused"
    MOVED_REFUSED = "moved_refused"
    SENSOR_MOVED = "sensor_moved"  # on command; the readings before no longer apply
    COMMAND_REFUSED = "command_refused"  # any other command
    # from the connection to the broker
    MESSAGES_DROPPED = "messages_dropped"  # undelivered ones, for lack of room
    MESSAGE_SET_ASIDE = "message_set_aside"  # the broker will not take it
    STREAM_FAILED = "stream_failed"  # an unforeseen error ended one device's stream
    OUTPUT_FAILED = "output_failed"  # an output could not take some item; the others did
    TASK_RESTARTED = "task_restarted"  # a task beside the streams failed


def notice(device: str, at: int, code: NoticeCode, text: str, **more: Any) -> Event:
    """Return an event of kind ``notice``.

    Args:
        device: Id of the device.
        at: ns since the Unix epoch.
        code: Machine-readable meaning.
        text: Message for a person, one line.
        more: Plain JSON values to add to the detail.
    """
    return Event(device, "notice", at, at, {"code": code.value, "text": text, **more})


TEXTS_OF_0_1: tuple[tuple[Callable[[str, str], bool], str, NoticeCode], ...] = (
    (
        str.__eq__,
        "this is a recording of a simulated wearer, not of a person",
        NoticeCode.SIMULATED_SOURCE,
    ),
    (str.startswith, "calibrate command refused", NoticeCode.CALIBRATE_REFUSED),
    (str.__contains__, "the stream was started again", NoticeCode.STALLED_RESTARTED),
    (str.__contains__, "too slow: ", NoticeCode.NOTIFICATIONS_DROPPED),
    (str.__contains__, "has stopped", NoticeCode.RECORDING_FAILED),
    (str.__contains__, "dropped", NoticeCode.SAMPLES_DROPPED),
)
"""(test, words, code) for notices of version 0.1, which had no code; never to be changed."""


def code_of(event: Event) -> NoticeCode | None:
    """Return a notice's code; None for other events and for unknown codes."""
    return code_in(event.detail) if event.kind == "notice" else None


def code_in(detail: Mapping[str, Any]) -> NoticeCode | None:
    """Return the code in a notice's detail, derived from its text if version 0.1 wrote it."""
    if "code" in detail:
        code = detail["code"]
        return NoticeCode(code) if code in _CODES else None
    text = detail.get("text")
    if not isinstance(text, str):
        return None
    return next((code for matches, words, code in TEXTS_OF_0_1 if matches(text, words)), None)


_CODES = [code.value for code in NoticeCode]  # a list: a foreign code may not be hashable
