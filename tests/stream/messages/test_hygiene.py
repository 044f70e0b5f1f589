"""Text from outside, where it is shown."""

from __future__ import annotations

import csv
import io
import logging

from hypothesis import given
from hypothesis import strategies as st

from innpar.devices import Event
from innpar.stream.messages.hygiene import OneLine, cell, escape, printable
from innpar.stream.sinks.terminal import TerminalSink


@given(st.text(st.characters(), max_size=50))
def test_no_text_can_move_a_cursor_begin_a_line_or_be_a_formula(text: str) -> None:
    assert printable(text).isprintable()
    assert cell(text).isprintable()
    assert not cell(text).lstrip().startswith(("=", "+", "-", "@", "＝"))
    assert escape(text).isprintable()
    assert not {"<", ">", '"', "'"} & set(escape(text))
    file = io.StringIO()
    csv.writer(file).writerow([cell(text), "next"])
    assert file.getvalue().count("\n") == 1
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "device %s lost", (text,), None)
    assert OneLine("%(message)s").format(record).isprintable()


async def test_a_marker_cannot_forge_a_line_of_the_terminal() -> None:
    out = io.StringIO()
    terminal = TerminalSink(quiet=True)
    terminal._console.file = out
    forged = "stood up\x1b[2J\ndemo  LIVE  120/80 mmHg"
    await terminal.send(Event("demo", "marker", 0, 0, {"text": forged}))
    assert out.getvalue().count("\n") == 1
    assert "\x1b[2J" not in out.getvalue()
