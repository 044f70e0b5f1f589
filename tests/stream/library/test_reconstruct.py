"""`innpar.reconstruct`: the numbers of a streamed replay, however cut and in any batch."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import innpar
from innpar.devices import Chunk, open_device
from innpar.devices.simulated.device import Simulated
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.library.samples import START, SampleArray
from innpar.stream.results import Beat, Waveform
from support.harness import estimates, same, shipped, stream_all
from support.sessions import MAX

RATE = 55.0
SECONDS = 60
CUFF = (128.0, 79.0)


@cache
def light() -> npt.NDArray[np.float64]:
    """Return (channels, samples) of a simulated wearer's reflected light, with a gap."""
    device = Simulated(seed=1, duration=SECONDS, pace=MAX, dropouts=False)
    chunks = [i for i in device.items(0) if isinstance(i, Chunk) and i.signal == "ppg"]
    data = np.concatenate([chunk.data for chunk in chunks]).T[:2].copy()
    data[0, 1500:1600] = np.nan
    return data


@cache
def result() -> innpar.PressureTrace:
    return innpar.reconstruct(light()[0], RATE, cuff=CUFF, at=16.0, model=shipped())


def moved(beat: Beat) -> Beat:
    """Return a beat as it was streamed: with its time since the epoch."""
    return replace(beat, peak=beat.peak + START, abp_start=beat.abp_start + START)


@pytest.mark.parametrize("chunk_seconds", [0.3, 1.0, 7.7])
def test_it_equals_a_streamed_replay_bit_for_bit(chunk_seconds: float) -> None:
    device = SampleArray("row-0", light()[0], RATE, chunk_seconds=chunk_seconds)
    items, _, _ = stream_all([device], cuffs=[PlannedCuff(*CUFF, seconds=16.0)])
    streamed = estimates(items)
    assert len(streamed) > 50
    assert same([moved(beat) for beat in result().beats], streamed)
    waves = [item for item in items if isinstance(item, Waveform)]
    assert len(waves) > 60
    for wave in waves:
        at = round((wave.start - START) * 125 / 1e9)
        found = result().abp if wave.kind == "abp" else result().ppg
        assert found[at : at + len(wave.samples)].tobytes() == wave.samples.astype(float).tobytes()


def test_it_equals_a_replayed_file_bit_for_bit(tmp_path: Path) -> None:
    path, samples = tmp_path / "ppg.csv", light()[1]
    np.savetxt(path, samples, fmt="%.17g", header="ppg", comments="")
    device = open_device(f"replay:{path}?rate={RATE:g}&id=row-0", pace=MAX)
    items, _, _ = stream_all([device])
    trace = innpar.reconstruct(samples, RATE, polarity=device.polarity, model=shipped())
    assert len(trace.beats) > 50
    assert same([moved(beat) for beat in trace.beats], estimates(items))


def test_a_batch_gives_each_row_what_it_gives_alone() -> None:
    batch = innpar.reconstruct(
        light(), RATE, cuff=[CUFF, (np.nan, np.nan)], at=[16.0, 0.0], model=shipped()
    )
    alone = innpar.reconstruct(light()[1], RATE, model=shipped())
    assert batch.abp.shape == batch.quality.shape == (2, len(batch.time))
    assert len(batch) == 2
    for row, single in zip(batch, (result(), alone), strict=True):
        assert row.abp.tobytes() == single.abp.tobytes()
        named = [replace(beat, device="row-0") for beat in row.beats]
        assert same(named, single.beats)
    assert len(batch.beats) == sum(len(row.beats) for row in batch)
    assert len({beat.calibration.state for beat in batch[0].beats}) == 2
    assert {beat.calibration.state for beat in batch[1].beats} == {"none"}


def test_time_counts_from_the_first_sample() -> None:
    trace = result()
    assert trace.time[0] == 0
    assert np.allclose(np.diff(trace.time), 1 / trace.rate)
    assert trace.time[-1] <= (light().shape[1] - 1) / RATE < trace.time[-1] + 1 / trace.rate
    assert 0 < trace.beats[0].time < trace.beats[-1].time < trace.time[-1]
    at = [round(beat.time * trace.rate) for beat in trace.beats if beat.valid]
    peaks = [beat.sbp for beat in trace.beats if beat.valid]
    assert np.allclose(trace.abp[at], np.array(peaks, float), atol=1e-4)


def test_nothing_is_computed_across_missing_samples() -> None:
    trace = result()
    hole = (trace.time > 1500 / RATE) & (trace.time < 1600 / RATE)
    assert np.isnan(trace.abp[hole]).all()
    assert np.isfinite(trace.abp[~hole]).mean() > 0.7
    (gap,) = (event for event in trace.events if event.kind == "gap")
    assert gap.start / 1e9 == pytest.approx(1499 / RATE, abs=1e-6)


def test_a_sample_has_the_quality_of_its_beat() -> None:
    trace = result()
    for beat in trace.beats:
        foot = round(beat.abp_start * trace.rate / 1e9)
        assert trace.quality[foot] == beat.quality
    inside = np.isfinite(trace.quality)
    assert 0.8 < inside.mean() < 1
    assert ((trace.quality[inside] >= 0) & (trace.quality[inside] <= 1)).all()


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> innpar.PressureTrace:
        return innpar.reconstruct(light()[0][:1000], RATE, model=shipped())

    assert len(asyncio.run(notebook()).beats) > 5


def test_polarity_is_found_or_given() -> None:
    found = innpar.reconstruct(-light()[1], RATE, model=shipped())
    given = innpar.reconstruct(-light()[1], RATE, polarity=1, model=shipped())
    assert same(found.beats, given.beats)


def test_it_says_what_it_is() -> None:
    assert "beats valid, median 1" in repr(result())


def test_a_result_without_pressures_says_so() -> None:
    flat = innpar.reconstruct(np.ones(2000), RATE, model=shipped())
    assert "no pressures" in repr(flat)
    assert "nan" not in repr(flat)
    assert result().seconds > 0
    assert result().model == shipped().id


def test_pandas_tables() -> None:
    trace = result()
    samples = trace.to_pandas()
    assert list(samples.columns) == ["ABP", "PPG", "quality"]
    assert samples["ABP"].to_numpy().tobytes() == trace.abp.tobytes()
    assert samples.index.name == "time"
    assert samples.attrs["sampling_rate"] == 125
    beats = trace.to_pandas("beats")
    assert beats["peak"].tolist() == [beat.time for beat in trace.beats]
    assert beats["valid"].tolist() == [beat.valid for beat in trace.beats]
    assert beats["sbp"].isna().tolist() == [beat.sbp is None for beat in trace.beats]


def test_pandas_tables_of_a_batch() -> None:
    batch = innpar.reconstruct(light()[:, :1000], RATE, model=shipped())
    frame = batch.to_pandas()
    assert frame.index.names == ["row", "time"]
    assert frame.loc[1]["ABP"].to_numpy().tobytes() == batch[1].abp.tobytes()


GOOD = np.sin(np.arange(1000) / 8)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too short": ({"ppg": GOOD[:250]}, r"250 samples at 50 Hz are 5\.0 s; .* at least 5\.\d s"),
    "transposed": ({"ppg": np.ones((1000, 2))}, "one wearer a row"),
    "empty": ({"ppg": []}, r"not \(0,\)"),
    "three axes": ({"ppg": np.ones((2, 3, 4))}, r"not \(2, 3, 4\)"),
    "words": ({"ppg": ["pulse"]}, "array of numbers"),
    "complex": ({"ppg": GOOD * 1j}, "array of numbers"),
    "infinity": ({"ppg": np.where(GOOD > 0.9, np.inf, GOOD)}, "infinity; write NaN"),
    "only NaN": ({"ppg": np.full((2, 1000), np.nan)}, "row 0 of ppg"),
    "no rate": ({"rate": 0}, "16 to 10000 Hz, not 0"),
    "a period": ({"rate": 0.01}, "16 to 10000 Hz"),
    "NaN Hz": ({"rate": float("nan")}, "not nan"),
    "time without a reading": ({"at": 3.0}, "give `cuff` as well"),
    "after the end": ({"cuff": CUFF, "at": 20.0}, "end of the signal, 20 s"),
    "before the start": ({"cuff": CUFF, "at": -1.0}, "from 0 to the end"),
    "impossible pressures": ({"cuff": (79, 128)}, "128/79"),
    "another device's": ({"cuff": "b=128/79"}, "leave b= out"),
    "no reading": ({"cuff": "high"}, "SBP/DBP"),
    "one number": ({"cuff": 128}, r"\(sbp, dbp\)"),
    "readings of others": ({"cuff": [CUFF, CUFF, CUFF]}, r"\(1, 2\)"),
    "polarity": ({"polarity": 2}, "1, -1 or 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_a_value_error(case: str) -> None:
    changes, text = WRONG[case]
    arguments: dict[str, Any] = {"ppg": GOOD, "rate": 50.0, "model": shipped()} | changes
    with pytest.raises(ValueError, match=text):
        innpar.reconstruct(**arguments)


def test_the_shortest_array_gives_pressure() -> None:
    with pytest.raises(ValueError, match="at least") as caught:
        innpar.reconstruct(GOOD[:100], 50.0, model=shipped())
    seconds = float(str(caught.value).split("at least ")[1].split(" s")[0])
    trace = innpar.reconstruct(light()[1][: round(seconds * RATE) + 1], RATE, model=shipped())
    assert np.isfinite(trace.ppg).any()


def test_no_such_model() -> None:
    with pytest.raises(innpar.InnparError, match="no model at nowhere"):
        innpar.reconstruct(GOOD, 50.0, model="nowhere")


LONG = """
import numpy as np
import innpar

innpar.reconstruct(np.sin(np.arange(20 * 700) / 3), 20.0)
"""


def test_a_terminal_shows_progress() -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as terminal:
        process = subprocess.Popen([sys.executable, "-c", LONG], stderr=slave)
        os.close(slave)
        shown = b""
        with suppress(OSError):  # Linux: the other end was closed
            while part := terminal.read(4096):
                shown += part
        assert process.wait(60) == 0
    assert b"reconstructing" in shown
    assert b"100%" in shown
