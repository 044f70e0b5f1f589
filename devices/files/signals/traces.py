"""What XDF, EDF and WFDB have in common: named traces, among which the pulse is to be found."""

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
"""Hz; what is sampled less often is no waveform."""
BLOCK = 1 << 16

OPTIONS = {
    "channel": "name or number of the pulse's trace",
    "abp": "name or number of the arterial pressure's trace; off for none",
}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One signal of a file.

    Attributes:
        label: Its name.
        times: (samples,) int64, ns since the Unix epoch.
        data: (samples,) physical values; NaN where missing.
        group: Traces of one group are sampled together.
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
    """Return the recording that is made of a file's traces.

    The chosen trace's companions of the same group whose names look like a pulse come along. Of a
    file that is `incomplete` a notice says how much of it there is.

    Raises:
        Refused: There is no pulse in it, or several things that it could be.
    """
    chosen = Options(str(path), options, OPTIONS)
    traces = [trace for trace in traces if len(trace.times) > 1]
    if not traces:
        raise Refused(f"{path}: there are no samples in it; is this the right file?")
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
        raise Refused(f"{path}: which trace is the pulse? add ?channel=…; there are: {listed}")
    times = traces[pulse[0]].times
    rate = measured_rate(times)
    if not rate >= SLOWEST:
        name = labels[pulse[0]]
        raise Refused(f"{path}: {name} has {rate:.3g} samples a second; a pulse needs {SLOWEST:g}")
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
