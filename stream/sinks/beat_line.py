"""One line per device for the terminal, from a run's own beats or from MQTT."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from innpar.stream.messages.hygiene import printable

_SOURCE = {"simulated": ("SIMULATED", "bold magenta"), "replay": ("REPLAY", "bold cyan")}
REASON_WORDS = {
    "low_quality": "poor signal",
    "motion": "moving",
    "not_worn": "not worn",
    "flat": "no pulse",
    "clipped": "signal clipped",
    "gap": "signal lost",
    "rate": "rate too low",
    "irregular": "irregular rhythm",
    "ectopic": "ectopic beats",
    "slow": "slow rhythm",
    "fast": "fast rhythm",
    "implausible": "implausible",
    "uncalibrated": "no cuff reading",
}
"""Reason for withholding a beat's pressures → words for the user."""

LATENCY, AGE, TRUE, REASONS, RATE, MEAN = range(1, 7)
"""Parts of a line that may be left out where it does not fit, in this order."""
KEPT = 0
"""A part that is always shown."""
SHORTEST = 8
"""Characters of a device's id that stay where even the other parts do not fit."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the line; parts of a higher `rank` stay longer, those of rank `KEPT` always."""

    text: str
    style: str = ""
    rank: int = KEPT


def beat_line(beat: Mapping[str, Any], width: int | None = None) -> Text:
    """Return a ``bp-beat/1`` message as one line; ``.plain`` is the text without styles.

    The message may come from an unknown source: a missing or non-numeric value shows as a dash.

    Args:
        beat: The message.
        width: Columns of the terminal; the least important parts are left out to fit. None for a
            complete line.
    """
    source = printable(beat.get("source"))
    word, style = _SOURCE.get(source, (source.upper(), "bold green"))
    quality = number(beat.get("quality"))
    latency = number(_inside(beat, "latency_ms", "total"))
    took = "—" if latency is None else f"{latency / 1000:.1f} s"
    parts = [
        _Part(f"{word}  ", style),
        *_pressures(beat),
        _Part(f"  HR {whole(beat.get('hr')):>3}", rank=RATE),
        _Part(f"  quality {'—' if quality is None else f'{quality:4.0%}'}"),
        *_calibration(beat),
        _Part(f"  latency {took}", "dim", LATENCY),
    ]
    device = printable(beat.get("device"))
    if width is not None:
        device, parts = _fitted(device, parts, width)
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{device}  ", style="bold")
    for part in parts:
        line.append(part.text, style=part.style)
    return line


def _fitted(device: str, parts: list[_Part], width: int) -> tuple[str, list[_Part]]:
    """Leave out parts by rank, then the beginning of the device's id, until the line fits."""

    def room() -> int:
        return width - 2 - sum(cell_len(part.text) for part in parts)

    for rank in (LATENCY, AGE, TRUE, REASONS, RATE, MEAN):
        if room() >= cell_len(device):
            return device, parts
        parts = [part for part in parts if part.rank != rank]
    keep = max(room(), SHORTEST)
    return (device if cell_len(device) <= keep else f"…{device[1 - keep :]}"), parts


def _pressures(beat: Mapping[str, Any]) -> Iterator[_Part]:
    if beat.get("valid") is True:
        both = f"{whole(beat.get('sbp'))}/{whole(beat.get('dbp'))}"
        yield _Part(f"{both:>7} mmHg", "bold")
        yield _Part(f" {_margin(beat, 'sbp')}/{_margin(beat, 'dbp')}")
        yield _Part(f"  MAP {whole(beat.get('map')):>3}", rank=MEAN)
    else:
        first, *others = _reasons(beat)
        yield _Part("  —/—   mmHg")
        yield _Part("  MAP   —", rank=MEAN)
        yield _Part(f"  {first}", "yellow")
        yield _Part("".join(f", {word}" for word in others), "yellow", REASONS)
    reference = beat.get("reference")
    if isinstance(reference, Mapping):
        true = f"{whole(reference.get('sbp'))}/{whole(reference.get('dbp'))}"
        yield _Part(f"  (true {true:>7})", "dim", TRUE)


def _reasons(beat: Mapping[str, Any]) -> list[str]:
    reasons = beat.get("reasons")
    names = reasons if isinstance(reasons, list) else []
    words = [REASON_WORDS.get(printable(name), printable(name)) for name in names]
    return words or ["not valid"]


def reason_text(beat: Mapping[str, Any]) -> str:
    """Return why a beat's pressures are withheld."""
    return ", ".join(_reasons(beat))


def limits(beat: Mapping[str, Any], name: str) -> str:
    """Return a pressure's interval as ``LOW–HIGH``, mmHg; ``?`` without one."""
    pair = _inside(beat, "interval", name)
    sides = [number(side) for side in pair] if isinstance(pair, list | tuple) else []
    known = [side for side in sides if side is not None and math.isfinite(side)]
    return f"{known[0]:.0f}–{known[1]:.0f}" if len(known) == len(sides) == 2 else "?"


def _margin(beat: Mapping[str, Any], name: str) -> str:
    """Return the wider side of a pressure's interval, mmHg, as ``±N``; ``±?`` without one."""
    value, limits = number(beat.get(name)), _inside(beat, "interval", name)
    if value is None or not isinstance(limits, list | tuple) or len(limits) != 2:
        return "±?"
    sides = [number(limit) for limit in limits]
    widths = [abs(value - side) for side in sides if side is not None and math.isfinite(side)]
    return f"±{max(widths):.0f}" if len(widths) == 2 and math.isfinite(value) else "±?"


def _calibration(beat: Mapping[str, Any]) -> Iterator[_Part]:
    yield _Part(f"  {calibration_text(beat)}", "dim")
    age = number(_inside(beat, "calibration", "age_s"))
    if age is not None and not calibration_text(beat).startswith("not"):
        yield _Part(f" {_ago(age)} ago", "dim", AGE)


def calibration_text(beat: Mapping[str, Any]) -> str:
    """Return the cuff reading in force."""
    status = beat.get("calibration")
    if not isinstance(status, Mapping) or status.get("state") not in ("ok", "stale"):
        return "not calibrated"
    word = "cuff" if status["state"] == "ok" else "stale cuff"
    return f"{word} {whole(status.get('sbp'))}/{whole(status.get('dbp'))}"


def _ago(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _inside(beat: Mapping[str, Any], *names: str) -> Any:
    value: Any = beat
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def number(value: Any) -> float | None:
    """Return a value that is a number; None for anything else."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def whole(value: Any) -> str:
    """Return a number without decimals; a dash for anything else."""
    known = number(value)
    return "—" if known is None else f"{known:.0f}"
