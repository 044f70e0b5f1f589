"""Messages of a broker on the page; hostile ones are left out."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.devices.registry import create
from innpar.stream.messages.payload import parcel
from innpar.stream.mqtt.connection import Received
from innpar.stream.results import Beat, EarlyBeat, Waveform
from innpar.stream.view.board import Board
from innpar.stream.view.subscriber import KINDS, show
from innpar.stream.windows.timing import LatencyMode
from support.harness import stream_all


def message(topic: str, payload: bytes) -> Received:
    return Received(topic, payload, retained=False, reply=None)


async def answer_of(board: Board) -> dict[str, object]:
    answer: dict[str, object] = json.loads(await board.answer("", 0, 0))
    return answer


async def test_a_run_and_its_messages_look_the_same() -> None:
    early = LatencyMode(early=True)
    items, _, _ = await asyncio.to_thread(stream_all, [create("demo")], duration=14, mode=early)
    direct, remote = Board(), Board()
    for item in items:
        await direct.send(item)
        sent = parcel(item)
        topic = next(topic for topic in sent.topics if "/devices/" in topic)
        show(message(topic, sent.payload), "bp", remote)
    assert sum(isinstance(item, Beat) for item in items) > 3
    assert any(isinstance(item, EarlyBeat) for item in items)
    assert sum(isinstance(item, Waveform) for item in items) > 6
    one, other = await answer_of(direct), await answer_of(remote)
    assert _timeless(one["wearers"]) == _timeless(other["wearers"])


def _timeless(wearers: object) -> object:
    """Return wearers without the time of arrival."""
    text = json.dumps(wearers)
    return json.loads(
        text, object_hook=lambda one: {k: v for k, v in one.items() if k != "arrival"}
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["t", "rate", "samples", "abp", "detail", "session", "valid", "interval"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KINDS), JSON | st.binary(max_size=40))
async def test_no_message_breaks_the_page(kind: str, content: object) -> None:
    board = Board()
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    show(message(f"bp/devices/x/{kind}", payload), "bp", board)
    for _ in range(6):
        show(message(f"bp/devices/x/{kind}", payload), "bp", board)
    json.loads(await board.answer("", 0, 0), parse_constant=_refuse)


def _refuse(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")
