"""Every notice has a code; those of version 0.1, which had none, are still recognised."""

from __future__ import annotations

import ast
import json
from importlib.resources import files
from pathlib import Path

import pytest

import innpar.devices
import innpar.stream
from innpar.devices import NS, Event, NoticeCode, code_of, notice
from innpar.devices.session.device import SIMULATED_TEXT
from innpar.devices.session.items import EVENTS, Topic, unpack_event
from innpar.devices.session.reader import SessionFile
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.session.index import index_session
from innpar.stream.session.recorder import Recorder
from support.sessions import demo, played, without_codes

START = 1_700_000_000 * NS

OLD = {  # as version 0.1 wrote them, to the letter
    "no samples came; the stream was started again": NoticeCode.STALLED_RESTARTED,
    "too slow: 12 notifications dropped": NoticeCode.NOTIFICATIONS_DROPPED,
    "this is a recording of a simulated wearer, not of a person": NoticeCode.SIMULATED_SOURCE,
    "recording to /home/anna/a.mcap has stopped (No space left on device); streaming goes on": (
        NoticeCode.RECORDING_FAILED
    ),
    "calibrate command refused: 'sbp' lies within 60 and 260": NoticeCode.CALIBRATE_REFUSED,
    # redacted
    "the stream was started again": NoticeCode.STALLED_RESTARTED,
    "too slow: ": NoticeCode.NOTIFICATIONS_DROPPED,
    # nothing was decided by these
    "no samples came; is it worn?": None,
    "recording to /home/anna/a.mcap has ended": None,
    "mark command refused: calibrate command refused": None,
    "(redacted)": None,
    "": None,
}


def bare(text: object, kind: str = "notice") -> Event:
    return Event("d", kind, 0, 0, {"text": text})  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "code"), OLD.items())
def test_texts_of_0_1(text: str, code: NoticeCode | None) -> None:
    assert code_of(bare(text)) is code
    assert code_of(bare(text, "marker")) is None


def test_a_code_takes_precedence_over_the_text() -> None:
    for text in OLD:
        for code in NoticeCode:
            assert code_of(notice("d", 0, code, text)) is code
        for foreign in ("of_another_package", "", None, 7, ["no_samples"]):
            assert code_of(Event("d", "notice", 0, 0, {"code": foreign, "text": text})) is None
    for text in (None, 7, ["too slow: "]):
        assert code_of(bare(text)) is None
    assert code_of(Event("d", "notice", 0, 0)) is None


def test_a_notice_contains_plain_values() -> None:
    event = notice("d", 5, NoticeCode.RATE_CORRECTED, "135, not 130 Hz", rate=135.0)
    assert (event.kind, event.start, event.end) == ("notice", 5, 5)
    assert event.detail == {"code": "rate_corrected", "text": "135, not 130 Hz", "rate": 135.0}
    assert type(event.detail["code"]) is str


def test_notices_are_made_in_one_place() -> None:
    made, looked = [], {"of"}  # `Found.of` looks for them
    for package in (innpar.devices, innpar.stream):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                named = isinstance(node.func, ast.Attribute) and node.func.attr in looked
                if any(isinstance(a, ast.Constant) and a.value == "notice" for a in given):
                    made += [] if named else [path.name]
    assert made == ["notices.py"]


def test_every_code_is_in_the_schema() -> None:
    text = (
        files("innpar.stream.messages")
        .joinpath("schemas", "event.json")
        .read_text(encoding="utf-8")
    )
    rules = [rule["then"]["properties"]["detail"] for rule in json.loads(text)["allOf"]]
    (code,) = [rule["properties"]["code"] for rule in rules if "code" in rule["properties"]]
    assert code["examples"] == [one.value for one in NoticeCode]


def write(path: Path) -> Path:
    """Record notices about simulation and losses, and one with a private text."""
    recorder = Recorder(path, VirtualClock(START), {})
    device = demo(10)
    recorder.enrol(device, "s")
    events = [notice(device.id, START, code, text) for text, code in OLD.items() if code]
    events.append(notice(device.id, START, NoticeCode.RECORDING_ENDED, "recording to /home/anna"))
    more = {"code": "of_anna", "text": "too slow: 7 notifications dropped"}
    events.append(Event(device.id, "notice", START, START, more))
    for item in [*device.items(START)][:3] + events:
        recorder.take(item)
    recorder.close()
    return path


def details(path: Path) -> list[dict[str, object]]:
    with SessionFile(path) as file:
        return [
            dict(event.detail)
            for message in file.messages()
            if Topic.of(file.channels[message.channel].topic).what == EVENTS
            if (event := unpack_event("d", message.data)).kind == "notice"
        ]


def test_redacted_notices(tmp_path: Path) -> None:
    new, out = write(tmp_path / "new.mcap"), tmp_path / "nobody.mcap"
    assert main(["session", "redact", str(new), str(out)]) == 0
    texts = [
        *("the stream was started again", "too slow: ", "(redacted)", "(redacted)", "(redacted)"),
        *("the stream was started again", "too slow: ", "(redacted)", "(redacted)"),
    ]
    codes = [code.value for code in OLD.values() if code]
    assert [detail["text"] for detail in details(out)] == texts
    assert [detail.get("code") for detail in details(out)] == [*codes, "recording_ended", None]


def test_redacted_notices_of_0_1(tmp_path: Path) -> None:
    old, out = without_codes(write(tmp_path / "new.mcap"), tmp_path / "old.mcap"), tmp_path / "n"
    assert main(["session", "redact", str(old), str(out)]) == 0
    assert not any("code" in detail for detail in details(out))
    started, slow, other = "the stream was started again", "too slow: ", "(redacted)"
    texts = [detail["text"] for detail in details(out)]
    assert texts == [started, slow, other, other, other, started, slow, other, slow]


def test_dropped_samples_are_reported(tmp_path: Path) -> None:
    new = write(tmp_path / "new.mcap")
    lost = {"notifications_dropped", "recording_failed"}
    texts = [text for text, code in OLD.items() if code in lost]
    assert len(texts) == 3
    assert index_session(new).devices["demo"].dropped == texts
    old = index_session(without_codes(new, tmp_path / "old.mcap")).devices["demo"].dropped
    assert old == [*texts, "too slow: 7 notifications dropped"]


def test_the_simulation_notice_of_an_old_replay_is_replaced(tmp_path: Path) -> None:
    new = write(tmp_path / "new.mcap")
    for path in (new, without_codes(new, tmp_path / "old.mcap")):
        items = played(path)
        notices = [
            i for i in items if isinstance(i, Event) and i.detail.get("text") == SIMULATED_TEXT
        ]
        assert notices == [items[0]]
        assert code_of(notices[0]) is NoticeCode.SIMULATED_SOURCE
