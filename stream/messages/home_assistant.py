"""Home Assistant MQTT discovery: one message per device.

All values come from the ``summary``, which is never retained, so a value without a newer summary
expires. A cuff reading is entered as two numbers, which the broker keeps under ``<root>/entry``,
and sent by a button. Pressures have no device class: Home Assistant would show ``pressure`` as hPa.
See https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import DeviceInfo

PREFIX = "homeassistant"
"""Default first level of discovery topics."""

_BINARY = ("worn", "usable")
_INTERVALS = ("sbp", "dbp", "map")
_WORN = (
    "'OFF' if value_json.reasons.not_worn | default(0) > 0 "
    "else 'ON' if value_json.beats > 0 else 'None'"
)
"""Unknown without a beat."""
EXPIRE = 30
"""Seconds without a summary (one every ten) after which a value is unknown."""

_PRESSURES = {
    "sbp": "Systolic pressure",
    "dbp": "Diastolic pressure",
    "map": "Mean arterial pressure",
    "pp": "Pulse pressure",
}


def discovery(info: DeviceInfo, node: str, root: str, prefix: str = PREFIX) -> Parcel:
    """Return the retained message on ``<prefix>/device/<id>/config``.

    Args:
        info: Description of the device.
        node: Name of this process in ``<root>/bridge/<node>``.
        root: First levels of every topic.
        prefix: First levels of discovery topics.
    """
    name = _name(info.device, root)
    return Parcel(
        (config_topic(info.device, root, prefix),),
        to_json(_config(info, name, node, root)),
        retain=True,
        durable=False,
    )


def config_topic(device: str, root: str, prefix: str = PREFIX) -> str:
    """Return the topic of a device's discovery message."""
    return f"{prefix}/device/{_name(device, root)}/config"


def _name(device: str, root: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{root}-{device}")


def _config(info: DeviceInfo, name: str, node: str, root: str) -> dict[str, Any]:
    summary = f"{root}/devices/{info.device}/summary"
    suffix = "" if info.source == "live" else f" ({info.source})"
    known = {"model": info.detail.get("model"), "sw_version": info.detail.get("firmware")}
    return {
        "device": {
            "identifiers": [name],
            "name": f"{info.device}{suffix}",
            "manufacturer": str(info.detail.get("manufacturer") or "innpar-stream (research only)"),
            **{key: str(value) for key, value in known.items() if value},
        },
        "origin": {"name": "innpar-stream", "sw_version": version("innpar-stream")},
        "components": {
            **{
                key: {
                    "platform": "binary_sensor" if key in _BINARY else "sensor",
                    "unique_id": f"{name}_{key}",
                    "default_entity_id": _entity(key, name),
                    "value_template": f"{{{{ {value} }}}}",
                    "expire_after": EXPIRE,
                    **more,
                    **(_attributes(key, summary) if key in _INTERVALS else {}),
                }
                for key, value, more in _sensors()
            },
            **_entries(info.device, name, root),
        },
        "state_topic": summary,
        "qos": 1,
        "availability_mode": "all",
        "availability": [
            {"topic": f"{root}/bridge/{node}/state"},
            {"topic": f"{root}/devices/{info.device}/state"},
        ],
    }


def _sensors() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (key, template of the value, further settings) per sensor."""
    measured = {"state_class": "measurement"}
    about = {"entity_category": "diagnostic"}
    pressure = {"unit_of_measurement": "mmHg", "suggested_display_precision": 0, **measured}
    rate = {"unit_of_measurement": "bpm", "suggested_display_precision": 0, **measured}
    percent = {"unit_of_measurement": "%", **measured, **about}
    return [
        *((key, f"value_json.{key}", {"name": n, **pressure}) for key, n in _PRESSURES.items()),
        ("hr", "value_json.hr", {"name": "Heart rate", "icon": "mdi:heart-pulse", **rate}),
        ("quality", "(value_json.quality * 100) | round", {"name": "Signal quality", **percent}),
        ("calibration", "value_json.calibration.state", {"name": "Calibration", **about}),
        ("battery", "value_json.battery", {"device_class": "battery", **percent}),
        ("link", "value_json.link", {"name": "Link", **about}),
        ("worn", _WORN, {"name": "Worn"}),
        ("usable", "'ON' if value_json.valid > 0 else 'OFF'", {"name": "Usable"}),
    ]


def _entity(key: str, name: str) -> str:
    """Return the id of a sensor's entity, unless the user has given it another."""
    platform = "binary_sensor" if key in _BINARY else "sensor"
    return f"{platform}.{_slug(name)}_{key}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "_", name.lower())


def _attributes(key: str, summary: str) -> dict[str, Any]:
    """Return the settings for the interval's limits as attributes of a pressure."""
    limits = f"value_json.interval.{key}"
    shown = f"{{'low': {limits}[0], 'high': {limits}[1], 'level': value_json.interval.level}}"
    template = f"{{{{ ({shown} if value_json.interval else {{}}) | tojson }}}}"
    return {"json_attributes_topic": summary, "json_attributes_template": template}


def _entries(device: str, name: str, root: str) -> dict[str, Any]:
    """Return the two numbers and the button of a cuff reading, and the button of a mark."""
    slug = _slug(name)
    numbers = {key: f"number.{slug}_cuff_{key}" for key in ("sbp", "dbp")}
    values = ",".join(f"\"{key}\":{{{{ states('{one}') }}}}" for key, one in numbers.items())
    found: dict[str, Any] = {}
    for key, low, high, label in (("sbp", 60, 280, "systolic"), ("dbp", 30, 200, "diastolic")):
        topic = f"{root}/entry/{device}/{key}"
        found[f"cuff_{key}"] = {
            "platform": "number",
            "unique_id": f"{name}_cuff_{key}",
            "default_entity_id": numbers[key],
            "name": f"Cuff {label}",
            "command_topic": topic,
            "state_topic": topic,
            "retain": True,
            **{"min": low, "max": high, "step": 1, "mode": "box"},
            "unit_of_measurement": "mmHg",
        }
    for key, label, command, more in (
        ("cuff", "Send cuff reading", "calibrate", {"command_template": f"{{{values}}}"}),
        ("mark", "Mark", "mark", {"payload_press": '{"text":"mark"}'}),
    ):
        found[key] = {
            "platform": "button",
            "unique_id": f"{name}_{key}",
            "default_entity_id": f"button.{slug}_{key}",
            "name": label,
            "command_topic": f"{root}/cmd/{device}/{command}",
            **more,
        }
    return found
