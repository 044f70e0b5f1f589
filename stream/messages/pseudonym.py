"""Radio addresses and serial numbers out of what is written down or published.

Each is the same pseudonym throughout one file, or one run.
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
"""A Bluetooth address, or what macOS gives instead of one."""

NAMING = ("address", "serial")
"""Keys whose values tell one sensor from all others, however they are written."""


class Pseudonyms:
    """Names for one file or run; another's are others, so that two cannot be laid side by side.

    Args:
        keep: Whether addresses stay as they are.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._salt = secrets.token_bytes(16)

    def subject(self) -> str:
        """Return a name for somebody who has not been named."""
        return f"subject-{secrets.token_hex(3)}"

    def hidden(self, value: Any) -> Any:
        """Return `value`, plain JSON, with addresses and serial numbers replaced.

        A sensor's name often ends in its serial number.
        """
        if self._keep:
            return value
        if isinstance(value, str):
            return ADDRESS.sub(lambda found: self._name(found[0]), value)
        if isinstance(value, Mapping):
            told = {key: self._of(key, one) for key, one in value.items()}
            serial = value.get("serial")
            if isinstance(serial, str) and isinstance(name := told.get("name"), str) and serial:
                told["name"] = name.replace(serial, self._name(serial))
            return told
        if isinstance(value, (list, tuple)):
            return [self.hidden(one) for one in value]
        return value

    def _of(self, key: str, value: Any) -> Any:
        known = key in NAMING and isinstance(value, str)
        return self._name(value) if known else self.hidden(value)

    def _name(self, address: str) -> str:
        plain = re.sub("[^0-9a-z]", "", address.lower()).encode()
        name = hashlib.blake2b(plain, key=self._salt, digest_size=6).hexdigest()
        return f"pseudonym-{name}"
