"""A session on one page: pressures with their intervals, heart rate, quality, and gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..devices import NS
from .errors import SessionError
from .survey import Found, survey

COLOURS = {"sbp": "#b2182b", "map": "#444444", "dbp": "#2166ac"}
MOST_POINTS = 20_000
NOTE = "Research software: not a medical device, not for diagnosis or treatment."


def plot(path: Path, out: Path | None) -> int:
    """Draw a session's overview; return the exit status.

    Raises:
        SessionError: matplotlib is not installed, or the picture cannot be written.
        DeviceError: There is no such file, or it is no session.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SessionError("a plot needs matplotlib: pip install 'innpar-stream[report]'") from None
    found = survey(path)
    devices = [device for device in found.devices.values() if "ppg" in device.tracks]
    if not devices:
        raise SessionError(f"{path}: no PPG was recorded in it; there is nothing to plot")
    out = out or path.with_suffix(".png")
    figure = Figure(figsize=(12, 7 * len(devices)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for rows, device in zip(
        figure.subfigures(len(devices), 1, squeeze=False), devices, strict=True
    ):
        _draw(rows[0], device)
    figure.supxlabel(NOTE, fontsize=8, color="#666666")
    try:
        figure.savefig(out, format="png")
    except OSError as error:
        raise SessionError(f"{out}: cannot be written ({error.strerror})") from None
    print(f"{out}: {sum(len(device.beats) for device in devices)} beats")
    return 0


def _draw(figure: Any, device: Found) -> None:
    """Draw one device."""
    ppg = device.tracks["ppg"]
    zero = ppg.first or 0
    source = str(device.about.get("source", "unknown source")).upper()
    figure.suptitle(f"{device.id}  ({source})  {ppg.seconds / 60:.1f} min at {ppg.rate:g} Hz")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    pressure, heart, quality = axes
    # Where beats are more than points of the picture, every n-th tells as much.
    beats = device.beats[:: max(1, len(device.beats) // MOST_POINTS)]
    minutes = (_column(beats, "t") - zero / NS) / 60
    for name, colour in COLOURS.items():
        pressure.plot(minutes, _column(beats, name), color=colour, lw=1, label=name.upper())
        low, high = _interval(beats, name)
        pressure.fill_between(minutes, low, high, color=colour, alpha=0.12, lw=0)
    for cuff in device.of("cuff"):
        at = (cuff.start - zero) / NS / 60
        pressures = [cuff.detail["sbp"], cuff.detail["dbp"]]
        pressure.plot([at, at], pressures, "k_-", ms=10, label="cuff")
    pressure.set_ylabel("mmHg")
    handles = dict(zip(*reversed(pressure.get_legend_handles_labels()), strict=True))
    pressure.legend(handles.values(), handles.keys(), loc="upper right", ncols=4)
    heart.plot(minutes, _column(beats, "hr"), color="#762a83", lw=1)
    heart.set_ylabel("beats/min")
    quality.plot(minutes, _column(beats, "quality"), color="#1b7837", lw=1)
    quality.set_ylim(0, 1.05)
    quality.set_ylabel("quality")
    quality.set_xlabel("minutes")
    for axis in axes:
        axis.grid(alpha=0.3)
        for start, end in ppg.holes[:1000]:
            axis.axvspan((start - zero) / NS / 60, (end - zero) / NS / 60, color="#999999", lw=0.5)


def _column(beats: list[dict[str, Any]], name: str) -> npt.NDArray[np.float64]:
    values = [beat.get(name) for beat in beats]
    return np.array([np.nan if value is None else float(value) for value in values])


def _interval(
    beats: list[dict[str, Any]], name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    pairs = [(beat.get("interval") or {}).get(name) or (np.nan, np.nan) for beat in beats]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
