"""Where each Bluetooth sensor was last, on disk, so that the next run need not listen for it.

An address identifies a person's belongings: it stays in this user's own folder and enters neither
recordings nor what is published by this.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from innpar.devices.atomic import write_whole

SCHEMA = "innpar-address/1"


class Addresses:
    """One file a sensor, named by what the user called it.

    Args:
        folder: That survives this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "address"

    def keep(self, asked: str, address: str, name: str) -> None:
        """Write it, whole or not at all; what is there already is not written again.

        Args:
            asked: Id or kind under which the sensor was asked for.
            address: Bluetooth address; a UUID on macOS.
            name: As advertised.

        Raises:
            OSError: It cannot be written.
        """
        if self.recall(asked) == (address, name):
            return
        told = {"schema": SCHEMA, "device": asked, "address": address, "name": name}
        write_whole(self._path(asked), json.dumps(told, indent=1))

    def recall(self, asked: str) -> tuple[str, str] | None:
        """Return address and name; None where nothing (sensible) is remembered."""
        try:
            told = json.loads(self._path(asked).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(told, dict) or told.get("schema") != SCHEMA:
            return None
        address, name = told.get("address"), told.get("name")
        if told.get("device") != asked or not isinstance(name, str):
            return None
        usable = isinstance(address, str) and re.fullmatch(r"[0-9A-Fa-f:-]{12,36}", address)
        return (str(address), name) if usable else None

    def _path(self, asked: str) -> Path:
        return self._folder / f"{re.sub(r'[^a-zA-Z0-9_.-]', '_', asked)}.json"
