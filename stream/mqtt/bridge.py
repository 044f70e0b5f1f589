"""This process as a client of the broker: ``<root>/bridge/<node>``."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.hygiene import printable
from innpar.stream.messages.parcel import Parcel
from innpar.stream.results import Presence


def default_node(state: Path) -> str:
    """Return the name of this computer on a broker: its host name and a random part.

    Args:
        state: Folder of the random part, which is made at the first start.
    """
    return f"{platform.node() or 'innpar'}-{_random_part(state / 'node')}"


def _random_part(file: Path) -> str:
    """Return the stored random part; a new one where it is missing or cannot be stored."""
    fresh = secrets.token_hex(3)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
                new.write(fresh)
            return fresh
        except FileExistsError:
            kept = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return fresh
    if re.fullmatch(r"[0-9a-f]{6}", kept):
        return kept
    file.write_text(fresh, encoding="ascii")
    return fresh


class Bridge:
    """Name, state and birth certificate of this process.

    Args:
        node: Its name, one topic level.
        number: Of this process among those of this computer, from 1.
        root: First levels of every topic.

    Attributes:
        states: Last state of each of its devices.
    """

    def __init__(self, node: str, number: int, root: str) -> None:
        name = re.sub(r"[^\w.-]", "-", node)
        self.node: str = name if number == 1 else f"{name}-{number}"
        self.root = root
        self.states: dict[str, Presence] = {}
        self._known_shared: set[tuple[str, str]] = set()
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

    @property
    def infos_topic(self) -> str:
        """Filter of the descriptions of every process."""
        return f"{self.root}/bridge/+/info"

    def is_info(self, topic: str) -> bool:
        """Whether a topic has the description of a process."""
        return topic.startswith(f"{self.root}/bridge/") and topic.endswith("/info")

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

    def is_foreign(self, info: bytes) -> bool:
        """Whether another process has published this on `info_topic`; untrusted bytes."""
        return "run" in (found := _info_in(info)) and found["run"] != self._run

    def shared(self, info: bytes) -> list[str]:
        """Return a line, once, for each of our devices that another process publishes too.

        Args:
            info: The description of a process, as it arrives; untrusted bytes.
        """
        found = _info_in(info)
        devices, node = found.get("devices"), printable(found.get("node"))
        if not self.is_foreign(info) or not isinstance(devices, list):
            return []
        ours = {name for name, state in self.states.items() if state != "offline"}
        twice = [name for name in devices if isinstance(name, str) and name in ours]
        fresh = [name for name in twice if (node, name) not in self._known_shared]
        self._known_shared.update((node, name) for name in fresh)
        return [
            f"{name}: {node} publishes a device of this name too, so subscribers cannot tell them "
            "apart: end one, or give it another ?id="
            for name in fresh
        ]

    def former(self, info: bytes) -> str | None:
        """Return the name under which version 0.1 ran on this computer; None for anything else.

        Its names had no random part, so this version publishes under others, and what the broker
        has retained under the old ones would stay for ever.

        Args:
            info: The description of a process, as retained; untrusted bytes.
        """
        found, host = _info_in(info), platform.node() or "innpar"
        node, old = found.get("node"), str(found.get("version", "")).startswith("0.1.")
        name = re.escape(re.sub(r"[^\w.-]", "-", host))
        mine = isinstance(node, str) and re.fullmatch(rf"{name}(-\d{{1,3}})?", node)
        return node if mine and old and found.get("host") == platform.node() else None

    def orphans(self, info: bytes) -> list[str]:
        """Return the devices that a crash of an earlier run left ``online``.

        Args:
            info: The payload retained on `info_topic`; untrusted bytes.
        """
        devices = _info_in(info).get("devices") if self.is_foreign(info) else None
        if not isinstance(devices, list):
            return []
        names = (name for name in devices if isinstance(name, str))
        return [n for n in names if re.fullmatch(r"[\w.-]+", n) and n not in self.states]


def _info_in(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
