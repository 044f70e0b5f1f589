"""The report of a session: what it says is what was published, and any browser shows it alone."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.devices.timing.pace import VirtualClock
from innpar.stream.cli.main import main
from innpar.stream.results import Item
from innpar.stream.session.beat_table import BeatTable
from innpar.stream.session.index import DeviceIndex
from innpar.stream.session.recorder import Recorder
from innpar.stream.session.report.command import report
from innpar.stream.session.report.figures import Course
from innpar.stream.session.report.findings import dips, in_range, night, sustained, trend
from innpar.stream.session.report.hrv import variability
from innpar.stream.session.report.page import NOTE
from innpar.stream.session.report.sections import calibration
from innpar.stream.session.report.svg import around, round_values
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


def beats(
    times: Any, sbp: Any, *, hr: float = 60.0, every: int = 1, valid: bool = True
) -> BeatTable:
    """Return beats with these times and pressures; the MAP is half, the DBP two thirds of SBP."""
    table = BeatTable()
    for n, (time, pressure) in enumerate(zip(times, np.broadcast_to(sbp, len(times)), strict=True)):
        told = {"seq": n * every, "t": float(time), "valid": valid, "quality": 1.0, "hr": hr}
        told |= {"sbp": pressure, "dbp": pressure / 1.5, "map": pressure / 2}
        table.add(told)
    return table


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
    """What a page would load: every attribute that names another file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found = re.findall(r"url\([^)]*\)|@import[^;]*", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in names]


def opened(page: Path, folder: Path) -> tuple[str, str]:
    """Open a page in Chromium; return the document as it became, and what the console said."""
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


def test_shares_of_time_are_weighted_by_how_long_a_beat_lasts() -> None:
    table = beats(np.arange(60.0), 100.0)
    for n in range(60):
        told = {"t": 60 + n / 2, "valid": True, "hr": 120.0, "sbp": 150.0, "dbp": 95.0, "map": 120}
        table.add(told)
    shares = dict(in_range(table, "sbp"))
    assert shares["90 to 120"] == pytest.approx(2 / 3)
    assert shares["140 to 160"] == pytest.approx(1 / 3)
    assert sum(shares.values()) == pytest.approx(1)
    assert in_range(BeatTable(), "sbp") == []
    assert in_range(beats([0.0, 1.0], 100.0, valid=False), "sbp") == []


def test_the_lowest_minute_and_the_dips() -> None:
    times = np.arange(1200.0)
    sbp = np.where((times >= 300) & (times < 420), 90.0, 120.0)
    sbp[times >= 900] += 10
    table = beats(times, sbp)
    low, high = sustained(table, highest=False), sustained(table, highest=True)
    assert low is not None
    assert high is not None
    assert (low.sbp, low.map_) == (90, 45)
    assert 300 <= low.start <= 360
    assert (high.sbp, high.start >= 899) == (130, True)
    (dip,) = dips(trend(table, 0, 1200))
    assert (dip.start, dip.end, dip.sbp) == (300, 420, 90)
    assert sustained(beats(np.arange(20.0), 100), highest=True) is None
    assert sustained(BeatTable(), highest=True) is None
    assert dips(trend(BeatTable(), 0, 100)) == []
    assert dips(trend(beats(times, 120), 0, 1200)) == []


def test_night_beside_day() -> None:
    start = datetime(2026, 3, 1, 22, 0, tzinfo=UTC).timestamp()
    times = start + np.arange(0, 7200.0)
    sbp = np.where(times < start + 3600, 130.0, 104.0)
    found = night(beats(times, sbp), UTC)
    assert found is not None
    assert found.fall == pytest.approx(0.2)
    assert found.day[0] == pytest.approx(130)
    # Elsewhere it is noon.
    assert night(beats(times, sbp), ZoneInfo("Asia/Tokyo")) is None
    assert night(BeatTable(), UTC) is None


def test_variability_is_neurokits_of_the_same_intervals() -> None:
    nk = pytest.importorskip("neurokit2")
    rng = np.random.default_rng(0)
    intervals = 0.8 + 0.04 * np.sin(2 * np.pi * 0.25 * 0.8 * np.arange(450))
    intervals += 0.005 * rng.standard_normal(450)
    times = 1_700_000_000 + np.cumsum(intervals)
    found = variability(beats(times, 120.0))
    assert (found.segments, found.why) == (1, "")
    values = {name: middle for name, _, _, middle, _ in found.values}
    inside = times[1:] < times[0] + 300
    wanted = nk.hrv_time({"RRI": np.diff(times)[inside] * 1000}).iloc[0]
    assert values["SDNN"] == pytest.approx(wanted["HRV_SDNN"], abs=0.5)
    assert values["RMSSD"] == pytest.approx(wanted["HRV_RMSSD"], abs=0.5)
    assert values["HF"] > 5 * values["LF"]
    assert "no 5 minutes" in variability(beats(times[:100], 120.0)).why
    assert "no 5 minutes" in variability(BeatTable()).why


def test_columns_of_beats() -> None:
    table = BeatTable()
    wave = {"start": 100.0, "rate": 125, "samples": [80.0, 100.0, 119.0, 120.0, 100.0, 80.0]}
    table.add({"seq": 4, "t": 100.024, "abp": wave, "valid": True, "reasons": ["motion"]})
    table.add({"seq": 5, "t": 101.0})
    table.add({"seq": 7, "t": 102.0, "interval": {"level": 0.9, "sbp": [1, 2]}})
    assert (len(table), table.breaks) == (3, 1)
    peak = table.column("peak")
    assert 100.020 <= peak[0] < 100.024
    assert peak[1] == 101.0
    assert table.column("sbp_high")[2] == 2
    assert np.isnan(table.column("sbp")[0])
    assert dict(table.reasons) == {"motion": 1}


def test_how_far_off_a_reading_found_the_beats_before_it() -> None:
    table = BeatTable()
    for k in range(30):
        state = "none" if k < 10 else "ok"
        beat = {"seq": k, "t": 100.0 + k, "valid": True, "sbp": 120.0 + k, "dbp": 80.0}
        table.add({**beat, "calibration": {"state": state}})
    assert table.check(109.0, 120, 80) is None
    assert table.check(112.0, 130, 82) == (1.0, -2.0)
    assert table.check(125.5, 130, 82) == (10.5, -2.0)
    device = DeviceIndex("x", beats=table)
    device.told = [
        Event("x", "cuff", 112 * NS, 112 * NS, {"sbp": 130, "dbp": 82}),
        Event("x", "cuff", 125 * NS, 125 * NS, {"sbp": 130, "dbp": 82, "remembered": {"age_s": 9}}),
    ]
    shown = calibration(device, Course(100.0, 130.0, UTC))
    assert "ours was off by +1.0/-2.0 before it" in shown
    assert "taken before" in shown


def test_round_numbers_on_axes() -> None:
    assert round_values(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1.0]
    assert round_values(40, 180, 5) == [50, 100, 150]
    assert round_values(3, 3, 5) == [3]
    assert around([np.array([61.0, np.nan]), np.array([119.0])], 20, 40) == (60, 120)
    assert around([np.array([np.nan])], 20, 40) == (0, 40)


def test_the_beats_survive_the_way_to_json(session: tuple[Path, list[Item]]) -> None:
    from innpar.stream.messages.beat import beat_payload
    from innpar.stream.session.index import index_session

    path, live = session
    table = index_session(path).devices["demo"].beats
    told = [json.loads(json.dumps(beat_payload(beat))) for beat in estimates(live)]
    assert table.column("t").tolist() == [beat["t"] for beat in told]
    assert np.abs(table.column("peak") - table.column("t")).max() <= 0.0041
