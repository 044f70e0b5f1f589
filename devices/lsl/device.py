"""Any LSL stream of pulses as a device: ``lsl``, ``lsl:type=PPG``, ``lsl:name=Muse?channel=PPG2``.

The network and its thread are `lsl_inlet`'s, the way to the loop `lsl_inbox`'s, samples and time
`lsl_stream`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from innpar.devices.base import Chunk, Event, EventKind, HostClock, NotFound, Refused, Source, Tap
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.lsl.inbox import LslInbox, StreamGone
from innpar.devices.lsl.library import LslInfo, quoted
from innpar.devices.lsl.reader import reading
from innpar.devices.notices import NoticeCode, notice
from innpar.devices.options import Options, slug

if TYPE_CHECKING:
    from innpar.devices.timing.pace import Pace

DEFAULT = (
    "(type='PPG' or type='BVP' or starts-with(type,'PPG')) "
    "and not(starts-with(source_id,'innpar-'))"
)
"""What senders of pulses call themselves; what `--lsl-out` publishes is not taken for one."""

PROPERTIES = ("name", "type", "source_id", "hostname", "uid")
WAIT = 10.0
"""Seconds to look for the stream before saying that it is not there."""

AGAIN = 12.0
"""Seconds for a second attempt to open it."""

POLARITIES: Mapping[str, Literal[-1, 0, 1]] = {
    "up": 1, "1": 1, "+1": 1, "down": -1, "-1": -1, "auto": 0, "0": 0,
}  # fmt: skip

_LIGHT = re.compile(r"ppg|bvp|pleth|(?<![a-z])(green|red|ir|infrared)(?![a-z])", re.IGNORECASE)


class Lsl:
    """An LSL stream as a `Device`.

    Args:
        select: ``key=value`` with a key of `PROPERTIES` (several joined with commas), an XPath 1.0
            predicate, a stream's name, or nothing for whatever looks like a pulse.
        identity: Id to use instead of one made of what was selected.
        channel: Label or index of the channel to use; None for every one that may hold light.
        polarity: As of `Device`; a stream does not tell.
        site: As of `Device`.
        wait: Seconds to look for it on entering.

    Attributes:
        origin: What its sender says of its samples once found: ``live``, ``replay``, ``simulated``.
    """

    def __init__(
        self,
        select: str = "",
        *,
        identity: str | None = None,
        channel: str | None = None,
        polarity: Literal[-1, 0, 1] = 0,
        site: str = "unknown",
        wait: float = WAIT,
    ) -> None:
        self.predicate, named = predicate(select)
        self._shown = f"with {self.predicate}" if select else "of type PPG or BVP"
        self.channel = channel
        self.wait = wait
        self._polarity: Literal[-1, 0, 1] = polarity
        self._site = site
        self._id = identity or (slug(f"lsl-{named}") if named else None)
        self._name = ""
        self.origin: str = "live"

    @property
    def id(self) -> str:
        """``lsl-muse-ppg``; without an argument the last part comes once the stream is found."""
        return self._id or (slug(f"lsl-{self._name}") if self._name else "lsl")

    @property
    def source(self) -> Source:
        """What a program sends right now."""
        return "live"

    @property
    def polarity(self) -> Literal[-1, 0, 1]:
        """As told; else the pipeline finds out."""
        return self._polarity

    @property
    def site(self) -> str:
        """As told."""
        return self._site

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find the stream and read it; see `Device.open`.

        The tap receives, on ``lsl``, little-endian float64: rows of a stamp and every channel.

        Raises:
            NotFound: No stream matches for `wait` seconds, or there is no LSL library.
            Refused: Several do, it holds text, or it has no such channel.
        """
        async with AsyncExitStack() as stack:
            inbox = await stack.enter_async_context(
                reading(self.predicate, self._shown, self.wait, clock)
            )
            found = await inbox.next()
            if not isinstance(found, LslInfo):  # it, or this computer, may have been busy
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        found = await inbox.next()
            if not isinstance(found, LslInfo):
                raise NotFound(
                    f"the LSL stream {self._shown} answers but cannot be opened: let TCP "
                    "16572-16604 through the sending computer's firewall, or start its program anew"
                )
            self._name, self.origin = found.name, found.origin or "live"
            columns = choose(found, self.channel)
            yield await stack.enter_async_context(
                aclosing(self._items(inbox, found, columns, clock, tap))
            )

    async def _items(
        self, inbox: LslInbox, found: LslInfo, columns: list[int], clock: HostClock, tap: Tap | None
    ) -> AsyncGenerator[Chunk | Event, None]:
        """Yield for ever."""

        def event(kind: EventKind, **detail: Any) -> Event:
            now = clock.now()
            return Event(self.id, kind, now, now, detail)

        names = labels(found)
        stream = LslDecoder(self.id, [names[k] for k in columns], columns, found.rate)
        yield event("connected", **about(found))
        if found.origin in ("simulated", "replay"):
            text = f"nobody wears this: its sender says {found.origin}"
            yield notice(self.id, clock.now(), NoticeCode.SENDER_NOT_LIVE, text)
        uid, gone, silent = found.uid, "", False
        while True:
            item = await inbox.next()
            if isinstance(item, StreamGone):
                if not gone:
                    for out in stream.interrupted(item.why):
                        yield out
                    yield event("disconnected", why=item.why)
                gone = item.why
            elif isinstance(item, LslInfo):
                found, silent = item, True
                if item.uid != uid:
                    stream.relinked()
            else:
                if silent and gone:  # said only now: an outlet that is there may stay silent
                    yield event("connected", **about(found))
                    stream.interrupted("outlet restarted" if found.uid != uid else gone)
                    uid, gone, silent = found.uid, "", False
                if tap is not None:
                    tap("lsl", item.arrival, _raw(item))
                for out in stream.push(item):
                    yield out


def _raw(block: LslBlock) -> bytes:
    rows = np.concatenate([block.stamps[:, None], block.data], axis=1)
    return rows.astype("<f8").tobytes()


def predicate(select: str) -> tuple[str, str]:
    """Return an XPath 1.0 predicate for what was written, and a short name for it.

    Raises:
        Refused: It is no property that a stream has.
    """
    if not select:
        return DEFAULT, ""
    if re.search(r"""['"(]""", select):
        return select, re.sub(r"[^0-9A-Za-z]+", "-", select)
    parts, names = [], []
    for part in select.split(",") if "=" in select else [f"name={select}"]:
        key, _, value = part.partition("=")
        if key.strip() not in PROPERTIES or not value:
            raise Refused(
                f"lsl:{select}: select by {', '.join(f'{p}=…' for p in PROPERTIES)}, not {part!r}"
            )
        parts.append(f"{key.strip()}={quoted(value)}")
        names.append(value)
    return " and ".join(parts), "-".join(names)


def labels(found: LslInfo) -> tuple[str, ...]:
    """Return one distinct label a channel."""
    given = found.labels or tuple(f"ppg{k}" for k in range(found.channels))
    return tuple(f"{x}-{k}" if given.count(x) > 1 else x for k, x in enumerate(given))


def choose(found: LslInfo, channel: str | None) -> list[int]:
    """Return the columns to use.

    Raises:
        Refused: The stream holds text, or no such channel.
    """
    if found.text:
        raise Refused(f"the LSL stream {found.line} holds text, no samples; select another")
    names = labels(found)
    given = Options("lsl", {} if channel is None else {"channel": channel}, KEYS)
    column = given.column("channel", names, found.labels)
    if column is not None:
        return [column]
    kinds = found.kinds or ("",) * len(names)
    light = [k for k in range(len(names)) if _LIGHT.search(kinds[k]) or _LIGHT.search(names[k])]
    return light or list(range(len(names)))


def about(found: LslInfo) -> dict[str, object]:
    """Return what a stream is, for its ``connected`` event."""
    return {
        "model": f"{found.manufacturer} {found.name}".strip(),
        "type": found.type,
        "source_id": found.source_id,
        "host": found.host,
        "rate": found.rate or None,
        "channels": found.channels,
        "origin": found.origin or "live",
    }


KEYS: Mapping[str, str] = {
    "channel": "label or number of the channel to use",
    "polarity": "up where a pulse makes the samples rise, down where it makes them fall, auto",
    "site": "wrist, finger, head or unknown",
    "id": "what to call it in topics and files",
    "wait": "seconds to look for it before giving up",
}


def create_lsl(argument: str, options: Mapping[str, str], pace: Pace) -> Lsl:
    """Make the device behind ``lsl[:KEY=VALUE][?channel=…]``.

    Raises:
        Refused: The selection or an option makes no sense.
    """
    given = Options("lsl", options, KEYS)
    return Lsl(
        argument,
        identity=given.identity("") if "id" in given else None,
        channel=given.text("channel"),
        polarity=POLARITIES[given.choice("polarity", POLARITIES) or "auto"],
        site=given.choice("site", ("wrist", "finger", "head", "unknown")) or "unknown",
        wait=given.number("wait", 1, 86400) or WAIT,
    )
