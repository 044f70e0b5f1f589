"""LSL stream of PPG as a device: ``lsl``, ``lsl:type=PPG``, ``lsl:name=Muse?channel=PPG2``.

`reader` reads from the network on a thread, `inbox` passes blocks to the event loop, `chooser`
finds the columns of light, and `decoder` converts blocks to samples with times.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from innpar.devices.base import Chunk, Event, EventKind, HostClock, NotFound, Refused, Source, Tap
from innpar.devices.lsl.chooser import LslChooser
from innpar.devices.lsl.columns import KEYS, about, differences
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.lsl.inbox import LslInbox, StreamElsewhere, StreamGone
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
"""Usual types of PPG streams, except those published by `--lsl-out`."""

PROPERTIES = ("name", "type", "source_id", "hostname", "uid")
WAIT = 10.0
"""Default time limit, s, of the search for the stream."""

AGAIN = 12.0
"""Time limit, s, of a second attempt to open it."""

POLARITIES: Mapping[str, Literal[-1, 0, 1]] = {
    "up": 1, "1": 1, "+1": 1, "down": -1, "-1": -1, "auto": 0, "0": 0,
}  # fmt: skip


class Lsl:
    """LSL stream; see `Device`.

    Args:
        select: ``key=value`` with a key of `PROPERTIES` (several joined by commas), an XPath 1.0
            predicate, a stream's name, or empty for any PPG stream.
        identity: Id to use instead of one composed from the selection.
        channel: Label or index of the channel to use; None for all that may be PPG.
        polarity: See `Device`; a stream does not state it.
        site: See `Device`.
        wait: Time limit of the search on entering, s.

    Attributes:
        origin: Source stated by the sender, once found: ``live``, ``replay`` or ``simulated``.
    """

    source: Source = "live"

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
        self.polarity = polarity
        self.site = site
        self._id = identity or (slug(f"lsl-{named}") if named else None)
        self._name = ""
        self.origin: str = "live"

    @property
    def id(self) -> str:
        """``lsl-muse-ppg``; without a selection, ``lsl`` until the stream has been found."""
        return self._id or (slug(f"lsl-{self._name}") if self._name else "lsl")

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Find the stream and read it; see `Device.open`.

        The tap receives, on channel ``lsl``, little-endian float64 rows: the stamp, then all
        channels.

        Raises:
            NotFound: No stream matches within `wait` seconds, or there is no LSL library.
            Refused: Several match, it contains text, or it has no such channel.
        """
        async with AsyncExitStack() as stack:
            inbox = await stack.enter_async_context(
                reading(self.predicate, self._shown, self.wait, clock)
            )
            found = await inbox.next()
            if not isinstance(found, LslInfo):  # the sender or this computer may have been busy
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        found = await inbox.next()
                        while isinstance(found, StreamElsewhere):
                            found = await inbox.next()
            if not isinstance(found, LslInfo):
                raise NotFound(
                    f"the LSL stream {self._shown} was found but cannot be opened: open TCP "
                    "16572-16604 in the sender's firewall, or restart its program"
                )
            self._name, self.origin = found.name, found.origin or "live"
            chooser = LslChooser(self.channel)
            chooser.begin(found)
            yield await stack.enter_async_context(
                aclosing(self._items(inbox, found, chooser, clock, tap))
            )

    async def _items(
        self,
        inbox: LslInbox,
        found: LslInfo,
        chooser: LslChooser,
        clock: HostClock,
        tap: Tap | None,
    ) -> AsyncGenerator[Chunk | Event, None]:
        """Yield items endlessly."""

        def event(kind: EventKind, **detail: Any) -> Event:
            now = clock.now()
            return Event(self.id, kind, now, now, detail)

        stream = LslDecoder(self.id, chooser.names, chooser.columns, found.rate)
        yield event("connected", **about(found))
        if found.origin in ("simulated", "replay"):
            text = f"not a live sensor: the sender states its source as {found.origin}"
            yield notice(self.id, clock.now(), NoticeCode.SENDER_NOT_LIVE, text)
        before, lost, reopened, unusable = found, "", False, ""
        while True:
            item = await inbox.next()
            if isinstance(item, StreamGone):
                if not lost:
                    for out in chooser.split(stream.interrupted(item.why)):
                        yield out
                    yield event("disconnected", why=item.why)
                    if dropped := chooser.drop():
                        yield self._dropped(dropped, clock.now())
                lost = item.why
            elif isinstance(item, StreamElsewhere):
                yield self._elsewhere(before, item, clock.now())
            elif isinstance(item, LslInfo):
                found, reopened, unusable = item, True, ""
                if item.uid == before.uid:
                    continue
                try:
                    chooser.begin(found)
                except Refused as refused:
                    unusable = str(refused)
                    yield notice(self.id, clock.now(), NoticeCode.STREAM_CHANGED, unusable)
                    continue
                stream.relinked(chooser.names, chooser.columns, found.rate)
            elif not unusable:
                if reopened and lost:  # reported only with samples: an outlet may stay silent
                    yield event("connected", **about(found))
                    if text := differences(before, found):
                        yield notice(self.id, clock.now(), NoticeCode.STREAM_CHANGED, text)
                    stream.interrupted("outlet restarted" if found.uid != before.uid else lost)
                    before, lost, reopened = found, "", False
                if tap is not None:
                    tap("lsl", item.arrival, _raw(item))
                for out in self._push(chooser, stream, item):
                    yield out

    def _push(
        self, chooser: LslChooser, stream: LslDecoder, block: LslBlock
    ) -> list[Chunk | Event]:
        """Return the items of a block, and of those held back if it shows which is light."""
        out: list[Chunk | Event] = []
        judging = not chooser.columns
        ready = chooser.push(block)
        if chooser.text:
            code = NoticeCode.COLUMNS_LEFT_OUT if ready else NoticeCode.UNREADABLE
            out.append(notice(self.id, block.arrival, code, chooser.text))
        if judging and ready:
            stream.relinked(chooser.names, chooser.columns)
        for held in ready:
            out += chooser.split(stream.push(held))
        return out

    def _dropped(self, samples: int, now: int) -> Event:
        """Return the notice that the stream was lost before its columns could be judged."""
        text = (
            f"{samples} samples dropped: the stream was lost before they could show which columns "
            "are light; select one with ?channel=… to use samples from the first one on"
        )
        return notice(self.id, now, NoticeCode.SAMPLES_DROPPED, text)

    def _elsewhere(self, lost: LslInfo, item: StreamElsewhere, now: int) -> Event:
        """Return the notice that other streams meet the selection, but not the lost one."""
        text = (
            f"waiting for {lost.line}; other streams match, but are not the same: "
            f"{'; '.join(item.lines)}. To use one of these, start again with lsl:name=…"
        )
        return notice(self.id, now, NoticeCode.STREAM_CHANGED, text)


def _raw(block: LslBlock) -> bytes:
    rows = np.concatenate([block.stamps[:, None], block.data], axis=1)
    return rows.astype("<f8").tobytes()


def predicate(select: str) -> tuple[str, str]:
    """Return the XPath 1.0 predicate of a selection, and a short name for it.

    Raises:
        Refused: A key is not one of `PROPERTIES`.
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


def create_lsl(argument: str, options: Mapping[str, str], pace: Pace) -> Lsl:
    """Create the device for ``lsl[:KEY=VALUE][?channel=…]``.

    Raises:
        Refused: The selection or an option is invalid.
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
