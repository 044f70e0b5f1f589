"""Files of research devices, each read by its own library: VitalDB, EmbracePlus, BIOPAC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from innpar.devices.base import NS, Refused
from innpar.devices.files.packed import opened, unpacked
from innpar.devices.files.recording import NO_DATE, Recording
from innpar.devices.files.signals.trace_choice import SLOWEST, Trace
from innpar.devices.files.signals.traces import recording_of


def open_vital(path: Path, options: dict[str, str]) -> Recording:
    """Open a VitalDB file; arguments as for `recording_of`.

    Raises:
        Refused: It is damaged, contains no PPG, or vitaldb is not installed.
    """
    try:
        import vitaldb  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise Refused(f"{path}: .vital needs vitaldb; run scripts/setup import") from None
    try:
        file = vitaldb.VitalFile(str(path))
        waves = {name: track for name, track in file.trks.items() if float(track.srate) >= SLOWEST}
        start = round(float(file.dtstart) * NS)
        traces = []
        for group, (name, track) in enumerate(waves.items()):
            rate = float(track.srate)
            values = np.asarray(file.get_track_samples(name, 1 / rate), np.float64)
            times = start + np.rint(np.arange(len(values)) * (NS / rate)).astype(np.int64)
            traces.append(Trace(name, times, values, group, str(track.unit)))
    except Exception as error:  # whatever vitaldb raises, the file is at fault
        raise Refused(f"{path}: a damaged .vital file ({error}); copy it again") from None
    return recording_of(path, "VitalDB", "unknown", traces, options)


def open_avro(path: Path, options: dict[str, str]) -> Recording:
    """Open an Avro file of an Empatica EmbracePlus; arguments as for `recording_of`.

    Raises:
        Refused: It is damaged, contains no PPG, or fastavro is not installed.
    """
    try:
        import fastavro  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise Refused(f"{path}: Avro needs fastavro; run scripts/setup import") from None
    try:
        with opened(path) as stream:
            records: list[Any] = list(fastavro.reader(stream))
        raw = records[0]["rawData"]
        traces = [_series("bvp", raw["bvp"], raw["bvp"]["values"], 0)]
        motion = raw.get("accelerometer") or {}
        if len(motion.get("x") or ()):
            scale = _step(motion.get("imuParams") or {})
            for axis in "xyz":
                values = np.asarray(motion[axis], np.float64) * scale
                traces.append(_series(f"acc {axis}", motion, values, 1))
    except Exception as error:  # whatever fastavro raises, the file is at fault
        raise Refused(f"{path}: no Avro file of an EmbracePlus ({error}); copy it again") from None
    return recording_of(path, "Empatica Avro", "EmbracePlus", traces, options)


def _series(name: str, about: Any, values: Any, group: int) -> Trace:
    rate = float(about["samplingFrequency"])
    start = int(about["timestampStart"]) * 1000
    times = start + np.rint(np.arange(len(values)) * (NS / rate)).astype(np.int64)
    return Trace(name, times, np.asarray(values, np.float64), group)


def _step(about: Any) -> float:
    """Return the acceleration of one count, g."""
    physical = float(about.get("physicalMax", 16)) - float(about.get("physicalMin", -16))
    digital = float(about.get("digitalMax", 32768)) - float(about.get("digitalMin", -32768))
    return physical / digital


def open_acq(path: Path, options: dict[str, str]) -> Recording:
    """Open a BIOPAC AcqKnowledge file; arguments as for `recording_of`.

    Raises:
        Refused: It is damaged, contains no PPG, or bioread is not installed.
    """
    try:
        import bioread  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise Refused(f"{path}: .acq needs bioread; run scripts/setup import") from None
    with unpacked(path) as plain:
        try:
            file = bioread.read(str(plain))
            rates = [float(channel.samples_per_second) for channel in file.channels]
            traces = [
                Trace(
                    *(str(c.name), _even(len(c.data), rate), np.asarray(c.data, np.float64)),
                    *(rates.index(rate), str(c.units)),
                )
                for c, rate in zip(file.channels, rates, strict=True)
            ]
        except Exception as error:  # whatever bioread raises, the file is at fault
            raise Refused(f"{path}: a damaged .acq file ({error}); copy it again") from None
    return recording_of(path, "AcqKnowledge", "BIOPAC", traces, options)


def _even(count: int, rate: float) -> Any:
    return NO_DATE + np.rint(np.arange(count) * (NS / rate)).astype(np.int64)
