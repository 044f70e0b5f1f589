"""The health of a run as one word, with its reasons."""

from __future__ import annotations

from typing import Any

from innpar.stream.app.operations.metrics import RunState

LAGGING = 5.0
"""s by which the event loop is late in an overloaded process."""


def status_line(run: RunState) -> str:
    """Return the health as one line."""
    found = health(run)
    return ": ".join([found["status"], *found["reasons"][:1]])


def health(run: RunState) -> dict[str, Any]:
    """Return the health as a JSON object.

    ``ok``: every device sends, and the broker has a connection. ``degraded``: something is amiss
    that the run bears, such as a broker that is away. ``failing``: not one device sends.
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
    if run.engine.load.overloaded:
        reasons.append("windows are left out: the computer is too slow for so many wearers")
    failing = len(silent) == len(devices)
    state = "failing" if failing else "degraded" if reasons else "ok"
    broker = "connected" if run.mqtt.connected else "away"
    return {"status": state, "reasons": reasons, "devices": devices, "broker": broker}


def _presence(run: RunState, device: str) -> str:
    known = run.measured.devices.get(device)
    return (known and known.presence) or "not connected yet"
