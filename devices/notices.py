"""Notices: events that a person should know of, each with a code for programs to decide by.

The text may be reworded at any time, the codes may not: they lie in recordings and on MQTT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from innpar.devices.base import Event


class NoticeCode(StrEnum):
    """Kind of a notice."""

    # from a sensor's driver
    NOTIFICATIONS_DROPPED = "notifications_dropped"  # they came faster than they were read
    SAMPLES_DROPPED = "samples_dropped"  # likewise, for devices of other packages
    UNDECODABLE = "undecodable"
    NO_SAMPLES = "no_samples"  # the sensor fell silent and was asked again
    STALLED_RESTARTED = "stalled_restarted"  # likewise, and its stream was started anew
    RESTART_REFUSED = "restart_refused"
    RECONNECT_FAILED = "reconnect_failed"
    NO_NEWS = "no_news"  # an hour of silence from what is silent by nature
    STOPPED_BY_SENSOR = "stopped_by_sensor"
    RATE_CORRECTED = "rate_corrected"  # another rate was measured than stated
    RATE_UNUSABLE = "rate_unusable"
    BATTERY_LOW = "battery_low"
    FOREIGN_CLOCK = "foreign_clock"  # samples are dated by their arrival
    SENDER_NOT_LIVE = "sender_not_live"  # an LSL stream of a simulation or a replay
    READING_NOT_USED = "reading_not_used"
    # from a replay
    SIMULATED_SOURCE = "simulated_source"
    RECORDING_INCOMPLETE = "recording_incomplete"  # parts of the file cannot be read
    EARLIER_READING = "earlier_reading"  # a cuff reading from before the part that is played
    # from the pipeline
    FIT_CHECK = "fit_check"
    NOT_CALIBRATED = "not_calibrated"
    CALIBRATION_NOT_RESUMED = "calibration_not_resumed"
    CUFF_UNAVAILABLE = "cuff_unavailable"
    MARKERS_UNAVAILABLE = "markers_unavailable"
    DURATION_OVER = "duration_over"  # with less signal than asked for
    RECORDING_STARTED = "recording_started"
    RECORDING_ENDED = "recording_ended"
    RECORDING_FAILED = "recording_failed"
    CALIBRATE_REFUSED = "calibrate_refused"
    MARK_REFUSED = "mark_refused"
    RECORD_REFUSED = "record_refused"
    COMMAND_REFUSED = "command_refused"  # any other command


def notice(device: str, at: int, code: NoticeCode, text: str, **more: Any) -> Event:
    """Return an event of kind ``notice``.

    Args:
        device: Id of the device.
        at: ns since the Unix epoch.
        code: For programs.
        text: For a person.
        more: Plain JSON values to add to its detail.
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
"""How version 0.1, whose notices had no code, worded those that are decided by; never to change."""


def code_of(event: Event) -> NoticeCode | None:
    """Return a notice's code; None for other events, and for a code that is not known."""
    return code_in(event.detail) if event.kind == "notice" else None


def code_in(detail: Mapping[str, Any]) -> NoticeCode | None:
    """Return the code in a notice's detail, for one without a code that of its 0.1 text."""
    if "code" in detail:
        code = detail["code"]
        return NoticeCode(code) if code in _CODES else None
    text = detail.get("text")
    if not isinstance(text, str):
        return None
    return next((code for fits, words, code in TEXTS_OF_0_1 if fits(text, words)), None)


_CODES = [code.value for code in NoticeCode]  # a list: a foreign code may not be hashable
