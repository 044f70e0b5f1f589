"""The health of a run as one word, with its reasons."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from innpar.stream.app.operations.metrics import RunState

LAGGING = 5.0
"""s by which the event loop is late in an overloaded process."""


def health(run: RunState) -> tuple[HTTPStatus, str]:
    """Return the HTTP status and a JSON object.

    ``ok``: every device sends, and the broker has a connection. ``degraded``: something is amiss
    that the run bears, such as a broker that is away. ``failing``, with status 503: not one device
    sends.
    """
    devices = {
        wearer.device.id: {"state": _presence(run, wearer.device.id), "seconds": wearer.seconds}
        for wearer in run.wearers
    }
    silent = [name for name, one in devices.items() if one["state"] != "online"]
    reasons = [f"{name} does not send: {devices[name]['state']}" for name in silent]
    if not run.mqtt.connected:
        reasons.append(f"the broker is away; {run.mqtt.backlog} messages wait")
    if run.mqtt.loop_lag > LAGGING:
        reasons.append(f"the event loop was late by {run.mqtt.loop_lag:.1f} s: overloaded")
    failing = len(silent) == len(devices)
    state = "failing" if failing else "degraded" if reasons else "ok"
    body: dict[str, Any] = {"status": state, "reasons": reasons, "devices": devices}
    body["broker"] = "connected" if run.mqtt.connected else "away"
    status = HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK
    return status, json.dumps(body)


def _presence(run: RunState, device: str) -> str:
    known = run.measured.devices.get(device)
    return (known and known.presence) or "not connected yet"
