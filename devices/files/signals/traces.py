"""Recordings from named traces (XDF, EDF, WFDB, arrays)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from innpar.devices.base import NS, Refused
from innpar.devices.files.recording import Notices, Recording, RecordingBlock
from innpar.devices.files.signals.trace_choice import Trace, choose_traces
from innpar.devices.options import Options

BLOCK = 1 << 16

OPTIONS = {
    "channel": "name or number of the PPG trace",
    "reference": "name or number of a trace of measured arterial pressure, mmHg; off for none",
    "abp": "the same as reference",
}


def recording_of(
    path: Path,
    format_: str,
    model: str,
    traces: Sequence[Trace],
    options: dict[str, str],
    *,
    incomplete: bool = False,
    origin: str = "live",
    trusted: bool = True,
    notes: Sequence[str] = (),
) -> Recording:
    """Return a file's traces as a recording.

    Without ``channel``, all traces of a group that may be light are used; see `choose_traces`.

    Args:
        path: The file.
        format_: Name of its format.
        model: Recording hardware.
        traces: Its signals.
        options: See `OPTIONS`.
        incomplete: Whether the file ends early; a notice then says how much could be read.
        origin: First source of the samples; see `Recording`.
        trusted: Whether a pressure of this format is a measured one by convention.
        notes: Further notices.

    Raises:
        Refused: It contains no PPG, or several traces that could be it.
    """
    chosen = Options(str(path), options, OPTIONS)
    traces = [trace for trace in traces if len(trace.times) > 1]
    if not traces:
        raise Refused(f"{path}: it contains no samples; is this the right file?")
    choice = choose_traces(path, chosen, traces, trusted)
    first = traces[choice.light[0]]
    seconds = (int(first.times[-1]) - int(first.times[0])) / NS
    data = np.stack([traces[n].data for n in choice.light], axis=1)
    truth = None if choice.reference is None else traces[choice.reference]
    axes = [traces[n] for n in choice.motion]
    whole = RecordingBlock(
        *(first.times, data),
        *((truth.times, truth.data) if truth else (first.times[:0], np.empty(0))),
        *_motion(axes, choice.gravity),
    )

    def read(notices: Notices) -> Iterator[RecordingBlock]:
        notices.extend(notes)
        if incomplete:
            text = f"{path.name}: the file ends early or is damaged; {seconds:.1f} s could be read"
            notices.append(text)
        yield from _in_parts(whole)

    return Recording(
        format=format_,
        model=model,
        channels=tuple(traces[n].label for n in choice.light),
        rate=first.rate,
        polarity=0,
        site="unknown",
        start=int(first.times[0]),
        duration=seconds,
        read=read,
        detail={"reference": truth is not None},
        origin=origin,
        motion_rate=axes[0].rate if axes else 0.0,
    )


def _motion(
    axes: Sequence[Trace], gravity: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    if not axes:
        return np.empty(0, np.int64), np.empty((0, 3))
    return axes[0].times, np.stack([axis.data for axis in axes], axis=1) / gravity


def _in_parts(whole: RecordingBlock) -> Iterator[RecordingBlock]:
    """Yield blocks of `BLOCK` samples, each with the references and motions up to its last one."""
    abp = acc = 0
    for start in range(0, len(whole.times), BLOCK):
        stop = min(start + BLOCK, len(whole.times))
        last = stop == len(whole.times)
        ends = [
            len(times) if last else int(np.searchsorted(times, whole.times[stop - 1], "right"))
            for times in (whole.reference_times, whole.motion_times)
        ]
        yield RecordingBlock(
            *(whole.times[start:stop], whole.data[start:stop]),
            *(whole.reference_times[abp : ends[0]], whole.reference[abp : ends[0]]),
            *(whole.motion_times[acc : ends[1]], whole.motion[acc : ends[1]]),
        )
        abp, acc = ends
