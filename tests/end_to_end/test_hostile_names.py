"""Hostile words in a recording: no markup, formula, control character or traceback comes out."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from innpar.devices.session.items import ABOUT, EVENTS, Topic, from_json
from innpar.devices.session.reader import SessionFile
from innpar.devices.session.writer import Writer
from innpar.stream.cli.main import main
from innpar.stream.session.export.formats import FORMATS
from support.sessions import demo, record

WORDS = [
    '=HYPERLINK("http://evil","x")',
    "<script>alert(1)</script>",
    "up\x1b[2J\nforged: a line",
    "\u202egnp\x07\x9b1m",
    "\"&'><!--]]>",
    "\ufeff=1+1",
    "ends in a surrogate \ud800",
    "a\x00b",
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.mcap"
    record(path, demo(20, cuff="5"))
    return path


@pytest.fixture(params=WORDS, ids=range(len(WORDS)))
def hostile(request: pytest.FixtureRequest, plain: Path, tmp_path: Path) -> Path:
    """A recording with one text in every field that comes from outside."""
    word, path = request.param, tmp_path / "night.mcap"
    with SessionFile(plain) as file, path.open("xb", buffering=0) as target:
        writer = Writer(target, "test")
        for message in file.messages():
            channel, data = file.channels[message.channel], message.data
            what = Topic.of(channel.topic).what
            if what == ABOUT:
                data = _json(from_json(data) | {"subject": word, "site": word, "name": word})
            number = writer.channel(channel.topic, channel.encoding, channel.about)
            writer.add(number, message.time, message.written, data)
            if what == EVENTS:
                mark = {"kind": "marker", "start": message.time, "end": message.time}
                data = _json({**mark, "detail": {"text": word, word: word}})
                writer.add(number, message.time, message.written, data)
        writer.finish()
    return path


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode()


def clean(text: str) -> bool:
    return all(c.isprintable() or c in "\n\r" for c in text)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_export_bears_them(hostile: Path, tmp_path: Path, format_: str) -> None:
    out = tmp_path / "out"
    assert main(["session", "export", str(hostile), str(out), "--format", format_]) == 0
    for path in out.iterdir():
        assert path.name.isprintable()
        if path.suffix == ".csv":
            text = path.read_text(encoding="utf-8")
            assert clean(text)
            assert not [
                cell
                for row in csv.reader(text.splitlines())
                for cell in row
                if cell[:1] in set("=@") or (cell[:1] in set("+-") and not _number(cell))
            ]
        if path.suffix == ".xdf":
            content = path.read_bytes()
            for part in content.split(b'<?xml version="1.0"?>')[1:]:
                ElementTree.fromstring(part[: part.index(b"</info>") + 7])


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Tags(HTMLParser):
    """The names of the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)


def test_the_report_and_the_terminal_show_them_as_words(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(hostile), str(tmp_path / "night.html")]) == 0
    page = (tmp_path / "night.html").read_text(encoding="utf-8")
    style = page.index("<style>"), page.index("</style>")
    assert clean(page[: style[0]] + page[style[1] :])
    assert "script" not in Tags(page).names
    assert main(["session", "info", str(hostile)]) == 0
    assert main(["session", "verify", str(hostile)]) == 0
    assert main(["session", "export", str(hostile), str(tmp_path / "night.html")]) == 2
    shown = capsys.readouterr()
    assert clean(shown.out + shown.err)
    assert not [line for line in (shown.out + shown.err).splitlines() if line.startswith("forged")]
