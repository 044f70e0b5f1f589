"""Columns of an LSL stream: their labels, which are light, and what changed in a new outlet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innpar.devices.base import Refused
from innpar.devices.lsl.library import LslInfo
from innpar.devices.options import Options
from innpar.devices.timing.column_names import kind_of_name

KEYS: Mapping[str, str] = {
    "channel": "label or number of the channel to use",
    "polarity": "up if a pulse makes the samples rise, down if it makes them fall, or auto",
    "site": "wrist, finger, head or unknown",
    "id": "device id in topics and files",
    "wait": "time limit of the search in seconds",
}


def labels(found: LslInfo) -> tuple[str, ...]:
    """Return one distinct label per channel."""
    stated = found.labels or ("",) * found.channels
    given = tuple(label or f"ppg{k}" for k, label in enumerate(stated))
    return tuple(f"{x}-{k}" if given.count(x) > 1 else x for k, x in enumerate(given))


def choose(found: LslInfo, channel: str | None) -> list[int]:
    """Return the indices of the columns to use.

    Columns labelled as light come first, then those of a stream or channel typed as light, then
    those of which neither says what they are.

    Args:
        found: The stream.
        channel: Label or index; None for all that may be PPG.

    Raises:
        Refused: The stream contains text, has no such channel, or none that may be light.
    """
    if found.text:
        raise Refused(f"the LSL stream {found.line} contains text, not samples; select another")
    names = labels(found)
    given = Options("lsl", {} if channel is None else {"channel": channel}, KEYS)
    column = given.column("channel", names, found.labels)
    if column is not None:
        return [column]
    none = ("",) * len(names)
    named = found.labels or none
    stated = zip(named, found.kinds or none, found.units or none, strict=True)
    own = [kind_of_name(name, kind, unit) for name, kind, unit in stated]
    typed = [kind or kind_of_name(name, found.type) for kind, name in zip(own, named, strict=True)]
    for kinds, wanted in ((own, "light"), (own, "pulse"), (typed, "light"), (typed, "")):
        if light := [k for k, kind in enumerate(kinds) if kind == wanted]:
            return light
    raise Refused(
        f"the LSL stream {found.line} has no column that may be light ({', '.join(names)}); "
        "select another stream, or one of these with ?channel=…"
    )


def again(found: LslInfo, used: Sequence[str], channel: str | None) -> list[int]:
    """Return the indices of the columns to use of a new outlet: the same labels, where they are.

    Args:
        found: The stream.
        used: Labels used so far.
        channel: As for `choose`.

    Raises:
        Refused: As for `choose`.
    """
    if not found.text and all(label in found.labels for label in used):
        return [found.labels.index(label) for label in used]
    return choose(found, channel)


def differences(before: LslInfo, found: LslInfo) -> str:
    """Return in which way a stream came back; empty if nothing that matters has changed."""
    changed = []
    if labels(found) != labels(before):
        changed.append(
            f"channels {', '.join(labels(found))} instead of {', '.join(labels(before))}"
        )
    if found.rate != before.rate:
        changed.append(f"{found.rate:g} Hz instead of {before.rate:g} Hz")
    for key in ("name", "type", "source_id", "host"):
        one, other = getattr(before, key), getattr(found, key)
        if one != other:
            changed.append(f"{key} {other or '-'} instead of {one or '-'}")
    return f"the stream came back with {'; '.join(changed)}" if changed else ""


def about(found: LslInfo) -> dict[str, object]:
    """Return the properties of a stream for its ``connected`` event."""
    return {
        "model": f"{found.manufacturer} {found.name}".strip(),
        "type": found.type,
        "source_id": found.source_id,
        "host": found.host,
        "rate": found.rate or None,
        "channels": found.channels,
        "origin": found.origin or "live",
    }
