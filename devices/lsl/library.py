"""LSL library and stream descriptions. Only this module imports pylsl."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innpar.devices.base import NotFound, Refused

CLOSING = 1.0
"""s by which an outlet may be older than the last sample of the one that it replaces."""

CONFIGURATIONS = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")


@dataclass(frozen=True, slots=True)
class LslInfo:
    """Description of a stream.

    Attributes:
        name, type, source_id, uid, host: As the stream states them.
        rate: Nominal rate, Hz; 0 for irregular.
        created: Creation time of its outlet, s on the sender's clock.
        channels: Number of channels.
        text: Whether its values are strings.
        labels: One per channel, empty strings where not stated; empty if none is labelled.
        kinds: Type of each channel, empty strings where not stated.
        units: Unit of each channel, empty strings where not stated.
        manufacturer: As stated; empty if not.
        origin: Source of the samples stated by ``--lsl-out``: ``live``, ``replay`` or
            ``simulated``.
    """

    name: str
    type: str
    source_id: str
    uid: str
    host: str
    rate: float
    created: float
    channels: int
    text: bool = False
    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    manufacturer: str = ""
    origin: str = ""

    @property
    def line(self) -> str:
        """One-line description by which a person can tell streams apart."""
        rate = f"{self.rate:g} Hz" if self.rate else "irregular"
        return (
            f"name={self.name} type={self.type} source_id={self.source_id or '-'} "
            f"({self.channels} channels, {rate}, on {self.host})"
        )

    def likeness(self, other: LslInfo, *, since: float) -> int:
        """Return how far another outlet may be this stream, restarted: 0 if it is not, 3 at best.

        Many programs give their stream another source id at every start, and some give all their
        streams the same. So name, type and computer decide, and the source id only among equals;
        without it, only an outlet made since then may be the same one.

        Args:
            other: An outlet that meets the user's selection.
            since: Time of the last sample, s on the sender's clock.
        """
        same = bool(self.source_id) and other.source_id == self.source_id
        alike = (other.name, other.type, other.host) == (self.name, self.type, self.host)
        if same and alike:
            return 3
        later = other.created >= since - CLOSING
        if alike and later:
            return 2
        return int(same and (later or other.name == self.name))


def library() -> Any:
    """Return pylsl, with its own log messages off unless the user has configured them.

    Raises:
        NotFound: The LSL library cannot be loaded.
    """
    try:
        import pylsl  # type: ignore[import-untyped]  # it ships no types
    except (ImportError, RuntimeError, OSError) as error:
        first = str(error).splitlines()[0]
        raise NotFound(
            f"the LSL library cannot be loaded ({first}): install it with `pip install pylsl`, "
            "or liblsl from conda-forge"
        ) from error
    configured = any(Path(path).expanduser().is_file() for path in CONFIGURATIONS)
    if "LSLAPICFG" not in os.environ and not configured:
        # Without effect once liblsl is in use, so repeated calls are harmless.
        pylsl.set_config_content("[log]\nlevel = -3\n")
    return pylsl


def quoted(value: str) -> str:
    """Return `value` as an XPath 1.0 literal.

    Raises:
        Refused: It contains both kinds of quotes, which XPath 1.0 cannot express.
    """
    mark = '"' if "'" in value else "'"
    if mark in value:
        raise Refused(f"lsl: {value!r} contains both kinds of quotes; select by another property")
    return f"{mark}{value}{mark}"


def describe(info: Any) -> LslInfo:
    """Return the description of a pylsl stream info; labels need an inlet's full info."""
    stated: dict[str, list[str]] = {"label": [], "type": [], "unit": []}
    channel = info.desc().child("channels").child("channel")
    while not channel.empty():
        for key, values in stated.items():
            values.append(channel.child_value(key))
        channel = channel.next_sibling("channel")
    count = info.channel_count()
    labels, kinds, units = (
        tuple(values) if len(values) == count and any(values) else () for values in stated.values()
    )
    return LslInfo(
        name=info.name(),
        type=info.type(),
        source_id=info.source_id(),
        uid=info.uid(),
        host=info.hostname(),
        rate=float(info.nominal_srate()),
        created=float(info.created_at()),
        channels=count,
        text=info.channel_format() == 3,
        labels=labels,
        kinds=kinds,
        units=units,
        manufacturer=info.desc().child_value("manufacturer"),
        origin=info.desc().child_value("source"),
    )
