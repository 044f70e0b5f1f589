"""Terminal output of a run: one line per device, and messages about events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innpar.devices import NS, Event
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.hygiene import printable
from innpar.stream.results import Beat, Item, State
from innpar.stream.sinks.beat_line import beat_line
from innpar.stream.sinks.jsonlines import ReaderGone, silence
from innpar.stream.sinks.wall import NewestBeat, wall

REFRESH = 0.25
"""Seconds between two updates of the terminal."""
PLAIN = 1.0
"""Seconds between two lines of a device where the output is not a terminal."""


class TerminalSink:
    """Sink that shows the newest beat of every device.

    Args:
        quiet: Whether to print messages on standard error and no beats, where standard output is
            used for JSON.
        table: Whether to show the wall: a table of all wearers instead of a line each.
    """

    def __init__(self, *, quiet: bool = False, table: bool = False) -> None:
        self._console = Console(stderr=quiet, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._table = table
        self._newest: dict[str, NewestBeat] = {}
        self._printed: dict[str, float] = {}
        self._live: Live | None = None
        self._closed = False

    def __enter__(self) -> TerminalSink:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                console=self._console,
                get_renderable=self._shown,
                refresh_per_second=1 / REFRESH,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    async def ready(self) -> None:
        """Return at once: only the newest beat is kept."""

    async def send(self, item: Item) -> None:
        """Show a beat or an event.

        Raises:
            ReaderGone: Standard output was closed.
        """
        if self._closed and not self._quiet:
            raise ReaderGone
        if isinstance(item, Beat):
            self._beat(item)
        elif isinstance(item, State) and item.state == "stale":
            self.say(f"{item.device}: connected, but sends no data")
        elif isinstance(item, Event) and (text := event_text(item)):
            self.say(f"{_clock(item.start)} {item.device}: {printable(text, 1000)}")

    def say(self, text: str) -> None:
        """Print a line above the devices' lines."""
        self._print(Text(text))

    def _beat(self, beat: Beat) -> None:
        if self._quiet:
            return
        if self._live is not None:
            self._newest[beat.device] = NewestBeat(beat_payload(beat), time.monotonic())
            return
        now = time.monotonic()
        if now - self._printed.get(beat.device, -PLAIN) >= PLAIN:
            self._printed[beat.device] = now
            self._print(beat_line(beat_payload(beat)))

    def _print(self, text: Text) -> None:
        if self._closed:
            return
        try:
            self._console.print(text)
            if not self._console.is_terminal:
                self._console.file.flush()
        except (OSError, SystemExit):  # rich raises SystemExit on a broken pipe
            self._closed = True
            silence(self._console.file)

    def _shown(self) -> Text | Table:
        now, (width, height) = time.monotonic(), self._console.size
        if self._table:
            return wall(self._newest, now, height)
        newest = list(self._newest.values())  # at once: the display has a thread of its own
        return Text("\n").join(beat_line(one.at(now), width) for one in newest)


def event_text(event: Event) -> str | None:
    """Return an event as text for the user; None for events of no interest to one."""
    detail = event.detail
    if event.kind == "gap":
        if not event.concerns_ppg:
            return None
        if event.end < event.start:
            return f"gap: {detail.get('why')}"
        length = (event.end - event.start) / NS
        lost = detail.get("lost")
        counted = "" if lost is None else f", {lost} samples"
        return f"gap of {length:.2f} s{counted}: {detail.get('why')}"
    if event.kind == "cuff":
        return cuff_text(detail)
    if event.kind == "cuff_undone":
        return undone_text(detail)
    if event.kind == "connected":
        rate = detail.get("rate")
        return f"connected: {detail.get('model')}" + (f", {rate:g} Hz" if rate else "")
    if event.kind == "disconnected":
        return f"disconnected: {detail.get('why')}"
    if event.kind == "posture":
        return f"sensor at {detail['wrist_height']:+g} cm from heart height"
    if event.kind in ("notice", "marker"):
        return str(detail.get("text"))
    if event.kind == "alarm":
        return f"alarm {detail.get('state')}: {detail.get('rule')} (research only)"
    if event.kind == "wear":
        return "worn" if detail.get("worn") else "not worn"
    return None


def undone_text(detail: Mapping[str, Any]) -> str:
    """Return a withdrawal of a cuff reading as text."""
    how = "no longer applies" if detail.get("why") == "moved" else "withdrawn"
    return f"cuff reading {detail['sbp']:g}/{detail['dbp']:g} mmHg {how}"


def cuff_text(detail: Mapping[str, Any]) -> str:
    """Return a cuff event as text, with the errors of the pressures before it."""
    text = f"cuff reading {detail['sbp']:g}/{detail['dbp']:g} mmHg"
    remembered, check = detail.get("remembered"), detail.get("check")
    if isinstance(remembered, Mapping):
        ago = f"{remembered['age_s'] / 3600:.1f} h ago"
        return f"{text} from {ago}, kept from the last run; measure again if the sensor has moved"
    if not isinstance(check, Mapping):
        return text
    mean = check["mae"]
    readings = "reading" if check["n"] == 1 else "readings"
    return (
        f"{text}; error before it {check['sbp']:+.1f}/{check['dbp']:+.1f} mmHg "
        f"(mean absolute error over {check['n']} {readings}: {mean['sbp']:.1f}/{mean['dbp']:.1f})"
    )


def _clock(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // NS):%H:%M:%S}"
