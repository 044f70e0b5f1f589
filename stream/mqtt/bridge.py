"""This process as a client of the broker: ``<root>/bridge/<node>``."""

from __future__ import annotations

import json
import platform
import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Presence


class Bridge:
    """Name, state and birth certificate of this process.

    Args:
        node: Its name, one topic level; the computer's if None.
        number: Of this process among those of this computer, from 1.
        root: First levels of every topic.

    Attributes:
        states: Last state of each of its devices.
    """

    def __init__(self, node: str | None, number: int, root: str) -> None:
        name = re.sub(r"[^\w.-]", "-", node or platform.node() or "innpar")
        self.node: str = name if number == 1 else f"{name}-{number}"
        self.root = root
        self.states: dict[str, Presence] = {}
        self._run = uuid.uuid4().hex[:12]
        self._started = datetime.now(UTC)
        self._since = time.monotonic()

    @property
    def client_id(self) -> str:
        """The same after a crash, so that the broker ends the old connection before the new one."""
        return f"innpar-{self.root.replace('/', '.')}-{self.node}"

    @property
    def info_topic(self) -> str:
        return f"{self.root}/bridge/{self.node}/info"

    def state(self, state: Literal["online", "offline"]) -> Parcel:
        """Return the parcel with the state of this process; ``offline`` is its MQTT will."""
        return Parcel(
            (f"{self.root}/bridge/{self.node}/state",),
            state.encode(),
            content_type="text/plain",
            retain=True,
            durable=False,
            headers=(("schema", "bp-bridge-state/1"),),
        )

    def info(self, counts: Mapping[str, int], lag: float) -> Parcel:
        """Return the parcel that describes this process.

        Args:
            counts: Of parcels.
            lag: Time that the oldest parcel has waited for its acknowledgement, s.
        """
        payload = {
            "schema": "bp-bridge/1",
            "node": self.node,
            "run": self._run,
            "version": version("innpar-stream"),
            "host": platform.node(),
            "started": f"{self._started:%Y-%m-%dT%H:%M:%SZ}",
            "uptime_s": round(time.monotonic() - self._since),
            "devices": sorted(name for name, state in self.states.items() if state != "offline"),
            "lag_ms": round(lag * 1000),
            **counts,
        }
        return Parcel(
            (self.info_topic,),
            to_json(payload),
            qos=0,
            retain=True,
            durable=False,
            headers=(("schema", "bp-bridge/1"),),
        )

    def may_answer(self, topic: str) -> bool:
        """Whether a reply may go to a topic: under the root, not where this process publishes."""
        taken = ("estimates", "devices", "bridge", "cmd")
        inside = topic.startswith(f"{self.root}/") and topic != f"{self.root}/"
        own = any(f"{topic}/".startswith(f"{self.root}/{level}/") for level in taken)
        return inside and not own and not re.search(r"[#+\x00]", topic)

    def orphans(self, info: bytes) -> list[str]:
        """Return the devices that a crash of an earlier run left ``online``.

        Args:
            info: The payload retained on `info_topic`; untrusted bytes.
        """
        try:
            earlier = json.loads(info)
        except (ValueError, RecursionError):
            return []
        if not isinstance(earlier, dict) or earlier.get("run") == self._run:
            return []
        devices = earlier.get("devices")
        if not isinstance(devices, list):
            return []
        names = (name for name in devices if isinstance(name, str))
        return [n for n in names if re.fullmatch(r"[\w.-]+", n) and n not in self.states]
