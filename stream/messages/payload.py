"""Items as MQTT messages: topic, bytes, and the properties that describe them.

No network. The contract is MQTT.md's; the schemas are in ``schemas/``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from innpar.devices import Event
from innpar.stream.messages import beat, device, early, waveform
from innpar.stream.messages.encoding import headers_of, to_json
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Beat, DeviceInfo, EarlyBeat, Item, State, Summary, Waveform

_PARCEL_OF: dict[type, Callable[[Any, str], Parcel]] = {
    Beat: beat.beat_parcel,
    EarlyBeat: early.early_parcel,
    Waveform: waveform.json_parcel,
    DeviceInfo: device.info_parcel,
    State: device.state_parcel,
    Event: device.event_parcel,
    Summary: device.summary_parcel,
}


def parcel(item: Item, root: str = "bp") -> Parcel:
    """Return the message of an item.

    Args:
        item: Item of a sink.
        root: First level of every topic.
    """
    return _PARCEL_OF[type(item)](item, root)


def reply_parcel(
    command: str,
    device_id: str,
    error: str | None,
    topic: str,
    correlation: bytes | None,
    *,
    confirm: bool = False,
) -> Parcel:
    """Return the reply to a command.

    Args:
        command: Name of the command.
        device_id: Id of the device it was sent to.
        error: Reason for refusing it; None where it was carried out.
        topic: Response topic of the request.
        correlation: Correlation data of the request.
        confirm: Whether the command would be carried out with ``confirm``.
    """
    payload: dict[str, Any] = {
        "schema": "bp-reply/1",
        "device": device_id,
        "command": command,
        "ok": error is None,
        "error": error,
    }
    if confirm:
        payload["confirm"] = True
    return Parcel(
        (topic,),
        to_json(payload),
        durable=False,
        headers=headers_of("bp-reply/1"),
        correlation=correlation,
    )
