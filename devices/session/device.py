"""Recorded session as a device: replays its stream item by item, bit for bit."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, cast

from innpar.devices.base import (
    NS,
    BadPacket,
    Chunk,
    Event,
    HostClock,
    NotFound,
    Refused,
    Source,
    Tap,
)
from innpar.devices.notices import NoticeCode, code_of, notice
from innpar.devices.options import Options, slug
from innpar.devices.session.contents import (
    SIMULATED,
    about,
    damage_of,
    devices_in,
    entry_of,
    extent,
    origin_of,
    running,
)
from innpar.devices.session.items import EVENTS, Frame, Topic
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.redecode import redecoded
from innpar.devices.session.state_at import StateAt, calibration_at
from innpar.devices.timing.pace import REAL_TIME, Pace, Pacer

OPTIONS = {
    "device": "id of the recorded device to replay",
    "from": "start, seconds into the recording",
    "to": "end, seconds into the recording",
    "loop": "on to repeat endlessly, or the number of times to play it",
    "redecode": "on to decode the recorded frames again",
    "cuffs": "off to leave out the recorded cuff readings",
    "id": "device id to use instead of the recorded one",
}
SIMULATED_TEXT = "this is a recording of a simulated wearer, not of a person"
ALWAYS = 2**63 - 1
CUFF_KINDS = ("cuff", "cuff_undone")
LOOPS = dict.fromkeys(("on", "yes", "true")) | dict.fromkeys(("off", "no", "false"), 1)
PAUSE = 2 * NS
"""ns between two rounds of a loop."""


@dataclass(frozen=True, slots=True)
class ReplayedSession:
    """One device of a recorded session; see `Device`.

    Attributes:
        path: The file.
        recorded: Recorded device id.
        id: Device id to publish.
        polarity: As recorded.
        site: As recorded.
        origin: First source of the data; if ``simulated``, a notice precedes everything else.
        require_calibration: Whether the run published no pressures before a cuff reading.
        latency: ``low`` where the run had low latency.
        early: Whether the run published early beats; then its beats include the interrupted ones.
        first: Time of the first PPG sample, ns since the Unix epoch.
        last: Time of the last PPG sample, ns since the Unix epoch.
        begin: ns since the Unix epoch; earlier items are left out.
        end: ns since the Unix epoch; items at or after it are left out.
        rounds: Number of times it is played; None for endlessly.
        redecode: Whether frames are decoded again.
        cuffs: Whether recorded cuff readings are kept.
        pace: Its speed; chunks are as recorded.
        seen: The file as indexed on opening, closed since.
    """

    source: ClassVar[Source] = "replay"

    path: Path
    recorded: str
    id: str
    polarity: Literal[-1, 0, 1]
    site: str
    origin: str
    require_calibration: bool
    first: int
    last: int
    begin: int = 0
    end: int = ALWAYS
    rounds: int | None = 1
    redecode: bool = False
    cuffs: bool = True
    pace: Pace = REAL_TIME
    latency: str = "normal"
    early: bool = False
    seen: SessionFile | None = field(default=None, repr=False, compare=False)

    @property
    def simulated(self) -> bool:
        """Whether the data are simulated."""
        return self.origin == SIMULATED

    @asynccontextmanager
    async def open(
        self, *, clock: HostClock, tap: Tap | None = None
    ) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        """Start playing; see `Device.open`. The tap receives nothing: the file holds the frames."""
        async with aclosing(self._deliver(clock)) as items:
            yield items

    async def _deliver(self, clock: HostClock) -> AsyncGenerator[Chunk | Event, None]:
        pacer = Pacer(clock, self.pace.speed)
        with closing(self.items()) as items:
            for item in items:
                if isinstance(item, Chunk) and item.signal == "ppg" and len(item):
                    await pacer.until(int(item.times[0]), int(item.times[-1]))
                yield item

    def items(self) -> Generator[Chunk | Event, None, None]:
        """Yield all items in order, without waiting; damage is reported at the end of a round."""
        low, high = max(self.begin, self.first), min(self.end, self.last + 1)
        for number in itertools.count() if self.rounds is None else range(self.rounds):
            shift = number * (high - low + PAUSE)
            if number:
                why = {"why": "the recording begins again", "lost": None}
                yield Event(self.id, "gap", low + shift - PAUSE, low + shift, why)
            for item in self._once():
                yield _moved(item, self.id, shift)

    def _once(self) -> Iterator[Chunk | Event]:
        with SessionFile(self.path, self.seen) as file:
            if self.simulated:
                at = max(self.first, self.begin)
                yield notice(self.recorded, at, NoticeCode.SIMULATED_SOURCE, SIMULATED_TEXT)
            # Decoders have state, so decoding always starts with the recording.
            places = range(len(file.blocks)) if self.redecode else self._places(file)
            entries = _entries(file, self.recorded, places)
            items = (
                redecoded(entries, self.recorded)
                if self.redecode
                else (item for item in entries if not isinstance(item, Frame))
            )
            # A recorded replay holds this notice already.
            items = (i for i in items if not _is_simulated_notice(i))
            if not self.cuffs:
                items = (i for i in items if not (isinstance(i, Event) and i.kind in CUFF_KINDS))
            whole = self.begin <= self.first and self.end == ALWAYS
            yield from items if whole else self._within(items, self._state(file))
            if trouble := damage_of(file):
                yield notice(self.recorded, self.last, NoticeCode.RECORDING_INCOMPLETE, trouble)

    def _places(self, file: SessionFile) -> list[int] | range:
        """Return the blocks to read: events of earlier ones, then everything from `begin` on."""
        if self.begin <= self.first:
            return range(len(file.blocks))
        ppg = file.holding(file.numbers(str(Topic(self.recorded, "ppg"))))
        start = next((place for place in ppg if file.blocks[place].end >= self.begin), ppg[-1])
        events = file.holding(file.numbers(str(Topic(self.recorded, EVENTS))))
        return [*(place for place in events if place < start), *range(start, len(file.blocks))]

    def _state(self, file: SessionFile) -> StateAt:
        if self.cuffs and self.begin > self.first:
            return StateAt(self.begin, calibration_at(file, self.recorded, self.begin))
        return StateAt(self.begin, None)

    def _within(self, items: Iterator[Chunk | Event], state: StateAt) -> Iterator[Chunk | Event]:
        """Yield the items between `begin` and `end`, after the state at `begin`."""
        for item in items:
            if isinstance(item, Event):
                if state.takes(item) or item.start >= self.end:
                    continue
            else:
                past = len(item) and int(item.times.min()) >= self.end
                if past and item.signal == "ppg":
                    return
                inside = (item.times >= self.begin) & (item.times < self.end)
                if not inside.any():
                    continue
                item = replace(item, times=item.times[inside], data=item.data[inside])
            yield from state.due()
            yield item


def _is_simulated_notice(item: Chunk | Event) -> bool:
    return isinstance(item, Event) and code_of(item) is NoticeCode.SIMULATED_SOURCE


def _moved(item: Chunk | Event, device: str, shift: int) -> Chunk | Event:
    if not shift and item.device == device:
        return item
    if isinstance(item, Event):
        return replace(item, device=device, start=item.start + shift, end=item.end + shift)
    return replace(item, device=device, times=item.times + shift)


def _entries(
    file: SessionFile, device: str, places: list[int] | range
) -> Iterator[Chunk | Event | Frame]:
    """Yield the recorded items and frames of a device, in the order of its stream."""
    for message in file.messages(places):
        entry = entry_of(file, message, device)
        if entry is not None:
            yield entry


def open_session(path: Path, options: dict[str, str], *, pace: Pace = REAL_TIME) -> ReplayedSession:
    """Open a session file and return one of its devices.

    Args:
        path: The file, truncated or complete.
        options: See `OPTIONS`.
        pace: Its speed.

    Raises:
        NotFound: No such file, or no such device in it.
        Refused: It cannot be played with these options; the message says why.
    """
    given = Options("replay", options, OPTIONS)
    begin, end = given.number("from", 0.0) or 0.0, given.number("to", 0.0)
    if end is not None and end <= begin:
        raise Refused(f"replay: to={end:g} must be greater than from={begin:g}")
    rounds = _rounds(given)
    with SessionFile(path) as file:
        device = _chosen(file, given.text("device"))
        try:
            first, last = extent(file, device)
            noted, steered = about(file, device), running(file).get("configuration", {})
        except BadPacket as bad:
            raise Refused(f"{path}: {bad}; see `innpar-stream session verify {path}`") from None
    duration = (last - first) / NS
    if begin and begin >= duration:
        raise Refused(
            f"{path}: from={begin:g} is past its end; choose less than its {duration:.0f} s"
        )
    polarity = noted.get("polarity", 0)
    return ReplayedSession(
        path=path,
        recorded=device,
        id=given.identity(device),
        polarity=cast(Literal[-1, 0, 1], polarity if polarity in (-1, 0, 1) else 0),
        site=str(noted.get("site", "unknown")),
        origin=origin_of(noted),
        require_calibration=noted.get("require_calibration", steered.get("require_calibration"))
        is True,
        latency="low" if noted.get("latency") == "low" else "normal",
        early=noted.get("early") is True,
        first=first,
        last=last,
        begin=first + round(begin * NS) if begin else 0,
        end=ALWAYS if end is None or math.isinf(end) else first + round(end * NS),
        rounds=rounds,
        redecode=given.flag("redecode", False),
        cuffs=given.flag("cuffs", True),
        pace=pace,
        seen=file,
    )


def _rounds(given: Options) -> int | None:
    written = (given.text("loop") or "off").lower()
    if written in LOOPS:
        return LOOPS[written]
    if re.fullmatch(r"0*[1-9][0-9]*", written) is None:
        raise Refused(f"replay: loop must be on, off or a number of times, not {written!r}")
    return int(written)


def _chosen(file: SessionFile, wanted: str | None) -> str:
    recorded = devices_in(file)
    listed = ", ".join(recorded)
    if not recorded:
        raise Refused(f"{file.path}: it contains no PPG; choose another session")
    if wanted is not None and slug(wanted) not in recorded:
        raise NotFound(f"{file.path}: it has no device {wanted!r}; choose one of: {listed}")
    if wanted is None and len(recorded) > 1:
        raise Refused(
            f"{file.path}: several devices were recorded; choose one: replay --only {recorded[0]}, "
            f"or --device 'replay:{file.path}?device={recorded[0]}'; there are: {listed}"
        )
    return recorded[0] if wanted is None else slug(wanted)
