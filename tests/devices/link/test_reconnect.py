"""The life of a connection, whatever the sensor."""

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
class NotingDecoder:
    """A decoder that notes its frames and the reasons of its gaps."""

    bad: int = 0
    noted: list[str] = field(default_factory=list)

    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]:
        self.noted.append(raw.decode())
        return [Event("x", "marker", arrival, arrival, {"text": raw.decode()})]

    def interrupted(self, why: str, *, relinked: bool = False) -> None:
        self.noted.append(why)

    def flush(self) -> list[Chunk | Event]:
        return []


class Short(ReconnectingDevice):
    """A device whose links bring `posts` notifications; some keep-alives raise `errors`."""

    def __init__(self, clock: VirtualClock, posts: list[int], errors: list[DeviceError]) -> None:
        super().__init__(Named(), clock, None, every=1.0)
        self.clock, self.posts, self.errors = clock, posts, errors
        self.stream = NotingDecoder()

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


async def collect(life: ReconnectingDevice, count: int) -> list[Event]:
    found: list[Event] = []
    async with life.opened() as items:
        async for item in items:
            assert isinstance(item, Event)
            found.append(item)
            if len(found) == count:
                break
    return found


async def test_any_error_on_a_link_makes_a_new_link() -> None:
    errors = [NotFound("no service"), Refused("not now"), BadPacket("half an answer", b"")]
    life = Short(VirtualClock(NS), [0, 0, 0, 1], [*errors])
    events = await collect(life, 8)
    assert [e.kind for e in events] == [*("connected", "disconnected") * 3, "connected", "marker"]
    assert [e.detail["why"] for e in events if e.kind == "disconnected"] == [
        str(error) for error in errors
    ]


async def test_dropped_notifications_are_missing_before_the_others() -> None:
    life = Short(VirtualClock(NS), [QUEUE + 2], [])
    events = await collect(life, 3)
    assert life.stream.noted[:2] == ["too slow", "2"]
    assert [e.kind for e in events] == ["connected", "notice", "marker"]
    assert events[1].detail["code"] == "notifications_dropped"
