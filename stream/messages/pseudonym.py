"""Replace radio addresses and serial numbers in recordings and messages by pseudonyms.

Within one file, or one run, each keeps the same pseudonym.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

ADDRESS = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}(?:[:_-][0-9A-Fa-f]{2}){5}"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?![0-9A-Za-z])"
)
"""A Bluetooth address, or the UUID that macOS shows instead."""

NAMING = ("address", "serial")
"""Keys whose values identify a sensor, in any notation."""


class Pseudonyms:
    """Pseudonyms of one file or run; they differ between files, so that files cannot be linked.

    Args:
        keep: Whether to leave addresses unchanged.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._salt = secrets.token_bytes(16)

    def subject(self) -> str:
        """Return a new pseudonym for a person."""
        return f"subject-{secrets.token_hex(3)}"

    def hidden(self, value: Any) -> Any:
        """Return `value`, plain JSON, with addresses and serial numbers replaced.

        A serial number is also replaced within the ``name`` beside it, which often ends in it.
        """
        if self._keep:
            return value
        if isinstance(value, str):
            return ADDRESS.sub(lambda found: self._name(found[0]), value)
        if isinstance(value, Mapping):
            hidden = {key: self._of(key, item) for key, item in value.items()}
            serial = value.get("serial")
            if isinstance(serial, str) and isinstance(name := hidden.get("name"), str) and serial:
                hidden["name"] = name.replace(serial, self._name(serial))
            return hidden
        if isinstance(value, (list, tuple)):
            return [self.hidden(item) for item in value]
        return value

    def _of(self, key: str, value: Any) -> Any:
        identifies = key in NAMING and isinstance(value, str)
        return self._name(value) if identifies else self.hidden(value)

    def _name(self, address: str) -> str:
        plain = re.sub("[^0-9a-z]", "", address.lower()).encode()
        name = hashlib.blake2b(plain, key=self._salt, digest_size=6).hexdigest()
        return f"pseudonym-{name}"
