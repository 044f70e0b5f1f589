"""Last-known Bluetooth addresses on disk, so that the next run can connect without scanning.

An address identifies a person's belongings: it stays in this user's own folder and is neither
recorded nor published from here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from innpar.devices.atomic import write_whole

SCHEMA = "innpar-address/1"


class Addresses:
    """Store of addresses, one file per sensor, named after the sensor as the user selected it.

    Args:
        folder: State folder that outlives this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "address"

    def keep(self, device: str, address: str, name: str) -> None:
        """Write an address atomically, unless the same is already stored.

        Args:
            device: Id or kind by which the sensor was selected.
            address: Bluetooth address; a UUID on macOS.
            name: As advertised.

        Raises:
            OSError: It cannot be written.
        """
        if self.recall(device) == (address, name):
            return
        stored = {"schema": SCHEMA, "device": device, "address": address, "name": name}
        write_whole(self._path(device), json.dumps(stored, indent=1))

    def recall(self, device: str) -> tuple[str, str] | None:
        """Return (address, name); None if nothing, or nothing valid, is stored."""
        try:
            stored = json.loads(self._path(device).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            return None
        address, name = stored.get("address"), stored.get("name")
        if stored.get("device") != device or not isinstance(name, str):
            return None
        usable = isinstance(address, str) and re.fullmatch(r"[0-9A-Fa-f:-]{12,36}", address)
        return (str(address), name) if usable else None

    def _path(self, device: str) -> Path:
        return self._folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', device)}.json"
