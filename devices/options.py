"""Options after a device's name: ``NAME[:ARGUMENT][?key=value&…]``."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from innpar.devices.base import Refused


class UnknownOption(Refused):
    """The device has no such option.

    Attributes:
        key: Name of the unknown option.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class Options:
    """Parsed ``key=value`` pairs of one device, read by type.

    Args:
        device: Name of the device, for messages.
        given: Pairs as the user wrote them.
        known: Every key the device understands, with a one-line description.

    Raises:
        UnknownOption: A key in `given` is not in `known`.
    """

    def __init__(self, device: str, given: Mapping[str, str], known: Mapping[str, str]) -> None:
        for key in given:
            if key not in known:
                listed = ", ".join(known) or "none"
                text = f"{device} has no option {key!r}{did_you_mean(key, known)}; it has: {listed}"
                raise UnknownOption(text, key)
        self._device = device
        self._given = given

    def __contains__(self, key: str) -> bool:
        return key in self._given

    def text(self, key: str) -> str | None:
        """Return the value as written; None if it was not given."""
        return self._given.get(key)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """Return a finite number from `low` to `high`; None if it was not given.

        Raises:
            Refused: Not a number, or out of range.
        """
        written = self._given.get(key)
        if written is None:
            return None
        try:
            value = float(written)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high):
            expected = f"a number{_range(low, high)}"
            raise Refused(f"{self._device}: {key} must be {expected}, not {written!r}")
        return value

    def whole(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number from `low` to `high`; None if it was not given.

        Raises:
            Refused: Not a whole number, or out of range.
        """
        value = self.number(key, low, high)
        if value is None:
            return None
        if value != int(value):
            written = self._given[key]
            raise Refused(f"{self._device}: {key} must be a whole number, not {written!r}")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a switch: on/off, yes/no, true/false or 1/0.

        Raises:
            Refused: None of these.
        """
        written = self._given.get(key, "on" if default else "off").lower()
        if written not in _FLAGS:
            raise Refused(f"{self._device}: {key} must be on or off, not {written!r}")
        return _FLAGS[written]

    def choice(self, key: str, choices: Iterable[str]) -> str | None:
        """Return one of `choices`; None if it was not given.

        Raises:
            Refused: Not one of them.
        """
        written = self._given.get(key)
        allowed = tuple(choices)
        if written is not None and written not in allowed:
            listed = ", ".join(allowed)
            raise Refused(f"{self._device}: {key} must be one of {listed}, not {written!r}")
        return written

    def column(self, key: str, *namings: Sequence[str]) -> int | None:
        """Return the index of the column given by number (from 0) or by name; None if not given.

        Args:
            key: Option that names the column.
            namings: Column names; several sequences for columns with several names each.

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
        """Return the device id: the option ``id``, else `default`, as a valid topic level."""
        return slug(self._given.get("id", default))


_FLAGS = dict.fromkeys(("on", "yes", "true", "1"), True) | dict.fromkeys(
    ("off", "no", "false", "0"), False
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean …?)"``; empty if no known word is similar."""
    near = difflib.get_close_matches(word, tuple(known), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def slug(name: str) -> str:
    """Return `name` as a device id: lower-case letters, digits, ``-``, ``_`` and ``.``."""
    return re.sub(r"[^a-z0-9_.]+", "-", name.lower()).strip("-.") or "device"


def short_name(name: str) -> str:
    """Return the distinguishing part of a device id: a name, or a hash of a radio address.

    Ids are in every topic and recording, where a radio address would identify a person.
    """
    plain = re.sub("[:_-]", "", name.lower())
    if re.fullmatch("[0-9a-f]{12}|[0-9a-f]{32}", plain):
        return hashlib.blake2b(plain.encode(), digest_size=3).hexdigest()
    return name.replace(":", "")


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" from {low:g}"
    return f" from {low:g} to {high:g}"
