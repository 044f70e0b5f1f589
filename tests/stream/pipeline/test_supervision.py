"""Error boundaries: the error of one wearer, one item or one task does not reach the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from innpar.devices import NS, Chunk, Event, NoticeCode, code_of, notice
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace, SystemClock, VirtualClock
from innpar.stream.errors import BrokerError, SessionError
from innpar.stream.messages.commands import Command, Mark
from innpar.stream.pipeline import supervision
from innpar.stream.pipeline.engine import Engine
from innpar.stream.pipeline.run import run
from innpar.stream.pipeline.steering import run_commands
from innpar.stream.pipeline.supervision import reason, supervised
from innpar.stream.pipeline.wearer import Wearer, enrol
from innpar.stream.results import Item, State
from innpar.stream.sinks.base import FanOut
from support.harness import Keep, estimates, same, shipped, stream_all

START = 1_700_000_000 * NS


def demo(identity: str = "demo", duration: float = 40.0) -> Simulated:
    return Simulated(identity, duration=duration, start=START, pace=Pace(float("inf"), 1.0))


class Faulty:
    """A device that ends by an unforeseen error, in its driver or in the pipeline.

    Args:
        inside: Whether it is its item that the pipeline fails on.
    """

    id, source, polarity, site = "faulty", "replay", -1, "wrist"

    def __init__(self, inside: bool) -> None:
        self._inside = inside

    @asynccontextmanager
    async def open(self, **_: object) -> AsyncIterator[AsyncIterator[Chunk | Event]]:
        async def items() -> AsyncIterator[Chunk | Event]:
            for item in demo("faulty", 20.0).items(START):
                yield item
            if self._inside:
                yield Event("faulty", "cuff", START, START, {"sbp": 1, "dbp": 2})
            raise RuntimeError("a fault\n of the \ud800 driver")

        yield items()


def codes(items: list[Item], device: str) -> list[NoticeCode | None]:
    return [code_of(i) for i in items if isinstance(i, Event) and i.device == device]


def code_of_item(item: Item) -> NoticeCode | None:
    return code_of(item) if isinstance(item, Event) else None


@pytest.mark.parametrize("inside", [False, True])
def test_an_unforeseen_error_of_one_wearer_is_reported_and_the_others_stream_on(
    inside: bool,
) -> None:
    keep, engine, clock = Keep(), Engine(shipped()), VirtualClock()
    wearers = [enrol(device, engine, clock) for device in (Faulty(inside), demo())]  # type: ignore[arg-type]
    with pytest.raises(ValueError if inside else RuntimeError):
        asyncio.run(run(wearers, engine, keep, clock))
    alone = estimates(stream_all([demo()])[0])
    assert len(alone) > 20
    assert same(estimates(keep.items, "demo"), alone)
    assert codes(keep.items, "faulty").count(NoticeCode.STREAM_FAILED) == 1
    assert State("faulty", "offline") in keep.items


def test_an_error_of_the_run_ends_all() -> None:
    class Refusing(Keep):
        async def send(self, item: Item) -> None:
            raise BrokerError("gone; start it again")

    with pytest.raises(BrokerError, match="gone"):
        stream_all([demo()], keep=Refusing())


async def test_an_item_that_one_sink_fails_on_reaches_the_others() -> None:
    class Picky(Keep):
        async def send(self, item: Item) -> None:
            if isinstance(item, Event) and item.kind == "marker":
                item.detail["text"].encode()
            await super().send(item)

    picky, other = Picky(), Keep()
    out = FanOut([picky, other], apart=True)
    bad = Event("demo", "marker", START, START, {"text": "\ud800"})
    for item in (bad, bad, State("demo", "online")):
        await out.send(item)
    assert picky.items == [State("demo", "online")]
    assert [item for item in other.items if code_of_item(item) is None] == [
        bad,
        bad,
        State("demo", "online"),
    ]
    assert codes(other.items, "demo").count(NoticeCode.OUTPUT_FAILED) == 1
    with pytest.raises(UnicodeEncodeError):
        await FanOut([picky, other]).send(bad)


async def test_a_failed_task_starts_again_and_an_error_of_the_run_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    keep, clock, starts = Keep(), SystemClock(), 0
    wearer = enrol(demo(), Engine(shipped()), clock)

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise KeyError("unforeseen")
        raise SessionError("the run is over; start it again")

    with pytest.raises(SessionError):
        await supervised("the task", work, [wearer], keep, clock)
    assert starts == 3
    assert codes(keep.items, "demo") == [NoticeCode.TASK_RESTARTED] * 2


async def test_a_command_that_fails_is_refused_and_the_next_is_executed() -> None:
    clock = VirtualClock(START)
    wearer = enrol(demo(), Engine(shipped()), clock)
    wearer.first = wearer.last = START
    answers: list[str | None] = []

    class Source:
        async def commands(self) -> AsyncIterator[Command]:
            yield Mark("demo", "x", 10**30)  # a time that nothing can show
            yield Mark("demo", "y")

        def answer(
            self, command: Command, error: str | None = None, *, confirm: bool = False
        ) -> None:
            answers.append(error)

    await run_commands(Source(), [wearer], clock, None)  # type: ignore[arg-type]
    assert answers[0] is not None
    assert answers[1] is None
    assert len(injected(wearer)) == 1


def injected(wearer: Wearer) -> list[Event]:
    return wearer.queue.take(wearer.device.id, START, START)


def test_a_reason_is_one_line_of_ascii() -> None:
    text = reason(RuntimeError("a fault\n of the \ud800 driver" + "x" * 1000))
    assert text.isascii()
    assert text.startswith(r"RuntimeError: a fault of the \ud800 driver")
    assert len(text) < 220
    notice("demo", START, NoticeCode.STREAM_FAILED, text)
