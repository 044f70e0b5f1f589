"""What an LSL stream is, and the LSL library that knows. Only this file imports pylsl here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innpar.devices.base import NotFound, Refused

CONFIGURATIONS = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")


@dataclass(frozen=True, slots=True)
class LslInfo:
    """A stream that has been opened.

    Attributes:
        labels: One a channel; empty where the stream names none.
        kinds: What each channel is, as far as it says.
        text: Whether its values are strings.
        origin: What ``--lsl-out`` says of its samples: ``live``, ``replay`` or ``simulated``.
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
    manufacturer: str = ""
    origin: str = ""

    @property
    def line(self) -> str:
        """What a person needs to tell it from another."""
        rate = f"{self.rate:g} Hz" if self.rate else "irregular"
        return (
            f"name={self.name} type={self.type} source_id={self.source_id or '-'} "
            f"({self.channels} channels, {rate}, on {self.host})"
        )

    @property
    def again(self) -> str:
        """A predicate for the same stream after its outlet was started anew."""
        if self.source_id:
            return " and ".join(
                f"{key}={quoted(value)}"
                for key, value in (("source_id", self.source_id), ("type", self.type))
            )
        fields = (("name", self.name), ("type", self.type), ("hostname", self.host))
        return " and ".join(f"{key}={quoted(value)}" for key, value in fields)


def library() -> Any:
    """Return pylsl, told to keep its own remarks to itself unless it has been configured.

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
        # Of no effect where liblsl is already in use, so it may be said every time.
        pylsl.set_config_content("[log]\nlevel = -3\n")
    return pylsl


def quoted(value: str) -> str:
    """Return `value` as an XPath 1.0 literal.

    Raises:
        Refused: It holds both kinds of quotes, which XPath 1.0 cannot write.
    """
    mark = '"' if "'" in value else "'"
    if mark in value:
        raise Refused(f"lsl: {value!r} holds both kinds of quotes; select by another property")
    return f"{mark}{value}{mark}"


def describe(info: Any) -> LslInfo:
    """Return what a stream tells of itself; labels only come with an inlet's full info."""
    labels, kinds = [], []
    channel = info.desc().child("channels").child("channel")
    while not channel.empty():
        labels.append(channel.child_value("label"))
        kinds.append(channel.child_value("type"))
        channel = channel.next_sibling("channel")
    count = info.channel_count()
    complete = len(labels) == count and all(labels)
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
        labels=tuple(labels) if complete else (),
        kinds=tuple(kinds) if complete else (),
        manufacturer=info.desc().child_value("manufacturer"),
        origin=info.desc().child_value("source"),
    )
