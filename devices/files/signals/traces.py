"""Recordings from named traces (XDF, EDF, WFDB): selection of PPG and reference pressure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.recording import Notices, Recording, RecordingBlock, measured_rate
from innpar.devices.options import Options

PULSE = re.compile(r"ppg|pleth|bvp|pulse|spo2.?wave|infrared|\bir\b|\bgreen\b|\bred\b", re.I)
PRESSURE = re.compile(r"\b(abp|art|ibp|nibp|arterial|fin\w*p\w*)\b", re.I)
SLOWEST = 20.0
"""Lowest rate of a PPG waveform, Hz."""
BLOCK = 1 << 16

OPTIONS = {
    "channel": "name or number of the PPG trace",
    "abp": "name or number of the arterial pressure trace; off for none",
}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Signal of a file.

    Attributes:
        label: Its name.
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples,) float64, physical values; NaN marks a missing sample.
        group: Number shared by traces that are sampled together.
    """

    label: str
    times: npt.NDArray[np.int64]
    data: npt.NDArray[np.float64]
    group: int = 0


def recording_of(
    path: Path,
    format_: str,
    model: str,
    traces: Sequence[Trace],
    options: dict[str, str],
    *,
    incomplete: bool = False,
) -> Recording:
    """Return a file's traces as a recording.

    Without ``channel``, all traces whose names look like PPG and that share a group are used.

    Args:
        path: The file.
        format_: Name of its format.
        model: Recording hardware.
        traces: Its signals.
        options: See `OPTIONS`.
        incomplete: Whether the file ends early; a notice then says how much could be read.

    Raises:
        Refused: It contains no PPG, or several traces that could be it.
    """
    chosen = Options(str(path), options, OPTIONS)
    traces = [trace for trace in traces if len(trace.times) > 1]
    if not traces:
        raise Refused(f"{path}: it contains no samples; is this the right file?")
    labels = [trace.label for trace in traces]
    column = chosen.column("channel", labels)
    named = [n for n, label in enumerate(labels) if PULSE.search(label)]
    if column is not None:
        pulse = [column]
    elif named:
        pulse = [n for n in named if traces[n].group == traces[named[0]].group]
    elif len(traces) == 1:
        pulse = [0]
    else:
        listed = ", ".join(labels)
        raise Refused(f"{path}: which trace is the PPG? add ?channel=…; there are: {listed}")
    times = traces[pulse[0]].times
    rate = measured_rate(times)
    if not rate >= SLOWEST:
        name = labels[pulse[0]]
        raise Refused(
            f"{path}: {name} is sampled at {rate:.3g} Hz, but PPG needs at least {SLOWEST:g} Hz; "
            "choose another trace with ?channel=…"
        )
    truth = _truth(chosen, traces, pulse)
    data = np.stack([traces[n].data for n in pulse], axis=1)

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        if incomplete:
            seconds = (int(times[-1]) - int(times[0])) / NS
            text = f"{path.name}: the file ends early or is damaged; {seconds:.1f} s could be read"
            notices.append(text)
        taken = 0
        for start in range(0, len(times), BLOCK):
            part = slice(start, start + BLOCK)
            if truth is None:
                yield RecordingBlock(times[part], data[part])
                continue
            last = start + BLOCK >= len(times)
            until = (
                len(truth.times) if last else np.searchsorted(truth.times, times[part][-1], "right")
            )
            pressure = slice(taken, int(until))
            taken = int(until)
            yield RecordingBlock(
                times[part], data[part], truth.times[pressure], truth.data[pressure]
            )

    return Recording(
        format=format_,
        model=model,
        channels=tuple(labels[n] for n in pulse),
        rate=rate,
        polarity=0,
        site="unknown",
        start=int(times[0]),
        duration=(int(times[-1]) - int(times[0])) / NS,
        read=read,
        detail={"reference": truth is not None},
    )


def _truth(chosen: Options, traces: Sequence[Trace], pulse: list[int]) -> Trace | None:
    if chosen.text("abp") == "off":
        return None
    labels = [trace.label for trace in traces]
    column = chosen.column("abp", labels)
    if column is None:
        named = (n for n, label in enumerate(labels) if PRESSURE.search(label) and n not in pulse)
        column = next(named, None)
    return None if column is None else traces[column]
