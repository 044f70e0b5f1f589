"""All wearers in the terminal: one row each, with the interval of every pressure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from innpar.stream.messages.hygiene import printable
from innpar.stream.sinks.beat_line import calibration_text, limits, number, reason_text, whole

STANDS = 5.0
"""s that a number stands without a new beat."""
AROUND = 5
"""Lines of the terminal that are no rows: heading, rules, notice, and the line below."""


@dataclass(frozen=True, slots=True)
class NewestBeat:
    """The newest beat of a wearer.

    Attributes:
        payload: Its ``bp-beat/1`` message.
        arrival: By a monotonic clock, s.
    """

    payload: Mapping[str, Any]
    arrival: float

    def at(self, now: float) -> Mapping[str, Any]:
        """Return the message as it stands: without numbers once it is `STANDS` old.

        Args:
            now: By the clock of `arrival`, s.
        """
        age = now - self.arrival
        if age <= STANDS:
            return self.payload
        reasons = [f"no beat for {age:.0f} s"]
        return {**self.payload, "valid": False, "hr": None, "interval": None, "reasons": reasons}


def wall(newest: Mapping[str, NewestBeat], now: float, height: int) -> Table:
    """Return a table of all wearers, in the order of their first beat.

    Args:
        newest: Newest beat of each device.
        now: By the clock of their arrival, s.
        height: Lines of the terminal.
    """
    table = Table(expand=True, caption="Research software, not an alarm system", pad_edge=False)
    table.add_column("wearer", no_wrap=True, overflow="ellipsis", ratio=2, min_width=8)
    table.add_column("SBP/DBP", justify="right", no_wrap=True, min_width=7)
    table.add_column("90 % interval, mmHg", justify="right", no_wrap=True, min_width=14)
    table.add_column("MAP", justify="right", no_wrap=True, min_width=3)
    table.add_column("HR", justify="right", no_wrap=True, min_width=3)
    table.add_column("state", no_wrap=True, overflow="ellipsis", ratio=3, min_width=10)
    fits = max(1, height - AROUND)
    shown = list(newest.values())
    if len(shown) > fits:
        shown = shown[: max(1, fits - 1)]
    for one in shown:
        table.add_row(*_row(one.at(now)))
    if more := len(newest) - len(shown):
        table.add_row(Text(f"{more} more: enlarge the terminal", style="dim"))
    return table


def _row(beat: Mapping[str, Any]) -> tuple[Text, ...]:
    """Return the cells of a wearer; text from outside is printable."""
    device = Text(printable(beat.get("device")), style="bold")
    if beat.get("valid") is not True:
        state = Text(reason_text(beat), style="yellow")
        rate = Text(whole(beat.get("hr")))
        return device, Text("—/—", style="dim"), Text("—"), Text("—"), rate, state
    calibrated = calibration_text(beat)
    style = "bold" if calibrated.startswith("cuff") else "dim"
    pressures = Text(f"{whole(beat.get('sbp'))}/{whole(beat.get('dbp'))}", style=style)
    quality = number(beat.get("quality"))
    state = Text(calibrated if quality is None else f"{calibrated}, quality {quality:.0%}")
    interval = Text(f"{limits(beat, 'sbp')} / {limits(beat, 'dbp')}")
    mean, rate = Text(whole(beat.get("map"))), Text(whole(beat.get("hr")))
    return device, pressures, interval, mean, rate, state
