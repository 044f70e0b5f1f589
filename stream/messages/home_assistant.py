"""Home Assistant MQTT discovery: one message per device.

All values come from the ``summary``, which is never retained, so a value without a newer summary
expires. Pressures have no device class: Home Assistant would show ``pressure`` as hPa. See
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
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
    suffix = "" if info.source == "live" else f" ({info.source})"
    known = {"model": info.detail.get("model"), "sw_version": info.detail.get("firmware")}
    return {
        "device": {
            "identifiers": [name],
            "name": f"{info.device}{suffix}",
            **{key: str(value) for key, value in known.items() if value},
        },
        "origin": {"name": "innpar-stream", "sw_version": version("innpar-stream")},
        "components": {
            key: {
                "platform": "sensor",
                "unique_id": f"{name}_{key}",
                "value_template": f"{{{{ {value} }}}}",
                "expire_after": EXPIRE,
                **more,
            }
            for key, value, more in _sensors()
        },
        "state_topic": f"{root}/devices/{info.device}/summary",
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
    ]
