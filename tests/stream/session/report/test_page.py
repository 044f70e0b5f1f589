"""The report states what was published, and any browser shows it on its own."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.results import Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.session.report.command import report
from innpar.stream.session.report.page import NOTE
from support.harness import estimates
from support.sessions import demo, record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Neither the page nor the browser itself reaches anybody.
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom"),
)

EVIL = "<script>console.error('ran')</script>\"&"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    path = tmp_path_factory.mktemp("session") / "demo.mcap"
    return path, record(path, demo(400, seed=3))


def test_what_was_published_is_what_it_says(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    path, live = session
    out = tmp_path / "report.html"
    assert main(["report", str(path), str(out)]) == 0
    text = html.unescape(out.read_text())
    assert "SIMULATED, NOT A PERSON" in text
    assert text.count(NOTE) == 2
    usable = [beat for beat in estimates(live) if beat.valid and beat.sbp is not None]
    for name in ("sbp", "dbp", "map_", "hr"):
        middle = np.median([round(getattr(beat, name), 1) for beat in usable])
        assert f"<b>{middle:.0f}</b>" in text
    assert f"{len(estimates(live))} beats, {len(usable)} with pressures" in text
    (cuff,) = [i for i in live if isinstance(i, Event) and i.kind == "cuff"]
    assert f"{cuff.detail['sbp']}/{cuff.detail['dbp']} mmHg" in text
    gaps = [i for i in live if isinstance(i, Event) and i.kind == "gap"]
    assert f"{len(gaps)} gaps" in text
    for gap in gaps:
        assert f"{(gap.end - gap.start) / NS:.2f} s" in text
        assert str(gap.detail["why"]) in text
    for event in live:
        if isinstance(event, Event) and event.kind == "marker":
            assert event.detail["text"] in text
    assert "Pulse rate variability" in text
    assert out.read_text().count("<svg") >= 3 + 4 + 4 * 2


class Asks(HTMLParser):
    """External references of a page: every attribute that names another file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = re.findall(r"url\([^)]*\)|@import[^;]*", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in names]


def opened(page: Path, folder: Path) -> tuple[str, str]:
    """Open a page in Chromium; return the document as it became, and the console's messages."""
    if CHROMIUM is None:
        message = "chromium is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return done.stdout, said


@pytest.mark.slow
def test_a_browser_shows_it_without_a_word_or_a_request(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    path = tmp_path / "evil.mcap"
    recorder = Recorder(path, VirtualClock(), {"software": EVIL}, subjects={"": EVIL})
    device = demo(20)
    recorder.enrol(device, "s")
    items = list(device.items(NS))
    for item in [*items, Event("demo", "marker", 2 * NS, 2 * NS, {"text": EVIL})]:
        recorder.take(item)
    recorder.close()
    for source in (session[0], path):
        page = tmp_path / f"{source.stem}.html"
        assert main(["report", str(source), str(page)]) == 0
        document, said = opened(page, tmp_path)
        assert said == ""
        assert Asks(page.read_text()).found == []
        assert "Blood pressure session" in document
        assert "<script" not in document
    # What looks would see it: a page that loads, and one that complains.
    more = "<img src='http://127.0.0.1:9/x.png'><script>console.error('ran')</script>"
    bad = tmp_path / "bad.html"
    bad.write_text(more)
    assert "ran" in opened(bad, tmp_path)[1]
    assert Asks(more).found
    # And the page's own policy refuses both.
    text = (tmp_path / "demo.html").read_text()
    bad.write_text(text.replace("</body>", more + "</body>"))
    said = opened(bad, tmp_path)[1]
    assert said.count("Content Security Policy") >= 2
    assert '"ran"' not in said


def test_without_beats_or_samples(
    session: tuple[Path, list[Item]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "raw.mcap"
    recorder = Recorder(path, VirtualClock(), {})
    recorder.enrol(demo(), "s")
    recorder._flush()
    for item in demo(5).items(NS):
        recorder.take(item)
    recorder.close()
    assert main(["report", str(path)]) == 0
    assert "No beat was published" in path.with_suffix(".html").read_text()
    empty = tmp_path / "empty.mcap"
    recorder = Recorder(empty, VirtualClock(), {})
    recorder.enrol(demo(), "s")
    recorder.close()
    assert main(["report", str(empty)]) == 2
    assert main(["report", str(session[0]), str(tmp_path / "no" / "r.html")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no PPG was recorded" in said[0]
    assert "cannot be written" in said[1]


def test_times_are_of_the_readers_clock(session: tuple[Path, list[Item]], tmp_path: Path) -> None:
    path, live = session
    first = next(beat for beat in estimates(live)).peak / NS
    for number, zone in enumerate((UTC, ZoneInfo("Asia/Tokyo"))):
        out = tmp_path / f"{number}.html"
        report(path, out, zone)
        assert f"{datetime.fromtimestamp(first, zone):%d %B %Y, %H:%M}" in out.read_text()
