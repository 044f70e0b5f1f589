"""The queue of commands: bounded, limited in rate, every command answered or counted."""

from __future__ import annotations

import json

import pytest

from innpar.stream.messages.commands import Calibrate, Mark, Reply
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.mqtt.connection import Received
from innpar.stream.mqtt.intake import BURST, COMMANDERS, RATE, WAITING, Intake
from support.schemas import schema

MARK = b'{"text":"x"}'


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def message(payload: bytes = MARK, reply: str | None = "bp/reply/1", **more: bool) -> Received:
    answer = None if reply is None else Reply(reply, b"7")
    return Received("bp/cmd/demo/mark", payload, more.get("retained", False), answer)


def intake() -> tuple[Intake, list[Parcel], Clock]:
    sent: list[Parcel] = []
    clock = Clock()
    return Intake(Bridge("bed4", 1, "bp"), sent.append, clock), sent, clock


def settled(counts: dict[str, int]) -> bool:
    parts = ("commands_done", "commands_refused", "commands_unanswered")
    return counts["commands"] == sum(counts[part] for part in parts)


async def test_a_flood_is_limited_and_every_command_is_answered_or_counted() -> None:
    box, sent, clock = intake()
    for _ in range(10_000):
        box.take(message())
        clock.now += 0.0001
    allowed = round(BURST + RATE)
    assert (
        allowed - 1
        <= box.counts["commands"]
        - sum(box.counts[part] for part in ("commands_refused", "commands_unanswered"))
        <= min(allowed + 1, WAITING)
    )
    while not settled(box.counts):
        box.answer(await box.get(), None)
    counts = box.counts
    assert counts["commands"] == 10_000
    assert len(sent) == counts["commands_done"] + counts["commands_refused"]
    assert counts["commands_unanswered"] > 9_000
    clock.now += 60
    box.take(message())
    assert await box.get() == Mark("demo", "x", None, Reply("bp/reply/1", b"7"))


def test_one_commander_does_not_use_up_the_rate_of_another() -> None:
    box, sent, _ = intake()
    for _ in range(1000):
        box.take(message())
    before = box.counts["commands_refused"] + box.counts["commands_unanswered"]
    box.take(message(reply="bp/reply/2"))
    box.take(message(reply=None))
    assert box.counts["commands_refused"] + box.counts["commands_unanswered"] == before
    assert {parcel.topics for parcel in sent} == {("bp/reply/1",)}


def test_changing_the_response_topic_gains_nothing() -> None:
    box, _, _ = intake()
    for number in range(20 * COMMANDERS):
        for _ in range(100):
            box.take(message(b"x", f"bp/reply/{number}"))
    answered = box.counts["commands_refused"]
    assert answered < 1000
    assert settled(box.counts)


@pytest.mark.parametrize("topic", ["app/answers", "bp", "bp/", "bp/estimates", "bp/cmd/x/mark"])
def test_an_answer_goes_under_the_root_only_and_the_command_is_not_executed(topic: str) -> None:
    box, sent, _ = intake()
    box.take(message(reply=topic))
    (parcel,) = sent
    assert parcel.topics == ("bp/devices/demo/events",)
    assert "must lie under bp/" in json.loads(parcel.payload)["detail"]["text"]
    assert settled(box.counts)


def test_refusals_are_not_kept_while_the_broker_is_away() -> None:
    box, sent, _ = intake()
    for payload, reply in ((b"no", None), (b"no", "bp/reply/1")):
        box.take(message(payload, reply))
    assert [parcel.durable for parcel in sent] == [False, False]
    assert [json.loads(p.payload)["schema"] for p in sent] == ["bp-event/1", "bp-reply/1"]


def test_a_retained_command_and_missed_messages_are_counted() -> None:
    box, sent, _ = intake()
    box.take(message(retained=True))
    box.missed(3)
    assert not sent
    assert (box.counts["commands"], box.counts["commands_unanswered"]) == (4, 4)
    counts = dict.fromkeys(
        ("published", "refused", "queued", "spooled", "dropped", "dropped_waveforms"), 0
    )
    info = json.loads(Bridge("bed4", 1, "bp").info({**counts, **box.counts}, 0).payload)
    schema("bridge").validate(info)
    assert info["commands_unanswered"] == 4


@pytest.mark.parametrize("far", [True, False])
def test_a_refusal_says_whether_a_confirmation_helps(far: bool) -> None:
    box, sent, _ = intake()
    for reply in (Reply("bp/reply/1"), None):
        box.answer(Calibrate("demo", 182, 79, reply=reply), "far away", confirm=far)
    answer, event = (json.loads(parcel.payload) for parcel in sent)
    schema("reply").validate(answer)
    assert answer.get("confirm") == event["detail"].get("confirm") == (True if far else None)
