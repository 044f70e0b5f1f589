"""LSL streams of which the type says light, and the samples what they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from innpar.devices import NS, Chunk, Event, Refused
from innpar.devices.lsl.chooser import PATIENCE, LslChooser
from innpar.devices.lsl.decoder import LslBlock
from innpar.devices.lsl.device import Lsl
from innpar.devices.lsl.library import LslInfo
from innpar.devices.timing.pace import SystemClock
from support.loopback import Sender
from support.shapes import NO_LIGHT, RATE, pulse

Item = Chunk | Event
LIGHT = 50_000 - 1500 * pulse()


def heart_rate(n: int) -> float:
    return 70.0 + n // 100 * 7 % 11


def light(n: int) -> float:
    return float(LIGHT[n % len(LIGHT)])


def axis(rest: float) -> Callable[[int], float]:
    return lambda n: 9.81 * (rest + 0.05 * float(np.sin(2 * np.pi * 1.8 * n / 100)))


OTHERS: dict[str, Callable[[int], float]] = {
    "counter": lambda n: n % 256,
    "sawtooth": lambda n: 0.37 * (n % 83),
    "staircase": lambda n: n // 25 * 40.0,
    "constant": lambda _: 512.0,
    "hr": heart_rate,
    "spo2": lambda n: 97.0 + n // 100 % 2,
}
AXES = (axis(0.6), axis(0.0), axis(-0.8))


def info(count: int, *labels: str, kinds: tuple[str, ...] = (), uid: str = "u") -> LslInfo:
    return LslInfo("x", "PPG", "", uid, "h", RATE, 0.0, count, labels=labels, kinds=kinds)


def blocks(*columns: Sequence[float], rate: float = RATE, start: int = 0) -> list[LslBlock]:
    data = np.array(columns, np.float64).T
    stamps = start / NS + np.arange(len(data)) / rate
    return [
        LslBlock(stamps[k : k + 10], data[k : k + 10], 0, round(float(stamps[k : k + 10][-1]) * NS))
        for k in range(0, len(data), 10)
    ]


def chosen(found: LslInfo, *columns: Sequence[float], channel: str | None = None) -> LslChooser:
    chooser = LslChooser(channel)
    chooser.begin(found)
    for block in blocks(*columns):
        chooser.push(block)
        if chooser.columns:
            break
    return chooser


@pytest.mark.parametrize("name", NO_LIGHT)
def test_a_stream_typed_as_light_must_look_like_light(name: str) -> None:
    chooser = LslChooser(None)
    chooser.begin(info(1))
    texts = []
    for block in blocks(NO_LIGHT[name]):
        assert chooser.push(block) == []
        texts += [chooser.text] if chooser.text else []
    assert len(texts) == 1
    assert "?channel=…" in texts[0]
    assert chosen(info(2), NO_LIGHT[name], LIGHT).names == ("ppg1",)
    assert chosen(info(1), NO_LIGHT[name], channel="0").names == ("ppg0",)
    assert chosen(info(1, kinds=("PPG",)), NO_LIGHT[name]).names == ("ppg0",)


def test_a_sensor_put_on_later_is_used_from_then_on() -> None:
    chooser = LslChooser(None)
    chooser.begin(info(1))
    column = np.concatenate([np.full(500, 7.0), LIGHT])
    ready = [b for block in blocks(column) for b in chooser.push(block)]
    first = ready[0].arrival / NS
    assert 4.0 <= first <= 7.5
    assert np.concatenate([b.stamps for b in ready])[-1] == (len(column) - 1) / RATE


def test_blocks_held_back_are_returned_as_they_came() -> None:
    chooser = LslChooser(None)
    chooser.begin(info(1))
    sent = blocks(LIGHT)
    given = [chooser.push(block) for block in sent]
    at = next(k for k, ready in enumerate(given) if ready)
    assert given[at] == sent[: at + 1]
    assert sent[at].arrival - sent[0].arrival >= 2 * NS
    assert [ready for later in given[at + 1 :] for ready in later] == sent[at + 1 :]


def test_a_loss_while_columns_are_judged_drops_and_counts() -> None:
    chooser = LslChooser(None)
    chooser.begin(info(1))
    for block in blocks(LIGHT)[:7]:
        assert chooser.push(block) == []
    assert chooser.drop() == 70
    assert chooser.drop() == 0
    assert chooser.push(blocks(LIGHT, start=60 * NS)[0]) == []


def test_a_stream_far_too_slow_for_a_pulse_is_reported() -> None:
    chooser = LslChooser(None)
    chooser.begin(info(1))
    texts = []
    for n in range(60):
        at = n * NS
        block = LslBlock(np.array([float(n)]), np.array([[70.0 + n % 5]]), 0, at)
        assert chooser.push(block) == []
        texts += [(at, chooser.text)] if chooser.text else []
    ((at, text),) = texts
    assert at == PATIENCE
    assert "only 11 samples in 10 s" in text


def test_a_new_outlet_is_judged_anew() -> None:
    counter = OTHERS["counter"]
    count = [counter(n) for n in range(len(LIGHT))]
    chooser = chosen(info(2), count, LIGHT)
    assert chooser.names == ("ppg1",)
    chooser.begin(info(2, uid="v"))
    assert chooser.names == ()
    for block in blocks(LIGHT, count):
        chooser.push(block)
    assert chooser.names == ("ppg0",)
    chooser.begin(info(2, "temperature", "PPG_IR", uid="w"))
    assert chooser.names == ("PPG_IR",)  # its name says it
    with pytest.raises(Refused, match="no column that may be light"):
        chooser.begin(info(2, "temperature", "HR"))


async def collect(device: Lsl, done: Callable[[list[Item]], bool]) -> list[Item]:
    items: list[Item] = []
    async with asyncio.timeout(30), device.open(clock=SystemClock()) as stream:
        async for item in stream:
            items.append(item)
            if done(items):
                break
    return items


def chunks(items: Sequence[Item], signal: str) -> list[Chunk]:
    return [item for item in items if isinstance(item, Chunk) and item.signal == signal]


def notices(items: Sequence[Item]) -> list[tuple[str, str]]:
    found = [item for item in items if isinstance(item, Event) and item.kind == "notice"]
    return [(event.detail["code"], event.detail["text"]) for event in found]


async def test_on_loopback_light_is_found_among_other_columns() -> None:
    columns = [*OTHERS.values(), light, *AXES]
    with Sender("mixed", labels=("",) * len(columns), row=lambda n: [c(n) for c in columns]):
        items = await collect(
            Lsl("mixed"), lambda items: sum(map(len, chunks(items, "ppg"))) >= 250
        )
    assert {c.channels for c in chunks(items, "ppg")} == {("ppg6",)}
    values = np.concatenate([c.data[:, 0] for c in chunks(items, "ppg")])
    assert set(values.tolist()) <= set(LIGHT.tolist())
    moved = chunks(items, "acc")
    assert {c.channels for c in moved} == {("x", "y", "z")}
    lengths = np.linalg.norm(np.concatenate([c.data for c in moved]), axis=1)
    assert np.abs(lengths - 1).max() < 0.2
    ((code, text),) = notices(items)
    assert code == "columns_left_out"
    assert all(f"ppg{k} (" in text for k in range(6))
    times = np.concatenate([c.times for c in chunks(items, "ppg")])
    assert (np.diff(times) > 0).all()
    assert abs(np.median(np.diff(times)) - NS / 100) < 1e6
    assert times[-1] <= SystemClock().now()


async def test_on_loopback_nothing_else_is_taken_for_light() -> None:
    def unreadable(items: list[Item]) -> bool:
        assert not chunks(items, "ppg")
        return bool(notices(items))

    def sender(name: str, *columns: Callable[[int], float]) -> Sender:
        return Sender(name, labels=("",) * len(columns), row=lambda n: [c(n) for c in columns])

    senders = [sender(name, column) for name, column in OTHERS.items()]
    senders.append(sender("gravity", *AXES))
    try:
        names = [*OTHERS, "gravity"]
        got = await asyncio.gather(*(collect(Lsl(name), unreadable) for name in names))
    finally:
        for one in senders:
            one.close()
    for items in got:
        ((code, text),) = notices(items)
        assert code == "unreadable"
        assert "no light so far" in text


@pytest.mark.parametrize("label", ["ppg", "", "ch1"])
async def test_on_loopback_light_alone_with_and_without_a_label(label: str) -> None:
    with Sender("alone", labels=(label,), row=lambda n: [light(n)]):
        items = await collect(
            Lsl("alone"), lambda items: sum(map(len, chunks(items, "ppg"))) >= 230
        )
    assert {c.channels for c in chunks(items, "ppg")} == {(label or "ppg0",)}
    assert notices(items) == []


async def test_on_loopback_a_pressure_named_so_is_refused_at_once() -> None:
    with (
        Sender("cath", labels=("abp",), row=lambda n: [80 + light(n) / 1000]),
        pytest.raises(Refused, match="no column that may be light"),
    ):
        await collect(Lsl("cath"), lambda _: True)


async def test_on_loopback_the_option_overrides() -> None:
    with Sender("hand", labels=("",), row=lambda n: [n % 256]):
        items = await collect(Lsl("hand", channel="0"), lambda items: bool(chunks(items, "ppg")))
    assert notices(items) == []


@pytest.mark.slow
async def test_on_loopback_an_outlet_that_comes_back_is_judged_anew() -> None:
    counter = OTHERS["counter"]
    senders = [Sender("twice", labels=("", ""), row=lambda n: [counter(n), light(n)])]

    def done(items: list[Item]) -> bool:
        ppg = chunks(items, "ppg")
        if len(senders) == 1 and sum(map(len, ppg)) > 220:
            senders[0].close()
            senders.append(Sender("twice", labels=("", ""), row=lambda n: [light(n), counter(n)]))
        return ppg[-1:] != [] and ppg[-1].channels == ("ppg0",)

    try:
        items = await collect(Lsl("twice"), done)
    finally:
        senders[-1].close()
    values = np.concatenate([c.data[:, 0] for c in chunks(items, "ppg")])
    assert set(values.tolist()) <= set(LIGHT.tolist())
    assert [item.kind for item in items if isinstance(item, Event)].count("gap") == 1
