"""LSL streams as a device, on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event, NotFound, Refused
from innpar.devices.lsl import columns
from innpar.devices.lsl.columns import choose
from innpar.devices.lsl.decoder import LslBlock, LslDecoder
from innpar.devices.lsl.device import Lsl
from innpar.devices.lsl.inbox import LslInbox
from innpar.devices.lsl.library import LslInfo
from innpar.devices.registry import create
from innpar.devices.timing.pace import SystemClock
from support.loopback import Sender, lsl, numbers

Item = Chunk | Event
After = Callable[[list[Item]], Awaitable[bool]]


def count(items: Sequence[Item]) -> int:
    return sum(len(item) for item in items if isinstance(item, Chunk))


async def collect(device: Lsl, enough: Callable[[list[Item]], bool]) -> list[Item]:
    items: list[Item] = []
    async with asyncio.timeout(30), device.open(clock=SystemClock()) as stream:
        async for item in stream:
            items.append(item)
            if enough(items):
                break
    assert not [thread for thread in threading.enumerate() if thread.name == "lsl"]
    return items


def times(items: list[Item]) -> np.ndarray:
    return np.concatenate([item.times for item in items if isinstance(item, Chunk)])


def received(items: list[Item]) -> list[int]:
    return [n for item in items if isinstance(item, Chunk) for n in numbers(item.data)]


def events(items: list[Item], kind: str) -> list[Event]:
    return [item for item in items if isinstance(item, Event) and item.kind == kind]


async def test_a_stream_is_found_by_its_type_and_timed_at_the_host() -> None:
    began = lsl.local_clock() - 5.0
    with Sender("wrist", source_id="w1", stamp=lambda n: began + n / 100):
        clock = SystemClock()
        shift = clock.now() - lsl.local_clock() * NS
        items = await collect(Lsl(), lambda items: count(items) > 150)
    assert isinstance(items[0], Event)
    assert items[0].kind == "connected"
    assert items[0].device == "lsl-wrist"
    assert items[0].detail["rate"] == 100
    assert not events(items, "gap")
    got = received(items)
    assert got == list(range(got[0], got[0] + len(got)))
    expected = (began + np.array(got) / 100) * NS + shift
    assert np.abs(times(items) - expected).max() < 5e6
    assert {c.channels for c in items if isinstance(c, Chunk)} == {("PPG1",)}


@pytest.mark.parametrize(
    "select", ["name=one", "one", "source_id=s-1", "type=PPGRed", "name='one'"]
)
async def test_selecting(select: str) -> None:
    with (
        Sender("one", kind="PPGRed", source_id="s-1"),
        Sender("two", kind="PPG", source_id="s-2"),
    ):
        items = await collect(Lsl(select), lambda items: count(items) > 60)
    assert events(items, "connected")[0].detail["source_id"] == "s-1"


async def test_several_that_match_are_listed() -> None:
    with (
        Sender("one", source_id="s-1"),
        Sender("two"),
        pytest.raises(Refused, match="2 LSL streams match") as caught,
    ):
        await collect(Lsl(), lambda _: True)
    assert "name=one" in str(caught.value)
    assert "name=two" in str(caught.value)


async def test_no_stream() -> None:
    with pytest.raises(NotFound, match="no LSL stream with name='nobody' for 1 s: start"):
        await collect(Lsl("nobody", wait=1), lambda _: True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lsl:nme=x", "name=…, type=…"),
        ("lsl:name=", "select by"),
        ("lsl?chanel=1", "did you mean channel"),
        ("lsl?polarity=left", "polarity must be one of"),
    ],
)
def test_invalid_options(spec: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        create(spec)


async def test_an_invalid_predicate() -> None:
    with pytest.raises(Refused, match=r"not a valid XPath 1\.0 predicate"):
        await collect(Lsl("type=='PPG'["), lambda _: True)


@pytest.mark.slow
async def test_two_channels_and_one_of_them() -> None:
    with Sender("duo", labels=("green", "temperature", "PPG_IR")):
        both = await collect(Lsl("duo"), lambda items: count(items) > 60)
        one = await collect(Lsl("duo", channel="ppg_ir"), lambda items: count(items) > 60)
        with pytest.raises(Refused, match="no column 'blue'"):
            await collect(Lsl("duo", channel="blue"), lambda _: True)
    chunk = next(item for item in both if isinstance(item, Chunk))
    assert chunk.channels == ("green", "PPG_IR")
    assert (chunk.data[:, 1] - chunk.data[:, 0] == 2e6).all()
    chunk = next(item for item in one if isinstance(item, Chunk))
    assert chunk.channels == ("PPG_IR",)
    assert (chunk.data >= 2e6).all()


@pytest.mark.parametrize("source_id", ["w-7", ""])
async def test_an_outlet_that_is_restarted(source_id: str) -> None:
    first = Sender("again", source_id=source_id)
    second: list[Sender] = []

    def enough(items: list[Item]) -> bool:
        if count(items) > 80 and not second:
            first.close()
            second.append(Sender("again", source_id=source_id, first=10_000))
        return any(n >= 10_050 for n in received(items))

    try:
        items = await collect(Lsl("again"), enough)
    finally:
        for sender in (first, *second):
            sender.__exit__()
    kinds = [item.kind for item in items if isinstance(item, Event)]
    assert kinds.count("disconnected") == 1
    assert kinds.count("connected") == 2
    gap = next(gap for gap in events(items, "gap") if "closed" in gap.detail["why"])
    assert gap.detail["lost"] is None
    at = next(k for k, item in enumerate(items) if item is gap)
    before, after = received(items[:at]), received(items[at:])
    assert max(before) < 10_000 <= min(after)
    assert gap.start == times(items[:at])[-1]
    assert gap.end == times(items[at:])[0] > gap.start
    assert (np.diff(times(items)) > 0).all()


async def restarted(device: Lsl, first: dict[str, Any], second: dict[str, Any]) -> list[Item]:
    """Collect from an outlet that is closed and comes back with other properties."""
    senders = [Sender(**first)]

    def enough(items: list[Item]) -> bool:
        if count(items) > 80 and len(senders) == 1:
            senders[0].close()
            senders.append(Sender(**second))
        return len(events(items, "connected")) > 1 and count(parts(items)[1]) > 60

    try:
        return await collect(device, enough)
    finally:
        for sender in senders:
            sender.__exit__()


def parts(items: list[Item]) -> tuple[list[Chunk], list[Chunk]]:
    """Return the chunks before and after the second connection."""
    again = items.index(events(items, "connected")[1])
    return (
        [c for c in items[:again] if isinstance(c, Chunk)],
        [c for c in items[again:] if isinstance(c, Chunk)],
    )


async def test_columns_follow_their_labels_after_a_restart() -> None:
    one: dict[str, Any] = {"name": "order", "source_id": "o", "labels": ("IR", "RED", "AMB")}
    two = {**one, "labels": ("AMB", "IR", "RED"), "first": 10_000}
    before, after = parts(items := await restarted(Lsl("order"), one, two))
    assert {c.channels for c in (*before, *after)} == {("IR", "RED")}
    assert all((c.data[:, 1] - c.data[:, 0] == 1e6).all() for c in (*before, *after))
    assert all((c.data[:, 0] >= 1e6).all() for c in after)  # the second column now
    codes = [e.detail["code"] for e in events(items, "notice")]
    assert codes == ["stream_changed"]
    assert "AMB, IR, RED instead of IR, RED, AMB" in events(items, "notice")[0].detail["text"]


async def test_other_channels_and_another_rate_after_a_restart() -> None:
    one: dict[str, Any] = {
        "name": "more",
        "source_id": "m",
        "labels": ("PPG1", "PPG2"),
        "rate": 64.0,
    }
    two = {**one, "labels": ("green", "temp", "flag"), "rate": 128.0, "first": 10_000}
    before, after = parts(items := await restarted(Lsl("more"), one, two))
    assert {(c.channels, c.rate) for c in before} == {(("PPG1", "PPG2"), 64.0)}
    assert {(c.channels, c.rate) for c in after} == {(("green",), 128.0)}
    steps = np.diff(np.concatenate([c.times for c in after]))
    assert np.abs(steps - NS / 128).max() < 1e6
    (text,) = [e.detail["text"] for e in events(items, "notice")]
    assert "green, temp, flag instead of PPG1, PPG2" in text
    assert "128 Hz instead of 64 Hz" in text
    gaps = events(items, "gap")
    assert len(gaps) == 1
    assert gaps[0].end == after[0].times[0]


async def test_another_source_id_at_every_start() -> None:
    one: dict[str, Any] = {"name": "uuid", "kind": "BVP", "source_id": "4711"}
    two = {**one, "source_id": "0815", "first": 10_000}
    before, after = parts(items := await restarted(Lsl("type=BVP"), one, two))
    assert before
    assert after
    assert "source_id 0815 instead of 4711" in events(items, "notice")[0].detail["text"]


@pytest.mark.slow
async def test_another_sender_with_the_same_source_id_never_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("innpar.devices.lsl.reader.ELSEWHERE", 0.3)
    senders = [Sender("anna", source_id="same")]

    def reported(items: list[Item]) -> bool:
        if count(items) > 50 and len(senders) == 1:
            senders.append(Sender("bert", source_id="same", first=50_000))
        if count(items) > 250:
            senders[0].__exit__()
        return bool(events(items, "notice"))

    try:
        items = await collect(Lsl("source_id=same"), reported)
    finally:
        for sender in senders:
            sender.__exit__()
    assert max(received(items)) < 50_000
    (notice,) = events(items, "notice")
    assert "waiting for name=anna" in notice.detail["text"]
    assert "name=bert" in notice.detail["text"]
    assert "lsl:name=…" in notice.detail["text"]


@pytest.mark.parametrize(
    ("labels", "kind", "used"),
    [
        (("AMB", "IR", "RED"), "PPG", ("IR", "RED")),
        (("ax", "ay", "az", "ir"), "", ("ir",)),
        (("counter", "ch1", "HR"), "PPG", ("ch1",)),
        (("pulse", "spo2", "t"), "", ("pulse",)),
        (("ch1", "temperature"), "", ("ch1",)),
        ((), "PPG", ("ppg0", "ppg1")),
        (("ax", "ay", "az"), "PPG", None),
        ((), "ACC", None),
        (("abp", "HR"), "", None),
    ],
)
def test_which_columns_are_light(
    labels: tuple[str, ...], kind: str, used: tuple[str, ...] | None
) -> None:
    count = len(labels) or 2
    found = LslInfo("x", kind, "", "u", "h", 100.0, 0.0, count, labels=labels)
    if used is None:
        with pytest.raises(Refused, match="no column that may be light"):
            choose(found, None)
        return
    names = columns.labels(found)
    assert tuple(names[k] for k in choose(found, None)) == used
    assert choose(found, names[0]) == [0]


@pytest.mark.slow
async def test_an_outlet_that_falls_silent_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("innpar.devices.lsl.reader.STALL", 0.5)
    mute: list[int] = []

    def enough(items: list[Item]) -> bool:
        got = received(items)
        if len(got) > 80 and not mute:
            mute.append(got[-1] + 50)
        return bool(mute) and got[-1] > mute[0] + 350

    with Sender("mute", source_id="m", skip=lambda n: bool(mute) and mute[0] <= n < mute[0] + 300):
        items = await collect(Lsl("mute"), enough)
    assert "nothing came" in events(items, "disconnected")[0].detail["why"]
    longest = max(gap.end - gap.start for gap in events(items, "gap"))
    assert longest > 2.7 * NS
    assert (np.diff(times(items)) > 0).all()


@pytest.mark.slow
async def test_lost_samples_are_counted() -> None:
    at: list[int] = []  # set once samples have come, well after the loop has settled

    def enough(items: list[Item]) -> bool:
        got = received(items)
        if got and not at:
            at.append(got[-1] + 350)
        return bool(at) and got[-1] > at[0] + 80

    with Sender("holes", skip=lambda n: bool(at) and n - at[0] in (0, 40, 41)):
        items = await collect(Lsl("holes"), enough)
    assert [gap.detail["lost"] for gap in events(items, "gap")] == [1, 2]


async def test_a_rate_that_drifts_and_differs_from_the_stated() -> None:
    def enough(items: list[Item]) -> bool:
        return count(items) > 250 and bool(events(items, "notice"))

    with Sender("slow", rate=91.0, nominal=100.0):
        items = await collect(Lsl("slow"), enough)
    assert not events(items, "gap")
    (notice,) = events(items, "notice")
    assert "states 100 Hz, measured 91 Hz" in notice.detail["text"]
    assert (np.abs(np.diff(times(items)) - NS / 91.0) < 1e6).all()


@pytest.mark.slow
async def test_an_irregular_rate_is_measured() -> None:
    began = lsl.local_clock()
    walk = np.cumsum(np.random.default_rng(3).uniform(0.5, 1.5, 10_000))

    def stamp(n: int) -> float:
        return began - 1 + float(walk[n]) / 50  # none lies ahead of when it is sent

    with Sender("loose", rate=50.0, nominal=0.0, stamp=stamp):
        items = await collect(Lsl("loose"), lambda items: count(items) > 150)
    got = received(items)
    steps = np.diff([stamp(n) for n in got]) * NS
    assert np.abs(np.diff(times(items)) - steps).max() < 1e5
    rate = next(item.rate for item in items if isinstance(item, Chunk))
    assert 35 < rate < 55
    assert not events(items, "gap")


async def test_stamps_of_another_clock_are_replaced_by_arrivals() -> None:
    with Sender("unix", stamp=lambda n: 1.7e9 + n / 100):
        items = await collect(Lsl("unix"), lambda items: count(items) > 120)
        now = SystemClock().now()
    assert "does not use LSL's clock" in events(items, "notice")[0].detail["text"]
    # Near the arrival, not in 2023; how near depends on how evenly the samples arrived.
    assert abs(now - int(times(items)[-1])) < 1 * NS


async def test_text_is_refused() -> None:
    info = lsl.StreamInfo("words", "PPG", 1, 0, "string", "")
    outlet = lsl.StreamOutlet(info)
    with pytest.raises(Refused, match="contains text"):
        await collect(Lsl("words"), lambda _: True)
    del outlet


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3, 0.6, 1.5])
async def test_closing_at_any_moment_leaves_nothing(delay: float) -> None:
    with Sender("brief"):
        task = asyncio.create_task(collect(Lsl("brief"), lambda _: False))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not [thread for thread in threading.enumerate() if thread.name == "lsl"]
    assert len(asyncio.all_tasks()) == 1


async def test_samples_not_read_in_time_are_dropped_and_reported() -> None:
    inbox, stream = LslInbox(most=50), LslDecoder("slow", ("x",), (0,), 100.0)
    for n in range(400):
        stamps, data = np.array([10 + n / 100]), np.array([[float(n)]])
        inbox.put(LslBlock(stamps, data, 0, 10 * NS + n * 10**7))
    out: list[Item] = []
    for _ in range(50):
        block = await inbox.next()
        assert isinstance(block, LslBlock)
        out += stream.push(block)
    assert inbox.dropped == 350
    assert not events(out, "gap")  # nothing came before that it could lie after
    for n in range(400, 500):
        stamps, data = np.array([10 + n / 100]), np.array([[float(n)]])
        inbox.put(LslBlock(stamps, data, 0, 10 * NS + n * 10**7))
    for _ in range(50):
        block = await inbox.next()
        assert isinstance(block, LslBlock)
        out += stream.push(block)
    assert received(out) == [*range(350, 400), *range(450, 500)]
    (gap,) = events(out, "gap")
    assert gap.detail == {"why": "too slow to take what came", "lost": 50, "signal": "ppg"}
    assert stream.samples + stream.lost == 150
    assert gap.end - gap.start == 51 * 10**7
