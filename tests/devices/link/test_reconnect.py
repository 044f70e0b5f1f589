"""The life of a link, whatever kind of sensor it leads to."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from innpar.devices.base import NS, BadPacket, Chunk, DeviceError, Event, NotFound, Refused
from innpar.devices.link.decoder import Decoder
from innpar.devices.link.inbox import QUEUE, Arrival, Inbox
from innpar.devices.link.reconnect import ReconnectingDevice
from innpar.devices.timing.pace import VirtualClock


@dataclass
class Said:
    """A decoder that notes what it is told."""

    bad: int = 0
    told: list[str] = field(default_factory=list)

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        self.told.append(raw.decode())
        return [Event("x", "marker", arrival, arrival, {"text": raw.decode()})]

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        self.told.append(why)

    def flush(self) -> list[Chunk | Event]:
        return []


class Short(ReconnectingDevice):
    """Its links hold what is posted to them on the way in; some of their ticks go wrong."""

    def __init__(self, clock: VirtualClock, posts: list[int], errors: list[DeviceError]) -> None:
        super().__init__(Named(), clock, None, every=1.0)
        self.clock, self.posts, self.errors = clock, posts, errors
        self.stream = Said()

    async def _connect_link(self, stack: AsyncExitStack) -> Inbox:
        inbox = Inbox(self.clock, "gone")
        for number in range(self.posts.pop(0)):
            inbox.post(Arrival("c", self.clock.now(), str(number).encode()))
        return inbox

    @property
    def _decoder(self) -> Decoder:
        return self.stream

    def _describe(self) -> dict[str, Any]:
        return {}

    async def _restart(self) -> None:
        return None

    async def _keep_alive(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


class Named:
    id = "x"


async def heard(life: ReconnectingDevice, count: int) -> list[Event]:
    found: list[Event] = []
    async with life.opened() as items:
        async for item in items:
            assert isinstance(item, Event)
            found.append(item)
            if len(found) == count:
                break
    return found


async def test_whatever_goes_wrong_on_a_link_that_stood_it_is_made_anew() -> None:
    errors = [NotFound("no service"), Refused("not now"), BadPacket("half an answer", b"")]
    life = Short(VirtualClock(NS), [0, 0, 0, 1], [*errors])
    told = await heard(life, 8)
    assert [e.kind for e in told] == [*("connected", "disconnected") * 3, "connected", "marker"]
    assert [e.detail["why"] for e in told if e.kind == "disconnected"] == [
        str(error) for error in errors
    ]


async def test_what_was_dropped_is_missing_before_what_was_not() -> None:
    life = Short(VirtualClock(NS), [QUEUE + 2], [])
    told = await heard(life, 3)
    assert life.stream.told[:2] == ["too slow", "2"]
    assert [e.kind for e in told] == ["connected", "notice", "marker"]
    assert told[1].detail["code"] == "notifications_dropped"
