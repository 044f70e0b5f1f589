"""One line per device for the terminal, from a run's own beats or from MQTT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from innpar.stream.messages.hygiene import printable

_SOURCE = {"simulated": ("SIMULATED", "bold magenta"), "replay": ("REPLAY", "bold cyan")}
_REASON = {
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


def beat_line(beat: Mapping[str, Any]) -> Text:
    """Return a ``bp-beat/1`` message as one line; ``.plain`` is the text without styles.

    The message may come from an unknown source: a missing or non-numeric value shows as a dash.
    """
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{printable(beat.get('device'))}  ", style="bold")
    source = printable(beat.get("source"))
    word, style = _SOURCE.get(source, (source.upper(), "bold green"))
    line.append(f"{word}  ", style=style)
    _pressures(line, beat)
    line.append(f"  HR {_whole(beat.get('hr')):>3}")
    quality = _number(beat.get("quality"))
    line.append(f"  quality {'—' if quality is None else f'{quality:4.0%}'}")
    line.append(f"  {_calibration(beat.get('calibration'))}", style="dim")
    latency = _number(_inside(beat, "latency_ms", "total"))
    line.append(f"  latency {'—' if latency is None else f'{latency / 1000:.1f} s'}", style="dim")
    return line


def _pressures(line: Text, beat: Mapping[str, Any]) -> None:
    if beat.get("valid") is True:
        both = f"{_whole(beat.get('sbp'))}/{_whole(beat.get('dbp'))}"
        line.append(f"{both:>7} mmHg", style="bold")
        line.append(f"  MAP {_whole(beat.get('map')):>3}")
    else:
        reasons = beat.get("reasons")
        names = reasons if isinstance(reasons, list) else []
        words = ", ".join(_REASON.get(printable(name), printable(name)) for name in names)
        line.append("  —/—   mmHg  MAP   —")
        line.append(f"  {words or 'not valid'}", style="yellow")
    reference = beat.get("reference")
    if isinstance(reference, Mapping):
        true = f"{_whole(reference.get('sbp'))}/{_whole(reference.get('dbp'))}"
        line.append(f"  (true {true:>7})", style="dim")


def _calibration(status: Any) -> str:
    if not isinstance(status, Mapping) or status.get("state") not in ("ok", "stale"):
        return "not calibrated"
    cuff = f"{_whole(status.get('sbp'))}/{_whole(status.get('dbp'))}"
    age = _number(status.get("age_s"))
    ago = "" if age is None else f" {_ago(age)} ago"
    return f"{'cuff' if status['state'] == 'ok' else 'stale cuff'} {cuff}{ago}"


def _ago(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _inside(beat: Mapping[str, Any], *names: str) -> Any:
    value: Any = beat
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _whole(value: Any) -> str:
    number = _number(value)
    return "—" if number is None else f"{number:.0f}"
