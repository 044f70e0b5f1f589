"""The process learnt from wearers that were drawn from a known one."""

from __future__ import annotations

import numpy as np

from innpar.models.calibration.process import INPUTS
from innpar.models.calibration.process_level import ProcessTable
from innpar.models.training.process_rows import ProcessRows, trailing_medians
from innpar.models.training.process_table import left_out_levels, process_table

K = len(INPUTS)


def wearer(number: int) -> ProcessRows:
    """Return a wearer for two hours: an own offset, an own slope, and a correction that errs."""
    rng = np.random.default_rng(number)
    time = np.arange(0.0, 7200.0, 15.0)
    x = np.zeros((len(time), K))
    x[:, 3] = np.sin(time / rng.uniform(400, 900) + rng.uniform(0, 6))
    own, slope = rng.normal(0, 12), rng.normal(12, 5)
    sbp = 120 + own + slope * x[:, 3] + rng.normal(0, 1, len(time))
    truth = np.stack((sbp, 0.6 * sbp, 0.75 * sbp), axis=1)
    reading = trailing_medians(truth, time)
    corrected = truth + rng.normal(0, 8, truth.shape)
    corrected[:3] = np.nan
    return ProcessRows(f"s{number}", "vitaldb_made", time, x, truth, reading, corrected)


def test_it_learns_what_wearers_share_and_is_judged_on_others() -> None:
    folds = [[wearer(3 * k + n) for n in range(3)] for k in range(2)]
    table, found = process_table(folds, 0.9, steps=40)
    assert table["subjects"] == len(set(found.subject.tolist())) == 6
    process = ProcessTable.of(table)
    assert np.argmax(process.prior.line[0]) == 3  # the slope that all have
    mae = [np.abs(error).mean() for error in (found.published, found.corrected, found.held)]
    assert mae[0] < mae[1]
    assert mae[0] < mae[2]
    inside = np.abs(found.published) <= process.widen * found.sd
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.03)


def test_levels_use_only_readings_before_them() -> None:
    row = wearer(1)
    table, _ = process_table([[wearer(2)], [wearer(3)]], 0.9, steps=5)
    prior = ProcessTable.of(table).prior
    half = len(row.time) // 4
    names = ("time", "inputs", "truth", "reading", "corrected")
    early = ProcessRows(row.subject, row.source, *(getattr(row, n)[:half] for n in names))
    one, other = left_out_levels(prior, early), left_out_levels(prior, row)
    count = len(one.published)
    assert count > 50
    np.testing.assert_allclose(one.published, other.published[:count])
    assert set(other.number.tolist()) == {1, 2, 3, 4}


def test_trailing_medians_look_back_only() -> None:
    time = np.array([0.0, 10.0, 20.0, 30.0, 100.0])
    found = trailing_medians(np.array([[1.0], [3.0], [5.0], [9.0], [7.0]]), time)
    assert found[:, 0].tolist() == [1.0, 2.0, 3.0, 5.0, 7.0]
