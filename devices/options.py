"""The options behind a device's name: ``NAME[:ARGUMENT][?key=value&…]``."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from innpar.devices.base import Refused


class UnknownOption(Refused):
    """A device has no such option.

    Attributes:
        key: What it is called.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Options:
    """The ``key=value`` pairs given to one device; each is asked for by the type it should have.

    Args:
        device: Name of the device, for messages.
        given: What was written.
        known: Every key the device understands, with one line about it.

    Raises:
        UnknownOption: A key that is not `known`.
    """

    def __init__(self, device: str, given: Mapping[str, str], known: Mapping[str, str]) -> None:
        for key in given:
            if key not in known:
                listed = ", ".join(known) or "none"
                text = f"{device} has no option {key!r}{closest(key, known)}; it has: {listed}"
                raise UnknownOption(text, key)
        self._device = device
        self._given = given

    def __contains__(self, key: str) -> bool:
        return key in self._given

    def text(self, key: str) -> str | None:
        """Return the value as written, None where it was not given."""
        return self._given.get(key)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a finite number within `low` and `high`, None where it was not given.

        Raises:
            Refused: Not a number, or not in that range.
        """
        written = self._given.get(key)
        if written is None:
            return None
        try:
            value = float(written)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high):
            raise Refused(f"{self._device}: {key} is a number{_range(low, high)}, not {written!r}")
        return value

    def whole(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number within `low` and `high`, None where it was not given."""
        value = self.number(key, low, high)
        if value is None:
            return None
        if value != int(value):
            raise Refused(f"{self._device}: {key} is a whole number, not {self._given[key]!r}")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a switch: on/off, yes/no, true/false, 1/0."""
        written = self._given.get(key, "on" if default else "off").lower()
        if written not in _FLAGS:
            raise Refused(f"{self._device}: {key} is on or off, not {written!r}")
        return _FLAGS[written]

    def choice(self, key: str, choices: Iterable[str]) -> str | None:
        """Return one of `choices`, None where it was not given."""
        written = self._given.get(key)
        allowed = tuple(choices)
        if written is not None and written not in allowed:
            raise Refused(f"{self._device}: {key} is one of {', '.join(allowed)}, not {written!r}")
        return written

    def column(self, key: str, *namings: Sequence[str]) -> int | None:
        """Return which column is meant, by its number from 0 or one of its names.

        Args:
            key: Where it is written.
            namings: The columns' names, once or several times over.

        Returns:
            Its index, None where it was not given.

        Raises:
            Refused: No such column.
        """
        written = self._given.get(key)
        if written is None:
            return None
        if written.isdigit() and int(written) < len(namings[0]):
            return int(written)
        for names in namings:
            lowered = [name.lower() for name in names]
            if written.lower() in lowered:
                return lowered.index(written.lower())
        listed = ", ".join(namings[0])
        raise Refused(f"{self._device}: no column {written!r} for {key}; there are: {listed}")

    def identity(self, default: str) -> str:
        """Return the device's id: what ``id=`` says, else `default` made fit for a topic."""
        return slug(self._given.get("id", default))


_FLAGS = dict.fromkeys(("on", "yes", "true", "1"), True) | dict.fromkeys(
    ("off", "no", "false", "0"), False
)


def closest(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"``, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, tuple(known), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def slug(name: str) -> str:
    """Return `name` as a device id: lower-case letters, digits, ``-``, ``_`` and ``.``."""
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.") or "device"


def short(who: str) -> str:
    """Return what tells one device from another in its id: its name, or a hash of its address.

    An id is in every topic and recording, where a radio address would lead to a person.
    """
    plain = re.sub("[:_-]", "", who.lower())
    if re.fullmatch("[0-9a-f]{12}|[0-9a-f]{32}", plain):
        return hashlib.blake2b(plain.encode(), digest_size=3).hexdigest()
    return who.replace(":", "")


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" from {low:g}"
    return f" from {low:g} to {high:g}"
